//! Work that can be counted, in allocations or in instructions: the same each time.

use std::hint::black_box;

use serde::Deserialize;
use serde_json::value::RawValue;
use sio_streams_core::wire::entry::{SEQUENCE_FIELD, decode, encode};
use sio_streams_core::{Body, BroadcastOptions, EntryId, Fields, Message, NodeId, Packet};

use crate::node::{self, BATCH, Node};

/// The parts of a message's data, parsed by serde_json and nothing else: the floor for reading one.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// The packet.
    #[serde(borrow)]
    pub packet: EnvelopePacket<'a>,
    /// The receivers.
    #[serde(borrow)]
    pub opts: EnvelopeOptions<'a>,
}

/// The packet of an [`Envelope`].
#[derive(Debug, Deserialize)]
pub struct EnvelopePacket<'a> {
    /// Its kind.
    pub r#type: u8,
    /// The event, as text.
    #[serde(borrow)]
    pub data: &'a RawValue,
    /// Its namespace.
    #[serde(borrow)]
    pub nsp: Option<&'a str>,
}

/// The options of an [`Envelope`].
#[derive(Debug, Deserialize)]
pub struct EnvelopeOptions<'a> {
    /// Rooms.
    #[serde(borrow)]
    pub rooms: Vec<&'a str>,
    /// Rooms that are left out.
    #[serde(borrow)]
    pub except: Vec<&'a str>,
    /// Flags, as text.
    #[serde(borrow)]
    pub flags: &'a RawValue,
}

/// A piece of work. It is prepared first, and then done any number of times, in batches of
/// [`BATCH`].
pub type Work = Box<dyn FnMut()>;

/// A name, and the preparation of the work.
pub type Case = (&'static str, fn() -> Work);

/// The cases that are counted, per message.
pub const CASES: [Case; 11] = [
    ("serde_json parses the envelope", parse_envelope),
    ("an entry is decoded", decode_entry),
    ("an entry comes, its broadcast goes out", dispatch),
    ("a binary entry comes, its broadcast goes out", dispatch_binary),
    ("a numbered entry comes, its broadcast goes out", dispatch_numbered),
    ("an entry of the node's own comes back", own),
    ("a packet is made", make_packet),
    ("a message is encoded", encode_message),
    ("a broadcast is published", publish),
    ("frames for clients are made", frames),
    ("frames for clients are made of a binary packet", frames_binary),
];

fn parse_envelope() -> Work {
    let text = node::envelope("hi");
    let parse = move || drop(black_box(serde_json::from_str::<Envelope<'_>>(black_box(&text))));
    batched(parse)
}

fn decode_entry() -> Work {
    let fields = node::entry(node::envelope("hi"));
    batched(move || drop(black_box(decode(black_box(&fields)))))
}

fn dispatch() -> Work {
    dispatching(node::entry(node::envelope("hi")))
}

fn dispatch_binary() -> Work {
    dispatching(binary(64))
}

/// An entry of another node of this project: it has a number.
fn dispatch_numbered() -> Work {
    let message = broadcast(node::packet("hi"));
    let fields = encode(&message).expect("a string can be carried");
    let mut node = Node::ready(node::config());
    numbering(fields, move |batch| {
        node.feed(batch);
        assert_eq!(node.settle(), BATCH);
    })
}

/// A publisher reads its own entries too. Their effects have already happened.
fn own() -> Work {
    // The numbers of this node's entries are above those of the entries to come, which therefore
    // count as repeated.
    let mut node = Node::ready_behind(node::config(), 1_700_000_001_000);
    let message = Message { uid: node.engine.uid().clone(), ..broadcast(node::packet("hi")) };
    let fields = encode(&message).expect("a string can be carried");
    numbering(fields, move |batch| {
        node.feed(batch);
        assert_eq!(node.settle(), 0);
    })
}

/// Batches of the same entry, with a new number each time.
fn numbering(fields: Fields, mut each: impl FnMut(&mut dyn Iterator<Item = Fields>) + 'static) -> Work {
    // As large as they are at this time: see `Engine::publisher_located`.
    let mut number: u64 = 1_700_000_000_000 << 20;
    Box::new(move || {
        let numbered = || {
            number += 1;
            let mut fields = fields.clone();
            fields.push(SEQUENCE_FIELD, number.to_string());
            fields
        };
        each(&mut core::iter::repeat_with(numbered).take(BATCH));
    })
}

/// An entry with a binary argument of this many bytes, as Node's adapters write it: MessagePack in
/// base64.
///
/// # Panics
///
/// Never: bytes can be carried.
pub fn binary(size: usize) -> Fields {
    let attached = serde_bytes::ByteBuf::from(vec![b'x'; size]);
    let packet = Packet::event("hello", &(attached,)).expect("bytes can be carried");
    encode(&broadcast(packet)).expect("bytes can be carried")
}

/// A broadcast of another node.
fn broadcast(packet: Packet) -> Message {
    let opts = BroadcastOptions::to("room");
    Message {
        uid: NodeId::new("d0a1b2c3d4e5f607"),
        nsp: "/".into(),
        body: Body::Broadcast { packet, opts, request_id: None },
    }
}

/// From the reply to XREAD to the sockets that get the broadcast.
fn dispatching(fields: Fields) -> Work {
    let mut node = Node::ready(node::config());
    node.engine.add_socket("/", "ann").expect("an open namespace");
    Box::new(move || {
        node.feed(core::iter::repeat_n(&fields, BATCH).cloned());
        assert_eq!(node.settle(), BATCH);
    })
}

/// As an application makes one, of a number and a text.
fn make_packet() -> Work {
    batched(|| drop(black_box(Packet::event("hello", black_box(&(1_700_000_000_000_u64, "hi"))))))
}

fn encode_message() -> Work {
    let message = broadcast(node::packet("hi"));
    batched(move || drop(black_box(encode(black_box(&message)))))
}

/// From the call to the reply to XADD, and what becomes of it on the node itself.
fn publish() -> Work {
    let mut node = Node::ready(node::config());
    let packet = node::packet("hi");
    Box::new(move || {
        for _ in 0..BATCH {
            let sent = node.engine.broadcast(node.now(), "/", packet.clone(), BroadcastOptions::to("room"));
            sent.expect("a broadcast within the limits");
        }
        assert_eq!(node.settle(), BATCH);
    })
}

/// From a packet to what its clients get, with the place in the stream that they remember.
fn frames() -> Work {
    framing(&node::entry(node::envelope("hi")))
}

fn frames_binary() -> Work {
    framing(&binary(64))
}

fn framing(fields: &Fields) -> Work {
    let message = decode(fields).expect("a message");
    let Body::Broadcast { packet, .. } = message.body else { unreachable!("a broadcast was encoded") };
    let offset = Some(EntryId { ms: 1_700_000_000_000, seq: 0 });
    batched(move || drop(black_box(packet.frames(black_box("/"), offset))))
}

fn batched(mut once: impl FnMut() + 'static) -> Work {
    Box::new(move || (0..BATCH).for_each(|_| once()))
}
