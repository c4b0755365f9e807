//! Runs the [`sio-streams-core`](sio_streams_core) engine on tokio, over any Redis client.
//!
//! [`start`] runs a node on a [backend](backend::Backend): `sio-streams-redis-rs` for a real
//! server, or the [in-memory one](memory) for tests and demonstrations. It returns a [`Node`],
//! which sends to the cluster, and [`Events`], which come from it.
//!
//! ```
//! use sio_streams_core::{BroadcastOptions, Config, Packet};
//! use sio_streams_driver::{Event, memory::MemoryRedis};
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let redis = MemoryRedis::new();
//! let (one, _) = sio_streams_driver::start(Config::default(), redis.backend()).unwrap();
//! let (two, mut events) = sio_streams_driver::start(Config::default(), redis.backend()).unwrap();
//! let here = one.open("/chat").await.unwrap();
//! let there = two.open("/chat").await.unwrap();
//! there.add_socket("a client's socket id").await.unwrap();
//!
//! let packet = Packet::event("hello", &("world",)).unwrap();
//! here.broadcast(packet, BroadcastOptions::all()).await.unwrap();
//!
//! let Some(Event::Broadcast(broadcast)) = events.next().await else { unreachable!() };
//! assert_eq!(broadcast.packet.data().event_name().as_deref(), Some("hello"));
//! assert_eq!(broadcast.packet.data().arg::<String>(0).unwrap(), "world");
//! assert_eq!(broadcast.sockets, ["a client's socket id"]);
//! # });
//! ```
//!
//! # Features
//!
//! - `tracing`, on by default: rare events are logged.
//! - `metrics`, on by default: frequent ones are counted. The `observe` module in the source lists
//!   the names.
//! - `admin-ui`: Socket.IO's admin UI sees a server.
//! - `serde`: the options can be read from files.
//! - `conformance`: the tests that every backend must pass.
//!
//! # Taking events
//!
//! Take events steadily. While they are not taken, the streams are not read any further. Nothing is
//! lost, but answers to requests that come by a stream wait there, too. So don't wait for a request
//! in the task that takes the events: spawn another one for it.
//!
//! # Guides
//!
//! These pages of the repository go further: [A server of your own] builds a Socket.IO server on
//! this crate, [Opening and closing] describes the life of a node, [Running on Redis] describes
//! servers and connections, [Operating] lists logs and metrics, [Writing a backend] explains the
//! traits, and [Guarantees] says what holds when something breaks.
//!
//! [A server of your own]: https://github.com/sio-streams/sio-streams/blob/main/docs/framework.md
//! [Guarantees]: https://github.com/sio-streams/sio-streams/blob/main/docs/guarantees.md
//! [Opening and closing]: https://github.com/sio-streams/sio-streams/blob/main/docs/lifecycle.md
//! [Operating]: https://github.com/sio-streams/sio-streams/blob/main/docs/operating.md
//! [Running on Redis]: https://github.com/sio-streams/sio-streams/blob/main/docs/redis.md
//! [Writing a backend]: https://github.com/sio-streams/sio-streams/blob/main/docs/writing-a-backend.md

#![cfg_attr(docsrs, feature(doc_cfg))]

mod acceptance;
#[cfg(feature = "admin-ui")]
pub mod admin_ui;
mod admission;
mod askers;
pub mod backend;
mod boxed;
mod call;
mod caught;
pub mod cluster;
#[cfg(feature = "conformance")]
pub mod conformance;
mod emitter;
mod error;
mod event;
mod first;
pub mod hosts;
mod lane;
mod lanes;
mod links;
pub mod memory;
mod messages;
mod namespace;
mod node;
#[cfg_attr(
    not(all(feature = "metrics", feature = "tracing")),
    allow(unused, reason = "what is told to nobody is not looked at")
)]
mod observe;
mod older_calls;
mod opening;
mod options;
mod outcomes;
mod publishing;
mod pushes;
mod queue;
mod queued;
mod retry;
mod run;
pub mod sentinel;
mod sessions;
mod start;
#[cfg(not(all(feature = "metrics", feature = "tracing")))]
mod unobserved;
mod unreadable;
mod waiting;
pub mod wire;

pub use emitter::Emitter;
pub use error::Error;
pub use event::{AckResponder, Broadcast, EmitResponder, Event, SocketsResponder};
pub use namespace::Namespace;
pub use node::Node;
pub use options::Options;
pub use outcomes::{Acks, Names, Responses, Sockets};
pub use publishing::Publishing;
pub use queue::Events;
pub use queued::Queued;
pub use sio_streams_core;
#[doc(no_inline)]
pub use sio_streams_core::{
    Answer, BroadcastOptions, ByteString, Bytes, CallError, CommandError, Config, Dialect, DownReason,
    EntryId, Flags, Handshake, Lag, Lane, Limit, Limits, LinkState, LocalDelivery, LocalSocket, Lost, Missed,
    Moved, NodeId, NotRecovered, Outcome, Packet, Payload, PayloadError, Recovery, RemoteSocket, Restored,
    RoomChange, RoomOwner, Session, Source, SubscriptionMode,
};
pub use sio_streams_resp;
pub use start::{StartError, start};

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
