//! The server of `examples/server.rs` beside a Node server, in one cluster, driven by
//! `socket.io-client`.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sio_streams_driver::sio_streams_core::{BroadcastOptions, Dialect, Packet, Payload};
use sio_streams_interop::{
    Acks, ClientState, ConnectOptions, Generation, Peer, PeerConfig, Responses, Result, Select,
    ServerSideReply, Session, all_responses, backend, bin, eventually, recovering,
};
use sio_streams_testkit::{RedisServer, Reply};
use tokio::net::TcpListener;
use tokio::sync::RwLock;
use tokio::time::sleep;

#[path = "../../../examples/server.rs"]
#[allow(dead_code, reason = "the test has a `main` of its own")]
mod server;

use server::Server;

/// A Node server, and two of the example.
struct Cluster {
    redis: RedisServer,
    node: Peer,
    ours: Vec<(Arc<Server>, u16)>,
}

/// One of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Node,
    Ours(usize),
}

impl Cluster {
    async fn start() -> Result<Self> {
        let redis = RedisServer::start()?;
        let node = Peer::start(PeerConfig::new(Generation::V03, redis.url()).recovery()).await?;
        let mut ours = Vec::new();
        for _ in 0..2 {
            let server = Server::join(recovering(Dialect::Streams03), backend(&redis.url())?).await.unwrap();
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let port = listener.local_addr()?.port();
            tokio::spawn(Arc::clone(&server).listen(listener));
            ours.push((server, port));
        }
        Ok(Cluster { redis, node, ours })
    }

    async fn connect(&self, at: At, recover: Option<Session>) -> Result<ClientState> {
        let port = match at {
            At::Node => None,
            At::Ours(index) => Some(self.ours[index].1),
        };
        self.node.connect_with(&ConnectOptions { port, recover, ..ConnectOptions::default() }).await
    }

    async fn join(&self, at: At, sid: &str, room: &str) -> Result<()> {
        match at {
            At::Node => self.node.server_join(sid, &[room]).await,
            At::Ours(_) => {
                let answer = self.node.client_ask(sid, "join", &[json!(room)]).await?;
                assert_eq!(answer, [json!(null), json!(null)]);
                Ok(())
            }
        }
    }

    /// Waits until the client has got the event, and returns its arguments without the offset.
    async fn got(&self, sid: &str, event: &str) -> Result<Vec<Value>> {
        let mut args = self.node.wait_client_event(sid, event, 1).await?.remove(0).args;
        args.pop();
        Ok(args)
    }

    async fn stored(&self, pid: &str) -> Result<()> {
        let key = format!("sio:session:{pid}");
        let is_stored = || async { self.redis.command(&["EXISTS", &key]) == Reply::Int(1) };
        eventually("the session", is_stored).await
    }
}

fn room() -> Select {
    Select::room("/", "room")
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_both_talk_to_each_other() -> Result<()> {
    let cluster = Cluster::start().await?;
    let Cluster { node, ours, .. } = &cluster;
    let (one, _) = &ours[0];
    let ann = cluster.connect(At::Node, None).await?.sid;
    let ben = cluster.connect(At::Ours(0), None).await?.sid;
    let cat = cluster.connect(At::Ours(1), None).await?.sid;
    for (at, sid) in [(At::Node, &ann), (At::Ours(0), &ben), (At::Ours(1), &cat)] {
        cluster.join(at, sid, "room").await?;
    }

    // Events, with binary values, both ways.
    let image = bin([0, 255, 7]);
    let told =
        node.client_ask(&ben, "tell", &[json!("room"), json!(["from ben", image, { "a": 1 }])]).await?;
    assert_eq!(told, [json!(null), json!(null)]);
    node.emit(&room(), "from node", &[image.clone(), json!("text")]).await?;
    for sid in [&ann, &cat] {
        assert_eq!(cluster.got(sid, "from ben").await?, [image.clone(), json!({ "a": 1 })]);
    }
    for sid in [&ann, &ben, &cat] {
        assert_eq!(cluster.got(sid, "from node").await?, [image.clone(), json!("text")]);
    }
    assert!(!node.client_received(&ben).await?.iter().any(|it| it.event == "from ben"));

    // Acknowledgements, both ways.
    let answers = [(&ann, json!("ann")), (&ben, json!("ben")), (&cat, json!({ "cat": image }))];
    for (sid, answer) in &answers {
        node.client_ack(sid, "who?", Some(answer.clone())).await?;
    }
    let answer = node.client_ask(&ben, "ask", &[json!("room"), json!(["who?"])]).await?;
    assert_eq!(sorted(answer[1].as_array().unwrap()), sorted(&[answers[0].1.clone(), answers[2].1.clone()]));
    let acks = node.emit_with_ack(&room().timeout(60_000), "who?", &[]).await?;
    let Acks::Complete { acks } = acks else { panic!("{acks:?}") };
    assert_eq!(sorted(&acks), sorted(&answers.map(|(_, answer)| answer)));
    let wrong = node.client_ask(&ben, "sing", &[json!("room")]).await?;
    assert_eq!(wrong, [json!("there is no event Some(\"sing\")"), json!(null)]);

    // Servers among themselves.
    let echoes =
        all_responses(async || node.server_side_emit_with_ack("/", "echo", &[json!("hello")]).await).await?;
    assert_eq!(echoes, [json!("hello"), json!("hello")]);
    node.on_server_side("/", "echo", ServerSideReply::Answer(json!("node"))).await?;
    let asked = one.nsp.server_side_emit_with_ack(Payload::event("echo", &("ours",)).unwrap()).await.unwrap();
    assert!(asked.outcome.is_complete(), "{:?}", asked.outcome);
    let values: Vec<Value> = asked.responses.iter().map(|(_, value)| value.decode().unwrap()).collect();
    assert_eq!(sorted(&values), [json!("node"), json!("ours")]);

    // Rooms and data, seen and changed from the other side.
    node.sockets_join(&Select::room("/", &ben), &["vip"]).await?;
    let joined = || async { one.sockets().rooms.of(&ben).unwrap().contains(&"vip".into()) };
    eventually("ben to be in the room", joined).await?;
    one.nsp.sockets_join(BroadcastOptions::to(&*ann), vec!["vip".into()]).await.unwrap();
    let joined = || async { node.rooms("/").await.unwrap().contains_key("vip") };
    eventually("ann to be in the room", joined).await?;
    let data = Payload::encode(&json!({ "name": "Ben" })).unwrap();
    one.sockets().clients.get_mut(&*ben).unwrap().session.data = data;
    let vips = node.fetch_sockets(&Select::room("/", "vip")).await?;
    let mut ids: Vec<&str> = vips.iter().map(|socket| &*socket.id).collect();
    ids.sort_unstable();
    let mut expected = [&*ann, &*ben];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    let seen = vips.iter().find(|socket| socket.id == ben).unwrap();
    assert_eq!((&seen.data, &seen.handshake["address"]), (&json!({ "name": "Ben" }), &json!("127.0.0.1")));
    assert!(["room", "vip", &*ben].iter().all(|room| seen.rooms.iter().any(|it| it == room)));
    let found = one.nsp.fetch_sockets(BroadcastOptions::to("vip")).await.unwrap();
    assert!(found.outcome.is_complete() && found.sockets.len() == 2, "{found:?}");
    node.sockets_leave(&Select::room("/", &ben), &["vip"]).await?;
    let left = || async { !one.sockets().rooms.has_room("vip") };
    eventually("ben to have left the room", left).await?;

    // A client that is disconnected, by a server or by itself, leaves no session.
    node.disconnect_sockets(&Select::room("/", &cat), true).await?;
    let reason = node.client_disconnected(&cat, 60_000).await?.reason;
    assert_eq!(reason.as_deref(), Some("io server disconnect"));
    node.disconnect_client(&ben).await?;
    eventually("ben to be gone", || async { one.sockets().clients.is_empty() }).await?;
    assert_eq!(cluster.redis.command(&["KEYS", "sio:session:*"]).items().len(), 0);
    Ok(())
}

fn sorted(values: &[Value]) -> Vec<Value> {
    let mut values = values.to_vec();
    values.sort_by_key(Value::to_string);
    values
}

/// Publishes numbers to the room until it is dropped.
struct Voice {
    /// The last number that is published.
    said: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Voice {
    /// While the gate is locked for writing, nothing is published or on its way.
    fn start(server: Arc<Server>, name: &'static str, gate: Arc<RwLock<()>>) -> Self {
        let said = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&said);
        let task = tokio::spawn(async move {
            for number in 1_u64.. {
                let open = gate.read().await;
                let packet = Packet::event("number", &(name, number)).unwrap();
                server.nsp.broadcast(packet, BroadcastOptions::to("room")).await.unwrap();
                count.store(number, Ordering::SeqCst);
                drop(open);
                sleep(Duration::from_millis(1)).await;
            }
        });
        Voice { said, task }
    }

    /// Waits until so many more are published. Returns the last number.
    async fn more(&self, count: u64) -> Result<u64> {
        let goal = self.said.load(Ordering::SeqCst) + count;
        eventually("more numbers", || async { self.said.load(Ordering::SeqCst) >= goal }).await?;
        Ok(goal)
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The numbers that a client has got, of each voice, and the offsets that came with them.
async fn numbers(node: &Peer, sid: &str) -> Result<Vec<(String, u64, String)>> {
    let received = node.client_received(sid).await?;
    let numbers = received.into_iter().filter(|it| it.event == "number");
    Ok(numbers.map(|it| serde_json::from_value(it.args.into()).unwrap()).collect())
}

/// Two servers of the example publish all the time. Node's own server is silent, and nothing is
/// published in the moment in which a client comes back to it: Node gives its own packets to its
/// clients before earlier ones of others, and replays what it has still to read
/// (`docs/recovery.md`).
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_moves_between_them_misses_nothing_and_gets_nothing_twice() -> Result<()> {
    let cluster = Cluster::start().await?;
    let node = &cluster.node;
    let gate = Arc::new(RwLock::new(()));
    let voices = [("one", 0), ("two", 1)]
        .map(|(name, index)| Voice::start(Arc::clone(&cluster.ours[index].0), name, Arc::clone(&gate)));
    let witness = cluster.connect(At::Node, None).await?.sid;
    let all = [At::Node, At::Ours(0), At::Ours(1)];
    for (from, to) in all.into_iter().flat_map(|from| all.map(|to| (from, to))) {
        let client = cluster.connect(from, None).await?;
        cluster.join(from, &client.sid, "room").await?;
        let begin = voices[0].more(20).await?;
        eventually("numbers", || async {
            numbers(node, &client.sid).await.unwrap().iter().any(|it| it.0 == "one" && it.1 >= begin)
        })
        .await?;
        let session = node.cut_client(&client.sid).await?.session().unwrap();
        let mut got = numbers(node, &client.sid).await?;
        cluster.stored(&session.pid).await?;
        voices[0].more(20).await?;

        let closed = match to {
            At::Node => {
                let closed = gate.write().await;
                let mark = format!("{from:?}");
                let packet = Packet::event(&mark, &()).unwrap();
                cluster.ours[0].0.nsp.broadcast(packet, BroadcastOptions::to(&*witness)).await.unwrap();
                node.wait_client_event(&witness, &mark, 1).await?;
                Some(closed)
            }
            At::Ours(_) => None,
        };
        let again = cluster.connect(to, Some(session)).await?;
        drop(closed);
        assert!(again.recovered, "from {from:?} to {to:?}");
        assert_eq!((&again.sid, &again.pid), (&client.sid, &client.pid));
        let end = voices[0].more(20).await?;
        eventually("the numbers that follow", || async {
            numbers(node, &again.sid).await.unwrap().iter().any(|it| it.0 == "one" && it.1 >= end)
        })
        .await?;
        got.extend(numbers(node, &again.sid).await?);

        let mut next = BTreeMap::new();
        for (voice, number, _) in &got {
            let expected = next.insert(voice, number + 1).unwrap_or(*number);
            assert_eq!(*number, expected, "{voice}, from {from:?} to {to:?}");
        }
        assert_eq!(next.len(), 2, "from {from:?} to {to:?}");
        node.disconnect_client(&again.sid).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_lets_its_clients_go_to_others() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let client = cluster.connect(At::Ours(0), None).await?;
        cluster.join(At::Ours(0), &client.sid, "room").await?;
        clients.push(client);
    }
    cluster.node.emit(&room(), "before", &[]).await?;
    let mut sessions = Vec::new();
    for client in &clients {
        cluster.got(&client.sid, "before").await?;
        sessions.push(cluster.node.client_state(&client.sid).await?.session().unwrap());
    }
    cluster.ours[0].0.close().await;
    for client in &clients {
        assert!(cluster.node.client_disconnected(&client.sid, 60_000).await?.disconnected);
    }
    cluster.node.emit(&room(), "meanwhile", &[json!(1)]).await?;
    for (session, at) in sessions.into_iter().zip([At::Node, At::Ours(1)]) {
        let again = cluster.connect(at, Some(session)).await?;
        assert!(again.recovered, "at {at:?}");
        assert_eq!(cluster.got(&again.sid, "meanwhile").await?, [json!(1)], "at {at:?}");
    }
    let responses = cluster.node.server_side_emit_with_ack("/", "echo", &[json!(2)]).await?;
    assert_eq!(responses, Responses::Complete { responses: vec![json!(2)] }, "one server is left");
    Ok(())
}
