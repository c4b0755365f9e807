//! The reader's link breaks, or its server hangs.

use std::time::Duration;

use sio_streams_driver::sio_streams_core::{Dialect, LinkState};
use sio_streams_faults::seed::{rng, rounds};
use sio_streams_faults::server::quick;
use sio_streams_faults::{Client, Cluster};
use sio_streams_testkit::{Direction, Fault, RedisServer, Trouble};
use tokio::time::sleep;

scenarios!(
    broken_at_random_bytes,
    killed_by_the_server,
    paused_by_the_server,
    the_server_hangs,
    a_reply_that_never_comes,
);

/// The approximate number of bytes that a receiver gets for this many messages.
fn bytes(messages: u64) -> u64 {
    messages * 200
}

async fn broken_at_random_bytes<C: Client>() {
    let mut rng = rng();
    let redis = RedisServer::start().unwrap();
    let cluster = Cluster::<C>::start(&redis, &quick(Dialect::Streams03), 2, Some(&redis.url())).await;
    let [a, b] = &cluster.servers[..] else { unreachable!() };
    for _ in 0..rounds(6, 100) {
        let reader = &b.links().reader;
        for _ in 0..rng.usize(1..=3) {
            let what = match rng.u8(..6) {
                0 => Trouble::Truncate,
                1 => Trouble::Stall(Duration::from_millis(rng.u64(1..2_000))),
                2 => Trouble::Delay(Duration::from_millis(rng.u64(1..20))),
                _ => Trouble::Cut,
            };
            reader.inject(Fault { direction: Direction::Replies, after: rng.u64(..bytes(500)), what });
        }
        tokio::join!(a.say(500), b.say(50), cluster.node.as_ref().unwrap().say(20));
        reader.calm();
    }
    cluster.settle().await;
    eprintln!("{:?}", cluster.nothing_is_lost().await);
}

/// Kills connections of ours, as an operator or a proxy would.
fn kill_clients(redis: &RedisServer, which: &str) -> usize {
    let clients = redis.command(&["CLIENT", "LIST"]);
    let ours = |line: &&str| line.contains("name=sio-streams:") && line.contains(which);
    let ids = clients.as_str().unwrap().lines().filter(ours).filter_map(|line| {
        let id = line.split_whitespace().find_map(|word| word.strip_prefix("id="))?;
        Some(id.to_owned())
    });
    ids.filter(|id| redis.command(&["CLIENT", "KILL", "ID", id]).as_int() == Some(1)).count()
}

async fn killed_by_the_server<C: Client>() {
    let mut rng = rng();
    let redis = RedisServer::start().unwrap();
    let cluster = Cluster::<C>::start(&redis, &quick(Dialect::Streams03), 2, Some(&redis.url())).await;
    let [a, b] = &cluster.servers[..] else { unreachable!() };
    let mut killed = 0;
    for _ in 0..rounds(5, 50) {
        let kills = async {
            for which in [":reader", ":writer", ":"] {
                sleep(Duration::from_millis(rng.u64(..50))).await;
                killed += kill_clients(&redis, which);
            }
        };
        tokio::join!(a.say(500), b.say(200), cluster.node.as_ref().unwrap().say(20), kills);
    }
    cluster.settle().await;
    eprintln!("{killed} connections killed: {:?}", cluster.nothing_is_lost().await);
    assert!(killed > 5);
}

async fn paused_by_the_server<C: Client>() {
    let mut rng = rng();
    let redis = RedisServer::start().unwrap();
    let cluster = Cluster::<C>::start(&redis, &quick(Dialect::Streams03), 2, Some(&redis.url())).await;
    let [a, b] = &cluster.servers[..] else { unreachable!() };
    for _ in 0..rounds(2, 20) {
        let pause = async {
            sleep(Duration::from_millis(rng.u64(..30))).await;
            // Shorter or longer than a node waits for a reply.
            let (time, which) = (rng.u64(100..2_500).to_string(), ["ALL", "WRITE"][rng.usize(..2)]);
            redis.command(&["CLIENT", "PAUSE", &time, which]);
        };
        tokio::join!(a.say(500), b.say(200), cluster.node.as_ref().unwrap().say(20), pause);
    }
    cluster.settle().await;
    eprintln!("{:?}", cluster.nothing_is_lost().await);
}

async fn the_server_hangs<C: Client>() {
    let mut rng = rng();
    let redis = RedisServer::start().unwrap();
    let cluster = Cluster::<C>::start(&redis, &quick(Dialect::Streams03), 2, Some(&redis.url())).await;
    let [a, b] = &cluster.servers[..] else { unreachable!() };
    for _ in 0..rounds(2, 20) {
        let hang = async {
            sleep(Duration::from_millis(rng.u64(..30))).await;
            redis.pause().unwrap();
            sleep(Duration::from_millis(rng.u64(100..2_500))).await;
            redis.resume().unwrap();
        };
        tokio::join!(a.say(500), b.say(200), cluster.node.as_ref().unwrap().say(20), hang);
    }
    cluster.settle().await;
    eprintln!("{:?}", cluster.nothing_is_lost().await);
}

/// The blocking read is never answered, while everything else works, heartbeats too: a node that
/// took that for silence would be deaf.
async fn a_reply_that_never_comes<C: Client>() {
    let redis = RedisServer::start().unwrap();
    let cluster = Cluster::<C>::start(&redis, &quick(Dialect::Bridge), 2, Some(&redis.url())).await;
    let [a, b] = &cluster.servers[..] else { unreachable!() };
    b.links().reader.inject(Fault { direction: Direction::Replies, after: 0, what: Trouble::Truncate });
    a.say(100).await;
    cluster.settle().await;
    cluster.nothing_is_lost().await;
    assert_eq!(b.links().reader.faults(), 0);
    let lost = b.reports().into_iter().any(|report| {
        matches!(report, sio_streams_faults::Report::Link { link: LinkState::Down { .. }, lane } if lane.to_string().contains("reader"))
    });
    assert!(lost, "{:?}", b.reports());
}
