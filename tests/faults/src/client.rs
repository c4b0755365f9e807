//! The Redis clients through which everything is tried.

use std::time::Duration;

use sio_streams_driver::backend::Backend;
use sio_streams_driver::wire::Dialer;
use sio_streams_fred::FredBackend;
use sio_streams_redis_rs::RedisBackend;

/// A Redis client with a backend.
pub trait Client: Send + Sync + 'static {
    /// The backend.
    type Backend: Backend + Dialer + Clone;

    /// A backend for the server behind this URL. A link that is silent for longer than this is
    /// noticed.
    fn backend(url: &str, silence: Duration) -> Self::Backend;
}

/// The `redis` crate.
#[derive(Debug)]
pub struct RedisRs;

impl Client for RedisRs {
    type Backend = RedisBackend;

    fn backend(url: &str, silence: Duration) -> RedisBackend {
        RedisBackend::builder(url).heartbeat(silence, silence).build().unwrap()
    }
}

/// The `fred` crate.
#[derive(Debug)]
pub struct Fred;

impl Client for Fred {
    type Backend = FredBackend;

    fn backend(url: &str, silence: Duration) -> FredBackend {
        FredBackend::builder(url).heartbeat(silence, silence).build().unwrap()
    }
}
