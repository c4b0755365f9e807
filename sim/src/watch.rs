//! The observer's view of a world: everything that happens in it, as it happens.

use std::collections::BTreeSet;

use bytes::Bytes;
use bytestring::ByteString;
use sio_streams_core::{Command, CommandError, CommandId, Event, Lane, Reply, Time};

use crate::fault::Fault;

/// Something that has happened. Hosts are named by their numbers, as
/// [`World::add_node`](crate::World::add_node) returned them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Happening<'a> {
    /// An engine has asked for a command.
    Asked {
        /// The host.
        host: usize,
        /// The command's name.
        id: CommandId,
        /// The command.
        command: &'a Command,
    },
    /// The server has executed a command.
    Executed {
        /// Whose.
        host: usize,
        /// The command.
        command: &'a Command,
        /// The reply. The host may never hear of it.
        reply: &'a Result<Reply, CommandError>,
    },
    /// An engine gets the result of a command.
    Replied {
        /// The host.
        host: usize,
        /// The connection.
        lane: &'a Lane,
        /// The command's name.
        id: CommandId,
        /// The reply.
        reply: &'a Result<Reply, CommandError>,
    },
    /// A Pub/Sub message has come to an engine.
    Pushed {
        /// The host.
        host: usize,
        /// Its channel.
        channel: &'a ByteString,
        /// The message.
        payload: &'a Bytes,
    },
    /// An engine has told of an event. The application gets it next.
    Event {
        /// The host.
        host: usize,
        /// The event.
        event: &'a Event,
    },
    /// An application has sent the packet of the last event to sockets, and has told so.
    Sent {
        /// The host.
        host: usize,
        /// The sockets.
        sockets: &'a [ByteString],
    },
    /// An engine has neither events nor commands any more: everything that has come was looked at.
    Drained {
        /// The host.
        host: usize,
    },
    /// A connection was opened, or lost, as the host sees it.
    Link {
        /// The host.
        host: usize,
        /// The connection.
        lane: &'a Lane,
        /// `true` if the link is there.
        up: bool,
    },
    /// The subscriptions of a host have changed, as the server sees it.
    Hears {
        /// The host.
        host: usize,
        /// All channels, of connections that the host still holds.
        channels: &'a BTreeSet<ByteString>,
        /// If it hears less than before: the time at which the server will have noticed that.
        less: Option<Time>,
    },
    /// A host has started, or come back under a new name.
    Started {
        /// The host.
        host: usize,
        /// Its name in the cluster.
        uid: &'a str,
    },
    /// A host is gone, without a farewell.
    Died {
        /// The host.
        host: usize,
    },
    /// A stream has lost its last entries, while the server was away.
    TailLost {
        /// The stream.
        stream: &'a ByteString,
        /// The number of entries; `None` for all that ever were.
        entries: Option<u64>,
    },
    /// A fault has been inflicted.
    Fault(&'a Fault),
    /// A fault is over.
    Healed {
        /// A description of the mistake.
        what: &'a str,
        /// The host, if it was a host's.
        host: Option<usize>,
    },
    /// A peer (a simulated Node server) reports a delivery, or answers to its question.
    Peer {
        /// The host.
        host: usize,
        /// The observation.
        note: &'a PeerNote,
    },
}

/// An observation of a simulated Node server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerNote {
    /// It has delivered a broadcast to its clients.
    Delivered {
        /// The packet's data.
        data: sio_streams_core::Payload,
    },
    /// A question of its own is answered by everyone it expected.
    Answered {
        /// The question's number.
        question: u64,
    },
    /// A question of its own has timed out.
    TimedOut {
        /// The question's number.
        question: u64,
        /// The number of answers that it got.
        answers: u64,
        /// The number of answers that it expected.
        expected: u64,
    },
    /// An entry made it throw, as it would a real one: it reads that entry again and again.
    Poisoned {
        /// The reason.
        reason: String,
    },
}

/// An observer.
pub trait Watch {
    /// Something has happened.
    fn saw(&mut self, now: Time, what: &Happening<'_>);
}

/// An observer that ignores everything.
impl Watch for () {
    fn saw(&mut self, _: Time, _: &Happening<'_>) {}
}
