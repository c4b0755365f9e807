//! The state of reading one stream: its position, the batch size, and the entries that have come
//! and were not looked at.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytestring::ByteString;

use super::dedup::Dedup;
use super::fork::Search;
use super::gaps::{Finding, GapDetector};
use super::hearing::Hearing;
use super::trail::Trail;
use crate::command::{CommandError, CommandId, Entry};
use crate::engine::batch::{entries_at_once, mean_size};
use crate::engine::timers::{Timer, Timers};
use crate::id::EntryId;
use crate::time::Time;

/// The maximum factor by which the batch size grows while there is more and more to read. At this
/// size the fixed cost of a read is small. The batch size never exceeds the number that [is held at
/// once](entries_at_once).
const GROWTH: u32 = 8;

/// One stream.
#[derive(Debug)]
pub(super) struct Reader {
    /// The last entry that came. It is `None` until the stream's end is known: a `$` would mean
    /// another place each time.
    pub(super) cursor: Option<EntryId>,
    /// The last entry that was looked at, or the one behind which reading began.
    pub(super) looked_at: Option<EntryId>,
    /// The entries that have come and have not been looked at.
    pub(super) batch: VecDeque<Entry>,
    /// The entries that have come but are held, because others may be missing before them.
    pub(super) held: Vec<Entry>,
    /// The number of entries that have been looked at.
    pub(super) looked: u64,
    /// The namespaces that were opened while entries waited to be looked at. These entries came too
    /// early for them. The value is the number of entries that will have been looked at after the
    /// last of these.
    pub(super) newcomers: BTreeMap<ByteString, u64>,
    /// The same namespaces in the order in which they were opened. A namespace that was opened
    /// again is listed twice.
    pub(super) newest: VecDeque<(ByteString, u64)>,
    /// The number of entries that are read at once.
    pub(super) count: u32,
    /// `true` if the last read was cut off.
    pub(super) cut_off: bool,
    /// `true` if the server can't tell its count, and this has been reported.
    pub(super) uncounted: bool,
    /// `true` if the stream's end is not known and the server can't tell it. The reader then reads
    /// through the whole stream to find the end.
    pub(super) seeking: bool,
    /// The mean size of an entry in bytes in the last full batch. It is 0 until there was one.
    pub(super) mean: usize,
    /// The entry that the next batch has to begin with. If it does not, something is missing.
    pub(super) next: Option<EntryId>,
    pub(super) gaps: GapDetector,
    /// The entries that came last.
    pub(super) trail: Trail,
    /// `true` if the last entry that came was not where it should be in the stream.
    pub(super) is_absent: bool,
    /// `true` if the link was lost, or a command failed, since the server last told its count.
    pub(super) broken: bool,
    /// The search for the entries that the stream has in common with the one that was read.
    pub(super) search: Option<Search>,
    /// The last entry that this node knew to be in the stream when the server was asked. An entry
    /// of this node may be ahead of what has come.
    pub(super) known: EntryId,
    /// The time at which the server last told its count.
    pub(super) checked: Time,
    /// `true` if the link was lost since then. The server may be another one.
    pub(super) suspect: bool,
    /// The numbers that were delivered, by author.
    pub(super) seen: Dedup,
    /// `true` if it has been reported that another node bears this node's name.
    pub(super) name_taken: bool,
    /// The command of this reader that is under way. Any other reply belongs to an earlier reader
    /// of the stream.
    pub(super) asked: Option<CommandId>,
    /// The time at which that command was issued.
    pub(super) asked_at: Time,
    /// The time at which a command of this reader was last answered.
    pub(super) answered_at: Time,
    /// The time of the last request for new entries, if everything there was has come since and
    /// only has to be looked at.
    pub(super) heard_since: Option<Time>,
    /// The time at which an entry last came, whoever wrote it. The server took entries shortly
    /// before that.
    pub(super) came_at: Time,
    /// The time up to which everything that was said has been looked at.
    pub(super) hearing: Hearing,
    /// The namespaces that live on the stream.
    pub(super) users: BTreeSet<ByteString>,
    /// `true` if there was nothing more to read when the server last answered.
    pub(super) ended: bool,
    /// The namespaces that judge nobody's silence until everything that has come is looked at.
    pub(super) overdue: BTreeSet<ByteString>,
    /// The refusal that was reported last. It ends when something was read. An answer about the
    /// count does not end it, because it proves nothing.
    pub(super) refused: Option<CommandError>,
}

impl Reader {
    /// Notes that the server has answered. If there was nothing more, silence can be judged once
    /// everything that has come is looked at.
    pub(super) fn is_answered(&mut self) {
        self.heard_since = self.ended.then_some(self.asked_at);
    }

    pub(super) fn new(seen: Dedup, trail: Trail, count: u32, now: Time) -> Self {
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
            uncounted: false,
            seeking: false,
            mean: 0,
            next: None,
            gaps: GapDetector::default(),
            trail,
            is_absent: false,
            broken: false,
            search: None,
            known: EntryId::ZERO,
            checked: now,
            suspect: false,
            seen,
            name_taken: false,
            asked: None,
            asked_at: now,
            answered_at: now,
            heard_since: None,
            came_at: now,
            hearing: Hearing::since(now),
            users: BTreeSet::new(),
            ended: false,
            overdue: BTreeSet::new(),
            refused: None,
        }
    }

    /// Returns the last entry that came, once the stream's end is known.
    #[inline]
    pub(super) fn cursor_if_located(&self) -> Option<EntryId> {
        self.cursor.filter(|_| !self.seeking)
    }

    /// Notes that a namespace was opened. Entries that wait to be looked at came too early for it.
    pub(super) fn has_newcomer(&mut self, nsp: &ByteString) {
        let waiting = (self.batch.len() + self.held.len()) as u64;
        if waiting > 0 {
            self.newcomers.insert(nsp.clone(), self.looked + waiting);
            self.newest.push_back((nsp.clone(), self.looked + waiting));
        }
    }

    /// Makes the namespaces that were in doubt look again, because more is known about silent
    /// nodes.
    pub(super) fn judge_again(&mut self, timers: &mut Timers, now: Time) {
        let overdue = core::mem::take(&mut self.overdue);
        overdue.into_iter().for_each(|nsp| timers.arm(Timer::Expiry(nsp), now));
    }

    /// Adapts the number of entries that are read at once. It grows while batches are full and
    /// shrinks when they are small. `usual` is the number for a stream with little to read.
    pub(super) fn adapt(&mut self, batch: &[Entry], full: bool, usual: u32) {
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

    /// Enters these entries and lets them be looked at. They are not copied if the batch is empty,
    /// because an entry is large.
    pub(super) fn accept(&mut self, mut entries: Vec<Entry>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for entry in &entries {
            let before = self.cursor.unwrap_or_default();
            findings.extend(self.gaps.enter(before, entry.id));
            self.cursor = Some(entry.id);
            self.trail.note(entry);
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
