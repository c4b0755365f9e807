//! Messages as other emitters write them. They have the same effect as with Node's adapters, unless
//! that would harm a client.
//!
//! The forms were seen in emitters in Python, C#, PHP and others, and in older versions of Node's
//! own. `tests/interop/tests/decoders` compares all of them, and others that no emitter writes,
//! with the real adapters.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sio_streams_core::wire::classic::{self, Request};
use sio_streams_core::wire::{MsgPackError, WireError, entry, pubsub};
use sio_streams_core::{Body, BroadcastOptions, Fields, Message, Packet, Payload, PayloadError};

fn stream(kind: &str, data: &[u8]) -> Result<Body, WireError> {
    let mut fields: Fields = [("uid", "emitter"), ("nsp", "/")].into_iter().collect();
    fields.push("type", kind.to_owned());
    fields.push("data", data.to_vec());
    entry::decode(&fields).map(|message| message.body)
}

/// Encodes a text of up to 31 bytes.
fn text(text: &str) -> Vec<u8> {
    [&[0xa0 | u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn map(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = vec![0x80 | u8::try_from(entries.len()).unwrap()];
    entries.iter().for_each(|(key, value)| out.extend([&text(key)[..], value].concat()));
    out
}

const EVENT: &[u8] = b"\x82\xa4type\x02\xa4data\x92\xa1e\x01";

/// Reads a broadcast with this packet and these options from every form of MessagePack.
fn packed(packet: &[u8], opts: &[u8]) -> [Result<Body, WireError>; 5] {
    let data = map(&[("packet", packet), ("opts", opts)]);
    let message = map(&[("uid", &text("emitter")), ("nsp", &text("/")), ("type", &[3]), ("data", &data)]);
    let request = map(&[("type", &[7]), ("requestId", &text("r")), ("packet", packet), ("opts", opts)]);
    let broadcast = [b"\x93\xa7emitter", packet, opts].concat();
    let body = |message: Result<Message, WireError>| message.map(|message| message.body);
    [
        stream("3", STANDARD.encode(&data).as_bytes()),
        body(pubsub::decode(&message.clone().into())),
        body(pubsub::decode_sharded(&message.into())),
        body(classic::decode_broadcast(&broadcast.into())),
        request_body(&request.into()),
    ]
}

/// Reads the same from every form of JSON.
fn in_json(packet: &str, opts: &str) -> [Result<Body, WireError>; 3] {
    let data = format!(r#"{{"packet":{packet},"opts":{opts}}}"#);
    let message = format!(r#"{{"uid":"emitter","nsp":"/","type":3,"data":{data}}}"#);
    let request = format!(r#"{{"type":7,"requestId":"r","packet":{packet},"opts":{opts}}}"#);
    [
        stream("3", data.as_bytes()),
        pubsub::decode_sharded(&message.into()).map(|message| message.body),
        request_body(&request.into()),
    ]
}

fn request_body(request: &Bytes) -> Result<Body, WireError> {
    match classic::decode_request(request)?.1 {
        Request::Common(body) => Ok(body),
        other => panic!("{other:?}"),
    }
}

fn broadcast(body: Result<Body, WireError>) -> (Packet, BroadcastOptions) {
    match body.unwrap() {
        Body::Broadcast { packet, opts, .. } => (packet, opts),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_broadcast_to_all_may_have_texts_where_lists_are_expected() {
    // Emitters in Python and C# write every broadcast to all sockets in this form:
    // `["emitter",{type:2,…},{flags:"",rooms:""}]`.
    let empty = map(&[("flags", &text("")), ("rooms", &text(""))]);
    let more = map(&[("except", &text("")), ("flags", b"\x90")]);
    for opts in [&empty[..], &more, b"\x90", b"\x80"] {
        for body in packed(EVENT, opts) {
            let (packet, opts) = broadcast(body);
            assert_eq!((&*packet.frames("/", None).text, opts), (r#"2["e",1]"#, BroadcastOptions::all()));
        }
    }
    for opts in [
        r#"{"flags":"","rooms":"","except":""}"#,
        "[]",
        r#"{"flags":[]}"#,
        r#"{"flags":null,"rooms":null}"#,
        "{}",
    ] {
        for body in in_json(r#"{"type":2,"data":["e",1]}"#, opts) {
            assert_eq!(broadcast(body).1, BroadcastOptions::all(), "{opts}");
        }
    }
    // In JavaScript, every value except null and undefined has properties. Only the classic adapter
    // sets some of them.
    for body in in_json(r#"{"type":2,"data":["e"]}"#, "5") {
        assert_eq!(broadcast(body).1, BroadcastOptions::all());
    }
    let [.., classic, request] = packed(EVENT, b"\x05");
    assert!(matches!(classic, Err(WireError::MsgPack(MsgPackError::Unexpected { .. }))));
    assert_eq!(broadcast(request).1, BroadcastOptions::all());
    for body in packed(EVENT, b"\xc0").into_iter().chain(in_json(r#"{"type":2,"data":["e"]}"#, "null")) {
        assert!(body.is_err());
    }
}

#[test]
fn a_text_is_the_set_of_its_characters() {
    let opts = map(&[("rooms", &text("abaü")), ("except", &text("c"))]);
    for body in packed(EVENT, &opts) {
        let opts = broadcast(body).1;
        assert_eq!(
            (&opts.rooms[..], &opts.except[..]),
            (&["a".into(), "b".into(), "ü".into()][..], &["c".into()][..])
        );
    }
    for body in in_json(r#"{"type":2,"data":["e"]}"#, r#"{"rooms":"\u0061baü","except":"c"}"#) {
        let opts = broadcast(body).1;
        assert_eq!(
            (&opts.rooms[..], &opts.except[..]),
            (&["a".into(), "b".into(), "ü".into()][..], &["c".into()][..])
        );
    }
    // A binary value is the set of its bytes. An empty one addresses all sockets.
    for (bytes, rooms) in [(&b"\xc4\x00"[..], vec![]), (b"\xc4\x03\x07\x01\x07", vec!["1", "7"])] {
        for body in packed(EVENT, &map(&[("rooms", bytes)])) {
            assert_eq!(broadcast(body).1.rooms, rooms);
        }
    }
    // Node can't make a set of these values either.
    for rooms in [&b"\x05"[..], b"\xc3", b"\x80", b"\xd6\xff\x00\x00\x00\x00"] {
        assert!(packed(EVENT, &map(&[("rooms", rooms)])).iter().all(Result::is_err), "{rooms:?}");
    }
    for rooms in ["5", "true", "{}"] {
        let opts = format!(r#"{{"rooms":{rooms}}}"#);
        assert!(in_json(r#"{"type":2,"data":["e"]}"#, &opts).iter().all(Result::is_err), "{rooms}");
    }
}

#[test]
fn one_room_may_be_joined_without_a_list_and_none_be_left_so() {
    let data = |kind: &str, rooms: &str| stream(kind, format!(r#"{{"opts":[],"rooms":{rooms}}}"#).as_bytes());
    let joined = |body: Result<Body, WireError>| match body.unwrap() {
        Body::SocketsJoin { rooms, .. } => rooms,
        other => panic!("{other:?}"),
    };
    assert_eq!(joined(data("4", r#""room""#)), ["room"]);
    assert_eq!(joined(data("4", "5")), ["5"]);
    let request = |kind, rooms| format!(r#"{{"type":{kind},"opts":{{}},"rooms":{rooms}}}"#);
    assert_eq!(joined(request_body(&request(2, r#""room""#).into())), ["room"]);
    let packed = |kind: u8, rooms: &[u8]| {
        request_body(&map(&[("type", &[kind]), ("opts", b"\x90"), ("rooms", rooms)]).into())
    };
    assert_eq!(joined(packed(2, &text("room"))), ["room"]);
    // In Node, leaving a room without a list around it has no effect. A room that no application
    // can name is refused.
    assert!(data("5", r#""room""#).is_err() && packed(3, &text("room")).is_err());
    for rooms in ["null", "true", "{}"] {
        assert!(data("4", rooms).is_err() && request_body(&request(2, rooms).into()).is_err(), "{rooms}");
        let older = format!(r#"{{"type":2,"requestId":"r","sid":"s","room":{rooms}}}"#);
        assert!(classic::decode_request(&older.into()).is_err(), "{rooms}");
    }
}

#[test]
fn options_that_count_as_false_make_a_request_an_older_one() {
    for opts in ["null", "false", "0", r#""""#] {
        let request = format!(r#"{{"type":2,"opts":{opts},"requestId":"r","sid":"s","room":"a"}}"#);
        assert!(
            matches!(classic::decode_request(&request.into()).unwrap().1, Request::RemoteJoin { .. }),
            "{opts}"
        );
    }
}

/// Returns the packet of an event with this argument, as each of the adapters reads it that use
/// notepack.io.
fn notepack(argument: &[u8]) -> [Packet; 3] {
    let packet = [b"\x82\xa4type\x02\xa4data\x92\xa1e", argument].concat();
    let [_, _, sharded, classic, request] = packed(&packet, b"\x80");
    [sharded, classic, request].map(|body| broadcast(body).0)
}

#[test]
fn extension_0_is_what_version_2_of_notepack_wrote_by_it() {
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    for (argument, frame, attachment) in [
        (&b"\xd4\x00\x00"[..], r#"2["e",null]"#.to_owned(), None),
        (b"\x92\x01\xd4\x00\x00", r#"2["e",[1,null]]"#.into(), None),
        (b"\x82\xa1a\xd4\x00\x00\xa1b\x01", r#"2["e",{"b":1}]"#.into(), None),
        (b"\xde\x00\x01\xa1a\xd4\x00\x00", r#"2["e",{}]"#.into(), None),
        (b"\xdf\x00\x00\x00\x02\xa1a\xd4\x00\x00\xa1b\xc0", r#"2["e",{"b":null}]"#.into(), None),
        (b"\xc7\x03\x00\x01\x02\x03", format!(r#"51-["e",{placeholder}]"#), Some(&[1_u8, 2, 3][..])),
        (b"\xc8\x00\x01\x00\x09", format!(r#"51-["e",{placeholder}]"#), Some(&[9])),
        (b"\xc9\x00\x00\x00\x00\x00", format!(r#"51-["e",{placeholder}]"#), Some(&[])),
        (b"\xd7\x00\x00\x00\x01\x8b\xcf\xe5\x68\x7b", r#"2["e","2023-11-14T22:13:20.123Z"]"#.into(), None),
        (b"\xd7\x00\x80\x00\x00\x00\x00\x00\x00\x00", r#"2["e",null]"#.into(), None),
        (b"\xd7\x00\xff\xff\xff\xff\xff\xff\xff\xff", r#"2["e","1969-12-31T23:59:59.999Z"]"#.into(), None),
        // Any other extension becomes a pair.
        (b"\xd4\x05\x09", format!(r#"51-["e",[5,{placeholder}]]"#), Some(&[9])),
        (b"\xc7\x01\xfe\x09", format!(r#"51-["e",[-2,{placeholder}]]"#), Some(&[9])),
        (b"\xd5\x00\x01\x02", format!(r#"51-["e",[0,{placeholder}]]"#), Some(&[1, 2])),
        // There are dates in the common form, and an old one.
        (
            b"\x92\xd6\xff\x65\x53\xf1\x00\xd4\x00\x00",
            r#"2["e",["2023-11-14T22:13:20.000Z",null]]"#.into(),
            None,
        ),
        // A map key is not a string.
        (b"\x83\xc0\x01\xc3\x02\xc4\x01k\x03", r#"2["e",{"null":1,"true":2,"k":3}]"#.into(), None),
    ] {
        for packet in notepack(argument) {
            let frames = packet.frames("/", None);
            assert_eq!(frames.text, frame, "{argument:?}");
            assert_eq!(frames.attachments.first().map(|bytes| &bytes[..]), attachment, "{argument:?}");
        }
    }
    // The value is ignored in every position: it is no namespace, no options, and so on.
    let undefined = b"\xd4\x00\x00";
    let packet = map(&[("type", undefined), ("data", b"\x91\xa1e"), ("nsp", undefined), ("id", undefined)]);
    let opts = map(&[("rooms", undefined), ("except", undefined), ("flags", undefined)]);
    let [_, _, sharded, classic, request] = packed(&packet, &opts);
    for body in [sharded, classic, request] {
        let (packet, opts) = broadcast(body);
        assert_eq!((packet.id(), packet.nsp(), opts), (None, None, BroadcastOptions::all()));
    }
    // The decoder of the streams adapters supports none of these values.
    let [entry, push, ..] = packed(b"\x82\xa4type\x02\xa4data\x92\xa1e\xd4\x00\x00", b"\x80");
    for body in [entry, push] {
        let frame = format!(r#"51-["e",{{"type":0,"data":{placeholder}}}]"#);
        assert_eq!(broadcast(body).0.frames("/", None).text, frame);
    }
}

#[test]
fn a_binary_event_is_an_event_and_nothing_else_is() {
    for kind in ["2", "5", "2.0", r#""2""#, r#""5""#, "null"] {
        for body in in_json(&format!(r#"{{"type":{kind},"data":["e",1]}}"#), "{}") {
            let packet = broadcast(body).0;
            assert_eq!(packet.frames("/", None).text, r#"2["e",1]"#, "{kind}");
        }
    }
    for kind in [
        "0", "1", "3", "4", "6", "7", "20", "50", "255", "256", "-2", "2.5", "1e300", "true", r#""""#,
        r#"" 2""#, "[2]", "{}",
    ] {
        for body in in_json(&format!(r#"{{"type":{kind},"data":["e",1]}}"#), "{}") {
            assert!(matches!(body, Err(WireError::PacketType)), "{kind}: {body:?}");
        }
    }
    for (kind, is_event) in
        [(&b"\x05"[..], true), (b"\xa15", true), (b"\x06", false), (b"\x32", false), (b"\xc4\x00", false)]
    {
        for body in packed(&[b"\x82\xa4type", kind, b"\xa4data\x92\xa1e\xc4\x01\x07"].concat(), b"\x80") {
            match is_event {
                true => assert_eq!(
                    broadcast(body).0.frames("/", None).text,
                    r#"51-["e",{"_placeholder":true,"num":0}]"#
                ),
                false => assert!(matches!(body, Err(WireError::PacketType)), "{kind:?}"),
            }
        }
    }
}

#[test]
fn an_id_of_null_is_none_and_keeps_the_offset_away() {
    for body in in_json(r#"{"type":2,"data":["e"],"id":null}"#, "{}").into_iter().take(2) {
        let (packet, opts) = broadcast(body);
        assert_eq!(
            (packet.id(), opts.flags.volatile),
            (None, Some(false)),
            "as a flag does that is there and false"
        );
        assert_eq!(packet.frames("/", None).text, r#"2["e"]"#);
    }
    for body in packed(b"\x83\xa4type\x02\xa4data\x91\xa1e\xa2id\xc0", b"\x80").into_iter().take(4) {
        let (packet, opts) = broadcast(body);
        assert_eq!((packet.id(), opts.flags.volatile), (None, Some(false)));
    }
    let id = |id: &str| {
        let [stream, sharded, request] = in_json(&format!(r#"{{"type":2,"data":["e"],"id":{id}}}"#), "{}");
        // If acknowledgements are wanted, each server assigns an id of its own and ignores this
        // one.
        assert_eq!(broadcast(request).0.id(), None, "{id}");
        assert_eq!(stream.is_ok(), sharded.is_ok());
        stream.map(|body| broadcast(Ok(body)).0.id())
    };
    assert!(matches!((id("7"), id(r#""07""#), id(r#""""#)), (Ok(Some(7)), Ok(Some(7)), Ok(None))));
    for odd in ["-1", "1.5", "1e30", "true", r#""a""#, r#"" 2""#, "[]", "{}"] {
        assert!(matches!(id(odd), Err(WireError::PacketId)), "{odd}");
    }
    // An existing `volatile` is kept, because it does more than prevent an offset.
    let (_, opts) =
        broadcast(stream("3", br#"{"packet":{"data":["e"],"id":null},"opts":{"flags":{"volatile":true}}}"#));
    assert_eq!(opts.flags.volatile, Some(true));
}

#[test]
fn an_event_that_clients_would_not_survive_is_refused() {
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        let escaped: String = name.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
        for data in [format!(r#"["{name}",1]"#), format!("[ \"{escaped}\" ]")] {
            for body in in_json(&format!(r#"{{"type":2,"data":{data}}}"#), "{}") {
                assert!(matches!(body, Err(WireError::EventName)), "{data}");
            }
        }
        let data = [b"\x82\xa4type\x02\xa4data\x92", &text(name)[..], b"\xc4\x01\x07"].concat();
        assert!(packed(&data, b"\x80").iter().all(|body| matches!(body, Err(WireError::EventName))));
    }
    for data in ["[]", "[null]", "[{}]", "[[]]", "[true]"] {
        for body in in_json(&format!(r#"{{"type":2,"data":{data}}}"#), "{}") {
            assert!(matches!(body, Err(WireError::EventName)), "{data}");
        }
    }
    // Clients accept numbers as names, and names that only begin like a reserved one.
    for data in ["[7]", "[-1.5e3]", r#"["connected"]"#, r#"["\ud83d"]"#, r#"["connect\u0000"]"#] {
        for body in in_json(&format!(r#"{{"type":2,"data":{data}}}"#), "{}") {
            assert_eq!(broadcast(body).0.frames("/", None).text, format!("2{data}"));
        }
    }
    for name in [
        &b"\xcb\x7f\xf8\0\0\0\0\0\0"[..],
        b"\xc4\x01a",
        b"\xc0",
        b"\xc7\x0c\xff\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f",
    ] {
        let packet = [b"\x82\xa4type\x02\xa4data\x91", name].concat();
        assert!(packed(&packet, b"\x80").iter().all(Result::is_err), "{name:?}");
    }
}

#[test]
fn an_object_that_clients_would_take_for_a_binary_value_is_refused() {
    let place = |num: u8| [b"\x82\xac_placeholder\xc3\xa3num", &[num][..]].concat();
    for num in [0, 99] {
        // Next to a binary value, a client takes the object for a placeholder.
        let data = [b"\x82\xa4type\x02\xa4data\x93\xa1e\xc4\x01\x07", &place(num)[..]].concat();
        assert!(packed(&data, b"\x80").iter().all(|body| matches!(body, Err(WireError::Placeholder))));
        let alone = [b"\x82\xa4type\x02\xa4data\x92\xa1e", &place(num)[..]].concat();
        assert!(packed(&alone, b"\x80").into_iter().all(|body| body.is_ok()));
    }
    // This crate does not send it either.
    let data = [&b"\x93\xa1e\xc4\x01\x07"[..], &place(9)].concat();
    assert!(matches!(Packet::new(Payload::from_msgpack(data).unwrap()), Err(PayloadError::Placeholder)));
    let false_place = b"\x93\xa1e\xc4\x01\x07\x81\xac_placeholder\xc2".to_vec();
    assert!(Packet::new(Payload::from_msgpack(false_place).unwrap()).is_ok());
}

#[test]
fn a_namespace_of_null_is_no_namespace() {
    // The classic adapter takes a packet without a namespace for one of `/`.
    let nsp = |nsp: &[u8]| {
        let packet = [b"\x83\xa4type\x02\xa4data\x91\xa1e\xa3nsp", nsp].concat();
        let [entry, push, sharded, classic, request] = packed(&packet, b"\x80");
        // All other adapters ignore the packet's namespace.
        assert!([entry, push, sharded, request].into_iter().all(|body| body.is_ok()), "{nsp:?}");
        classic.is_ok()
    };
    assert!(nsp(b"\xa1/") && nsp(b"\xa5/chat"));
    assert!(!nsp(b"\xc0") && !nsp(b"\x07") && !nsp(b"\x80"));
}

#[test]
fn who_writes_and_for_which_namespace_may_be_of_any_kind() {
    for uid in [&b"\xc0"[..], b"\x07", b"\x90", b"\xc4\x00"] {
        let data = map(&[("opts", b"\x80"), ("rooms", b"\x91\xa1a")]);
        let message = map(&[("uid", uid), ("nsp", &text("/")), ("type", &[4]), ("data", &data)]);
        assert!(pubsub::decode(&message.into()).is_ok(), "{uid:?}");
    }
    let message = br#"{"uid":null,"nsp":"/","type":4,"data":{"opts":{},"rooms":["a"]}}"#;
    assert_eq!(pubsub::decode_sharded(&Bytes::from_static(message)).unwrap().uid.as_str(), "");
}

#[test]
fn what_is_taken_is_written_as_node_writes_it() {
    // A node that passes such a message on writes it in the common form.
    let [entry, ..] =
        in_json(r#"{"type":5,"data":["e"],"id":null,"attachments":3}"#, r#"{"rooms":"ab","flags":""}"#);
    let message = Message { uid: sio_streams_core::NodeId::EMITTER, nsp: "/".into(), body: entry.unwrap() };
    let fields = entry::encode(&message).unwrap();
    let data = r#"{"packet":{"type":2,"data":["e"]},"opts":{"rooms":["a","b"],"except":[],"flags":{"volatile":false}}}"#;
    assert_eq!(fields.get("data").map(|data| &data[..]), Some(data.as_bytes()));
    assert_eq!(entry::decode(&fields).unwrap(), message);
}
