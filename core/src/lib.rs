//! A sans-IO protocol engine for the Socket.IO Redis Streams adapter.
//!
//! Socket.IO servers form a cluster through an *adapter*. Each server's adapter forwards
//! broadcasts, room changes and requests to the other servers through Redis. The official adapters
//! run on Node. This crate implements their protocol as a state machine, so that Rust servers can
//! join such a cluster as full members. The other members may be Node servers of either wire
//! generation, or Rust servers.
//!
//! The crate does no I/O: it has no sockets, no clock, no threads and no `async`. The caller owns
//! those. To have them done on tokio, use `sio-streams-driver` and one of its backends.
//!
//! # The loop
//!
//! ```text
//!                 handle_reply, handle_push, handle_link, handle_timeout
//!      Redis  ───────────────────────────────────────────────────────────▶ ┌────────┐ ── poll_event ──▶  your
//!             ◀─────────────────────────────────────────────────────────── │ Engine │                    server
//!                 poll_command (XADD, XREAD, PUBLISH, …), poll_timeout     └────────┘ ◀── broadcast, fetch_sockets, …
//! ```
//!
//! Put in an input. Then take out events until there are none, and commands until there are none.
//! Then wait for a reply, a push, or the timeout.
//!
//! ```
//! use sio_streams_core::{BroadcastOptions, Command, Config, Dialect, Engine, EntryId, Event, Packet, Reply, Time};
//!
//! let config = Config { dialect: Dialect::Streams02, ..Config::default() };
//! let mut engine = Engine::new(config, 42, Time::ZERO).unwrap();
//! engine.open_namespace(Time::ZERO, "/").unwrap();
//! engine.add_socket("/", "a client's socket id").unwrap();
//!
//! let mut added = 0;
//! let mut delivered = 0;
//! 'turn: for turn in 1.. {
//!     let now = Time::from_millis(turn);
//!     while let Some(event) = engine.poll_event() {
//!         match event {
//!             Event::Ready { nsp } => {
//!                 let packet = Packet::event("hello", &("world",)).unwrap();
//!                 engine.broadcast(now, &nsp, packet, BroadcastOptions::all()).unwrap();
//!             }
//!             Event::Broadcast(delivery) => {
//!                 let to = engine.rooms(&delivery.nsp).unwrap().matching(&delivery.opts);
//!                 println!("{} goes to {to:?}", delivery.frames().text);
//!                 delivered += to.len();
//!                 break 'turn;
//!             }
//!             _ => {}
//!         }
//!     }
//!     while let Some((id, command)) = engine.poll_command() {
//!         // A real program sends the command to Redis. This one makes the replies up.
//!         let reply = match command {
//!             Command::XInfoStream { .. } => Reply::Stream(None),
//!             Command::XRead { .. } => continue, // nothing new: it blocks
//!             _ => {
//!                 added += 1;
//!                 Reply::Added(EntryId { ms: turn, seq: added })
//!             }
//!         };
//!         engine.handle_reply(now, id, Ok(reply));
//!     }
//! }
//! assert_eq!(delivered, 1);
//! ```
//!
//! [`examples/by_hand.rs`] drives a small cluster by hand.
//!
//! # Where to look
//!
//! - [`Engine`] is the entry point. Its calls return a [`Ticket`]; an [`Event`] with that ticket
//!   reports the result.
//! - [`Config`] holds the options, with the peers' names and defaults. [`Dialect`] selects the
//!   peers.
//! - [`Command`] and [`Reply`] define what a backend must be able to do. [`Lane`] names the
//!   connection that a command belongs on. [`CommandError`] lists the failures that the engine
//!   distinguishes.
//! - [`Packet`], [`Payload`] and [`BroadcastOptions`] define what is sent, and to which sockets. A
//!   payload keeps the bytes in which it arrived and is decoded on demand.
//! - [`Rooms`] tracks which sockets of this node are in which rooms.
//! - [`wire`] converts between bytes and [`Message`]s, for programs that need only the codec.
//!   [`Frames`](wire::Frames) and [`FrameReader`](wire::FrameReader) are what goes through the
//!   connections to clients.
//!
//! # What it holds to
//!
//! - Time and randomness come in from outside. The same configuration, seed and inputs give the
//!   same outputs, byte for byte.
//! - Everything is bounded by [`Limits`]. A call that would exceed a bound is refused at once.
//! - Nothing that arrives is trusted. A bad entry is skipped and reported, and does not affect the
//!   entries behind it.
//! - Every Node peer can read what the engine writes.
//! - The fate of a command is one of three: done, failed, or unknown.
//!
//! # Guides
//!
//! These pages of the repository go further: [Architecture], [Protocol] with what is on the wire,
//! [Guarantees], [Connection state recovery], the [Glossary], and [Fuzzing].
//!
//! [`examples/by_hand.rs`]: https://github.com/sio-streams/sio-streams/blob/main/core/examples/by_hand.rs
//! [Architecture]: https://github.com/sio-streams/sio-streams/blob/main/docs/architecture.md
//! [Connection state recovery]: https://github.com/sio-streams/sio-streams/blob/main/docs/recovery.md
//! [Fuzzing]: https://github.com/sio-streams/sio-streams/blob/main/docs/fuzzing.md
//! [Glossary]: https://github.com/sio-streams/sio-streams/blob/main/docs/glossary.md
//! [Guarantees]: https://github.com/sio-streams/sio-streams/blob/main/docs/guarantees.md
//! [Protocol]: https://github.com/sio-streams/sio-streams/blob/main/docs/protocol.md

#![cfg_attr(docsrs, feature(doc_cfg))]

/// Returns `true` if the named deliberate bug is active. That happens only when the simulator tests
/// itself; see `mutants.rs`.
#[cfg(sio_streams_mutants)]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutants::is_on($crate::mutants::Mutant::$name)
    };
}
#[cfg(not(sio_streams_mutants))]
macro_rules! mutant {
    ($name:ident) => {
        false
    };
}

mod channel;
mod codec;
mod command;
mod config;
mod elements;
mod emitter;
mod engine;
mod error;
mod event;
mod event_name;
mod foreign;
mod hash;
mod id;
mod javascript;
mod json_text;
mod link;
mod message;
#[cfg(feature = "serde")]
pub mod millis;
mod msgpack;
#[cfg(sio_streams_mutants)]
pub mod mutants;
mod observer;
mod outgoing;
mod packet;
mod payload;
mod rooms;
mod session;
mod time;
pub mod wire;

pub use bytes::Bytes;
pub use bytestring::ByteString;
pub use channel::escape_glob;
pub use codec::{Codec, PayloadCodec};
pub use command::{Command, CommandError, CommandId, Entry, Fields, Lane, Reply, StreamInfo};
pub use config::{
    Config, ConfigError, Dialect, Limits, LocalDelivery, Recovery, RoomOwner, SubscriptionMode,
    UnknownDialect,
};
pub use elements::Elements;
pub use emitter::Emitter;
pub use engine::Engine;
pub use error::{CallError, Limit};
pub use event::{
    AckResponder, Answer, Delivery, DownReason, EmitResponder, Event, Lag, Lost, Moved, Outcome,
    SocketsResponder, Source,
};
pub use foreign::{Base64Error, JsonError};
pub use id::{EntryId, InvalidEntryId, NodeId, RequestId, Ticket};
pub use link::LinkState;
pub use message::{Body, Message};
pub use msgpack::MAX_DEPTH;
pub use observer::{AckSays, Observed, ObservedAck, Observer};
pub use packet::{BroadcastOptions, Flags, Handshake, LocalSocket, Packet, RemoteSocket};
pub use payload::{DecodeError, Encoding, MAX_PAYLOAD, Payload, PayloadError};
pub use rooms::{RoomChange, Rooms};
pub use session::{MAX_PID, Missed, NotRecovered, Restored, Session};
pub use time::Time;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
