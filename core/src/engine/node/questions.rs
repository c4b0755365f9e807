//! Questions and answers, to the other nodes and from them.

use std::collections::BTreeSet;

use bytestring::ByteString;

use super::Node;
use crate::command::{Command, CommandError, CommandId, Lane, Reply};
use crate::config::Dialect;
use crate::engine::outbox::What;
use crate::engine::purpose::Purpose;
use crate::engine::requests::{Request, Wanted};
use crate::engine::roll::Census;
use crate::engine::timers::Timer;
use crate::error::CallError;
use crate::event::{
    AckResponder, AckRight, Answer, Asker, Delivery, Event, Outcome, SocketsResponder, Wants, Way,
};
use crate::id::{EntryId, NodeId, RequestId, Ticket};
use crate::message::{Body, Message};
use crate::outgoing::check_server_event;
use crate::packet::{BroadcastOptions, LocalSocket, Packet, RemoteSocket};
use crate::payload::Payload;
use crate::wire::classic;

impl Node {
    /// Sends a packet to the clients of all nodes, and collects their acknowledgements.
    pub(in crate::engine) fn broadcast_with_ack(
        &mut self,
        nsp: &str,
        packet: Packet,
        opts: BroadcastOptions,
    ) -> Result<Ticket, CallError> {
        let id = RequestId::random(&mut self.cx.rng);
        let body =
            Body::Broadcast { packet: packet.clone(), opts: opts.clone(), request_id: Some(id.clone()) };
        let ticket = self.ask(nsp, id.clone(), body, Wanted::Acks, &opts)?;
        self.requests.expect(ticket, &self.cx.uid);
        self.deliver_with_ack(self.asker_self(nsp, id), packet, opts, None);
        Ok(ticket)
    }

    /// Asks all nodes, and this one, for the sockets that `opts` match.
    pub(in crate::engine) fn fetch_sockets(
        &mut self,
        nsp: &str,
        opts: BroadcastOptions,
    ) -> Result<Ticket, CallError> {
        let id = RequestId::random(&mut self.cx.rng);
        let body = Body::FetchSockets { opts: opts.clone(), request_id: id.clone() };
        let ticket = self.ask(nsp, id.clone(), body, Wanted::Sockets, &opts)?;
        self.requests.expect(ticket, &self.cx.uid);
        self.sockets_wanted(self.asker_self(nsp, id), opts);
        Ok(ticket)
    }

    /// Emits an event to the other servers.
    pub(in crate::engine) fn server_side_emit(
        &mut self,
        nsp: &str,
        packet: Payload,
    ) -> Result<Ticket, CallError> {
        check_server_event(&packet)?;
        let ticket = Ticket(self.cx.number());
        self.publish(nsp, &Body::ServerSideEmit { packet, request_id: None }, What::Message(ticket))?;
        Ok(ticket)
    }

    /// Emits an event to the other servers and collects their answers.
    pub(in crate::engine) fn server_side_emit_with_ack(
        &mut self,
        nsp: &str,
        packet: Payload,
    ) -> Result<Ticket, CallError> {
        check_server_event(&packet)?;
        let id = RequestId::random(&mut self.cx.rng);
        let body = Body::ServerSideEmit { packet, request_id: Some(id.clone()) };
        self.ask(nsp, id, body, Wanted::Values, &BroadcastOptions::all())
    }

    /// Asks all nodes for the ids of the sockets that are in any of the rooms.
    pub(in crate::engine) fn sockets(
        &mut self,
        nsp: &str,
        rooms: Vec<ByteString>,
    ) -> Result<Ticket, CallError> {
        let opts = BroadcastOptions { rooms, ..BroadcastOptions::default() };
        let rooms = &self.cluster.namespace(nsp)?.1.rooms;
        let own = self.cx.owns_rooms().then(|| Answer::SocketIds(rooms.matching(&opts)));
        let ask = |request_id| classic::Request::SocketIds { rooms: opts.rooms.clone(), request_id };
        self.ask_old(nsp, Wanted::SocketIds, &opts, ask, own)
    }

    /// Asks all nodes for the names of their rooms.
    pub(in crate::engine) fn all_rooms(&mut self, nsp: &str) -> Result<Ticket, CallError> {
        let rooms = &self.cluster.namespace(nsp)?.1.rooms;
        let own = self.cx.owns_rooms().then(|| Answer::Rooms(rooms.names().cloned().collect()));
        let ask = |request_id| classic::Request::AllRooms { request_id };
        self.ask_old(nsp, Wanted::Rooms, &BroadcastOptions::all(), ask, own)
    }

    /// Opens a request and queues its question.
    fn ask(
        &mut self,
        nsp: &str,
        id: RequestId,
        body: Body,
        wanted: Wanted,
        opts: &BroadcastOptions,
    ) -> Result<Ticket, CallError> {
        let name = self.cluster.namespace(nsp)?.0.clone();
        if opts.flags.is_local() {
            return self.open_request(Request::local(name, id, wanted), None, opts);
        }
        let acts = matches!(body, Body::Broadcast { .. } | Body::ServerSideEmit { .. });
        let question = self.cx.config.message(&self.cx.uid, &name, &body)?;
        let request = Request::new(name, id, wanted, acts, self.cx.config.dialect.subscribes());
        self.open_request(request, Some(question), opts)
    }

    /// Opens a request of the older adapters, in the form that the dialect has for it, and adds this
    /// node's own answer.
    fn ask_old(
        &mut self,
        nsp: &str,
        wanted: Wanted,
        opts: &BroadcastOptions,
        ask: impl FnOnce(RequestId) -> classic::Request,
        own: Option<Answer>,
    ) -> Result<Ticket, CallError> {
        let id = RequestId::random(&mut self.cx.rng);
        let name = self.cluster.namespace(nsp)?.0.clone();
        let question = match self.cx.config.dialect {
            Dialect::Classic => self.cx.config.classic_message(&self.cx.uid, &name, &ask(id.clone()))?,
            _ => {
                let body = Body::FetchSockets { opts: opts.clone(), request_id: id.clone() };
                self.cx.config.message(&self.cx.uid, &name, &body)?
            }
        };
        let wants_owner = matches!(wanted, Wanted::Owner(_));
        let by_owner = wants_owner && self.cx.config.dialect == Dialect::Classic;
        // Only the node that has the socket answers.
        let counts = self.cx.config.dialect.subscribes() && !by_owner;
        let request = Request::new(name, id.clone(), wanted, by_owner, counts);
        let ticket = self.open_request(request, Some(question), opts)?;
        if by_owner {
            self.requests.expect_owner(ticket);
        }
        match own {
            Some(own) => {
                self.requests.expect(ticket, &self.cx.uid);
                self.answered(&id, &self.cx.uid.clone(), own, false);
            }
            None if wants_owner => {}
            // The rooms are the application's.
            None => {
                self.requests.expect(ticket, &self.cx.uid);
                self.sockets_wanted(self.asker_self(nsp, id), opts.clone());
            }
        }
        Ok(ticket)
    }

    /// Opens a request, if the limits allow it. If other nodes are asked, it queues the question,
    /// and expects an answer from each node that is known by its heartbeats.
    fn open_request(
        &mut self,
        request: Request,
        question: Option<Command>,
        opts: &BroadcastOptions,
    ) -> Result<Ticket, CallError> {
        self.requests.admit(&self.cx)?;
        if let Some(question) = &question {
            self.outbox.admit(&self.cx, question.size())?;
        }
        let (nsp, acts) = (request.nsp.clone(), request.acts);
        let ticket = self.requests.open(&mut self.cx, request, opts.flags.timeout);
        if let Some(question) = question {
            if let Ok((_, namespace)) = self.cluster.namespace(&nsp) {
                namespace.members.names().for_each(|node| self.requests.expect(ticket, node));
            }
            self.outbox.publish(&mut self.cx, nsp, question, What::Request { ticket, acts }, None)?;
        }
        Ok(ticket)
    }

    /// Returns the command that counts the nodes that will hear the question.
    pub(super) fn count_for(&mut self, ticket: Ticket) -> Option<(CommandId, Command)> {
        let (nsp, also) = self.requests.to_count(ticket)?;
        let (census, command) = self.cluster.census(&self.cx, &nsp, also)?;
        let id = CommandId(self.cx.number());
        self.cx.expect(id, None, Purpose::CountFor(ticket, Box::new(census)));
        Some((id, command))
    }

    /// Queues another count of the nodes that will hear the question. Returns its lane, or `None`
    /// if there is nothing to count.
    fn count_again(&mut self, ticket: Ticket) -> Option<Lane> {
        let (id, command) = self.count_for(ticket)?;
        let lane = command.lane();
        self.cx.lanes.push(id, command);
        Some(lane)
    }

    /// Handles the count of the subscribers for a request, or its error.
    pub(super) fn counted_for(&mut self, ticket: Ticket, census: Census, reply: Result<Reply, CommandError>) {
        let nsp = census.nsp.clone();
        let roll = self.cluster.roll(&self.cx, census, reply);
        if self.requests.counted(&mut self.cx, ticket, roll)
            && let Some(lane) = self.count_again(ticket)
        {
            self.cx.rest(&lane);
        }
        self.requests.check_later(&mut self.cx, &nsp, ticket);
    }

    /// Handles a question that has been published.
    pub(super) fn request_published(&mut self, ticket: Ticket, acts: bool, entry: Option<EntryId>) {
        if self.requests.published(&mut self.cx, ticket, acts, entry) && self.count_again(ticket).is_some() {
            self.requests.is_being_counted(ticket);
        }
        self.requests.go_on(&mut self.cx, ticket);
    }

    /// Begins a check of the subscribers that owe answers.
    pub(super) fn check(&mut self, nsp: &ByteString) {
        if self.requests.check(&mut self.cx, nsp) {
            self.look_after(nsp);
        }
    }

    /// Handles the list of a namespace's channels. Without a list the requests still end in time.
    /// The missing nodes then just have no names.
    pub(super) fn listed(&mut self, nsp: &ByteString, reply: Result<Reply, CommandError>) {
        if let Ok(Reply::Channels(channels)) = reply {
            self.cluster.listed(&self.cx, nsp, &channels);
        }
        self.look_after(nsp);
    }

    /// Asks which of the subscribers that owe answers are still there.
    fn look_after(&mut self, nsp: &ByteString) {
        let awaited = self.requests.to_look_after(nsp);
        if let Some((census, command)) = self.cluster.census(&self.cx, nsp, awaited) {
            self.cx.command(command, Purpose::Recheck(Box::new(census)));
        }
    }

    /// Handles the reply that says which nodes subscribe in the namespace, or its error.
    pub(super) fn looked_after(&mut self, census: Census, reply: Result<Reply, CommandError>) {
        let nsp = census.nsp.clone();
        let roll = self.cluster.roll(&self.cx, census, reply);
        self.requests.looked_after(&mut self.cx, &nsp, roll);
    }

    /// Asks for the number of servers of a namespace.
    pub(in crate::engine) fn server_count(&mut self, nsp: &str) -> Result<Ticket, CallError> {
        let ticket = Ticket(self.cx.number());
        let (name, namespace) = self.cluster.namespace(nsp)?;
        if self.cx.config.dialect.subscribes() {
            self.requests.admit(&self.cx)?;
            self.count_servers(ticket, &name.clone());
            let due = self.cx.now + self.cx.config.request_timeout;
            self.cx.timers.arm(Timer::RequestTimeout(ticket), due);
        } else {
            let count = Ok(1 + namespace.members.len() as u64);
            self.cx.events.push_back(Event::ServerCount { ticket, count });
        }
        Ok(ticket)
    }

    fn count_servers(&mut self, ticket: Ticket, nsp: &ByteString) {
        if let Some((census, command)) = self.cluster.census(&self.cx, nsp, None) {
            let id = self.cx.command(command, Purpose::ServerCount(ticket, Box::new(census)));
            self.requests.counts_servers(ticket, nsp.clone(), id);
        }
    }

    /// Handles the count of the servers, or its error.
    pub(super) fn servers_counted(
        &mut self,
        ticket: Ticket,
        census: Census,
        reply: Result<Reply, CommandError>,
    ) {
        if !self.requests.servers_counted(ticket) {
            return;
        }
        let nsp = census.nsp.clone();
        let count = match self.cluster.roll(&self.cx, census, reply) {
            // It does no harm to count once more.
            Err(CommandError::NotSent(_) | CommandError::Lost(_)) => {
                self.count_servers(ticket, &nsp);
                return self.cx.rest(&Lane::Writer);
            }
            // A bridge that was heard of meanwhile may be among those that subscribe and have no name.
            Ok(roll) if self.cluster.has_other_bridges(&nsp, &roll) => {
                return self.count_servers(ticket, &nsp);
            }
            Ok(roll) => Ok(roll.others.saturating_add(1 + self.cluster.others_than(&nsp, &roll) as u64)),
            Err(error) => Err(error),
        };
        self.requests.tell_servers(&mut self.cx, ticket, count);
    }

    /// Returns this node as the one that asks.
    fn asker_self(&self, nsp: &str, request_id: RequestId) -> Asker {
        let node = self.cx.uid.clone();
        Asker { nsp: nsp.into(), node, request_id, way: Way::Local, wants: Wants::Sockets }
    }

    /// Delivers a packet to clients whose acknowledgements are wanted.
    pub(in crate::engine) fn deliver_with_ack(
        &mut self,
        asker: Asker,
        packet: Packet,
        opts: BroadcastOptions,
        entry: Option<EntryId>,
    ) {
        let Ok((nsp, namespace)) = self.cluster.namespace(&asker.nsp) else { return };
        let clients = namespace.rooms.count_matching(&opts) as u64;
        let (nsp, from) = (nsp.clone(), asker.node.clone());
        let deadline = self.cx.now + opts.flags.timeout.unwrap_or(self.cx.config.request_timeout);
        let responder = Some(AckResponder(Box::new(AckRight { asker: asker.clone(), deadline })));
        let delivery = Delivery { nsp, packet, opts, entry, offset: None, from: from.named(), responder };
        self.cx.events.push_back(Event::Broadcast(delivery));
        if !self.cx.owns_rooms() || mutant!(CountOfNoneForgotten) && clients == 0 {
            return;
        }
        // The asking node waits for the number of clients, even if there are no clients. If the
        // queue is full, the node does not get the number, just as if this node were silent.
        let _ = self.respond(&asker, Answer::ClientCount(clients));
    }

    /// Asks the application for its sockets.
    pub(super) fn sockets_wanted(&mut self, asker: Asker, opts: BroadcastOptions) {
        let Ok((nsp, namespace)) = self.cluster.namespace(&asker.nsp) else { return };
        let (nsp, sockets) = (nsp.clone(), namespace.rooms.matching(&opts));
        let responder = SocketsResponder(asker);
        self.cx.events.push_back(Event::FetchSockets { nsp, opts, sockets, responder });
    }

    /// Says how many clients the application has asked. Nothing follows if the engine has counted
    /// them, because it has said the number already.
    pub(in crate::engine) fn respond_client_count(
        &mut self,
        asker: &Asker,
        clients: u64,
    ) -> Result<(), CallError> {
        match self.cx.owns_rooms() {
            true => Ok(()),
            false => self.respond(asker, Answer::ClientCount(clients)),
        }
    }

    /// Answers the question for this node's sockets. Their rooms are added here.
    pub(in crate::engine) fn respond_sockets(
        &mut self,
        asker: &Asker,
        sockets: Vec<LocalSocket>,
    ) -> Result<(), CallError> {
        let rooms = &self.cluster.namespace(&asker.nsp)?.1.rooms;
        if !self.cx.owns_rooms() {
            return Err(CallError::RoomsOfApplication);
        }
        let with_rooms = |LocalSocket { id, handshake, data }| {
            let rooms = rooms.of(&id)?;
            Some(RemoteSocket { id, handshake, rooms, data: data.or_empty_object() })
        };
        let sockets = sockets.into_iter().filter_map(with_rooms).collect();
        self.respond(asker, Answer::Sockets(sockets))
    }

    /// Answers the question for this node's sockets with what the application has found, in the form
    /// that was asked for.
    pub(in crate::engine) fn respond_sockets_in_rooms(
        &mut self,
        asker: &Asker,
        mut sockets: Vec<RemoteSocket>,
    ) -> Result<(), CallError> {
        for socket in &mut sockets {
            let data = core::mem::replace(&mut socket.data, Payload::null());
            socket.data = data.or_empty_object();
        }
        let answer = match &asker.wants {
            Wants::Sockets => Answer::Sockets(sockets),
            Wants::Ids => Answer::SocketIds(sockets.into_iter().map(|socket| socket.id).collect()),
            Wants::Rooms => {
                let rooms: BTreeSet<ByteString> =
                    sockets.into_iter().flat_map(|socket| socket.rooms).collect();
                Answer::Rooms(rooms.into_iter().collect())
            }
            // Only the node that has the socket answers.
            Wants::Owner(_) if sockets.is_empty() => return Ok(()),
            Wants::Owner(order) => {
                // The namespace may be closed by now.
                self.cluster.namespace(&asker.nsp)?;
                self.obey_order(asker, order)
            }
        };
        self.respond(asker, answer)
    }

    /// Sends an answer by the way that the question came.
    pub(in crate::engine) fn respond(&mut self, asker: &Asker, answer: Answer) -> Result<(), CallError> {
        if asker.way == Way::Local {
            self.answered(&asker.request_id, &self.cx.uid.clone(), answer, false);
            return Ok(());
        }
        let nsp = self.cluster.namespace(&asker.nsp)?.0.clone();
        let command = self.cx.config.answer(&self.cx.uid, asker, answer)?;
        self.outbox.publish(&mut self.cx, nsp, command, What::Notice, None)
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
        if self.requests.counts_answer(ticket, from, &answer, uncounted, limit) {
            self.take_answer(ticket, from, answer);
        }
    }

    /// Handles a response in the classic form.
    pub(super) fn answered_unnamed(&mut self, ticket: Ticket, answer: Answer) {
        self.request_heard(ticket);
        if self.requests.counts_unnamed(ticket, &answer) {
            self.take_answer(ticket, &NodeId::UNNAMED, answer);
        }
    }

    /// Handles an answer of another node as a sign that the question was heard. If the fate of the
    /// question was unknown, the answer shows that it was published, perhaps just now. The nodes
    /// that were counted before may not be the nodes that have heard it.
    fn request_heard(&mut self, ticket: Ticket) {
        if self.requests.is_in_doubt(ticket) {
            self.request_published(ticket, false, None);
        }
    }

    fn take_answer(&mut self, ticket: Ticket, from: &NodeId, answer: Answer) {
        if let Some(order) = self.requests.take(&mut self.cx, ticket, from, answer) {
            self.order_owner(ticket, &order);
        }
        self.requests.finish_if_over(&mut self.cx, ticket);
        self.requests.check_if_unsure(&mut self.cx, ticket);
    }

    /// Applies an order to one socket, here or on another node.
    pub(in crate::engine) fn order(
        &mut self,
        nsp: &str,
        socket: ByteString,
        order: impl FnOnce(BroadcastOptions) -> Body,
    ) -> Result<Ticket, CallError> {
        let opts = BroadcastOptions::to(socket.clone());
        let order = order(opts.clone());
        let (name, namespace) = self.cluster.namespace(nsp)?;
        // An application that owns the rooms knows whether it has the socket.
        if !namespace.rooms.contains(&socket) {
            let same = order.clone();
            let ask = |request_id| classic::Request::order(socket, same, request_id);
            return self.ask_old(nsp, Wanted::Owner(Some(Box::new(order))), &opts, ask, None);
        }
        let (name, uid) = (name.clone(), self.cx.uid.clone());
        let ticket = Ticket(self.cx.number());
        let event = self.cluster.apply(&mut self.cx, name, order, None, uid.clone());
        self.cx.events.extend(event);
        self.cx.events.push_back(Event::Answer { ticket, from: Some(uid.clone()), answer: Answer::Done });
        let outcome = Outcome { answered: vec![uid], ..Outcome::default() };
        self.cx.events.push_back(Event::RequestDone { ticket, outcome });
        Ok(ticket)
    }

    /// Sends the order to the node that has the socket, once that node has answered.
    fn order_owner(&mut self, ticket: Ticket, order: &Body) {
        let Some((nsp, _)) = self.requests.to_count(ticket) else { return };
        if let Err(error) = self.publish(&nsp, order, What::Order(ticket)) {
            let error = CommandError::NotSent(error.to_string());
            self.requests.finish(&mut self.cx, ticket, false, Some(error));
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
        let (_, namespace) = self.cluster.namespace(nsp).ok()?;
        let (wants, opts, request_id) = match request {
            classic::Request::Common(body) => {
                return self.receive(Message { uid: from, nsp: nsp.clone(), body });
            }
            classic::Request::SocketIds { rooms, request_id } => {
                (Wants::Ids, BroadcastOptions { rooms, ..BroadcastOptions::default() }, request_id)
            }
            classic::Request::AllRooms { request_id } => (Wants::Rooms, BroadcastOptions::all(), request_id),
            order => {
                let (socket, order, request_id) = order.into_order()?;
                // Only the node that has the socket answers.
                if self.cx.owns_rooms() && !namespace.rooms.contains(&socket) {
                    return None;
                }
                (Wants::Owner(Box::new(order)), BroadcastOptions::to(socket), request_id)
            }
        };
        let asker = Asker { nsp: nsp.clone(), node: from, request_id, way: Way::PubSub, wants };
        if !self.cx.owns_rooms() {
            self.sockets_wanted(asker, opts);
            return None;
        }
        let answer = match &asker.wants {
            Wants::Ids => Answer::SocketIds(namespace.rooms.matching(&opts)),
            Wants::Rooms => Answer::Rooms(namespace.rooms.names().cloned().collect()),
            Wants::Owner(order) => self.obey_order(&asker, order),
            // No request of the classic adapter's own wants more.
            Wants::Sockets => return None,
        };
        if let Err(error) = self.respond(&asker, answer) {
            let error = CommandError::NotSent(error.to_string());
            let stream = self.cx.config.response_prefix(nsp);
            self.cx.events.push_back(Event::NoticeFailed { stream, error });
        }
        None
    }

    /// Follows an order to a socket that this node has. Returns the confirmation.
    fn obey_order(&mut self, asker: &Asker, order: &Body) -> Answer {
        let (nsp, from) = (asker.nsp.clone(), asker.node.clone());
        let event = self.cluster.apply(&mut self.cx, nsp, order.clone(), None, from);
        self.cx.events.extend(event);
        Answer::Done
    }
}
