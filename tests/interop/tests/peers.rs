//! Pairs of real Node peers. These tests show that the harness itself works.

use serde_json::{Value, json};
use sio_streams_interop::{
    Acks, Generation, Peer, PeerConfig, RedisClient, Result, Select, ServerSideReply, all_responses, bin,
    eventually, partial_acks,
};
use sio_streams_testkit::{RedisServer, Reply};

#[tokio::test]
async fn a_pair_of_0_2() -> Result<()> {
    pair(Generation::V02, RedisClient::Redis4).await
}

#[tokio::test]
async fn a_pair_of_0_2_with_ioredis() -> Result<()> {
    pair(Generation::V02, RedisClient::IoRedis).await
}

#[tokio::test]
async fn a_pair_of_0_3() -> Result<()> {
    pair(Generation::V03, RedisClient::Redis4).await
}

#[tokio::test]
async fn a_pair_of_0_3_with_redis_5() -> Result<()> {
    pair(Generation::V03, RedisClient::Redis5).await
}

#[tokio::test]
async fn a_pair_of_0_3_with_ioredis() -> Result<()> {
    pair(Generation::V03, RedisClient::IoRedis).await
}

async fn pair(generation: Generation, client: RedisClient) -> Result<()> {
    let redis = RedisServer::start()?;
    let config = PeerConfig::new(generation, redis.url()).client(client).namespaces(&["/", "/chat"]).quick();
    let (a, b) = tokio::try_join!(Peer::start(config.clone()), Peer::start(config))?;
    for peer in [&a, &b] {
        eventually("the peers to know each other", || async {
            peer.server_count("/chat").await.ok() == Some(2)
        })
        .await?;
    }
    let near = a.connect("/chat").await?.sid;
    let far = b.connect("/chat").await?.sid;
    let outside = b.connect("/").await?.sid;
    let all = Select::all("/chat");

    let args: [Value; 3] =
        [json!({ "ü": [1, 2.5, null] }), bin([0, 255, 7]), json!({ "$date": "2020-02-03T04:05:06.000Z" })];
    a.emit(&all, "plain", &args[..1]).await?;
    a.emit(&all, "binary", &args).await?;
    for (peer, sid) in [(&a, &near), (&b, &far)] {
        peer.wait_client_event(sid, "binary", 1).await?;
        let received = peer.take_received(sid).await?;
        assert_eq!(received.len(), 2);
        assert_eq!((received[0].event.as_str(), &received[0].args[..]), ("plain", &args[..1]));
        assert_eq!(received[1].args[..2], args[..2]);
    }

    b.server_join(&far, &["room"]).await?;
    b.set_data(&far, json!({ "avatar": bin(b"png") })).await?;
    a.emit(&Select::room("/chat", "room"), "targeted", &[]).await?;
    b.wait_client_event(&far, "targeted", 1).await?;
    let sockets = a.fetch_sockets(&Select::room("/chat", "room").timeout(20_000)).await?;
    assert_eq!(sockets.len(), 1);
    assert_eq!((&sockets[0].id, &sockets[0].data), (&far, &json!({ "avatar": bin(b"png") })));
    assert!(sockets[0].rooms.contains(&"room".to_owned()) && sockets[0].rooms.contains(&far));
    assert_eq!(sockets[0].handshake["address"], "127.0.0.1");

    b.on_server_side("/chat", "ask", ServerSideReply::Answer(json!("told"))).await?;
    let responses =
        all_responses(async || a.server_side_emit_with_ack("/chat", "ask", &[json!(1)]).await).await?;
    assert_eq!(responses, [json!("told")]);
    assert_eq!(b.server_side_received("/chat").await?[0].args, [json!(1)]);

    a.client_ack(&near, "question", Some(json!("near"))).await?;
    b.client_ack(&far, "question", Some(bin([1]))).await?;
    let acks = a.emit_with_ack(&all.clone().timeout(20_000), "question", &[]).await?;
    let Acks::Complete { acks } = acks else { panic!("{acks:?}") };
    assert_eq!(acks.len(), 2);
    assert!(acks.contains(&json!("near")) && acks.contains(&bin([1])));
    b.client_ack(&far, "question", None).await?;
    partial_acks(&[json!("near")], &[300, 2_500, 12_500, 30_000], async |timeout| {
        a.emit_with_ack(&all.clone().timeout(timeout), "question", &[]).await
    })
    .await?;

    assert_eq!(b.client_received(&outside).await?, []);
    a.disconnect_sockets(&Select::room("/chat", "room"), true).await?;
    assert!(b.client_disconnected(&far, 100_000).await?.disconnected);
    assert_eq!((a.events(), b.events()), (vec![], vec![]));
    a.close().await?;
    eventually("the other peer to notice", || async { b.server_count("/chat").await.ok() == Some(1) }).await
}

#[tokio::test]
async fn a_session_moves_to_another_peer() -> Result<()> {
    let redis = RedisServer::start()?;
    let config = PeerConfig::new(Generation::V03, redis.url()).recovery();
    let (a, b) = tokio::try_join!(Peer::start(config.clone()), Peer::start(config))?;
    let client = a.connect("/").await?;
    b.emit(&Select::all("/"), "first", &[]).await?;
    a.wait_client_event(&client.sid, "first", 1).await?;

    let session = a.drop_client(&client.sid).await?.session().expect("a session with an offset");
    a.emit(&Select::all("/"), "missed", &[json!(1)]).await?;
    eventually("the entry", || async {
        let entries = redis.command(&["XRANGE", "socket.io", "-", "+"]);
        stream_holds(&entries, "missed")
    })
    .await?;
    let again = b.connect_recovering("/", session).await?;
    assert!(again.recovered);
    assert_eq!(again.sid, client.sid);
    assert_eq!(b.wait_client_event(&client.sid, "missed", 1).await?[0].args[0], json!(1));
    Ok(())
}

fn stream_holds(entries: &Reply, text: &str) -> bool {
    entries.items().iter().any(|entry| {
        let data = entry.items()[1].field("data").and_then(Reply::as_str);
        data.is_some_and(|data| data.contains(text))
    })
}

#[tokio::test]
async fn a_peer_that_dies_says_why() -> Result<()> {
    let redis = RedisServer::start()?;
    let error = Peer::start(PeerConfig::new(Generation::V02, redis.url()).client(RedisClient::Redis5))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("commandOptions"), "{error}");

    let peer = Peer::start(PeerConfig::new(Generation::V03, redis.url())).await?;
    let error = peer.client_received("nobody").await.unwrap_err();
    assert_eq!(error.to_string(), "client_received: no such client: nobody");
    peer.kill().await;
    Ok(())
}
