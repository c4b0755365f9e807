//! Curves of recovery: data that is kept for clients that were away, and clients that come back.

use sio_streams_core::wire::session;
use sio_streams_core::{Bytes, Command, Config, Event, LocalDelivery, Payload, Recovery, Reply, Session};

use super::{Curve, THOUSANDS, all, beside, coming, opened_and_closed, roomy};
use crate::cases::Work;
use crate::node::{self, BATCH, Node};

pub(super) const CURVES: &[Curve] = &[
    beside("broadcasts kept for recovery", "an entry comes", THOUSANDS, |kept| {
        coming(with_kept(kept), "room")
    }),
    all("broadcasts kept for recovery", "one client missed all", THOUSANDS, restore),
    beside("clients that come back", "an entry comes", THOUSANDS, |clients| coming(asked(clients), "room")),
    beside("clients that come back", "a namespace is opened and closed", THOUSANDS, |clients| {
        opened_and_closed(asked(clients))
    }),
    all("clients that come back", "each missed one broadcast", THOUSANDS, restore_each),
];

const PID: &str = "a-private-id";

fn recovering(entries: usize) -> Config {
    let recovery = Recovery { window_entries: entries, sessions: 1 << 20, ..Recovery::default() };
    Config { recovery: Some(recovery), local_delivery: LocalDelivery::StreamOrder, ..roomy() }
}

fn keep(node: &mut Node, entries: usize) {
    let fields = node::entry(node::envelope("hi"));
    for left in (0..entries).step_by(BATCH) {
        node.feed(core::iter::repeat_n(&fields, BATCH.min(entries - left)).cloned());
        node.settle();
    }
}

fn with_kept(entries: usize) -> Node {
    let mut node = Node::ready(recovering(entries.max(BATCH)));
    keep(&mut node, entries.max(BATCH));
    node
}

fn stored(pid: &str) -> Bytes {
    let session = Session {
        sid: format!("socket of {pid}").into(),
        pid: pid.into(),
        rooms: vec!["room".into()],
        data: Payload::null(),
    };
    session::encode(&session).expect("a session that can be stored")
}

fn restore(entries: usize) -> Work {
    let mut node = Node::ready(recovering(1 << 20));
    keep(&mut node, entries);
    node.stored = Some(stored(PID));
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

fn pid(client: usize) -> String {
    format!("client-{client}")
}

/// All have asked, and Redis has not answered yet.
fn asked(clients: usize) -> Node {
    let mut node = Node::ready(recovering(1_000));
    keep(&mut node, 2);
    for client in 0..clients {
        node.engine.restore_session(node.now(), "/", &pid(client), "1-0").expect("recovery is on");
    }
    while node.engine.poll_command().is_some() {}
    node
}

fn restore_each(clients: usize) -> Work {
    let mut node = Node::ready(recovering(1_000));
    keep(&mut node, 2);
    Box::new(move || {
        for client in 0..clients {
            node.engine.restore_session(node.now(), "/", &pid(client), "1-0").expect("recovery is on");
        }
        let mut missed = 0;
        loop {
            while let Some(event) = node.engine.poll_event() {
                if let Event::Restored(restored) = event {
                    missed += restored.missed.len();
                }
            }
            let Some((id, command)) = node.engine.poll_command() else { break };
            let (Command::GetRange { key, .. } | Command::GetDel { key }) = command else {
                panic!("{command:?}")
            };
            let stored = key.rsplit(':').next().map(stored);
            node.engine.handle_reply(node.now(), id, Ok(Reply::Value(stored)));
        }
        assert_eq!(missed, clients);
    })
}
