//! The common parts of backends: commands as arguments, replies from values, and a heartbeat.
//!
//! A client crate that can send a command's arguments and return a value is made a backend by
//! implementing [`Wire`]. [`WireConnection`] is the rest of a
//! [`Connection`](crate::backend::Connection). If the crate can also connect to any given address,
//! it can be a [`Dialer`], and then works with [Redis Cluster](crate::cluster) and
//! [Sentinel](crate::sentinel) without knowing of them.
//!
//! The crate [`sio-streams-resp`](sio_streams_resp) has the parts that need no runtime: the
//! arguments of commands, the reader of the protocol, and the replies.

mod address;
mod connection;
mod dialer;
mod gone;
mod link;
mod resp;
mod task;

pub use address::{Address, AddressError};
pub use connection::{Heartbeat, WireConnection};
pub use dialer::Dialer;
pub use gone::Gone;
pub use link::Wire;
pub use resp::RespWire;
pub use sio_streams_resp::{
    Args, Login, Protocol, Subscription, SubscriptionKind, Value, client_name, for_log, refusal,
};
pub use task::TaskWire;
