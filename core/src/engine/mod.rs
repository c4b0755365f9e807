//! The engine: the logic of one node of the cluster, without any I/O.

mod batch;
mod by_namespace;
mod cluster;
mod context;
mod destination;
mod due;
mod inbox;
mod lanes;
mod node;
mod outbox;
mod pauses;
mod purpose;
mod recovery;
mod requests;
mod roll;
mod timers;

use bytes::Bytes;
use bytestring::ByteString;

use crate::command::{Command, CommandError, CommandId, Lane, Reply};
use crate::config::{Config, ConfigError};
use crate::error::CallError;
use crate::event::{AckResponder, Answer, EmitResponder, Event, Lag, SocketsResponder};
use crate::id::{NodeId, Ticket};
use crate::link::LinkState;
use crate::message::Body;
use crate::packet::{BroadcastOptions, LocalSocket, Packet, RemoteSocket};
use crate::payload::Payload;
use crate::rooms::{RoomChange, Rooms};
use crate::session::Session;
use crate::time::Time;
use node::Node;

/// A node of a Socket.IO cluster, as a state machine.
///
/// It does no I/O and has no clock. The caller reports each thing that happens by a method call
/// that carries the time. The caller then takes out everything that follows from it, until there is
/// no more:
///
/// - [`poll_event`](Engine::poll_event): what the application should know or do;
/// - [`poll_command`](Engine::poll_command): what Redis should do;
/// - [`poll_timeout`](Engine::poll_timeout): when to call
///   [`handle_timeout`](Engine::handle_timeout) if nothing else happens.
///
/// Nothing is lost if the caller takes out less. But commands then go out late, and a request may
/// time out although its answer has come and only waits to be looked at.
///
/// Poll for events first. The entries of a read are processed one at a time, as events are polled.
/// The engine asks for the next read only when they are used up. An application that is slow to
/// take events therefore slows down the reading of its streams, and nothing else. The streams are
/// the buffer.
///
/// The same configuration, seed and inputs give the same outputs, byte for byte.
///
/// The crate's [first page](crate) shows a whole program.
#[derive(Debug)]
pub struct Engine(Node);

impl Engine {
    /// Creates a node that has no namespace yet.
    ///
    /// `seed` decides the node's name, the ids of its requests and the keys of its hash tables.
    /// Draw it at random, and do not use the same seed twice in a cluster.
    ///
    /// # Errors
    ///
    /// Returns an error if the options can't work together.
    pub fn new(config: Config, seed: u64, now: Time) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Engine(Node::new(config, seed, now)))
    }

    /// Reports the reply to a command, or that the reply will never come. Replies to unknown
    /// commands are ignored.
    pub fn handle_reply(&mut self, now: Time, id: CommandId, reply: Result<Reply, CommandError>) {
        self.at(now).replied(id, reply);
    }

    /// Reports a Pub/Sub message, which came by a subscription to its channel or to a pattern.
    pub fn handle_push(&mut self, now: Time, channel: &str, payload: &Bytes) {
        self.at(now).pushed(channel, payload);
    }

    /// Reports that a connection was lost and why, that it could not be opened, or that it is there
    /// (again). What is new in that comes back as an [`Event::Link`].
    ///
    /// Report a loss before the errors of the commands that were lost with the connection. The
    /// engine then waits for the connection to come back, instead of retrying the commands by
    /// itself after a while. A connection counts as there until it is reported lost.
    pub fn handle_link(&mut self, now: Time, lane: &Lane, link: LinkState) {
        self.at(now).handle_link(lane, link);
    }

    /// Does everything that is due. A call that comes too early does no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        self.at(now).handle_timeout();
    }

    /// Enters the cluster in this namespace. [`Event::Ready`] reports that the namespace hears
    /// everything. The namespace gets nothing that this node had read before the call. In
    /// particular, it does not get what was still waiting when a namespace of this name was closed.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::InvalidNamespace`], [`CallError::NamespaceInUse`],
    /// [`CallError::Overlap`] or [`CallError::Full`].
    pub fn open_namespace(&mut self, now: Time, nsp: &str) -> Result<(), CallError> {
        self.at(now).open_namespace(nsp)
    }

    /// Leaves the cluster in this namespace and tells the other nodes. Open requests end with the
    /// answers that have come. [`Event::Closed`] reports that the other nodes know.
    ///
    /// Messages from earlier calls are still published, and their outcomes are still reported.
    /// However, they have no effect on this node any more, even if the namespace is opened again.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`].
    pub fn close_namespace(&mut self, now: Time, nsp: &str) -> Result<(), CallError> {
        self.at(now).close_namespace(nsp)
    }

    /// Leaves the cluster in every namespace: see [`close_namespace`](Engine::close_namespace).
    pub fn close(&mut self, now: Time) {
        self.at(now).close();
    }

    /// Reports that a client has connected to this node. From now on, messages address its socket.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`] or [`CallError::RoomsOfApplication`].
    pub fn add_socket(
        &mut self,
        nsp: &str,
        socket: impl Into<ByteString>,
    ) -> Result<Vec<RoomChange>, CallError> {
        self.0.cluster.add_socket(&mut self.0.cx, nsp, socket.into())
    }

    /// Reports that a client of this node is gone.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`] or [`CallError::RoomsOfApplication`].
    pub fn remove_socket(&mut self, nsp: &str, socket: &str) -> Result<Vec<RoomChange>, CallError> {
        self.0.cluster.remove_socket(&mut self.0.cx, nsp, socket)
    }

    /// Makes a socket of this node join rooms.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`] or [`CallError::RoomsOfApplication`].
    pub fn join(
        &mut self,
        nsp: &str,
        socket: &str,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Result<Vec<RoomChange>, CallError> {
        self.0.cluster.join(&mut self.0.cx, nsp, socket, rooms)
    }

    /// Makes a socket of this node leave rooms.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`] or [`CallError::RoomsOfApplication`].
    pub fn leave(
        &mut self,
        nsp: &str,
        socket: &str,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Result<Vec<RoomChange>, CallError> {
        self.0.cluster.leave_rooms(&mut self.0.cx, nsp, socket, rooms)
    }

    /// Reports that rooms of the application have their first sockets on this node, or have lost their
    /// last ones. It is needed with [`RoomOwner::Application`](crate::RoomOwner) in the dialect
    /// [`Sharded`](crate::Dialect::Sharded), where rooms have channels. Elsewhere it does nothing.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`].
    pub fn set_rooms_occupied(
        &mut self,
        nsp: &str,
        rooms: impl IntoIterator<Item = ByteString>,
        occupied: bool,
    ) -> Result<(), CallError> {
        self.0.cluster.set_occupied(&mut self.0.cx, nsp, rooms, occupied)
    }

    /// Sends a packet to the clients that `opts` match, on all nodes.
    ///
    /// The call ends with [`Event::Published`] or [`Event::PublishFailed`]. The option
    /// [`local_delivery`](crate::Config::local_delivery) decides when this node's own clients get
    /// the packet, by an [`Event::Broadcast`]. Unless the option is
    /// [`StreamOrder`](crate::LocalDelivery), this delivery has no fixed order relative to what other
    /// nodes publish at the same time. The same is true of Node's adapters.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`], [`CallError::Full`], [`CallError::Payload`] or
    /// [`CallError::Binary`].
    pub fn broadcast(
        &mut self,
        now: Time,
        nsp: &str,
        packet: Packet,
        opts: BroadcastOptions,
    ) -> Result<Ticket, CallError> {
        self.at(now).act(nsp, Body::Broadcast { packet, opts, request_id: None })
    }

    /// Sends a packet to the clients that `opts` match, on all nodes, and collects their
    /// acknowledgements.
    ///
    /// The call ends with [`Event::RequestDone`]. Before that, there is an [`Event::Answer`] from
    /// each node with its number of clients, and one with each acknowledgement.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`], [`CallError::Full`], [`CallError::Payload`] or
    /// [`CallError::Binary`].
    pub fn broadcast_with_ack(
        &mut self,
        now: Time,
        nsp: &str,
        packet: Packet,
        opts: BroadcastOptions,
    ) -> Result<Ticket, CallError> {
        self.at(now).broadcast_with_ack(nsp, packet, opts)
    }

    /// Makes the sockets that `opts` match join rooms, on all nodes.
    ///
    /// The call ends with [`Event::Published`] or [`Event::PublishFailed`]. This node's own sockets
    /// join at that moment.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`] or [`CallError::Full`].
    pub fn sockets_join(
        &mut self,
        now: Time,
        nsp: &str,
        opts: BroadcastOptions,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Result<Ticket, CallError> {
        self.at(now).act(nsp, Body::SocketsJoin { opts, rooms: rooms.into_iter().collect() })
    }

    /// Makes the sockets that `opts` match leave rooms, on all nodes. The call ends, and fails, as
    /// [`sockets_join`](Engine::sockets_join) does.
    pub fn sockets_leave(
        &mut self,
        now: Time,
        nsp: &str,
        opts: BroadcastOptions,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Result<Ticket, CallError> {
        self.at(now).act(nsp, Body::SocketsLeave { opts, rooms: rooms.into_iter().collect() })
    }

    /// Disconnects the sockets that `opts` match, on all nodes. With `close`, it closes their
    /// underlying connections too.
    ///
    /// The call ends with [`Event::Published`] or [`Event::PublishFailed`]. At that moment
    /// [`Event::DisconnectSockets`] names this node's own sockets.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`] or [`CallError::Full`].
    pub fn disconnect_sockets(
        &mut self,
        now: Time,
        nsp: &str,
        opts: BroadcastOptions,
        close: bool,
    ) -> Result<Ticket, CallError> {
        self.at(now).act(nsp, Body::DisconnectSockets { opts, close })
    }

    /// Asks all nodes for the sockets that `opts` match. This node is asked too, by an
    /// [`Event::FetchSockets`].
    ///
    /// The call ends with [`Event::RequestDone`], even if some nodes did not answer. Before that,
    /// there is an [`Event::Answer`] from each node that answers.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`] or [`CallError::Full`].
    pub fn fetch_sockets(
        &mut self,
        now: Time,
        nsp: &str,
        opts: BroadcastOptions,
    ) -> Result<Ticket, CallError> {
        self.at(now).fetch_sockets(nsp, opts)
    }

    /// Emits an event to the other servers. `packet` is an array of the event's name and its
    /// arguments: see [`Payload::event`].
    ///
    /// The call ends with [`Event::Published`] or [`Event::PublishFailed`].
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`], [`CallError::Full`], [`CallError::ReservedEvent`],
    /// [`CallError::Payload`] or [`CallError::Binary`].
    pub fn server_side_emit(&mut self, now: Time, nsp: &str, packet: Payload) -> Result<Ticket, CallError> {
        self.at(now).server_side_emit(nsp, packet)
    }

    /// Emits an event to the other servers and collects their answers. `packet` is an array of the
    /// event's name and its arguments: see [`Payload::event`].
    ///
    /// The call ends with [`Event::RequestDone`], even if some nodes did not answer. Before that,
    /// there is an [`Event::Answer`] from each node that answers.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`], [`CallError::Full`], [`CallError::ReservedEvent`],
    /// [`CallError::Payload`] or [`CallError::Binary`].
    pub fn server_side_emit_with_ack(
        &mut self,
        now: Time,
        nsp: &str,
        packet: Payload,
    ) -> Result<Ticket, CallError> {
        self.at(now).server_side_emit_with_ack(nsp, packet)
    }

    /// Asks for the number of servers of the namespace.
    ///
    /// The call ends with [`Event::ServerCount`], within
    /// [`request_timeout`](crate::Config::request_timeout).
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`] or [`CallError::Full`].
    pub fn server_count(&mut self, now: Time, nsp: &str) -> Result<Ticket, CallError> {
        self.at(now).server_count(nsp)
    }

    /// Stores a client's session, for
    /// [`max_disconnection_duration`](crate::Recovery::max_disconnection_duration). Call it when
    /// the client's connection is lost unexpectedly. A client that leaves by itself has no session.
    ///
    /// The call ends with [`Event::SessionSaved`].
    ///
    /// It may also be called now and then while the client is connected. If this server dies, the
    /// client can then recover at another server.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::RecoveryOff`], [`CallError::UnknownNamespace`],
    /// [`CallError::InvalidPid`], [`CallError::Payload`], [`CallError::SessionTooLarge`] or
    /// [`CallError::Full`].
    pub fn persist_session(&mut self, now: Time, nsp: &str, session: &Session) -> Result<Ticket, CallError> {
        self.at(now).persist_session(nsp, session)
    }

    /// Restores a socket from a session that any server of the cluster has stored. `pid` and
    /// `offset` are what the client sent. The caller need not check them.
    ///
    /// The call ends with [`Event::Restored`] or [`Event::NotRecovered`]. The event comes within
    /// [`timeout`](crate::Recovery::timeout), plus the time that the backend needs to find out what
    /// became of a command. The session stays stored unless it is restored, or its last command is
    /// lost with its link.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::RecoveryOff`] or [`CallError::UnknownNamespace`].
    pub fn restore_session(
        &mut self,
        now: Time,
        nsp: &str,
        pid: &str,
        offset: &str,
    ) -> Result<Ticket, CallError> {
        self.at(now).restore_session(nsp, pid, offset)
    }

    /// Answers [`Event::FetchSockets`]. The engine adds the sockets' rooms. It leaves out sockets
    /// that are not here any more. Data that is `null` becomes `{}`.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`], [`CallError::Full`], [`CallError::Payload`],
    /// [`CallError::Binary`] or, from an application that [owns the rooms](crate::RoomOwner),
    /// [`CallError::RoomsOfApplication`]. The asking node then gets no answer.
    pub fn respond_sockets(
        &mut self,
        now: Time,
        responder: SocketsResponder,
        sockets: Vec<LocalSocket>,
    ) -> Result<(), CallError> {
        self.at(now).respond_sockets(&responder.0, sockets)
    }

    /// Answers [`Event::FetchSockets`] with the sockets that `opts` match, and their rooms. The answer
    /// is for an application that [owns the rooms](crate::RoomOwner).
    ///
    /// # Errors
    ///
    /// As [`respond_sockets`](Engine::respond_sockets).
    pub fn respond_sockets_in_rooms(
        &mut self,
        now: Time,
        responder: SocketsResponder,
        sockets: Vec<RemoteSocket>,
    ) -> Result<(), CallError> {
        self.at(now).respond_sockets_in_rooms(&responder.0, sockets)
    }

    /// Answers [`Event::ServerSideEmit`] with one value.
    ///
    /// # Errors
    ///
    /// As [`respond_sockets`](Engine::respond_sockets).
    pub fn respond_emit(
        &mut self,
        now: Time,
        responder: EmitResponder,
        value: Payload,
    ) -> Result<(), CallError> {
        self.at(now).respond(&responder.0, Answer::Emit(value))
    }

    /// Says how many clients of this node were sent the broadcast. An application that
    /// [owns the rooms](crate::RoomOwner) says it once, before it passes on acknowledgements, and
    /// even if there are none. Otherwise the engine has said it already, and this does nothing.
    ///
    /// # Errors
    ///
    /// As [`respond_sockets`](Engine::respond_sockets).
    pub fn respond_client_count(
        &mut self,
        now: Time,
        responder: &AckResponder,
        clients: u64,
    ) -> Result<(), CallError> {
        self.at(now).respond_client_count(&responder.0.asker, clients)
    }

    /// Passes on one client's acknowledgement of a broadcast.
    ///
    /// # Errors
    ///
    /// As [`respond_sockets`](Engine::respond_sockets).
    pub fn respond_ack(
        &mut self,
        now: Time,
        responder: &AckResponder,
        value: Payload,
    ) -> Result<(), CallError> {
        self.at(now).respond(&responder.0.asker, Answer::Ack(value))
    }

    /// Asks all nodes for the ids of the sockets that are in any of `rooms`. If `rooms` is empty,
    /// it asks for the ids of all sockets.
    ///
    /// The call ends with [`Event::RequestDone`], even if some nodes did not answer. Before that,
    /// there is an [`Event::Answer`] with [`Answer::SocketIds`] from each node that answers, this
    /// one included.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`], [`CallError::Full`] or [`CallError::Payload`].
    pub fn sockets(
        &mut self,
        now: Time,
        nsp: &str,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Result<Ticket, CallError> {
        self.at(now).sockets(nsp, rooms.into_iter().collect())
    }

    /// Asks all nodes for the names of their rooms. The rooms of single sockets are included. The call
    /// ends, and fails, as [`sockets`](Engine::sockets) does, with [`Answer::Rooms`].
    pub fn all_rooms(&mut self, now: Time, nsp: &str) -> Result<Ticket, CallError> {
        self.at(now).all_rooms(nsp)
    }

    /// Makes one socket join a room, on whatever node the socket is.
    ///
    /// The call ends with [`Event::RequestDone`]. Before that, there is an [`Event::Answer`] with
    /// [`Answer::Done`], unless no node has the socket.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`], [`CallError::Full`] or [`CallError::Payload`].
    pub fn remote_join(
        &mut self,
        now: Time,
        nsp: &str,
        socket: impl Into<ByteString>,
        room: impl Into<ByteString>,
    ) -> Result<Ticket, CallError> {
        self.at(now).order(nsp, socket.into(), |opts| Body::SocketsJoin { opts, rooms: vec![room.into()] })
    }

    /// Makes one socket leave a room, on whatever node the socket is. The call ends, and fails, as
    /// [`remote_join`](Engine::remote_join) does.
    pub fn remote_leave(
        &mut self,
        now: Time,
        nsp: &str,
        socket: impl Into<ByteString>,
        room: impl Into<ByteString>,
    ) -> Result<Ticket, CallError> {
        self.at(now).order(nsp, socket.into(), |opts| Body::SocketsLeave { opts, rooms: vec![room.into()] })
    }

    /// Disconnects one socket, on whatever node the socket is. With `close`, it closes the
    /// underlying connection too. The call ends, and fails, as
    /// [`remote_join`](Engine::remote_join) does.
    pub fn remote_disconnect(
        &mut self,
        now: Time,
        nsp: &str,
        socket: impl Into<ByteString>,
        close: bool,
    ) -> Result<Ticket, CallError> {
        self.at(now).order(nsp, socket.into(), |opts| Body::DisconnectSockets { opts, close })
    }

    /// Returns the next event, or `None` if there is no more.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.0.poll_event()
    }

    /// Returns the next of the events that have happened already. It processes no further entry.
    ///
    /// This is for a caller whose application takes no more broadcasts for now, but still waits for
    /// the outcome of its own calls.
    pub fn poll_pending_event(&mut self) -> Option<Event> {
        self.0.poll_pending_event()
    }

    /// Returns the next command, or `None` if there is no more. The command's reply goes to
    /// [`handle_reply`](Engine::handle_reply).
    ///
    /// Commands of the same [lane](Command::lane) must reach the server in the order in which they
    /// are polled.
    pub fn poll_command(&mut self) -> Option<(CommandId, Command)> {
        self.0.poll_command()
    }

    /// Returns the time at which [`handle_timeout`](Engine::handle_timeout) is due, if nothing
    /// happens before.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.0.cx.timers.next()
    }

    /// Returns the name of this node in the cluster.
    pub fn uid(&self) -> &NodeId {
        &self.0.cx.uid
    }

    /// Returns the options.
    pub fn config(&self) -> &Config {
        &self.0.cx.config
    }

    /// Returns the sockets and rooms of a namespace, if it is open and the rooms are the engine's.
    pub fn rooms(&self, nsp: &str) -> Option<&Rooms> {
        let namespace = self.0.cluster.namespaces.get(nsp).filter(|_| self.0.cx.owns_rooms());
        namespace.map(|namespace| &namespace.rooms)
    }

    /// Returns the streams from which a namespace is read, if it is open.
    pub fn streams(&self, nsp: &str) -> impl Iterator<Item = &ByteString> {
        self.0.cluster.namespaces.get(nsp).into_iter().flat_map(|namespace| namespace.streams())
    }

    /// Returns how far the node is behind each of its streams.
    pub fn lags(&self) -> impl Iterator<Item = (&ByteString, Lag)> {
        self.0.inbox.lags()
    }

    /// Returns `true` if no namespace is open or being closed, and no session is on its way to
    /// Redis.
    pub fn is_closed(&self) -> bool {
        let Node { cluster, recoveries, .. } = &self.0;
        cluster.is_empty() && !cluster.is_leaving() && !recoveries.is_saving()
    }

    /// Advances the clock, and returns the node at that time.
    fn at(&mut self, now: Time) -> &mut Node {
        self.0.cx.now = now.max(self.0.cx.now);
        &mut self.0
    }
}
