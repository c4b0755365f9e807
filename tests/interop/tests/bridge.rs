//! Both generations in one cluster, and a node of ours between them, as in a rolling upgrade.

use serde_json::{Value, json};
use sio_streams_driver::sio_streams_core::Dialect;
use sio_streams_interop::{
    Acks, Generation, Member, OurServer, Peer, PeerConfig, RedisClient, Responses, Result, Select,
    ServerSideReply, all_responses, bin, eventually, quick,
};
use sio_streams_testkit::RedisServer;

const NSP: &str = "/chat";
const NAMESPACES: [&str; 2] = ["/", NSP];

struct Mixed {
    redis: RedisServer,
    old: Member,
    new: Member,
    bridge: Member,
}

fn old(redis: &RedisServer) -> PeerConfig {
    PeerConfig::new(Generation::V02, redis.url()).quick().namespaces(&NAMESPACES)
}

fn new(redis: &RedisServer) -> PeerConfig {
    PeerConfig::new(Generation::V03, redis.url()).client(RedisClient::Redis5).namespaces(&NAMESPACES)
}

impl Mixed {
    async fn start() -> Result<Self> {
        let redis = RedisServer::start()?;
        let old = Member::from(Peer::start(old(&redis)).await?);
        let new = Member::from(Peer::start(new(&redis)).await?);
        let ours = OurServer::start(quick(Dialect::Bridge), &redis.url(), &NAMESPACES).await?;
        let bridge = Member::from(ours);
        // 0.2 and 0.3 servers don't see each other; the bridge sees both, and both see it.
        for nsp in NAMESPACES {
            bridge.wait_server_count(nsp, 3).await?;
            old.wait_server_count(nsp, 2).await?;
            new.wait_server_count(nsp, 2).await?;
        }
        Ok(Mixed { redis, old, new, bridge })
    }

    async fn clients(&self) -> Result<[String; 3]> {
        Ok([self.old.connect(NSP).await?, self.new.connect(NSP).await?, self.bridge.connect(NSP).await?])
    }
}

fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by_key(ToString::to_string);
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_asks_both_generations() -> Result<()> {
    let Mixed { old, new, bridge, redis: _redis } = &Mixed::start().await?;
    let cluster = [old, new, bridge];
    let sids = [old.connect(NSP).await?, new.connect(NSP).await?, bridge.connect(NSP).await?];
    let everyone = Select::all(NSP);

    let mut found: Vec<String> =
        bridge.fetch_sockets(&everyone).await?.into_iter().map(|socket| socket.id).collect();
    found.sort();
    let mut expected = sids.to_vec();
    expected.sort();
    assert_eq!(found, expected);

    for (server, value) in [(old, json!("old")), (new, bin(b"new"))] {
        server.on_server_side(NSP, "ask", ServerSideReply::Answer(value)).await?;
    }
    let answers = bridge.server_side_emit_with_ack(NSP, "ask", &[bin([1])]).await?;
    let Responses::Complete { responses } = answers else { panic!("{answers:?}") };
    assert_eq!(sorted(responses), sorted(vec![json!("old"), bin(b"new")]));

    for (index, server) in cluster.iter().enumerate() {
        server.client_ack(&sids[index], "question", Some(json!(index))).await?;
    }
    for args in [vec![json!("text")], vec![bin([0, 255])]] {
        let acks = bridge.emit_with_ack(&everyone.clone().timeout(20_000), "question", &args).await?;
        let Acks::Complete { acks } = acks else { panic!("{acks:?}") };
        assert_eq!(sorted(acks), [json!(0), json!(1), json!(2)]);
    }

    for server in [old, new] {
        server.on_server_side(NSP, "told", ServerSideReply::Silent).await?;
    }
    bridge.server_side_emit(NSP, "told", &[json!(7)]).await?;
    for server in [old, new] {
        assert_eq!(server.wait_server_side(NSP, "told", 1).await?[0].args, [json!(7)]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_answers_both_generations() -> Result<()> {
    let mixed = Mixed::start().await?;
    let [_, _, ours] = mixed.clients().await?;
    let only_ours = Select::room(NSP, &ours);
    mixed.bridge.client_ack(&ours, "question", Some(json!("ours"))).await?;
    mixed.bridge.on_server_side(NSP, "ask", ServerSideReply::Answer(json!("ours"))).await?;
    mixed.bridge.set_data(&ours, json!({ "is": "ours" })).await?;
    for asks in [&mixed.old, &mixed.new] {
        let found = asks.fetch_sockets(&only_ours.clone().timeout(20_000)).await?;
        assert_eq!((found.len(), &found[0].id, &found[0].data), (1, &ours, &json!({ "is": "ours" })));
        let responses = all_responses(async || asks.server_side_emit_with_ack(NSP, "ask", &[]).await).await?;
        assert_eq!(responses, [json!("ours")]);
        let acks = asks.emit_with_ack(&only_ours.clone().timeout(20_000), "question", &[]).await?;
        assert_eq!(acks, Acks::Complete { acks: vec![json!("ours")] });
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_hears_everyone_and_obeys() -> Result<()> {
    let mixed = Mixed::start().await?;
    let sids = mixed.clients().await?;
    let cluster = [&mixed.old, &mixed.new, &mixed.bridge];
    for (index, server) in cluster.iter().enumerate() {
        server.emit(&Select::all(NSP), "from", &[json!(index), bin([index as u8])]).await?;
        for (other, sid) in cluster.iter().zip(&sids) {
            other.wait_client_event(sid, "from", index + 1).await?;
        }
        let room = format!("room {index}");
        server.sockets_join(&Select::all(NSP), &[&room]).await?;
        for (other, sid) in cluster.iter().zip(&sids) {
            other.wait_room(NSP, sid, &room, true).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bridges_count_each_other_once() -> Result<()> {
    let mixed = Mixed::start().await?;
    let second = OurServer::start(quick(Dialect::Bridge), &mixed.redis.url(), &NAMESPACES).await?;
    let second = Member::from(second);
    let sid = second.connect(NSP).await?;
    for bridge in [&mixed.bridge, &second] {
        bridge.wait_server_count(NSP, 4).await?;
        let found = bridge.fetch_sockets(&Select::room(NSP, &sid)).await?;
        assert_eq!(found.len(), 1);
    }
    mixed.old.wait_server_count(NSP, 3).await?;
    mixed.new.wait_server_count(NSP, 3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_under_way_loses_nothing() -> Result<()> {
    let Mixed { redis, old, new: stays, bridge } = Mixed::start().await?;
    let ours = bridge.connect(NSP).await?;
    let theirs = stays.connect(NSP).await?;

    // Three senders, without a pause: ours, the 0.3 server that stays, and whichever server is
    // being replaced.
    let total = 600;
    let mut leaving = Some(old);
    let mut upgraded: Option<Member> = None;
    let mut replaced_sent = 0;
    for number in 0..total {
        bridge.emit(&Select::all(NSP), "from ours", &[json!(number)]).await?;
        stays.emit(&Select::all(NSP), "from theirs", &[json!(number)]).await?;
        let replaced = leaving.as_ref().or(upgraded.as_ref());
        if let Some(replaced) = replaced {
            replaced.emit(&Select::all(NSP), "from the replaced", &[json!(replaced_sent)]).await?;
            replaced_sent += 1;
        }
        if number == total / 3 {
            let old = leaving.take().expect("still there");
            old.close().await?;
        }
        if number == total / 2 {
            upgraded = Some(Member::from(Peer::start(new(&redis)).await?));
        }
    }
    let upgraded = upgraded.expect("started");
    for (server, sid) in [(&bridge, &ours), (&stays, &theirs)] {
        for (event, count) in
            [("from ours", total), ("from theirs", total), ("from the replaced", replaced_sent)]
        {
            let received = server.wait_client_event(sid, event, count).await?;
            let numbers: Vec<&Value> = received.iter().map(|received| &received.args[0]).collect();
            let expected: Vec<Value> = (0..count).map(Value::from).collect();
            assert_eq!(numbers, expected.iter().collect::<Vec<_>>(), "{event}");
        }
    }
    bridge.wait_server_count(NSP, 3).await?;
    eventually("both 0.3 servers to answer", || async {
        bridge.fetch_sockets(&Select::all(NSP)).await.is_ok_and(|found| found.len() == 2)
    })
    .await?;
    upgraded.close().await?;
    bridge.wait_server_count(NSP, 2).await
}
