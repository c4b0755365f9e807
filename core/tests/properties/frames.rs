//! Properties of frames: what is written is read again, and nothing that is read can be told apart
//! from what was written.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::Value as Json;
use sio_streams_core::wire::{FrameReader, Frames, Received};
use sio_streams_core::{Packet, Payload};

use crate::config;
use crate::values::*;

/// A value with binary ones in it.
#[derive(Clone, Debug)]
enum Tree {
    Plain(Json),
    Binary(Vec<u8>),
    List(Vec<Tree>),
    Map(Vec<Tree>),
}

impl serde::Serialize for Tree {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Tree::Plain(value) => value.serialize(serializer),
            Tree::Binary(bytes) => serializer.serialize_bytes(bytes),
            Tree::List(values) => serializer.collect_seq(values),
            Tree::Map(values) => {
                serializer.collect_map(values.iter().enumerate().map(|(at, value)| (format!("k{at}"), value)))
            }
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![json().prop_map(Tree::Plain), vec(any::<u8>(), 0..4).prop_map(Tree::Binary)];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![vec(inner.clone(), 0..4).prop_map(Tree::List), vec(inner, 0..4).prop_map(Tree::Map),]
    })
}

fn nsp() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "/[^,]{1,8}"]
}

fn read(frames: &Frames) -> Received {
    let mut reader =
        FrameReader::new(sio_streams_core::wire::FrameLimits { attachments: 1_000, ..Default::default() });
    let mut packet = reader.text(frames.text.clone()).unwrap();
    for attachment in &frames.attachments {
        assert_eq!(packet, None);
        packet = reader.binary(attachment.clone()).unwrap();
    }
    packet.unwrap()
}

/// The value's text. Binary values are part of it, and the encoding is not.
fn text(payload: &Payload) -> Json {
    serde_json::from_str(&payload.to_json()).unwrap()
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn an_event_is_read_as_it_was_written(
        args in vec(tree(), 0..4), nsp in nsp(), id in option::of(any::<u64>()), name in "[^c]{0,6}"
    ) {
        let packet = with(Packet::event(&name, &args).unwrap(), None, id);
        let Received::Event { nsp: of, data, id: with } = read(&packet.frames(&nsp, None)) else { panic!() };
        prop_assert_eq!((&*of, with), (&*nsp, id));
        prop_assert_eq!(text(&data), text(packet.data()));
        // Through the cluster and to the next client it is still the same.
        let again = Packet::new(data).unwrap().frames(&nsp, None);
        prop_assert_eq!(again.attachments, packet.frames(&nsp, None).attachments);
        // Element by element it is the same, too.
        let elements: Vec<Json> = packet.data().args().map(|arg| text(&arg)).collect();
        let whole: Vec<Json> = serde_json::from_value(text(packet.data())).unwrap();
        prop_assert_eq!(&elements, &whole[1..]);
    }

    #[test]
    fn an_acknowledgement_is_read_as_it_was_written(args in vec(tree(), 0..4), nsp in nsp(), id in any::<u64>()) {
        let args = Payload::encode(&args).unwrap();
        let frames = Frames::ack(&nsp, id, &args).unwrap();
        let Received::Ack { nsp: of, id: with, args: again } = read(&frames) else { panic!() };
        prop_assert_eq!((&*of, with, text(&again)), (&*nsp, id, text(&args)));
    }

    #[test]
    fn the_parts_of_an_array_are_the_array(payload in payload_of(vec(json(), 0..6).prop_map(Json::from))) {
        let whole: Vec<Json> = payload.decode().unwrap();
        let parts: Vec<Json> = payload.elements().map(|part| part.decode().unwrap()).collect();
        prop_assert_eq!(&parts, &whole);
        for (at, part) in whole.iter().enumerate() {
            prop_assert_eq!(&payload.element::<Json>(at).unwrap(), part);
        }
        prop_assert_eq!(text(&payload), Json::from(whole));
    }
}
