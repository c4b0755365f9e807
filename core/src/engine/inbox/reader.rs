//! How one stream is read: from where, how much at once, and what has come and was not looked at.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytestring::ByteString;

use super::dedup::Dedup;
use super::gaps::{Finding, GapDetector};
use super::hearing::Hearing;
use crate::command::{CommandError, CommandId, Entry};
use crate::engine::timers::{Timer, Timers};
use crate::id::EntryId;
use crate::time::Time;

/// While there is more and more to read, so many times as much is read at once as usual, at most: what a read costs besides its entries is
/// little by then. But not more than [is held at once](entries_at_once).
const GROWTH: u32 = 8;

/// How many entries of this size are asked for at once, at most: about a mebibyte, however large they are, since all of a reply is held in memory.
pub(in crate::engine) fn entries_at_once(size: usize) -> u32 {
    const BYTES: usize = 1 << 20;
    u32::try_from(BYTES / size.max(1)).unwrap_or(u32::MAX).max(1)
}

/// How many bytes these entries have, each, if there are any.
pub(in crate::engine) fn mean_size(entries: &[Entry]) -> Option<usize> {
    entries.iter().map(|entry| entry.fields.size()).sum::<usize>().checked_div(entries.len())
}

/// One stream.
#[derive(Debug)]
pub(super) struct Reader {
    /// The last entry that came. Nothing until the stream's end has been asked for: a `$` would mean another place each time.
    pub(super) cursor: Option<EntryId>,
    /// The last entry that was looked at, or from which reading began.
    pub(super) looked_at: Option<EntryId>,
    /// Entries that have come and have not been looked at.
    pub(super) batch: VecDeque<Entry>,
    /// Entries that have come, before which others may be missing.
    pub(super) held: Vec<Entry>,
    /// How many entries have been looked at.
    pub(super) looked: u64,
    /// Namespaces that were opened while entries waited to be looked at, and how many will have been when the last of these has: they came too
    /// early for these namespaces.
    pub(super) newcomers: BTreeMap<ByteString, u64>,
    /// The same in the order in which they were opened. One that was opened again stands here twice.
    pub(super) newest: VecDeque<(ByteString, u64)>,
    /// How many entries are read at once.
    pub(super) count: u32,
    /// The last read was cut off.
    pub(super) cut_off: bool,
    /// How large entries are, as far as is known: the mean of the last batch that was full.
    pub(super) mean: usize,
    /// The next batch begins with this entry, or something is missing.
    pub(super) next: Option<EntryId>,
    pub(super) gaps: GapDetector,
    /// The last entry that this node knew to be in the stream when the server was asked: one of its own may be ahead of what has come.
    pub(super) known: EntryId,
    /// When the server was asked for its count.
    pub(super) checked: Time,
    /// The link was lost since. The server may be another one.
    pub(super) suspect: bool,
    /// What was delivered of each author.
    pub(super) seen: Dedup,
    /// It has been said that another node bears this one's name.
    pub(super) name_taken: bool,
    /// The command of this stream's that is under way. Whatever else is answered was asked by an earlier reader of the stream.
    pub(super) asked: Option<CommandId>,
    /// When that was.
    pub(super) asked_at: Time,
    /// When it was asked last what is new, if all that there was has come since and only has to be looked at.
    pub(super) heard_since: Option<Time>,
    /// When an entry came last, whoever wrote it: the server took entries shortly before.
    pub(super) came_at: Time,
    /// How long ago all that was said has been looked at.
    pub(super) hearing: Hearing,
    /// The namespaces that live on the stream.
    pub(super) users: BTreeSet<ByteString>,
    /// Whether there was nothing more to read, when the server spoke last.
    pub(super) ended: bool,
    /// Namespaces that judge nobody's silence until what has come is looked at.
    pub(super) overdue: BTreeSet<ByteString>,
    /// The refusal that was reported last. It is over when something was read: that the server may be asked what it counts proves nothing.
    pub(super) refused: Option<CommandError>,
}

impl Reader {
    /// The server has answered. If there was nothing more, silence can be judged once what has come is looked at.
    pub(super) fn is_answered(&mut self) {
        self.heard_since = self.ended.then_some(self.asked_at);
    }

    pub(super) fn new(seen: Dedup, count: u32, now: Time) -> Self {
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
            mean: 0,
            next: None,
            gaps: GapDetector::default(),
            known: EntryId::ZERO,
            checked: now,
            suspect: false,
            seen,
            name_taken: false,
            asked: None,
            asked_at: now,
            heard_since: None,
            came_at: now,
            hearing: Hearing::since(now),
            users: BTreeSet::new(),
            ended: false,
            overdue: BTreeSet::new(),
            refused: None,
        }
    }

    /// Returns `true` if its place in the stream is known.
    pub(super) fn is_located(&self) -> bool {
        self.cursor.is_some()
    }

    /// More is known of who was silent: namespaces that were in doubt look again.
    pub(super) fn judge_again(&mut self, timers: &mut Timers, now: Time) {
        let overdue = core::mem::take(&mut self.overdue);
        overdue.into_iter().for_each(|nsp| timers.arm(Timer::Expiry(nsp), now));
    }

    /// Reads more at once while there is more to read than comes, and less when there is not. `usual` is what is read when there is little.
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

    /// Enters these entries, and lets them be looked at. They stay where they are: an entry is large.
    pub(super) fn accept(&mut self, mut entries: Vec<Entry>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for entry in &entries {
            let before = self.cursor.unwrap_or_default();
            findings.extend(self.gaps.enter(before, entry.id));
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
