//! The kind of a worker process.

use super::{bare, fred, node, redis, socket};
use crate::peers::Result;

/// The kind of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A node of ours over the redis crate.
    Redis,
    /// A node of ours over the fred crate.
    Fred,
    /// The redis crate alone: it adds a node's entries, and reads all of the stream, as every node
    /// does.
    BareRedis,
    /// The fred crate alone, likewise.
    BareFred,
    /// The same bytes on a socket, without a client crate.
    Socket,
    /// The same, but it doesn't read what it adds itself.
    SocketAddsOnly,
}

impl Kind {
    /// All of them, with their names on the command line.
    pub const ALL: [(&'static str, Kind); 6] = [
        ("redis", Kind::Redis),
        ("fred", Kind::Fred),
        ("bare-redis", Kind::BareRedis),
        ("bare-fred", Kind::BareFred),
        ("socket", Kind::Socket),
        ("socket-adds-only", Kind::SocketAddsOnly),
    ];

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
    }
}

/// Runs a worker until its input ends.
///
/// # Errors
///
/// If Redis can't be reached, or the input is not what it should be.
pub async fn run(kind: Kind, url: &str) -> Result<()> {
    match kind {
        Kind::Redis => node::run(sio_streams_redis_rs::RedisBackend::new(url)?).await,
        Kind::Fred => node::run(sio_streams_fred::FredBackend::new(url)?).await,
        Kind::BareRedis => bare::run(&redis::Client::new(url)?, true).await,
        Kind::BareFred => bare::run(&fred::Client::new(url)?, true).await,
        Kind::Socket => bare::run(&socket::Client::new(url)?, true).await,
        Kind::SocketAddsOnly => bare::run(&socket::Client::new(url)?, false).await,
    }
}
