//! The workers in Rust: a node of ours over either backend, and the bare redis crate.

use core::future::Future;
use core::time::Duration;
use std::collections::VecDeque;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cpu_time::ProcessTime;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use serde::Serialize;
use sio_streams_core::{BroadcastOptions, Config, Dialect, Packet};
use sio_streams_driver::backend::Backend;
use sio_streams_driver::{Event, Events, Namespace};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use super::Result;
use super::job::{Job, Line, Payload};

/// Broadcasts of one sender that wait for Redis.
const IN_FLIGHT: u64 = 1_000;

/// As many that no reader falls behind the stream's beginning.
pub const MAX_LEN: u64 = 50_000_000;

/// What a Rust worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A node of ours over the redis crate.
    RedisRs,
    /// A node of ours over the fred crate.
    Fred,
    /// Pipelined XADD and blocking XREAD by the redis crate. It decodes nothing.
    Raw,
}

/// Runs a worker until its input ends.
///
/// # Errors
///
/// If Redis can't be reached, or the input is not what it should be.
pub async fn run(kind: Kind, url: &str) -> Result<()> {
    match kind {
        Kind::RedisRs => node(sio_streams_redis_rs::RedisBackend::new(url)?).await,
        Kind::Fred => node(sio_streams_fred::FredBackend::new(url)?).await,
        Kind::Raw => raw(url).await,
    }
}

async fn node<B: Backend>(backend: B) -> Result<()> {
    let config = Config { dialect: Dialect::Streams03, max_len: MAX_LEN, ..Config::default() };
    let (node, mut events) = sio_streams_driver::start(config, backend)?;
    let nsp = node.open("/").await?;
    nsp.add_socket("somebody").await?;
    serve(async |job| match job {
        Job::Receive { count, timed } => hear(&mut events, count, timed).await,
        // Its own broadcasts are delivered here too, and have to be taken.
        Job::Send { count, payload } => beside(send(&nsp, count, payload), &mut events).await,
        Job::Pace { count, rate, payload } => beside(pace(&nsp, count, rate, payload), &mut events).await,
    })
    .await
}

/// Takes events until the work is done.
async fn beside(work: impl Future<Output = Result<Line>>, events: &mut Events) -> Result<Line> {
    let mut work = core::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            // First: a node takes no calls while too many events wait.
            event = events.next() => drop(event.ok_or("the node is closed")?),
            done = &mut work => return done,
        }
    }
}

fn packet(due: u64, payload: Payload) -> Result<Packet> {
    Ok(match payload.binary {
        false => Packet::event("m", &(due, "x".repeat(payload.size)))?,
        true => Packet::event("m", &(due, serde_bytes::ByteBuf::from(vec![b'x'; payload.size])))?,
    })
}

async fn send(nsp: &Namespace, count: u64, payload: Payload) -> Result<Line> {
    let used = Used::now();
    let mut open = VecDeque::new();
    for _ in 0..count {
        if open.len() as u64 >= IN_FLIGHT
            && let Some(oldest) = open.pop_front()
        {
            oldest.await?;
        }
        // Each is encoded, as an application's would be.
        open.push_back(nsp.broadcast(packet(0, payload)?, BroadcastOptions::all()));
    }
    for publishing in open {
        publishing.await?;
    }
    used.line()
}

async fn pace(nsp: &Namespace, count: u64, rate: u64, payload: Payload) -> Result<Line> {
    let used = Used::now();
    let began = micros();
    let mut open = FuturesUnordered::new();
    let mut sent = 0;
    while sent < count {
        let due = count.min((micros() - began) * rate / 1_000_000 + 1);
        while sent < due {
            let packet = packet(began + sent * 1_000_000 / rate, payload)?;
            open.push(nsp.broadcast(packet, BroadcastOptions::all()));
            sent += 1;
        }
        tokio::select! {
            Some(done) = open.next() => drop(done?),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    while let Some(done) = open.next().await {
        done?;
    }
    used.line()
}

async fn hear(events: &mut Events, count: u64, timed: bool) -> Result<Line> {
    let mut tally = Tally::begin(count)?;
    while tally.left > 0 {
        if let Event::Broadcast(broadcast) = events.next().await.ok_or("the node is closed")? {
            let due = match timed {
                true => Some(broadcast.packet.data.decode::<(String, u64, Ignored)>()?.1),
                false => None,
            };
            tally.heard(due);
        }
    }
    tally.end()
}

/// What is heard, as it is counted.
struct Tally {
    used: Used,
    left: u64,
    delays: Vec<u64>,
}

impl Tally {
    fn begin(count: u64) -> Result<Self> {
        say(&Line { listening: true, ..Line::default() })?;
        Ok(Tally { used: Used::now(), left: count, delays: Vec::new() })
    }

    fn heard(&mut self, due: Option<u64>) {
        if self.used.first.is_none() {
            self.used.first = Some(Instant::now());
        }
        self.left -= 1;
        self.delays.extend(due.map(|due| micros().saturating_sub(due)));
    }

    fn end(self) -> Result<Line> {
        Ok(Line { delays: self.delays, ..self.used.line()? })
    }
}

/// Does one job after the other.
async fn serve(mut work: impl AsyncFnMut(Job) -> Result<Line>) -> Result<()> {
    let mut jobs: Lines<BufReader<Stdin>> = BufReader::new(tokio::io::stdin()).lines();
    say(&Line { ready: true, ..Line::default() })?;
    while let Some(job) = jobs.next_line().await? {
        let done = work(serde_json::from_str(&job)?).await?;
        say(&done)?;
    }
    Ok(())
}

async fn raw(url: &str) -> Result<()> {
    let client = redis::Client::open(url)?;
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    // What was there before is not read.
    let mut cursor = "0-0".to_owned();
    serve(async |job| match job {
        Job::Send { count, payload } => raw_send(&connection, count, payload).await,
        Job::Pace { count, rate, payload } => raw_pace(&connection, count, rate, payload).await,
        Job::Receive { count, timed } => raw_hear(&mut connection, &mut cursor, count, timed).await,
    })
    .await
}

/// The XADD that a node sends.
fn add(pipeline: &mut redis::Pipeline, data: &[u8]) {
    let command = pipeline.cmd("XADD").arg("socket.io").arg("MAXLEN").arg("~").arg(MAX_LEN).arg("*");
    command.arg("uid").arg("d0a1b2c3d4e5f607").arg("nsp").arg("/").arg("type").arg("3").arg("data").arg(data);
}

fn raw_data(due: u64, payload: Payload) -> Vec<u8> {
    // As long as in base64, where a node would write that.
    let size = if payload.binary { payload.size * 4 / 3 } else { payload.size };
    format!(
        r#"{{"packet":{{"type":2,"data":["m",{due},"{}"],"nsp":"/"}},"opts":{{"rooms":[],"except":[],"flags":{{}}}}}}"#,
        "x".repeat(size)
    )
    .into_bytes()
}

async fn raw_send(connection: &MultiplexedConnection, count: u64, payload: Payload) -> Result<Line> {
    const BATCH: u64 = 500;
    let used = Used::now();
    let data = raw_data(0, payload);
    let batch = |size: u64| {
        let mut pipeline = redis::Pipeline::with_capacity(size as usize);
        (0..size).for_each(|_| add(&mut pipeline, &data));
        let mut connection = connection.clone();
        async move { connection.send_packed_commands(&pipeline, 0, size as usize).await }
    };
    let sizes = (0..count.div_ceil(BATCH)).map(|at| BATCH.min(count - at * BATCH));
    let sent = futures_util::stream::iter(sizes).map(batch).buffer_unordered((IN_FLIGHT / BATCH) as usize);
    let mut sent = core::pin::pin!(sent);
    while let Some(done) = sent.next().await {
        done?;
    }
    used.line()
}

async fn raw_pace(
    connection: &MultiplexedConnection,
    count: u64,
    rate: u64,
    payload: Payload,
) -> Result<Line> {
    let used = Used::now();
    let began = micros();
    let mut open = FuturesUnordered::new();
    let mut sent = 0;
    while sent < count {
        let due = count.min((micros() - began) * rate / 1_000_000 + 1);
        let mut pipeline = redis::Pipeline::new();
        let size = due - sent;
        while sent < due {
            add(&mut pipeline, &raw_data(began + sent * 1_000_000 / rate, payload));
            sent += 1;
        }
        if size > 0 {
            let mut connection = connection.clone();
            open.push(async move { connection.send_packed_commands(&pipeline, 0, size as usize).await });
        }
        tokio::select! {
            Some(done) = open.next() => drop(done?),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    while let Some(done) = open.next().await {
        done?;
    }
    used.line()
}

async fn raw_hear(
    connection: &mut MultiplexedConnection,
    cursor: &mut String,
    count: u64,
    timed: bool,
) -> Result<Line> {
    let mut tally = Tally::begin(count)?;
    while tally.left > 0 {
        let mut read = redis::cmd("XREAD");
        read.arg("BLOCK").arg(5_000).arg("COUNT").arg(1_000).arg("STREAMS").arg("socket.io").arg(&*cursor);
        let reply: redis::Value = read.query_async(connection).await?;
        let Some(entries) = entries(&reply) else { continue };
        for entry in entries {
            let redis::Value::Array(parts) = entry else { return Err("an entry is an array".into()) };
            let [redis::Value::BulkString(id), redis::Value::Array(fields)] = &parts[..] else {
                return Err("an entry is an id and fields".into());
            };
            *cursor = String::from_utf8_lossy(id).into_owned();
            let due = match (timed, fields.get(7)) {
                (true, Some(redis::Value::BulkString(data))) => Some(due(data)?),
                _ => None,
            };
            tally.heard(due);
        }
    }
    tally.end()
}

/// The entries in a reply to XREAD of one stream, over RESP2.
fn entries(reply: &redis::Value) -> Option<&[redis::Value]> {
    let redis::Value::Array(streams) = reply else { return None };
    let redis::Value::Array(stream) = streams.first()? else { return None };
    let redis::Value::Array(entries) = stream.get(1)? else { return None };
    Some(entries)
}

fn due(data: &[u8]) -> Result<u64> {
    let mark: &[u8] = br#"["m","#;
    let at = data.windows(mark.len()).position(|window| window == mark).ok_or("no time in the message")?;
    let digits = data[at + mark.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    Ok(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// A value that nobody looks at.
type Ignored = serde::de::IgnoredAny;

/// What has been used since.
struct Used {
    began: Instant,
    first: Option<Instant>,
    cpu: ProcessTime,
}

impl Used {
    fn now() -> Self {
        Used { began: Instant::now(), first: None, cpu: ProcessTime::now() }
    }

    fn line(&self) -> Result<Line> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: u64 =
            peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default();
        Ok(Line {
            micros: number(self.first.unwrap_or(self.began).elapsed()),
            cpu: number(self.cpu.elapsed()),
            rss: kib << 10,
            ..Line::default()
        })
    }
}

fn number(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A clock that all processes of the machine share.
fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(number).unwrap_or_default()
}

fn say(line: &impl Serialize) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
