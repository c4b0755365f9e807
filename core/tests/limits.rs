//! What is too much is refused, or costs no more than its size.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sio_streams_core::wire::{WireError, entry, pubsub};
use sio_streams_core::{
    Body, BroadcastOptions, ByteString, Fields, MAX_DEPTH, MAX_PAYLOAD, Message, NodeId, Packet, Payload,
    PayloadError, RequestId, Rooms,
};

/// Far more than any of these takes even unoptimised on a slow machine, far less than what quadratic work would take.
const GENEROUS: Duration = Duration::from_secs(60);

fn fields(kind: &'static str, data: impl Into<Bytes>) -> Fields {
    let mut fields = Fields::new();
    fields.push("uid", "u");
    fields.push("nsp", "/");
    fields.push("type", kind);
    fields.push("data", data);
    fields
}

fn push(kind: u8, data: &[u8]) -> Bytes {
    [b"\x84\xa3uid\xa1u\xa3nsp\xa1/\xa4type", &[kind][..], b"\xa4data", data].concat().into()
}

fn message(body: Body) -> Message {
    Message { uid: NodeId::new("u"), nsp: "/".into(), body }
}

fn brackets(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn deep_json_is_carried_and_refused_only_where_somebody_wants_it_decoded() {
    let deep = brackets(1_000_000);
    let data = format!(
        r#"{{"packet":{{"type":2,"data":["e",{deep}]}},"opts":{{"rooms":[{deep}],"flags":{{"x":{deep}}}}},"y":{deep}}}"#
    );
    let Body::Broadcast { packet, opts, .. } = entry::decode(&fields("3", data)).unwrap().body else {
        panic!()
    };
    assert_eq!(packet.data.bytes().len(), 2_000_000 + 6);
    assert_eq!(opts.rooms.len(), 1);
    assert_eq!(packet.data.event_name().as_deref(), Some("e"));
    assert!(packet.data.decode::<serde_json::Value>().is_err());
    assert!(Payload::from_json(packet.data.bytes().clone()).is_err());
    assert!(pubsub::encode(&message(Body::Broadcast { packet, opts, request_id: None })).is_err());
    // Where the envelope itself should be, it is an error and no overflow of the stack.
    for kind in ["3", "4", "8"] {
        for data in ["{\"packet\":", "{\"opts\":", "{\"rooms\":", "{\"sockets\":", "{\"packet\":{\"data\":"] {
            assert!(entry::decode(&fields(kind, format!("{data}{}", "[".repeat(1_000_000)))).is_err());
            assert!(entry::decode(&fields(kind, format!("{data}{}", "{\"a\":".repeat(200_000)))).is_err());
        }
    }
}

#[test]
fn deep_messagepack_is_refused_at_the_documented_depth() {
    let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    let ack = |depth: usize| [b"\x82\xa9requestId\xa1r\xa6packet", &nested(depth)[..]].concat();
    // The message and its data are two of the levels.
    let decode = |depth: usize| pubsub::decode(&push(12, &ack(depth)));
    assert!(decode(MAX_DEPTH - 2).is_ok());
    assert!(matches!(decode(MAX_DEPTH - 1), Err(WireError::MsgPack(_))));
    for depth in [MAX_DEPTH, 10_000, 5_000_000] {
        assert!(decode(depth).is_err());
        assert!(pubsub::decode(&push(12, &nested(depth))).is_err());
        assert!(pubsub::decode(&nested(depth).into()).is_err());
        assert!(entry::decode(&fields("12", STANDARD.encode(nested(depth)))).is_err());
        // As map keys, too.
        assert!(pubsub::decode(&vec![0x81; depth].into()).is_err());
        assert!(matches!(Payload::from_msgpack(nested(depth)), Err(PayloadError::Depth)));
    }
    assert!(Payload::from_msgpack(nested(MAX_DEPTH - 5)).is_ok());
    assert!(matches!(Payload::from_msgpack(nested(MAX_DEPTH - 4)), Err(PayloadError::Depth)));
}

#[test]
fn what_is_as_deep_as_allowed_fits_into_every_message() {
    let deepest = Payload::from_json(brackets(MAX_DEPTH - 5)).unwrap();
    let sockets = vec![sio_streams_core::RemoteSocket {
        id: "s".into(),
        handshake: deepest.clone(),
        rooms: vec![],
        data: deepest.clone(),
    }];
    let mut opts = BroadcastOptions::all();
    opts.flags.other.push(("x".into(), deepest.clone()));
    let request_id = RequestId::new("r");
    let packet = Packet { kind: 2, data: deepest.clone(), nsp: None, id: None };
    for body in [
        Body::Broadcast { packet, opts: opts.clone(), request_id: None },
        Body::FetchSocketsResponse { request_id: request_id.clone(), sockets },
        Body::FetchSockets { opts, request_id: request_id.clone() },
        Body::BroadcastAck { request_id, packet: deepest },
    ] {
        let message = message(body);
        assert_eq!(entry::decode(&entry::encode(&message).unwrap()).unwrap(), message);
        let packed = pubsub::encode(&message).unwrap();
        // Once it is MessagePack it stays so.
        let again = pubsub::decode(&packed).unwrap();
        assert_eq!(pubsub::encode(&again).unwrap(), packed);
    }
}

#[test]
fn a_length_that_is_only_claimed_costs_nothing() {
    let start = Instant::now();
    // Each of these would take gigabytes if it were believed.
    for claim in [
        &b"\xdd\xff\xff\xff\xff"[..],
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x05",
        b"\xdd\xff\xff\xff\xff\xa1a\xa1b",
        b"\xdf\xff\xff\xff\xff\xa2id\xa1b",
    ] {
        assert!(pubsub::decode(&Bytes::from_static(claim)).is_err());
        assert!(Payload::from_msgpack(claim).is_err());
        for (kind, key) in
            [(3, "packet"), (3, "opts"), (4, "rooms"), (8, "sockets"), (10, "packet"), (11, "clientCount")]
        {
            let key = [&[0xa0 | u8::try_from(key.len()).unwrap()], key.as_bytes()].concat();
            let data = [b"\x84\xa9requestId\xa1r", &key[..], claim].concat();
            assert!(pubsub::decode(&push(kind, &data)).is_err());
            for inner in [
                &b"\x83\xa5rooms"[..],
                b"\x83\xa6except",
                b"\x83\xa5flags",
                b"\x83\xa4data",
                b"\x91\x84\xa5rooms",
            ] {
                let data = [b"\x84\xa9requestId\xa1r", &key[..], inner, claim].concat();
                assert!(pubsub::decode(&push(kind, &data)).is_err());
            }
        }
    }
    assert!(start.elapsed() < GENEROUS);
}

#[test]
fn a_message_with_a_hundred_thousand_rooms() {
    let start = Instant::now();
    let names: Vec<ByteString> = (0..100_000).map(|i| format!("room {i} ü\"").into()).collect();
    let opts = BroadcastOptions { rooms: names.clone(), except: names.clone(), ..BroadcastOptions::all() };
    let sent = message(Body::SocketsJoin { opts, rooms: names.clone() });
    assert_eq!(entry::decode(&entry::encode(&sent).unwrap()).unwrap(), sent);
    assert_eq!(pubsub::decode(&pubsub::encode(&sent).unwrap()).unwrap(), sent);

    // One socket in all of them, and each left again, the first ones first.
    let mut rooms = Rooms::new([7; 16]);
    rooms.add("s".into());
    rooms.add("t".into());
    assert_eq!(rooms.join("s", names.iter().cloned()).len(), 200_000);
    assert_eq!(rooms.join("s", names.iter().take(100).cloned()), []);
    let all = BroadcastOptions { rooms: names.clone(), ..BroadcastOptions::all() };
    assert_eq!(rooms.matching(&all), ["s"]);
    assert_eq!(
        rooms.count_matching(&BroadcastOptions { except: names.clone(), ..BroadcastOptions::all() }),
        1
    );
    assert_eq!(rooms.leave("s", names.iter().map(|name| &**name)).len(), 200_000);
    assert_eq!(rooms.room_count(), 2);

    // A hundred thousand sockets in one room, and gone again, the first ones first.
    for name in &names {
        rooms.add(name.clone());
        rooms.join(name, ["all".into()]);
    }
    assert_eq!(rooms.count_matching(&BroadcastOptions::to("all").and("s")), 100_001);
    for name in &names {
        assert_eq!(rooms.remove(name).len(), 3 + usize::from(name == names.last().unwrap()));
    }
    assert_eq!((rooms.socket_count(), rooms.room_count()), (2, 2));
    assert!(start.elapsed() < GENEROUS);
}

#[test]
fn long_texts_and_many_keys() {
    let start = Instant::now();
    let long = "x\\\"ü".repeat(2_000_000);
    let packet = Packet::event("e", &(&long, serde_bytes::Bytes::new(long.as_bytes()))).unwrap();
    let sent =
        message(Body::Broadcast { packet, opts: BroadcastOptions::to(long.clone()), request_id: None });
    assert_eq!(entry::decode(&entry::encode(&sent).unwrap()).unwrap(), sent);
    assert_eq!(pubsub::decode(&pubsub::encode(&sent).unwrap()).unwrap(), sent);

    // Unknown flags, equal keys, unknown keys: 300 000 of each.
    let flags: String = (0..300_000).map(|i| format!(r#""f{i}":{i},"#)).collect();
    let data = format!(
        r#"{{{}"opts":{{{}"flags":{{{flags}"volatile":true}}}},"rooms":[]}}"#,
        r#""n":0,"#.repeat(300_000),
        r#""rooms":["r"],"#.repeat(300_000),
    );
    let Body::SocketsJoin { opts, .. } = entry::decode(&fields("4", data)).unwrap().body else { panic!() };
    assert_eq!((opts.flags.other.len(), opts.flags.volatile, opts.rooms.len()), (300_000, Some(true), 1));

    let escapes = format!(r#"{{"opts":{{"rooms":["{}"]}},"rooms":[]}}"#, r"\ud83d".repeat(1_000_000));
    let Body::SocketsJoin { opts, .. } = entry::decode(&fields("4", escapes)).unwrap().body else { panic!() };
    assert_eq!(opts.rooms[0].chars().count(), 3_000_000);
    assert!(start.elapsed() < GENEROUS);
}

#[test]
fn a_payload_beyond_the_limit_is_refused_before_it_is_looked_at() {
    // Zeroed pages that nobody touches: no memory is needed.
    let huge = Bytes::from(vec![0; MAX_PAYLOAD + 1]);
    assert!(
        matches!(Payload::from_json(huge.clone()), Err(PayloadError::Size(size)) if size == MAX_PAYLOAD + 1)
    );
    assert!(matches!(Payload::from_msgpack(huge), Err(PayloadError::Size(_))));
}

#[test]
fn what_is_decoded_shares_the_bytes_that_came() {
    // Memory in proportion to the input: payloads and names are slices of it.
    let text = format!(r#"{{"requestId":"r","packet":"{}"}}"#, "x".repeat(1_000_000));
    let data = Bytes::from(text);
    let within = |part: &Bytes, whole: &Bytes| whole.as_ptr_range().contains(&part.as_ptr());
    let Body::BroadcastAck { packet, .. } = entry::decode(&fields("12", data.clone())).unwrap().body else {
        panic!()
    };
    assert!(within(packet.bytes(), &data));
    let packed =
        pubsub::encode(&message(Body::BroadcastAck { request_id: RequestId::new("r"), packet })).unwrap();
    let Body::BroadcastAck { packet, .. } = pubsub::decode(&packed).unwrap().body else { panic!() };
    assert!(within(packet.bytes(), &packed));
    // A long list of tiny names takes a bounded multiple of its bytes.
    let many = [b"\x82\xa4opts\x80\xa5rooms\xdd\x00\x0f\x42\x40".to_vec(), vec![0xa0; 1_000_000]].concat();
    let Body::SocketsJoin { rooms, .. } = pubsub::decode(&push(4, &many)).unwrap().body else { panic!() };
    assert_eq!(rooms.len(), 1_000_000);
    assert!(rooms.capacity() * size_of::<ByteString>() <= 64 * many.len());
}
