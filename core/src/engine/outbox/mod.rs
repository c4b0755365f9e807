//! The outbox: it sends this node's messages in order and each message once, and it tracks what
//! became of each.
//!
//! Every entry has a sequence number. When a link is lost between an XADD and its reply, nothing
//! more is sent until the stream has been searched for the numbers in question. The messages that
//! are found there are published. The others are sent again, in order, with the same numbers. If a
//! first try is executed late all the same, receivers that run this library know its number and
//! skip it. `docs/guarantees.md` has the argument.

mod queue;
mod search;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytestring::ByteString;

use super::context::{Context, RETRY};
use super::destination::Destination;
use super::due::Due;
use super::purpose::Purpose;
use super::timers::Timer;
use crate::command::{Command, CommandError, CommandId, Lane, Reply};
use crate::error::{CallError, Limit};
use crate::event::Event;
use crate::id::{EntryId, Ticket};
use crate::time::Time;
use crate::wire::entry::SEQUENCE_FIELD;
use queue::{Item, Left, Queue, State};
pub(super) use queue::{Outgoing, What};

/// The messages of this node whose fate is not known yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queues: BTreeMap<Destination, Queue>,
    /// The destinations that have something to ask or to send, and perhaps some that no longer do.
    /// There may be many destinations, most of which have nothing, so they are not all visited each
    /// time.
    eager: BTreeSet<Destination>,
    /// The last sequence number that was given to an entry, on any stream.
    last_number: u64,
    /// The number of messages, and their total size in bytes.
    messages: usize,
    bytes: usize,
    /// The server's refusal of a write that was reported last.
    refused: Option<CommandError>,
    /// The fates of messages, in order, until the engine takes them.
    settled: VecDeque<Settled>,
}

/// The next thing to send.
#[derive(Debug)]
pub(super) enum Next {
    /// A command.
    Command(HandedOut),
    /// A question, which is sent by [`Outbox::send_next`] unless it is
    /// [dropped](Outbox::drop_question). `counted` is `true` if the command just before has counted
    /// the nodes that will hear it.
    Question { ticket: Ticket, acts: bool, counted: bool },
}

/// A command that the outbox hands out.
#[derive(Debug)]
pub(super) struct HandedOut {
    pub(super) id: CommandId,
    pub(super) command: Command,
    /// The stream and the entry's number, if the command is a heartbeat for a stream.
    pub(super) beat: Option<(ByteString, u64)>,
}

/// The fate of a message, or the end of a refusal.
#[derive(Debug)]
pub(super) enum Settled {
    /// The server takes messages again after it had refused them.
    TakenAgain,
    /// The message was published.
    Published {
        message: Outgoing,
        /// Its place in the stream, if it went to one.
        entry: Option<EntryId>,
        /// The time of its first try. It was not published before.
        tried: Time,
    },
    /// The message will not be sent, or will not be sent again.
    Failed(Outgoing, CommandError),
}

impl Outbox {
    /// Returns the last sequence number that was given to an entry.
    #[inline]
    pub(super) fn last_number(&self) -> u64 {
        self.last_number
    }

    /// Continues above a number that another node has used in this node's name.
    pub(super) fn go_on_above(&mut self, number: u64) {
        self.last_number = number;
    }

    /// Publishes a message when its turn comes, if the limits allow it.
    #[inline]
    pub(super) fn publish(
        &mut self,
        cx: &mut Context,
        nsp: ByteString,
        command: Command,
        what: What,
        effect: Option<Box<Due>>,
    ) -> Result<(), CallError> {
        let size = command.size();
        self.admit(cx, size)?;
        self.enqueue(cx, Outgoing { nsp, command, what, effect, size });
        Ok(())
    }

    /// Publishes a message when its turn comes. It does not count against the limit in bytes.
    pub(super) fn publish_anyway(&mut self, cx: &mut Context, nsp: ByteString, command: Command, what: What) {
        self.enqueue(cx, Outgoing { nsp, command, what, effect: None, size: 0 });
    }

    /// Returns an error if the message would exceed the limits.
    #[inline]
    pub(super) fn admit(&self, cx: &Context, size: usize) -> Result<(), CallError> {
        let limits = &cx.config.limits;
        if self.messages >= limits.in_flight {
            return Err(CallError::Full { what: Limit::InFlight, limit: limits.in_flight });
        }
        if self.bytes.saturating_add(size) > limits.in_flight_bytes {
            return Err(CallError::Full { what: Limit::InFlightBytes, limit: limits.in_flight_bytes });
        }
        Ok(())
    }

    /// Notes that the destination is in use, so its queue stays when it is empty.
    pub(super) fn revive(&mut self, destination: &Destination) {
        if let Some(queue) = self.queues.get_mut(destination) {
            queue.retired = false;
        }
    }

    /// Notes that a stream's end is known.
    ///
    /// The first number is above every number that an earlier node of the same name can have used.
    /// Each entry of such a node moved the stream's last id by at least as much as its number.
    pub(super) fn located(&mut self, stream: &ByteString, last: EntryId, rewound: bool) {
        let destination = Destination::Stream(stream.clone());
        let queue = self.queues.entry(destination.clone()).or_default();
        if core::mem::replace(&mut queue.located, true) {
            if rewound {
                // Entries that were taken to be settled may be gone. Without a rewind, `settled` is
                // only newer than the server's answer.
                queue.settled = queue.settled.min(last);
            }
        } else {
            queue.settled = last;
            self.last_number = self.last_number.max((last.ms << 20).wrapping_add(last.seq));
        }
        self.note_eager(&destination);
    }

    /// Notes that this node has read the stream up to here. Everything it has read was there before
    /// anything that it sends from now on.
    #[inline]
    pub(super) fn has_read(&mut self, stream: &ByteString, cursor: EntryId) {
        if let Some(queue) = self.queues.get_mut(&Destination::Stream(stream.clone())) {
            queue.read = cursor;
        }
    }

    /// Notes that the destination may have something to ask or to send now.
    fn note_eager(&mut self, destination: &Destination) {
        if let Some(queue) = self.queues.get_mut(destination)
            && queue.becomes_eager()
        {
            self.eager.insert(destination.clone());
        }
    }

    /// Returns the last entry that this node is known to have added to the stream, or to have read
    /// there before it added any.
    pub(super) fn last_published(&self, stream: &ByteString) -> EntryId {
        let queue = self.queues.get(&Destination::Stream(stream.clone()));
        queue.map_or(EntryId::ZERO, |queue| queue.settled)
    }

    #[inline]
    fn enqueue(&mut self, cx: &mut Context, message: Outgoing) {
        self.messages += 1;
        self.bytes += message.size;
        let destination = match message.stream() {
            Some(stream) => Destination::Stream(stream.clone()),
            None => Destination::Channels,
        };
        let queue = match self.queues.get_mut(&destination) {
            Some(queue) => queue,
            None => self.queues.entry(destination.clone()).or_default(),
        };
        queue.located |= destination == Destination::Channels;
        queue.items.push_back(Item {
            message,
            since: cx.now,
            tried: cx.now,
            seq: None,
            counted: false,
            doubtful: false,
            unanswered: 0,
            state: State::Waiting(None),
        });
        if queue.becomes_eager() {
            self.eager.insert(destination.clone());
        }
        if !core::mem::replace(&mut queue.watched, true) {
            cx.timers.arm(Timer::GiveUp(destination), cx.now + cx.config.limits.in_flight_for);
        }
    }

    /// Returns the first destination that has something to ask or to send.
    fn first_eager(&mut self) -> Option<Destination> {
        loop {
            let Some(destination) = self.eager.first() else {
                debug_assert!(!self.queues.values().any(Queue::is_eager), "a destination was not noted");
                return None;
            };
            match self.queues.get_mut(destination) {
                Some(queue) if queue.is_eager() => return Some(destination.clone()),
                Some(queue) => queue.eager = false,
                None => {}
            }
            self.eager.pop_first();
        }
    }

    /// Returns the next thing to ask or to send.
    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context) -> Option<Next> {
        if !cx.lanes.is_open(&Lane::Writer) {
            return None;
        }
        let destination = self.first_eager()?;
        let queue = self.queues.get_mut(&destination)?;
        if queue.unknown
            && let Destination::Stream(stream) = &destination
        {
            let (id, command) = search::begin(queue, cx, stream);
            return Some(Next::Command(HandedOut { id, command, beat: None }));
        }
        match queue.items[queue.handed] {
            Item { message: Outgoing { what: What::Request { ticket, acts }, .. }, counted, .. } => {
                Some(Next::Question { ticket, acts, counted })
            }
            _ => hand_out(queue, destination, cx, &mut self.last_number).map(Next::Command),
        }
    }

    /// Notes that the nodes that will hear the next question are about to be counted.
    pub(super) fn question_counted(&mut self) {
        if let Some(queue) = self.first_eager().and_then(|first| self.queues.get_mut(&first)) {
            queue.items[queue.handed].counted = true;
        }
    }

    /// Drops the next question, because nobody waits for its answers any more and it has no effect.
    pub(super) fn drop_question(&mut self, cx: &mut Context) {
        if let Some(destination) = self.first_eager()
            && let Some(at) = self.queues.get(&destination).map(|queue| queue.handed)
        {
            self.settle(cx, &destination, at);
        }
    }

    /// Hands out the next message.
    pub(super) fn send_next(&mut self, cx: &mut Context) -> Option<HandedOut> {
        let destination = self.first_eager()?;
        let queue = self.queues.get_mut(&destination)?;
        hand_out(queue, destination, cx, &mut self.last_number)
    }

    /// Handles the reply to a message's XADD or PUBLISH, or the lack of one.
    #[inline]
    pub(super) fn replied(
        &mut self,
        cx: &mut Context,
        destination: &Destination,
        number: u64,
        reply: Result<Reply, CommandError>,
    ) {
        let reply = match (destination, reply) {
            (Destination::Stream(_), Ok(Reply::Added(entry))) => Ok(Some(entry)),
            (Destination::Channels, Ok(Reply::Done)) => Ok(None),
            (_, other @ Ok(_)) if mutant!(GarbledIsRefused) => Err(CommandError::of(other)),
            (_, other) => Err(CommandError::of(other).of_what_may_be_executed()),
        };
        let Some(queue) = self.queues.get_mut(destination) else { return };
        let Some(at) = queue.find(number) else { return };
        match reply {
            Ok(id) => {
                if self.refused.take().is_some() {
                    self.settled.push_back(Settled::TakenAgain);
                }
                if at > 0 {
                    self.settle_before(cx, destination, number, false);
                    return self.published_as(cx, destination, number, id);
                }
                queue.settled = queue.settled.max(id.unwrap_or_default());
                queue.published = queue.published.max(number);
                let Some(Item { message, tried, .. }) = queue.take(0) else { return };
                let left = queue.left();
                self.has_left(cx, destination, &message, left);
                self.settled.push_back(Settled::Published { message, entry: id, tried });
            }
            // A stream can be searched for the message. A message to a channel leaves no trace.
            Err(error @ CommandError::Lost(_)) if *destination != Destination::Channels => {
                if mutant!(BlindRetry) {
                    queue.set(at, State::Waiting(None));
                    queue.handed = queue.handed.min(at);
                    self.note_eager(destination);
                    return cx.rest(&Lane::Writer);
                }
                queue.unknown = true;
                queue.set(at, State::Unknown(error));
                if let Some(item) = queue.items.get_mut(at) {
                    item.unanswered += 1;
                }
                self.note_eager(destination);
                // Give the connection a moment to be reported lost, or to recover.
                cx.rest(&Lane::Writer);
            }
            Err(error)
                if error.is_transient()
                    || matches!(error, CommandError::Lost(_)) && mutant!(LostPushSentAgain) =>
            {
                queue.set(at, State::Waiting(Some(error.clone())));
                queue.handed = queue.handed.min(at);
                self.note_eager(destination);
                cx.rest(&Lane::Writer);
                if matches!(error, CommandError::Server { .. }) && self.refused.as_ref() != Some(&error) {
                    self.refused = Some(error.clone());
                    cx.events.push_back(Event::Refused { lane: Lane::Writer, channel: None, error });
                }
            }
            Err(error) => self.give_up(cx, destination, at, error),
        }
    }

    /// Settles the messages before this number, which is in the stream. Messages that were found
    /// are published. Messages that were refused are given up: behind that number they would be out
    /// of order, and receivers would take them for repetitions. Messages whose fate is unknown are
    /// given up once they have been searched for.
    fn settle_before(&mut self, cx: &mut Context, destination: &Destination, number: u64, searched: bool) {
        let mut at = 0;
        while let Some(queue) = self.queues.get_mut(destination)
            && let Some(Item { seq: Some(seq), state, .. }) = queue.items.get(at)
            && *seq < number
        {
            match state {
                State::Found(id) => {
                    let (seq, id) = (*seq, *id);
                    queue.items[at].message.effect.take_if(|_| mutant!(EffectForgotten));
                    queue.settled = queue.settled.max(id);
                    self.published_as(cx, destination, seq, Some(id));
                }
                State::Waiting(error) => {
                    let overtaken = || CommandError::NotSent("a later message came through".into());
                    let error = error.clone().unwrap_or_else(overtaken);
                    self.give_up(cx, destination, at, error);
                }
                State::Unknown(error) if searched && !mutant!(OvertakenSentAgain) => {
                    let error = error.clone();
                    self.give_up(cx, destination, at, error);
                }
                State::Unknown(_) | State::Sent => at += 1,
            }
        }
    }

    /// Notes that the message has its place in the stream.
    fn published_as(
        &mut self,
        cx: &mut Context,
        destination: &Destination,
        number: u64,
        id: Option<EntryId>,
    ) {
        let Some(queue) = self.queues.get_mut(destination) else { return };
        queue.published = queue.published.max(number);
        let Some(at) = queue.find(number) else { return };
        if let Some(Item { message, tried, .. }) = self.settle(cx, destination, at) {
            self.settled.push_back(Settled::Published { message, entry: id, tried });
        }
    }

    /// Gives up a message: it will not be sent, or will not be sent again.
    fn give_up(&mut self, cx: &mut Context, destination: &Destination, at: usize, error: CommandError) {
        let item = self.queues.get(destination).and_then(|queue| queue.items.get(at));
        let doubtful = item.is_some_and(|item| item.doubtful);
        let Some(Item { message, .. }) = self.settle(cx, destination, at) else { return };
        let error = match error {
            CommandError::Lost(_) => error,
            // The result of the last try says nothing about the try before.
            error if doubtful => CommandError::Lost(format!("an earlier try may come late; then: {error}")),
            error => error,
        };
        self.settled.push_back(Settled::Failed(message, error));
    }

    /// Returns the fate of the next message, in order, until there are no more.
    #[inline]
    pub(super) fn next_settled(&mut self) -> Option<Settled> {
        self.settled.pop_front()
    }

    /// Takes a message out of its queue.
    fn settle(&mut self, cx: &mut Context, destination: &Destination, at: usize) -> Option<Item> {
        let queue = self.queues.get_mut(destination)?;
        let item = queue.take(at)?;
        let left = queue.left();
        self.has_left(cx, destination, &item.message, left);
        Some(item)
    }

    /// Updates the limits and the queue after a message has left its queue.
    fn has_left(&mut self, cx: &mut Context, destination: &Destination, message: &Outgoing, left: Left) {
        let is_beat = matches!(message.what, What::Beat);
        self.messages -= usize::from(!(mutant!(NoticeLeaksBound) && is_beat));
        self.bytes -= message.size;
        match left {
            Left::Retired => self.forget(cx, destination),
            Left::Eager => drop(self.eager.insert(destination.clone())),
            Left::Unchanged => {}
        }
    }

    fn forget(&mut self, cx: &mut Context, destination: &Destination) {
        self.queues.remove(destination);
        self.eager.remove(destination);
        cx.timers.cancel(&Timer::GiveUp(destination.clone()));
    }

    /// Retires a destination that is not in use any more. Queued messages are still sent, if the
    /// stream's end is known.
    pub(super) fn retire(&mut self, cx: &mut Context, destination: &Destination) {
        if let Some(queue) = self.queues.get_mut(destination) {
            queue.retired = true;
            queue.read = EntryId::ZERO;
        }
        while let Some(queue) = self.queues.get(destination) {
            if queue.items.is_empty() {
                return self.forget(cx, destination);
            }
            if queue.located {
                return;
            }
            let error = CommandError::NotSent("the namespace was closed before it was ready".into());
            self.give_up(cx, destination, 0, error);
        }
    }

    /// Gives up messages that have waited for too long.
    pub(super) fn expire(&mut self, cx: &mut Context, destination: &Destination) {
        let patience = cx.config.limits.in_flight_for;
        let mut at = 0;
        while let Some(item) = self.queues.get(destination).and_then(|queue| queue.items.get(at)) {
            if cx.now < item.since + patience {
                break;
            }
            let error = match &item.state {
                State::Unknown(error) | State::Waiting(Some(error)) => error.clone(),
                State::Waiting(None) => CommandError::NotSent("Redis was away for too long".into()),
                // The fate of the message is known already, or the backend will report it.
                State::Found(_) | State::Sent => {
                    at += 1;
                    continue;
                }
            };
            self.give_up(cx, destination, at, error);
        }
        let Some(queue) = self.queues.get_mut(destination) else { return };
        queue.watched = !queue.items.is_empty();
        if let Some(oldest) = queue.items.front() {
            let due = (oldest.since + patience).max(cx.now + RETRY);
            cx.timers.arm(Timer::GiveUp(destination.clone()), due);
        }
    }
}

/// Hands out the queue's next message.
fn hand_out(
    queue: &mut Queue,
    destination: Destination,
    cx: &mut Context,
    last_number: &mut u64,
) -> Option<HandedOut> {
    let at = queue.handed;
    let item = queue.items.get_mut(at)?;
    item.counted = false;
    let number = match item.seq.filter(|_| !mutant!(NewNumberOnRetry)) {
        Some(number) => number,
        None => {
            item.tried = cx.now;
            *last_number = last_number.wrapping_add(1);
            if let Command::XAdd { fields, .. } = &mut item.message.command {
                // Write the number's own text. Formatting a reference would take one more
                // allocation.
                Arc::make_mut(fields).push(SEQUENCE_FIELD, (*last_number).to_string());
            }
            *item.seq.insert(*last_number)
        }
    };
    let command = item.message.command.clone();
    let is_beat = matches!(item.message.what, What::Beat);
    let beat = match &destination {
        Destination::Stream(stream) if is_beat => Some((stream.clone(), number)),
        _ => None,
    };
    if at == 0 {
        // Entries that have been read were there before this message.
        queue.settled = queue.settled.max(queue.read);
    }
    queue.handed += 1;
    queue.set(at, State::Sent);
    let id = CommandId(cx.number());
    cx.expect(id, None, Purpose::Publish { destination, number });
    Some(HandedOut { id, command, beat })
}
