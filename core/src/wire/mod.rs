//! Conversion between bytes and messages. Only [`FrameReader`] has a state: a packet with binary
//! values comes in several frames.
//!
//! | module | what it reads and writes |
//! |---|---|
//! | [`entry`] | a stream entry: fields `uid`, `nsp`, `type`, `data` |
//! | [`pubsub`] | a Pub/Sub message of streams-0.3 and of the sharded adapter: `{uid, nsp, type, data}` |
//! | [`classic`] | the messages of the classic Pub/Sub adapter |
//! | [`session`] | a stored session: `{sid, pid, rooms, data}` in MessagePack |
//! | [`Frames`], [`FrameReader`] | the frames between servers and clients, text and binary |
//!
//! Decoding never panics, and needs memory only in proportion to its input. Payloads stay in place:
//! they are slices of the input. Encoding writes only what a Node peer can read.
//!
//! ```
//! use sio_streams_core::wire::entry;
//! use sio_streams_core::{Body, Fields};
//!
//! let fields: Fields = [
//!     ("uid", r"d0a1b2c3d4e5f607"),
//!     ("nsp", "/"),
//!     ("type", "3"),
//!     ("data", r#"{"packet":{"type":2,"data":["hi"]},"opts":{"rooms":[],"except":[],"flags":{}}}"#),
//! ]
//! .into_iter()
//! .collect();
//! let message = entry::decode(&fields).unwrap();
//! let Body::Broadcast { packet, .. } = message.body else { unreachable!() };
//! assert_eq!(packet.data().event_name().as_deref(), Some("hi"));
//! ```

#[cfg(test)]
mod agree;
mod base64;
pub mod classic;
mod data;
mod encode;
mod encoder;
pub mod entry;
mod error;
mod flags;
mod frames;
mod json;
mod msgpack_body;
mod notepack;
pub mod pubsub;
pub mod session;

pub use self::error::WireError;
pub use self::frames::{FrameError, FrameLimits, FrameReader, Frames, Received};
pub use crate::msgpack::MsgPackError;
