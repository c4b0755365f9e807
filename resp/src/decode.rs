//! Values, decoded from complete replies.

use sio_streams_core::Bytes;

use crate::error::RespError;
use crate::line::{Line, announced, length, line};
use crate::value::Value;

/// Decodes a complete reply. Returns the value, and `true` if it is a push. Strings are slices of
/// the reply.
///
/// The scan has found the end of the reply, and its depth, so that the recursion is bounded.
pub(crate) fn decode(whole: &Bytes) -> Result<(Value, bool), RespError> {
    Decoder { whole, at: 0 }.value()
}

struct Decoder<'a> {
    whole: &'a Bytes,
    at: usize,
}

impl Decoder<'_> {
    /// Decodes the value at the current position. Returns it, and `true` if it is a push.
    fn value(&mut self) -> Result<(Value, bool), RespError> {
        loop {
            // Most values are strings.
            if let Some((b'$', length, start)) = announced(self.whole, self.at) {
                self.at = start;
                return Ok((self.string(b'$', Some(length))?, false));
            }
            let Line { mark, text, end } = line(self.whole, self.at, self.at)?.ok_or(RespError::LineEnd)?;
            let start = core::mem::replace(&mut self.at, end) + 1;
            let value = match mark {
                b'+' => Value::Bytes(self.whole.slice(start..start + text.len())),
                b'-' => Value::error(&String::from_utf8_lossy(text)),
                b':' => Value::Int(parsed(text)?),
                b',' => {
                    parsed::<f64>(text)?;
                    Value::Bytes(self.whole.slice(start..start + text.len()))
                }
                b'(' => {
                    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
                    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                        return Err(RespError::Number);
                    }
                    Value::Bytes(self.whole.slice(start..start + text.len()))
                }
                b'#' => match text {
                    b"t" => Value::Int(1),
                    b"f" => Value::Int(0),
                    _ => return Err(RespError::Boolean),
                },
                b'_' if text.is_empty() => Value::Nil,
                b'_' => return Err(RespError::Null),
                b'$' | b'=' | b'!' => self.string(mark, length(text)?)?,
                b'|' => {
                    // An attribute says something about the value behind it.
                    for _ in 0..length(text)?.unwrap_or_default().saturating_mul(2) {
                        self.value()?;
                    }
                    continue;
                }
                b'%' => match length(text)? {
                    None => Value::Nil,
                    Some(length) => {
                        let mut pairs = Vec::with_capacity(length);
                        for _ in 0..length {
                            pairs.push((self.value()?.0, self.value()?.0));
                        }
                        Value::Map(pairs)
                    }
                },
                _ => match length(text)? {
                    None => Value::Nil,
                    Some(length) => {
                        let mut items = Vec::with_capacity(length);
                        for _ in 0..length {
                            items.push(self.value()?.0);
                        }
                        Value::List(items)
                    }
                },
            };
            return Ok((value, mark == b'>'));
        }
    }

    /// Decodes the content of a string whose first line has been read.
    fn string(&mut self, mark: u8, length: Option<usize>) -> Result<Value, RespError> {
        let Some(length) = length else { return Ok(Value::Nil) };
        let end = self.at.checked_add(length).filter(|end| *end < self.whole.len());
        let end = end.ok_or(RespError::StringEnd)?;
        let bytes = self.whole.slice(core::mem::replace(&mut self.at, end + 2)..end);
        Ok(match mark {
            b'!' => Value::error(&String::from_utf8_lossy(&bytes)),
            // The first four bytes tell the kind of text.
            b'=' if bytes.get(3) == Some(&b':') => Value::Bytes(bytes.slice(4..)),
            _ => Value::Bytes(bytes),
        })
    }
}

fn parsed<T: core::str::FromStr>(text: &[u8]) -> Result<T, RespError> {
    str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(RespError::Number)
}
