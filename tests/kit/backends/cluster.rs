//! Redis Cluster: the suite, and changes of the cluster during operation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::common::*;
use super::member::Member;
use crate::{Backend, SHARDED_OVER_RESP2};
use sio_streams_core::{Command, Config, Dialect, Lane, Reply};
use sio_streams_driver::backend::{Backend as _, ConnectError, Connection as _, PushSender};
use sio_streams_driver::cluster::Cluster;
use sio_streams_driver::conformance::{Faults, Suite};
use sio_streams_driver::wire::{Address, Dialer, WireConnection};
use sio_streams_testkit::{Proxy, RedisCluster};
use tokio::task::block_in_place;

fn start() -> RedisCluster {
    block_in_place(|| RedisCluster::start(3)).unwrap()
}

fn backend(cluster: &RedisCluster) -> Cluster<Backend> {
    let other = cluster.addrs()[1].to_string();
    Cluster::new(steady(&cluster.url())).seed(&other).unwrap()
}

fn config() -> Config {
    Config { dialect: Dialect::Streams03, ..Config::default() }
}

/// Reaches every server through a link that can be broken.
#[derive(Clone)]
struct Through {
    backend: Backend,
    links: Arc<BTreeMap<Address, Proxy>>,
}

impl Dialer for Through {
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
        let through = Address::parse(&self.links[address].addr().to_string()).unwrap();
        self.backend.dial(&through, lane, pushes).await
    }
}

impl Faults for Through {
    fn cut(&self) {
        self.links.values().for_each(Proxy::cut);
    }

    fn restore(&self) {
        for link in self.links.values() {
            link.unstall();
            link.restore().unwrap();
        }
    }

    fn hold_replies(&self) {
        self.links.values().for_each(Proxy::stall_replies);
    }
}

async fn conformance(query: &str, sharded: bool) {
    let cluster = start();
    let url = format!("{}/{query}", cluster.url());
    let made =
        Backend::builder(&url).heartbeat(core::time::Duration::from_millis(50), BOUND).build().unwrap();
    let address = |addr: std::net::SocketAddr| Address::parse(&addr.to_string()).unwrap();
    let link = |addr| (address(addr), Proxy::start(addr).unwrap());
    let links = Arc::new(cluster.addrs().into_iter().map(link).collect());
    let through = Through { backend: made, links };
    let faults = through.clone();
    // All of them through links, so that they are of one type; those that must hold have links of
    // their own.
    let holding = Through {
        links: Arc::new(cluster.addrs().into_iter().map(link).collect()),
        backend: through.backend.clone(),
    };
    let suite = Suite::new(move || Cluster::new(holding.clone()))
        .faults(move || Cluster::new(through.clone()), faults)
        .sharded(sharded)
        .patience(CASE);
    let report = suite.run().await;
    report.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_resp3() {
    conformance("?protocol=resp3", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_resp2() {
    conformance("?protocol=resp2", SHARDED_OVER_RESP2).await;
}

/// While messages flow, the stream goes to another server and on to a third; in between its slot is
/// half moved.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_moves_loses_nothing() {
    let cluster = start();
    let one = Member::start(config(), backend(&cluster)).await;
    let mut two = Member::start(config(), backend(&cluster)).await;
    two.sees(2).await;
    let mut numbers = 0..;
    let mut send_some = async || {
        for number in numbers.by_ref().take(20) {
            one.send(number).await;
        }
    };
    let first = cluster.owner(STREAM);
    for to in [(first + 1) % 3, (first + 2) % 3] {
        send_some().await;
        let moving = block_in_place(|| cluster.begin_move(STREAM, to)).unwrap();
        send_some().await;
        block_in_place(|| moving.keys()).unwrap();
        // The old server sends on by ASK.
        send_some().await;
        block_in_place(|| moving.end()).unwrap();
        // And now by MOVED.
        send_some().await;
        assert_eq!(cluster.owner(STREAM), to);
    }
    two.hears(0..160).await;
    assert_eq!(cluster.command(STREAM, &["XLEN", STREAM]).as_int(), Some(160));
    // The writer has followed; its link was never down.
    assert!(one.losses(&Lane::Writer).is_empty(), "{:?}", one.told());
}

/// A master dies with the stream on it, while messages flow.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_loses_nothing_that_was_replicated() {
    let cluster = start();
    let one = Member::start(config(), backend(&cluster)).await;
    let mut two = Member::start(config(), backend(&cluster)).await;
    two.sees(2).await;
    for number in 0..20 {
        one.send(number).await;
    }
    let master = cluster.owner(STREAM);
    // Redis confirms before its replica knows. What is lost with the master, no client can bring
    // back.
    block_in_place(|| cluster.nodes()[master].replicated(STREAM)).unwrap();
    // First the master goes, then the messages come.
    cluster.nodes()[master].kill();
    let sending = one.sends(20..40);
    block_in_place(|| cluster.fail_over(master)).unwrap();
    within(sending).await.unwrap();
    two.hears(0..40).await;
    let count = cluster.command(STREAM, &["XLEN", STREAM]).as_int();
    assert_eq!(count, Some(40), "each is there once");
    until(|| !one.losses(&Lane::Writer).is_empty() && one.is_up(&Lane::Writer)).await;
    two.is_answered_by(1).await;
}

/// The master becomes a replica of its replica, and lives on, while messages flow.
#[tokio::test(flavor = "multi_thread")]
async fn a_handover_loses_nothing() {
    let cluster = start();
    // However long it takes, all messages stay in the stream.
    let config = || Config { max_len: u32::MAX.into(), ..config() };
    let one = Member::start(config(), backend(&cluster)).await;
    let mut two = Member::start(config(), backend(&cluster)).await;
    two.sees(2).await;
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    let sending = one.sends((0..).take_while(move |_| !is_over.load(Ordering::Relaxed)));
    two.hears(0..20).await;
    let master = cluster.owner(STREAM);
    block_in_place(|| cluster.hand_over(master)).unwrap();
    over.store(true, Ordering::Relaxed);
    let count = within(sending).await.unwrap();
    one.send(count).await;
    two.hears(20..=count).await;
    two.is_answered_by(1).await;
}

/// The slots of sharded channels move: the subscribers must follow, or requests would wait for them
/// in vain.
#[tokio::test(flavor = "multi_thread")]
async fn sharded_subscriptions_follow_their_slots() {
    let cluster = start();
    let config = || Config { use_sharded_pub_sub: true, ..config() };
    let one = Member::start(config(), backend(&cluster)).await;
    let two = Member::start(config(), backend(&cluster)).await;
    one.is_answered_by(1).await;
    for channel in ["socket.io#/#".to_owned(), format!("socket.io#/#{}#", one.node.uid())] {
        let to = (cluster.owner(&channel) + 1) % 3;
        block_in_place(|| cluster.move_slot(&channel, to)).unwrap();
        one.is_answered_by(1).await;
        two.is_answered_by(1).await;
    }
    assert!(one.losses(&Lane::Subscriber).iter().all(|why| why.contains("slot")), "{:?}", one.told());
}

/// The server of a sharded channel dies; its replica takes over.
#[tokio::test(flavor = "multi_thread")]
async fn sharded_subscriptions_survive_a_failover() {
    let cluster = start();
    let config = || Config { use_sharded_pub_sub: true, ..config() };
    let one = Member::start(config(), backend(&cluster)).await;
    let two = Member::start(config(), backend(&cluster)).await;
    one.is_answered_by(1).await;
    let master = cluster.owner("socket.io#/#");
    block_in_place(|| cluster.fail_over(master)).unwrap();
    one.is_answered_by(1).await;
    two.is_answered_by(1).await;
}

/// As in the documentation of the crates, and of the driver's cluster.
#[tokio::test(flavor = "multi_thread")]
async fn the_least_rights_suffice() {
    let cluster = start();
    let rights = "on >pw resetkeys resetchannels -@all ~socket.io &socket.io* +xadd +xread +xrange +xinfo|stream \
         +publish +subscribe +unsubscribe +pubsub|numsub +pubsub|channels +ping +cluster|slots +asking";
    for node in cluster.nodes() {
        let command: Vec<&str> = ["ACL", "SETUSER", "ann"].into_iter().chain(rights.split(' ')).collect();
        assert_eq!(node.command(&command).as_str(), Some("OK"));
    }
    let backend = || Cluster::new(steady(&cluster.nodes()[0].url_as("ann", "pw")));
    let one = Member::start(config(), backend()).await;
    let mut two = Member::start(config(), backend()).await;
    two.sees(2).await;
    one.send(0).await;
    let moving = block_in_place(|| cluster.begin_move(STREAM, (cluster.owner(STREAM) + 1) % 3)).unwrap();
    block_in_place(|| moving.keys()).unwrap();
    one.send(1).await;
    block_in_place(|| moving.end()).unwrap();
    one.send(2).await;
    two.hears(0..3).await;
    two.is_answered_by(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_of_all_nodes_are_counted() {
    let cluster = start();
    let backend = backend(&cluster);
    let (pushes, _messages) = PushSender::channel(1);
    let mut writer = within(backend.connect(&Lane::Writer, pushes)).await.unwrap();
    let count = || Command::PubSubNumSub { channels: vec!["channel".into()], sharded: false };
    assert_eq!(within(writer.execute(vec![count()])).await, [Ok(Reply::Counts(vec![0]))]);
    // Node's clients subscribe at replicas, too.
    let mut subscribers: Vec<_> = cluster.nodes().iter().map(|node| node.connect().unwrap()).collect();
    for subscriber in &mut subscribers {
        subscriber.command(&["SUBSCRIBE", "channel"]).unwrap();
    }
    // On a busy machine it may take another attempt until all replicas are connected.
    within(async {
        while writer.execute(vec![count()]).await != [Ok(Reply::Counts(vec![6]))] {
            tokio::time::sleep(core::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    let list = Command::PubSubChannels { pattern: "chan*".into(), sharded: false };
    assert_eq!(within(writer.execute(vec![list])).await, [Ok(Reply::Channels(vec!["channel".into()]))]);
    // A replica that is gone takes its subscribers with it, and nobody is held up.
    cluster.nodes()[5].kill();
    assert_eq!(within(writer.execute(vec![count()])).await, [Ok(Reply::Counts(vec![5]))]);
}

/// One connection for each reader, at the server that has its stream, and one to each server for
/// all that is written.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_few_and_have_names() {
    let cluster = start();
    let config = Config { stream_count: 4, ..config() };
    let member = Member::start_in(config.clone(), backend(&cluster), "/").await;
    for nsp in ["/a", "/b", "/c", "/d", "/e"] {
        within(member.node.open(nsp)).await.unwrap();
    }
    let names = |node: usize| -> Vec<String> {
        let list = cluster.nodes()[node].command(&["CLIENT", "LIST"]);
        let name = |field: &str| Some(field.strip_prefix("name=sio-streams:")?.to_owned());
        list.as_str().unwrap().split_whitespace().filter_map(name).collect()
    };
    // On a busy machine it may take another attempt until all replicas are connected, and a moment
    // until the connections are closed that only asked who the servers are.
    let all = within(async {
        loop {
            member.sees(1).await;
            let all: Vec<Vec<String>> = (0..6).map(names).collect();
            let has_one_writer =
                |names: &Vec<String>| names.iter().filter(|name| *name == "writer").count() == 1;
            if all.iter().all(has_one_writer) {
                break all.concat();
            }
            tokio::time::sleep(core::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(all.iter().filter(|name| *name == "subscriber").count(), 1, "{all:?}");
    let readers: Vec<&String> = all.iter().filter(|name| name.starts_with("reader:")).collect();
    assert!(!readers.is_empty());
    for reader in readers {
        let stream = reader.strip_prefix("reader:").unwrap();
        assert_eq!(all.iter().filter(|name| *name == reader).count(), 1, "{all:?}");
        assert!(names(cluster.owner(stream)).contains(reader));
    }
}

/// A master is gone and has no replica that could take over.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_down_is_reported_and_waited_for() {
    let cluster = start();
    let one = Member::start(config(), backend(&cluster)).await;
    let mut two = Member::start(config(), backend(&cluster)).await;
    two.sees(2).await;
    one.send(0).await;
    let other = (cluster.owner(STREAM) + 1) % 3;
    block_in_place(|| cluster.bring_down(other)).unwrap();
    until(|| !one.is_up(&Lane::Writer)).await;
    let sending = one.send(1);
    let mending = async {
        block_in_place(|| {
            cluster.nodes()[other].restart().unwrap();
            cluster.nodes()[cluster.partner(other)].restart().unwrap();
            cluster.settle().unwrap();
        });
    };
    tokio::join!(sending, mending);
    two.hears(0..2).await;
}
