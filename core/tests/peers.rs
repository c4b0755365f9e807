//! Compatibility with Node peers: this crate reads what they accept, and never writes what they
//! fail on.
//!
//! Each case was checked against the peers' sources: `decode` of the streams adapters,
//! `ClusterAdapter.onMessage`, `@msgpack/msgpack`.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use sio_streams_core::wire::{MsgPackError, WireError, entry, pubsub};
use sio_streams_core::{
    Body, BroadcastOptions, ByteString, Encoding, Fields, Flags, Message, NodeId, Packet, Payload,
    PayloadError, RequestId, Rooms,
};

fn fields(kind: &str, data: &str) -> Fields {
    [("uid", "n1"), ("nsp", "/"), ("type", kind), ("data", data)]
        .map(|(name, value)| (name, Bytes::copy_from_slice(value.as_bytes())))
        .into_iter()
        .collect()
}

fn json(kind: u8, data: &str) -> Result<Body, WireError> {
    entry::decode(&fields(&kind.to_string(), data)).map(|message| message.body)
}

/// Reads the same data from Pub/Sub. `data` is JSON, without values that MessagePack writes in
/// another way.
fn packed(kind: u8, data: &str) -> Result<Body, WireError> {
    let data: msgpack::Value = serde_json::from_str(data).unwrap();
    let mut out = vec![0x84, 0xa3];
    out.extend(b"uid\xa2n1\xa3nsp\xa1/\xa4type");
    out.push(kind);
    out.extend(b"\xa4data");
    msgpack::write(&data, &mut out);
    pubsub::decode(&out.into()).map(|message| message.body)
}

/// Conversion of JSON to MessagePack in the test's own code, which does not depend on the code
/// under test.
mod msgpack {
    pub(super) use serde_json::Value;

    pub(super) fn write(value: &Value, out: &mut Vec<u8>) {
        let len = |out: &mut Vec<u8>, marker: u8, len: usize| {
            out.push(marker);
            out.extend(u32::try_from(len).unwrap().to_be_bytes());
        };
        match value {
            Value::Null => out.push(0xc0),
            Value::Bool(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(n), _) => {
                    out.push(0xcf);
                    out.extend(n.to_be_bytes());
                }
                (_, Some(n)) => {
                    out.push(0xd3);
                    out.extend(n.to_be_bytes());
                }
                _ => {
                    out.push(0xcb);
                    out.extend(number.as_f64().unwrap().to_be_bytes());
                }
            },
            Value::String(text) => {
                len(out, 0xdb, text.len());
                out.extend(text.as_bytes());
            }
            Value::Array(values) => {
                len(out, 0xdd, values.len());
                values.iter().for_each(|value| write(value, out));
            }
            Value::Object(map) => {
                len(out, 0xdf, map.len());
                for (key, value) in map {
                    write(&Value::String(key.clone()), out);
                    write(value, out);
                }
            }
        }
    }
}

/// Reads the options of a broadcast from both transports, which must agree.
fn opts(opts: &str) -> BroadcastOptions {
    let data = format!(r#"{{"packet":{{"type":2,"data":["e"]}},"opts":{opts}}}"#);
    let [a, b] = [json(3, &data), packed(3, &data)].map(|body| match body.unwrap() {
        Body::Broadcast { opts, .. } => opts,
        other => panic!("{other:?}"),
    });
    assert_eq!((&a.rooms, &a.except), (&b.rooms, &b.except), "{opts}");
    let known = |opts: &BroadcastOptions| Flags { other: Vec::new(), ..opts.flags.clone() };
    assert_eq!(known(&a), known(&b), "{opts}");
    a
}

#[test]
fn rooms_that_are_no_strings_count_by_the_text_that_javascript_gives_them() {
    // In Node, `io.to("a").to(undefined)` gives `["a", null]`. The broadcast must still reach "a",
    // and no other room.
    assert_eq!(opts(r#"{"rooms":["a",null]}"#).rooms, ["a", "null"]);
    assert_eq!(opts(r#"{"rooms":[null]}"#).rooms, ["null"], "never empty, which would mean everyone");
    assert_eq!(opts(r#"{"rooms":[],"except":[null]}"#).except, ["null"]);
    assert_eq!(opts(r#"{"rooms":[1,-2,true,false]}"#).rooms, ["1", "-2", "true", "false"]);
    // These are the results of `String(1.5)`, `String(-0)`, `String(1e21)`, … in Node.
    assert_eq!(opts(r#"{"rooms":[1.5,-0.0,2.0]}"#).rooms, ["1.5", "0", "2"]);
    assert_eq!(
        opts(r#"{"rooms":[1e21,1.5e300,1e-7,1e20]}"#).rooms,
        ["1e+21", "1.5e+300", "1e-7", "100000000000000000000"]
    );
    assert_eq!(opts(r#"{"rooms":[{"a":1},["b"]]}"#).rooms.len(), 2);
}

#[test]
fn half_of_a_surrogate_pair_in_a_room_name_is_replaced_alike_in_both_encodings() {
    // The name was cut in the middle of an emoji. JSON has the half as an escape, and MessagePack
    // as three bytes of invalid UTF-8.
    let data = r#"{"packet":{"type":2,"data":["e"]},"opts":{"rooms":["x\ud83d","\ud83d\ude00"],"flags":{"\udc00":1}}}"#;
    let Ok(Body::Broadcast { opts: a, .. }) = json(3, data) else { panic!("{:?}", json(3, data)) };
    let mut raw = b"\x84\xa3uid\xa2n1\xa3nsp\xa1/\xa4type\x04\xa4data\x82\xa4opts\x80\xa5rooms\x92".to_vec();
    raw.extend(b"\xa4x\xed\xa0\xbd\xa4\xf0\x9f\x98\x80");
    let Ok(Body::SocketsJoin { rooms: b, .. }) = pubsub::decode(&raw.into()).map(|message| message.body)
    else {
        panic!()
    };
    assert_eq!(a.rooms, b);
    assert_eq!(a.rooms, ["x\u{fffd}\u{fffd}\u{fffd}", "😀"]);
}

#[test]
fn half_of_a_surrogate_pair_in_an_answer_does_not_keep_it_from_being_sent() {
    // A client may acknowledge with this value, and a caller waits for it.
    let sent = |text: &str| {
        let packet = Payload::from_json(text.to_owned()).unwrap();
        let body = Body::BroadcastAck { request_id: RequestId::new("r"), packet };
        let packed = pubsub::encode(&Message { uid: NodeId::new("n1"), nsp: "/".into(), body }).unwrap();
        let Body::BroadcastAck { packet, .. } = pubsub::decode(&packed).unwrap().body else { panic!() };
        packet.decode::<Vec<String>>().unwrap()
    };
    assert_eq!(
        sent(r#"["\ud83d","\ude00x","\uD83D\uDE00","\\ud83d","\ud83d\ud83d\ude00","\n\u00e9\ud83d\n"]"#),
        ["\u{fffd}", "\u{fffd}x", "😀", "\\ud83d", "\u{fffd}😀", "\né\u{fffd}\n",]
    );
}

#[test]
fn options_may_be_null_absent_or_of_an_odd_kind() {
    for some in [r#"{}"#, r#"{"rooms":null,"except":null,"flags":null}"#, r#"{"flags":[]}"#, r#"{"flags":7}"#]
    {
        assert_eq!(opts(some), BroadcastOptions::all(), "{some}");
    }
    let flags = r#"{"volatile":"yes","timeout":1.5,"mine":{"a":[1]},"compress":false}"#;
    let flags = opts(&format!(r#"{{"flags":{flags}}}"#)).flags;
    assert_eq!((flags.volatile, flags.compress, flags.timeout), (Some(true), Some(false), None));
    assert_eq!(flags.other.len(), 2, "kept as they came: {flags:?}");
    // `volatile` is true or false as in JavaScript. If it is present, there is no offset.
    for (value, volatile) in [("1", true), ("[]", true), ("0", false), (r#""""#, false), ("null", false)] {
        let flags = opts(&format!(r#"{{"flags":{{"volatile":{value}}}}}"#)).flags;
        assert_eq!((flags.volatile, flags.other.len()), (volatile.then_some(true), usize::from(!volatile)));
    }
}

#[test]
fn a_key_that_this_type_of_message_does_not_use_may_hold_anything() {
    // Peers look only at the keys that they need. A later version may use another key's name for
    // something else.
    let data = r#"{"requestId":"r","clientCount":3,"rooms":7,"sockets":"x","opts":[],"packet":1,"close":{}}"#;
    for body in [json(11, data), packed(11, data)] {
        let Body::BroadcastClientCount { request_id, client_count } = body.unwrap() else { panic!() };
        assert_eq!((request_id.as_str(), client_count), ("r", 3));
    }
}

#[test]
fn of_equal_keys_the_last_one_counts() {
    // The behaviour is that of `JSON.parse` and `@msgpack/msgpack`.
    let body =
        json(4, r#"{"opts":{"rooms":["a"],"rooms":["b"]},"rooms":["x"],"rooms":["y"],"n":1,"n":2}"#).unwrap();
    let Body::SocketsJoin { opts, rooms } = body else { panic!() };
    assert_eq!((opts.rooms, rooms), (vec!["b".into()], vec!["y".into()]));
    let raw = b"\x84\xa3uid\xa2n1\xa3nsp\xa1/\xa4type\x04\xa4data\x83\xa4opts\x80\xa5rooms\x91\xa1x\xa5rooms\x91\xa1y";
    let Ok(Body::SocketsJoin { rooms, .. }) =
        pubsub::decode(&Bytes::from_static(raw)).map(|message| message.body)
    else {
        panic!()
    };
    assert_eq!(rooms, ["y"]);
}

#[test]
fn close_is_whatever_javascript_takes_for_true() {
    let close = |value: &str| {
        let data = format!(r#"{{"opts":{{}},"close":{value}}}"#);
        let [a, b] = [json(6, &data), packed(6, &data)].map(|body| match body.unwrap() {
            Body::DisconnectSockets { close, .. } => close,
            other => panic!("{other:?}"),
        });
        assert_eq!(a, b, "{value}");
        a
    };
    assert!(["true", "1", "-1.5", r#""no""#, "{}", "[]"].into_iter().all(close));
    assert!(!["false", "0", "0.0", "null", r#""""#].into_iter().any(close));
    assert!(matches!(json(6, r#"{"opts":{}}"#), Ok(Body::DisconnectSockets { close: false, .. })));
}

#[test]
fn numbers_may_be_floats() {
    let data = r#"{"packet":{"type":2.0,"data":["e"],"id":3.0},"opts":{}}"#;
    for body in [json(3, data), packed(3, data)] {
        let Body::Broadcast { packet, .. } = body.unwrap() else { panic!() };
        assert_eq!(packet.id(), Some(3));
    }
    let data = r#"{"requestId":"r","clientCount":2.0}"#;
    for body in [json(11, data), packed(11, data)] {
        assert!(matches!(body, Ok(Body::BroadcastClientCount { client_count: 2, .. })), "{body:?}");
    }
    // Node's encoder never writes float32, but its decoder reads it.
    let raw = b"\x84\xa3uid\xa2n1\xa3nsp\xa1/\xa4type\xca\x41\x30\x00\x00\xa4data\x82\xa9requestId\xa1r\xabclientCount\xca\x40\x00\x00\x00";
    let body = pubsub::decode(&Bytes::from_static(raw)).unwrap().body;
    assert!(matches!(body, Body::BroadcastClientCount { client_count: 2, .. }), "{body:?}");
    // Both encodings agree on a time that is a float, on a type that is null, and on an id that is
    // null.
    assert_eq!(opts(r#"{"flags":{"timeout":2.0}}"#).flags, opts(r#"{"flags":{"timeout":2}}"#).flags);
    for data in [r#"{"requestId":"r","clientCount":-1}"#, r#"{"requestId":"r","clientCount":1.5}"#] {
        assert!(json(11, data).is_err() && packed(11, data).is_err(), "{data}");
    }
}

#[test]
fn null_counts_as_absent_in_both_encodings() {
    let data = r#"{"packet":{"type":null,"data":["e"]},"opts":{}}"#;
    for body in [json(3, data), packed(3, data)] {
        assert!(matches!(&body, Ok(Body::Broadcast { .. })), "{body:?}");
    }
    let data = r#"{"requestId":"r","sockets":[{"id":null}]}"#;
    assert!(json(8, data).is_err() && packed(8, data).is_err());
}

/// Without the feature `float_roundtrip`, `serde_json` reads about one in sixteen of JavaScript's
/// random numbers with a wrong last digit.
#[test]
fn floats_are_read_as_javascript_reads_them() {
    for text in ["0.9478460237893104", "12.963177419136729", "13.31514013640478", "2.972068606316659e+299"] {
        let read: f64 = Payload::from_json(text).unwrap().decode().unwrap();
        assert_eq!(read, text.parse::<f64>().unwrap(), "{text}");
    }
}

#[test]
fn a_null_request_id_is_none() {
    // Node would answer to the request `null`, which no node can have sent.
    let data = r#"{"packet":{"type":2,"data":["e"],"nsp":null,"id":null},"opts":{},"requestId":null}"#;
    for body in [json(3, data), packed(3, data)] {
        let Body::Broadcast { request_id, packet, .. } = body.unwrap() else { panic!() };
        assert_eq!((request_id, packet.nsp(), packet.id()), (None, None, None));
    }
    assert!(matches!(json(7, r#"{"opts":{},"requestId":null}"#), Err(WireError::MissingKey { kind: 7, .. })));
}

#[test]
fn an_answer_of_undefined_is_null_whether_its_key_is_there_or_not() {
    for data in [r#"{"requestId":"r"}"#, r#"{"requestId":"r","packet":null}"#] {
        for kind in [10, 12] {
            for body in [json(kind, data), packed(kind, data)] {
                let (Body::ServerSideEmitResponse { packet, .. } | Body::BroadcastAck { packet, .. }) =
                    body.unwrap()
                else {
                    panic!()
                };
                assert_eq!(packet.decode::<Option<u8>>().unwrap(), None);
            }
        }
    }
}

#[test]
fn integer_map_keys_become_text_as_in_node() {
    let raw = b"\x85\xa3uid\xa2n1\xa3nsp\xa1/\xa4type\x04\x07\xc0\xa4data\x83\xa4opts\x81\xcc\x80\x01\xff\xc0\xa5rooms\x91\xa1y";
    let message = pubsub::decode(&Bytes::from_static(raw)).unwrap();
    assert!(matches!(message.body, Body::SocketsJoin { .. }));
    // Node does not accept nil and bin as keys either.
    for key in [&b"\xc0"[..], b"\xc4\x01a", b"\x80", b"\x90"] {
        let raw = [b"\x84\xa3uid\xa2n1\xa3nsp\xa1/\xa4type\x02", key, b"\x01"].concat();
        assert!(pubsub::decode(&raw.into()).is_err(), "{key:x?}");
    }
}

#[test]
fn entries_on_which_a_node_peer_fails_are_errors_here() {
    let good = r#"{"opts":{},"rooms":[]}"#;
    assert!(entry::decode(&fields("4", good)).is_ok());
    // Node's `parseInt` would accept the first two. No peer writes them. An error is reported, and
    // later entries are not affected.
    for kind in ["4abc", " 4", "", "0", "14", "-1", "4.0", "256", "18446744073709551616", "x"] {
        assert!(matches!(entry::decode(&fields(kind, good)), Err(WireError::UnknownType(_))), "{kind:?}");
    }
    // On a message that is empty or lacks `data`, Node throws in its handler, and 0.3 reads it
    // again for ever. Node takes a message with a blank before the brace for base64.
    for data in
        ["", " ", " {}", "{", "{}", "[]", "null", "{\"opts\":{}}", "A", "=", "wA==", "gA==", "\u{feff}{}"]
    {
        for kind in ["3", "4", "5", "7", "8", "9", "10", "11", "12"] {
            assert!(entry::decode(&fields(kind, data)).is_err(), "{kind} {data:?}");
        }
    }
    for packet in [
        r#"{"type":2}"#,
        r#"{"type":2,"data":null}"#,
        r#"{"type":2,"data":{"0":"e"}}"#,
        r#""e""#,
        "[]",
        "null",
    ] {
        let data = format!(r#"{{"packet":{packet},"opts":{{}}}}"#);
        assert!(json(3, &data).is_err() && packed(3, &data).is_err(), "{packet}");
    }
    for packet in [r#"{"0":"e"}"#, r#""e""#, "null", "5"] {
        let data = format!(r#"{{"packet":{packet}}}"#);
        assert!(json(9, &data).is_err() && packed(9, &data).is_err(), "{packet}");
    }
    let nowhere: Fields = [("uid", "n1"), ("nsp", ""), ("type", "2")].into_iter().collect();
    assert!(matches!(entry::decode(&nowhere), Err(WireError::MissingField("nsp"))));
}

#[test]
fn what_follows_the_message_is_an_error() {
    assert!(json(4, r#"{"opts":{},"rooms":[]} "#).is_ok());
    assert!(json(4, r#"{"opts":{},"rooms":[]}x"#).is_err());
    let raw = b"\x83\xa3uid\xa2n1\xa3nsp\xa1/\xa4type\x02";
    assert!(pubsub::decode(&Bytes::from_static(raw)).is_ok());
    assert!(pubsub::decode(&[&raw[..], b"\xc0"].concat().into()).is_err());
}

#[test]
fn unknown_extensions_pass_through_and_read_as_their_bytes() {
    let event = b"\x93\xa1e\xd4\x05\x07\xd6\xff\x00\x00\x00\x00";
    let payload = Payload::from_msgpack(Bytes::from_static(event)).unwrap();
    assert_eq!(payload.bytes(), &event[..]);
    let (name, unknown, date): (String, serde_bytes::ByteBuf, String) = payload.decode().unwrap();
    assert_eq!((&*name, &unknown[..], &*date), ("e", &[7][..], "1970-01-01T00:00:00.000Z"));
}

#[test]
fn a_flag_by_which_node_cannot_read_the_message_is_refused() {
    let flags = Flags { other: vec![("__proto__".into(), Payload::encode(&1).unwrap())], ..Flags::default() };
    let opts = BroadcastOptions { flags, ..BroadcastOptions::all() };
    let body = Body::FetchSockets { opts, request_id: RequestId::new("r") };
    let message = Message { uid: NodeId::new("n1"), nsp: "/".into(), body };
    assert!(matches!(pubsub::encode(&message), Err(PayloadError::Key)));
}

#[test]
fn types_with_a_text_form_go_out_as_text_in_both_encodings_and_come_back() {
    // A value in a message with binary data is converted to MessagePack. JavaScript must not see a
    // difference.
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let plain = Payload::encode(&address).unwrap();
    assert_eq!(plain.as_json(), Some(r#""127.0.0.1""#));
    let beside = Payload::encode(&(address, serde_bytes::Bytes::new(b"x"))).unwrap();
    assert_eq!(beside.encoding(), Encoding::MsgPack);
    let (text, _): (String, serde_bytes::ByteBuf) = beside.decode().unwrap();
    assert_eq!(text, "127.0.0.1");
    let (back, _): (IpAddr, serde_bytes::ByteBuf) = beside.decode().unwrap();
    assert_eq!(back, address);
}

#[test]
fn a_type_that_is_bytes_only_for_machines_does_not_make_a_message_binary() {
    struct Id;
    impl serde::Serialize for Id {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match serializer.is_human_readable() {
                true => serializer.serialize_str("0b-1d"),
                false => serializer.serialize_bytes(&[0x0b, 0x1d]),
            }
        }
    }
    assert_eq!(Payload::encode(&Id).unwrap().as_json(), Some(r#""0b-1d""#));
}

#[test]
fn a_raw_json_value_inside_is_looked_at_too() {
    let raw = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let raw = |depth| serde_json::value::RawValue::from_string(raw(depth)).unwrap();
    assert_eq!(Payload::encode(&raw(95)).unwrap().bytes().len(), 190);
    assert!(matches!(Payload::encode(&raw(96)), Err(PayloadError::Depth)));
}

#[test]
fn too_deep_is_called_too_deep_whatever_the_encoding() {
    let message = |packet: Payload| {
        let body = Body::BroadcastAck { request_id: RequestId::new("r"), packet };
        Message { uid: NodeId::new("n1"), nsp: "/".into(), body }
    };
    // JSON from a Node 0.2 peer may be arbitrarily deep. It is read, but can't be converted to
    // MessagePack.
    let nested = format!("{}{}", "[".repeat(110), "]".repeat(110));
    let body = json(12, &format!(r#"{{"requestId":"r","packet":{nested}}}"#)).unwrap();
    let Body::BroadcastAck { packet, .. } = body else { panic!() };
    assert!(entry::encode(&message(packet.clone())).is_ok());
    assert!(matches!(pubsub::encode(&message(packet)), Err(PayloadError::Depth)));
}

#[test]
fn a_room_does_not_keep_the_entry_alive_that_named_it() {
    // A decoded value shares the bytes of its message. A room may live for months.
    let big = Bytes::from([b"room".as_slice(), &[b'x'; 100_000]].concat());
    let slice = |range| ByteString::try_from(big.slice(range)).unwrap();
    let mut rooms = Rooms::new([1; 16]);
    rooms.add(slice(4..10));
    rooms.join("xxxxxx", [slice(0..4)]);
    let within = big.as_ptr_range();
    for name in rooms.of("xxxxxx").unwrap().iter().chain(&rooms.matching(&BroadcastOptions::all())) {
        assert!(!within.contains(&name.as_bytes().as_ptr()), "{name}");
    }
}

#[test]
fn reserved_names_are_those_of_the_clients_parser() {
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        assert!(matches!(Packet::event(name, &()), Err(PayloadError::ReservedEvent(_))), "{name}");
    }
    assert!(Packet::event("connection", &()).is_ok());
    // A number can be an event's name, as with the clients' parser.
    assert_eq!(Packet::new(Payload::encode(&[1]).unwrap()).unwrap().frames("/", None).text, "2[1]");
    assert!(matches!(Packet::new(Payload::encode(&[true]).unwrap()), Err(PayloadError::NotAnEvent)));
    assert!(matches!(Packet::new(Payload::encode::<[u8]>(&[]).unwrap()), Err(PayloadError::NotAnEvent)));
    assert!(matches!(Packet::event("e", &5), Err(PayloadError::NotAnEvent)));
}

/// The fuzz target `pubsub` found this: the message was accepted, and passed on under this node's
/// name.
#[test]
fn a_map_key_on_which_a_node_peer_fails_fails_here_wherever_it_stands() {
    let pushed = |data: &[u8]| {
        let came = [b"\x84\xa3uid\xa2n1\xa3nsp\xa1/\xa4type\x0c\xa4data", data].concat();
        pubsub::decode(&came.into())
    };
    for key in [&b"\xc0"[..], b"\xc3", b"\xc4\x01a", b"\xa9__proto__", b"\x80", b"\x90", b"\xd4\x05\x00"] {
        for (before, after) in [
            (&b"\x82\xa9requestId\xa1r\xa6packet\x91\x81"[..], &b"\x01"[..]),
            (b"\x82\xa9requestId\xa1r\xa5other\x91\x81", b"\x01"),
            (b"\x82\xa9requestId\xa1r", b"\x01"),
        ] {
            let refused = pushed(&[before, key, after].concat());
            assert!(
                matches!(refused, Err(WireError::MsgPack(MsgPackError::Key { .. }))),
                "{key:?} {refused:?}"
            );
        }
    }
    // No peer writes a number as a key, but all peers read it.
    let message = pushed(b"\x82\xa9requestId\xa1r\xa6packet\x81\x07\x01").unwrap();
    assert!(pubsub::encode(&message).is_ok());
}

#[test]
fn a_timestamp_of_odd_size_fails_as_with_a_node_peer() {
    let ack = |value: &[u8]| {
        let data = [b"\x82\xa9requestId\xa1r\xa6packet", value].concat();
        pubsub::decode(&[b"\x84\xa3uid\xa2n1\xa3nsp\xa1/\xa4type\x0c\xa4data", &data[..]].concat().into())
    };
    assert!(ack(b"\xd5\xff\x00\x00").is_err());
    assert!(ack(b"\xc7\x05\xff\x00\x00\x00\x00\x00").is_err());
    assert!(ack(b"\xd5\x05\x00\x00").is_ok(), "another extension");
    let Body::BroadcastAck { packet, .. } =
        ack(b"\xc7\x0c\xff\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f").unwrap().body
    else {
        panic!()
    };
    assert_eq!(packet.decode::<Option<u8>>().unwrap(), None, "a date that JavaScript has not");
}

#[test]
fn base64_as_other_languages_write_it() {
    let body = json(12, "gqlyZXF1ZXN0SWShcqZwYWNrZXTEA_v_vg").unwrap();
    let Body::BroadcastAck { packet, .. } = &body else { panic!() };
    assert_eq!(packet.bytes(), &b"\xc4\x03\xfb\xff\xbe"[..]);
    for other in [
        "gqlyZXF1ZXN0SWShcqZwYWNrZXTEA/v/vg==",
        "gqlyZXF1ZXN0SWShcqZwYWNrZXTEA/v/vg",
        "gqlyZXF1ZXN0\r\nSWShcqZwYWNr\nZXTEA/v/vg==\n",
    ] {
        assert_eq!(json(12, other).unwrap(), body);
    }
    assert!(matches!(json(12, "gqly*ZXF1"), Err(WireError::Base64(_))));
}

#[test]
fn json_that_is_no_utf8_is_read_as_the_peers_read_it() {
    let mut fields = fields("12", "");
    fields.push("data", &b"{\"requestId\":\"r\",\"packet\":\"a\xffb\xed\xa0\xbd\"}"[..]);
    let Body::BroadcastAck { packet, .. } = entry::decode(&fields).unwrap().body else { panic!() };
    assert_eq!(packet.as_json(), Some("\"a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}\""));
}

/// Everything that is written can be read again. A value that its envelope makes too deep is not
/// written.
#[test]
fn a_payload_that_came_in_a_shallow_message_does_not_go_out_in_a_deep_one() {
    let deep = format!("{}{}", "[".repeat(97), "]".repeat(97));
    let data = format!(r#"{{"requestId":"r","packet":{deep}}}"#);
    let Body::BroadcastAck { packet, .. } = json(12, &data).unwrap() else { panic!() };
    let sockets = vec![sio_streams_core::RemoteSocket {
        id: "s".into(),
        handshake: packet,
        rooms: vec![],
        data: Payload::null(),
    }];
    let body = Body::FetchSocketsResponse { request_id: RequestId::new("r"), sockets };
    let message = Message { uid: NodeId::new("n1"), nsp: "/".into(), body };
    assert!(matches!(pubsub::encode(&message), Err(PayloadError::Depth)));
}

/// The fuzz target `entry` found this: both keys were kept, and written in the reverse order.
#[test]
fn of_a_flag_that_stands_twice_the_last_counts_whatever_its_kind() {
    for (key, usual) in [("volatile", "true"), ("local", "false"), ("timeout", "1500"), ("binary", "true")] {
        for (flags, others) in [
            (format!(r#"{{"{key}":"","{key}":{usual}}}"#), 0),
            (format!(r#"{{"{key}":{usual},"{key}":""}}"#), 1),
        ] {
            let data = format!(r#"{{"opts":{{"flags":{flags}}},"rooms":[]}}"#);
            for body in [json(4, &data).unwrap(), twice(4, key, others == 0).unwrap()] {
                let Body::SocketsJoin { opts, .. } = &body else { panic!() };
                assert_eq!(opts.flags.other.len(), others, "{data}");
                assert_eq!(
                    opts.flags == Flags { other: opts.flags.other.clone(), ..Flags::default() },
                    others == 1
                );
                let message = Message { uid: NodeId::new("n1"), nsp: "/".into(), body: body.clone() };
                assert_eq!(entry::decode(&entry::encode(&message).unwrap()).unwrap().body, body);
            }
        }
    }
}

/// Reads Pub/Sub data of the form `{opts: {flags: {key: …, key: …}}, rooms: []}`, with `true` (or
/// 1) and a string as values, in either order.
fn twice(kind: u8, key: &str, usual_last: bool) -> Result<Body, WireError> {
    let key = [&[0xa0 | u8::try_from(key.len()).unwrap()], key.as_bytes()].concat();
    let usual: &[u8] = if key.ends_with(b"timeout") { b"\x01" } else { b"\xc3" };
    let odd: &[u8] = b"\xa0";
    let (first, last) = if usual_last { (odd, usual) } else { (usual, odd) };
    let came = [
        b"\x84\xa3uid\xa2n1\xa3nsp\xa1/\xa4type",
        &[kind][..],
        b"\xa4data\x82\xa4opts\x81\xa5flags\x82",
        &key,
        first,
        &key,
        last,
        b"\xa5rooms\x90",
    ];
    pubsub::decode(&came.concat().into()).map(|message| message.body)
}

#[test]
fn lengths_of_every_width_are_read() {
    // Strings, binaries, arrays, maps and extensions of one element or byte are followed by a value
    // that must not be read as part of them.
    let one: [&[u8]; 15] = [
        b"\xd9\x01a",
        b"\xda\x00\x01a",
        b"\xdb\x00\x00\x00\x01a",
        b"\xc4\x01a",
        b"\xc5\x00\x01a",
        b"\xc6\x00\x00\x00\x01a",
        b"\xdc\x00\x01\xc0",
        b"\xdd\x00\x00\x00\x01\xc0",
        b"\xde\x00\x01\xa1k\xc0",
        b"\xdf\x00\x00\x00\x01\xa1k\xc0",
        b"\xc7\x01\x05a",
        b"\xc8\x00\x01\x05a",
        b"\xc9\x00\x00\x00\x01\x05a",
        b"\xd4\x05a",
        b"\xd5\x05aa",
    ];
    for value in one {
        let data = [b"\x82\xa9requestId\xa1r\xa6packet\x92", value, b"\x07"].concat();
        let came = [b"\x84\xa3uid\xa2n1\xa3nsp\xa1/\xa4type\x0c\xa4data", &data[..]].concat();
        let Body::BroadcastAck { packet, .. } = pubsub::decode(&came.into()).unwrap().body else { panic!() };
        assert_eq!(packet.decode::<(serde::de::IgnoredAny, u8)>().unwrap().1, 7, "{value:?}");
    }
}
