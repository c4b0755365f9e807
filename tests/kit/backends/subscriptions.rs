//! Very many subscriptions. They are as quick as few, and they are completed even if links are lost
//! on the way.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::common::*;
use crate::Backend;
use sio_streams_core::{Command, Config, Dialect, Lane, LinkState, Reply, SubscriptionMode};
use sio_streams_driver::backend::{Backend as Opens, ConnectError, Connection as Connects, PushSender};
use sio_streams_driver::cluster::Cluster;
use sio_streams_driver::wire::{Address, Dialer, WireConnection};
use sio_streams_driver::{Event, Options};
use sio_streams_testkit::{Direction, Fault, Proxy, RedisCluster, RedisServer, Trouble};
use tokio::task::block_in_place;

/// The minimum time by which a server's answers are delayed.
const DELAY: Duration = Duration::from_millis(20);

fn slow_down(link: &Proxy, delay: Duration) {
    for direction in [Direction::Requests, Direction::Replies] {
        link.inject(Fault { direction, after: 0, what: Trouble::Delay(delay / 2) });
    }
}

fn rooms(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("socket.io#/#room {number}#")).collect()
}

fn singles(rooms: &[String], on: bool) -> Vec<Command> {
    let single = |room: &String| match on {
        true => subscribe(&[room], true),
        false => unsubscribe(&[room], true),
    };
    rooms.iter().map(single).collect()
}

/// Executes commands, checks that all of them succeed, and returns the time that this took.
async fn timed(connection: &mut impl Connects, commands: Vec<Command>) -> Duration {
    let began = Instant::now();
    let count = commands.len();
    let answers = within(connection.execute(commands)).await;
    assert_eq!(answers, vec![Ok(Reply::Done); count]);
    began.elapsed()
}

/// Checks that many subscriptions do not wait for each other, whether they begin or end, and
/// whether they come in many commands or in one.
async fn many_are_as_quick_as_one(connection: &mut impl Connects) {
    let rooms = rooms(1_000);
    timed(connection, singles(&rooms[..50], true)).await;
    let one = timed(connection, singles(&rooms[..1], true)).await;
    assert!(one >= DELAY, "{one:?}");
    for on in [true, false] {
        let many = timed(connection, singles(&rooms, on)).await;
        assert!(many < 200 * one, "{many:?}, and one takes {one:?}");
    }
    let names: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let many = timed(connection, vec![subscribe(&names, true)]).await;
    assert!(many < 200 * one, "{many:?}, and one takes {one:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_one_server_many_subscriptions_are_as_quick_as_one() {
    let redis = RedisServer::start().unwrap();
    let link = Proxy::start(redis.addr()).unwrap();
    let backend = steady(&link.url());
    let (pushes, _messages) = PushSender::channel(1);
    let mut connection = within(backend.connect(&Lane::Subscriber, pushes)).await.unwrap();
    slow_down(&link, DELAY);
    many_are_as_quick_as_one(&mut connection).await;
    let count = redis.command(&["PUBSUB", "SHARDCHANNELS"]);
    assert_eq!(count.items().len(), 1_000);
}

/// A dialer that reaches every server over a link of its own.
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

impl Through {
    fn new(cluster: &RedisCluster) -> Self {
        let link = |addr: std::net::SocketAddr| {
            (Address::parse(&addr.to_string()).unwrap(), Proxy::start(addr).unwrap())
        };
        let links = Arc::new(cluster.addrs().into_iter().map(link).collect());
        Through { backend: steady(&cluster.url()), links }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_many_subscriptions_are_as_quick_as_one() {
    let cluster = block_in_place(|| RedisCluster::start_without_replicas(3)).unwrap();
    let through = Through::new(&cluster);
    let backend = Cluster::new(through.clone());
    let (pushes, _messages) = PushSender::channel(1);
    let mut connection = within(backend.connect(&Lane::Subscriber, pushes)).await.unwrap();
    through.links.values().for_each(|link| slow_down(link, DELAY));
    many_are_as_quick_as_one(&mut connection).await;
    let listed = cluster.nodes().iter().map(|node| node.command(&["PUBSUB", "SHARDCHANNELS"]).items().len());
    assert_eq!(listed.sum::<usize>(), 1_000);
}

/// Slots have moved, and the subscriber does not know this yet. Every room ends up where it
/// belongs.
#[tokio::test(flavor = "multi_thread")]
async fn rooms_whose_slots_have_moved_are_subscribed_where_they_are() {
    let cluster = block_in_place(|| RedisCluster::start_without_replicas(3)).unwrap();
    let backend = Cluster::new(steady(&cluster.url()));
    let (pushes, _messages) = PushSender::channel(1);
    let mut connection = within(backend.connect(&Lane::Subscriber, pushes)).await.unwrap();
    let rooms = rooms(300);
    for room in &rooms[..3] {
        let to = (cluster.owner(room) + 1) % 3;
        block_in_place(|| cluster.move_slot(room, to)).unwrap();
    }
    let names: Vec<&str> = rooms.iter().map(String::as_str).collect();
    // One of these rooms is left at once. The two commands must not overtake each other.
    let leave = Command::Unsubscribe { channels: vec![rooms[0].clone().into()], sharded: true };
    let done = within(connection.execute(vec![subscribe(&names, true), leave])).await;
    assert_eq!(done, [Ok(Reply::Done), Ok(Reply::Done)]);
    for (room, subscribers) in rooms[..3].iter().zip([0, 1, 1]) {
        let count = cluster.command(room, &["PUBSUB", "SHARDNUMSUB", room]);
        assert_eq!(count.items()[1].as_int(), Some(subscribers), "{room}");
    }
}

/// The link is lost again and again before all rooms are subscribed. Once a link holds, all of them
/// are.
#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_heard_again_though_the_link_falls_on_the_way() {
    const ROOMS: usize = 5_000;
    let redis = RedisServer::start().unwrap();
    let link = Proxy::start(redis.addr()).unwrap();
    let config = Config {
        dialect: Dialect::Sharded,
        subscription_mode: SubscriptionMode::Dynamic,
        ..Config::default()
    };
    let options = Options { event_buffer: 100_000, ..options(config) };
    let (node, mut events) = sio_streams_driver::start(options, steady(&link.url())).unwrap();
    let nsp = within(node.open("/")).await.unwrap();
    for number in 0..ROOMS {
        let socket = format!("s{number}");
        within(nsp.add_socket(socket.clone())).await.unwrap();
        within(nsp.join(socket, vec![format!("a room {number}").into()])).await.unwrap();
    }
    let listed = || redis.command(&["PUBSUB", "SHARDCHANNELS", "*a room*"]).items().len();
    until(|| listed() == ROOMS).await;
    // Each time, the link is cut after about three fifths of the requests.
    let fault =
        || Fault { direction: Direction::Requests, after: 60 * ROOMS as u64 * 3 / 5, what: Trouble::Cut };
    link.inject(fault());
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let mut losses = 0;
    within(async {
        while link.faults() > 0 || listed() != ROOMS {
            let event = tokio::time::timeout(Duration::from_millis(20), events.next()).await;
            if let Ok(Some(Event::Link { lane: Lane::Subscriber, link: LinkState::Down { .. } })) = event {
                losses += 1;
                if losses == 2 {
                    link.inject(fault());
                }
            }
        }
    })
    .await;
    assert!(losses >= 3, "it fell on the way");
}

/// Returns the number of sharded channels that are subscribed at these servers together.
fn subscribed(servers: &[RedisServer]) -> i64 {
    let count = |server: &RedisServer| {
        let info = server.command(&["INFO", "stats"]);
        let lines = info.as_str().unwrap().lines();
        let number = lines.filter_map(|line| line.strip_prefix("pubsubshard_channels:")).next();
        number.unwrap().parse::<i64>().unwrap()
    };
    servers.iter().map(count).sum()
}

/// Makes a node in very many rooms lose its subscriptions, and returns the time until all of them
/// are in force again.
async fn time_to_hear_again<B: Opens>(backend: B, servers: &[RedisServer], rooms: i64) -> Duration {
    let config = Config { dialect: Dialect::Sharded, ..Config::default() };
    let (node, mut events) = sio_streams_driver::start(options(config), backend).unwrap();
    let draining = tokio::spawn(async move { while events.next().await.is_some() {} });
    let nsp = within(node.open("/")).await.unwrap();
    for socket in 0..rooms / 100 {
        let names = (0..100).map(|number| format!("a room {}", 100 * socket + number).into());
        within(nsp.add_socket(format!("s{socket}"))).await.unwrap();
        within(nsp.join(format!("s{socket}"), names)).await.unwrap();
    }
    // Each socket has a room of its own, and the namespace has two channels.
    let all = rooms + rooms / 100 + 2;
    until(|| subscribed(servers) == all).await;
    let began = Instant::now();
    for server in servers {
        server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    }
    until(|| subscribed(servers) < all).await;
    until(|| subscribed(servers) == all).await;
    let time = began.elapsed();
    draining.abort();
    time
}

/// Measures the figures of docs/redis.md.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures: run it by hand, on a machine that does nothing else"]
#[allow(clippy::print_stderr, reason = "figures")]
async fn a_hundred_thousand_rooms_are_heard_again_within_five_seconds() {
    const RTT: Duration = Duration::from_millis(5);
    let redis = [RedisServer::start().unwrap()];
    let link = Proxy::start(redis[0].addr()).unwrap();
    slow_down(&link, RTT);
    let one = time_to_hear_again(steady(&link.url()), &redis, 100_000).await;
    let cluster = block_in_place(|| RedisCluster::start_without_replicas(3)).unwrap();
    let through = Through::new(&cluster);
    through.links.values().for_each(|link| slow_down(link, RTT));
    let three = time_to_hear_again(Cluster::new(through), cluster.nodes(), 100_000).await;
    eprintln!("{one:?} on one server, {three:?} in a cluster");
    assert!(one.max(three) < Duration::from_secs(5));
}
