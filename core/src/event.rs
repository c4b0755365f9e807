//! What the engine tells the application.

use core::fmt;

use bytestring::ByteString;

use crate::command::{CommandError, Lane};
use crate::id::{EntryId, NodeId, RequestId};
use crate::packet::{BroadcastOptions, Packet, RemoteSocket};
use crate::payload::Payload;
use crate::rooms::RoomChange;
use crate::session::{NotRecovered, Restored};
use crate::wire::WireError;

/// Names something that was asked of the engine and ends with an event: a [`Published`](Event::Published) or
/// [`PublishFailed`](Event::PublishFailed), a [`RequestDone`](Event::RequestDone), a [`ServerCount`](Event::ServerCount), a
/// [`SessionSaved`](Event::SessionSaved), a [`Restored`](Event::Restored) or a [`NotRecovered`](Event::NotRecovered).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What happened.
///
/// What [`Published`](Event::Published), [`PublishFailed`](Event::PublishFailed), [`Gap`](Event::Gap), [`Rewound`](Event::Rewound) and
/// [`Repeated`](Event::Repeated) promise, and on which assumptions, is in the repository's `docs/guarantees.md`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The namespace hears the cluster: whatever is published from now on reaches it.
    Ready {
        /// The namespace.
        nsp: ByteString,
    },
    /// The namespace has left the cluster, and told it so.
    Closed {
        /// The namespace.
        nsp: ByteString,
    },
    /// A packet is to be sent to the sockets of this node that `opts` match: [`Rooms::matching`](crate::Rooms::matching), asked
    /// before the next event is polled.
    Broadcast(Delivery),
    /// Sockets of this node have joined rooms.
    SocketsJoin(Moved),
    /// Sockets of this node have left rooms.
    SocketsLeave(Moved),
    /// Sockets of this node are to be disconnected. The application disconnects them, and then
    /// [removes](crate::Engine::remove_socket) them.
    DisconnectSockets {
        /// The namespace.
        nsp: ByteString,
        /// The sockets.
        sockets: Vec<ByteString>,
        /// Whether the underlying connections are closed too.
        close: bool,
    },
    /// Somebody (perhaps this node itself) wants to know these sockets of this node.
    /// Answer with [`Engine::respond_sockets`](crate::Engine::respond_sockets), even if there are none.
    FetchSockets {
        /// The namespace.
        nsp: ByteString,
        /// The ids of the matching sockets.
        sockets: Vec<ByteString>,
        /// To whom the answer goes.
        responder: SocketsResponder,
    },
    /// Another server has emitted an event to the servers.
    ServerSideEmit {
        /// The namespace.
        nsp: ByteString,
        /// `[event, …args]`.
        packet: Payload,
        /// The sender.
        from: NodeId,
        /// Present if an answer is wanted: [`Engine::respond_emit`](crate::Engine::respond_emit).
        responder: Option<EmitResponder>,
    },

    /// The message is in the stream, or, for one without a place in it, on its way.
    Published {
        /// What the call returned.
        ticket: Ticket,
        /// Its id in the stream.
        entry: Option<EntryId>,
    },
    /// The message was not published, or it is not known whether it was: the error says which.
    PublishFailed {
        /// What the call returned.
        ticket: Ticket,
        /// Why.
        error: CommandError,
    },
    /// A message for which nobody waits was not published, or it is not known whether it was: a heartbeat, or an answer to another node.
    NoticeFailed {
        /// The stream, or the channel.
        stream: ByteString,
        /// Why.
        error: CommandError,
    },
    /// One answer to a request.
    Answer {
        /// What the call returned.
        ticket: Ticket,
        /// The node that answered. Empty in the classic dialect, whose answers don't say.
        from: NodeId,
        /// What it said.
        answer: Answer,
    },
    /// The request is over: everyone has answered, or is gone, or the time is up.
    RequestDone {
        /// What the call returned.
        ticket: Ticket,
        /// Who answered and who didn't.
        outcome: Outcome,
    },
    /// How many servers the namespace has.
    ServerCount {
        /// What the call returned.
        ticket: Ticket,
        /// The number, this one included; or why it is not known.
        count: Result<u64, CommandError>,
    },

    /// The session is stored, or not.
    SessionSaved {
        /// What the call returned.
        ticket: Ticket,
        /// Why it is not stored, or may not be.
        result: Result<(), CommandError>,
    },
    /// A client is back: its socket is here again, and in its rooms. Send it what it missed, before the next event is polled: what comes then comes
    /// behind that.
    Restored(Restored),
    /// A client's state could not be recovered.
    NotRecovered {
        /// What the call returned.
        ticket: Ticket,
        /// Why.
        reason: NotRecovered,
    },

    /// A node of the namespace has been heard for the first time. Only where nodes send heartbeats.
    NodeUp {
        /// The namespace.
        nsp: ByteString,
        /// The node.
        node: NodeId,
    },
    /// A node of the namespace is gone. Only where nodes send heartbeats.
    NodeDown {
        /// The namespace.
        nsp: ByteString,
        /// The node.
        node: NodeId,
        /// How that is known.
        reason: DownReason,
    },
    /// Something that arrived is no message: it was passed over, and has harmed nothing but itself. What this node itself has said is only looked
    /// into where [`local_delivery`](crate::Config::local_delivery) is the order of the stream.
    Skipped {
        /// Where it stood.
        source: Source,
        /// What is wrong with it.
        reason: WireError,
    },
    /// A connection was lost, or is there again.
    Link {
        /// Which.
        lane: Lane,
        /// Whether it is there.
        up: bool,
    },
    /// The server has lost entries that this node had read, or had published: it was emptied, restored, or a replica that lagged took over. What
    /// others had published, and this node had not read, no server tells. Messages of a node's own are lost if they were
    /// [published](Event::Published) before, with an id above `last`; `docs/guarantees.md` says what may hide some of them.
    Rewound {
        /// The stream.
        stream: ByteString,
        /// The last entry that had been read, or that this node had published, if it had not been read yet.
        cursor: EntryId,
        /// The stream's last entry, as it was found. If it is behind what had been read, reading goes on from here.
        last: EntryId,
        /// How many of the entries that had been read are lost. Unknown if none that had been read are.
        lost: Lost,
    },
    /// Entries were trimmed before this node had read them, or one was too large to be read.
    Gap {
        /// The stream.
        stream: ByteString,
        /// The last entry that was read before.
        after: EntryId,
        /// The first that is left behind the gap.
        until: EntryId,
        /// How many are lost.
        lost: Lost,
    },
    /// An entry came again: its first try was executed late. It has been passed over.
    Repeated {
        /// The stream.
        stream: ByteString,
        /// The entry that was passed over.
        id: EntryId,
        /// Its author.
        from: NodeId,
    },
    /// Another node bears this node's name: neither hears the other. Start one of them with another seed.
    NameTaken {
        /// The stream.
        stream: ByteString,
        /// An entry of the other node's.
        id: EntryId,
    },
    /// Redis refuses to let a stream be read or written, or a channel be subscribed. It is tried again: until it works, or, for a message, until
    /// its time is up. Reported once, until something works again.
    Refused {
        /// The connection.
        lane: Lane,
        /// What Redis says.
        error: CommandError,
    },
}

/// A packet for clients of this node.
#[derive(Debug)]
pub struct Delivery {
    /// The namespace.
    pub nsp: ByteString,
    /// The packet.
    pub packet: Packet,
    /// For whom, and how.
    pub opts: BroadcastOptions,
    /// Its id in the stream, if the packet can be recovered by clients that miss it: to be appended to the packet's data as a last
    /// argument, a string, if connection state recovery is on.
    pub offset: Option<EntryId>,
    /// The node that sent it; may be this one.
    pub from: NodeId,
    /// Present if the clients' acknowledgements are wanted: [`Engine::respond_ack`](crate::Engine::respond_ack), for each of them.
    pub responder: Option<AckResponder>,
}

/// Sockets that joined or left rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The namespace.
    pub nsp: ByteString,
    /// The sockets that were addressed.
    pub sockets: Vec<ByteString>,
    /// The rooms.
    pub rooms: Vec<ByteString>,
    /// What that has changed.
    pub changes: Vec<RoomChange>,
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To `fetch_sockets`: the node's matching sockets.
    Sockets(Vec<RemoteSocket>),
    /// To `server_side_emit_with_ack`: the listener's value.
    Emit(Payload),
    /// To `broadcast_with_ack`: how many clients of the node have been asked.
    ClientCount(u64),
    /// To `broadcast_with_ack`: one client's value.
    Ack(Payload),
    /// To `sockets`: the ids of the node's matching sockets.
    SocketIds(Vec<ByteString>),
    /// To `all_rooms`: the node's rooms.
    Rooms(Vec<ByteString>),
    /// To `remote_join` and its like: the node has that socket, and does it.
    Done,
}

/// How a request ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The nodes that have answered all that was asked of them.
    pub answered: Vec<NodeId>,
    /// How many more have answered without a name: in the classic dialect, whose answers don't say.
    pub answered_unnamed: u64,
    /// The nodes that have not: they are silent, or gone.
    pub missing: Vec<NodeId>,
    /// How many more have not answered whose names are not known: servers that are counted by their subscriptions only.
    pub missing_unnamed: u64,
    /// Whether the time was up.
    pub timed_out: bool,
    /// Whether the message that asks, or an order that follows from an answer, still waits to be published when the request
    /// ends. It will be: its fate is told by [`Event::Published`] or [`Event::PublishFailed`], with the request's ticket.
    pub pending: bool,
    /// For `broadcast_with_ack`: how many clients have been asked, as far as known.
    pub clients: u64,
    /// For `broadcast_with_ack`: how many of them have acknowledged.
    pub acks: u64,
    /// Why the request could not be published, or why it can't be known who should have answered, if that is so.
    pub error: Option<CommandError>,
}

impl Outcome {
    /// Whether everyone answered everything.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
            && self.missing_unnamed == 0
            && !self.timed_out
            && !self.pending
            && self.error.is_none()
            && self.acks >= self.clients
    }
}

/// How many entries are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lost {
    /// So many, provided that nobody deletes entries by XDEL.
    Exactly(u64),
    /// Some, perhaps none: servers before Redis 7.0 don't count.
    Unknown,
}

/// How far a node is behind a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Entries that have been read, and whose events have not been polled.
    pub waiting: usize,
    /// Entries that have not been read, when the server was asked last: every `block_time`, but not more often than each second. Redis 7.0 and
    /// later.
    pub unread: Option<u64>,
    /// The last entry whose events have been polled, or from which reading began. Its time tells how old what is delivered is.
    pub position: Option<EntryId>,
}

/// How it is known that a node is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DownReason {
    /// It said so.
    Closed,
    /// It was silent for longer than the heartbeat timeout.
    Silent,
}

/// Where something stood that was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a stream.
    Entry {
        /// The stream.
        stream: ByteString,
        /// The entry.
        id: EntryId,
    },
    /// In a Pub/Sub message.
    Channel {
        /// The channel.
        channel: ByteString,
    },
}

/// Who asked, and by which way the answer goes back: the way on which the question came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) nsp: ByteString,
    pub(crate) node: NodeId,
    pub(crate) request_id: RequestId,
    pub(crate) way: Way,
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Stream,
    PubSub,
    /// From this node to itself.
    Local,
}

/// The right to answer a `fetch_sockets` request, once.
#[derive(Debug)]
pub struct SocketsResponder(pub(crate) Asker);

/// The right to answer a `server_side_emit` request, once.
#[derive(Debug)]
pub struct EmitResponder(pub(crate) Asker);

/// The right to pass on acknowledgements of a broadcast: one for each client that was sent the packet.
#[derive(Clone, Debug)]
// Boxed, because few broadcasts have one, and every broadcast would be as large as if it had.
pub struct AckResponder(pub(crate) Box<Asker>);
