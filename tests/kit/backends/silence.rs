//! Servers that hang. The nodes that depend on them notice it, and no others are held up.

use core::time::Duration;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::common::*;
use super::member::Member;
use crate::Backend;
use sio_streams_core::{Command, CommandError, Config, Dialect, Lane, Reply};
use sio_streams_driver::backend::{Backend as Opens, ConnectError, Connection as Connects, PushSender};
use sio_streams_driver::cluster::Cluster;
use sio_streams_driver::sentinel::Sentinel;
use sio_streams_driver::wire::{Address, Dialer, WireConnection};
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

/// The time for which the driver waits for a replica that does not answer.
const REPLICA_PATIENCE: Duration = Duration::from_millis(500);

/// A dialer that remembers which servers it was to connect to.
#[derive(Clone)]
struct Counting {
    backend: Backend,
    dialled: Arc<Mutex<Vec<Address>>>,
}

impl Counting {
    fn times(&self, address: &Address) -> usize {
        self.dialled.lock().unwrap().iter().filter(|dialled| *dialled == address).count()
    }
}

impl Dialer for Counting {
    type Wire = <Backend as Dialer>::Wire;

    fn home(&self) -> Address {
        self.backend.home()
    }

    async fn dial(
        &self,
        address: &Address,
        lane: &Lane,
        pushes: PushSender,
    ) -> Result<WireConnection<Self::Wire>, ConnectError> {
        self.dialled.lock().unwrap().push(address.clone());
        self.backend.dial(address, lane, pushes).await
    }
}

fn count() -> Command {
    Command::PubSubNumSub { channels: vec!["channel".into()], sharded: false }
}

/// Executes a batch that asks everybody, and returns the time that it took.
async fn ask_everybody(writer: &mut impl Connects) -> Duration {
    let batch = vec![count(), xadd(&[("a", "b")]), publish("channel", "x", false)];
    let began = Instant::now();
    let answers = within(writer.execute(batch)).await;
    let time = began.elapsed();
    assert!(matches!(answers[..], [Ok(Reply::Counts(_)), Ok(Reply::Added(_)), Ok(_)]), "{answers:?}");
    time
}

/// Executes batches until many in a row have not waited for a replica. On a slow machine this may
/// take several attempts. If the replica is waited for each time, or from time to time, it does not
/// happen.
async fn until_nobody_waits(writer: &mut impl Connects) {
    let mut in_a_row = 0;
    within(async {
        while in_a_row < 100 {
            let waited = ask_everybody(writer).await >= REPLICA_PATIENCE;
            in_a_row = if waited { 0 } else { in_a_row + 1 };
        }
    })
    .await;
}

/// A replica that hangs is waited for once. After that it is asked nothing, and nobody waits for
/// the attempts to connect to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_hangs_holds_up_nobody() {
    let cluster = block_in_place(|| RedisCluster::start(3)).unwrap();
    let dialer = Counting { backend: steady(&cluster.url()), dialled: Arc::default() };
    let backend = Cluster::new(dialer.clone());
    let replica = &cluster.nodes()[4];
    let address = Address::parse(&replica.addr().to_string()).unwrap();
    let asked = || replica.calls("pubsub|numsub");
    let mut writer = connect(&backend, Lane::Writer).await;
    let mut subscriber = cluster.nodes()[3].connect().unwrap();
    subscriber.command(&["SUBSCRIBE", "channel"]).unwrap();
    let counts_one = [Ok(Reply::Counts(vec![1]))];
    within(async { while writer.execute(vec![count()]).await != counts_one || asked() == 0 {} }).await;
    let (asked_before, dialled) = (asked(), dialer.times(&address));
    // The cluster does not give the replica up while it hangs. Otherwise nobody would ask it
    // anyway.
    for node in cluster.nodes() {
        node.command(&["CONFIG", "SET", "cluster-node-timeout", "3600000"]);
    }
    let paused = Paused::new(replica);
    let first = ask_everybody(&mut writer).await;
    assert!(first >= REPLICA_PATIENCE, "it is waited for once: {first:?}");
    until_nobody_waits(&mut writer).await;
    // The connection is tried again from time to time. Nobody waits for that, either.
    within(async {
        while dialer.times(&address) == dialled {
            ask_everybody(&mut writer).await;
        }
    })
    .await;
    until_nobody_waits(&mut writer).await;
    assert_eq!(execute(&mut writer, count()).await, counts_one[0], "the others are counted");
    // A new connection waits for the replica only a moment, once. On a slow machine this may take
    // several attempts.
    let mut another = within(async {
        loop {
            let mut another = connect(&backend, Lane::Writer).await;
            if ask_everybody(&mut another).await < 10 * REPLICA_PATIENCE {
                break another;
            }
        }
    })
    .await;
    until_nobody_waits(&mut another).await;
    // It answers now the questions that came meanwhile.
    drop(paused);
    assert!(asked() <= asked_before + 1, "{} after {asked_before}", asked());
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

/// The connections to the servers of a cluster end together: commands that lead to the others are
/// not sent, either. This holds whether the caller has awaited the loss or not. Each server is
/// still there, and would take the commands.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_the_end_is_not_sent() {
    let cluster = block_in_place(|| RedisCluster::start_without_replicas(3)).unwrap();
    let backend = Cluster::new(steady(&cluster.url()));
    let owner = cluster.owner(STREAM);
    let mut sent = 0;
    for (lost, is_awaited) in [(owner, true), ((owner + 1) % 3, true), ((owner + 2) % 3, false)] {
        let mut writer = connect(&backend, Lane::Writer).await;
        let place = &cluster.nodes()[lost];
        place.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        if is_awaited {
            within(writer.lost()).await;
        }
        let end = within(async {
            loop {
                match writer.execute(vec![xadd(&[("a", "b")])]).await.remove(0) {
                    Ok(_) if !is_awaited => sent += 1,
                    outcome => break outcome,
                }
            }
        })
        .await;
        assert!(matches!(end, Err(CommandError::NotSent(_))), "{lost} of {owner}: {end:?}");
        let again = execute(&mut writer, xadd(&[("a", "b")])).await;
        assert!(matches!(again, Err(CommandError::NotSent(_))), "{again:?}");
        assert_eq!(cluster.command(STREAM, &["XLEN", STREAM]).as_int(), Some(sent));
    }
}
