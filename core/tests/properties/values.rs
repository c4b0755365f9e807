//! Generators of the values in messages.

use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::Value as Json;
use sio_streams_core::wire::pubsub;
use sio_streams_core::{
    Body, BroadcastOptions, ByteString, Flags, Message, NodeId, Packet, Payload, RemoteSocket, RequestId,
};

pub(crate) const SAFE: i64 = (1 << 53) - 1;

/// Generates a JSON value that comes back the same from every encoding.
pub(crate) fn json() -> impl Strategy<Value = Json> {
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

pub(crate) fn payload_of(values: impl Strategy<Value = Json>) -> impl Strategy<Value = Payload> {
    (values, any::<bool>()).prop_map(|(value, msgpack)| match msgpack {
        false => Payload::from_json(value.to_string()).unwrap(),
        true => Payload::from_msgpack(msgpack_value(&value)).unwrap(),
    })
}

pub(crate) fn msgpack_value(value: &Json) -> Vec<u8> {
    // Uses the crate's own writer: the value is the only payload of a message, and is cut out of it
    // again by the reader.
    let plain = Payload::from_json(value.to_string()).unwrap();
    let body = Body::BroadcastAck { request_id: RequestId::new("r"), packet: plain };
    let msgpack = pubsub::encode(&Message { uid: NodeId::new("u"), nsp: "/".into(), body }).unwrap();
    match pubsub::decode(&msgpack).unwrap().body {
        Body::BroadcastAck { packet, .. } => packet.bytes().to_vec(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn payload() -> impl Strategy<Value = Payload> {
    payload_of(json())
}

pub(crate) fn event() -> impl Strategy<Value = Payload> {
    payload_of(
        (".{0,6}", vec(json(), 0..4))
            .prop_map(|(name, args)| Json::from([vec![Json::from(name)], args].concat())),
    )
}

pub(crate) fn name() -> impl Strategy<Value = ByteString> {
    ".{0,8}".prop_map(ByteString::from)
}

pub(crate) fn names() -> impl Strategy<Value = Vec<ByteString>> {
    vec(name(), 0..4)
}

pub(crate) fn request_id() -> impl Strategy<Value = RequestId> {
    ".{0,16}".prop_map(RequestId::new)
}

pub(crate) fn flags() -> impl Strategy<Value = Flags> {
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

pub(crate) fn opts() -> impl Strategy<Value = BroadcastOptions> {
    (names(), names(), flags()).prop_map(|(rooms, except, flags)| BroadcastOptions { rooms, except, flags })
}

pub(crate) fn packet() -> impl Strategy<Value = Packet> {
    (event(), option::of(name()), option::of(0..=SAFE as u64))
        .prop_map(|(data, nsp, id)| with(Packet::new(data).unwrap(), nsp, id))
}

/// Gives the packet a namespace and an id, if there are any.
pub(crate) fn with(mut packet: Packet, nsp: Option<ByteString>, id: Option<u64>) -> Packet {
    if let Some(nsp) = nsp {
        packet = packet.with_nsp(nsp);
    }
    match id {
        Some(id) => packet.with_id(id),
        None => packet,
    }
}

pub(crate) fn socket() -> impl Strategy<Value = RemoteSocket> {
    (name(), payload(), names(), payload()).prop_map(|(id, handshake, rooms, data)| RemoteSocket {
        id,
        handshake,
        rooms,
        data,
    })
}

pub(crate) fn body() -> BoxedStrategy<Body> {
    prop_oneof![
        Just(Body::InitialHeartbeat),
        Just(Body::Heartbeat),
        (packet(), opts()).prop_map(|(packet, opts)| Body::Broadcast { packet, opts, request_id: None }),
        // If acknowledgements are wanted, each server assigns an id of its own.
        (event(), opts(), request_id()).prop_map(|(data, opts, request_id)| Body::Broadcast {
            packet: Packet::new(data).unwrap(),
            opts,
            request_id: Some(request_id),
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

pub(crate) fn message() -> impl Strategy<Value = Message> {
    ("[0-9a-f]{16}|.{0,8}", "/.{0,8}", body()).prop_map(|(uid, nsp, body)| Message {
        uid: NodeId::new(uid),
        nsp: nsp.into(),
        body,
    })
}

/// Returns the message with every payload as plain JSON text, which is equal for equal values in
/// any encoding.
pub(crate) fn plain(message: &Message) -> Message {
    let mut message = message.clone();
    let flat = |payload: &mut Payload| {
        let value: Json = payload.decode().unwrap_or_else(|error| panic!("{payload:?}: {error}"));
        *payload = Payload::from_json(value.to_string()).unwrap();
    };
    match &mut message.body {
        Body::Broadcast { packet, opts, .. } => {
            let mut data = packet.data().clone();
            flat(&mut data);
            *packet = with(Packet::new(data).unwrap(), packet.nsp().cloned(), packet.id());
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

pub(crate) fn room_name(room: u8) -> String {
    match room {
        0..6 => format!("r{room}"),
        _ => format!("s{}", room - 6),
    }
}
