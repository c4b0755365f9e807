//! A reader of replies, which is fed with bytes as they come.

use core::fmt;

use bytes::{BufMut, BytesMut};
use sio_streams_core::Bytes;

use crate::arrived::Received;
use crate::decode::decode;
use crate::error::RespError;
use crate::limits::ReadLimits;
use crate::scan::Scan;

/// The minimum of bytes for which there is room at once.
const CHUNK: usize = 16 << 10;

/// The maximum of bytes that are reserved at once, whatever length is announced.
const LARGEST: usize = 1 << 20;

/// Reads RESP2 and RESP3, as [specified](https://redis.io/docs/latest/develop/reference/protocol-spec/)
/// by Redis, except for the streamed types of RESP3, which no Redis sends.
///
/// The bytes come in any pieces. Each byte is looked at once, or twice where a line is cut. Strings
/// are slices of the input: they are copied neither here nor by what becomes of the value.
///
/// ```
/// use sio_streams_resp::{Reader, Value};
///
/// let mut reader = Reader::default();
/// reader.feed(b"*2\r\n$5\r\nhello\r\n:4");
/// assert_eq!(reader.read().unwrap(), None);
/// reader.feed(b"2\r\n+OK\r\n");
/// let received = reader.read().unwrap().unwrap();
/// assert_eq!(received.value, Value::List(vec![Value::Bytes("hello".into()), Value::Int(42)]));
/// assert_eq!(reader.read().unwrap().unwrap().value, Value::Bytes("OK".into()));
/// assert_eq!(reader.read().unwrap(), None);
/// ```
pub struct Reader {
    bytes: BytesMut,
    scan: Scan,
    limits: ReadLimits,
    failed: Option<RespError>,
}

impl Reader {
    /// Creates a reader with these limits.
    pub fn new(limits: ReadLimits) -> Self {
        Reader { bytes: BytesMut::new(), scan: Scan::new(), limits, failed: None }
    }

    /// Appends bytes that have come from the server. They are copied once. [`Reader::space`] does
    /// without the copy, for sources that can write to it.
    ///
    /// The reader keeps all that it is fed with. Read until there is nothing more before you feed
    /// it again; then it keeps no more than one reply and the last piece.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns room for bytes that come from the server: 16 KiB at least, and up to 1 MiB if a
    /// reply is known to be that long. What is written to it counts as fed.
    pub fn space(&mut self) -> impl BufMut + '_ {
        self.bytes.reserve(self.scan.missing().clamp(CHUNK, LARGEST));
        &mut self.bytes
    }

    /// Reads the next value. Returns `None` if it has not arrived completely.
    ///
    /// # Errors
    ///
    /// If the bytes are not RESP, or the value exceeds a limit. Every later call returns the same
    /// error.
    pub fn read(&mut self) -> Result<Option<Received>, RespError> {
        let Some(whole) = self.whole()? else { return Ok(None) };
        self.decoded(&whole).map(Some)
    }

    /// Decodes a complete reply.
    pub(crate) fn decoded(&mut self, whole: &Bytes) -> Result<Received, RespError> {
        let decoded = decode(whole).map(|(value, is_push)| Received { value, is_push });
        decoded.inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// Returns the bytes of the next reply. They are not decoded.
    pub(crate) fn whole(&mut self) -> Result<Option<Bytes>, RespError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.bytes.is_empty() {
            return Ok(None);
        }
        match self.scan.complete(&self.bytes, &self.limits) {
            Ok(end) => Ok(end.map(|end| self.bytes.split_to(end).freeze())),
            Err(error) => {
                // The bytes behind the error are of no use.
                self.bytes = BytesMut::new();
                Err(self.failed.insert(error).clone())
            }
        }
    }
}

impl Default for Reader {
    fn default() -> Self {
        Reader::new(ReadLimits::default())
    }
}

impl fmt::Debug for Reader {
    /// Omits the bytes, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("bytes", &self.bytes.len())
            .field("limits", &self.limits)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn resp(words: &str) -> Vec<u8> {
        words.replace(' ', "\r\n").into_bytes()
    }

    /// Reads the one reply, in pieces of this size.
    fn read_in(reply: &[u8], at_once: usize, limits: ReadLimits) -> Result<Option<Received>, RespError> {
        let mut reader = Reader::new(limits);
        for piece in reply.chunks(at_once) {
            assert_eq!(reader.read()?, None, "before the end of {reply:?}");
            reader.feed(piece);
        }
        let received = reader.read()?;
        assert!(received.is_none() || reader.bytes.is_empty(), "{reply:?}");
        Ok(received)
    }

    fn read(words: &str, limits: ReadLimits) -> Result<Option<Received>, RespError> {
        let reply = resp(words);
        let whole = read_in(&reply, reply.len(), limits);
        for at_once in [1, 2, 3] {
            assert_eq!(read_in(&reply, at_once, limits), whole, "{words}, {at_once} bytes at once");
        }
        whole
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
            ("|0 |0 *2 $1 s :-1 ", list.clone()),
            ("*2 |1 +k +v =5 txt:s :-1 ", list.clone()),
            ("%1 $1 s *2 $1 s :-1 ", map.clone()),
            ("*1 %1 $1 s *2 $1 s :-1 ", Value::List(vec![map])),
            ("$0  ", bulk("")),
            ("=4 txt: ", bulk("")),
            ("*0 ", Value::List(vec![])),
            ("%0 ", Value::Map(vec![])),
            ("*-1 ", Value::Nil),
            ("$-1 ", Value::Nil),
            ("_ ", Value::Nil),
            ("#t ", Value::Int(1)),
            ("#f ", Value::Int(0)),
            (",1.5 ", bulk("1.5")),
            (",-inf ", bulk("-inf")),
            (",nan ", bulk("nan")),
            (
                "(-3492890328409238509324850943850943825024385 ",
                bulk("-3492890328409238509324850943850943825024385"),
            ),
            ("-UNBLOCKED ", Value::error("UNBLOCKED")),
            ("!9 MOVED:1:h ", Value::error("MOVED:1:h")),
        ];
        for (words, expected) in cases {
            let received = read(words, ReadLimits::default()).unwrap().unwrap();
            assert_eq!(received, Received { value: expected, is_push: false }, "{words}");
        }
        assert!(read("|1 +k +v >1 +invalidate ", ReadLimits::default()).unwrap().unwrap().is_push);
    }

    #[test]
    fn what_is_no_resp_is_said_to_be_none() {
        let cases = [
            ("HTTP/1.1 ", RespError::Mark(b'H')),
            ("*1 HTTP/1.1 ", RespError::Mark(b'H')),
            ("$-2 ", RespError::Length),
            ("$ ", RespError::Length),
            ("$x ", RespError::Length),
            ("$? ", RespError::Length),
            ("*+1 ", RespError::Length),
            ("$99999999999 ", RespError::Length),
            ("*1\n:1 ", RespError::LineEnd),
            ("$1 ab ", RespError::StringEnd),
            (":x ", RespError::Number),
            (",x ", RespError::Number),
            ("(1.5 ", RespError::Number),
            ("(- ", RespError::Number),
            ("#1 ", RespError::Boolean),
            ("_x ", RespError::Null),
        ];
        for (words, expected) in cases {
            assert_eq!(read(words, ReadLimits::default()), Err(expected), "{words}");
        }
    }

    #[test]
    fn nothing_is_read_behind_an_error() {
        let mut reader = Reader::default();
        reader.feed(b"+a\r\n:x\r\n+b\r\n");
        assert!(reader.read().unwrap().is_some());
        for _ in 0..2 {
            assert_eq!(reader.read(), Err(RespError::Number));
            reader.feed(b"+c\r\n");
        }
    }

    #[test]
    fn depth_is_limited() {
        let nested = |levels: usize| "*1 ".repeat(levels) + ":1 ";
        for limit in [0, 1, 5, ReadLimits::MAX_DEPTH] {
            let limits = ReadLimits::default().with_depth(limit);
            assert!(read(&nested(limit), limits).unwrap().is_some());
            let too_deep = Err(RespError::TooDeep { limit });
            assert_eq!(read(&nested(limit + 1), limits), too_deep);
            // It is known before all of it has come.
            assert_eq!(read(&"*1 ".repeat(limit + 1), limits), too_deep);
            assert_eq!(read(&("*2 +x ".repeat(limit) + "%1 "), limits), too_deep);
            assert_eq!(read(&("|1 +x ".repeat(limit) + "|1 "), limits), too_deep);
            // Neither neighbours nor empty lists count.
            if limit > 1 {
                assert!(read("*3 *1 *0 *1 :1 *0 ", limits).unwrap().is_some());
            }
        }
        let limits = ReadLimits::default().with_depth(usize::MAX);
        let too_deep = Err(RespError::TooDeep { limit: ReadLimits::MAX_DEPTH });
        assert_eq!(read(&nested(100_000), limits), too_deep);
    }

    #[test]
    fn length_is_limited() {
        for (fits, too_long) in [
            ("+12345678 ", "+123456789 "),
            ("$5 12345 ", "$6 123456 "),
            ("*2 _ :1 ", "*2 _ :12 "),
            ("*2 _ _ ", "*2 _ +1234"),
            ("+1234567 ", "*3 "),
            ("%1 _ _ ", "%2 "),
            ("$2 12 ", "$9999999999 "),
            (":1 ", "*9999999999 "),
        ] {
            let limits = ReadLimits::default().with_bytes(11);
            assert!(read(fits, limits).unwrap().is_some(), "{fits}");
            assert_eq!(read(too_long, limits), Err(RespError::TooLong { limit: 11 }), "{too_long}");
        }
        // The limit is for each reply.
        let mut reader = Reader::new(ReadLimits::default().with_bytes(11));
        reader.feed(&resp(&"$5 12345 ".repeat(100)));
        assert_eq!(core::iter::from_fn(|| reader.read().unwrap()).count(), 100);
    }

    #[test]
    fn strings_are_not_copied() {
        let mut reader = Reader::default();
        reader.feed(&resp("*1 $5 hello "));
        let place = reader.bytes.as_ptr_range();
        let Value::List(items) = reader.read().unwrap().unwrap().value else { panic!() };
        let Value::Bytes(bytes) = &items[0] else { panic!() };
        assert!(place.contains(&bytes.as_ptr()));
    }

    #[test]
    fn what_is_written_to_the_space_is_read() {
        let mut reader = Reader::default();
        assert!(reader.space().remaining_mut() >= CHUNK);
        reader.space().put_slice(b"+OK\r\n");
        assert_eq!(reader.read().unwrap().unwrap().value, Value::Bytes("OK".into()));
        reader.feed(b"$200000\r\n");
        reader.read().unwrap();
        assert!(reader.space().chunk_mut().len() >= 200_000);
        reader.feed(b"");
    }
}
