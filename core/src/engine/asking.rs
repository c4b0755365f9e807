//! Questions to the other nodes: the nodes that are expected to answer, and the end of a request.
//!
//! A question waits in the queue like any other message. In the dialects whose nodes subscribe, the
//! command just before the question counts the subscribers. If some of them have no names, they are
//! counted once more when the question is published. A node that came in between and answers is
//! then not mistaken for one of those that were counted.

use std::collections::BTreeSet;

use bytestring::ByteString;

use super::outbox::{Outgoing, What};
use super::requests::{Request, Roll, Wanted};
use super::{CallError, Content, Engine, Purpose, Timer};
use crate::channel::escape_glob;
use crate::command::{Command, CommandError, CommandId, Lane, Reply};
use crate::config::Dialect;
use crate::event::Event;
use crate::id::{EntryId, NodeId, RequestId, Ticket};
use crate::message::Body;
use crate::packet::BroadcastOptions;

/// The interval at which the engine checks that subscribers are still there, while a namespace
/// awaits their answers.
const RECHECK: core::time::Duration = core::time::Duration::from_millis(500);

/// The subject of one `PUBSUB NUMSUB`. It asks for the number of subscriptions to the namespace's
/// channel, to this node's own channel, and to the channels of the other nodes whose names are
/// known.
#[derive(Debug)]
pub(super) struct Census {
    nsp: ByteString,
    names: Vec<NodeId>,
    /// The number of this node's own subscription, if it was in force when the command was made.
    own: Option<u64>,
}

impl Engine {
    /// Returns an error if no more requests may be open. A request that is over still counts while
    /// Redis has not answered the commands that it caused. There are at most two of these at a
    /// time.
    pub(super) fn admit_request(&self) -> Result<(), CallError> {
        let limit = self.cx.config.limits.requests;
        let open = self.requests.len() + self.counts.len();
        match open >= limit || self.cx.asking >= limit.saturating_mul(2) {
            true => Err(CallError::Full { what: "open requests", limit }),
            false => Ok(()),
        }
    }

    /// Opens a request and queues its question.
    pub(super) fn ask(
        &mut self,
        nsp: &str,
        id: RequestId,
        body: Body,
        wanted: Wanted,
        opts: &BroadcastOptions,
    ) -> Result<Ticket, CallError> {
        let name = self.open(nsp)?.0;
        if opts.flags.is_local() {
            return self.open_request(Request::local(name, id, wanted), None, opts);
        }
        let acts = matches!(body, Body::Broadcast { .. } | Body::ServerSideEmit { .. });
        let content = self.cx.config.content(&self.cx.uid, &name, &body)?;
        let request = Request::new(name, id, wanted, acts, self.cx.config.dialect.subscribes());
        self.open_request(request, Some(content), opts)
    }

    /// Opens a request, if the limits allow it. If other nodes are asked, it queues the question.
    pub(super) fn open_request(
        &mut self,
        request: Request,
        question: Option<Content>,
        opts: &BroadcastOptions,
    ) -> Result<Ticket, CallError> {
        self.admit_request()?;
        if let Some(content) = &question {
            self.outbox.admit(&self.cx, content.size())?;
        }
        let ticket = Ticket(self.cx.number());
        let (nsp, acts) = (request.nsp.clone(), request.acts);
        self.requests.insert(ticket, request);
        let timeout = opts.flags.timeout.unwrap_or(self.cx.config.request_timeout);
        if !mutant!(RequestTimeoutNotArmed) {
            self.cx.timers.arm(Timer::RequestTimeout(ticket), self.cx.now + timeout);
        }
        if let Some(content) = question {
            self.expect_members(ticket, &nsp);
            let size = content.size();
            let what = What::Request { ticket, acts };
            self.outbox.enqueue(&mut self.cx, Outgoing { nsp, content, what, effect: None, size });
        }
        Ok(ticket)
    }

    pub(super) fn expect_self(&mut self, ticket: Ticket) {
        let uid = self.cx.uid.clone();
        self.requests.expect(ticket, &uid);
    }

    /// Expects an answer from each node that is known by its heartbeats.
    pub(super) fn expect_members(&mut self, ticket: Ticket, nsp: &str) {
        if let Some(namespace) = self.cluster.namespaces.get(nsp) {
            namespace.members.names().for_each(|node| self.requests.expect(ticket, node));
        }
    }

    /// Returns the command that counts the nodes that will hear the question.
    pub(super) fn count_for(&mut self, ticket: Ticket) -> Option<(CommandId, Command)> {
        let request = self.requests.get_mut(ticket)?;
        let (nsp, subscribed) = (request.nsp.clone(), Vec::from_iter(request.subscribed().cloned()));
        let (census, command) = self.census(&nsp, subscribed)?;
        let id = CommandId(self.cx.number());
        self.cx.expect(id, None, Purpose::CountFor(ticket, Box::new(census)));
        Some((id, command))
    }

    /// Queues another count of the nodes that will hear the question. Returns its lane, or `None`
    /// if there is nothing to count.
    fn count_again(&mut self, ticket: Ticket) -> Option<Lane> {
        let (id, command) = self.count_for(ticket)?;
        let lane = command.lane();
        self.cx.lanes.push(id, command);
        Some(lane)
    }

    /// Returns the command that asks which nodes subscribe, and what it asks about. `also` names
    /// further nodes that must be checked.
    fn census(&self, nsp: &str, also: impl IntoIterator<Item = NodeId>) -> Option<(Census, Command)> {
        let (nsp, namespace) = self.cluster.namespaces.get_key_value(nsp)?;
        let bridges = namespace.members.bridge_names().filter(|_| !mutant!(BridgeCountedTwice));
        let mut names: Vec<NodeId> = namespace.known.iter().chain(bridges).cloned().chain(also).collect();
        names.retain(|name| *name != self.cx.uid);
        names.sort_unstable();
        names.dedup();
        let private = |name: &NodeId| self.cx.config.private_channel(nsp, name.as_str());
        let channels = [namespace.channel.clone(), private(&self.cx.uid)];
        let channels = channels.into_iter().chain(names.iter().map(private)).collect();
        let census = Census { nsp: nsp.clone(), names, own: namespace.subscribed_since() };
        Some((census, Command::PubSubNumSub { channels, sharded: self.cx.config.sharded() }))
    }

    /// Evaluates the numbers of a census. The names of nodes that do not subscribe any more are
    /// forgotten.
    fn roll(&mut self, census: Census, reply: Reply) -> Result<Roll, CommandError> {
        let counts = match reply {
            Reply::Counts(counts) if counts.len() == census.names.len() + 2 => counts,
            other => return Err(CommandError::of(Ok(other))),
        };
        let sharded = self.cx.config.sharded();
        let namespace = self.cluster.namespaces.get(&census.nsp);
        // The channels of sharded Pub/Sub lie on several servers, whose numbers are taken at
        // different moments. Moreover, a room may have a channel that looks like a node's.
        // Therefore at most one own subscription is believed, and only if this node knows that it
        // was in force all the time.
        let steady = census.own.is_some_and(|since| {
            namespace.is_some_and(|namespace| namespace.subscribed_since() == Some(since))
        });
        let own = if mutant!(OwnSubscriptionTaken) {
            1
        } else if sharded {
            counts[1].min(steady.into())
        } else {
            counts[1]
        };
        let one = |count: u64| if sharded { count.min(1) } else { count };
        let mut roll = Roll { may_have_own: sharded && !steady, ..Roll::default() };
        let total = counts[0].saturating_sub(own);
        let (mut named, mut present) = (0_u64, 0_u64);
        for (name, count) in census.names.into_iter().zip(counts.into_iter().skip(2)) {
            // A room may bear the name of the node, here or elsewhere. Its subscription can't be told
            // from the node's, so the node counts as present.
            let count = one(count);
            named = named.saturating_add(count);
            present += u64::from(count > 0);
            roll.named.insert(name, count);
        }
        // There are more named nodes than nodes in total, so other nodes have rooms that are named
        // like nodes.
        roll.is_doubtful = named > total;
        roll.others = match roll.is_doubtful {
            true => total,
            false => present.saturating_add(total - named),
        };
        if let Some(namespace) = self.cluster.namespaces.get_mut(&census.nsp) {
            namespace.known.retain(|name| roll.named.get(name) != Some(&0));
        }
        Ok(roll)
    }

    /// Handles the count of the subscribers for a request, or its error.
    pub(super) fn counted_for(&mut self, ticket: Ticket, census: Census, reply: Result<Reply, CommandError>) {
        let nsp = census.nsp.clone();
        match reply.and_then(|reply| self.roll(census, reply)) {
            // Meanwhile a node has answered that the census did not ask for by name. It may have
            // left since.
            Ok(roll) if self.requests.has_strangers(ticket, &roll) => drop(self.count_again(ticket)),
            Ok(roll) => {
                // The answers of the classic dialect carry no names.
                let by_name = self.cx.config.dialect != Dialect::Classic;
                self.requests.expect_all(ticket, &roll, by_name);
                self.finish_if_over(ticket);
            }
            // It does no harm to count once more.
            Err(CommandError::NotSent(_) | CommandError::Lost(_)) if self.requests.contains(ticket) => {
                if let Some(lane) = self.count_again(ticket) {
                    self.cx.rest(&lane);
                }
            }
            Err(error) => {
                if let Some(request) = self.requests.get_mut(ticket) {
                    request.is_uncountable(error);
                }
            }
        }
        self.recheck_later(&nsp, ticket);
    }

    /// Handles a question that has been published.
    pub(super) fn request_published(&mut self, ticket: Ticket, acts: bool, entry: Option<EntryId>) {
        let Some(request) = self.requests.get_mut(ticket) else {
            // The request was over before. This event is all that is left to tell.
            if acts {
                self.cx.events.push_back(Event::Published { ticket, entry });
            }
            return;
        };
        request.is_published();
        let nsp = request.nsp.clone();
        if self.cx.config.dialect.subscribes()
            && request.is_to_be_counted()
            && self.count_again(ticket).is_some()
            && let Some(request) = self.requests.get_mut(ticket)
        {
            request.is_being_counted();
        }
        self.finish_if_over(ticket);
        self.recheck_later(&nsp, ticket);
    }

    /// Handles an answer of another node as a sign that the question was heard. If the fate of the
    /// question was unknown, the answer shows that it was published, perhaps just now. The nodes
    /// that were counted before may not be the nodes that have heard it.
    pub(super) fn request_heard(&mut self, ticket: Ticket) {
        if self.requests.get_mut(ticket).is_some_and(|request| request.is_in_doubt()) {
            self.request_published(ticket, false, None);
        }
    }

    /// Handles a question that was not published, or whose fate is unknown.
    pub(super) fn request_failed(&mut self, ticket: Ticket, acts: bool, error: CommandError) {
        match (self.requests.get_mut(ticket), error) {
            // The question may have been heard. Answers may come until the time is up.
            (Some(request), error @ CommandError::Lost(_)) => request.is_doubtful(error),
            (Some(_), error) => self.finish_request(ticket, false, Some(error)),
            (None, error) if acts => self.cx.events.push_back(Event::PublishFailed { ticket, error }),
            (None, _) => {}
        }
    }

    /// Arms the timer of the next check, if answers of subscribers are awaited in the namespace.
    /// The check finds out which of these subscribers are still there.
    fn recheck_later(&mut self, nsp: &ByteString, ticket: Ticket) {
        let request = self.requests.get_mut(ticket);
        if self.cx.config.dialect.subscribes()
            && request.is_some_and(|request| request.awaits_subscribers())
            && let Some(namespace) = self.cluster.namespaces.get_mut(nsp)
            && !core::mem::replace(&mut namespace.rechecking, true)
        {
            self.cx.timers.arm(Timer::Recheck(nsp.clone()), self.cx.now + RECHECK);
        }
    }

    /// Handles an answer from a node that was not known to subscribe. The engine can ask at once
    /// whether it does.
    pub(super) fn recheck_if_late(&mut self, ticket: Ticket) {
        let Some(request) = self.requests.get_mut(ticket) else { return };
        if request.is_unsure() && self.cx.config.dialect.subscribes() {
            let nsp = request.nsp.clone();
            self.recheck_later(&nsp, ticket);
            // Many requests may be answered late at the same time. One check serves them all.
            let last = self.cluster.namespaces.get(&nsp).and_then(|namespace| namespace.rechecked);
            let at = last.map_or(self.cx.now, |last| self.cx.now.max(last + RECHECK / 3));
            self.cx.timers.hasten(&Timer::Recheck(nsp), at);
        }
    }

    /// Asks which of the subscribers are still there. If some of them have no names, it asks for
    /// the names first.
    pub(super) fn recheck(&mut self, nsp: &ByteString) {
        let unnamed = |request: &Request| request.unnamed() > 0;
        let waits = self.requests.awaiting_subscribers(nsp).next().is_some();
        let unnamed = self.requests.awaiting_subscribers(nsp).any(|(_, request)| unnamed(request));
        let Some(namespace) = self.cluster.namespaces.get_mut(nsp) else { return };
        namespace.rechecked = Some(self.cx.now);
        if !waits {
            namespace.rechecking = false;
        } else if unnamed
            && !self.cx.config.rooms_are_channels()
            && self.cx.config.dialect != Dialect::Classic
        {
            let pattern = format!("{}*#", escape_glob(&self.cx.config.response_prefix(nsp))).into();
            let sharded = self.cx.config.sharded();
            self.cx.command(Command::PubSubChannels { pattern, sharded }, Purpose::Names(nsp.clone()));
        } else {
            self.look_after(nsp);
        }
    }

    /// Handles the list of a namespace's channels. Each node has a channel of its own, which bears
    /// the node's name.
    pub(super) fn listed(&mut self, nsp: &ByteString, reply: Result<Reply, CommandError>) {
        let Some(namespace) = self.cluster.namespaces.get_mut(nsp) else { return };
        // Without a list the requests still end in time. The missing nodes then just have no names.
        if let Ok(Reply::Channels(channels)) = reply {
            let prefix = self.cx.config.response_prefix(nsp);
            let room = self.cx.config.limits.nodes.saturating_sub(namespace.known.len());
            let name_in = |channel: &ByteString| {
                let name = channel.strip_prefix(&*prefix)?.strip_suffix('#')?;
                // The adapters draw names of this form. Any other channel belongs to a namespace
                // whose name begins with the same text.
                let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                let is_name = name.len() == 16 && name.bytes().all(is_digit);
                is_name.then(|| NodeId::new(name.to_owned()))
            };
            let known = &namespace.known;
            let new = channels.iter().filter_map(name_in);
            let new = new.filter(|name| *name != self.cx.uid && !known.contains(name)).take(room);
            let new: Vec<NodeId> = new.collect();
            namespace.known.extend(new);
        }
        self.look_after(nsp);
    }

    fn look_after(&mut self, nsp: &ByteString) {
        let all = self.requests.awaiting_subscribers(nsp);
        let awaited: BTreeSet<NodeId> =
            all.flat_map(|(_, request)| request.to_look_after().cloned()).collect();
        if let Some((census, command)) = self.census(nsp, awaited) {
            self.cx.command(command, Purpose::Recheck(Box::new(census)));
        }
    }

    /// Handles the reply that says which nodes subscribe in the namespace, or its error.
    pub(super) fn looked_after(&mut self, census: Census, reply: Result<Reply, CommandError>) {
        let nsp = census.nsp.clone();
        if let Ok(roll) = reply.and_then(|reply| self.roll(census, reply)) {
            let awaiting: Vec<Ticket> =
                self.requests.awaiting_subscribers(&nsp).map(|(ticket, _)| ticket).collect();
            for ticket in awaiting {
                self.requests.look_after(ticket, &roll);
                self.finish_if_over(ticket);
            }
        }
        if let Some(namespace) = self.cluster.namespaces.get_mut(&nsp) {
            namespace.rechecking = false;
        }
        let first = self.requests.awaiting_subscribers(&nsp).next().map(|(ticket, _)| ticket);
        if let Some(ticket) = first {
            self.recheck_later(&nsp, ticket);
        }
    }

    /// Asks for the number of servers.
    pub(super) fn count_servers(&mut self, ticket: Ticket, nsp: &ByteString) {
        if let Some((census, command)) = self.census(nsp, None) {
            let id = self.cx.command(command, Purpose::ServerCount(ticket, Box::new(census)));
            self.counts.insert(ticket, (nsp.clone(), id));
        }
    }

    /// Handles the count of the servers, or its error.
    pub(super) fn servers_counted(
        &mut self,
        ticket: Ticket,
        census: Census,
        reply: Result<Reply, CommandError>,
    ) {
        if self.counts.remove(&ticket).is_none() {
            return;
        }
        let nsp = census.nsp.clone();
        let count = match reply.and_then(|reply| self.roll(census, reply)) {
            // It does no harm to count once more.
            Err(CommandError::NotSent(_) | CommandError::Lost(_)) => {
                self.count_servers(ticket, &nsp);
                return self.cx.rest(&Lane::Writer);
            }
            Ok(roll) => {
                let members = self.cluster.namespaces.get(&nsp).map(|namespace| &namespace.members);
                let subscribes = |name: &&NodeId| roll.has(name) == Some(true);
                let others = members.map_or(0, |all| all.names().filter(|name| !subscribes(name)).count());
                Ok(roll.others.saturating_add(1 + others as u64))
            }
            Err(error) => Err(error),
        };
        self.cx.timers.cancel(&Timer::RequestTimeout(ticket));
        self.cx.events.push_back(Event::ServerCount { ticket, count });
    }

    /// Handles a request whose time is up.
    pub(super) fn request_due(&mut self, ticket: Ticket) {
        self.finish_request(ticket, true, None);
        self.servers_not_counted(ticket, "Redis did not answer in time");
    }

    /// Ends the server counts of a namespace that is closed.
    pub(super) fn counts_closed(&mut self, nsp: &str) {
        let counts = self.counts.iter().filter(|(_, (of, _))| of == nsp);
        for ticket in Vec::from_iter(counts.map(|(ticket, _)| *ticket)) {
            self.servers_not_counted(ticket, "the namespace was closed");
        }
    }

    fn servers_not_counted(&mut self, ticket: Ticket, why: &str) {
        if let Some((_, command)) = self.counts.remove(&ticket) {
            self.cx.withdraw(&Lane::Writer, command);
            self.cx.timers.cancel(&Timer::RequestTimeout(ticket));
            let count = Err(CommandError::NotSent(why.into()));
            self.cx.events.push_back(Event::ServerCount { ticket, count });
        }
    }

    pub(super) fn finish_if_over(&mut self, ticket: Ticket) {
        if self.requests.get_mut(ticket).is_some_and(|request| request.is_over()) {
            self.finish_request(ticket, false, None);
        }
    }

    pub(super) fn finish_request(&mut self, ticket: Ticket, timed_out: bool, error: Option<CommandError>) {
        if let Some(request) = self.requests.remove(ticket) {
            self.cx.timers.cancel(&Timer::RequestTimeout(ticket));
            let outcome = request.outcome(timed_out, error, &self.cx.uid);
            self.cx.events.push_back(Event::RequestDone { ticket, outcome });
        }
    }
}
