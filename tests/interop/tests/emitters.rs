//! Senders from outside of the cluster, and the older adapters' calls: each with the real adapters.

// A test that panics has failed, which is what these are for.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use serde_json::{Value, json};
use sio_streams_driver::sio_streams_core::{BroadcastOptions, ByteString, Config, Dialect, Packet, Payload};
use sio_streams_driver::{Emitter, Error};
use sio_streams_interop::{
    Generation, Member, OurServer, Peer, PeerConfig, RedisClient, Result, Select, ServerSideReply, backend,
    bin, eventually, quick, timing,
};
use sio_streams_testkit::{Client, RedisServer};

/// `/notifications` has a negative hash: the official emitters don't reach it where there are
/// several streams.
const NAMESPACES: [&str; 2] = ["/chat", "/notifications"];

fn names(names: &[&str]) -> Vec<ByteString> {
    names.iter().map(|&name| name.into()).collect()
}

/// Our emitter reaches the clients and listeners of a Node server, in every namespace.
async fn reaches_node(generation: Generation, client: RedisClient, config: Config) -> Result<()> {
    let redis = RedisServer::start()?;
    let mut peer = PeerConfig::new(generation, redis.url()).client(client).namespaces(&NAMESPACES);
    if config.stream_count > 1 {
        peer = peer.adapter("streamCount", config.stream_count);
    }
    let peer = Peer::start(peer).await?;
    let emitter = Emitter::new(config.clone(), backend(&redis.url())?).unwrap().timing(timing());
    // Entries of this peer for a namespace with a negative hash are read by no peer; ours writes
    // where they read.
    for nsp in NAMESPACES {
        let (inside, outside) = (peer.connect(nsp).await?.sid, peer.connect(nsp).await?.sid);
        emitter
            .sockets_join(nsp, BroadcastOptions::to(inside.as_str()), names(&["room", "left"]))
            .await
            .unwrap();
        let in_room = |room: &'static str| {
            let (peer, inside) = (&peer, &inside);
            async move {
                let rooms = peer.rooms(nsp).await.unwrap_or_default();
                rooms.iter().any(|(name, sids)| name == room && sids.contains(inside))
            }
        };
        eventually("the socket to join", || in_room("room")).await?;
        if config.dialect == Dialect::Sharded {
            let channel = format!("socket.io#{nsp}#room#");
            eventually("the room to be heard", || async {
                redis.command(&["PUBSUB", "SHARDNUMSUB", &channel]).items()[1].as_int() == Some(1)
            })
            .await?;
        }
        let packet = |args: &Value| Packet::event("news", args).unwrap();
        let binary = Payload::event("news", &(serde_bytes::Bytes::new(&[1, 2, 254]),)).unwrap();
        emitter.broadcast(nsp, packet(&json!([1])), BroadcastOptions::all()).await.unwrap();
        emitter.broadcast(nsp, packet(&json!([2])), BroadcastOptions::to("room")).await.unwrap();
        emitter.broadcast(nsp, packet(&json!([3])), BroadcastOptions::all().except("room")).await.unwrap();
        emitter.broadcast(nsp, Packet::new(binary).unwrap(), BroadcastOptions::all()).await.unwrap();
        for (sid, expected) in [
            (&inside, [json!(1), json!(2), bin([1, 2, 254])]),
            (&outside, [json!(1), json!(3), bin([1, 2, 254])]),
        ] {
            let received = peer.wait_client_event(sid, "news", 3).await?;
            let received: Vec<_> = received.into_iter().map(|received| received.args[0].clone()).collect();
            // A room may have a channel of its own, and channels have no common order.
            let sorted = |values: &[Value]| {
                let mut values: Vec<String> = values.iter().map(ToString::to_string).collect();
                values.sort();
                values
            };
            assert_eq!(sorted(&received), sorted(&expected), "{nsp}");
        }
        emitter.sockets_leave(nsp, BroadcastOptions::to("room"), names(&["left"])).await.unwrap();
        eventually("the socket to leave", || async { !in_room("left").await }).await?;
        peer.on_server_side(nsp, "hello", ServerSideReply::Silent).await?;
        emitter.server_side_emit(nsp, Payload::event("hello", &(7,)).unwrap()).await.unwrap();
        assert_eq!(peer.wait_server_side(nsp, "hello", 1).await?[0].args, [json!(7)]);
        assert_eq!(peer.server_count(nsp).await?, 1, "an emitter is no server");
        emitter.disconnect_sockets(nsp, BroadcastOptions::to("room"), true).await.unwrap();
        eventually("the client to be disconnected", || async {
            peer.client_disconnected(&inside, 0).await.is_ok_and(|client| client.disconnected)
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn our_emitter_reaches_streams_0_2() -> Result<()> {
    reaches_node(Generation::V02, RedisClient::Redis4, quick(Dialect::Streams02)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn our_emitter_reaches_streams_0_3() -> Result<()> {
    reaches_node(Generation::V03, RedisClient::Redis5, quick(Dialect::Streams03)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn our_emitter_reaches_streams_0_3_with_several_streams() -> Result<()> {
    let config = Config { stream_count: 4, ..quick(Dialect::Streams03) };
    reaches_node(Generation::V03, RedisClient::IoRedis, config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn our_emitter_reaches_the_classic_adapter() -> Result<()> {
    reaches_node(Generation::Classic, RedisClient::Redis4, quick(Dialect::Classic)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn our_emitter_reaches_the_classic_adapter_on_ioredis() -> Result<()> {
    reaches_node(Generation::Classic, RedisClient::IoRedis, quick(Dialect::Classic)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn our_emitter_reaches_the_sharded_adapter() -> Result<()> {
    reaches_node(Generation::Sharded, RedisClient::Redis5, quick(Dialect::Sharded)).await
}

/// `@socket.io/redis-emitter` reaches a server of ours.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_emitter_reaches_ours() -> Result<()> {
    let redis = RedisServer::start()?;
    let ours = OurServer::start(quick(Dialect::Classic), &redis.url(), &["/", "/chat"]).await?;
    let peer = Peer::start(PeerConfig::new(Generation::Classic, redis.url()).namespaces(&["/chat"])).await?;
    for nsp in ["/", "/chat"] {
        let (inside, outside) = (ours.connect(nsp).await?, ours.connect(nsp).await?);
        peer.emitter(&Select::room(nsp, &inside), "socketsJoin", &[json!(["room", "left"])]).await?;
        let in_room = |room: &'static str| {
            let (ours, inside) = (&ours, &inside);
            async move { ours.rooms(nsp, inside).await.unwrap_or_default().contains(&room.to_owned()) }
        };
        eventually("the socket to join", || in_room("room")).await?;
        peer.emitter(&Select::all(nsp), "emit", &[json!("news"), json!({ "n": 1 })]).await?;
        peer.emitter(&Select::room(nsp, "room"), "emit", &[json!("news"), json!(2)]).await?;
        peer.emitter(&Select::all(nsp).except("room"), "emit", &[json!("news"), json!(3)]).await?;
        peer.emitter(&Select::all(nsp), "emit", &[json!("news"), bin([1, 254])]).await?;
        for (sid, second) in [(&inside, 2), (&outside, 3)] {
            let expected = [json!({ "n": 1 }), json!(second), bin([1, 254])];
            eventually("what was emitted", || async {
                let received = ours.client_received(sid);
                let args: Vec<_> = received.into_iter().map(|received| received.args[0].clone()).collect();
                args == expected
            })
            .await?;
        }
        peer.emitter(&Select::room(nsp, "room"), "socketsLeave", &[json!("left")]).await?;
        eventually("the socket to leave", || async { !in_room("left").await }).await?;
        peer.emitter(&Select::all(nsp), "serverSideEmit", &[json!("hello"), json!(7)]).await?;
        eventually("the servers' event", || async {
            ours.server_side_received(nsp).iter().any(|received| received.args == [json!(7)])
        })
        .await?;
        peer.emitter(&Select::room(nsp, "room"), "disconnectSockets", &[json!(true)]).await?;
        eventually("the disconnection", || async { ours.client_disconnected(&inside) }).await?;
        assert!(!ours.client_disconnected(&outside));
        assert_eq!(ours.server_count(nsp).await?, 2, "an emitter is no server");
    }
    Ok(())
}

/// The older calls in a cluster of one Node server and one of ours.
async fn older_calls(generation: Generation, client: RedisClient, dialect: Dialect) -> Result<()> {
    let redis = RedisServer::start()?;
    let ours = OurServer::start(quick(dialect), &redis.url(), &["/"]).await?;
    let peer = Peer::start(PeerConfig::new(generation, redis.url()).client(client).quick()).await?;
    eventually("both servers", || async { ours.server_count("/").await.is_ok_and(|count| count == 2) })
        .await?;
    eventually("both servers", || async { peer.server_count("/").await.is_ok_and(|count| count == 2) })
        .await?;
    let (here, there) = (ours.connect("/").await?, peer.connect("/").await?.sid);
    ours.server_join("/", &here, &["room"]).await?;
    peer.server_join(&there, &["other"]).await?;
    let namespace = ours.namespace("/").clone();
    let sorted = |names: &[&String]| {
        let mut names: Vec<String> = names.iter().map(|name| (*name).clone()).collect();
        names.sort();
        names
    };
    let texts = |names: Vec<ByteString>| names.iter().map(ToString::to_string).collect::<Vec<_>>();

    let found = namespace.sockets(vec![]).await.unwrap();
    assert!(found.outcome.is_complete(), "{:?}", found.outcome);
    assert_eq!(texts(found.names), sorted(&[&here, &there]));
    let found = namespace.sockets(names(&["other"])).await.unwrap();
    assert_eq!(texts(found.names), std::slice::from_ref(&there));
    let rooms = namespace.all_rooms().await.unwrap();
    assert_eq!(texts(rooms.names), sorted(&[&here, &there, &"room".into(), &"other".into()]));

    let at_node = |room: &'static str| {
        let (peer, there) = (&peer, &there);
        async move {
            let rooms = peer.rooms("/").await.unwrap_or_default();
            rooms.iter().any(|(name, sids)| name == room && sids.contains(there))
        }
    };
    namespace.remote_join(there.as_str(), "new").await.unwrap();
    eventually("the far socket to join", || at_node("new")).await?;
    namespace.remote_leave(there.as_str(), "new").await.unwrap();
    eventually("the far socket to leave", || async { !at_node("new").await }).await?;
    namespace.remote_join(here.as_str(), "new").await.unwrap();
    assert!(ours.rooms("/", &here).await?.contains(&"new".to_owned()));
    if generation == Generation::Classic {
        let mut rooms = peer.all_rooms("/").await?;
        rooms.sort();
        assert_eq!(rooms, sorted(&[&here, &there, &"room".into(), &"other".into(), &"new".into()]));
    }
    namespace.remote_disconnect(there.as_str(), true).await.unwrap();
    eventually("the far client to be disconnected", || async {
        peer.client_disconnected(&there, 0).await.is_ok_and(|client| client.disconnected)
    })
    .await?;

    // In the classic dialect only the server with the socket answers. A missing answer shows when
    // the time is up.
    let hasty;
    let asks = match dialect {
        Dialect::Classic => {
            let config = Config { request_timeout: Duration::from_secs(1), ..quick(dialect) };
            hasty = OurServer::start(config, &redis.url(), &["/"]).await?;
            hasty.namespace("/")
        }
        _ => &namespace,
    };
    let nobody = asks.remote_join("nobody", "new").await.unwrap_err();
    assert!(matches!(nobody, Error::NoSuchSocket { .. }), "{nobody}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn older_calls_with_streams_0_2() -> Result<()> {
    older_calls(Generation::V02, RedisClient::Redis4, Dialect::Streams02).await
}

#[tokio::test(flavor = "multi_thread")]
async fn older_calls_with_streams_0_3() -> Result<()> {
    older_calls(Generation::V03, RedisClient::Redis5, Dialect::Streams03).await
}

#[tokio::test(flavor = "multi_thread")]
async fn older_calls_with_the_classic_adapter() -> Result<()> {
    older_calls(Generation::Classic, RedisClient::Redis4, Dialect::Classic).await
}

#[tokio::test(flavor = "multi_thread")]
async fn older_calls_with_the_classic_adapter_on_ioredis() -> Result<()> {
    older_calls(Generation::Classic, RedisClient::IoRedis, Dialect::Classic).await
}

#[tokio::test(flavor = "multi_thread")]
async fn older_calls_with_the_sharded_adapter() -> Result<()> {
    older_calls(Generation::Sharded, RedisClient::Redis5, Dialect::Sharded).await
}

/// The requests of `socket.io-redis`, which the adapter of today only answers: written by hand,
/// answered by a Node server and by ours, which must say the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_requests_are_answered_as_node_answers_them() -> Result<()> {
    let redis = RedisServer::start()?;
    for by_ours in [true, false] {
        let server = match by_ours {
            true => Member::from(OurServer::start(quick(Dialect::Classic), &redis.url(), &["/"]).await?),
            false => Member::from(Peer::start(PeerConfig::new(Generation::Classic, redis.url())).await?),
        };
        let sid = server.connect("/").await?;
        server.server_join("/", &sid, &["room"]).await?;
        let mut listener = Client::connect(redis.addr())?;
        listener.command(&["SUBSCRIBE", "socket.io-response#/#"])?;
        let mut ask = |request: Value| -> Result<Value> {
            redis.command(&["PUBLISH", "socket.io-request#/#", &request.to_string()]);
            let answer = listener.read_reply()?;
            Ok(serde_json::from_str(answer.items()[2].as_str().unwrap_or_default())?)
        };
        let rooms = ask(json!({ "uid": "abc", "requestId": "r1", "type": 1 }))?;
        assert_eq!(rooms["requestId"], "r1");
        let mut names: Vec<&str> =
            rooms["rooms"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        names.sort_unstable();
        let mut expected = ["room", &sid];
        expected.sort_unstable();
        assert_eq!(names, expected);
        let sockets = |rooms: Value| json!({ "uid": "abc", "requestId": "r2", "type": 0, "rooms": rooms });
        assert_eq!(ask(sockets(json!(["room"])))?, json!({ "requestId": "r2", "sockets": [sid] }));
        assert_eq!(ask(sockets(json!(["none"])))?, json!({ "requestId": "r2", "sockets": [] }));
        let join = json!({ "uid": "abc", "requestId": "r3", "type": 2, "sid": sid, "room": "new" });
        assert_eq!(ask(join)?, json!({ "requestId": "r3" }));
        assert_eq!(ask(sockets(json!(["new"])))?, json!({ "requestId": "r2", "sockets": [sid] }));
        let leave = json!({ "uid": "abc", "requestId": "r4", "type": 3, "sid": sid, "room": "new" });
        assert_eq!(ask(leave)?, json!({ "requestId": "r4" }));
        assert_eq!(ask(sockets(json!(["new"])))?, json!({ "requestId": "r2", "sockets": [] }));
        let disconnect = json!({ "uid": "abc", "requestId": "r5", "type": 4, "sid": sid, "close": true });
        assert_eq!(ask(disconnect)?, json!({ "requestId": "r5" }));
        // Only one of the two is to answer.
        server.close().await?;
        eventually("the server to be gone", || async {
            let heard = redis.command(&["PUBSUB", "NUMSUB", "socket.io-request#/#"]);
            heard.items()[1].as_int() == Some(0)
        })
        .await?;
    }
    Ok(())
}
