//! Subscriptions and messages, plain and sharded, over both versions of the protocol.

mod common;

use common::*;
use sio_streams_core::{Bytes, CommandError, Lane, Reply};
use sio_streams_driver::backend::Connection as _;
use sio_streams_testkit::RedisServer;

const CHANNEL: &str = "socket.io#/#";

/// URL and sharded or not, as far as it can be had.
fn ways(redis: &RedisServer) -> [(String, bool); 3] {
    [("resp3", false), ("resp3", true), ("resp2", false)]
        .map(|(protocol, sharded)| (format!("{}/?protocol={protocol}", redis.url()), sharded))
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_keep_their_order_and_their_bytes() {
    let redis = RedisServer::start().unwrap();
    for (url, sharded) in ways(&redis) {
        let (mut listener, mut messages) = subscriber(&url).await;
        assert_eq!(run(&mut listener, subscribe(&[CHANNEL], sharded)).await, Ok(Reply::Done));
        let mut writer = open(&url, Lane::Writer).await;
        let payloads: Vec<Bytes> = (0..1000u32)
            .map(|n| n.to_be_bytes().into_iter().cycle().take(n as usize % 300).collect::<Vec<u8>>())
            .map(Bytes::from)
            .collect();
        for some in payloads.chunks(64) {
            let batch = some.iter().map(|payload| publish(CHANNEL, payload.clone(), sharded)).collect();
            assert!(
                within(writer.execute(batch)).await.into_iter().all(|outcome| outcome == Ok(Reply::Done))
            );
        }
        for expected in payloads {
            let (channel, payload) = within(messages.recv()).await.unwrap();
            assert_eq!((&*channel, payload), (CHANNEL, expected));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_in_force_when_it_is_done() {
    let redis = RedisServer::start().unwrap();
    let names: Vec<String> = (0..50).map(|n| format!("{CHANNEL}{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (url, sharded) in ways(&redis) {
        let publish = if sharded { "SPUBLISH" } else { "PUBLISH" };
        let (mut listener, mut messages) = subscriber(&url).await;
        assert_eq!(run(&mut listener, subscribe(&names, sharded)).await, Ok(Reply::Done));
        for name in &names {
            assert_eq!(redis.command(&[publish, name, "x"]).as_int(), Some(1), "{name}");
        }
        for name in &names {
            assert_eq!(within(messages.recv()).await.unwrap().0, **name);
        }
        assert_eq!(run(&mut listener, unsubscribe(&names[1..], sharded)).await, Ok(Reply::Done));
        let counts = names.iter().map(|name| redis.command(&[publish, name, "x"]).as_int().unwrap());
        assert_eq!(counts.sum::<i64>(), 1);
        // Twice is as good as once, and none at all is nothing.
        for again in [subscribe(&names[..2], sharded), unsubscribe(&[], sharded), subscribe(&[], sharded)] {
            assert_eq!(run(&mut listener, again).await, Ok(Reply::Done));
        }
        assert_eq!(redis.command(&[publish, names[1], "x"]).as_int(), Some(1));
        drop(listener);
        until(|| redis.command(&[publish, names[0], "x"]).as_int() == Some(0)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_while_commands_run() {
    let redis = RedisServer::start().unwrap();
    let (mut listener, mut messages) = subscriber(&redis.url()).await;
    assert_eq!(run(&mut listener, subscribe(&[CHANNEL], false)).await, Ok(Reply::Done));
    let publisher = std::thread::scope(|scope| {
        let handle = scope.spawn(|| {
            let mut client = redis.connect().unwrap();
            (0..1000).for_each(|n| drop(client.command(&["PUBLISH", CHANNEL, &n.to_string()]).unwrap()));
        });
        handle.join()
    });
    for n in 0..50 {
        assert_eq!(run(&mut listener, subscribe(&[&format!("other{n}")], n % 2 == 0)).await, Ok(Reply::Done));
    }
    publisher.unwrap();
    for n in 0..1000 {
        assert_eq!(within(messages.recv()).await.unwrap().1, n.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resp2_can_not_shard_and_says_so() {
    let redis = RedisServer::start().unwrap();
    let (mut listener, mut messages) = subscriber(&format!("{}/?protocol=resp2", redis.url())).await;
    let refused = run(&mut listener, subscribe(&[CHANNEL], true)).await;
    assert!(matches!(refused, Err(CommandError::Unusable(_))), "{refused:?}");
    // It goes on.
    assert_eq!(run(&mut listener, subscribe(&[CHANNEL], false)).await, Ok(Reply::Done));
    redis.command(&["PUBLISH", CHANNEL, "x"]);
    assert_eq!(within(messages.recv()).await.unwrap().1, "x");
    let refused = run(&mut listener, xadd(&[("a", "b")])).await;
    assert!(matches!(refused, Err(CommandError::Unusable(_))), "{refused:?}");
}
