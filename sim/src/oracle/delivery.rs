//! Every message that has come is told once, in order, unchanged; its effect on the node itself
//! happens once.

use core::fmt;
use std::rc::Rc;

use bytes::Bytes;
use bytestring::ByteString;
use sio_streams_core::wire::pubsub;
use sio_streams_core::{
    Body, BroadcastOptions, Config, EntryId, Event, LocalDelivery, Message, NodeId, Source, Time,
};

use super::channels::is_channels_only;
use super::log::{Written, call_of};
use super::{HostView, Oracle, RoomModel};
use crate::peer::is_home;

/// The numbers of an author that are further apart do not belong together.
const FAR: u64 = 1 << 16;

/// The next event that a node must tell its application.
#[derive(Debug)]
pub(super) enum Expected {
    /// The message, its entry if it has one, and the offset of clients that have got it.
    Message { message: Rc<Message>, entry: Option<EntryId>, offset: Option<EntryId> },
    /// The entry came before.
    Repeated { id: EntryId, nsp: ByteString },
    /// The entry is no message.
    Skipped { id: EntryId, nsp: Option<ByteString> },
    /// `None` for a Pub/Sub message.
    SkippedPush,
}

/// Returns `true` if clients recover from packets of the namespace that come by this stream.
fn has_offset(config: &Config, nsp: &str, stream: &str) -> bool {
    config.recovery.is_some() && is_home(config, nsp, stream)
}

impl Expected {
    /// The namespace that it is for, if it is for one.
    fn nsp(&self) -> Option<&str> {
        match self {
            Expected::Message { message, .. } => Some(&message.nsp),
            Expected::Repeated { nsp, .. } => Some(nsp),
            Expected::Skipped { nsp, .. } => nsp.as_deref(),
            Expected::SkippedPush => None,
        }
    }

    /// The entry that it is about.
    pub(super) fn entry(&self) -> Option<EntryId> {
        match self {
            Expected::Message { entry, .. } => *entry,
            Expected::Repeated { id, .. } | Expected::Skipped { id, .. } => Some(*id),
            Expected::SkippedPush => None,
        }
    }

    /// Returns `true` if it is told at all. Messages for a namespace that isn't open are not.
    fn is_told(&self, open: &std::collections::BTreeMap<ByteString, RoomModel>) -> bool {
        self.nsp().is_none_or(|nsp| open.contains_key(nsp))
    }

    fn is(&self, event: &Event, open: &std::collections::BTreeMap<ByteString, RoomModel>) -> bool {
        match (self, event) {
            (Expected::Repeated { id, .. }, Event::Repeated { id: told, .. }) => id == told,
            (Expected::Skipped { id, .. }, Event::Skipped { source: Source::Entry { id: told, .. }, .. }) => {
                id == told
            }
            (Expected::SkippedPush, Event::Skipped { source: Source::Channel { .. }, .. }) => true,
            (Expected::Message { message, entry, offset }, event) => {
                says(message, *entry, *offset, event, open)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Message { message, entry, .. } => {
                write!(f, "{:?} of {}", message.body, message.uid)?;
                entry.map_or(Ok(()), |entry| write!(f, " at {entry}"))
            }
            Expected::Repeated { id, .. } => write!(f, "{id} is a repetition"),
            Expected::Skipped { id, .. } => write!(f, "{id} is no message"),
            Expected::SkippedPush => f.write_str("what was pushed is no message"),
        }
    }
}

/// Returns `true` if the event is what the message asks for.
fn says(
    message: &Message,
    entry: Option<EntryId>,
    offset: Option<EntryId>,
    event: &Event,
    open: &std::collections::BTreeMap<ByteString, RoomModel>,
) -> bool {
    let matching = |opts: &BroadcastOptions| open.get(&message.nsp).map(|rooms| rooms.matching(opts));
    let same = |opts: &BroadcastOptions, told: &[ByteString]| {
        let mut told = told.to_vec();
        told.sort();
        matching(opts) == Some(told)
    };
    match (&message.body, event) {
        (Body::Broadcast { packet, opts, request_id }, Event::Broadcast(told)) => {
            let volatile =
                opts.flags.volatile.is_some() || opts.flags.other.iter().any(|(flag, _)| flag == "volatile");
            let recovers = packet.id().is_none() && !volatile && request_id.is_none();
            told.nsp == message.nsp
                && told.packet == *packet
                && told.opts == *opts
                && told.from.as_ref().unwrap_or(&NodeId::UNNAMED) == &message.uid
                && told.entry == entry
                && told.offset == offset.filter(|_| recovers)
                && told.responder.is_some() == request_id.is_some()
        }
        (Body::SocketsJoin { opts, rooms }, Event::SocketsJoin(told))
        | (Body::SocketsLeave { opts, rooms }, Event::SocketsLeave(told)) => {
            told.nsp == message.nsp && told.rooms == *rooms && same(opts, &told.sockets)
        }
        (
            Body::DisconnectSockets { opts, close },
            Event::DisconnectSockets { nsp, sockets, close: told, .. },
        ) => *nsp == message.nsp && close == told && same(opts, sockets),
        (Body::FetchSockets { opts, .. }, Event::FetchSockets { nsp, sockets, .. }) => {
            *nsp == message.nsp && same(opts, sockets)
        }
        (
            Body::ServerSideEmit { packet, request_id },
            Event::ServerSideEmit { nsp, packet: told, from, responder },
        ) => {
            *nsp == message.nsp
                && packet == told
                && from.as_ref().unwrap_or(&NodeId::UNNAMED) == &message.uid
                && responder.is_some() == request_id.is_some()
        }
        _ => false,
    }
}

/// Returns `true` if an application is told of such a message.
pub(super) fn is_for_applications(body: &Body) -> bool {
    matches!(
        body,
        Body::Broadcast { .. }
            | Body::SocketsJoin { .. }
            | Body::SocketsLeave { .. }
            | Body::DisconnectSockets { .. }
            | Body::FetchSockets { .. }
            | Body::ServerSideEmit { .. }
    )
}

impl Oracle {
    /// Looks at what has come to a node's readers, as far as something of it must be told.
    pub(super) fn look(&mut self, host: usize) {
        let streams: Vec<ByteString> = self.hosts[host].readers.keys().cloned().collect();
        for stream in streams {
            loop {
                let HostView { open, readers, .. } = &mut self.hosts[host];
                let Some(reader) = readers.get_mut(&stream) else { break };
                reader.next.take_if(|next| !next.is_told(open));
                // Entries that came before a question to the server wait for its answer.
                if reader.next.is_some() || reader.checking.is_some() || reader.doubtful {
                    break;
                }
                let Some((id, written, came)) = reader.queue.pop_front() else { break };
                let next = self.look_at(host, &stream, id, &written, came);
                let Some(reader) = self.hosts[host].readers.get_mut(&stream) else { break };
                match next {
                    Some(next) if written.dubious => reader.perhaps.push(next),
                    next => reader.next = next,
                }
            }
        }
    }

    /// Works out what must be told of an entry.
    fn look_at(
        &mut self,
        host: usize,
        stream: &ByteString,
        id: EntryId,
        written: &Rc<Written>,
        came: Time,
    ) -> Option<Expected> {
        let view = &mut self.hosts[host];
        let reader = view.readers.get_mut(stream)?;
        let nsp = written.nsp().map(ByteString::from);
        let early = reader.early.remove(&id);
        let Some(message) = &written.message else {
            return (!early).then_some(Expected::Skipped { id, nsp });
        };
        if early || !view.open.contains_key(&message.nsp) {
            // It is not told, but where clients recover it is kept: what comes again later, in
            // whatever namespace, is known then.
            if view.config.recovery.is_some()
                && let Some(seq) = written.seq
            {
                reader.seen.entry(message.uid.clone()).or_default().entry(seq).or_insert(id);
            }
            return None;
        }
        if written.dubious {
            let (message, entry) = (message.clone(), Some(id));
            let offset = entry.filter(|_| has_offset(&view.config, &message.nsp, stream));
            view.heard.entry((message.nsp.clone(), message.uid.clone())).or_insert((came, false));
            return Some(Expected::Message { message, entry, offset });
        }
        if let Some(seq) = written.seq {
            let seen = reader.seen.entry(message.uid.clone()).or_default();
            // An author's numbers rise. What comes late was given up; whether that is so is looked
            // at in the end. A number that is far below all others begins a run of its own: its
            // author has begun anew since, and this node was not there when the number was first
            // read.
            let fresh = !seen.contains_key(&seq);
            let is_far = seen.range(seq..).next().is_none_or(|(next, _)| *next - seq > FAR);
            if !(fresh && is_far) {
                // The one that has overtaken it may have been lost since; its author can't know.
                let overtaken = seen.range(seq..).all(|(_, id)| !reader.lost.contains(id));
                let by = seen.range(seq..).next().map(|(by, _)| *by);
                if let Some((call, by)) = written.call.zip(by).filter(|_| fresh && overtaken) {
                    self.passed_over(call, host, by, (stream, id));
                }
                return Some(Expected::Repeated { id, nsp: message.nsp.clone() });
            }
            seen.insert(seq, id);
        }
        let own = message.uid == view.uid;
        if !own {
            let heard = view.heard.entry((message.nsp.clone(), message.uid.clone())).or_insert((came, false));
            *heard = (came, heard.1 || message.body == Body::AdapterClose);
        }
        let asks = matches!(
            message.body,
            Body::FetchSockets { .. }
                | Body::ServerSideEmit { .. }
                | Body::Broadcast { request_id: Some(_), .. }
        );
        let told = !own || (view.config.local_delivery == LocalDelivery::StreamOrder && !asks);
        if !told || !is_for_applications(&message.body) {
            return None;
        }
        let offset = Some(id).filter(|_| has_offset(&view.config, &message.nsp, stream));
        let again = written.call.is_some_and(|call| !reader.delivered.insert(call));
        if again {
            self.fail("a message under two numbers", format!("{:?}, host {host}", written.call));
        }
        Some(Expected::Message { message: message.clone(), entry: Some(id), offset })
    }

    /// A Pub/Sub message has come to an engine.
    pub(super) fn pushed(&mut self, host: usize, channel: &ByteString, payload: &Bytes) {
        if is_channels_only(self.hosts[host].config.dialect) {
            return self.heard(host, channel, payload);
        }
        let view = &mut self.hosts[host];
        let about = |nsp: &str| {
            let common = format!("{}#{nsp}#", view.config.channel_prefix);
            let private = format!("{common}{}#", view.uid);
            *channel == common || *channel == private
        };
        match pubsub::decode(payload) {
            Err(_) if view.open.keys().any(|nsp| about(nsp)) => view.pushed.push_back(Expected::SkippedPush),
            Ok(message)
                if about(&message.nsp)
                    && view.open.contains_key(&message.nsp)
                    && message.uid != view.uid
                    && is_for_applications(&message.body) =>
            {
                view.pushed.push_back(Expected::Message {
                    message: Rc::new(message),
                    entry: None,
                    offset: None,
                });
            }
            _ => {}
        }
    }

    /// The effect of a call on its own node is due.
    pub(super) fn due_here(&mut self, host: usize, message: Rc<Message>, entry: Option<EntryId>) {
        let host = &mut self.hosts[host];
        let offset = entry.filter(|_| host.config.recovery.is_some());
        host.own.push_back(Expected::Message { message, entry, offset });
    }

    /// The application was told of something.
    pub(super) fn told(&mut self, host: usize, event: &Event) {
        self.look(host);
        let HostView { open, readers, pushed, own, skipped_pushes, .. } = &mut self.hosts[host];
        if let Event::Skipped { source: Source::Channel { .. }, .. } = event
            && let Some(fewer) = skipped_pushes.checked_sub(1)
        {
            *skipped_pushes = fewer;
            return;
        }
        let mut heads = Vec::new();
        let mut found = None;
        for queue in [own, pushed] {
            if found.is_some() {
                break;
            }
            while queue.front().is_some_and(|expected| !expected.is_told(open)) {
                queue.pop_front();
            }
            if queue.front().is_some_and(|expected| expected.is(event, open)) {
                found = queue.pop_front();
            }
            heads.extend(queue.front().map(ToString::to_string));
        }
        // Two streams may have entries with one id.
        let (about, entry) = match event {
            Event::Skipped { source: Source::Entry { stream, id }, .. }
            | Event::Repeated { stream, id, .. } => (Some(stream), Some(*id)),
            Event::Broadcast(told) => (None, told.entry),
            _ => (None, None),
        };
        for (stream, reader) in readers.iter_mut() {
            if found.is_none() && about.is_none_or(|about| about == stream) {
                found = reader.next.take_if(|next| next.is(event, open));
            }
            heads.extend(reader.next.as_ref().map(ToString::to_string));
        }
        if found.is_none() && self.is_settled(host, about, entry) {
            return self.told(host, event);
        }
        if found.is_none() {
            found = self.found_perhaps(host, event);
        }
        if let Some(expected) = found {
            if let Event::Broadcast(told) = event {
                self.clients_get(host, told);
            }
            return self.take_effect(host, &expected);
        }
        let rule = match event {
            Event::Broadcast(_) => "a broadcast that was not due",
            Event::Repeated { .. } => "a repetition that was none",
            Event::Skipped { .. } => "a message was skipped",
            _ => "an event that was not due",
        };
        self.fail(rule, format!("host {host}: {event:?}; due were {heads:#?}"));
    }

    /// Looks for an event that is allowed but not required; a repetition and a bad entry have no
    /// effect.
    fn found_perhaps(&mut self, host: usize, event: &Event) -> Option<Expected> {
        let HostView { open, readers, .. } = &mut self.hosts[host];
        readers.iter_mut().find_map(|(name, reader)| {
            let at = reader.perhaps.iter().position(|expected| match event {
                Event::Repeated { stream, id, .. }
                | Event::Skipped { source: Source::Entry { stream, id }, .. } => {
                    name == stream && expected.entry() == Some(*id)
                }
                event => expected.is(event, open),
            })?;
            let found = reader.perhaps.remove(at);
            match event {
                Event::Repeated { id, .. } => Some(Expected::Repeated { id: *id, nsp: found.nsp()?.into() }),
                Event::Skipped { .. } => Some(Expected::Skipped { id: found.entry()?, nsp: None }),
                _ => Some(found),
            }
        })
    }

    /// The sockets here do what the message says.
    fn take_effect(&mut self, host: usize, expected: &Expected) {
        let Expected::Message { message, .. } = expected else { return };
        self.told_call(host, message);
        let Some(rooms) = self.hosts[host].open.get_mut(&message.nsp) else { return };
        match &message.body {
            Body::SocketsJoin { opts, rooms: joined } => {
                for socket in rooms.matching(opts) {
                    rooms.join(&socket, joined);
                }
            }
            Body::SocketsLeave { opts, rooms: left } => {
                for socket in rooms.matching(opts) {
                    rooms.leave(&socket, left);
                }
            }
            Body::DisconnectSockets { opts, .. } => {
                let matching = rooms.matching(opts);
                matching.iter().for_each(|socket| rooms.remove(socket));
                self.clients_dismissed(host, &message.nsp, &matching);
            }
            Body::Broadcast { request_id: Some(_), opts, .. } => {
                let clients = rooms.matching(opts).len() as u64;
                if let Some(call) = call_of(&message.body) {
                    let uid = self.hosts[host].uid.clone();
                    self.clients_asked(call, uid, clients);
                }
            }
            _ => {}
        }
    }

    /// A node that does not look any more whether its stream is another one has taken what had come.
    /// The application was told of something: of this stream and this entry, if it says so. Returns
    /// `true` if something of that waited.
    pub(super) fn is_settled(
        &mut self,
        host: usize,
        stream: Option<&ByteString>,
        entry: Option<EntryId>,
    ) -> bool {
        let readers = self.hosts[host].readers.iter_mut();
        let waiting = readers.filter(|(name, _)| stream.is_none_or(|stream| stream == *name));
        let waiting = waiting.map(|(_, reader)| reader).filter(|reader| reader.may_have_taken(entry));
        let (searching, done): (Vec<_>, Vec<_>) = waiting.partition(|reader| reader.searching);
        // One that was still looking when it last asked is done with that only if no other is.
        let settled = if done.is_empty() { searching } else { done };
        if settled.into_iter().map(|reader| reader.doubtful = false).count() > 0 {
            return true;
        }
        let readers = self.hosts[host].readers.iter_mut();
        let mut about = readers.filter(|(name, _)| stream.is_none_or(|stream| stream == *name));
        about.any(|(_, reader)| reader.has_taken())
    }

    /// The node has nothing more to say: then nothing more may be due.
    pub(super) fn drained(&mut self, host: usize) {
        for reader in self.hosts[host].readers.values_mut() {
            reader.doubtful &= reader.checking.is_some() || reader.searching;
        }
        self.look(host);
        let HostView { open, readers, pushed, own, .. } = &mut self.hosts[host];
        let mut held = readers.values().filter(|reader| reader.checking.is_none() && !reader.probing);
        let mut due = held.find_map(|reader| reader.next.as_ref()).map(ToString::to_string);
        for queue in [own, pushed] {
            queue.retain(|expected| expected.is_told(open));
            due = due.or(queue.front().map(ToString::to_string));
        }
        self.check_hearing(host);
        if let Some(due) = due {
            self.fail("something was not told", format!("host {host}: {due}"));
        }
    }

    /// The node has entered a namespace. What had been read before is not for it.
    pub(crate) fn namespace_opened(&mut self, host: usize, nsp: &ByteString) -> &mut RoomModel {
        let HostView { open, openings, readers, refused, .. } = &mut self.hosts[host];
        *openings.entry(nsp.clone()).or_default() += 1;
        refused.remove(nsp);
        for reader in readers.values_mut() {
            reader.next.take_if(|next| next.nsp() == Some(nsp));
            let early = reader.queue.iter().filter(|(_, written, _)| written.nsp() == Some(nsp));
            reader.early.extend(early.map(|(id, ..)| *id));
        }
        open.entry(nsp.clone()).or_default()
    }

    /// The node has left a namespace.
    pub(crate) fn namespace_closed(&mut self, host: usize, nsp: &str) {
        self.clients_cut_off(host, Some(nsp));
        let view = &mut self.hosts[host];
        view.open.remove(nsp);
        view.closing.insert(nsp.into());
        view.ready.remove(nsp);
        view.members.remove(nsp);
        view.heard.retain(|(other, _), _| other != nsp);
        view.own.retain(|expected| expected.nsp() != Some(nsp));
        view.pushed.retain(|expected| expected.nsp() != Some(nsp));
    }

    /// An application has sent the packet of the last event.
    pub(super) fn sent(&mut self, host: usize, sockets: &[ByteString]) {
        let view = &mut self.hosts[host];
        let Some((nsp, opts)) = view.addressed.take() else { return };
        let expected = view.open.get(&nsp).map(|model| model.matching(&opts)).unwrap_or_default();
        let mut sent = sockets.to_vec();
        sent.sort();
        if sent != expected {
            let details = format!("host {host}, {nsp}, {opts:?}: {sent:?}, not {expected:?}");
            self.fail("a packet goes to the wrong sockets", details);
        }
    }

    /// The node says that the others know.
    pub(super) fn left(&mut self, host: usize, nsp: &ByteString) {
        if !self.hosts[host].closing.remove(nsp) {
            self.fail("left without leaving", format!("host {host}, {nsp}"));
        }
    }

    /// Compares a host's sockets with what they should be. `count` returns the number of sockets of a
    /// namespace, and `rooms_of` the rooms of a socket.
    pub(crate) fn check_rooms(
        &mut self,
        host: usize,
        count: impl Fn(&str) -> Option<usize>,
        rooms_of: impl Fn(&str, &str) -> Option<Vec<ByteString>>,
    ) {
        let mut wrong = None;
        for (nsp, model) in &self.hosts[host].open {
            let Some(count) = count(nsp) else { continue };
            if count != model.len() {
                wrong = Some(format!("{nsp}: {count} sockets, not {}", model.len()));
            }
            for (socket, joined) in model.sockets() {
                let mut told = rooms_of(nsp, socket).unwrap_or_default();
                told.sort();
                if !told.iter().eq(joined) {
                    wrong = Some(format!("{nsp}: {socket} is in {told:?}, not in {joined:?}"));
                }
            }
        }
        if let Some(wrong) = wrong {
            self.fail("a socket is in the wrong rooms", format!("host {host}, {wrong}"));
        }
    }

    pub(super) fn name_of(&self, host: usize) -> NodeId {
        self.hosts[host].uid.clone()
    }
}
