//! Frames for clients: a packet as Socket.IO's own encoder writes it, made from the bytes in which
//! it came.
//!
//! JSON is copied. MessagePack is converted to JSON during a walk; no value is built. Binary values
//! go into frames of their own, and a placeholder takes their place.

use core::fmt::Write as _;

use bytes::Bytes;
use bytestring::ByteString;

use crate::id::EntryId;
use crate::javascript::number_text;
use crate::msgpack::{Head, MsgPackError, Reader, TIMESTAMP, date};
use crate::packet::Packet;
use crate::payload::Encoding;

/// A packet in the form that clients receive: see [`Packet::frames`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    /// The text frame, without the `4` by which Engine.IO marks a message.
    pub text: ByteString,
    /// The binary frames that follow the text frame, in this order. They share the packet's bytes.
    pub attachments: Vec<Bytes>,
}

impl Packet {
    /// Makes the frames that bring the packet to a client of the namespace. They are the same for
    /// all clients. `offset` is appended to the packet's arguments. Pass the offset of the
    /// [`Delivery`](crate::Delivery) if connection state recovery is on.
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
        let mut attachments = Vec::new();
        let converted;
        let data = match self.data.encoding() {
            Encoding::Json => self.data.as_json().unwrap_or_default(),
            Encoding::MsgPack => {
                converted = to_json(self.data.bytes(), &mut attachments);
                &*converted
            }
        };
        // The extra room is for the packet's kind, its id and the offset. Few packets have all of
        // them.
        let mut text = String::with_capacity(nsp.len() + data.len() + if offset.is_some() { 48 } else { 8 });
        // In the parser's numbering, a packet with binary values is of another kind. This is where
        // it is known whether there are any.
        let plain = if matches!(self.kind, 5 | 6) { self.kind - 3 } else { self.kind };
        let kind = plain.saturating_add(if attachments.is_empty() { 0 } else { 3 });
        match char::from_digit(kind.into(), 10) {
            Some(digit) => text.push(digit),
            None => push(&mut text, kind),
        }
        if !attachments.is_empty() {
            push(&mut text, attachments.len());
            text.push('-');
        }
        if !matches!(nsp, "" | "/") {
            text.push_str(nsp);
            text.push(',');
        }
        if let Some(id) = self.id {
            push(&mut text, id);
        }
        match offset.and_then(|offset| Some((offset, data.trim_ascii_end().strip_suffix(']')?))) {
            None => text.push_str(data),
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
}

fn push(text: &mut String, value: impl core::fmt::Display) {
    if let Err(error) = write!(text, "{value}") {
        unreachable!("a String takes every write: {error}")
    }
}

/// Returns the JSON text of a packet's value, as JavaScript would write it, and collects its binary
/// values.
fn to_json(value: &Bytes, attachments: &mut Vec<Bytes>) -> String {
    // Binary values, which may be long, are not part of the text.
    let mut out = Vec::with_capacity(value.len().min(512));
    let mut reader = Reader::new(value);
    if let Err(error) = write(&mut reader, &mut out, attachments) {
        unreachable!("a payload is a value, which was walked over when it was made: {error}")
    }
    String::from_utf8(out).unwrap_or_default()
}

fn write(
    reader: &mut Reader<'_>,
    out: &mut Vec<u8>,
    attachments: &mut Vec<Bytes>,
) -> Result<(), MsgPackError> {
    const SAFE: u64 = 1 << 53;
    match reader.head()? {
        Head::Nil => out.extend_from_slice(b"null"),
        Head::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Head::Unsigned(number @ ..=SAFE) => json(out, &number),
        Head::Unsigned(number) => float(out, number as f64),
        Head::Signed(number) if number.unsigned_abs() <= SAFE => json(out, &number),
        Head::Signed(number) => float(out, number as f64),
        Head::Float(number) => float(out, number),
        Head::Str(len) => json(out, &String::from_utf8_lossy(&reader.content(len)?)),
        Head::Bin(len) => placeholder(out, attachments, reader.content(len)?),
        Head::Ext(TIMESTAMP, len) => match date(&reader.content(len)?) {
            Some(text) => json(out, &text),
            None => out.extend_from_slice(b"null"),
        },
        // The peers' decoder represents an unknown extension in this form.
        Head::Ext(kind, len) => {
            out.extend_from_slice(b"{\"type\":");
            json(out, &kind);
            out.extend_from_slice(b",\"data\":");
            placeholder(out, attachments, reader.content(len)?);
            out.push(b'}');
        }
        Head::Array(len) => {
            out.push(b'[');
            for at in 0..len {
                if at > 0 {
                    out.push(b',');
                }
                write(reader, out, attachments)?;
            }
            out.push(b']');
        }
        Head::Map(len) => {
            out.push(b'{');
            for at in 0..len {
                if at > 0 {
                    out.push(b',');
                }
                json(out, &reader.key()?);
                out.push(b':');
                write(reader, out, attachments)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// Writes a placeholder, and adds the binary value to the frames.
fn placeholder(out: &mut Vec<u8>, attachments: &mut Vec<Bytes>, content: Bytes) {
    out.extend_from_slice(b"{\"_placeholder\":true,\"num\":");
    json(out, &attachments.len());
    out.push(b'}');
    attachments.push(content);
}

/// Writes a number as `JSON.stringify` does.
fn float(out: &mut Vec<u8>, number: f64) {
    match number.is_finite() {
        true => out.extend_from_slice(number_text(number).as_bytes()),
        false => out.extend_from_slice(b"null"),
    }
}

fn json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    if let Err(error) = serde_json::to_writer(out, value) {
        unreachable!("a Vec takes every text and number: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    fn msgpack_packet(bytes: &[u8]) -> Packet {
        let data = Payload::from_wire(Encoding::MsgPack, Bytes::copy_from_slice(bytes));
        Packet { kind: 2, data, nsp: None, id: None }
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
            let packet = Packet { kind: 2, data: Payload::from_json(data).unwrap(), nsp: None, id: None };
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
