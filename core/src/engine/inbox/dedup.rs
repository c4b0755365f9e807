//! The entries that have been delivered already.

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::hash::Keyed;
use crate::id::NodeId;
use crate::wire::entry::NEAR;

/// The number of runs of an author that are remembered.
const RUNS: usize = 4;

/// A range of numbers of one author that continue each other.
#[derive(Clone, Copy, Debug)]
struct Run {
    low: u64,
    high: u64,
    /// The number of entries that make up this run.
    entries: u64,
}

/// The numbers of one author. An author that nobody impersonates has one run, however long it
/// writes.
///
/// A number is only a claim. A number that is far from those seen of its author begins a run of its
/// own. It is delivered, and the author's later entries continue the earlier run. So a forged
/// number harms only entries whose numbers are near it. The run with the fewest entries makes room
/// for a new one: to make others forget an author's run, one has to write more entries than that.
#[derive(Debug, Default)]
struct Runs(SmallVec<[Run; 1]>);

impl Runs {
    /// Notes the number. Returns `true` if it is new.
    fn is_new(&mut self, number: u64) -> bool {
        let continues =
            |run: &Run| number > run.high && (number - run.high <= NEAR || mutant!(NumbersBelieved));
        // It is nearly always the first run.
        if let Some(run) = self.0.first_mut()
            && continues(run)
        {
            run.extend_to(number);
            return true;
        }
        if let Some(at) = self.0.iter().position(continues) {
            self.0[at].extend_to(number);
            self.0[..=at].rotate_right(1);
            return true;
        }
        // Entries with numbers just below a run were written before this node began to read.
        let low = |run: &Run| if mutant!(NumbersBelieved) { 0 } else { run.low.saturating_sub(NEAR) };
        let has = |run: &Run| low(run) <= number && number <= run.high;
        if let Some(at) = self.0.iter().position(has) {
            self.0[..=at].rotate_right(1);
            return false;
        }
        if self.0.len() >= RUNS
            && let Some(at) = self.slightest()
        {
            self.0.remove(at);
        }
        self.0.insert(0, Run { low: number, high: number, entries: 1 });
        true
    }

    /// Returns the place of the run with the fewest entries, and of several the youngest: whoever
    /// forges many numbers that are far from each other takes the room of one run.
    fn slightest(&self) -> Option<usize> {
        let runs = self.0.iter().enumerate();
        runs.min_by_key(|(_, run)| run.entries).map(|(at, _)| at)
    }
}

impl Run {
    fn extend_to(&mut self, number: u64) {
        self.high = number;
        self.entries += 1;
    }
}

/// The numbers of each author of a stream, for as many authors as there may be nodes.
///
/// There are two tables. The older one is dropped when the younger one is full. So an author is
/// remembered until too many others have written since, and this costs nothing per entry.
#[derive(Debug)]
pub(super) struct Dedup {
    young: Table,
    old: Table,
    /// The maximum number of authors in each table.
    limit: usize,
    /// The index in the younger table of the author that wrote last. It is often the next author,
    /// too.
    latest: usize,
}

/// The authors, and the numbers of each.
#[derive(Debug)]
struct Table {
    places: HashMap<NodeId, usize, Keyed>,
    runs: Vec<(NodeId, Runs)>,
}

impl Table {
    fn new(hash: Keyed) -> Self {
        Table { places: HashMap::with_hasher(hash), runs: Vec::new() }
    }
}

impl Dedup {
    pub(super) fn new(limit: usize, hash: Keyed) -> Self {
        Dedup { young: Table::new(hash), old: Table::new(hash), limit, latest: 0 }
    }

    /// Notes the number. Returns `true` if it is a new number of its author.
    #[inline]
    pub(super) fn is_new(&mut self, author: &NodeId, number: u64) -> bool {
        let is_latest = self.young.runs.get(self.latest).is_some_and(|(name, _)| name == author);
        let place = if is_latest { Some(self.latest) } else { self.young.places.get(author).copied() };
        if let Some(place) = place
            && let Some((_, runs)) = self.young.runs.get_mut(place)
        {
            self.latest = place;
            return runs.is_new(number);
        }
        let place = self.old.places.remove(author);
        let before = place.and_then(|place| self.old.runs.get_mut(place));
        let mut runs = before.map(|(_, runs)| core::mem::take(runs)).unwrap_or_default();
        if self.young.runs.len() >= self.limit {
            let hash = *self.young.places.hasher();
            self.old = core::mem::replace(&mut self.young, Table::new(hash));
        }
        self.latest = self.young.runs.len();
        let author = author.owned();
        self.young.places.insert(author.clone(), self.latest);
        let new = runs.is_new(number);
        self.young.runs.push((author, runs));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name.to_owned())
    }

    fn news(seen: &mut Dedup, author: &str, numbers: &[u64]) -> Vec<bool> {
        numbers.iter().map(|number| seen.is_new(&node(author), *number)).collect()
    }

    #[test]
    fn a_number_counts_once_and_never_backwards() {
        let mut seen = Dedup::new(10, Keyed(1, 2));
        let a = news(&mut seen, "a", &[5, 6, 6, 4, 9, 6]);
        assert_eq!(a, [true, true, false, false, true, false]);
        assert_eq!(news(&mut seen, "b", &[1]), [true]);
    }

    #[test]
    fn authors_are_remembered_while_they_write_and_forgotten_in_the_end() {
        let mut seen = Dedup::new(3, Keyed(1, 2));
        let busy = node("busy");
        for n in 0..100u64 {
            assert!(seen.is_new(&node(&n.to_string()), 1));
            assert!(seen.is_new(&busy, n));
            assert!(!seen.is_new(&busy, n));
            assert!(seen.young.runs.len() <= 3 && seen.old.runs.len() <= 3 && seen.young.places.len() <= 3);
        }
        assert!(seen.is_new(&node("0"), 1), "long gone");
    }

    #[test]
    fn a_forged_number_harms_nothing_but_itself() {
        let start = 1_700_000_000_000 << 20;
        for forged in [u64::MAX, u64::MAX - 1, 0, 17, start - 2 * NEAR, start + 2 * NEAR, start << 1] {
            for first in [true, false] {
                let mut seen = Dedup::new(10, Keyed(1, 2));
                let mut numbers: Vec<u64> = (start..start + 50).collect();
                numbers.insert(if first { 0 } else { 20 }, forged);
                assert_eq!(news(&mut seen, "a", &numbers), [true; 51], "{forged}, {first}");
                // Late copies are recognized all the same.
                numbers.retain(|number| *number != forged);
                assert_eq!(news(&mut seen, "a", &numbers), [false; 50], "{forged}, {first}");
            }
        }
    }

    #[test]
    fn an_author_that_meets_a_forged_number_is_heard_with_its_own() {
        let mut seen = Dedup::new(10, Keyed(1, 2));
        let forged = 10 + NEAR + 5;
        assert_eq!(news(&mut seen, "a", &[10, forged, 11]), [true; 3]);
        let own: Vec<u64> = (12..forged + 10).collect();
        assert!(news(&mut seen, "a", &own).into_iter().all(|new| new));
    }

    #[test]
    fn however_late_a_copy_comes_it_is_known() {
        let mut seen = Dedup::new(10, Keyed(1, 2));
        for number in 1_000..1_000 + 3 * NEAR {
            assert!(seen.is_new(&node("a"), number));
        }
        assert_eq!(news(&mut seen, "a", &[1_000, 1_001, 2 * NEAR]), [false; 3]);
    }

    #[test]
    fn however_many_numbers_are_forged_the_authors_own_are_remembered() {
        for written in 1..5u64 {
            let mut seen = Dedup::new(10, Keyed(1, 2));
            let own: Vec<u64> = (1_000..1_000 + written).collect();
            assert!(news(&mut seen, "a", &own).into_iter().all(|new| new));
            for forged in 1..50 {
                assert!(seen.is_new(&node("a"), 1_000 + forged * 3 * NEAR));
            }
            assert!(news(&mut seen, "a", &own).into_iter().all(|new| !new), "{written}");
            assert_eq!(news(&mut seen, "a", &[1_000 + written]), [true]);
        }
    }

    #[test]
    fn an_author_that_was_forged_before_it_wrote_is_remembered_from_its_second_entry_on() {
        let mut seen = Dedup::new(10, Keyed(1, 2));
        for forged in 1..50 {
            assert!(seen.is_new(&node("a"), forged * 3 * NEAR));
        }
        assert_eq!(news(&mut seen, "a", &[1_000, 1_001]), [true; 2]);
        for forged in 51..100 {
            assert!(seen.is_new(&node("a"), forged * 3 * NEAR));
        }
        assert_eq!(news(&mut seen, "a", &[1_000, 1_001, 1_002]), [false, false, true]);
    }

    #[test]
    fn many_forged_numbers_take_no_more_room_than_a_few() {
        let mut runs = Runs::default();
        for number in 0..1_000 {
            assert!(runs.is_new(number * 3 * NEAR));
        }
        assert_eq!(runs.0.len(), RUNS);
    }
}
