//! Connects sio-streams to a Redis or Valkey server, over the [`redis`] crate.
//!
//! ```no_run
//! use sio_streams_redis_rs::RedisBackend;
//!
//! let backend = RedisBackend::new("redis://user:password@127.0.0.1:6379/0")?;
//! # Ok::<(), sio_streams_redis_rs::ConfigError>(())
//! ```
//!
//! The backend works with Redis 6.2 and later, and with Valkey. It connects to standalone servers,
//! and to whatever looks like one: a primary behind a stable address, or a proxy. For Redis Cluster
//! and Sentinel, give it to [`Cluster`](sio_streams_driver::cluster::Cluster) or
//! [`Sentinel`](sio_streams_driver::sentinel::Sentinel).
//!
//! ```no_run
//! use sio_streams_driver::{cluster::Cluster, sentinel::Sentinel};
//! use sio_streams_redis_rs::RedisBackend;
//!
//! let cluster = Cluster::new(RedisBackend::new("redis://user:password@10.0.0.1:7000")?).seed("10.0.0.2:7000")?;
//!
//! let sentinels = RedisBackend::new("redis://10.0.0.1:26379")?;
//! let servers = RedisBackend::new("redis://user:password@mymaster/0")?;
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
//! The protocol is RESP3, or RESP2 if the server refuses RESP3 (`HELLO` is unknown or disabled).
//! `?protocol=resp2` or `?protocol=resp3` insists on one.
//!
//! The `redis` crate reads the URL, and logs in. Replies after that are read in place and never
//! copied, and messages that nobody takes are left to the server.
//!
//! # TLS
//!
//! The certificates of the system are trusted (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others). If
//! certificates are given to `Builder::ca_certificate`, only those are trusted. The cryptography is
//! ring's, whatever the default of rustls is in the process.
//!
//! # Rights
//!
//! An ACL user needs at least these rights, for the stream `socket.io` and the channels whose names
//! begin with `socket.io`:
//!
//! ```text
//! ACL SETUSER sio on >password resetkeys resetchannels -@all
//!     ~socket.io &socket.io*
//!     +xadd +xread +xrange +xinfo|stream
//!     +publish +subscribe +unsubscribe +pubsub|numsub +pubsub|channels
//!     +ping
//! ```
//!
//! - Connection state recovery needs `~sio:session:* +set +getrange +getdel +xrevrange` as well.
//! - The classic dialect needs `+psubscribe +punsubscribe` as well, and a channel pattern for each
//!   namespace, such as `&socket.io#/#*`: Redis compares patterns letter by letter.
//! - Sharded Pub/Sub needs `+spublish +ssubscribe +sunsubscribe +pubsub|shardnumsub
//!   +pubsub|shardchannels` in place of the fourth line.
//! - A database other than 0 needs `+select`.
//! - `+client|setname`, and from Redis 7.2 on `+client|setinfo`, make the connections recognizable
//!   in `CLIENT LIST`, as `sio-streams:<lane>`. They may be missing. The server then counts the
//!   refusals in its `ACL LOG`. The same is true of `+ping`, since a refusal is an answer, too.
//!
//! # What it does not do
//!
//! It never connects or sends a second time by itself. That is for the engine to decide. It sets no
//! time limits either, except for its own heartbeat. The driver has its own.
//!
//! [Running on Redis], a page of the repository, describes servers, clusters and connections.
//!
//! [Running on Redis]: https://github.com/sio-streams/sio-streams/blob/main/docs/redis.md

#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod connect;
mod direct;
mod error;
#[cfg(feature = "tls")]
mod tls;
mod wire;

pub use config::{Builder, ConfigError, RedisBackend};
pub use connect::RedisConnection;
pub use wire::RedisWire;

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
