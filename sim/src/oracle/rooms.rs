//! A second, simple implementation of sockets and rooms.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use sio_streams_core::BroadcastOptions;

/// The sockets of a namespace on one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoomModel(BTreeMap<ByteString, BTreeSet<ByteString>>);

impl RoomModel {
    pub(crate) fn add(&mut self, socket: &str) {
        let own = BTreeSet::from([ByteString::from(socket)]);
        self.0.entry(socket.into()).or_insert(own);
    }

    pub(crate) fn remove(&mut self, socket: &str) {
        self.0.remove(socket);
    }

    pub(crate) fn join(&mut self, socket: &str, rooms: &[ByteString]) {
        if let Some(joined) = self.0.get_mut(socket) {
            joined.extend(rooms.iter().cloned());
        }
    }

    pub(crate) fn leave(&mut self, socket: &str, rooms: &[ByteString]) {
        if let Some(joined) = self.0.get_mut(socket) {
            joined.retain(|room| !rooms.contains(room));
        }
    }

    /// The sockets that are addressed, in order.
    pub(crate) fn matching(&self, opts: &BroadcastOptions) -> Vec<ByteString> {
        let is_in = |joined: &BTreeSet<ByteString>, rooms: &[ByteString]| {
            rooms.iter().any(|room| joined.contains(room))
        };
        self.0
            .iter()
            .filter(|(_, joined)| opts.rooms.is_empty() || is_in(joined, &opts.rooms))
            .filter(|(_, joined)| !is_in(joined, &opts.except))
            .map(|(socket, _)| socket.clone())
            .collect()
    }

    pub(crate) fn sockets(&self) -> impl Iterator<Item = (&ByteString, &BTreeSet<ByteString>)> {
        self.0.iter()
    }

    /// The rooms that have sockets.
    pub(crate) fn names(&self) -> BTreeSet<&ByteString> {
        self.0.values().flatten().collect()
    }

    pub(crate) fn has(&self, room: &str) -> bool {
        self.0.values().any(|joined| joined.contains(room))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
