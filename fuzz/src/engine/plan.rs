//! The parts of a scenario. There are few names, so that things meet.

use std::time::Duration;

use arbitrary::Arbitrary;
use sio_streams_core::wire::classic::{self, Request, Response};
use sio_streams_core::{
    Body, BroadcastOptions, ByteString, Bytes, Codec, Config, Dialect, Flags, Limits, LocalDelivery, Message,
    NodeId, Packet, Payload, PayloadCodec, PayloadError, Recovery, RemoteSocket, RequestId, RoomOwner,
    SubscriptionMode,
};

/// A configuration and what happens.
#[derive(Arbitrary, Debug)]
pub struct Scenario {
    pub(super) setup: Setup,
    pub(super) steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
pub(super) struct Setup {
    pub(super) seed: u64,
    dialect: u8,
    streams: u8,
    sharded: bool,
    /// `true` if the server counts entries.
    pub(super) counts: bool,
    only_plaintext: bool,
    read_count: u8,
    local_delivery: u8,
    subscriptions: u8,
    specific: bool,
    recovery: bool,
    /// `true` if the classic adapter's messages have another form.
    parser: bool,
    /// The number of other nodes that the server counts, and above that the owner of the rooms.
    others: u8,
    patience: u8,
    limits: [u8; 5],
}

impl Setup {
    /// With recovery, and a single stream.
    pub(super) fn with_recovery(self) -> Self {
        Setup { recovery: true, dialect: self.dialect % 3, streams: 0, ..self }
    }

    pub(super) fn others(&self) -> u8 {
        self.others % 4
    }

    pub(super) fn config(&self) -> Config {
        use {Dialect as D, LocalDelivery as L, SubscriptionMode as M};
        let dialects = [D::Streams02, D::Streams03, D::Bridge, D::Sharded, D::Classic];
        let dialect = dialects[usize::from(self.dialect % 5)];
        // Without a stream there is no order of one.
        let deliveries = match dialect {
            D::Sharded | D::Classic => [L::AtOnce, L::WhenPublished, L::WhenPublished],
            _ => [L::AtOnce, L::WhenPublished, L::StreamOrder],
        };
        let [in_flight, bytes, requests, nodes, namespaces] = self.limits.map(usize::from);
        // Recovery wants the order of a stream.
        let recovery = (self.recovery && !matches!(dialect, D::Sharded | D::Classic)).then(|| Recovery {
            window_entries: 1 + requests,
            window_bytes: 100 * (1 + bytes),
            sessions: 1 + nodes % 4,
            session_bytes: 60 + u32::from(self.patience),
            sessions_bytes: 100 * (1 + nodes),
            page_entries: 1 + u32::from(self.read_count % 4),
            replay_entries: 4 + in_flight,
            replay_bytes: 400 * (1 + bytes),
            ..Recovery::default()
        });
        let delivery = match recovery {
            Some(_) => L::StreamOrder,
            None => deliveries[usize::from(self.local_delivery % 3)],
        };
        Config {
            dialect,
            recovery,
            stream_count: match dialect {
                Dialect::Streams02 => 1,
                _ => 1 + u32::from(self.streams % 3),
            },
            use_sharded_pub_sub: self.sharded,
            only_plaintext: self.only_plaintext,
            local_delivery: delivery,
            subscription_mode: [M::Static, M::Dynamic, M::DynamicPrivate]
                [usize::from(self.subscriptions % 3)],
            publish_on_specific_response_channel: self.specific,
            parser: (self.parser && dialect == D::Classic).then(|| PayloadCodec::new(Reversed)),
            read_count: 1 + u32::from(self.read_count % 4),
            room_owner: match self.others & 4 {
                0 => RoomOwner::Engine,
                _ => RoomOwner::Application,
            },
            limits: Limits {
                in_flight: 1 + in_flight % 12,
                in_flight_for: Duration::from_millis(100 + 200 * u64::from(self.patience)),
                in_flight_bytes: 200 + 20 * bytes,
                requests: 1 + requests % 6,
                nodes: 1 + nodes % 4,
                namespaces: 1 + namespaces % 3,
            },
            ..Config::default()
        }
    }
}

/// Another form for what the classic adapter writes in MessagePack: a zero, and the bytes from the
/// last to the first. Without the zero it could begin like JSON, which Node's adapter reads as such.
#[derive(Debug)]
pub(super) struct Reversed;

impl Codec for Reversed {
    fn encode(&self, packed: Bytes) -> Bytes {
        core::iter::once(0).chain(packed.iter().rev().copied()).collect()
    }

    fn decode(&self, payload: &Bytes) -> Result<Bytes, String> {
        match payload.split_first() {
            Some((0, reversed)) => Ok(reversed.iter().rev().copied().collect()),
            _ => Err("no zero".into()),
        }
    }
}

/// One of few things of a kind.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Which(pub(super) u8);

impl Which {
    pub(super) fn of<T>(self, things: &[T]) -> Option<&T> {
        let at = usize::from(self.0).checked_rem(things.len())?;
        things.get(at)
    }

    /// The second of them has a negative hash: with several streams, Node peers write it where none
    /// of them reads.
    pub(super) fn namespace(self) -> &'static str {
        ["/", "/notifications", "/a", "no slash"][usize::from(self.0 % 4)]
    }

    pub(super) fn name(self) -> ByteString {
        format!("n{}", self.0 % 6).into()
    }

    /// The private id of a session, or, rarely, something else.
    pub(super) fn pid(self) -> ByteString {
        match self.0 {
            u8::MAX => ByteString::from_static("no pid"),
            pid => Which(pid % 3).name(),
        }
    }

    /// The id of a question that this node has put, the latest first, or of another one.
    fn question(self, asked: &[RequestId]) -> RequestId {
        let at = asked.len().checked_sub(1 + usize::from(self.0 % 8));
        at.and_then(|at| asked.get(at)).cloned().unwrap_or_else(|| RequestId::new("other"))
    }

    /// Some other node, or something that is not a node.
    fn node(self, own: &NodeId) -> NodeId {
        match self.0 % 8 {
            0 => NodeId::EMITTER,
            1 => NodeId::new(""),
            2 => own.clone(),
            other => NodeId::new(format!("node{other}")),
        }
    }
}

/// A step of a scenario.
#[derive(Arbitrary, Debug)]
pub(super) enum Step {
    Open(Which),
    Close(Which),
    CloseAll,
    AddSocket(Which, Which),
    RemoveSocket(Which, Which),
    Join(Which, Which, Vec<Which>),
    Leave(Which, Which, Vec<Which>),
    Call(Call, Which, To),
    /// Take that many events.
    Events(u8),
    /// Take that many events, but look at no further entry.
    PendingEvents(u8),
    /// Answer a question of an earlier event.
    Respond(Which, Value),
    /// Take that many commands.
    Commands(u8),
    Reply(Which, How),
    /// Somebody writes to a stream.
    Append(Which, Wire),
    /// A stream is emptied; what comes then gets lower ids, or goes on as before.
    Reset(Which, bool),
    /// A stream loses this many of its oldest entries.
    Trim(Which, u8),
    /// Another node stores a session.
    Store(Which, Stored),
    /// From now on the server counts this many other nodes.
    Nodes(u8),
    Push(Which, Wire),
    Link(Which, bool),
    /// Time passes, in milliseconds, and what is due is done.
    Pass(u16),
    /// Time passes until something is due.
    PassUntilDue,
    /// The server answers all that it is asked, and what comes of it is looked at, until it has
    /// nothing more to say.
    Serve,
}

/// A session that another node stored.
#[derive(Arbitrary, Debug)]
pub(super) enum Stored {
    Session(Which, Vec<Which>, Value),
    Bytes(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
pub(super) enum Call {
    Broadcast(Value),
    BroadcastWithAck(Value),
    SocketsJoin(Vec<Which>),
    SocketsLeave(Vec<Which>),
    Disconnect(bool),
    FetchSockets,
    Emit(Value),
    EmitWithAck(Value),
    ServerCount,
    Sockets(Vec<Which>),
    AllRooms,
    RemoteJoin(Which, Which),
    RemoteLeave(Which, Which),
    RemoteDisconnect(Which, bool),
    Persist(Which, Vec<Which>, Value),
    /// Restores a session, from an offset. The highest stands for no offset.
    Restore(Which, u8),
}

/// The outcome of a command.
#[derive(Arbitrary, Debug)]
pub(super) enum How {
    Right,
    /// The reply that belongs to another command.
    Wrong(u8),
    NotSent,
    /// No reply; it may have been executed all the same.
    Lost {
        executed: bool,
    },
    Refused,
    /// The right reply, and then another one.
    Twice,
    /// A reply that a server could give and none does.
    Absurd(u64),
}

impl How {
    /// Returns `true` if a server does so.
    pub(super) fn is_honest(&self) -> bool {
        !matches!(self, How::Wrong(_) | How::Twice | How::Absurd(_))
    }
}

/// Options of a broadcast.
#[derive(Arbitrary, Debug)]
pub(super) struct To {
    rooms: Vec<Which>,
    except: Vec<Which>,
    local: Option<bool>,
    volatile: Option<bool>,
    timeout: Option<u16>,
    other: bool,
}

impl To {
    pub(super) fn all() -> Self {
        To { rooms: Vec::new(), except: Vec::new(), local: None, volatile: None, timeout: None, other: false }
    }

    pub(super) fn opts(&self) -> BroadcastOptions {
        let names = |all: &[Which]| all.iter().map(|which| which.name()).collect();
        let other = self.other.then(|| ("other".into(), Payload::null()));
        let flags = Flags {
            local: self.local,
            volatile: self.volatile,
            timeout: self.timeout.map(|millis| Duration::from_millis(millis.into())),
            other: other.into_iter().collect(),
            ..Flags::default()
        };
        BroadcastOptions { rooms: names(&self.rooms), except: names(&self.except), flags }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Value {
    Null,
    Text(u8),
    Binary(u8),
    Event(u8),
    BinaryEvent(u8),
}

impl Value {
    pub(super) fn payload(self) -> Payload {
        match self {
            Value::Null => Payload::null(),
            Value::Text(n) => json(format!("\"text {n}\"")),
            Value::Binary(n) => packed(vec![0xc4, 1, n]),
            Value::Event(n) => json(format!("[\"e\",{n}]")),
            Value::BinaryEvent(n) => packed(vec![0x92, 0xa1, b'e', 0xc4, 1, n]),
        }
    }

    /// An event with the value, or the value itself if it is one.
    fn packet(self, id: Option<u64>) -> Packet {
        let event = Packet::new(self.payload()).or_else(|_| Packet::event("e", &()));
        let event = event.expect("the name can be used");
        crate::frames::with_id(event, id)
    }
}

fn json(text: String) -> Payload {
    Payload::from_json(text).unwrap_or_else(|_| Payload::null())
}

fn packed(bytes: Vec<u8>) -> Payload {
    Payload::from_msgpack(bytes).unwrap_or_else(|_| Payload::null())
}

/// A message that somebody wrote.
#[derive(Arbitrary, Debug)]
pub(super) enum Wire {
    Bytes(Vec<u8>),
    Message { node: Which, nsp: Which, bridge: bool, body: Said },
}

/// The message of a node that knows how to write one.
#[derive(Arbitrary, Debug)]
pub(super) enum Said {
    InitialHeartbeat,
    Heartbeat,
    Close,
    Broadcast { value: Value, to: To, ack: Option<Which>, id: Option<u8> },
    Join(To, Vec<Which>),
    Leave(To, Vec<Which>),
    Disconnect(To, bool),
    Fetch(To, Which),
    Sockets(Which, Vec<(Which, Value)>),
    Emit(Value, Option<Which>),
    EmitAnswer(Which, Value),
    ClientCount(Which, u64),
    Ack(Which, Value),
    Older(Older),
}

/// The messages that only the classic adapter has, in its older versions.
#[derive(Arbitrary, Debug)]
pub(super) enum Older {
    SocketIds(Which, Vec<Which>),
    AllRooms(Which),
    Join(Which, Which, Which),
    Leave(Which, Which, Which),
    Disconnect(Which, Which, bool),
    TheirSockets(Which, Vec<Which>),
    TheirRooms(Which, Vec<Which>),
    Done(Which),
}

impl Older {
    fn classic(&self, uid: &NodeId, nsp: &ByteString, asked: &[RequestId]) -> Result<Bytes, PayloadError> {
        let names = |all: &[Which]| all.iter().map(|which| which.name()).collect();
        let asks = |request| classic::encode_request(uid, nsp, &request);
        let answers = |response| classic::encode_response(&response);
        match self {
            Older::SocketIds(id, rooms) => {
                asks(Request::SocketIds { rooms: names(rooms), request_id: id.question(asked) })
            }
            Older::AllRooms(id) => asks(Request::AllRooms { request_id: id.question(asked) }),
            Older::Join(id, socket, room) => asks(Request::RemoteJoin {
                socket: socket.name(),
                room: room.name(),
                request_id: id.question(asked),
            }),
            Older::Leave(id, socket, room) => asks(Request::RemoteLeave {
                socket: socket.name(),
                room: room.name(),
                request_id: id.question(asked),
            }),
            Older::Disconnect(id, socket, close) => asks(Request::RemoteDisconnect {
                socket: socket.name(),
                close: *close,
                request_id: id.question(asked),
            }),
            Older::TheirSockets(id, sockets) => {
                answers(Response::SocketIds { request_id: id.question(asked), sockets: names(sockets) })
            }
            Older::TheirRooms(id, rooms) => {
                answers(Response::Rooms { request_id: id.question(asked), rooms: names(rooms) })
            }
            Older::Done(id) => answers(Response::Done { request_id: id.question(asked) }),
        }
    }
}

impl Said {
    /// In the form of the classic adapter, if it has one.
    pub(super) fn classic(&self, message: &Message, asked: &[RequestId]) -> Result<Bytes, PayloadError> {
        let Message { uid, nsp, body } = message;
        if let Said::Older(older) = self {
            return older.classic(uid, nsp, asked);
        }
        match body {
            Body::Broadcast { packet, opts, request_id: None } => {
                classic::encode_broadcast(uid, nsp, packet, opts)
            }
            Body::FetchSocketsResponse { .. }
            | Body::ServerSideEmitResponse { .. }
            | Body::BroadcastClientCount { .. }
            | Body::BroadcastAck { .. } => classic::encode_response(&Response::Common(body.clone())),
            _ => classic::encode_request(uid, nsp, &Request::Common(body.clone())),
        }
    }

    /// `asked`: the ids of the questions that this node has put.
    pub(super) fn message(&self, own: &NodeId, node: Which, nsp: Which, asked: &[RequestId]) -> Message {
        let id = |which: &Which| which.question(asked);
        let names = |all: &[Which]| all.iter().map(|which| which.name()).collect();
        let body = match self {
            Said::InitialHeartbeat => Body::InitialHeartbeat,
            // The others have no such message.
            Said::Heartbeat | Said::Older(_) => Body::Heartbeat,
            Said::Close => Body::AdapterClose,
            Said::Broadcast { value, to, ack, id: packet_id } => Body::Broadcast {
                packet: value.packet(packet_id.map(u64::from)),
                opts: to.opts(),
                request_id: ack.as_ref().map(id),
            },
            Said::Join(to, rooms) => Body::SocketsJoin { opts: to.opts(), rooms: names(rooms) },
            Said::Leave(to, rooms) => Body::SocketsLeave { opts: to.opts(), rooms: names(rooms) },
            Said::Disconnect(to, close) => Body::DisconnectSockets { opts: to.opts(), close: *close },
            Said::Fetch(to, which) => Body::FetchSockets { opts: to.opts(), request_id: id(which) },
            Said::Sockets(which, sockets) => Body::FetchSocketsResponse {
                request_id: id(which),
                sockets: sockets.iter().map(|(name, value)| remote(*name, *value)).collect(),
            },
            Said::Emit(value, ack) => {
                Body::ServerSideEmit { packet: value.payload(), request_id: ack.as_ref().map(id) }
            }
            Said::EmitAnswer(which, value) => {
                Body::ServerSideEmitResponse { request_id: id(which), packet: value.payload() }
            }
            Said::ClientCount(which, count) => {
                Body::BroadcastClientCount { request_id: id(which), client_count: *count }
            }
            Said::Ack(which, value) => Body::BroadcastAck { request_id: id(which), packet: value.payload() },
        };
        Message { uid: node.node(own), nsp: nsp.namespace().into(), body }
    }
}

fn remote(name: Which, value: Value) -> RemoteSocket {
    RemoteSocket {
        id: name.name(),
        handshake: Payload::null(),
        rooms: vec![name.name()],
        data: value.payload(),
    }
}
