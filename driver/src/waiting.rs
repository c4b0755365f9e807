//! Callers that wait for what the engine tells by an event.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;
use sio_streams_core::{
    Answer, ByteString, CommandError, EntryId, NodeId, NotRecovered, Outcome, Payload, RemoteSocket,
    Restored, Ticket,
};
use tokio::sync::{mpsc, oneshot};

use crate::acceptance::{Acceptance, Act};
use crate::error::Error;
use crate::outcomes::{Fate, Names, Responses, Sockets};

/// A caller that waits, with what has arrived for it so far.
///
/// A caller may have lost interest by the time it is told. So it does not matter whether sending to
/// it succeeds.
pub(crate) enum Waiter {
    Published(oneshot::Sender<Fate>),
    Sockets { found: Vec<RemoteSocket>, done: oneshot::Sender<Sockets> },
    Responses { responses: Vec<(Option<NodeId>, Payload)>, done: oneshot::Sender<Responses> },
    Acks { answers: mpsc::UnboundedSender<(Option<NodeId>, Answer)>, done: oneshot::Sender<Outcome> },
    Names { found: BTreeSet<ByteString>, done: oneshot::Sender<Names> },
    Operation { executed: bool, done: oneshot::Sender<(bool, Outcome)> },
    Count(oneshot::Sender<Result<u64, CommandError>>),
    Saved(oneshot::Sender<Result<(), CommandError>>),
    Restored(Acceptance),
}

/// All waiting callers of a node, by the tickets that they wait for.
#[derive(Default)]
pub(crate) struct Waiting {
    waiters: FxHashMap<Ticket, Waiter>,
    /// The number of waiters that wait for the fate of a message.
    publishing: usize,
}

impl Waiting {
    pub(crate) fn insert(&mut self, ticket: Ticket, waiter: Waiter) {
        self.publishing += usize::from(matches!(waiter, Waiter::Published(_)));
        self.waiters.insert(ticket, waiter);
    }

    /// Returns the number of messages whose fate is not known.
    pub(crate) fn publishing(&self) -> usize {
        self.publishing
    }

    pub(crate) fn published(&mut self, ticket: Ticket, result: Result<Option<EntryId>, CommandError>) {
        if let Some(Waiter::Published(done)) = self.waiters.remove(&ticket) {
            self.publishing -= 1;
            let _ = done.send(result.map_err(Error::from));
        }
    }

    pub(crate) fn counted(&mut self, ticket: Ticket, count: Result<u64, CommandError>) {
        if let Some(Waiter::Count(done)) = self.waiters.remove(&ticket) {
            let _ = done.send(count);
        }
    }

    pub(crate) fn saved(&mut self, ticket: Ticket, result: Result<(), CommandError>) {
        if let Some(Waiter::Saved(done)) = self.waiters.remove(&ticket) {
            let _ = done.send(result);
        }
    }

    /// Returns an action for the application's task, if the session was restored.
    pub(crate) fn restored(&mut self, ticket: Ticket, result: Result<Restored, NotRecovered>) -> Option<Act> {
        match self.waiters.remove(&ticket) {
            Some(Waiter::Restored(acceptance)) => acceptance.settle(result),
            _ => None,
        }
    }

    pub(crate) fn answered(&mut self, ticket: Ticket, from: Option<NodeId>, answer: Answer) {
        match (self.waiters.get_mut(&ticket), answer) {
            (Some(Waiter::Sockets { found, .. }), Answer::Sockets(sockets)) => found.extend(sockets),
            (Some(Waiter::Responses { responses, .. }), Answer::Emit(value)) => responses.push((from, value)),
            (Some(Waiter::Acks { answers, .. }), answer @ (Answer::ClientCount(_) | Answer::Ack(_))) => {
                drop(answers.send((from, answer)));
            }
            (Some(Waiter::Names { found, .. }), Answer::SocketIds(names) | Answer::Rooms(names)) => {
                found.extend(names);
            }
            (Some(Waiter::Operation { executed, .. }), Answer::Done) => *executed = true,
            _ => {}
        }
    }

    pub(crate) fn request_done(&mut self, ticket: Ticket, outcome: Outcome) {
        match self.waiters.remove(&ticket) {
            Some(Waiter::Sockets { found, done }) => drop(done.send(Sockets { sockets: found, outcome })),
            Some(Waiter::Responses { responses, done }) => drop(done.send(Responses { responses, outcome })),
            Some(Waiter::Acks { done, .. }) => drop(done.send(outcome)),
            Some(Waiter::Names { found, done }) => {
                drop(done.send(Names { names: found.into_iter().collect(), outcome }));
            }
            Some(Waiter::Operation { executed, done }) => drop(done.send((executed, outcome))),
            _ => {}
        }
    }

    /// Tells all that the node is closed. A message that is not known to be published may have been
    /// published.
    pub(crate) fn end(&mut self) {
        for waiter in core::mem::take(&mut self.waiters).into_values() {
            if let Waiter::Published(fate) = waiter {
                let error = CommandError::Lost("the node was closed before Redis had answered".into());
                let _ = fate.send(Err(error.into()));
            }
            // The others get `Error::Closed`, as their senders are dropped.
        }
        self.publishing = 0;
    }
}

#[cfg(test)]
mod tests {
    use sio_streams_core::{BroadcastOptions, Config, Engine, Packet, Time};

    use super::*;

    /// Returns tickets of messages.
    fn tickets() -> impl Iterator<Item = Ticket> {
        let mut engine = Engine::new(Config::default(), 1, Time::ZERO).unwrap();
        engine.open_namespace(Time::ZERO, "/").unwrap();
        core::iter::repeat_with(move || {
            let packet = Packet::event("hello", &("world",)).unwrap();
            engine.broadcast(Time::ZERO, "/", packet, BroadcastOptions::all()).unwrap()
        })
    }

    #[test]
    fn only_messages_are_counted_as_being_published() {
        let (mut waiting, mut tickets) = (Waiting::default(), tickets());
        let (first, second, third) =
            (tickets.next().unwrap(), tickets.next().unwrap(), tickets.next().unwrap());
        let ((fate, mut published), (count, mut counted)) = (oneshot::channel(), oneshot::channel());
        waiting.insert(first, Waiter::Published(fate));
        waiting.insert(second, Waiter::Count(count));
        assert_eq!(waiting.publishing(), 1);
        // An event that does not match its waiter, and one without a waiter, change nothing for the
        // others.
        waiting.published(third, Ok(None));
        assert_eq!(waiting.publishing(), 1);
        waiting.published(first, Ok(None));
        assert_eq!(waiting.publishing(), 0);
        assert!(matches!(published.try_recv(), Ok(Ok(None))));
        waiting.counted(second, Ok(7));
        assert_eq!(counted.try_recv(), Ok(Ok(7)));
    }

    #[test]
    fn at_the_end_messages_may_have_been_published_and_all_other_callers_are_told() {
        let (mut waiting, mut tickets) = (Waiting::default(), tickets());
        let ((fate, mut published), (done, mut names)) = (oneshot::channel(), oneshot::channel());
        waiting.insert(tickets.next().unwrap(), Waiter::Published(fate));
        waiting.insert(tickets.next().unwrap(), Waiter::Names { found: BTreeSet::new(), done });
        waiting.end();
        assert_eq!(waiting.publishing(), 0);
        assert!(matches!(published.try_recv(), Ok(Err(Error::Command(CommandError::Lost(_))))));
        assert!(matches!(names.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    }
}
