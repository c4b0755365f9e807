//! One node of the cluster: its parts, and what follows for one of them from what happens to
//! another.

mod messages;
mod namespaces;
mod questions;
mod replies;

use std::collections::VecDeque;

use bytestring::ByteString;

use super::cluster::Cluster;
use super::context::Context;
use super::due::Due;
use super::inbox::Inbox;
use super::lanes::LinkChange;
use super::outbox::{HandedOut, Next, Outbox, Outgoing, Settled, What};
use super::recovery::{Ready, Recoveries};
use super::requests::Requests;
use super::timers::Timer;
use crate::command::{Command, CommandError, CommandId, Lane};
use crate::config::{Config, LocalDelivery};
use crate::error::CallError;
use crate::event::{Event, Source};
use crate::hash::Keyed;
use crate::id::{EntryId, NodeId, Ticket, hex16};
use crate::link::LinkState;
use crate::message::{Body, Message};
use crate::session::Restored;
use crate::time::Time;
use crate::wire::classic;

/// The parts of a node, and the inputs that wait. The parts know nothing of each other.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) cx: Context,
    pub(super) outbox: Outbox,
    pub(super) cluster: Cluster,
    pub(super) inbox: Inbox,
    pub(super) requests: Requests,
    pub(super) recoveries: Recoveries,
    /// Inputs that have arrived but have not been processed. They change rooms, so each is
    /// processed only when its events are polled.
    pending: VecDeque<Pending>,
}

/// An input that waits to be processed and is not an entry of a stream.
#[derive(Debug)]
enum Pending {
    /// The effect on this node of one of its own messages, with the message's entry in the stream,
    /// if it has one. The message has the same effect on the other nodes.
    Effect(Box<Due>, Option<EntryId>),
    /// A Pub/Sub message.
    Message(Box<Message>),
    /// A request in the classic form.
    Request(ByteString, NodeId, Box<classic::Request>),
    /// A response in the classic form. Its meaning depends on what was asked.
    Response(Box<classic::Keys>),
}

impl Pending {
    fn is_for(&self, nsp: &str) -> bool {
        match self {
            Pending::Effect(due, _) => due.nsp == *nsp,
            Pending::Message(message) => message.nsp == *nsp,
            Pending::Request(of, ..) => of == nsp,
            // Nobody waits for a response once the namespace's requests are over.
            Pending::Response(_) => false,
        }
    }
}

impl Node {
    pub(super) fn new(config: Config, seed: u64, now: Time) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let uid = NodeId::new(hex16(rng.u64(..)));
        let hash = Keyed(rng.u64(..), rng.u64(..));
        Node {
            cx: Context::new(config, uid, hash, rng, now),
            outbox: Outbox::default(),
            cluster: Cluster::new(hash),
            inbox: Inbox::default(),
            requests: Requests::new(hash),
            recoveries: Recoveries::new(hash),
            pending: VecDeque::new(),
        }
    }

    /// Publishes a message that has an effect on this node too. If its flags say so, it has its
    /// effect on this node alone.
    pub(super) fn act(&mut self, nsp: &str, body: Body) -> Result<Ticket, CallError> {
        let local = body.opts().is_some_and(|opts| opts.flags.is_local());
        let ticket = Ticket(self.cx.number());
        let name = self.cluster.namespace(nsp)?.0.clone();
        let at_once = if local && !mutant!(LocalPublished) {
            self.cx.events.push_back(Event::Published { ticket, entry: None });
            Some(self.cluster.effect(name, body))
        } else {
            let command = self.cx.config.message(&self.cx.uid, &name, &body)?;
            let effect = || self.cluster.effect(name.clone(), body);
            let (when_published, at_once) = match self.cx.config.local_delivery {
                LocalDelivery::WhenPublished => (Some(effect()), None),
                LocalDelivery::AtOnce => (None, Some(effect())),
                LocalDelivery::StreamOrder => (None, None),
            };
            self.outbox.publish(&mut self.cx, name, command, What::Message(ticket), when_published)?;
            at_once
        };
        self.pending.extend(at_once.map(|effect| Pending::Effect(effect, None)));
        Ok(ticket)
    }

    /// Publishes a message that has no effect on this node.
    pub(super) fn publish(&mut self, nsp: &str, body: &Body, what: What) -> Result<(), CallError> {
        let name = self.cluster.namespace(nsp)?.0.clone();
        let command = self.cx.config.message(&self.cx.uid, &name, body)?;
        self.outbox.publish(&mut self.cx, name, command, what, None)
    }

    /// Returns the next event, or `None` if there is no more.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.poll_pending_event() {
                return Some(event);
            }
            // Restored sessions are taken only here. If the application is slow to take events, the
            // sessions wait in `recoveries`, outside the event queue, within bounds of their own.
            if self.recoveries.has_ready() {
                if let Some(ready) = self.recoveries.next_ready(&mut self.cx) {
                    self.restore(ready);
                }
                continue;
            }
            let (stream, entry, last) = self.inbox.next_entry(&mut self.cx)?;
            let event = self.look_at(&stream, &entry);
            if last {
                self.is_heard(&stream);
            }
            // The events that the entry has queued happened before `event`. Nearly always the entry
            // has queued no events. `event` is then returned directly, because an event is large
            // and costly to move into the queue.
            if self.cx.events.is_empty() {
                self.recoveries.looked_at(&mut self.cx, &stream, entry.id);
                if event.is_some() {
                    return event;
                }
            } else {
                self.cx.events.extend(event);
                self.recoveries.looked_at(&mut self.cx, &stream, entry.id);
            }
        }
    }

    /// Restores a session: adds its socket and makes it join its rooms.
    fn restore(&mut self, ready: Ready) {
        let Ready { ticket, nsp, session, missed, position } = ready;
        let Some(namespace) = self.cluster.namespaces.get_mut(&nsp) else { return };
        let mut changes = Vec::new();
        if self.cx.owns_rooms() {
            changes.extend(namespace.rooms.add(session.sid.clone()));
            if !mutant!(RestoredOutOfRooms) {
                changes.extend(namespace.rooms.join(&session.sid, session.rooms.iter().cloned()));
            }
        }
        let restored = Restored { ticket, nsp, session, missed, position, changes };
        self.cx.events.push_back(Event::Restored(restored));
    }

    /// Returns the next of the events that have happened already.
    pub(super) fn poll_pending_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.cx.events.pop_front() {
                return Some(event);
            }
            let event = match self.pending.pop_front()? {
                Pending::Effect(due, _) if !self.cluster.is_meant(&due) => None,
                Pending::Effect(due, entry) => {
                    let Due { nsp, body, .. } = *due;
                    let uid = self.cx.uid.clone();
                    self.cluster.apply(&mut self.cx, nsp, body, entry, uid)
                }
                Pending::Message(message) => self.receive(*message),
                Pending::Request(nsp, from, request) => self.receive_classic(&nsp, from, *request),
                Pending::Response(keys) => match self.requests.read_response(&keys) {
                    Ok(found) => {
                        if let Some((ticket, answer)) = found {
                            self.answered_unnamed(ticket, answer);
                        }
                        None
                    }
                    Err(reason) => {
                        let channel = self.cx.config.channel_prefix.clone();
                        Some(Event::Skipped { source: Source::Channel { channel }, reason })
                    }
                },
            };
            if let Some(event) = self.or_before(event) {
                return Some(event);
            }
        }
    }

    /// Returns `event`, or the first of the events that happened before it; `event` is then queued
    /// behind them. An event is large, so it is queued only if it has to wait.
    fn or_before(&mut self, event: Option<Event>) -> Option<Event> {
        if self.cx.events.is_empty() {
            return event;
        }
        self.cx.events.extend(event);
        self.cx.events.pop_front()
    }

    /// Returns the next command, or `None` if there is no more.
    pub(super) fn poll_command(&mut self) -> Option<(CommandId, Command)> {
        let next = self.cx.lanes.pop().or_else(|| self.next_message());
        if let Some((_, Command::XInfoStream { stream })) = &next {
            self.inbox.asking(stream, self.outbox.last_published(stream));
        }
        next
    }

    /// Returns the next command of the outbox. In the dialects whose nodes subscribe, a question is
    /// sent right behind the command that counts the nodes that will hear it.
    fn next_message(&mut self) -> Option<(CommandId, Command)> {
        loop {
            let HandedOut { id, command, beat } = match self.outbox.poll(&mut self.cx)? {
                Next::Command(handed_out) => handed_out,
                Next::Question { ticket, acts, counted } => match self.requests.counts(ticket) {
                    Some(true) if !counted => {
                        self.outbox.question_counted();
                        match self.count_for(ticket) {
                            Some(count) => return Some(count),
                            None => continue,
                        }
                    }
                    None if !acts || mutant!(QuestionDropped) => {
                        self.outbox.drop_question(&mut self.cx);
                        continue;
                    }
                    _ => self.outbox.send_next(&mut self.cx)?,
                },
            };
            if let Some((stream, number)) = beat {
                self.inbox.probes(&stream, number, self.cx.now);
            }
            return Some((id, command));
        }
    }

    /// Handles the outcomes of messages.
    fn settle(&mut self) {
        while let Some(settled) = self.outbox.next_settled() {
            match settled {
                Settled::TakenAgain => self.cluster.nobody_could_speak(&mut self.cx, None),
                Settled::Published { message, entry, tried } => self.is_published(message, entry, tried),
                Settled::Failed(message, error) => self.has_failed(message, error),
            }
        }
    }

    /// Handles a message that has been published. `entry` is its place in the stream, if it has
    /// one. `tried` is the time of its first try.
    fn is_published(&mut self, message: Outgoing, entry: Option<EntryId>, tried: Time) {
        if message.stream().is_some() {
            self.cluster.spoke_in(&mut self.cx, &message.nsp, tried);
        }
        let Outgoing { nsp, what, effect, .. } = message;
        if matches!(what, What::Beat) {
            self.beat_is_out(&nsp);
            self.cluster.beats_next(&mut self.cx, &nsp);
        }
        match what {
            What::Message(ticket) => self.cx.events.push_back(Event::Published { ticket, entry }),
            What::Farewell(nsp, number) => self.cluster.left(&mut self.cx, &nsp, number),
            What::Order(ticket) => self.requests.order_published(&mut self.cx, ticket, entry),
            What::Request { ticket, acts } => self.request_published(ticket, acts, entry),
            What::Notice | What::Beat => {}
        }
        self.pending.extend(effect.map(|effect| Pending::Effect(effect, entry)));
    }

    /// Handles a message that will not be sent, or will not be sent again.
    fn has_failed(&mut self, message: Outgoing, error: CommandError) {
        let target = message.target();
        let Outgoing { nsp, what, effect, .. } = message;
        match what {
            What::Message(ticket) => self.cx.events.push_back(Event::PublishFailed { ticket, error }),
            What::Request { ticket, acts } => self.requests.failed(&mut self.cx, ticket, acts, error),
            What::Order(ticket) => self.requests.order_failed(&mut self.cx, ticket, error),
            What::Farewell(nsp, number) => self.cluster.left(&mut self.cx, &nsp, number),
            What::Notice | What::Beat => {
                if matches!(what, What::Beat) {
                    self.beat_is_out(&nsp);
                    if !matches!(&error, CommandError::Server { code, .. } if code == "NOPERM") {
                        self.cluster.beat_failed(&mut self.cx, &nsp);
                    }
                }
                self.cx.events.push_back(Event::NoticeFailed { stream: target, error });
            }
        }
        let effect = effect.filter(|_| !mutant!(EffectForgottenOnFailure));
        self.pending.extend(effect.map(|effect| Pending::Effect(effect, None)));
    }

    /// Does everything that is due.
    pub(super) fn handle_timeout(&mut self) {
        while let Some(timer) = self.cx.timers.pop(self.cx.now) {
            match timer {
                Timer::Heartbeat(nsp) => self.heartbeat_due(&nsp),
                Timer::Expiry(nsp) => self.expiry_due(&nsp),
                Timer::RequestTimeout(ticket) => self.requests.due(&mut self.cx, ticket),
                Timer::Recheck(nsp) => self.check(&nsp),
                Timer::GiveUp(destination) => {
                    self.outbox.expire(&mut self.cx, &destination);
                    self.settle();
                }
                Timer::Retry(lane) => self.cx.lanes.resume(&lane),
                Timer::Refused => self.cluster.try_refused(&mut self.cx),
                Timer::Resubscribe(nsp) => self.cluster.subscribe(&mut self.cx, vec![nsp]),
                Timer::Session(ticket) => self.recoveries.session_due(&mut self.cx, ticket),
                Timer::Leave(nsp) => self.cluster.leave_due(&mut self.cx, &nsp),
            }
        }
    }

    /// Handles a connection that was lost, or that is there (again).
    pub(super) fn handle_link(&mut self, lane: &Lane, link: LinkState) {
        let up = link.is_up();
        let Some(change) = self.cx.lanes.set_link(lane, link.clone()) else { return };
        self.cx.events.push_back(Event::Link { lane: lane.clone(), link });
        if change == LinkChange::Reason {
            return;
        }
        if (lane, up) == (&Lane::Writer, true) {
            self.beat_again();
        }
        if let (Lane::Reader(stream), false) = (lane, up) {
            self.inbox.lost(&mut self.cx, stream);
        }
        if *lane == Lane::Subscriber {
            self.cluster.subscriber_changed(&mut self.cx, up);
        }
    }
}
