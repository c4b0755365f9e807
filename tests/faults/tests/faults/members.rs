//! With the default timings, no outage that is shorter than the timeouts makes others declare a
//! living node dead.

use std::time::Duration;

use futures_util::future::join_all;
use sio_streams_driver::Options;
use sio_streams_driver::sio_streams_core::{Config, Dialect, EntryId};
use sio_streams_faults::cluster::until;
use sio_streams_faults::seed::{is_full, rng, rounds};
use sio_streams_faults::{Client, Report, Server};
use sio_streams_testkit::RedisServer;
use tokio::time::sleep;

scenarios!(outages_kill_nobody);

/// The default of `heartbeat_timeout`.
const PATIENCE: Duration = Duration::from_secs(10);

/// The observations during an outage.
struct Seen {
    declared_dead: bool,
    /// The longest time between two entries of the node on its stream.
    silence: Duration,
}

/// The times at which entries of the node were added to the stream, by the server's clock.
fn spoken(redis: &RedisServer, stream: &str, uid: &str) -> Vec<EntryId> {
    let entries = redis.command(&["XRANGE", stream, "-", "+"]);
    let own = entries.items().iter().filter(|entry| {
        let fields = entry.items()[1].items();
        fields.chunks(2).any(|pair| pair[0].as_str() == Some("uid") && pair[1].as_str() == Some(uid))
    });
    own.map(|entry| entry.items()[0].as_str().unwrap().parse().unwrap()).collect()
}

/// One pair of nodes, on a stream of its own: the link for writing of one of them is cut for a
/// while.
async fn trial<C: Client>(redis: &RedisServer, stream: String, phase: Duration, outage: Duration) -> Seen {
    let config =
        Config { dialect: Dialect::Streams02, stream_name: stream.clone().into(), ..Config::default() };
    let start = async |name: &str| Server::start::<C>(name, redis, Options::from(config.clone())).await;
    let (a, b) = tokio::join!(start("a"), start("b"));
    let count = async || b.nsp().server_count().await.ok();
    until("they know each other", async || count().await == Some(2)).await;
    sleep(phase).await;
    let uid = a.node().uid().to_string();
    a.links().writer.cut();
    sleep(outage).await;
    let before = spoken(redis, &stream, &uid).len();
    a.links().writer.restore().unwrap();
    let spoken = async || spoken(redis, &stream, &uid);
    until("it has spoken again", async || spoken().await.len() > before).await;
    let last = *spoken().await.last().unwrap();
    let lags = async || b.node().lags().await.ok();
    until("the other has heard it", async || {
        lags().await.is_some_and(|all| all.iter().any(|(_, lag)| lag.position >= Some(last)))
    })
    .await;
    let all = spoken().await;
    let silence = all.windows(2).map(|pair| Duration::from_millis(pair[1].ms - pair[0].ms)).max();
    let declared_dead = b
        .reports()
        .iter()
        .any(|report| matches!(report, Report::Other(text) if text.starts_with("NodeDown")));
    Seen { declared_dead, silence: silence.unwrap_or_default() }
}

async fn outages_kill_nobody<C: Client>() {
    let redis = RedisServer::start().unwrap();
    let mut rng = rng();
    let outages: &[u64] = if is_full() { &[500, 1_000, 2_000, 3_000, 4_000, 5_000] } else { &[2_000, 4_000] };
    for &outage in outages {
        let trials: Vec<Duration> =
            (0..rounds(8, 200)).map(|_| Duration::from_millis(rng.u64(..5_000))).collect();
        let (mut dead, mut silent) = (0, 0);
        for some in trials.chunks(25) {
            let each = some.iter().enumerate().map(|(number, phase)| {
                let stream = format!("{}-{outage}-{number}", rng.u64(..));
                trial::<C>(&redis, stream, *phase, Duration::from_millis(outage))
            });
            for seen in join_all(each).await {
                assert!(
                    !seen.declared_dead || seen.silence > PATIENCE,
                    "after {outage} ms: it was silent for {:?} only",
                    seen.silence
                );
                dead += usize::from(seen.declared_dead);
                silent += usize::from(seen.silence > PATIENCE);
            }
        }
        eprintln!(
            "{outage} ms: {dead} of {} declared dead, {silent} silent for longer than that",
            trials.len()
        );
    }
}
