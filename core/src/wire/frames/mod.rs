//! Frames: packets as Socket.IO's own parser writes and reads them.
//!
//! A packet is written from the bytes in which it came. JSON is copied. MessagePack is converted to
//! JSON during a walk; no value is built. Binary values go into frames of their own, and a
//! placeholder takes their place.

mod attachments;
mod detached;
mod error;
mod reader;

use core::fmt::Write as _;

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;

pub use self::error::FrameError;
pub use self::reader::{FrameLimits, FrameReader, Received};
use crate::id::EntryId;
use crate::packet::{EVENT, Packet};
use crate::payload::{Payload, PayloadError};

// The types of packets, as Socket.IO's parser numbers them. Those with binary values are the events
// and the acknowledgements plus three.
const CONNECT: u8 = 0;
const DISCONNECT: u8 = 1;
const ACK: u8 = 3;
const CONNECT_ERROR: u8 = 4;
const BINARY: u8 = 3;

/// A packet in the form in which it goes through a connection: see [`Packet::frames`], and
/// [`FrameReader`] for the other direction.
///
/// Engine.IO marks each message with a byte of its own, a `4` before a text. That is not part of a
/// frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    /// The text frame.
    pub text: ByteString,
    /// The binary frames that follow the text frame, in this order. They share the packet's bytes.
    pub attachments: Vec<Bytes>,
}

impl Frames {
    /// Makes the frames that accept a client's CONNECT. `sid` is the id of its socket. If connection
    /// state recovery is on, `pid` is the private id of its session, by which the client comes back.
    ///
    /// ```
    /// use sio_streams_core::wire::Frames;
    ///
    /// assert_eq!(Frames::connect("/", "abc", None).text, r#"0{"sid":"abc"}"#);
    /// assert_eq!(Frames::connect("/chat", "abc", Some("def")).text, r#"0/chat,{"sid":"abc","pid":"def"}"#);
    /// ```
    pub fn connect(nsp: &str, sid: &str, pid: Option<&str>) -> Self {
        #[derive(Serialize)]
        struct Accepted<'a> {
            sid: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            pid: Option<&'a str>,
        }
        let mut text = head(CONNECT, 0, nsp, None, sid.len() + pid.map_or(0, str::len) + 32);
        push_json(&mut text, &Accepted { sid, pid });
        Frames { text: text.into(), attachments: Vec::new() }
    }

    /// Makes the frames that refuse a client's CONNECT. The client's `connect_error` gets an error
    /// with this message, and with `data` if there is any. Binary values in `data` have the form in
    /// which [`Payload::to_json`] writes them, as on Node.
    ///
    /// ```
    /// use sio_streams_core::{Payload, wire::Frames};
    ///
    /// let frames = Frames::connect_error("/", "not authorized", None);
    /// assert_eq!(frames.text, r#"4{"message":"not authorized"}"#);
    ///
    /// let data = Payload::encode(&("retry", 5)).unwrap();
    /// let frames = Frames::connect_error("/chat", "busy", Some(&data));
    /// assert_eq!(frames.text, r#"4/chat,{"message":"busy","data":["retry",5]}"#);
    /// ```
    pub fn connect_error(nsp: &str, message: &str, data: Option<&Payload>) -> Self {
        let mut text = head(CONNECT_ERROR, 0, nsp, None, message.len() + 32);
        text.push_str("{\"message\":");
        push_json(&mut text, message);
        if let Some(data) = data {
            text.push_str(",\"data\":");
            text.push_str(&data.to_json());
        }
        text.push('}');
        Frames { text: text.into(), attachments: Vec::new() }
    }

    /// Makes the frames that disconnect the other side from the namespace. The connection, which may
    /// carry other namespaces, stays.
    ///
    /// ```
    /// use sio_streams_core::wire::Frames;
    ///
    /// assert_eq!(Frames::disconnect("/").text, "1");
    /// assert_eq!(Frames::disconnect("/chat").text, "1/chat,");
    /// ```
    pub fn disconnect(nsp: &str) -> Self {
        Frames { text: head(DISCONNECT, 0, nsp, None, 0).into(), attachments: Vec::new() }
    }

    /// Makes the frames that acknowledge the event with this id. `args`, an array, holds the
    /// arguments of the other side's callback.
    ///
    /// # Errors
    ///
    /// [`PayloadError::NotAnArray`], and [`PayloadError::Placeholder`].
    ///
    /// ```
    /// use serde_bytes::Bytes;
    /// use sio_streams_core::{Payload, wire::Frames};
    ///
    /// let args = Payload::encode(&("done", 3)).unwrap();
    /// assert_eq!(Frames::ack("/chat", 12, &args).unwrap().text, r#"3/chat,12["done",3]"#);
    ///
    /// let args = Payload::encode(&[Bytes::new(&[1, 2, 3])]).unwrap();
    /// let frames = Frames::ack("/", 0, &args).unwrap();
    /// assert_eq!(frames.text, r#"61-0[{"_placeholder":true,"num":0}]"#);
    /// assert_eq!(frames.attachments, [&[1, 2, 3][..]]);
    /// ```
    pub fn ack(nsp: &str, id: u64, args: &Payload) -> Result<Self, PayloadError> {
        if !args.is_array() {
            return Err(PayloadError::NotAnArray);
        }
        match args.has_false_placeholder() {
            true => Err(PayloadError::Placeholder),
            false => Ok(frames(ACK, nsp, Some(id), args, None)),
        }
    }
}

impl Packet {
    /// Makes the frames that bring the packet to a client of the namespace. They are the same for
    /// all clients. `offset` is appended to the packet's arguments. It is for clients that recover
    /// their state; [`Delivery::frames`](crate::Delivery::frames) and
    /// [`Missed::frames`](crate::Missed::frames) pass it where it is due. If the
    /// packet has an id, the other side acknowledges it.
    ///
    /// No value is decoded, and no binary value is copied.
    ///
    /// ```
    /// use serde_bytes::Bytes;
    /// use sio_streams_core::Packet;
    ///
    /// let offset = "1700000000000-0".parse().unwrap();
    /// let news = Packet::event("news", &("hello",)).unwrap();
    /// assert_eq!(news.frames("/", None).text, r#"2["news","hello"]"#);
    /// assert_eq!(news.frames("/admin", Some(offset)).text, r#"2/admin,["news","hello","1700000000000-0"]"#);
    ///
    /// let image = Packet::event("image", &(Bytes::new(&[1, 2, 3]),)).unwrap();
    /// let frames = image.frames("/", None);
    /// assert_eq!(frames.text, r#"51-["image",{"_placeholder":true,"num":0}]"#);
    /// assert_eq!(frames.attachments, [&[1, 2, 3][..]]);
    /// ```
    pub fn frames(&self, nsp: &str, offset: Option<EntryId>) -> Frames {
        frames(EVENT, nsp, self.id, &self.data, offset)
    }
}

/// Makes the frames of a packet with data. `plain` is its type if there are no binary values.
fn frames(plain: u8, nsp: &str, id: Option<u64>, data: &Payload, offset: Option<EntryId>) -> Frames {
    let (data, attachments) = detached::detached(data);
    // The extra room is for the packet's type, its id and the offset. Few packets have all of them.
    let room = data.len() + if offset.is_some() { 48 } else { 8 };
    let mut text = head(plain, attachments.len(), nsp, id, room);
    match offset.and_then(|offset| Some((offset, data.trim_ascii_end().strip_suffix(']')?))) {
        None => text.push_str(&data),
        Some((offset, open)) => {
            text.push_str(open);
            let comma = if open.trim_ascii() == "[" { "" } else { "," };
            text.push_str(comma);
            text.push('"');
            push(&mut text, offset);
            text.push_str("\"]");
        }
    }
    Frames { text: text.into(), attachments }
}

/// Writes what stands before the data. `room` is the number of bytes that will follow.
fn head(plain: u8, attachments: usize, nsp: &str, id: Option<u64>, room: usize) -> String {
    let mut text = String::with_capacity(nsp.len() + room);
    let kind = plain.saturating_add(if attachments == 0 { 0 } else { BINARY });
    match char::from_digit(kind.into(), 10) {
        Some(digit) => text.push(digit),
        None => push(&mut text, kind),
    }
    if attachments > 0 {
        push(&mut text, attachments);
        text.push('-');
    }
    if !matches!(nsp, "" | "/") {
        text.push_str(nsp);
        text.push(',');
    }
    if let Some(id) = id {
        push(&mut text, id);
    }
    text
}

fn push(text: &mut String, value: impl core::fmt::Display) {
    if let Err(error) = write!(text, "{value}") {
        unreachable!("a String takes every write: {error}")
    }
}

fn push_json(text: &mut String, value: &(impl Serialize + ?Sized)) {
    match serde_json::to_string(value) {
        Ok(json) => text.push_str(&json),
        Err(error) => unreachable!("texts become JSON: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Encoding;

    fn msgpack_packet(bytes: &[u8]) -> Packet {
        let data = Payload::from_wire(Encoding::MsgPack, Bytes::copy_from_slice(bytes));
        Packet { data, nsp: None, id: None }
    }

    #[test]
    fn an_offset_stands_behind_the_arguments_and_only_there() {
        let offset = Some(EntryId { ms: 5, seq: 1 });
        for (data, text) in [
            ("[]", r#"2["5-1"]"#),
            ("[ ]", r#"2[ "5-1"]"#),
            (r#"["a",[]]"#, r#"2["a",[],"5-1"]"#),
            (r#"["["]"#, r#"2["[","5-1"]"#),
            (r#"{"a":1}"#, r#"2{"a":1}"#),
        ] {
            let packet = Packet { data: Payload::from_json(data).unwrap(), nsp: None, id: None };
            assert_eq!(packet.frames("/", offset).text, text);
            assert_eq!(packet.frames("/", None).text, format!("2{data}"));
        }
        let binary = msgpack_packet(&[0x91, 0xc4, 1, 7]).frames("/x", offset);
        assert_eq!(binary.text, r#"51-/x,[{"_placeholder":true,"num":0},"5-1"]"#);
    }

    // The texts are those of socket.io-parser 4.2, given the values that @msgpack/msgpack 2.8 reads
    // from the bytes.
    #[test]
    fn values_are_written_as_the_peers_write_them() {
        for (bytes, text) in [
            (&[0x91, 0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0][..], "2[null]"),
            (&[0x91, 0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0], "2[0]"),
            (&[0x91, 0xcb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0], "2[0.5]"),
            (&[0x91, 0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "2[18446744073709552000]"),
            (&[0x91, 0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], "2[-9223372036854776000]"),
            (&[0x91, 0xa2, b'"', b'\n'], r#"2["\"\n"]"#),
            (&[0x91, 0x81, 0x07, 0xc0], r#"2[{"7":null}]"#),
            (&[0x91, 0xd6, 0xff, 0x65, 0x53, 0xf1, 0x00], r#"2["2023-11-14T22:13:20.000Z"]"#),
            (&[0x91, 0xd4, 5, 9], r#"51-[{"type":5,"data":{"_placeholder":true,"num":0}}]"#),
            (
                &[0x92, 0xc4, 0, 0x81, 0xa1, b'b', 0xc4, 1, 9],
                r#"52-[{"_placeholder":true,"num":0},{"b":{"_placeholder":true,"num":1}}]"#,
            ),
        ] {
            assert_eq!(msgpack_packet(bytes).frames("/", None).text, text);
        }
        let with_id = Packet { id: Some(12), ..msgpack_packet(&[0x91, 0xc4, 1, 9]) }.frames("/admin", None);
        assert_eq!(with_id.text, r#"51-/admin,12[{"_placeholder":true,"num":0}]"#);
        assert_eq!(with_id.attachments, [&[9][..]]);
    }
}
