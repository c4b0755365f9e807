//! Inspecting and rewriting MessagePack values without decoding them.

use bytes::Bytes;
use rmp::Marker;

use super::{Head, MsgPackError, Reader, TIMESTAMP, date, write_array, write_bin, write_str};

/// The first element of an array, in the detail that an event's name needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum First<'a> {
    Text(&'a [u8]),
    Number(f64),
    /// A timestamp. It is `None` if JavaScript has no date for it.
    Date(Option<()>),
    Other,
}

/// Returns the first element of `array`, or `None` if there is no such element.
pub(crate) fn first(array: &Bytes) -> Result<Option<First<'_>>, MsgPackError> {
    let mut reader = Reader::new(array);
    let Head::Array(1..) = reader.head()? else { return Ok(None) };
    Ok(Some(match reader.head()? {
        Head::Str(len) => First::Text(reader.take(len)?),
        Head::Unsigned(number) => First::Number(number as f64),
        Head::Signed(number) => First::Number(number as f64),
        Head::Float(number) => First::Number(number),
        Head::Ext(TIMESTAMP, len) => First::Date(date(reader.take(len)?).map(drop)),
        _ => First::Other,
    }))
}

/// Copies a well-formed value, converting each extension value to a form that serde's data model
/// supports. A JavaScript `Date` (a timestamp, extension −1) becomes the ISO text that JSON would
/// have carried, or null if the date is invalid. Any other extension becomes its bytes.
pub(crate) fn without_extensions(bytes: &Bytes) -> Result<Vec<u8>, MsgPackError> {
    let mut out = Vec::with_capacity(bytes.len() + 32);
    let mut reader = Reader::new(bytes);
    // A well-formed value is a sequence of heads and contents, so containers are copied without
    // recursion.
    while reader.at() < bytes.len() {
        let start = reader.at();
        match reader.head()? {
            Head::Ext(TIMESTAMP, len) => match date(reader.take(len)?) {
                Some(text) => write_str(&mut out, &text),
                // JSON has null for an invalid date, too.
                None => out.push(Marker::Null.to_u8()),
            },
            Head::Ext(_, len) => write_bin(&mut out, reader.take(len)?),
            Head::Str(len) | Head::Bin(len) => {
                reader.take(len)?;
                out.extend_from_slice(&bytes[start..reader.at()]);
            }
            _ => out.extend_from_slice(&bytes[start..reader.at()]),
        }
    }
    Ok(out)
}

/// Inserts `first` before the elements of `array`. Returns `None` if it is not an array.
pub(crate) fn prepend(first: &str, array: &Bytes) -> Option<Vec<u8>> {
    let mut reader = Reader::new(array);
    let Ok(Head::Array(len)) = reader.head() else { return None };
    let mut out = Vec::with_capacity(array.len() + first.len() + 8);
    write_array(&mut out, len + 1);
    write_str(&mut out, first);
    out.extend_from_slice(&array[reader.at()..]);
    Some(out)
}

/// Appends `last` to the elements of `array`. Returns `None` if it is not an array.
pub(crate) fn append(array: &Bytes, last: &str) -> Option<Vec<u8>> {
    let mut reader = Reader::new(array);
    let Ok(Head::Array(len)) = reader.head() else { return None };
    let mut out = Vec::with_capacity(array.len() + last.len() + 8);
    write_array(&mut out, len + 1);
    out.extend_from_slice(&array[reader.at()..]);
    write_str(&mut out, last);
    Some(out)
}
