//! Clients that come back. The packets that they get are compared with a plain reading of the whole
//! stream.

use std::collections::BTreeMap;

use sio_streams_core::wire::entry::{self, SEQUENCE_FIELD};
use sio_streams_core::wire::session;
use sio_streams_core::{
    Body, BroadcastOptions, ByteString, Bytes, Entry, EntryId, Fields, NodeId, Packet, Restored, Session,
    Ticket,
};

use super::plan::{Stored, Value, Which};
use super::redis::Redis;

/// The stream, where there is one.
pub(super) const STREAM: &str = "socket.io";

/// The key of a session.
pub(super) fn key_of(pid: &str) -> ByteString {
    format!("sio:session:{pid}").into()
}

/// A session whose socket has the name of its pid.
pub(super) fn session(pid: ByteString, rooms: &[Which], value: Value) -> Session {
    let rooms = rooms.iter().map(|room| room.name()).collect();
    Session { sid: pid.clone(), pid, rooms, data: value.payload() }
}

impl Stored {
    /// The session that another node stores of the client with this pid.
    pub(super) fn value(&self, pid: &ByteString) -> Option<Bytes> {
        match self {
            // It may be another client's.
            Stored::Session(Which(u8::MAX), rooms, value) => {
                session::encode(&session("n0".into(), rooms, *value)).ok()
            }
            Stored::Session(socket, rooms, value) => {
                let session = Session { sid: socket.name(), ..session(pid.clone(), rooms, *value) };
                session::encode(&session).ok()
            }
            Stored::Bytes(bytes) => Some(bytes.clone().into()),
        }
    }
}

/// The knowledge about the clients that came back.
#[derive(Default)]
pub(super) struct Clients {
    /// The number of times that each came back, by its pid.
    restored: BTreeMap<ByteString, usize>,
    /// From where on each wants what it missed.
    offsets: BTreeMap<Ticket, EntryId>,
    /// `true` if others number their entries too. Repetitions then depend on the number of authors
    /// that are remembered.
    numbered: bool,
}

impl Clients {
    /// A client wants to come back.
    pub(super) fn asked(&mut self, ticket: Ticket, offset: &str) {
        self.offsets.extend(offset.parse().map(|offset| (ticket, offset)));
    }

    /// Somebody else writes this.
    pub(super) fn saw_foreign(&mut self, fields: &Fields) {
        self.numbered |= fields.get(SEQUENCE_FIELD).is_some();
    }

    /// A client is back. Nobody has lied, and nothing was lost.
    pub(super) fn restored(&mut self, restored: &Restored, redis: &Redis) {
        let Restored { session, nsp, position, .. } = restored;
        let times = self.restored.entry(session.pid.clone()).or_default();
        *times += 1;
        let stored = redis.stored(&key_of(&session.pid));
        assert!(*times <= stored.len(), "restored more often than stored: {restored:?}");
        let is_it = |stored: &Bytes| session::decode(stored).is_ok_and(|stored| stored == *session);
        assert!(stored.iter().any(is_it), "another session: {restored:?}");

        let missed: Vec<(EntryId, &Packet)> =
            restored.missed.iter().map(|missed| (missed.offset(), missed.packet())).collect();
        assert!(missed.is_sorted_by_key(|(offset, _)| offset), "out of order: {restored:?}");
        assert!(missed.iter().all(|(offset, _)| offset <= position), "of what comes later: {restored:?}");
        if self.numbered {
            return;
        }
        let Some(from) = self.offsets.get(&restored.ticket) else { panic!("nobody asked: {restored:?}") };
        let all = recoverable(redis.entries(STREAM), nsp, session);
        let expected = all.iter().filter(|(offset, _)| offset > from && offset <= position);
        let expected: Vec<(EntryId, &Packet)> = expected.map(|(id, packet)| (*id, packet)).collect();
        assert_eq!(missed, expected);
    }
}

/// The broadcasts that a client would get again.
fn recoverable(entries: &[Entry], nsp: &str, session: &Session) -> Vec<(EntryId, Packet)> {
    let mut numbers = BTreeMap::<NodeId, u64>::new();
    let mut found = Vec::new();
    for Entry { id, fields } in entries {
        let Ok(message) = entry::decode(fields) else { continue };
        if let Some(number) =
            fields.get(SEQUENCE_FIELD).and_then(|text| str::from_utf8(text).ok()?.parse().ok())
        {
            let last = numbers.insert(message.uid.clone(), number);
            if last >= Some(number) {
                // It was written twice, as the first try's reply was lost.
                numbers.extend(last.map(|last| (message.uid, last)));
                continue;
            }
        }
        if let Body::Broadcast { packet, opts, request_id: None } = message.body
            && message.nsp == nsp
            && (packet.id(), opts.flags.volatile) == (None, None)
            && hears(session, &opts)
        {
            found.push((*id, packet));
        }
    }
    found
}

fn hears(session: &Session, opts: &BroadcastOptions) -> bool {
    let is_in = |room: &ByteString| *room == session.sid || session.rooms.contains(room);
    (opts.rooms.is_empty() || opts.rooms.iter().any(is_in)) && !opts.except.iter().any(is_in)
}
