//! Every way of reading a message reads the same: quickly and in general, from JSON and from
//! MessagePack, by the streams adapters' reader and by that of the sharded one, by a few keys and
//! as a whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::Value;
use sio_streams_core::wire::classic::{self, Asked, Request, Response};
use sio_streams_core::wire::{entry, pubsub};
use sio_streams_core::{Body, Fields, Message, NodeId, Packet, Payload, RequestId};

const ASKED: [Asked; 6] =
    [Asked::SocketIds, Asked::Rooms, Asked::Remote, Asked::Sockets, Asked::Emit, Asked::Acks];

/// The number of a message, and its data, in JSON if it begins like it.
///
/// # Panics
///
/// If two ways of reading don't agree.
pub fn readers(input: &[u8]) {
    let Some((kind, data)) = input.split_first() else { return };
    let kind = 1 + kind % 13;
    match data.first() {
        // As the peers see it, whose clients replace what is no UTF-8.
        Some(b'{') => text(kind, &String::from_utf8_lossy(data)),
        Some(_) => packed(kind, data),
        None => {}
    }
}

fn in_entry(kind: u8, data: &[u8]) -> Option<Body> {
    let mut fields: Fields = [("uid", "u"), ("nsp", "/")].into_iter().collect();
    fields.push("type", kind.to_string());
    fields.push("data", data.to_vec());
    entry::decode(&fields).ok().map(|message| message.body)
}

/// The same text with a blank in it, which no quick reader takes.
fn blank(text: &str) -> String {
    text.replacen('{', "{ ", 1)
}

fn text(kind: u8, text: &str) {
    let read = in_entry(kind, text.as_bytes());
    assert_eq!(read, in_entry(kind, blank(text).as_bytes()), "{kind} {text}");
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let request = classic::decode_request(&bytes).ok();
    assert_eq!(request, classic::decode_request(&blank(text).into()).ok(), "{text}");
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        assert!(kind_without_data(kind) || read.is_none() && request.is_none(), "{kind} {text}");
        return;
    }
    let wrapped = format!(r#"{{"uid":"u","nsp":"/","type":{kind},"data":{text}}}"#);
    let sharded = pubsub::decode_sharded(&wrapped.into()).ok().map(|message| message.body);
    assert_eq!(read, sharded, "{kind} {text}");
    let Some(packed) = in_messagepack(text) else { return };
    if kind_without_data(kind) {
        return;
    }
    let other = in_entry(kind, STANDARD.encode(&packed).as_bytes());
    assert_eq!(plain(read), plain(other), "{kind} {text}");
    let shown = |request: Option<(NodeId, Request)>| match request? {
        (uid, Request::Common(body)) => Some(format!("{uid} {:?}", plain(Some(body)))),
        other => Some(format!("{other:?}")),
    };
    assert_eq!(shown(request), shown(classic::decode_request(&packed).ok()), "{text}");
    for asked in ASKED {
        let answer = |payload| match classic::decode_response(payload, asked).ok()? {
            Response::Common(body) => Some(format!("{:?}", plain(Some(body)))),
            other => Some(format!("{other:?}")),
        };
        assert_eq!(answer(&bytes), answer(&packed), "{asked:?} {text}");
    }
}

fn kind_without_data(kind: u8) -> bool {
    matches!(kind, 1 | 2 | 13)
}

fn packed(kind: u8, data: &[u8]) {
    let wrapped = [b"\x84\xa3uid\xa1u\xa3nsp\xa1/\xa4type", &[kind][..], b"\xa4data", data].concat();
    let wrapped = Bytes::from(wrapped);
    let (streams, sharded) = (pubsub::decode(&wrapped).ok(), pubsub::decode_sharded(&wrapped).ok());
    // The one reads what the other does, but for extensions, and keys that the other refuses.
    if streams.is_some() && !data.iter().any(|byte| matches!(byte, 0xc7..=0xc9 | 0xd4..=0xd8)) {
        assert_eq!(streams, sharded);
    }
    if let Some(Message { body, .. }) = streams
        && !kind_without_data(kind)
    {
        // The data inside of a message is a value, so it must also be one on its own.
        assert_eq!(Some(body), in_entry(kind, STANDARD.encode(data).as_bytes()));
    }
}

/// The same value in MessagePack, if that encoding has it and nothing of it is replaced.
fn in_messagepack(text: &str) -> Option<Bytes> {
    if text.to_lowercase().contains("\\ud") {
        return None;
    }
    let packet = Payload::from_json(text.to_owned()).ok()?;
    let body = Body::BroadcastAck { request_id: RequestId::new("r"), packet };
    let message = Message { uid: NodeId::new("u"), nsp: "/".into(), body };
    match pubsub::decode(&pubsub::encode(&message).ok()?).ok()?.body {
        Body::BroadcastAck { packet, .. } => Some(packet.bytes().clone()),
        _ => None,
    }
}

/// The message with its payloads as plain JSON, if all of them have that form.
fn plain(body: Option<Body>) -> Option<Body> {
    let mut body = body?;
    let flat = |payload: &mut Payload| {
        let value: Value = payload.decode().ok()?;
        *payload = Payload::from_json(value.to_string()).ok()?;
        Some(())
    };
    match &mut body {
        Body::Broadcast { packet, opts, .. } => {
            let mut data = packet.data().clone();
            flat(&mut data)?;
            let mut plain = Packet::new(data).ok()?;
            if let Some(nsp) = packet.nsp() {
                plain = plain.with_nsp(nsp.clone());
            }
            *packet = crate::frames::with_id(plain, packet.id());
            opts.flags.other.iter_mut().try_for_each(|(_, value)| flat(value))?;
        }
        Body::SocketsJoin { opts, .. }
        | Body::SocketsLeave { opts, .. }
        | Body::DisconnectSockets { opts, .. }
        | Body::FetchSockets { opts, .. } => {
            opts.flags.other.iter_mut().try_for_each(|(_, value)| flat(value))?;
        }
        Body::FetchSocketsResponse { sockets, .. } => {
            for socket in sockets {
                flat(&mut socket.handshake)?;
                flat(&mut socket.data)?;
            }
        }
        Body::ServerSideEmit { packet, .. }
        | Body::ServerSideEmitResponse { packet, .. }
        | Body::BroadcastAck { packet, .. } => flat(packet)?,
        Body::InitialHeartbeat | Body::Heartbeat | Body::BroadcastClientCount { .. } | Body::AdapterClose => {
        }
    }
    Some(body)
}
