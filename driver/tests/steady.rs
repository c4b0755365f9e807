//! Memory and tasks stay as they are however often something begins and ends. This test is alone in
//! its process, because it measures memory.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]
#![allow(clippy::print_stderr, reason = "a test that fails shows what it printed")]

use std::{env, fs};

use sio_streams_core::{BroadcastOptions, Config, Dialect, LinkState, Packet};
use sio_streams_driver::memory::MemoryRedis;
use sio_streams_driver::{Event, Events, Options};
use tokio::runtime::Handle;

/// Set to anything: hundreds of thousands of times in place of some thousands.
const FULL: &str = "SIO_STREAMS_FAULTS_FULL";

/// The memory may grow by this much: the allocator may keep what it was given back.
const GROWTH: usize = 1 << 20;

fn rounds(short: usize, full: usize) -> usize {
    if env::var_os(FULL).is_some() { full } else { short }
}

/// The memory of this process, in bytes, where the system tells.
fn memory() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<usize>().ok()? * 1_024)
}

/// Does something this many times. Neither memory nor tasks may grow after the first tenth.
async fn stays_flat(what: &str, rounds: usize, mut round: impl AsyncFnMut(usize)) {
    let metrics = Handle::current().metrics();
    let (mut most, mut tasks) = (None, usize::MAX);
    for number in 0..rounds {
        round(number).await;
        if number == rounds / 10 {
            // Some end a moment later.
            (most, tasks) = (memory(), metrics.num_alive_tasks() + 3);
        }
        assert!(metrics.num_alive_tasks() <= tasks, "{what} {number}: {}", metrics.num_alive_tasks());
    }
    let (Some(before), Some(after)) = (most, memory()) else { return };
    eprintln!("{what}, {rounds} times: {} KiB, and {} KiB before", after / 1_024, before / 1_024);
    assert!(after <= before + GROWTH, "{what}: {before} bytes have become {after}");
}

fn take_all(events: &mut Events) {
    while events.try_next().is_some() {}
}

/// Virtual time: pauses cost nothing.
#[tokio::test(start_paused = true)]
async fn what_ends_leaves_nothing() {
    for dialect in
        [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Sharded, Dialect::Classic]
    {
        let redis = MemoryRedis::new();
        let config = Config { dialect, max_len: 100, ..Config::default() };
        let options = || Options { seed: Some(7), ..Options::from(config.clone()) };
        let (node, mut events) = sio_streams_driver::start(options(), redis.backend()).unwrap();
        stays_flat(&format!("{dialect:?}: a namespace of one name"), rounds(2_000, 500_000), async |_| {
            node.open("/").await.unwrap().close().await.unwrap();
            take_all(&mut events);
        })
        .await;
        stays_flat(
            &format!("{dialect:?}: a namespace of another name"),
            rounds(2_000, 500_000),
            async |number| {
                node.open(format!("/{number}")).await.unwrap().close().await.unwrap();
                take_all(&mut events);
            },
        )
        .await;
        let nsp = node.open("/").await.unwrap();
        stays_flat(&format!("{dialect:?}: a socket"), rounds(5_000, 100_000), async |number| {
            let socket = format!("socket {number}");
            nsp.add_socket(socket.clone()).await.unwrap();
            nsp.join(socket.clone(), vec![format!("room {number}").into()]).await.unwrap();
            nsp.remove_socket(socket).await.unwrap();
            take_all(&mut events);
        })
        .await;
        node.close().await;

        stays_flat(&format!("{dialect:?}: a node"), rounds(1_000, 100_000), async |_| {
            let (node, _events) =
                sio_streams_driver::start(Options::from(config.clone()), redis.backend()).unwrap();
            node.open("/").await.unwrap();
            node.close().await;
        })
        .await;

        let backend = redis.backend();
        let (node, mut events) = sio_streams_driver::start(options(), backend.clone()).unwrap();
        let nsp = node.open("/").await.unwrap();
        let packet = Packet::event("n", &(1,)).unwrap();
        stays_flat(&format!("{dialect:?}: a link"), rounds(1_000, 100_000), async |_| {
            backend.drop_connections();
            // The loss is noticed before the message goes out, or its fate is unknown.
            let _ = nsp.broadcast(packet.clone(), BroadcastOptions::all()).await;
            let mut down = false;
            while let Some(event) = events.try_next() {
                down |= matches!(event, Event::Link { link: LinkState::Down { .. }, .. });
            }
            assert!(down, "{dialect:?}");
        })
        .await;
        node.close().await;
    }
}
