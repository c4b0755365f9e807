//! MessagePack as read by `notepack.io`, the library of Node's classic and sharded adapters.
//!
//! It accepts more than the decoder of the streams adapters. Extension 0 is the form in which its
//! version 2 wrote `undefined`, dates and an `ArrayBuffer`. Other extensions become a pair of type
//! and bytes. A map key may have any type. A message with such values is first converted to plain
//! MessagePack, which has the same meaning to every other reader. Few messages contain them, and
//! all others are read directly.

use bytes::Bytes;

use super::WireError;
use crate::javascript::number_text;
use crate::msgpack::{self, Facts, Head, MsgPackError, Reader, TIMESTAMP};

/// Reads a message with `read`, which also returns its findings about the values.
pub(super) fn read<T>(
    payload: &Bytes,
    read: impl Fn(&Bytes) -> Result<(T, Facts), WireError>,
) -> Result<T, WireError> {
    match read(payload) {
        Ok((message, facts)) if !facts.foreign => Ok(message),
        result => match plain(payload) {
            Ok(plain) if plain != *payload => read(&plain.into()).map(|(message, _)| message),
            _ => result.map(|(message, _)| message),
        },
    }
}

/// Converts the one value in `bytes` to plain MessagePack.
fn plain(bytes: &Bytes) -> Result<Vec<u8>, MsgPackError> {
    let mut reader = Reader::new(bytes);
    let mut out = Vec::with_capacity(bytes.len() + 16);
    value(&mut reader, bytes, &mut out)?;
    reader.end()?;
    Ok(out)
}

/// Copies the next value. Returns `false` for `undefined`, which becomes nil.
fn value(reader: &mut Reader<'_>, bytes: &Bytes, out: &mut Vec<u8>) -> Result<bool, MsgPackError> {
    let (at, start) = (reader.at(), out.len());
    let head = reader.head()?;
    match head {
        Head::Ext(kind, len) => return extension(bytes[at], kind, &reader.content(len)?, at, out),
        Head::Str(len) | Head::Bin(len) => drop(reader.content(len)?),
        _ => {}
    }
    out.extend_from_slice(&bytes[at..reader.at()]);
    match head {
        Head::Array(len) => {
            reader.enter(at)?;
            for _ in 0..len {
                value(reader, bytes, out)?;
            }
            reader.leave();
        }
        Head::Map(len) => {
            reader.enter(at)?;
            let head = start..out.len();
            let mut kept = 0;
            for _ in 0..len {
                let entry = out.len();
                let named = key(reader, out)?;
                match value(reader, bytes, out)? && named {
                    true => kept += 1,
                    false => out.truncate(entry),
                }
            }
            reader.leave();
            if kept < len {
                recount(&mut out[head], kept);
            }
        }
        _ => {}
    }
    Ok(true)
}

/// Writes a smaller number of keys into the head of a map.
fn recount(head: &mut [u8], count: usize) {
    let digits = count.to_be_bytes();
    match head {
        [fix] => *fix = 0x80 | digits[digits.len() - 1],
        [_, rest @ ..] => rest.copy_from_slice(&digits[digits.len() - rest.len()..]),
        [] => {}
    }
}

/// Writes a key as the text that JavaScript converts it to. Returns `false` for `__proto__`, which
/// sets the prototype instead of a property.
fn key(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<bool, MsgPackError> {
    let at = reader.at();
    let text = match reader.head()? {
        Head::Str(len) | Head::Bin(len) => String::from_utf8_lossy(&reader.content(len)?).into_owned(),
        Head::Nil => "null".into(),
        Head::Bool(value) => value.to_string(),
        Head::Unsigned(number) => number_text(number as f64),
        Head::Signed(number) => number_text(number as f64),
        Head::Float(number) => number_text(number),
        Head::Ext(0, 1) => {
            reader.content(1)?;
            "undefined".into()
        }
        // Node converts these to text as well, and a date to text in its own time zone.
        Head::Array(_) | Head::Map(_) | Head::Ext(..) => return Err(MsgPackError::Key { at }),
    };
    msgpack::write_str(out, &text);
    Ok(text != "__proto__")
}

/// Converts an extension value that began with `marker`.
fn extension(
    marker: u8,
    kind: i8,
    content: &[u8],
    at: usize,
    out: &mut Vec<u8>,
) -> Result<bool, MsgPackError> {
    match (marker, kind, content) {
        (0xd4, 0, _) => {
            out.push(0xc0);
            return Ok(false);
        }
        (0xd7, 0, &[a, b, c, d, e, f, g, h]) => date(i64::from_be_bytes([a, b, c, d, e, f, g, h]), out),
        (0xc7..=0xc9, 0, bytes) => msgpack::write_bin(out, bytes),
        (0xd6 | 0xd7, TIMESTAMP, _) | (0xc7, TIMESTAMP, [_, _, _, _, _, _, _, _, _, _, _, _]) => {
            timestamp(content, out);
        }
        // Node continues behind the twelfth byte, whatever the length is.
        (0xc7, TIMESTAMP, _) => {
            return Err(MsgPackError::Unexpected { at, expected: "a timestamp of 12 bytes" });
        }
        (_, kind, bytes) => {
            msgpack::write_array(out, 2);
            msgpack::write_signed(out, i64::from(kind));
            msgpack::write_bin(out, bytes);
        }
    }
    Ok(true)
}

fn timestamp(content: &[u8], out: &mut Vec<u8>) {
    match content.len() {
        4 => out.push(0xd6),
        8 => out.push(0xd7),
        _ => out.extend([0xc7, 12]),
    }
    out.push(TIMESTAMP.to_be_bytes()[0]);
    out.extend_from_slice(content);
}

/// Writes a date given by its milliseconds, as version 2 of the library wrote it.
fn date(millis: i64, out: &mut Vec<u8>) {
    const LAST: u64 = 8_640_000_000_000_000;
    if millis.unsigned_abs() > LAST {
        // In JavaScript this is an object, although not a valid date. The value written here is
        // one, too.
        return timestamp(&[0x7f; 12], out);
    }
    let nanos = u32::try_from(millis.rem_euclid(1_000) * 1_000_000).unwrap_or_default();
    let content = [&nanos.to_be_bytes()[..], &millis.div_euclid(1_000).to_be_bytes()].concat();
    timestamp(&content, out);
}
