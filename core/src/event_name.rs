//! The names of events that clients accept.

use crate::msgpack::{self, First, MsgPackError};
use crate::payload::{Encoding, Payload};

/// Returns `true` if a client's parser rejects this event name from a server. The client would end
/// its connection.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 6] =
        [b"connect", b"connect_error", b"disconnect", b"disconnecting", b"newListener", b"removeListener"];
    NAMES.contains(&name)
}

/// Returns `true` if `data`, an array, begins with a number, or with a name that Socket.IO does not
/// reserve. A client takes no other array for the data of an event.
pub(crate) fn is_named(data: &Payload) -> Result<bool, MsgPackError> {
    Ok(match data.encoding() {
        Encoding::Json => {
            let first = data.bytes().trim_ascii_start().get(1..).unwrap_or_default().trim_ascii_start();
            match first.first() {
                Some(b'"') => !is_reserved_json(&first[1..]),
                Some(byte) => byte.is_ascii_digit() || *byte == b'-',
                None => false,
            }
        }
        Encoding::MsgPack => match msgpack::first(data.bytes())? {
            Some(First::Text(name)) => !is_reserved(name),
            Some(First::Number(number)) => number.is_finite(),
            Some(First::Date(date)) => date.is_some(),
            Some(First::Other) | None => false,
        },
    })
}

/// Returns `true` if Socket.IO reserves the name in this JSON string, which begins behind its
/// quote.
fn is_reserved_json(rest: &[u8]) -> bool {
    let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(rest.len());
    if rest.get(end) != Some(&b'\\') {
        return is_reserved(&rest[..end]);
    }
    // Few names have escapes.
    let text = [b"\"", rest].concat();
    let mut texts = serde_json::Deserializer::from_slice(&text).into_iter::<String>();
    // A lone surrogate makes the string invalid in Rust. No reserved name contains one.
    matches!(texts.next(), Some(Ok(name)) if is_reserved(name.as_bytes()))
}
