//! Whether every entry of a stream has come: the entries that came, against those that the server has counted.
//!
//! Trimming leaves no trace in what is read. But Redis counts how many entries were ever added to a stream (from 7.0 on), so each entry has a
//! number: the last one's is that count, the first one's is less by the stream's length. Before 7.0 it is only seen that something is missing.

use crate::command::{Entry, StreamInfo};
use crate::event::Lost;
use crate::id::EntryId;

/// What the books have shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Entries between these two were trimmed before they were read.
    Gap { after: EntryId, until: EntryId, lost: Lost },
    /// The server has lost entries that had been read.
    Rewound { cursor: EntryId, last: EntryId, lost: Lost },
}

/// The number of an entry, as the server counts.
#[derive(Clone, Copy, Debug)]
struct Mark {
    id: EntryId,
    number: u64,
}

#[derive(Debug, Default)]
pub(super) struct Books {
    /// The number of the last entry that came, if it is known.
    number: Option<u64>,
    /// What is to be compared when this entry has come.
    due: Option<Mark>,
    /// Up to here all is accounted for.
    clear: EntryId,
    /// A gap that is certain, while its size is not.
    hole: Option<(EntryId, EntryId)>,
    /// How many entries there were when the server was asked last.
    added: Option<u64>,
}

impl Books {
    /// Books that begin at a stream's end.
    pub(super) fn open(info: &StreamInfo) -> Self {
        let added = info.entries_added;
        Books { number: added, clear: info.last_generated_id, added, ..Books::default() }
    }

    /// Where a gap ends that is certain, while its size is not.
    pub(super) fn hole(&self) -> Option<EntryId> {
        self.hole.map(|(_, until)| until)
    }

    /// How many entries of the stream have not come, when the server was asked last.
    pub(super) fn unread(&self) -> Option<u64> {
        Some(self.added?.saturating_sub(self.number?))
    }

    /// An entry has come.
    pub(super) fn enter(&mut self, before: EntryId, entry: EntryId) -> Option<Finding> {
        // The entry in question is gone: what came before this one is all there was.
        let finding = match self.due {
            Some(due) if due.id < entry => self.compare(before, entry),
            _ => None,
        };
        // The server's word: it may be any number.
        self.number = self.number.map(|number| number.saturating_add(1));
        match self.due {
            Some(due) if due.id == entry => finding.or(self.compare(entry, entry)),
            _ => finding,
        }
    }

    /// What comes behind the cursor can't be read, up to `next`: one entry, or some.
    pub(super) fn pass_over(&mut self, cursor: EntryId, next: EntryId, alone: bool) -> Finding {
        // Unless it is one, how many there were shows when it is counted again.
        self.number = self.number.filter(|_| alone).map(|number| number.saturating_add(1));
        self.due = None;
        self.clear = next;
        let after = self.hole.take().map_or(cursor, |(after, _)| after);
        Finding::Gap { after, until: next, lost: if alone { Lost::Exactly(1) } else { Lost::Unknown } }
    }

    /// Everything up to the entry in question has come, as far as it will: `cursor` last, and `until` is what comes next if that entry is gone.
    fn compare(&mut self, cursor: EntryId, until: EntryId) -> Option<Finding> {
        let due = self.due.take()?;
        let number = self.number.replace(due.number);
        let clear = core::mem::replace(&mut self.clear, cursor);
        let hole = self.hole.take();
        let missing = i128::from(due.number) - i128::from(number?);
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

    /// Compares with what the server says. `cursor` is the last entry that came; `held`, those that have come behind it and are not entered yet,
    /// in which case something may be missing between. If the server's last entry is behind them, they are not to be entered.
    pub(super) fn check(&mut self, cursor: EntryId, held: &[Entry], info: &StreamInfo) -> Option<Finding> {
        let StreamInfo { last_generated_id: last, entries_added, .. } = *info;
        self.added = entries_added;
        // What was counted before the server lost entries does not count any more.
        if self.due.is_some_and(|due| last < due.id || entries_added.is_some_and(|added| added < due.number))
        {
            self.due = None;
        }
        let end = held.last().map_or(cursor, |entry| entry.id);
        if last < end {
            let had = self.number.map(|number| number.saturating_add(held.len() as u64));
            let lost = had.zip(entries_added).map(|(had, added)| had.saturating_sub(added));
            *self = Books::open(info);
            return Some(Finding::Rewound {
                cursor: end,
                last,
                lost: lost.map_or(Lost::Unknown, Lost::Exactly),
            });
        }
        let finding = match info.first_entry_id {
            // Trimming takes the oldest: what is behind the cursor is all there.
            Some(first) if first <= cursor => None,
            _ if cursor == last => None,
            first => self.trimmed(cursor, held, info, first),
        };
        // A gap of unknown size may reach beyond what was to be compared.
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

    /// The cursor's entry, and perhaps some behind it, have been trimmed.
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
                // What was to be compared lies before all this, and an earlier gap is part of it.
                self.due = None;
                let after = self.hole.take().map_or(cursor, |(after, _)| after);
                Some(Finding::Gap {
                    after,
                    until,
                    lost: Lost::Exactly(before - number + u64::from(mutant!(GapOffByOne))),
                })
            }
            // None is missing; or fewer were added than had come, which shows when all has come.
            Some(_) => None,
            None => {
                let after = self.hole.map_or(cursor, |(after, _)| after);
                // More may have been trimmed since the entries came that are held.
                self.hole = Some((after, until.max(first.unwrap_or(last))));
                None
            }
        }
    }

    /// The number of the entry before the next one to be entered, as far as it can be told.
    fn number_before(
        &self,
        held: &[Entry],
        info: &StreamInfo,
        first: Option<EntryId>,
        added: u64,
    ) -> Option<u64> {
        // Where entries were deleted one by one, the length says nothing.
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

    /// A stream whose entries are numbered as they are named, of which those from `first` on are left.
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
        let mut books = Books::open(&info(1, 10));
        assert_eq!(books.check(id(10), &[], &info(1, 20)), None);
        for entry in 11..=15 {
            assert_eq!(books.enter(id(entry - 1), id(entry)), None);
        }
        let gap = books.check(id(15), &held(&[30, 31]), &info(30, 40));
        assert_eq!(gap, Some(Finding::Gap { after: id(15), until: id(30), lost: Lost::Exactly(14) }));
        assert_eq!(books.enter(id(15), id(30)), None, "the server has lost nothing");
    }

    #[test]
    fn a_gap_behind_what_is_held_lies_where_it_is_said_to() {
        let mut books = Books::open(&info(1, 10));
        assert_eq!(books.check(id(10), &held(&[11]), &info(15, 20)), None, "its size is not known yet");
        assert_eq!(books.enter(id(10), id(11)), None);
        assert_eq!(books.enter(id(11), id(15)), None);
        let findings: Vec<Finding> =
            (16..=20).filter_map(|entry| books.enter(id(entry - 1), id(entry))).collect();
        assert_eq!(findings, [Finding::Gap { after: id(10), until: id(15), lost: Lost::Exactly(3) }]);
    }

    #[test]
    fn a_gap_at_the_end_of_what_was_counted_reaches_to_what_comes_next() {
        let mut books = Books::open(&info(1, 10));
        assert_eq!(books.check(id(10), &[], &info(1, 20)), None);
        for entry in 11..=13 {
            assert_eq!(books.enter(id(entry - 1), id(entry)), None);
        }
        // All the others were trimmed by hand.
        let gap = books.enter(id(13), id(30));
        assert_eq!(gap, Some(Finding::Gap { after: id(10), until: id(30), lost: Lost::Exactly(7) }));
    }

    #[test]
    fn an_earlier_gap_is_part_of_the_next_one() {
        let mut books = Books::open(&info(1, 10));
        assert_eq!(books.check(id(10), &held(&[11]), &info(15, 20)), None);
        assert_eq!(books.enter(id(10), id(11)), None);
        assert_eq!(books.enter(id(11), id(15)), None);
        let gap = books.check(id(15), &held(&[30]), &info(30, 40));
        assert_eq!(gap, Some(Finding::Gap { after: id(10), until: id(30), lost: Lost::Exactly(17) }));
    }

    #[test]
    fn what_was_counted_before_a_loss_is_not_compared_any_more() {
        let mut books = Books::open(&info(1, 5));
        assert_eq!(books.check(id(5), &[], &info(1, 20)), None);
        // The server comes back with seven entries: nothing of what had been read is lost.
        assert_eq!(books.check(id(5), &[], &info(1, 7)), None);
        for (before, entry) in [(5, 6), (6, 7), (7, 30)] {
            assert_eq!(books.enter(id(before), id(entry)), None);
        }
    }
}
