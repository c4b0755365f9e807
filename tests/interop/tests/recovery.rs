//! Connection state recovery with Node's real client, between Node's servers and ours, in every
//! direction.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::time::Duration;

use common::{NAMESPACES, Ours, entries};
use serde_json::{Value, json};
use sio_streams_driver::sio_streams_core::{Config, Dialect, Recovery};
use sio_streams_interop::{
    ClientState, ConnectOptions, Generation, OurServer, Peer, PeerConfig, RedisClient, Result, Select,
    Session, eventually, recovering,
};
use sio_streams_testkit::{RedisCluster, RedisServer, Reply};

/// Node servers of both generations, some of ours, and a Node process that holds the clients of
/// ours.
struct Cluster {
    redis: Redis,
    nodes: Vec<Peer>,
    ours: Vec<OurServer>,
    ports: Vec<u16>,
    /// Publishes.
    voice: OurServer,
    /// A client of each Node server, which is always there.
    witnesses: Vec<String>,
}

/// The Redis that the servers share.
enum Redis {
    One(RedisServer),
    Cluster(RedisCluster),
}

impl Redis {
    fn url(&self) -> String {
        match self {
            Redis::One(server) => server.url(),
            Redis::Cluster(cluster) => cluster.url(),
        }
    }

    /// A command on the server that has the key.
    fn command(&self, name: &str, key: &str, args: &[&str]) -> Reply {
        let command = [&[name, key], args].concat();
        match self {
            Redis::One(server) => server.command(&command),
            Redis::Cluster(cluster) => cluster.command(key, &command),
        }
    }
}

/// One of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Node(usize),
    Ours(usize),
}

impl Cluster {
    /// On one Redis server: a Node server of each generation, and two of ours.
    async fn start(config: impl Fn(Config) -> Config) -> Result<Self> {
        let redis = RedisServer::start()?;
        let url = redis.url();
        let peer = |generation| Peer::start(recovering_peer(generation, &url));
        let (old, new) = tokio::try_join!(peer(Generation::V02), peer(Generation::V03))?;
        let ours = || OurServer::start(config(recovering(Dialect::Bridge)), &url, &NAMESPACES);
        let (one, two, voice) = tokio::try_join!(ours(), ours(), ours())?;
        Self::of(Redis::One(redis), vec![old, new], vec![one, two], voice).await
    }

    /// On a Redis Cluster: a Node server of each generation with each client that it can read with,
    /// and one of ours on each backend.
    async fn start_in_redis_cluster() -> Result<Self> {
        let redis = tokio::task::block_in_place(|| RedisCluster::start_without_replicas(3))?;
        let url = redis.url();
        let peer =
            |generation, client| Peer::start(recovering_peer(generation, &url).client(client).cluster());
        let (old, old_io, new, new_io) = tokio::try_join!(
            peer(Generation::V02, RedisClient::Redis4),
            peer(Generation::V02, RedisClient::IoRedis),
            peer(Generation::V03, RedisClient::Redis5),
            peer(Generation::V03, RedisClient::IoRedis),
        )?;
        let ours = |ours: Ours| ours.start_in_cluster(recovering(Dialect::Bridge), &url, &NAMESPACES);
        let (one, two, voice) = tokio::try_join!(ours(Ours::RedisRs), ours(Ours::Fred), ours(Ours::RedisRs))?;
        Self::of(Redis::Cluster(redis), vec![old, old_io, new, new_io], vec![one, two], voice).await
    }

    async fn of(redis: Redis, nodes: Vec<Peer>, ours: Vec<OurServer>, voice: OurServer) -> Result<Self> {
        let mut ports = Vec::new();
        for server in &ours {
            ports.push(server.listen().await?);
        }
        // A server that asks for sockets must know the other servers.
        let servers = (nodes.len() + ours.len() + 1) as u64;
        for nsp in NAMESPACES {
            eventually("all servers", || async { voice.server_count(nsp).await.is_ok_and(|n| n == servers) })
                .await?;
        }
        let mut witnesses = Vec::new();
        for node in &nodes {
            witnesses.push(node.connect("/").await?.sid);
        }
        Ok(Cluster { redis, nodes, ours, ports, voice, witnesses })
    }

    fn all(&self) -> impl Iterator<Item = At> {
        (0..self.nodes.len()).map(At::Node).chain((0..self.ours.len()).map(At::Ours))
    }

    /// The process in which the client lives.
    fn home(&self, at: At) -> &Peer {
        match at {
            At::Node(index) => &self.nodes[index],
            At::Ours(_) => &self.nodes[self.nodes.len() - 1],
        }
    }

    async fn connect(&self, at: At, recover: Option<Session>) -> Result<ClientState> {
        let port = match at {
            At::Node(_) => None,
            At::Ours(index) => Some(self.ports[index]),
        };
        self.home(at).connect_with(&ConnectOptions { port, recover, ..ConnectOptions::default() }).await
    }

    async fn join(&self, at: At, sid: &str, rooms: &[&str]) -> Result<()> {
        match at {
            At::Node(index) => self.nodes[index].server_join(sid, rooms).await,
            At::Ours(index) => self.ours[index].server_join("/", sid, rooms).await,
        }
    }

    async fn set_data(&self, at: At, sid: &str, data: Value) -> Result<()> {
        match at {
            At::Node(index) => self.nodes[index].set_data(sid, data).await,
            At::Ours(index) => {
                self.ours[index].set_data(sid, data);
                Ok(())
            }
        }
    }

    /// Cuts a client off, and waits until its session is stored.
    async fn cut(&self, at: At, sid: &str) -> Result<Session> {
        let session = self.home(at).cut_client(sid).await?.session().expect("it has seen something");
        eventually("the session", || async { self.is_stored(&session.pid) }).await?;
        Ok(session)
    }

    fn is_stored(&self, pid: &str) -> bool {
        self.redis.command("EXISTS", &format!("sio:session:{pid}"), &[]) == Reply::Int(1)
    }

    async fn say(&self, to: Select, event: &str, text: &str) -> Result<()> {
        self.voice.emit(&to, event, &[json!(text)]).await
    }

    /// Waits until a Node server has read all that was said so far. A client that is recovered
    /// there before gets twice what is still to be read: from the stream's past, and as it comes.
    async fn reads_all(&self, at: At, word: &str) -> Result<()> {
        let At::Node(index) = at else { return Ok(()) };
        let witness = &*self.witnesses[index];
        self.say(Select::room("/", witness), word, "all is read").await?;
        self.heard(at, witness, word, "all is read").await.map(drop)
    }

    /// The arguments of an event that the client has got, without the offsets, once the last of it
    /// is there.
    async fn heard(&self, at: At, sid: &str, event: &str, last: &str) -> Result<Vec<String>> {
        let home = self.home(at);
        let heard = || async {
            let mut received = home.client_received(sid).await.unwrap();
            received.retain(|received| received.event == event);
            received.iter().map(|event| event.args[0].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        eventually(last, || async { heard().await.iter().any(|text| text == last) }).await?;
        Ok(heard().await)
    }
}

fn recovering_peer(generation: Generation, url: &str) -> PeerConfig {
    PeerConfig::new(generation, url).namespaces(&NAMESPACES).recovery()
}

fn all() -> Select {
    Select::all("/")
}

fn room(name: &str) -> Select {
    Select::room("/", name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_recovers_from_any_server_to_any_other() -> Result<()> {
    moves_everywhere(Cluster::start(|config| config).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_recovers_from_any_server_to_any_other_in_a_redis_cluster() -> Result<()> {
    moves_everywhere(Cluster::start_in_redis_cluster().await?).await
}

async fn moves_everywhere(cluster: Cluster) -> Result<()> {
    for from in cluster.all() {
        for to in cluster.all() {
            moves(&cluster, from, to)
                .await
                .unwrap_or_else(|error| panic!("from {from:?} to {to:?}: {error}"));
        }
    }
    Ok(())
}

/// A client is cut off at one server, comes back at another, and once more at the first. The event
/// bears the name of the move: a server may still have to read what was said to all in the one
/// before.
async fn moves(cluster: &Cluster, from: At, to: At) -> Result<()> {
    let label = format!("from {from:?} to {to:?}");
    let client = cluster.connect(from, None).await?;
    let sid = &*client.sid;
    cluster.join(from, sid, &["room", "ü"]).await?;
    cluster.set_data(from, sid, json!({ "user": 7, "name": label })).await?;
    cluster.say(all(), &label, "seen").await?;
    assert_eq!(cluster.heard(from, sid, &label, "seen").await?, ["seen"], "{label}");
    let session = cluster.cut(from, sid).await?;

    cluster.say(room("room"), &label, "1").await?;
    cluster.say(room("elsewhere"), &label, "not in that room").await?;
    cluster.say(all().except("ü"), &label, "left out").await?;
    cluster.say(Select::all("/chat"), &label, "another namespace").await?;
    cluster.say(Select::room("/", sid), &label, "2").await?;
    cluster.say(room("elsewhere").to("ü"), &label, "3").await?;

    cluster.reads_all(to, &format!("{label}, there")).await?;
    let again = cluster.connect(to, Some(session.clone())).await?;
    assert!(again.recovered, "{label}");
    assert_eq!((&again.sid, &again.pid), (&client.sid, &client.pid), "{label}");
    assert_eq!(cluster.heard(to, sid, &label, "3").await?, ["1", "2", "3"], "{label}");
    assert!(!cluster.is_stored(&session.pid), "{label}");
    // It is in its rooms, with its data, and what comes now comes to it.
    let found = cluster.voice.fetch_sockets(&room("ü")).await?;
    assert_eq!(found.iter().map(|socket| &*socket.id).collect::<Vec<_>>(), [sid], "{label}");
    assert_eq!(found[0].data, json!({ "user": 7, "name": label }));
    cluster.say(room("room"), &label, "4").await?;
    assert_eq!(cluster.heard(to, sid, &label, "4").await?, ["1", "2", "3", "4"], "{label}");
    let state = cluster.home(to).client_state(sid).await?;
    assert!(state.offset > Some(session.offset), "{label}");

    // Again at once, with nothing new: nothing comes twice.
    let session = cluster.cut(to, sid).await?;
    cluster.reads_all(from, &format!("{label}, and back")).await?;
    let third = cluster.connect(from, Some(session)).await?;
    assert!(third.recovered, "{label}");
    cluster.say(all(), &label, "5").await?;
    assert_eq!(cluster.heard(from, sid, &label, "5").await?, ["5"], "{label}");
    let session = cluster.cut(from, sid).await?;
    cluster.redis.command("DEL", &format!("sio:session:{}", session.pid), &[]);
    Ok(())
}

/// Volatile packets and those with acknowledgements are not replayed by ours, wherever the session
/// comes from.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_is_not_sent_later() -> Result<()> {
    let cluster = Cluster::start(|config| config).await?;
    let Redis::One(redis) = &cluster.redis else { unreachable!() };
    for from in cluster.all() {
        let client = cluster.connect(from, None).await?;
        cluster.say(all(), "event", "seen").await?;
        cluster.heard(from, &client.sid, "event", "seen").await?;
        let session = cluster.cut(from, &client.sid).await?;
        cluster.say(all().volatile(), "event", "volatile").await?;
        let text = format!("acknowledged {from:?}");
        cluster.nodes[0].emit_with_ack(&all().timeout(100), "event", &[json!(text)]).await?;
        // After a time so short it may still be on its way.
        let says =
            |entry: &HashMap<String, String>| entry.get("data").is_some_and(|data| data.contains(&text));
        let written = || async { entries(redis, "socket.io").iter().any(says) };
        eventually("it to be written", written).await?;
        cluster.say(all(), "event", "last").await?;
        let again = cluster.connect(At::Ours(0), Some(session)).await?;
        assert!(again.recovered, "{from:?}");
        assert_eq!(cluster.heard(At::Ours(0), &again.sid, "event", "last").await?, ["last"], "{from:?}");
        cluster.cut(At::Ours(0), &again.sid).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_not_be_recovered_begins_anew() -> Result<()> {
    begins_anew(Cluster::start(|config| config).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_not_be_recovered_begins_anew_in_a_redis_cluster() -> Result<()> {
    begins_anew(Cluster::start_in_redis_cluster().await?).await
}

async fn begins_anew(cluster: Cluster) -> Result<()> {
    let at = At::Ours(1);
    let client = cluster.connect(at, None).await?;
    cluster.say(all(), "event", "seen").await?;
    cluster.heard(at, &client.sid, "event", "seen").await?;
    let session = cluster.cut(at, &client.sid).await?;
    let claims = |pid: &str, offset: &str| Some(Session { pid: pid.to_owned(), offset: offset.to_owned() });
    for claim in [
        claims("../../another:key", &session.offset),
        claims("a_session_of_nobodys", &session.offset),
        claims(&session.pid, "$"),
        claims(&session.pid, "0-1"),
        claims(&session.pid, "1-1 + COUNT"),
    ] {
        let anew = cluster.connect(at, claim.clone()).await?;
        assert!(!anew.recovered, "{claim:?}");
        assert_ne!(anew.sid, client.sid);
        assert_ne!(anew.pid.as_deref(), Some(&*session.pid));
        assert!(cluster.is_stored(&session.pid), "it is left for who has a right to it");
    }
    // With what it really has, it comes back.
    assert!(cluster.connect(at, Some(session)).await?.recovered);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn trimmed_and_expired() -> Result<()> {
    let short = |recovery| Recovery { max_disconnection_duration: Duration::from_millis(300), ..recovery };
    let cluster =
        Cluster::start(|config| Config { recovery: config.recovery.clone().map(short), ..config }).await?;
    let Redis::One(redis) = &cluster.redis else { unreachable!() };
    let at = At::Ours(0);
    let client = cluster.connect(at, None).await?;
    cluster.say(all(), "event", "seen").await?;
    cluster.heard(at, &client.sid, "event", "seen").await?;
    // It is stored for so short a time that it may never be seen there.
    let stored = redis.calls("set");
    let session = cluster.home(at).cut_client(&client.sid).await?.session().expect("it has seen something");
    eventually("the session", || async { redis.calls("set") > stored }).await?;
    eventually("its end", || async { !cluster.is_stored(&session.pid) }).await?;
    assert!(!cluster.connect(at, Some(session)).await?.recovered);

    // Node keeps it for longer.
    let client = cluster.connect(At::Node(0), None).await?;
    cluster.say(all(), "event", "seen too").await?;
    cluster.heard(At::Node(0), &client.sid, "event", "seen too").await?;
    let session = cluster.cut(At::Node(0), &client.sid).await?;
    let witness = cluster.connect(at, None).await?;
    cluster.say(all(), "event", "missed").await?;
    cluster.heard(at, &witness.sid, "event", "missed").await?;
    let missed = cluster.home(at).client_state(&witness.sid).await?.offset.expect("it has seen something");
    // A server that has just started does not know what was before; and the stream does not either.
    // An entry that nobody may have read yet stays. Otherwise the older server would miss it.
    redis.command(&["XTRIM", "socket.io", "MINID", &missed]);
    let late = OurServer::start(recovering(Dialect::Bridge), &cluster.redis.url(), &["/"]).await?;
    let port = Some(late.listen().await?);
    let recover = Some(session.clone());
    let anew =
        cluster.nodes[1].connect_with(&ConnectOptions { port, recover, ..ConnectOptions::default() }).await?;
    assert!(!anew.recovered);
    // One that was there all the time does.
    let again = cluster.connect(at, Some(session)).await?;
    assert!(again.recovered);
    assert_eq!(cluster.heard(at, &again.sid, "event", "missed").await?, ["missed"]);
    Ok(())
}
