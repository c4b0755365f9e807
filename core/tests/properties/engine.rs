//! Properties of the engine under any inputs in any order.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sio_streams_core::wire::classic::{self, Request, Response};
use sio_streams_core::wire::{entry, pubsub};
use sio_streams_core::{
    Body, BroadcastOptions, ByteString, Command, CommandError, CommandId, Config, Delivery, Dialect, Engine,
    Entry, EntryId, Event, Fields, Handshake, Lane, Limits, LinkState, LocalSocket, Message, NodeId, Packet,
    Payload, Reply, RequestId, StreamInfo, Time,
};

use crate::config;
use crate::values::*;

/// An input or a call.
#[derive(Clone, Debug)]
enum Input {
    Open(usize),
    Close(usize),
    CloseAll,
    Socket { nsp: usize, socket: u8, joins: Vec<u8>, stays: bool },
    Broadcast { nsp: usize, opts: BroadcastOptions, ack: bool },
    Move { nsp: usize, opts: BroadcastOptions, join: bool },
    Disconnect { nsp: usize, opts: BroadcastOptions },
    Fetch { nsp: usize, opts: BroadcastOptions },
    Emit { nsp: usize, ack: bool },
    Count { nsp: usize },
    Older { nsp: usize, which: u8 },
    Respond { which: Index, times: u8 },
    Reply { which: Index, what: Answered },
    Push { nsp: usize, private: bool, message: Said },
    Link { lane: usize, up: bool },
    Timeout,
    Wait(u64),
}

/// A reply of Redis to a command.
#[derive(Clone, Debug)]
enum Answered {
    Well { entries: Vec<(u8, Said)>, number: u64, behind: u8 },
    Refused,
    Lost,
    NotSent,
    Odd(u8),
    Twice,
}

/// A message of another node.
#[derive(Clone, Debug)]
enum Said {
    /// If there is a request id, one of this engine's is put in, so that the answer counts.
    Message {
        node: u8,
        nsp: usize,
        body: Box<Body>,
        ours: Index,
    },
    Nonsense(Vec<u8>),
}

const NAMESPACES: [&str; 4] = ["/", "/chat", "/notifications", "no slash"];

fn few_opts() -> impl Strategy<Value = BroadcastOptions> {
    let names = || vec((0..14_u8).prop_map(|room| ByteString::from(room_name(room))), 0..3);
    (names(), names(), flags()).prop_map(|(rooms, except, mut flags)| {
        flags.timeout =
            flags.timeout.map(|timeout| Duration::from_millis(timeout.as_millis() as u64 % 3_000));
        flags.local = flags.local.filter(|local| *local && flags.volatile.is_some());
        BroadcastOptions { rooms, except, flags }
    })
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        12 => (0..5_u8, 0..3_usize, body(), any::<Index>())
            .prop_map(|(node, nsp, body, ours)| Said::Message { node, nsp, body: Box::new(body), ours }),
        1 => vec(any::<u8>(), 0..30).prop_map(Said::Nonsense),
    ]
}

fn answered() -> impl Strategy<Value = Answered> {
    let well = (vec((0..4_u8, said()), 0..4), prop_oneof![9 => 0..6_u64, 1 => Just(u64::MAX)], 0..10_u8)
        .prop_map(|(entries, number, behind)| Answered::Well { entries, number, behind });
    prop_oneof![
        12 => well,
        1 => Just(Answered::Refused),
        1 => Just(Answered::Lost),
        1 => Just(Answered::NotSent),
        1 => any::<u8>().prop_map(Answered::Odd),
        1 => Just(Answered::Twice),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let nsp = || prop_oneof![20 => 0..3_usize, 1 => Just(3_usize)];
    prop_oneof![
        3 => nsp().prop_map(Input::Open),
        1 => nsp().prop_map(Input::Close),
        1 => Just(Input::CloseAll),
        3 => (nsp(), 0..8_u8, vec(0..14_u8, 0..3), any::<bool>())
            .prop_map(|(nsp, socket, joins, stays)| Input::Socket { nsp, socket, joins, stays }),
        4 => (nsp(), few_opts(), any::<bool>()).prop_map(|(nsp, opts, ack)| Input::Broadcast { nsp, opts, ack }),
        2 => (nsp(), few_opts(), any::<bool>()).prop_map(|(nsp, opts, join)| Input::Move { nsp, opts, join }),
        1 => (nsp(), few_opts()).prop_map(|(nsp, opts)| Input::Disconnect { nsp, opts }),
        3 => (nsp(), few_opts()).prop_map(|(nsp, opts)| Input::Fetch { nsp, opts }),
        3 => (nsp(), any::<bool>()).prop_map(|(nsp, ack)| Input::Emit { nsp, ack }),
        1 => nsp().prop_map(|nsp| Input::Count { nsp }),
        3 => (nsp(), 0..5_u8).prop_map(|(nsp, which)| Input::Older { nsp, which }),
        3 => (any::<Index>(), 0..3_u8).prop_map(|(which, times)| Input::Respond { which, times }),
        20 => (any::<Index>(), answered()).prop_map(|(which, what)| Input::Reply { which, what }),
        6 => (nsp(), any::<bool>(), said()).prop_map(|(nsp, private, message)| Input::Push { nsp, private, message }),
        2 => (0..6_usize, any::<bool>()).prop_map(|(lane, up)| Input::Link { lane, up }),
        3 => Just(Input::Timeout),
        3 => (0..8_000_000_u64).prop_map(Input::Wait),
    ]
}

/// Returns the id that the answers to a classic request repeat.
fn asked_by(request: &Request) -> Option<RequestId> {
    match request {
        Request::SocketIds { request_id, .. }
        | Request::AllRooms { request_id }
        | Request::RemoteJoin { request_id, .. }
        | Request::RemoteLeave { request_id, .. }
        | Request::RemoteDisconnect { request_id, .. }
        | Request::Common(Body::FetchSockets { request_id, .. })
        | Request::Common(
            Body::ServerSideEmit { request_id: Some(request_id), .. }
            | Body::Broadcast { request_id: Some(request_id), .. },
        ) => Some(request_id.clone()),
        Request::Common(_) => None,
    }
}

/// An engine with its surroundings. Everything that it hands out is logged as text.
struct Harness {
    engine: Engine,
    now: Time,
    log: String,
    /// The commands that wait for a reply.
    waiting: Vec<(CommandId, Command)>,
    replied: Vec<CommandId>,
    /// The events that the application still has to answer.
    owed: Vec<Event>,
    /// The ids of this engine's requests that have been seen on the wire.
    asked: Vec<RequestId>,
    last: EntryId,
}

impl Harness {
    fn new(dialect: Dialect, streams: u32, tight: bool, seed: u64) -> Harness {
        let limits = match tight {
            false => Limits::default(),
            true => Limits {
                in_flight: 3,
                in_flight_bytes: 2_000,
                in_flight_for: Duration::from_secs(20),
                requests: 2,
                nodes: 2,
                namespaces: 2,
            },
        };
        let stream_count = if dialect == Dialect::Streams02 { 1 } else { streams };
        let config = Config { dialect, stream_count, limits, ..Config::default() };
        Harness {
            engine: Engine::new(config, seed, Time::ZERO).unwrap(),
            now: Time::ZERO,
            log: String::new(),
            waiting: Vec::new(),
            replied: Vec::new(),
            owed: Vec::new(),
            asked: Vec::new(),
            last: EntryId { ms: 10, seq: 0 },
        }
    }

    fn note(&mut self, what: &str, thing: &impl std::fmt::Debug) {
        writeln!(self.log, "{what} {thing:?}").unwrap();
    }

    fn drain(&mut self) {
        loop {
            let before = self.log.len();
            while let Some(event) = self.engine.poll_event() {
                self.note("event", &event);
                if matches!(
                    event,
                    Event::FetchSockets { .. } | Event::ServerSideEmit { .. } | Event::Broadcast(_)
                ) {
                    self.owed.push(event);
                }
            }
            while let Some((id, command)) = self.engine.poll_command() {
                self.note("command", &(id, &command));
                self.look_for_requests(&command);
                self.waiting.push((id, command));
            }
            if self.log.len() == before {
                break;
            }
        }
        let due = self.engine.poll_timeout();
        self.note("due", &due);
    }

    fn is_classic(&self) -> bool {
        self.engine.config().dialect == Dialect::Classic
    }

    /// Returns the channel and the encoding that nodes of the dialect use for this message.
    fn push_of(&self, message: &Message, private: bool) -> (String, Bytes) {
        let Message { uid, nsp, body } = message;
        let own = if private { format!("{}#", self.engine.uid()) } else { String::new() };
        if !self.is_classic() {
            return (format!("socket.io#{nsp}#{own}"), pubsub::encode(message).unwrap());
        }
        let request_id = RequestId::new("r");
        let request = match body {
            Body::Broadcast { packet, opts, request_id: None } => {
                let room = if private { "room0#" } else { "" };
                let payload = classic::encode_broadcast(uid, nsp, packet, opts).unwrap();
                return (format!("socket.io#{nsp}#{room}"), payload);
            }
            Body::InitialHeartbeat => Request::AllRooms { request_id },
            Body::Heartbeat => Request::SocketIds { rooms: vec!["room0".into()], request_id },
            Body::AdapterClose => {
                Request::RemoteDisconnect { socket: "socket1".into(), close: private, request_id }
            }
            body => Request::Common(body.clone()),
        };
        match classic::encode_request(uid, nsp, &request) {
            Ok(payload) => (format!("socket.io-request#{nsp}#"), payload),
            Err(_) => {
                let payload = classic::encode_response(&Response::Common(body.clone())).unwrap();
                (format!("socket.io-response#{nsp}#{own}"), payload)
            }
        }
    }

    fn look_for_requests(&mut self, command: &Command) {
        let message = match command {
            Command::XAdd { fields, .. } => entry::decode(fields).expect("what ours writes, ours reads"),
            Command::Publish { channel, payload, .. } if self.is_classic() => {
                if channel.contains("-request#") {
                    let (_, request) =
                        classic::decode_request(payload).expect("what ours writes, ours reads");
                    self.asked.extend(asked_by(&request));
                }
                return;
            }
            Command::Publish { payload, .. } => {
                pubsub::decode(payload).expect("what ours writes, ours reads")
            }
            _ => return,
        };
        if let Body::Broadcast { request_id: Some(id), .. }
        | Body::ServerSideEmit { request_id: Some(id), .. }
        | Body::FetchSockets { request_id: id, .. } = message.body
        {
            self.asked.push(id);
        }
    }

    fn message(&self, said: &Said) -> Result<Message, Vec<u8>> {
        match said {
            Said::Nonsense(bytes) => Err(bytes.clone()),
            Said::Message { node, nsp, body, ours } => {
                let uid = match node {
                    0 => self.engine.uid().clone(),
                    1 => NodeId::EMITTER,
                    other => NodeId::new(format!("node{other}")),
                };
                let mut body = Body::clone(body);
                if let Body::FetchSocketsResponse { request_id, .. }
                | Body::ServerSideEmitResponse { request_id, .. }
                | Body::BroadcastClientCount { request_id, .. }
                | Body::BroadcastAck { request_id, .. } = &mut body
                    && !self.asked.is_empty()
                {
                    *request_id = ours.get(&self.asked).clone();
                }
                Ok(Message { uid, nsp: NAMESPACES[*nsp].into(), body })
            }
        }
    }

    fn fields(&self, said: &Said) -> Fields {
        match self.message(said) {
            Ok(message) => entry::encode(&message).unwrap(),
            Err(bytes) => [("nsp", Bytes::from("/")), ("type", bytes.clone().into()), ("data", bytes.into())]
                .into_iter()
                .collect(),
        }
    }

    fn reply(&mut self, command: &Command, what: &Answered) -> Result<Reply, CommandError> {
        let Answered::Well { entries, number, behind } = what else {
            return match what {
                Answered::Refused => Err(CommandError::Server { code: "OOM".into(), message: "no".into() }),
                Answered::Lost => Err(CommandError::Lost("cut".into())),
                Answered::NotSent => Err(CommandError::NotSent("down".into())),
                Answered::Odd(some) => match some % 3 {
                    0 => Ok(Reply::Done),
                    1 => Ok(Reply::Entries(Vec::new())),
                    _ => Err(CommandError::Unusable("odd".into())),
                },
                _ => Ok(Reply::Done),
            };
        };
        Ok(match command {
            Command::XAdd { .. } => {
                self.last.seq += 1;
                Reply::Added(self.last)
            }
            Command::XRead { .. } | Command::XRange { .. } => Reply::Entries(
                entries
                    .iter()
                    .map(|(step, said)| {
                        self.last.seq += u64::from(*step);
                        Entry { id: self.last, fields: self.fields(said) }
                    })
                    .collect(),
            ),
            Command::XInfoStream { .. } => Reply::Stream((*behind > 0).then(|| StreamInfo {
                last_generated_id: EntryId { ms: self.last.ms - u64::from(*behind == 1), ..self.last },
                length: number / 2,
                entries_added: (*behind > 2).then_some(*number),
                first_entry_id: (*behind > 3).then_some(EntryId { seq: *number, ..self.last }),
                max_deleted_entry_id: (*behind > 4).then_some(EntryId { ms: 0, seq: u64::from(*behind > 8) }),
            })),
            Command::PubSubNumSub { channels, .. } => {
                Reply::Counts((0..channels.len()).map(|at| number >> (at % 7)).collect())
            }
            Command::PubSubChannels { pattern, .. } => {
                let name = |node| pattern.replace("*", &format!("node{node}")).into();
                Reply::Channels((0..number % 6).map(name).collect())
            }
            _ => Reply::Done,
        })
    }

    fn step(&mut self, input: &Input) {
        let now = self.now;
        let packet = || Packet::event("event", &(1, "two")).unwrap();
        match input {
            Input::Open(nsp) => {
                let opened = self.engine.open_namespace(now, NAMESPACES[*nsp]);
                self.note("open", &opened);
            }
            Input::Close(nsp) => {
                let closed = self.engine.close_namespace(now, NAMESPACES[*nsp]);
                self.note("close", &closed);
            }
            Input::CloseAll => {
                self.engine.close(now);
                let closed = self.engine.is_closed();
                self.note("all closed", &closed);
            }
            Input::Socket { nsp, socket, joins, stays } => {
                let (nsp, socket) = (NAMESPACES[*nsp], format!("s{socket}"));
                let added = self.engine.add_socket(nsp, socket.clone());
                let rooms: Vec<String> = joins.iter().map(|room| room_name(*room)).collect();
                let joined = self.engine.join(nsp, &socket, rooms.iter().map(|room| room.as_str().into()));
                self.note("socket", &(added, joined));
                if !stays {
                    let left = self.engine.leave(nsp, &socket, rooms.iter().map(|room| room.as_str().into()));
                    let removed = self.engine.remove_socket(nsp, &socket);
                    self.note("socket", &(left, removed));
                }
            }
            Input::Broadcast { nsp, opts, ack } => {
                let ticket = match ack {
                    true => self.engine.broadcast_with_ack(now, NAMESPACES[*nsp], packet(), opts.clone()),
                    false => self.engine.broadcast(now, NAMESPACES[*nsp], packet(), opts.clone()),
                };
                self.note("broadcast", &ticket);
            }
            Input::Move { nsp, opts, join } => {
                let rooms = vec!["r0".into(), "r9".into()];
                let ticket = match join {
                    true => self.engine.sockets_join(now, NAMESPACES[*nsp], opts.clone(), rooms),
                    false => self.engine.sockets_leave(now, NAMESPACES[*nsp], opts.clone(), rooms),
                };
                self.note("move", &ticket);
            }
            Input::Disconnect { nsp, opts } => {
                let ticket = self.engine.disconnect_sockets(now, NAMESPACES[*nsp], opts.clone(), true);
                self.note("disconnect", &ticket);
            }
            Input::Fetch { nsp, opts } => {
                let ticket = self.engine.fetch_sockets(now, NAMESPACES[*nsp], opts.clone());
                self.note("fetch", &ticket);
            }
            Input::Emit { nsp, ack } => {
                let event = Payload::event("event", &[1]).unwrap();
                let ticket = match ack {
                    true => self.engine.server_side_emit_with_ack(now, NAMESPACES[*nsp], event),
                    false => self.engine.server_side_emit(now, NAMESPACES[*nsp], event),
                };
                self.note("emit", &ticket);
            }
            Input::Count { nsp } => {
                let ticket = self.engine.server_count(now, NAMESPACES[*nsp]);
                self.note("count", &ticket);
            }
            Input::Respond { which, times } => self.respond(which, *times),
            Input::Reply { which, what } => {
                if !self.waiting.is_empty() {
                    let (id, command) = self.waiting.swap_remove(which.index(self.waiting.len()));
                    if matches!(what, Answered::NotSent) {
                        // It comes back under the same name.
                        self.engine.handle_reply(now, id, Err(CommandError::NotSent("down".into())));
                    } else {
                        let reply = self.reply(&command, what);
                        self.engine.handle_reply(now, id, reply);
                        self.replied.push(id);
                    }
                    if matches!(what, Answered::Twice) {
                        self.engine.handle_reply(now, *which.get(&self.replied), Ok(Reply::Done));
                    }
                }
            }
            Input::Older { nsp, which } => {
                let (engine, nsp) = (&mut self.engine, NAMESPACES[*nsp]);
                let asked = match which {
                    0 => engine.sockets(now, nsp, vec!["room0".into()]),
                    1 => engine.all_rooms(now, nsp),
                    2 => engine.remote_join(now, nsp, "socket1", "room1"),
                    3 => engine.remote_leave(now, nsp, "elsewhere", "room1"),
                    _ => engine.remote_disconnect(now, nsp, "elsewhere", true),
                };
                self.note("older", &asked);
            }
            Input::Push { nsp, private, message } => {
                let (channel, payload) = match self.message(message) {
                    Ok(message) => self.push_of(&message, *private),
                    Err(bytes) => {
                        let kind = ["", "-request", "-response"][bytes.len() % 3];
                        (format!("socket.io{kind}#{}#", NAMESPACES[*nsp]), bytes.into())
                    }
                };
                self.engine.handle_push(now, &channel, &payload);
            }
            Input::Link { lane, up } => {
                let reader = |stream: &'static str| Lane::Reader(stream.into());
                let lane = match lane {
                    0 => Lane::Writer,
                    1 => Lane::Subscriber,
                    2 => reader("socket.io"),
                    3 => reader("socket.io-0"),
                    4 => reader("socket.io-1"),
                    _ => reader("socket.io--1"),
                };
                let link = if *up { LinkState::Up } else { LinkState::down("cut") };
                self.engine.handle_link(now, &lane, link);
            }
            Input::Timeout => {
                if let Some(due) = self.engine.poll_timeout() {
                    self.now = self.now.max(due);
                }
                self.engine.handle_timeout(self.now);
                assert!(
                    self.engine.poll_timeout().is_none_or(|due| due > self.now),
                    "all that was due is done"
                );
            }
            Input::Wait(micros) => self.now = now + Duration::from_micros(*micros),
        }
        self.drain();
    }

    fn respond(&mut self, which: &Index, times: u8) {
        if self.owed.is_empty() {
            return;
        }
        let now = self.now;
        let value = || Payload::encode(&["answer"]).unwrap();
        match self.owed.swap_remove(which.index(self.owed.len())) {
            Event::FetchSockets { sockets, responder, .. } => {
                let handshake = Handshake::default();
                let socket = |id: ByteString| LocalSocket::new(id, &handshake, value()).unwrap();
                let done =
                    self.engine.respond_sockets(now, responder, sockets.into_iter().map(socket).collect());
                self.note("responded", &done);
            }
            Event::ServerSideEmit { responder: Some(responder), .. } => {
                let done = self.engine.respond_emit(now, responder, value());
                self.note("responded", &done);
            }
            Event::Broadcast(Delivery { responder: Some(responder), .. }) => {
                for _ in 0..times {
                    let done = self.engine.respond_ack(now, &responder, value());
                    self.note("responded", &done);
                }
            }
            _ => {}
        }
    }
}

fn lives(dialect: Dialect, streams: u32, tight: bool, seed: u64, inputs: &[Input]) -> String {
    let mut harness = Harness::new(dialect, streams, tight, seed);
    harness.drain();
    for nsp in [0, 1] {
        harness.step(&Input::Open(nsp));
    }
    inputs.iter().for_each(|input| harness.step(input));
    harness.log
}

/// Miri is slow.
const MANY: usize = if cfg!(miri) { 12 } else { 120 };

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn the_same_inputs_give_the_same_outputs_and_no_panic(
        dialect in select(vec![Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Sharded, Dialect::Classic]),
        streams in 1..3_u32,
        tight in proptest::bool::weighted(0.2),
        seed in any::<u64>(),
        inputs in vec(input(), 0..MANY),
    ) {
        let log = lives(dialect, streams, tight, seed, &inputs);
        prop_assert!(log.contains("command"));
        prop_assert_eq!(lives(dialect, streams, tight, seed, &inputs), log);
    }
}

#[test]
fn another_seed_gives_another_node() {
    let input = [Input::Emit { nsp: 0, ack: false }];
    let life = |seed| lives(Dialect::Streams03, 1, false, seed, &input);
    assert_ne!(life(1), life(2));
}
