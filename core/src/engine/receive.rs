//! What comes from the other nodes.

use bytestring::ByteString;

use super::publisher::sequence;
use super::sockets::delivery;
use super::{Effect, EffectKind, Engine};
use crate::command::{Entry, Fields};
use crate::config::{Dialect, LocalDelivery};
use crate::event::{Answer, Asker, EmitResponder, Event, Source, Way};
use crate::id::{EntryId, NodeId, RequestId};
use crate::message::{Body, Message};
use crate::wire::{WireError, entry};

impl Engine {
    /// Looks at one entry of a stream. Whatever is wrong with it stays with it.
    pub(super) fn receive_entry(&mut self, stream: &ByteString, read: Entry) -> Option<Event> {
        let id = read.id;
        let event = self.look_at(stream, read);
        let event = self.or_before(event);
        self.looked_at(stream, id);
        event
    }

    fn look_at(&mut self, stream: &ByteString, read: Entry) -> Option<Event> {
        let Entry { id, fields } = read;
        let decoded = match entry::namespace(&fields) {
            None => Err(WireError::MissingField("nsp")),
            // Not for this node.
            Some(nsp) if !self.namespaces.contains_key(nsp) || self.came_before(stream, nsp) => {
                self.keep_foreign(stream, id, &fields);
                return None;
            }
            Some(_) => entry::decode(&fields),
        };
        match decoded {
            Ok(message) => {
                let first = self.is_first(stream, id, &message, &fields);
                self.keep(stream, id, &message, &fields, first);
                if !first {
                    return None;
                }
                if message.uid == self.uid {
                    return self.receive_own(message, id);
                }
                if self.config.dialect.heartbeats() {
                    let bridge = fields.get(entry::BRIDGE_FIELD).is_some();
                    self.heard(&message.nsp, &message.uid, &message.body, bridge);
                }
                self.obey(message, Some(id))
            }
            Err(_) if mutant!(BadEntrySilent) => None,
            Err(reason) => {
                let source = Source::Entry { stream: stream.clone(), id };
                Some(Event::Skipped { source, reason })
            }
        }
    }

    /// Whether the entry has not come before. Only nodes of ours number their entries.
    fn is_first(&mut self, stream: &ByteString, id: EntryId, message: &Message, fields: &Fields) -> bool {
        let Some(reader) = self.readers.get_mut(stream) else { return false };
        let seq = sequence(fields);
        if message.uid == self.uid && seq.is_none_or(|seq| seq > self.last_seq) {
            if !core::mem::replace(&mut reader.name_taken, true) {
                self.events.push_back(Event::NameTaken { stream: stream.clone(), id });
            }
            return false;
        }
        let first =
            seq.is_none_or(|seq| reader.seen.is_new(&message.uid, seq) || mutant!(RepetitionDelivered));
        if !first {
            let (stream, from) = (stream.clone(), message.uid.clone());
            self.events.push_back(Event::Repeated { stream, id, from });
        }
        first
    }

    /// A message of this node's own has come back. It does here what it does elsewhere, unless it has been done.
    fn receive_own(&mut self, message: Message, id: EntryId) -> Option<Event> {
        let obeyed = self.config.local_delivery == LocalDelivery::StreamOrder || mutant!(OwnEntriesObeyed);
        if mutant!(OwnEntriesDropped) || !obeyed {
            return None;
        }
        let Message { uid, nsp, body } = message;
        self.apply(Effect { nsp, kind: EffectKind::of(body)? }, Some(id), uid)
    }

    /// Does what a message asks for that came by Pub/Sub, and may have waited until its namespace was closed.
    pub(super) fn receive(&mut self, message: Message) -> Option<Event> {
        match message.uid != self.uid && self.namespaces.contains_key(&message.nsp) {
            true => self.obey(message, None),
            false => None,
        }
    }

    /// Does what a message of another node asks for, in a namespace that is open. Those in the stream have an entry.
    fn obey(&mut self, message: Message, entry: Option<EntryId>) -> Option<Event> {
        let Message { uid, nsp, body } = message;
        self.note_sender(&nsp, &uid);
        let way = self.way_back(entry);
        let asker = |request_id: RequestId| Asker { nsp: nsp.clone(), node: uid.clone(), request_id, way };
        match body {
            Body::Broadcast { packet, opts, request_id: None } => {
                return Some(delivery(nsp, packet, opts, entry, uid));
            }
            Body::SocketsJoin { opts, rooms } => {
                return self.apply(Effect { nsp, kind: EffectKind::Join { opts, rooms } }, entry, uid);
            }
            Body::SocketsLeave { opts, rooms } => {
                return self.apply(Effect { nsp, kind: EffectKind::Leave { opts, rooms } }, entry, uid);
            }
            Body::DisconnectSockets { opts, close } => {
                return self.apply(Effect { nsp, kind: EffectKind::Disconnect { opts, close } }, entry, uid);
            }
            Body::ServerSideEmit { packet, request_id } => {
                let responder = request_id.map(|id| EmitResponder(asker(id)));
                return Some(Event::ServerSideEmit { nsp, packet, from: uid, responder });
            }
            Body::InitialHeartbeat if self.config.dialect.heartbeats() && !mutant!(HeartbeatNotAnswered) => {
                self.announce(&nsp, Body::Heartbeat)
            }
            Body::InitialHeartbeat | Body::Heartbeat => {}
            Body::AdapterClose => self.node_closed(&nsp, &uid),
            Body::Broadcast { packet, opts, request_id: Some(id) } => {
                self.deliver_with_ack(asker(id), packet, opts);
            }
            Body::FetchSockets { opts, request_id } => self.sockets_wanted(asker(request_id), &opts),
            Body::FetchSocketsResponse { request_id, sockets } => {
                self.answered(&request_id, &uid, Answer::Sockets(sockets));
            }
            Body::ServerSideEmitResponse { request_id, packet } => {
                self.answered(&request_id, &uid, Answer::Emit(packet));
            }
            Body::BroadcastClientCount { request_id, client_count } => {
                self.answered(&request_id, &uid, Answer::ClientCount(client_count));
            }
            Body::BroadcastAck { request_id, packet } => {
                self.answered(&request_id, &uid, Answer::Ack(packet))
            }
        }
        None
    }

    /// By which way a question that came like this is answered. Nodes of 0.2 hear nothing but the stream; those of 0.3 wait for answers on
    /// their channel only, even if they asked on the stream.
    fn way_back(&self, entry: Option<EntryId>) -> Way {
        match (self.config.dialect, entry) {
            (Dialect::Bridge, Some(_)) if mutant!(AnswerOnTheWrongWay) => Way::PubSub,
            (Dialect::Streams02, _) | (Dialect::Bridge, Some(_)) => Way::Stream,
            (Dialect::Streams03 | Dialect::Sharded | Dialect::Classic, _) | (Dialect::Bridge, None) => {
                Way::PubSub
            }
        }
    }

    /// Remembers the name of a node that subscribes, in case it is missed.
    fn note_sender(&mut self, nsp: &ByteString, uid: &NodeId) {
        if !self.config.dialect.subscribes() || uid.is_emitter() {
            return;
        }
        let limit = self.config.limits.nodes;
        match self.namespaces.get_mut(nsp) {
            Some(namespace) if namespace.known.len() < limit && !namespace.known.contains(uid) => {
                namespace.known.insert(uid.owned());
            }
            _ => {}
        }
    }
}
