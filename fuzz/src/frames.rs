//! Frames: whatever comes through a connection, packets are put together within the limits, and
//! what is written is read as it was.

use bytes::Bytes;
use serde_json::Value;
use sio_streams_core::wire::{FrameError, FrameLimits, FrameReader, Frames, Received};
use sio_streams_core::{Packet, Payload, PayloadError};

use crate::memory;
use crate::wire::{SEPARATOR, look_into};

/// The first byte of a binary frame in an input. No frame of the protocol begins with it.
const BINARY: u8 = 0;

/// The frames of one connection, with separators between them.
///
/// # Panics
///
/// If something that must hold does not.
pub fn connection(input: &[u8]) {
    // Nothing that is put together may be larger than what came.
    let limits = FrameLimits { bytes: input.len(), ..FrameLimits::default() };
    let packets = memory::bounded(input.len(), || read(input, limits));
    // A reader that allows less accepts nothing else.
    let tight = FrameLimits { attachments: 2, bytes: input.len() / 2, depth: 3 };
    let few = read(input, tight);
    assert!(few.len() <= packets.len() && few.iter().all(|packet| packets.contains(packet)));
    packets.iter().for_each(written_again);
}

fn read(input: &[u8], limits: FrameLimits) -> Vec<Received> {
    let (mut reader, mut packets) = (FrameReader::new(limits), Vec::new());
    for frame in input.split(|byte| *byte == SEPARATOR) {
        let missing = reader.missing();
        let result = match frame.split_first() {
            Some((&BINARY, content)) => reader.binary(Bytes::copy_from_slice(content)),
            _ => reader.text(&*String::from_utf8_lossy(frame)),
        };
        match result {
            Ok(Some(packet)) => {
                assert!(missing <= 1 && reader.missing() == 0);
                packets.push(packet);
            }
            Ok(None) => {
                let still = reader.missing();
                assert!((1..=limits.attachments).contains(&still));
                assert!(missing == 0 || still == missing - 1);
            }
            Err(error) => {
                drop(error.to_string());
                assert_eq!(reader.missing(), 0, "a broken packet is kept");
                // The connection ends here.
                break;
            }
        }
    }
    packets
}

/// A packet that came can be looked into, and sent on.
fn written_again(packet: &Received) {
    match packet {
        Received::Connect { nsp, auth } => {
            assert!(nsp.starts_with('/'));
            if let Some(auth) = auth {
                look_into(auth);
                assert!(auth.bytes().starts_with(b"{"));
            }
        }
        Received::Disconnect { nsp } => assert_eq!(all(&Frames::disconnect(nsp)), *packet),
        Received::Event { nsp, data, id } => {
            look_into(data);
            match Packet::new(data.clone()) {
                Ok(event) => same(packet, &all(&with_id(event, *id).frames(nsp, None))),
                // Its name is a number, or half of a character is in it.
                Err(PayloadError::NotAnEvent) => {}
                Err(error) => panic!("{error}: {packet:?}"),
            }
        }
        Received::Ack { nsp, id, args } => {
            look_into(args);
            match Frames::ack(nsp, *id, args) {
                Ok(frames) => same(packet, &all(&frames)),
                Err(error) => panic!("{error}: {packet:?}"),
            }
        }
        Received::ConnectError { error, .. } => error.iter().for_each(look_into),
        other => panic!("{other:?}"),
    }
}

/// Gives the packet an id, if there is one.
pub(crate) fn with_id(packet: Packet, id: Option<u64>) -> Packet {
    match id {
        Some(id) => packet.with_id(id),
        None => packet,
    }
}

/// Checks that the frames for clients are read again as the packet that they were made of.
pub(crate) fn are_read_again(packet: &Packet, frames: &Frames) {
    let data = frames.text.split_once('[').map(|(_, rest)| format!("[{rest}")).unwrap_or_default();
    match (try_all(frames), Payload::from_json(data)) {
        (Ok(Received::Event { id, .. }), Ok(_)) => assert_eq!(id, packet.id()),
        // Data of a peer may be deeper than is accepted from clients, or hold a number that is none
        // here.
        (Err(FrameError::TooDeep { .. } | FrameError::Payload(PayloadError::Json(_))), _) => {}
        // MessagePack for Node has no such key.
        (Err(FrameError::Payload(PayloadError::Key)), _) => assert!(frames.text.contains("__proto__")),
        (other, _) => panic!("{other:?}: {frames:?}"),
    }
}

fn all(frames: &Frames) -> Received {
    try_all(frames).unwrap_or_else(|error| panic!("{error}: {frames:?}"))
}

fn try_all(frames: &Frames) -> Result<Received, FrameError> {
    let limits = FrameLimits { attachments: usize::MAX, bytes: usize::MAX, ..FrameLimits::default() };
    let mut reader = FrameReader::new(limits);
    let mut packet = reader.text(frames.text.clone())?;
    for attachment in &frames.attachments {
        assert_eq!(packet, None, "{frames:?}");
        packet = reader.binary(attachment.clone())?;
    }
    Ok(packet.unwrap_or_else(|| panic!("{frames:?}")))
}

/// The same packet; a number may be written in another form, and so may its encoding be another.
fn same(packet: &Received, again: &Received) {
    match (packet, again) {
        (
            Received::Event { nsp, data, id },
            Received::Event { nsp: other_nsp, data: other, id: other_id },
        ) => {
            assert_eq!((nsp, id), (other_nsp, other_id));
            values(data, other);
        }
        (Received::Ack { nsp, id, args }, Received::Ack { nsp: other_nsp, id: other_id, args: other }) => {
            assert_eq!((nsp, id), (other_nsp, other_id));
            values(args, other);
        }
        _ => assert_eq!(packet, again),
    }
}

fn values(one: &Payload, other: &Payload) {
    // JSON that is only passed on may hold what is no value here, such as half of a character.
    if one == other {
        return;
    }
    let value = |payload: &Payload| serde_json::from_str::<Value>(&payload.to_json()).ok();
    let floats = |value: Option<Value>| value.map(numbers_as_floats);
    assert_eq!(floats(value(one)), floats(value(other)), "{one:?} {other:?}");
}

/// JavaScript has floats only.
fn numbers_as_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::from(number.as_f64()),
        Value::Array(values) => values.into_iter().map(numbers_as_floats).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, numbers_as_floats(value))).collect(),
        other => other,
    }
}
