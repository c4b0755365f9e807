//! Compares this project's decoders with those that the peers use: `@msgpack/msgpack`,
//! `notepack.io`, `JSON.parse`.
//!
//! In `shapes`, what the adapters do with whole messages is compared as well, and in `frames`, what
//! `socket.io-parser` does with the frames of a connection.
//!
//! Each intended difference is one of [`Known`], with a test that it exists. Any other fails.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]
#![allow(clippy::print_stdout, reason = "shown when a test fails")]

mod frames;
mod inputs;
mod node;
mod shapes;
mod tree;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use fastrand::Rng;
use sio_streams_driver::sio_streams_core::wire::{MsgPackError, WireError, entry, pubsub};
use sio_streams_driver::sio_streams_core::{Body, Bytes, Fields, Message, Payload};

use node::Theirs;
use value::Written;

/// The number of inputs that are generated for each comparison. `SIO_STREAMS_DIFFERENTIAL` sets
/// another number.
const MADE_UP: usize = 5_000;

/// The differences that stay. `docs/fuzzing.md` has the reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    /// MessagePack: a text is no UTF-8.
    NotUtf8,
    /// MessagePack: a map key is a number.
    NumberKey,
    /// MessagePack: nested deeper than 100.
    TooDeep,
    /// MessagePack: a long text begins with a byte order mark.
    ByteOrderMark,
    /// JSON: half of a surrogate pair.
    HalfCharacter,
    /// JSON: a number beyond what a float holds.
    HugeNumber,
    /// JSON: too deep for serde.
    DeepJson,
    /// Base64: what is in no base64 alphabet.
    NotBase64,
    /// notepack.io: a key that is a list, an object or a date. Node makes a text of it, of a date
    /// one in its own time zone.
    NotepackKey,
    /// notepack.io: a date whose length is not that of a date. Node reads twelve bytes all the
    /// same, and goes on with what is behind them.
    NotepackDate,
    /// notepack.io: a key that stands twice, the second time with `undefined`. Node has none then;
    /// here the first counts.
    UndefinedAgain,
}

fn made_up() -> usize {
    let asked = std::env::var("SIO_STREAMS_DIFFERENTIAL").ok();
    asked.map_or(MADE_UP, |number| number.parse().expect("SIO_STREAMS_DIFFERENTIAL is a number"))
}

/// Another seed each time; it is printed when a test fails.
fn rng() -> Rng {
    let seed = match std::env::var("SIO_STREAMS_SEED") {
        Ok(seed) => seed.parse().expect("SIO_STREAMS_SEED is a number"),
        Err(_) => Rng::new().u64(..),
    };
    println!("SIO_STREAMS_SEED={seed}");
    Rng::with_seed(seed)
}

/// The result of our decoder.
type Ours = Result<String, String>;

/// Compares; how often each known difference was met.
fn compare(
    inputs: &[Vec<u8>],
    theirs: &[Theirs],
    ours: impl Fn(&[u8]) -> Ours,
    known: impl Fn(&[u8]) -> Option<Known>,
) -> BTreeMap<Known, usize> {
    let (mut met, mut same, mut failed) = (BTreeMap::new(), 0, Vec::new());
    for (input, theirs) in inputs.iter().zip(theirs) {
        let ours = ours(input);
        let equal = match (&ours, theirs) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            (Err(_), Err(_)) => true,
            _ => false,
        };
        match (equal, known(input)) {
            (true, _) => same += 1,
            (false, Some(known)) => *met.entry(known).or_default() += 1,
            (false, None) => failed.push((input, ours, theirs)),
        }
    }
    println!("{same} the same; known differences: {met:?}");
    let shown: Vec<String> = failed
        .iter()
        .take(10)
        .map(|(input, ours, theirs)| {
            format!("input  {:?}\n  ours   {ours:?}\n  theirs {theirs:?}", Bytes::copy_from_slice(input))
        })
        .collect();
    assert!(shown.is_empty(), "{} differences:\n{}", failed.len(), shown.join("\n"));
    met
}

fn value_of(payload: &Payload) -> Ours {
    payload.decode::<Written>().map(|Written(value)| value).map_err(|error| error.to_string())
}

fn ack_of(decoded: Result<Message, WireError>) -> Ours {
    match decoded.map_err(|error| error.to_string())?.body {
        Body::BroadcastAck { packet, .. } => value_of(&packet),
        other => panic!("{other:?}"),
    }
}

// -- MessagePack
// --------------------------------------------------------------------------------------------------

/// The value at the end of a message: where it is cut off, or longer than one value, the message
/// is.
fn in_message(value: &[u8]) -> Bytes {
    [b"\x84\xa3uid\xa1n\xa3nsp\xa1/\xa4type\x0c\xa4data\x82\xa9requestId\xa1r\xa6packet", value]
        .concat()
        .into()
}

fn our_messagepack(value: &[u8]) -> Ours {
    ack_of(pubsub::decode(&in_message(value)))
}

fn our_notepack(value: &[u8]) -> Ours {
    ack_of(pubsub::decode_sharded(&in_message(value)))
}

/// The contents of a MessagePack value, as far as it goes, found by a walk that shares no code with
/// what is tested.
#[derive(Default)]
struct Seen {
    not_utf8: bool,
    number_key: bool,
    long_mark: bool,
    undefined: bool,
    odd_date: bool,
    odd_key: bool,
    /// A map has a key twice.
    twice: bool,
    depth: usize,
}

fn look(bytes: &[u8]) -> Seen {
    let mut seen = Seen::default();
    look_at(bytes, 0, false, &mut seen);
    seen
}

fn look_at<'a>(bytes: &'a [u8], depth: usize, key: bool, seen: &mut Seen) -> Option<&'a [u8]> {
    let (&marker, rest) = bytes.split_first()?;
    let number = |rest: &'a [u8], len: usize| {
        let (number, rest) = rest.split_at_checked(len)?;
        Some((number.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)), rest))
    };
    let numeric = matches!(marker, 0..=0x7f | 0xca..=0xd3 | 0xe0..);
    seen.number_key |= key && numeric;
    seen.odd_key |= key && !numeric && !matches!(marker, 0xa0..=0xbf | 0xd9..=0xdb);
    let (kind, (len, rest)) = match marker {
        0x80..=0x8f => ('m', (usize::from(marker & 15), rest)),
        0x90..=0x9f => ('a', (usize::from(marker & 15), rest)),
        0xa0..=0xbf => ('s', (usize::from(marker & 31), rest)),
        0xc4..=0xc6 => ('b', number(rest, 1 << (marker - 0xc4))?),
        0xc7..=0xc9 => ('x', number(rest, 1 << (marker - 0xc7))?),
        0xca | 0xce | 0xd2 => ('b', (4, rest)),
        0xcb | 0xcf | 0xd3 => ('b', (8, rest)),
        0xcc | 0xd0 => ('b', (1, rest)),
        0xcd | 0xd1 => ('b', (2, rest)),
        0xd4..=0xd8 => ('x', (1 << (marker - 0xd4), rest)),
        0xd9..=0xdb => ('s', number(rest, 1 << (marker - 0xd9))?),
        0xdc | 0xdd => ('a', number(rest, 2 << (marker - 0xdc))?),
        0xde | 0xdf => ('m', number(rest, 2 << (marker - 0xde))?),
        _ => ('b', (0, rest)),
    };
    match kind {
        'a' | 'm' => {
            seen.depth = seen.depth.max(depth + 1);
            // Far deeper than anybody goes; and this walk must not overflow the stack.
            if depth > 500 {
                return Some(&[]);
            }
            let mut rest = rest;
            let mut keys = BTreeSet::new();
            for _ in 0..len {
                if kind == 'm' {
                    let before = rest;
                    rest = look_at(rest, depth + 1, true, seen)?;
                    let key = &before[..before.len() - rest.len()];
                    // The same text may have a length of another width.
                    let head = match key[0] {
                        0xd9 => 2,
                        0xda => 3,
                        0xdb => 5,
                        _ => 1,
                    };
                    seen.twice |= !keys.insert(&key[head..]);
                }
                rest = look_at(rest, depth + 1, false, seen)?;
            }
            Some(rest)
        }
        's' => {
            let (text, rest) = rest.split_at_checked(len)?;
            seen.not_utf8 |= std::str::from_utf8(text).is_err();
            seen.long_mark |= len > 200 && text.starts_with(b"\xef\xbb\xbf");
            seen.odd_key |= key && text == b"__proto__";
            Some(rest)
        }
        'x' => {
            seen.undefined |= marker == 0xd4 && rest.first() == Some(&0);
            seen.odd_date |= marker == 0xc7 && rest.first() == Some(&0xff) && len != 12;
            rest.get(len + 1..)
        }
        _ => rest.get(len..),
    }
}

fn known_messagepack(message: &[u8]) -> Option<Known> {
    let seen = look(message);
    [
        (seen.not_utf8, Known::NotUtf8),
        (seen.number_key, Known::NumberKey),
        (seen.long_mark, Known::ByteOrderMark),
        (seen.depth > 100, Known::TooDeep),
    ]
    .into_iter()
    .find_map(|(is, known)| is.then_some(known))
}

fn messagepack_values() -> Vec<Vec<u8>> {
    let mut rng = rng();
    let mut values = inputs::corpus("payload");
    for count in 0..made_up() {
        let mut value = Vec::new();
        inputs::packed(&mut rng, 3, &mut value);
        if count % 3 == 0 {
            value = inputs::damaged(&mut rng, &value);
        }
        values.push(value);
    }
    values
}

#[test]
fn messagepack_means_what_it_means_to_the_streams_adapters() {
    let values = messagepack_values();
    let messages: Vec<Vec<u8>> = values.iter().map(|value| in_message(value).to_vec()).collect();
    let theirs: Vec<Theirs> = node::decode_all("msgpack", &messages).into_iter().map(packet_of).collect();
    let met = compare(
        &values,
        &theirs,
        our_messagepack,
        // Depth counts the message around it.
        |value| known_messagepack(&in_message(value)),
    );
    assert!(made_up() < 1_000 || met.len() >= 2, "the inputs are too tame: {met:?}");
}

/// The value of `packet` in `{"data":{"packet":…,"requestId":"r"},…}`.
fn packet_of(message: Theirs) -> Theirs {
    let message = message?;
    let rest = message.strip_prefix(r#"{"data":{"packet":"#).unwrap_or_else(|| panic!("{message}"));
    let end = rest.rfind(r#","requestId":"r"},"#).unwrap_or_else(|| panic!("{message}"));
    Ok(rest[..end].to_owned())
}

#[test]
fn messagepack_means_what_it_means_to_notepack() {
    let values = messagepack_values();
    let theirs = node::decode_all("notepack", &values);
    compare(&values, &theirs, our_notepack, |value| {
        let seen = look(value);
        [
            (seen.odd_key, Known::NotepackKey),
            (seen.odd_date, Known::NotepackDate),
            (seen.undefined && seen.twice, Known::UndefinedAgain),
        ]
        .into_iter()
        .find_map(|(is, known)| is.then_some(known))
        .or_else(|| known_messagepack(&in_message(value)))
    });
}

#[test]
fn base64_is_read_as_the_adapters_read_it() {
    let mut rng = rng();
    let mut texts = Vec::new();
    for _ in 0..made_up() / 2 {
        let mut value = b"\x82\xa9requestId\xa1r\xa6packet".to_vec();
        inputs::packed(&mut rng, 2, &mut value);
        let mut text = STANDARD.encode(&value);
        match rng.u8(0..6) {
            0 => text = text.replace('+', "-").replace('/', "_"),
            1 => text = text.trim_end_matches('=').to_owned(),
            2 => text.insert(rng.usize(..text.len()), '\n'),
            3 => text = String::from_utf8_lossy(&inputs::damaged(&mut rng, text.as_bytes())).into_owned(),
            _ => {}
        }
        texts.push(text.into_bytes());
    }
    let theirs = node::decode_all("base64", &texts).into_iter();
    // A message of another kind is not compared further: its shape may be anything.
    let shaped = |theirs: &Theirs| {
        theirs
            .as_ref()
            .map_or(true, |text| text.starts_with(r#"{"packet":"#) && text.ends_with(r#","requestId":"r"}"#))
    };
    let (texts, theirs): (Vec<_>, Vec<_>) =
        texts.into_iter().zip(theirs).filter(|(_, theirs)| shaped(theirs)).unzip();
    let theirs: Vec<Theirs> = theirs
        .into_iter()
        .map(|theirs: Theirs| {
            theirs
                .map(|text| text[r#"{"packet":"#.len()..text.len() - r#","requestId":"r"}"#.len()].to_owned())
        })
        .collect();
    let ours = |text: &[u8]| ack_of(entry::decode(&stream_entry(b"12", text)));
    compare(&texts, &theirs, ours, |text| {
        let plain: String = String::from_utf8_lossy(text).split_ascii_whitespace().collect();
        let plain = plain.trim_end_matches('=').replace('-', "+").replace('_', "/");
        let digits = plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte));
        let padding = text.iter().filter(|byte| **byte == b'=').count();
        if !digits || plain.len() % 4 == 1 || padding > 2 {
            return Some(Known::NotBase64);
        }
        let any_end = GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::RequireNone)
            .with_decode_allow_trailing_bits(true);
        known_messagepack(&GeneralPurpose::new(&alphabet::STANDARD, any_end).decode(plain).unwrap())
    });
}

// -- JSON
// ---------------------------------------------------------------------------------------------------------

fn stream_entry(kind: &'static [u8], data: &[u8]) -> Fields {
    let mut fields: Fields = [("uid", "n"), ("nsp", "/")].into_iter().collect();
    fields.push("type", kind);
    fields.push("data", data.to_vec());
    fields
}

fn in_object(value: &[u8]) -> Vec<u8> {
    [br#"{"requestId":"r","packet":"#, value, b"}"].concat()
}

fn our_json(data: &[u8]) -> Ours {
    ack_of(entry::decode(&stream_entry(b"12", data)))
}

/// A text that isn't what it was made as may bring keys of its own; only the shape is sure.
fn known_json(data: &[u8]) -> Option<Known> {
    let text = String::from_utf8_lossy(data).to_lowercase();
    let depth = text.bytes().filter(|byte| b"[{".contains(byte)).count();
    let (mut units, mut rest) = (Vec::new(), &*text);
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix(r"\\") {
            units.push(0);
            rest = after;
            continue;
        }
        let escaped = rest.strip_prefix("\\u").and_then(|rest| u16::from_str_radix(rest.get(..4)?, 16).ok());
        units.push(escaped.unwrap_or(0));
        rest = &rest[escaped.map_or(first.len_utf8(), |_| 6)..];
    }
    let half = char::decode_utf16(units).any(|unit| unit.is_err());
    let huge = text
        .split(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e'))
        .any(|number| number.parse::<f64>().is_ok_and(f64::is_infinite));
    [(half, Known::HalfCharacter), (huge, Known::HugeNumber), (depth > 120, Known::DeepJson)]
        .into_iter()
        .find_map(|(is, known)| is.then_some(known))
}

#[test]
fn json_means_what_it_means_to_the_streams_adapters() {
    let mut rng = rng();
    let mut texts = Vec::new();
    for count in 0..made_up() {
        let mut text = String::new();
        inputs::json(&mut rng, 3, &mut text);
        let mut data = in_object(text.as_bytes());
        if count % 3 == 0 {
            let damaged = inputs::damaged(&mut rng, &data[10..]);
            data = [&data[..10], &damaged].concat();
        }
        texts.push(data);
    }
    let theirs = node::decode_all("json", &texts);
    // A damaged text may hold no `requestId`, or no `packet`: that is a question of shape, which is
    // not the decoders'.
    let shaped = |theirs: &Theirs| {
        let prefix = |text: &str| {
            text.strip_prefix(r#"{"packet":"#)?.strip_suffix(r#","requestId":"r"}"#).map(str::to_owned)
        };
        match theirs {
            Ok(text) => prefix(text).map(Ok),
            Err(error) => Some(Err(error.clone())),
        }
    };
    let (texts, theirs): (Vec<_>, Vec<_>) =
        texts.into_iter().zip(&theirs).filter_map(|(text, theirs)| Some((text, shaped(theirs)?))).unzip();
    let met = compare(&texts, &theirs, our_json, known_json);
    assert!(made_up() < 1_000 || met.contains_key(&Known::HalfCharacter), "the inputs are too tame: {met:?}");
}

// -- Messages
// -----------------------------------------------------------------------------------------------------

/// Returns `true` if the error is about the meaning of the value, and not about its encoding.
fn is_shape(error: &WireError) -> bool {
    match error {
        WireError::Json(error) => error.is_data(),
        WireError::MsgPack(error) => matches!(error, MsgPackError::Unexpected { .. }),
        WireError::Base64(_) => false,
        _ => true,
    }
}

/// Returns `true` if the peers' message, as it is written here, has the same names and number as
/// ours.
fn says_so(theirs: &str, ours: &Message) -> bool {
    let names = [("uid", ours.uid.as_str()), ("nsp", &*ours.nsp)];
    let number = format!("\"type\":n{:016x}", f64::from(ours.body.kind()).to_bits());
    // An absent uid is an empty one here.
    let has = |(key, name): (&str, &str)| {
        // A value that is not text is one here, too.
        let is_text = theirs.contains(&format!("\"{key}\":\""));
        name.is_empty() || !is_text || theirs.contains(&format!("\"{key}\":{}", value::text(name)))
    };
    names.into_iter().all(has) && theirs.contains(&number)
}

#[test]
fn whole_messages_of_the_corpus_and_what_damage_makes_of_them() {
    let mut rng = rng();
    let whole = inputs::corpus("pubsub");
    let mut messages = whole.clone();
    while messages.len() < whole.len() + made_up() {
        let chosen = rng.choice(&whole).unwrap();
        messages.push(inputs::damaged(&mut rng, chosen));
    }
    // The sharded adapter's are JSON if they begin like it.
    let (text, packed): (Vec<_>, Vec<_>) =
        messages.into_iter().partition(|message| message.starts_with(b"{"));
    let theirs = node::decode_all("json", &text).into_iter().chain(node::decode_all("msgpack", &packed));
    let known = |message: &[u8]| match message.first() {
        Some(b'{') => known_json(message),
        _ => known_messagepack(message),
    };
    let (mut same, mut shape, mut met) = (0, 0, BTreeMap::<Known, usize>::new());
    for (message, theirs) in text.iter().chain(&packed).zip(theirs) {
        let equal = match (pubsub::decode(&Bytes::copy_from_slice(message)), &theirs) {
            (Ok(ours), Ok(theirs)) => says_so(theirs, &ours),
            (Err(_), Err(_)) => true,
            (Err(error), Ok(_)) if is_shape(&error) => {
                shape += 1;
                continue;
            }
            _ => false,
        };
        match (equal, known(message)) {
            (true, _) => same += 1,
            (false, Some(known)) => *met.entry(known).or_default() += 1,
            (false, None) => {
                let ours = pubsub::decode(&Bytes::copy_from_slice(message));
                panic!("{:?}\n  ours   {ours:?}\n  theirs {theirs:?}", Bytes::copy_from_slice(message))
            }
        }
    }
    println!("{same} the same, {shape} refused for their shape; known differences: {met:?}");
    assert!(same > made_up() / 4, "{same} of {}", text.len() + packed.len());
}

// -- The known differences are there
// ------------------------------------------------------------------------------

#[test]
fn each_known_difference_is_one() {
    let packed = |value: &[u8]| {
        let theirs = node::decode_all("msgpack", &[in_message(value).to_vec()])
            .remove(0)
            .and_then(|all| packet_of(Ok(all)));
        (our_messagepack(value), theirs, known_messagepack(&in_message(value)))
    };
    for (value, difference) in [
        (b"\xa1\xff".to_vec(), Known::NotUtf8),
        (b"\x81\x07\x01".to_vec(), Known::NumberKey),
        (vec![0x91; 99].into_iter().chain([0xc0]).collect(), Known::TooDeep),
        ([b"\xd9\xf0\xef\xbb\xbf".to_vec(), vec![b'a'; 237]].concat(), Known::ByteOrderMark),
    ] {
        let (ours, theirs, known) = packed(&value);
        assert_ne!(ours.ok(), theirs.ok(), "{difference:?}");
        assert_eq!(known, Some(difference));
    }
    let deep = format!("{}{}", "[".repeat(130), "]".repeat(130));
    for (value, difference) in
        [(r#""\ud83d""#, Known::HalfCharacter), ("1e400", Known::HugeNumber), (&*deep, Known::DeepJson)]
    {
        let data = in_object(value.as_bytes());
        let theirs = node::decode_all("json", std::slice::from_ref(&data)).remove(0);
        assert!(theirs.is_ok() && our_json(&data).is_err(), "{difference:?}");
        assert_eq!(known_json(&data), Some(difference));
        // It is carried all the same: only who wants it as a value of Rust's can't have it.
        let Body::BroadcastAck { packet, .. } = entry::decode(&stream_entry(b"12", &data)).unwrap().body
        else {
            panic!()
        };
        assert_eq!(packet.as_json(), Some(value));
    }
    let garbage = b"gqlyZXF1ZXN0SWShcqZwYWNrZXTA*".to_vec();
    assert!(node::decode_all("base64", std::slice::from_ref(&garbage))[0].is_ok());
    assert!(matches!(entry::decode(&stream_entry(b"12", &garbage)), Err(WireError::Base64(_))));
    // The type of an entry is taken as it is written, not as far as `parseInt` can read it.
    assert!(node::decode_all("int", &[b" 12x".to_vec()])[0].is_ok());
    assert!(matches!(entry::decode(&stream_entry(b" 12x", b"{}")), Err(WireError::UnknownType(_))));
    for value in [&b"\x81\x90\x01"[..], b"\x81\x80\x01", b"\xc7\x00\xff\0\0\0\0\0\0\0\0\0\0\0\0"] {
        assert!(node::decode_all("notepack", &[value.to_vec()])[0].is_ok());
        assert!(our_notepack(value).is_err(), "{value:?}");
    }
    let again = b"\x82\xa1a\x01\xa1a\xd4\0\0".to_vec();
    let theirs = node::decode_all("notepack", std::slice::from_ref(&again)).remove(0);
    assert_ne!(our_notepack(&again), theirs);
}
