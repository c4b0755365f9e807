//! The options that name the Redis server.

use std::sync::OnceLock;

use clap::Args;
use sio_streams_driver::backend::BoxedBackend;
use sio_streams_driver::cluster::Cluster;
use sio_streams_driver::sentinel::Sentinel;
use sio_streams_redis_rs::{Builder, ConfigError, RedisBackend};

use crate::config::File;

/// The environment variable with the password, as `redis-cli` knows it.
const PASSWORD: &str = "REDISCLI_AUTH";

/// The environment variable with the password of sentinels.
const SENTINEL_PASSWORD: &str = "SIO_STREAMS_SENTINEL_PASSWORD";

/// The passwords that the configuration file has.
static FILE: OnceLock<File> = OnceLock::new();

/// Notes the configuration file, once, before anything is connected.
pub(crate) fn configure(file: File) {
    FILE.get_or_init(|| file);
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|password| !password.is_empty())
}

/// Returns the password that stands in the environment or in the configuration file, where the list
/// of processes does not show it.
pub(crate) fn password(url: &str) -> Option<String> {
    variable(PASSWORD).or_else(|| FILE.get()?.password(url).map(str::to_owned))
}

fn sentinel_password(url: &str) -> Option<String> {
    variable(SENTINEL_PASSWORD).or_else(|| FILE.get()?.sentinel_password(url).map(str::to_owned))
}

/// Returns a backend for this URL and the password in the environment.
pub(crate) fn backend(url: &str) -> Builder {
    let builder = RedisBackend::builder(url);
    match password(url) {
        Some(password) => builder.password(password),
        None => builder,
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    /// The Redis or Valkey server: redis://, rediss:// (TLS) or unix://
    ///
    /// The password may stand in the environment variable REDISCLI_AUTH instead, or in the
    /// configuration file.
    #[arg(
        long,
        value_name = "URL",
        env = "SIO_STREAMS_REDIS",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:6379"
    )]
    pub(crate) redis: String,

    /// The server is one of a Redis Cluster, which names the others
    #[arg(long, env = "SIO_STREAMS_CLUSTER")]
    cluster: bool,

    /// The server is a sentinel that knows the master of this name
    ///
    /// A password in the URL is the sentinel's, as is SIO_STREAMS_SENTINEL_PASSWORD; REDISCLI_AUTH has
    /// the one of the master.
    #[arg(long, value_name = "MASTER", conflicts_with = "cluster", env = "SIO_STREAMS_SENTINEL")]
    sentinel: Option<String>,
}

impl ServerArgs {
    /// Returns the backend that these options describe. Nothing is connected yet.
    pub(crate) fn backend(&self) -> Result<BoxedBackend, ConfigError> {
        let server = backend(&self.redis).build()?;
        Ok(match self.sentinel(server.clone())? {
            Some((_, sentinel)) => BoxedBackend::new(sentinel),
            None if self.cluster => BoxedBackend::new(Cluster::new(server)),
            None => BoxedBackend::new(server),
        })
    }

    /// Returns the name of the master, and a backend on it, if there are sentinels.
    pub(crate) fn sentinel(
        &self,
        servers: RedisBackend,
    ) -> Result<Option<(&str, Sentinel<RedisBackend>)>, ConfigError> {
        let Some(master) = &self.sentinel else { return Ok(None) };
        let mut sentinels = RedisBackend::builder(&self.redis);
        if let Some(password) = sentinel_password(&self.redis) {
            sentinels = sentinels.password(password);
        }
        let sentinels = sentinels.build()?;
        Ok(Some((master, Sentinel::new(master, sentinels, servers))))
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.cluster
    }
}
