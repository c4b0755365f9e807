//! Writing the messages of the classic adapter.

use bytes::Bytes;
use bytestring::ByteString;

use super::{Request, Response};
use crate::id::{NodeId, RequestId};
use crate::message::Body;
use crate::packet::{BroadcastOptions, Packet};
use crate::payload::{Encoding, PayloadError};
use crate::wire::encode;
use crate::wire::encoder::{Encoder, JsonEncoder, MsgPackEncoder};

/// Writes a broadcast.
///
/// # Errors
///
/// Returns an error if a payload can't be converted to MessagePack for Node peers: see
/// [`PayloadError`].
pub fn encode_broadcast(
    uid: &NodeId,
    nsp: &ByteString,
    packet: &Packet,
    opts: &BroadcastOptions,
) -> Result<Bytes, PayloadError> {
    let mut encoder = MsgPackEncoder::default();
    encoder.array(3, |out| {
        out.str(uid.as_str());
        encode::packet(&Packet { nsp: Some(nsp.clone()), ..packet.clone() }, out)?;
        encode::opts_value(opts, out)
    })?;
    Ok(encoder.out.into())
}

/// Writes a request. An emitter passes [`NodeId::EMITTER`], and is not named in the request.
///
/// # Errors
///
/// Returns an error if a payload can't be converted to MessagePack for Node peers: see
/// [`PayloadError`]. Returns [`PayloadError::NoRequest`] for a message that this adapter has no
/// request for.
pub fn encode_request(uid: &NodeId, nsp: &ByteString, request: &Request) -> Result<Bytes, PayloadError> {
    let (kind, id) = match request {
        Request::SocketIds { request_id, .. } => (0, Some(request_id)),
        Request::AllRooms { request_id } => (1, Some(request_id)),
        Request::RemoteJoin { request_id, .. } => (2, Some(request_id)),
        Request::RemoteLeave { request_id, .. } => (3, Some(request_id)),
        Request::RemoteDisconnect { request_id, .. } => (4, Some(request_id)),
        Request::Common(body) => match body {
            Body::SocketsJoin { .. } => (2, None),
            Body::SocketsLeave { .. } => (3, None),
            Body::DisconnectSockets { .. } => (4, None),
            Body::FetchSockets { request_id, .. } => (5, Some(request_id)),
            Body::ServerSideEmit { request_id, .. } => (6, request_id.as_ref()),
            Body::Broadcast { request_id: Some(id), .. } => (7, Some(id)),
            _ => return Err(PayloadError::NoRequest),
        },
    };
    let body = match request {
        Request::Common(body) => Some(body),
        _ => None,
    };
    let head = Head { kind: Some(kind), uid: (!uid.is_emitter()).then_some(uid), id };
    // The peers always write a broadcast's packet in MessagePack.
    head.write(body, kind != 7, RequestKeys { nsp, request })
}

/// Writes a response.
///
/// # Errors
///
/// Returns an error if a payload can't be converted to MessagePack for Node peers: see
/// [`PayloadError`]. Returns [`PayloadError::NoRequest`] for a message that is not a response.
pub fn encode_response(response: &Response) -> Result<Bytes, PayloadError> {
    let (kind, id) = match response {
        Response::SocketIds { request_id, .. }
        | Response::Rooms { request_id, .. }
        | Response::Done { request_id } => (None, request_id),
        Response::Common(body) => match body {
            Body::FetchSocketsResponse { request_id, .. } => (None, request_id),
            Body::ServerSideEmitResponse { request_id, .. } => (Some(6), request_id),
            Body::BroadcastClientCount { request_id, .. } => (Some(8), request_id),
            Body::BroadcastAck { request_id, .. } => (Some(9), request_id),
            _ => return Err(PayloadError::NoRequest),
        },
    };
    let body = match response {
        Response::Common(body) => Some(body),
        _ => None,
    };
    let head = Head { kind, uid: None, id: Some(id) };
    head.write(body, kind != Some(9), ResponseKeys(response))
}

/// The keys with which a request or a response begins.
struct Head<'a> {
    kind: Option<u64>,
    uid: Option<&'a NodeId>,
    id: Option<&'a RequestId>,
}

/// The keys that follow the head.
trait Rest {
    fn count(&self) -> usize;
    fn write<S: Encoder>(&self, out: &mut S) -> Result<(), PayloadError>;
}

impl Head<'_> {
    /// Writes JSON if `text` is set and every payload is JSON, and MessagePack otherwise.
    fn write(self, body: Option<&Body>, text: bool, rest: impl Rest) -> Result<Bytes, PayloadError> {
        let plain = |body| encode::payloads(body).all(|payload| payload.encoding() == Encoding::Json);
        if text && body.is_none_or(plain) {
            let mut encoder = JsonEncoder::default();
            self.write_to(&mut encoder, rest)?;
            Ok(encoder.out.into())
        } else {
            let mut encoder = MsgPackEncoder::default();
            self.write_to(&mut encoder, rest)?;
            Ok(encoder.out.into())
        }
    }

    fn write_to<S: Encoder>(self, out: &mut S, rest: impl Rest) -> Result<(), PayloadError> {
        let Head { kind, uid, id } = self;
        let count = usize::from(kind.is_some()) + usize::from(uid.is_some()) + usize::from(id.is_some());
        out.map(count + rest.count(), |out| {
            if let Some(kind) = kind {
                out.key("type");
                out.unsigned(kind);
            }
            if let Some(uid) = uid {
                out.key("uid");
                out.str(uid.as_str());
            }
            if let Some(id) = id {
                out.key("requestId");
                out.str(id.as_str());
            }
            rest.write(out)
        })
    }
}

struct RequestKeys<'a> {
    nsp: &'a ByteString,
    request: &'a Request,
}

impl Rest for RequestKeys<'_> {
    fn count(&self) -> usize {
        match self.request {
            Request::AllRooms { .. } => 0,
            Request::SocketIds { .. } => 1,
            Request::RemoteJoin { .. } | Request::RemoteLeave { .. } | Request::RemoteDisconnect { .. } => 2,
            Request::Common(Body::FetchSockets { .. } | Body::ServerSideEmit { .. }) => 1,
            Request::Common(_) => 2,
        }
    }

    fn write<S: Encoder>(&self, out: &mut S) -> Result<(), PayloadError> {
        let text = |out: &mut S, key, value: &str| {
            out.key(key);
            out.str(value);
        };
        match self.request {
            Request::AllRooms { .. } => {}
            Request::SocketIds { rooms, .. } => encode::selected("rooms", rooms, out)?,
            Request::RemoteJoin { socket, room, .. } | Request::RemoteLeave { socket, room, .. } => {
                text(out, "sid", socket);
                text(out, "room", room);
            }
            Request::RemoteDisconnect { socket, close, .. } => {
                text(out, "sid", socket);
                out.key("close");
                out.bool(*close);
            }
            Request::Common(body) => match body {
                Body::SocketsJoin { opts, rooms } | Body::SocketsLeave { opts, rooms } => {
                    encode::opts(opts, out)?;
                    encode::moved(body, rooms, out)?;
                }
                Body::DisconnectSockets { opts, close } => {
                    encode::opts(opts, out)?;
                    out.key("close");
                    out.bool(*close);
                }
                Body::FetchSockets { opts, .. } => encode::opts(opts, out)?,
                Body::ServerSideEmit { packet, .. } => {
                    out.key("data");
                    out.payload(packet)?;
                }
                Body::Broadcast { packet, opts, .. } => {
                    out.key("packet");
                    encode::packet(&Packet { nsp: Some(self.nsp.clone()), ..packet.clone() }, out)?;
                    encode::opts(opts, out)?;
                }
                _ => return Err(PayloadError::NoRequest),
            },
        }
        Ok(())
    }
}

struct ResponseKeys<'a>(&'a Response);

impl Rest for ResponseKeys<'_> {
    fn count(&self) -> usize {
        usize::from(!matches!(self.0, Response::Done { .. }))
    }

    fn write<S: Encoder>(&self, out: &mut S) -> Result<(), PayloadError> {
        match self.0 {
            Response::Done { .. } => Ok(()),
            Response::SocketIds { sockets, .. } => encode::strings("sockets", sockets, out),
            Response::Rooms { rooms, .. } => encode::strings("rooms", rooms, out),
            Response::Common(body) => match body {
                Body::FetchSocketsResponse { sockets, .. } => {
                    out.key("sockets");
                    out.array(sockets.len(), |out| {
                        sockets.iter().try_for_each(|socket| encode::socket(socket, out))
                    })
                }
                Body::ServerSideEmitResponse { packet, .. } => {
                    out.key("data");
                    out.payload(packet)
                }
                Body::BroadcastClientCount { client_count, .. } => {
                    out.key("clientCount");
                    out.unsigned(*client_count);
                    Ok(())
                }
                Body::BroadcastAck { packet, .. } => {
                    out.key("packet");
                    out.payload(packet)
                }
                _ => Err(PayloadError::NoRequest),
            },
        }
    }
}
