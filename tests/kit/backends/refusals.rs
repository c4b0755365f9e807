//! Users who may subscribe to some channels only, on a real server.

use super::common::*;
use super::member::Member;
use sio_streams_core::{BroadcastOptions, Config, Dialect, Packet};
use sio_streams_testkit::RedisServer;

#[tokio::test(flavor = "multi_thread")]
async fn a_room_whose_channel_is_refused_holds_up_no_other() {
    let redis = RedisServer::start().unwrap();
    let user = "ACL SETUSER ann on >pw resetkeys resetchannels -@all +spublish +ssubscribe +sunsubscribe \
        +pubsub|shardnumsub +pubsub|shardchannels +ping &socket.io#/# &socket.io#/#[^z]*";
    let words: Vec<&str> = user.split_whitespace().collect();
    assert_eq!(redis.command(&words).as_str(), Some("OK"));
    let config = || Config { dialect: Dialect::Sharded, ..Config::default() };
    let one = Member::start(config(), steady(&redis.url())).await;
    let mut two = Member::start(config(), steady(&redis.url_as("ann", "pw"))).await;
    let rooms = (0..30).map(|number| format!("room{number}")).chain(["zone".to_owned()]);
    let socket = format!("socket of {}", two.node.uid());
    within(two.namespace.join(socket, rooms.map(Into::into).collect::<Vec<_>>())).await.unwrap();

    let heard = |pattern: &str| redis.command(&["PUBSUB", "SHARDCHANNELS", pattern]).items().len();
    until(|| heard("socket.io#/#room*#") == 30).await;
    let told = || {
        let refused = |event: &String| event.contains("NOPERM");
        two.told().into_iter().filter(refused).collect::<Vec<_>>()
    };
    until(|| !told().is_empty()).await;
    assert_eq!(heard("*zone*"), 0);
    let refusals = told();
    assert!(refusals.len() == 1 && refusals[0].contains("socket.io#/#zone#"), "{refusals:?}");

    let send = async |number: u64, room: &str| {
        let packet = Packet::event("n", &(number,)).unwrap();
        within(one.namespace.broadcast(packet, BroadcastOptions::to(room))).await.unwrap();
    };
    send(1, "room29").await;
    two.hears([1]).await;
    one.sees(2).await;
    two.sees(2).await;

    redis.command(&["ACL", "SETUSER", "ann", "allchannels"]);
    until(|| heard("*zone*") == 1).await;
    send(2, "zone").await;
    two.hears([2]).await;
    let refusals = two.told().into_iter().filter(|event| event.contains("NOPERM")).count();
    assert_eq!(refusals, 1);
}
