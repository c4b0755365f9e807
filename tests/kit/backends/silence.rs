//! Servers that hang. The nodes that depend on them notice it, and no others are held up.

use core::time::Duration;
use std::time::Instant;

use super::common::*;
use super::member::Member;
use crate::Backend;
use sio_streams_core::{Command, CommandError, Config, Dialect, Lane, Reply};
use sio_streams_driver::backend::{Backend as Opens, Connection as Connects, PushSender};
use sio_streams_driver::cluster::{Cluster, ClusterConnection};
use sio_streams_driver::sentinel::Sentinel;
use sio_streams_testkit::{RedisCluster, RedisSentinel, RedisServer};
use tokio::task::block_in_place;
use tokio::time::timeout;

/// Returns a backend that soon notices that a link is silent.
fn impatient(url: &str) -> Backend {
    Backend::builder(url).heartbeat(Duration::from_millis(50), Duration::from_millis(1_500)).build().unwrap()
}

async fn connect<B: Opens>(backend: &B, lane: Lane) -> B::Connection {
    let (pushes, _) = PushSender::channel(1_000);
    within(backend.connect(&lane, pushes)).await.unwrap()
}

/// Waits for the end of a connection, and drops the watch again and again, like a lane that is
/// given commands all the time.
async fn watch(mut connection: impl Connects) -> String {
    within(async {
        loop {
            if let Ok(why) = timeout(Duration::from_millis(300), connection.lost()).await {
                break why;
            }
        }
    })
    .await
}

async fn execute(connection: &mut impl Connects, command: Command) -> Outcome {
    within(connection.execute(vec![command])).await.remove(0)
}

/// A server that is paused until this is dropped.
struct Paused<'a>(&'a RedisServer);

impl<'a> Paused<'a> {
    fn new(server: &'a RedisServer) -> Self {
        server.pause().unwrap();
        Paused(server)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        let _ = self.0.resume();
    }
}

fn places(cluster: &RedisCluster, name: &str) -> Vec<usize> {
    let is_there = |place: &usize| {
        let list = cluster.nodes()[*place].command(&["CLIENT", "LIST"]);
        list.as_str().is_some_and(|list| list.contains(&format!("name=sio-streams:{name} ")))
    };
    (0..cluster.nodes().len()).filter(is_there).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_of_a_cluster_ends_the_links_that_depend_on_it() {
    let cluster = block_in_place(|| RedisCluster::start_without_replicas(3)).unwrap();
    let backend = Cluster::new(impatient(&cluster.url()));
    let owner = cluster.owner(STREAM);
    let mut sharded = connect(&backend, Lane::Subscriber).await;
    // One of these channels is at the server that has the stream, wherever the others are.
    let channels: Vec<String> = (0..100).map(|number| format!("room {number}")).collect();
    let channels: Vec<&str> = channels.iter().map(String::as_str).collect();
    assert_eq!(execute(&mut sharded, subscribe(&channels, true)).await, Ok(Reply::Done));
    let (reader, writer) = (connect(&backend, reader()).await, connect(&backend, Lane::Writer).await);
    let recovery = connect(&backend, Lane::Recovery).await;
    // This subscriber listens at that server and at no other.
    let plain = within(async {
        loop {
            let plain = connect(&backend, Lane::Subscriber).await;
            if places(&cluster, "subscriber").contains(&owner) {
                let listed = cluster.nodes()[owner].command(&["CLIENT", "LIST"]);
                if listed.as_str().unwrap().matches("name=sio-streams:subscriber ").count() == 2 {
                    break plain;
                }
            }
        }
    })
    .await;
    let _paused = Paused::new(&cluster.nodes()[owner]);
    let (reader, writer, recovery, plain, sharded) =
        tokio::join!(watch(reader), watch(writer), watch(recovery), watch(plain), watch(sharded));
    for why in [reader, writer, recovery, plain, sharded] {
        assert!(why.contains("no answer"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_ends_the_link_however_often_the_watch_is_dropped() {
    let redis = RedisServer::start().unwrap();
    for protocol in ["resp3", "resp2"] {
        let backend = impatient(&format!("{}/?protocol={protocol}", redis.url()));
        let mut connections = Vec::new();
        for lane in [Lane::Writer, reader(), Lane::Subscriber] {
            connections.push(connect(&backend, lane).await);
        }
        let _paused = Paused::new(&redis);
        for connection in connections {
            let why = watch(connection).await;
            assert!(why.contains("no answer"), "{why}");
        }
    }
}

/// One of several servers hangs. A node that starts from it, or asks it, goes on to the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_seed_or_a_sentinel_that_hangs_is_not_waited_for() {
    let cluster = block_in_place(|| RedisCluster::start_without_replicas(3)).unwrap();
    let other = cluster.addrs()[1].to_string();
    let seeds = || {
        let hung = RedisServer::start().unwrap();
        hung.pause().unwrap();
        (Cluster::new(Backend::new(&hung.url()).unwrap()).seed(&other).unwrap(), hung)
    };
    let (backend, hung) = seeds();
    connect(&backend, Lane::Writer).await;
    hung.resume().unwrap();

    let redis = block_in_place(RedisSentinel::start).unwrap();
    let [first, second, ..] = redis.sentinels() else { panic!("there are too few") };
    let sentinel = Sentinel::new(
        redis.master_name(),
        Backend::new(&first.url()).unwrap(),
        Backend::new("redis://not.used").unwrap(),
    );
    let sentinel = sentinel.also(&second.addr().to_string()).unwrap();
    let _paused = Paused::new(first);
    connect(&sentinel, Lane::Writer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_hangs_holds_up_nobody() {
    let cluster = block_in_place(|| RedisCluster::start(3)).unwrap();
    let backend = Cluster::new(steady(&cluster.url()));
    let mut writer = connect(&backend, Lane::Writer).await;
    let count = || Command::PubSubNumSub { channels: vec!["channel".into()], sharded: false };
    let mut subscriber = cluster.nodes()[3].connect().unwrap();
    subscriber.command(&["SUBSCRIBE", "channel"]).unwrap();
    within(async { while writer.execute(vec![count()]).await != [Ok(Reply::Counts(vec![1]))] {} }).await;
    let rounds = async |writer: &mut ClusterConnection<Backend>| {
        let began = Instant::now();
        for _ in 0..50 {
            let batch = vec![count(), xadd(&[("a", "b")]), publish("channel", "x", false)];
            let answers = within(writer.execute(batch)).await;
            assert!(matches!(answers[..], [Ok(Reply::Counts(_)), Ok(Reply::Added(_)), Ok(_)]), "{answers:?}");
        }
        began.elapsed()
    };
    let before = rounds(&mut writer).await;
    let _paused = Paused::new(&cluster.nodes()[4]);
    // The replica is waited for once.
    rounds(&mut writer).await;
    let after = rounds(&mut writer).await;
    // If every batch waited for the replica, the batches would take far longer.
    assert!(after < 20 * before + Duration::from_secs(2), "{before:?}, then {after:?}");
    assert_eq!(execute(&mut writer, count()).await, Ok(Reply::Counts(vec![1])), "the others are counted");
    // A new connection is not held up by the replica, either.
    let mut another = connect(&backend, Lane::Writer).await;
    assert!(execute(&mut another, count()).await.is_ok());
}

/// A master hangs, and its replica takes over. A subscriber that listened at the master hears again
/// what is published.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_leaves_a_master_that_hangs() {
    let cluster = block_in_place(|| RedisCluster::start(3)).unwrap();
    let config = || Config { dialect: Dialect::Classic, ..Config::default() };
    let backend = || Cluster::new(impatient(&cluster.url())).seed(&cluster.addrs()[1].to_string()).unwrap();
    let mut two = Member::start(config(), backend()).await;
    let home = places(&cluster, "subscriber")[0];
    let paused = Paused::new(&cluster.nodes()[home]);
    let replica = &cluster.nodes()[cluster.partner(home)];
    replica.command(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    until(|| replica.command(&["ROLE"]).items()[0].as_str() == Some("master")).await;
    let said = tokio::spawn({
        let addr = replica.addr();
        async move {
            let mut client = sio_streams_testkit::Client::connect(addr).unwrap();
            // This is a message of the classic adapter to everybody: [uid, packet, opts].
            let message = b"\x93\xa1x\x83\xa4type\x02\xa4data\x92\xa1n\x07\xa3nsp\xa1/\x83\xa5rooms\x90\xa6except\x90\xa5flags\x80";
            loop {
                let message: &[u8] = message;
                client.command(&[b"PUBLISH".as_slice(), b"socket.io#/#", message]).unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    two.hears([7]).await;
    said.abort();
    assert!(!two.losses(&Lane::Subscriber).is_empty());
    drop(paused);
}

/// Commands that are given to a connection that is known to be lost have not been sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_the_end_is_not_sent() {
    let cluster = block_in_place(|| RedisCluster::start_without_replicas(3)).unwrap();
    let backend = Cluster::new(impatient(&cluster.url()));
    let mut writer = connect(&backend, Lane::Writer).await;
    let owner = cluster.owner(STREAM);
    cluster.nodes()[owner].kill();
    within(writer.lost()).await;
    let outcome = execute(&mut writer, xadd(&[("a", "b")])).await;
    assert!(matches!(outcome, Err(CommandError::NotSent(_))), "{outcome:?}");
}
