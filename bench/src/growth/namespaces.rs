//! Namespaces that are open on the node.

use core::time::Duration;

use sio_streams_core::wire::pubsub;
use sio_streams_core::{Body, BroadcastOptions, Config, Dialect, Lane, Message, RequestId};

use super::{
    Curve, THOUSANDS, all, asked_for_timeouts, batched, beside, coming, heartbeating, named,
    opened_and_closed, publishing, roomy, uid,
};
use crate::cases::Work;
use crate::node::{self, BATCH, Node};

pub(super) const CURVES: &[Curve] = &[
    beside("namespaces", "an entry comes", THOUSANDS, |count| coming(with(roomy(), count), "room")),
    beside("namespaces", "an entry comes that is older than they", THOUSANDS, entry_before),
    beside("namespaces", "another's request comes by Pub/Sub", THOUSANDS, request),
    beside("namespaces", "a broadcast is published", THOUSANDS, |count| publishing(with(roomy(), count))),
    beside("namespaces", "the next time-out is asked for", THOUSANDS, |count| {
        asked_for_timeouts(with(heartbeating(), count))
    }),
    beside("namespaces", "another is opened and closed", THOUSANDS, |count| {
        opened_and_closed(with(roomy(), count))
    }),
    all("namespaces", "all are opened", THOUSANDS, |count| open(roomy(), count)),
    all("namespaces", "all are opened, in Classic", THOUSANDS, |count| open(classic(), count)),
    all("namespaces", "a second of heartbeats", THOUSANDS, heartbeats),
    all("namespaces", "the reader's connection is lost and comes back", THOUSANDS, reader_lost),
    all("namespaces", "the subscriber's connection is lost and comes back", THOUSANDS, subscriber_lost),
    all("namespaces", "all are closed", THOUSANDS, |count| closing(roomy(), count)),
    all("namespaces", "all are closed, and say so to nodes of 0.2", THOUSANDS, |count| {
        closing(heartbeating(), count)
    }),
];

fn with(config: Config, namespaces: usize) -> Node {
    let mut node = Node::ready(config);
    (0..namespaces).for_each(|at| node.open(&named(at)));
    node
}

fn classic() -> Config {
    Config { dialect: Dialect::Classic, ..roomy() }
}

/// They were opened while it waited to be read.
fn entry_before(namespaces: usize) -> Work {
    // More than are read.
    const WAITING: usize = 16 * BATCH;
    let mut node = Node::ready(Config { read_count: WAITING as u32 + 1, ..roomy() });
    let fields = node::entry(node::envelope("hi"));
    node.feed(core::iter::repeat_n(fields, WAITING));
    for at in 0..namespaces {
        node.engine.open_namespace(node.now(), &named(at)).expect("a new namespace");
    }
    batched(move || drop(node.engine.poll_event().expect("an entry waits")))
}

fn request(namespaces: usize) -> Work {
    let mut node = with(roomy(), namespaces);
    let body = Body::FetchSockets { opts: BroadcastOptions::to("nobody"), request_id: RequestId::new("1") };
    let message = Message { uid: uid(0), nsp: "/".into(), body };
    let request = pubsub::encode(&message).expect("a message that can be written");
    batched(move || {
        node.push("socket.io#/#", &request);
        node.settle();
    })
}

fn open(config: Config, namespaces: usize) -> Work {
    let mut node = Node::ready(config);
    Box::new(move || (0..namespaces).for_each(|at| node.open(&named(at))))
}

fn heartbeats(namespaces: usize) -> Work {
    let mut node = with(heartbeating(), namespaces);
    Box::new(move || node.pass(Duration::from_secs(6)))
}

fn reader_lost(namespaces: usize) -> Work {
    let mut node = with(heartbeating(), namespaces);
    let streams = node.streams();
    Box::new(move || {
        streams.iter().for_each(|stream| node.reconnect(&Lane::Reader(stream.clone())));
        node.settle();
    })
}

fn subscriber_lost(namespaces: usize) -> Work {
    let mut node = with(roomy(), namespaces);
    Box::new(move || {
        node.reconnect(&Lane::Subscriber);
        node.settle();
    })
}

/// All are opened at once: their messages wait together.
fn closing(config: Config, namespaces: usize) -> Work {
    let mut node = with(config, namespaces);
    Box::new(move || {
        node.engine.close(node.now());
        node.settle();
        assert!(node.engine.is_closed());
    })
}
