//! Connects sio-streams to Redis or Valkey, over the [`fred`] crate.
//!
//! ```no_run
//! use sio_streams_fred::FredBackend;
//!
//! let backend = FredBackend::new("redis://user:password@127.0.0.1:6379/0")?;
//! # Ok::<(), sio_streams_fred::ConfigError>(())
//! ```
//!
//! It does what `sio-streams-redis-rs` does, by another client crate. Take the one whose crate your
//! program has already.
//!
//! Standalone servers, and whatever looks like one. For Redis Cluster and Sentinel, give it to
//! [`Cluster`](sio_streams_driver::cluster::Cluster) or
//! [`Sentinel`](sio_streams_driver::sentinel::Sentinel).
//!
//! ```no_run
//! use sio_streams_driver::{cluster::Cluster, sentinel::Sentinel};
//! use sio_streams_fred::FredBackend;
//!
//! let cluster = Cluster::new(FredBackend::new("redis://user:password@10.0.0.1:7000")?).seed("10.0.0.2:7000")?;
//!
//! let sentinels = FredBackend::new("redis://10.0.0.1:26379")?;
//! let servers = FredBackend::new("redis://user:password@mymaster/0")?;
//! let sentinel = Sentinel::new("mymaster", sentinels, servers).also("10.0.0.2:26379")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # URLs
//!
//! | URL | |
//! |---|---|
//! | `redis://[user][:password@]host[:port][/db]` | TCP |
//! | `rediss://…` | TLS; needs the feature `tls`, which is on by default |
//! | `unix:///path/to/socket[?db=0&user=…&pass=…]` | a Unix socket |
//!
//! `valkey://` and `valkeys://` mean the same as the first two. Special characters in user and
//! password are percent-encoded.
//!
//! Pub/Sub messages come over RESP3, or, where that fails (`HELLO` unknown, disabled, or answered
//! by the end of the connection), over RESP2. All else goes over RESP2: `fred` takes half as long
//! again to read RESP3. `?protocol=resp2` or `?protocol=resp3` insists on one for everything.
//!
//! The subscriber's connection is not `fred`'s: `fred` throws messages away that come faster than
//! they are taken, and can't be kept from reading.
//!
//! # Rights
//!
//! Those that `sio-streams-redis-rs` lists; over RESP2 `+ping` is needed here. `fred` also asks for
//! `CLIENT ID` and `INFO server` when it connects, and does without them where they are refused.
//!
//! # What it does not do
//!
//! It never connects or sends a second time by itself, as `fred` would if it were left to: that is
//! for the engine to decide. It sets no time limits either, except for its own heartbeat; the
//! driver has its own.
//!
//! [Running on Redis], a page of the repository, describes servers, clusters and connections.
//!
//! [Running on Redis]: https://github.com/sio-streams/sio-streams/blob/main/docs/redis.md

#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod connect;
mod subscriber;
#[cfg(feature = "tls")]
mod tls;
mod value;
mod wire;

pub use config::{Builder, ConfigError, FredBackend};
pub use connect::FredConnection;
pub use wire::FredWire;

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
