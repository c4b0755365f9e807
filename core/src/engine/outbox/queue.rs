//! A queue of messages that stay until their fate is known, in the order of their calls.

use std::collections::VecDeque;

use bytestring::ByteString;

use crate::command::CommandError;
use crate::engine::{Content, Due};
use crate::id::{EntryId, Ticket};
use crate::time::Time;

/// Where messages go: there is one queue for each stream, and one for all channels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Destination {
    Stream(ByteString),
    Channels,
}

/// A message on its way.
#[derive(Debug)]
pub(in crate::engine) struct Outgoing {
    pub(in crate::engine) nsp: ByteString,
    pub(in crate::engine) content: Content,
    pub(in crate::engine) what: What,
    pub(in crate::engine) effect: Option<Box<Due>>,
    /// What it counts against the limits.
    pub(in crate::engine) size: usize,
}

/// What a message is, as far as its fate is somebody's business.
#[derive(Clone, Debug)]
pub(in crate::engine) enum What {
    /// Nobody waits for it: a response.
    Notice,
    /// A heartbeat.
    Beat,
    /// Somebody wants to know.
    Message(Ticket),
    /// A question. Unless it does something, too, it is not worth sending once it is over.
    Request { ticket: Ticket, acts: bool },
    /// What the node is told that has the socket.
    Order(Ticket),
    /// This node leaves the namespace, which was closed as the one of this number.
    Farewell(ByteString, u64),
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) message: Outgoing,
    pub(super) since: Time,
    /// Its number, from its first try on.
    pub(super) seq: Option<u64>,
    /// It is a question, and those who will hear it have just been counted.
    pub(super) counted: bool,
    /// A try of it was not found, and may yet be executed.
    pub(super) doubtful: bool,
    /// How many tries of it have got no reply.
    pub(super) unanswered: u32,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// It is not on its way. If it was tried before, that had no effect, and why is known.
    Waiting(Option<CommandError>),
    /// Its reply has not come.
    Sent,
    /// Its reply will not come.
    Unknown(CommandError),
    /// It was found in the stream.
    Found(EntryId),
}

/// So large is a message that may be more than a server, or something on the way, lets through.
const LARGE: usize = 16 << 10;

/// After so many tries a message is given up that goes out apart.
const TRIES: u32 = 4;

impl Item {
    /// Whether it goes out with nothing beside it: its size may be what the link was lost by, and what goes out with it would be lost each time,
    /// too.
    fn is_apart(&self) -> bool {
        self.unanswered > 0 && self.message.size >= LARGE
    }

    /// Whether it has been tried apart often enough.
    pub(super) fn is_too_large(&self) -> bool {
        self.is_apart() && self.unanswered >= TRIES
    }
}

impl State {
    /// Whether it was handed out and has no known outcome.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, State::Sent | State::Unknown(_) | State::Found(_))
    }

    pub(super) fn is_sent(&self) -> bool {
        matches!(self, State::Sent)
    }
}

/// The messages for one destination that have no known fate, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) items: VecDeque<Item>,
    /// Items before this one have been handed out.
    pub(super) handed: usize,
    /// How many have been handed out and have no known outcome.
    pub(super) open: usize,
    /// How many of these may yet be answered.
    pub(super) sent: usize,
    /// Whether the stream's end is known. Before, nothing is sent.
    pub(super) located: bool,
    /// The last entry that is known to be before all messages whose fate is open.
    pub(super) settled: EntryId,
    /// The highest number that is known to be in the stream. What has a lower one and is not there must not follow: receivers would take it
    /// for a repetition.
    pub(super) published: u64,
    /// The fate of some is unknown.
    pub(super) unknown: bool,
    /// They are being looked for.
    pub(super) searching: bool,
    /// A timer is armed that looks after what has waited for too long. It is left alone when nothing waits any more: it would have to be armed
    /// again for the next message.
    pub(super) watched: bool,
    /// It is noted as one that may have something to send.
    pub(super) eager: bool,
    /// Nothing lives on the destination any more: the queue goes when it is empty.
    pub(super) retired: bool,
    /// The last entry of the stream that this node has read.
    pub(super) read: EntryId,
}

/// What is left of a line when a message has left it.
pub(super) enum Left {
    Nothing,
    /// One that may be sent, of which it was not known.
    Eager,
    Others,
}

impl Queue {
    /// A message has just been taken.
    pub(super) fn left(&mut self) -> Left {
        match self.items.is_empty() {
            true => Left::Nothing,
            false if self.becomes_eager() => Left::Eager,
            false => Left::Others,
        }
    }

    /// Whether the next message may go out: not before it is known what became of all that were handed out behind it.
    pub(super) fn is_open(&self) -> bool {
        self.located
            && !self.unknown
            && !self.searching
            && self.handed < self.items.len()
            && !self.keeps_apart()
            && (self.open == self.handed || mutant!(RetryOutOfOrder))
    }

    /// Whether the next message has to wait because it, or the one before it, goes out alone.
    fn keeps_apart(&self) -> bool {
        let before = self.handed.checked_sub(1).and_then(|at| self.items.get(at));
        before.is_some_and(|before| {
            before.is_apart() || self.items.get(self.handed).is_some_and(Item::is_apart)
        })
    }

    /// Whether the stream is to be searched: not before every reply has come that may come, because what it says counts.
    pub(super) fn may_search(&self) -> bool {
        self.unknown && !self.searching && self.sent == 0 && !self.items.is_empty()
    }

    /// Whether it has something to ask or to say.
    pub(super) fn is_eager(&self) -> bool {
        self.is_open() || self.may_search()
    }

    /// Whether it has, and does not stand yet among those that have. It does from now on.
    pub(super) fn becomes_eager(&mut self) -> bool {
        self.is_eager() && !core::mem::replace(&mut self.eager, true)
    }

    pub(super) fn find(&self, seq: u64) -> Option<usize> {
        // Nearly always it is the first.
        if self.items.front().is_some_and(|item| item.seq == Some(seq)) {
            return Some(0);
        }
        self.items.binary_search_by_key(&seq, |item| item.seq.unwrap_or(u64::MAX)).ok()
    }

    pub(super) fn take(&mut self, at: usize) -> Option<Item> {
        let item = if at == 0 { self.items.pop_front() } else { self.items.remove(at) }?;
        self.handed -= usize::from(at < self.handed);
        self.open -= usize::from(item.state.is_open());
        self.sent -= usize::from(item.state.is_sent());
        Some(item)
    }

    /// What is known of a message has changed.
    pub(super) fn set(&mut self, at: usize, state: State) {
        if let Some(item) = self.items.get_mut(at) {
            self.open += usize::from(state.is_open());
            self.sent += usize::from(state.is_sent());
            let before = core::mem::replace(&mut item.state, state);
            self.open -= usize::from(before.is_open());
            self.sent -= usize::from(before.is_sent());
        }
    }
}
