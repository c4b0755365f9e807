//! Questions to the other nodes: who is expected to answer, who has, and when it is over.
//!
//! Written once for all dialects; `docs/guarantees.md` has the table. Nodes that send heartbeats are expected by name.
//! Nodes that subscribe are counted; those whose names are known are expected by name, the others by number. Answers in the
//! classic dialect bear no names, so there all are expected by number.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use hashbrown::HashMap;

use super::EffectKind;
use super::by_namespace::ByNamespace;
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
    /// It is one of the subscribers that were counted.
    subscriber: bool,
    /// It did not subscribe when this was looked at last.
    absent: bool,
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

/// What became of the message that asks.
#[derive(Debug)]
enum Fate {
    /// It waits to be published, or its reply has not come.
    Open,
    Published,
    /// Nobody knows. An answer shows that it was heard.
    Unknown(CommandError),
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

/// The subscribers of a namespace at one moment, this node apart.
#[derive(Debug, Default)]
pub(super) struct Roll {
    /// How many nodes there are.
    pub(super) others: u64,
    /// How many subscriptions each of the nodes has whose names were known.
    pub(super) named: BTreeMap<NodeId, u64>,
}

impl Roll {
    /// Whether the node is there, if that was asked.
    pub(super) fn has(&self, node: &NodeId) -> Option<bool> {
        self.named.get(node).map(|count| *count > 0)
    }

    /// The nodes that are there and have names.
    pub(super) fn present(&self) -> impl Iterator<Item = &NodeId> {
        self.named.iter().filter(|(_, count)| **count > 0).map(|(node, _)| node)
    }
}

/// One question.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) nsp: ByteString,
    pub(super) id: RequestId,
    pub(super) wanted: Wanted,
    /// Whether the question does something, too: then it is published even if nobody's answer is expected any more.
    pub(super) acts: bool,
    fate: Fate,
    /// Whether it is known how many subscribers there are. Nothing is over before.
    counted: bool,
    /// Why that can't be known.
    uncountable: Option<CommandError>,
    nodes: BTreeMap<NodeId, Progress>,
    /// How many of these are still expected to answer.
    awaited: usize,
    /// How many others there were that subscribe: the highest of the counts before and after the question was published.
    subscribers: u64,
    /// How many of the nodes are known to be among them.
    named: u64,
    /// What all answers that don't say who answers make up together, and how many they are.
    anonymous: Progress,
    answered_unnamed: u64,
    /// Nodes that answered through the stream without being expected. They may subscribe, too.
    late: Vec<NodeId>,
    /// Names that some of the unnamed must bear.
    suspects: BTreeSet<NodeId>,
    /// How many of the unnamed were not there when this was looked at last.
    short: u64,
    /// Unnamed nodes that went away without an answer, and what is known of their names.
    vanished: u64,
    vanished_names: Vec<NodeId>,
}

impl Request {
    /// A question that is to be published. `counts`: whether those who will hear it have to be counted.
    pub(super) fn new(nsp: ByteString, id: RequestId, wanted: Wanted, acts: bool, counts: bool) -> Self {
        Request {
            nsp,
            id,
            wanted,
            acts,
            fate: Fate::Open,
            counted: !counts,
            uncountable: None,
            nodes: BTreeMap::new(),
            awaited: 0,
            subscribers: 0,
            named: 0,
            anonymous: Progress::default(),
            answered_unnamed: 0,
            late: Vec::new(),
            suspects: BTreeSet::new(),
            short: 0,
            vanished: 0,
            vanished_names: Vec::new(),
        }
    }

    /// A question to this node alone.
    pub(super) fn local(nsp: ByteString, id: RequestId, wanted: Wanted) -> Self {
        Request { fate: Fate::Published, ..Self::new(nsp, id, wanted, false, false) }
    }

    /// The node is expected to answer.
    fn expect(&mut self, node: NodeId) {
        let progress = self.nodes.entry(node).or_insert_with(|| {
            self.awaited += 1;
            Progress::default()
        });
        // It has come back before it was asked.
        if progress.gone && !progress.complete() {
            progress.gone = false;
            self.awaited += 1;
        }
    }

    fn subscribes(&mut self, node: &NodeId) {
        if let Some(progress) = self.nodes.get_mut(node)
            && !core::mem::replace(&mut progress.subscriber, true)
        {
            self.named += 1;
        }
    }

    /// So many nodes without a name are expected to answer, whatever else is counted.
    pub(super) fn expect_unnamed(&mut self, count: u64) {
        self.counted = true;
        self.subscribers = self.subscribers.max(count);
    }

    pub(super) fn is_uncountable(&mut self, error: CommandError) {
        self.uncountable = Some(error);
    }

    /// Those who subscribe are being counted once more.
    pub(super) fn is_being_counted(&mut self) {
        self.counted = false;
    }

    pub(super) fn is_published(&mut self) {
        self.fate = Fate::Published;
    }

    /// Nobody knows whether it was published: answers may come until the time is up.
    pub(super) fn is_doubtful(&mut self, error: CommandError) {
        self.fate = Fate::Unknown(error);
    }

    /// How many more answers are expected from nodes without a name.
    pub(super) fn unnamed(&self) -> u64 {
        let known = self.named.saturating_add(self.answered_unnamed).saturating_add(self.vanished);
        self.subscribers.saturating_sub(known)
    }

    /// Whether the subscribers must be counted again: those who will answer can't be told from those that came later.
    pub(super) fn is_to_be_counted(&self) -> bool {
        !self.counted || self.unnamed() > 0
    }

    /// Whether answers of subscribers are still expected.
    pub(super) fn awaits_subscribers(&self) -> bool {
        self.unnamed() > 0 || self.anonymous.acks < self.anonymous.clients || self.awaited > 0
    }

    /// The nodes that are to be looked after.
    pub(super) fn to_look_after(&self) -> impl Iterator<Item = &NodeId> {
        let awaited = self.nodes.iter().filter(|(_, node)| node.subscriber && node.is_awaited());
        awaited.map(|(node, _)| node).chain(&self.late).chain(&self.suspects)
    }

    /// Takes an answer; whether it counts. A node answers once, and acknowledges once for each client.
    fn answer(&mut self, from: &NodeId, answer: &Answer, by_stream: bool, limit: usize) -> bool {
        if !self.nodes.contains_key(from) {
            if self.nodes.len() >= limit {
                return false;
            }
            self.expect(from.owned());
            if by_stream {
                // It takes nobody's place, unless it subscribes too and was counted for that.
                self.late.push(from.owned());
            } else {
                self.subscribes(from);
                self.named += u64::from(mutant!(ResponseCountedTwice));
            }
        }
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

    /// Takes an answer that doesn't say whose it is: one node's is not to be told from another's.
    pub(super) fn answer_unnamed(&mut self, answer: &Answer) -> bool {
        let expected = self.unnamed();
        let all = &mut self.anonymous;
        match answer {
            Answer::Ack(_) if expected == 0 && all.acks >= all.clients => return false,
            Answer::Ack(_) => {
                all.acks += 1;
                return true;
            }
            Answer::ClientCount(clients) => all.clients = all.clients.saturating_add(*clients),
            _ => {}
        }
        self.answered_unnamed += 1;
        true
    }

    /// The node will not answer any more.
    fn gone(&mut self, node: &NodeId) {
        if let Some(progress) = self.nodes.get_mut(node) {
            self.awaited -= usize::from(progress.is_awaited());
            progress.gone = true;
        }
    }

    /// These nodes subscribe now. A node that has gone is given up when it is missed for the second time: a subscription
    /// that is renewed is away for a moment, and its node is not.
    fn look_after(&mut self, roll: &Roll) -> Vec<NodeId> {
        let mut gone = Vec::new();
        for (node, progress) in self.nodes.iter_mut().filter(|(_, node)| node.subscriber && node.is_awaited())
        {
            match roll.has(node) {
                Some(false) if progress.absent => gone.push(node.clone()),
                Some(here) => progress.absent = !here,
                None => {}
            }
        }
        gone.iter().for_each(|node| self.gone(node));
        let (subscribers, late) =
            self.late.drain(..).partition::<Vec<_>, _>(|node| roll.has(node) == Some(true));
        self.late = late;
        subscribers.iter().for_each(|node| self.subscribes(node));
        let accounted = |node: &&NodeId| self.nodes.get(*node).is_some_and(|node| node.subscriber);
        let accounted = roll.present().filter(accounted).count() as u64;
        let lost = self.unnamed().saturating_sub(roll.others.saturating_sub(accounted));
        let vanished = lost.min(core::mem::replace(&mut self.short, lost));
        let suspects = roll.present().filter(|node| !self.nodes.contains_key(*node)).cloned().collect();
        let before = core::mem::replace(&mut self.suspects, suspects);
        if vanished > 0 {
            let names: Vec<NodeId> =
                before.into_iter().filter(|node| roll.has(node) == Some(false)).collect();
            // More names than nodes: it can't be said which of them was expected to answer.
            if names.len() as u64 <= vanished {
                self.vanished_names.extend(names);
            }
            self.vanished += vanished;
            self.short -= vanished;
        } else if lost > 0 {
            // They may be those that are missed.
            self.suspects.extend(before);
        }
        gone
    }

    /// Whether nobody's answer is expected any more.
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.fate, Fate::Open)
            && self.counted
            && self.unnamed() == 0
            && !matches!(self.wanted, Wanted::Owner(None))
            && self.anonymous.acks >= self.anonymous.clients
            && self.awaited == 0
    }

    /// `me`: this node, whose own answer doesn't show that anybody has heard.
    pub(super) fn outcome(self, timed_out: bool, error: Option<CommandError>, me: &NodeId) -> Outcome {
        let told = matches!(self.wanted, Wanted::Owner(None));
        let pending = error.is_none() && (told || self.acts && matches!(self.fate, Fate::Open));
        let mut outcome = Outcome {
            timed_out,
            pending,
            clients: self.anonymous.clients,
            acks: self.anonymous.acks,
            answered_unnamed: self.answered_unnamed,
            ..Outcome::default()
        };
        let unnamed = self.unnamed();
        let heard = self.answered_unnamed > 0
            || self.nodes.iter().any(|(node, progress)| progress.answered && node != me);
        let doubt = match self.fate {
            Fate::Unknown(error) if !heard => Some(error),
            _ => None,
        };
        outcome.error = error.or(doubt).or(self.uncountable);
        for (node, progress) in self.nodes {
            // The peers' numbers: they may be anything.
            outcome.clients = outcome.clients.saturating_add(progress.clients);
            outcome.acks += progress.acks;
            match progress.complete() {
                true => outcome.answered.push(node),
                false => outcome.missing.push(node),
            }
        }
        let mut nameless = unnamed + self.vanished;
        let suspects: Vec<NodeId> = self.suspects.into_iter().collect();
        for (names, count) in [(self.vanished_names, self.vanished), (suspects, unnamed)] {
            if count > 0 && names.len() as u64 <= count {
                nameless -= names.len() as u64;
                outcome.missing.extend(names);
            }
        }
        outcome.missing.sort();
        outcome.missing_unnamed = nameless;
        outcome
    }
}

/// The questions that are open, by what the caller holds, by what the answers repeat, and by who is expected to answer.
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

    /// The node is expected to answer.
    pub(super) fn expect(&mut self, ticket: Ticket, node: &NodeId) {
        if let Some(request) = self.open.get_mut(&ticket) {
            request.expect(node.clone());
            if request.nodes.get(node).is_some_and(|node| node.is_awaited()) {
                let tickets = self.by_node.entry((request.nsp.clone(), node.clone())).or_default();
                tickets.insert(ticket);
            }
        }
    }

    /// These subscribe, and are expected to answer.
    pub(super) fn expect_all(&mut self, ticket: Ticket, roll: &Roll, by_name: bool) {
        let named = roll.present().filter(|_| by_name);
        for node in named {
            self.expect(ticket, node);
        }
        let Some(request) = self.open.get_mut(&ticket) else { return };
        roll.present().filter(|_| by_name).for_each(|node| request.subscribes(node));
        request.expect_unnamed(roll.others);
    }

    /// An answer of a node that says its name has come; whether it counts.
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
        match request.nodes.get(from) {
            Some(progress) if !progress.is_awaited() => self.awaits_no_more(ticket, from),
            // It may have come unexpected, and owe acknowledgements.
            Some(_) => self.expect(ticket, from),
            None => {}
        }
        counts
    }

    /// The node will not answer any more; the requests that waited for it.
    pub(super) fn gone(&mut self, nsp: &ByteString, node: &NodeId) -> BTreeSet<Ticket> {
        let waiting = self.by_node.remove(&(nsp.clone(), node.clone())).unwrap_or_default();
        for ticket in &waiting {
            if let Some(request) = self.open.get_mut(ticket) {
                request.gone(node);
            }
        }
        waiting
    }

    /// These nodes subscribe now.
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
        let awaited = self.open.get(&ticket)?.nodes.iter().filter(|(_, node)| node.is_awaited());
        for node in Vec::from_iter(awaited.map(|(node, _)| node.clone())) {
            self.awaits_no_more(ticket, &node);
        }
        let request = self.open.remove(&ticket)?;
        self.by_id.remove(&request.id);
        self.by_namespace.remove(&request.nsp, ticket);
        Some(request)
    }

    /// The open requests of a namespace.
    pub(super) fn of(&self, nsp: &str) -> Vec<Ticket> {
        self.by_namespace.of(nsp)
    }

    /// Those of them that wait for subscribers.
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

    fn request(unnamed: u64) -> Request {
        let id = RequestId::new("r");
        let mut request = Request::new("/".into(), id, Wanted::Values, true, true);
        request.expect_unnamed(unnamed);
        request.is_published();
        request
    }

    fn roll(others: u64, named: &[(&str, u64)]) -> Roll {
        Roll { others, named: named.iter().map(|(name, count)| (node(name), *count)).collect() }
    }

    fn outcome(request: Request) -> Outcome {
        request.outcome(false, None, &node("me"))
    }

    const EMIT: fn() -> Answer = || Answer::Emit(Payload::null());
    const ACK: fn() -> Answer = || Answer::Ack(Payload::null());

    #[test]
    fn a_second_answer_of_the_same_node_does_not_count() {
        let mut request = request(2);
        assert!(request.answer(&node("a"), &EMIT(), false, 10));
        assert!(!request.answer(&node("a"), &EMIT(), false, 10));
        assert!(!request.is_over());
        assert!(request.answer(&node("b"), &EMIT(), false, 10));
        assert!(request.is_over());
        assert!(outcome(request).is_complete());
    }

    #[test]
    fn acks_are_awaited_until_each_client_gave_one() {
        let mut request = request(2);
        assert!(request.answer(&node("a"), &Answer::ClientCount(0), false, 10));
        assert!(request.answer(&node("b"), &ACK(), false, 10), "an ack may overtake the count");
        assert!(request.answer(&node("b"), &Answer::ClientCount(2), false, 10));
        assert!(!request.is_over());
        assert!(request.answer(&node("b"), &ACK(), false, 10));
        assert!(request.is_over());
        assert!(!request.answer(&node("b"), &ACK(), false, 10), "one more than clients");
        let outcome = outcome(request);
        assert_eq!((outcome.clients, outcome.acks), (2, 2));
        assert!(outcome.is_complete());
    }

    #[test]
    fn nothing_is_over_before_it_is_published_and_counted() {
        let id = RequestId::new("r");
        let mut request = Request::new("/".into(), id, Wanted::Acks, true, true);
        assert!(!request.is_over());
        request.is_published();
        assert!(!request.is_over());
        request.expect_unnamed(0);
        assert!(request.is_over());
        let id = RequestId::new("r");
        let mut request = Request::new("/".into(), id, Wanted::Acks, true, false);
        request.is_doubtful(CommandError::Lost("cut".into()));
        assert!(request.is_over());
        let outcome = outcome(request);
        assert!(!outcome.is_complete(), "nobody knows whether anybody has heard it: {outcome:?}");
    }

    #[test]
    fn a_node_that_came_after_the_count_takes_nobodys_place() {
        let mut request = request(1);
        // One more subscribes before the question is published, and is the first to answer.
        assert!(request.answer(&node("new"), &EMIT(), false, 10));
        request.is_being_counted();
        assert!(!request.is_over());
        request.expect_unnamed(2);
        assert!(!request.is_over());
        assert!(request.answer(&node("old"), &EMIT(), false, 10));
        assert!(request.is_over());
    }

    #[test]
    fn a_subscriber_that_is_gone_is_not_waited_for_and_is_named() {
        let mut request = request(2);
        assert!(request.answer(&node("a"), &EMIT(), false, 10));
        request.look_after(&roll(2, &[("a", 1), ("b", 1)]));
        request.look_after(&roll(1, &[("a", 1), ("b", 0)]));
        assert!(!request.is_over(), "it may only be renewing its subscription");
        request.look_after(&roll(1, &[("a", 1), ("b", 0)]));
        assert!(request.is_over());
        let outcome = outcome(request);
        assert_eq!(outcome.missing, [node("b")]);
        assert_eq!(outcome.missing_unnamed, 0);
        assert!(!outcome.is_complete());
    }

    #[test]
    fn a_subscription_that_is_renewed_is_no_death() {
        let mut request = request(0);
        request.expect(node("b"));
        request.subscribers = 1;
        request.subscribes(&node("b"));
        for here in [0, 1, 0, 1] {
            request.look_after(&roll(here, &[("b", here)]));
            assert!(!request.is_over());
        }
        assert!(request.answer(&node("b"), &EMIT(), false, 10));
        assert!(outcome(request).is_complete());
    }

    #[test]
    fn a_silent_subscriber_is_named_when_the_time_is_up() {
        let mut request = request(2);
        assert!(request.answer(&node("a"), &EMIT(), false, 10));
        request.look_after(&roll(2, &[("a", 1), ("b", 1)]));
        assert!(!request.is_over());
        let outcome = request.outcome(true, None, &node("me"));
        assert_eq!(outcome.missing, [node("b")]);
        assert_eq!(outcome.missing_unnamed, 0);
    }

    #[test]
    fn an_answer_by_the_stream_takes_no_subscribers_place() {
        let mut request = request(1);
        request.expect(node("old"));
        assert!(request.answer(&node("late"), &EMIT(), true, 10));
        assert!(request.answer(&node("old"), &EMIT(), true, 10));
        assert!(!request.is_over());
        assert!(request.answer(&node("new"), &EMIT(), false, 10));
        assert!(request.is_over());
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
            requests.answer(Ticket(number), &node("a"), &EMIT(), true, 10);
        }
        assert_eq!(requests.gone(&"/".into(), &node("a")), BTreeSet::from([Ticket(999)]));
        (0..1_000).for_each(|number| drop(requests.remove(Ticket(number))));
        assert!(requests.by_node.is_empty() && requests.by_id.is_empty());
    }
}
