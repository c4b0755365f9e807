//! Rounds: in each, every contender does the same with every payload.

use core::iter;
use core::time::Duration;
use std::thread;
use std::time::Instant;

use sio_streams_testkit::RedisServer;

use super::Result;
use super::contender::{CONTENDERS, Contender, Worker};
use super::job::{Job, Line, Payload};
use super::results::{Figures, OfContender, OfPayload};

/// The messages that are sent.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The key.
    pub key: &'static str,
    /// The title.
    pub title: &'static str,
    /// The payload.
    pub payload: Payload,
    /// The number of messages that everyone sends first, to compile what is compiled at run time,
    /// and to learn the speed.
    pub warm_up: u64,
}

/// All loads.
pub const PAYLOADS: [Load; 4] = [
    load("small", "small JSON", Payload { binary: false, size: 16 }, 12_000),
    load("1k-json", "1 KiB JSON", Payload { binary: false, size: 1 << 10 }, 8_000),
    load("1k-binary", "1 KiB binary", Payload { binary: true, size: 1 << 10 }, 6_000),
    load("64k-json", "64 KiB JSON", Payload { binary: false, size: 64 << 10 }, 400),
];

const fn load(key: &'static str, title: &'static str, payload: Payload, warm_up: u64) -> Load {
    Load { key, title, payload, warm_up }
}

/// The durations of the measurements.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The messages at full speed.
    pub full: Duration,
    /// Messages of an idle cluster.
    pub idle: Duration,
    /// Half load.
    pub half: Duration,
}

impl Plan {
    /// For figures: a round takes under three minutes.
    pub const WHOLE: Plan = Plan {
        full: Duration::from_millis(700),
        idle: Duration::from_millis(800),
        half: Duration::from_millis(1_500),
    };

    /// For a quick check.
    pub const QUICK: Plan = Plan {
        full: Duration::from_millis(200),
        idle: Duration::from_millis(200),
        half: Duration::from_millis(200),
    };
}

/// Messages a second at which a cluster counts as idle.
const IDLE: u64 = 250;

/// Bytes of payload that one measurement may put into Redis, which holds all of it.
const MOST: u64 = 512 << 20;

/// Measures everything, round by round. `failed` is told of what goes wrong: the figures are
/// missing then, and the rest is measured.
///
/// # Errors
///
/// If there is no Redis.
pub fn rounds(
    server: &RedisServer,
    plan: Plan,
    loads: &[Load],
    contenders: &[Contender],
    rounds: usize,
    mut failed: impl FnMut(String),
) -> Result<Vec<OfPayload>> {
    // A subscriber that is slower than its publisher would be cut off, and hear no more.
    server.try_command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0"])?;
    let nobody = |contender: &Contender| OfContender {
        key: contender.key.into(),
        name: contender.name.into(),
        rounds: Vec::new(),
    };
    let mut all: Vec<OfPayload> = loads
        .iter()
        .map(|load| OfPayload {
            key: load.key.into(),
            title: load.title.into(),
            contenders: contenders.iter().map(nobody).collect(),
        })
        .collect();
    for round in 1..=rounds {
        for (load, of_payload) in iter::zip(loads, &mut all) {
            eprint(format_args!("round {round} of {rounds}: {}", load.title));
            let mut half = None;
            for (contender, of_contender) in iter::zip(contenders, &mut of_payload.contenders) {
                let failures = of_contender.rounds.iter().filter(|figures| figures.is_none()).count();
                if failures > 1 {
                    // It would fail again, and take long for that.
                    of_contender.rounds.push(None);
                    continue;
                }
                let figures = one(server, *contender, *load, plan, half)
                    .map_err(|error| {
                        let failure = format!("round {round}, {}, {}: {error}", load.title, contender.name);
                        eprint(format_args!("{failure}"));
                        failed(failure);
                    })
                    .ok();
                if contender.key == CONTENDERS[0].key {
                    half = figures.map(|figures| figures.rate / 2.0);
                }
                of_contender.rounds.push(figures);
            }
        }
    }
    Ok(all)
}

#[allow(clippy::print_stderr, reason = "for people at a terminal")]
fn eprint(text: core::fmt::Arguments<'_>) {
    eprintln!("{text}");
}

/// `half`: half of the rate of the first contender, unless this is it.
fn one(
    server: &RedisServer,
    contender: Contender,
    load: Load,
    plan: Plan,
    half: Option<f64>,
) -> Result<Figures> {
    let payload = load.payload;
    server.try_command(&["FLUSHALL"])?;
    let url = server.url();
    let mut pair = (Worker::start(contender, &url)?, Worker::start(contender, &url)?);
    pair.0.ready()?;
    pair.1.ready()?;

    let (_, warm) = work(&mut pair, Job::Send { count: load.warm_up, payload }, false)?;
    let count = (rate(load.warm_up, &warm) * plan.full.as_secs_f64()) as u64;
    let count = count.clamp(load.warm_up / 4, MOST / (payload.size as u64 + 256));
    let before = Usage::at_rest(server, &mut pair)?;
    let (_, heard) = work(&mut pair, Job::Send { count, payload }, false)?;
    let after = Usage::at_rest(server, &mut pair)?;
    let rate = rate(count, &heard);

    let paced = |rate: u64, time: Duration| Job::Pace {
        count: ((rate as f64 * time.as_secs_f64()) as u64).max(1),
        rate,
        payload,
    };
    let (_, idle) = work(&mut pair, paced(IDLE, plan.idle), true)?;
    let half = (half.unwrap_or(rate / 2.0) as u64).max(1);
    let (_, loaded) = work(&mut pair, paced(half, plan.half), true)?;
    let each = |total: f64| total / count as f64;
    Ok(Figures {
        rate,
        sender: each(after.sender - before.sender),
        receiver: each(after.receiver - before.receiver),
        redis: each(after.redis - before.redis),
        wire: each(after.wire - before.wire),
        idle: percentiles(idle.delays),
        half_load: percentiles(loaded.delays),
        rss: after.rss / f64::from(1 << 20),
    })
}

fn rate(count: u64, heard: &Line) -> f64 {
    count as f64 * 1e6 / heard.micros.max(1) as f64
}

/// One worker sends the messages, the other receives them. Returns the reports of both.
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

/// The resources that have been used so far.
struct Usage {
    /// Microseconds of processor time.
    sender: f64,
    receiver: f64,
    redis: f64,
    /// Bytes that Redis received and sent.
    wire: f64,
    /// The larger peak of the two processes.
    rss: f64,
}

impl Usage {
    /// Waits until Redis has nothing more to send: a sender may still be reading its own entries
    /// back.
    fn at_rest(server: &RedisServer, (sender, receiver): &mut (Worker, Worker)) -> Result<Self> {
        // The commands of this question are counted too.
        const REST: f64 = 16_384.0;
        let mut wire = bytes(server)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            thread::sleep(Duration::from_millis(25));
            let more = bytes(server)?;
            if more - core::mem::replace(&mut wire, more) < REST {
                break;
            }
            if Instant::now() > deadline {
                return Err("Redis doesn't come to rest".into());
            }
        }
        let info = server.try_command(&["INFO", "cpu"])?;
        let cpu = |name| field(info.as_str().unwrap_or_default(), name);
        let (sender, receiver) = (told(sender)?, told(receiver)?);
        Ok(Usage {
            sender: sender.cpu as f64,
            receiver: receiver.cpu as f64,
            redis: (cpu("used_cpu_user")? + cpu("used_cpu_sys")?) * 1e6,
            wire,
            rss: sender.rss.max(receiver.rss) as f64,
        })
    }
}

fn told(worker: &mut Worker) -> Result<Line> {
    worker.give(&Job::Tell)?;
    worker.line()
}

fn bytes(server: &RedisServer) -> Result<f64> {
    let info = server.try_command(&["INFO", "stats"])?;
    let info = info.as_str().unwrap_or_default();
    Ok(field(info, "total_net_input_bytes")? + field(info, "total_net_output_bytes")?)
}

fn field(info: &str, name: &str) -> Result<f64> {
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(line.ok_or_else(|| format!("INFO says nothing of {name}"))?.trim().parse()?)
}

fn percentiles(mut delays: Vec<u64>) -> [f64; 3] {
    delays.sort_unstable();
    [0.5, 0.99, 0.999].map(|part| {
        let at = (delays.len() as f64 * part) as usize;
        delays.get(at.min(delays.len().saturating_sub(1))).copied().unwrap_or_default() as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_among_the_delays() {
        assert_eq!(percentiles((0..1_000).rev().collect()), [500.0, 990.0, 999.0]);
        assert_eq!(percentiles(vec![7]), [7.0; 3]);
        assert_eq!(percentiles(vec![]), [0.0; 3]);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let info = "used_cpu_sys_children:9\r\nused_cpu_sys:1.5\r\n";
        assert_eq!(field(info, "used_cpu_sys").unwrap(), 1.5);
        assert!(field(info, "used_cpu").is_err());
    }
}
