//! A payload is passed on without a copy.
#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use sio_streams_bench::node::{self, Node};
use sio_streams_core::{Bytes, Event};

#[test]
fn a_payload_of_64_kib_is_not_copied() {
    let data = Bytes::from(node::envelope(&"x".repeat(64 << 10)));
    let place = data.as_ptr_range();
    let mut node = Node::ready(node::config());
    node.feed([node::entry(data.clone())]);
    let delivery = loop {
        match node.engine.poll_event().unwrap() {
            Event::Broadcast(delivery) => break delivery,
            _ => continue,
        }
    };
    let payload = delivery.packet.data().bytes();
    assert!(payload.len() > 64 << 10);
    assert!(place.contains(&payload.as_ptr()), "it has been copied");
}
