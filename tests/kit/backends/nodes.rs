//! Nodes of a cluster on this backend.

use super::common::*;
use super::member::Member;
use sio_streams_core::{Config, Dialect};
use sio_streams_testkit::{Proxy, RedisServer};

#[tokio::test(flavor = "multi_thread")]
async fn nodes_hear_each_other_also_after_their_links_were_cut() {
    let redis = RedisServer::start().unwrap();
    for dialect in [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge] {
        redis.command(&["FLUSHALL"]);
        let config = Config { dialect, ..Config::default() };
        let link = Proxy::start(redis.addr()).unwrap();
        let one = Member::start_in(config.clone(), steady(&redis.url()), "/chat").await;
        let mut two = Member::start_in(config, steady(&link.url()), "/chat").await;
        one.sees(2).await;

        one.send(0).await;
        two.hears([0]).await;
        link.cut();
        one.send(1).await;
        link.restore().unwrap();
        one.send(2).await;
        two.hears([1, 2]).await;
        // Requests and answers get through again as well, by the channels where the dialect uses
        // them.
        let [(from, answer)] = &one.is_answered_by(1).await[..] else { unreachable!() };
        assert_eq!((from.as_ref(), &*answer.decode::<String>().unwrap()), (Some(two.node.uid()), "pong"));
    }
}
