//! What the application asks of the cluster.

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

/// Event names between servers on which Node's namespaces fail: they refuse to send the first three, and throw on the last one unless
/// somebody listens.
const RESERVED_BETWEEN_SERVERS: [&str; 4] = ["connect", "connection", "new_namespace", "error"];

impl Engine {
    /// Sends a packet to the clients that `opts` match, on all nodes.
    ///
    /// Ends with [`Event::Published`] or [`Event::PublishFailed`]. When this node's own clients get it ([`Event::Broadcast`]) the option
    /// [`local_delivery`](crate::Config::local_delivery) says. Unless that is [`StreamOrder`](LocalDelivery::StreamOrder), there is no order
    /// between that and what other nodes publish at the same time, as with Node's adapters.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`], [`CallError::Full`], [`CallError::Payload`], [`CallError::Binary`].
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

    /// Sends a packet to the clients that `opts` match, on all nodes, and collects their acknowledgements.
    ///
    /// Ends with [`Event::RequestDone`]. Before, there is an [`Event::Answer`] with the number of clients from each node, and one with each
    /// acknowledgement.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`], [`CallError::Full`], [`CallError::Payload`], [`CallError::Binary`].
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
        self.deliver_with_ack(asker, packet, opts);
        Ok(ticket)
    }

    /// Makes the sockets that `opts` match join rooms, on all nodes.
    ///
    /// Ends with [`Event::Published`] or [`Event::PublishFailed`]; this node's own sockets join at that moment.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`], [`CallError::Full`].
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
    /// Ends with [`Event::Published`] or [`Event::PublishFailed`]; this node's own sockets leave at that moment.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`], [`CallError::Full`].
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

    /// Disconnects the sockets that `opts` match, on all nodes; with `close`, their underlying connections too.
    ///
    /// Ends with [`Event::Published`] or [`Event::PublishFailed`]; [`Event::DisconnectSockets`] names this node's own sockets at that moment.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`], [`CallError::Full`].
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

    /// Asks all nodes for the sockets that `opts` match. This node is asked too, by an [`Event::FetchSockets`].
    ///
    /// Ends with [`Event::RequestDone`], whether everyone answered or not. Before, there is an [`Event::Answer`] from each node.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`], [`CallError::Full`].
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

    /// Emits an event to the other servers. `packet` is `[event, …args]`: see [`Payload::event`].
    ///
    /// Ends with [`Event::Published`] or [`Event::PublishFailed`].
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`], [`CallError::Full`], [`CallError::ReservedEvent`], [`CallError::Payload`], [`CallError::Binary`].
    pub fn server_side_emit(&mut self, now: Time, nsp: &str, packet: Payload) -> Result<Ticket, CallError> {
        self.advance(now);
        check_server_event(&packet)?;
        let ticket = Ticket(self.cx.number());
        self.publish(nsp, Body::ServerSideEmit { packet, request_id: None }, What::Message(ticket))?;
        Ok(ticket)
    }

    /// Emits an event to the other servers and collects their answers. `packet` is `[event, …args]`: see [`Payload::event`].
    ///
    /// Ends with [`Event::RequestDone`], whether everyone answered or not. Before, there is an [`Event::Answer`] from each node.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`], [`CallError::Full`], [`CallError::ReservedEvent`], [`CallError::Payload`], [`CallError::Binary`].
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

    /// Asks how many servers the namespace has. Ends with [`Event::ServerCount`], within
    /// [`request_timeout`](crate::Config::request_timeout).
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`], [`CallError::Full`].
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

    /// Stores a client's session, for [`max_disconnection_duration`](crate::Recovery::max_disconnection_duration). To be called when the client's
    /// connection is lost unexpectedly; a client that leaves by itself has no session.
    ///
    /// Ends with [`Event::SessionSaved`].
    ///
    /// It may also be called while the client is there, now and then: if this server dies, the client recovers at another one.
    ///
    /// # Errors
    ///
    /// [`CallError::RecoveryOff`], [`CallError::UnknownNamespace`], [`CallError::InvalidPid`], [`CallError::Payload`],
    /// [`CallError::SessionTooLarge`], [`CallError::Full`].
    pub fn persist_session(&mut self, now: Time, nsp: &str, session: &Session) -> Result<Ticket, CallError> {
        self.advance(now);
        self.cx.config.recovery.as_ref().ok_or(CallError::RecoveryOff)?;
        self.open(nsp)?;
        self.recoveries.persist(&mut self.cx, nsp, session)
    }

    /// Makes a socket of a session again, which any server of the cluster has stored. `pid` and `offset` are what the client sent; they need not be
    /// looked at before.
    ///
    /// Ends with [`Event::Restored`] or [`Event::NotRecovered`], within [`timeout`](crate::Recovery::timeout) and what the backend needs to tell what
    /// became of a command. The session stays stored unless it is restored, or its last command is lost with its link.
    ///
    /// # Errors
    ///
    /// [`CallError::RecoveryOff`], [`CallError::UnknownNamespace`].
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
        // Without streams there is no order of the stream, which recovery needs.
        let stream = namespace.stream.clone().ok_or(CallError::RecoveryOff)?;
        let two_streams =
            namespace.lost_stream().is_some_and(|lost| self.inbox.cursor(lost) != Some(EntryId::ZERO));
        self.recoveries.begin(&mut self.cx, recovery::Wanted { nsp, stream, two_streams, pid, offset })
    }

    pub(super) fn open(&self, nsp: &str) -> Result<(ByteString, &Namespace), CallError> {
        match self.cluster.namespaces.get_key_value(nsp) {
            Some((name, namespace)) => Ok((name.clone(), namespace)),
            None => Err(CallError::UnknownNamespace(nsp.into())),
        }
    }

    /// Publishes something that has an effect here too.
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

    /// Publishes something that has no effect here.
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
