//! What comes from the other nodes.

use bytestring::ByteString;

use super::inbox::{NEAR, Sight};
use super::sockets::delivery;
use super::{Effect, EffectKind, Engine};
use crate::command::{Entry, Fields};
use crate::config::{Dialect, LocalDelivery};
use crate::event::{Answer, Asker, EmitResponder, Event, Source, Way};
use crate::id::{EntryId, NodeId, RequestId};
use crate::message::{Body, Message};
use crate::wire::WireError;
use crate::wire::entry::{self, Parts};

impl Engine {
    /// Looks at one entry of a stream. Whatever is wrong with it stays with it.
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
            // Not for this node.
            self.keep_foreign(stream, id, &read.fields);
            return None;
        };
        let author = parts.author();
        if let Err(reason) = super::check_name(author.unwrap_or_default()) {
            return skipped(reason);
        }
        let own = author == Some(self.cx.uid.as_str());
        if own && !self.obeys_own() {
            // Most of what a busy node reads. What it says has been done.
            self.is_first(stream, id, &self.cx.uid.clone(), parts.sequence());
            return None;
        }
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
        if own {
            return self.apply(Effect { nsp, kind: EffectKind::of(body)? }, Some(id), uid);
        }
        if self.cx.config.dialect.heartbeats() {
            self.cluster.heard(&mut self.cx, &nsp, &uid, &body, parts.is_bridge());
        }
        if !is_known {
            self.note_sender(&nsp, &uid);
        }
        self.obey(Message { uid, nsp, body }, Some(id))
    }

    /// An entry of a namespace is being looked at that isn't open here. It may be opened while clients of it are away.
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
            // The server hung, and the others may have been cut off meanwhile.
            self.cluster.nobody_could_speak(&mut self.cx, Some(stream));
        }
        if let Sight::Claimed(Some(number)) = sight
            && number - last <= NEAR
        {
            // The others take it for this node's. What this node says next must not seem to be said before it.
            self.outbox.go_on_above(number);
        }
        sight == Sight::First
    }

    /// Whether what this node says is done here only when it comes back.
    fn obeys_own(&self) -> bool {
        let obeyed = self.cx.config.local_delivery == LocalDelivery::StreamOrder || mutant!(OwnEntriesObeyed);
        obeyed && !mutant!(OwnEntriesDropped)
    }

    /// Does what a message asks for that came by Pub/Sub, and may have waited until its namespace was closed.
    pub(super) fn receive(&mut self, message: Message) -> Option<Event> {
        if message.uid == self.cx.uid || !self.cluster.namespaces.contains_key(&message.nsp) {
            return None;
        }
        self.note_sender(&message.nsp, &message.uid);
        self.obey(message, None)
    }

    /// Does what a message of another node asks for, in a namespace that is open. Those in the stream have an entry.
    fn obey(&mut self, message: Message, entry: Option<EntryId>) -> Option<Event> {
        let Message { uid, nsp, body } = message;
        if let Body::Broadcast { packet, opts, request_id: None } = body {
            return Some(delivery(nsp, packet, opts, entry, uid));
        }
        let (way, by_stream) = (self.way_back(entry), entry.is_some());
        let asker = |request_id: RequestId| Asker { nsp: nsp.clone(), node: uid.clone(), request_id, way };
        match body {
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
            Body::InitialHeartbeat
                if self.cx.config.dialect.heartbeats() && !mutant!(HeartbeatNotAnswered) =>
            {
                self.announce(&nsp, Body::Heartbeat)
            }
            Body::InitialHeartbeat | Body::Heartbeat => {}
            Body::AdapterClose => self.node_closed(&nsp, &uid),
            Body::Broadcast { packet, opts, request_id } => {
                if let Some(id) = request_id {
                    self.deliver_with_ack(asker(id), packet, opts);
                }
            }
            Body::FetchSockets { opts, request_id } => self.sockets_wanted(asker(request_id), &opts),
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

    /// By which way a question that came like this is answered. Nodes of 0.2 hear nothing but the stream; those of 0.3 wait for answers on
    /// their channel only, even if they asked on the stream.
    fn way_back(&self, entry: Option<EntryId>) -> Way {
        match (self.cx.config.dialect, entry) {
            (Dialect::Bridge, Some(_)) if mutant!(AnswerOnTheWrongWay) => Way::PubSub,
            (Dialect::Streams02, _) | (Dialect::Bridge, Some(_)) => Way::Stream,
            (Dialect::Streams03 | Dialect::Sharded | Dialect::Classic, _) | (Dialect::Bridge, None) => {
                Way::PubSub
            }
        }
    }

    /// Remembers the name of a node that subscribes, in case it is missed.
    fn note_sender(&mut self, nsp: &ByteString, uid: &NodeId) {
        if !self.cx.config.dialect.subscribes() || uid.is_emitter() {
            return;
        }
        let limit = self.cx.config.limits.nodes;
        match self.cluster.namespaces.get_mut(nsp) {
            Some(namespace) if namespace.known.len() < limit && !namespace.known.contains(uid) => {
                namespace.known.insert(uid.owned());
            }
            _ => {}
        }
    }
}
