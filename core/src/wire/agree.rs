//! Tests that all readers of a message agree. Each message can be read in more than one way: by the
//! fast path or in general, from JSON or from MessagePack, by a few of its keys or as a whole. All
//! ways must give the same result, and refuse the same input.
//!
//! The inputs are valid messages with something changed: a byte, or a whole key or value.

use bytes::Bytes;
use bytestring::ByteString;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;

use super::classic::{self, Asked, Keys};
use super::data::BROADCAST;
use super::entry::{self, Parts};
use super::json::{self, fast};
use super::{WireError, base64, encode, msgpack_body, pubsub};
use crate::command::Fields;
use crate::id::NodeId;
use crate::message::{Body, Message};
use crate::msgpack::{self, Facts, Reader};
use crate::payload::{Encoding, Payload};

/// The data of messages as the peers write it, with the messages' numbers.
const MESSAGES: [(u8, &str); 15] = [
    (
        3,
        r#"{"packet":{"type":2,"data":["hello",{"from":"ann","text":"a \"word\" é"},-1.5e-7,[[]],null,true]},"opts":{"rooms":["a","b"],"except":[],"flags":{}}}"#,
    ),
    (
        3,
        r#"{"packet":{"type":2,"data":["e"],"nsp":"/é"},"opts":{"rooms":[],"except":["x"],"flags":{"volatile":true,"compress":false,"timeout":500}},"requestId":"0123456789abcdef"}"#,
    ),
    (
        3,
        r#"{"packet":{"type":2,"data":["e",1]},"requestId":"r","opts":{"rooms":["a"],"except":["b","c"],"flags":{"local":true}}}"#,
    ),
    (3, r#"{"packet":{"type":2,"data":["e"],"id":7},"opts":{"rooms":["5"],"except":[]}}"#),
    (4, r#"{"opts":{"rooms":["a"],"except":[]},"rooms":["b","c"]}"#),
    (5, r#"{"opts":{"rooms":[],"except":[],"flags":{"broadcast":true}},"rooms":["b"]}"#),
    (6, r#"{"opts":{"rooms":[],"except":[]},"close":false}"#),
    (6, r#"{"opts":{"rooms":["a"],"except":[]},"close":true}"#),
    (
        7,
        r#"{"opts":{"rooms":[],"except":[],"flags":{"timeout":5000,"expectSingleResponse":true}},"requestId":"r"}"#,
    ),
    (
        8,
        r#"{"requestId":"r","sockets":[{"id":"s","handshake":{"time":"t"},"rooms":["s","a"],"data":{"x":1}}]}"#,
    ),
    (9, r#"{"packet":["event",1,{"a":[0]}]}"#),
    (9, r#"{"requestId":"r","packet":["event",1]}"#),
    (10, r#"{"requestId":"r","packet":[1,{"a":"b"}]}"#),
    (11, r#"{"requestId":"r","clientCount":12}"#),
    (12, r#"{"requestId":"r","packet":null}"#),
];

/// Requests and responses of the classic adapter.
const CLASSIC: [&str; 12] = [
    r#"{"type":0,"uid":"abcdef","requestId":"r","rooms":["a"]}"#,
    r#"{"type":1,"uid":"abcdef","requestId":"r"}"#,
    r#"{"type":2,"uid":"abcdef","opts":{"rooms":["a"],"except":[]},"rooms":["b"]}"#,
    r#"{"type":2,"uid":"abcdef","requestId":"r","sid":"s","room":"b"}"#,
    r#"{"type":3,"uid":"abcdef","opts":{"rooms":["a"],"except":[]},"rooms":["b"]}"#,
    r#"{"type":4,"uid":"abcdef","opts":{"rooms":["a"],"except":[]},"close":true}"#,
    r#"{"type":4,"uid":"abcdef","requestId":"r","sid":"s","close":true}"#,
    r#"{"type":5,"uid":"abcdef","requestId":"r","opts":{"rooms":["a"],"except":[]}}"#,
    r#"{"type":6,"uid":"abcdef","requestId":"r","data":["event",1]}"#,
    r#"{"type":7,"uid":"abcdef","requestId":"r","packet":{"type":2,"data":["e"],"nsp":"/"},"opts":{"rooms":[],"except":[],"flags":{"volatile":true}}}"#,
    r#"{"type":8,"requestId":"r","clientCount":3}"#,
    r#"{"requestId":"r","sockets":[{"id":"s","rooms":["s"],"data":1}],"rooms":["a"]}"#,
];

/// Replacements for a value.
const VALUES: [&str; 30] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "2",
    "5",
    "50",
    "-1",
    "1.5",
    "1e2",
    "9007199254740993",
    "1e400",
    "18446744073709551616",
    "\"\"",
    "\"a\"",
    "\"ab\"",
    "\"2\"",
    "\"\\u0061\"",
    "\"\\ud83d\"",
    "\"connect\"",
    "[]",
    "[\"a\"]",
    "[1,null,{}]",
    "[\"con\\u006eect\"]",
    "{}",
    "{\"rooms\":\"ab\"}",
    "{\"volatile\":\"\"}",
    "[[[[[]]]]]",
];

const KEYS: [&str; 16] = [
    "packet",
    "opts",
    "rooms",
    "except",
    "flags",
    "close",
    "type",
    "data",
    "nsp",
    "id",
    "requestId",
    "volatile",
    "timeout",
    "sockets",
    "uid",
    "x",
];

/// Bytes that have a meaning in one of the encodings.
const BYTES: &[u8] = b"{}[]:,\"\\ \ntfn0129-+.eEXu\x00\x1f\x7f\x80\x90\xa1\xc0\xc2\xc3\xc4\xca\xd4\xff";

/// A change of a byte.
#[derive(Clone, Debug)]
enum Byte {
    Changed(Index, u8),
    Flipped(Index, u8),
    Dropped(Index),
    Doubled(Index),
    Inserted(Index, u8),
    Swapped(Index, Index),
    Cut(Index),
    Repeated(Index, Index),
}

fn byte() -> impl Strategy<Value = Byte> {
    let any_byte = || prop_oneof![3 => select(BYTES), 1 => any::<u8>()];
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), any_byte()).prop_map(|(at, byte)| Byte::Changed(at, byte)),
        1 => (at(), 0..8_u8).prop_map(|(at, bit)| Byte::Flipped(at, bit)),
        2 => at().prop_map(Byte::Dropped),
        2 => at().prop_map(Byte::Doubled),
        2 => (at(), any_byte()).prop_map(|(at, byte)| Byte::Inserted(at, byte)),
        1 => (at(), at()).prop_map(|(a, b)| Byte::Swapped(a, b)),
        1 => at().prop_map(Byte::Cut),
        1 => (at(), at()).prop_map(|(a, b)| Byte::Repeated(a, b)),
    ]
}

fn change(bytes: &mut Vec<u8>, change: &Byte) {
    let len = bytes.len();
    if len == 0 {
        return;
    }
    match *change {
        Byte::Changed(at, byte) => bytes[at.index(len)] = byte,
        Byte::Flipped(at, bit) => bytes[at.index(len)] ^= 1 << bit,
        Byte::Dropped(at) => drop(bytes.remove(at.index(len))),
        Byte::Doubled(at) => bytes.insert(at.index(len), bytes[at.index(len)]),
        Byte::Inserted(at, byte) => bytes.insert(at.index(len), byte),
        Byte::Swapped(a, b) => bytes.swap(a.index(len), b.index(len)),
        Byte::Cut(at) => bytes.truncate(at.index(len)),
        Byte::Repeated(a, b) => {
            let (a, b) = (a.index(len), b.index(len));
            let part = bytes[a.min(b)..a.max(b)].to_vec();
            bytes.splice(b..b, part);
        }
    }
}

/// A change of a key or a value as a whole.
#[derive(Clone, Debug)]
enum Whole {
    Value(Index, &'static str),
    Renamed(Index, &'static str),
    Again(Index, &'static str, &'static str),
}

fn whole() -> impl Strategy<Value = Whole> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), select(&VALUES[..])).prop_map(|(at, value)| Whole::Value(at, value)),
        1 => (at(), select(&KEYS[..])).prop_map(|(at, key)| Whole::Renamed(at, key)),
        2 => (at(), select(&KEYS[..]), select(&VALUES[..])).prop_map(|(at, key, value)| Whole::Again(at, key, value)),
    ]
}

/// Returns the position of each value in a well-formed JSON text, and `true` if it is a key.
fn values(text: &str) -> Vec<(core::ops::Range<usize>, bool)> {
    let (mut all, mut open) = (Vec::new(), Vec::new());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        at += 1;
        match bytes[start] {
            b'{' | b'[' => open.push(start),
            b'}' | b']' => all.extend(open.pop().map(|start| (start..at, false))),
            b'"' => {
                while at < bytes.len() && bytes[at] != b'"' {
                    at += 1 + usize::from(bytes[at] == b'\\');
                }
                at += 1;
                all.push((start..at.min(bytes.len()), bytes.get(at) == Some(&b':')));
            }
            b',' | b':' | b' ' => {}
            _ => {
                while at < bytes.len() && !b",]}".contains(&bytes[at]) {
                    at += 1;
                }
                all.push((start..at, false));
            }
        }
    }
    all
}

/// Changes a key or a value. Well-formed JSON stays well-formed.
fn change_whole(text: &mut String, change: &Whole) {
    let all = values(text);
    let pick = |at: &Index, key: bool| {
        let fit: Vec<_> = all.iter().filter(|(_, is_key)| *is_key == key).collect();
        (!fit.is_empty()).then(|| fit[at.index(fit.len())].0.clone())
    };
    match change {
        Whole::Value(at, value) => {
            if let Some(place) = pick(at, false) {
                text.replace_range(place, value);
            }
        }
        Whole::Renamed(at, key) => {
            if let Some(place) = pick(at, true) {
                text.replace_range(place, &format!("\"{key}\""));
            }
        }
        Whole::Again(at, key, value) => {
            if let Some(place) = pick(at, true) {
                text.insert_str(place.start, &format!("\"{key}\":{value},"));
            }
        }
    }
}

/// Formats a result without a trace of how it was read.
fn shown<T: core::fmt::Debug>(read: &Result<T, WireError>) -> Option<String> {
    read.as_ref().ok().map(|message| format!("{message:?}"))
}

/// Compares the fast path for JSON with the general reader.
fn quick_and_general(kind: u8, text: &ByteString) {
    let general = json::read_any(kind, text);
    if let Some(quick) = fast::read(kind, text.as_bytes()) {
        assert_eq!(general.as_ref().ok(), Some(&quick), "{kind}: {text}");
    }
    let body = general.and_then(|data| data.into_body(kind));
    if kind == BROADCAST
        && let Some(quick) = fast::broadcast(text.as_bytes())
    {
        assert_eq!(body.as_ref().ok(), Some(&quick), "{text}");
    }
    let all = json::body(kind, text.as_bytes());
    assert_eq!(shown(&all), shown(&body), "{kind}: {text}");
    // A blank disables the fast path.
    if let Some(rest) = text.strip_prefix('{') {
        let blank = ByteString::from(format!("{{ {rest}"));
        assert_eq!(shown(&json::body(kind, blank.as_bytes())), shown(&all), "{kind}: {text}");
    }
}

fn entry_of(kind: u8, data: &[u8]) -> Fields {
    let mut fields: Fields = [("uid", "u"), ("nsp", "/")].into_iter().collect();
    fields.push("type", kind.to_string());
    fields.push("data", data.to_vec());
    fields
}

/// Compares what is looked at first with the whole entry.
fn parts_and_whole(fields: &Fields) {
    let (parts, whole) = (Parts::of(fields), entry::decode(fields));
    if let Ok(Message { uid, nsp, body }) = &whole {
        assert!(parts.namespace().is_none_or(|name| *name == **nsp));
        assert!(parts.author().is_none_or(|name| name == uid.as_str()));
        assert_eq!((&parts.uid(), parts.body().ok().as_ref()), (uid, Some(body)));
    } else {
        assert!(parts.namespace().is_none() || parts.body().is_err());
    }
}

/// Returns the same value in MessagePack, if MessagePack can represent it.
fn msgpack_value(text: &str) -> Option<Bytes> {
    let mut out = Vec::new();
    Payload::from_json(text.to_owned()).ok()?.write_msgpack(&mut out).ok()?;
    // MessagePack has no lone surrogates and no infinite numbers: the first would be replaced, the
    // second overflow.
    let lossless = !text.contains("\\ud83d") && !text.contains("e400");
    lossless.then(|| out.into())
}

/// Formats a body with its payloads converted to JSON.
fn in_json(body: Body) -> Option<String> {
    let payloads: Option<Vec<_>> = encode::payloads(&body)
        .map(|payload| payload.decode::<serde_json::Value>().ok().map(|value| value.to_string()))
        .collect();
    let payloads = payloads?;
    let shape = format!("{body:?}");
    // The payloads are listed apart, because their `Debug` output shows the encoding.
    let shape =
        encode::payloads(&body).fold(shape, |shape, payload| shape.replace(&format!("{payload:?}"), "…"));
    Some(format!("{shape} {payloads:?}"))
}

/// Compares JSON with MessagePack of the same value.
fn json_and_msgpack(kind: u8, text: &str) {
    let Some(bytes) = msgpack_value(text) else { return };
    let from_json = json::body(kind, &Bytes::copy_from_slice(text.as_bytes()));
    let mut reader = Reader::new(&bytes);
    let from_msgpack = msgpack_body::read(kind, &mut reader).and_then(|data| data.into_body(kind));
    match (from_json, from_msgpack) {
        (Ok(from_json), Ok(from_msgpack)) => {
            assert_eq!(in_json(from_json), in_json(from_msgpack), "{kind}: {text}")
        }
        (Err(_), Err(_)) => {}
        (from_json, from_msgpack) => panic!("{kind}: {text}\n{from_json:?}\n{from_msgpack:?}"),
    }
}

const ASKED: [Asked; 6] =
    [Asked::SocketIds, Asked::Rooms, Asked::Remote, Asked::Sockets, Asked::Emit, Asked::Acks];

/// Compares a request or a response read by its keys with the whole, from JSON and from
/// MessagePack.
fn keyed_and_whole(payload: &Bytes) {
    let keys = Keys::read(payload);
    for asked in ASKED {
        let whole = classic::decode_response(payload, asked);
        let keyed = keys.as_ref().ok().and_then(|keys| keys.response(asked).ok());
        assert_eq!(whole.as_ref().ok(), keyed.as_ref());
        if let Ok(response) = whole {
            let id = keys.as_ref().ok().and_then(|keys| keys.request_id().ok().flatten());
            assert!(format!("{response:?}").contains(&format!("{:?}", id.unwrap())));
        }
    }
}

fn classic_json_and_msgpack(text: &str) {
    let Some(bytes) = msgpack_value(text) else { return };
    let text = Bytes::copy_from_slice(text.as_bytes());
    let show = |request: (NodeId, classic::Request)| match request {
        (uid, classic::Request::Common(body)) => Some(format!("{uid} {}", in_json(body)?)),
        other => Some(format!("{other:?}")),
    };
    match (classic::decode_request(&text), classic::decode_request(&bytes)) {
        (Ok(from_json), Ok(from_msgpack)) => assert_eq!(show(from_json), show(from_msgpack), "{text:?}"),
        (Err(_), Err(_)) => {}
        (from_json, from_msgpack) => panic!("{text:?}\n{from_json:?}\n{from_msgpack:?}"),
    }
    for asked in ASKED {
        let read = |payload| classic::decode_response(payload, asked);
        assert_eq!(read(&text).is_ok(), read(&bytes).is_ok(), "{asked:?} {text:?}");
    }
}

/// Compares walking over MessagePack with reading it.
fn walked_and_read(bytes: &Bytes) {
    let facts = msgpack::facts(bytes);
    let raw = Reader::new(bytes).raw();
    assert_eq!(facts.is_ok(), raw.as_ref().is_ok_and(|raw| raw == bytes));
    if let Ok(Facts { .. }) = facts {
        let payload = Payload::from_wire(Encoding::MsgPack, bytes.clone());
        assert!(payload.decode::<serde::de::IgnoredAny>().is_ok(), "{bytes:?}");
    }
}

/// Uses the same cases in every run. `PROPTEST_RNG_SEED` and `PROPTEST_CASES` select others, and
/// more of them.
fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    // Miri is slow.
    let cases = if cfg!(miri) { 4 } else { 4_000 };
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

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_json_message_with_a_byte_changed_is_read_alike_by_all(
        (kind, text) in select(&MESSAGES[..]),
        changes in vec(byte(), 0..3),
        other_kind in proptest::option::weighted(0.1, 3..=12_u8),
    ) {
        let mut bytes = text.as_bytes().to_vec();
        changes.iter().for_each(|one| change(&mut bytes, one));
        let kind = other_kind.unwrap_or(kind);
        quick_and_general(kind, &json::text(&bytes.clone().into()));
        parts_and_whole(&entry_of(kind, &bytes));
    }

    #[test]
    fn a_json_message_with_a_value_changed_is_read_alike_by_all(
        (kind, text) in select(&MESSAGES[..]),
        changes in vec(whole(), 0..3),
    ) {
        let mut text = text.to_owned();
        changes.iter().for_each(|one| change_whole(&mut text, one));
        quick_and_general(kind, &ByteString::from(&*text));
        parts_and_whole(&entry_of(kind, text.as_bytes()));
        json_and_msgpack(kind, &text);
        // The same data in the envelope of the sharded adapter reads alike, too.
        let wrapped = |text: &str| Bytes::from(format!(r#"{{"uid":"u","nsp":"/","type":{kind},"data":{text}}}"#));
        let inside = pubsub::decode_sharded(&wrapped(&text)).map(|message| message.body);
        prop_assert_eq!(shown(&inside), shown(&json::body(kind, &Bytes::from(text))));
    }

    #[test]
    fn a_request_with_a_value_changed_is_read_alike_from_both_encodings(
        text in select(&CLASSIC[..]),
        changes in vec(whole(), 0..3),
    ) {
        let mut text = text.to_owned();
        changes.iter().for_each(|one| change_whole(&mut text, one));
        classic_json_and_msgpack(&text);
        keyed_and_whole(&Bytes::from(text));
    }

    #[test]
    fn a_msgpack_message_with_a_byte_changed_is_read_alike_by_all(
        (kind, text) in select(&MESSAGES[..]),
        request in select(&CLASSIC[..]),
        changes in vec(byte(), 0..3),
    ) {
        let mut data = msgpack_value(text).unwrap().to_vec();
        changes.iter().for_each(|one| change(&mut data, one));
        let data = Bytes::from(data);
        walked_and_read(&data);
        parts_and_whole(&entry_of(kind, base64::encode(&data).as_bytes()));
        // The data is read by itself, in an entry, and within a Pub/Sub message.
        let mut reader = Reader::new(&data);
        let read = msgpack_body::read(kind, &mut reader);
        let alone = read.and_then(|read| reader.end().map(|()| read).map_err(Into::into));
        let alone = alone.and_then(|read| read.into_body(kind));
        let in_entry = entry::decode(&entry_of(kind, base64::encode(&data).as_bytes())).map(|it| it.body);
        if data.first() != Some(&b'{') && !data.is_empty() {
            prop_assert_eq!(shown(&alone), shown(&in_entry));
        }
        let wrapped = [b"\x84\xa3uid\xa1u\xa3nsp\xa1/\xa4type", &[kind][..], b"\xa4data", &data].concat();
        let inside = pubsub::decode(&wrapped.into()).map(|it| it.body);
        // Within a message, the data is one level deeper, and unused keys are checked as well.
        if msgpack::facts(&data).is_ok() {
            prop_assert_eq!(shown(&inside), shown(&alone));
        }
        let mut request = msgpack_value(request).unwrap().to_vec();
        changes.iter().for_each(|one| change(&mut request, one));
        keyed_and_whole(&request.into());
    }
}

/// These faults were the reason for the properties above.
#[test]
fn a_literal_is_one_to_its_last_letter() {
    for (kind, text) in [
        (6, r#"{"opts":{},"close":Xalse}"#),
        (6, r#"{"opts":{},"close":"alse}"#),
        (6, r#"{"opts":{},"close":false}"#),
        (6, r#"{"opts":{},"close":talse}"#),
        (6, r#"{"opts":{},"close":frue}"#),
        (6, r#"{"opts":{},"close":tru}"#),
        (6, r#"{"opts":{},"close":trueX}"#),
        (
            3,
            r#"{"packet":{"type":2,"data":["e"]},"opts":{"rooms":[],"except":[],"flags":{"volatile":"alse}}}"#,
        ),
        (
            3,
            r#"{"packet":{"type":2,"data":["e"]},"opts":{"rooms":[],"except":[],"flags":{"volatile":1rue}}}"#,
        ),
        (
            3,
            r#"{"packet":{"type":2,"data":["e"]},"opts":{"rooms":[],"except":[],"flags":{"volatile":true}}}"#,
        ),
    ] {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        assert_eq!(json::body(kind, &Bytes::copy_from_slice(text.as_bytes())).is_ok(), is_json, "{text}");
        quick_and_general(kind, &ByteString::from(text));
    }
}
