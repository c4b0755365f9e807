//! The entries that came last, by which a stream is recognized after a break.

use std::collections::VecDeque;

use crate::command::{Entry, Fields};
use crate::id::EntryId;
use crate::wire::entry::SEQUENCE_FIELD;

/// The number of entries that are remembered of a stream, at least and at most. They take 24 bytes
/// each. A stream that is trimmed with `~` keeps some more than it has to.
const REMEMBERED: (u64, u64) = (1_024, 16_384);

/// An entry that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    id: EntryId,
    /// Two masters that live at once may give one id to two entries. The fingerprint tells them
    /// apart.
    fingerprint: u64,
}

impl Mark {
    fn of(entry: &Entry) -> Self {
        Mark { id: entry.id, fingerprint: fingerprint(&entry.fields) }
    }
}

/// The entries of a stream that came last, in order. Anything else between the first and the last
/// of them was not in the stream that was read.
#[derive(Debug)]
pub(super) struct Trail {
    marks: VecDeque<Mark>,
    /// The trail begins behind this id. What was in the stream up to here is not known.
    start: EntryId,
    limit: usize,
}

impl Trail {
    /// Creates a trail of a stream of this length. More than a stream keeps is of no use.
    pub(super) fn new(max_len: u64) -> Self {
        let (least, most) = REMEMBERED;
        Trail::of(usize::try_from(max_len.clamp(least, most)).unwrap_or(usize::MAX))
    }

    fn of(limit: usize) -> Self {
        Trail { marks: VecDeque::new(), start: EntryId::ZERO, limit }
    }

    /// Forgets everything, and begins behind this id.
    pub(super) fn begin(&mut self, start: EntryId) {
        self.marks.clear();
        self.start = start;
    }

    /// Notes an entry that has come.
    #[inline]
    pub(super) fn note(&mut self, entry: &Entry) {
        if self.marks.len() >= self.limit
            && let Some(oldest) = self.marks.pop_front()
        {
            self.start = oldest.id;
        }
        self.marks.push_back(Mark::of(entry));
    }

    /// Returns the id behind which the trail begins.
    pub(super) fn start(&self) -> EntryId {
        self.start
    }

    /// Returns the id of the entry at this place. The oldest entry has the place 0.
    pub(super) fn id(&self, place: usize) -> Option<EntryId> {
        self.marks.get(place).map(|mark| mark.id)
    }

    /// Returns `true` if the last entry has this id.
    pub(super) fn ends_at(&self, id: EntryId) -> bool {
        self.marks.back().is_some_and(|last| last.id == id)
    }

    /// Returns `true` if this is the last entry.
    pub(super) fn ends_with(&self, entry: &Entry) -> bool {
        self.marks.back() == Some(&Mark::of(entry))
    }

    /// Returns the number of entries before this id.
    pub(super) fn count_before(&self, id: EntryId) -> usize {
        self.marks.partition_point(|mark| mark.id < id)
    }

    /// Returns the place of an entry that has come.
    pub(super) fn place(&self, entry: &Entry) -> Option<usize> {
        let place = self.count_before(entry.id);
        (self.marks.get(place) == Some(&Mark::of(entry))).then_some(place)
    }

    /// Forgets the entries behind this id, which are not in the stream any more. Returns their
    /// number.
    pub(super) fn cut_behind(&mut self, id: EntryId) -> usize {
        let kept = self.count_before(id.next());
        let gone = self.marks.len() - kept;
        self.marks.truncate(kept);
        self.start = self.start.min(id);
        gone
    }
}

/// The number of bytes at each end of a value that tell entries apart.
const ENDS: usize = 512;

/// Returns a number that differs between entries. An author and its number tell an entry from all
/// others. Other entries are told by their author, their size, and their data, but for the middle of
/// long data. All servers write the author first, and the number or the data last.
#[inline]
fn fingerprint(fields: &Fields) -> u64 {
    let mut ends = fields.iter();
    let (Some((_, author)), Some((name, last))) = (ends.next(), ends.next_back()) else {
        return fields.iter().fold(0, |sum, (name, value)| fold(fold(sum, name), value));
    };
    let sum = fold(0, author);
    if *name == SEQUENCE_FIELD.as_bytes() {
        return fold(sum, last);
    }
    let sum = sum ^ fields.size() as u64;
    match last.len().checked_sub(ENDS) {
        Some(end) if end > ENDS => fold(fold(sum, &last[..ENDS]), &last[end..]),
        _ => fold(sum, last),
    }
}

/// Adds bytes to a sum. Whoever makes two entries with one sum on purpose needs two masters that
/// live at once, and the right to write to both.
#[inline]
fn fold(sum: u64, bytes: &[u8]) -> u64 {
    // The number is derived from the golden ratio.
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |sum: u64, low: u64, high: u64| {
        let product = u128::from(sum ^ low) * u128::from(GOLDEN ^ high);
        product as u64 ^ (product >> 64) as u64
    };
    let pair = |sum: u64, pair: &[u8; 16]| {
        let pair = u128::from_le_bytes(*pair);
        mix(sum, pair as u64, (pair >> 64) as u64)
    };
    let sum = sum.rotate_left(11) ^ bytes.len() as u64;
    // The last bytes overlap those before them.
    match (bytes.last_chunk::<16>(), bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(last), ..) => {
            let (pairs, rest) = bytes.as_chunks::<16>();
            let sum = pairs.iter().fold(sum, pair);
            if rest.is_empty() { sum } else { pair(sum, last) }
        }
        (_, Some(first), Some(last)) => mix(sum, u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => mix(sum, GOLDEN, bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ms: u64, author: &str, number: Option<u64>, data: &str) -> Entry {
        let pairs = [("uid", author.to_owned()), ("data", data.to_owned())];
        let number = number.map(|number| (SEQUENCE_FIELD, number.to_string()));
        let fields = pairs.into_iter().chain(number);
        Entry { id: EntryId { ms, seq: 0 }, fields: fields.collect() }
    }

    #[test]
    fn entries_with_one_id_are_told_apart() {
        let long = "a".repeat(1_000);
        let other = format!("{}b{}", "a".repeat(500), "a".repeat(499));
        let (longer, late) = ("a".repeat(2_000), format!("{}b{}", "a".repeat(1_600), "a".repeat(399)));
        let entries = [
            entry(1, "ann", Some(1), "x"),
            entry(1, "ann", Some(2), "x"),
            entry(1, "ben", Some(1), "x"),
            entry(1, "ann", None, "x"),
            entry(1, "ann", None, "x\0"),
            entry(1, "emitter", None, &long),
            entry(1, "emitter", None, &other),
            entry(1, "emitter", None, &longer),
            entry(1, "emitter", None, &late),
        ];
        for one in &entries {
            let mut trail = Trail::of(10);
            trail.note(one);
            for other in &entries {
                assert_eq!(trail.ends_with(other), one == other, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_trail_begins_behind_what_it_has_forgotten() {
        let mut trail = Trail::of(3);
        trail.begin(EntryId { ms: 1, seq: 0 });
        let entries: Vec<Entry> = (2..8).map(|ms| entry(ms, "ann", None, "x")).collect();
        entries.iter().for_each(|entry| trail.note(entry));
        assert_eq!((trail.marks.len(), trail.start()), (3, entries[2].id));
        assert_eq!(trail.place(&entries[4]), Some(1));
        assert_eq!(trail.place(&entries[2]), None);
        assert_eq!(trail.cut_behind(entries[4].id), 1);
        assert!(trail.ends_with(&entries[4]));
        assert_eq!(trail.cut_behind(EntryId { ms: 1, seq: 7 }), 2);
        assert_eq!((trail.marks.len(), trail.start()), (0, EntryId { ms: 1, seq: 7 }));
    }
}
