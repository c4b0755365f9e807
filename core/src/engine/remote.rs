//! The calls of the older adapters: the ids of sockets, the names of rooms, and orders to one
//! socket on any node.
//!
//! The classic adapter has requests for them. The other dialects use `fetch_sockets` instead.

use bytestring::ByteString;

use super::outbox::What;
use super::requests::{Request, Wanted};
use super::{CallError, Effect, EffectKind, Engine};
use crate::config::Dialect;
use crate::event::{Answer, Asker, Event, Way};
use crate::id::{EntryId, NodeId, RequestId, Ticket};
use crate::message::Body;
use crate::packet::BroadcastOptions;
use crate::time::Time;
use crate::wire::classic;

impl Engine {
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
    pub fn sockets(&mut self, now: Time, nsp: &str, rooms: Vec<ByteString>) -> Result<Ticket, CallError> {
        let opts = BroadcastOptions { rooms, ..BroadcastOptions::default() };
        let own = Answer::SocketIds(self.open(nsp)?.1.rooms.matching(&opts));
        let ask = |request_id| classic::Request::SocketIds { rooms: opts.rooms.clone(), request_id };
        self.ask_old(now, nsp, Wanted::SocketIds, &opts, ask, Some(own))
    }

    /// Asks all nodes for the names of their rooms. The rooms of single sockets are included.
    ///
    /// The call ends with [`Event::RequestDone`], even if some nodes did not answer. Before that,
    /// there is an [`Event::Answer`] with [`Answer::Rooms`] from each node that answers, this one
    /// included.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`], [`CallError::Full`] or [`CallError::Payload`].
    pub fn all_rooms(&mut self, now: Time, nsp: &str) -> Result<Ticket, CallError> {
        let own = Answer::Rooms(self.open(nsp)?.1.rooms.names().cloned().collect());
        let ask = |request_id| classic::Request::AllRooms { request_id };
        self.ask_old(now, nsp, Wanted::Rooms, &BroadcastOptions::all(), ask, Some(own))
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
        let (socket, room) = (socket.into(), room.into());
        let opts = BroadcastOptions::to(socket.clone());
        let kind = EffectKind::Join { opts, rooms: vec![room.clone()] };
        let ask = |request_id| classic::Request::RemoteJoin { socket: socket.clone(), room, request_id };
        self.order(now, nsp, &socket, kind, ask)
    }

    /// Makes one socket leave a room, on whatever node the socket is.
    ///
    /// The call ends as [`remote_join`](Engine::remote_join) does.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`], [`CallError::Full`] or [`CallError::Payload`].
    pub fn remote_leave(
        &mut self,
        now: Time,
        nsp: &str,
        socket: impl Into<ByteString>,
        room: impl Into<ByteString>,
    ) -> Result<Ticket, CallError> {
        let (socket, room) = (socket.into(), room.into());
        let opts = BroadcastOptions::to(socket.clone());
        let kind = EffectKind::Leave { opts, rooms: vec![room.clone()] };
        let ask = |request_id| classic::Request::RemoteLeave { socket: socket.clone(), room, request_id };
        self.order(now, nsp, &socket, kind, ask)
    }

    /// Disconnects one socket, on whatever node the socket is. With `close`, it closes the
    /// underlying connection too.
    ///
    /// The call ends as [`remote_join`](Engine::remote_join) does.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`], [`CallError::Full`] or [`CallError::Payload`].
    pub fn remote_disconnect(
        &mut self,
        now: Time,
        nsp: &str,
        socket: impl Into<ByteString>,
        close: bool,
    ) -> Result<Ticket, CallError> {
        let socket = socket.into();
        let kind = EffectKind::Disconnect { opts: BroadcastOptions::to(socket.clone()), close };
        let ask =
            |request_id| classic::Request::RemoteDisconnect { socket: socket.clone(), close, request_id };
        self.order(now, nsp, &socket, kind, ask)
    }

    /// Applies an order to one socket, here or on another node.
    fn order(
        &mut self,
        now: Time,
        nsp: &str,
        socket: &ByteString,
        kind: EffectKind,
        ask: impl FnOnce(RequestId) -> classic::Request,
    ) -> Result<Ticket, CallError> {
        let (name, namespace) = self.open(nsp)?;
        if namespace.rooms.contains(socket) {
            self.advance(now);
            let (ticket, uid) = (Ticket(self.cx.number()), self.cx.uid.clone());
            let event = self.apply(Effect { nsp: name, kind }, None, uid.clone());
            self.cx.events.extend(event);
            self.cx.events.push_back(Event::Answer { ticket, from: uid.clone(), answer: Answer::Done });
            let outcome = crate::event::Outcome { answered: vec![uid], ..Default::default() };
            self.cx.events.push_back(Event::RequestDone { ticket, outcome });
            return Ok(ticket);
        }
        let opts = BroadcastOptions::to(socket.clone());
        self.ask_old(now, nsp, Wanted::Owner(Some(kind)), &opts, ask, None)
    }

    /// Opens a request, in the form that the dialect has for it, and adds this node's own answer.
    fn ask_old(
        &mut self,
        now: Time,
        nsp: &str,
        wanted: Wanted,
        opts: &BroadcastOptions,
        ask: impl FnOnce(RequestId) -> classic::Request,
        own: Option<Answer>,
    ) -> Result<Ticket, CallError> {
        self.advance(now);
        let id = RequestId::random(&mut self.cx.rng);
        let name = self.open(nsp)?.0;
        let content = match self.cx.config.dialect {
            Dialect::Classic => self.cx.config.classic_content(&self.cx.uid, &name, &ask(id.clone()))?,
            _ => {
                let body = Body::FetchSockets { opts: opts.clone(), request_id: id.clone() };
                self.cx.config.content(&self.cx.uid, &name, &body)?
            }
        };
        let by_owner = matches!(wanted, Wanted::Owner(_)) && self.cx.config.dialect == Dialect::Classic;
        // Only the node that has the socket answers.
        let counts = self.cx.config.dialect.subscribes() && !by_owner;
        let request = Request::new(name, id.clone(), wanted, by_owner, counts);
        let ticket = self.open_request(request, Some(content), opts)?;
        if by_owner && let Some(request) = self.requests.get_mut(ticket) {
            request.expect_unnamed(1);
        }
        if let Some(own) = own {
            self.expect_self(ticket);
            let uid = self.cx.uid.clone();
            self.answered(&id, &uid, own, false);
        }
        Ok(ticket)
    }

    /// Sends the order to the node that has the socket, once that node has answered.
    pub(super) fn order_owner(&mut self, ticket: Ticket, kind: EffectKind) {
        let Some(request) = self.requests.get_mut(ticket) else { return };
        let nsp = request.nsp.clone();
        let body = match kind {
            EffectKind::Join { opts, rooms } => Body::SocketsJoin { opts, rooms },
            EffectKind::Leave { opts, rooms } => Body::SocketsLeave { opts, rooms },
            EffectKind::Disconnect { opts, close } => Body::DisconnectSockets { opts, close },
            EffectKind::Broadcast { .. } => return,
        };
        if let Err(error) = self.publish(&nsp, body, What::Order(ticket)) {
            let error = crate::command::CommandError::NotSent(error.to_string());
            self.finish_request(ticket, false, Some(error));
        }
    }

    /// Handles an order that has been published: the node that has the socket will hear it.
    pub(super) fn order_published(&mut self, ticket: Ticket, entry: Option<EntryId>) {
        if !self.requests.contains(ticket) {
            // The request was over before. This event is all that is left to tell.
            self.cx.events.push_back(Event::Published { ticket, entry });
        } else {
            let from = NodeId::UNNAMED;
            self.cx.events.push_back(Event::Answer { ticket, from, answer: Answer::Done });
            self.finish_request(ticket, false, None);
        }
    }

    /// Handles a request in the classic form. Most of the classic adapter's own requests are
    /// answered without asking the application.
    pub(super) fn receive_classic(
        &mut self,
        nsp: &ByteString,
        from: NodeId,
        request: classic::Request,
    ) -> Option<Event> {
        let namespace = self.cluster.namespaces.get(nsp)?;
        let to = |socket: &ByteString| BroadcastOptions::to(socket.clone());
        let (socket, kind, request_id) = match request {
            classic::Request::Common(body) => {
                let message = crate::message::Message { uid: from, nsp: nsp.clone(), body };
                return self.receive(message);
            }
            classic::Request::SocketIds { rooms, request_id } => {
                let opts = BroadcastOptions { rooms, ..BroadcastOptions::default() };
                let answer = Answer::SocketIds(namespace.rooms.matching(&opts));
                self.answer_classic(nsp, from, request_id, answer);
                return None;
            }
            classic::Request::AllRooms { request_id } => {
                let answer = Answer::Rooms(namespace.rooms.names().cloned().collect());
                self.answer_classic(nsp, from, request_id, answer);
                return None;
            }
            classic::Request::RemoteJoin { socket, room, request_id } => {
                let kind = EffectKind::Join { opts: to(&socket), rooms: vec![room] };
                (socket, kind, request_id)
            }
            classic::Request::RemoteLeave { socket, room, request_id } => {
                let kind = EffectKind::Leave { opts: to(&socket), rooms: vec![room] };
                (socket, kind, request_id)
            }
            classic::Request::RemoteDisconnect { socket, close, request_id } => {
                let kind = EffectKind::Disconnect { opts: to(&socket), close };
                (socket, kind, request_id)
            }
        };
        if namespace.rooms.contains(&socket) {
            let event = self.apply(Effect { nsp: nsp.clone(), kind }, None, from.clone());
            self.cx.events.extend(event);
            self.answer_classic(nsp, from, request_id, Answer::Done);
        }
        None
    }

    fn answer_classic(&mut self, nsp: &ByteString, node: NodeId, request_id: RequestId, answer: Answer) {
        let asker = Asker { nsp: nsp.clone(), node, request_id, way: Way::PubSub };
        if let Err(error) = self.respond(&asker, answer) {
            let error = crate::command::CommandError::NotSent(error.to_string());
            let stream = self.cx.config.response_prefix(nsp);
            self.cx.events.push_back(Event::NoticeFailed { stream, error });
        }
    }

    /// Handles a response in the classic form. Such a response says which request it answers, but
    /// not which node answers.
    pub(super) fn receive_classic_response(
        &mut self,
        keys: &classic::Keys,
    ) -> Result<(), crate::wire::WireError> {
        // The response is for another node, or it comes too late.
        let Some(id) = keys.request_id()?.filter(|id| self.requests.find(id).is_some()) else {
            return Ok(());
        };
        let Some(asked) = self.requests.find(&id).and_then(|ticket| self.requests.get_mut(ticket)) else {
            return Ok(());
        };
        let answer = match keys.response(asked.wanted.asked())? {
            classic::Response::SocketIds { sockets, .. } => Answer::SocketIds(sockets),
            classic::Response::Rooms { rooms, .. } => Answer::Rooms(rooms),
            classic::Response::Done { .. } => Answer::Done,
            classic::Response::Common(body) => match body {
                Body::FetchSocketsResponse { sockets, .. } => Answer::Sockets(sockets),
                Body::ServerSideEmitResponse { packet, .. } => Answer::Emit(packet),
                Body::BroadcastClientCount { client_count, .. } => Answer::ClientCount(client_count),
                Body::BroadcastAck { packet, .. } => Answer::Ack(packet),
                // No other body is a response.
                _ => return Ok(()),
            },
        };
        self.answered_unnamed(&id, answer);
        Ok(())
    }
}
