//! The recordings of the real adapters (`tests/interop/peers/record.mjs`) are read as the adapters
//! mean them.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use sio_streams_core::wire::{entry, pubsub, session};
use sio_streams_core::{Body, BroadcastOptions, Encoding, Fields, Message, Payload, RemoteSocket};

const STREAMS_02: &str = include_str!("vectors/streams-0.2.jsonl");
const STREAMS_03: &str = include_str!("vectors/streams-0.3.jsonl");

/// One line of the files. `tests/interop/README.md` describes them.
#[derive(Deserialize)]
struct Vector {
    dialect: String,
    transport: String,
    name: String,
    #[serde(default)]
    fields: Vec<(String, String)>,
    #[serde(default)]
    payload: String,
    /// The fields of a session.
    #[serde(default)]
    value: String,
    message: Json,
}

/// Miri is slow, so it checks only some of them.
const STEP: usize = if cfg!(miri) { 16 } else { 1 };

impl Vector {
    fn all(text: &str) -> impl Iterator<Item = Vector> {
        // Each line is parsed by itself, so that an error names its line.
        text.lines().enumerate().step_by(STEP).map(|(at, line)| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("line {}: {error}", at + 1))
        })
    }

    fn label(&self) -> String {
        format!("{} {}", self.dialect, self.name)
    }

    fn entry(&self) -> Fields {
        let bytes = |text: &String| Bytes::copy_from_slice(text.as_bytes());
        self.fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect()
    }

    fn decode(&self) -> Message {
        let decoded = match &*self.transport {
            "stream" => entry::decode(&self.entry()),
            "pubsub" => pubsub::decode(&STANDARD.decode(&self.payload).unwrap().into()),
            other => panic!("{}: {other}", self.label()),
        };
        decoded.unwrap_or_else(|error| panic!("{}: {error}", self.label()))
    }
}

/// A value as JavaScript has it. Numbers are floats, a date is its text, and text that is not UTF-8
/// is `Broken`.
#[derive(Clone, Debug)]
enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    /// A string that contains a lone surrogate.
    Broken,
    Bin(Vec<u8>),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) | (Value::Broken, Value::Broken) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Number(a), Value::Number(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Bin(a), Value::Bin(b)) => a == b,
            (Value::List(a), Value::List(b)) => a == b,
            (Value::Map(a), Value::Map(b)) => a == b,
            _ => false,
        }
    }
}

impl Value {
    /// Converts a value from the notation of `tests/interop/peers/codec.mjs`.
    fn recorded(json: &Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => Value::Number(number.as_f64().unwrap()),
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(values) => Value::List(values.iter().map(Value::recorded).collect()),
            Json::Object(map) => {
                match map.iter().next().filter(|(key, _)| map.len() == 1 && key.starts_with('$')) {
                    Some((word, value)) => Value::word(word, value),
                    None => Value::Map(
                        map.iter().map(|(key, value)| (key.clone(), Value::recorded(value))).collect(),
                    ),
                }
            }
        }
    }

    fn word(word: &str, value: &Json) -> Value {
        match word {
            "$bin" => Value::Bin(STANDARD.decode(value.as_str().unwrap()).unwrap()),
            "$date" => value.as_str().map_or(Value::Null, |text| Value::Text(text.into())),
            "$undefined" => Value::Null,
            "$num" => Value::Number(value.as_str().unwrap().parse().unwrap()),
            "$utf16" => Value::Broken,
            other => panic!("{other} is not known here"),
        }
    }

    fn of(payload: &Payload) -> Value {
        payload.decode().unwrap_or_else(|error| panic!("{payload:?}: {error}"))
    }

    fn at(&mut self, key: &str) -> Option<&mut Value> {
        match self {
            Value::Map(map) => map.get_mut(key),
            _ => None,
        }
    }

    fn has_broken_text(&self) -> bool {
        match self {
            Value::Broken => true,
            Value::List(values) => values.iter().any(Value::has_broken_text),
            Value::Map(map) => map.values().any(Value::has_broken_text),
            _ => false,
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Number(value as f64))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Number(value as f64))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Number(value))
            }
            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.into()))
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
                Ok(Value::Bin(bytes.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Value::List(values))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
                let mut map = BTreeMap::new();
                while let Some((key, value)) = entries.next_entry()? {
                    map.insert(key, value);
                }
                Ok(Value::Map(map))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Describes a payload: its value, or that it contains text that Rust can't represent.
fn payload(payload: &Payload, like: &Value) -> Value {
    if !like.has_broken_text() {
        return Value::of(payload);
    }
    // The value may be refused, but without a panic. The peer's bytes are passed on unchanged.
    let _ = payload.decode::<Json>();
    let _ = payload.decode::<Vec<String>>();
    let _ = payload.event_name();
    match payload.encoding() {
        Encoding::Json => {
            assert!(payload.as_json().unwrap().contains(r#""\ud83d","a\udc00b""#), "{payload:?}")
        }
        Encoding::MsgPack => {
            assert!(payload.bytes().ends_with(b"\xa3\xed\xa0\xbd\xa5a\xed\xb0\x80b"), "{payload:?}");
        }
    }
    like.clone()
}

fn map(entries: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    Value::Map(entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
}

fn text(text: impl AsRef<str>) -> Value {
    Value::Text(text.as_ref().to_owned())
}

fn texts<T: AsRef<str>>(all: &[T]) -> Value {
    Value::List(all.iter().map(text).collect())
}

fn number(number: impl Into<u64>) -> Value {
    Value::Number(number.into() as f64)
}

fn opts(opts: &BroadcastOptions) -> Value {
    let flags = &opts.flags;
    let mut known = match map([
        ("volatile", flags.volatile.map(Value::Bool)),
        ("compress", flags.compress.map(Value::Bool)),
        ("local", flags.local.map(Value::Bool)),
        ("broadcast", flags.broadcast.map(Value::Bool)),
        ("binary", flags.binary.map(Value::Bool)),
        ("timeout", flags.timeout.map(|timeout| number(u64::try_from(timeout.as_millis()).unwrap()))),
        ("expectSingleResponse", flags.expect_single_response.map(Value::Bool)),
    ]) {
        Value::Map(known) => known,
        other => panic!("{other:?}"),
    };
    known.extend(flags.other.iter().map(|(key, value)| (key.to_string(), Value::of(value))));
    map([
        ("rooms", Some(texts(&opts.rooms))),
        ("except", Some(texts(&opts.except))),
        ("flags", Some(Value::Map(known))),
    ])
}

fn socket(socket: &RemoteSocket) -> Value {
    map([
        ("id", Some(text(&socket.id))),
        ("handshake", Some(Value::of(&socket.handshake))),
        ("rooms", Some(texts(&socket.rooms))),
        ("data", Some(Value::of(&socket.data))),
    ])
}

/// Returns the message in the shape in which the peers hold it. `like` is the recorded data, which
/// is needed only where text is broken.
fn described(body: &Body, like: &Value) -> Option<Value> {
    Some(match body {
        Body::InitialHeartbeat | Body::Heartbeat | Body::AdapterClose => return None,
        Body::Broadcast { packet, opts: to, request_id } => {
            let like = match like {
                Value::Map(data) => match &data["packet"] {
                    Value::Map(packet) => &packet["data"],
                    other => other,
                },
                other => other,
            };
            let packet = map([
                ("type", Some(number(2_u8))),
                ("data", Some(payload(packet.data(), like))),
                ("nsp", packet.nsp().map(text)),
                ("id", packet.id().map(number)),
            ]);
            map([
                ("packet", Some(packet)),
                ("opts", Some(opts(to))),
                ("requestId", request_id.as_ref().map(|id| text(id.as_str()))),
            ])
        }
        Body::SocketsJoin { opts: to, rooms } | Body::SocketsLeave { opts: to, rooms } => {
            map([("opts", Some(opts(to))), ("rooms", Some(texts(rooms)))])
        }
        Body::DisconnectSockets { opts: to, close } => {
            map([("opts", Some(opts(to))), ("close", Some(Value::Bool(*close)))])
        }
        Body::FetchSockets { opts: to, request_id } => {
            map([("opts", Some(opts(to))), ("requestId", Some(text(request_id.as_str())))])
        }
        Body::FetchSocketsResponse { request_id, sockets } => map([
            ("requestId", Some(text(request_id.as_str()))),
            ("sockets", Some(Value::List(sockets.iter().map(socket).collect()))),
        ]),
        Body::ServerSideEmit { packet, request_id } => map([
            ("packet", Some(Value::of(packet))),
            ("requestId", request_id.as_ref().map(|id| text(id.as_str()))),
        ]),
        Body::ServerSideEmitResponse { request_id, packet } | Body::BroadcastAck { request_id, packet } => {
            map([("requestId", Some(text(request_id.as_str()))), ("packet", Some(Value::of(packet)))])
        }
        Body::BroadcastClientCount { request_id, client_count } => map([
            ("requestId", Some(text(request_id.as_str()))),
            ("clientCount", Some(number(*client_count))),
        ]),
    })
}

/// Checks all vectors of a file except sessions. Returns the number of vectors of each transport
/// and type.
fn check(file: &str) -> BTreeMap<(String, u8), usize> {
    let mut seen = BTreeMap::new();
    for vector in Vector::all(file).filter(|vector| vector.transport != "session") {
        let label = vector.label();
        let message = vector.decode();
        let says = &vector.message;
        assert_eq!(message.uid.as_str(), says["uid"].as_str().unwrap(), "{label}");
        assert_eq!(&*message.nsp, says["nsp"].as_str().unwrap(), "{label}");
        assert_eq!(u64::from(message.body.kind()), says["type"].as_u64().unwrap(), "{label}");

        let recorded = says.get("data").map(Value::recorded);
        let described_as =
            |message: &Message| described(&message.body, recorded.as_ref().unwrap_or(&Value::Null));
        let mut expected = recorded.clone();
        if let Some(Value::Map(data)) = &mut expected
            && matches!(message.body.kind(), 10 | 12)
        {
            // In JSON, an answer of `undefined` leaves no key behind. A caller gets `null` for it
            // in either encoding.
            data.entry("packet".into()).or_insert(Value::Null);
        }
        if label.contains("odd-rooms") {
            // A room that is a number is represented by its text.
            let rooms = expected.as_mut().and_then(|data| data.at("opts")?.at("rooms"));
            let Some(Value::List(rooms)) = rooms else { panic!("{label}: {expected:?}") };
            assert_eq!(rooms.last(), Some(&Value::Number(5.0)), "{label}");
            *rooms.last_mut().unwrap() = text("5");
        }
        assert_eq!(described_as(&message), expected, "{label}");

        check_again(&message, &label, described_as);
        *seen.entry((vector.transport, message.body.kind())).or_default() += 1;
    }
    seen
}

/// Checks that the crate reads its own output as the same message.
fn check_again(message: &Message, label: &str, described: impl Fn(&Message) -> Option<Value>) {
    let fields = entry::encode(message).unwrap_or_else(|error| panic!("{label}: {error}"));
    let again = entry::decode(&fields).unwrap_or_else(|error| panic!("{label}: {error}"));
    assert_eq!(described(&again), described(message), "{label}");
    if payload_encodings(message).all(|encoding| encoding == Encoding::Json)
        || payload_encodings(message).all(|encoding| encoding == Encoding::MsgPack)
    {
        assert_eq!(
            again, *message,
            "{label}: to the byte, where nothing had to be put into the other encoding"
        );
    }
    match pubsub::encode(message) {
        Ok(msgpack) => {
            let again = pubsub::decode(&msgpack).unwrap_or_else(|error| panic!("{label}: {error}"));
            match (label.ends_with("json-surrogate"), &again.body) {
                // MessagePack's strings are UTF-8, so lone surrogates are replaced.
                (true, Body::Broadcast { packet, .. }) => {
                    let texts: [String; 3] = packet.data().decode().unwrap();
                    assert_eq!(texts, ["event", "\u{fffd}", "a\u{fffd}b"], "{label}");
                }
                _ => assert_eq!(described(&again), described(message), "{label}"),
            }
        }
        // The key is plain in JSON. In MessagePack, Node's decoder would fail on it.
        Err(error) => assert!(label.ends_with("json-odd-keys"), "{label}: {error}"),
    }
}

fn payload_encodings(message: &Message) -> impl Iterator<Item = Encoding> + Clone {
    let (one, sockets): (Option<&Payload>, &[RemoteSocket]) = match &message.body {
        Body::Broadcast { packet, .. } => (Some(packet.data()), &[]),
        Body::FetchSocketsResponse { sockets, .. } => (None, sockets),
        Body::ServerSideEmit { packet, .. }
        | Body::ServerSideEmitResponse { packet, .. }
        | Body::BroadcastAck { packet, .. } => (Some(packet), &[]),
        _ => (None, &[]),
    };
    let payloads = one.into_iter().chain(sockets.iter().flat_map(|socket| [&socket.handshake, &socket.data]));
    payloads.map(Payload::encoding)
}

fn kinds(seen: &BTreeMap<(String, u8), usize>, transport: &str) -> Vec<u8> {
    seen.iter()
        .filter(|((of, _), count)| of == transport && **count > 0)
        .map(|((_, kind), _)| *kind)
        .collect()
}

#[test]
fn every_vector_of_streams_02() {
    let seen = check(STREAMS_02);
    if cfg!(miri) {
        return;
    }
    assert_eq!(
        kinds(&seen, "stream"),
        (1..=13).collect::<Vec<u8>>(),
        "all thirteen types, all on the stream"
    );
    assert_eq!(kinds(&seen, "pubsub"), [0_u8; 0]);
    assert_eq!(seen.values().sum::<usize>(), 122, "{seen:?}");
}

#[test]
fn every_vector_of_streams_03() {
    let seen = check(STREAMS_03);
    if cfg!(miri) {
        return;
    }
    assert_eq!(kinds(&seen, "stream"), [3, 4, 5, 6]);
    assert_eq!(kinds(&seen, "pubsub"), [3, 7, 8, 9, 10, 11, 12]);
    assert_eq!(seen.values().sum::<usize>(), 125, "{seen:?}");
}

/// If no information was lost, the crate writes the same bytes as the peer.
#[test]
fn entries_are_written_byte_for_byte_as_the_peers_write_them() {
    let (mut same, mut other) = (0, Vec::new());
    for vector in
        Vector::all(STREAMS_02).chain(Vector::all(STREAMS_03)).filter(|vector| vector.transport == "stream")
    {
        match entry::encode(&vector.decode()).unwrap() == vector.entry() {
            true => same += 1,
            false => other.push(vector.label()),
        }
    }
    // An answer of `undefined` is written as null, as Node represents it. A room that is a number
    // is written as text, too.
    other.retain(|label| !label.contains("undefined") && !label.contains("odd-rooms"));
    assert_eq!(other, [""; 0]);
    assert!(same > if cfg!(miri) { 5 } else { 190 }, "{same}");
}

/// A session is read as the peers mean it, and written as they write it.
#[test]
fn sessions_are_read_and_written_byte_for_byte() {
    let lines = STREAMS_02.lines().chain(STREAMS_03.lines());
    let sessions = lines.filter(|line| line.contains(r#""transport":"session""#));
    let sessions: Vec<Vector> = sessions.flat_map(Vector::all).collect();
    assert_eq!(sessions.len(), 2);
    for vector in sessions {
        let read = session::decode(vector.value.as_bytes()).unwrap();
        assert_eq!(*read.sid, *vector.message["sid"].as_str().unwrap());
        assert_eq!(*read.pid, *vector.message["pid"].as_str().unwrap());
        let rooms: Vec<&str> = read.rooms.iter().map(|room| &**room).collect();
        assert_eq!(serde_json::to_value(rooms).unwrap(), vector.message["rooms"]);
        assert_eq!(Value::of(&read.data), Value::recorded(&vector.message["data"]));
        assert_eq!(session::encode(&read).unwrap(), vector.value, "{}", vector.label());
    }
}

#[test]
fn the_test_can_tell_values_apart() {
    let recorded = |text: &str| Value::recorded(&serde_json::from_str(text).unwrap());
    assert_eq!(recorded(r#"{"$num":"NaN"}"#), recorded(r#"{"$num":"NaN"}"#));
    for (a, b) in [
        (r#"{"$bin":"AA=="}"#, r#"{"$bin":"AQ=="}"#),
        (r#"{"$bin":""}"#, "\"\""),
        ("1", "1.5"),
        ("{}", "[]"),
        (r#"{"a":null}"#, "{}"),
        (r#"{"$utf16":[55357]}"#, r#""x""#),
        (r#"{"$num":"Infinity"}"#, r#"{"$num":"-Infinity"}"#),
    ] {
        assert_ne!(recorded(a), recorded(b));
    }
}
