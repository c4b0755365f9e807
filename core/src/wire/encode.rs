//! Writing the `data` of a message, in either encoding.

use bytestring::ByteString;

use super::encoder::Encoder;
use crate::javascript::{may_be_number, number};
use crate::message::Body;
use crate::packet::{BroadcastOptions, Flags, Packet, RemoteSocket};
use crate::payload::{Payload, PayloadError};

/// Iterates over the payloads in a message. Their encodings decide that of the message.
pub(crate) fn payloads(body: &Body) -> impl Iterator<Item = &Payload> {
    let (one, opts, sockets): (Option<&Payload>, Option<&BroadcastOptions>, &[RemoteSocket]) = match body {
        Body::Broadcast { packet, opts, .. } => (Some(&packet.data), Some(opts), &[]),
        Body::SocketsJoin { opts, .. }
        | Body::SocketsLeave { opts, .. }
        | Body::DisconnectSockets { opts, .. }
        | Body::FetchSockets { opts, .. } => (None, Some(opts), &[]),
        Body::FetchSocketsResponse { sockets, .. } => (None, None, sockets),
        Body::ServerSideEmit { packet, .. }
        | Body::ServerSideEmitResponse { packet, .. }
        | Body::BroadcastAck { packet, .. } => (Some(packet), None, &[]),
        Body::InitialHeartbeat | Body::Heartbeat | Body::BroadcastClientCount { .. } | Body::AdapterClose => {
            (None, None, &[])
        }
    };
    let flags = opts.into_iter().flat_map(|opts| opts.flags.other.iter().map(|(_, value)| value));
    one.into_iter().chain(flags).chain(sockets.iter().flat_map(|socket| [&socket.handshake, &socket.data]))
}

/// Writes the data of a message. An absent value is omitted, never written as null: Node takes
/// `requestId: null` as a wish for acknowledgements, and gives no offset to a packet on which
/// `volatile` is present.
pub(super) fn data<S: Encoder>(body: &Body, out: &mut S) -> Result<(), PayloadError> {
    let text = |out: &mut S, key: &'static str, value: &str| {
        out.key(key);
        out.str(value);
    };
    match body {
        Body::InitialHeartbeat | Body::Heartbeat | Body::AdapterClose => out.map(0, |_| Ok(())),
        Body::Broadcast { packet, opts, request_id } => {
            out.map(2 + usize::from(request_id.is_some()), |out| {
                out.key("packet");
                self::packet(packet, out)?;
                if let Some(id) = request_id {
                    text(out, "requestId", id.as_str());
                }
                self::opts(opts, out)
            })
        }
        Body::SocketsJoin { opts, rooms } | Body::SocketsLeave { opts, rooms } => out.map(2, |out| {
            self::opts(opts, out)?;
            moved(body, rooms, out)
        }),
        Body::DisconnectSockets { opts, close } => out.map(2, |out| {
            self::opts(opts, out)?;
            out.key("close");
            out.bool(*close);
            Ok(())
        }),
        Body::FetchSockets { opts, request_id } => out.map(2, |out| {
            self::opts(opts, out)?;
            text(out, "requestId", request_id.as_str());
            Ok(())
        }),
        Body::FetchSocketsResponse { request_id, sockets } => out.map(2, |out| {
            text(out, "requestId", request_id.as_str());
            out.key("sockets");
            out.array(sockets.len(), |out| sockets.iter().try_for_each(|socket| self::socket(socket, out)))
        }),
        Body::ServerSideEmit { packet, request_id } => {
            out.map(1 + usize::from(request_id.is_some()), |out| {
                if let Some(id) = request_id {
                    text(out, "requestId", id.as_str());
                }
                out.key("packet");
                out.payload(packet)
            })
        }
        Body::ServerSideEmitResponse { request_id, packet } | Body::BroadcastAck { request_id, packet } => {
            out.map(2, |out| {
                text(out, "requestId", request_id.as_str());
                out.key("packet");
                out.payload(packet)
            })
        }
        Body::BroadcastClientCount { request_id, client_count } => out.map(2, |out| {
            text(out, "requestId", request_id.as_str());
            out.key("clientCount");
            out.unsigned(*client_count);
            Ok(())
        }),
    }
}

pub(super) fn packet<S: Encoder>(packet: &Packet, out: &mut S) -> Result<(), PayloadError> {
    let keys = 2 + usize::from(packet.nsp.is_some()) + usize::from(packet.id.is_some());
    out.map(keys, |out| {
        out.key("type");
        out.unsigned(u64::from(crate::packet::EVENT));
        out.key("data");
        out.payload(&packet.data)?;
        if let Some(nsp) = &packet.nsp {
            out.key("nsp");
            out.str(nsp);
        }
        if let Some(id) = packet.id {
            out.key("id");
            out.unsigned(id);
        }
        Ok(())
    })
}

pub(super) fn opts<S: Encoder>(opts: &BroadcastOptions, out: &mut S) -> Result<(), PayloadError> {
    out.key("opts");
    opts_value(opts, out)
}

pub(super) fn opts_value<S: Encoder>(opts: &BroadcastOptions, out: &mut S) -> Result<(), PayloadError> {
    out.map(3, |out| {
        selected("rooms", &opts.rooms, out)?;
        selected("except", &opts.except, out)?;
        out.key("flags");
        flags(&opts.flags, out)
    })
}

fn flags<S: Encoder>(flags: &Flags, out: &mut S) -> Result<(), PayloadError> {
    let switches = [
        ("volatile", flags.volatile),
        ("compress", flags.compress),
        ("local", flags.local),
        ("broadcast", flags.broadcast),
        ("binary", flags.binary),
        ("expectSingleResponse", flags.expect_single_response),
    ];
    let known =
        switches.iter().filter(|(_, value)| value.is_some()).count() + usize::from(flags.timeout.is_some());
    out.map(known + flags.other.len(), |out| {
        for (key, value) in switches {
            if let Some(value) = value {
                out.key(key);
                out.bool(value);
            }
        }
        if let Some(timeout) = flags.timeout {
            out.key("timeout");
            out.unsigned(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        }
        for (key, value) in &flags.other {
            out.any_key(key)?;
            out.payload(value)?;
        }
        Ok(())
    })
}

pub(super) fn socket<S: Encoder>(socket: &RemoteSocket, out: &mut S) -> Result<(), PayloadError> {
    out.map(4, |out| {
        out.key("id");
        out.str(&socket.id);
        out.key("handshake");
        out.payload(&socket.handshake)?;
        strings("rooms", &socket.rooms, out)?;
        out.key("data");
        out.payload(&socket.data)
    })
}

/// Writes the rooms that a message selects among those that exist. In JavaScript the rooms `5` and
/// `"5"` are two. Here they are one, so both are written. See `docs/decisions`, 0015.
#[inline]
pub(super) fn selected<S: Encoder>(
    key: &'static str,
    rooms: &[ByteString],
    out: &mut S,
) -> Result<(), PayloadError> {
    match rooms.iter().any(|room| may_be_number(room)) {
        true => in_both_forms(key, rooms, out),
        false => strings(key, rooms, out),
    }
}

/// Writes the rooms that sockets join or leave. A leave selects among those that exist.
pub(super) fn moved<S: Encoder>(body: &Body, rooms: &[ByteString], out: &mut S) -> Result<(), PayloadError> {
    match body {
        Body::SocketsLeave { .. } => selected("rooms", rooms, out),
        _ => strings("rooms", rooms, out),
    }
}

fn in_both_forms<S: Encoder>(
    key: &'static str,
    rooms: &[ByteString],
    out: &mut S,
) -> Result<(), PayloadError> {
    let numbers = rooms.iter().filter(|room| number(room).is_some()).count();
    out.key(key);
    out.array(rooms.len() + numbers, |out| {
        for room in rooms {
            out.str(room);
            if let Some(number) = number(room) {
                out.number(room, number);
            }
        }
        Ok(())
    })
}

pub(super) fn strings<S: Encoder>(
    key: &'static str,
    values: &[ByteString],
    out: &mut S,
) -> Result<(), PayloadError> {
    out.key(key);
    out.array(values.len(), |out| {
        values.iter().for_each(|value| out.str(value));
        Ok(())
    })
}
