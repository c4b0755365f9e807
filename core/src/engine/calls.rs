//! What the application asks of the cluster, and answers to it.

use bytestring::ByteString;

use super::channels::escape_glob;
use super::namespace::Namespace;
use super::publisher::{Outgoing, What};
use super::recovery::is_recoverable;
use super::requests::{Request, Taken, Wanted};
use super::{CallError, Content, Effect, EffectKind, Engine, Pending, Purpose, Timer};
use crate::command::{Command, CommandError};
use crate::config::LocalDelivery;
use crate::event::{
    AckResponder, Answer, Asker, Delivery, EmitResponder, Event, SocketsResponder, Ticket, Way,
};
use crate::id::{EntryId, NodeId, RequestId};
use crate::message::Body;
use crate::packet::{BroadcastOptions, LocalSocket, Packet, RemoteSocket};
use crate::payload::{Payload, PayloadError};
use crate::rooms::RoomChange;
use crate::time::Time;

/// Event names between servers on which Node's namespaces fail: they refuse to send the first three, and throw on the last one unless
/// somebody listens.
const RESERVED_BETWEEN_SERVERS: [&str; 4] = ["connect", "connection", "new_namespace", "error"];

/// While answers are awaited from nodes that are known by their subscriptions only, it is looked after them this often.
const RECHECK: core::time::Duration = core::time::Duration::from_millis(500);

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
        let body = Body::Broadcast { packet: packet.clone(), opts: opts.clone(), request_id: None };
        let local = opts.flags.is_local();
        self.act(now, nsp, body, local, EffectKind::Broadcast { packet, opts })
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
        let id = RequestId::random(&mut self.rng);
        let body =
            Body::Broadcast { packet: packet.clone(), opts: opts.clone(), request_id: Some(id.clone()) };
        let ticket = self.ask(nsp, id.clone(), body, Wanted::Acks, &opts)?;
        self.expect_self(ticket);
        let asker = self.asker_self(nsp, id);
        self.deliver_with_ack(asker, packet, opts);
        self.ask_others(ticket);
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
        let body = Body::SocketsJoin { opts: opts.clone(), rooms: rooms.clone() };
        let local = opts.flags.is_local();
        self.act(now, nsp, body, local, EffectKind::Join { opts, rooms })
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
        let body = Body::SocketsLeave { opts: opts.clone(), rooms: rooms.clone() };
        let local = opts.flags.is_local();
        self.act(now, nsp, body, local, EffectKind::Leave { opts, rooms })
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
        let body = Body::DisconnectSockets { opts: opts.clone(), close };
        let local = opts.flags.is_local();
        self.act(now, nsp, body, local, EffectKind::Disconnect { opts, close })
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
        let id = RequestId::random(&mut self.rng);
        let body = Body::FetchSockets { opts: opts.clone(), request_id: id.clone() };
        let ticket = self.ask(nsp, id.clone(), body, Wanted::Sockets, &opts)?;
        self.expect_self(ticket);
        let asker = self.asker_self(nsp, id);
        self.sockets_wanted(asker, &opts);
        self.ask_others(ticket);
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
        let ticket = Ticket(self.number());
        self.publish(nsp, Body::ServerSideEmit { packet, request_id: None }, What::Message(ticket), None)?;
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
        let id = RequestId::random(&mut self.rng);
        let body = Body::ServerSideEmit { packet, request_id: Some(id.clone()) };
        let ticket = self.ask(nsp, id, body, Wanted::Values, &BroadcastOptions::all())?;
        self.ask_others(ticket);
        Ok(ticket)
    }

    /// Asks how many servers the namespace has. Ends with [`Event::ServerCount`].
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`], [`CallError::Full`].
    pub fn server_count(&mut self, now: Time, nsp: &str) -> Result<Ticket, CallError> {
        self.advance(now);
        let ticket = Ticket(self.number());
        let (name, namespace) = self.open(nsp)?;
        let count = 1 + namespace.members.len() as u64;
        let channel = namespace.channel.clone();
        if self.config.dialect.subscribes() {
            self.admit_request()?;
            let sharded = self.config.sharded();
            self.command(Command::PubSubNumSub { channel, sharded }, Purpose::ServerCount(ticket, name));
        } else {
            self.events.push_back(Event::ServerCount { ticket, count: Ok(count) });
        }
        Ok(ticket)
    }

    /// Answers [`Event::FetchSockets`]. The engine adds the sockets' rooms; sockets that are not here any more it leaves out.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`], [`CallError::Full`], [`CallError::Payload`], [`CallError::Binary`]: then the one who asked is not
    /// answered.
    pub fn respond_sockets(
        &mut self,
        now: Time,
        responder: SocketsResponder,
        sockets: Vec<LocalSocket>,
    ) -> Result<(), CallError> {
        self.advance(now);
        let rooms = &self.open(&responder.0.nsp)?.1.rooms;
        let with_rooms = |LocalSocket { id, handshake, data }| {
            let rooms = rooms.of(&id)?;
            Some(RemoteSocket { id, handshake, rooms, data })
        };
        let sockets = sockets.into_iter().filter_map(with_rooms).collect();
        self.respond(&responder.0, Answer::Sockets(sockets))
    }

    /// Answers [`Event::ServerSideEmit`] with one value.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`], [`CallError::Full`], [`CallError::Payload`], [`CallError::Binary`]: then the one who asked is not
    /// answered.
    pub fn respond_emit(
        &mut self,
        now: Time,
        responder: EmitResponder,
        value: Payload,
    ) -> Result<(), CallError> {
        self.advance(now);
        self.respond(&responder.0, Answer::Emit(value))
    }

    /// Passes on one client's acknowledgement of a broadcast.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`], [`CallError::Full`], [`CallError::Payload`], [`CallError::Binary`]: then the one who asked does not
    /// get it.
    pub fn respond_ack(
        &mut self,
        now: Time,
        responder: &AckResponder,
        value: Payload,
    ) -> Result<(), CallError> {
        self.advance(now);
        self.respond(&responder.0, Answer::Ack(value))
    }

    /// A client has connected to this node: its socket is addressed from now on.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`].
    pub fn add_socket(
        &mut self,
        nsp: &str,
        socket: impl Into<ByteString>,
    ) -> Result<Vec<RoomChange>, CallError> {
        let changes = self.open_mut(nsp)?.rooms.add(socket.into());
        self.rooms_changed(nsp, &changes);
        Ok(changes)
    }

    /// A client of this node is gone.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`].
    pub fn remove_socket(&mut self, nsp: &str, socket: &str) -> Result<Vec<RoomChange>, CallError> {
        let changes = self.open_mut(nsp)?.rooms.remove(socket);
        self.rooms_changed(nsp, &changes);
        Ok(changes)
    }

    /// A socket of this node joins rooms.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`].
    pub fn join(
        &mut self,
        nsp: &str,
        socket: &str,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Result<Vec<RoomChange>, CallError> {
        let changes = self.open_mut(nsp)?.rooms.join(socket, rooms);
        self.rooms_changed(nsp, &changes);
        Ok(changes)
    }

    /// A socket of this node leaves rooms.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`].
    pub fn leave<'a>(
        &mut self,
        nsp: &str,
        socket: &str,
        rooms: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<RoomChange>, CallError> {
        let changes = self.open_mut(nsp)?.rooms.leave(socket, rooms);
        self.rooms_changed(nsp, &changes);
        Ok(changes)
    }

    pub(super) fn open(&self, nsp: &str) -> Result<(ByteString, &Namespace), CallError> {
        match self.namespaces.get_key_value(nsp) {
            Some((name, namespace)) => Ok((name.clone(), namespace)),
            None => Err(CallError::UnknownNamespace(nsp.into())),
        }
    }

    fn open_mut(&mut self, nsp: &str) -> Result<&mut Namespace, CallError> {
        self.namespaces.get_mut(nsp).ok_or_else(|| CallError::UnknownNamespace(nsp.into()))
    }

    /// Publishes something that has an effect here too.
    fn act(
        &mut self,
        now: Time,
        nsp: &str,
        body: Body,
        local: bool,
        kind: EffectKind,
    ) -> Result<Ticket, CallError> {
        self.advance(now);
        let ticket = Ticket(self.number());
        let effect = Effect { nsp: self.open(nsp)?.0, kind };
        if local {
            self.pending.push_back(Pending::Effect(Box::new(effect), None));
            self.events.push_back(Event::Published { ticket, entry: None });
        } else {
            let mut effect = Some(Box::new(effect));
            let when_published = match self.config.local_delivery {
                LocalDelivery::WhenPublished => effect.take(),
                LocalDelivery::AtOnce | LocalDelivery::StreamOrder => None,
            };
            self.publish(nsp, body, What::Message(ticket), when_published)?;
            if self.config.local_delivery == LocalDelivery::AtOnce {
                self.pending.extend(effect.map(|effect| Pending::Effect(effect, None)));
            }
        }
        Ok(ticket)
    }

    pub(super) fn publish(
        &mut self,
        nsp: &str,
        body: Body,
        what: What,
        effect: Option<Box<Effect>>,
    ) -> Result<(), CallError> {
        let name = self.open(nsp)?.0;
        let content = self.config.content(&self.message(&name, body))?;
        self.send(nsp, content, what, effect)
    }

    fn send(
        &mut self,
        nsp: &str,
        content: Content,
        what: What,
        effect: Option<Box<Effect>>,
    ) -> Result<(), CallError> {
        let size = content.size();
        self.admit(size)?;
        self.published_in(nsp);
        self.enqueue(Outgoing { content, what, effect, size });
        Ok(())
    }

    /// Whether one more message may wait to be published.
    fn admit(&self, size: usize) -> Result<(), CallError> {
        let limits = &self.config.limits;
        if self.published >= limits.in_flight {
            return Err(CallError::Full { what: "messages in flight", limit: limits.in_flight });
        }
        if self.published_bytes.saturating_add(size) > limits.in_flight_bytes {
            return Err(CallError::Full { what: "bytes in flight", limit: limits.in_flight_bytes });
        }
        Ok(())
    }

    /// Whether one more request may be open. One that is over counts as long as Redis has not answered what it asked: at most two commands
    /// at a time.
    fn admit_request(&self) -> Result<(), CallError> {
        let limit = self.config.limits.requests;
        match self.requests.len() >= limit || self.asking >= limit.saturating_mul(2) {
            true => Err(CallError::Full { what: "open requests", limit }),
            false => Ok(()),
        }
    }

    /// Opens a request. It is not sent yet.
    fn ask(
        &mut self,
        nsp: &str,
        id: RequestId,
        body: Body,
        wanted: Wanted,
        opts: &BroadcastOptions,
    ) -> Result<Ticket, CallError> {
        let name = self.open(nsp)?.0;
        // Encoded at once, so that it is refused at once.
        let question = match opts.flags.is_local() {
            true => None,
            false => Some(self.config.content(&self.message(&name, body))?),
        };
        self.open_request(Request::new(name, id, wanted, question), opts)
    }

    /// Opens a request, if there is room for it.
    pub(super) fn open_request(
        &mut self,
        request: Request,
        opts: &BroadcastOptions,
    ) -> Result<Ticket, CallError> {
        self.admit_request()?;
        if let Some(content) = &request.unsent {
            self.admit(content.size())?;
        }
        let ticket = Ticket(self.number());
        self.requests.insert(ticket, request);
        let timeout = opts.flags.timeout.unwrap_or(self.config.request_timeout);
        self.timers.arm(Timer::RequestTimeout(ticket), self.now + timeout);
        Ok(ticket)
    }

    pub(super) fn expect_self(&mut self, ticket: Ticket) {
        let uid = self.uid.clone();
        if let Some(request) = self.requests.get_mut(ticket) {
            request.expect(uid);
        }
    }

    /// Finds out who will answer, and sends the request.
    pub(super) fn ask_others(&mut self, ticket: Ticket) {
        let Some(request) = self.requests.get_mut(ticket) else { return };
        let (nsp, local) = (request.nsp.clone(), request.unsent.is_none());
        if local {
            self.finish_if_over(ticket);
        } else if self.config.dialect.subscribes() {
            self.ask_count(ticket, &nsp);
        } else {
            self.send_request(ticket, 0);
        }
    }

    pub(super) fn ask_count(&mut self, ticket: Ticket, nsp: &ByteString) {
        if let Some(namespace) = self.namespaces.get(nsp) {
            let (channel, sharded) = (namespace.channel.clone(), self.config.sharded());
            self.command(Command::PubSubNumSub { channel, sharded }, Purpose::CountFor(ticket));
        }
    }

    /// How many of the subscribers are nodes that nothing else tells of.
    pub(super) fn silent_subscribers(&self, nsp: &str, subscribers: u64) -> u64 {
        let bridges = self.namespaces.get(nsp).map_or(0, |namespace| namespace.members.bridges());
        subscribers.saturating_sub(1 + bridges as u64)
    }

    /// Sends a request; `unnamed` nodes will answer beside those that are known by name.
    pub(super) fn send_request(&mut self, ticket: Ticket, unnamed: u64) {
        let Some(request) = self.requests.get_mut(ticket) else { return };
        let Some(content) = request.unsent.take() else { return };
        let nsp = request.nsp.clone();
        request.expect_unnamed(unnamed);
        if let Some(namespace) = self.namespaces.get(&nsp) {
            namespace.members.names().for_each(|node| request.expect(node.clone()));
        }
        let size = content.size();
        self.enqueue(Outgoing { content, what: What::Request(ticket), effect: None, size });
        self.published_in(&nsp);
        self.finish_if_over(ticket);
        self.recheck_later(ticket);
    }

    pub(super) fn recheck_later(&mut self, ticket: Ticket) {
        let open = self.requests.get_mut(ticket).is_some_and(|request| request.awaits_subscribers());
        if open && self.config.dialect.subscribes() {
            self.timers.arm(Timer::Recheck(ticket), self.now + RECHECK);
        }
    }

    /// Asks which of the subscribers are still there.
    pub(super) fn recheck(&mut self, ticket: Ticket) {
        let Some(request) = self.requests.get_mut(ticket) else { return };
        let pattern = format!("{}*#", escape_glob(&self.config.response_prefix(&request.nsp))).into();
        let sharded = self.config.sharded();
        self.command(Command::PubSubChannels { pattern, sharded }, Purpose::ListFor(ticket));
    }

    pub(super) fn finish_if_over(&mut self, ticket: Ticket) {
        if self.requests.get_mut(ticket).is_some_and(|request| request.is_over()) {
            self.finish_request(ticket, false, None);
        }
    }

    pub(super) fn finish_request(&mut self, ticket: Ticket, timed_out: bool, error: Option<CommandError>) {
        if let Some(request) = self.requests.remove(ticket) {
            self.timers.cancel(&Timer::RequestTimeout(ticket));
            self.timers.cancel(&Timer::Recheck(ticket));
            let outcome = request.outcome(timed_out, error);
            self.events.push_back(Event::RequestDone { ticket, outcome });
        }
    }

    fn asker_self(&self, nsp: &str, request_id: RequestId) -> Asker {
        Asker { nsp: nsp.into(), node: self.uid.clone(), request_id, way: Way::Local }
    }

    /// A packet for clients whose acknowledgements are wanted.
    pub(super) fn deliver_with_ack(&mut self, asker: Asker, packet: Packet, opts: BroadcastOptions) {
        let Some(namespace) = self.namespaces.get(&asker.nsp) else { return };
        let clients = namespace.rooms.count_matching(&opts) as u64;
        let (nsp, from) = (asker.nsp.clone(), asker.node.clone());
        let responder = Some(AckResponder(asker.clone()));
        self.events.push_back(Event::Broadcast(Delivery {
            nsp,
            packet,
            opts,
            offset: None,
            from,
            responder,
        }));
        // Even if there are none: who asked waits for the number. If the queue is full it goes without, as with any node that is silent.
        let _ = self.respond(&asker, Answer::ClientCount(clients));
    }

    pub(super) fn sockets_wanted(&mut self, asker: Asker, opts: &BroadcastOptions) {
        let Some(namespace) = self.namespaces.get(&asker.nsp) else { return };
        let (nsp, sockets) = (asker.nsp.clone(), namespace.rooms.matching(opts));
        self.events.push_back(Event::FetchSockets { nsp, sockets, responder: SocketsResponder(asker) });
    }

    pub(super) fn respond(&mut self, asker: &Asker, answer: Answer) -> Result<(), CallError> {
        if asker.way == Way::Local {
            let uid = self.uid.clone();
            self.answered(&asker.request_id, &uid, answer);
            return Ok(());
        }
        let (name, _) = self.open(&asker.nsp)?;
        let by_stream = asker.way == Way::Stream;
        let id = asker.request_id.clone();
        let content = self.config.answer(&self.uid, &name, &asker.node, by_stream, id, answer)?;
        self.send(&name, content, What::Notice, None)
    }

    /// An answer to a request of this node.
    pub(super) fn answered(&mut self, id: &RequestId, from: &NodeId, answer: Answer) {
        let limit = self.config.limits.nodes;
        let Some(ticket) = self.requests.find(id) else { return };
        let Some(request) = self.requests.get_mut(ticket) else { return };
        let beats =
            self.namespaces.get(&request.nsp).is_some_and(|namespace| namespace.members.contains(from));
        if !request.answer(from, &answer, beats || *from == self.uid, limit) {
            return;
        }
        match request.take(answer) {
            Taken::Answer(answer) => {
                self.events.push_back(Event::Answer { ticket, from: from.clone(), answer });
            }
            Taken::Owner(kind) => self.order_owner(ticket, kind),
            Taken::Nothing => {}
        }
        self.finish_if_over(ticket);
    }

    /// Does here what a message asks for, in this node's own sockets.
    pub(super) fn apply(&mut self, effect: Effect, entry: Option<EntryId>, from: NodeId) {
        let Effect { nsp, kind } = effect;
        let Some(namespace) = self.namespaces.get_mut(&nsp) else { return };
        let event = match kind {
            EffectKind::Broadcast { packet, opts } => {
                let offset = entry.filter(|_| is_recoverable(&packet, &opts));
                Event::Broadcast(Delivery { nsp, packet, opts, offset, from, responder: None })
            }
            EffectKind::Join { opts, rooms } => {
                let sockets = namespace.rooms.matching(&opts);
                let each =
                    sockets.iter().flat_map(|socket| namespace.rooms.join(socket, rooms.iter().cloned()));
                let changes: Vec<_> = each.collect();
                self.rooms_changed(&nsp, &changes);
                Event::SocketsJoin(crate::event::Moved { nsp, sockets, rooms, changes })
            }
            EffectKind::Leave { opts, rooms } => {
                let sockets = namespace.rooms.matching(&opts);
                let each = sockets
                    .iter()
                    .flat_map(|socket| namespace.rooms.leave(socket, rooms.iter().map(|room| &**room)));
                let changes: Vec<_> = each.collect();
                self.rooms_changed(&nsp, &changes);
                Event::SocketsLeave(crate::event::Moved { nsp, sockets, rooms, changes })
            }
            EffectKind::Disconnect { opts, close } => {
                Event::DisconnectSockets { sockets: namespace.rooms.matching(&opts), nsp, close }
            }
        };
        self.events.push_back(event);
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
