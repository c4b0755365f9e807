//! The events that the engine reports to the application.

use bytestring::ByteString;

use crate::command::{CommandError, Lane};
use crate::id::{EntryId, NodeId, RequestId, Ticket};
use crate::link::LinkState;
use crate::message::Body;
use crate::packet::{BroadcastOptions, Packet, RemoteSocket};
use crate::payload::Payload;
use crate::rooms::RoomChange;
use crate::session::{NotRecovered, Restored};
use crate::time::Time;
use crate::wire::{Frames, WireError};

/// An event for the application.
///
/// `docs/guarantees.md` in the repository says what [`Published`](Event::Published),
/// [`PublishFailed`](Event::PublishFailed), [`Gap`](Event::Gap), [`Rewound`](Event::Rewound) and
/// [`Repeated`](Event::Repeated) promise, and under which assumptions.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The namespace is connected to the cluster. Everything that is published from now on reaches
    /// it.
    Ready {
        /// The namespace.
        nsp: ByteString,
    },
    /// The namespace has left the cluster, and has announced that.
    Closed {
        /// The namespace.
        nsp: ByteString,
    },
    /// A packet is to be sent to the sockets of this node that `opts` match. Call
    /// [`Rooms::matching`](crate::Rooms::matching) before the next event is polled.
    Broadcast(Delivery),
    /// Sockets of this node have joined rooms. If the rooms are the application's, it makes them
    /// join now.
    SocketsJoin(Moved),
    /// Sockets of this node have left rooms. If the rooms are the application's, it makes them leave
    /// now.
    SocketsLeave(Moved),
    /// Sockets of this node are to be disconnected. The application disconnects them and then
    /// [removes](crate::Engine::remove_socket) them.
    DisconnectSockets {
        /// The namespace.
        nsp: ByteString,
        /// The addressed sockets.
        opts: BroadcastOptions,
        /// The sockets of this node that `opts` match. The list is empty if the rooms are the
        /// application's.
        sockets: Vec<ByteString>,
        /// `true` if the underlying connections are to be closed too.
        close: bool,
        /// The node that demanded it, if the message names one. It may be this one.
        from: Option<NodeId>,
    },
    /// A node, perhaps this one, asks for these sockets of this node. Answer with
    /// [`Engine::respond_sockets`](crate::Engine::respond_sockets), even if there are none. If the
    /// rooms are the application's, answer with
    /// [`Engine::respond_sockets_in_rooms`](crate::Engine::respond_sockets_in_rooms).
    FetchSockets {
        /// The namespace.
        nsp: ByteString,
        /// The addressed sockets.
        opts: BroadcastOptions,
        /// The ids of the sockets of this node that `opts` match. The list is empty if the rooms are
        /// the application's.
        sockets: Vec<ByteString>,
        /// The right to answer.
        responder: SocketsResponder,
    },
    /// Another server has emitted an event to the servers.
    ServerSideEmit {
        /// The namespace.
        nsp: ByteString,
        /// `[event, …args]`.
        packet: Payload,
        /// The sender, if the message names one.
        from: Option<NodeId>,
        /// The right to answer, if an answer is wanted: see
        /// [`Engine::respond_emit`](crate::Engine::respond_emit).
        responder: Option<EmitResponder>,
    },

    /// The message is in the stream. A message that goes through Pub/Sub instead has been sent.
    Published {
        /// The ticket that the call returned.
        ticket: Ticket,
        /// The message's id in the stream, if it is in one.
        entry: Option<EntryId>,
    },
    /// The message was not published, or it is unknown whether it was. The error tells which.
    PublishFailed {
        /// The ticket that the call returned.
        ticket: Ticket,
        /// The reason.
        error: CommandError,
    },
    /// A message without a ticket was not published, or it is unknown whether it was. Heartbeats
    /// and answers to other nodes have no ticket.
    NoticeFailed {
        /// The stream or the channel.
        stream: ByteString,
        /// The reason.
        error: CommandError,
    },
    /// One node has answered a request.
    Answer {
        /// The ticket that the call returned.
        ticket: Ticket,
        /// The node that answered. In the classic dialect answers do not name their sender.
        from: Option<NodeId>,
        /// The answer.
        answer: Answer,
    },
    /// A request is over: every node has answered or is gone, or the timeout has passed.
    RequestDone {
        /// The ticket that the call returned.
        ticket: Ticket,
        /// The nodes that answered, and those that did not.
        outcome: Outcome,
    },
    /// The number of servers in the namespace is known, or could not be determined.
    ServerCount {
        /// The ticket that the call returned.
        ticket: Ticket,
        /// The number of servers, including this one, or the reason why it is unknown.
        count: Result<u64, CommandError>,
    },

    /// The session is stored, or storing it failed.
    SessionSaved {
        /// The ticket that the call returned.
        ticket: Ticket,
        /// An error if the session is not stored, or may not be.
        result: Result<(), CommandError>,
    },
    /// A client's state is recovered: its socket is back, and is in its rooms. Send the client the
    /// packets that it missed before polling the next event. Later packets come after those.
    Restored(Restored),
    /// A client's state could not be recovered.
    NotRecovered {
        /// The ticket that the call returned.
        ticket: Ticket,
        /// The reason.
        reason: NotRecovered,
    },

    /// A node of the namespace was heard for the first time, or again after it had been reported
    /// [gone](Event::NodeDown): each `NodeUp` but the first follows a `NodeDown` of the same name.
    /// This is reported only in dialects with heartbeats.
    NodeUp {
        /// The namespace.
        nsp: ByteString,
        /// The node.
        node: NodeId,
    },
    /// A node of the namespace is gone. This is reported only in dialects with heartbeats.
    NodeDown {
        /// The namespace.
        nsp: ByteString,
        /// The node.
        node: NodeId,
        /// The evidence that it is gone.
        reason: DownReason,
    },
    /// Something that arrived is not a valid message. It was skipped, and nothing else is affected.
    /// The node's own messages are checked only if
    /// [`local_delivery`](crate::Config::local_delivery) is `StreamOrder`.
    Skipped {
        /// The place where it was found.
        source: Source,
        /// The reason why it is not valid.
        reason: WireError,
    },
    /// A connection was lost or restored, or it is still lost, for another reason than before.
    Link {
        /// The connection's lane.
        lane: Lane,
        /// Its state, and the reason if it is down.
        link: LinkState,
    },
    /// The server has lost entries that this node had read or published. It was emptied, restored
    /// from a backup, or replaced by a replica that lagged behind. The replica may have been the
    /// master for a while already, and have taken other entries meanwhile; these follow. No server
    /// reports the loss of entries that other nodes had published and this node had not read. Of
    /// this node's own messages, those are lost that were reported as
    /// [published](Event::Published) with an id above `last`; `docs/guarantees.md` says when some
    /// of them can't be detected.
    Rewound {
        /// The stream.
        stream: ByteString,
        /// The last entry that this node had read, or the last one that it had published if it had
        /// not read that one yet.
        cursor: EntryId,
        /// The last entry that the stream still holds of those that it had. If it precedes the
        /// position that had been read, reading resumes behind it.
        last: EntryId,
        /// The number of lost entries among those that had been read. It is unknown if none of
        /// those are lost, or more than this node remembers.
        lost: Lost,
    },
    /// Entries were trimmed before this node had read them, or one was too large to be read.
    Gap {
        /// The stream.
        stream: ByteString,
        /// The last entry before the gap that was read.
        after: EntryId,
        /// The first entry behind the gap.
        until: EntryId,
        /// The number of entries that are lost.
        lost: Lost,
    },
    /// An entry appeared in the stream twice, because its first attempt was executed late. The
    /// second copy was skipped.
    Repeated {
        /// The stream.
        stream: ByteString,
        /// The entry that was skipped.
        id: EntryId,
        /// The entry's author.
        from: NodeId,
    },
    /// Another node has the same id as this one, so neither hears the other. Start one of them with
    /// another seed.
    NameTaken {
        /// The stream.
        stream: ByteString,
        /// An entry of the other node.
        id: EntryId,
    },
    /// Redis refuses to read or write a stream, or to subscribe to a channel. The engine retries
    /// until it succeeds, or, for a message, until the message's time is up. The event is reported
    /// once, until an attempt succeeds again.
    Refused {
        /// The connection's lane.
        lane: Lane,
        /// The channel, if the user lacks the right to it and Redis takes others. It is a room's, or
        /// the first of those that a namespace needs. All other channels are in force.
        channel: Option<ByteString>,
        /// The error from Redis.
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
    /// The addressed sockets, and the flags.
    pub opts: BroadcastOptions,
    /// The packet's id in the stream, if it came by a stream, or was published there before it was
    /// delivered.
    pub entry: Option<EntryId>,
    /// The offset that clients get with the packet, from which they recover later: `entry`, if
    /// connection state recovery is on and the packet is one that a client can miss.
    /// [`frames`](Delivery::frames) appends it to the packet's arguments, as a string. Without
    /// recovery there is none. A packet that came by a stream in which its namespace is not
    /// published has none either.
    pub offset: Option<EntryId>,
    /// The node that sent the packet, which may be this one, or [`NodeId::EMITTER`]. Some emitters
    /// name nobody.
    pub from: Option<NodeId>,
    /// The right to pass on acknowledgements, if the sender wants them. Call
    /// [`Engine::respond_ack`](crate::Engine::respond_ack) once per client. If the rooms are the
    /// application's, first call
    /// [`Engine::respond_client_count`](crate::Engine::respond_client_count). Acknowledgements that
    /// come after [`AckResponder::deadline`] are of no use to the sender.
    pub responder: Option<AckResponder>,
}

impl Delivery {
    /// Makes the frames for the addressed clients, with the offset if the delivery has one.
    pub fn frames(&self) -> Frames {
        self.packet.frames(&self.nsp, self.offset)
    }
}

/// Sockets that joined or left rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The namespace.
    pub nsp: ByteString,
    /// The addressed sockets.
    pub opts: BroadcastOptions,
    /// The sockets of this node that `opts` match. The list is empty if the rooms are the
    /// application's.
    pub sockets: Vec<ByteString>,
    /// The rooms.
    pub rooms: Vec<ByteString>,
    /// The changes that resulted. There are none if the rooms are the application's.
    pub changes: Vec<RoomChange>,
    /// The node that demanded it, if the message names one. It may be this one.
    pub from: Option<NodeId>,
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The node's matching sockets, for `fetch_sockets`.
    Sockets(Vec<RemoteSocket>),
    /// The listener's value, for `server_side_emit_with_ack`.
    Emit(Payload),
    /// The number of the node's clients that were asked to acknowledge, for `broadcast_with_ack`.
    ClientCount(u64),
    /// One client's value, for `broadcast_with_ack`.
    Ack(Payload),
    /// The ids of the node's matching sockets, for `sockets`.
    SocketIds(Vec<ByteString>),
    /// The node's rooms, for `all_rooms`.
    Rooms(Vec<ByteString>),
    /// The node has the socket and follows the order, for `remote_join` and its like.
    Done,
}

/// The outcome of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The nodes that have sent all of their answers.
    pub answered: Vec<NodeId>,
    /// The number of further answers without a sender. Answers in the classic dialect do not name
    /// one.
    pub answered_unnamed: u64,
    /// The nodes that have not sent all of their answers. They are silent or gone.
    pub missing: Vec<NodeId>,
    /// The number of further missing nodes whose ids are unknown, because they are counted only by
    /// their subscriptions.
    pub missing_unnamed: u64,
    /// `true` if the timeout passed.
    pub timed_out: bool,
    /// `true` if a message of the request still waits to be published when the request ends: the
    /// question itself, or an order that follows from an answer. It will be published or given up;
    /// [`Event::Published`] or [`Event::PublishFailed`] reports its fate under the request's
    /// ticket.
    pub pending: bool,
    /// The number of clients that were asked, as far as it is known. It is set for
    /// `broadcast_with_ack`.
    pub clients: u64,
    /// The number of clients that have acknowledged. It is set for `broadcast_with_ack`.
    pub acks: u64,
    /// The reason why the request could not be published, or why the expected answers could not be
    /// determined.
    pub error: Option<CommandError>,
}

impl Outcome {
    /// Returns `true` if every node has sent all of its answers.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
            && self.missing_unnamed == 0
            && !self.timed_out
            && !self.pending
            && self.error.is_none()
            && self.acks >= self.clients
    }
}

/// The number of entries that are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lost {
    /// Exactly this number, provided that no client deletes entries by XDEL.
    Exactly(u64),
    /// An unknown number, which may be zero. Servers before Redis 7.0 do not count entries.
    Unknown,
}

/// The distance of a node from the end of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// The number of entries that have been read and whose events have not been polled.
    pub waiting: usize,
    /// The number of entries that had not been read when the server was last asked. It is asked
    /// every `block_time`, but at most once a second. Redis reports it from 7.0 on.
    pub unread: Option<u64>,
    /// The last entry whose events have been polled, or the entry from which reading began. Its
    /// time tells the age of what is being delivered.
    pub position: Option<EntryId>,
}

/// The evidence that a node is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DownReason {
    /// The node said that it leaves.
    Closed,
    /// The node was silent for longer than the heartbeat timeout.
    Silent,
}

/// The place where a skipped message was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A stream entry.
    Entry {
        /// The stream.
        stream: ByteString,
        /// The entry.
        id: EntryId,
    },
    /// A Pub/Sub message.
    Channel {
        /// The channel.
        channel: ByteString,
    },
}

/// The sender of a request. The answer goes back the way the request came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) nsp: ByteString,
    pub(crate) node: NodeId,
    pub(crate) request_id: RequestId,
    pub(crate) way: Way,
    pub(crate) wants: Wants,
}

/// The form of the answer to a question about sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// The sockets themselves, or anything that is no socket.
    Sockets,
    /// Their ids.
    Ids,
    /// The names of their rooms.
    Rooms,
    /// The confirmation that there is such a socket, which is first given this order.
    Owner(Box<Body>),
}

/// The way by which a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Stream,
    PubSub,
    /// The message is from this node to itself.
    Local,
}

/// The right to answer a `fetch_sockets` request once.
#[derive(Debug)]
pub struct SocketsResponder(pub(crate) Asker);

impl SocketsResponder {
    /// Returns `true` if this node itself has asked. An application that knows its own sockets need
    /// not describe them to itself, and may answer with none.
    pub fn is_own(&self) -> bool {
        self.0.way == Way::Local
    }
}

/// The right to answer a `server_side_emit` request once.
#[derive(Debug)]
pub struct EmitResponder(pub(crate) Asker);

/// The right to pass on acknowledgements of a broadcast, one per client that was sent the packet.
#[derive(Clone, Debug)]
// The content is boxed because few broadcasts have a responder, and it would enlarge every
// broadcast.
pub struct AckResponder(pub(crate) Box<AckRight>);

#[derive(Clone, Debug)]
pub(crate) struct AckRight {
    pub(crate) asker: Asker,
    pub(crate) deadline: Time,
}

impl AckResponder {
    /// Returns the time by this node's clock from which on the sender waits no longer. It is the
    /// time at which the packet's turn came, plus the timeout in its flags, or
    /// [`Config::request_timeout`](crate::Config::request_timeout) if there is none.
    ///
    /// The sender may stop waiting before: when [it is gone](Event::NodeDown), when the namespace
    /// is closed, or when all clients have answered.
    pub fn deadline(&self) -> Time {
        self.0.deadline
    }
}
