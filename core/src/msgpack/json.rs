//! Converting MessagePack to JSON text, as JavaScript would write the value.

use bytes::Bytes;

use super::{Head, MsgPackError, Reader, TIMESTAMP, date};
use crate::javascript::number_text;

/// Returns the JSON text of a well-formed value. `binary` writes a JSON value in place of each
/// binary one.
pub(crate) fn to_json(value: &Bytes, mut binary: impl FnMut(&mut Vec<u8>, Bytes)) -> String {
    // Binary values, which may be long, are mostly not part of the text.
    let mut out = Vec::with_capacity(value.len().min(512));
    let mut reader = Reader::new(value);
    if let Err(error) = write(&mut reader, &mut out, &mut binary) {
        unreachable!("a payload is a value, which was walked over when it was made: {error}")
    }
    String::from_utf8(out).unwrap_or_default()
}

/// Writes a binary value as `JSON.stringify` writes a `Buffer` of Node's.
pub(crate) fn buffer(out: &mut Vec<u8>, content: &[u8]) {
    out.extend_from_slice(b"{\"type\":\"Buffer\",\"data\":");
    json(out, content);
    out.push(b'}');
}

/// Writes the placeholder of a binary value.
pub(crate) fn placeholder(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(b"{\"_placeholder\":true,\"num\":");
    json(out, &number);
    out.push(b'}');
}

fn write<B: FnMut(&mut Vec<u8>, Bytes)>(
    reader: &mut Reader<'_>,
    out: &mut Vec<u8>,
    binary: &mut B,
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
        Head::Bin(len) => binary(out, reader.content(len)?),
        Head::Ext(TIMESTAMP, len) => match date(&reader.content(len)?) {
            Some(text) => json(out, &text),
            None => out.extend_from_slice(b"null"),
        },
        // The peers' decoder represents an unknown extension in this form.
        Head::Ext(kind, len) => {
            out.extend_from_slice(b"{\"type\":");
            json(out, &kind);
            out.extend_from_slice(b",\"data\":");
            binary(out, reader.content(len)?);
            out.push(b'}');
        }
        Head::Array(len) => {
            out.push(b'[');
            for at in 0..len {
                if at > 0 {
                    out.push(b',');
                }
                write(reader, out, binary)?;
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
                write(reader, out, binary)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
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
