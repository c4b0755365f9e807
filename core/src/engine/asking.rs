//! Asking the other nodes: who is expected to answer, and when it is over.

use bytestring::ByteString;

use super::channels::escape_glob;
use super::line::{Outgoing, What};
use super::requests::{Request, Wanted};
use super::{CallError, Engine, Purpose, Timer};
use crate::command::{Command, CommandError};
use crate::event::{Event, Ticket};
use crate::id::RequestId;
use crate::message::Body;
use crate::packet::BroadcastOptions;

/// While answers are awaited from nodes that are known by their subscriptions only, it is looked after them this often.
const RECHECK: core::time::Duration = core::time::Duration::from_millis(500);

impl Engine {
    /// Whether one more request may be open. One that is over counts as long as Redis has not answered what it asked: at most two commands
    /// at a time.
    pub(super) fn admit_request(&self) -> Result<(), CallError> {
        let limit = self.config.limits.requests;
        match self.requests.len() >= limit || self.asking >= limit.saturating_mul(2) {
            true => Err(CallError::Full { what: "open requests", limit }),
            false => Ok(()),
        }
    }

    /// Opens a request. It is not sent yet.
    pub(super) fn ask(
        &mut self,
        nsp: &str,
        id: RequestId,
        body: Body,
        wanted: Wanted,
        opts: &BroadcastOptions,
    ) -> Result<Ticket, CallError> {
        let name = self.open(nsp)?.0;
        // Encoded at once, so that it is refused at once.
        let question = match opts.flags.is_local() {
            true => None,
            false => Some(self.config.content(&self.uid, &name, &body)?),
        };
        self.open_request(Request::new(name, id, wanted, question), opts)
    }

    /// Opens a request, if there is room for it.
    pub(super) fn open_request(
        &mut self,
        request: Request,
        opts: &BroadcastOptions,
    ) -> Result<Ticket, CallError> {
        self.admit_request()?;
        if let Some(content) = &request.unsent {
            self.admit(content.size())?;
        }
        let ticket = Ticket(self.number());
        self.requests.insert(ticket, request);
        let timeout = opts.flags.timeout.unwrap_or(self.config.request_timeout);
        if !mutant!(RequestTimeoutNotArmed) {
            self.timers.arm(Timer::RequestTimeout(ticket), self.now + timeout);
        }
        Ok(ticket)
    }

    pub(super) fn expect_self(&mut self, ticket: Ticket) {
        let uid = self.uid.clone();
        if let Some(request) = self.requests.get_mut(ticket) {
            request.expect(uid);
        }
    }

    /// Finds out who will answer, and sends the request.
    pub(super) fn ask_others(&mut self, ticket: Ticket) {
        let Some(request) = self.requests.get_mut(ticket) else { return };
        let (nsp, local) = (request.nsp.clone(), request.unsent.is_none());
        if local {
            self.finish_if_over(ticket);
        } else if self.config.dialect.subscribes() {
            self.ask_count(ticket, &nsp);
        } else {
            self.send_request(ticket, 0);
        }
    }

    pub(super) fn ask_count(&mut self, ticket: Ticket, nsp: &ByteString) {
        if let Some(namespace) = self.namespaces.get(nsp) {
            let (channel, sharded) = (namespace.channel.clone(), self.config.sharded());
            self.command(Command::PubSubNumSub { channel, sharded }, Purpose::CountFor(ticket));
        }
    }

    /// How many of the subscribers are nodes that nothing else tells of.
    pub(super) fn silent_subscribers(&self, nsp: &str, subscribers: u64) -> u64 {
        let bridges = self.namespaces.get(nsp).map_or(0, |namespace| namespace.members.bridges());
        subscribers.saturating_sub(1 + if mutant!(BridgeCountedTwice) { 0 } else { bridges as u64 })
    }

    /// Sends a request; `unnamed` nodes will answer beside those that are known by name.
    pub(super) fn send_request(&mut self, ticket: Ticket, unnamed: u64) {
        let Some(request) = self.requests.get_mut(ticket) else { return };
        let Some(content) = request.unsent.take() else { return };
        let nsp = request.nsp.clone();
        request.expect_unnamed(unnamed);
        if let Some(namespace) = self.namespaces.get(&nsp) {
            namespace.members.names().for_each(|node| request.expect(node.clone()));
        }
        let size = content.size();
        self.enqueue(Outgoing { content, what: What::Request(ticket), effect: None, size });
        self.published_in(&nsp);
        self.finish_if_over(ticket);
        self.recheck_later(ticket);
    }

    pub(super) fn recheck_later(&mut self, ticket: Ticket) {
        let open = self.requests.get_mut(ticket).is_some_and(|request| request.awaits_subscribers());
        if open && self.config.dialect.subscribes() {
            self.timers.arm(Timer::Recheck(ticket), self.now + RECHECK);
        }
    }

    /// Asks which of the subscribers are still there.
    pub(super) fn recheck(&mut self, ticket: Ticket) {
        let Some(request) = self.requests.get_mut(ticket) else { return };
        let pattern = format!("{}*#", escape_glob(&self.config.response_prefix(&request.nsp))).into();
        let sharded = self.config.sharded();
        self.command(Command::PubSubChannels { pattern, sharded }, Purpose::ListFor(ticket));
    }

    pub(super) fn finish_if_over(&mut self, ticket: Ticket) {
        if self.requests.get_mut(ticket).is_some_and(|request| request.is_over()) {
            self.finish_request(ticket, false, None);
        }
    }

    pub(super) fn finish_request(&mut self, ticket: Ticket, timed_out: bool, error: Option<CommandError>) {
        if let Some(request) = self.requests.remove(ticket) {
            self.timers.cancel(&Timer::RequestTimeout(ticket));
            self.timers.cancel(&Timer::Recheck(ticket));
            let outcome = request.outcome(timed_out, error);
            self.events.push_back(Event::RequestDone { ticket, outcome });
        }
    }
}
