//! The nodes that hear a question: how they are counted when it is asked, and whether they are
//! still there to answer.
//!
//! A question waits in the outbox like any other message. In the dialects whose nodes subscribe,
//! the command just before the question counts the subscribers. If some of them have no names, they
//! are counted once more when the question is published. A node that came in between and answers is
//! then not mistaken for one of those that were counted.
//!
//! A node that was away when the subscribers were counted may come back and answer. Before a name
//! that no count has shown ends a question, a check therefore counts once more, by that name, too.

use core::time::Duration;
use std::collections::BTreeSet;

use bytestring::ByteString;

use super::{Request, Requests};
use crate::channel::escape_glob;
use crate::command::{Command, CommandError, CommandId, Lane};
use crate::config::Dialect;
use crate::engine::context::Context;
use crate::engine::purpose::Purpose;
use crate::engine::roll::Roll;
use crate::engine::timers::Timer;
use crate::event::{Answer, Event};
use crate::id::{EntryId, NodeId, Ticket};
use crate::time::Time;

/// The interval at which the engine checks that subscribers are still there, while a namespace
/// awaits their answers.
const RECHECK: Duration = Duration::from_millis(500);

/// The check of the subscribers of a namespace.
#[derive(Debug, Default)]
pub(super) struct Check {
    /// `true` if it is under way or scheduled.
    is_planned: bool,
    /// The time of the last one.
    last: Option<Time>,
}

impl Requests {
    /// Expects answers of the subscribers in the roll.
    fn expect_all(&mut self, ticket: Ticket, roll: &Roll, by_name: bool) {
        let by_name = by_name && !roll.is_doubtful;
        let named = roll.present().filter(|_| by_name);
        for node in named {
            self.expect(ticket, node);
        }
        let Some(request) = self.open.get_mut(&ticket) else { return };
        roll.present().filter(|_| by_name).for_each(|node| request.subscribes(node));
        request.counted(roll, by_name);
    }

    /// Returns the namespace of a question, and the nodes that have been counted by name among those
    /// that hear it.
    pub(in crate::engine) fn to_count(&self, ticket: Ticket) -> Option<(ByteString, Vec<NodeId>)> {
        let request = self.open.get(&ticket)?;
        Some((request.nsp.clone(), request.subscribed().cloned().collect()))
    }

    /// Takes the count of the nodes that hear the question, or its error. Returns `true` if Redis was
    /// not reached. The count does no harm, so it is to be made again.
    pub(in crate::engine) fn counted(
        &mut self,
        cx: &mut Context,
        ticket: Ticket,
        roll: Result<Roll, CommandError>,
    ) -> bool {
        match roll {
            Ok(roll) => {
                // The answers of the classic dialect carry no names.
                let by_name = cx.config.dialect != Dialect::Classic;
                self.expect_all(ticket, &roll, by_name);
                self.finish_if_over(cx, ticket);
                self.check_if_unsure(cx, ticket);
            }
            Err(CommandError::NotSent(_) | CommandError::Lost(_)) => return self.contains(ticket),
            Err(error) => {
                if let Some(request) = self.open.get_mut(&ticket) {
                    request.is_uncountable(error);
                }
            }
        }
        false
    }

    /// Notes that the question has been published. Returns `true` if the nodes that hear it have to
    /// be counted again.
    pub(in crate::engine) fn published(
        &mut self,
        cx: &mut Context,
        ticket: Ticket,
        acts: bool,
        entry: Option<EntryId>,
    ) -> bool {
        let Some(request) = self.open.get_mut(&ticket) else {
            // The request was over before. This event is all that is left to tell.
            if acts {
                cx.events.push_back(Event::Published { ticket, entry });
            }
            return false;
        };
        request.is_published();
        cx.config.dialect.subscribes() && request.is_to_be_counted()
    }

    /// Notes that the nodes that hear the question are being counted once more.
    pub(in crate::engine) fn is_being_counted(&mut self, ticket: Ticket) {
        if let Some(request) = self.open.get_mut(&ticket) {
            request.is_being_counted();
        }
    }

    /// Ends the question if it is over, or watches those that still owe answers.
    pub(in crate::engine) fn go_on(&mut self, cx: &mut Context, ticket: Ticket) {
        if let Some(request) = self.open.get(&ticket) {
            let nsp = request.nsp.clone();
            self.finish_if_over(cx, ticket);
            self.check_later(cx, &nsp, ticket);
        }
    }

    /// Handles a question that was not published, or whose fate is unknown.
    pub(in crate::engine) fn failed(
        &mut self,
        cx: &mut Context,
        ticket: Ticket,
        acts: bool,
        error: CommandError,
    ) {
        match (self.open.get_mut(&ticket), error) {
            // The question may have been heard. Answers may come until the time is up.
            (Some(request), error @ CommandError::Lost(_)) => request.is_doubtful(error),
            (Some(_), error) => self.finish(cx, ticket, false, Some(error)),
            (None, error) if acts => cx.events.push_back(Event::PublishFailed { ticket, error }),
            (None, _) => {}
        }
    }

    /// Handles an order that has been published: the node that has the socket will hear it.
    pub(in crate::engine) fn order_published(
        &mut self,
        cx: &mut Context,
        ticket: Ticket,
        entry: Option<EntryId>,
    ) {
        if !self.contains(ticket) {
            // The request was over before. This event is all that is left to tell.
            cx.events.push_back(Event::Published { ticket, entry });
        } else {
            cx.events.push_back(Event::Answer { ticket, from: None, answer: Answer::Done });
            self.finish(cx, ticket, false, None);
        }
    }

    /// Handles an order that was not published, or whose fate is unknown.
    pub(in crate::engine) fn order_failed(&mut self, cx: &mut Context, ticket: Ticket, error: CommandError) {
        match self.contains(ticket) {
            true => self.finish(cx, ticket, false, Some(error)),
            false => cx.events.push_back(Event::PublishFailed { ticket, error }),
        }
    }

    /// Returns the open requests of a namespace that wait for subscribers.
    fn awaiting(&self, nsp: &str) -> impl Iterator<Item = (Ticket, &Request)> {
        let of = self.by_namespace.of(nsp).into_iter();
        let open = of.filter_map(|ticket| Some((ticket, self.open.get(&ticket)?)));
        open.filter(|(_, request)| request.awaits_subscribers())
    }

    /// Arms the timer of the next check, if the question awaits answers of subscribers. The check
    /// finds out which of these subscribers are still there.
    pub(in crate::engine) fn check_later(&mut self, cx: &mut Context, nsp: &ByteString, ticket: Ticket) {
        if cx.config.dialect.subscribes()
            && self.open.get(&ticket).is_some_and(Request::awaits_subscribers)
            && !core::mem::replace(&mut self.checks.entry(nsp.clone()).or_default().is_planned, true)
        {
            cx.timers.arm(Timer::Recheck(nsp.clone()), cx.now + RECHECK);
        }
    }

    /// Handles an answer from a node that was not known to subscribe. If nothing else is awaited,
    /// the engine asks at once how many nodes subscribe now.
    pub(in crate::engine) fn check_if_unsure(&mut self, cx: &mut Context, ticket: Ticket) {
        let Some(request) = self.open.get(&ticket) else { return };
        if request.is_unsure() && cx.config.dialect.subscribes() {
            let nsp = request.nsp.clone();
            self.check_later(cx, &nsp, ticket);
            // Many requests may be unsure at the same time. One check serves them all.
            let last = self.checks.get(&nsp).and_then(|check| check.last);
            let at = last.map_or(cx.now, |last| cx.now.max(last + RECHECK / 3));
            cx.timers.hasten(&Timer::Recheck(nsp), at);
        }
    }

    /// Begins a check. If some of the subscribers have no names, it asks for the names first. It
    /// returns `true` if the nodes can be [looked after](Requests::to_look_after) at once.
    pub(in crate::engine) fn check(&mut self, cx: &mut Context, nsp: &ByteString) -> bool {
        let waits = self.awaiting(nsp).next().is_some();
        let unnamed = self.awaiting(nsp).any(|(_, request)| request.unnamed() > 0);
        let check = self.checks.entry(nsp.clone()).or_default();
        check.last = Some(cx.now);
        if !waits {
            check.is_planned = false;
            return false;
        }
        let listable = !cx.config.rooms_are_channels() && cx.config.dialect != Dialect::Classic;
        if unnamed && listable {
            let pattern = format!("{}*#", escape_glob(&cx.config.response_prefix(nsp))).into();
            let sharded = cx.config.sharded();
            cx.command(Command::PubSubChannels { pattern, sharded }, Purpose::Names(nsp.clone()));
        }
        !(unnamed && listable)
    }

    /// Returns the nodes of a namespace that owe answers.
    pub(in crate::engine) fn to_look_after(&self, nsp: &str) -> BTreeSet<NodeId> {
        self.awaiting(nsp).flat_map(|(_, request)| request.to_look_after().cloned()).collect()
    }

    /// Handles the reply that says which nodes subscribe in the namespace, or its error.
    pub(in crate::engine) fn looked_after(
        &mut self,
        cx: &mut Context,
        nsp: &ByteString,
        roll: Result<Roll, CommandError>,
    ) {
        if let Ok(roll) = roll {
            let awaiting: Vec<Ticket> = self.awaiting(nsp).map(|(ticket, _)| ticket).collect();
            for ticket in awaiting {
                self.look_after(ticket, &roll);
                self.finish_if_over(cx, ticket);
            }
        }
        if let Some(check) = self.checks.get_mut(nsp) {
            check.is_planned = false;
        }
        let unsure = self.awaiting(nsp).find(|(_, request)| request.is_unsure());
        if let Some(ticket) = unsure.map(|(ticket, _)| ticket) {
            self.check_if_unsure(cx, ticket);
        }
        let first = self.awaiting(nsp).next().map(|(ticket, _)| ticket);
        if let Some(ticket) = first {
            self.check_later(cx, nsp, ticket);
        }
    }

    /// Updates the request with the nodes that subscribe now.
    fn look_after(&mut self, ticket: Ticket, roll: &Roll) {
        let Some(request) = self.open.get_mut(&ticket) else { return };
        for node in request.look_after(roll) {
            self.awaits_no_more(ticket, &node);
        }
    }

    /// Notes that this command counts the servers of the namespace.
    pub(in crate::engine) fn counts_servers(&mut self, ticket: Ticket, nsp: ByteString, command: CommandId) {
        self.counts.insert(ticket, (nsp, command));
    }

    /// Returns `true` if the application still waits for this count of the servers. It does not wait
    /// any more afterwards.
    pub(in crate::engine) fn servers_counted(&mut self, ticket: Ticket) -> bool {
        self.counts.remove(&ticket).is_some()
    }

    /// Tells the application how many servers there are.
    pub(in crate::engine) fn tell_servers(
        &mut self,
        cx: &mut Context,
        ticket: Ticket,
        count: Result<u64, CommandError>,
    ) {
        cx.timers.cancel(&Timer::RequestTimeout(ticket));
        cx.events.push_back(Event::ServerCount { ticket, count });
    }

    pub(super) fn servers_not_counted(&mut self, cx: &mut Context, ticket: Ticket, why: &str) {
        if let Some((_, command)) = self.counts.remove(&ticket) {
            cx.withdraw(&Lane::Writer, command);
            self.tell_servers(cx, ticket, Err(CommandError::NotSent(why.into())));
        }
    }
}
