//! Drives real Node.js peers: a [`Peer`] is one Node process with a real Socket.IO server, a real
//! adapter and real clients, under the control of a test.
//!
//! ```no_run
//! use serde_json::json;
//! use sio_streams_interop::{Generation, Peer, PeerConfig, Select};
//!
//! # async fn example(redis_url: &str) -> sio_streams_interop::Result<()> {
//! let a = Peer::start(PeerConfig::new(Generation::V03, redis_url)).await?;
//! let b = Peer::start(PeerConfig::new(Generation::V03, redis_url)).await?;
//! let client = b.connect("/").await?;
//! a.emit(&Select::all("/"), "hello", &[json!(1)]).await?;
//! let received = b.wait_client_event(&client.sid, "hello", 1).await?;
//! assert_eq!(received[0].args, [json!(1)]);
//! # Ok(())
//! # }
//! ```
//!
//! Values cross the control channel as JSON; what JSON has no word for is wrapped: see [`bin`] and
//! `peers/codec.mjs`.

mod again;
mod config;
mod control;
mod error;
mod eventually;
mod front;
mod member;
mod ours;
mod peer;
mod types;
mod value;

pub use again::{all_responses, partial_acks, partial_responses};
pub use config::{Generation, PeerConfig, RedisClient};
pub use error::{Error, Result};
pub use eventually::{Condition, eventually};
pub use member::Member;
pub use ours::{OurServer, PATIENCE, backend, impatient, quick, recovering, timing};
pub use peer::Peer;
pub use types::{
    Acks, ClientState, ConnectOptions, Disconnection, Flags, Received, Responses, Select, ServerSideReply,
    Session, SocketInfo, Stats, as_bin, bin,
};
