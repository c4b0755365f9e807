//! The lines of RESP: a mark, a text, CR LF.

use crate::error::RespError;

/// Returns the mark of the string or array at a position, its length, and the position of the next
/// line. This is a fast path for the most common values. [`line`] handles all others, and every
/// anomaly.
#[inline]
pub(crate) fn announced(bytes: &[u8], at: usize) -> Option<(u8, usize, usize)> {
    let [mark @ (b'$' | b'*'), digits @ ..] = bytes.get(at..)? else { return None };
    let mut length = 0;
    // This many digits can't overflow.
    for (count, byte) in digits.iter().enumerate().take(9) {
        match byte.wrapping_sub(b'0') {
            digit @ 0..=9 => length = length * 10 + usize::from(digit),
            _ => {
                let ends = count > 0 && digits[count..].starts_with(b"\r\n");
                return ends.then_some((*mark, length, at + count + 3));
            }
        }
    }
    None
}

/// A complete line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) mark: u8,
    pub(crate) text: &'a [u8],
    /// The position of the next line.
    pub(crate) end: usize,
}

/// Returns the line at a position, or `None` if it is not complete. No line feed is looked for
/// before `from`.
pub(crate) fn line(bytes: &[u8], at: usize, from: usize) -> Result<Option<Line<'_>>, RespError> {
    let Some(&mark) = bytes.get(at) else { return Ok(None) };
    if !b"$*%+-:_#,(=!~>|".contains(&mark) {
        return Err(RespError::Mark(mark));
    }
    let from = from.max(at + 1);
    let found = bytes.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n'));
    let Some(feed) = found.map(|distance| from + distance) else { return Ok(None) };
    match bytes[at + 1..feed].strip_suffix(b"\r") {
        Some(text) => Ok(Some(Line { mark, text, end: feed + 1 })),
        None => Err(RespError::LineEnd),
    }
}

/// Parses a length. Returns `None` for the nulls of RESP2.
pub(crate) fn length(text: &[u8]) -> Result<Option<usize>, RespError> {
    /// A length has no more digits than this.
    const DIGITS: usize = 10;
    if text == b"-1" {
        return Ok(None);
    }
    if text.is_empty() || text.len() > DIGITS || !text.iter().all(u8::is_ascii_digit) {
        return Err(RespError::Length);
    }
    let number = text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    usize::try_from(number).map(Some).map_err(|_| RespError::Length)
}
