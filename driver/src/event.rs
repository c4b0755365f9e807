//! What the application hears.

use sio_streams_core::{
    AckResponder, BroadcastOptions, ByteString, CommandError, DownReason, EmitResponder, EntryId, Lane,
    LocalSocket, Lost, Moved, NodeId, Packet, Payload, SocketsResponder, Source,
};

use crate::Error;
use crate::node::WeakNode;

/// Something that the application should do or know. They come in order; while they are not taken, the streams are not read on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A packet is to be sent to clients of this node.
    Broadcast(Broadcast),
    /// Sockets of this node have joined rooms, because somebody asked for it.
    SocketsJoin(Moved),
    /// Sockets of this node have left rooms, because somebody asked for it.
    SocketsLeave(Moved),
    /// Sockets of this node are to be disconnected: disconnect the clients, then
    /// [remove](crate::Namespace::remove_socket) the sockets.
    DisconnectSockets {
        /// The namespace.
        nsp: ByteString,
        /// The sockets.
        sockets: Vec<ByteString>,
        /// Whether the underlying connections are closed too.
        close: bool,
    },
    /// Somebody wants to know these sockets of this node; perhaps this node itself.
    FetchSockets {
        /// The namespace.
        nsp: ByteString,
        /// The ids of the sockets.
        sockets: Vec<ByteString>,
        /// Takes the answer.
        reply: SocketsReply,
    },
    /// Another server has emitted an event to the servers.
    ServerSideEmit {
        /// The namespace.
        nsp: ByteString,
        /// `[event, …args]`.
        packet: Payload,
        /// The sender.
        from: NodeId,
        /// Takes the answer, if one is wanted.
        reply: Option<EmitReply>,
    },
    /// A node has been heard for the first time. Only where nodes send heartbeats.
    NodeUp {
        /// The namespace.
        nsp: ByteString,
        /// The node.
        node: NodeId,
    },
    /// A node is gone. Only where nodes send heartbeats.
    NodeDown {
        /// The namespace.
        nsp: ByteString,
        /// The node.
        node: NodeId,
        /// How that is known.
        reason: DownReason,
    },
    /// Something that arrived was no message, and has been passed over.
    Skipped {
        /// Where it stood.
        source: Source,
        /// What is wrong with it.
        reason: String,
    },
    /// A connection was lost, or is there again; or it is still not there, for another reason.
    Link {
        /// Which.
        lane: Lane,
        /// Whether it is there.
        up: bool,
        /// Why it was lost, or could not be opened; empty if it is there.
        reason: String,
    },
    /// The server has lost entries that had been read. See [`sio_streams_core::Event::Rewound`].
    Rewound {
        /// The stream.
        stream: ByteString,
        /// The last entry that had been read.
        cursor: EntryId,
        /// The stream's last entry, as it was found.
        last: EntryId,
        /// How many of the entries that had been read are lost.
        lost: Lost,
    },
    /// Entries were trimmed before this node had read them: their messages are lost to its clients.
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
    /// Another node bears this node's name: neither hears the other.
    NameTaken {
        /// The stream.
        stream: ByteString,
        /// An entry of the other node's.
        id: EntryId,
    },
    /// A heartbeat, or an answer to another node, was not published, or it is not known whether it was.
    NoticeFailed {
        /// The stream, or the channel.
        stream: ByteString,
        /// Why.
        error: CommandError,
    },
    /// Redis refuses to let a stream be read or written, or a channel be subscribed. It is tried again: until it works, or, for a message, until
    /// its time is up.
    Refused {
        /// The connection.
        lane: Lane,
        /// What Redis says.
        error: CommandError,
    },
}

/// What waits for whoever takes the events.
// The large variant is the common one.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Told {
    Event(Event),
    /// Something that is to be done in its place among them.
    Act(Box<dyn FnOnce() + Send>),
}

impl Told {
    /// The event; what is to be done is done.
    pub(crate) fn event(self) -> Option<Event> {
        match self {
            Told::Event(event) => Some(event),
            Told::Act(act) => {
                act();
                None
            }
        }
    }
}

impl core::fmt::Debug for Told {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Told::Event(event) => event.fmt(f),
            Told::Act(_) => f.write_str("Act"),
        }
    }
}

/// A packet for clients of this node.
#[derive(Debug)]
pub struct Broadcast {
    /// The namespace.
    pub nsp: ByteString,
    /// The packet.
    pub packet: Packet,
    /// The clients that are to get it: the sockets of this node that matched when the packet's turn came.
    pub sockets: Vec<ByteString>,
    /// How it is to be sent, and to whom it was addressed.
    pub opts: BroadcastOptions,
    /// What is to be appended to the packet's data if connection state recovery is on; `None` for packets that are not recovered.
    pub offset: Option<EntryId>,
    /// The node that sent it; may be this one.
    pub from: NodeId,
    /// Takes the clients' acknowledgements, if they are wanted.
    pub acks: Option<AckReply>,
}

/// Takes the answer to [`Event::FetchSockets`]. Dropped without an answer, it leaves whoever asked waiting until the time is up.
#[derive(Debug)]
pub struct SocketsReply {
    pub(crate) responder: SocketsResponder,
    pub(crate) node: WeakNode,
}

impl SocketsReply {
    /// Answers. The sockets' rooms are known already.
    ///
    /// # Errors
    ///
    /// If the answer can't be sent: [`Error::Call`] says why.
    pub async fn send(self, sockets: Vec<LocalSocket>) -> Result<(), Error> {
        let SocketsReply { responder, node } = self;
        node.call(move |run| run.engine.respond_sockets(run.now(), responder, sockets)).await
    }
}

/// Takes the answer to [`Event::ServerSideEmit`].
#[derive(Debug)]
pub struct EmitReply {
    pub(crate) responder: EmitResponder,
    pub(crate) node: WeakNode,
}

impl EmitReply {
    /// Answers with one value.
    ///
    /// # Errors
    ///
    /// If the answer can't be sent: [`Error::Call`] says why.
    pub async fn send(self, value: Payload) -> Result<(), Error> {
        let EmitReply { responder, node } = self;
        node.call(move |run| run.engine.respond_emit(run.now(), responder, value)).await
    }
}

/// Takes clients' acknowledgements of an [`Event::Broadcast`], one for each client.
#[derive(Clone, Debug)]
pub struct AckReply {
    pub(crate) responder: AckResponder,
    pub(crate) node: WeakNode,
}

impl AckReply {
    /// Passes on one client's value.
    ///
    /// # Errors
    ///
    /// If it can't be sent: [`Error::Call`] says why.
    pub async fn send(&self, value: Payload) -> Result<(), Error> {
        let responder = self.responder.clone();
        self.node.call(move |run| run.engine.respond_ack(run.now(), &responder, value)).await
    }
}
