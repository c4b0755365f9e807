//! A sans-IO protocol engine for the Socket.IO Redis Streams adapter.
//!
//! Socket.IO servers form a cluster by an *adapter*: each forwards broadcasts, room changes and requests to the others through Redis. The
//! official adapters run on Node. This crate is that adapter's protocol as a state machine, for Rust servers that join such a cluster as full
//! members, beside Node servers of either wire generation, or among themselves.
//!
//! It does no I/O: no sockets, no clock, no threads, no `async`. You own those. (If you want them done, on tokio, take `sio-streams-driver`
//! and one of its backends.)
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
//! Put in what happened; take out events, then commands, until there are none; wait for a reply, a push, or the time-out.
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
//!                 println!("{} goes to {to:?}", delivery.packet.data.as_json().unwrap());
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
//! `examples/by_hand.rs` is a whole little cluster, driven by hand.
//!
//! # Where to look
//!
//! - [`Engine`]: the face. Calls return a [`Ticket`]; what becomes of it is an [`Event`] with that ticket.
//! - [`Config`]: the options, with the peers' names and defaults; [`Dialect`]: which peers.
//! - [`Command`] and [`Reply`]: what a backend must be able to do; [`Lane`]: on which connection; [`CommandError`]: the ways of failing that
//!   matter.
//! - [`Packet`], [`Payload`], [`BroadcastOptions`]: what is sent, and to whom. Payloads are carried as they came and decoded on demand.
//! - [`Rooms`]: which sockets of this node are in which rooms.
//! - [`wire`]: bytes ↔ [`Message`]s, for those who need just that.
//!
//! # What it holds to
//!
//! - Time and chance come in from outside: the same configuration, seed and inputs give the same outputs, byte for byte.
//! - Everything is bounded, by [`Limits`]; a call that would pass a bound is refused at once.
//! - What arrives is never trusted: a bad entry is skipped and reported, and harms nothing behind it.
//! - What it writes, every Node peer can digest.
//! - A command's fate is one of three: done, failed, unknown.

/// Whether a deliberate bug is in force. Never, but where the simulator tests itself: see `mutants.rs`.
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
mod command;
mod config;
mod emitter;
mod engine;
mod error;
mod event;
mod hash;
mod id;
mod javascript;
mod json_text;
mod message;
mod msgpack;
#[cfg(sio_streams_mutants)]
pub mod mutants;
mod packet;
mod payload;
mod rooms;
mod session;
mod time;
pub mod wire;

pub use bytes::Bytes;
pub use bytestring::ByteString;
pub use command::{Command, CommandError, CommandId, Entry, Fields, Lane, Reply, StreamInfo};
pub use config::{
    Codec, Config, ConfigError, Dialect, Limits, LocalDelivery, PayloadCodec, Recovery, SubscriptionMode,
};
pub use emitter::Emitter;
pub use engine::Engine;
pub use error::CallError;
pub use event::{
    AckResponder, Answer, Delivery, DownReason, EmitResponder, Event, Lag, Lost, Moved, Outcome,
    SocketsResponder, Source,
};
pub use id::{EntryId, InvalidEntryId, NodeId, RequestId, Ticket};
pub use message::{Body, Message};
pub use msgpack::MAX_DEPTH;
pub use packet::{BroadcastOptions, EVENT, Flags, Handshake, LocalSocket, Packet, RemoteSocket};
pub use payload::{DecodeError, Encoding, MAX_PAYLOAD, Payload, PayloadError};
pub use rooms::{RoomChange, Rooms};
pub use session::{MAX_PID, Missed, NotRecovered, Restored, Session};
pub use time::Time;
