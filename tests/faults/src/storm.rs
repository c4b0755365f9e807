//! Everything at random: links that break, a server that is killed, hangs and pauses, while all
//! servers send.

use std::time::Duration;

use fastrand::Rng;
use sio_streams_driver::sio_streams_core::Dialect;
use sio_streams_testkit::{Direction, Fault, RedisServer, Trouble};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::cluster::Books;
use crate::server::quick;
use crate::{Client, Cluster};

/// The events of a storm.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Faults of links that struck.
    pub faults: usize,
    /// Times that the server was killed, and had every write on disk.
    pub kills: usize,
    /// Times that the server hung, or paused its clients.
    pub hangs: usize,
    /// Times that all connections were closed at once.
    pub cuts: usize,
    /// The fates of the messages.
    pub books: Books,
}

/// A cluster of three servers of ours and a Node server, on a server that keeps everything, for so
/// many gusts of some bursts each.
///
/// # Errors
///
/// Says what was lost, doubled or out of order.
///
/// # Panics
///
/// If somebody does not answer any more when the storm is over.
pub async fn storm<C: Client>(gusts: usize, rng: &mut Rng) -> Result<Weather, String> {
    let redis = RedisServer::builder().persistent().start().unwrap();
    let dialect = [Dialect::Streams03, Dialect::Bridge][rng.usize(..2)];
    let cluster = Cluster::<C>::start(&redis, &quick(dialect), 3, Some(&redis.url())).await;
    let mut weather = Weather::default();
    for _ in 0..gusts {
        let mut injected = 0;
        for server in &cluster.servers {
            for link in server.links().each() {
                for _ in 0..rng.usize(..3) {
                    link.inject(any(rng, 100_000));
                    injected += 1;
                }
            }
        }
        let each: Vec<u32> = cluster.servers.iter().map(|_| rng.u32(..800)).collect();
        let [a, b, c] = &cluster.servers[..] else { unreachable!() };
        let node = cluster.node.as_ref().unwrap();
        let trouble = async {
            sleep(Duration::from_millis(rng.u64(..100))).await;
            match rng.u8(..8) {
                0 => {
                    redis.kill();
                    sleep(Duration::from_millis(rng.u64(..500))).await;
                    block_in_place(|| redis.restart()).unwrap();
                    weather.kills += 1;
                }
                1 => {
                    redis.pause().unwrap();
                    sleep(Duration::from_millis(rng.u64(50..2_000))).await;
                    redis.resume().unwrap();
                    weather.hangs += 1;
                }
                2 => {
                    let time = rng.u64(50..2_000).to_string();
                    redis.command(&["CLIENT", "PAUSE", &time, "ALL"]);
                    weather.hangs += 1;
                }
                3 => {
                    let links = cluster.servers[rng.usize(..3)].links();
                    links.cut();
                    sleep(Duration::from_millis(rng.u64(..1_000))).await;
                    links.restore().unwrap();
                    weather.cuts += 1;
                }
                _ => {}
            }
        };
        tokio::join!(a.say(each[0]), b.say(each[1]), c.say(each[2]), node.say(5), trouble);
        for link in cluster.servers.iter().flat_map(|server| server.links().each()) {
            injected -= link.faults();
            link.calm();
        }
        weather.faults += injected;
    }
    cluster.alive().await;
    cluster.settle().await;
    weather.books = cluster.judge(|_, _| false).await?;
    Ok(weather)
}

/// Any fault of a link, at one of so many next bytes.
pub fn any(rng: &mut Rng, bytes: u64) -> Fault {
    let what = match rng.u8(..10) {
        0 => Trouble::Truncate,
        1 => Trouble::Stall(Duration::from_millis(rng.u64(1..2_500))),
        2 => Trouble::Delay(Duration::from_millis(rng.u64(1..20))),
        _ => Trouble::Cut,
    };
    let direction = [Direction::Requests, Direction::Replies][rng.usize(..2)];
    Fault { direction, after: rng.u64(..bytes), what }
}
