//! Sentinel: the suite, and failovers.

use super::common::*;
use super::member::Member;
use crate::{Backend, SHARDED_OVER_RESP2};
use sio_streams_core::{Config, Lane};
use sio_streams_driver::backend::{Backend as _, PushSender};
use sio_streams_driver::conformance::Suite;
use sio_streams_driver::sentinel::Sentinel;
use sio_streams_testkit::RedisSentinel;
use tokio::task::block_in_place;

fn backend(redis: &RedisSentinel) -> Sentinel<Backend> {
    backend_with(redis, "")
}

fn backend_with(redis: &RedisSentinel, query: &str) -> Sentinel<Backend> {
    let [first, rest @ ..] = redis.sentinels() else { panic!("there are no sentinels") };
    let sentinels = steady(&format!("{}/{query}", first.url()));
    let servers = steady(&format!("redis://not.used/{query}"));
    let backend = Sentinel::new(redis.master_name(), sentinels, servers);
    rest.iter().fold(backend, |backend, sentinel| backend.also(&sentinel.addr().to_string()).unwrap())
}

fn start() -> RedisSentinel {
    block_in_place(RedisSentinel::start).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinel_resp3() {
    conformance("?protocol=resp3", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinel_resp2() {
    conformance("?protocol=resp2", SHARDED_OVER_RESP2).await;
}

async fn conformance(query: &'static str, sharded: bool) {
    let redis = start();
    // Dead ones are passed over.
    redis.sentinels()[0].kill();
    let suite = Suite::new({
        let redis = std::sync::Arc::new(redis);
        move || backend_with(&redis, query)
    });
    suite.sharded(sharded).patience(CASE).run().await.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_follow_the_master() {
    let redis = start();
    let one = Member::start(Config::default(), backend(&redis)).await;
    let mut two = Member::start(Config::default(), backend(&redis)).await;
    two.sees(2).await;
    for number in 0..20 {
        one.send(number).await;
    }
    let master = redis.master();
    block_in_place(|| redis.servers()[master].replicated(STREAM)).unwrap();
    redis.servers()[master].kill();
    let sending = one.sends(20..40);
    block_in_place(|| redis.fail_over()).unwrap();
    within(sending).await.unwrap();
    two.hears(0..40).await;
    assert_eq!(redis.servers()[1 - master].command(&["XLEN", STREAM]).as_int(), Some(40));
    until(|| !one.losses(&Lane::Writer).is_empty() && one.is_up(&Lane::Writer)).await;
    two.is_answered_by(1).await;
}

/// The old master lives on as a replica, behind the same address.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_leave_a_master_that_is_demoted() {
    let redis = start();
    let one = Member::start(Config::default(), backend(&redis)).await;
    let mut two = Member::start(Config::default(), backend(&redis)).await;
    two.sees(2).await;
    one.send(0).await;
    let master = redis.master();
    block_in_place(|| redis.servers()[master].replicated(STREAM)).unwrap();
    block_in_place(|| redis.hand_over()).unwrap();
    for number in 1..20 {
        one.send(number).await;
    }
    two.hears(0..20).await;
    assert_eq!(redis.servers()[1 - master].command(&["XLEN", STREAM]).as_int(), Some(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told() {
    let redis = start();
    let (pushes, _) = PushSender::channel(1);
    let stranger = Sentinel::new(
        "nobody",
        Backend::new(&redis.sentinels()[0].url()).unwrap(),
        Backend::new("redis://not.used").unwrap(),
    );
    let why = within(stranger.connect(&Lane::Writer, pushes.clone())).await.expect_err("no such master");
    assert!(why.0.contains("nobody"), "{why}");
    for sentinel in redis.sentinels() {
        sentinel.kill();
    }
    let why = within(backend(&redis).connect(&Lane::Writer, pushes)).await.expect_err("no sentinel");
    assert_eq!(why.0.matches("refused").count(), 3, "{why}");
}
