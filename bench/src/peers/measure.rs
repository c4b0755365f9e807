//! One round: every contender does the same.

use sio_streams_testkit::RedisServer;

use super::Result;
use super::contender::{CONTENDERS, Contender, Worker};
use super::job::{Job, Line, Payload};

/// What is sent, and how many messages of it make up a measurement.
pub const PAYLOADS: [(&str, Payload, u64); 4] = [
    ("small JSON", Payload { binary: false, size: 16 }, 30_000),
    ("1 KiB JSON", Payload { binary: false, size: 1 << 10 }, 20_000),
    ("1 KiB binary", Payload { binary: true, size: 1 << 10 }, 16_000),
    ("64 KiB JSON", Payload { binary: false, size: 64 << 10 }, 1_000),
];

/// Messages a second at which a cluster counts as idle, and how many of them.
const IDLE: (u64, u64) = (100, 100);

/// How long the half load is kept up, in milliseconds.
const HALF_LOAD: u64 = 500;

/// What was measured of one contender with one payload. Times in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Messages a second, from the first heard to the last.
    pub rate: f64,
    /// Processor time of the sender, per message.
    pub sender: f64,
    /// Processor time of the receiver, per message.
    pub receiver: f64,
    /// Delays when idle: median and 99th percentile.
    pub idle: (f64, f64),
    /// Delays at half of the first contender's rate.
    pub half_load: (f64, f64),
    /// The larger of the two processes' peaks of memory, in MiB.
    pub rss: f64,
}

/// Figures of all contenders, in their order, for one payload.
///
/// # Errors
///
/// If a worker fails.
pub fn round(server: &RedisServer, payload: Payload, count: u64) -> Result<Vec<Figures>> {
    let mut all: Vec<Figures> = Vec::new();
    for contender in CONTENDERS {
        let half = all.first().map(|first| first.rate / 2.0);
        all.push(one(server, contender, payload, count, half)?);
    }
    Ok(all)
}

fn one(
    server: &RedisServer,
    contender: Contender,
    payload: Payload,
    count: u64,
    half: Option<f64>,
) -> Result<Figures> {
    server.command(&["FLUSHALL"]);
    let url = server.url();
    let mut pair = (Worker::start(contender, &url)?, Worker::start(contender, &url)?);
    // Both are warm.
    work(&mut pair, Job::Send { count: count / 4, payload }, false)?;
    let (sent, heard) = work(&mut pair, Job::Send { count, payload }, false)?;
    let rate = count as f64 * 1e6 / heard.micros.max(1) as f64;
    let (idle_rate, idle_count) = IDLE;
    let (_, idle) = work(&mut pair, Job::Pace { count: idle_count, rate: idle_rate, payload }, true)?;
    let half = (half.unwrap_or(rate / 2.0) as u64).max(1);
    let paced = Job::Pace { count: (half * HALF_LOAD / 1_000).max(1), rate: half, payload };
    let (_, loaded) = work(&mut pair, paced, true)?;
    Ok(Figures {
        rate,
        sender: sent.cpu as f64 / count as f64,
        receiver: heard.cpu as f64 / count as f64,
        idle: percentiles(idle.delays),
        half_load: percentiles(loaded.delays),
        rss: sent.rss.max(heard.rss) as f64 / f64::from(1 << 20),
    })
}

/// The one says it, the other hears it. What each has to say of it.
fn work((sender, receiver): &mut (Worker, Worker), job: Job, timed: bool) -> Result<(Line, Line)> {
    let (Job::Send { count, .. } | Job::Pace { count, .. }) = job else {
        return Err("nothing would be heard".into());
    };
    receiver.give(&Job::Receive { count, timed })?;
    if !receiver.line()?.listening {
        return Err("a receiver that doesn't listen".into());
    }
    sender.give(&job)?;
    Ok((sender.line()?, receiver.line()?))
}

fn percentiles(mut delays: Vec<u64>) -> (f64, f64) {
    delays.sort_unstable();
    let at = |percent: usize| delays.get(delays.len() * percent / 100).copied().unwrap_or_default() as f64;
    (at(50), at(99))
}
