//! The place in a stream up to which it was read, and the entries that were trimmed before they
//! were.

use sio_streams_driver::sio_streams_core::{Entry, EntryId, StreamInfo};

/// The place up to which a stream was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The last entry that was read, or the id behind which reading started.
    pub(crate) after: EntryId,
    /// The number of entries that were added to the stream up to there, if it is known.
    added: Option<u64>,
    /// Something was read, or the place was the end of the stream at some time. Without that, what
    /// is missing was trimmed before the reading began.
    begun: bool,
}

/// Entries that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// The stream begins behind the place where reading was to start.
    BeginsLater,
    /// This many entries were trimmed before they were read. `None` stands for an unknown number,
    /// which may be 0.
    Missed(Option<u64>),
}

impl Place {
    /// Starts behind an id.
    pub(crate) fn behind(after: EntryId) -> Self {
        Place { after, added: None, begun: false }
    }

    /// Starts at the end of the stream.
    pub(crate) fn end_of(info: Option<&StreamInfo>) -> Self {
        let info = info.copied().unwrap_or_default();
        Place { after: info.last_generated_id, added: info.entries_added, begun: true }
    }

    /// Returns `true` if the stream ends before this place: it was deleted, or replaced by an older
    /// one.
    pub(crate) fn is_ahead_of(&self, info: Option<&StreamInfo>) -> bool {
        self.begun && info.map_or(EntryId::ZERO, |info| info.last_generated_id) < self.after
    }

    /// Goes to the beginning of the stream.
    pub(crate) fn restart(&mut self) {
        *self = Place { after: EntryId::ZERO, added: Some(0), begun: true };
    }

    /// Goes behind these entries. `info` is the state of the stream after they were read. Returns
    /// what is missing before them.
    pub(crate) fn advance(&mut self, entries: &[Entry], info: Option<&StreamInfo>) -> Option<Gap> {
        let last = entries.last()?;
        let before = *self;
        *self = Place {
            after: last.id,
            added: self.added.map(|added| added + entries.len() as u64),
            begun: true,
        };
        let info = info?;
        // XDEL makes the number of trimmed entries unknown.
        let intact = info.max_deleted_entry_id.is_none_or(|id| id == EntryId::ZERO);
        let trimmed = info.entries_added.filter(|_| intact).and_then(|all| all.checked_sub(info.length));
        // The number of entries that were added before the first of these.
        let preceding = match info.first_entry_id {
            Some(first) => {
                let at = entries.iter().position(|entry| entry.id == first);
                at.and_then(|at| trimmed?.checked_sub(at as u64))
            }
            None => None,
        };
        if let Some(preceding) = preceding {
            self.added = Some(preceding + entries.len() as u64);
        }
        if info.last_generated_id == last.id {
            self.added = info.entries_added;
        }
        let kept = info.first_entry_id.is_some_and(|first| first <= before.after);
        if kept || trimmed == Some(0) {
            return None;
        }
        if !before.begun {
            return Some(Gap::BeginsLater);
        }
        let missed = match (preceding, before.added.filter(|_| trimmed.is_some())) {
            (Some(preceding), Some(added)) => Some(preceding.saturating_sub(added)),
            // Even the last of these is trimmed by now. The next ones tell how many are missing: the
            // count of what was added goes on.
            (None, Some(_)) => return None,
            _ => None,
        };
        if missed == Some(0) { None } else { Some(Gap::Missed(missed)) }
    }
}

#[cfg(test)]
mod tests {
    use sio_streams_driver::sio_streams_core::Fields;

    use super::*;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    fn entries(ids: core::ops::RangeInclusive<u64>) -> Vec<Entry> {
        ids.map(|ms| Entry { id: id(ms), fields: Fields::new() }).collect()
    }

    /// The state of a stream with these entries, of which each has its own number for an id.
    fn holds(first: u64, last: u64) -> StreamInfo {
        StreamInfo {
            length: last - first + 1,
            last_generated_id: id(last),
            entries_added: Some(last),
            max_deleted_entry_id: Some(EntryId::ZERO),
            first_entry_id: Some(id(first)),
        }
    }

    #[test]
    fn nothing_is_missing_while_the_stream_is_read_in_time() {
        let mut place = Place::end_of(Some(&holds(1, 10)));
        assert_eq!(place.advance(&entries(11..=12), Some(&holds(1, 12))), None);
        // Everything up to here is trimmed, but nothing behind it.
        assert_eq!(place.advance(&entries(13..=15), Some(&holds(13, 15))), None);
        assert_eq!(place.advance(&entries(16..=16), Some(&holds(16, 16))), None);
        assert_eq!(place.after, id(16));
    }

    #[test]
    fn trimmed_entries_are_counted() {
        let mut place = Place::end_of(Some(&holds(1, 10)));
        let gap = place.advance(&entries(21..=25), Some(&holds(21, 30)));
        assert_eq!(gap, Some(Gap::Missed(Some(10))));
        assert_eq!(place.advance(&entries(26..=30), Some(&holds(24, 30))), None);
        // The trimming has gone on since the entries were read.
        let gap = place.advance(&entries(41..=50), Some(&holds(45, 60)));
        assert_eq!(gap, Some(Gap::Missed(Some(10))));
        // It has even overtaken them: what is missing is known with the next ones.
        assert_eq!(place.advance(&entries(56..=57), Some(&holds(61, 70))), None);
        let gap = place.advance(&entries(66..=70), Some(&holds(66, 70)));
        assert_eq!(gap, Some(Gap::Missed(Some(13))));
    }

    #[test]
    fn an_unknown_number_is_not_guessed() {
        let mut place = Place::end_of(Some(&holds(1, 10)));
        let info = StreamInfo { max_deleted_entry_id: Some(id(12)), ..holds(21, 30) };
        assert_eq!(place.advance(&entries(21..=30), Some(&info)), Some(Gap::Missed(None)));
        let mut place = Place::end_of(Some(&StreamInfo { entries_added: None, ..holds(1, 10) }));
        let info = StreamInfo { entries_added: None, max_deleted_entry_id: None, ..holds(21, 30) };
        assert_eq!(place.advance(&entries(21..=30), Some(&info)), Some(Gap::Missed(None)));
    }

    #[test]
    fn a_stream_that_begins_later_is_told_from_one_that_was_never_longer() {
        let mut place = Place::behind(EntryId::ZERO);
        assert_eq!(place.advance(&entries(1..=5), Some(&holds(1, 9))), None);
        let mut place = Place::behind(EntryId::ZERO);
        assert_eq!(place.advance(&entries(4..=5), Some(&holds(4, 9))), Some(Gap::BeginsLater));
        let mut place = Place::behind(id(5));
        assert_eq!(place.advance(&entries(6..=7), Some(&holds(4, 9))), None);
    }

    #[test]
    fn a_stream_that_went_back_is_noticed() {
        let mut place = Place::end_of(Some(&holds(1, 10)));
        assert!(!place.is_ahead_of(Some(&holds(1, 10))));
        assert!(place.is_ahead_of(Some(&holds(1, 9))) && place.is_ahead_of(None));
        place.restart();
        assert!(!place.is_ahead_of(None));
        // A time that is still to come is no place that the stream has reached.
        assert!(!Place::behind(id(100)).is_ahead_of(Some(&holds(1, 9))));
    }
}
