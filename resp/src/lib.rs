//! RESP2 and RESP3 for the commands of the [`sio-streams-core`](sio_streams_core) engine, without
//! I/O.
//!
//! This is for programs that drive the engine by hand, and for backends that read the protocol
//! themselves. The crate has no sockets, no clock, no threads and no `async`. Its parts can be used
//! one by one:
//!
//! - [`Connection`] is one of the engine's connections to Redis. It takes a [`Command`], and gives
//!   its [`Reply`] or [`CommandError`] when the server's bytes have come. It logs in, matches
//!   replies to commands, follows subscriptions, and tells what has become of the commands when the
//!   connection ends. `examples/tcp_node.rs` is a node that runs on it, over blocking sockets.
//! - [`Pipeline`] does the same for commands as lists of arguments, and replies as values.
//! - [`Request`] and [`Args`] are a command as the server reads it. [`Expected`] makes a [`Reply`]
//!   of a [`Value`].
//! - [`Reader`] makes values of bytes. [`ReadLimits`] bound them, and [`RespError`] says what is
//!   wrong. [`Received::sort`] tells replies, messages and confirmations apart.
//! - [`Login`] has the commands at the beginning of a connection.
//!
//! ```
//! use sio_streams_resp::sio_streams_core::{Command, EntryId};
//! use sio_streams_resp::{Reader, Reply, Request};
//!
//! let read = Command::XRead {
//!     stream: "socket.io".into(),
//!     after: EntryId::ZERO,
//!     count: 100,
//!     block: core::time::Duration::from_secs(5),
//! };
//! let Request::Plain(args, expected) = Request::of(read) else { unreachable!() };
//! let mut request = Vec::new();
//! args.encode(&mut request);
//! // Send the request, and read the reply. This one says that nothing has come.
//! let mut reader = Reader::default();
//! reader.feed(b"*-1\r\n");
//! let reply = reader.read().unwrap().unwrap();
//! assert_eq!(expected.parse(reply.value), Ok(Reply::Entries(vec![])));
//! ```
//!
//! [Writing a backend] and [Running on Redis] are pages of the repository that go further.
//!
//! [`Command`]: sio_streams_core::Command
//! [Running on Redis]: https://github.com/sio-streams/sio-streams/blob/main/docs/redis.md
//! [Writing a backend]: https://github.com/sio-streams/sio-streams/blob/main/docs/writing-a-backend.md
#![warn(missing_docs)]

mod args;
mod arrived;
mod connection;
mod decode;
mod entries;
mod error;
mod limits;
mod line;
mod login;
mod pipeline;
mod reader;
mod reply;
mod request;
mod scan;
mod subscription;
mod text;
mod value;

pub use args::Args;
pub use arrived::{Arrived, Received};
pub use connection::{Connection, ConnectionError, Incoming};
pub use error::RespError;
pub use limits::ReadLimits;
pub use login::{Handshake, Login, Protocol};
pub use pipeline::{Came, Pipeline, PipelineError};
pub use reader::Reader;
pub use reply::Expected;
pub use request::Request;
pub use sio_streams_core;
pub use sio_streams_core::{ByteString, Bytes, CommandError, Reply};
pub use subscription::{Subscription, SubscriptionKind};
pub use text::{client_name, for_log};
pub use value::{Value, refusal};

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
