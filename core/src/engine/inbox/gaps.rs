//! Detects missing entries of a stream by comparing the entries that came with the server's count.
//!
//! Trimming leaves no trace in what is read. But from version 7.0 on, Redis counts the entries that
//! were ever added to a stream, so each entry has a number. The last entry's number is that count.
//! The number just before the first entry is the count less the stream's length. Before 7.0, this
//! module can only tell that something is missing.

use crate::command::{Entry, StreamInfo};
use crate::event::Lost;
use crate::id::EntryId;

/// A result of comparing the numbers.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine) enum Finding {
    /// Entries between these two were trimmed before they were read.
    Gap { after: EntryId, until: EntryId, lost: Lost },
    /// The server has lost entries that had been read.
    Rewound { cursor: EntryId, last: EntryId, lost: Lost },
}

/// An entry, and its number in the server's count.
#[derive(Clone, Copy, Debug)]
struct Mark {
    id: EntryId,
    number: u64,
}

#[derive(Debug, Default)]
pub(super) struct GapDetector {
    /// The number of the last entry that came, if it is known.
    number: Option<u64>,
    /// The mark that is compared once its entry has come.
    due: Option<Mark>,
    /// Everything up to this entry is accounted for.
    clear: EntryId,
    /// A gap that is certain, but whose size is not known yet.
    hole: Option<(EntryId, EntryId)>,
    /// The server's count of added entries when it was last asked.
    added: Option<u64>,
}

impl GapDetector {
    /// Creates a detector that begins at a stream's end.
    pub(super) fn open(info: &StreamInfo) -> Self {
        let added = info.entries_added;
        GapDetector { number: added, clear: info.last_generated_id, added, ..GapDetector::default() }
    }

    /// Creates a detector that begins behind an entry whose number is not known. The number of a
    /// later entry is known when everything up to the stream's end has come.
    pub(super) fn resume(base: EntryId, info: &StreamInfo) -> Self {
        let (id, added) = (info.last_generated_id, info.entries_added);
        let due = added.map(|number| Mark { id, number });
        GapDetector { due, clear: base, added, ..GapDetector::default() }
    }

    /// Returns the end of a gap that is certain, but whose size is not known yet.
    pub(super) fn hole(&self) -> Option<EntryId> {
        self.hole.map(|(_, until)| until)
    }

    /// Returns the number of entries that had not come when the server was last asked.
    pub(super) fn unread(&self) -> Option<u64> {
        Some(self.added?.saturating_sub(self.number?))
    }

    /// Notes that entries have come that the server has lost since.
    pub(super) fn came(&mut self, entries: usize) {
        self.number = self.number.map(|number| number.saturating_add(entries as u64));
    }

    /// Notes that an entry has come.
    pub(super) fn enter(&mut self, before: EntryId, entry: EntryId) -> Option<Finding> {
        // The entry of the mark is gone, so nothing more comes before this entry.
        let finding = match self.due {
            Some(due) if due.id < entry => self.compare(before, entry),
            _ => None,
        };
        // The number is the server's and may be anything.
        self.number = self.number.map(|number| number.saturating_add(1));
        match self.due {
            Some(due) if due.id == entry => finding.or(self.compare(entry, entry)),
            _ => finding,
        }
    }

    /// Notes that the entries behind the cursor, up to `next`, can't be read. `alone` is `true` if
    /// this is exactly one entry.
    pub(super) fn pass_over(&mut self, cursor: EntryId, next: EntryId, alone: bool) -> Finding {
        // If it may be more than one, the next comparison finds the number again.
        self.number = self.number.filter(|_| alone).map(|number| number.saturating_add(1));
        self.due = None;
        self.clear = next;
        let after = self.hole.take().map_or(cursor, |(after, _)| after);
        Finding::Gap { after, until: next, lost: if alone { Lost::Exactly(1) } else { Lost::Unknown } }
    }

    /// Compares the numbers once everything up to the mark's entry has come, as far as it will.
    /// `cursor` is the last entry that came. `until` is the next entry if the mark's entry is gone.
    fn compare(&mut self, cursor: EntryId, until: EntryId) -> Option<Finding> {
        let due = self.due.take()?;
        let number = self.number.replace(due.number);
        let clear = core::mem::replace(&mut self.clear, cursor);
        let hole = self.hole.take();
        let Some(number) = number else {
            return hole.map(|(after, until)| Finding::Gap { after, until, lost: Lost::Unknown });
        };
        let missing = i128::from(due.number) - i128::from(number);
        let many = Lost::Exactly(u64::try_from(missing.unsigned_abs()).unwrap_or(u64::MAX));
        match missing {
            0 => None,
            1.. => {
                let (after, until) = hole.unwrap_or((clear, until));
                Some(Finding::Gap { after, until, lost: many })
            }
            _ => Some(Finding::Rewound { cursor, last: due.id, lost: many }),
        }
    }

    /// Compares with the server's answer. `cursor` is the last entry that came. `held` has the
    /// entries that have come behind it and are not entered yet; others may be missing in between.
    /// The server still has the last of them.
    pub(super) fn check(&mut self, cursor: EntryId, held: &[Entry], info: &StreamInfo) -> Option<Finding> {
        let StreamInfo { last_generated_id: last, entries_added, .. } = *info;
        self.added = entries_added;
        // A mark from before the server lost entries does not count any more.
        if self.due.is_some_and(|due| last < due.id || entries_added.is_some_and(|added| added < due.number))
        {
            self.due = None;
        }
        if last < cursor {
            let lost = self.number.zip(entries_added).map(|(had, added)| had.saturating_sub(added));
            *self = GapDetector::open(info);
            return Some(Finding::Rewound { cursor, last, lost: lost.map_or(Lost::Unknown, Lost::Exactly) });
        }
        let finding = match info.first_entry_id {
            // Trimming removes the oldest entries first, so everything behind the cursor is there.
            Some(first) if first <= cursor => None,
            _ if cursor == last => None,
            first => self.trimmed(cursor, held, info, first),
        };
        // A gap of unknown size may reach beyond the mark.
        if let Some(number) = entries_added
            && (self.due.is_none() || self.hole.is_some())
        {
            self.due = Some(Mark { id: last, number });
            if cursor == last {
                return finding.or(self.compare(cursor, cursor));
            }
        }
        finding
    }

    /// Returns the gap behind `end`, the last of the entries that were held, if that entry has been
    /// trimmed and the server does not count. What follows it may have been trimmed, too. If the
    /// server counts, the numbers show this when the next entry comes.
    pub(super) fn behind(&mut self, end: EntryId, info: &StreamInfo) -> Option<Finding> {
        let until = info.first_entry_id.unwrap_or(info.last_generated_id);
        let trimmed = info.entries_added.is_none() && until > end && !mutant!(GapBehindHeldSilent);
        trimmed.then(|| {
            self.clear = until;
            Finding::Gap { after: end, until, lost: Lost::Unknown }
        })
    }

    /// Handles a check when the cursor's entry, and perhaps some behind it, have been trimmed.
    fn trimmed(
        &mut self,
        cursor: EntryId,
        held: &[Entry],
        info: &StreamInfo,
        first: Option<EntryId>,
    ) -> Option<Finding> {
        let last = info.last_generated_id;
        let until = held.first().map(|entry| entry.id).or(first).unwrap_or(last);
        let Some(added) = info.entries_added else {
            self.clear = until;
            return Some(Finding::Gap { after: cursor, until, lost: Lost::Unknown });
        };
        match self.number.zip(self.number_before(held, info, first, added)) {
            Some((number, before)) if before > number => {
                self.number = Some(before);
                self.clear = until;
                // The mark lies before this gap, and an earlier gap is part of it.
                self.due = None;
                let after = self.hole.take().map_or(cursor, |(after, _)| after);
                Some(Finding::Gap {
                    after,
                    until,
                    lost: Lost::Exactly(before - number + u64::from(mutant!(GapOffByOne))),
                })
            }
            // Either nothing is missing, or fewer entries were added than had come. The latter
            // shows when everything has come.
            Some(_) => None,
            None => {
                let after = self.hole.map_or(cursor, |(after, _)| after);
                // More may have been trimmed since the held entries came.
                self.hole = Some((after, until.max(first.unwrap_or(last))));
                None
            }
        }
    }

    /// Returns the number of the entry before the next one to be entered, if it can be told.
    fn number_before(
        &self,
        held: &[Entry],
        info: &StreamInfo,
        first: Option<EntryId>,
        added: u64,
    ) -> Option<u64> {
        // If entries were deleted one by one, the length says nothing.
        let whole = info.max_deleted_entry_id.is_none_or(|id| id == EntryId::ZERO);
        let before_first = whole.then(|| added.saturating_sub(info.length));
        let Some(newest) = held.last() else { return before_first };
        if newest.id == info.last_generated_id {
            return added.checked_sub(held.len() as u64);
        }
        let place = held.iter().position(|entry| Some(entry.id) == first)?;
        before_first?.checked_sub(place as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Fields;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    /// Returns the information about a stream whose ids equal the entries' numbers, and which has
    /// the entries from `first` on.
    fn info(first: u64, last: u64) -> StreamInfo {
        StreamInfo {
            length: last + 1 - first,
            last_generated_id: id(last),
            entries_added: Some(last),
            max_deleted_entry_id: Some(EntryId::ZERO),
            first_entry_id: Some(id(first)),
        }
    }

    fn held(ids: &[u64]) -> Vec<Entry> {
        ids.iter().map(|ms| Entry { id: id(*ms), fields: Fields::new() }).collect()
    }

    #[test]
    fn a_gap_beyond_what_was_to_be_compared_is_counted_once() {
        let mut detector = GapDetector::open(&info(1, 10));
        assert_eq!(detector.check(id(10), &[], &info(1, 20)), None);
        for entry in 11..=15 {
            assert_eq!(detector.enter(id(entry - 1), id(entry)), None);
        }
        let gap = detector.check(id(15), &held(&[30, 31]), &info(30, 40));
        assert_eq!(gap, Some(Finding::Gap { after: id(15), until: id(30), lost: Lost::Exactly(14) }));
        assert_eq!(detector.enter(id(15), id(30)), None, "the server has lost nothing");
    }

    #[test]
    fn a_gap_behind_what_is_held_lies_where_it_is_said_to() {
        let mut detector = GapDetector::open(&info(1, 10));
        assert_eq!(detector.check(id(10), &held(&[11]), &info(15, 20)), None, "its size is not known yet");
        assert_eq!(detector.enter(id(10), id(11)), None);
        assert_eq!(detector.enter(id(11), id(15)), None);
        let findings: Vec<Finding> =
            (16..=20).filter_map(|entry| detector.enter(id(entry - 1), id(entry))).collect();
        assert_eq!(findings, [Finding::Gap { after: id(10), until: id(15), lost: Lost::Exactly(3) }]);
    }

    #[test]
    fn a_gap_at_the_end_of_what_was_counted_reaches_to_what_comes_next() {
        let mut detector = GapDetector::open(&info(1, 10));
        assert_eq!(detector.check(id(10), &[], &info(1, 20)), None);
        for entry in 11..=13 {
            assert_eq!(detector.enter(id(entry - 1), id(entry)), None);
        }
        // All the others were trimmed by hand.
        let gap = detector.enter(id(13), id(30));
        assert_eq!(gap, Some(Finding::Gap { after: id(10), until: id(30), lost: Lost::Exactly(7) }));
    }

    #[test]
    fn an_earlier_gap_is_part_of_the_next_one() {
        let mut detector = GapDetector::open(&info(1, 10));
        assert_eq!(detector.check(id(10), &held(&[11]), &info(15, 20)), None);
        assert_eq!(detector.enter(id(10), id(11)), None);
        assert_eq!(detector.enter(id(11), id(15)), None);
        let gap = detector.check(id(15), &held(&[30]), &info(30, 40));
        assert_eq!(gap, Some(Finding::Gap { after: id(10), until: id(30), lost: Lost::Exactly(17) }));
    }

    #[test]
    fn what_was_counted_before_a_loss_is_not_compared_any_more() {
        let mut detector = GapDetector::open(&info(1, 5));
        assert_eq!(detector.check(id(5), &[], &info(1, 20)), None);
        // The server comes back with seven entries. Nothing that had been read is lost.
        assert_eq!(detector.check(id(5), &[], &info(1, 7)), None);
        for (before, entry) in [(5, 6), (6, 7), (7, 30)] {
            assert_eq!(detector.enter(id(before), id(entry)), None);
        }
    }
}
