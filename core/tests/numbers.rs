//! Rooms that are numbers in JavaScript, where `5` and `"5"` are two rooms. Here they are one, so
//! what is selected is written in both forms. `tests/interop/tests/cells.rs` tries it with Node.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use sio_streams_core::wire::classic::{self, Request};
use sio_streams_core::wire::{entry, pubsub};
use sio_streams_core::{Body, BroadcastOptions, ByteString, Message, NodeId, Packet, RequestId, Rooms};

fn texts(rooms: &[&str]) -> Vec<ByteString> {
    rooms.iter().map(|room| ByteString::from(*room)).collect()
}

fn opts() -> BroadcastOptions {
    BroadcastOptions::to("5").and("room").and("-1.5").and("05").except("1e+21").except("9007199254740991")
}

fn message(body: Body) -> Message {
    Message { uid: NodeId::new("n"), nsp: "/".into(), body }
}

fn written(body: Body) -> String {
    let fields = entry::encode(&message(body)).unwrap();
    String::from_utf8(fields.get("data").unwrap().to_vec()).unwrap()
}

/// Every message with a selection, in each of which it is `opts()`.
fn bodies() -> Vec<Body> {
    let packet = Packet::event("e", &()).unwrap();
    let (opts, rooms, request_id) = (opts, || texts(&["7", "a"]), || RequestId::new("r"));
    vec![
        Body::Broadcast { packet: packet.clone(), opts: opts(), request_id: None },
        Body::Broadcast { packet, opts: opts(), request_id: Some(request_id()) },
        Body::SocketsJoin { opts: opts(), rooms: rooms() },
        Body::SocketsLeave { opts: opts(), rooms: rooms() },
        Body::DisconnectSockets { opts: opts(), close: true },
        Body::FetchSockets { opts: opts(), request_id: request_id() },
    ]
}

#[test]
fn what_is_selected_is_written_as_text_and_as_number() {
    let selection = r#""opts":{"rooms":["5",5,"room","-1.5",-1.5,"05"],"except":["1e+21",1e+21,"9007199254740991",9007199254740991],"flags":{}}"#;
    for body in bodies() {
        let text = written(body.clone());
        assert!(text.contains(selection), "{text}");
    }
    let leave = written(Body::SocketsLeave { opts: BroadcastOptions::all(), rooms: texts(&["7", "a"]) });
    assert!(leave.ends_with(r#","rooms":["7",7,"a"]}"#), "{leave}");
    // A room that is joined comes into being, and it is one.
    let join = written(Body::SocketsJoin { opts: BroadcastOptions::all(), rooms: texts(&["7", "a"]) });
    assert!(join.ends_with(r#","rooms":["7","a"]}"#), "{join}");

    let asked = Request::SocketIds { rooms: texts(&["7"]), request_id: RequestId::new("r") };
    let asked = classic::encode_request(&NodeId::new("n"), &"/".into(), &asked).unwrap();
    assert!(asked.ends_with(br#""rooms":["7",7]}"#), "{asked:?}");
}

#[test]
fn messagepack_has_integers_where_the_number_is_one() {
    let packet = Packet::event("e", &()).unwrap();
    let to = BroadcastOptions::to("5").and("-7").and("0.5").and("1e+21");
    let written = classic::encode_broadcast(&NodeId::new("n"), &"/".into(), &packet, &to).unwrap();
    let rooms = [
        &b"\xa5rooms\x98\xa15\x05\xa2-7\xf9\xa30.5\xcb\x3f\xe0\0\0\0\0\0\0\xa51e+21\xcb"[..],
        &1e21_f64.to_be_bytes(),
    ]
    .concat();
    assert!(written.windows(rooms.len()).any(|part| part == rooms), "{written:?}");
}

#[test]
fn both_forms_are_read_as_one_room() {
    for body in bodies() {
        let it = message(body);
        assert_eq!(entry::decode(&entry::encode(&it).unwrap()).unwrap(), it);
        assert_eq!(pubsub::decode_sharded(&pubsub::encode_sharded(&it).unwrap()).unwrap(), it);
        let packed = pubsub::decode(&pubsub::encode(&it).unwrap()).unwrap();
        match (&packed.body, &it.body) {
            // Its packet is in the other encoding.
            (Body::Broadcast { opts, .. }, Body::Broadcast { opts: sent, .. }) => assert_eq!(opts, sent),
            (body, sent) => assert_eq!(body, sent),
        }
    }
    let read = |rooms: &str| {
        let data = format!(r#"{{"opts":{{"rooms":{rooms},"except":[],"flags":{{}}}},"requestId":"r"}}"#);
        let fields = [("uid", "n"), ("nsp", "/"), ("type", "7"), ("data", &data)];
        let fields = fields.map(|(name, value)| (name, value.to_owned())).into_iter().collect();
        match entry::decode(&fields).unwrap().body {
            Body::FetchSockets { opts, .. } => opts.rooms,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read("[5]"), ["5"]);
    assert_eq!(read(r#"["5",5,"a",7,"7"]"#), ["5", "a", "7", "7"]);
    assert_eq!(read(r#"["5",5.0]"#), ["5"]);
    assert_eq!(read(r#"["5.0",5.0]"#), ["5.0", "5"]);
    assert_eq!(read(r#"["5","5",5,5,55]"#), ["5", "5", "55"]);
    assert_eq!(read(r#"["null",null]"#), ["null", "null"], "only numbers are");
}

#[test]
fn a_room_that_is_a_number_is_one_room_here() {
    let mut rooms = Rooms::new([0; 16]);
    rooms.add("s".into());
    rooms.join("s", texts(&["5"]));
    assert_eq!(rooms.matching(&BroadcastOptions::to("5")), ["s"]);
    assert_eq!(rooms.matching(&BroadcastOptions::all().except("5")), [""; 0]);
    assert_eq!(rooms.of("s").unwrap(), ["s", "5"]);
}
