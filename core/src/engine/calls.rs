//! The calls by which the application asks something of the cluster.

use bytestring::ByteString;

use super::cluster::Namespace;
use super::outbox::{Outgoing, What};
use super::recovery;
use super::requests::Wanted;
use super::{CallError, Content, Due, Effect, EffectKind, Engine, Pending, Timer};
use crate::config::LocalDelivery;
use crate::event::Event;
use crate::id::{EntryId, RequestId, Ticket};
use crate::message::Body;
use crate::packet::{BroadcastOptions, Packet};
use crate::payload::{Payload, PayloadError};
use crate::session::Session;
use crate::time::Time;

/// Event names on which Node's namespaces fail if they are used between servers. The namespaces
/// refuse to send the first three, and throw on the last one unless there is a listener.
const RESERVED_BETWEEN_SERVERS: [&str; 4] = ["connect", "connection", "new_namespace", "error"];

impl Engine {
    /// Sends a packet to the clients that `opts` match, on all nodes.
    ///
    /// The call ends with [`Event::Published`] or [`Event::PublishFailed`]. The option
    /// [`local_delivery`](crate::Config::local_delivery) decides when this node's own clients get
    /// the packet, by an [`Event::Broadcast`]. Unless the option is
    /// [`StreamOrder`](LocalDelivery::StreamOrder), this delivery has no fixed order relative to
    /// what other nodes publish at the same time. The same is true of Node's adapters.
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
        let local = opts.flags.is_local();
        self.act(now, nsp, Body::Broadcast { packet, opts, request_id: None }, local)
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
        self.advance(now);
        let id = RequestId::random(&mut self.cx.rng);
        let body =
            Body::Broadcast { packet: packet.clone(), opts: opts.clone(), request_id: Some(id.clone()) };
        let ticket = self.ask(nsp, id.clone(), body, Wanted::Acks, &opts)?;
        self.expect_self(ticket);
        let asker = self.asker_self(nsp, id);
        self.deliver_with_ack(asker, packet, opts, None);
        Ok(ticket)
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
        rooms: Vec<ByteString>,
    ) -> Result<Ticket, CallError> {
        let local = opts.flags.is_local();
        self.act(now, nsp, Body::SocketsJoin { opts, rooms }, local)
    }

    /// Makes the sockets that `opts` match leave rooms, on all nodes.
    ///
    /// The call ends with [`Event::Published`] or [`Event::PublishFailed`]. This node's own sockets
    /// leave at that moment.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`] or [`CallError::Full`].
    pub fn sockets_leave(
        &mut self,
        now: Time,
        nsp: &str,
        opts: BroadcastOptions,
        rooms: Vec<ByteString>,
    ) -> Result<Ticket, CallError> {
        let local = opts.flags.is_local();
        self.act(now, nsp, Body::SocketsLeave { opts, rooms }, local)
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
        let local = opts.flags.is_local();
        self.act(now, nsp, Body::DisconnectSockets { opts, close }, local)
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
        self.advance(now);
        let id = RequestId::random(&mut self.cx.rng);
        let body = Body::FetchSockets { opts: opts.clone(), request_id: id.clone() };
        let ticket = self.ask(nsp, id.clone(), body, Wanted::Sockets, &opts)?;
        self.expect_self(ticket);
        let asker = self.asker_self(nsp, id);
        self.sockets_wanted(asker, &opts);
        Ok(ticket)
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
        self.advance(now);
        check_server_event(&packet)?;
        let ticket = Ticket(self.cx.number());
        self.publish(nsp, Body::ServerSideEmit { packet, request_id: None }, What::Message(ticket))?;
        Ok(ticket)
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
        self.advance(now);
        check_server_event(&packet)?;
        let id = RequestId::random(&mut self.cx.rng);
        let body = Body::ServerSideEmit { packet, request_id: Some(id.clone()) };
        self.ask(nsp, id, body, Wanted::Values, &BroadcastOptions::all())
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
        self.advance(now);
        let ticket = Ticket(self.cx.number());
        let (name, namespace) = self.open(nsp)?;
        let count = 1 + namespace.members.len() as u64;
        if self.cx.config.dialect.subscribes() {
            self.admit_request()?;
            self.count_servers(ticket, &name);
            self.cx.timers.arm(Timer::RequestTimeout(ticket), self.cx.now + self.cx.config.request_timeout);
        } else {
            self.cx.events.push_back(Event::ServerCount { ticket, count: Ok(count) });
        }
        Ok(ticket)
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
        self.advance(now);
        self.cx.config.recovery.as_ref().ok_or(CallError::RecoveryOff)?;
        self.open(nsp)?;
        self.recoveries.persist(&mut self.cx, nsp, session)
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
        self.advance(now);
        self.cx.config.recovery.as_ref().ok_or(CallError::RecoveryOff)?;
        let (nsp, namespace) = self.open(nsp)?;
        // Recovery needs the order of the stream, and without streams there is no such order.
        let stream = namespace.stream.clone().ok_or(CallError::RecoveryOff)?;
        let two_streams =
            namespace.lost_stream.as_ref().is_some_and(|lost| self.inbox.cursor(lost) != Some(EntryId::ZERO));
        self.recoveries.begin(&mut self.cx, recovery::Wanted { nsp, stream, two_streams, pid, offset })
    }

    pub(super) fn open(&self, nsp: &str) -> Result<(ByteString, &Namespace), CallError> {
        match self.cluster.namespaces.get_key_value(nsp) {
            Some((name, namespace)) => Ok((name.clone(), namespace)),
            None => Err(CallError::UnknownNamespace(nsp.into())),
        }
    }

    /// Publishes a message that has an effect on this node too.
    fn act(&mut self, now: Time, nsp: &str, body: Body, local: bool) -> Result<Ticket, CallError> {
        self.advance(now);
        let ticket = Ticket(self.cx.number());
        let (name, _) = self.open(nsp)?;
        let closings = self.cluster.closings();
        let effect = |nsp, body| {
            let effect = Effect { nsp, kind: EffectKind::of(body)? };
            Some(Box::new(Due { effect, closings }))
        };
        let at_once = if local && !mutant!(LocalPublished) {
            self.cx.events.push_back(Event::Published { ticket, entry: None });
            effect(name, body)
        } else {
            let content = self.cx.config.content(&self.cx.uid, &name, &body)?;
            let (when_published, at_once) = match self.cx.config.local_delivery {
                LocalDelivery::WhenPublished => (effect(name.clone(), body), None),
                LocalDelivery::AtOnce => (None, effect(name.clone(), body)),
                LocalDelivery::StreamOrder => (None, None),
            };
            self.send(name, content, What::Message(ticket), when_published)?;
            at_once
        };
        self.pending.extend(at_once.map(|effect| Pending::Effect(effect, None)));
        Ok(ticket)
    }

    /// Publishes a message that has no effect on this node.
    pub(super) fn publish(&mut self, nsp: &str, body: Body, what: What) -> Result<(), CallError> {
        let (name, _) = self.open(nsp)?;
        let content = self.cx.config.content(&self.cx.uid, &name, &body)?;
        self.send(name, content, what, None)
    }

    pub(super) fn send(
        &mut self,
        nsp: ByteString,
        content: Content,
        what: What,
        effect: Option<Box<Due>>,
    ) -> Result<(), CallError> {
        let size = content.size();
        self.outbox.admit(&self.cx, size)?;
        self.outbox.enqueue(&mut self.cx, Outgoing { nsp, content, what, effect, size });
        Ok(())
    }
}

pub(crate) fn check_server_event(packet: &Payload) -> Result<(), CallError> {
    match packet.event_name() {
        None => Err(PayloadError::NotAnEvent.into()),
        Some(name) if RESERVED_BETWEEN_SERVERS.contains(&name.as_str()) => {
            Err(CallError::ReservedEvent(name))
        }
        Some(_) => Ok(()),
    }
}
