//! The memory of a node. This is one test in a binary of its own, because the allocator counts for
//! the whole process.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may end in a panic, and say what it found"
)]

use peak_alloc::PeakAlloc;
use sio_streams_bench::node::{self, Node};
use sio_streams_core::{ByteString, Rooms};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const SOCKETS: usize = 100_000;
const ROOMS_OF_EACH: usize = 10;
const NAMESPACES: usize = 10_000;

#[test]
fn what_sockets_rooms_and_namespaces_take() {
    let before = HEAP.current_usage();
    let mut rooms = Rooms::new([1; 16]);
    for socket in 0..SOCKETS {
        let id = ByteString::from(format!("{socket:020}"));
        rooms.add(id.clone());
        rooms.join(
            &id,
            (0..ROOMS_OF_EACH).map(|at| format!("room {}", (socket * 7 + at * 131) % 20_000).into()),
        );
    }
    let each = (HEAP.current_usage() - before) / (SOCKETS * ROOMS_OF_EACH);
    println!("a membership: {each} bytes, the sockets' own rooms and all names included");
    assert!(each <= 100, "a membership takes {each} bytes");
    drop(rooms);

    let mut node = Node::new(node::config());
    let before = HEAP.current_usage();
    (0..NAMESPACES).for_each(|at| node.open(&format!("/namespace {at}")));
    let taken = HEAP.current_usage() - before;
    println!("a namespace: {} bytes", taken / NAMESPACES);
    assert!(taken < 20_000_000, "{NAMESPACES} namespaces take {taken} bytes");
}
