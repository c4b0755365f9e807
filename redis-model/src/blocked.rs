//! Reads that wait for an entry.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use sio_streams_core::EntryId;

use crate::ClientId;

/// An XREAD that found nothing.
#[derive(Clone, Debug)]
pub(crate) struct BlockedRead {
    pub(crate) stream: ByteString,
    pub(crate) after: EntryId,
    pub(crate) count: u32,
    /// The time until which it waits, in milliseconds of the server's clock.
    pub(crate) deadline_ms: u64,
    /// The order: the client that has waited longest is served first.
    turn: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct BlockedReads {
    reads: BTreeMap<ClientId, BlockedRead>,
    /// By stream, then by turn.
    queues: BTreeMap<ByteString, BTreeMap<u64, ClientId>>,
    deadlines: BTreeSet<(u64, u64, ClientId)>,
    turns: u64,
}

impl BlockedReads {
    pub(crate) fn add(
        &mut self,
        client: ClientId,
        stream: ByteString,
        after: EntryId,
        count: u32,
        deadline_ms: u64,
    ) {
        self.turns += 1;
        let turn = self.turns;
        self.queues.entry(stream.clone()).or_default().insert(turn, client);
        self.deadlines.insert((deadline_ms, turn, client));
        self.reads.insert(client, BlockedRead { stream, after, count, deadline_ms, turn });
    }

    pub(crate) fn contains(&self, client: ClientId) -> bool {
        self.reads.contains_key(&client)
    }

    pub(crate) fn remove(&mut self, client: ClientId) -> Option<BlockedRead> {
        let read = self.reads.remove(&client)?;
        self.deadlines.remove(&(read.deadline_ms, read.turn, client));
        if let Some(queue) = self.queues.get_mut(&read.stream) {
            queue.remove(&read.turn);
            if queue.is_empty() {
                self.queues.remove(&read.stream);
            }
        }
        Some(read)
    }

    /// Takes out the reads for which the stream, whose last id this is, now has something, in turn.
    pub(crate) fn take_served(&mut self, stream: &str, last_id: EntryId) -> Vec<(ClientId, BlockedRead)> {
        let Some(queue) = self.queues.get(stream) else { return Vec::new() };
        let is_served = |client: &&ClientId| self.reads.get(client).is_some_and(|read| read.after < last_id);
        let served: Vec<ClientId> = queue.values().filter(is_served).copied().collect();
        served.into_iter().filter_map(|client| Some((client, self.remove(client)?))).collect()
    }

    /// Takes out the next read that has waited long enough.
    pub(crate) fn take_expired(&mut self, now_ms: u64) -> Option<ClientId> {
        let &(deadline_ms, _, client) = self.deadlines.first()?;
        if deadline_ms > now_ms {
            return None;
        }
        self.remove(client);
        Some(client)
    }

    /// Takes out all, in turn.
    pub(crate) fn take_all(&mut self) -> Vec<ClientId> {
        let mut all: Vec<(u64, ClientId)> =
            self.reads.iter().map(|(client, read)| (read.turn, *client)).collect();
        all.sort_unstable();
        (self.reads, self.queues, self.deadlines) = Default::default();
        all.into_iter().map(|(_, client)| client).collect()
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|&(deadline_ms, ..)| deadline_ms)
    }
}
