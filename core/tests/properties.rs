//! What holds for every message, every input and every order of events.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;
use serde_json::Value as Json;
use sio_streams_core::wire::{entry, pubsub};
use sio_streams_core::{
    Body, BroadcastOptions, ByteString, Command, CommandError, CommandId, Config, Delivery, Dialect,
    Encoding, Engine, Entry, EntryId, Event, Fields, Flags, Handshake, Lane, Limits, LocalSocket, MAX_DEPTH,
    Message, NodeId, Packet, Payload, PayloadError, RemoteSocket, Reply, RequestId, RoomChange, Rooms,
    StreamInfo, Time,
};

/// The same cases in every run; other and more ones with `PROPTEST_RNG_SEED` and `PROPTEST_CASES`.
fn config(cases: u32) -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { cases },
        rng_seed: match given.rng_seed {
            RngSeed::Random => RngSeed::Fixed(1),
            fixed => fixed,
        },
        failure_persistence: None,
        ..given
    }
}

// ---- values -------------------------------------------------------------------------------------------------

const SAFE: i64 = (1 << 53) - 1;

/// A JSON value that comes back the same from every encoding.
fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-SAFE..=SAFE).prop_map(Json::from),
        any::<f32>().prop_map(|n| Json::from(f64::from(n as i16) + 0.25)),
        ".{0,12}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Json::from),
            btree_map("[a-zü]{0,4}", inner, 0..5).prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

fn payload_of(values: impl Strategy<Value = Json>) -> impl Strategy<Value = Payload> {
    (values, any::<bool>()).prop_map(|(value, packed)| match packed {
        false => Payload::from_json(value.to_string()).unwrap(),
        true => Payload::from_msgpack(packed_value(&value)).unwrap(),
    })
}

fn packed_value(value: &Json) -> Vec<u8> {
    // Through the crate's own writer: a message with this one payload, cut out of it again by its reader.
    let plain = Payload::from_json(value.to_string()).unwrap();
    let body = Body::BroadcastAck { request_id: RequestId::new("r"), packet: plain };
    let packed = pubsub::encode(&Message { uid: NodeId::new("u"), nsp: "/".into(), body }).unwrap();
    match pubsub::decode(&packed).unwrap().body {
        Body::BroadcastAck { packet, .. } => packet.bytes().to_vec(),
        other => panic!("{other:?}"),
    }
}

fn payload() -> impl Strategy<Value = Payload> {
    payload_of(json())
}

fn event() -> impl Strategy<Value = Payload> {
    payload_of(
        (".{0,6}", vec(json(), 0..4))
            .prop_map(|(name, args)| Json::from([vec![Json::from(name)], args].concat())),
    )
}

fn name() -> impl Strategy<Value = ByteString> {
    ".{0,8}".prop_map(ByteString::from)
}

fn names() -> impl Strategy<Value = Vec<ByteString>> {
    vec(name(), 0..4)
}

fn request_id() -> impl Strategy<Value = RequestId> {
    ".{0,16}".prop_map(RequestId::new)
}

fn flags() -> impl Strategy<Value = Flags> {
    let switches = [(); 6].map(|()| option::of(any::<bool>()));
    let other =
        btree_map("x[a-z]{1,5}", payload_of(json().prop_filter("a null is a null", |v| !v.is_null())), 0..3);
    (switches, option::of(0..=SAFE as u64), other).prop_map(|(switches, timeout, other)| {
        let [volatile, compress, local, broadcast, binary, expect_single_response] = switches;
        Flags {
            volatile,
            compress,
            local,
            broadcast,
            binary,
            timeout: timeout.map(Duration::from_millis),
            expect_single_response,
            other: other.into_iter().map(|(key, value)| (key.into(), value)).collect(),
        }
    })
}

fn opts() -> impl Strategy<Value = BroadcastOptions> {
    (names(), names(), flags()).prop_map(|(rooms, except, flags)| BroadcastOptions { rooms, except, flags })
}

fn packet() -> impl Strategy<Value = Packet> {
    (any::<u8>(), event(), option::of(name()), option::of(0..=SAFE as u64))
        .prop_map(|(kind, data, nsp, id)| Packet { kind, data, nsp, id })
}

fn socket() -> impl Strategy<Value = RemoteSocket> {
    (name(), payload(), names(), payload()).prop_map(|(id, handshake, rooms, data)| RemoteSocket {
        id,
        handshake,
        rooms,
        data,
    })
}

fn body() -> BoxedStrategy<Body> {
    prop_oneof![
        Just(Body::InitialHeartbeat),
        Just(Body::Heartbeat),
        (packet(), opts(), option::of(request_id())).prop_map(|(packet, opts, request_id)| Body::Broadcast {
            packet,
            opts,
            request_id
        }),
        (opts(), names()).prop_map(|(opts, rooms)| Body::SocketsJoin { opts, rooms }),
        (opts(), names()).prop_map(|(opts, rooms)| Body::SocketsLeave { opts, rooms }),
        (opts(), any::<bool>()).prop_map(|(opts, close)| Body::DisconnectSockets { opts, close }),
        (opts(), request_id()).prop_map(|(opts, request_id)| Body::FetchSockets { opts, request_id }),
        (request_id(), vec(socket(), 0..3))
            .prop_map(|(request_id, sockets)| Body::FetchSocketsResponse { request_id, sockets }),
        (event(), option::of(request_id()))
            .prop_map(|(packet, request_id)| Body::ServerSideEmit { packet, request_id }),
        (request_id(), payload())
            .prop_map(|(request_id, packet)| Body::ServerSideEmitResponse { request_id, packet }),
        (request_id(), 0..=SAFE as u64)
            .prop_map(|(request_id, client_count)| Body::BroadcastClientCount { request_id, client_count }),
        (request_id(), payload()).prop_map(|(request_id, packet)| Body::BroadcastAck { request_id, packet }),
        Just(Body::AdapterClose),
    ]
    .boxed()
}

fn message() -> impl Strategy<Value = Message> {
    ("[0-9a-f]{16}|.{0,8}", "/.{0,8}", body()).prop_map(|(uid, nsp, body)| Message {
        uid: NodeId::new(uid),
        nsp: nsp.into(),
        body,
    })
}

/// The message with every payload as plain JSON text: equal for equal values, however they are encoded.
fn plain(message: &Message) -> Message {
    let mut message = message.clone();
    let flat = |payload: &mut Payload| {
        let value: Json = payload.decode().unwrap_or_else(|error| panic!("{payload:?}: {error}"));
        *payload = Payload::from_json(value.to_string()).unwrap();
    };
    match &mut message.body {
        Body::Broadcast { packet, opts, .. } => {
            flat(&mut packet.data);
            opts.flags.other.iter_mut().for_each(|(_, value)| flat(value));
        }
        Body::SocketsJoin { opts, .. }
        | Body::SocketsLeave { opts, .. }
        | Body::DisconnectSockets { opts, .. }
        | Body::FetchSockets { opts, .. } => opts.flags.other.iter_mut().for_each(|(_, value)| flat(value)),
        Body::FetchSocketsResponse { sockets, .. } => sockets.iter_mut().for_each(|socket| {
            flat(&mut socket.handshake);
            flat(&mut socket.data);
        }),
        Body::ServerSideEmit { packet, .. }
        | Body::ServerSideEmitResponse { packet, .. }
        | Body::BroadcastAck { packet, .. } => flat(packet),
        Body::InitialHeartbeat | Body::Heartbeat | Body::BroadcastClientCount { .. } | Body::AdapterClose => {
        }
    }
    message
}

/// Paths of the keys in the data that hold null, payloads left out.
fn nulls(data: &Json, path: &str, out: &mut Vec<String>) {
    const PAYLOADS: [&str; 5] =
        ["/packet/data", "/packet", "/handshake", "/sockets/data", "/sockets/handshake"];
    match data {
        Json::Null => out.push(path.to_owned()),
        Json::Object(map) => map.iter().for_each(|(key, value)| {
            let path = format!("{path}/{key}");
            if !PAYLOADS.contains(&&*path) || path == "/packet" && value.get("type").is_some() {
                nulls(value, &path, out);
            }
        }),
        Json::Array(values) if !path.starts_with("/opts/flags/x") => {
            values.iter().for_each(|value| nulls(value, path, out));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn what_is_written_to_a_stream_reads_back_the_same(message in message()) {
        let fields = entry::encode(&message).unwrap();
        let again = entry::decode(&fields).unwrap();
        prop_assert_eq!(plain(&again), plain(&message));
        let text = fields.get("data").cloned().unwrap_or_default();
        if text.first() == Some(&b'{') {
            prop_assert_eq!(&again, &message, "JSON is not touched");
        }
        // Written a second time it is the same to the byte.
        prop_assert_eq!(entry::encode(&again).unwrap(), fields);
    }

    #[test]
    fn what_is_published_reads_back_the_same(message in message()) {
        let packed = pubsub::encode(&message).unwrap();
        let again = pubsub::decode(&packed).unwrap();
        prop_assert_eq!(plain(&again), plain(&message));
        prop_assert_eq!(pubsub::encode(&again).unwrap(), packed);
    }

    #[test]
    fn what_is_absent_is_not_written_as_null(message in message()) {
        let in_json = plain(&message);
        let fields = entry::encode(&in_json).unwrap();
        if let Some(text) = fields.get("data") {
            let data: Json = serde_json::from_slice(text).unwrap();
            let mut found = Vec::new();
            nulls(&data, "", &mut found);
            found.retain(|path| !path.starts_with("/opts/flags/x"));
            prop_assert_eq!(found, Vec::<String>::new());
            prop_assert!(data.get("requestId").is_none_or(Json::is_string));
            if let Some(opts) = data.get("opts") {
                prop_assert!(opts["rooms"].is_array() && opts["except"].is_array() && opts["flags"].is_object());
            }
        } else {
            prop_assert!(matches!(message.body.kind(), 1 | 2 | 13));
        }
        for (name, value) in fields.iter() {
            prop_assert!(["uid", "nsp", "type", "data"].iter().any(|known| name == known.as_bytes()));
            prop_assert!(std::str::from_utf8(value).is_ok(), "Node reads every field as text");
        }
    }
}

// ---- what arrives --------------------------------------------------------------------------------------------

/// The type and the data of all recorded entries, and all recorded Pub/Sub messages.
struct Recorded {
    entries: Vec<(String, Vec<u8>)>,
    pushes: Vec<Vec<u8>>,
}

static RECORDED: LazyLock<Recorded> = LazyLock::new(|| {
    let mut recorded = Recorded { entries: Vec::new(), pushes: Vec::new() };
    for vector in vectors() {
        if let Some(payload) = vector["payload"].as_str() {
            recorded.pushes.push(STANDARD.decode(payload).unwrap());
        } else if let Some(fields) = vector["fields"].as_array() {
            let field =
                |name: &str| fields.iter().find(|field| field[0] == name).and_then(|field| field[1].as_str());
            if let (Some(kind), Some(data)) = (field("type"), field("data")) {
                recorded.entries.push((kind.to_owned(), data.into()));
            }
        }
    }
    assert!(recorded.entries.len() > 100 && recorded.pushes.len() > 30);
    recorded
});

fn vectors() -> Vec<Json> {
    [include_str!("vectors/streams-0.2.jsonl"), include_str!("vectors/streams-0.3.jsonl")]
        .into_iter()
        .flat_map(str::lines)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn fields(kind: &[u8], data: impl Into<Bytes>) -> Fields {
    let mut fields = Fields::new();
    fields.push("uid", "u");
    fields.push("nsp", "/");
    fields.push("type", Bytes::copy_from_slice(kind));
    fields.push("data", data);
    fields
}

/// Reads it in every way that there is. If it is a message, it can be looked into and written again.
fn digest(decoded: Result<Message, impl std::error::Error>) {
    match decoded {
        Err(error) => drop(error.to_string()),
        Ok(message) => {
            let _ = format!("{message:?}");
            if let Body::Broadcast { packet: Packet { data, .. }, .. }
            | Body::ServerSideEmit { packet: data, .. }
            | Body::BroadcastAck { packet: data, .. } = &message.body
            {
                let _ = (
                    data.decode::<Json>(),
                    data.decode::<String>(),
                    data.decode::<Vec<Json>>(),
                    data.event_name(),
                );
            }
            if let Ok(fields) = entry::encode(&message) {
                entry::decode(&fields).unwrap();
            }
            if let Ok(packed) = pubsub::encode(&message) {
                pubsub::decode(&packed).unwrap();
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Cut(Index),
    Drop(Index, u8),
    Repeat(Index, u8),
    Put(Index, u8),
    Splice(Index, Index),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), 1..40_u8).prop_map(|(at, len)| Damage::Drop(at, len)),
        (any::<Index>(), 1..40_u8).prop_map(|(at, len)| Damage::Repeat(at, len)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Put(at, byte)),
        (any::<Index>(), any::<Index>()).prop_map(|(at, from)| Damage::Splice(at, from)),
    ];
    vec(one, 1..5)
}

fn damaged(mut bytes: Vec<u8>, damage: &[Damage], other: &[u8]) -> Vec<u8> {
    for one in damage {
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len();
        let until = |at: usize, some: u8| (at + usize::from(some)).min(len);
        match one {
            Damage::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
            Damage::Cut(at) => bytes.truncate(at.index(len)),
            Damage::Drop(at, some) => drop(bytes.drain(at.index(len)..until(at.index(len), *some))),
            Damage::Repeat(at, some) => {
                let again = bytes[at.index(len)..until(at.index(len), *some)].to_vec();
                bytes.splice(at.index(len)..at.index(len), again);
            }
            Damage::Put(at, byte) => bytes[at.index(len)] = *byte,
            Damage::Splice(at, from) => {
                bytes.truncate(at.index(len));
                if !other.is_empty() {
                    bytes.extend_from_slice(&other[from.index(other.len())..]);
                }
            }
        }
    }
    bytes
}

/// JSON in the shape of a message, with wrong values in it here and there.
fn almost() -> impl Strategy<Value = Json> {
    let odd = prop_oneof![
        4 => json(),
        1 => select(vec![0.5, -0.0, 1e21, 1e-7, 2.0, 1e300, -1.5]).prop_map(Json::from),
        1 => any::<u64>().prop_map(Json::from),
        1 => select(vec![r#""\ud83d""#, "1e400", "-0.0", "{}", "[]", "[[]]", "[null]"])
            .prop_map(|text| serde_json::from_str(text).unwrap_or(Json::Null)),
    ]
    .boxed();
    let or = |right: BoxedStrategy<Json>| prop_oneof![6 => right, 1 => odd.clone()].boxed();
    let object = |keys: &[(&'static str, BoxedStrategy<Json>)]| {
        let keys: Vec<_> =
            keys.iter().map(|(key, value)| option::weighted(0.9, (Just(*key), value.clone()))).collect();
        keys.prop_map(|keys| {
            keys.into_iter().flatten().map(|(key, value)| (key.to_owned(), value)).collect::<Json>()
        })
        .boxed()
    };
    let text = || ".{0,5}".prop_map(Json::from).boxed();
    let list = or(vec(or(text()), 0..4).prop_map(Json::from).boxed());
    let flag = or(any::<bool>().prop_map(Json::from).boxed());
    let count = or((0..9_u64).prop_map(Json::from).boxed());
    let flags = or(object(&[("volatile", flag.clone()), ("timeout", count.clone()), ("mine", odd.clone())]));
    let opts = or(object(&[("rooms", list.clone()), ("except", list.clone()), ("flags", flags)]));
    let data = or(vec(or(text()), 1..4).prop_map(Json::from).boxed());
    let packet =
        or(object(&[("type", count.clone()), ("data", data), ("nsp", text()), ("id", count.clone())]));
    let socket = object(&[
        ("id", or(text())),
        ("handshake", odd.clone()),
        ("rooms", list.clone()),
        ("data", odd.clone()),
    ]);
    object(&[
        ("packet", packet),
        ("opts", opts),
        ("requestId", or(text())),
        ("rooms", list),
        ("close", flag),
        ("sockets", or(vec(or(socket), 0..3).prop_map(Json::from).boxed())),
        ("clientCount", count),
    ])
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200), kind in "[0-9]{1,2}|.{0,4}") {
        let bytes = Bytes::from(bytes);
        digest(pubsub::decode(&bytes));
        digest(entry::decode(&fields(kind.as_bytes(), bytes.clone())));
        digest(entry::decode(&fields(kind.as_bytes(), STANDARD.encode(&bytes))));
        digest(entry::decode(&[(bytes.clone(), bytes.clone())].into_iter().collect()));
        let some: Fields = [("nsp", bytes.clone()), ("type", "3".into()), ("uid", bytes.clone())].into_iter().collect();
        digest(entry::decode(&some));
        let _ = Payload::from_json(bytes.clone()).map(|payload| payload.decode::<Json>().map(|_| ()));
        let _ = Payload::from_msgpack(bytes).map(|payload| payload.decode::<Json>().map(|_| ()));
    }

    #[test]
    fn damaged_entries_do_no_harm(which in any::<Index>(), splice in any::<Index>(), damage in damage()) {
        let (kind, data) = which.get(&RECORDED.entries);
        let (_, other) = splice.get(&RECORDED.entries);
        digest(entry::decode(&fields(kind.as_bytes(), damaged(data.clone(), &damage, other))));
        // The damage is done to what the base64 stands for, too.
        if let (Ok(packed), Ok(other)) = (STANDARD.decode(data), STANDARD.decode(other)) {
            digest(entry::decode(&fields(kind.as_bytes(), STANDARD.encode(damaged(packed, &damage, &other)))));
        }
    }

    #[test]
    fn damaged_pub_sub_messages_do_no_harm(which in any::<Index>(), splice in any::<Index>(), damage in damage()) {
        let bytes = which.get(&RECORDED.pushes).clone();
        digest(pubsub::decode(&damaged(bytes, &damage, splice.get::<Vec<u8>>(&RECORDED.pushes)).into()));
    }

    #[test]
    fn almost_right_data_does_no_harm_and_means_the_same_in_both_encodings(data in almost(), kind in 0..15_u8) {
        let text = data.to_string();
        let from_json = entry::decode(&fields(kind.to_string().as_bytes(), text.clone()));
        let from_packed = Payload::from_json(text).map(|_| STANDARD.encode(packed_value(&data)));
        if let Ok(packed) = from_packed {
            let from_packed = entry::decode(&fields(kind.to_string().as_bytes(), packed));
            match (&from_json, &from_packed) {
                (Ok(a), Ok(b)) => prop_assert_eq!(plain(a), plain(b)),
                (Err(_), Err(_)) => {}
                _ => prop_assert!(false, "one is a message: {from_json:?}, {from_packed:?}"),
            }
            digest(from_packed);
        }
        digest(from_json);
    }
}

// ---- payloads ------------------------------------------------------------------------------------------------

/// Whether `@msgpack/msgpack` would fail on the value, or change it, or whether it is too deep. By building the value, unlike the crate.
fn refused(value: &Packed, depth: usize) -> bool {
    match value {
        Packed::Leaf(_) => false,
        Packed::Integer(n) => n.unsigned_abs() > SAFE.unsigned_abs().into(),
        Packed::List(values) => {
            depth == MAX_DEPTH - 5 || values.iter().any(|value| refused(value, depth + 1))
        }
        Packed::Map(map) => {
            depth == MAX_DEPTH - 5
                || map.iter().any(|(key, value)| {
                    let good = matches!(key, Packed::Leaf(key) if key[0] == 0xa9 && key[1..] != *b"__proto__")
                        || matches!(key, Packed::Leaf(key) if key[0] & 0xf0 == 0xa0 && key[0] != 0xa9);
                    !good || refused(value, depth + 1)
                })
        }
    }
}

#[derive(Clone, Debug)]
enum Packed {
    /// Bytes of a scalar that is neither an integer nor a container.
    Leaf(Vec<u8>),
    Integer(i128),
    List(Vec<Packed>),
    Map(Vec<(Packed, Packed)>),
}

impl Packed {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Packed::Leaf(bytes) => out.extend(bytes),
            Packed::Integer(n) if *n >= 0 => {
                out.push(0xcf);
                out.extend(u64::try_from(*n).unwrap().to_be_bytes());
            }
            Packed::Integer(n) => {
                out.push(0xd3);
                out.extend(i64::try_from(*n).unwrap().to_be_bytes());
            }
            Packed::List(values) => {
                out.push(0x90 | u8::try_from(values.len()).unwrap());
                values.iter().for_each(|value| value.write(out));
            }
            Packed::Map(map) => {
                out.push(0x80 | u8::try_from(map.len()).unwrap());
                map.iter().for_each(|(key, value)| {
                    key.write(out);
                    value.write(out);
                });
            }
        }
    }
}

fn any_packed() -> impl Strategy<Value = Packed> {
    let text =
        |text: &str| Packed::Leaf([&[0xa0 | u8::try_from(text.len()).unwrap()], text.as_bytes()].concat());
    let scalar = prop_oneof![
        select(vec![
            &b"\xc0"[..],
            b"\xc2",
            b"\xc3",
            b"\xc4\x01x",
            b"\xca\x7f\x80\x00\x00",
            b"\xd4\x05x",
            b"\xa2\xff\xff"
        ])
        .prop_map(|bytes| Packed::Leaf(bytes.to_vec())),
        "[a-z]{0,5}".prop_map(move |name| text(&name)),
        (-SAFE..=SAFE).prop_map(|n| Packed::Integer(n.into())),
    ];
    let odd = prop_oneof![any::<u64>().prop_map(i128::from), any::<i64>().prop_map(i128::from)]
        .prop_map(Packed::Integer);
    let leaf = prop_oneof![15 => scalar, 1 => odd];
    leaf.prop_recursive(4, 20, 4, move |inner| {
        let key = prop_oneof![
            20 => "[a-z]{0,5}".prop_map(move |name| text(&name)),
            1 => Just(text("__proto__")),
            1 => inner.clone(),
        ];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Packed::List),
            vec((key, inner), 0..4).prop_map(Packed::Map),
        ]
    })
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn messagepack_that_node_would_change_or_refuse_is_refused(value in any_packed(), wraps in 85..100_usize) {
        let mut bytes = Vec::new();
        value.write(&mut bytes);
        match Payload::from_msgpack(bytes.clone()) {
            Ok(payload) => {
                prop_assert!(!refused(&value, 0));
                prop_assert_eq!(payload.bytes(), &bytes);
                prop_assert_eq!(payload.encoding(), Encoding::MsgPack);
            }
            Err(PayloadError::Key | PayloadError::Integer | PayloadError::Depth) => prop_assert!(refused(&value, 0)),
            Err(other) => prop_assert!(false, "{other}"),
        }
        let mut nested = vec![0x91; wraps];
        nested.extend(&bytes);
        prop_assert_eq!(Payload::from_msgpack(nested).is_err(), refused(&value, wraps) || wraps > MAX_DEPTH - 5);
        bytes.push(0xc0);
        match Payload::from_msgpack(bytes.clone()) {
            Err(PayloadError::MsgPack(_)) => {}
            // A bad key is seen before the end.
            other => prop_assert!(other.is_err() && refused(&value, 0), "trailing"),
        }
        bytes.truncate(bytes.len() - 2);
        prop_assert!(Payload::from_msgpack(bytes).is_err(), "cut off");
    }

    #[test]
    fn text_is_taken_if_it_is_json_and_not_too_deep(value in json(), wraps in 0..120_usize, blanks in "[ \t\r\n]{0,3}") {
        let text = value.to_string();
        let depth = depth_of(&value);
        let nested = format!("{}{text}{}", "[".repeat(wraps), "]".repeat(wraps));
        match Payload::from_json(format!("{blanks}{nested}{blanks}")) {
            Ok(payload) => {
                prop_assert!(wraps + depth <= MAX_DEPTH - 5);
                prop_assert_eq!(payload.as_json(), Some(&*nested), "the blanks are gone");
            }
            Err(PayloadError::Depth) => prop_assert!(wraps + depth > MAX_DEPTH - 5),
            Err(other) => prop_assert!(false, "{other}"),
        }
        for bad in [format!("{text},"), format!("[{text}"), format!("{text}\u{0}"), format!("\u{feff}{text}"), String::new()] {
            prop_assert!(matches!(Payload::from_json(bad), Err(PayloadError::Json(_))));
        }
    }

    #[test]
    fn encoding_keeps_the_value_and_refuses_integers_that_javascript_would_change(value in json(), big in any::<u64>(), negative in any::<i64>()) {
        let payload = Payload::encode(&value).unwrap();
        prop_assert_eq!(payload.encoding(), Encoding::Json);
        prop_assert_eq!(payload.decode::<Json>().unwrap(), value.clone());
        let binary = Payload::encode(&(serde_bytes::Bytes::new(&[1, 2]), &value)).unwrap();
        prop_assert_eq!(binary.encoding(), Encoding::MsgPack);
        let (bytes, again): (serde_bytes::ByteBuf, Json) = binary.decode().unwrap();
        prop_assert_eq!((&bytes[..], again), (&[1, 2][..], value));
        prop_assert_eq!(Payload::encode(&big).is_ok(), big <= SAFE.unsigned_abs());
        prop_assert_eq!(Payload::encode(&[negative]).is_ok(), negative.unsigned_abs() <= SAFE.unsigned_abs());
    }

    #[test]
    fn an_event_is_its_name_and_its_arguments(name in ".{0,8}", args in vec(json(), 0..4), binary in any::<bool>()) {
        let event = match binary {
            false => Payload::event(&name, &args).unwrap(),
            true => Payload::event(&name, &(&args, serde_bytes::Bytes::new(b"x"))).unwrap(),
        };
        prop_assert_eq!(event.event_name(), Some(name.clone()));
        if binary {
            let (first, rest, bytes): (String, Vec<Json>, serde_bytes::ByteBuf) = event.decode().unwrap();
            prop_assert_eq!((first, rest, &bytes[..]), (name, args, &b"x"[..]));
        } else {
            prop_assert_eq!(event.decode::<Vec<Json>>().unwrap(), [vec![Json::from(name)], args].concat());
        }
    }
}

fn depth_of(value: &Json) -> usize {
    match value {
        Json::Array(values) => 1 + values.iter().map(depth_of).max().unwrap_or(0),
        Json::Object(map) => 1 + map.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}

// ---- rooms ---------------------------------------------------------------------------------------------------

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Remove(u8),
    Join(u8, Vec<u8>),
    Leave(u8, Vec<u8>),
}

/// Sockets s0 to s7, rooms r0 to r5; the sockets' own rooms are rooms too.
fn step() -> impl Strategy<Value = Step> {
    let (socket, rooms) = (0..8_u8, || vec(0..14_u8, 0..5));
    prop_oneof![
        3 => socket.clone().prop_map(Step::Add),
        1 => socket.clone().prop_map(Step::Remove),
        4 => (socket.clone(), rooms()).prop_map(|(socket, rooms)| Step::Join(socket, rooms)),
        3 => (socket, rooms()).prop_map(|(socket, rooms)| Step::Leave(socket, rooms)),
    ]
}

fn room_name(room: u8) -> String {
    match room {
        0..6 => format!("r{room}"),
        _ => format!("s{}", room - 6),
    }
}

type Model = BTreeMap<String, BTreeSet<String>>;

fn members(model: &Model) -> Model {
    let mut rooms = Model::new();
    for (socket, of) in model {
        for room in of {
            rooms.entry(room.clone()).or_default().insert(socket.clone());
        }
    }
    rooms
}

/// What must be told when the memberships go from `rooms` on: nothing twice, and each room made before it is entered and gone after.
fn replay(rooms: &mut Model, changes: &[RoomChange]) {
    for change in changes {
        match change {
            RoomChange::Create { room } => {
                assert!(rooms.insert(room.to_string(), BTreeSet::new()).is_none(), "{room} is there already");
            }
            RoomChange::Join { room, socket } => {
                assert!(
                    rooms.get_mut(&**room).unwrap().insert(socket.to_string()),
                    "{socket} is in {room} already"
                );
            }
            RoomChange::Leave { room, socket } => {
                assert!(rooms.get_mut(&**room).unwrap().remove(&**socket), "{socket} is not in {room}");
            }
            RoomChange::Delete { room } => assert_eq!(rooms.remove(&**room), Some(BTreeSet::new()), "{room}"),
        }
    }
    assert!(rooms.values().all(|sockets| !sockets.is_empty()), "an empty room was not deleted: {rooms:?}");
}

fn sorted(names: Vec<ByteString>) -> Vec<String> {
    let count = names.len();
    let set: BTreeSet<String> = names.iter().map(ByteString::to_string).collect();
    assert_eq!(set.len(), count, "each once");
    set.into_iter().collect()
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn rooms_are_as_a_plain_model_has_them(
        seed in any::<[u8; 16]>(),
        steps in vec(step(), 0..60),
        to in vec(0..15_u8, 0..4),
        except in vec(0..15_u8, 0..3),
    ) {
        let mut rooms = Rooms::new(seed);
        let mut model = Model::new();
        let mut replayed = Model::new();
        let opts = BroadcastOptions {
            rooms: to.iter().map(|room| room_name(*room).into()).collect(),
            except: except.iter().map(|room| room_name(*room).into()).collect(),
            flags: Flags::default(),
        };
        for step in steps {
            let changes = match step {
                Step::Add(socket) => {
                    let socket = format!("s{socket}");
                    model.entry(socket.clone()).or_insert_with(|| [socket.clone()].into());
                    rooms.add(socket.into())
                }
                Step::Remove(socket) => {
                    let socket = format!("s{socket}");
                    model.remove(&socket);
                    rooms.remove(&socket)
                }
                Step::Join(socket, names) => {
                    let (socket, names): (_, Vec<_>) = (format!("s{socket}"), names.into_iter().map(room_name).collect());
                    if let Some(of) = model.get_mut(&socket) {
                        of.extend(names.iter().cloned());
                    }
                    rooms.join(&socket, names.into_iter().map(ByteString::from))
                }
                Step::Leave(socket, names) => {
                    let (socket, names): (_, Vec<_>) = (format!("s{socket}"), names.into_iter().map(room_name).collect());
                    if let Some(of) = model.get_mut(&socket) {
                        of.retain(|room| !names.contains(room));
                    }
                    rooms.leave(&socket, names.iter().map(String::as_str))
                }
            };
            replay(&mut replayed, &changes);
            let by_room = members(&model);
            prop_assert_eq!(&replayed, &by_room);
            prop_assert_eq!((rooms.socket_count(), rooms.room_count()), (model.len(), by_room.len()));
            for socket in (0..8).map(|socket| format!("s{socket}")) {
                prop_assert_eq!(rooms.contains(&socket), model.contains_key(&socket));
                let of = rooms.of(&socket).map(|of| sorted(of).into_iter().collect());
                prop_assert_eq!(of.as_ref(), model.get(&socket));
            }
            let wanted: Vec<String> = model
                .iter()
                .filter(|(_, of)| opts.rooms.is_empty() || opts.rooms.iter().any(|room| of.contains(&**room)))
                .filter(|(_, of)| !opts.except.iter().any(|room| of.contains(&**room)))
                .map(|(socket, _)| socket.clone())
                .collect();
            prop_assert_eq!(rooms.count_matching(&opts), wanted.len());
            prop_assert_eq!(sorted(rooms.matching(&opts)), wanted);
        }
    }
}

// ---- the engine ----------------------------------------------------------------------------------------------

/// One thing that happens to an engine.
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
    Respond { which: Index, times: u8 },
    Reply { which: Index, what: Answered },
    Push { nsp: usize, private: bool, message: Said },
    Link { lane: usize, up: bool },
    Timeout,
    Wait(u64),
}

/// What Redis answers to a command.
#[derive(Clone, Debug)]
enum Answered {
    Well { entries: Vec<(u8, Said)>, number: u64, behind: u8 },
    Refused,
    Lost,
    NotSent,
    Odd(u8),
    Twice,
}

/// What another node says.
#[derive(Clone, Debug)]
enum Said {
    /// A request id of ours is put in where there is one: an answer that counts.
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
        3 => (any::<Index>(), 0..3_u8).prop_map(|(which, times)| Input::Respond { which, times }),
        20 => (any::<Index>(), answered()).prop_map(|(which, what)| Input::Reply { which, what }),
        6 => (nsp(), any::<bool>(), said()).prop_map(|(nsp, private, message)| Input::Push { nsp, private, message }),
        2 => (0..6_usize, any::<bool>()).prop_map(|(lane, up)| Input::Link { lane, up }),
        3 => Just(Input::Timeout),
        3 => (0..8_000_000_u64).prop_map(Input::Wait),
    ]
}

/// An engine and what stands around it: everything that it hands out, as text.
struct World {
    engine: Engine,
    now: Time,
    log: String,
    /// Commands that wait for a reply.
    waiting: Vec<(CommandId, Command)>,
    replied: Vec<CommandId>,
    /// What the application still owes an answer to.
    owed: Vec<Event>,
    /// Ids of requests of this engine that have been seen on the wire.
    asked: Vec<RequestId>,
    last: EntryId,
}

impl World {
    fn new(dialect: Dialect, streams: u32, tight: bool, seed: u64) -> World {
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
        World {
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

    fn look_for_requests(&mut self, command: &Command) {
        let message = match command {
            Command::XAdd { fields, .. } => entry::decode(fields).expect("what ours writes, ours reads"),
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
            Command::PubSubNumSub { .. } => Reply::Count(*number),
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
                    let left = self.engine.leave(nsp, &socket, rooms.iter().map(String::as_str));
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
            Input::Push { nsp, private, message } => {
                let uid = if *private { format!("{}#", self.engine.uid()) } else { String::new() };
                let channel = format!("socket.io#{}#{uid}", NAMESPACES[*nsp]);
                let payload = match self.message(message) {
                    Ok(message) => pubsub::encode(&message).unwrap(),
                    Err(bytes) => bytes.into(),
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
                self.engine.handle_link(now, &lane, *up);
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
    let mut world = World::new(dialect, streams, tight, seed);
    world.drain();
    for nsp in [0, 1] {
        world.step(&Input::Open(nsp));
    }
    inputs.iter().for_each(|input| world.step(input));
    world.log
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn the_same_inputs_give_the_same_outputs_and_no_panic(
        dialect in select(vec![Dialect::Streams02, Dialect::Streams03, Dialect::Bridge]),
        streams in 1..3_u32,
        tight in proptest::bool::weighted(0.2),
        seed in any::<u64>(),
        inputs in vec(input(), 0..120),
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
