//! The events of a node, as the application gets them.

use core::pin::pin;

use futures_util::future::{Either, select};
use futures_util::stream::{Stream, StreamExt as _, TryStreamExt as _};
use sio_streams_core::wire::{Frames, WireError};
use sio_streams_core::{
    BroadcastOptions, ByteString, CommandError, DownReason, Engine, EntryId, Event as CoreEvent, Lane,
    LinkState, LocalSocket, Lost, Moved, NodeId, Packet, Payload, RemoteSocket, Source,
};

use crate::askers::{Askers, End};
use crate::call::WeakCalls;
use crate::error::Error;
use crate::queued::Queued;

/// Something that the application should do or know. Events come in order. While they are not
/// taken, the streams are not read any further.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A packet is to be sent to clients of this node.
    Broadcast(Broadcast),
    /// Sockets of this node have joined rooms, as a server of the cluster demanded.
    SocketsJoin(Moved),
    /// Sockets of this node have left rooms, as a server of the cluster demanded.
    SocketsLeave(Moved),
    /// Sockets of this node are to be disconnected: disconnect the clients, then
    /// [remove](crate::Namespace::remove_socket) the sockets.
    DisconnectSockets {
        /// The namespace.
        nsp: ByteString,
        /// The addressed sockets.
        opts: BroadcastOptions,
        /// The sockets of this node that `opts` match. The list is empty if the rooms are the
        /// application's.
        sockets: Vec<ByteString>,
        /// `true` if the underlying connections are to be closed, too.
        close: bool,
        /// The node that demanded it, if the message names one. It may be this one.
        from: Option<NodeId>,
    },
    /// A server of the cluster, perhaps this one, asks for these sockets of this node.
    FetchSockets {
        /// The namespace.
        nsp: ByteString,
        /// The addressed sockets.
        opts: BroadcastOptions,
        /// The ids of the sockets of this node that `opts` match. The list is empty if the rooms are
        /// the application's.
        sockets: Vec<ByteString>,
        /// Takes the answer.
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
        /// Takes the answer, if one is wanted.
        responder: Option<EmitResponder>,
    },
    /// A client is here again: `accept` of [`restore_session`](crate::Namespace::restore_session) has
    /// just run, in this place among the events. The application need not do anything. A consumer
    /// that collects packets can send this client its packets now.
    Accepted {
        /// The namespace.
        nsp: ByteString,
        /// The socket's id.
        socket: ByteString,
    },
    /// A node has been heard for the first time, or again after it had been reported
    /// [gone](Event::NodeDown): each `NodeUp` but the first follows a `NodeDown` of the same name.
    /// This is known only in dialects in which nodes send heartbeats.
    NodeUp {
        /// The namespace.
        nsp: ByteString,
        /// The node.
        node: NodeId,
    },
    /// A node is gone. This is known only in dialects in which nodes send heartbeats.
    NodeDown {
        /// The namespace.
        nsp: ByteString,
        /// The node.
        node: NodeId,
        /// The sign by which that is known.
        reason: DownReason,
    },
    /// Something has arrived that is not a message. It has been skipped.
    Skipped {
        /// Its place.
        source: Source,
        /// The fault.
        reason: WireError,
    },
    /// A connection was lost or reopened, or it is still lost, for another reason than before.
    Link {
        /// The connection's lane.
        lane: Lane,
        /// Its state, and the reason if it is down.
        link: LinkState,
    },
    /// The server has lost entries that had been read. See [`sio_streams_core::Event::Rewound`].
    Rewound {
        /// The stream.
        stream: ByteString,
        /// The last entry that had been read.
        cursor: EntryId,
        /// The stream's last entry, as it was found.
        last: EntryId,
        /// The number of entries that had been read and are lost.
        lost: Lost,
    },
    /// Entries were trimmed before this node had read them. Their messages are lost to its clients.
    Gap {
        /// The stream.
        stream: ByteString,
        /// The last entry that was read before.
        after: EntryId,
        /// The first entry after the gap.
        until: EntryId,
        /// The number of entries that are lost.
        lost: Lost,
    },
    /// An entry came again, since its first try was executed late. It has been skipped.
    Repeated {
        /// The stream.
        stream: ByteString,
        /// The entry that was skipped.
        id: EntryId,
        /// Its author.
        from: NodeId,
    },
    /// Another node has the same name as this one. Neither hears the other.
    NameTaken {
        /// The stream.
        stream: ByteString,
        /// An entry of the other node's.
        id: EntryId,
    },
    /// A heartbeat, or an answer to another node, was not published, or it is not known whether it
    /// was.
    NoticeFailed {
        /// The stream, or the channel.
        stream: ByteString,
        /// The reason.
        error: CommandError,
    },
    /// Redis refuses to let a stream be read or written, or a channel be subscribed to. This is
    /// tried again until it works or, for a message, until its time is up.
    Refused {
        /// The connection.
        lane: Lane,
        /// The channel, if the user lacks the right to it and Redis takes others. It is a room's, or
        /// the first of those that a namespace needs. All other channels are in force.
        channel: Option<ByteString>,
        /// The refusal.
        error: CommandError,
    },
}

impl Event {
    /// Returns the namespace, if the event concerns one. A framework that has an object for each
    /// namespace finds the object by it.
    pub fn nsp(&self) -> Option<&ByteString> {
        match self {
            Event::Broadcast(Broadcast { nsp, .. })
            | Event::SocketsJoin(Moved { nsp, .. })
            | Event::SocketsLeave(Moved { nsp, .. })
            | Event::DisconnectSockets { nsp, .. }
            | Event::FetchSockets { nsp, .. }
            | Event::ServerSideEmit { nsp, .. }
            | Event::Accepted { nsp, .. }
            | Event::NodeUp { nsp, .. }
            | Event::NodeDown { nsp, .. } => Some(nsp),
            _ => None,
        }
    }

    /// Returns the node that has sent the message, if the message names it. A framework that follows
    /// its own orders as soon as it gives them skips the events of its own node.
    pub fn sender(&self) -> Option<&NodeId> {
        match self {
            Event::Broadcast(Broadcast { from, .. })
            | Event::SocketsJoin(Moved { from, .. })
            | Event::SocketsLeave(Moved { from, .. })
            | Event::DisconnectSockets { from, .. }
            | Event::ServerSideEmit { from, .. } => from.as_ref(),
            _ => None,
        }
    }

    /// Returns the application's form of an engine's event, unless the event is for a caller.
    pub(crate) fn from_core(
        event: CoreEvent,
        engine: &Engine,
        calls: &WeakCalls,
        askers: &mut Askers,
    ) -> Option<Self> {
        Some(match event {
            CoreEvent::Broadcast(delivery) => Event::Broadcast(Broadcast {
                sockets: engine
                    .rooms(&delivery.nsp)
                    .map(|rooms| rooms.matching(&delivery.opts))
                    .unwrap_or_default(),
                responder: delivery.responder.map(|right| {
                    let end = askers.asked(&delivery.nsp, delivery.from.as_ref(), &right);
                    AckResponder { right, end, calls: calls.clone() }
                }),
                nsp: delivery.nsp,
                packet: delivery.packet,
                opts: delivery.opts,
                entry: delivery.entry,
                offset: delivery.offset,
                from: delivery.from,
            }),
            CoreEvent::SocketsJoin(moved) => Event::SocketsJoin(moved),
            CoreEvent::SocketsLeave(moved) => Event::SocketsLeave(moved),
            CoreEvent::DisconnectSockets { nsp, opts, sockets, close, from } => {
                Event::DisconnectSockets { nsp, opts, sockets, close, from }
            }
            CoreEvent::FetchSockets { nsp, opts, sockets, responder } => {
                let responder = SocketsResponder { right: responder, calls: calls.clone() };
                Event::FetchSockets { nsp, opts, sockets, responder }
            }
            CoreEvent::ServerSideEmit { nsp, packet, from, responder } => {
                let responder = responder.map(|right| EmitResponder { right, calls: calls.clone() });
                Event::ServerSideEmit { nsp, packet, from, responder }
            }
            CoreEvent::NodeUp { nsp, node } => Event::NodeUp { nsp, node },
            CoreEvent::NodeDown { nsp, node, reason } => {
                askers.gone(&nsp, &node);
                Event::NodeDown { nsp, node, reason }
            }
            CoreEvent::Skipped { source, reason } => Event::Skipped { source, reason },
            CoreEvent::Rewound { stream, cursor, last, lost } => {
                Event::Rewound { stream, cursor, last, lost }
            }
            CoreEvent::Gap { stream, after, until, lost } => Event::Gap { stream, after, until, lost },
            CoreEvent::Repeated { stream, id, from } => Event::Repeated { stream, id, from },
            CoreEvent::NameTaken { stream, id } => Event::NameTaken { stream, id },
            CoreEvent::NoticeFailed { stream, error } => Event::NoticeFailed { stream, error },
            CoreEvent::Refused { lane, channel, error } => Event::Refused { lane, channel, error },
            _ => return None,
        })
    }
}

/// A packet for clients of this node.
#[derive(Debug)]
#[non_exhaustive]
pub struct Broadcast {
    /// The namespace.
    pub nsp: ByteString,
    /// The packet.
    pub packet: Packet,
    /// The sockets that are to get the packet: those of this node that matched when its turn came.
    /// The list is empty if the rooms are the application's: then match `opts`.
    pub sockets: Vec<ByteString>,
    /// The packet's addressees and flags.
    pub opts: BroadcastOptions,
    /// The packet's id in the stream, if it came by a stream, or was published there before it was
    /// delivered.
    pub entry: Option<EntryId>,
    /// The offset that [`frames`](Broadcast::frames) appends to the packet's arguments: `entry`, if
    /// connection state recovery is on and the packet is one that a client can miss.
    pub offset: Option<EntryId>,
    /// The node that sent the packet. It may be this one, or [`NodeId::EMITTER`]. Some emitters name
    /// nobody.
    pub from: Option<NodeId>,
    /// Takes the clients' acknowledgements, if the sender wants them.
    pub responder: Option<AckResponder>,
}

impl Broadcast {
    /// Makes the frames that bring the packet to each of the sockets, with the offset if there is
    /// one. If acknowledgements are wanted, set the packet's id first.
    pub fn frames(&self) -> Frames {
        self.packet.frames(&self.nsp, self.offset)
    }
}

/// Takes the answer to [`Event::FetchSockets`]. If it is dropped without an answer, the server that
/// asked waits until its time is up.
#[derive(Debug)]
pub struct SocketsResponder {
    pub(crate) right: sio_streams_core::SocketsResponder,
    pub(crate) calls: WeakCalls,
}

impl SocketsResponder {
    /// Answers with the sockets. Their rooms are known to the node already.
    ///
    /// # Errors
    ///
    /// If the answer can't be sent: [`Error::Call`] says why.
    pub fn send(self, sockets: Vec<LocalSocket>) -> Queued<()> {
        let SocketsResponder { right, calls } = self;
        calls.ask(move |engine, now| engine.respond_sockets(now, right, sockets))
    }

    /// Answers with the sockets and their rooms, from an application that
    /// [owns the rooms](sio_streams_core::RoomOwner).
    ///
    /// # Errors
    ///
    /// If the answer can't be sent: [`Error::Call`] says why.
    pub fn send_in_rooms(self, sockets: Vec<RemoteSocket>) -> Queued<()> {
        let SocketsResponder { right, calls } = self;
        calls.ask(move |engine, now| engine.respond_sockets_in_rooms(now, right, sockets))
    }
}

/// Takes the answer to [`Event::ServerSideEmit`].
#[derive(Debug)]
pub struct EmitResponder {
    pub(crate) right: sio_streams_core::EmitResponder,
    pub(crate) calls: WeakCalls,
}

impl EmitResponder {
    /// Answers with one value.
    ///
    /// # Errors
    ///
    /// If the answer can't be sent: [`Error::Call`] says why.
    pub fn send(self, value: Payload) -> Queued<()> {
        let EmitResponder { right, calls } = self;
        calls.ask(move |engine, now| engine.respond_emit(now, right, value))
    }
}

/// Takes clients' acknowledgements of an [`Event::Broadcast`], one for each client.
#[derive(Clone, Debug)]
pub struct AckResponder {
    pub(crate) right: sio_streams_core::AckResponder,
    pub(crate) end: End,
    pub(crate) calls: WeakCalls,
}

impl AckResponder {
    /// Passes on one client's value.
    ///
    /// # Errors
    ///
    /// If it can't be sent: [`Error::Call`] says why.
    pub fn send(&self, value: Payload) -> Queued<()> {
        let right = self.right.clone();
        self.calls.ask(move |engine, now| engine.respond_ack(now, &right, value))
    }

    /// Gives the whole answer of an application that [owns the rooms](sio_streams_core::RoomOwner):
    /// how many of its clients were asked, and then their values as they come. The number is in
    /// line when this returns. The future completes when `values` end, or when nobody waits for
    /// them any more. It must be polled for the values to go out.
    ///
    /// # Errors
    ///
    /// If the number, or a value, can't be sent: [`Error::Call`] says why. Values that come after
    /// that are not sent.
    pub fn answer(
        self,
        clients: u64,
        values: impl Stream<Item = Payload> + Send,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        let said = self.clients(clients);
        async move {
            said.await?;
            let passed_on = values.map(Ok).try_for_each(|value| self.send(value));
            match select(pin!(passed_on), pin!(self.ended())).await {
                Either::Left((passed_on, _)) => passed_on,
                Either::Right(((), _)) => Ok(()),
            }
        }
    }

    /// Returns the time from which on nobody waits for acknowledgements any more: the time at which
    /// the packet's turn came, plus the timeout in its flags, or
    /// [`Config::request_timeout`](sio_streams_core::Config::request_timeout) if there is none.
    pub fn deadline(&self) -> std::time::Instant {
        self.end.deadline.into_std()
    }

    /// Completes when nobody waits for acknowledgements any more: the [deadline](AckResponder::deadline)
    /// has passed, the sender is gone, or the namespace or this node is closed. An application can
    /// then drop its records of clients that have not answered. This does not complete when all
    /// clients of this node have answered: the application knows that itself.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.end.clone().come()
    }

    /// Says how many clients of this node were sent the packet. An application that
    /// [owns the rooms](sio_streams_core::RoomOwner) says it once, before it passes on
    /// acknowledgements, and even if there are none. Otherwise it has been said already, and this
    /// does nothing.
    ///
    /// # Errors
    ///
    /// If it can't be sent: [`Error::Call`] says why.
    pub fn clients(&self, clients: u64) -> Queued<()> {
        let right = self.right.clone();
        self.calls.ask(move |engine, now| engine.respond_client_count(now, &right, clients))
    }
}
