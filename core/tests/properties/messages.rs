//! Properties of encoding: every message reads back as the same.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value as Json;
use sio_streams_core::wire::classic::{self, Asked, Request, Response};
use sio_streams_core::wire::{entry, pubsub};
use sio_streams_core::{Body, ByteString, Message, NodeId};

use crate::config;
use crate::values::*;

/// Returns the paths of keys in the data that hold null, without payloads.
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
        // Encoding it again gives the same bytes.
        prop_assert_eq!(entry::encode(&again).unwrap(), fields);
    }

    #[test]
    fn what_is_published_reads_back_the_same(message in message()) {
        let msgpack = pubsub::encode(&message).unwrap();
        let again = pubsub::decode(&msgpack).unwrap();
        prop_assert_eq!(plain(&again), plain(&message));
        prop_assert_eq!(pubsub::encode(&again).unwrap(), msgpack);
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

/// Returns `true` if the classic adapter has a request or a response for this message.
fn classic_forms(body: &Body) -> (bool, Option<Asked>) {
    match body {
        Body::SocketsJoin { .. }
        | Body::SocketsLeave { .. }
        | Body::DisconnectSockets { .. }
        | Body::FetchSockets { .. }
        | Body::ServerSideEmit { .. }
        | Body::Broadcast { request_id: Some(_), .. } => (true, None),
        Body::FetchSocketsResponse { .. } => (false, Some(Asked::Sockets)),
        Body::ServerSideEmitResponse { .. } => (false, Some(Asked::Emit)),
        Body::BroadcastClientCount { .. } | Body::BroadcastAck { .. } => (false, Some(Asked::Acks)),
        _ => (false, None),
    }
}

/// Returns the message as it comes back from a classic request: its packet has the namespace.
fn with_nsp(body: &Body, nsp: &ByteString) -> Body {
    let mut body = body.clone();
    if let Body::Broadcast { packet, .. } = &mut body {
        *packet = packet.clone().with_nsp(nsp.clone());
    }
    body
}

fn plain_body(body: Body) -> Body {
    plain(&Message { uid: NodeId::UNNAMED, nsp: "/".into(), body }).body
}

fn old_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (names(), request_id()).prop_map(|(rooms, request_id)| Request::SocketIds { rooms, request_id }),
        request_id().prop_map(|request_id| Request::AllRooms { request_id }),
        (name(), name(), request_id()).prop_map(|(socket, room, request_id)| Request::RemoteJoin {
            socket,
            room,
            request_id
        }),
        (name(), name(), request_id()).prop_map(|(socket, room, request_id)| Request::RemoteLeave {
            socket,
            room,
            request_id
        }),
        (name(), any::<bool>(), request_id())
            .prop_map(|(socket, close, request_id)| Request::RemoteDisconnect { socket, close, request_id }),
    ]
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn what_is_said_in_sharded_channels_reads_back_the_same(message in message()) {
        let payload = pubsub::encode_sharded(&message).unwrap();
        let again = pubsub::decode(&payload).unwrap();
        prop_assert_eq!(plain(&again), plain(&message));
        prop_assert_eq!(pubsub::encode_sharded(&again).unwrap(), payload.clone());
        if payload.first() == Some(&b'{') {
            prop_assert!(serde_json::from_slice::<Json>(&payload).is_ok());
        }
    }

    #[test]
    fn what_is_said_in_classic_channels_reads_back_the_same(message in message()) {
        let Message { uid, nsp, body } = &message;
        let (request, response) = classic_forms(body);
        if let Body::Broadcast { packet, opts, request_id: None } = body {
            let payload = classic::encode_broadcast(uid, nsp, packet, opts).unwrap();
            let again = classic::decode_broadcast(&payload).unwrap();
            let expected = Message { body: with_nsp(body, nsp), ..message.clone() };
            prop_assert_eq!(plain(&again), plain(&expected));
        } else if request && !uid.is_emitter() {
            let payload = classic::encode_request(uid, nsp, &Request::Common(body.clone())).unwrap();
            let (from, again) = classic::decode_request(&payload).unwrap();
            prop_assert_eq!(&from, uid);
            let Request::Common(again) = again else { panic!("{again:?}") };
            prop_assert_eq!(plain_body(again), plain_body(with_nsp(body, nsp)));
        } else if let Some(asked) = response {
            let payload = classic::encode_response(&Response::Common(body.clone())).unwrap();
            let Response::Common(again) = classic::decode_response(&payload, asked).unwrap() else { panic!() };
            prop_assert_eq!(plain_body(again), plain_body(body.clone()));
        } else if !uid.is_emitter() {
            prop_assert!(classic::encode_request(uid, nsp, &Request::Common(body.clone())).is_err());
        }
    }

    #[test]
    fn older_requests_and_their_answers_read_back_the_same(request in old_request(), given in names()) {
        let uid = NodeId::new("abc123");
        let payload = classic::encode_request(&uid, &"/".into(), &request).unwrap();
        prop_assert_eq!(classic::decode_request(&payload).unwrap(), (uid, request.clone()));
        let (response, asked) = match request {
            Request::SocketIds { request_id, .. } => {
                (Response::SocketIds { request_id, sockets: given }, Asked::SocketIds)
            }
            Request::AllRooms { request_id } => (Response::Rooms { request_id, rooms: given }, Asked::Rooms),
            Request::RemoteJoin { request_id, .. }
            | Request::RemoteLeave { request_id, .. }
            | Request::RemoteDisconnect { request_id, .. } => (Response::Done { request_id }, Asked::Remote),
            Request::Common(_) => unreachable!("only older ones are made"),
        };
        let payload = classic::encode_response(&response).unwrap();
        prop_assert_eq!(classic::decode_response(&payload, asked).unwrap(), response);
    }

    #[test]
    fn any_bytes_in_classic_channels_are_a_message_or_an_error(bytes in vec(any::<u8>(), 0..200), text in "\\{.{0,60}\\}") {
        for payload in [Bytes::from(bytes.clone()), Bytes::from(text.clone())] {
            let _ = classic::decode_broadcast(&payload);
            let _ = classic::decode_request(&payload);
            for asked in [Asked::SocketIds, Asked::Rooms, Asked::Remote, Asked::Sockets, Asked::Emit, Asked::Acks] {
                let _ = classic::decode_response(&payload, asked);
            }
            let _ = pubsub::decode(&payload);
        }
    }
}
