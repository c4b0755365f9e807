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
    young: HashMap<NodeId, u64, Keyed>,
    old: HashMap<NodeId, u64, Keyed>,
    /// How many authors each table takes.
    limit: usize,
}

impl Seen {
    pub(super) fn new(limit: usize, hash: Keyed) -> Self {
        Seen { young: HashMap::with_hasher(hash), old: HashMap::with_hasher(hash), limit }
    }

    /// Notes the number; whether it is a new one. An author's numbers rise: one that doesn't has been seen.
    pub(super) fn is_new(&mut self, author: &NodeId, seq: u64) -> bool {
        if let Some(last) = self.young.get_mut(author) {
            let new = seq > *last;
            *last = seq.max(*last);
            return new;
        }
        let before = self.old.remove(author);
        if self.young.len() >= self.limit {
            let hash = *self.young.hasher();
            self.old = core::mem::replace(&mut self.young, HashMap::with_hasher(hash));
        }
        self.young.insert(author.owned(), before.map_or(seq, |last| last.max(seq)));
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
            assert!(seen.young.len() <= 3 && seen.old.len() <= 3);
        }
        assert!(seen.is_new(&node("0"), 1), "long gone");
    }
}
