//! A stable encoding of what happens in a world, from which the hash of a trace is made.
//!
//! The bytes do not depend on the names of types, variants and fields, nor on `Debug` or `Display`:
//! they stay the same when the code is rearranged, and change when the behaviour changes. Each
//! variant has a number of its own, which is never used again for another one. The fields follow in
//! a fixed order. Numbers have eight bytes, the lowest first; whatever varies in length is preceded
//! by its length. So two happenings have the same bytes only if all that is encoded is the same.
//!
//! These are left out:
//! - sentences for people: the reasons in [`CommandError`](sio_streams_core::CommandError) and its
//!   like, of which the kind counts. The text of a server's error counts, too.
//! - what a value does not show to an application: who is answered by a responder (the answer
//!   itself counts), and for whom else a missed packet was.
//!
//! | file | what it encodes |
//! |---|---|
//! | this one | [`Happening`], [`PeerNote`], and what everything else is made of |
//! | [`commands`] | commands, replies, and their errors |
//! | [`events`] | events, and what they carry |
//! | [`faults`] | faults |

mod commands;
mod events;
mod faults;
#[cfg(test)]
mod tests;

use core::hash::{Hash, Hasher};
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use sio_streams_core::{CommandId, Encoding, EntryId, NodeId, Payload, Ticket, Time};

use crate::watch::{Happening, PeerNote};

/// The bytes of what happens.
#[derive(Debug, Default)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    /// The bytes of one happening. They are valid until the next one is encoded.
    pub(crate) fn bytes_of(&mut self, what: &Happening<'_>) -> &[u8] {
        self.0.clear();
        self.put(what);
        &self.0
    }

    /// Says which variant follows.
    fn tag(&mut self, tag: u8) -> &mut Self {
        self.0.push(tag);
        self
    }

    fn put<T: Encode + ?Sized>(&mut self, value: &T) -> &mut Self {
        value.encode(self);
        self
    }

    /// A list, or anything else of which there may be several.
    fn all<'a, T: Encode + 'a>(&mut self, values: impl ExactSizeIterator<Item = &'a T>) -> &mut Self {
        self.put(&values.len());
        values.fold(self, |out, value| out.put(value))
    }

    /// A number that its type keeps to itself. Hashing is the only way in which such a type gives
    /// it away without a text.
    fn number<T: Hash>(&mut self, value: &T) -> &mut Self {
        value.hash(&mut Raw(self));
        self
    }
}

/// Takes what is hashed as it is.
struct Raw<'a>(&'a mut Encoder);

impl Hasher for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.0.0.extend_from_slice(bytes);
    }

    fn write_u64(&mut self, number: u64) {
        self.0.put(&number);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// Panics for a variant of the engine that has no number in this encoding. It must not count as
/// nothing.
fn unknown(what: &impl core::fmt::Debug) -> ! {
    panic!("sim/src/encoding has no number for this, so it can't be hashed: {what:?}")
}

/// A type with a stable encoding.
trait Encode {
    fn encode(&self, out: &mut Encoder);
}

impl Encode for u8 {
    fn encode(&self, out: &mut Encoder) {
        out.0.push(*self);
    }
}

impl Encode for bool {
    fn encode(&self, out: &mut Encoder) {
        out.0.push(u8::from(*self));
    }
}

impl Encode for u32 {
    fn encode(&self, out: &mut Encoder) {
        out.put(&u64::from(*self));
    }
}

impl Encode for u64 {
    fn encode(&self, out: &mut Encoder) {
        out.0.extend_from_slice(&self.to_le_bytes());
    }
}

impl Encode for i64 {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.cast_unsigned());
    }
}

/// The highest number stands for nobody, and is the same on all machines.
impl Encode for usize {
    fn encode(&self, out: &mut Encoder) {
        let number = if *self == usize::MAX { u64::MAX } else { *self as u64 };
        out.put(&number);
    }
}

impl Encode for () {
    fn encode(&self, _: &mut Encoder) {}
}

impl Encode for [u8] {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.len()).0.extend_from_slice(self);
    }
}

impl Encode for str {
    fn encode(&self, out: &mut Encoder) {
        out.put(self.as_bytes());
    }
}

impl Encode for String {
    fn encode(&self, out: &mut Encoder) {
        out.put(self.as_str());
    }
}

impl Encode for Bytes {
    fn encode(&self, out: &mut Encoder) {
        out.put(&**self);
    }
}

impl Encode for ByteString {
    fn encode(&self, out: &mut Encoder) {
        out.put(&**self);
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Encoder) {
        match self {
            None => out.tag(0),
            Some(value) => out.tag(1).put(value),
        };
    }
}

impl<T: Encode, E: Encode> Encode for Result<T, E> {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Ok(value) => out.tag(1).put(value),
            Err(error) => out.tag(2).put(error),
        };
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, out: &mut Encoder) {
        out.all(self.iter());
    }
}

impl<T: Encode> Encode for BTreeSet<T> {
    fn encode(&self, out: &mut Encoder) {
        out.all(self.iter());
    }
}

impl<T: Encode> Encode for Arc<T> {
    fn encode(&self, out: &mut Encoder) {
        out.put(&**self);
    }
}

impl<T: Encode> Encode for Box<T> {
    fn encode(&self, out: &mut Encoder) {
        out.put(&**self);
    }
}

impl<A: Encode, B: Encode> Encode for (A, B) {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.0).put(&self.1);
    }
}

impl<A: Encode, B: Encode, C: Encode> Encode for (A, B, C) {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.0).put(&self.1).put(&self.2);
    }
}

impl Encode for Duration {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.as_secs()).put(&self.subsec_nanos());
    }
}

impl Encode for Time {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.as_micros());
    }
}

impl Encode for EntryId {
    fn encode(&self, out: &mut Encoder) {
        let EntryId { ms, seq } = self;
        out.put(ms).put(seq);
    }
}

impl Encode for NodeId {
    fn encode(&self, out: &mut Encoder) {
        out.put(self.as_str());
    }
}

impl Encode for CommandId {
    fn encode(&self, out: &mut Encoder) {
        out.number(self);
    }
}

impl Encode for Ticket {
    fn encode(&self, out: &mut Encoder) {
        out.number(self);
    }
}

impl Encode for Payload {
    fn encode(&self, out: &mut Encoder) {
        match self.encoding() {
            Encoding::Json => out.tag(1),
            Encoding::MsgPack => out.tag(2),
        }
        .put(self.bytes());
    }
}

impl Encode for Happening<'_> {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Happening::Asked { host, id, command } => out.tag(1).put(host).put(id).put(*command),
            Happening::Executed { host, command, reply } => out.tag(2).put(host).put(*command).put(*reply),
            Happening::Replied { host, lane, id, reply } => {
                out.tag(3).put(host).put(*lane).put(id).put(*reply)
            }
            Happening::Pushed { host, channel, payload } => out.tag(4).put(host).put(*channel).put(*payload),
            Happening::Event { host, event } => out.tag(5).put(host).put(*event),
            Happening::Drained { host } => out.tag(6).put(host),
            Happening::Link { host, lane, up } => out.tag(7).put(host).put(*lane).put(up),
            Happening::Hears { host, channels, less } => out.tag(8).put(host).put(*channels).put(less),
            Happening::Started { host, uid } => out.tag(9).put(host).put(*uid),
            Happening::Died { host } => out.tag(10).put(host),
            Happening::TailLost { stream, entries } => out.tag(11).put(*stream).put(entries),
            Happening::Fault(fault) => out.tag(12).put(*fault),
            Happening::Healed { what: _, host } => out.tag(13).put(host),
            Happening::Peer { host, note } => out.tag(14).put(host).put(*note),
            Happening::Sent { host, sockets } => out.tag(15).put(host).put(&sockets.to_vec()),
        };
    }
}

impl Encode for PeerNote {
    fn encode(&self, out: &mut Encoder) {
        match self {
            PeerNote::Delivered { data } => out.tag(1).put(data),
            PeerNote::Answered { question } => out.tag(2).put(question),
            PeerNote::TimedOut { question, answers, expected } => {
                out.tag(3).put(question).put(answers).put(expected)
            }
            PeerNote::Poisoned { reason: _ } => out.tag(4),
        };
    }
}
