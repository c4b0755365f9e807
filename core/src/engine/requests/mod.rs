//! Questions to the other nodes: the nodes that are expected to answer, those that have answered,
//! and the end of each question.
//!
//! One implementation serves all dialects; `docs/guarantees.md` has the table. Nodes that send
//! heartbeats are expected by name. Nodes that subscribe are counted. Those of them whose names are
//! known are expected by name, and the others by number. Answers in the classic dialect carry no
//! names, so there all nodes are expected by number.

mod request;

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use hashbrown::HashMap;

use super::EffectKind;
use super::by_namespace::ByNamespace;
use crate::event::Answer;
use crate::hash::Keyed;
use crate::id::{NodeId, RequestId, Ticket};
use crate::wire::classic::Asked;
pub(super) use request::{Request, Roll};

/// The kind of answer that a question asks for.
#[derive(Debug)]
pub(super) enum Wanted {
    Sockets,
    SocketIds,
    Rooms,
    Values,
    Acks,
    /// The node that has a socket. That node is then told this effect. `None` means that it has
    /// been told.
    Owner(Option<EffectKind>),
}

/// The result of taking an answer.
#[derive(Debug)]
pub(super) enum Taken {
    Answer(Answer),
    /// The sender has the socket, and is to be told this effect.
    Owner(EffectKind),
    Nothing,
}

impl Wanted {
    /// Returns the question in the terms of the classic adapter.
    pub(super) fn asked(&self) -> Asked {
        match self {
            Wanted::Sockets => Asked::Sockets,
            Wanted::SocketIds => Asked::SocketIds,
            Wanted::Rooms => Asked::Rooms,
            Wanted::Values => Asked::Emit,
            Wanted::Acks => Asked::Acks,
            Wanted::Owner(_) => Asked::Remote,
        }
    }
}

/// The open questions, by the caller's ticket, by the id that the answers repeat, by namespace, and
/// by the nodes that are expected to answer.
#[derive(Debug)]
pub(super) struct Requests {
    open: BTreeMap<Ticket, Request>,
    by_id: HashMap<RequestId, Ticket, Keyed>,
    by_namespace: ByNamespace,
    /// The requests that wait for a node, by its namespace and its name.
    by_node: HashMap<(ByteString, NodeId), BTreeSet<Ticket>, Keyed>,
}

impl Requests {
    pub(super) fn new(hash: Keyed) -> Self {
        Requests {
            open: BTreeMap::new(),
            by_id: HashMap::with_hasher(hash),
            by_namespace: ByNamespace::new(hash),
            by_node: HashMap::with_hasher(hash),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn insert(&mut self, ticket: Ticket, request: Request) {
        self.by_id.insert(request.id.clone(), ticket);
        self.by_namespace.insert(&request.nsp, ticket);
        self.open.insert(ticket, request);
    }

    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Request> {
        self.open.get_mut(&ticket)
    }

    pub(super) fn contains(&self, ticket: Ticket) -> bool {
        self.open.contains_key(&ticket)
    }

    pub(super) fn find(&self, id: &RequestId) -> Option<Ticket> {
        self.by_id.get(id).copied()
    }

    /// Expects an answer of the node.
    pub(super) fn expect(&mut self, ticket: Ticket, node: &NodeId) {
        if let Some(request) = self.open.get_mut(&ticket) {
            request.expect(node.clone());
            if request.awaits(node) == Some(true) {
                let tickets = self.by_node.entry((request.nsp.clone(), node.clone())).or_default();
                tickets.insert(ticket);
            }
        }
    }

    /// Returns `true` if the roll says nothing about a subscriber that has answered.
    pub(super) fn has_strangers(&self, ticket: Ticket, roll: &Roll) -> bool {
        let request = self.open.get(&ticket);
        request.is_some_and(|request| request.subscribed().any(|node| roll.has(node).is_none()))
    }

    /// Expects answers of the subscribers in the roll.
    pub(super) fn expect_all(&mut self, ticket: Ticket, roll: &Roll, by_name: bool) {
        let by_name = by_name && !roll.is_doubtful;
        let named = roll.present().filter(|_| by_name);
        for node in named {
            self.expect(ticket, node);
        }
        let Some(request) = self.open.get_mut(&ticket) else { return };
        roll.present().filter(|_| by_name).for_each(|node| request.subscribes(node));
        request.counted(roll, by_name);
    }

    /// Takes an answer of a node that gives its name. Returns `true` if the answer counts.
    pub(super) fn answer(
        &mut self,
        ticket: Ticket,
        from: &NodeId,
        answer: &Answer,
        by_stream: bool,
        limit: usize,
    ) -> bool {
        let Some(request) = self.open.get_mut(&ticket) else { return false };
        let counts = request.answer(from, answer, by_stream, limit);
        match request.awaits(from) {
            Some(false) => self.awaits_no_more(ticket, from),
            // The node may have answered unexpectedly, and may still owe acknowledgements.
            Some(true) => self.expect(ticket, from),
            None => {}
        }
        counts
    }

    /// Notes that the node will not answer any more. Returns the requests that waited for it.
    pub(super) fn gone(&mut self, nsp: &ByteString, node: &NodeId) -> BTreeSet<Ticket> {
        let waiting = self.by_node.remove(&(nsp.clone(), node.clone())).unwrap_or_default();
        for ticket in &waiting {
            if let Some(request) = self.open.get_mut(ticket) {
                request.gone(node);
            }
        }
        waiting
    }

    /// Updates the request with the nodes that subscribe now.
    pub(super) fn look_after(&mut self, ticket: Ticket, roll: &Roll) {
        let Some(request) = self.open.get_mut(&ticket) else { return };
        for node in request.look_after(roll) {
            self.awaits_no_more(ticket, &node);
        }
    }

    fn awaits_no_more(&mut self, ticket: Ticket, node: &NodeId) {
        let Some(request) = self.open.get(&ticket) else { return };
        let key = (request.nsp.clone(), node.clone());
        if let Some(tickets) = self.by_node.get_mut(&key) {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.by_node.remove(&key);
            }
        }
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Request> {
        for node in Vec::from_iter(self.open.get(&ticket)?.awaited().cloned()) {
            self.awaits_no_more(ticket, &node);
        }
        let request = self.open.remove(&ticket)?;
        self.by_id.remove(&request.id);
        self.by_namespace.remove(&request.nsp, ticket);
        Some(request)
    }

    /// Returns the open requests of a namespace.
    pub(super) fn of(&self, nsp: &str) -> Vec<Ticket> {
        self.by_namespace.of(nsp)
    }

    /// Returns the open requests of a namespace that wait for subscribers.
    pub(super) fn awaiting_subscribers(&self, nsp: &str) -> impl Iterator<Item = (Ticket, &Request)> {
        let open = self.of(nsp).into_iter().filter_map(|ticket| Some((ticket, self.open.get(&ticket)?)));
        open.filter(|(_, request)| request.awaits_subscribers())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    fn node(name: &str) -> NodeId {
        NodeId::new(name.to_owned())
    }

    #[test]
    fn a_node_that_goes_costs_only_those_that_wait_for_it() {
        let mut requests = Requests::new(Keyed(1, 2));
        for number in 0..1_000 {
            let id = RequestId::new(number.to_string());
            requests.insert(Ticket(number), Request::new("/".into(), id, Wanted::Values, true, false));
            requests.expect(Ticket(number), &node("a"));
        }
        requests.expect(Ticket(7), &node("b"));
        assert_eq!(requests.gone(&"/".into(), &node("b")), BTreeSet::from([Ticket(7)]));
        assert_eq!(requests.gone(&"/".into(), &node("nobody")), BTreeSet::new());
        assert_eq!(requests.gone(&"/other".into(), &node("a")), BTreeSet::new());
        for number in 0..999 {
            requests.answer(Ticket(number), &node("a"), &Answer::Emit(Payload::null()), true, 10);
        }
        assert_eq!(requests.gone(&"/".into(), &node("a")), BTreeSet::from([Ticket(999)]));
        (0..1_000).for_each(|number| drop(requests.remove(Ticket(number))));
        assert!(requests.by_node.is_empty() && requests.by_id.is_empty());
    }
}
