//! Questions to the other nodes: who is expected to answer, who has, and when it is over.
//!
//! Written once for all dialects. Nodes that send heartbeats are expected by name. Nodes that only subscribe are expected by number; each
//! gets its name with its first answer, or from a list of the channels.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use hashbrown::HashMap;

use super::by_namespace::ByNamespace;
use super::{Content, EffectKind};
use crate::command::CommandError;
use crate::event::{Answer, Outcome, Ticket};
use crate::id::{NodeId, RequestId};
use crate::rooms::Keyed;
use crate::wire::classic::Asked;

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    answered: bool,
    gone: bool,
    clients: u64,
    acks: u64,
}

impl Progress {
    fn complete(self) -> bool {
        self.answered && self.acks >= self.clients
    }

    /// Whether more is expected.
    fn is_awaited(self) -> bool {
        !self.complete() && !self.gone
    }
}

/// What is asked for.
#[derive(Debug)]
pub(super) enum Wanted {
    Sockets,
    SocketIds,
    Rooms,
    Values,
    Acks,
    /// The node that has a socket, which is then told this. Nothing: it has been told.
    Owner(Option<EffectKind>),
}

/// What becomes of an answer.
#[derive(Debug)]
pub(super) enum Taken {
    Answer(Answer),
    /// The sender has the socket, which is to be told this.
    Owner(EffectKind),
    Nothing,
}

impl Wanted {
    /// What the classic adapter calls it.
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

/// One question.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) nsp: ByteString,
    pub(super) id: RequestId,
    /// The question, until it is sent. Nothing is over before.
    pub(super) unsent: Option<Content>,
    pub(super) wanted: Wanted,
    nodes: BTreeMap<NodeId, Progress>,
    /// How many of these are still expected to answer.
    awaited: usize,
    /// How many more answers are expected from nodes without a name.
    unnamed: u64,
    /// What all answers that don't say who answers make up together, and how many they are.
    anonymous: Progress,
    answered_unnamed: u64,
    /// Nodes that answered without being expected, and send heartbeats.
    late: Vec<NodeId>,
    /// Names that some of the unnamed must bear.
    suspects: Vec<NodeId>,
    /// Unnamed nodes that went away without an answer, and what is known of their names.
    vanished: u64,
    vanished_names: Vec<NodeId>,
}

impl Request {
    pub(super) fn new(nsp: ByteString, id: RequestId, wanted: Wanted, unsent: Option<Content>) -> Self {
        Request {
            nsp,
            id,
            wanted,
            unsent,
            anonymous: Progress::default(),
            answered_unnamed: 0,
            nodes: BTreeMap::new(),
            awaited: 0,
            unnamed: 0,
            late: Vec::new(),
            suspects: Vec::new(),
            vanished: 0,
            vanished_names: Vec::new(),
        }
    }

    pub(super) fn expect(&mut self, node: NodeId) {
        self.nodes.entry(node).or_insert_with(|| {
            self.awaited += 1;
            Progress::default()
        });
    }

    pub(super) fn expect_unnamed(&mut self, count: u64) {
        self.unnamed += count;
    }

    /// Whether answers of nodes without a name are still expected.
    pub(super) fn awaits_subscribers(&self) -> bool {
        self.unnamed > 0 || self.anonymous.acks < self.anonymous.clients || self.awaited > 0
    }

    /// Takes an answer; whether it counts. A node answers once, and acknowledges once for each client.
    pub(super) fn answer(&mut self, from: &NodeId, answer: &Answer, heartbeats: bool, limit: usize) -> bool {
        if *from == NodeId::UNNAMED {
            return self.answer_unnamed(answer);
        }
        if !self.nodes.contains_key(from) {
            if self.nodes.len() >= limit {
                return false;
            }
            // A node that announces itself by heartbeats and was not expected has come later, and takes nobody's place; unless it subscribes
            // too, and was counted for that.
            match heartbeats {
                true => self.late.push(from.owned()),
                false if mutant!(ResponseCountedTwice) => self.unnamed = self.unnamed.saturating_sub(2),
                false => self.unnamed = self.unnamed.saturating_sub(1),
            }
        }
        self.expect(from.owned());
        let Some(node) = self.nodes.get_mut(from) else { return false };
        let before = node.is_awaited();
        match answer {
            Answer::Ack(_) if node.complete() => return false,
            Answer::Ack(_) => node.acks += 1,
            _ if node.answered => return false,
            Answer::ClientCount(clients) => (node.clients, node.answered) = (*clients, true),
            _ => node.answered = true,
        }
        self.awaited = self.awaited + usize::from(node.is_awaited()) - usize::from(before);
        true
    }

    /// What an answer that counts is to the caller.
    pub(super) fn take(&mut self, answer: Answer) -> Taken {
        match (&mut self.wanted, answer) {
            (Wanted::SocketIds, Answer::Sockets(sockets)) => {
                Taken::Answer(Answer::SocketIds(sockets.into_iter().map(|socket| socket.id).collect()))
            }
            (Wanted::Rooms, Answer::Sockets(sockets)) => {
                let rooms: BTreeSet<ByteString> =
                    sockets.into_iter().flat_map(|socket| socket.rooms).collect();
                Taken::Answer(Answer::Rooms(rooms.into_iter().collect()))
            }
            (Wanted::Owner(kind), Answer::Sockets(sockets)) => match kind.take_if(|_| !sockets.is_empty()) {
                Some(kind) => Taken::Owner(kind),
                None => Taken::Nothing,
            },
            (_, answer) => Taken::Answer(answer),
        }
    }

    /// An answer that doesn't say whose it is: one node's is not to be told from another's.
    fn answer_unnamed(&mut self, answer: &Answer) -> bool {
        let all = &mut self.anonymous;
        match answer {
            Answer::Ack(_) if self.unnamed == 0 && all.acks >= all.clients => return false,
            Answer::Ack(_) => {
                all.acks += 1;
                return true;
            }
            Answer::ClientCount(clients) => all.clients = all.clients.saturating_add(*clients),
            _ => {}
        }
        self.unnamed = self.unnamed.saturating_sub(1);
        self.answered_unnamed += 1;
        true
    }

    /// The node will not answer any more.
    pub(super) fn gone(&mut self, node: &NodeId) {
        if let Some(progress) = self.nodes.get_mut(node) {
            self.awaited -= usize::from(progress.is_awaited());
            progress.gone = true;
        }
    }

    /// These nodes subscribe at this moment. `before`: those that were known to, before; `beats`: those that send heartbeats, whose absence
    /// here says nothing.
    pub(super) fn listed(
        &mut self,
        listed: &BTreeSet<NodeId>,
        before: &BTreeSet<NodeId>,
        beats: impl Fn(&NodeId) -> bool,
    ) {
        for (node, progress) in &mut self.nodes {
            if progress.is_awaited() && !listed.contains(node) && !beats(node) {
                progress.gone = true;
                self.awaited -= 1;
            }
        }
        let (bridges, late) = self.late.drain(..).partition::<Vec<_>, _>(|node| listed.contains(node));
        self.late = late;
        self.unnamed = self.unnamed.saturating_sub(bridges.len() as u64);
        let open = |node: &&NodeId| !self.nodes.contains_key(*node) && !beats(node);
        self.suspects = listed.iter().filter(open).cloned().collect();
        let still_there = self.unnamed.min(self.suspects.len() as u64);
        let lost = self.unnamed - still_there;
        if lost > 0 {
            let gone: Vec<_> = before.difference(listed).filter(open).cloned().collect();
            // More names than nodes: it can't be said which of them was expected to answer.
            if gone.len() as u64 <= lost {
                self.vanished_names.extend(gone);
            }
            self.vanished += lost;
            self.unnamed = still_there;
        }
    }

    /// Whether nobody's answer is expected any more.
    pub(super) fn is_over(&self) -> bool {
        self.unsent.is_none()
            && self.unnamed == 0
            && !matches!(self.wanted, Wanted::Owner(None))
            && self.anonymous.acks >= self.anonymous.clients
            && self.awaited == 0
    }

    pub(super) fn outcome(self, timed_out: bool, error: Option<CommandError>) -> Outcome {
        let mut outcome = Outcome {
            timed_out,
            error,
            clients: self.anonymous.clients,
            acks: self.anonymous.acks,
            answered_unnamed: self.answered_unnamed,
            ..Outcome::default()
        };
        for (node, progress) in self.nodes {
            // The peers' numbers: they may be anything.
            outcome.clients = outcome.clients.saturating_add(progress.clients);
            outcome.acks += progress.acks;
            match progress.complete() {
                true => outcome.answered.push(node),
                false => outcome.missing.push(node),
            }
        }
        let mut unnamed = self.unnamed + self.vanished;
        for (names, count) in [(self.vanished_names, self.vanished), (self.suspects, self.unnamed)] {
            if count > 0 && names.len() as u64 <= count {
                unnamed -= names.len() as u64;
                outcome.missing.extend(names);
            }
        }
        outcome.missing.sort();
        outcome.missing_unnamed = unnamed;
        outcome
    }
}

/// The questions that are open, by what the caller holds and by what the answers repeat.
#[derive(Debug)]
pub(super) struct Requests {
    open: BTreeMap<Ticket, Request>,
    by_id: HashMap<RequestId, Ticket, Keyed>,
    by_namespace: ByNamespace,
}

impl Requests {
    pub(super) fn new(hash: Keyed) -> Self {
        let by_namespace = ByNamespace::new(hash);
        Requests { open: BTreeMap::new(), by_id: HashMap::with_hasher(hash), by_namespace }
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

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Request> {
        let request = self.open.remove(&ticket)?;
        self.by_id.remove(&request.id);
        self.by_namespace.remove(&request.nsp, ticket);
        Some(request)
    }

    /// The open requests of a namespace.
    pub(super) fn of(&self, nsp: &str) -> Vec<Ticket> {
        self.by_namespace.of(nsp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    fn node(name: &str) -> NodeId {
        NodeId::new(name.to_owned())
    }

    fn request(unnamed: u64) -> Request {
        let id = RequestId::new("r");
        let mut request = Request::new("/".into(), id, Wanted::Values, None);
        request.expect_unnamed(unnamed);
        request
    }

    fn names(names: &[&str]) -> BTreeSet<NodeId> {
        names.iter().map(|name| node(name)).collect()
    }

    const EMIT: fn() -> Answer = || Answer::Emit(Payload::null());

    #[test]
    fn a_second_answer_of_the_same_node_does_not_count() {
        let mut request = request(2);
        assert!(request.answer(&node("a"), &EMIT(), false, 10));
        assert!(!request.answer(&node("a"), &EMIT(), false, 10));
        assert!(!request.is_over());
        assert!(request.answer(&node("b"), &EMIT(), false, 10));
        assert!(request.is_over());
        assert!(request.outcome(false, None).is_complete());
    }

    #[test]
    fn acks_are_awaited_until_each_client_gave_one() {
        let mut request = request(2);
        assert!(request.answer(&node("a"), &Answer::ClientCount(0), false, 10));
        assert!(
            request.answer(&node("b"), &Answer::Ack(Payload::null()), false, 10),
            "an ack may overtake the count"
        );
        assert!(request.answer(&node("b"), &Answer::ClientCount(2), false, 10));
        assert!(!request.is_over());
        assert!(request.answer(&node("b"), &Answer::Ack(Payload::null()), false, 10));
        assert!(request.is_over());
        assert!(
            !request.answer(&node("b"), &Answer::Ack(Payload::null()), false, 10),
            "one more than clients"
        );
        let outcome = request.outcome(false, None);
        assert_eq!((outcome.clients, outcome.acks), (2, 2));
        assert!(outcome.is_complete());
    }

    #[test]
    fn a_subscriber_that_is_gone_is_not_waited_for_and_is_named() {
        let mut request = request(2);
        assert!(request.answer(&node("a"), &EMIT(), false, 10));
        request.listed(&names(&["a"]), &names(&["a", "b"]), |_| false);
        assert!(request.is_over());
        let outcome = request.outcome(false, None);
        assert_eq!(outcome.missing, [node("b")]);
        assert_eq!(outcome.missing_unnamed, 0);
        assert!(!outcome.is_complete());
    }

    #[test]
    fn a_silent_subscriber_is_named_when_the_time_is_up() {
        let mut request = request(2);
        assert!(request.answer(&node("a"), &EMIT(), false, 10));
        request.listed(&names(&["a", "b"]), &names(&[]), |_| false);
        assert!(!request.is_over());
        let outcome = request.outcome(true, None);
        assert_eq!(outcome.missing, [node("b")]);
        assert_eq!(outcome.missing_unnamed, 0);
    }

    #[test]
    fn a_node_that_beats_takes_no_subscribers_place() {
        let mut request = request(1);
        request.expect(node("old"));
        assert!(request.answer(&node("late"), &EMIT(), true, 10));
        assert!(request.answer(&node("old"), &EMIT(), true, 10));
        assert!(!request.is_over());
        assert!(request.answer(&node("new"), &EMIT(), false, 10));
        assert!(request.is_over());
    }
}
