//! The recent broadcasts of a stream. They tell what returning clients have missed, without a
//! request to Redis.
//!
//! A window is a piece of the stream without holes, from some entry up to the last one that was
//! looked at. It moves on as entries are looked at. It grows backwards, page by page, when an
//! attempt's offset lies before it. Entries that were read for one client are then there for all
//! others.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use hashbrown::HashMap;

use crate::config::Recovery;
use crate::error::Limit;
use crate::hash::Keyed;
use crate::id::{EntryId, NodeId};
use crate::packet::{BroadcastOptions, Packet};
use crate::payload::Payload;
use crate::session::{Kept, Missed, NotRecovered, Session};
use crate::time::Time;
use crate::wire::entry::NEAR;

/// The time for which a window that has grown backwards stays large. Clients that come back at the
/// same time need not read the same pages again.
const DEEP_FOR: core::time::Duration = core::time::Duration::from_secs(30);

/// The number of repeated entries that are remembered.
const REPEATED: usize = 1_000;

/// A broadcast. Its id may be a client's offset, even if the broadcast is never replayed.
#[derive(Debug)]
struct Slot {
    id: EntryId,
    /// `None` if the broadcast is not to be sent again, for example because it is volatile.
    kept: Option<Arc<Kept>>,
    /// The position at which its bytes begin, in a count of all bytes. Only differences between
    /// positions are meaningful.
    at: u64,
}

/// The place of an offset, relative to the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The offset is in the window, and so is everything behind it.
    Inside,
    /// The offset is before the window.
    Before,
    /// The offset is before everything that is left of the stream.
    Trimmed,
    /// The offset is behind the last entry that was looked at.
    Ahead,
    /// The offset is in the window's range, but no broadcast of the namespace has it.
    Nowhere,
}

#[derive(Debug)]
pub(super) struct Window {
    slots: VecDeque<Slot>,
    /// The position at which the bytes of the next broadcast begin.
    bytes_end: u64,
    /// All broadcasts from this id on are in the window …
    from: EntryId,
    /// … up to this entry, the last one that was looked at.
    end: EntryId,
    /// The stream has nothing left before this id.
    first: EntryId,
    /// The ends of gaps that have not been reached yet, in order. When one of these entries is
    /// looked at, everything before it is cut off by a gap. There are at most as many of them as
    /// batches that wait to be looked at.
    barriers: VecDeque<EntryId>,
    /// The entries that came for the second time.
    repeated: VecDeque<EntryId>,
    /// The time until which the window may be larger than usual.
    deep_until: Time,
    /// The lowest number of each author in the window. It is kept while the window grows backwards.
    lowest: Option<HashMap<NodeId, u64, Keyed>>,
}

impl Window {
    /// Creates a window that begins behind a stream's end.
    pub(super) fn new(end: EntryId) -> Self {
        Window {
            slots: VecDeque::new(),
            bytes_end: 0,
            from: end.next(),
            end,
            first: EntryId::ZERO,
            barriers: VecDeque::new(),
            repeated: VecDeque::new(),
            deep_until: Time::ZERO,
            lowest: None,
        }
    }

    /// Returns the id from which on the window is complete.
    pub(super) fn from(&self) -> EntryId {
        self.from
    }

    /// Returns the last entry that was looked at.
    pub(super) fn end(&self) -> EntryId {
        self.end
    }

    /// Notes that an entry has been looked at. If it is a broadcast, [`keep`](Window::keep) is
    /// called before this.
    pub(super) fn pass(&mut self, id: EntryId) {
        self.step(id);
        self.end = id;
    }

    /// Adds a broadcast that is being looked at.
    pub(super) fn keep(&mut self, id: EntryId, kept: Option<Kept>) {
        self.step(id);
        let at = self.bytes_end;
        self.bytes_end = at.wrapping_add(size(kept.as_ref()));
        self.slots.push_back(Slot { id, kept: kept.map(Arc::new), at });
    }

    /// Notes that the entry has come before, under another id.
    pub(super) fn repeated(&mut self, id: EntryId) {
        self.repeated.push_back(id);
        if self.repeated.len() > REPEATED {
            self.repeated.pop_front();
        }
        self.keep(id, None);
    }

    /// Clears the window if the next entry does not continue it.
    fn step(&mut self, id: EntryId) {
        while let Some(until) = self.barriers.front().copied().filter(|until| id >= *until) {
            self.barriers.pop_front();
            self.begin_at(until);
            self.first = self.first.max(until);
        }
        if id < self.end {
            // The server has begun anew, at an earlier id.
            self.begin_at(id);
            self.first = EntryId::ZERO;
        }
    }

    /// Forgets everything, and begins with this entry.
    fn begin_at(&mut self, id: EntryId) {
        self.slots.clear();
        self.repeated.clear();
        self.from = id;
        self.lowest = None;
    }

    /// Notes that entries before this one were trimmed before they were read.
    pub(super) fn gap(&mut self, until: EntryId) {
        if mutant!(GapReplayedOver) {
            return;
        }
        if until > self.end {
            if self.barriers.back().is_none_or(|last| *last < until) {
                self.barriers.push_back(until);
            }
            return;
        }
        while self.slots.front().is_some_and(|slot| slot.id < until) {
            self.pop();
        }
        self.from = self.from.max(until);
        self.first = self.first.max(until);
    }

    /// Notes that the server has lost entries that may be in the window.
    pub(super) fn rewound(&mut self, last: EntryId) {
        self.end = self.end.min(last);
        self.begin_at(self.end.next());
        self.barriers.clear();
        self.first = EntryId::ZERO;
    }

    /// Notes the oldest entry that the stream still has.
    pub(super) fn begins(&mut self, first: EntryId) {
        self.first = self.first.max(first);
    }

    /// Returns the place of an offset that a client of the namespace presents.
    pub(super) fn place(&self, nsp: &str, offset: EntryId) -> Place {
        if offset > self.end {
            Place::Ahead
        } else if offset < self.from {
            if offset < self.first { Place::Trimmed } else { Place::Before }
        } else {
            match self.slots.binary_search_by_key(&offset, |slot| slot.id) {
                Ok(at)
                    if self.slots[at]
                        .kept
                        .as_ref()
                        .is_none_or(|kept| kept.nsp == nsp || mutant!(SessionOfAnyNamespace)) =>
                {
                    Place::Inside
                }
                // It belongs to another namespace, or to no broadcast.
                Ok(_) | Err(_) => Place::Nowhere,
            }
        }
    }

    /// Returns the number of broadcasts behind this one, and their size in bytes.
    pub(super) fn behind(&self, offset: EntryId) -> (usize, usize) {
        let at = self.slots.partition_point(|slot| slot.id <= offset);
        (self.slots.len() - at, self.bytes_from(at))
    }

    fn bytes_from(&self, at: usize) -> usize {
        let bytes = self.slots.get(at).map_or(0, |slot| self.bytes_end.wrapping_sub(slot.at));
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Returns the broadcasts that a client of the namespace has missed since the offset, which
    /// must be [`Inside`](Place::Inside).
    pub(super) fn missed(
        &self,
        nsp: &str,
        session: &Session,
        offset: EntryId,
    ) -> impl Iterator<Item = Missed> {
        let audience = Audience::of(session);
        let after = self.slots.partition_point(|slot| slot.id <= offset);
        let after = if mutant!(OffsetReplayed) { after.saturating_sub(1) } else { after };
        let after = if mutant!(FirstMissedSkipped) { (after + 1).min(self.slots.len()) } else { after };
        let until = self.slots.len() - usize::from(mutant!(ReplayLagsBehind) && after < self.slots.len());
        self.slots
            .range(after..until)
            .filter_map(|slot| slot.kept.as_ref())
            .filter(move |kept| kept.nsp == nsp && audience.hears(kept))
            .map(|kept| Missed(Arc::clone(kept)))
    }

    /// Drops broadcasts that are too old or too many. Broadcasts from `needed` on are kept, unless
    /// the window exceeds even its extended bounds.
    pub(super) fn shrink(&mut self, now: Time, bounds: &Recovery, needed: Option<EntryId>) {
        let age = u64::try_from(bounds.window_age.as_millis()).unwrap_or(u64::MAX);
        while let Some(oldest) = self.slots.front() {
            let much = self.slots.len() > bounds.window_entries || self.bytes_from(0) > bounds.window_bytes;
            if !much && self.end.ms.saturating_sub(oldest.id.ms) <= age {
                break;
            }
            let wanted = now < self.deep_until || needed.is_some_and(|needed| needed <= oldest.id);
            if wanted && self.too_much(bounds).is_none() {
                break;
            }
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(slot) = self.slots.pop_front() {
            self.from = self.from.max(slot.id.next());
        }
    }

    /// Returns what a client would have missed too much of, if the window can't grow any more. Then
    /// there is more behind its first entry than is ever replayed. That entry itself may be a
    /// client's offset.
    pub(super) fn too_much(&self, bounds: &Recovery) -> Option<NotRecovered> {
        if self.slots.len() > bounds.window_entries.max(bounds.replay_entries) {
            Some(NotRecovered::TooMuch { what: Limit::ReplayEntries, limit: bounds.replay_entries })
        } else if self.bytes_from(1) > bounds.window_bytes.max(bounds.replay_bytes) {
            Some(NotRecovered::TooMuch { what: Limit::ReplayBytes, limit: bounds.replay_bytes })
        } else {
            None
        }
    }

    /// Prepares the window for growing backwards.
    pub(super) fn dig(&mut self, now: Time, hash: Keyed) {
        self.deep_until = now + DEEP_FOR;
        if self.lowest.is_none() {
            let mut lowest = HashMap::with_hasher(hash);
            for (author, number) in
                self.slots.iter().rev().filter_map(|slot| slot.kept.as_ref()?.author.as_ref())
            {
                lowest.insert(author.clone(), *number);
            }
            self.lowest = Some(lowest);
        }
    }

    /// Ends the growth, because no attempt needs it any more.
    pub(super) fn rest(&mut self) {
        self.lowest = None;
    }

    /// Adds the entry before the window. `kept` is `Some` if the entry is a broadcast.
    pub(super) fn prepend(&mut self, id: EntryId, kept: Option<Option<Kept>>) {
        if id >= self.from {
            return;
        }
        self.from = id;
        let Some(kept) = kept else { return };
        let kept = kept.filter(|_| self.repeated.binary_search(&id).is_err());
        if let (Some((author, number)), Some(lowest)) =
            (kept.as_ref().and_then(|kept| kept.author.as_ref()), &mut self.lowest)
        {
            let near = |newer: &u64| number.abs_diff(*newer) <= NEAR;
            let newer = lowest.get(author).copied();
            // A number that is far above is a claim that proves nothing.
            if newer.is_none_or(|newer| *number < newer || near(&newer)) {
                lowest.insert(author.clone(), *number);
            }
            if newer.is_some_and(|newer| newer <= *number && near(&newer)) {
                self.forget_repeated(&author.clone(), *number);
            }
        }
        let next = self.slots.front().map_or(self.bytes_end, |slot| slot.at);
        let at = next.wrapping_sub(size(kept.as_ref()));
        self.slots.push_front(Slot { id, kept: kept.map(Arc::new), at });
    }

    /// Forgets repetitions of an entry. An author's numbers rise, so a later entry whose number is
    /// not higher is there for the second time.
    fn forget_repeated(&mut self, author: &NodeId, number: u64) {
        for slot in &mut self.slots {
            slot.kept.take_if(|kept| {
                kept.author.as_ref().is_some_and(|(other, later)| {
                    other == author && *later <= number && number - *later <= NEAR
                })
            });
        }
    }

    /// Notes that the stream has nothing before the window.
    pub(super) fn reached_the_beginning(&mut self) {
        self.first = self.first.max(self.from);
    }
}

/// Returns the size in bytes that a broadcast counts against the bounds.
fn size(kept: Option<&Kept>) -> u64 {
    (size_of::<Slot>() + kept.map_or(0, |kept| kept.size)) as u64
}

/// The rooms of a client that is away.
struct Audience<'a>(Vec<&'a str>);

impl<'a> Audience<'a> {
    fn of(session: &'a Session) -> Self {
        let mut rooms: Vec<&str> = session.rooms.iter().map(|room| &**room).collect();
        rooms.push(&session.sid);
        rooms.sort_unstable();
        Audience(rooms)
    }

    fn has(&self, room: &ByteString) -> bool {
        match self.0.len() {
            0..8 => self.0.contains(&&**room),
            _ => self.0.binary_search(&&**room).is_ok(),
        }
    }

    fn hears(&self, kept: &Kept) -> bool {
        (kept.rooms.is_empty() || kept.rooms.iter().any(|room| self.has(room)))
            && !kept.except.iter().any(|room| self.has(room))
    }
}

impl Kept {
    /// Copies what is needed into bytes of its own. The data that was read may be a small part of a
    /// much larger buffer, which would otherwise stay in memory with it.
    pub(super) fn new(
        id: EntryId,
        nsp: ByteString,
        packet: &Packet,
        opts: &BroadcastOptions,
        author: Option<(&NodeId, u64)>,
    ) -> Self {
        let names = opts.rooms.iter().chain(&opts.except).chain(author.map(|(author, _)| author.text()));
        let length = packet.data.bytes().len() + names.clone().map(|name| name.len()).sum::<usize>();
        let mut all = Vec::with_capacity(length);
        all.extend_from_slice(packet.data.bytes());
        names.for_each(|name| all.extend_from_slice(name.as_bytes()));
        let all = Bytes::from(all);
        let mut at = 0;
        let mut next = |length: usize| {
            at += length;
            all.slice(at - length..at)
        };
        let data = Payload::from_wire(packet.data.encoding(), next(packet.data.bytes().len()));
        let mut text = |name: &ByteString| ByteString::try_from(next(name.len())).unwrap_or_default();
        let rooms: Box<[ByteString]> = opts.rooms.iter().map(&mut text).collect();
        let except: Box<[ByteString]> = opts.except.iter().map(&mut text).collect();
        let author = author.map(|(author, number)| (NodeId::new(text(author.text())), number));
        let named = packet.nsp.as_ref().map(|name| ByteString::from(&**name));
        let packet = Packet { data, nsp: named, id: packet.id };
        let handles = (rooms.len() + except.len()) * size_of::<ByteString>();
        let size = size_of::<Kept>() + length + handles + nsp.len();
        Kept { id, nsp, packet, rooms, except, author, size }
    }
}
