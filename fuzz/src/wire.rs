//! Messages: each one that can be read can be written, and each one that is written can be read,
//! here and by Node.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Serialize, Serializer};
use serde_json::Value;
use sio_streams_core::wire::classic::{self, Asked, Request, Response};
use sio_streams_core::wire::{Frames, WireError, entry, pubsub, session};
use sio_streams_core::{Body, Encoding, EntryId, Fields, Message, NodeId, Packet, Payload, PayloadError};

use crate::memory;

/// Between the names and values of an entry in an input. No UTF-8 text has this byte, so real
/// entries can be put into a corpus as they are.
pub const SEPARATOR: u8 = 0xff;

/// The entry that an input stands for: name, value, name, value, …
pub fn fields(input: &[u8]) -> Fields {
    let mut parts = input.split(|byte| *byte == SEPARATOR).map(Bytes::copy_from_slice);
    let mut fields = Fields::new();
    while let Some(name) = parts.next() {
        fields.push(name, parts.next().unwrap_or_default());
    }
    fields
}

/// A stream entry.
///
/// # Panics
///
/// If something that must hold does not.
pub fn entry(input: &[u8]) {
    let fields = fields(input);
    let decoded = memory::bounded(input.len(), || entry::decode(&fields));
    same_with_blank(&fields, decoded.as_ref().ok());
    check(decoded, input.len());
}

/// JSON means the same with a blank in it, though it is then not read in the quick way.
fn same_with_blank(fields: &Fields, decoded: Option<&Message>) {
    if let Some(rest) = fields.get("data").and_then(|data| data.strip_prefix(b"{")) {
        let mut other: Fields = fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        other.push("data", [b"{ ", rest].concat());
        assert_eq!(decoded, entry::decode(&other).as_ref().ok());
    }
}

/// A stream entry whose data is MessagePack: the type, and the data before it was put into base64,
/// which mutations would only break.
///
/// # Panics
///
/// If something that must hold does not.
pub fn packed(input: &[u8]) {
    let Some((kind, data)) = input.split_first() else { return };
    let mut fields: Fields = [("uid", "node"), ("nsp", "/")].into_iter().collect();
    fields.push("type", (1 + kind % 13).to_string());
    fields.push("data", STANDARD.encode(data));
    let decoded = memory::bounded(input.len(), || entry::decode(&fields));
    check(decoded, input.len());
}

/// A Pub/Sub message.
///
/// # Panics
///
/// If something that must hold does not.
pub fn pubsub(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    let decoded = memory::bounded(input.len(), || pubsub::decode(&bytes));
    check(decoded, input.len());
    let decoded = memory::bounded(input.len(), || pubsub::decode_sharded(&bytes));
    check(decoded, input.len());
}

fn check(decoded: Result<Message, WireError>, len: usize) {
    match decoded {
        Ok(message) => {
            sensible(&message);
            through_entry(&message, len);
            through_pubsub(&message, len);
            through_sharded(&message, len);
            through_classic(&message, len);
        }
        Err(error) => drop(error.to_string()),
    }
}

/// The properties that any reader of a message may rely on.
fn sensible(message: &Message) {
    assert!(!message.nsp.is_empty());
    assert!((1..=13).contains(&message.body.kind()));
    let _ = format!("{message:?}");
    payloads(&message.body, look_into);
    if let Body::Broadcast { packet, .. } = &message.body {
        goes_to_clients(packet);
    }
    let data = match &message.body {
        Body::Broadcast { packet, .. } => Some(packet.data()),
        Body::ServerSideEmit { packet, .. } => Some(packet),
        _ => None,
    };
    if let Some(data) = data {
        let first = match data.encoding() {
            Encoding::Json => data.bytes()[0] == b'[',
            Encoding::MsgPack => matches!(data.bytes()[0], 0x90..=0x9f | 0xdc | 0xdd),
        };
        assert!(first, "a packet that is no array: {data:?}");
    }
}

/// A frame for clients is JSON with at least as many placeholders as there are binary frames, and
/// the offset at its end. It is the same, however the offset gets there, and in every namespace.
fn goes_to_clients(packet: &Packet) {
    let offset = EntryId { ms: 7, seq: 7 };
    let frames = packet.frames("/", Some(offset));
    crate::frames::are_read_again(packet, &frames);
    let Frames { text, attachments } = &frames;
    let (head, array) = str::split_at(text, text.find('[').expect("a packet's data is an array"));
    assert!(serde_json::from_str::<IgnoredAny>(array).is_ok() && array.ends_with("\"7-7\"]"), "{text}");
    assert_eq!(head.contains('-'), !attachments.is_empty(), "{text}");
    assert!(array.matches("\"_placeholder\":true").count() >= attachments.len(), "{text}");

    let data = packet.data().with_offset(offset).expect("a packet's data is an array");
    let with_offset = Packet::new(data).expect("what came can be sent");
    let with_offset = crate::frames::with_id(with_offset, packet.id());
    assert_eq!(with_offset.frames("/", None), frames);
    let elsewhere = with_offset.frames("/nsp", None);
    assert_eq!(
        (elsewhere.text.replacen("/nsp,", "", 1), elsewhere.attachments),
        (text.to_string(), frames.attachments)
    );
}

/// A payload may be anything, but looking into it does no harm.
pub(crate) fn look_into(payload: &Payload) {
    // Another reader finds it well-formed too. It goes by recursion, and gives up on JSON that is
    // deep.
    if payload.encoding() == Encoding::MsgPack {
        assert!(payload.decode::<IgnoredAny>().is_ok(), "{payload:?}");
    }
    let value = payload.decode::<Value>();
    let _ = payload.decode::<Vec<String>>();
    let text = payload.to_json();
    assert!(serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok(), "{text}");
    if let Ok(Value::Array(values)) = &value {
        let parts: Vec<Value> = payload.elements().map_while(|part| part.decode().ok()).collect();
        assert_eq!(&parts, values, "{payload:?}");
        assert_eq!(payload.args().count(), values.len().saturating_sub(1));
    }
    let name = payload.event_name();
    if let (Ok(Value::Array(values)), Some(name)) = (&value, &name) {
        assert_eq!(values.first().and_then(Value::as_str), Some(&**name), "{payload:?}");
    }
    if let Some(text) = payload.as_json() {
        // Well-formed, but it may be deeper than what may be written.
        match Payload::from_json(text.to_owned()) {
            Ok(again) => assert_eq!(again, *payload),
            Err(PayloadError::Depth) => {}
            Err(error) => panic!("{error}: {payload:?}"),
        }
    }
}

/// Every payload of a message.
fn payloads(body: &Body, mut each: impl FnMut(&Payload)) {
    body.opts().into_iter().flat_map(|opts| &opts.flags.other).for_each(|(_, value)| each(value));
    match body {
        Body::Broadcast { packet, .. } => each(packet.data()),
        Body::ServerSideEmit { packet, .. }
        | Body::ServerSideEmitResponse { packet, .. }
        | Body::BroadcastAck { packet, .. } => each(packet),
        Body::FetchSocketsResponse { sockets, .. } => {
            for socket in sockets {
                each(&socket.handshake);
                each(&socket.data);
            }
        }
        _ => {}
    }
}

fn through_entry(message: &Message, len: usize) {
    let Some(fields) = written(memory::bounded(len, || entry::encode(message))) else { return };
    if let Some(data) = fields.get("data").filter(|data| data.first() == Some(&b'{')) {
        assert!(serde_json::from_slice::<&serde_json::value::RawValue>(data).is_ok(), "{fields:?}");
    }
    let again = entry::decode(&fields).unwrap_or_else(|error| panic!("{error}: {fields:?}"));
    alike(message, &again);
    assert_eq!(entry::encode(&again).ok().as_ref(), Some(&fields), "written again it is the same");
}

fn through_sharded(message: &Message, len: usize) {
    let Some(written) = written(memory::bounded(len, || pubsub::encode_sharded(message))) else { return };
    let again = pubsub::decode(&written).unwrap_or_else(|error| panic!("{error}: {message:?}"));
    alike(message, &again);
    assert_eq!(pubsub::encode_sharded(&again).ok().as_ref(), Some(&written), "written again it is the same");
}

fn through_pubsub(message: &Message, len: usize) {
    let Some(packed) = written(memory::bounded(len, || pubsub::encode(message))) else { return };
    let again = pubsub::decode(&packed).unwrap_or_else(|error| panic!("{error}: {message:?}"));
    alike(message, &again);
    assert_eq!(pubsub::encode(&again).ok().as_ref(), Some(&packed), "written again it is the same");
}

/// A message that the classic adapter has too is the same there.
fn through_classic(message: &Message, len: usize) {
    let Message { uid, nsp, body } = message;
    let asked = match body {
        Body::FetchSocketsResponse { .. } => Asked::Sockets,
        Body::ServerSideEmitResponse { .. } => Asked::Emit,
        _ => Asked::Acks,
    };
    let response = Response::Common(body.clone());
    match classic::encode_response(&response) {
        Err(PayloadError::NoRequest) => {}
        _ => return classic_response(Ok(response), asked, len),
    }
    let request = Request::Common(body.clone());
    match classic::encode_request(uid, nsp, &request) {
        Err(PayloadError::NoRequest) => {}
        _ => classic_request(Ok((uid.clone(), request)), len),
    }
}

/// The encoded value, unless it was refused for a reason that lies in the input.
fn written<T>(encoded: Result<T, PayloadError>) -> Option<T> {
    match encoded {
        Ok(encoded) => Some(encoded),
        Err(PayloadError::Key | PayloadError::Depth | PayloadError::Serialize(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Returns `true` if there is a byte that could begin an extension.
fn may_have_extensions(payload: &Payload) -> bool {
    let text = payload.as_json().is_some();
    !text && payload.bytes().iter().any(|byte| matches!(byte, 0xc7..=0xc9 | 0xd4..=0xd8))
}

/// A message that was written and read again is the same. Only its payloads may have been put into
/// the other encoding.
fn alike(message: &Message, again: &Message) {
    let mut encodings = Vec::new();
    payloads(&message.body, |payload| encodings.push(payload.encoding()));
    let mut encodings_again = Vec::new();
    payloads(&again.body, |payload| encodings_again.push(payload.encoding()));
    if encodings == encodings_again {
        let mut extended = false;
        payloads(&message.body, |payload| extended |= may_have_extensions(payload));
        // The dialects without streams read extensions as their peers do: as other values.
        if message == again || !extended {
            assert_eq!(message, again);
            return;
        }
        assert_eq!((&message.uid, &message.nsp), (&again.uid, &again.nsp));
        assert_eq!(message.body.kind(), again.body.kind());
        return;
    }
    assert_eq!((&message.uid, &message.nsp), (&again.uid, &again.nsp));
    assert_eq!(message.body.kind(), again.body.kind());
    let (mut values, mut values_again) = (Vec::new(), Vec::new());
    payloads(&message.body, |payload| values.push(payload.decode::<Value>().ok()));
    payloads(&again.body, |payload| values_again.push(payload.decode::<Value>().ok()));
    for (value, value_again) in values.iter().zip(&values_again) {
        // Text that is no UTF-8 has no value here; elsewhere it has been replaced.
        if value.is_some() {
            assert_eq!(value, value_again);
        }
    }
}

/// A message of the classic adapter. The first byte says which kind it is taken for.
///
/// # Panics
///
/// If something that must hold does not.
pub fn classic(input: &[u8]) {
    const ASKED: [Asked; 6] =
        [Asked::SocketIds, Asked::Rooms, Asked::Remote, Asked::Sockets, Asked::Emit, Asked::Acks];
    let Some((kind, rest)) = input.split_first() else { return };
    let bytes = Bytes::copy_from_slice(rest);
    let len = rest.len();
    match kind % 8 {
        0 => classic_broadcast(memory::bounded(len, || classic::decode_broadcast(&bytes)), len),
        1 => classic_request(memory::bounded(len, || classic::decode_request(&bytes)), len),
        other => {
            let asked = ASKED[usize::from(other) - 2];
            classic_response(memory::bounded(len, || classic::decode_response(&bytes, asked)), asked, len);
        }
    }
}

fn classic_response(decoded: Result<Response, WireError>, asked: Asked, len: usize) {
    let Ok(response) = decoded else { return };
    if let Response::Common(body) = &response {
        payloads(body, look_into);
    }
    let encoded = memory::bounded(len, || classic::encode_response(&response));
    let Some(encoded) = written(encoded) else { return };
    let again =
        classic::decode_response(&encoded, asked).unwrap_or_else(|error| panic!("{error}: {response:?}"));
    match (response, again) {
        (Response::Common(body), Response::Common(again)) => alike_bodies(body, again),
        (response, again) => assert_eq!(response, again),
    }
}

fn classic_broadcast(decoded: Result<Message, WireError>, len: usize) {
    let Ok(message) = decoded else { return };
    sensible(&message);
    let Body::Broadcast { packet, opts, request_id } = &message.body else { panic!("{message:?}") };
    let encode = || classic::encode_broadcast(&message.uid, &message.nsp, packet, opts);
    let Some(encoded) = written(memory::bounded(len, encode)) else { return };
    let again = classic::decode_broadcast(&encoded).unwrap_or_else(|error| panic!("{error}: {message:?}"));
    assert_eq!((&again.uid, &again.nsp), (&message.uid, &message.nsp));
    // The namespace stands in the packet, whether it did before or not.
    let packet = packet.clone().with_nsp(again.nsp);
    let (opts, request_id) = (opts.clone(), request_id.clone());
    assert_eq!(again.body, Body::Broadcast { packet, opts, request_id });
}

fn classic_request(decoded: Result<(NodeId, Request), WireError>, len: usize) {
    let Ok((uid, request)) = decoded else { return };
    let nsp = "/nsp".into();
    if let Request::Common(body) = &request {
        payloads(body, look_into);
    }
    let encode = || classic::encode_request(&uid, &nsp, &request);
    let Some(encoded) = written(memory::bounded(len, encode)) else { return };
    let again = classic::decode_request(&encoded).unwrap_or_else(|error| panic!("{error}: {request:?}"));
    assert_eq!(again.0, uid);
    match (request, again.1) {
        (Request::Common(mut body), Request::Common(again)) => {
            if let Body::Broadcast { packet, .. } = &mut body {
                *packet = packet.clone().with_nsp(nsp);
            }
            alike_bodies(body, again);
        }
        (request, again) => assert_eq!(request, again),
    }
}

fn alike_bodies(body: Body, again: Body) {
    let message = |body| Message { uid: NodeId::new("u"), nsp: "/".into(), body };
    alike(&message(body), &message(again));
}

/// A stored session: MessagePack, which is put into base64 here; behind a byte 0xc1, which
/// MessagePack doesn't have, the stored text itself.
///
/// # Panics
///
/// If something that must hold does not.
pub fn session(input: &[u8]) {
    let stored = match input.split_first() {
        Some((0xc1, text)) => text.to_vec(),
        _ => STANDARD.encode(input).into_bytes(),
    };
    let Ok(session) = memory::bounded(stored.len(), || session::decode(&stored)) else { return };
    look_into(&session.data);
    let Some(encoded) = written(memory::bounded(stored.len(), || session::encode(&session))) else { return };
    match session::decode(&encoded) {
        Ok(again) if again.data.bytes() == &[0x80][..] => {
            let empty = session.data.decode::<Value>().expect("nil, or an empty map");
            assert!(empty.is_null() || empty == Value::Object(serde_json::Map::new()));
        }
        Ok(again) => assert_eq!(again, session),
        Err(error) => panic!("{error}: {session:?}"),
    }
}

/// A MessagePack value: to a packet, to JSON, into a frame for clients, and back.
///
/// # Panics
///
/// If something that must hold does not.
pub fn payload(input: &[u8]) {
    let taken = memory::bounded(input.len(), || Payload::from_msgpack(input.to_vec()));
    let Ok(payload) = taken else { return };
    look_into(&payload);
    let name = payload.event_name();
    match Packet::new(payload.clone()) {
        Ok(packet) => assert_eq!(packet.data().event_name(), name),
        Err(PayloadError::NotAnEvent) => assert_eq!(name, None),
        Err(PayloadError::ReservedEvent(reserved)) => assert_eq!(name, Some(reserved)),
        Err(PayloadError::Placeholder) => assert!(input.windows(12).any(|part| part == b"_placeholder")),
        Err(error) => panic!("{error}"),
    }
    let Ok(value) = memory::bounded(input.len(), || payload.decode::<Value>()) else { return };
    let text = value.to_string();
    let plain = match Payload::from_json(text.clone()) {
        Ok(plain) => plain,
        Err(error) => panic!("{error}: {text}"),
    };
    assert_eq!(plain.decode::<Value>().ok().as_ref(), Some(&value));
    if name.is_some() {
        // The other way round a date is a text here, and may look like a name.
        assert_eq!(plain.event_name(), name, "{text}");
        // As a framework does it: packet type and data, parsed by a client.
        let frame = format!("42{}", plain.as_json().unwrap_or_default());
        let parsed: Value =
            serde_json::from_str(&frame[2..]).unwrap_or_else(|error| panic!("{error}: {frame}"));
        assert_eq!(parsed, value);
    }
    // Arguments are what stands behind an event's name.
    let event = Payload::event("e", &value).map(|event| (event.event_name(), event.decode::<Vec<Value>>()));
    match (&value, event) {
        (Value::Array(args), Ok((name, Ok(all)))) => {
            assert_eq!((name.as_deref(), &all[1..]), (Some("e"), &args[..]), "{text}");
        }
        (Value::Null, Ok((_, Ok(all)))) => assert_eq!(all, ["e"]),
        (Value::Array(_), Err(PayloadError::Depth)) | (_, Err(PayloadError::NotAnEvent)) => {}
        (_, event) => panic!("{event:?}: {text}"),
    }
    let event = Payload::event("e", &[Binary(input)]).expect("a binary value can be sent");
    assert_eq!(event.decode::<(String, IgnoredAny)>().expect("it is an event").0, "e");
    // Encoded afresh, the value is the same.
    let encoded = Payload::encode(&value).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(encoded.decode::<Value>().ok(), Some(value));
}

/// Bytes that go out as such.
struct Binary<'a>(&'a [u8]);

impl Serialize for Binary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}
