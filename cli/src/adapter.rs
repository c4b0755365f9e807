//! The options that describe the adapter of a cluster's servers.

use clap::{Args, ValueEnum};
use sio_streams_driver::sio_streams_core::{Config, Dialect};

/// The adapter of a cluster's servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Adapter {
    /// @socket.io/redis-streams-adapter 0.2
    #[value(name = "streams-0.2")]
    Streams02,
    /// @socket.io/redis-streams-adapter 0.3
    #[default]
    #[value(name = "streams-0.3")]
    Streams03,
    /// @socket.io/redis-adapter, or socket.io-redis
    Classic,
    /// createShardedAdapter of @socket.io/redis-adapter
    Sharded,
    /// Servers of streams-0.2 and streams-0.3 at once, as in the middle of an upgrade
    Bridge,
}

/// The options that all commands need to speak as the servers do.
#[derive(Debug, Args)]
pub(crate) struct AdapterArgs {
    /// Adapter of the cluster's servers
    #[arg(long, value_enum, default_value_t, value_name = "DIALECT", env = "SIO_STREAMS_DIALECT")]
    dialect: Adapter,

    /// streamName: the stream's key, or the first part of it
    #[arg(long, value_name = "NAME", default_value = "socket.io", env = "SIO_STREAMS_STREAM")]
    stream: String,

    /// streamCount: how many streams there are
    #[arg(long, value_name = "N", default_value_t = 1, env = "SIO_STREAMS_STREAM_COUNT")]
    stream_count: u32,

    /// channelPrefix, or key: the first part of the channels' names
    #[arg(long, value_name = "NAME", default_value = "socket.io", env = "SIO_STREAMS_PREFIX")]
    prefix: String,
}

impl AdapterArgs {
    /// Returns the configuration that these options describe, with the defaults for the others.
    pub(crate) fn config(&self) -> Config {
        Config {
            dialect: match self.dialect {
                Adapter::Streams02 => Dialect::Streams02,
                Adapter::Streams03 => Dialect::Streams03,
                Adapter::Classic => Dialect::Classic,
                Adapter::Sharded => Dialect::Sharded,
                Adapter::Bridge => Dialect::Bridge,
            },
            stream_name: self.stream.clone().into(),
            stream_count: self.stream_count,
            channel_prefix: self.prefix.clone().into(),
            ..Config::default()
        }
    }
}
