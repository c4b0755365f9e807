//! Simulated Node servers with the official adapters, as far as their behaviour on the wire goes.
//!
//! Written from `docs/protocol.md`, flaws included: they read from `$` until they have read an
//! entry, they lose what they publish while their link is down, and they don't notice gaps. One
//! flaw is left out: an entry that would make them read it again forever they report and pass
//! over, so that a foreign bad entry does not end the run.

mod questions;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use bytestring::ByteString;
use sio_streams_core::wire::{entry, pubsub};
use sio_streams_core::{
    Body, BroadcastOptions, Command, CommandError, Config, Entry, EntryId, Lane, Message, NodeId, Packet,
    Payload, RemoteSocket, Reply, RequestId, Rooms, Time,
};

use crate::chance::Chance;
use crate::peer_validity;
use crate::watch::PeerNote;
use crate::world::FROM_NOW;
pub(crate) use questions::Question;
use questions::Questions;

/// The official adapters that a peer can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// `@socket.io/redis-streams-adapter` 0.2: everything on the stream, heartbeats.
    Streams02,
    /// 0.3: requests through Pub/Sub, no heartbeats.
    Streams03,
}

/// The time for which a Node client library pauses after an error; the adapter itself does not.
const PAUSE: Duration = Duration::from_millis(100);

/// A 0.2 adapter looks after the others so often.
const LOOK: Duration = Duration::from_secs(1);

/// The purpose of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Purpose {
    Read,
    Subscribe,
    /// Count the answers that will come.
    Count(u64),
    Other,
}

#[derive(Debug)]
struct Namespace {
    rooms: Rooms,
    /// 0.2: when each other node was heard last.
    nodes: BTreeMap<NodeId, Time>,
    last_beat: Time,
}

/// A simulated Node server.
#[derive(Debug)]
pub(crate) struct Peer {
    generation: Generation,
    config: Config,
    chance: Chance,
    drawn: u64,
    uid: NodeId,
    sockets: Vec<ByteString>,
    namespaces: BTreeMap<ByteString, Namespace>,
    /// The position of the reader in each stream; `None` before the first entry.
    cursors: BTreeMap<ByteString, Option<EntryId>>,
    questions: Questions,
    purposes: BTreeMap<u64, (Purpose, ByteString)>,
    last_command: u64,
    commands: VecDeque<(u64, Command)>,
    /// Streams to read again, and when.
    retries: BTreeMap<ByteString, Time>,
    looks: Option<Time>,
    resubscribe: Option<Time>,
    notes: Vec<PeerNote>,
}

impl Peer {
    pub(crate) fn new(
        generation: Generation,
        config: &Config,
        chance: Chance,
        namespaces: &[&str],
        sockets: &[&str],
    ) -> Self {
        let streams = streams(config);
        let mut peer = Peer {
            generation,
            config: config.clone(),
            chance,
            drawn: 0,
            uid: NodeId::new(format!("{:016x}", chance.number())),
            sockets: sockets.iter().map(|socket| ByteString::from(*socket)).collect(),
            namespaces: BTreeMap::new(),
            cursors: streams.into_iter().map(|stream| (stream, None)).collect(),
            questions: Questions::default(),
            purposes: BTreeMap::new(),
            last_command: 0,
            commands: VecDeque::new(),
            retries: BTreeMap::new(),
            looks: None,
            resubscribe: None,
            notes: Vec::new(),
        };
        for nsp in namespaces {
            let mut rooms = Rooms::new([0; 16]);
            peer.sockets.iter().for_each(|socket| drop(rooms.add(socket.clone())));
            let namespace = Namespace { rooms, nodes: BTreeMap::new(), last_beat: Time::ZERO };
            peer.namespaces.insert(ByteString::from(*nsp), namespace);
        }
        peer.start();
        peer
    }

    /// The same server, started again.
    pub(crate) fn reborn(&self, seed: u64) -> Self {
        let namespaces: Vec<&str> = self.namespaces.keys().map(|nsp| &**nsp).collect();
        let sockets: Vec<&str> = self.sockets.iter().map(|socket| &**socket).collect();
        Peer::new(self.generation, &self.config, Chance::new(seed), &namespaces, &sockets)
    }

    fn start(&mut self) {
        let streams: Vec<ByteString> = self.cursors.keys().cloned().collect();
        for stream in streams {
            self.read(&stream);
        }
        match self.generation {
            Generation::Streams03 => self.subscribe(),
            // It is initialised twice, and says so twice.
            Generation::Streams02 => {
                for nsp in self.names() {
                    self.publish(&nsp, Body::InitialHeartbeat);
                    self.publish(&nsp, Body::InitialHeartbeat);
                }
                self.looks = Some(Time::ZERO);
            }
        }
    }

    fn names(&self) -> Vec<ByteString> {
        self.namespaces.keys().cloned().collect()
    }

    pub(crate) fn uid(&self) -> &NodeId {
        &self.uid
    }

    pub(crate) fn poll_command(&mut self) -> Option<(u64, Command)> {
        self.commands.pop_front()
    }

    pub(crate) fn take_notes(&mut self) -> Vec<PeerNote> {
        core::mem::take(&mut self.notes)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let retry = self.retries.values().min().copied();
        [retry, self.looks, self.resubscribe, self.questions.next_deadline()].into_iter().flatten().min()
    }

    pub(crate) fn timeout(&mut self, now: Time) {
        let due: Vec<ByteString> =
            self.retries.iter().filter(|(_, at)| **at <= now).map(|(stream, _)| stream.clone()).collect();
        for stream in due {
            self.retries.remove(&stream);
            self.read(&stream);
        }
        if self.resubscribe.take_if(|at| *at <= now).is_some() {
            self.subscribe();
        }
        if self.looks.is_some_and(|at| at <= now) {
            self.looks = Some(now + LOOK.min(self.config.heartbeat_interval / 2));
            self.look(now);
        }
        let notes = self.questions.timeout(now);
        self.notes.extend(notes);
    }

    /// 0.2: who was silent for too long, and is a heartbeat due?
    fn look(&mut self, now: Time) {
        for nsp in self.names() {
            let Some(namespace) = self.namespaces.get_mut(&nsp) else { continue };
            let timeout = self.config.heartbeat_timeout;
            let silent: Vec<NodeId> = namespace
                .nodes
                .iter()
                .filter(|(_, seen)| now.since(**seen) > timeout)
                .map(|(node, _)| node.clone())
                .collect();
            for node in silent {
                namespace.nodes.remove(&node);
                let notes = self.questions.gone(&node);
                self.notes.extend(notes);
            }
            if now.since(namespace.last_beat) >= self.config.heartbeat_interval {
                namespace.last_beat = now;
                self.publish(&nsp, Body::Heartbeat);
            }
        }
    }

    fn command(&mut self, command: Command, purpose: Purpose, about: ByteString) {
        self.last_command += 1;
        self.purposes.insert(self.last_command, (purpose, about));
        self.commands.push_back((self.last_command, command));
    }

    fn read(&mut self, stream: &ByteString) {
        let after = self.cursors.get(stream).copied().flatten().unwrap_or(FROM_NOW);
        let (count, block) = (self.config.read_count, self.config.block_time);
        self.command(
            Command::XRead { stream: stream.clone(), after, count, block },
            Purpose::Read,
            stream.clone(),
        );
    }

    fn subscribe(&mut self) {
        let sharded = self.config.use_sharded_pub_sub;
        let channels = self
            .names()
            .iter()
            .flat_map(|nsp| [self.channel(nsp), self.private_channel(nsp, &self.uid)])
            .collect();
        self.command(Command::Subscribe { channels, sharded }, Purpose::Subscribe, ByteString::new());
    }

    fn channel(&self, nsp: &str) -> ByteString {
        format!("{}#{nsp}#", self.config.channel_prefix).into()
    }

    fn private_channel(&self, nsp: &str, node: &NodeId) -> ByteString {
        format!("{}#{nsp}#{node}#", self.config.channel_prefix).into()
    }

    /// Publishes a message on the stream.
    fn publish(&mut self, nsp: &ByteString, body: Body) {
        let message = Message { uid: self.uid.clone(), nsp: nsp.clone(), body };
        // A value that a peer writes here was made here.
        let Ok(fields) = entry::encode(&message) else { return };
        let (stream, max_len) = (stream_of(&self.config, nsp), self.config.max_len);
        self.command(Command::XAdd { stream, max_len, fields: fields.into() }, Purpose::Other, nsp.clone());
    }

    fn publish_to(&mut self, channel: ByteString, nsp: &ByteString, body: Body) {
        let message = Message { uid: self.uid.clone(), nsp: nsp.clone(), body };
        let Ok(payload) = pubsub::encode(&message) else { return };
        let sharded = self.config.use_sharded_pub_sub;
        self.command(Command::Publish { channel, payload, sharded }, Purpose::Other, nsp.clone());
    }

    /// Broadcasts an event to all clients.
    pub(crate) fn broadcast(&mut self, nsp: &str, data: Payload, opts: BroadcastOptions) {
        let packet = Packet::new(data).expect("simulated servers name their events");
        self.publish(&nsp.into(), Body::Broadcast { packet, opts, request_id: None });
    }

    /// Makes all matching sockets join rooms.
    pub(crate) fn join(&mut self, nsp: &str, opts: BroadcastOptions, rooms: Vec<ByteString>) {
        self.publish(&nsp.into(), Body::SocketsJoin { opts, rooms });
    }

    pub(crate) fn link(&mut self, _: Time, lane: &Lane, up: bool) {
        if up && *lane == Lane::Subscriber {
            self.subscribe();
        }
    }

    pub(crate) fn replied(&mut self, now: Time, id: u64, _: &Lane, reply: Result<Reply, CommandError>) {
        let Some((purpose, about)) = self.purposes.remove(&id) else { return };
        match (purpose, reply) {
            (Purpose::Read, Ok(Reply::Entries(entries))) => {
                for entry in entries {
                    self.cursors.insert(about.clone(), Some(entry.id));
                    self.entry(now, entry);
                }
                self.read(&about);
            }
            (Purpose::Read, _) => drop(self.retries.insert(about, now + PAUSE)),
            (Purpose::Count(question), Ok(Reply::Counts(counts))) => {
                self.ask_now(now, question, counts.first().copied().unwrap_or_default());
            }
            (Purpose::Count(question), _) => {
                let notes = self.questions.fail(question);
                self.notes.extend(notes);
            }
            (Purpose::Subscribe, Err(CommandError::Server { .. })) => self.resubscribe = Some(now + PAUSE),
            _ => {}
        }
    }

    pub(crate) fn pushed(&mut self, now: Time, channel: &str, payload: &Bytes) {
        let Ok(message) = pubsub::decode(payload) else { return };
        let expected = [self.channel(&message.nsp), self.private_channel(&message.nsp, &self.uid)];
        if expected.iter().any(|name| name == channel) {
            self.receive(now, message);
        }
    }

    fn entry(&mut self, now: Time, Entry { fields, .. }: Entry) {
        let own = fields.get("uid").is_some_and(|uid| uid == self.uid.as_str().as_bytes());
        let known = fields
            .get("nsp")
            .and_then(|nsp| core::str::from_utf8(nsp).ok())
            .is_some_and(|nsp| self.namespaces.contains_key(nsp));
        if own || !known {
            return;
        }
        if let Err(reason) = peer_validity::entry(&fields) {
            return self.notes.push(PeerNote::Poisoned { reason });
        }
        // A value that JavaScript accepts and this crate does not is ignored here. The engine is
        // not concerned.
        let Ok(message) = entry::decode(&fields) else { return };
        self.receive(now, message);
    }

    fn receive(&mut self, now: Time, message: Message) {
        let Message { uid, nsp, body } = message;
        if uid == self.uid {
            return;
        }
        let Some(namespace) = self.namespaces.get_mut(&nsp) else { return };
        let old = self.generation == Generation::Streams02;
        if old && !uid.is_emitter() && !uid.as_str().is_empty() {
            namespace.nodes.insert(uid.clone(), now);
        }
        match body {
            Body::InitialHeartbeat if old => {
                namespace.last_beat = now;
                self.publish(&nsp, Body::Heartbeat);
            }
            Body::AdapterClose if old => {
                namespace.nodes.remove(&uid);
                let notes = self.questions.gone(&uid);
                self.notes.extend(notes);
            }
            Body::InitialHeartbeat | Body::Heartbeat | Body::AdapterClose => {}
            Body::Broadcast { packet, request_id: None, .. } => {
                self.notes.push(PeerNote::Delivered { data: packet.data().clone() });
            }
            Body::Broadcast { packet, opts, request_id: Some(request_id) } => {
                let matching = namespace.rooms.matching(&opts);
                self.notes.push(PeerNote::Delivered { data: packet.data().clone() });
                let client_count = matching.len() as u64;
                let count = Body::BroadcastClientCount { request_id: request_id.clone(), client_count };
                self.answer(&nsp, &uid, count);
                for socket in matching {
                    // A text is a payload.
                    let Ok(packet) = Payload::encode(&*socket) else { continue };
                    self.answer(&nsp, &uid, Body::BroadcastAck { request_id: request_id.clone(), packet });
                }
            }
            Body::SocketsJoin { opts, rooms } => {
                for socket in namespace.rooms.matching(&opts) {
                    namespace.rooms.join(&socket, rooms.iter().cloned());
                }
            }
            Body::SocketsLeave { opts, rooms } => {
                for socket in namespace.rooms.matching(&opts) {
                    namespace.rooms.leave(&socket, rooms.iter().cloned());
                }
            }
            Body::DisconnectSockets { opts, .. } => {
                for socket in namespace.rooms.matching(&opts) {
                    namespace.rooms.remove(&socket);
                }
            }
            Body::FetchSockets { opts, request_id } => {
                let matching = namespace.rooms.matching(&opts);
                let of = matching.len();
                let sockets = matching.into_iter().enumerate().filter_map(|(index, id)| {
                    let rooms = namespace.rooms.of(&id)?;
                    let data = Payload::encode(&(of, index)).ok()?;
                    Some(RemoteSocket { id, handshake: Payload::encode(&[(); 0]).ok()?, rooms, data })
                });
                let sockets = sockets.collect();
                self.answer(&nsp, &uid, Body::FetchSocketsResponse { request_id, sockets });
            }
            Body::ServerSideEmit { packet, request_id: Some(request_id) } => {
                let value = packet.decode::<(String, u64)>().map_or(0, |(_, number)| number);
                let Ok(packet) = Payload::encode(&value) else { return };
                self.answer(&nsp, &uid, Body::ServerSideEmitResponse { request_id, packet });
            }
            Body::ServerSideEmit { .. } => {}
            Body::FetchSocketsResponse { request_id, .. }
            | Body::ServerSideEmitResponse { request_id, .. } => {
                let notes = self.questions.answered(&request_id, &uid, None);
                self.notes.extend(notes);
            }
            Body::BroadcastClientCount { request_id, client_count } => {
                let notes = self.questions.answered(&request_id, &uid, Some(client_count));
                self.notes.extend(notes);
            }
            Body::BroadcastAck { request_id, .. } => {
                let notes = self.questions.acknowledged(&request_id);
                self.notes.extend(notes);
            }
        }
    }

    /// 0.2 answers on the stream, 0.3 on the private channel of who asked; whichever way the
    /// question came.
    fn answer(&mut self, nsp: &ByteString, to: &NodeId, body: Body) {
        match self.generation {
            Generation::Streams02 => self.publish(nsp, body),
            Generation::Streams03 => {
                let channel = self.private_channel(nsp, to);
                self.publish_to(channel, nsp, body);
            }
        }
    }

    /// Asks the other servers something. A [`PeerNote`] with this number reports the result.
    pub(crate) fn ask(&mut self, now: Time, nsp: &str, number: u64, question: Question) {
        let name = ByteString::from(nsp);
        match self.generation {
            Generation::Streams02 => {
                let Some(namespace) = self.namespaces.get(nsp) else { return };
                let expected: Vec<NodeId> = namespace.nodes.keys().cloned().collect();
                let (id, deadline) = (self.request_id(), now + self.config.request_timeout);
                let body = self.questions.open(number, id, &question, deadline, Some(expected), 0);
                match body {
                    Some(body) => self.publish(&name, body),
                    None => self.notes.push(PeerNote::Answered { question: number }),
                }
            }
            Generation::Streams03 => {
                self.questions.prepare(number, name.clone(), question);
                let (channel, sharded) = (self.channel(nsp), self.config.use_sharded_pub_sub);
                self.command(
                    Command::PubSubNumSub { channels: vec![channel], sharded },
                    Purpose::Count(number),
                    name,
                );
            }
        }
    }

    fn ask_now(&mut self, now: Time, number: u64, servers: u64) {
        let Some((nsp, question)) = self.questions.prepared(number) else { return };
        let (id, deadline) = (self.request_id(), now + self.config.request_timeout);
        match self.questions.open(number, id, &question, deadline, None, servers.saturating_sub(1)) {
            Some(body) => {
                let channel = self.channel(&nsp);
                self.publish_to(channel, &nsp, body);
            }
            None => self.notes.push(PeerNote::Answered { question: number }),
        }
    }

    fn request_id(&mut self) -> RequestId {
        self.drawn += 1;
        RequestId::new(format!("{:016x}", self.chance.of(self.drawn).number()))
    }
}

/// The streams that a peer reads.
fn streams(config: &Config) -> Vec<ByteString> {
    match config.stream_count {
        1 => vec![config.stream_name.clone()],
        count => (0..count).map(|index| format!("{}-{index}", config.stream_name).into()).collect(),
    }
}

/// The stream to which a peer publishes a namespace: one that nobody reads, if the hash is
/// negative.
pub(crate) fn stream_of(config: &Config, nsp: &str) -> ByteString {
    match config.stream_count {
        1 => config.stream_name.clone(),
        count => format!("{}-{}", config.stream_name, hash_code(nsp) % i64::from(count)).into(),
    }
}

/// Returns `true` if a peer, or an engine, publishes the namespace in this stream.
pub(crate) fn is_home(config: &Config, nsp: &str, stream: &str) -> bool {
    let count = i64::from(config.stream_count);
    let is = |index: i64| stream == format!("{}-{index}", config.stream_name);
    let hash = hash_code(nsp);
    count == 1 || is(hash % count) || is((hash % count + count) % count)
}

fn hash_code(text: &str) -> i64 {
    let hash = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    text.encode_utf16().fold(0, hash).into()
}
