//! What a scenario consists of. Names are few, so that things meet.

use std::time::Duration;

use arbitrary::Arbitrary;
use sio_streams_core::wire::classic::{self, Request, Response};
use sio_streams_core::{
    Body, BroadcastOptions, ByteString, Bytes, Config, Dialect, Flags, Limits, LocalDelivery, Message,
    NodeId, Packet, Payload, PayloadError, Recovery, RemoteSocket, RequestId, SubscriptionMode,
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
    /// Whether the server counts entries.
    pub(super) counts: bool,
    only_plaintext: bool,
    read_count: u8,
    local_delivery: u8,
    subscriptions: u8,
    specific: bool,
    recovery: bool,
    patience: u8,
    limits: [u8; 5],
}

impl Setup {
    pub(super) fn config(&self) -> Config {
        use {Dialect as D, LocalDelivery as L, SubscriptionMode as M};
        let dialects = [D::Streams02, D::Streams03, D::Bridge, D::Sharded, D::Classic];
        let dialect = dialects[usize::from(self.dialect % 5)];
        // Where there is no stream there is no order of one.
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
            session_bytes: 200,
            page_entries: 1 + u32::from(self.read_count % 4),
            replay_entries: 4 + in_flight,
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
            read_count: 1 + u32::from(self.read_count % 4),
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

/// One of few things of a kind.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Which(pub(super) u8);

impl Which {
    pub(super) fn of<T>(self, things: &[T]) -> Option<&T> {
        let at = usize::from(self.0).checked_rem(things.len())?;
        things.get(at)
    }

    /// The second of them has a negative hash: with several streams, Node peers write it where none of them reads.
    pub(super) fn namespace(self) -> &'static str {
        ["/", "/notifications", "/a", "no slash"][usize::from(self.0 % 4)]
    }

    pub(super) fn name(self) -> ByteString {
        format!("n{}", self.0 % 6).into()
    }

    /// Some other node, or something that is none.
    fn node(self, own: &NodeId) -> NodeId {
        match self.0 % 8 {
            0 => NodeId::EMITTER,
            1 => NodeId::new(""),
            2 => own.clone(),
            other => NodeId::new(format!("node{other}")),
        }
    }
}

/// What happens.
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
    Push(Which, Wire),
    Link(Which, bool),
    /// Time passes, in milliseconds, and what is due is done.
    Pass(u16),
    /// Time passes until something is due.
    PassUntilDue,
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
    /// Of a session, from an offset.
    Restore(Which, u8),
}

/// What comes of a command.
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
    /// What a server could say and none does.
    Absurd(u64),
}

impl How {
    /// Whether a server does so.
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
}

fn json(text: String) -> Payload {
    Payload::from_json(text).unwrap_or_else(|_| Payload::null())
}

fn packed(bytes: Vec<u8>) -> Payload {
    Payload::from_msgpack(bytes).unwrap_or_else(|_| Payload::null())
}

/// What somebody wrote.
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
    Broadcast { value: Value, to: To, ack: Option<Which>, kind: u8, id: Option<u8> },
    Join(To, Vec<Which>),
    Leave(To, Vec<Which>),
    Disconnect(To, bool),
    Fetch(To, Which),
    Sockets(Which, Vec<(Which, Value)>),
    Emit(Value, Option<Which>),
    EmitAnswer(Which, Value),
    ClientCount(Which, u64),
    Ack(Which, Value),
}

impl Said {
    /// In the form of the classic adapter: what it has no message for becomes one of its older ones.
    pub(super) fn classic(&self, message: &Message, asked: &[RequestId]) -> Result<Bytes, PayloadError> {
        let request_id = asked.first().cloned().unwrap_or_else(|| RequestId::new("other"));
        let Message { uid, nsp, body } = message;
        match body {
            Body::Broadcast { packet, opts, request_id: None } => {
                classic::encode_broadcast(uid, nsp, packet, opts)
            }
            Body::InitialHeartbeat => {
                classic::encode_request(uid, nsp, &Request::SocketIds { rooms: Vec::new(), request_id })
            }
            Body::Heartbeat => classic::encode_request(
                uid,
                nsp,
                &Request::RemoteJoin { socket: "n1".into(), room: "n2".into(), request_id },
            ),
            Body::AdapterClose => classic::encode_response(&Response::Done { request_id }),
            Body::FetchSocketsResponse { .. }
            | Body::ServerSideEmitResponse { .. }
            | Body::BroadcastClientCount { .. }
            | Body::BroadcastAck { .. } => classic::encode_response(&Response::Common(body.clone())),
            _ => classic::encode_request(uid, nsp, &Request::Common(body.clone())),
        }
    }

    /// `asked`: the ids of the questions that this node has put.
    pub(super) fn message(&self, own: &NodeId, node: Which, nsp: Which, asked: &[RequestId]) -> Message {
        let id = |which: &Which| which.of(asked).cloned().unwrap_or_else(|| RequestId::new("other"));
        let names = |all: &[Which]| all.iter().map(|which| which.name()).collect();
        let body = match self {
            Said::InitialHeartbeat => Body::InitialHeartbeat,
            Said::Heartbeat => Body::Heartbeat,
            Said::Close => Body::AdapterClose,
            Said::Broadcast { value, to, ack, kind, id: packet_id } => Body::Broadcast {
                packet: Packet {
                    kind: 2 + kind % 2,
                    data: value.payload(),
                    nsp: None,
                    id: packet_id.map(u64::from),
                },
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
