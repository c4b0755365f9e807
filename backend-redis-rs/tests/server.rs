//! The backend on real servers: the tests that all backends share.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "../../tests/kit/backends/mod.rs"]
mod backends;

use sio_streams_redis_rs::{RedisBackend as Backend, RedisConnection as Connection};

/// Whether sharded Pub/Sub works over RESP2.
const SHARDED_OVER_RESP2: bool = true;
