//! An index of open things by namespace. There may be many namespaces, with many things in each.

use std::collections::BTreeSet;

use bytestring::ByteString;
use hashbrown::HashMap;

use crate::hash::Keyed;
use crate::id::Ticket;

/// The tickets of each namespace that has any.
#[derive(Debug)]
pub(super) struct ByNamespace(HashMap<ByteString, BTreeSet<Ticket>, Keyed>);

impl ByNamespace {
    pub(super) fn new(hash: Keyed) -> Self {
        ByNamespace(HashMap::with_hasher(hash))
    }

    pub(super) fn insert(&mut self, nsp: &ByteString, ticket: Ticket) {
        match self.0.get_mut(nsp) {
            Some(tickets) => tickets.insert(ticket),
            None => self.0.entry(nsp.clone()).or_default().insert(ticket),
        };
    }

    pub(super) fn remove(&mut self, nsp: &ByteString, ticket: Ticket) {
        if let Some(tickets) = self.0.get_mut(nsp) {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.0.remove(nsp);
            }
        }
    }

    /// Returns the tickets of a namespace, in the order of their numbers.
    pub(super) fn of(&self, nsp: &str) -> Vec<Ticket> {
        self.0.get(nsp).map(|tickets| tickets.iter().copied().collect()).unwrap_or_default()
    }
}
