//! The writer's link breaks.

use std::time::Duration;

use sio_streams_driver::Options;
use sio_streams_driver::sio_streams_core::{CommandError, Config, Dialect, Limits};
use sio_streams_faults::cluster::until;
use sio_streams_faults::seed::{rng, rounds, strike};
use sio_streams_faults::server::quick;
use sio_streams_faults::{Client, Cluster, Fate};
use sio_streams_testkit::{Direction, Fault, RedisServer, Trouble};

scenarios!(
    cut_at_random_bytes_in_bursts_of_1000,
    stalled_truncated_and_delayed_at_random_bytes,
    a_first_try_that_is_executed_late,
    what_is_given_up_is_reported,
);

/// The approximate number of bytes that a burst of this many messages takes.
fn bytes(messages: u64) -> u64 {
    messages * 250
}

async fn cut_at_random_bytes_in_bursts_of_1000<C: Client>() {
    let mut rng = rng();
    let redis = RedisServer::start().unwrap();
    let cluster = Cluster::<C>::start(&redis, &quick(Dialect::Streams03), 2, Some(&redis.url())).await;
    let ([a, b], Some(node)) = (&cluster.servers[..], &cluster.node) else { unreachable!() };
    let writer = &a.links().writer;
    let bursts = rounds(20, 200);
    let mut cuts = 0;
    for _ in 0..bursts {
        let wanted = rng.usize(1..=3);
        for _ in 0..wanted {
            strike(&mut rng, writer, bytes(1_000), Trouble::Cut);
        }
        tokio::join!(a.say(1_000), b.say(50), node.say(5));
        cuts += wanted - writer.faults();
        writer.calm();
        // The stream keeps ten bursts: nobody may fall behind by that many.
        let last = a.said() - 1;
        until("all has come", async || {
            let ours = a.has_come_to("b", b.said() - 1) && b.has_come_to("a", last);
            ours && node.heard("a").await.contains(&last)
        })
        .await;
    }
    cluster.settle().await;
    let books = cluster.nothing_is_lost().await;
    eprintln!("{bursts} bursts, {cuts} cuts: {books:?}");
    assert!(cuts > bursts / 2);
}

async fn stalled_truncated_and_delayed_at_random_bytes<C: Client>() {
    let mut rng = rng();
    let redis = RedisServer::start().unwrap();
    let cluster = Cluster::<C>::start(&redis, &quick(Dialect::Streams03), 2, Some(&redis.url())).await;
    let [a, b] = &cluster.servers[..] else { unreachable!() };
    for _ in 0..rounds(6, 60) {
        let writer = &a.links().writer;
        for _ in 0..rng.usize(1..=2) {
            let what = match rng.u8(..4) {
                0 => Trouble::Truncate,
                1 => Trouble::Delay(Duration::from_millis(rng.u64(1..30))),
                2 => Trouble::Cut,
                // For less or for more than the node waits for a reply.
                _ => Trouble::Stall(Duration::from_millis(rng.u64(1..2_500))),
            };
            strike(&mut rng, writer, bytes(500), what);
        }
        tokio::join!(a.say(500), b.say(50));
        writer.calm();
    }
    cluster.settle().await;
    let books = cluster.nothing_is_lost().await;
    eprintln!("{books:?}");
}

/// A proxy in between holds part of a burst back until the node has given up on the connection and
/// has sent it again.
async fn a_first_try_that_is_executed_late<C: Client>() {
    let mut rng = rng();
    let redis = RedisServer::start().unwrap();
    let cluster = Cluster::<C>::start(&redis, &quick(Dialect::Streams03), 2, Some(&redis.url())).await;
    let [a, b] = &cluster.servers[..] else { unreachable!() };
    let writer = &a.links().writer;
    for _ in 0..rounds(1, 5) {
        let before = b.count_repeats();
        // The held bytes may be no message, if the node had given up on the connection even before.
        until("a first try is executed late", async || {
            let what = Trouble::Hold;
            writer.inject(Fault { direction: Direction::Requests, after: rng.u64(..bytes(200)), what });
            a.say(300).await;
            until("all of them", async || b.has_come_to("a", a.said() - 1)).await;
            writer.release();
            until("what was held has come through", async || writer.connections() == 1).await;
            a.say(1).await;
            until("what follows it", async || b.has_come_to("a", a.said() - 1)).await;
            b.count_repeats() > before
        })
        .await;
    }
    cluster.settle().await;
    let books = cluster.nothing_is_lost().await;
    // It has no way of knowing.
    assert!(books.node_repeats > 0, "{books:?}");
    eprintln!("{books:?}");
}

async fn what_is_given_up_is_reported<C: Client>() {
    let mut rng = rng();
    let redis = RedisServer::start().unwrap();
    let Options { config, .. } = quick(Dialect::Streams03);
    let limits = Limits { in_flight_for: Duration::from_millis(700), ..Limits::default() };
    let options = Options { config: Config { limits, ..config }, ..quick(Dialect::Streams03) };
    let cluster = Cluster::<C>::start(&redis, &options, 2, Some(&redis.url())).await;
    let a = &cluster.servers[0];
    for _ in 0..rounds(3, 20) {
        let writer = &a.links().writer;
        strike(&mut rng, writer, bytes(300), Trouble::Sever);
        a.say(500).await;
        // On a machine that is slow enough, all may have been given up even before.
        writer.calm();
        writer.restore().unwrap();
        a.say(10).await;
    }
    cluster.settle().await;
    let books = cluster.judge(|_, _| false).await.unwrap();
    eprintln!("{books:?}");
    let failed = |wanted: fn(&CommandError) -> bool| {
        a.fates().iter().filter(|fate| matches!(fate, Fate::Failed(error) if wanted(error))).count()
    };
    assert!(failed(|error| matches!(error, CommandError::NotSent(_) | CommandError::Lost(_))) > 0);
    assert_eq!(failed(|error| matches!(error, CommandError::Server { .. })), 0);
}
