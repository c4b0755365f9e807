//! Streams, and broadcasts on their way to them.

use std::hint::black_box;

use sio_streams_core::{
    Body, BroadcastOptions, Command, CommandError, CommandId, Config, Entry, EntryId, Event, Lane, LinkState,
    Packet, Reply,
};

use super::{Curve, MANY, all, batched, beside, message_in, named, opened_and_closed, roomy};
use crate::cases::Work;
use crate::node::{self, Node};

/// More than 1 024 are refused.
const STREAMS: &[usize] = &[1, 10, 100, 1_000];

pub(super) const CURVES: &[Curve] = &[
    all("broadcasts on their way", "all are published", MANY, publish_all),
    all("broadcasts on their way", "none was sent; all are sent again", MANY, send_again),
    all("broadcasts on their way", "their fate is unknown; all are found", MANY, |count| search(count, true)),
    all("broadcasts on their way", "their fate is unknown; all are sent again", MANY, |count| {
        search(count, false)
    }),
    all("broadcasts on their way", "all are given up", MANY, give_up),
    beside("broadcasts on their way", "a namespace is opened and closed", MANY, open_and_close),
    beside("streams", "an entry comes", STREAMS, |streams| entry(with_streams(streams))),
    beside("streams", "an entry comes, the other connections are lost", STREAMS, entry_of_the_last),
    beside("streams", "a broadcast is published", STREAMS, publish),
    beside("streams", "the next command is asked for", STREAMS, command),
    all("streams", "four namespaces for each are opened", STREAMS, open_all),
    all("streams", "all connections are lost and come back", STREAMS, reconnect_all),
    all("streams", "all are closed", STREAMS, close_all),
];

fn call(node: &mut Node, nsp: &str, packet: &Packet) {
    node.engine.broadcast(node.now(), nsp, packet.clone(), BroadcastOptions::all()).expect("a broadcast");
}

fn call_many(node: &mut Node, broadcasts: usize) {
    let packet = node::packet("hi");
    (0..broadcasts).for_each(|_| call(node, "/", &packet));
}

fn with_calls(broadcasts: usize) -> Node {
    let mut node = Node::ready(roomy());
    call_many(&mut node, broadcasts);
    node
}

fn publish_all(broadcasts: usize) -> Work {
    let mut node = with_calls(0);
    Box::new(move || {
        call_many(&mut node, broadcasts);
        assert_eq!(node.settle(), broadcasts);
    })
}

/// The commands that the engine has, with what they add.
fn commands(node: &mut Node) -> Vec<(CommandId, Command)> {
    core::iter::from_fn(|| node.engine.poll_command()).collect()
}

fn send_again(broadcasts: usize) -> Work {
    let mut node = with_calls(broadcasts);
    Box::new(move || {
        for (id, _) in commands(&mut node) {
            node.engine.handle_reply(node.now(), id, Err(CommandError::NotSent("down".into())));
        }
        node.pass(core::time::Duration::from_secs(1));
    })
}

/// The link is lost with all replies. The stream is looked through for what was said.
fn search(broadcasts: usize, found: bool) -> Work {
    let mut node = with_calls(broadcasts);
    Box::new(move || {
        node.engine.handle_link(node.now(), &Lane::Writer, LinkState::down("cut"));
        let _ = commands(&mut node);
        node.engine.handle_link(node.now(), &Lane::Writer, LinkState::Up);
        let mut stored = Vec::new();
        for (id, command) in commands(&mut node) {
            let Command::XAdd { fields, .. } = command else { panic!("{command:?}") };
            let entry = EntryId { ms: 1_000 + stored.len() as u64, seq: 0 };
            stored.push(Entry { id: entry, fields: (*fields).clone() });
            node.engine.handle_reply(node.now(), id, Err(CommandError::Lost("down".into())));
        }
        node.engine.handle_link(node.now(), &Lane::Writer, LinkState::down("cut"));
        node.engine.handle_link(node.now(), &Lane::Writer, LinkState::Up);
        let mut published = 0;
        loop {
            while let Some(event) = node.engine.poll_event() {
                published += usize::from(matches!(event, Event::Published { .. }));
            }
            let Some((id, command)) = node.engine.poll_command() else { break };
            let reply = match command {
                Command::XRange { after, count, .. } => {
                    let from = stored.partition_point(|entry| entry.id <= after);
                    let page = stored[from..].iter().filter(|_| found).take(count as usize);
                    Reply::Entries(page.cloned().collect())
                }
                _ => Reply::Added(EntryId { ms: 2_000_000 + published as u64, seq: 0 }),
            };
            node.engine.handle_reply(node.now(), id, Ok(reply));
        }
        assert_eq!(published, broadcasts);
    })
}

/// Redis is away for too long.
fn give_up(broadcasts: usize) -> Work {
    let mut node = with_calls(broadcasts);
    Box::new(move || {
        node.engine.handle_link(node.now(), &Lane::Writer, LinkState::down("cut"));
        let mut failed = 0;
        node.pass_with(core::time::Duration::from_secs(3_600), |event| {
            failed += usize::from(matches!(event, Event::PublishFailed { .. }));
        });
        assert_eq!(failed, broadcasts);
    })
}

fn open_and_close(broadcasts: usize) -> Work {
    let mut node = Node::ready(roomy());
    // They have been handed out, and Redis is slow to answer.
    call_many(&mut node, broadcasts);
    let _ = commands(&mut node);
    opened_and_closed(node)
}

fn with_streams(streams: usize) -> Node {
    let mut node = Node::new(several(streams));
    open_some(&mut node, streams);
    node
}

fn several(streams: usize) -> Config {
    Config { stream_count: u32::try_from(streams).expect("few streams"), ..roomy() }
}

/// Enough namespaces for every stream to have some.
fn open_some(node: &mut Node, streams: usize) {
    (0..streams * 4).for_each(|at| node.open(&named(at)));
}

fn entry(node: Node) -> Work {
    let body =
        Body::Broadcast { packet: node::packet("hi"), opts: BroadcastOptions::to("room"), request_id: None };
    super::delivering(node, message_in(&named(0), 0, body))
}

/// All streams but that of the entry have commands waiting that can't be sent.
fn entry_of_the_last(streams: usize) -> Work {
    let mut node = with_streams(streams);
    // An entry is given to the first that waits for one.
    for stream in node.streams().into_iter().skip(1) {
        node.lose(&Lane::Reader(stream));
    }
    node.settle();
    entry(node)
}

fn publish(streams: usize) -> Work {
    // So that each has published before it is counted.
    const SOME: usize = 16;
    let mut node = with_streams(streams);
    let (packet, mut at) = (node::packet("hi"), 0);
    batched(move || {
        at = (at + 1) % SOME.min(streams);
        call(&mut node, &named(at), &packet);
        assert_eq!(node.settle(), 1);
    })
}

fn command(streams: usize) -> Work {
    let mut node = with_streams(streams);
    batched(move || drop(black_box(node.engine.poll_command())))
}

fn open_all(streams: usize) -> Work {
    let mut node = Node::new(several(streams));
    Box::new(move || open_some(&mut node, streams))
}

fn reconnect_all(streams: usize) -> Work {
    let mut node = with_streams(streams);
    let names = node.streams();
    Box::new(move || {
        for stream in &names {
            node.lose(&Lane::Reader(stream.clone()));
        }
        for stream in &names {
            node.engine.handle_link(node.now(), &Lane::Reader(stream.clone()), LinkState::Up);
        }
        node.settle();
        assert_eq!(node.streams().len(), names.len());
    })
}

fn close_all(streams: usize) -> Work {
    let mut node = with_streams(streams);
    Box::new(move || {
        node.engine.close(node.now());
        node.settle();
        assert!(node.engine.is_closed());
    })
}
