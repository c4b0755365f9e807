//! Finds out after a break whether the stream is still the one that was read.
//!
//! While two masters live at once, each gives out ids of its own. A reader that is switched from one
//! to the other has read entries that the other never had, and the other has entries below the
//! reader's place that never came. Trimming removes the oldest entries first. So if a stream begins
//! before the last entry that came and does not have that entry, then its history is another one.
//! The newest entry that has come and that the stream has is searched for by halving: both have the
//! same entries up to there. Reading goes on behind it.
//!
//! Somebody may have deleted the entry by XDEL, or the server may have lost it. Both leave nothing
//! below the reader's place that has not come. Then there is no fork, and the numbers tell what is
//! missing.

use core::time::Duration;

use bytestring::ByteString;

use super::Inbox;
use super::gaps::{Finding, GapDetector};
use super::reader::Reader;
use crate::command::{Command, Entry, StreamInfo};
use crate::engine::context::Context;
use crate::engine::purpose::Purpose;
use crate::event::Lost;
use crate::id::EntryId;

/// The search for the newest entry that two histories have in common.
#[derive(Debug)]
pub(super) struct Search {
    /// The server's answer that gave rise to the search.
    info: StreamInfo,
    /// `true` if the server was asked after a break.
    is_located: bool,
    /// The places in the trail that are in question.
    low: usize,
    high: usize,
    /// The place of the newest entry that is known to be in the stream.
    common: Option<usize>,
    step: Step,
}

/// The next question to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Is the newest of the entries in question there?
    Newest,
    /// Is the entry in the middle of those in question there?
    Middle,
    /// Which entry follows the newest common one?
    Next,
    /// Nothing.
    Done(Verdict),
}

/// The result of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The stream has entries that have not come, below the last one that has come.
    Forked,
    /// It has none. The entries behind the newest common one are gone.
    Shorter,
    /// The server can't tell.
    Unknown,
}

impl Search {
    /// Begins a search if it is in doubt that the last entry that came is in the stream, though the
    /// stream begins before it.
    fn begin(reader: &Reader, info: &StreamInfo, is_located: bool) -> Option<Self> {
        let (cursor, last) = (reader.cursor_if_located()?, info.last_generated_id);
        // Only an entry that came can be looked for: not an id at which the stream ended when this
        // node began to read it.
        let doubtful = (reader.is_absent || last < cursor) && reader.trail.ends_at(cursor);
        if !doubtful || mutant!(ForkIgnored) {
            return None;
        }
        let first = info.first_entry_id.filter(|first| *first <= cursor)?;
        let (low, high) = (reader.trail.count_before(first), reader.trail.count_before(last.next()));
        let mut search = Search { info: *info, is_located, low, high, common: None, step: Step::Newest };
        if low >= high {
            // None of the entries that came can be in the stream. It may end before all that is
            // remembered.
            let none = search.base(reader) == last;
            search.step = if none { Step::Done(Verdict::Forked) } else { Step::Next };
        }
        Some(search)
    }

    /// Returns the place that is asked about.
    fn place(&self) -> usize {
        match self.step {
            Step::Newest => self.high - 1,
            _ => self.low + (self.high - self.low) / 2,
        }
    }

    /// Returns the id behind which reading goes on if the stream is forked. What the trail has
    /// before the places in question is taken to be common.
    fn base(&self, reader: &Reader) -> EntryId {
        let before = self.common.or(self.low.checked_sub(1));
        let base = before.and_then(|place| reader.trail.id(place)).unwrap_or(reader.trail.start());
        base.min(self.info.last_generated_id)
    }

    /// Returns the id behind which the next entry is asked for.
    fn asks_behind(&self, reader: &Reader) -> Option<EntryId> {
        match self.step {
            Step::Newest | Step::Middle => reader.trail.id(self.place()).map(EntryId::before),
            Step::Next => Some(self.base(reader)),
            Step::Done(_) => None,
        }
    }

    /// Handles the first entry of the stream behind the id that was asked for.
    fn found(&mut self, reader: &Reader, entry: Option<&Entry>) {
        let cursor = reader.cursor.unwrap_or_default();
        if self.step == Step::Next {
            let forked = entry.is_some_and(|entry| entry.id <= cursor);
            self.step = Step::Done(if forked { Verdict::Forked } else { Verdict::Shorter });
            return;
        }
        let place = self.place();
        // If the entry itself was deleted, a later one may still show that the histories are one.
        match entry.and_then(|entry| reader.trail.place(entry)) {
            Some(found) if found >= place => {
                self.common = Some(found);
                self.low = found.saturating_add(1);
            }
            _ => self.high = place,
        }
        if self.low < self.high {
            self.step = Step::Middle;
            return;
        }
        let end = self.common.and_then(|place| reader.trail.id(place));
        // Nothing can be behind the stream's last entry. If that is the last one that came, then
        // everything is as it was.
        let nothing = end.is_some_and(|end| end == self.info.last_generated_id || end == cursor);
        self.step = if nothing { Step::Done(Verdict::Shorter) } else { Step::Next };
    }
}

impl Reader {
    /// Handles entries that are held if the stream ends before the last of them: the server has lost
    /// some of them since they came. Returns `true` if there is something to look at now.
    pub(super) fn takes_what_is_ahead_of(&mut self, info: &StreamInfo) -> bool {
        if self.held.last().is_none_or(|held| held.id <= info.last_generated_id) {
            return false;
        }
        if self.is_absent {
            // They may come from another stream than the entries before them, and are not part of
            // this trail then. Those that are still there are read again.
            self.forget_held();
            return false;
        }
        let held = core::mem::take(&mut self.held);
        held.iter().for_each(|entry| self.trail.note(entry));
        self.gaps.came(held.len());
        self.cursor = held.last().map(|entry| entry.id).or(self.cursor);
        self.batch.extend(held);
        true
    }

    /// Begins a search if the stream may be another one.
    pub(super) fn doubts(&mut self, info: &StreamInfo, is_located: bool) {
        self.search = Search::begin(self, info, is_located);
    }

    /// Applies the result of a search. Returns the finding and the id behind which reading goes on
    /// if the stream is forked.
    pub(super) fn settle(&mut self) -> Option<(Finding, EntryId)> {
        let search = self.search.take()?;
        let base = search.base(self);
        let cursor = self.cursor.unwrap_or_default();
        match search.step {
            Step::Done(Verdict::Forked) => {}
            Step::Done(Verdict::Shorter) => {
                self.trail.cut_behind(base);
                return None;
            }
            _ => return None,
        }
        let gone = self.trail.cut_behind(base);
        // If nothing of the trail is in the stream, the histories may part before it begins.
        let lost = search.common.map_or(Lost::Unknown, |_| Lost::Exactly(gone as u64));
        self.forget_held();
        self.cursor = Some(base);
        self.gaps = GapDetector::resume(base, &search.info);
        self.ended = base >= search.info.last_generated_id;
        self.next = search.common.map(|_| base);
        Some((Finding::Rewound { cursor, last: base, lost }, base))
    }

    /// Forgets entries that are held. They are read again.
    fn forget_held(&mut self) {
        self.held.clear();
        // They don't count any more among those that came too early for a namespace.
        let end = self.looked + self.batch.len() as u64;
        self.newcomers.values_mut().for_each(|until| *until = end.min(*until));
        self.newest.iter_mut().for_each(|(_, until)| *until = end.min(*until));
    }
}

impl Inbox {
    /// Returns `true` if it is being found out whether the stream is the one that was read.
    pub(in crate::engine) fn is_searching(&self, stream: &ByteString) -> bool {
        self.readers.get(stream).is_some_and(|reader| reader.search.is_some())
    }

    /// Asks for the next entry that the search needs. Returns the server's answer that gave rise to
    /// the search, and whether it came after a break, if the search is done.
    pub(super) fn search_on(&mut self, cx: &mut Context, stream: &ByteString) -> Option<(StreamInfo, bool)> {
        let reader = self.readers.get(stream)?;
        let search = reader.search.as_ref()?;
        let Some(after) = search.asks_behind(reader) else { return Some((search.info, search.is_located)) };
        // If there is none, that shows at once.
        let block = Duration::from_millis(1);
        let command = Command::XRead { stream: stream.clone(), after, count: 1, block };
        self.ask(cx, stream, command, Purpose::Read(stream.clone()));
        None
    }

    /// Handles the entry that a search has asked for, or that there is none. `Err` means that it
    /// can't be read. The result is that of [`search_on`](Inbox::search_on).
    pub(in crate::engine) fn searched(
        &mut self,
        cx: &mut Context,
        stream: &ByteString,
        entry: Result<Option<&Entry>, ()>,
    ) -> Option<(StreamInfo, bool)> {
        let reader = self.readers.get_mut(stream)?;
        let mut search = reader.search.take()?;
        match entry {
            Ok(entry) => search.found(reader, entry),
            Err(()) => search.step = Step::Done(Verdict::Unknown),
        }
        reader.search = Some(search);
        self.search_on(cx, stream)
    }
}
