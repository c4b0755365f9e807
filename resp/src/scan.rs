//! The search for the end of a reply, while it arrives.
//!
//! A reply is scanned only once, however many pieces it comes in, and decoded when all of it is
//! there.

use crate::error::RespError;
use crate::limits::ReadLimits;
use crate::line::{announced, length, line};

/// No value is shorter than this: a mark, CR LF.
const LEAST: usize = 3;

/// The state of scanning a reply that has not arrived completely.
#[derive(Debug)]
pub(crate) struct Scan {
    /// All values before this position have been scanned.
    at: usize,
    /// No line feed is between `at` and this position, if it is behind `at`.
    searched: usize,
    /// The number of values that are still to come in the innermost list.
    left: usize,
    /// The same for the lists around it, the outermost first.
    around: Vec<usize>,
    /// At least this many bytes are missing.
    missing: usize,
}

impl Scan {
    pub(crate) fn new() -> Self {
        Scan { at: 0, searched: 0, left: 1, around: Vec::new(), missing: 0 }
    }

    /// Starts over with the next reply.
    fn reset(&mut self) {
        self.around.clear();
        (self.at, self.searched, self.left, self.missing) = (0, 0, 1, 0);
    }

    /// Returns the number of bytes that are missing, as far as it is known.
    pub(crate) fn missing(&self) -> usize {
        self.missing
    }

    /// Returns the length of the reply at the beginning of `bytes`, if it has arrived completely.
    /// The next call is about the next reply then. Otherwise, the next call continues with the
    /// same bytes, and those that have been appended.
    pub(crate) fn complete(&mut self, bytes: &[u8], limits: &ReadLimits) -> Result<Option<usize>, RespError> {
        // Bytes behind the limit do not count, whether they have come or not.
        let within = bytes.len().min(limits.bytes);
        let too_long = RespError::TooLong { limit: limits.bytes };
        loop {
            while self.left == 0 {
                match self.around.pop() {
                    Some(left) => self.left = left,
                    None => {
                        let end = self.at;
                        self.reset();
                        return Ok(Some(end));
                    }
                }
            }
            let (mark, length, end) = match announced(bytes, self.at) {
                // Most values are strings that have come.
                Some((b'$', length, start)) if start + length + 2 <= within => {
                    let end = start + length + 2;
                    if bytes[end - 2..end] != *b"\r\n" {
                        return Err(RespError::StringEnd);
                    }
                    self.at = end;
                    self.left -= 1;
                    continue;
                }
                Some((mark, length, end)) => (mark, Some(length), end),
                None => match self.head(&bytes[..within])? {
                    Some(head) => head,
                    None if bytes.len() > limits.bytes => return Err(too_long),
                    None => {
                        (self.searched, self.missing) = (bytes.len(), 0);
                        return Ok(None);
                    }
                },
            };
            let (end, inner) = match (mark, length) {
                (_, None) => (end, 0),
                (b'$' | b'=' | b'!', Some(length)) => (end.saturating_add(length).saturating_add(2), 0),
                (b'%' | b'|', Some(length)) => (end, length.saturating_mul(2)),
                (_, Some(length)) => (end, length),
            };
            if end.saturating_add(inner.saturating_mul(LEAST)) > limits.bytes {
                return Err(too_long);
            }
            if end > bytes.len() {
                self.missing = end - bytes.len();
                return Ok(None);
            }
            if matches!(mark, b'$' | b'=' | b'!') && length.is_some() && !bytes[..end].ends_with(b"\r\n") {
                return Err(RespError::StringEnd);
            }
            self.at = end;
            // An attribute precedes its value, and does not count as one.
            if mark != b'|' {
                self.left -= 1;
            }
            if inner > 0 {
                if self.around.len() >= limits.depth.min(ReadLimits::MAX_DEPTH) {
                    return Err(RespError::TooDeep { limit: limits.depth.min(ReadLimits::MAX_DEPTH) });
                }
                self.around.push(core::mem::replace(&mut self.left, inner));
            }
        }
    }

    /// Returns the mark of the next value, its length if it has one, and the position behind its
    /// first line. Returns `None` if that line is not complete.
    fn head(&self, bytes: &[u8]) -> Result<Option<(u8, Option<usize>, usize)>, RespError> {
        let Some(line) = line(bytes, self.at, self.searched)? else { return Ok(None) };
        let length = match line.mark {
            b'$' | b'=' | b'!' | b'*' | b'~' | b'>' | b'%' | b'|' => length(line.text)?,
            _ => None,
        };
        Ok(Some((line.mark, length, line.end)))
    }
}
