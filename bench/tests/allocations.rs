//! The number of allocations for a message. This is one test in a binary of its own, because the
//! allocator counts for the whole process.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may end in a panic, and say what it found"
)]

use std::alloc::System;

use sio_streams_bench::cases::CASES;
use sio_streams_bench::node::BATCH;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The additional allocations of a batch: the entries and their events stand in memory that grows,
/// and the next read is asked for.
const PER_BATCH: usize = 16;

/// Allocations for each message, at most.
const BOUNDS: [(&str, usize); 11] = [
    ("serde_json parses the envelope", 2),
    ("an entry is decoded", 1),
    ("an entry comes, its broadcast goes out", 1),
    ("a binary entry comes, its broadcast goes out", 3),
    ("a numbered entry comes, its broadcast goes out", 2),
    ("an entry of the node's own comes back", 1),
    ("a packet is made", 4),
    ("a message is encoded", 1),
    ("a broadcast is published", 6),
    ("frames for clients are made", 2),
    ("frames for clients are made of a binary packet", 4),
];

#[test]
fn allocations_per_message() {
    let mut exceeded = Vec::new();
    for ((name, make), (bounded, bound)) in CASES.into_iter().zip(BOUNDS) {
        assert_eq!(name, bounded);
        let mut work = make();
        // The tables that grow have grown by now.
        (0..4).for_each(|_| work());
        let region = Region::new(HEAP);
        work();
        let stats = region.change();
        let count = stats.allocations + stats.reallocations;
        println!("{name}: {:.2} a message, at most {bound}", count as f64 / BATCH as f64);
        if count > bound * BATCH + PER_BATCH {
            exceeded.push(name);
        }
    }
    assert!(exceeded.is_empty(), "more than before: {exceeded:?}");
}
