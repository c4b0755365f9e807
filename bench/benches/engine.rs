//! The duration of the engine's work, and its allocations. `cargo bench -p sio-streams-bench
//! --no-default-features`; a name selects. Each line is for what stands behind its name, a batch of
//! 64 messages mostly; "item/s" is by the message.
#![allow(clippy::unwrap_used, reason = "a benchmark may end in a panic")]

use core::time::Duration;
use std::hint::black_box;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, bench};
use sio_streams_bench::cases::{CASES, binary};
use sio_streams_bench::growth::{Curve, Grows, curves};
use sio_streams_bench::node::{self, BATCH, Node};
use sio_streams_core::{BroadcastOptions, Config, Dialect, Limits, LocalDelivery, Payload, Recovery, Rooms};

#[global_allocator]
static HEAP: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Decoding, encoding, dispatch, publishing, frames: a batch of each, as its instructions are
/// counted too.
#[bench(args = CASES.map(|(name, _)| name))]
fn batch(bencher: Bencher<'_, '_>, name: &str) {
    let (_, make) = CASES.into_iter().find(|(other, _)| *other == name).unwrap();
    let mut work = make();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(&mut work);
}

/// The cost of handing on a payload, by its size.
#[bench(args = [16, 1 << 10, 64 << 10])]
fn forward(bencher: Bencher<'_, '_>, size: usize) {
    let mut node = Node::ready(node::config());
    let fields = node::entry(node::envelope(&"x".repeat(size)));
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        node.feed([fields.clone()]);
        node.settle()
    });
}

#[bench(args = [16, 1 << 10, 64 << 10])]
fn forward_binary(bencher: Bencher<'_, '_>, size: usize) {
    let mut node = Node::ready(node::config());
    let fields = binary(size);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        node.feed([fields.clone()]);
        node.settle()
    });
}

fn crowd(sockets: usize) -> Rooms {
    let mut rooms = Rooms::new([1; 16]);
    for at in 0..sockets {
        let id = format!("{at:020}");
        rooms.add(id.clone().into());
        rooms.join(&id, [format!("room {}", at % 10).into(), format!("half {}", at % 2).into()]);
    }
    rooms
}

/// A tenth of the sockets.
#[bench(args = [10, 100, 1_000, 10_000, 100_000])]
fn match_a_room(bencher: Bencher<'_, '_>, sockets: usize) {
    let rooms = crowd(sockets);
    let opts = BroadcastOptions::to("room 3");
    bencher.counter(ItemsCount::new(sockets / 10)).bench(|| rooms.matching(black_box(&opts)));
}

/// Half of them without a tenth.
#[bench(args = [10, 100, 1_000, 10_000, 100_000])]
fn match_rooms_with_exceptions(bencher: Bencher<'_, '_>, sockets: usize) {
    let rooms = crowd(sockets);
    let opts = BroadcastOptions::to("half 0").and("room 1").except("room 2");
    bencher.counter(ItemsCount::new(sockets / 2)).bench(|| rooms.matching(black_box(&opts)));
}

fn open(node: &mut Node, namespaces: usize) {
    (0..namespaces).for_each(|at| node.open(&format!("/namespace {at}")));
}

/// Must not depend on how many namespaces there are.
#[bench(args = [1, 100, 10_000])]
fn dispatch_beside_namespaces(bencher: Bencher<'_, '_>, namespaces: usize) {
    let mut node = Node::ready(node::config());
    open(&mut node, namespaces);
    let fields = node::entry(node::envelope("hi"));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        node.feed(core::iter::repeat_n(&fields, BATCH).cloned());
        node.settle()
    });
}

/// Must not depend on how many requests wait.
#[bench(args = [1, 1_000, 100_000])]
fn dispatch_beside_requests(bencher: Bencher<'_, '_>, requests: usize) {
    let limits = Limits { requests, in_flight: requests + 1, ..Limits::default() };
    let mut node = Node::ready(Config { limits, ..node::config() });
    let question = Payload::event("question", &()).unwrap();
    for _ in 0..requests {
        node.engine.server_side_emit_with_ack(node.now(), "/", question.clone()).unwrap();
        node.settle();
    }
    let fields = node::entry(node::envelope("hi"));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        node.feed(core::iter::repeat_n(&fields, BATCH).cloned());
        node.settle()
    });
}

/// Five seconds, in which each namespace says that it is alive.
#[bench(args = [1, 100, 10_000])]
fn timers_of_namespaces(bencher: Bencher<'_, '_>, namespaces: usize) {
    let mut node = Node::new(Config { dialect: Dialect::Streams02, ..node::config() });
    open(&mut node, namespaces);
    bencher.counter(ItemsCount::new(namespaces)).bench_local(|| node.pass(Duration::from_secs(5)));
}

/// Work that is done once, for all of something: requests that are asked, are answered, or run out
/// of time; clients that come back.
#[bench(args = ["all are asked", "all are answered", "all run out of time", "each missed one broadcast"])]
fn a_hundred(bencher: Bencher<'_, '_>, name: &str) {
    const COUNT: usize = 100;
    let once = |curve: &Curve| curve.work == name && curve.grows == Grows::Linearly;
    let curve = curves().into_iter().find(once).unwrap();
    bencher
        .counter(ItemsCount::new(COUNT))
        .with_inputs(|| (curve.make)(COUNT))
        .bench_local_refs(|work| work());
}

/// With recovery, broadcasts are kept for clients that come back.
#[bench(args = [100, 10_000])]
fn dispatch_into_a_window(bencher: Bencher<'_, '_>, window_entries: usize) {
    let recovery = Some(Recovery { window_entries, ..Recovery::default() });
    let local_delivery = LocalDelivery::StreamOrder;
    let mut node = Node::ready(Config { recovery, local_delivery, ..node::config() });
    let fields = node::entry(node::envelope("hi"));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        node.feed(core::iter::repeat_n(&fields, BATCH).cloned());
        node.settle()
    });
}

/// A client is given what it missed: this many broadcasts.
#[bench(args = [100, 10_000])]
fn restore_from_a_window(bencher: Bencher<'_, '_>, missed: usize) {
    let curve = curves().into_iter().find(|curve| curve.work == "one client missed all").unwrap();
    bencher
        .counter(ItemsCount::new(missed))
        .with_inputs(|| (curve.make)(missed))
        .bench_local_refs(|work| work());
}
