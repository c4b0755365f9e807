//! The true contents of the streams, past and present.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use sio_streams_core::wire::entry::{self, SEQUENCE_FIELD};
use sio_streams_core::{Body, EntryId, Fields, Message, Payload, Time};

/// The length of a node's name, where there are streams.
const NODES_NAME: usize = 16;

/// The number of bytes from which a name may be too long for a reader.
const LONG: usize = 1_000;

/// An entry, read once.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) at: Time,
    pub(crate) fields: Fields,
    /// `None` if it is not a message of the protocol.
    pub(crate) message: Option<Rc<Message>>,
    /// The number that nodes of ours give to their entries.
    pub(crate) seq: Option<u64>,
    /// `true` if a stranger wrote it in a way that a reader may take for a node's: with a number,
    /// or under a name that is no emitter's. Such an entry may be told, or passed over.
    pub(crate) dubious: bool,
    /// The call that it comes from.
    pub(crate) call: Option<u64>,
}

impl Written {
    pub(crate) fn read(at: Time, fields: &Fields, foreign: bool) -> Self {
        let message = entry::decode(fields).ok().map(Rc::new);
        let nobody = |uid: &str| uid == "emitter" || uid.is_empty();
        let odd = |uid: &str| uid.len() == NODES_NAME || uid.len() > LONG || number(fields).is_some();
        let uid = message.as_ref().map(|message| message.uid.as_str());
        let dubious = foreign && uid.is_some_and(|uid| !nobody(uid) && odd(uid));
        let seq = number(fields).filter(|_| !foreign);
        let call = message.as_ref().filter(|_| seq.is_some()).and_then(|message| call_of(&message.body));
        Written { at, fields: fields.clone(), message, seq, dubious, call }
    }

    pub(crate) fn nsp(&self) -> Option<&str> {
        core::str::from_utf8(self.fields.get("nsp")?).ok().filter(|nsp| !nsp.is_empty())
    }
}

/// The number that a node of ours gives to its entry.
pub(crate) fn number(fields: &Fields) -> Option<u64> {
    core::str::from_utf8(fields.get(SEQUENCE_FIELD)?).ok()?.parse().ok()
}

/// The number of the call that a message comes from: calls of the workload carry it.
pub(crate) fn call_of(body: &Body) -> Option<u64> {
    let of_payload = |payload: &Payload| payload.decode::<Vec<Marker>>().ok()?.get(1)?.0;
    match body {
        Body::Broadcast { packet, .. } => of_payload(packet.data()),
        Body::ServerSideEmit { packet, .. } => of_payload(packet),
        Body::SocketsJoin { opts, .. }
        | Body::SocketsLeave { opts, .. }
        | Body::DisconnectSockets { opts, .. } => {
            opts.except.iter().find_map(|room| room.strip_prefix('#')?.parse().ok())
        }
        _ => None,
    }
}

/// A number, or anything else.
struct Marker(Option<u64>);

impl<'de> serde::Deserialize<'de> for Marker {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> serde::de::Visitor<'de> for Any {
            type Value = Marker;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("anything")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Marker, E> {
                Ok(Marker(Some(number)))
            }

            fn visit_str<E>(self, _: &str) -> Result<Marker, E> {
                Ok(Marker(None))
            }

            fn visit_bytes<E>(self, _: &[u8]) -> Result<Marker, E> {
                Ok(Marker(None))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// The history of one stream, as the server has it now.
#[derive(Debug, Default)]
pub(crate) struct History {
    entries: BTreeMap<EntryId, Rc<Written>>,
    /// The entries that the server has forgotten. Some nodes may have read them.
    forgotten: Vec<(EntryId, Rc<Written>)>,
}

impl History {
    pub(crate) fn add(&mut self, id: EntryId, written: Rc<Written>) {
        self.entries.insert(id, written);
    }

    /// Returns `true` if there is an entry with this id. It may have been trimmed.
    pub(crate) fn has(&self, id: EntryId) -> bool {
        self.entries.contains_key(&id)
    }

    /// The entry that was read under this id, and whether the server has lost it since.
    pub(crate) fn find(&self, id: EntryId, fields: &Fields) -> Option<(Rc<Written>, bool)> {
        let same = |written: &&Rc<Written>| written.fields == *fields;
        let now = self.entries.get(&id).filter(same).map(|written| (written.clone(), false));
        let before =
            || self.forgotten.iter().rev().filter(|(other, _)| *other == id).map(|(_, w)| w).find(same);
        now.or_else(|| before().map(|written| (written.clone(), true)))
    }

    /// Returns `true` if the server has lost an entry with this id and these contents.
    pub(crate) fn has_lost(&self, id: EntryId, fields: &Fields) -> bool {
        self.forgotten.iter().any(|(other, written)| *other == id && written.fields == *fields)
    }

    /// The entries that exist, or were trimmed, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (EntryId, &Rc<Written>)> {
        self.entries.iter().map(|(id, written)| (*id, written))
    }

    /// The entry of this id.
    pub(crate) fn at(&self, id: EntryId) -> Option<&Rc<Written>> {
        self.entries.get(&id)
    }

    /// The ids between two, exclusive.
    pub(crate) fn between(&self, after: EntryId, until: EntryId) -> impl Iterator<Item = EntryId> {
        let range = (core::ops::Bound::Excluded(after), core::ops::Bound::Excluded(until));
        let range = (after < until).then(|| self.entries.range(range));
        range.into_iter().flatten().map(|(id, _)| *id)
    }

    /// The server has lost its last entries. Returns the ids that are gone.
    pub(crate) fn lose_tail(&mut self, count: u64) -> BTreeSet<EntryId> {
        let mut gone = BTreeSet::new();
        for _ in 0..count {
            if let Some((id, written)) = self.entries.pop_last() {
                gone.insert(id);
                self.forgotten.push((id, written));
            }
        }
        gone
    }

    pub(crate) fn lose_all(&mut self) -> BTreeSet<EntryId> {
        self.lose_tail(self.entries.len() as u64)
    }

    /// The number of entries that the server has lost.
    pub(crate) fn losses(&self) -> u64 {
        self.forgotten.len() as u64
    }

    /// The last entry that everybody has had time to read.
    pub(crate) fn last_before(&self, now: Time) -> Option<(EntryId, Time)> {
        let old = |written: &Written| now.since(written.at) > Duration::from_secs(1);
        self.entries.iter().rev().find(|(_, written)| old(written)).map(|(id, written)| (*id, written.at))
    }
}
