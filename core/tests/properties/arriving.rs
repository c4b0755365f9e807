//! Properties of input from outside.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value as Json;
use sio_streams_core::wire::{entry, pubsub};
use sio_streams_core::{Body, Fields, Message, Payload};

use crate::config;
use crate::values::*;

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
    assert!(recorded.entries.len() > 100 / STEP && recorded.pushes.len() > 30 / STEP);
    recorded
});

/// Miri is slow, so it uses only some of them.
const STEP: usize = if cfg!(miri) { 16 } else { 1 };

fn vectors() -> Vec<Json> {
    [include_str!("../vectors/streams-0.2.jsonl"), include_str!("../vectors/streams-0.3.jsonl")]
        .into_iter()
        .flat_map(str::lines)
        .step_by(STEP)
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

/// Reads the input in every way that there is. If it is a message, it can be inspected and written
/// again.
fn digest(decoded: Result<Message, impl std::error::Error>) {
    match decoded {
        Err(error) => drop(error.to_string()),
        Ok(message) => {
            let _ = format!("{message:?}");
            let data = match &message.body {
                Body::Broadcast { packet, .. } => Some(packet.data()),
                Body::ServerSideEmit { packet, .. } | Body::BroadcastAck { packet, .. } => Some(packet),
                _ => None,
            };
            if let Some(data) = data {
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
            if let Ok(msgpack) = pubsub::encode(&message) {
                pubsub::decode(&msgpack).unwrap();
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

/// Generates JSON in the shape of a message, with some wrong values.
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
        // The damage is also done to the bytes inside the base64.
        if let (Ok(msgpack), Ok(other)) = (STANDARD.decode(data), STANDARD.decode(other)) {
            digest(entry::decode(&fields(kind.as_bytes(), STANDARD.encode(damaged(msgpack, &damage, &other)))));
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
        let from_msgpack = Payload::from_json(text).map(|_| STANDARD.encode(msgpack_value(&data)));
        if let Ok(msgpack) = from_msgpack {
            let from_msgpack = entry::decode(&fields(kind.to_string().as_bytes(), msgpack));
            match (&from_json, &from_msgpack) {
                (Ok(a), Ok(b)) => prop_assert_eq!(plain(a), plain(b)),
                (Err(_), Err(_)) => {}
                _ => prop_assert!(false, "one is a message: {from_json:?}, {from_msgpack:?}"),
            }
            digest(from_msgpack);
        }
        digest(from_json);
    }
}
