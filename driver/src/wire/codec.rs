//! RESP as bytes, in both versions: commands are encoded, and replies are found and decoded.
//!
//! A reply is decoded when all of it has arrived. Until then it is scanned only once, however many
//! pieces it comes in.

use std::io;

use sio_streams_core::Bytes;

use super::args::Args;
use super::value::Value;

/// The limit for nested lists. The replies to a node's commands are nested only a few levels deep.
const DEPTH: usize = 32;

pub(super) fn encoded_size(args: &Args) -> usize {
    // A length with its marks takes less.
    const MARKS: usize = 16;
    args.size() + MARKS * (args.count() + 1)
}

pub(super) fn encode(args: &Args, out: &mut Vec<u8>) {
    head(b'*', args.count(), out);
    args.each(|arg| {
        head(b'$', arg.len(), out);
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    });
}

fn head(mark: u8, number: usize, out: &mut Vec<u8>) {
    match number as u8 {
        digit if number < 10 => out.extend_from_slice(&[mark, b'0' + digit, b'\r', b'\n']),
        digits if number < 100 => {
            out.extend_from_slice(&[mark, b'0' + digits / 10, b'0' + digits % 10, b'\r', b'\n']);
        }
        _ => {
            out.push(mark);
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The state of scanning a reply that has not arrived completely.
#[derive(Debug)]
pub(super) struct Scan {
    /// All bytes before this position have been scanned.
    at: usize,
    /// The number of values that are still to come.
    values: usize,
    /// At least this many bytes are missing.
    pub(super) missing: usize,
}

impl Default for Scan {
    fn default() -> Self {
        Scan { at: 0, values: 1, missing: 0 }
    }
}

impl Scan {
    /// Returns the end of the reply, if it has arrived completely.
    pub(super) fn complete(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        while self.values > 0 {
            let Some((end, values)) = extent(bytes, self.at)? else {
                self.missing = 0;
                return Ok(None);
            };
            if end > bytes.len() {
                self.missing = end - bytes.len();
                return Ok(None);
            }
            self.at = end;
            self.values = (self.values - 1).saturating_add(values);
        }
        Ok(Some(self.at))
    }
}

/// Returns the end of the value at a position, and the number of values that follow and belong to
/// it. Returns `None` if its line is not complete.
fn extent(bytes: &[u8], at: usize) -> io::Result<Option<(usize, usize)>> {
    match announced(bytes, at) {
        Some((b'$', length, end)) => return Ok(Some((end + length + 2, 0))),
        Some((_, length, end)) => return Ok(Some((end, length))),
        None => {}
    }
    let Some((mark, line, end)) = line(bytes, at)? else { return Ok(None) };
    let length = match mark {
        b'$' | b'=' | b'!' | b'*' | b'~' | b'>' | b'%' | b'|' => length(line)?,
        _ => None,
    };
    Ok(Some(match (mark, length) {
        (_, None) => (end, 0),
        (b'$' | b'=' | b'!', Some(length)) => (end.saturating_add(length).saturating_add(2), 0),
        (b'%', Some(length)) => (end, length.saturating_mul(2)),
        // An attribute precedes its value.
        (b'|', Some(length)) => (end, length.saturating_mul(2).saturating_add(1)),
        (_, Some(length)) => (end, length),
    }))
}

/// Returns the mark of the string or array at a position, its length, and the position of the next
/// line. This is a fast path for the most common values. [`line`] handles all others, and every
/// anomaly.
pub(super) fn announced(bytes: &[u8], at: usize) -> Option<(u8, usize, usize)> {
    let rest = bytes.get(at..)?;
    let (&mark, digits) = rest.split_first().filter(|(mark, _)| matches!(mark, b'$' | b'*'))?;
    let mut length = 0;
    // This many digits can't overflow.
    for count in 0..9 {
        match digits.get(count)? {
            digit @ b'0'..=b'9' => length = length * 10 + usize::from(digit - b'0'),
            b'\r' if count > 0 && digits.get(count + 1) == Some(&b'\n') => {
                return Some((mark, length, at + count + 3));
            }
            _ => return None,
        }
    }
    None
}

/// Returns the mark at a position, the rest of its line, and the position of the next line. Returns
/// `None` if the line is not complete.
fn line(bytes: &[u8], at: usize) -> io::Result<Option<(u8, &[u8], usize)>> {
    let Some((mark, rest)) = bytes.get(at..).and_then(<[u8]>::split_first) else { return Ok(None) };
    if !matches!(
        mark,
        b'$' | b'*'
            | b'%'
            | b'+'
            | b'-'
            | b':'
            | b'_'
            | b'#'
            | b','
            | b'('
            | b'='
            | b'!'
            | b'~'
            | b'>'
            | b'|'
    ) {
        return Err(malformed("an unknown mark"));
    }
    let Some(length) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    match rest[..length].strip_suffix(b"\r") {
        Some(line) => Ok(Some((*mark, line, at + 1 + length + 1))),
        None => Err(malformed("a line that does not end as it should")),
    }
}

/// Parses a length. Returns `None` for the nulls of RESP2.
fn length(line: &[u8]) -> io::Result<Option<usize>> {
    /// A length has no more digits than this.
    const DIGITS: usize = 10;
    if line == b"-1" {
        return Ok(None);
    }
    if line.is_empty() || line.len() > DIGITS || !line.iter().all(u8::is_ascii_digit) {
        return Err(malformed("a length that is none"));
    }
    let number = line.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    usize::try_from(number).map(Some).map_err(|_| malformed("a length that is none"))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server does not speak RESP: {what}"))
}

/// Decodes a complete reply. Returns the value, and `true` if it is a push.
pub(super) fn decode(whole: &Bytes) -> io::Result<(Value, bool)> {
    Parser { whole, at: 0 }.value(0)
}

struct Parser<'a> {
    whole: &'a Bytes,
    at: usize,
}

impl Parser<'_> {
    /// Decodes the value at the current position. Returns it, and `true` if it is a push.
    fn value(&mut self, depth: usize) -> io::Result<(Value, bool)> {
        let (mark, line, end) = line(self.whole, self.at)?.ok_or_else(|| malformed("it ends too early"))?;
        if depth > DEPTH {
            return Err(malformed("too many lists in lists"));
        }
        let start = self.at + 1;
        self.at = end;
        let text = || self.whole.slice(start..start + line.len());
        let value = match mark {
            b'+' | b',' | b'(' => Value::Bytes(text()),
            b'-' => Value::error(&String::from_utf8_lossy(line)),
            b':' => {
                let number = str::from_utf8(line).ok().and_then(|line| line.parse().ok());
                Value::Int(number.ok_or_else(|| malformed("a number that is none"))?)
            }
            b'#' => Value::Int((line == b"t").into()),
            b'$' | b'=' | b'!' => match length(line)? {
                None => Value::Nil,
                Some(length) => {
                    self.at += length + 2;
                    let bytes = self.whole.slice(end..end + length);
                    match mark {
                        b'!' => Value::error(&String::from_utf8_lossy(&bytes)),
                        // The first four bytes tell the kind of text.
                        b'=' if length >= 4 => Value::Bytes(bytes.slice(4..)),
                        _ => Value::Bytes(bytes),
                    }
                }
            },
            b'*' | b'~' | b'>' => match length(line)? {
                None => Value::Nil,
                Some(length) => {
                    let mut items = Vec::with_capacity(length);
                    for _ in 0..length {
                        items.push(self.value(depth + 1)?.0);
                    }
                    Value::List(items)
                }
            },
            b'%' | b'|' => {
                let length = length(line)?.unwrap_or_default();
                let mut pairs = Vec::with_capacity(length);
                for _ in 0..length {
                    pairs.push((self.value(depth + 1)?.0, self.value(depth + 1)?.0));
                }
                if mark == b'|' {
                    return self.value(depth + 1);
                }
                Value::Map(pairs)
            }
            _ => Value::Nil,
        };
        Ok((value, mark == b'>'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resp(words: &str) -> Vec<u8> {
        words.replace(' ', "\r\n").into_bytes()
    }

    /// Scans the reply in pieces of this size, and decodes it.
    fn read(reply: &[u8], at_once: usize) -> io::Result<Value> {
        let mut scan = Scan::default();
        for end in (0..reply.len()).step_by(at_once) {
            assert_eq!(scan.complete(&reply[..end])?, None, "{end} of {} bytes", reply.len());
        }
        let end = scan.complete(reply)?.ok_or_else(|| malformed("it ends too early"))?;
        assert_eq!(end, reply.len());
        Ok(decode(&Bytes::copy_from_slice(reply))?.0)
    }

    #[test]
    fn both_versions_are_read_however_they_come() {
        let bulk = |text: &'static str| Value::Bytes(text.into());
        let list = Value::List(vec![bulk("s"), Value::Int(-1)]);
        let map = Value::Map(vec![(bulk("s"), list.clone())]);
        let cases = [
            ("*2 $1 s :-1 ", list.clone()),
            ("~2 +s :-1 ", list.clone()),
            ("|1 +k *1 +v *2 $1 s :-1 ", list.clone()),
            ("*2 |1 +k +v =5 txt:s :-1 ", list.clone()),
            ("%1 $1 s *2 $1 s :-1 ", map.clone()),
            ("*1 %1 $1 s *2 $1 s :-1 ", Value::List(vec![map])),
            ("$0  ", bulk("")),
            ("*0 ", Value::List(vec![])),
            ("*-1 ", Value::Nil),
            ("$-1 ", Value::Nil),
            ("_ ", Value::Nil),
            ("#t ", Value::Int(1)),
            (",1.5 ", bulk("1.5")),
            ("-UNBLOCKED ", Value::error("UNBLOCKED")),
            ("!9 MOVED:1:h ", Value::error("MOVED:1:h")),
        ];
        for (words, expected) in cases {
            let reply = resp(words);
            for at_once in [1, 2, 3, reply.len()] {
                assert_eq!(read(&reply, at_once).unwrap(), expected, "{words}");
            }
        }
    }

    #[test]
    fn what_is_no_resp_is_said_to_be_none() {
        let deep = "*1 ".repeat(DEPTH + 2) + ":1 ";
        for words in ["HTTP/1.1 ", "$-2 ", "$x ", "*+1 ", "$99999999999 ", ":x ", "*1\n:1 ", &*deep] {
            let error = read(&resp(words), usize::MAX).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{words}: {error}");
        }
    }

    #[test]
    fn commands_are_arrays_of_strings() {
        let lengths = [0, 1, 9, 10, 42, 99, 100, 1_000];
        let args: Vec<Bytes> = lengths.map(|length| vec![b'x'; length].into()).into();
        let mut written = Vec::new();
        encode(&args.clone().into(), &mut written);
        let expected = Value::List(args.into_iter().map(Value::Bytes).collect());
        assert_eq!(read(&written, 7).unwrap(), expected);
    }

    #[test]
    fn strings_are_not_copied() {
        let whole = Bytes::from(resp("*1 $5 hello "));
        let (value, _) = decode(&whole).unwrap();
        let Value::List(items) = value else { panic!() };
        let Value::Bytes(bytes) = &items[0] else { panic!() };
        assert!(whole.as_ptr_range().contains(&bytes.as_ptr()));
    }
}
