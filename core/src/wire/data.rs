//! The `data` of a message as read from either encoding, and its conversion to a message.

use bytestring::ByteString;

use super::WireError;
use crate::event_name::is_named;
use crate::id::RequestId;
use crate::message::Body;
use crate::packet::{BroadcastOptions, Packet, RemoteSocket};
use crate::payload::Payload;

/// The value of the key `packet`: a packet for clients in a broadcast, and any value elsewhere.
#[derive(Debug, PartialEq)]
pub(super) enum PacketData {
    Packet(RawPacket),
    Value(Payload),
}

/// A packet as read from a message. [`RawPacket::broadcast`] checks whether clients can handle it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct RawPacket {
    pub(super) kind: Option<Scalar>,
    pub(super) data: Option<Payload>,
    pub(super) nsp: Option<Scalar>,
    pub(super) id: Option<Scalar>,
    /// `true` if the packet contains binary values, and an object that a client takes for the
    /// placeholder of one.
    pub(super) false_placeholder: bool,
}

/// A value of any type that Node's encoder puts into a frame unchanged.
#[derive(Debug, PartialEq)]
pub(super) enum Scalar {
    /// `null`.
    Null,
    /// A non-negative integer.
    Whole(u64),
    Text(ByteString),
    Other,
}

impl Scalar {
    /// Returns the number that the digits represent.
    fn digits(&self) -> Option<u64> {
        match self {
            Scalar::Whole(number) => Some(*number),
            Scalar::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        }
    }
}

impl RawPacket {
    /// Converts the packet to a broadcast. Returns an error if clients would end their connections
    /// on it, or would take it for another kind of packet.
    pub(super) fn broadcast(
        self,
        mut opts: BroadcastOptions,
        request_id: Option<RequestId>,
    ) -> Result<Body, WireError> {
        match &self.kind {
            None | Some(Scalar::Null) => {}
            // The encoder of frames determines whether the event carries binary values.
            Some(kind) if matches!(kind.digits(), Some(2 | 5)) => {}
            Some(_) => return Err(WireError::PacketType),
        }
        let data = self.data.filter(Payload::is_array).ok_or(WireError::PacketData)?;
        check_event(&data)?;
        if self.false_placeholder {
            return Err(WireError::Placeholder);
        }
        let id = match &self.id {
            // If acknowledgements are wanted, each server assigns an id of its own.
            _ if request_id.is_some() => None,
            None => None,
            Some(Scalar::Null) => {
                opts.flags.keep_offset_away();
                None
            }
            Some(Scalar::Text(text)) if text.is_empty() => {
                opts.flags.keep_offset_away();
                None
            }
            Some(id) => Some(id.digits().ok_or(WireError::PacketId)?),
        };
        let nsp = match self.nsp {
            Some(Scalar::Text(nsp)) => Some(nsp),
            // Receivers use the namespace of the message instead.
            _ => None,
        };
        Ok(Body::Broadcast { packet: Packet { data, nsp, id }, opts, request_id })
    }
}

/// Checks that a client takes `data`, an array, for the data of an event.
pub(super) fn check_event(data: &Payload) -> Result<(), WireError> {
    is_named(data)?.then_some(()).ok_or(WireError::EventName)
}

/// The keys of the data of any message, as far as they are present.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Data {
    pub(super) packet: Option<PacketData>,
    pub(super) opts: Option<BroadcastOptions>,
    pub(super) request_id: Option<ByteString>,
    pub(super) rooms: Option<Vec<ByteString>>,
    pub(super) close: Option<bool>,
    pub(super) sockets: Option<Vec<RemoteSocket>>,
    pub(super) client_count: Option<u64>,
}

/// The number of a broadcast. Only in a broadcast, `packet` is a packet.
pub(super) const BROADCAST: u8 = 3;

/// The number of a join. Only in a join, a room may stand without an array around it.
pub(super) const JOIN: u8 = 4;

/// Checks the number of a message.
pub(super) fn kind(number: u64) -> Result<u8, WireError> {
    match u8::try_from(number) {
        Ok(kind @ 1..=13) => Ok(kind),
        _ => Err(WireError::UnknownType(number.to_string())),
    }
}

/// Returns `true` if messages of this kind have `data`.
pub(super) fn carries_data(kind: u8) -> bool {
    !matches!(kind, 1 | 2 | 13)
}

/// Returns `true` if messages of this kind use this key of their data. The value of an unused key
/// is ignored, as in the peers.
pub(super) fn uses(kind: u8, key: &str) -> bool {
    match key {
        "packet" => matches!(kind, BROADCAST | 9 | 10 | 12),
        "opts" => matches!(kind, BROADCAST..=7),
        "requestId" => matches!(kind, BROADCAST | 7..=12),
        "rooms" => matches!(kind, 4 | 5),
        "close" => kind == 6,
        "sockets" => kind == 8,
        "clientCount" => kind == 11,
        _ => false,
    }
}

impl Data {
    /// Converts the keys to a message of this kind.
    pub(super) fn into_body(self, kind: u8) -> Result<Body, WireError> {
        let missing = |key| WireError::MissingKey { kind, key };
        let request_id = self.request_id.map(RequestId::new);
        let opts = self.opts.ok_or_else(|| missing("opts"));
        // In JSON, an answer of `undefined` leaves no key behind.
        let value = |packet| match packet {
            Some(PacketData::Value(value)) => value,
            // Only a broadcast has a packet.
            Some(PacketData::Packet(_)) | None => Payload::null(),
        };
        Ok(match kind {
            1 => Body::InitialHeartbeat,
            2 => Body::Heartbeat,
            BROADCAST => match self.packet {
                Some(PacketData::Packet(packet)) => packet.broadcast(opts?, request_id)?,
                _ => return Err(missing("packet")),
            },
            4 => Body::SocketsJoin { opts: opts?, rooms: self.rooms.ok_or(missing("rooms"))? },
            5 => Body::SocketsLeave { opts: opts?, rooms: self.rooms.ok_or(missing("rooms"))? },
            6 => Body::DisconnectSockets { opts: opts?, close: self.close.unwrap_or(false) },
            7 => Body::FetchSockets { opts: opts?, request_id: request_id.ok_or(missing("requestId"))? },
            8 => Body::FetchSocketsResponse {
                request_id: request_id.ok_or(missing("requestId"))?,
                sockets: self.sockets.ok_or(missing("sockets"))?,
            },
            9 => match self.packet {
                Some(packet) => {
                    let packet = value(Some(packet));
                    match packet.is_array() {
                        true => Body::ServerSideEmit { packet, request_id },
                        false => return Err(WireError::PacketData),
                    }
                }
                None => return Err(missing("packet")),
            },
            10 => Body::ServerSideEmitResponse {
                request_id: request_id.ok_or(missing("requestId"))?,
                packet: value(self.packet),
            },
            11 => Body::BroadcastClientCount {
                request_id: request_id.ok_or(missing("requestId"))?,
                client_count: self.client_count.ok_or(missing("clientCount"))?,
            },
            12 => Body::BroadcastAck {
                request_id: request_id.ok_or(missing("requestId"))?,
                packet: value(self.packet),
            },
            13 => Body::AdapterClose,
            other => return Err(WireError::UnknownType(other.to_string())),
        })
    }
}
