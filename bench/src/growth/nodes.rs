//! Other nodes of the cluster. They do not run; only their messages are made.

use core::time::Duration;

use sio_streams_core::wire::{entry, pubsub};
use sio_streams_core::{Body, BroadcastOptions, Bytes, Event, Message, Payload, RequestId};

use super::{
    Curve, all, asked_for_timeouts, batched, beside, coming, heartbeating, message, publishing, roomy, uid,
};
use crate::cases::Work;
use crate::node::{BATCH, Node};

const NODES: &[usize] = &[2, 20, 200];

pub(super) const CURVES: &[Curve] = &[
    beside("nodes", "an entry comes", NODES, |nodes| coming(among(nodes), "room")),
    beside("nodes", "a broadcast is published", NODES, |nodes| publishing(among(nodes))),
    beside("nodes", "another's request comes", NODES, request),
    beside("nodes", "the next time-out is asked for", NODES, |nodes| asked_for_timeouts(among(nodes))),
    all("nodes", "each says that it is alive", NODES, heartbeats),
    all("nodes", "a request is answered by each", NODES, answers),
    all("nodes", "a request is answered by each, by Pub/Sub", NODES, pushed_answers),
    all("nodes", "a request is answered by none", NODES, no_answers),
    all("nodes", "all fall silent at once", NODES, all_down),
    all("nodes", "one after the other falls silent", NODES, each_down),
];

/// A node that knows this many others, by their heartbeats.
fn among(nodes: usize) -> Node {
    let mut node = Node::ready(heartbeating());
    hear_from(&mut node, nodes);
    node
}

fn hear_from(node: &mut Node, nodes: usize) {
    for first in (0..nodes).step_by(BATCH) {
        node.feed((first..nodes.min(first + BATCH)).map(|at| message(at, Body::Heartbeat)));
        node.settle();
    }
}

fn request(nodes: usize) -> Work {
    let mut node = among(nodes);
    batched(move || {
        let request =
            Body::FetchSockets { opts: BroadcastOptions::to("nobody"), request_id: RequestId::new("1") };
        node.feed([message(0, request)]);
        node.settle();
    })
}

fn heartbeats(nodes: usize) -> Work {
    let mut node = among(nodes);
    Box::new(move || hear_from(&mut node, nodes))
}

fn ask(node: &mut Node) {
    let question = Payload::event("question", &()).expect("an event");
    node.engine.server_side_emit_with_ack(node.now(), "/", question).expect("a request");
    node.settle();
}

fn answer(body: Body) -> Body {
    let Body::ServerSideEmit { request_id: Some(request_id), .. } = body else { panic!("{body:?}") };
    Body::ServerSideEmitResponse { request_id, packet: Payload::null() }
}

fn is_done(event: &Event) -> usize {
    usize::from(matches!(event, Event::RequestDone { .. }))
}

fn answers(nodes: usize) -> Work {
    let mut node = among(nodes);
    Box::new(move || {
        ask(&mut node);
        let question = entry::decode(node.added.as_ref().expect("a request on the stream"));
        let answer = answer(question.expect("a message").body);
        let mut done = 0;
        for first in (0..nodes).step_by(BATCH) {
            node.feed((first..nodes.min(first + BATCH)).map(|at| message(at, answer.clone())));
            node.settle_with(|event| done += is_done(&event));
        }
        assert_eq!(done, 1);
    })
}

/// A node that knows from Redis alone that there are this many others.
fn subscribed(nodes: usize) -> Node {
    let mut node = Node::ready(roomy());
    node.servers = nodes as u64 + 1;
    let private = |at| format!("socket.io#/#{}#", uid(at)).into();
    node.channels = (0..nodes).map(private).collect();
    node
}

fn pushed_answers(nodes: usize) -> Work {
    let mut node = subscribed(nodes);
    let channel = format!("socket.io#/#{}#", node.engine.uid());
    let written = |at, body| {
        let message = Message { uid: uid(at), nsp: "/".into(), body };
        pubsub::encode(&message).expect("a message that can be written")
    };
    Box::new(move || {
        ask(&mut node);
        // Meanwhile the node asks for the list of nodes.
        node.pass(Duration::from_millis(600));
        let question = pubsub::decode(node.said.as_ref().expect("a request in a channel"));
        let answer = answer(question.expect("a message").body);
        let mut done = 0;
        for at in 0..nodes {
            let answer: Bytes = written(at, answer.clone());
            node.push(&channel, &answer);
            node.settle_with(|event| done += is_done(&event));
        }
        // The nodes are counted once more, since none of the names was known when they were asked.
        node.pass_with(Duration::from_millis(200), |event| done += is_done(&event));
        assert_eq!(done, 1);
    })
}

fn no_answers(nodes: usize) -> Work {
    let mut node = subscribed(nodes);
    Box::new(move || {
        ask(&mut node);
        for _ in 0..10 {
            node.pass(Duration::from_millis(600));
        }
        assert!(node.engine.poll_timeout().is_none_or(|time| time > node.now()));
    })
}

fn all_down(nodes: usize) -> Work {
    let mut node = among(nodes);
    node.echoes = true;
    Box::new(move || node.pass(Duration::from_secs(60)))
}

/// Each was heard at another time.
fn each_down(nodes: usize) -> Work {
    let mut node = Node::ready(heartbeating());
    let pause = Duration::from_secs(5) / u32::try_from(nodes).expect("few nodes");
    for at in 0..nodes {
        node.feed([message(at, Body::Heartbeat)]);
        node.settle();
        node.pass(pause);
    }
    node.echoes = true;
    Box::new(move || {
        let mut down = 0;
        while down < nodes {
            let next = node.engine.poll_timeout().expect("somebody is there");
            let wait = next.since(node.now());
            node.pass_with(wait, |event| down += usize::from(matches!(event, Event::NodeDown { .. })));
        }
    })
}
