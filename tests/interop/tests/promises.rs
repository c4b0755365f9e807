//! Tests the promises of docs/guarantees.md about requests, and about entries that somebody else
//! writes, with real Node servers.

mod common;

use common::{Kind, Variant, entries};
use serde_json::{Value, json};
use sio_streams_driver::backend::{Backend, ConnectError, PushSender};
use sio_streams_driver::sio_streams_core::Lane;
use sio_streams_interop::{
    Acks, Generation, Member, OurServer, Peer, RedisClient, Result, Select, backend, eventually,
};
use sio_streams_redis_rs::RedisBackend;
use sio_streams_testkit::{Proxy, RedisServer};

const NSP: &str = "/chat";

const V02: Kind = kind("0.2.3", Generation::V02, RedisClient::Redis4);
const V03: Kind = kind("0.3.1", Generation::V03, RedisClient::Redis5);
const CLASSIC: Kind = kind("classic", Generation::Classic, RedisClient::Redis4);
const SHARDED: Kind = kind("sharded", Generation::Sharded, RedisClient::Redis5);

const fn kind(name: &'static str, generation: Generation, client: RedisClient) -> Kind {
    Kind { name, generation, client, variant: Variant::Default }
}

/// A backend whose Pub/Sub connection goes by a way of its own.
#[derive(Debug)]
struct Routed {
    direct: RedisBackend,
    subscriber: RedisBackend,
}

impl Backend for Routed {
    type Connection = <RedisBackend as Backend>::Connection;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<Self::Connection, ConnectError> {
        let way = if *lane == Lane::Subscriber { &self.subscriber } else { &self.direct };
        way.connect(lane, pushes).await
    }
}

/// A Node server with a client that acknowledges, and a server of ours whose Pub/Sub link can be
/// cut.
struct Pair {
    node: Member,
    sid: String,
    ours: OurServer,
    link: Proxy,
    _redis: RedisServer,
}

impl Pair {
    async fn start(kind: Kind) -> Result<Self> {
        let redis = RedisServer::start()?;
        let (node, sid) = answering(kind, &redis).await?;
        let link = Proxy::start(redis.addr())?;
        let routed =
            Routed { direct: backend(&redis.url())?, subscriber: backend(&redis.url_via(link.port()))? };
        let ours = OurServer::start_on(kind.ours(), routed, &[NSP]).await?;
        Ok(Pair { node, sid, ours, link, _redis: redis })
    }

    /// Waits until the server of ours has noticed that its link is there, or is not.
    async fn noticed(&self, up: bool) -> Result<()> {
        eventually(&format!("the Pub/Sub link to be there: {up}"), || async {
            let log = self.ours.log();
            let last = log.iter().rfind(|line| line.starts_with("Link { lane: Subscriber,"));
            last.is_some_and(|line| line.contains("link: Up") == up)
        })
        .await
    }
}

/// A Node server with a client that acknowledges the event `ask`.
async fn answering(kind: Kind, redis: &RedisServer) -> Result<(Member, String)> {
    let node = Member::from(Peer::start(kind.peer(&redis.url())).await?);
    let sid = node.connect(NSP).await?;
    node.client_ack(&sid, "ask", Some(json!("yes"))).await?;
    Ok((node, sid))
}

/// The first arguments of the events of this name that a client has got, once there are this many.
async fn heard(server: &Member, sid: &str, event: &str, count: usize) -> Result<Vec<Value>> {
    let received = server.wait_client_event(sid, event, count).await?;
    Ok(received.into_iter().map(|received| received.args.into_iter().next().unwrap_or_default()).collect())
}

fn numbers(count: usize) -> Vec<Value> {
    (0..count).map(|number| json!(number)).collect()
}

/// Nodes that have just opened the namespace ask, and have heard nothing of the Node server yet.
async fn a_new_node_asks(kind: Kind) -> Result<()> {
    let redis = RedisServer::start()?;
    let (node, sid) = answering(kind, &redis).await?;
    for round in 0..10 {
        let ours = OurServer::start(kind.ours(), &redis.url(), &[NSP]).await?;
        let acks = ours.emit_with_ack(&Select::all(NSP), "ask", &[json!(round)]).await?;
        assert_eq!(heard(&node, &sid, "ask", round + 1).await?, numbers(round + 1), "{}", kind.name);
        // By heartbeats the Node server may not be known yet. A subscriber is there from the
        // beginning.
        if let (Acks::Complete { acks }, false) = (acks, kind.generation == Generation::V02) {
            assert_eq!(acks, [json!("yes")], "{}", kind.name);
        }
        ours.close().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_asks_streams_0_2() -> Result<()> {
    a_new_node_asks(V02).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_asks_streams_0_3() -> Result<()> {
    a_new_node_asks(V03).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_asks_the_classic_adapter() -> Result<()> {
    a_new_node_asks(CLASSIC).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_asks_the_sharded_adapter() -> Result<()> {
    a_new_node_asks(SHARDED).await
}

/// While its Pub/Sub link is down, a node asks all the same, and does not take the answers that it
/// can't hear for given.
async fn a_deaf_node_asks(kind: Kind) -> Result<()> {
    let pair = Pair::start(kind).await?;
    let to = Select::all(NSP).timeout(1_000);
    let mut asked = 0;
    for _ in 0..2 {
        pair.link.cut();
        // Once before the node need know that the link is down, and once when it does.
        for known in [false, true] {
            if known {
                pair.noticed(false).await?;
            }
            let acks = pair.ours.emit_with_ack(&to, "ask", &[json!(asked)]).await?;
            asked += 1;
            assert_eq!(heard(&pair.node, &pair.sid, "ask", asked).await?, numbers(asked), "{}", kind.name);
            let told = matches!(&acks, Acks::Failed { partial, .. } if partial.is_empty());
            assert!(told, "{}, known: {known}: {acks:?}", kind.name);
        }
        pair.link.restore()?;
        pair.noticed(true).await?;
        let everybody = Acks::Complete { acks: vec![json!("yes")] };
        eventually("an answer by the restored link", || {
            asked += 1;
            let (question, pair, everybody) = ([json!(asked - 1)], &pair, &everybody);
            async move {
                let to = Select::all(NSP).timeout(5_000);
                pair.ours.emit_with_ack(&to, "ask", &question).await.is_ok_and(|acks| acks == *everybody)
            }
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_node_asks_streams_0_3() -> Result<()> {
    a_deaf_node_asks(V03).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_node_asks_the_classic_adapter() -> Result<()> {
    a_deaf_node_asks(CLASSIC).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_node_asks_the_sharded_adapter() -> Result<()> {
    a_deaf_node_asks(SHARDED).await
}

/// The question of a request whose time is up before it could be written is published all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_waited_longer_than_its_request_is_published() -> Result<()> {
    let redis = RedisServer::start()?;
    let (node, sid) = answering(V02, &redis).await?;
    let link = Proxy::start(redis.addr())?;
    let ours = OurServer::start(V02.ours(), &redis.url_via(link.port()), &[NSP]).await?;
    link.cut();
    eventually("the end of the writer's link", || async {
        ours.log().iter().any(|line| line.starts_with("Link { lane: Writer, link: Down"))
    })
    .await?;
    let acks = ours.emit_with_ack(&Select::all(NSP).timeout(100), "ask", &[json!(0)]).await?;
    let pending = matches!(&acks, Acks::Failed { error, .. } if error.contains("pending: true"));
    assert!(pending, "{acks:?}");
    link.restore()?;
    assert_eq!(heard(&node, &sid, "ask", 1).await?, numbers(1));
    Ok(())
}

/// While its Pub/Sub link is down, a node does not say that its own sockets are all there are, nor
/// that it is alone.
async fn a_deaf_node_fetches(kind: Kind) -> Result<()> {
    let pair = Pair::start(kind).await?;
    let Pair { ours, link, sid, .. } = &pair;
    let own = ours.connect(NSP).await?;
    let both = |count: Result<u64>| count.is_ok_and(|count| count == 2);
    let fetch = || async {
        let found = ours.fetch_sockets_outcome(&Select::all(NSP).timeout(2_000)).await?;
        let sids: Vec<String> = found.sockets.iter().map(|socket| socket.id.to_string()).collect();
        Ok::<_, sio_streams_interop::Error>((sids, found.outcome))
    };
    eventually("two servers", || async { both(ours.server_count(NSP).await) }).await?;
    for _ in 0..2 {
        link.cut();
        for known in [false, true] {
            if known {
                pair.noticed(false).await?;
            }
            let (sids, outcome) = fetch().await?;
            assert!(!outcome.is_complete() || sids.contains(sid), "{}: {sids:?}, {outcome:?}", kind.name);
        }
        eventually("two servers, by a deaf one", || async { both(ours.server_count(NSP).await) }).await?;
        link.restore()?;
        pair.noticed(true).await?;
        eventually("everybody's sockets", || async {
            let (mut sids, outcome) = fetch().await.ok()?;
            let mut expected = [own.clone(), sid.clone()];
            sids.sort();
            expected.sort();
            (outcome.is_complete() && sids == expected).then_some(())
        })
        .await?;
        eventually("two servers again", || async { both(ours.server_count(NSP).await) }).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_node_fetches_from_streams_0_3() -> Result<()> {
    a_deaf_node_fetches(V03).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_node_fetches_from_the_classic_adapter() -> Result<()> {
    a_deaf_node_fetches(CLASSIC).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_node_fetches_from_the_sharded_adapter() -> Result<()> {
    a_deaf_node_fetches(SHARDED).await
}

/// Writes a broadcast of the event `news` by hand, with more fields than an emitter's.
fn write(redis: &RedisServer, fields: &[&str], value: &Value) {
    let data = json!({
        "packet": { "type": 2, "data": ["news", value] },
        "opts": { "rooms": [], "except": [], "flags": {} },
    });
    let data = data.to_string();
    let mut command = vec!["XADD", "socket.io", "*", "nsp", NSP, "type", "3", "data", &data];
    command.extend(fields);
    redis.command(&command);
}

/// Emitters share the name `emitter`, or have none: their numbers are nobody's, and no entry is
/// taken for a copy of another.
async fn numbers_of_emitters_count_for_nobody(kind: Kind) -> Result<()> {
    let redis = RedisServer::start()?;
    let node = Member::from(Peer::start(kind.peer(&redis.url())).await?);
    let ours = Member::from(OurServer::start(kind.ours(), &redis.url(), &[NSP]).await?);
    let (far, near) = (node.connect(NSP).await?, ours.connect(NSP).await?);
    let mut count = 0;
    for uid in [&["uid", "emitter"][..], &[]] {
        for number in [&["sio-streams-seq", "17"][..], &["seq", "17"], &["sio-streams-seq", "16"], &[]] {
            for _ in 0..2 {
                write(&redis, &[uid, number].concat(), &json!(count));
                count += 1;
            }
        }
    }
    for (server, sid) in [(&node, &far), (&ours, &near)] {
        assert_eq!(heard(server, sid, "news", count).await?, numbers(count), "{}", kind.name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_emitters_count_for_nobody_in_streams_0_2() -> Result<()> {
    numbers_of_emitters_count_for_nobody(V02).await
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_emitters_count_for_nobody_in_streams_0_3() -> Result<()> {
    numbers_of_emitters_count_for_nobody(V03).await
}

/// An entry in a node's name, with the highest number that there is, is delivered, and hides
/// nothing that the node says before it has seen it, or afterwards.
async fn a_forged_number_hides_nothing(kind: Kind) -> Result<()> {
    let redis = RedisServer::start()?;
    let node = Member::from(Peer::start(kind.peer(&redis.url())).await?);
    let imitated = OurServer::start(kind.ours(), &redis.url(), &[NSP]).await?;
    let other = Member::from(OurServer::start(kind.ours(), &redis.url(), &[NSP]).await?);
    let (far, near) = (node.connect(NSP).await?, other.connect(NSP).await?);
    let mut expected = Vec::new();
    for round in 0..2 {
        for number in 0..10 {
            let value = json!([round, number]);
            imitated.emit(&Select::all(NSP), "news", std::slice::from_ref(&value)).await?;
            expected.push(value);
        }
        if round == 0 {
            let forged = json!("forged");
            let uid = imitated.uid();
            write(&redis, &["uid", uid, "sio-streams-seq", "18446744073709551615"], &forged);
            expected.push(forged);
        }
    }
    eventually("the node to see its namesake", || async {
        imitated.log().iter().any(|line| line.starts_with("NameTaken"))
    })
    .await?;
    for number in 0..10 {
        let value = json!(["known", number]);
        imitated.emit(&Select::all(NSP), "news", std::slice::from_ref(&value)).await?;
        expected.push(value);
    }
    let written = entries(&redis, "socket.io");
    let by_name = written.iter().filter(|entry| entry.get("type").is_some_and(|kind| kind == "3"));
    assert_eq!(by_name.count(), expected.len(), "nothing is said twice");
    for (server, sid) in [(&node, &far), (&other, &near)] {
        assert_eq!(heard(server, sid, "news", expected.len()).await?, expected, "{}", kind.name);
    }
    let Member::Ours(other) = other else { unreachable!() };
    let repeated: Vec<_> = other.log().into_iter().filter(|line| line.starts_with("Repeated")).collect();
    assert_eq!(repeated, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_number_hides_nothing_in_streams_0_2() -> Result<()> {
    a_forged_number_hides_nothing(V02).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_number_hides_nothing_in_streams_0_3() -> Result<()> {
    a_forged_number_hides_nothing(V03).await
}
