//! How work grows with what there is of it: counted in instructions by `src/bin/growth.rs`.

use core::time::Duration;
use std::hint::black_box;

use sio_streams_core::wire::entry::{decode, encode};
use sio_streams_core::wire::session;
use sio_streams_core::{
    Body, BroadcastOptions, ByteString, CommandError, Config, Dialect, Event, Fields, Limits, LocalDelivery,
    Message, NodeId, Payload, Recovery, RequestId, Rooms, Session,
};

use crate::cases::Work;
use crate::node::{self, BATCH, Node};

/// How the work may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grows {
    /// It is done beside what there is, and must not depend on it. It is done for a batch of [`BATCH`] each time.
    Not,
    /// It is done once, for all of it.
    Linearly,
}

/// A kind of work, beside or for so many of something.
#[derive(Clone, Copy, Debug)]
pub struct Curve {
    /// Of what there are more and more.
    pub of: &'static str,
    /// The work.
    pub work: &'static str,
    /// How it may grow.
    pub grows: Grows,
    /// How many there are.
    pub sizes: &'static [usize],
    /// Makes ready.
    pub make: fn(usize) -> Work,
}

const fn beside(
    of: &'static str,
    work: &'static str,
    sizes: &'static [usize],
    make: fn(usize) -> Work,
) -> Curve {
    Curve { of, work, grows: Grows::Not, sizes, make }
}

const fn all(
    of: &'static str,
    work: &'static str,
    sizes: &'static [usize],
    make: fn(usize) -> Work,
) -> Curve {
    Curve { of, work, grows: Grows::Linearly, sizes, make }
}

const NODES: &[usize] = &[2, 20, 200];
const STREAMS: &[usize] = &[1, 10, 100, 1_000];
const THOUSANDS: &[usize] = &[1, 100, 1_000, 10_000];
const MANY: &[usize] = &[1, 100, 10_000, 100_000];

/// All curves.
pub const CURVES: [Curve; 31] = [
    beside("nodes", "an entry comes", NODES, entry_beside_nodes),
    beside("nodes", "another's request comes", NODES, request_beside_nodes),
    beside("nodes", "the next time-out is asked for", NODES, timeout_beside_nodes),
    all("nodes", "each says that it is alive", NODES, heartbeats),
    all("nodes", "a request is answered by each", NODES, answers),
    all("nodes", "all are found to be down", NODES, all_down),
    beside("namespaces", "an entry comes", THOUSANDS, entry_beside_namespaces),
    beside("namespaces", "a broadcast is published", THOUSANDS, publish_beside_namespaces),
    beside("namespaces", "the next time-out is asked for", THOUSANDS, timeout_beside_namespaces),
    all("namespaces", "all are opened", THOUSANDS, open_namespaces),
    all("namespaces", "a second of heartbeats", THOUSANDS, second_of_namespaces),
    all("namespaces", "all are closed", THOUSANDS, close_namespaces),
    beside("rooms", "an entry for one comes", MANY, entry_beside_rooms),
    all("rooms", "one socket joins all", MANY, join_rooms),
    all("rooms", "the socket leaves all", MANY, leave_rooms),
    beside("sockets", "an entry for one comes", MANY, entry_beside_sockets),
    beside("sockets", "one comes and goes", MANY, come_and_go),
    all("sockets", "all come, each into a room of a hundred", MANY, sockets_come),
    all("sockets", "an entry for all comes", MANY, entry_for_all),
    all("sockets", "all join a room by one entry", MANY, all_join),
    beside("pending requests", "an entry comes", MANY, entry_beside_requests),
    beside("pending requests", "another is asked and answered", MANY, request_beside_requests),
    beside("pending requests", "the next time-out is asked for", MANY, timeout_beside_requests),
    all("pending requests", "all are asked", MANY, ask_requests),
    all("pending requests", "all run out of time", MANY, requests_time_out),
    all("broadcasts on their way", "all are published", MANY, publish_all),
    all("broadcasts on their way", "none was sent; all are sent again", MANY, send_again),
    beside("streams", "an entry comes", STREAMS, entry_beside_streams),
    beside("streams", "the next command is asked for", STREAMS, command_beside_streams),
    beside("broadcasts kept for recovery", "an entry comes", THOUSANDS, entry_beside_kept),
    all("broadcasts kept for recovery", "one client missed all", THOUSANDS, restore),
];

/// No bound is met.
fn roomy() -> Config {
    let limits = Limits {
        in_flight: 1 << 20,
        in_flight_bytes: 1 << 30,
        requests: 1 << 20,
        nodes: 1 << 20,
        namespaces: 1 << 20,
        ..Limits::default()
    };
    Config { limits, ..node::config() }
}

fn heartbeating() -> Config {
    Config { dialect: Dialect::Streams02, ..roomy() }
}

fn uid(at: usize) -> NodeId {
    NodeId::new(format!("{at:016x}"))
}

fn message(from: usize, body: Body) -> Fields {
    encode(&Message { uid: uid(from), nsp: "/".into(), body }).expect("a message that can be written")
}

/// Entries of an ordinary broadcast come: to a room that nobody is in, unless `room` is another.
fn coming(mut node: Node, room: &str) -> Work {
    let data = node::envelope("hi").replace(r#""room""#, &format!("{room:?}"));
    let fields = node::entry(data);
    Box::new(move || {
        node.feed(core::iter::repeat_n(&fields, BATCH).cloned());
        assert_eq!(node.settle(), BATCH);
    })
}

fn batched(mut once: impl FnMut() + 'static) -> Work {
    Box::new(move || (0..BATCH).for_each(|_| once()))
}

fn asked_for_timeouts(node: Node) -> Work {
    batched(move || {
        black_box(node.engine.poll_timeout());
    })
}

/// A node that knows so many others, by their heartbeats.
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

fn entry_beside_nodes(nodes: usize) -> Work {
    coming(among(nodes), "room")
}

fn request_beside_nodes(nodes: usize) -> Work {
    let mut node = among(nodes);
    batched(move || {
        let request =
            Body::FetchSockets { opts: BroadcastOptions::to("nobody"), request_id: RequestId::new("1") };
        node.feed([message(0, request)]);
        node.settle();
    })
}

fn timeout_beside_nodes(nodes: usize) -> Work {
    asked_for_timeouts(among(nodes))
}

fn heartbeats(nodes: usize) -> Work {
    let mut node = among(nodes);
    Box::new(move || hear_from(&mut node, nodes))
}

fn answers(nodes: usize) -> Work {
    let mut node = among(nodes);
    Box::new(move || {
        let question = Payload::event("question", &()).expect("an event");
        node.engine.server_side_emit_with_ack(node.now(), "/", question).expect("a request");
        node.settle();
        let question = decode(node.added.as_ref().expect("a request on the stream")).expect("a message");
        let Body::ServerSideEmit { request_id: Some(request_id), .. } = question.body else {
            panic!("{question:?}")
        };
        let mut done = 0;
        for first in (0..nodes).step_by(BATCH) {
            node.feed((first..nodes.min(first + BATCH)).map(|at| {
                let request_id = request_id.clone();
                message(at, Body::ServerSideEmitResponse { request_id, packet: Payload::null() })
            }));
            node.settle_with(|event| done += usize::from(matches!(event, Event::RequestDone { .. })));
        }
        assert_eq!(done, 1);
    })
}

fn all_down(nodes: usize) -> Work {
    let mut node = among(nodes);
    Box::new(move || node.pass(Duration::from_secs(60)))
}

fn named(at: usize) -> String {
    format!("/namespace {at}")
}

fn with_namespaces(config: Config, namespaces: usize) -> Node {
    let mut node = Node::ready(config);
    (0..namespaces).for_each(|at| node.open(&named(at)));
    node
}

fn entry_beside_namespaces(namespaces: usize) -> Work {
    coming(with_namespaces(roomy(), namespaces), "room")
}

fn publish_beside_namespaces(namespaces: usize) -> Work {
    let mut node = with_namespaces(roomy(), namespaces);
    let packet = node::packet("hi");
    batched(move || {
        node.engine.broadcast(node.now(), "/", packet.clone(), BroadcastOptions::all()).expect("a broadcast");
        assert_eq!(node.settle(), 1);
    })
}

fn timeout_beside_namespaces(namespaces: usize) -> Work {
    asked_for_timeouts(with_namespaces(heartbeating(), namespaces))
}

fn open_namespaces(namespaces: usize) -> Work {
    let mut node = Node::ready(roomy());
    Box::new(move || (0..namespaces).for_each(|at| node.open(&named(at))))
}

fn second_of_namespaces(namespaces: usize) -> Work {
    let mut node = with_namespaces(heartbeating(), namespaces);
    Box::new(move || node.pass(Duration::from_secs(6)))
}

fn close_namespaces(namespaces: usize) -> Work {
    let mut node = with_namespaces(roomy(), namespaces);
    Box::new(move || {
        for at in 0..namespaces {
            node.engine.close_namespace(node.now(), &named(at)).expect("it is open");
            node.settle();
        }
    })
}

fn room(at: usize) -> ByteString {
    format!("room {at}").into()
}

fn with_rooms(rooms: usize) -> Node {
    let mut node = Node::ready(roomy());
    node.engine.add_socket("/", "ann").expect("an open namespace");
    node.engine.join("/", "ann", (0..rooms).map(room)).expect("a socket");
    node
}

fn entry_beside_rooms(rooms: usize) -> Work {
    coming(with_rooms(rooms), "room 0")
}

fn join_rooms(rooms: usize) -> Work {
    let mut node = with_rooms(0);
    Box::new(move || drop(node.engine.join("/", "ann", (0..rooms).map(room)).expect("a socket")))
}

fn leave_rooms(rooms: usize) -> Work {
    let mut node = with_rooms(rooms);
    Box::new(move || drop(node.engine.remove_socket("/", "ann").expect("a socket")))
}

fn socket(at: usize) -> String {
    format!("{at:020}")
}

fn crowd(node: &mut Node, sockets: usize) {
    for at in 0..sockets {
        let id = socket(at);
        node.engine.add_socket("/", id.clone()).expect("an open namespace");
        node.engine.join("/", &id, [room(at / 100)]).expect("a socket");
    }
}

fn with_sockets(sockets: usize) -> Node {
    let mut node = Node::ready(roomy());
    crowd(&mut node, sockets);
    node
}

fn entry_beside_sockets(sockets: usize) -> Work {
    coming(with_sockets(sockets), &socket(0))
}

fn come_and_go(sockets: usize) -> Work {
    let mut rooms = Rooms::new([1; 16]);
    for at in 0..sockets {
        rooms.add(socket(at).into());
        rooms.join(&socket(at), [room(at / 100), "all".into()]);
    }
    batched(move || {
        rooms.add("ann".into());
        rooms.join("ann", [room(0), "all".into()]);
        rooms.remove("ann");
    })
}

fn sockets_come(sockets: usize) -> Work {
    let mut node = Node::ready(roomy());
    Box::new(move || crowd(&mut node, sockets))
}

fn entry_for_all(sockets: usize) -> Work {
    let mut node = with_sockets(sockets);
    let data = node::envelope("hi").replace(r#"["room"]"#, "[]");
    Box::new(move || {
        node.feed([node::entry(data.clone())]);
        assert_eq!(node.settle(), 1);
    })
}

fn all_join(sockets: usize) -> Work {
    let mut node = with_sockets(sockets);
    Box::new(move || {
        let join = Body::SocketsJoin { opts: BroadcastOptions::all(), rooms: vec!["another".into()] };
        node.feed([message(0, join)]);
        node.settle();
    })
}

fn ask(node: &mut Node, requests: usize) {
    let question = Payload::event("question", &()).expect("an event");
    for _ in 0..requests {
        node.engine.server_side_emit_with_ack(node.now(), "/", question.clone()).expect("a request");
        node.settle();
    }
}

/// There is another server, by Redis' account, and it does not answer.
fn with_requests(requests: usize) -> Node {
    let mut node = Node::ready(roomy());
    ask(&mut node, requests);
    node
}

fn entry_beside_requests(requests: usize) -> Work {
    coming(with_requests(requests), "room")
}

fn request_beside_requests(requests: usize) -> Work {
    let mut node = with_requests(requests);
    // Nobody else has to answer.
    node.servers = 1;
    batched(move || ask(&mut node, 1))
}

fn timeout_beside_requests(requests: usize) -> Work {
    asked_for_timeouts(with_requests(requests))
}

fn ask_requests(requests: usize) -> Work {
    let mut node = with_requests(0);
    Box::new(move || ask(&mut node, requests))
}

fn requests_time_out(requests: usize) -> Work {
    let mut node = with_requests(requests);
    Box::new(move || node.pass(Duration::from_secs(60)))
}

fn call(node: &mut Node, broadcasts: usize) {
    let packet = node::packet("hi");
    for _ in 0..broadcasts {
        node.engine.broadcast(node.now(), "/", packet.clone(), BroadcastOptions::all()).expect("a broadcast");
    }
}

fn publish_all(broadcasts: usize) -> Work {
    let mut node = Node::ready(roomy());
    Box::new(move || {
        call(&mut node, broadcasts);
        assert_eq!(node.settle(), broadcasts);
    })
}

fn send_again(broadcasts: usize) -> Work {
    let mut node = Node::ready(roomy());
    call(&mut node, broadcasts);
    Box::new(move || {
        let mut commands = Vec::new();
        while let Some((id, _)) = node.engine.poll_command() {
            commands.push(id);
        }
        for id in commands {
            node.engine.handle_reply(node.now(), id, Err(CommandError::NotSent("down".into())));
        }
        node.pass(Duration::from_secs(1));
    })
}

fn with_streams(streams: usize) -> Node {
    let stream_count = u32::try_from(streams).expect("few streams");
    let mut node = Node::new(Config { stream_count, ..roomy() });
    // Enough of them that each stream has some.
    (0..streams * 4).for_each(|at| node.open(&named(at)));
    node
}

fn entry_beside_streams(streams: usize) -> Work {
    let mut node = with_streams(streams);
    let entry = encode(&Message {
        uid: uid(0),
        nsp: named(0).into(),
        body: Body::Broadcast {
            packet: node::packet("hi"),
            opts: BroadcastOptions::to("room"),
            request_id: None,
        },
    });
    let fields = entry.expect("a message that can be written");
    Box::new(move || {
        node.feed(core::iter::repeat_n(&fields, BATCH).cloned());
        assert_eq!(node.settle(), BATCH);
    })
}

fn command_beside_streams(streams: usize) -> Work {
    let mut node = with_streams(streams);
    batched(move || drop(black_box(node.engine.poll_command())))
}

const PID: &str = "a-private-id";

fn recovering(entries: usize) -> Config {
    let recovery = Some(Recovery { window_entries: entries, ..Recovery::default() });
    Config { recovery, local_delivery: LocalDelivery::StreamOrder, ..roomy() }
}

fn with_kept(entries: usize) -> Node {
    let mut node = Node::ready(recovering(entries.max(BATCH)));
    let fields = node::entry(node::envelope("hi"));
    for _ in 0..entries.div_ceil(BATCH) {
        node.feed(core::iter::repeat_n(&fields, BATCH).cloned());
        node.settle();
    }
    node
}

fn entry_beside_kept(entries: usize) -> Work {
    coming(with_kept(entries), "room")
}

fn restore(entries: usize) -> Work {
    let mut node = Node::ready(recovering(1 << 20));
    let fields = node::entry(node::envelope("hi"));
    for left in (0..entries.max(1)).step_by(BATCH) {
        node.feed(core::iter::repeat_n(&fields, BATCH.min(entries - left)).cloned());
        node.settle();
    }
    let session = Session {
        sid: "ann".into(),
        pid: PID.into(),
        rooms: vec!["ann".into(), "room".into()],
        data: Payload::null(),
    };
    node.stored = Some(session::encode(&session).expect("a session that can be stored"));
    Box::new(move || {
        node.engine.restore_session(node.now(), "/", PID, "1-0").expect("recovery is on");
        let mut missed = None;
        node.settle_with(|event| {
            if let Event::Restored(restored) = event {
                missed = Some(restored.missed.len());
            }
        });
        assert_eq!(missed, Some(entries - 1));
    })
}

/// By which power of their number the cost grows, where there are many.
pub fn exponent(costs: &[(usize, u64)]) -> f64 {
    let &[.., (fewer, less), (more, most)] = costs else { return 0.0 };
    (most.max(1) as f64 / less.max(1) as f64).ln() / (more as f64 / fewer as f64).ln()
}

/// Whether it is more than it may be. What hash tables do when they are full makes a tenth of difference.
pub fn is_too_much(grows: Grows, exponent: f64) -> bool {
    match grows {
        Grows::Not => exponent > 0.1,
        Grows::Linearly => exponent > 1.1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_work_can_be_done() {
        for curve in CURVES {
            for size in &curve.sizes[..2] {
                let mut work = (curve.make)(*size);
                work();
                if curve.grows == Grows::Not {
                    work();
                }
            }
        }
    }

    #[test]
    fn an_exponent_is_a_power() {
        assert!((exponent(&[(1, 9), (10, 100), (100, 1_000)]) - 1.0).abs() < 1e-9);
        assert!((exponent(&[(10, 7), (100, 700)]) - 2.0).abs() < 1e-9);
        assert!(exponent(&[(10, 7), (100, 7)]).abs() < 1e-9);
        assert!(is_too_much(Grows::Not, 0.2) && !is_too_much(Grows::Linearly, 1.0));
    }
}
