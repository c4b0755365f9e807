//! What has been delivered already.

use hashbrown::HashMap;

use crate::id::NodeId;
use crate::rooms::Keyed;

/// The last sequence number of each author of a stream, for as many authors as there may be nodes.
///
/// Two tables, of which the older is dropped when the younger is full: an author is remembered for as long as not too many others have written
/// since, at no cost per entry.
#[derive(Debug)]
pub(super) struct Seen {
    young: Table,
    old: Table,
    /// How many authors each table takes.
    limit: usize,
    /// Where the author stands in the younger table that wrote last. Often it is the next one too.
    latest: usize,
}

/// Authors, and where each stands.
#[derive(Debug)]
struct Table {
    places: HashMap<NodeId, usize, Keyed>,
    last: Vec<(NodeId, u64)>,
}

impl Table {
    fn new(hash: Keyed) -> Self {
        Table { places: HashMap::with_hasher(hash), last: Vec::new() }
    }
}

impl Seen {
    pub(super) fn new(limit: usize, hash: Keyed) -> Self {
        Seen { young: Table::new(hash), old: Table::new(hash), limit, latest: 0 }
    }

    /// Notes the number; whether it is a new one. An author's numbers rise: one that doesn't has been seen.
    pub(super) fn is_new(&mut self, author: &NodeId, seq: u64) -> bool {
        let is_latest = self.young.last.get(self.latest).is_some_and(|(name, _)| name == author);
        let place = if is_latest { Some(self.latest) } else { self.young.places.get(author).copied() };
        if let Some((place, (_, last))) =
            place.and_then(|place| Some((place, self.young.last.get_mut(place)?)))
        {
            self.latest = place;
            let new = seq > *last;
            *last = seq.max(*last);
            return new;
        }
        let place = self.old.places.remove(author);
        let before = place.and_then(|place| self.old.last.get(place)).map(|(_, last)| *last);
        if self.young.last.len() >= self.limit {
            let hash = *self.young.places.hasher();
            self.old = core::mem::replace(&mut self.young, Table::new(hash));
        }
        self.latest = self.young.last.len();
        let author = author.owned();
        self.young.places.insert(author.clone(), self.latest);
        self.young.last.push((author, before.map_or(seq, |last| last.max(seq))));
        before.is_none_or(|last| seq > last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name.to_owned())
    }

    #[test]
    fn a_number_counts_once_and_never_backwards() {
        let mut seen = Seen::new(10, Keyed(1, 2));
        let (a, b) = (node("a"), node("b"));
        let news: Vec<bool> = [5, 6, 6, 4, 9, 6].iter().map(|seq| seen.is_new(&a, *seq)).collect();
        assert_eq!(news, [true, true, false, false, true, false]);
        assert!(seen.is_new(&b, 1));
    }

    #[test]
    fn authors_are_remembered_while_they_write_and_forgotten_in_the_end() {
        let mut seen = Seen::new(3, Keyed(1, 2));
        let busy = node("busy");
        for n in 0..100u64 {
            assert!(seen.is_new(&node(&n.to_string()), 1));
            assert!(seen.is_new(&busy, n));
            assert!(!seen.is_new(&busy, n));
            assert!(seen.young.last.len() <= 3 && seen.old.last.len() <= 3 && seen.young.places.len() <= 3);
        }
        assert!(seen.is_new(&node("0"), 1), "long gone");
    }
}
