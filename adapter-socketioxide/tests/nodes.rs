//! Servers of socketioxide and of Node.js in one cluster, with real clients.
//!
//! In each cluster there are a Node.js server with an official adapter, and two servers of
//! socketioxide on this one, one for each parser.

// Tests may panic: a panic is a failure.
#![allow(clippy::unwrap_used)]

mod servers;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use servers::{Clients, DYNAMIC, Oxide, Servers, node};
use sio_streams_driver::Event;
use sio_streams_driver::sio_streams_core::{BroadcastOptions, Dialect, Payload};
use sio_streams_interop::{
    Acks, Generation, Peer, PeerConfig, Result, Select, ServerSideReply, SocketInfo, bin, eventually, quick,
};
use sio_streams_socketioxide::{Cluster, Notice, sio_streams_driver};
use sio_streams_testkit::{Proxy, RedisServer};
use socketioxide::AckError;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// The kinds of Node.js servers.
const KINDS: [(&str, Generation, Dialect); 6] = [
    ("streams-0.3.1", Generation::V03, Dialect::Streams03),
    ("streams-0.2.3", Generation::V02, Dialect::Streams02),
    ("classic-8.3.0", Generation::Classic, Dialect::Classic),
    ("sharded-8.3.0", Generation::Sharded, Dialect::Sharded),
    ("bridge-to-0.3.1", Generation::V03, Dialect::Bridge),
    ("bridge-to-0.2.3", Generation::V02, Dialect::Bridge),
];

async fn broadcasts_reach_everybody(servers: &Servers, name: &str) -> Result<()> {
    let clients = servers.clients().await?;
    let (node, text) = (&servers.node, json!({ "text": "caf\u{e9}", "list": [1, 2.5, null, true] }));
    node.emit(&Select::all("/"), name, std::slice::from_ref(&text)).await?;
    servers.common.io.emit(name, &(&text,)).await.unwrap();
    servers.msgpack.io.emit(name, &(&text,)).await.unwrap();
    for client in clients.all() {
        for args in servers.heard(client, name, 3).await? {
            assert_eq!(args, std::slice::from_ref(&text));
        }
    }
    Ok(())
}

async fn a_client_speaks_to_all_but_itself(servers: &Servers, name: &str) -> Result<()> {
    let clients = servers.clients().await?;
    for speaker in [&clients.common, &clients.msgpack] {
        servers.node.client_emit(speaker, "tell the others", &[json!(name), json!("word")]).await?;
    }
    servers.heard(&clients.node, name, 2).await?;
    servers.heard(&clients.common, name, 1).await?;
    servers.heard(&clients.msgpack, name, 1).await?;
    Ok(())
}

async fn rooms_except_and_local(servers: &Servers, name: &str) -> Result<()> {
    let (one, two) = (servers.clients().await?, servers.clients().await?);
    let (room, left_out) = (format!("{name} room"), format!("{name} left out"));
    servers.join(&one, &room).await?;
    servers.join(&two, &room).await?;
    servers.join(&two, &left_out).await?;
    let fence = format!("{name} fence");
    let event = |server: &str, what: &str| format!("{name} {server} {what}");
    let to = || Select::room("/", &room);
    servers.node.emit(&to().except(&left_out), &event("node", "except"), &[]).await?;
    servers.node.emit(&to().local(), &event("node", "local"), &[]).await?;
    servers.node.emit(&to(), &fence, &[]).await?;
    for oxide in servers.oxides() {
        let server = if oxide.msgpack { "msgpack" } else { "common" };
        let to = || oxide.io.to(room.clone());
        to().except(left_out.clone()).emit(event(server, "except"), &()).await.unwrap();
        to().local().emit(event(server, "local"), &()).await.unwrap();
        to().emit(&fence, &()).await.unwrap();
    }
    for (clients, is_left_out) in [(&one, false), (&two, true)] {
        for (client, own) in clients.all().into_iter().zip(["node", "common", "msgpack"]) {
            servers.heard(client, &fence, 3).await?;
            let all = servers.node.client_received(client).await?.into_iter().map(|received| received.event);
            // Other tests emit to everybody.
            let got: BTreeSet<String> =
                all.filter(|event| event.starts_with(name) && *event != fence).collect();
            let mut expected = BTreeSet::from([event(own, "local")]);
            for server in ["node", "common", "msgpack"] {
                if !is_left_out {
                    expected.insert(event(server, "except"));
                }
            }
            assert_eq!(got, expected, "{own}, left out: {is_left_out}");
        }
    }
    Ok(())
}

/// A volatile event may be lost, so it is sent until it arrives.
async fn volatile_events_arrive_if_the_client_is_ready(servers: &Servers, name: &str) -> Result<()> {
    let clients = servers.clients().await?;
    servers.join(&clients, name).await?;
    let event = |server: &str| format!("{name} {server}");
    eventually("the volatile events", async || {
        servers.node.emit(&Select::room("/", name).volatile(), &event("node"), &[]).await.unwrap();
        for (oxide, server) in servers.oxides().into_iter().zip(["common", "msgpack"]) {
            oxide.io.to(name.to_owned()).volatile().emit(event(server), &()).await.unwrap();
        }
        let mut missing = 0;
        for client in clients.all() {
            let got = servers.node.client_received(client).await.unwrap();
            let has = |server: &&str| got.iter().any(|received| received.event == event(server));
            missing += 3 - ["node", "common", "msgpack"].iter().filter(|server| has(server)).count();
        }
        missing == 0
    })
    .await
}

async fn binary_values_arrive(servers: &Servers, name: &str) -> Result<()> {
    let clients = servers.clients().await?;
    let (bytes, nested) = (Bytes::from_static(b"\x00\xff\x80one"), Bytes::from_static(b""));
    let args = [json!("text"), bin(&bytes), json!([bin(&nested)])];
    servers.node.emit(&Select::all("/"), name, &args).await?;
    for oxide in servers.oxides() {
        oxide.io.emit(name, &("text", bytes.clone(), vec![nested.clone()])).await.unwrap();
    }
    for client in clients.all() {
        for got in servers.heard(client, name, 3).await? {
            assert_eq!(got, args);
        }
    }
    Ok(())
}

async fn acknowledgements_are_collected(servers: &Servers, name: &str) -> Result<()> {
    let clients = servers.clients().await?;
    servers.join(&clients, name).await?;
    for (client, answer) in clients.all().into_iter().zip(["node", "common", "msgpack"]) {
        servers.node.client_ack(client, name, Some(json!({ "from": answer }))).await?;
    }
    let acks = servers.node.emit_with_ack(&Select::room("/", name).timeout(60_000), name, &[]).await?;
    let Acks::Complete { acks } = acks else { panic!("{acks:?}") };
    let mut answers: Vec<String> = acks.iter().map(|ack| ack["from"].to_string()).collect();
    answers.sort();
    assert_eq!(answers, [r#""common""#, r#""msgpack""#, r#""node""#]);
    for oxide in servers.oxides() {
        let asked = oxide.io.to(name.to_owned()).timeout(Duration::from_secs(60));
        let acks = asked.emit_with_ack::<_, Value>(name, &()).await.unwrap().collect::<Vec<_>>().await;
        let mut answers: Vec<String> =
            acks.iter().map(|(_, ack)| ack.as_ref().unwrap()["from"].to_string()).collect();
        answers.sort();
        assert_eq!(answers, [r#""common""#, r#""msgpack""#, r#""node""#]);
        // The wire has no ids: only this server's own client is named.
        let named = acks.iter().filter(|(sid, _)| clients.all().contains(&sid.as_str())).count();
        assert_eq!(named, 1);
    }
    Ok(())
}

async fn missing_acknowledgements_are_told_in_time(servers: &Servers, name: &str) -> Result<()> {
    let clients = servers.clients().await?;
    servers.join(&clients, name).await?;
    servers.node.client_ack(&clients.common, name, Some(json!("here"))).await?;
    // The other two don't answer.
    for oxide in servers.oxides() {
        let asked = oxide.io.to(name.to_owned()).timeout(Duration::from_secs(2));
        let acks = asked.emit_with_ack::<_, String>(name, &()).await.unwrap().collect::<Vec<_>>().await;
        let answers: Vec<&str> = acks.iter().filter_map(|(_, ack)| ack.as_deref().ok()).collect();
        let late = acks.iter().filter(|(_, ack)| matches!(ack, Err(AckError::Timeout))).count();
        assert_eq!((answers, late), (vec!["here"], 2), "{acks:?}");
    }
    Ok(())
}

async fn sockets_are_moved_from_the_other_side(servers: &Servers, name: &str) -> Result<()> {
    let clients = servers.clients().await?;
    let (room, more) = (format!("{name} room"), format!("{name} more"));
    servers.join(&clients, &room).await?;
    // Node moves socketioxide's sockets, by a room and by an id.
    servers.node.sockets_join(&Select::room("/", &room), &[&more]).await?;
    servers.node.sockets_leave(&Select::room("/", &clients.msgpack), &[&more]).await?;
    // What a server does itself takes effect at once, so a server that lags behind must have
    // followed the others before.
    let (first, second) = (format!("{name} first"), format!("{name} second"));
    servers.node.sockets_join(&Select::room("/", &room), &[&first]).await?;
    moved(servers, &clients, &first, &clients.all()).await?;
    moved(servers, &clients, &more, &[&clients.node, &clients.common]).await?;
    // socketioxide moves the others' sockets.
    servers.common.io.to(room.clone()).leave(more.clone()).await.unwrap();
    servers.common.io.to(room.clone()).join(second.clone()).await.unwrap();
    moved(servers, &clients, &second, &clients.all()).await?;
    moved(servers, &clients, &more, &[]).await?;
    servers.msgpack.io.to(room.clone()).join(more.clone()).await.unwrap();
    moved(servers, &clients, &more, &clients.all()).await?;
    Ok(())
}

/// Waits until exactly these clients are in a room, as each of the servers sees it.
async fn moved(servers: &Servers, clients: &Clients, room: &str, expected: &[&str]) -> Result<()> {
    let expected: BTreeSet<&str> = expected.iter().copied().collect();
    let seen = std::cell::RefCell::new(String::new());
    let end = eventually("the sockets in the room", async || {
        let in_node = servers.node.rooms("/").await.unwrap().remove(room).unwrap_or_default();
        let mut found: BTreeSet<&str> =
            clients.all().into_iter().filter(|sid| in_node.iter().any(|id| id == sid)).collect();
        for (oxide, sid) in servers.oxides().into_iter().zip([&clients.common, &clients.msgpack]) {
            if oxide.socket(sid).rooms().iter().any(|found| found == room) {
                found.insert(sid);
            }
        }
        *seen.borrow_mut() = format!("{found:?}, and not {expected:?}, of {:?}", clients.all());
        found == expected
    })
    .await;
    // What was seen last says which server has not followed.
    end.unwrap_or_else(|error| panic!("{room}: {error}: {}", seen.borrow()));
    Ok(())
}

async fn sockets_are_disconnected_from_the_other_side(servers: &Servers, name: &str) -> Result<()> {
    let (one, two) = (servers.clients().await?, servers.clients().await?);
    servers.join(&one, name).await?;
    servers.node.disconnect_sockets(&Select::room("/", name), false).await?;
    let room = format!("{name} two");
    servers.join(&two, &room).await?;
    servers.common.io.to(room).disconnect().await.unwrap();
    for client in one.all().into_iter().chain(two.all()) {
        let end = servers.node.client_disconnected(client, 60_000).await?;
        assert!(end.disconnected, "{client}");
        assert_eq!(end.reason.as_deref(), Some("io server disconnect"), "{client}");
    }
    Ok(())
}

async fn sockets_are_found_everywhere(servers: &Servers, name: &str) -> Result<()> {
    let clients = servers.clients().await?;
    servers.join(&clients, name).await?;
    servers.node.set_data(&clients.node, json!({ "name": "node" })).await?;
    let all: BTreeSet<&str> = clients.all().into_iter().collect();
    let mut found = servers.node.fetch_sockets(&Select::room("/", name)).await?;
    assert_eq!(found.iter().map(|socket| &*socket.id).collect::<BTreeSet<_>>(), all);
    found.retain(|socket| socket.id != clients.node);
    for SocketInfo { id, handshake, rooms, data, .. } in &found {
        assert_eq!(data["name"], json!(id));
        assert_eq!(handshake["issued"], json!(1_700_000_000_000_u64));
        assert_eq!(rooms.iter().map(String::as_str).collect::<BTreeSet<_>>(), [id, name].into());
    }
    for oxide in servers.oxides() {
        let found = oxide.io.to(name.to_owned()).fetch_sockets().await.unwrap();
        let ids: BTreeSet<_> = found.iter().map(|socket| socket.data().id).collect();
        assert_eq!(ids, all.iter().map(|id| Cluster::alias(id)).collect());
        // Each is spoken to by itself, also by an alias.
        for socket in &found {
            socket.emit(name, &socket.data().id).await.unwrap();
        }
        let rooms = oxide.io.to(name.to_owned()).rooms().await.unwrap();
        assert_eq!(rooms, [name]);
        let true_ids = oxide.cluster.fetch_sockets("/", BroadcastOptions::to(name)).await.unwrap();
        assert_eq!(true_ids.sockets.iter().map(|socket| &*socket.id).collect::<BTreeSet<_>>(), all);
        let of_node = true_ids.sockets.iter().find(|socket| socket.id == clients.node).unwrap();
        assert_eq!(&*of_node.data.to_json(), r#"{"name":"node"}"#);
    }
    for client in clients.all() {
        for got in servers.heard(client, name, 2).await? {
            assert_eq!(got, [json!(Cluster::alias(client).as_str())]);
        }
    }
    Ok(())
}

async fn remote_sockets_acknowledge(servers: &Servers, name: &str) -> Result<()> {
    let clients = servers.clients().await?;
    for client in clients.all() {
        servers.node.client_ack(client, name, Some(json!(client))).await?;
        let ack = servers.node.remote_emit("/", client, name, &[], 60_000).await?;
        assert_eq!(ack, Some(json!(client)));
    }
    let found = servers.common.io.within(clients.node.clone()).fetch_sockets().await.unwrap();
    assert_eq!(found.len(), 1);
    let mut asked = found[0].emit_with_ack::<_, String>(name, &()).await.unwrap();
    assert_eq!(asked.next().await.unwrap().1.unwrap(), clients.node);
    assert!(asked.next().await.is_none());
    Ok(())
}

async fn servers_emit_to_each_other(servers: &Servers, name: &str) -> Result<()> {
    for oxide in servers.oxides() {
        assert_eq!(oxide.io.of("/").unwrap().ns_path(), "/");
    }
    servers.node.on_server_side("/", name, ServerSideReply::Answer(json!("pong"))).await?;
    let packet = Payload::event(name, &("ping",)).unwrap();
    servers.common.cluster.server_side_emit("/", packet).await.unwrap();
    let received = servers.node.wait_server_side("/", name, 1).await?;
    assert_eq!(received[0].args, [json!("ping")]);
    servers.node.server_side_emit("/", name, &[json!("from Node")]).await?;
    for oxide in servers.oxides() {
        let mut notices = oxide.notices.lock().await;
        loop {
            let Some(Notice::Node(event)) = notices.next().await else { continue };
            let Event::ServerSideEmit { packet, .. } = *event else { continue };
            if packet.event_name().as_deref() == Some(name) && packet.to_json().contains("from Node") {
                break;
            }
        }
    }
    Ok(())
}

/// Two clients come into a namespace that there was not, at once.
async fn dynamic_namespaces_come_and_go(servers: &Servers, name: &str) -> Result<()> {
    let of_node = servers.node.connect(DYNAMIC).await?.sid;
    let (node, common) = (&servers.node, &servers.common);
    for round in 0..3 {
        let event = format!("{name} {round}");
        let (one, two, three) = tokio::join!(
            common.connect(node, DYNAMIC),
            common.connect(node, DYNAMIC),
            servers.msgpack.connect(node, DYNAMIC),
        );
        let (one, two, three) = (one?, two?, three?);
        node.emit(&Select::all(DYNAMIC), &event, &[]).await?;
        servers.msgpack.io.of(DYNAMIC).unwrap().emit(&event, &()).await.unwrap();
        for client in [&of_node, &one, &two, &three] {
            servers.heard(client, &event, 2).await?;
        }
        for oxide in servers.oxides() {
            oxide.io.delete_ns(DYNAMIC);
        }
        for client in [&one, &three] {
            node.disconnect_client(client).await?;
        }
        node.disconnect_client(&two).await?;
        eventually("nobody but Node's server", async || matches!(node.server_count(DYNAMIC).await, Ok(1)))
            .await?;
    }
    Ok(())
}

/// A rolling upgrade: servers on Node.js of both generations, which don't see each other.
async fn a_bridge_connects_both_generations() -> Result<()> {
    let redis = RedisServer::start()?;
    let old = Peer::start(node(Generation::V02, &redis.url())).await?;
    let new = Peer::start(node(Generation::V03, &redis.url())).await?;
    let oxide = Oxide::start(quick(Dialect::Bridge), &redis.url(), false).await;
    let nsp = oxide.cluster.node().namespace("/");
    eventually("three servers", async || matches!(nsp.server_count().await, Ok(3))).await?;
    for peer in [&old, &new] {
        eventually("two servers", async || matches!(peer.server_count("/").await, Ok(2))).await?;
    }
    let (of_old, of_new) = (old.connect("/").await?.sid, new.connect("/").await?.sid);
    let own = oxide.connect(&new, "/").await?;
    let clients = [(&old, &of_old), (&new, &of_new), (&new, &own)];
    for (peer, client) in clients {
        peer.client_ack(client, "ask", Some(json!(client))).await?;
    }

    // The old server has not heard of the new one yet: later it waits for its answer in vain.
    for peer in [&old, &new] {
        let seen = peer.fetch_sockets(&Select::room("/", &own).timeout(60_000)).await?;
        assert_eq!(seen.len(), 1, "{seen:?}");
    }
    old.emit(&Select::all("/"), "from old", &[]).await?;
    new.emit(&Select::all("/"), "from new", &[]).await?;
    oxide.io.emit("from oxide", &()).await.unwrap();
    for (peer, client) in clients {
        for event in ["from old", "from new", "from oxide"] {
            peer.wait_client_event(client, event, 1).await?;
        }
    }
    let asked = oxide.io.timeout(Duration::from_secs(60)).emit_with_ack::<_, String>("ask", &());
    let acks = asked.await.unwrap().collect::<Vec<_>>().await;
    let answers: BTreeSet<String> = acks.into_iter().map(|(_, answer)| answer.unwrap()).collect();
    assert_eq!(answers, [of_old.clone(), of_new.clone(), own.clone()].into());

    oxide.io.within([of_old.clone(), own.clone()]).join("room").await.unwrap();
    let found = nsp.fetch_sockets(BroadcastOptions::to("room")).await.unwrap().sockets;
    let found: BTreeSet<&str> = found.iter().map(|socket| &*socket.id).collect();
    assert_eq!(found, [&*of_old, &*own].into());
    oxide.io.within(["room", "nobody"]).disconnect().await.unwrap();
    for (peer, client) in [(&old, &of_old), (&new, &own)] {
        assert!(peer.client_disconnected(client, 60_000).await?.disconnected, "{client}");
    }
    Ok(())
}

/// Nothing is lost, where there is a stream.
async fn an_outage_of_the_link_costs_nothing() -> Result<()> {
    let redis = RedisServer::start()?;
    let link = Proxy::start(redis.addr())?;
    let node = Peer::start(PeerConfig::new(Generation::V03, redis.url())).await?;
    let oxide = Oxide::start(quick(Dialect::Streams03), &link.url(), false).await;
    let (of_node, of_oxide) = (node.connect("/").await?.sid, oxide.connect(&node, "/").await?);
    let count = 100;
    let mut sending = Vec::new();
    for number in 0..count {
        match number {
            20 => link.cut(),
            80 => link.restore()?,
            _ => {}
        }
        node.emit(&Select::all("/"), "node", &[json!(number)]).await?;
        // They are in line one behind the other, and nobody waits.
        let mut sent = Box::pin({
            let io = oxide.io.clone();
            async move { io.emit("oxide", &number).await }
        });
        match (&mut sent).now_or_never() {
            Some(sent) => sent.unwrap(),
            None => sending.push(sent),
        }
    }
    for sent in sending {
        sent.await.unwrap();
    }
    let expected: Vec<Vec<Value>> = (0..count).map(|number| vec![json!(number)]).collect();
    for client in [&of_node, &of_oxide] {
        for event in ["node", "oxide"] {
            let received = node.wait_client_event(client, event, count).await?;
            let got: Vec<Vec<Value>> = received.into_iter().map(|received| received.args).collect();
            assert_eq!(got, expected, "{client} {event}");
        }
    }
    Ok(())
}

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;
type Test = for<'a> fn(&'a Servers, &'a str) -> Outcome<'a>;

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        [$((stringify!($name), (|servers, name| Box::pin($name(servers, name))) as Test)),*]
    };
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(6);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let runtime = Arc::new(runtime);
    let mut trials = vec![
        trial(&runtime, "an_outage_of_the_link_costs_nothing".to_owned(), || {
            Box::pin(an_outage_of_the_link_costs_nothing())
        }),
        trial(&runtime, "a_bridge_connects_both_generations".to_owned(), || {
            Box::pin(a_bridge_connects_both_generations())
        }),
    ];
    for (kind, generation, dialect) in KINDS {
        let servers: Arc<OnceCell<Servers>> = Arc::default();
        for (name, test) in tests![
            broadcasts_reach_everybody,
            a_client_speaks_to_all_but_itself,
            rooms_except_and_local,
            volatile_events_arrive_if_the_client_is_ready,
            binary_values_arrive,
            acknowledgements_are_collected,
            missing_acknowledgements_are_told_in_time,
            sockets_are_moved_from_the_other_side,
            sockets_are_disconnected_from_the_other_side,
            sockets_are_found_everywhere,
            remote_sockets_acknowledge,
            servers_emit_to_each_other,
            dynamic_namespaces_come_and_go,
        ] {
            let servers = Arc::clone(&servers);
            trials.push(trial(&runtime, format!("{name}::{kind}"), move || {
                Box::pin(async move {
                    let servers = servers.get_or_try_init(|| Servers::start(generation, dialect)).await?;
                    test(servers, name).await
                })
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(
    runtime: &Arc<Runtime>,
    name: String,
    test: impl FnOnce() -> Pin<Box<dyn Future<Output = Result<()>>>> + Send + 'static,
) -> Trial {
    let runtime = Arc::clone(runtime);
    Trial::test(name, move || runtime.block_on(test()).map_err(|error| Failed::from(error.to_string())))
}
