//! One question: the nodes that have answered, and those that have not.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;

use super::{Taken, Wanted};
use crate::command::CommandError;
use crate::engine::roll::Roll;
use crate::event::{Answer, Outcome};
use crate::id::{NodeId, RequestId};

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    answered: bool,
    gone: bool,
    clients: u64,
    acks: u64,
    /// `true` if the node is one of the subscribers that were counted.
    subscriber: bool,
    /// `true` if the node did not subscribe at the last check.
    absent: bool,
}

impl Progress {
    fn complete(self) -> bool {
        self.answered && self.acks >= self.clients
    }

    /// Returns `true` if more is expected of the node.
    fn is_awaited(self) -> bool {
        !self.complete() && !self.gone
    }
}

/// The fate of the message that asks.
#[derive(Debug)]
enum Fate {
    /// The message waits to be published, or its reply has not come.
    Open,
    Published,
    /// It is not known whether the message was published. An answer shows that it was heard.
    Unknown(CommandError),
}

/// One question.
#[derive(Debug)]
pub(in crate::engine) struct Request {
    pub(in crate::engine) nsp: ByteString,
    pub(in crate::engine) id: RequestId,
    pub(in crate::engine) wanted: Wanted,
    /// `true` if the question also has an effect. Then it is published even if no answer is
    /// expected any more.
    pub(in crate::engine) acts: bool,
    fate: Fate,
    /// `true` if the nodes that hear it are counted. They are not if only the one that has a socket
    /// answers.
    counts: bool,
    /// `true` if the number of subscribers is known. The question can't be over before that.
    counted: bool,
    /// The reason that the number of subscribers can't be known.
    uncountable: Option<CommandError>,
    nodes: BTreeMap<NodeId, Progress>,
    /// The number of these nodes that are still expected to answer.
    awaited: usize,
    /// The number of other nodes that subscribe: the highest of the counts before and after the
    /// question was published.
    subscribers: u64,
    /// The number of named nodes that are known to be among the subscribers.
    named: u64,
    /// `true` if some of the subscribers had no known name when they were counted.
    nameless: bool,
    /// `true` if this node itself may be among the subscribers.
    may_have_own: bool,
    /// The sum of all answers that don't name their sender, and the number of these answers.
    anonymous: Progress,
    answered_unnamed: u64,
    /// The nodes that answered through the stream without being expected. They may subscribe, too.
    late: Vec<NodeId>,
    /// The nodes that answered by Pub/Sub and that no roll since has been asked about. Each of them
    /// takes the place of a subscriber without a name, and this may be another node's place.
    strangers: BTreeSet<NodeId>,
    /// The names that must belong to some of the unnamed nodes.
    suspects: BTreeSet<NodeId>,
    /// The number of unnamed nodes that were missing at the last check.
    short: u64,
    /// The number of unnamed nodes that went away without an answer, and those of their names that
    /// are known.
    vanished: u64,
    vanished_names: Vec<NodeId>,
}

impl Request {
    /// Creates a question that is to be published. `counts` is `true` if the nodes that will hear
    /// it have to be counted.
    pub(in crate::engine) fn new(
        nsp: ByteString,
        id: RequestId,
        wanted: Wanted,
        acts: bool,
        counts: bool,
    ) -> Self {
        Request {
            nsp,
            id,
            wanted,
            acts,
            fate: Fate::Open,
            counts,
            counted: !counts,
            uncountable: None,
            nodes: BTreeMap::new(),
            awaited: 0,
            subscribers: 0,
            named: 0,
            nameless: false,
            may_have_own: false,
            anonymous: Progress::default(),
            answered_unnamed: 0,
            late: Vec::new(),
            strangers: BTreeSet::new(),
            suspects: BTreeSet::new(),
            short: 0,
            vanished: 0,
            vanished_names: Vec::new(),
        }
    }

    /// Creates a question to this node alone.
    pub(in crate::engine) fn local(nsp: ByteString, id: RequestId, wanted: Wanted) -> Self {
        Request { fate: Fate::Published, ..Self::new(nsp, id, wanted, false, false) }
    }

    /// Expects an answer of the node.
    pub(super) fn expect(&mut self, node: NodeId) {
        let progress = self.nodes.entry(node).or_insert_with(|| {
            self.awaited += 1;
            Progress::default()
        });
        // The node has come back before it was asked.
        if progress.gone && !progress.complete() {
            progress.gone = false;
            self.awaited += 1;
        }
    }

    pub(super) fn subscribes(&mut self, node: &NodeId) {
        if let Some(progress) = self.nodes.get_mut(node)
            && !core::mem::replace(&mut progress.subscriber, true)
        {
            self.named += 1;
        }
    }

    /// Expects answers of at least this many nodes without a name.
    pub(in crate::engine) fn expect_unnamed(&mut self, count: u64) {
        self.counted = true;
        self.subscribers = self.subscribers.max(count);
    }

    pub(in crate::engine) fn is_uncountable(&mut self, error: CommandError) {
        self.uncountable = Some(error);
    }

    /// Returns `true` if the nodes that hear the question are counted.
    pub(in crate::engine) fn counts(&self) -> bool {
        self.counts
    }

    /// Notes that the subscribers are being counted once more.
    pub(in crate::engine) fn is_being_counted(&mut self) {
        self.counted = false;
    }

    pub(in crate::engine) fn is_published(&mut self) {
        self.fate = Fate::Published;
    }

    /// Notes that it is not known whether the question was published. Answers may come until the
    /// time is up.
    pub(in crate::engine) fn is_doubtful(&mut self, error: CommandError) {
        self.fate = Fate::Unknown(error);
    }

    /// Returns `true` if it is not known whether the question was published.
    pub(in crate::engine) fn is_in_doubt(&self) -> bool {
        matches!(self.fate, Fate::Unknown(_))
    }

    /// Returns the number of answers that are still expected from nodes without a name.
    pub(in crate::engine) fn unnamed(&self) -> u64 {
        let known = self.named.saturating_add(self.answered_unnamed).saturating_add(self.vanished);
        self.subscribers.saturating_sub(known)
    }

    /// Counts the subscribers in the roll. `by_name` is `true` if answers name their sender. A
    /// stranger that the roll has been asked about is one no more.
    pub(super) fn counted(&mut self, roll: &Roll, by_name: bool) {
        let named = if by_name { roll.present().count() as u64 } else { 0 };
        self.nameless |= roll.others > named;
        self.introduce(roll);
        let all = self.with_past(roll);
        if all > self.subscribers {
            self.may_have_own = roll.may_have_own;
        }
        self.expect_unnamed(all);
    }

    /// Takes the nodes that the roll has been asked about off the strangers. Returns `true` if there
    /// are any.
    fn introduce(&mut self, roll: &Roll) -> bool {
        let before = self.strangers.len();
        self.strangers.retain(|node| roll.has(node).is_none());
        self.strangers.len() < before
    }

    /// Returns the number of subscribers in the roll, and of those that were counted by name and do
    /// not subscribe any more. They take no place among those that do.
    fn with_past(&self, roll: &Roll) -> u64 {
        let is_past =
            |(node, progress): &(&NodeId, &Progress)| progress.subscriber && roll.has(node) == Some(false);
        roll.others.saturating_add(self.nodes.iter().filter(is_past).count() as u64)
    }

    /// Returns the nodes that have been counted among the subscribers by name.
    pub(in crate::engine) fn subscribed(&self) -> impl Iterator<Item = &NodeId> {
        self.nodes.iter().filter(|(_, node)| node.subscriber).map(|(node, _)| node)
    }

    /// Returns `true` if the subscribers must be counted again. This is the case if those that will
    /// answer can't be told from those that came later.
    pub(in crate::engine) fn is_to_be_counted(&self) -> bool {
        !self.counted || self.nameless
    }

    /// Returns `true` if answers of subscribers are still expected, or may be.
    pub(in crate::engine) fn awaits_subscribers(&self) -> bool {
        self.unnamed() > 0
            || !self.strangers.is_empty()
            || self.anonymous.acks < self.anonymous.clients
            || self.awaited > 0
    }

    /// Returns `true` if a node has answered that may or may not have been counted, and the request
    /// waits for nothing but to know this.
    pub(in crate::engine) fn is_unsure(&self) -> bool {
        match self.unnamed() {
            0 => self.counted && !self.strangers.is_empty(),
            _ => !self.late.is_empty() && self.awaited == 0,
        }
    }

    /// Returns `true` if more is expected of the node, or `None` if the node is not known.
    pub(super) fn awaits(&self, node: &NodeId) -> Option<bool> {
        self.nodes.get(node).map(|node| node.is_awaited())
    }

    /// Returns the nodes of which more is expected.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &NodeId> {
        self.nodes.iter().filter(|(_, node)| node.is_awaited()).map(|(node, _)| node)
    }

    /// Returns the nodes whose subscriptions are to be checked. If nodes have answered that may or may
    /// not have been counted, or this node may have been, that is all the nodes that were counted by
    /// name.
    pub(in crate::engine) fn to_look_after(&self) -> impl Iterator<Item = &NodeId> {
        let are_all_meant = self.may_have_own || !self.late.is_empty();
        let is_meant = move |node: &Progress| node.subscriber && (node.is_awaited() || are_all_meant);
        let counted = self.nodes.iter().filter(move |(_, node)| is_meant(node));
        let unsure = self.late.iter().chain(&self.strangers).chain(&self.suspects);
        counted.map(|(node, _)| node).chain(unsure)
    }

    /// Takes an answer. Returns `true` if it counts. A node answers once, and acknowledges once for
    /// each client.
    pub(super) fn answer(&mut self, from: &NodeId, answer: &Answer, by_stream: bool, limit: usize) -> bool {
        if !self.nodes.contains_key(from) {
            if self.nodes.len() >= limit {
                return false;
            }
            self.expect(from.owned());
            if by_stream {
                // The node takes no other node's place, unless it also subscribes and was counted
                // for that.
                self.late.push(from.owned());
            } else {
                self.subscribes(from);
                if self.counts && !mutant!(StrangersBelieved) {
                    self.strangers.insert(from.owned());
                }
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

    /// Converts an answer that counts into its result for the caller.
    pub(in crate::engine) fn take(&mut self, answer: Answer) -> Taken {
        match (&mut self.wanted, answer) {
            (Wanted::SocketIds, Answer::Sockets(sockets)) => {
                Taken::Answer(Answer::SocketIds(sockets.into_iter().map(|socket| socket.id).collect()))
            }
            (Wanted::Rooms, Answer::Sockets(sockets)) => {
                let rooms: BTreeSet<ByteString> =
                    sockets.into_iter().flat_map(|socket| socket.rooms).collect();
                Taken::Answer(Answer::Rooms(rooms.into_iter().collect()))
            }
            (Wanted::Owner(order), Answer::Sockets(sockets)) => {
                match order.take_if(|_| !sockets.is_empty()) {
                    Some(order) => Taken::Owner(order),
                    None => Taken::Nothing,
                }
            }
            (_, answer) => Taken::Answer(answer),
        }
    }

    /// Takes an answer that does not name its sender. Answers of different nodes can't be told
    /// apart. Returns `true` if the answer counts.
    pub(in crate::engine) fn answer_unnamed(&mut self, answer: &Answer) -> bool {
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

    /// Notes that the node will not answer any more.
    pub(super) fn gone(&mut self, node: &NodeId) {
        if let Some(progress) = self.nodes.get_mut(node) {
            self.awaited -= usize::from(progress.is_awaited());
            progress.gone = true;
        }
    }

    /// Updates the question with the nodes that subscribe now, and returns the nodes that are given
    /// up. A node is given up when it is missing for the second time, because a subscription that
    /// is renewed is missing for a moment while its node is not.
    pub(super) fn look_after(&mut self, roll: &Roll) -> Vec<NodeId> {
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
        if self.introduce(roll) || !subscribers.is_empty() {
            // These nodes may have come back since the others were counted, while others are away.
            self.subscribers = self.subscribers.max(self.with_past(roll));
        }
        subscribers.iter().for_each(|node| self.subscribes(node));
        let accounted = |node: &&NodeId| self.nodes.get(*node).is_some_and(|node| node.subscriber);
        let accounted = roll.present().filter(accounted).count() as u64;
        let still_there = roll.others.saturating_sub(accounted);
        // If everybody who subscribes now is known by name, and none of those names was left out, it
        // is certain that nobody but this node itself can be the one that is still awaited without a
        // name. While others have no names, they can't be told from this node.
        let has_all = self.subscribed().all(|node| roll.has(node).is_some());
        if self.may_have_own && !roll.may_have_own && has_all && still_there == 0 {
            self.may_have_own = false;
            self.subscribers -= u64::from(self.unnamed() > 0);
        }
        let lost = self.unnamed().saturating_sub(still_there.saturating_add(self.may_have_own.into()));
        let vanished = lost.min(core::mem::replace(&mut self.short, lost));
        let suspects = roll.present().filter(|node| !self.nodes.contains_key(*node)).cloned().collect();
        let before = core::mem::replace(&mut self.suspects, suspects);
        if vanished > 0 {
            let names: Vec<NodeId> =
                before.into_iter().filter(|node| roll.has(node) == Some(false)).collect();
            // If there are more names than nodes, it can't be said which of them was expected to
            // answer.
            if names.len() as u64 <= vanished {
                self.vanished_names.extend(names);
            }
            self.vanished += vanished;
            self.short -= vanished;
        } else if lost > 0 {
            // The earlier suspects may be the nodes that are missing.
            self.suspects.extend(before);
        }
        gone
    }

    /// Returns `true` if no answer is expected any more.
    pub(in crate::engine) fn is_over(&self) -> bool {
        !matches!(self.fate, Fate::Open)
            && self.counted
            && self.unnamed() == 0
            && self.strangers.is_empty()
            && !matches!(self.wanted, Wanted::Owner(None))
            && self.anonymous.acks >= self.anonymous.clients
            && self.awaited == 0
    }

    /// Returns the outcome. `me` is this node, whose own answer doesn't show that any other node
    /// has heard.
    pub(in crate::engine) fn outcome(
        self,
        timed_out: bool,
        error: Option<CommandError>,
        me: &NodeId,
    ) -> Outcome {
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
            // The peers' numbers may be anything.
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

#[cfg(test)]
mod tests;
