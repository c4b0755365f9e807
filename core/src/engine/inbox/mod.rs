//! The inbox: it reads streams from a concrete id on, each entry once, and never misses an entry
//! silently.
//!
//! While there is more to read, each read begins with the last entry of the one before. If that
//! entry is gone, others behind it may be gone, too. If everything had been read, the next read has
//! nothing to overlap with, and only a full batch can hide a gap. In both cases the batch is held
//! until the server has told its count. The server is also asked for its count from time to time
//! without a suspicion.

mod dedup;
mod fork;
mod gaps;
mod hearing;
mod reader;
mod told;
mod trail;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytestring::ByteString;

use super::context::Context;
use super::purpose::Purpose;
use super::timers::Timer;
use crate::command::{Command, CommandError, CommandId, Entry, Lane, StreamInfo};
use crate::event::{Event, Lag};
use crate::id::{EntryId, NodeId};
use crate::time::Time;
use dedup::Dedup;
pub(super) use gaps::Finding;
use hearing::Hearing;
use reader::Reader;
pub(super) use told::Told;
use trail::Trail;

/// The minimum time between two requests for the server's count while nothing is suspect.
const CHECK_AT_MOST: Duration = Duration::from_secs(1);

/// The streams that this node reads.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    readers: BTreeMap<ByteString, Reader>,
    /// The streams with entries that have come and have not been looked at, in the order of
    /// arrival.
    unread: VecDeque<ByteString>,
}

/// A batch that has come.
#[derive(Debug)]
pub(super) struct Batch {
    /// The last entry of the batch, or the last one before it if the batch has no new entries.
    pub(super) cursor: EntryId,
    pub(super) findings: Vec<Finding>,
}

/// The result of checking an entry by its author and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// It has not come before.
    First,
    /// It has come before.
    Again,
    /// Another node has written it in this node's name, with this number.
    Claimed(Option<u64>),
}

impl Inbox {
    /// Returns the last entry of the stream that has come, once the stream's end is known.
    #[inline]
    pub(super) fn cursor(&self, stream: &ByteString) -> Option<EntryId> {
        self.readers.get(stream)?.cursor_if_located()
    }

    /// Returns the namespaces that live on the stream.
    pub(super) fn namespaces(&self, stream: &ByteString) -> Vec<ByteString> {
        self.readers.get(stream).map(|reader| reader.users.iter().cloned().collect()).unwrap_or_default()
    }

    /// Notes that nobody could be heard on the stream before now.
    pub(super) fn hears_from_now_on(&mut self, stream: &ByteString, now: Time) {
        if let Some(reader) = self.readers.get_mut(stream) {
            reader.hearing = Hearing::since(now);
        }
    }

    /// Returns the time before which everything that was said on the stream has been looked at.
    pub(super) fn heard_until(&self, stream: &ByteString) -> Option<Time> {
        Some(self.readers.get(stream)?.hearing.proven())
    }

    /// Notes that a heartbeat of this node is handed out with this number. When it comes back,
    /// everything that was said before has come.
    pub(super) fn probes(&mut self, stream: &ByteString, number: u64, now: Time) {
        if let Some(reader) = self.readers.get_mut(stream) {
            reader.hearing.probes(number, now);
        }
    }

    /// Returns `true` if a heartbeat of this node is under way that will tell which nodes are
    /// silent.
    pub(super) fn is_probing(&self, stream: &ByteString) -> bool {
        self.readers.get(stream).is_some_and(|reader| reader.hearing.is_probing())
    }

    /// Makes the namespace judge nobody's silence until more is known.
    pub(super) fn doubt(&mut self, stream: &ByteString, nsp: &ByteString) {
        if let Some(reader) = self.readers.get_mut(stream) {
            reader.overdue.insert(nsp.clone());
        }
    }

    /// Returns `true` if the namespace can't tell yet which nodes are silent.
    pub(super) fn is_in_doubt(&self, stream: &ByteString, nsp: &str) -> bool {
        self.readers.get(stream).is_some_and(|reader| reader.overdue.contains(nsp))
    }

    /// Returns `true` if this number of the author has not come before.
    pub(super) fn is_new(&mut self, stream: &ByteString, author: &NodeId, number: u64) -> bool {
        self.readers.get_mut(stream).is_some_and(|reader| reader.seen.is_new(author, number))
    }

    /// Checks an entry that is looked at. Only nodes that run this library number their entries.
    /// `last_number` is the last number that this node has given. The returned duration is the time
    /// that a heartbeat was under way, if this entry is the awaited one.
    #[inline]
    pub(super) fn see(
        &mut self,
        cx: &mut Context,
        stream: &ByteString,
        id: EntryId,
        (author, number): (&NodeId, Option<u64>),
        last_number: u64,
    ) -> (Sight, Option<Duration>) {
        let Some(reader) = self.readers.get_mut(stream) else { return (Sight::Again, None) };
        if *author == cx.uid && number.is_none_or(|number| number > last_number) {
            if !core::mem::replace(&mut reader.name_taken, true) {
                cx.events.push_back(Event::NameTaken { stream: stream.clone(), id });
            }
            return (Sight::Claimed(number), None);
        }
        let mut took = None;
        if reader.hearing.is_probing()
            && let Some(number) = number.filter(|_| *author == cx.uid)
        {
            took = reader.hearing.own_entry(number, cx.now);
            if took.is_some() {
                reader.judge_again(&mut cx.timers, cx.now);
            }
        }
        let first =
            number.is_none_or(|number| reader.seen.is_new(author, number) || mutant!(RepetitionDelivered));
        if !first {
            let (stream, from) = (stream.clone(), author.clone());
            cx.events.push_back(Event::Repeated { stream, id, from });
        }
        (if first { Sight::First } else { Sight::Again }, took)
    }

    /// Starts reading a stream for a namespace, or notes one more namespace that lives on it.
    pub(super) fn open(&mut self, cx: &mut Context, stream: &ByteString, nsp: &ByteString) {
        let (limit, hash, now) = (cx.config.limits.nodes, cx.hash, cx.now);
        let (count, max_len) = (cx.config.read_count, cx.config.max_len);
        let fresh = || Reader::new(Dedup::new(limit, hash), Trail::new(max_len), count, now);
        let reader = self.readers.entry(stream.clone()).or_insert_with(fresh);
        let first = reader.users.is_empty();
        reader.users.insert(nsp.clone());
        // Entries for the namespace may also wait in a stream of other namespaces.
        self.readers.values_mut().for_each(|reader| reader.has_newcomer(nsp));
        if first {
            self.locate(cx, stream);
        }
    }

    /// Returns `true` if the entry that is being looked at came before the namespace was opened.
    #[inline]
    pub(super) fn came_before(&self, stream: &ByteString, nsp: &str) -> bool {
        self.readers.get(stream).is_some_and(|reader| reader.newcomers.contains_key(nsp))
    }

    /// Stops reading a stream for a namespace. Returns `true` if no namespace lives on the stream
    /// any more. Then the stream is not read at all.
    pub(super) fn close(&mut self, cx: &mut Context, stream: &ByteString, nsp: &ByteString) -> bool {
        let Some(reader) = self.readers.get_mut(stream) else { return false };
        reader.users.remove(nsp);
        if !reader.users.is_empty() {
            return false;
        }
        // The connection is given up, so no reply comes.
        if let Some(asked) = reader.asked {
            cx.answered(asked);
        }
        self.readers.remove(stream);
        self.unread.retain(|other| other != stream);
        let lane = Lane::Reader(stream.clone());
        for id in cx.lanes.remove(&lane) {
            cx.answered(id);
        }
        cx.timers.cancel(&Timer::Retry(lane.clone()));
        true
    }

    fn ask(&mut self, cx: &mut Context, stream: &ByteString, command: Command, purpose: Purpose) {
        let asked = cx.command(command, purpose);
        let now = cx.now;
        if let Some(reader) = self.readers.get_mut(stream) {
            (reader.asked, reader.asked_at) = (Some(asked), now);
        }
    }

    /// Notes that the server is being asked for the stream's end. The entry `known` is in the
    /// stream now, so the end must not be before it.
    pub(super) fn asking(&mut self, stream: &ByteString, known: EntryId) {
        if let Some(reader) = self.readers.get_mut(stream) {
            reader.known = known;
        }
    }

    /// Asks for the stream's end, for the first time or after a break.
    fn locate(&mut self, cx: &mut Context, stream: &ByteString) {
        let command = Command::XInfoStream { stream: stream.clone() };
        self.ask(cx, stream, command, Purpose::Locate(stream.clone()));
    }

    /// Asks for the server's count.
    fn check(&mut self, cx: &mut Context, stream: &ByteString) {
        let command = Command::XInfoStream { stream: stream.clone() };
        self.ask(cx, stream, command, Purpose::Check(stream.clone()));
    }

    /// Asks for the next batch, if the last one is used up.
    #[inline]
    pub(super) fn read_on(&mut self, cx: &mut Context, stream: &ByteString) {
        let Some(reader) = self.readers.get(stream) else { return };
        let (Some(cursor), None, true) = (reader.cursor, reader.asked, reader.batch.is_empty()) else {
            return;
        };
        if reader.suspect || cx.now.since(reader.checked) >= cx.config.block_time.max(CHECK_AT_MOST) {
            return self.check(cx, stream);
        }
        let overlap = reader.next == Some(cursor);
        let command = Command::XRead {
            stream: stream.clone(),
            after: if overlap { cursor.before() } else { cursor },
            count: reader.count.saturating_add(overlap.into()),
            // The end shows at once.
            block: if reader.seeking { Duration::from_millis(1) } else { cx.config.block_time },
        };
        self.ask(cx, stream, command, Purpose::Read(stream.clone()));
    }

    /// Called when everything that has come has been looked at. If there was no more, silence can
    /// be judged by it. Returns `true` if looking took so long that the server may have been stuck
    /// unnoticed meanwhile.
    #[inline]
    #[must_use]
    pub(super) fn is_heard(&mut self, cx: &mut Context, stream: &ByteString) -> bool {
        let now = cx.now;
        // As long as this node can write, its own entries prove what was heard. A server that
        // answers reads may still take no writes. So while this node can't write, a read proves
        // only the time before the last entry came.
        let can_write = !cx.lanes.is_down(&Lane::Writer);
        let Some(reader) = self.readers.get_mut(stream) else { return false };
        if !reader.batch.is_empty() {
            return false;
        }
        if !can_write
            && let Some(asked) = reader.heard_since.take()
            && reader.hearing.round_trip(asked.min(reader.came_at), now)
        {
            reader.judge_again(&mut cx.timers, now);
        }
        // A node that writes learns by its heartbeats that the server lives.
        let asked_rarely = if can_write { cx.config.block_time } else { Duration::ZERO };
        now.since(reader.answered_at) > cx.config.notable_delay().saturating_add(asked_rarely)
            && !mutant!(SlowApplicationForgotten)
    }

    /// Returns how long the reply took if the stream's reader waits for it. The reader stops
    /// waiting then.
    pub(super) fn is_awaited(
        &mut self,
        cx: &Context,
        stream: &ByteString,
        id: CommandId,
    ) -> Option<Duration> {
        let reader = self.readers.get_mut(stream)?;
        reader.asked.take_if(|asked| *asked == id)?;
        reader.answered_at = cx.now;
        Some(cx.now.since(reader.asked_at))
    }

    /// Handles a batch. Returns `None` if the batch is held until the server has told its count.
    pub(super) fn read(
        &mut self,
        cx: &mut Context,
        stream: &ByteString,
        entries: Vec<Entry>,
    ) -> Option<Batch> {
        let (usual, max_len) = (cx.config.read_count, cx.config.max_len);
        let reader = self.readers.get_mut(stream)?;
        let full_at = u64::from(reader.count).min(max_len);
        reader.refused = None;
        reader.cut_off = false;
        let next = reader.next.take();
        let begins_with = entries.first().map(|entry| entry.id);
        let is_another = |first: &Entry| reader.trail.ends_at(first.id) && !reader.trail.ends_with(first);
        let is_another = next.is_some() && entries.first().is_some_and(is_another);
        // Each entry is taken once, even if a backend repeats it.
        let mut last = reader.cursor;
        let mut new = entries;
        new.retain(|entry| {
            let is_new = Some(entry.id) > last || mutant!(OverlapDelivered);
            last = last.max(Some(entry.id));
            is_new
        });
        if !new.is_empty() {
            reader.came_at = cx.now;
        }
        let full = new.len() as u64 >= full_at;
        reader.adapt(&new, full, usual);
        let suspect = match next {
            // If there is nothing at all, even that entry is gone.
            Some(_) => begins_with != next || is_another,
            None => full,
        };
        reader.is_absent |= suspect && next.is_some() && next == reader.cursor;
        if suspect {
            reader.held = new;
            self.check(cx, stream);
            return None;
        }
        if !new.is_empty() {
            self.unread.push_back(stream.clone());
        }
        let findings = reader.accept(new);
        reader.ended = !full;
        reader.is_answered();
        if full {
            reader.next = reader.cursor;
        }
        Some(Batch { cursor: reader.cursor?, findings })
    }

    /// Passes over entries that can't be read, up to `next`. `alone` is `true` if this is exactly
    /// one entry.
    pub(super) fn pass_over(&mut self, stream: &ByteString, next: EntryId, alone: bool) -> Option<Batch> {
        let reader = self.readers.get_mut(stream)?;
        (reader.cut_off, reader.refused, reader.next) = (false, None, None);
        let cursor = reader.cursor?;
        if next <= cursor {
            return Some(Batch { cursor, findings: Vec::new() });
        }
        reader.cursor = Some(next.before());
        reader.trail.begin(next.before());
        // Entries from before this node began to read are missing to nobody.
        let finding = (!reader.seeking).then(|| reader.gaps.pass_over(cursor, next, alone));
        Some(Batch { cursor: next.before(), findings: finding.into_iter().collect() })
    }

    /// Handles a server that can't tell its count. The entries that are held are taken as they are,
    /// and reading continues. If nothing has come yet, the stream is read from its beginning to
    /// find its end. The server is asked again later, and then shows what was missed.
    pub(super) fn uncounted(
        &mut self,
        cx: &mut Context,
        stream: &ByteString,
        error: CommandError,
    ) -> Option<Batch> {
        let reader = self.readers.get_mut(stream)?;
        if !core::mem::replace(&mut reader.uncounted, true) {
            cx.events.push_back(Event::Refused { lane: Lane::Reader(stream.clone()), channel: None, error });
        }
        (reader.suspect, reader.checked, reader.next) = (false, cx.now, None);
        reader.seeking |= reader.cursor.is_none();
        reader.cursor.get_or_insert(EntryId::ZERO);
        let held = core::mem::take(&mut reader.held);
        if !held.is_empty() {
            self.unread.push_back(stream.clone());
        }
        let findings = reader.accept(held);
        Some(Batch { cursor: reader.cursor?, findings })
    }

    /// Notes that the server has told its count.
    pub(super) fn counts(&mut self, stream: &ByteString) {
        if let Some(reader) = self.readers.get_mut(stream) {
            reader.uncounted = false;
        }
    }

    /// Returns `true` if the stream is read from its beginning to find its end.
    pub(super) fn is_seeking(&self, stream: &ByteString) -> bool {
        self.readers.get(stream).is_some_and(|reader| reader.seeking)
    }

    /// Continues to look for the stream's end behind this entry, the last one of a batch. Returns
    /// the state of the stream if there are no more entries.
    pub(super) fn sought(
        &mut self,
        cx: &mut Context,
        stream: &ByteString,
        last: Option<EntryId>,
    ) -> Option<StreamInfo> {
        let reader = self.readers.get_mut(stream)?;
        (reader.refused, reader.cut_off) = (None, false);
        if let Some(last) = last {
            reader.cursor = Some(last);
            self.read_on(cx, stream);
            return None;
        }
        let last_generated_id = reader.cursor.unwrap_or_default();
        Some(StreamInfo { last_generated_id, ..StreamInfo::default() })
    }

    /// Handles the loss of the link. Reads that have not gone out are dropped, because the stream's
    /// end has to be known first. A command that is under way will fail, and its failure asks for
    /// the end.
    pub(super) fn lost(&mut self, cx: &mut Context, stream: &ByteString) {
        let waiting = cx.lanes.take_waiting(&Lane::Reader(stream.clone()));
        let Some(reader) = self.readers.get_mut(stream) else { return };
        (reader.suspect, reader.broken, reader.search) = (true, true, None);
        for (id, command) in waiting {
            if matches!(command, Command::XRead { .. }) {
                cx.answered(id);
                reader.asked.take_if(|asked| *asked == id);
            } else {
                cx.lanes.push(id, command);
            }
        }
        self.read_on(cx, stream);
    }

    /// Handles a failed command of the reader. The stream's end is asked for again when the link is
    /// back, or after a while, because the server may be another one.
    ///
    /// `during_read` is `true` if the command asked for entries.
    pub(super) fn failed(
        &mut self,
        cx: &mut Context,
        stream: &ByteString,
        error: CommandError,
        during_read: bool,
    ) {
        let lane = Lane::Reader(stream.clone());
        let Some(reader) = self.readers.get_mut(stream) else { return };
        reader.next = None;
        (reader.broken, reader.search) = (true, None);
        reader.ended = false;
        reader.heard_since = None;
        // One failure may be chance. After two, the reply may be larger than the server, or
        // something on the way, lets through.
        if during_read
            && matches!(error, CommandError::Lost(_))
            && core::mem::replace(&mut reader.cut_off, true)
        {
            reader.count = (reader.count / 2).max(1);
        }
        let refused = matches!(error, CommandError::Server { .. } | CommandError::Unusable(_));
        if refused && reader.refused.as_ref() != Some(&error) {
            reader.refused = Some(error.clone());
            cx.events.push_back(Event::Refused { lane: lane.clone(), channel: None, error });
        }
        if mutant!(BreakIgnored)
            && self.readers.get(stream).is_some_and(|reader| reader.cursor_if_located().is_some())
        {
            return self.read_on(cx, stream);
        }
        self.locate(cx, stream);
        cx.rest(&lane);
    }

    /// Returns the next entry to look at. The stream moves on here, whatever becomes of the entry,
    /// so a bad entry can't hold up those behind it. Streams take turns, batch by batch. The flag
    /// is `true` if the entry is the last one of its batch.
    #[inline]
    pub(super) fn next_entry(&mut self, cx: &mut Context) -> Option<(ByteString, Entry, bool)> {
        while let Some(stream) = self.unread.pop_front() {
            let Some(reader) = self.readers.get_mut(&stream) else { continue };
            let Some(entry) = reader.batch.pop_front() else { continue };
            reader.looked_at = Some(entry.id);
            reader.looked += 1;
            while let Some((nsp, until)) = reader.newest.front().filter(|(_, until)| reader.looked > *until) {
                if reader.newcomers.get(nsp) == Some(until) {
                    reader.newcomers.remove(nsp);
                }
                reader.newest.pop_front();
            }
            let last = reader.batch.is_empty();
            match last {
                true => self.read_on(cx, &stream),
                false => self.unread.push_front(stream.clone()),
            }
            return Some((stream, entry, last));
        }
        None
    }

    /// Returns how far this node is behind on each of its streams.
    pub(super) fn lags(&self) -> impl Iterator<Item = (&ByteString, Lag)> {
        self.readers.iter().map(|(stream, reader)| {
            let waiting = reader.batch.len() + reader.held.len();
            let position = reader.looked_at;
            (stream, Lag { waiting, unread: reader.gaps.unread(), position })
        })
    }
}
