//! The foundation of this workspace's tests: real Redis servers that start and die on demand,
//! clusters and sentinels of them, a proxy that breaks the link in front of them, and a small
//! blocking RESP client to look inside.
//!
//! ```no_run
//! use sio_streams_testkit::{Proxy, RedisServer};
//!
//! let redis = RedisServer::start()?;
//! let link = Proxy::start(redis.addr())?;
//! // ... connect the code under test to link.url() ...
//! redis.command(&["XADD", "socket.io", "*", "nsp", "/"]);
//! link.cut();
//! link.restore()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Every wait in here is for a condition, with a generous bound; nothing waits for a duration.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod builder;
mod chaos;
mod cluster;
mod fault;
mod ports;
mod proxy;
mod resp;
mod sentinel;
mod server;
mod temp;
mod tls;
mod wait;

pub use builder::RedisServerBuilder;
pub use chaos::{Chaos, Habit};
pub use cluster::{Move, RedisCluster};
pub use fault::{Direction, Fault, Trouble};
pub use proxy::Proxy;
pub use resp::{Client, Reply};
pub use sentinel::RedisSentinel;
pub use server::RedisServer;
pub use tls::TlsFiles;
