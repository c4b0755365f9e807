//! Requests whose answers are awaited.

use core::time::Duration;

use sio_streams_core::wire::pubsub;
use sio_streams_core::{Body, Bytes, Event, Message, Payload};

use super::{
    Curve, MANY, all, asked_for_timeouts, batched, beside, coming, heartbeating, message, named,
    opened_and_closed, roomy, uid,
};
use crate::cases::Work;
use crate::node::Node;

pub(super) const CURVES: &[Curve] = &[
    beside("pending requests", "an entry comes", MANY, |requests| coming(with(requests), "room")),
    beside("pending requests", "another is asked and answered", MANY, another),
    beside("pending requests", "the next time-out is asked for", MANY, |requests| {
        asked_for_timeouts(with(requests))
    }),
    beside("pending requests", "a namespace is opened and closed", MANY, |requests| {
        opened_and_closed(with(requests))
    }),
    beside("pending requests", "a node of another namespace comes and goes", MANY, another_node),
    all("pending requests", "all are asked", MANY, ask_all),
    all("pending requests", "all are answered", MANY, answer_all),
    all("pending requests", "all run out of time", MANY, time_out),
    all("pending requests", "the node that all wait for goes", MANY, node_goes),
];

fn ask(node: &mut Node, requests: usize) {
    let question = Payload::event("question", &()).expect("an event");
    for _ in 0..requests {
        node.engine.server_side_emit_with_ack(node.now(), "/", question.clone()).expect("a request");
        node.settle();
    }
}

/// There is another server, by Redis' account, and it does not answer.
fn with(requests: usize) -> Node {
    let mut node = Node::ready(roomy());
    ask(&mut node, requests);
    node
}

fn another(requests: usize) -> Work {
    let mut node = with(requests);
    // Nobody else has to answer.
    node.servers = 1;
    batched(move || ask(&mut node, 1))
}

fn another_node(requests: usize) -> Work {
    let mut node = Node::ready(heartbeating());
    node.open(&named(0));
    node.feed([message(0, Body::Heartbeat)]);
    node.settle();
    ask(&mut node, requests);
    let [comes, goes] =
        [Body::Heartbeat, Body::AdapterClose].map(|body| super::message_in(&named(0), 1, body));
    batched(move || {
        let mut changes = 0;
        node.feed([comes.clone(), goes.clone()]);
        node.settle_with(|event| {
            changes += usize::from(matches!(event, Event::NodeUp { .. } | Event::NodeDown { .. }));
        });
        assert_eq!(changes, 2);
    })
}

fn ask_all(requests: usize) -> Work {
    let mut node = with(0);
    Box::new(move || ask(&mut node, requests))
}

fn answer_all(requests: usize) -> Work {
    let mut node = with(0);
    let mut answers = Vec::new();
    for _ in 0..requests {
        ask(&mut node, 1);
        let question = pubsub::decode(node.said.as_ref().expect("a request in a channel"));
        answers.push(answer(question.expect("a message").body));
    }
    let channel = format!("socket.io#/#{}#", node.engine.uid());
    Box::new(move || {
        let mut done = 0;
        let mut take = |event| done += usize::from(matches!(event, Event::RequestDone { .. }));
        for answer in &answers {
            node.push(&channel, answer);
            node.settle_with(&mut take);
        }
        // The nodes are counted once more for all requests, since the name was not known.
        node.pass_with(Duration::from_millis(200), take);
        assert_eq!(done, requests);
    })
}

fn answer(body: Body) -> Bytes {
    let Body::ServerSideEmit { request_id: Some(request_id), .. } = body else { panic!("{body:?}") };
    let body = Body::ServerSideEmitResponse { request_id, packet: Payload::null() };
    pubsub::encode(&Message { uid: uid(0), nsp: "/".into(), body }).expect("a message that can be written")
}

fn time_out(requests: usize) -> Work {
    let mut node = with(requests);
    Box::new(move || node.pass(Duration::from_secs(60)))
}

fn node_goes(requests: usize) -> Work {
    let mut node = Node::ready(heartbeating());
    node.feed([message(0, Body::Heartbeat)]);
    node.settle();
    ask(&mut node, requests);
    Box::new(move || {
        let mut done = 0;
        node.feed([message(0, Body::AdapterClose)]);
        node.settle_with(|event| done += usize::from(matches!(event, Event::RequestDone { .. })));
        assert_eq!(done, requests);
    })
}
