//! The backend on real servers: the tests that all backends share.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "../../testkit/backends/mod.rs"]
mod backends;

use backends::common::*;
use sio_streams_core::{CommandError, Reply};
use sio_streams_redis_rs::{RedisBackend as Backend, RedisConnection as Connection};
use sio_streams_testkit::RedisServer;

/// Whether sharded Pub/Sub works over RESP2. The redis crate can't receive its messages there.
const SHARDED_OVER_RESP2: bool = false;

#[tokio::test(flavor = "multi_thread")]
async fn resp2_can_not_shard_and_says_so() {
    let redis = RedisServer::start().unwrap();
    let (mut listener, mut messages) = subscriber(&format!("{}/?protocol=resp2", redis.url())).await;
    let refused = run(&mut listener, subscribe(&["socket.io#/#"], true)).await;
    assert!(matches!(refused, Err(CommandError::Unusable(_))), "{refused:?}");
    // It goes on.
    assert_eq!(run(&mut listener, subscribe(&["socket.io#/#"], false)).await, Ok(Reply::Done));
    redis.command(&["PUBLISH", "socket.io#/#", "x"]);
    assert_eq!(within(messages.recv()).await.unwrap().1, "x");
    let refused = run(&mut listener, xadd(&[("a", "b")])).await;
    assert!(matches!(refused, Err(CommandError::Unusable(_))), "{refused:?}");
}
