//! `sio-streams nodes`, `sockets`, `rooms` and `ping` beside real Node servers and one of ours.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

mod schema;

use std::process::{Command, Output};

use serde_json::{Value, json};
use sio_streams_driver::cluster::Cluster;
use sio_streams_driver::sio_streams_core::Dialect;
use sio_streams_interop::{
    Generation, OurServer, Peer, PeerConfig, Result, Select, backend, eventually, quick,
};
use sio_streams_testkit::{RedisCluster, RedisSentinel, RedisServer};

const PAGE: &str = include_str!("../../docs/operating.md");

struct Asking<'a> {
    url: &'a str,
    dialect: &'a str,
}

impl Asking<'_> {
    /// Runs a command. It does not hold up the servers of the test.
    async fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sio-streams"));
        command.args([args[0], "--redis", self.url, "--dialect", self.dialect]).args(&args[1..]);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Runs a command that must succeed, and returns its objects.
    async fn objects(&self, args: &[&str]) -> Vec<Value> {
        let output = self.run(&[args, &["--json", "--timeout", "60"]].concat()).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        let objects = objects(&output);
        objects.iter().for_each(|object| schema::check(args[0], object));
        objects
    }
}

fn objects(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

async fn is_told(generation: Generation, dialect: Dialect, name: &str) -> Result<()> {
    // The command has just the rights that the page gives it.
    let user = format!("ask-{name}");
    let prefix = format!("ACL SETUSER {user} on >password ");
    let rights = PAGE.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap();
    let redis = RedisServer::builder().user(&user, "password", rights).start()?;
    let url = redis.url();
    let peer = Peer::start(PeerConfig::new(generation, &url).quick()).await?;
    let ours = OurServer::start(quick(dialect), &url, &["/"]).await?;
    let client = peer.connect("/").await?;
    peer.server_join(&client.sid, &["room1", "room 2"]).await?;
    peer.set_data(&client.sid, json!({ "name": "ü" })).await?;
    let other = ours.connect("/").await?;
    eventually("the servers know each other", async || {
        peer.server_count("/").await.is_ok_and(|count| count == 2)
    })
    .await?;
    let url = redis.url_as(&user, "password");
    let asking = Asking { url: &url, dialect: name };

    let nodes = asking.objects(&["nodes"]).await;
    let outcome = json!({
        "kind": "outcome", "servers": 2, "answered": 2, "missing": [], "missingUnnamed": 0,
    });
    assert_eq!(nodes.last(), Some(&outcome), "{nodes:?}");
    let nodes = of_kind(&nodes, "node");
    assert_eq!(nodes.len(), 2, "{nodes:?}");
    assert!(nodes.iter().all(|node| node["sockets"] == 1 && node["answeredMs"].is_number()), "{nodes:?}");
    // Answers of the classic adapter bear no names, and heartbeats are those of version 0.2.
    let has_names = generation != Generation::Classic;
    for uid in [peer.uid("/"), ours.uid()] {
        assert_eq!(nodes.iter().any(|node| node["node"] == uid), has_names, "{nodes:?}");
    }
    let has_heartbeats = generation == Generation::V02;
    assert!(nodes.iter().all(|node| node["heardMsAgo"].is_number() == has_heartbeats), "{nodes:?}");

    let sockets = asking.objects(&["sockets", "--to", "room1", "--full"]).await;
    let [socket] = of_kind(&sockets, "socket")[..] else { panic!("{sockets:?}") };
    assert_eq!(socket["socket"], *client.sid);
    assert_eq!(socket["rooms"], json!(["room1", "room 2"]));
    assert_eq!(socket["data"], json!({ "name": "ü" }));
    assert!(socket["handshake"]["headers"].is_object(), "{socket}");
    let sockets = asking.objects(&["sockets", "--except", "room1"]).await;
    let [socket] = of_kind(&sockets, "socket")[..] else { panic!("{sockets:?}") };
    assert_eq!(socket["socket"], *other);

    let rooms = asking.objects(&["rooms"]).await;
    let room = |name| json!({ "kind": "room", "room": name, "sockets": 1, "servers": 1 });
    assert_eq!(of_kind(&rooms, "room"), [&room("room 2"), &room("room1")]);

    let times = asking.objects(&["ping", "--count", "3", "--interval", "0.001"]).await;
    assert_eq!(of_kind(&times, "answer").len(), 6, "{times:?}");
    let answers: Option<u64> = of_kind(&times, "times").iter().map(|line| line["answers"].as_u64()).sum();
    assert_eq!(answers, Some(6), "{times:?}");

    // Nobody has taken the command for a server.
    assert_eq!(peer.server_count("/").await?, 2);
    assert_eq!(peer.fetch_sockets(&Select::all("/")).await?.len(), 2);

    peer.pause().await?;
    let output = asking.run(&["nodes", "--json", "--timeout", "0.5"]).await;
    peer.resume().await?;
    assert_eq!(output.status.code(), Some(1));
    let nodes = objects(&output);
    let outcome = nodes.last().unwrap();
    assert_eq!((&outcome["servers"], &outcome["answered"]), (&json!(2), &json!(1)), "{nodes:?}");
    match generation {
        Generation::V02 => assert_eq!(outcome["missing"], json!([peer.uid("/")])),
        _ => assert_eq!(outcome["missingUnnamed"], 1),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_node_servers_of_streams_0_2() -> Result<()> {
    is_told(Generation::V02, Dialect::Streams02, "streams-0.2").await
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_node_servers_of_streams_0_3() -> Result<()> {
    is_told(Generation::V03, Dialect::Streams03, "streams-0.3").await
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_node_servers_of_the_classic_adapter() -> Result<()> {
    is_told(Generation::Classic, Dialect::Classic, "classic").await
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_node_servers_of_the_sharded_adapter() -> Result<()> {
    is_told(Generation::Sharded, Dialect::Sharded, "sharded").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_in_the_middle_of_an_upgrade_is_asked_in_one_go() -> Result<()> {
    let redis = RedisServer::start()?;
    let url = redis.url();
    let old = Peer::start(PeerConfig::new(Generation::V02, &url).quick()).await?;
    let new = Peer::start(PeerConfig::new(Generation::V03, &url)).await?;
    let bridge = OurServer::start(quick(Dialect::Bridge), &url, &["/"]).await?;
    let (one, two) = (old.connect("/").await?, new.connect("/").await?);
    let three = bridge.connect("/").await?;
    let asking = Asking { url: &url, dialect: "bridge" };
    let heartbeats = ["--heartbeat-timeout", "60000"];
    let nodes = asking.objects(&[&["nodes"], &heartbeats[..]].concat()).await;
    let outcome = json!({
        "kind": "outcome", "servers": 3, "answered": 3, "missing": [], "missingUnnamed": 0,
    });
    assert_eq!(nodes.last(), Some(&outcome), "{nodes:?}");
    for (uid, generation) in [(old.uid("/"), "0.2"), (new.uid("/"), "0.3"), (bridge.uid(), "both")] {
        let node = nodes.iter().find(|node| node["node"] == uid).unwrap();
        assert_eq!((&node["generation"], &node["sockets"]), (&json!(generation), &json!(1)), "{nodes:?}");
    }
    let sockets = asking.objects(&[&["sockets"], &heartbeats[..]].concat()).await;
    let mut found: Vec<_> =
        of_kind(&sockets, "socket").iter().map(|socket| socket["socket"].clone()).collect();
    let mut expected = [json!(one.sid), json!(two.sid), json!(three)];
    found.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_eq!(found, expected);
    let text = asking.run(&[&["nodes"], &heartbeats[..]].concat()).await.stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.lines().next().unwrap().ends_with("HEARD  SPEAKS"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_redis_cluster() -> Result<()> {
    let redis = RedisCluster::start_without_replicas(3)?;
    let url = redis.url();
    for (dialect, name) in [(Dialect::Streams03, "streams-0.3"), (Dialect::Sharded, "sharded")] {
        let ours = OurServer::start_on(quick(dialect), Cluster::new(backend(&url)?), &["/"]).await?;
        let asking = Asking { url: &url, dialect: name };
        let nodes = asking.objects(&["nodes", "--cluster"]).await;
        let [node] = of_kind(&nodes, "node")[..] else { panic!("{nodes:?}") };
        assert_eq!(node["node"], ours.uid(), "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_sentinels() -> Result<()> {
    let redis = RedisSentinel::start()?;
    let master = redis.servers()[redis.master()].url();
    let ours = OurServer::start(quick(Dialect::Streams03), &master, &["/"]).await?;
    let asking = Asking { url: &redis.sentinels()[0].url(), dialect: "streams-0.3" };
    let nodes = asking.objects(&["nodes", "--sentinel", redis.master_name()]).await;
    let [node] = of_kind(&nodes, "node")[..] else { panic!("{nodes:?}") };
    assert_eq!(node["node"], ours.uid());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_asked_is_said() {
    let redis = RedisServer::start().unwrap();
    for dialect in ["streams-0.2", "streams-0.3", "classic", "sharded"] {
        let output = Asking { url: &redis.url(), dialect }.run(&["nodes"]).await;
        assert_eq!(output.status.code(), Some(1), "{dialect}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "no server answered\n", "{dialect}");
    }
    // Nobody listens there.
    let asking = Asking { url: "redis://127.0.0.1:1", dialect: "classic" };
    for (args, code, text) in [
        (&["nodes"][..], 1, "refused"),
        (&["rooms", "--nsp", "chat"], 2, "\"chat\""),
        (&["ping", "--interval", "0"], 2, "between 0.001 and 86400"),
        (&["sockets", "--timeout", "soon"], 2, "not a number of seconds"),
        (&["nodes", "--stream-count", "0"], 2, "stream_count"),
    ] {
        let output = asking.run(args).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(error.contains(text), "{args:?}: {error}");
        assert!(output.stdout.is_empty());
    }
}
