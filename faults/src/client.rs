//! The Redis clients through which everything is tried.

use std::time::Duration;

use sio_streams_driver::backend::Backend;
use sio_streams_fred::FredBackend;
use sio_streams_redis_rs::RedisBackend;

/// A Redis client with a backend.
pub trait Client: Send + Sync + 'static {
    /// The backend.
    type Backend: Backend;

    /// A backend for the server behind this URL, that notices a silent link soon.
    fn backend(url: &str) -> Self::Backend;
}

/// The `redis` crate.
#[derive(Debug)]
pub struct RedisRs;

impl Client for RedisRs {
    type Backend = RedisBackend;

    fn backend(url: &str) -> RedisBackend {
        let second = Duration::from_secs(1);
        RedisBackend::builder(url).heartbeat(second, second).build().unwrap()
    }
}

/// The `fred` crate.
#[derive(Debug)]
pub struct Fred;

impl Client for Fred {
    type Backend = FredBackend;

    fn backend(url: &str) -> FredBackend {
        let second = Duration::from_secs(1);
        FredBackend::builder(url).heartbeat(second, second).build().unwrap()
    }
}
