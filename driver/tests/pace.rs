//! The pauses before a lane connects again, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use core::time::Duration;
use std::sync::{Arc, Mutex};

use sio_streams_core::{Command, CommandError, Config, Dialect, Lane, LinkState, Reply};
use sio_streams_driver::backend::{Backend, ConnectError, Connection, PushSender, Timing};
use sio_streams_driver::memory::{MemoryBackend, MemoryConnection, MemoryRedis};
use sio_streams_driver::{Event, Options};
use tokio::time::{Instant, sleep};

/// The time that it takes until a read is cut off.
const UNTIL_CUT: Duration = Duration::from_millis(1_500);

/// The fate of the reads of a connection.
#[derive(Clone, Copy, Debug)]
enum Reads {
    /// This many are answered, and the next one is lost after a time.
    Answered(u32, Duration),
    /// All of them are answered.
    Always,
}

/// A backend whose reads are lost.
struct Cut {
    inner: MemoryBackend,
    reads: Arc<Mutex<Reads>>,
    /// The times at which the reader's lane connected.
    connected: Arc<Mutex<Vec<Instant>>>,
}

struct CutConnection {
    inner: MemoryConnection,
    reads: Arc<Mutex<Reads>>,
    answered: u32,
    lost: bool,
}

impl Backend for Cut {
    type Connection = CutConnection;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<CutConnection, ConnectError> {
        if matches!(lane, Lane::Reader(_)) {
            self.connected.lock().unwrap().push(Instant::now());
        }
        let inner = self.inner.connect(lane, pushes).await?;
        Ok(CutConnection { inner, reads: Arc::clone(&self.reads), answered: 0, lost: false })
    }
}

impl Connection for CutConnection {
    async fn execute(&mut self, commands: Vec<Command>) -> Vec<Result<Reply, CommandError>> {
        if let [Command::XRead { .. }] = commands.as_slice() {
            let reads = *self.reads.lock().unwrap();
            match reads {
                Reads::Answered(count, after) if self.answered >= count => {
                    sleep(after).await;
                    self.lost = true;
                    return vec![Err(CommandError::Lost("cut off".to_owned()))];
                }
                _ => self.answered += 1,
            }
        }
        self.inner.execute(commands).await
    }

    async fn lost(&mut self) -> String {
        match self.lost {
            true => "cut off".to_owned(),
            false => self.inner.lost().await,
        }
    }
}

/// The pauses of the reader's lane between its connections, this many. Each read of a node that was
/// ready has this fate, and it takes `held` until a connection is lost by it.
async fn pauses(reads: Reads, held: Duration, count: usize) -> Vec<Duration> {
    let redis = MemoryRedis::new();
    let cut = Arc::new(Mutex::new(Reads::Always));
    let connected = Arc::new(Mutex::new(Vec::new()));
    let backend = Cut { inner: redis.backend(), reads: Arc::clone(&cut), connected: Arc::clone(&connected) };
    let timing = Timing { backoff_max: Duration::from_secs(10), ..Timing::default() };
    let config = Config { dialect: Dialect::Streams03, block_time: UNTIL_CUT, ..Config::default() };
    let (node, mut events) =
        sio_streams_driver::start(Options { timing, ..Options::from(config) }, backend).unwrap();
    let _open = node.open("/").await.unwrap();
    *cut.lock().unwrap() = reads;
    // The first connection was of use.
    while !matches!(
        events.next().await.unwrap(),
        Event::Link { lane: Lane::Reader(_), link: LinkState::Down { .. }, .. }
    ) {}
    while connected.lock().unwrap().len() < count + 2 {
        sleep(Duration::from_millis(10)).await;
    }
    let times = connected.lock().unwrap().clone();
    times[1..].windows(2).take(count).map(|pair| (pair[1] - pair[0]).saturating_sub(held)).collect()
}

fn is_about(pause: Duration, expected: u64) -> bool {
    let expected = Duration::from_secs(expected);
    expected <= pause && pause <= expected.mul_f64(1.1) + Duration::from_millis(10)
}

/// Each connection holds for longer than a second, but none gets over what the last one was lost
/// by.
#[tokio::test(start_paused = true)]
async fn a_read_that_is_lost_each_time_is_tried_less_and_less_often() {
    let pauses = pauses(Reads::Answered(0, UNTIL_CUT), UNTIL_CUT, 5).await;
    for (pause, expected) in pauses.iter().zip([1, 2, 4, 8, 10]) {
        assert!(is_about(*pause, expected), "{pauses:?}");
    }
}

/// Each connection has answered a read before it was lost by the next one, and has held for a
/// second. So each loss is the first one.
#[tokio::test(start_paused = true)]
async fn a_connection_that_has_been_of_use_is_opened_again_soon() {
    // The read that is answered waits until its time is up.
    let held = UNTIL_CUT + UNTIL_CUT;
    let pauses = pauses(Reads::Answered(1, UNTIL_CUT), held, 5).await;
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_millis(100)), "{pauses:?}");
}

/// A node that looks for a way around an entry which is too large opens many connections without a
/// report. If there is no way, the next pause is no shorter for it, although the search has taken a
/// while.
#[tokio::test(start_paused = true)]
async fn a_search_that_fails_does_not_bring_the_next_connection_forward() {
    let pauses = pauses(Reads::Answered(0, Duration::ZERO), Duration::ZERO, 60).await;
    let shortest = pauses.iter().min().unwrap();
    assert!(*shortest >= Duration::from_secs(1), "{pauses:?}");
}
