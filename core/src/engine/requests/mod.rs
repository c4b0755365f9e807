//! Questions to the other nodes: the nodes that are expected to answer, those that have answered,
//! and the end of each question.
//!
//! One implementation serves all dialects; `docs/guarantees.md` has the table. Nodes that send
//! heartbeats are expected by name. Nodes that subscribe are counted. Those of them whose names are
//! known are expected by name, and the others by number. Answers in the classic dialect carry no
//! names, so there all nodes are expected by number.

mod answers;
mod counting;
mod request;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use hashbrown::HashMap;

use super::by_namespace::ByNamespace;
use super::context::Context;
use super::timers::Timer;
use crate::command::{CommandError, CommandId};
use crate::error::{CallError, Limit};
use crate::event::{Answer, Event};
use crate::hash::Keyed;
use crate::id::{NodeId, RequestId, Ticket};
use crate::message::Body;
use crate::wire::classic::Asked;
use counting::Check;
pub(super) use request::Request;

/// The kind of answer that a question asks for.
#[derive(Debug)]
pub(super) enum Wanted {
    Sockets,
    SocketIds,
    Rooms,
    Values,
    Acks,
    /// The node that has a socket. That node is then sent this order. `None` means that it has been
    /// sent.
    Owner(Option<Box<Body>>),
}

/// The result of taking an answer.
#[derive(Debug)]
pub(super) enum Taken {
    Answer(Answer),
    /// The sender has the socket, and is to be sent this order.
    Owner(Box<Body>),
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
    /// The open server counts of the application: the namespace of each, and the command that
    /// counts.
    counts: BTreeMap<Ticket, (ByteString, CommandId)>,
    /// The checks of the namespaces whose subscribers owe answers, or owed some before.
    checks: BTreeMap<ByteString, Check>,
}

impl Requests {
    pub(super) fn new(hash: Keyed) -> Self {
        Requests {
            open: BTreeMap::new(),
            by_id: HashMap::with_hasher(hash),
            by_namespace: ByNamespace::new(hash),
            by_node: HashMap::with_hasher(hash),
            counts: BTreeMap::new(),
            checks: BTreeMap::new(),
        }
    }

    /// Returns an error if no more requests may be open. A request that is over still counts while
    /// Redis has not answered the commands that it caused. There are at most two of these at a
    /// time.
    pub(super) fn admit(&self, cx: &Context) -> Result<(), CallError> {
        let limit = cx.config.limits.requests;
        let open = self.open.len() + self.counts.len();
        match open >= limit || cx.asking >= limit.saturating_mul(2) {
            true => Err(CallError::Full { what: Limit::Requests, limit }),
            false => Ok(()),
        }
    }

    /// Opens a request. `timeout` defaults to the option of that name.
    pub(super) fn open(&mut self, cx: &mut Context, request: Request, timeout: Option<Duration>) -> Ticket {
        let ticket = Ticket(cx.number());
        self.insert(ticket, request);
        if !mutant!(RequestTimeoutNotArmed) {
            let timeout = timeout.unwrap_or(cx.config.request_timeout);
            cx.timers.arm(Timer::RequestTimeout(ticket), cx.now + timeout);
        }
        ticket
    }

    fn insert(&mut self, ticket: Ticket, request: Request) {
        self.by_id.insert(request.id.clone(), ticket);
        self.by_namespace.insert(&request.nsp, ticket);
        self.open.insert(ticket, request);
    }

    /// Ends the request if no answer is expected any more.
    pub(super) fn finish_if_over(&mut self, cx: &mut Context, ticket: Ticket) {
        if self.open.get(&ticket).is_some_and(Request::is_over) {
            self.finish(cx, ticket, false, None);
        }
    }

    /// Ends a request with the answers that have come.
    pub(super) fn finish(
        &mut self,
        cx: &mut Context,
        ticket: Ticket,
        timed_out: bool,
        error: Option<CommandError>,
    ) {
        if let Some(request) = self.remove(ticket) {
            cx.timers.cancel(&Timer::RequestTimeout(ticket));
            let outcome = request.outcome(timed_out, error, &cx.uid);
            cx.events.push_back(Event::RequestDone { ticket, outcome });
        }
    }

    /// Ends a request, or a server count, whose time is up.
    pub(super) fn due(&mut self, cx: &mut Context, ticket: Ticket) {
        self.finish(cx, ticket, true, None);
        self.servers_not_counted(cx, ticket, "Redis did not answer in time");
    }

    /// Ends the requests and the server counts of a namespace that is closed.
    pub(super) fn closed(&mut self, cx: &mut Context, nsp: &str) {
        for ticket in self.by_namespace.of(nsp) {
            self.finish(cx, ticket, false, None);
        }
        let counts = self.counts.iter().filter(|(_, (of, _))| of == nsp);
        for ticket in Vec::from_iter(counts.map(|(ticket, _)| *ticket)) {
            self.servers_not_counted(cx, ticket, "the namespace was closed");
        }
        if let Some((nsp, _)) = self.checks.remove_entry(nsp) {
            cx.timers.cancel(&Timer::Recheck(nsp));
        }
    }

    /// Expects an answer from the node that has the socket, whichever it is.
    pub(super) fn expect_owner(&mut self, ticket: Ticket) {
        if let Some(request) = self.open.get_mut(&ticket) {
            request.expect_unnamed(1);
        }
    }

    pub(super) fn contains(&self, ticket: Ticket) -> bool {
        self.open.contains_key(&ticket)
    }

    /// Returns `true` if the nodes that will hear the question are to be counted before it is sent,
    /// or `None` if the request is over.
    pub(super) fn counts(&self, ticket: Ticket) -> Option<bool> {
        self.open.get(&ticket).map(Request::counts)
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

    /// Notes that the node will not answer any more. Requests that waited for nobody else end.
    pub(super) fn node_is_down(&mut self, cx: &mut Context, nsp: &ByteString, node: &NodeId) {
        for ticket in self.gone(nsp, node) {
            self.finish_if_over(cx, ticket);
        }
    }

    /// Notes that the node will not answer any more. Returns the requests that waited for it.
    fn gone(&mut self, nsp: &ByteString, node: &NodeId) -> BTreeSet<Ticket> {
        let waiting = self.by_node.remove(&(nsp.clone(), node.clone())).unwrap_or_default();
        for ticket in &waiting {
            if let Some(request) = self.open.get_mut(ticket) {
                request.gone(node);
            }
        }
        waiting
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

    fn remove(&mut self, ticket: Ticket) -> Option<Request> {
        for node in Vec::from_iter(self.open.get(&ticket)?.awaited().cloned()) {
            self.awaits_no_more(ticket, &node);
        }
        let request = self.open.remove(&ticket)?;
        self.by_id.remove(&request.id);
        self.by_namespace.remove(&request.nsp, ticket);
        Some(request)
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
            requests.counts_answer(Ticket(number), &node("a"), &Answer::Emit(Payload::null()), true, 10);
        }
        assert_eq!(requests.gone(&"/".into(), &node("a")), BTreeSet::from([Ticket(999)]));
        (0..1_000).for_each(|number| drop(requests.remove(Ticket(number))));
        assert!(requests.by_node.is_empty() && requests.by_id.is_empty());
    }
}
