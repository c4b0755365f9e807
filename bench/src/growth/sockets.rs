//! Rooms, and the sockets of this node.

use sio_streams_core::{Body, BroadcastOptions, ByteString, Fields, Rooms};

use super::{Curve, MANY, all, batched, beside, coming, delivering, message, roomy};
use crate::cases::Work;
use crate::node::{self, Node};

pub(super) const CURVES: &[Curve] = &[
    beside("rooms", "an entry for one comes", MANY, |rooms| coming(with_rooms(rooms), "room 0")),
    all("rooms", "one socket joins all", MANY, join_rooms),
    all("rooms", "the socket leaves all", MANY, leave_rooms),
    beside("sockets", "an entry for one comes", MANY, |sockets| coming(with_sockets(sockets), &socket(0))),
    beside("sockets", "an entry for a room but one comes", MANY, entry_for_others),
    beside("sockets", "an entry for two rooms comes", MANY, entry_for_two_rooms),
    beside("sockets", "one comes and goes", MANY, come_and_go),
    all("sockets", "all come, each into a room of a hundred", MANY, sockets_come),
    all("sockets", "an entry for all comes", MANY, |sockets| {
        delivering_once(with_sockets(sockets), opts_all())
    }),
    all("sockets", "an entry for all but one comes", MANY, |sockets| {
        delivering_once(with_sockets(sockets), opts_all().except(socket(0)))
    }),
    all("sockets", "all join a room by one entry", MANY, all_join),
    beside("sockets that are gone", "an entry for all others comes", MANY, entry_for_those_left),
];

fn room(at: usize) -> ByteString {
    format!("room {at}").into()
}

fn with_rooms(rooms: usize) -> Node {
    let mut node = Node::ready(roomy());
    node.engine.add_socket("/", "ann").expect("an open namespace");
    node.engine.join("/", "ann", (0..rooms).map(room)).expect("a socket");
    node
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

/// A hundred sockets are in a room; others are not.
fn with_a_room(sockets: usize) -> Node {
    let mut node = with_sockets(sockets);
    for at in 0..100 {
        let id = format!("ann {at}");
        node.engine.add_socket("/", id.clone()).expect("an open namespace");
        node.engine
            .join("/", &id, ["her room".into(), format!("table {}", at / 10).into()])
            .expect("a socket");
    }
    node
}

fn opts_all() -> BroadcastOptions {
    BroadcastOptions::all()
}

fn broadcast(opts: BroadcastOptions) -> Fields {
    message(0, Body::Broadcast { packet: node::packet("hi"), opts, request_id: None })
}

/// A message of a client to the others in its room.
fn entry_for_others(sockets: usize) -> Work {
    delivering(with_a_room(sockets), broadcast(BroadcastOptions::to("her room").except("ann 7")))
}

fn entry_for_two_rooms(sockets: usize) -> Work {
    delivering(with_a_room(sockets), broadcast(BroadcastOptions::to("table 1").and("table 2")))
}

fn delivering_once(mut node: Node, opts: BroadcastOptions) -> Work {
    let fields = broadcast(opts);
    Box::new(move || {
        node.feed([fields.clone()]);
        assert_eq!(super::deliver(&mut node), 1);
    })
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

fn all_join(sockets: usize) -> Work {
    let mut node = with_sockets(sockets);
    Box::new(move || {
        let join = Body::SocketsJoin { opts: BroadcastOptions::all(), rooms: vec!["another".into()] };
        node.feed([message(0, join)]);
        node.settle();
    })
}

fn entry_for_those_left(gone: usize) -> Work {
    let mut node = with_sockets(gone);
    node.engine.add_socket("/", "ann").expect("an open namespace");
    for at in 0..gone {
        node.engine.remove_socket("/", &socket(at)).expect("an open namespace");
    }
    delivering(node, broadcast(BroadcastOptions::all()))
}
