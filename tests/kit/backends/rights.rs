//! The rights that the documentation lists, on a real server.

use super::common::*;
use super::member::Member;
use sio_streams_core::{BroadcastOptions, Config, Dialect, LocalDelivery, Packet, Recovery};
use sio_streams_testkit::RedisServer;

/// The page with a line for each dialect.
const PAGE: &str = include_str!("../../../docs/redis.md");

const LINE: &str = "ACL SETUSER ";

fn config(user: &str) -> Config {
    let dialect = match user {
        "streams02" | "recovery" => Dialect::Streams02,
        "streams03" | "streams03-sharded" => Dialect::Streams03,
        "bridge" => Dialect::Bridge,
        "sharded" => Dialect::Sharded,
        "classic" => Dialect::Classic,
        other => panic!("{other} is new: which configuration is it for?"),
    };
    let config = Config { dialect, use_sharded_pub_sub: user == "streams03-sharded", ..Config::default() };
    match user {
        "recovery" => Config {
            local_delivery: LocalDelivery::StreamOrder,
            recovery: Some(Recovery::default()),
            ..config
        },
        _ => config,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_the_least_rights_of_their_dialect_do_everything() {
    let lines: Vec<&str> = PAGE.lines().filter(|line| line.starts_with(LINE)).collect();
    assert_eq!(lines.len(), 7);
    for line in lines {
        let redis = RedisServer::start().unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(redis.command(&words).as_str(), Some("OK"), "{line}");
        let user = words[2];
        let url = redis.url_as(user, "password");
        let one = Member::start(config(user), steady(&url)).await;
        let mut two = Member::start(config(user), steady(&url)).await;
        two.sees(2).await;
        one.sees(2).await;
        one.send(0).await;
        two.hears([0]).await;
        // To one room, which may have a channel of its own, and no longer when it has been left.
        // The subscription may come a moment later.
        let socket = format!("socket of {}", two.node.uid());
        within(two.namespace.join(socket.clone(), vec!["room".into()])).await.unwrap();
        one.is_answered_by(1).await;
        let to_room = async |number: u64| {
            let packet = Packet::event("n", &(number,)).unwrap();
            within(one.namespace.broadcast(packet, BroadcastOptions::to("room"))).await.unwrap();
        };
        until(|| {
            let channels = redis.command(&["PUBSUB", "SHARDCHANNELS", "*room*"]);
            user != "sharded" || !channels.items().is_empty()
        })
        .await;
        to_room(1).await;
        two.hears([1]).await;
        within(two.namespace.leave(socket, vec!["room".into()])).await.unwrap();
        two.is_answered_by(1).await;
        one.send(2).await;
        two.hears([2]).await;
        for member in [&one, &two] {
            let refused = |event: &String| event.contains("NOPERM");
            assert!(!member.told().iter().any(refused), "{user}: {:?}", member.told());
        }
        let Member { node, namespace, .. } = one;
        within(namespace.close()).await.unwrap();
        within(node.close()).await;
        // The server really refuses the rights that the page leaves out.
        let denied = redis.command(&["ACL", "LOG"]);
        let used = ["xadd", "publish", "spublish", "subscribe", "ssubscribe", "xread", "pubsub"];
        let reasons: Vec<&str> =
            denied.items().iter().filter_map(|entry| entry.field("object")?.as_str()).collect();
        assert!(!reasons.iter().any(|object| used.contains(object)), "{user}: {reasons:?}");
    }
}
