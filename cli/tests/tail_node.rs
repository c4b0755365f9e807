//! `sio-streams tail` beside real Node servers and one of ours.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

mod tailing;

use serde_json::{Value, json};
use sio_streams_driver::sio_streams_core::Dialect;
use sio_streams_interop::{
    Generation, OurServer, Peer, PeerConfig, Result, Select, ServerSideReply, bin, eventually, quick,
};
use sio_streams_testkit::RedisServer;
use tailing::Tail;

/// Reads on until a message is of this kind.
fn next(tail: &mut Tail, kind: &str) -> Value {
    loop {
        let object: Value = serde_json::from_str(&tail.line()).unwrap();
        assert_ne!(object["kind"], "unreadable", "{object}");
        if object["kind"] == kind {
            return object;
        }
    }
}

/// Each server says something, and asks the other. `place` is where requests are found.
async fn is_followed(generation: Generation, dialect: Dialect, name: &str, place: &str) -> Result<()> {
    let redis = RedisServer::start()?;
    let peer = Peer::start(PeerConfig::new(generation, redis.url()).quick()).await?;
    let ours = OurServer::start(quick(dialect), &redis.url(), &["/"]).await?;
    let mut tail = Tail::start(&redis.url(), &["--dialect", name, "--json"]);
    tail.note("following");

    let node = peer.uid("/").to_owned();
    let to = Select::room("/", "room1").to("room2").except("s1");
    peer.emit(&to, "news", &[json!({ "n": 1 }), bin([1, 2])]).await?;
    let news = next(&mut tail, "broadcast");
    assert_eq!(news["node"], *node, "{news}");
    assert_eq!((&news["nsp"], &news["event"]), (&json!("/"), &json!("news")));
    assert_eq!((&news["rooms"], &news["except"]), (&json!(["room1", "room2"]), &json!(["s1"])));
    assert_eq!(news["args"], json!([{ "n": 1 }, { "type": "Buffer", "data": [1, 2] }]));

    ours.emit(&Select::all("/"), "other", &[json!("ü")]).await?;
    let other = next(&mut tail, "broadcast");
    assert_eq!((&other["event"], &other["args"]), (&json!("other"), &json!(["ü"])));
    assert!(other["node"] != *node && other["node"].is_string(), "{other}");

    peer.sockets_join(&Select::room("/", "room1"), &["room3"]).await?;
    let join = next(&mut tail, "join");
    assert_eq!((&join["rooms"], &join["names"]), (&json!(["room1"]), &json!(["room3"])));

    ours.on_server_side("/", "question", ServerSideReply::Answer(json!({ "answer": 42 })));
    peer.server_side_emit_with_ack("/", "question", &[json!(1)]).await?;
    let question = next(&mut tail, "server-side-emit");
    assert_eq!((&question["node"], &question["args"]), (&json!(node), &json!([1])));
    assert!(!question[place].is_null(), "{question}");
    let answer = next(&mut tail, "server-side-answer");
    assert_eq!((&answer["requestId"], &answer["value"]), (&question["requestId"], &json!({ "answer": 42 })));

    peer.fetch_sockets(&Select::all("/")).await?;
    let question = next(&mut tail, "fetch-sockets");
    let answer = next(&mut tail, "sockets");
    assert_eq!(question["requestId"], answer["requestId"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_node_servers_of_streams_0_2() -> Result<()> {
    is_followed(Generation::V02, Dialect::Streams02, "streams-0.2", "stream").await
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_node_servers_of_streams_0_3() -> Result<()> {
    is_followed(Generation::V03, Dialect::Streams03, "streams-0.3", "channel").await
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_node_servers_of_the_classic_adapter() -> Result<()> {
    is_followed(Generation::Classic, Dialect::Classic, "classic", "channel").await
}

/// It takes being counted to hear everything of the sharded adapter, and then no question that is
/// waited for can be asked: rooms are heard without it.
#[tokio::test(flavor = "multi_thread")]
async fn beside_node_servers_of_the_sharded_adapter() -> Result<()> {
    let redis = RedisServer::start()?;
    let peer = Peer::start(PeerConfig::new(Generation::Sharded, redis.url())).await?;
    let client = peer.connect("/").await?;
    peer.server_join(&client.sid, &["room1"]).await?;
    let subscribers = async |channel: &str, count: i64| {
        let counted = || redis.command(&["PUBSUB", "SHARDNUMSUB", channel]).items()[1].as_int();
        eventually(&format!("{count} subscribers of {channel}"), async || counted() == Some(count)).await
    };
    let mut tail = Tail::start(&redis.url(), &["--dialect", "sharded", "--json"]);
    tail.note("following channels socket.io#* (of rooms and single servers only: see --counted)");
    subscribers("socket.io#/#room1#", 2).await?;
    peer.emit(&Select::room("/", "room1"), "news", &[]).await?;
    let news = next(&mut tail, "broadcast");
    assert_eq!((&news["channel"], &news["event"]), (&json!("socket.io#/#room1#"), &json!("news")));
    subscribers("socket.io#/#", 1).await?;
    assert_eq!(peer.fetch_sockets(&Select::all("/")).await?.len(), 1);
    // A room that nobody else hears any more is left.
    peer.disconnect_client(&client.sid).await?;
    subscribers("socket.io#/#room1#", 0).await?;

    let mut counted = Tail::start(&redis.url(), &["--dialect", "sharded", "--counted", "--json"]);
    subscribers("socket.io#/#", 2).await?;
    peer.emit(&Select::all("/"), "news", &[]).await?;
    assert_eq!(next(&mut counted, "broadcast")["channel"], "socket.io#/#");
    Ok(())
}
