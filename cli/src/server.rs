//! The options that name the Redis server.

use clap::Args;
use sio_streams_driver::backend::BoxedBackend;
use sio_streams_driver::cluster::Cluster;
use sio_streams_driver::sentinel::Sentinel;
use sio_streams_redis_rs::{Builder, ConfigError, RedisBackend};

/// The environment variable with the password, as `redis-cli` knows it.
const PASSWORD: &str = "REDISCLI_AUTH";

/// Returns the password that stands in the environment, where the list of processes does not show
/// it.
pub(crate) fn password() -> Option<String> {
    std::env::var(PASSWORD).ok().filter(|password| !password.is_empty())
}

/// Returns a backend for this URL and the password in the environment.
pub(crate) fn backend(url: &str) -> Builder {
    let builder = RedisBackend::builder(url);
    match password() {
        Some(password) => builder.password(password),
        None => builder,
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    /// The Redis or Valkey server: redis://, rediss:// (TLS) or unix://
    ///
    /// The password may stand in the environment variable REDISCLI_AUTH instead.
    #[arg(
        long,
        value_name = "URL",
        env = "SIO_STREAMS_REDIS",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:6379"
    )]
    redis: String,

    /// The server is one of a Redis Cluster, which names the others
    #[arg(long)]
    cluster: bool,

    /// The server is a sentinel that knows the master of this name
    ///
    /// A password in the URL is the sentinel's; REDISCLI_AUTH has the one of the master.
    #[arg(long, value_name = "MASTER", conflicts_with = "cluster")]
    sentinel: Option<String>,
}

impl ServerArgs {
    /// Returns the backend that these options describe. Nothing is connected yet.
    pub(crate) fn backend(&self) -> Result<BoxedBackend, ConfigError> {
        let server = backend(&self.redis).build()?;
        Ok(match &self.sentinel {
            Some(master) => {
                let sentinel = RedisBackend::new(&self.redis)?;
                BoxedBackend::new(Sentinel::new(master, sentinel, server))
            }
            None if self.cluster => BoxedBackend::new(Cluster::new(server)),
            None => BoxedBackend::new(server),
        })
    }
}
