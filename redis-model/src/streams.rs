//! One stream.

use std::collections::VecDeque;

use bytes::Bytes;
use sio_streams_core::{Entry, EntryId, Fields, StreamInfo};

use crate::listpack;
use crate::nodes::NodeLimits;

/// Redis refuses entries whose names and values are larger than this, all together.
const MAX_ENTRY_BYTES: usize = 1 << 30;

/// Why an entry was not added, in the server's words.
pub(crate) type Refusal = &'static str;

/// Entries, in the nodes in which Redis keeps them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    nodes: VecDeque<Node>,
    length: u64,
    last_id: EntryId,
    entries_added: u64,
    max_deleted: EntryId,
}

/// A listpack with some entries. There is always at least one.
#[derive(Clone, Debug)]
struct Node {
    /// The id of the first entry that was added. The others are written as differences from it.
    id: EntryId,
    /// The names of that entry's fields. Entries with the same names don't repeat them.
    names: Vec<Bytes>,
    /// The listpack's size, but for the two counters at its beginning.
    size: usize,
    entries: VecDeque<Stored>,
    /// The number of entries that were deleted or trimmed one by one: they keep their place until
    /// the node goes.
    dead: u64,
}

#[derive(Clone, Debug)]
struct Stored {
    entry: Entry,
    /// Its size in the listpack.
    size: usize,
}

impl Stream {
    /// The id that an entry gets if it is added now: from the clock, unless the stream is ahead of
    /// it.
    pub(crate) fn next_id(&self, now_ms: u64) -> Result<EntryId, Refusal> {
        let EntryId { ms, seq } = self.last_id;
        match (now_ms > ms, seq.checked_add(1), ms.checked_add(1)) {
            (true, ..) => Ok(EntryId { ms: now_ms, seq: 0 }),
            (_, Some(seq), _) => Ok(EntryId { ms, seq }),
            (_, None, Some(ms)) => Ok(EntryId { ms, seq: 0 }),
            (_, None, None) => Err("The stream has exhausted the last possible ID, unable to add more items"),
        }
    }

    pub(crate) fn add(&mut self, id: EntryId, fields: Fields, limits: NodeLimits) -> Result<(), Refusal> {
        if id <= self.last_id {
            return Err("The ID specified in XADD is equal or smaller than the target stream top item");
        }
        let payload = fields.size();
        if payload > MAX_ENTRY_BYTES {
            return Err("Elements are too large to be stored");
        }
        match self.nodes.back_mut() {
            Some(node) if !node.is_full(payload, limits) => node.push(id, fields),
            _ => self.nodes.push_back(Node::new(id, fields)),
        }
        self.length += 1;
        self.entries_added += 1;
        self.last_id = id;
        Ok(())
    }

    /// `XREAD`: entries after an id, `count` at most; 0 stands for any number.
    pub(crate) fn read(&self, after: EntryId, count: u32) -> Vec<Entry> {
        let count = if count == 0 { usize::MAX } else { count as usize };
        let first =
            self.nodes.partition_point(|node| node.entries.back().is_none_or(|last| last.entry.id <= after));
        let stored = self.nodes.range(first..).flat_map(|node| &node.entries);
        stored
            .skip_while(|stored| stored.entry.id <= after)
            .take(count)
            .map(|stored| stored.entry.clone())
            .collect()
    }

    /// The entries before this one, the newest first.
    pub(crate) fn read_back(&self, before: EntryId, count: u32) -> Vec<Entry> {
        let behind = self
            .nodes
            .partition_point(|node| node.entries.front().is_none_or(|first| first.entry.id < before));
        let stored = self.nodes.range(..behind).rev().flat_map(|node| node.entries.iter().rev());
        stored
            .skip_while(|stored| stored.entry.id >= before)
            .take(count as usize)
            .map(|stored| stored.entry.clone())
            .collect()
    }

    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.nodes.iter().flat_map(|node| &node.entries).map(|stored| &stored.entry)
    }

    pub(crate) fn last_id(&self) -> EntryId {
        self.last_id
    }

    pub(crate) fn info(&self) -> StreamInfo {
        StreamInfo {
            length: self.length,
            last_generated_id: self.last_id,
            entries_added: Some(self.entries_added),
            max_deleted_entry_id: Some(self.max_deleted),
            first_entry_id: self.entries().next().map(|entry| entry.id),
        }
    }

    /// `MAXLEN ~`: removes whole nodes from the front while enough entries are left, and not too
    /// many at once.
    pub(crate) fn trim_nodes(&mut self, max_len: u64, limits: NodeLimits) {
        let mut work = limits.entries_trimmed_at_once();
        while let Some(node) = self.nodes.front() {
            let entries = node.entries.len() as u64;
            if self.length <= max_len || self.length - entries < max_len || entries > work {
                return;
            }
            work -= entries;
            self.length -= entries;
            self.nodes.pop_front();
        }
    }

    /// `MAXLEN =`: leaves exactly this many. Returns the number of removed entries.
    pub(crate) fn trim_exactly(&mut self, max_len: u64) -> u64 {
        let before = self.length;
        while self.length > max_len {
            let Some(node) = self.nodes.front_mut() else { break };
            if self.length - node.entries.len() as u64 >= max_len {
                self.length -= node.entries.len() as u64;
                self.nodes.pop_front();
            } else {
                node.entries.pop_front();
                node.dead += 1;
                self.length -= 1;
            }
        }
        before - self.length
    }

    /// `XDEL`. Returns whether the entry was there.
    pub(crate) fn delete(&mut self, id: EntryId) -> bool {
        let Some(at) = self.nodes.partition_point(|node| node.id <= id).checked_sub(1) else { return false };
        let node = &mut self.nodes[at];
        let Ok(index) = node.entries.binary_search_by_key(&id, |stored| stored.entry.id) else {
            return false;
        };
        node.entries.remove(index);
        node.dead += 1;
        if node.entries.is_empty() {
            self.nodes.remove(at);
        }
        self.length -= 1;
        self.max_deleted = self.max_deleted.max(id);
        true
    }

    /// Undoes the last `count` additions, as far as their entries are still there. Returns how many
    /// it were.
    pub(crate) fn lose_tail(&mut self, count: u64) -> u64 {
        let mut lost = 0;
        while lost < count
            && let Some(node) = self.nodes.back_mut()
            && let Some(Stored { entry, size }) = node.entries.pop_back()
        {
            node.size -= size;
            if node.entries.is_empty() {
                self.nodes.pop_back();
            }
            lost += 1;
            self.length -= 1;
            self.entries_added -= 1;
            let last = self.entries().next_back().map(|entry| entry.id);
            self.last_id = last.unwrap_or_else(|| before(entry.id));
        }
        self.max_deleted = self.max_deleted.min(self.last_id);
        lost
    }

    /// Returns `true` if no entry was ever added.
    pub(crate) fn is_untouched(&self) -> bool {
        self.entries_added == 0
    }
}

impl Node {
    fn new(id: EntryId, fields: Fields) -> Self {
        let names: Vec<Bytes> = fields.iter().map(|(name, _)| name.clone()).collect();
        // The entry that names the fields: the two counters (see `bytes`), the number of fields,
        // their names, an end mark.
        let size = listpack::EMPTY
            + listpack::integer(count(names.len()))
            + names.iter().map(|name| listpack::string(name)).sum::<usize>()
            + listpack::integer(0);
        let mut node = Node { id, names, size, entries: VecDeque::new(), dead: 0 };
        node.push(id, fields);
        node
    }

    fn push(&mut self, id: EntryId, fields: Fields) {
        let same_names = self.names.iter().eq(fields.iter().map(|(name, _)| name));
        let mut elements = fields.len() + 3;
        // Flags, and the id's difference from the node's in two parts. The sequence may be the
        // smaller one.
        let mut size = listpack::integer(0)
            + listpack::integer(id.ms.wrapping_sub(self.id.ms).cast_signed())
            + listpack::integer(id.seq.wrapping_sub(self.id.seq).cast_signed())
            + fields.iter().map(|(_, value)| listpack::string(value)).sum::<usize>();
        if !same_names {
            elements += fields.len() + 1;
            size += listpack::integer(count(fields.len()))
                + fields.iter().map(|(name, _)| listpack::string(name)).sum::<usize>();
        }
        size += listpack::integer(count(elements));
        self.size += size;
        self.entries.push_back(Stored { entry: Entry { id, fields }, size });
    }

    /// The listpack's size.
    fn bytes(&self) -> usize {
        self.size + listpack::integer(count(self.entries.len())) + listpack::integer(self.dead.cast_signed())
    }

    /// Returns `true` if an entry whose names and values are `payload` bytes long needs another
    /// node.
    fn is_full(&self, payload: usize, limits: NodeLimits) -> bool {
        let entries = self.entries.len() as u64 + self.dead;
        self.bytes() + payload >= limits.max_bytes() || (limits.entries > 0 && entries >= limits.entries)
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The id just before this one.
fn before(EntryId { ms, seq }: EntryId) -> EntryId {
    match seq.checked_sub(1) {
        Some(seq) => EntryId { ms, seq },
        None => ms.checked_sub(1).map_or(EntryId::ZERO, |ms| EntryId { ms, seq: u64::MAX }),
    }
}
