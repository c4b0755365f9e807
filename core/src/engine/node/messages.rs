//! Messages from the other nodes.

use bytes::Bytes;
use bytestring::ByteString;

use super::{Node, Pending};
use crate::channel::Carries;
use crate::command::{Entry, Fields};
use crate::config::{Dialect, LocalDelivery};
use crate::engine::cluster::delivery;
use crate::engine::inbox::Sight;
use crate::event::{Answer, Asker, EmitResponder, Event, Source, Wants, Way};
use crate::id::{EntryId, NodeId, RequestId};
use crate::message::{Body, Message};
use crate::wire::entry::{self, NEAR, Parts};
use crate::wire::{WireError, classic, pubsub};

/// The longest accepted name of a node, in bytes. The names of the adapters have 16 to 20 bytes.
const MAX_NAME: usize = 256;

impl Node {
    /// Processes one entry of a stream. An error in an entry affects only that entry.
    pub(super) fn look_at(&mut self, stream: &ByteString, read: &Entry) -> Option<Event> {
        let (id, parts) = (read.id, Parts::of(&read.fields));
        let skipped = |reason| {
            let source = Source::Entry { stream: stream.clone(), id };
            (!mutant!(BadEntrySilent)).then_some(Event::Skipped { source, reason })
        };
        let Some(nsp) = parts.namespace() else { return skipped(WireError::MissingField("nsp")) };
        let here =
            self.cluster.namespaces.get_key_value(nsp).filter(|_| !self.inbox.came_before(stream, nsp));
        let Some((nsp, namespace)) = here else {
            // The entry is not for this node.
            self.keep_foreign(stream, id, &read.fields);
            return None;
        };
        let author = parts.author();
        if let Err(reason) = check_name(author.unwrap_or_default()) {
            return skipped(reason);
        }
        let own = author == Some(self.cx.uid.as_str());
        if own && !self.obeys_own() {
            // Most entries that a busy node reads are its own. What they say has been done already.
            self.is_first(stream, id, &self.cx.uid.clone(), parts.sequence());
            return None;
        }
        // Each stream has an order of its own. A client whose offset were one of another stream
        // would be recovered from the wrong place.
        let is_home = self.cx.config.stream_count == 1
            || namespace.streams().any(|own| own == stream)
            || mutant!(OffsetOfAnyStream);
        let nsp = nsp.clone();
        let found = author.and_then(|name| namespace.known.get(name)).cloned();
        let is_known = found.is_some();
        let uid = found.unwrap_or_else(|| parts.uid());
        let body = match parts.body() {
            Ok(body) => body,
            Err(reason) => return skipped(reason),
        };
        let seq = parts.sequence();
        let first = !own && seq.is_none() || self.is_first(stream, id, &uid, seq);
        self.recoveries.keep(stream, id, &nsp, &body, (&uid, seq), first);
        if !first {
            return None;
        }
        if !own {
            if self.cx.config.dialect.heartbeats() {
                self.cluster.heard(&mut self.cx, &nsp, &uid, &body, parts.is_bridge());
            }
            if !is_known {
                self.cluster.note_sender(&self.cx, &nsp, &uid);
            }
        }
        let message = Message { uid, nsp, body };
        match is_home {
            true => self.act_on(message, id, own),
            false => self.act_on(message, id, own).map(without_offset),
        }
    }

    /// Does what an entry asks for that has not come before.
    #[inline]
    fn act_on(&mut self, message: Message, id: EntryId, own: bool) -> Option<Event> {
        if !own {
            return self.obey(message, Some(id));
        }
        let Message { uid, nsp, body } = message;
        self.cluster.apply(&mut self.cx, nsp, body, Some(id), uid)
    }

    /// Handles an entry of a namespace that is not open here. The entry is kept for recovery,
    /// because the namespace may be opened here while some of its clients are away.
    fn keep_foreign(&mut self, stream: &ByteString, id: EntryId, fields: &Fields) {
        if !self.recoveries.has_window(stream) {
            return;
        }
        let Ok(Message { uid, nsp, body }) = entry::decode(fields) else { return };
        let seq = entry::sequence(fields);
        let first = seq.is_none_or(|seq| self.inbox.is_new(stream, &uid, seq));
        self.recoveries.keep(stream, id, &ByteString::from(&*nsp), &body, (&uid, seq), first);
    }

    /// Returns `true` if the entry has not come before.
    fn is_first(&mut self, stream: &ByteString, id: EntryId, author: &NodeId, seq: Option<u64>) -> bool {
        let last = self.outbox.last_number();
        let (sight, took) = self.inbox.see(&mut self.cx, stream, id, (author, seq), last);
        if took.is_some_and(|took| took > self.cx.config.notable_delay()) {
            // The server was stuck, and the other nodes may have been cut off meanwhile.
            self.cluster.nobody_could_speak(&mut self.cx, Some(stream));
        }
        if let Sight::Claimed(Some(number)) = sight
            && number - last <= NEAR
        {
            // The other nodes take this entry for this node's. What this node says next must not
            // seem to have been said before it.
            self.outbox.go_on_above(number);
        }
        sight == Sight::First
    }

    /// Returns `true` if this node acts on its own messages only when it reads them back.
    fn obeys_own(&self) -> bool {
        let obeyed = self.cx.config.local_delivery == LocalDelivery::StreamOrder || mutant!(OwnEntriesObeyed);
        obeyed && !mutant!(OwnEntriesDropped)
    }

    /// Handles a Pub/Sub message.
    pub(in crate::engine) fn pushed(&mut self, channel: &str, payload: &Bytes) {
        let Some((nsp, carries)) = self.cluster.carried(&self.cx, channel) else { return };
        match self.read_push(&nsp, carries, payload).and_then(believable) {
            Ok(Some(pending)) => self.pending.push_back(pending),
            Ok(None) => {}
            Err(reason) => {
                let channel = ByteString::from(channel);
                self.cx.events.push_back(Event::Skipped { source: Source::Channel { channel }, reason });
            }
        }
    }

    /// Decodes a Pub/Sub message. Returns `None` if it does not concern the namespace.
    fn read_push(
        &self,
        nsp: &ByteString,
        carries: Carries,
        payload: &Bytes,
    ) -> Result<Option<Pending>, WireError> {
        let own = |message: Message| (message.nsp == *nsp).then(|| Pending::Message(Box::new(message)));
        if matches!(carries, Carries::Messages | Carries::Room) {
            let decode = match self.cx.config.dialect {
                Dialect::Sharded => pubsub::decode_sharded,
                _ => pubsub::decode,
            };
            return Ok(own(decode(payload)?));
        }
        let payload = self.cx.config.unparsed(payload).map_err(WireError::Codec)?;
        Ok(match carries {
            Carries::Requests => {
                let (from, request) = classic::decode_request(&payload)?;
                (from != self.cx.uid).then(|| Pending::Request(nsp.clone(), from, Box::new(request)))
            }
            Carries::Responses => Some(Pending::Response(Box::new(classic::Keys::read(&payload)?))),
            Carries::Broadcasts | Carries::Messages | Carries::Room => {
                own(classic::decode_broadcast(&payload)?)
            }
        })
    }

    /// Does what a message that came by Pub/Sub asks for. The message may have waited until its
    /// namespace was closed.
    pub(super) fn receive(&mut self, message: Message) -> Option<Event> {
        if message.uid == self.cx.uid || !self.cluster.namespaces.contains_key(&message.nsp) {
            return None;
        }
        self.cluster.note_sender(&self.cx, &message.nsp, &message.uid);
        self.obey(message, None)
    }

    /// Does what a message of another node asks for, in a namespace that is open. A message from
    /// the stream has an entry.
    fn obey(&mut self, message: Message, entry: Option<EntryId>) -> Option<Event> {
        let Message { uid, nsp, body } = message;
        if let Body::Broadcast { packet, opts, request_id: None } = body {
            return Some(delivery(nsp, packet, opts, entry, uid, self.cx.config.recovery.is_some()));
        }
        let (way, by_stream) = (self.way_back(entry), entry.is_some());
        let asker = |request_id: RequestId| Asker {
            nsp: nsp.clone(),
            node: uid.clone(),
            request_id,
            way,
            wants: Wants::Sockets,
        };
        match body {
            body
            @ (Body::SocketsJoin { .. } | Body::SocketsLeave { .. } | Body::DisconnectSockets { .. }) => {
                return self.cluster.apply(&mut self.cx, nsp, body, entry, uid);
            }
            Body::ServerSideEmit { packet, request_id } => {
                let responder = request_id.map(|id| EmitResponder(asker(id)));
                return Some(Event::ServerSideEmit { nsp, packet, from: uid.named(), responder });
            }
            Body::InitialHeartbeat
                if self.cx.config.dialect.heartbeats() && !mutant!(HeartbeatNotAnswered) =>
            {
                self.announce(&nsp, Body::Heartbeat)
            }
            Body::InitialHeartbeat | Body::Heartbeat => {}
            Body::AdapterClose => self.node_closed(&nsp, &uid),
            Body::Broadcast { packet, opts, request_id } => {
                if let Some(id) = request_id {
                    self.deliver_with_ack(asker(id), packet, opts, entry);
                }
            }
            Body::FetchSockets { opts, request_id } => self.sockets_wanted(asker(request_id), opts),
            Body::FetchSocketsResponse { request_id, sockets } => {
                self.answered(&request_id, &uid, Answer::Sockets(sockets), by_stream);
            }
            Body::ServerSideEmitResponse { request_id, packet } => {
                self.answered(&request_id, &uid, Answer::Emit(packet), by_stream);
            }
            Body::BroadcastClientCount { request_id, client_count } => {
                self.answered(&request_id, &uid, Answer::ClientCount(client_count), by_stream);
            }
            Body::BroadcastAck { request_id, packet } => {
                self.answered(&request_id, &uid, Answer::Ack(packet), by_stream)
            }
        }
        None
    }

    /// Returns the way by which a question is answered, depending on the way by which it came.
    /// Nodes of 0.2 read only the stream. Nodes of 0.3 wait for answers only on their channel, even
    /// if they asked on the stream.
    fn way_back(&self, entry: Option<EntryId>) -> Way {
        match (self.cx.config.dialect, entry) {
            (Dialect::Bridge, Some(_)) if mutant!(AnswerOnTheWrongWay) => Way::PubSub,
            (Dialect::Streams02, _) | (Dialect::Bridge, Some(_)) => Way::Stream,
            (Dialect::Streams03 | Dialect::Sharded | Dialect::Classic, _) | (Dialect::Bridge, None) => {
                Way::PubSub
            }
        }
    }
}

/// Returns the same event. If it is a delivery, its clients don't recover from it.
fn without_offset(mut event: Event) -> Event {
    if let Event::Broadcast(delivery) = &mut event {
        delivery.offset = None;
    }
    event
}

/// Passes on `pending`, unless it would be kept under a name that no node bears.
fn believable(pending: Option<Pending>) -> Result<Option<Pending>, WireError> {
    match &pending {
        Some(Pending::Message(message)) => check_name(message.uid.as_str())?,
        Some(Pending::Request(_, from, _)) => check_name(from.as_str())?,
        _ => {}
    }
    Ok(pending)
}

/// Returns an error if no node may bear this name. The names of other nodes are kept in memory, so
/// their length is limited.
fn check_name(uid: &str) -> Result<(), WireError> {
    match uid.len() {
        size if size > MAX_NAME => Err(WireError::NameTooLong { size, limit: MAX_NAME }),
        _ => Ok(()),
    }
}
