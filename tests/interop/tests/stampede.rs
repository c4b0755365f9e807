//! Everybody comes back at once: 10 000 sessions are restored on one node.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use sio_streams_driver::backend::Timing;
use sio_streams_driver::sio_streams_core::{
    Config, Dialect, EntryId, LocalDelivery, Payload, Recovery, Session, wire,
};
use sio_streams_driver::{Events, Namespace, Options};
use sio_streams_interop::{backend, eventually, timing};
use sio_streams_testkit::RedisServer;

const SESSIONS: usize = 10_000;
/// The number of entries in the stream, and the largest distance of an offset from its end.
const ENTRIES: usize = 5_000;
const AWAY_FOR: usize = 400;

/// The time limit for all of it.
const LONG: Duration = Duration::from_secs(120);

struct Stampede {
    redis: RedisServer,
    ids: Vec<String>,
}

/// The cost.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cost {
    ms: f64,
    restored: usize,
    packets: u64,
    /// The most memory that was in use at once, above what was before.
    peak_mb: f64,
    #[serde(default)]
    read: u64,
}

impl Stampede {
    fn start() -> Self {
        Stampede { redis: RedisServer::start().unwrap(), ids: Vec::new() }
    }

    async fn node(&self) -> (Namespace, Events) {
        let config = Config {
            dialect: Dialect::Streams03,
            // All begin at once, so the last of them waits for all the others.
            recovery: Some(Recovery { timeout: LONG, ..Recovery::default() }),
            local_delivery: LocalDelivery::StreamOrder,
            ..Config::default()
        };
        let options = Options { timing: Timing { response: LONG, ..timing() }, ..Options::from(config) };
        let (node, events) = sio_streams_driver::start(options, backend(&self.redis.url()).unwrap()).unwrap();
        (node.open("/").await.unwrap(), events)
    }

    /// Writes what the clients miss.
    fn fill(&mut self) {
        let mut client = self.redis.connect().unwrap();
        for number in 0..ENTRIES {
            let room = format!("room{}", number % 10);
            let rooms = if number % 2 == 0 { json!([]) } else { json!([room]) };
            let packet =
                json!({ "type": 2, "data": ["event", { "number": number, "text": "x".repeat(150) }] });
            let data = json!({ "packet": packet, "opts": { "rooms": rooms, "except": [], "flags": {} } })
                .to_string();
            let words: [&[u8]; 11] = [
                b"XADD",
                b"socket.io",
                b"*",
                b"uid",
                b"0123456789abcdef",
                b"nsp",
                b"/",
                b"type",
                b"3",
                b"data",
                data.as_bytes(),
            ];
            self.ids.push(client.command(&words).unwrap().as_str().unwrap().to_owned());
        }
    }

    /// Stores sessions; their private ids and offsets.
    fn sessions(&self, prefix: &str) -> Vec<(String, String)> {
        let mut client = self.redis.connect().unwrap();
        let one = |number: usize| {
            let (sid, pid) = (format!("{prefix}-sid-{number}"), format!("{prefix}-pid-{number}"));
            let rooms = vec![sid.clone().into(), format!("room{}", number % 10).into()];
            let data = Payload::encode(&json!({ "user": number })).unwrap();
            let session = Session { sid: sid.into(), pid: pid.clone().into(), rooms, data };
            let key = format!("sio:session:{pid}");
            let value = wire::session::encode(&session).unwrap();
            client.command(&[b"SET", key.as_bytes(), &value, b"PX", b"600000"]).unwrap();
            (pid, self.ids[ENTRIES - 1 - number * 7_919 % AWAY_FOR].clone())
        };
        (0..SESSIONS).map(one).collect()
    }

    /// The number of bytes that it has sent.
    fn sent(&self) -> u64 {
        let info = self.redis.command(&["INFO", "stats"]);
        let line =
            info.as_str().unwrap().lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
        line.unwrap().parse().unwrap()
    }

    fn forget_stats(&self) {
        self.redis.command(&["CONFIG", "RESETSTAT"]);
    }

    async fn ours(&self, nsp: &Namespace, sessions: &[(String, String)]) -> Cost {
        self.forget_stats();
        reset_peak();
        let (before, packets, start) = (memory("VmRSS"), Arc::new(AtomicU64::new(0)), Instant::now());
        let tasks: Vec<_> = sessions
            .iter()
            .map(|(pid, offset)| {
                let (nsp, pid, offset, packets) = (nsp.clone(), pid.clone(), offset.clone(), packets.clone());
                tokio::spawn(async move {
                    let accept = move |restored: sio_streams_driver::sio_streams_core::Restored| {
                        packets.fetch_add(restored.missed.len() as u64, Ordering::Relaxed);
                    };
                    nsp.restore_session(&pid, &offset, accept).await
                })
            })
            .collect();
        let mut restored = 0;
        for task in tasks {
            restored += usize::from(task.await.unwrap().is_ok());
        }
        let ms = start.elapsed().as_secs_f64() * 1_000.0;
        let peak_mb = memory("VmHWM").saturating_sub(before) as f64 / 1_024.0;
        let read = self.sent();
        Cost { ms, restored, packets: packets.load(Ordering::Relaxed), peak_mb, read }
    }

    fn node_js(&self, sessions: &[(String, String)]) -> Cost {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let file = std::env::temp_dir().join(format!("sio-stampede-{}.json", std::process::id()));
        let config = json!({ "generation": "0.3", "url": self.redis.url(), "sessions": sessions });
        std::fs::write(&file, config.to_string()).unwrap();
        self.forget_stats();
        let output = Command::new("node").arg("stampede.mjs").arg(&file).current_dir(dir).output().unwrap();
        std::fs::remove_file(&file).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut cost: Cost = serde_json::from_str(text.trim())
            .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
        cost.read = self.sent();
        cost
    }
}

/// Returns a figure of the memory of this process, in kB.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn reset_peak() {
    // On systems that can't do that the figure is too high.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Takes the events of a node.
fn listen(mut events: Events) {
    drop(tokio::spawn(async move { while events.next().await.is_some() {} }));
}

async fn read_up_to(nsp: &Namespace, last: &str) {
    let last: EntryId = last.parse().unwrap();
    let there =
        || async { nsp.node().lags().await.unwrap().iter().all(|(_, lag)| lag.position >= Some(last)) };
    eventually("the stream's end", there).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_sessions_cost_redis_themselves_and_at_most_one_scan() {
    let mut stampede = Stampede::start();
    let (inside, events) = stampede.node().await;
    listen(events);
    stampede.fill();
    read_up_to(&inside, stampede.ids.last().unwrap()).await;
    let sessions = stampede.sessions("inside");
    let cost = stampede.ours(&inside, &sessions).await;
    println!("inside the window: {cost:?}");
    assert_eq!(cost.restored, SESSIONS);
    let calls =
        ["getrange", "getdel", "xrange", "xrevrange", "get"].map(|command| stampede.redis.calls(command));
    assert_eq!(calls, [SESSIONS as u64, SESSIONS as u64, 0, 0, 0]);

    let (outside, events) = stampede.node().await;
    listen(events);
    let sessions = stampede.sessions("outside");
    let cost_outside = stampede.ours(&outside, &sessions).await;
    println!("outside the window: {cost_outside:?}");
    assert_eq!((cost_outside.restored, cost_outside.packets), (SESSIONS, cost.packets));
    let calls = ["getrange", "getdel", "xrange"].map(|command| stampede.redis.calls(command));
    assert_eq!(calls, [SESSIONS as u64, SESSIONS as u64, 0]);
    // The first page has 100 entries, further ones 1 000: what lies beyond is not read.
    assert!(
        (1..=2).contains(&stampede.redis.calls("xrevrange")),
        "{} pages",
        stampede.redis.calls("xrevrange")
    );
}

/// `cargo xtask bench recovery`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a benchmark"]
async fn beside_node() {
    let mut stampede = Stampede::start();
    let (inside, events) = stampede.node().await;
    listen(events);
    stampede.fill();
    read_up_to(&inside, stampede.ids.last().unwrap()).await;
    let sessions = stampede.sessions("inside");
    let within = stampede.ours(&inside, &sessions).await;
    let (outside, events) = stampede.node().await;
    listen(events);
    let sessions = stampede.sessions("outside");
    let without = stampede.ours(&outside, &sessions).await;
    drop((inside, outside));
    let sessions = stampede.sessions("node");
    let node = tokio::task::block_in_place(|| stampede.node_js(&sessions));
    for (name, cost) in [("window", &within), ("pages", &without), ("streams-0.3.1", &node)] {
        assert_eq!((cost.restored, cost.packets), (SESSIONS, within.packets), "{name}");
        println!(
            "{name:14} {:8.0} ms  {:8.1} MB read from Redis  {:7.1} MB memory",
            cost.ms,
            cost.read as f64 / 1e6,
            cost.peak_mb
        );
    }
    for (name, cost) in [("window", &within), ("pages", &without)] {
        println!(
            "streams-0.3.1 : {name:6}   time {:.0}   bytes {:.0}   memory {:.1}",
            node.ms / cost.ms,
            node.read as f64 / cost.read as f64,
            node.peak_mb / cost.peak_mb.max(0.1)
        );
    }
}
