//! Reading a stream: from a concrete id, one batch at a time, each entry once, and none missed in silence.
//!
//! While there is more to read, each read begins with the last entry of the one before: if that is gone, so may be others behind it. Where a
//! read has nothing to overlap with, because all had been read, only a batch that is full can hide a gap. In both cases the batch is held until
//! the server has said what it counts. Every now and then it is asked anyway.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytestring::ByteString;

use super::books::{Books, Finding};
use super::hearing::Hearing;
use super::seen::Seen;
use super::timers::Timers;
use super::{Engine, Purpose, Timer};
use crate::command::{Command, CommandError, CommandId, Entry, Lane, StreamInfo};
use crate::event::{Event, Lag, Lost};
use crate::id::EntryId;
use crate::time::Time;

/// The server is asked for its count not more often than this, if nothing is suspect.
const CHECK_AT_MOST: Duration = Duration::from_secs(1);

/// While there is more and more to read, so many times as much is read at once as usual, at most: what a read costs besides its entries is
/// little by then. But not more than [is held at once](entries_at_once).
const GROWTH: u32 = 8;

/// How many entries of this size are asked for at once, at most: about a mebibyte, however large they are, since all of a reply is held in memory.
pub(super) fn entries_at_once(size: usize) -> u32 {
    const BYTES: usize = 1 << 20;
    u32::try_from(BYTES / size.max(1)).unwrap_or(u32::MAX).max(1)
}

/// How many bytes these entries have, each, if there are any.
pub(super) fn mean_size(entries: &[Entry]) -> Option<usize> {
    entries.iter().map(|entry| entry.fields.size()).sum::<usize>().checked_div(entries.len())
}

/// One stream.
#[derive(Debug)]
pub(super) struct Reader {
    /// The last entry that came. Nothing until the stream's end has been asked for: a `$` would mean another place each time.
    pub(super) cursor: Option<EntryId>,
    /// The last entry that was looked at, or from which reading began.
    looked_at: Option<EntryId>,
    /// Entries that have come and have not been looked at.
    batch: VecDeque<Entry>,
    /// Entries that have come, before which others may be missing.
    held: Vec<Entry>,
    /// How many entries have been looked at.
    looked: u64,
    /// Namespaces that were opened while entries waited to be looked at, and how many will have been when the last of these has: they came too
    /// early for these namespaces.
    newcomers: BTreeMap<ByteString, u64>,
    /// The same in the order in which they were opened. One that was opened again stands here twice.
    newest: VecDeque<(ByteString, u64)>,
    /// How many entries are read at once.
    count: u32,
    /// The last read was cut off.
    cut_off: bool,
    /// The server can't say what it counts, and that has been reported.
    unsaid: bool,
    /// Its place is not known yet: it reads through the whole stream up to its end.
    seeking: bool,
    /// How large entries are, as far as is known: the mean of the last batch that was full.
    mean: usize,
    /// The next batch begins with this entry, or something is missing.
    next: Option<EntryId>,
    books: Books,
    /// The last entry that this node knew to be in the stream when the server was asked: one of its own may be ahead of what has come.
    known: EntryId,
    /// When the server was asked for its count.
    checked: Time,
    /// The link was lost since. The server may be another one.
    suspect: bool,
    /// What was delivered of each author.
    pub(super) seen: Seen,
    /// It has been said that another node bears this one's name.
    pub(super) name_taken: bool,
    /// The command of this stream's that is under way. Whatever else is answered was asked by an earlier reader of the stream.
    asked: Option<CommandId>,
    /// When that was.
    asked_at: Time,
    /// When it was asked last what is new, if all that there was has come since and only has to be looked at.
    heard_since: Option<Time>,
    /// How long ago all that was said has been looked at.
    pub(super) hearing: Hearing,
    /// The namespaces that live on the stream.
    pub(super) users: BTreeSet<ByteString>,
    /// Whether there was nothing more to read, when the server spoke last.
    ended: bool,
    /// Namespaces that judge nobody's silence until what has come is looked at.
    pub(super) overdue: BTreeSet<ByteString>,
    /// The refusal that was reported last. It is over when something was read: that the server may be asked what it counts proves nothing.
    refused: Option<CommandError>,
}

impl Reader {
    fn new(seen: Seen, count: u32, now: Time) -> Self {
        Reader {
            cursor: None,
            looked_at: None,
            batch: VecDeque::new(),
            held: Vec::new(),
            looked: 0,
            newcomers: BTreeMap::new(),
            newest: VecDeque::new(),
            count,
            cut_off: false,
            unsaid: false,
            seeking: false,
            mean: 0,
            next: None,
            books: Books::default(),
            known: EntryId::ZERO,
            checked: now,
            suspect: false,
            seen,
            name_taken: false,
            asked: None,
            asked_at: now,
            heard_since: None,
            hearing: Hearing::since(now),
            users: BTreeSet::new(),
            ended: false,
            overdue: BTreeSet::new(),
            refused: None,
        }
    }

    /// Whether its place in the stream is known.
    pub(super) fn located(&self) -> bool {
        self.cursor.is_some() && !self.seeking
    }

    /// More is known of who was silent: namespaces that were in doubt look again.
    pub(super) fn judge_again(&mut self, timers: &mut Timers, now: Time) {
        let overdue = core::mem::take(&mut self.overdue);
        overdue.into_iter().for_each(|nsp| timers.arm(Timer::Expiry(nsp), now));
    }

    /// Reads more at once while there is more to read than comes, and less when there is not. `usual` is what is read when there is little.
    fn adapt(&mut self, batch: &[Entry], full: bool, usual: u32) {
        if full {
            self.mean = mean_size(batch).unwrap_or(self.mean);
        }
        let wanted = match batch.len() as u64 * 4 {
            _ if full => self.count.saturating_mul(2),
            little if little < self.count.into() => self.count / 2,
            _ => self.count,
        };
        let fits = entries_at_once(self.mean);
        self.count = wanted.clamp(usual, usual.saturating_mul(GROWTH)).min(fits);
    }

    /// Enters these entries, and lets them be looked at. They stay where they are: an entry is large.
    fn accept(&mut self, mut entries: Vec<Entry>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for entry in &entries {
            let before = self.cursor.unwrap_or_default();
            findings.extend(self.books.enter(before, entry.id));
            self.cursor = Some(entry.id);
        }
        if mutant!(CursorBeforeDelivery) {
            entries.truncate(3_usize.saturating_sub(self.batch.len()));
        }
        match self.batch.is_empty() {
            true => self.batch = entries.into(),
            false => self.batch.extend(entries),
        }
        findings
    }
}

/// The server has answered: if there was nothing more, silence can be judged once this has been looked at.
fn reader_heard(reader: Option<&mut Reader>) {
    if let Some(reader) = reader {
        reader.heard_since = reader.ended.then_some(reader.asked_at);
    }
}

impl Engine {
    /// Starts reading a stream for a namespace, or notes one more that lives on it.
    pub(super) fn read_stream(&mut self, stream: &ByteString, nsp: &ByteString) {
        let (limit, hash, now) = (self.config.limits.nodes, self.hash, self.now);
        let count = self.config.read_count;
        let fresh = || Reader::new(Seen::new(limit, hash), count, now);
        let reader = self.readers.entry(stream.clone()).or_insert_with(fresh);
        let first = reader.users.is_empty();
        reader.users.insert(nsp.clone());
        let waiting = (reader.batch.len() + reader.held.len()) as u64;
        if first {
            self.locate(stream);
        } else if waiting > 0 {
            reader.newcomers.insert(nsp.clone(), reader.looked + waiting);
            reader.newest.push_back((nsp.clone(), reader.looked + waiting));
        }
    }

    /// Whether the entry that is being looked at came before the namespace was opened.
    pub(super) fn came_before(&self, stream: &ByteString, nsp: &str) -> bool {
        self.readers.get(stream).is_some_and(|reader| reader.newcomers.contains_key(nsp))
    }

    /// Stops reading a stream for a namespace, and altogether once nothing lives on it.
    pub(super) fn unread_stream(&mut self, stream: &ByteString, nsp: &ByteString) {
        let Some(reader) = self.readers.get_mut(stream) else { return };
        reader.users.remove(nsp);
        if reader.users.is_empty() {
            // No reply comes on a connection that is given up.
            if let Some(asked) = reader.asked {
                self.in_flight.remove(&asked);
            }
            self.readers.remove(stream);
            self.unread.retain(|other| other != stream);
            self.window_closes(stream);
            let lane = Lane::Reader(stream.clone());
            for id in self.lanes.remove(&lane) {
                self.in_flight.remove(&id);
            }
            self.timers.cancel(&Timer::Retry(lane.clone()));
            self.retire_publisher(stream);
            self.command(Command::Release { lane }, Purpose::Release);
        }
    }

    fn ask_reader(&mut self, stream: &ByteString, command: Command, purpose: Purpose) {
        let asked = self.command(command, purpose);
        let now = self.now;
        if let Some(reader) = self.readers.get_mut(stream) {
            (reader.asked, reader.asked_at) = (Some(asked), now);
        }
    }

    /// The server is being asked where the stream ends: what is known to be there now must be there then.
    pub(super) fn asking(&mut self, stream: &ByteString) {
        let known = self.last_published(stream);
        if let Some(reader) = self.readers.get_mut(stream) {
            reader.known = known;
        }
    }

    /// Asks where the stream ends, for the first time or after a break.
    fn locate(&mut self, stream: &ByteString) {
        let command = Command::XInfoStream { stream: stream.clone() };
        self.ask_reader(stream, command, Purpose::Locate(stream.clone()));
    }

    /// Asks what the server counts.
    fn check(&mut self, stream: &ByteString) {
        let command = Command::XInfoStream { stream: stream.clone() };
        self.ask_reader(stream, command, Purpose::Check(stream.clone()));
    }

    /// Asks for the next batch, if the last one is used up.
    fn read_on(&mut self, stream: &ByteString) {
        let Some(reader) = self.readers.get(stream) else { return };
        let (Some(cursor), None, true) = (reader.cursor, reader.asked, reader.batch.is_empty()) else {
            return;
        };
        if reader.suspect || self.now.since(reader.checked) >= self.config.block_time.max(CHECK_AT_MOST) {
            return self.check(stream);
        }
        let overlap = reader.next == Some(cursor);
        let command = Command::XRead {
            stream: stream.clone(),
            after: if overlap { cursor.before() } else { cursor },
            count: reader.count.saturating_add(overlap.into()),
            block: if reader.seeking { Duration::from_millis(1) } else { self.config.block_time },
        };
        self.ask_reader(stream, command, Purpose::Read(stream.clone()));
    }

    /// What comes next can't be read. That is a gap.
    pub(super) fn passed_over(&mut self, stream: &ByteString, next: EntryId, alone: bool) {
        let Some(reader) = self.readers.get_mut(stream) else { return };
        (reader.cut_off, reader.refused, reader.next) = (false, None, None);
        let cursor = reader.cursor.unwrap_or_default();
        if next > cursor {
            reader.cursor = Some(next.before());
            if !reader.seeking {
                let finding = reader.books.pass_over(cursor, next, alone);
                self.report(stream, vec![finding]);
            }
        }
        self.read_on(stream);
    }

    /// The server can't say what it counts. What has come is taken as it is, and it is read on; where nothing has come yet, from the stream's beginning, to
    /// find its end. It is asked again later: what was missed shows then.
    fn read_unchecked(&mut self, stream: &ByteString, error: CommandError) {
        let now = self.now;
        let Some(reader) = self.readers.get_mut(stream) else { return };
        if !core::mem::replace(&mut reader.unsaid, true) {
            self.events.push_back(Event::Refused { lane: Lane::Reader(stream.clone()), error });
        }
        let after_break = core::mem::replace(&mut reader.suspect, false);
        reader.checked = now;
        if reader.cursor.is_none() {
            (reader.cursor, reader.seeking) = (Some(EntryId::ZERO), true);
        }
        let held = core::mem::take(&mut reader.held);
        if !held.is_empty() {
            self.unread.push_back(stream.clone());
        }
        let findings = reader.accept(held);
        self.report(stream, findings);
        if after_break {
            self.stream_is_heard(stream);
        }
        self.read_on(stream);
    }

    /// Reads on up to the end. What was there before is told to nobody.
    fn sought(&mut self, stream: &ByteString, last: Option<EntryId>) {
        let Some(reader) = self.readers.get_mut(stream) else { return };
        match last {
            Some(_) => {
                reader.cursor = last;
                self.read_on(stream);
            }
            None => {
                let last_generated_id = reader.cursor.take().unwrap_or_default();
                (reader.seeking, reader.refused, reader.cut_off) = (false, None, false);
                self.located(stream, Some(StreamInfo { last_generated_id, ..StreamInfo::default() }));
                if let Some(reader) = self.readers.get_mut(stream) {
                    reader.unsaid = true;
                }
            }
        }
    }

    /// All that has come has been looked at: if there was no more, silence can be judged by it.
    pub(super) fn is_heard(&mut self, stream: &ByteString) {
        let now = self.now;
        // A server that answers reads may still take nothing. As long as this node can write, its own entries tell.
        let can_write = !self.lanes.is_down(&Lane::Writer);
        let Some(reader) = self.readers.get_mut(stream) else { return };
        if !can_write
            && reader.batch.is_empty()
            && let Some(asked) = reader.heard_since.take()
            && reader.hearing.round_trip(asked, now)
        {
            reader.judge_again(&mut self.timers, now);
        }
    }

    /// Whether this is what the stream's reader waits for. It waits no longer then.
    pub(super) fn is_awaited(&mut self, stream: &ByteString, id: CommandId) -> bool {
        let reader = self.readers.get_mut(stream);
        reader.is_some_and(|reader| reader.asked.take_if(|asked| *asked == id).is_some())
    }

    /// The stream's end is known, for the first time or after a break.
    pub(super) fn located(&mut self, stream: &ByteString, info: Option<StreamInfo>) {
        self.checked(stream, info);
        self.stream_is_heard(stream);
    }

    /// The server has said what it counts.
    pub(super) fn checked(&mut self, stream: &ByteString, info: Option<StreamInfo>) {
        let Some(reader) = self.readers.get_mut(stream) else { return };
        // A stream that isn't there yet is read from its beginning.
        let info = info.unwrap_or_else(StreamInfo::absent);
        let last = info.last_generated_id;
        reader.checked = self.now;
        (reader.suspect, reader.unsaid) = (false, false);
        reader.next = None;
        if core::mem::take(&mut reader.seeking) {
            reader.cursor = None;
        }
        let mut rewound = last < reader.known;
        match reader.cursor {
            Some(_) if mutant!(DollarAgain) && reader.looked == 0 => reader.cursor = Some(last),
            None => {
                reader.cursor = Some(last);
                reader.looked_at = Some(last);
                reader.books = Books::open(&info);
                reader.ended = true;
            }
            Some(cursor) => {
                let held = core::mem::take(&mut reader.held);
                let (resumes, hole) = (held.first().map(|entry| entry.id), reader.books.hole());
                let mut findings = Vec::from_iter(reader.books.check(cursor, &held, &info));
                if !held.is_empty() {
                    self.unread.push_back(stream.clone());
                }
                if held.last().map_or(cursor, |entry| entry.id) > last {
                    reader.batch.extend(held);
                    reader.cursor = if mutant!(RewindIgnored) { Some(cursor) } else { Some(last) };
                } else {
                    findings.extend(reader.accept(held));
                }
                // What others have written since may hide it, but not always: the books may show less than this node's own entries do.
                let told = findings.iter().any(|finding| matches!(finding, Finding::Rewound { .. }));
                if rewound && !told {
                    findings.push(Finding::Rewound { cursor: reader.known, last, lost: Lost::Unknown });
                }
                rewound |= told;
                let cursor = reader.cursor.unwrap_or(last);
                reader.ended = cursor >= last;
                if cursor < last {
                    // If the cursor's entry is gone, the stream's first is the next.
                    reader.next = info.first_entry_id.map(|first| first.max(cursor));
                }
                let hole = reader.books.hole().filter(|until| hole != Some(*until));
                self.report(stream, findings);
                // A gap that can't be reported yet, because its size is not known, is one all the same.
                for until in hole.into_iter().flat_map(|until| resumes.into_iter().chain([until])) {
                    self.window_has_gap(stream, until);
                }
            }
        }
        reader_heard(self.readers.get_mut(stream));
        self.publisher_located(stream, last, rewound);
        self.window_told(stream, last, &info);
        self.is_heard(stream);
        self.read_on(stream);
    }

    /// A batch has come.
    pub(super) fn entries_read(&mut self, stream: &ByteString, entries: Vec<Entry>) {
        let (usual, max_len) = (self.config.read_count, self.config.max_len);
        let Some(reader) = self.readers.get_mut(stream) else { return };
        if reader.seeking {
            return self.sought(stream, entries.last().map(|entry| entry.id));
        }
        let full_at = u64::from(reader.count).min(max_len);
        reader.refused = None;
        reader.cut_off = false;
        let next = reader.next.take();
        let begins_with = entries.first().map(|entry| entry.id);
        // Each entry once, whatever a backend may repeat.
        let mut last = reader.cursor;
        let mut new = entries;
        new.retain(|entry| {
            let is_new = Some(entry.id) > last || mutant!(OverlapDelivered);
            last = last.max(Some(entry.id));
            is_new
        });
        let full = new.len() as u64 >= full_at;
        reader.adapt(&new, full, usual);
        let suspect = match next {
            // If there is nothing at all, even that entry is gone.
            Some(_) => begins_with != next,
            None => full,
        };
        if suspect {
            reader.held = new;
            return self.check(stream);
        }
        if !new.is_empty() {
            self.unread.push_back(stream.clone());
        }
        let findings = reader.accept(new);
        reader.ended = !full;
        reader_heard(Some(reader));
        if full {
            reader.next = reader.cursor;
        }
        self.report(stream, findings);
        self.is_heard(stream);
        self.read_on(stream);
    }

    fn report(&mut self, stream: &ByteString, findings: Vec<Finding>) {
        for finding in &findings {
            match finding {
                Finding::Gap { until, .. } => self.window_has_gap(stream, *until),
                Finding::Rewound { last, .. } => self.window_rewound(stream, *last),
            }
        }
        if mutant!(GapSilent) {
            return;
        }
        let stream = || stream.clone();
        self.events.extend(findings.into_iter().map(|finding| match finding {
            Finding::Gap { after, until, lost } => Event::Gap { stream: stream(), after, until, lost },
            Finding::Rewound { cursor, last, lost } => {
                Event::Rewound { stream: stream(), cursor, last, lost }
            }
        }));
    }

    /// The link is lost. What was to be read next is not read before it is known where the stream ends; whatever is under way will fail, and ask
    /// for that by itself.
    pub(super) fn reader_lost(&mut self, stream: &ByteString) {
        let waiting = self.lanes.take_waiting(&Lane::Reader(stream.clone()));
        let Some(reader) = self.readers.get_mut(stream) else { return };
        reader.suspect = true;
        for (id, command) in waiting {
            if matches!(command, Command::XRead { .. }) {
                self.in_flight.remove(&id);
                reader.asked.take_if(|asked| *asked == id);
            } else {
                self.lanes.push(id, command);
            }
        }
        self.read_on(stream);
    }

    /// Reading has failed: when the link is back, or after a while, the stream's end is asked for again, because the server may be another one.
    ///
    /// `during_read`: it was entries that were asked for.
    pub(super) fn read_failed(&mut self, stream: &ByteString, error: CommandError, during_read: bool) {
        let lane = Lane::Reader(stream.clone());
        let Some(reader) = self.readers.get_mut(stream) else { return };
        reader.next = None;
        reader.ended = false;
        reader.heard_since = None;
        // Once is chance. Twice, the reply may be larger than the server, or something on the way, lets through.
        if during_read
            && matches!(error, CommandError::Lost(_))
            && core::mem::replace(&mut reader.cut_off, true)
        {
            reader.count = (reader.count / 2).max(1);
        }
        if !during_read && matches!(error, CommandError::Unusable(_)) {
            return self.read_unchecked(stream, error);
        }
        let refused = matches!(error, CommandError::Server { .. } | CommandError::Unusable(_));
        if refused && reader.refused.as_ref() != Some(&error) {
            reader.refused = Some(error.clone());
            self.events.push_back(Event::Refused { lane: lane.clone(), error });
        }
        if mutant!(BreakIgnored) && self.readers.get(stream).is_some_and(Reader::located) {
            return self.read_on(stream);
        }
        self.locate(stream);
        self.rest(&lane);
    }

    /// The next entry to look at. Its stream moves on here, whatever comes of the entry: a bad one can't hold up those behind it. Streams take turns,
    /// batch by batch. Whether it is the last one of its batch.
    pub(super) fn next_entry(&mut self) -> Option<(ByteString, Entry, bool)> {
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
                true => self.read_on(&stream),
                false => self.unread.push_front(stream.clone()),
            }
            return Some((stream, entry, last));
        }
        None
    }

    /// How far the node is behind each of its streams.
    pub fn lags(&self) -> impl Iterator<Item = (&ByteString, Lag)> {
        self.readers.iter().map(|(stream, reader)| {
            let waiting = reader.batch.len() + reader.held.len();
            let position = reader.looked_at;
            (stream, Lag { waiting, unread: reader.books.unread(), position })
        })
    }
}
