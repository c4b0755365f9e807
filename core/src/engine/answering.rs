//! Answers: those that this node gives to other nodes and to itself, and those that it receives.

use super::outbox::What;
use super::requests::Taken;
use super::{CallError, Engine};
use crate::config::Dialect;
use crate::event::{AckResponder, Answer, Asker, Delivery, EmitResponder, Event, SocketsResponder, Way};
use crate::id::{EntryId, NodeId, RequestId, Ticket};
use crate::packet::{BroadcastOptions, LocalSocket, Packet, RemoteSocket};
use crate::payload::Payload;
use crate::time::Time;

impl Engine {
    /// Answers [`Event::FetchSockets`]. The engine adds the sockets' rooms. It leaves out sockets
    /// that are not here any more. Data that is `null` becomes `{}`.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`], [`CallError::Full`], [`CallError::Payload`] or
    /// [`CallError::Binary`]. The asking node then gets no answer.
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
            Some(RemoteSocket { id, handshake, rooms, data: data.or_empty_object() })
        };
        let sockets = sockets.into_iter().filter_map(with_rooms).collect();
        self.respond(&responder.0, Answer::Sockets(sockets))
    }

    /// Answers [`Event::ServerSideEmit`] with one value.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`], [`CallError::Full`], [`CallError::Payload`] or
    /// [`CallError::Binary`]. The asking node then gets no answer.
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
    /// Returns [`CallError::UnknownNamespace`], [`CallError::Full`], [`CallError::Payload`] or
    /// [`CallError::Binary`]. The asking node then does not get the acknowledgement.
    pub fn respond_ack(
        &mut self,
        now: Time,
        responder: &AckResponder,
        value: Payload,
    ) -> Result<(), CallError> {
        self.advance(now);
        self.respond(&responder.0, Answer::Ack(value))
    }

    pub(super) fn asker_self(&self, nsp: &str, request_id: RequestId) -> Asker {
        Asker { nsp: nsp.into(), node: self.cx.uid.clone(), request_id, way: Way::Local }
    }

    /// Delivers a packet to clients whose acknowledgements are wanted.
    pub(super) fn deliver_with_ack(
        &mut self,
        asker: Asker,
        packet: Packet,
        opts: BroadcastOptions,
        entry: Option<EntryId>,
    ) {
        let Some(namespace) = self.cluster.namespaces.get(&asker.nsp) else { return };
        let clients = namespace.rooms.count_matching(&opts) as u64;
        let (nsp, from) = (asker.nsp.clone(), asker.node.clone());
        let responder = Some(AckResponder(Box::new(asker.clone())));
        self.cx.events.push_back(Event::Broadcast(Delivery {
            nsp,
            packet,
            opts,
            entry,
            offset: None,
            from,
            responder,
        }));
        if mutant!(CountOfNoneForgotten) && clients == 0 {
            return;
        }
        // The asking node waits for the number of clients, even if there are no clients. If the
        // queue is full, the node does not get the number, just as if this node were silent.
        let _ = self.respond(&asker, Answer::ClientCount(clients));
    }

    pub(super) fn sockets_wanted(&mut self, asker: Asker, opts: &BroadcastOptions) {
        let Some(namespace) = self.cluster.namespaces.get(&asker.nsp) else { return };
        let (nsp, sockets) = (asker.nsp.clone(), namespace.rooms.matching(opts));
        self.cx.events.push_back(Event::FetchSockets { nsp, sockets, responder: SocketsResponder(asker) });
    }

    pub(super) fn respond(&mut self, asker: &Asker, answer: Answer) -> Result<(), CallError> {
        if asker.way == Way::Local {
            let uid = self.cx.uid.clone();
            self.answered(&asker.request_id, &uid, answer, false);
            return Ok(());
        }
        let (name, _) = self.open(&asker.nsp)?;
        let by_stream = asker.way == Way::Stream;
        let id = asker.request_id.clone();
        let content = self.cx.config.answer(&self.cx.uid, &name, &asker.node, by_stream, id, answer)?;
        self.send(name, content, What::Notice, None)
    }

    /// Handles an answer to a request of this node, which came by the stream or by Pub/Sub. In the
    /// dialects whose answers carry names, an answer without a name is ignored.
    pub(super) fn answered(&mut self, id: &RequestId, from: &NodeId, answer: Answer, by_stream: bool) {
        let limit = self.cx.config.limits.nodes;
        let Some(ticket) = self.requests.find(id).filter(|_| from.is_a_node()) else { return };
        // A question on the stream is also heard by nodes that are not subscribed at the moment.
        let uncounted = by_stream || *from == self.cx.uid || self.cx.config.dialect == Dialect::Bridge;
        if *from != self.cx.uid {
            self.request_heard(ticket);
        }
        if self.requests.answer(ticket, from, &answer, uncounted, limit) {
            self.take_answer(ticket, from, answer);
            self.recheck_if_late(ticket);
        }
    }

    /// Handles an answer in the classic dialect, which doesn't say which node answers.
    pub(super) fn answered_unnamed(&mut self, id: &RequestId, answer: Answer) {
        let Some(ticket) = self.requests.find(id) else { return };
        self.request_heard(ticket);
        if self.requests.get_mut(ticket).is_some_and(|request| request.answer_unnamed(&answer)) {
            self.take_answer(ticket, &NodeId::UNNAMED, answer);
        }
    }

    fn take_answer(&mut self, ticket: Ticket, from: &NodeId, answer: Answer) {
        let Some(request) = self.requests.get_mut(ticket) else { return };
        match request.take(answer) {
            Taken::Answer(answer) => {
                self.cx.events.push_back(Event::Answer { ticket, from: from.clone(), answer });
            }
            Taken::Owner(kind) => self.order_owner(ticket, kind),
            Taken::Nothing => {}
        }
        self.finish_if_over(ticket);
    }
}
