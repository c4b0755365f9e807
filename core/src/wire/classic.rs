//! The messages of the classic Pub/Sub adapter, `@socket.io/redis-adapter`, formerly
//! `socket.io-redis`.
//!
//! There are three kinds, each on channels of its own: broadcasts, `[uid, packet, opts]` in
//! MessagePack; requests, `{type, uid, …}`; and responses, `{requestId, …}`. Requests and responses
//! are JSON if they begin with `{`, and MessagePack otherwise. A response does not name its sender
//! and, in most cases, does not tell which kind of request it answers. MessagePack is read here as
//! Node reads it, by the rules of `notepack.io`.

mod write;

use bytes::Bytes;
use bytestring::ByteString;

use super::data::{RawPacket, Scalar};
use super::{WireError, json, msgpack_body, notepack};
use crate::id::{NodeId, RequestId};
use crate::message::{Body, Message};
use crate::msgpack;
use crate::msgpack::{Facts, Head, MsgPackError};
use crate::packet::{BroadcastOptions, RemoteSocket};
use crate::payload::{Encoding, Payload};

pub use write::{encode_broadcast, encode_request, encode_response};

/// A request or an order from one node to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// 0: asks for the ids of the sockets in any of these rooms, or of all sockets if there are no
    /// rooms.
    SocketIds {
        /// The rooms.
        rooms: Vec<ByteString>,
        /// The id that the answers repeat.
        request_id: RequestId,
    },
    /// 1: asks for the names of all rooms.
    AllRooms {
        /// The id that the answers repeat.
        request_id: RequestId,
    },
    /// 2, in its older form: the node that has this socket lets it join a room, and confirms that.
    RemoteJoin {
        /// The socket.
        socket: ByteString,
        /// The room.
        room: ByteString,
        /// The id that the answer repeats.
        request_id: RequestId,
    },
    /// 3, in its older form: the node that has this socket lets it leave a room, and confirms that.
    RemoteLeave {
        /// The socket.
        socket: ByteString,
        /// The room.
        room: ByteString,
        /// The id that the answer repeats.
        request_id: RequestId,
    },
    /// 4, in its older form: the node that has this socket disconnects it, and confirms that.
    RemoteDisconnect {
        /// The socket.
        socket: ByteString,
        /// `true` if the underlying connection is closed too.
        close: bool,
        /// The id that the answer repeats.
        request_id: RequestId,
    },
    /// A message that all adapters have: [`Body::SocketsJoin`] (2), [`Body::SocketsLeave`] (3),
    /// [`Body::DisconnectSockets`] (4), [`Body::FetchSockets`] (5), [`Body::ServerSideEmit`] (6),
    /// or [`Body::Broadcast`] with acknowledgements (7).
    Common(Body),
}

impl Request {
    /// Creates the older form of an order to the node that has this socket. A body that is no order
    /// to sockets stays what it is.
    pub(crate) fn order(socket: ByteString, order: Body, request_id: RequestId) -> Self {
        match order {
            Body::SocketsJoin { mut rooms, .. } if rooms.len() == 1 => {
                Request::RemoteJoin { socket, room: rooms.remove(0), request_id }
            }
            Body::SocketsLeave { mut rooms, .. } if rooms.len() == 1 => {
                Request::RemoteLeave { socket, room: rooms.remove(0), request_id }
            }
            Body::DisconnectSockets { close, .. } => Request::RemoteDisconnect { socket, close, request_id },
            body => Request::Common(body),
        }
    }

    /// Returns the socket, the order and the id of an order in its older form.
    pub(crate) fn into_order(self) -> Option<(ByteString, Body, RequestId)> {
        let opts = |socket: &ByteString| BroadcastOptions::to(socket.clone());
        Some(match self {
            Request::RemoteJoin { socket, room, request_id } => {
                let order = Body::SocketsJoin { opts: opts(&socket), rooms: vec![room] };
                (socket, order, request_id)
            }
            Request::RemoteLeave { socket, room, request_id } => {
                let order = Body::SocketsLeave { opts: opts(&socket), rooms: vec![room] };
                (socket, order, request_id)
            }
            Request::RemoteDisconnect { socket, close, request_id } => {
                let order = Body::DisconnectSockets { opts: opts(&socket), close };
                (socket, order, request_id)
            }
            _ => return None,
        })
    }
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The answer to [`Request::SocketIds`].
    SocketIds {
        /// The request's id.
        request_id: RequestId,
        /// The ids.
        sockets: Vec<ByteString>,
    },
    /// The answer to [`Request::AllRooms`].
    Rooms {
        /// The request's id.
        request_id: RequestId,
        /// The names.
        rooms: Vec<ByteString>,
    },
    /// The confirmation of a [`Request::RemoteJoin`], [`Request::RemoteLeave`] or
    /// [`Request::RemoteDisconnect`].
    Done {
        /// The request's id.
        request_id: RequestId,
    },
    /// An answer that all adapters have: [`Body::FetchSocketsResponse`],
    /// [`Body::ServerSideEmitResponse`] (6), [`Body::BroadcastClientCount`] (8), or
    /// [`Body::BroadcastAck`] (9).
    Common(Body),
}

/// The kind of a request. A response can't be read without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// [`Request::SocketIds`].
    SocketIds,
    /// [`Request::AllRooms`].
    Rooms,
    /// One of the older forms, which are answered by the node that has the socket.
    Remote,
    /// [`Body::FetchSockets`].
    Sockets,
    /// [`Body::ServerSideEmit`].
    Emit,
    /// [`Body::Broadcast`] with acknowledgements.
    Acks,
}

/// A value that is not decoded yet.
#[derive(Clone, Debug)]
enum Value {
    Json(ByteString),
    MsgPack(Bytes),
}

impl Value {
    /// Reads the value with the function for its encoding.
    fn read<T>(
        &self,
        json: impl FnOnce(&ByteString) -> Result<T, WireError>,
        msgpack: impl FnOnce(&mut msgpack::Reader<'_>) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        match self {
            Value::Json(text) => json(text),
            Value::MsgPack(bytes) => msgpack(&mut msgpack::Reader::new(bytes)),
        }
    }

    fn opts(&self) -> Result<BroadcastOptions, WireError> {
        self.read(json::opts, msgpack_body::opts)
    }

    fn name(&self) -> Result<ByteString, WireError> {
        self.read(json::name, |reader| Ok(msgpack_body::name(reader)?))
    }

    /// Reads the name of one room. A value that is not a name is refused, because it would create a
    /// room that no application can name again.
    fn room(&self) -> Result<ByteString, WireError> {
        let is_name = match self {
            Value::Json(text) => matches!(&text.as_bytes()[..], [b'"' | b'-' | b'0'..=b'9', ..]),
            Value::MsgPack(bytes) => {
                let head = msgpack::Reader::new(bytes).head()?;
                matches!(head, Head::Str(_) | Head::Unsigned(_) | Head::Signed(_) | Head::Float(_))
            }
        };
        if is_name { self.name() } else { Err(WireError::RoomName) }
    }

    fn names(&self) -> Result<Vec<ByteString>, WireError> {
        self.read(json::names, |reader| Ok(msgpack_body::names(reader)?))
    }

    fn set(&self) -> Result<Vec<ByteString>, WireError> {
        self.read(json::set, |reader| Ok(msgpack_body::set(reader)?))
    }

    /// Reads the rooms to join or to leave.
    fn joined(&self, join: bool) -> Result<Vec<ByteString>, WireError> {
        self.read(|text| json::joined(join, text), |reader| Ok(msgpack_body::joined(join, reader)?))
    }

    fn unsigned(&self) -> Result<u64, WireError> {
        self.read(json::unsigned, |reader| Ok(reader.unsigned()?))
    }

    fn packet(&self) -> Result<RawPacket, WireError> {
        self.read(json::packet, msgpack_body::packet)
    }

    fn sockets(&self) -> Result<Vec<RemoteSocket>, WireError> {
        self.read(json::sockets, |reader| reader.array(msgpack_body::socket))
    }

    fn truthy(&self) -> Result<bool, WireError> {
        self.read(|text| Ok(json::truthy(text)), |reader| Ok(msgpack_body::truthy(reader)?))
    }

    fn is_nothing(&self) -> bool {
        match self {
            Value::Json(text) => *text == "null",
            Value::MsgPack(bytes) => **bytes == [0xc0],
        }
    }

    fn payload(self) -> Payload {
        match self {
            Value::Json(text) => Payload::from_wire(Encoding::Json, text.into_bytes()),
            Value::MsgPack(bytes) => Payload::from_wire(Encoding::MsgPack, bytes),
        }
    }
}

/// The keys of a request or a response.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pairs: Vec<(ByteString, Value)>,
    kind: u8,
}

impl Keys {
    pub(crate) fn read(payload: &Bytes) -> Result<Self, WireError> {
        if payload.first() != Some(&b'{') {
            return notepack::read(payload, Keys::read_msgpack);
        }
        let pairs = json::pairs(&json::text(payload))?;
        Keys::of(pairs.into_iter().map(|(key, text)| (key, Value::Json(text))).collect())
    }

    fn read_msgpack(payload: &Bytes) -> Result<(Self, Facts), WireError> {
        let mut pairs = Vec::new();
        let mut reader = msgpack::Reader::new(payload);
        reader.map(|key, value| {
            pairs.push((value.shared(key), Value::MsgPack(value.raw()?)));
            Ok::<(), WireError>(())
        })?;
        reader.end()?;
        Ok((Keys::of(pairs)?, reader.facts()))
    }

    fn of(pairs: Vec<(ByteString, Value)>) -> Result<Self, WireError> {
        let mut keys = Keys { pairs, kind: u8::MAX };
        if let Some(kind) = keys.get("type") {
            let number = kind.unsigned()?;
            keys.kind = u8::try_from(number).map_err(|_| WireError::UnknownType(number.to_string()))?;
        }
        Ok(keys)
    }

    /// Returns the value of the last key with this name, unless it is null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.pairs
            .iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
            .filter(|value| !value.is_nothing())
    }

    fn need(&self, key: &'static str) -> Result<&Value, WireError> {
        self.get(key).ok_or(WireError::MissingKey { kind: self.kind, key })
    }

    /// Returns the id of the request that this message asks or answers, if it has one.
    pub(crate) fn request_id(&self) -> Result<Option<RequestId>, WireError> {
        self.get("requestId").map(|id| id.name().map(RequestId::new)).transpose()
    }

    fn needed_id(&self) -> Result<RequestId, WireError> {
        self.need("requestId")?.name().map(RequestId::new)
    }

    fn payload(&self, key: &str) -> Payload {
        self.get(key).cloned().map_or_else(Payload::null, Value::payload)
    }

    /// Reads the response to a request of this kind.
    pub(crate) fn response(&self, asked: Asked) -> Result<Response, WireError> {
        let request_id = self.needed_id()?;
        Ok(match (asked, self.kind) {
            (Asked::SocketIds, _) => {
                Response::SocketIds { request_id, sockets: self.need("sockets")?.names()? }
            }
            (Asked::Rooms, _) => Response::Rooms { request_id, rooms: self.need("rooms")?.names()? },
            (Asked::Remote, _) => Response::Done { request_id },
            (Asked::Sockets, _) => {
                let sockets = self.need("sockets")?.sockets()?;
                Response::Common(Body::FetchSocketsResponse { request_id, sockets })
            }
            (Asked::Emit, _) => {
                Response::Common(Body::ServerSideEmitResponse { request_id, packet: self.payload("data") })
            }
            (Asked::Acks, 8) => {
                let client_count = self.need("clientCount")?.unsigned()?;
                Response::Common(Body::BroadcastClientCount { request_id, client_count })
            }
            (Asked::Acks, 9) => {
                Response::Common(Body::BroadcastAck { request_id, packet: self.payload("packet") })
            }
            (Asked::Acks, other) => return Err(WireError::UnknownType(other.to_string())),
        })
    }
}

/// Reads a broadcast. Its namespace is that of its packet, or `/` if the packet has none.
///
/// # Errors
///
/// Returns an error if the bytes are not a broadcast: see [`WireError`].
pub fn decode_broadcast(payload: &Bytes) -> Result<Message, WireError> {
    notepack::read(payload, read_broadcast)
}

fn read_broadcast(payload: &Bytes) -> Result<(Message, Facts), WireError> {
    let mut reader = msgpack::Reader::new(payload);
    let mut parts = reader.array(|part| part.raw())?.into_iter();
    reader.end()?;
    let mut part = |key| parts.next().ok_or(WireError::MissingKey { kind: 3, key });
    let (uid, packet, opts) = (part("uid")?, part("packet")?, part("opts")?);
    let uid = NodeId::new(msgpack_body::name(&mut msgpack::Reader::new(&uid))?);
    let packet = msgpack_body::packet(&mut msgpack::Reader::new(&packet))?;
    let nsp = match &packet.nsp {
        None => ByteString::from_static("/"),
        Some(Scalar::Text(nsp)) => nsp.clone(),
        // A null namespace differs from an absent one: it names no namespace.
        Some(_) => return Err(WireError::MissingField("nsp")),
    };
    let mut opts = msgpack::Reader::new(&opts);
    if !matches!(opts.peek()?, Head::Map(_) | Head::Array(_) | Head::Bin(_) | Head::Ext(..)) {
        return Err(MsgPackError::Unexpected { at: 0, expected: "an object of options" }.into());
    }
    let body = packet.broadcast(msgpack_body::opts(&mut opts)?, None)?;
    Ok((Message { uid, nsp, body }, reader.facts()))
}

/// Reads a request and its sender. Emitters do not name themselves.
///
/// # Errors
///
/// Returns an error if the bytes are not a request: see [`WireError`].
pub fn decode_request(payload: &Bytes) -> Result<(NodeId, Request), WireError> {
    let keys = Keys::read(payload)?;
    let uid = match keys.get("uid") {
        Some(uid) => NodeId::new(uid.name()?),
        None => NodeId::EMITTER,
    };
    let close = || keys.get("close").map_or(Ok(false), Value::truthy);
    let opts = || keys.need("opts")?.opts();
    let older = !keys.get("opts").map_or(Ok(false), Value::truthy)?;
    let (socket, room) = (|| keys.need("sid")?.name(), || keys.need("room")?.room());
    let rooms = |join| keys.need("rooms")?.joined(join);
    let request = match keys.kind {
        0 => {
            let rooms = keys.get("rooms").map_or(Ok(Vec::new()), Value::set)?;
            Request::SocketIds { rooms, request_id: keys.needed_id()? }
        }
        1 => Request::AllRooms { request_id: keys.needed_id()? },
        2 if older => Request::RemoteJoin { socket: socket()?, room: room()?, request_id: keys.needed_id()? },
        3 if older => {
            Request::RemoteLeave { socket: socket()?, room: room()?, request_id: keys.needed_id()? }
        }
        4 if older => {
            Request::RemoteDisconnect { socket: socket()?, close: close()?, request_id: keys.needed_id()? }
        }
        2 => Request::Common(Body::SocketsJoin { opts: opts()?, rooms: rooms(true)? }),
        3 => Request::Common(Body::SocketsLeave { opts: opts()?, rooms: rooms(false)? }),
        4 => Request::Common(Body::DisconnectSockets { opts: opts()?, close: close()? }),
        5 => Request::Common(Body::FetchSockets { opts: opts()?, request_id: keys.needed_id()? }),
        6 => {
            let packet = keys.need("data")?.clone().payload();
            if !packet.is_array() {
                return Err(WireError::PacketData);
            }
            Request::Common(Body::ServerSideEmit { packet, request_id: keys.request_id()? })
        }
        7 => {
            let packet = keys.need("packet")?.packet()?;
            Request::Common(packet.broadcast(opts()?, Some(keys.needed_id()?))?)
        }
        u8::MAX => return Err(WireError::MissingField("type")),
        other => return Err(WireError::UnknownType(other.to_string())),
    };
    Ok((uid, request))
}

/// Reads the response to a request of this kind.
///
/// # Errors
///
/// Returns an error if the bytes are not a response: see [`WireError`].
pub fn decode_response(payload: &Bytes, asked: Asked) -> Result<Response, WireError> {
    Keys::read(payload)?.response(asked)
}
