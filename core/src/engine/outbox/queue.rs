//! A queue of messages that stay until their fate is known, in the order of their calls.

use std::collections::VecDeque;

use bytestring::ByteString;

use crate::command::{Command, CommandError};
use crate::engine::due::Due;
use crate::id::{EntryId, Ticket};
use crate::time::Time;

/// A message on its way.
#[derive(Debug)]
pub(in crate::engine) struct Outgoing {
    pub(in crate::engine) nsp: ByteString,
    /// The command that publishes it.
    pub(in crate::engine) command: Command,
    pub(in crate::engine) what: What,
    pub(in crate::engine) effect: Option<Box<Due>>,
    /// The size in bytes that the message counts against the limits.
    pub(in crate::engine) size: usize,
}

/// The kind of a message, which determines who is told its fate.
#[derive(Clone, Debug)]
pub(in crate::engine) enum What {
    /// A response. Nobody waits for its fate.
    Notice,
    /// A heartbeat.
    Beat,
    /// A message whose fate the caller wants to know.
    Message(Ticket),
    /// A question. Unless it also has an effect, it is not worth sending once it is over.
    Request { ticket: Ticket, acts: bool },
    /// An order to the node that has the socket.
    Order(Ticket),
    /// The farewell of this node to a namespace, with the number of its closing.
    Farewell(ByteString, u64),
}

impl Outgoing {
    /// Returns the stream that the message goes to, or `None` if it goes to a channel.
    pub(in crate::engine) fn stream(&self) -> Option<&ByteString> {
        match &self.command {
            Command::XAdd { stream, .. } => Some(stream),
            _ => None,
        }
    }

    /// Returns the name of the stream or channel that the message goes to.
    pub(in crate::engine) fn target(&self) -> ByteString {
        match &self.command {
            Command::XAdd { stream: target, .. } | Command::Publish { channel: target, .. } => target.clone(),
            _ => ByteString::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) message: Outgoing,
    /// The time of the call.
    pub(super) since: Time,
    /// The time of the first try, once there was one.
    pub(super) tried: Time,
    /// The sequence number. It is set at the first try.
    pub(super) seq: Option<u64>,
    /// `true` if this is a question and the nodes that will hear it have just been counted.
    pub(super) counted: bool,
    /// `true` if a try was not found and may yet be executed.
    pub(super) doubtful: bool,
    /// The number of tries that have got no reply.
    pub(super) unanswered: u32,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// It is not under way. If it was tried before, the try had no effect, and the error says why.
    Waiting(Option<CommandError>),
    /// Its reply has not come.
    Sent,
    /// Its reply will not come.
    Unknown(CommandError),
    /// It was found in the stream.
    Found(EntryId),
}

/// The size in bytes from which a message may be more than a server, or something on the way, lets
/// through.
const LARGE: usize = 16 << 10;

/// The number of tries after which a message that goes out alone is given up.
const TRIES: u32 = 4;

impl Item {
    /// Returns `true` if the message goes out alone. Its size may be the reason that the link was
    /// lost, and anything sent together with it would be lost each time, too.
    fn is_apart(&self) -> bool {
        self.unanswered > 0 && self.message.size >= LARGE
    }

    /// Returns `true` if the message has been tried alone often enough.
    pub(super) fn is_too_large(&self) -> bool {
        self.is_apart() && self.unanswered >= TRIES
    }
}

impl State {
    /// Returns `true` if the message was handed out and is not settled yet.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, State::Sent | State::Unknown(_) | State::Found(_))
    }

    pub(super) fn is_sent(&self) -> bool {
        matches!(self, State::Sent)
    }
}

/// The messages for one destination that are not settled yet, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) items: VecDeque<Item>,
    /// The index of the first item that has not been handed out.
    pub(super) handed: usize,
    /// The number of items that have been handed out and are not settled yet.
    pub(super) open: usize,
    /// The number of these items whose reply may still come.
    pub(super) sent: usize,
    /// `true` if the stream's end is known. Nothing is sent before that.
    pub(super) located: bool,
    /// The last entry that is known to be before all messages whose fate is open.
    pub(super) settled: EntryId,
    /// The highest sequence number that is known to be in the stream. A message that has a lower
    /// number and is not in the stream must not follow, because receivers would take it for a
    /// repetition.
    pub(super) published: u64,
    /// `true` if the fate of some messages is unknown.
    pub(super) unknown: bool,
    /// `true` if the stream is being searched for these messages.
    pub(super) searching: bool,
    /// `true` if a timer is armed that gives up messages that have waited for too long. The timer
    /// stays armed when nothing waits any more, because it would have to be armed again for the
    /// next message.
    pub(super) watched: bool,
    /// `true` if the queue is noted as one that may have something to send.
    pub(super) eager: bool,
    /// `true` if the destination is not in use any more. The queue is removed when it is empty.
    pub(super) retired: bool,
    /// The last entry of the stream that this node has read.
    pub(super) read: EntryId,
}

/// The consequence for the outbox of a message that has left its queue.
pub(super) enum Left {
    /// The queue is empty, and its destination is not in use any more.
    Retired,
    /// Another message may be sent now, which had not been noted before.
    Eager,
    /// Nothing follows.
    Unchanged,
}

impl Queue {
    /// Returns what follows from a message that has just been taken.
    pub(super) fn left(&mut self) -> Left {
        match self.items.is_empty() {
            true if self.retired => Left::Retired,
            false if self.becomes_eager() => Left::Eager,
            _ => Left::Unchanged,
        }
    }

    /// Returns `true` if the next message may go out. It waits until the fate of all messages that
    /// were handed out behind it is known.
    pub(super) fn is_open(&self) -> bool {
        self.located
            && !self.unknown
            && !self.searching
            && self.handed < self.items.len()
            && !self.keeps_apart()
            && (self.open == self.handed || mutant!(RetryOutOfOrder))
    }

    /// Returns `true` if the next message has to wait because it goes out alone, or because the one
    /// before it does.
    fn keeps_apart(&self) -> bool {
        let before = self.handed.checked_sub(1).and_then(|at| self.items.get(at));
        before.is_some_and(|before| {
            before.is_apart() || self.items.get(self.handed).is_some_and(Item::is_apart)
        })
    }

    /// Returns `true` if the stream is to be searched now. The search waits for every reply that
    /// may still come, because a reply settles its message.
    pub(super) fn may_search(&self) -> bool {
        self.unknown && !self.searching && self.sent == 0 && !self.items.is_empty()
    }

    /// Returns `true` if the queue has something to ask or to send.
    pub(super) fn is_eager(&self) -> bool {
        self.is_open() || self.may_search()
    }

    /// Returns `true` if the queue has something to ask or to send and was not noted as eager
    /// before. It is noted from now on.
    pub(super) fn becomes_eager(&mut self) -> bool {
        self.is_eager() && !core::mem::replace(&mut self.eager, true)
    }

    pub(super) fn find(&self, seq: u64) -> Option<usize> {
        // It is nearly always the first one.
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

    /// Changes the state of a message.
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
