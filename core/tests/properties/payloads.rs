//! Properties of values and their two encodings.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value as Json;
use sio_streams_core::{Encoding, EntryId, MAX_DEPTH, Packet, Payload, PayloadError};

use crate::config;
use crate::values::*;

/// Returns `true` if `@msgpack/msgpack` would fail on the value or change it, or if it is too deep.
/// Unlike the crate, it builds the value.
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
    /// The bytes of a scalar that is neither an integer nor a container.
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
    fn what_clients_get_is_the_value(data in event(), nsp in "/[a-z]{0,5}", ms in any::<u64>()) {
        let offset = EntryId { ms, seq: 0 };
        let packet = Packet::new(data).unwrap();
        let mut expected: Vec<Json> = packet.data().decode().unwrap();
        for offset in [None, Some(offset)] {
            let frames = packet.frames(&nsp, offset);
            prop_assert!(frames.attachments.is_empty());
            let head = if nsp == "/" { "2".to_owned() } else { format!("2{nsp},") };
            expected.extend(offset.map(|offset| Json::from(offset.to_string())));
            let array: Vec<Json> = serde_json::from_str(frames.text.strip_prefix(&*head).unwrap()).unwrap();
            prop_assert_eq!(&array, &expected);
        }
    }

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
            // A bad key is detected before the end.
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
