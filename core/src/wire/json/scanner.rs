//! A scanner of JSON for the fast path.

use core::ops::Range;

use bytes::Bytes;
use bytestring::ByteString;

use crate::javascript::number;
use crate::payload::{Encoding, Payload};

/// Reads values one after the other. Each method returns `None` if the input does not have the
/// usual form; it may still be valid JSON.
pub(super) struct Scanner<'a> {
    text: &'a Bytes,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a Bytes) -> Self {
        Scanner { text, bytes: text, at: 0 }
    }

    /// Returns `true` if nothing follows.
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Consumes the byte if it comes next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    pub(super) fn expect(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }

    /// Consumes these bytes if they come next. The function is inlined so that comparing a constant
    /// takes few instructions.
    #[inline(always)]
    pub(super) fn starts(&mut self, with: &[u8]) -> bool {
        let there = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(with));
        self.at += if there { with.len() } else { 0 };
        there
    }

    #[inline(always)]
    pub(super) fn literal(&mut self, rest: &[u8]) -> Option<()> {
        self.starts(rest).then_some(())
    }

    /// Reads an object with `each`, which gets a key and must consume its value.
    pub(super) fn object(&mut self, mut each: impl FnMut(&'a str, &mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.eat(b'}') {
            return Some(());
        }
        loop {
            let key = core::str::from_utf8(&self.bytes[self.plain()?]).ok()?;
            self.expect(b':')?;
            each(key, self)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Consumes a string without escapes, and returns the position of its content.
    pub(super) fn plain(&mut self) -> Option<Range<usize>> {
        self.expect(b'"')?;
        let start = self.at;
        (self.special()? == b'"').then(|| start..self.at - 1)
    }

    pub(super) fn name(&mut self) -> Option<ByteString> {
        let name = self.plain()?;
        ByteString::try_from(self.text.slice(name)).ok()
    }

    pub(super) fn names(&mut self) -> Option<Vec<ByteString>> {
        self.expect(b'[')?;
        if self.eat(b']') {
            return Some(Vec::new());
        }
        let mut names: Vec<ByteString> = Vec::with_capacity(1);
        loop {
            match (self.peek()?, names.last()) {
                // A number behind its own text is the same room.
                (b'0'..=b'9' | b'-', Some(text)) if number(text).is_some() => {
                    self.starts(text.as_bytes()).then_some(())?;
                }
                _ => names.push(self.name()?),
            }
            match self.next()? {
                b',' => {}
                b']' => return Some(names),
                _ => return None,
            }
        }
    }

    pub(super) fn switch(&mut self) -> Option<bool> {
        match self.next()? {
            b't' => self.literal(b"rue").map(|()| true),
            b'f' => self.literal(b"alse").map(|()| false),
            _ => None,
        }
    }

    /// Consumes a number on which all conversions of JSON numbers agree.
    pub(super) fn count(&mut self) -> Option<u64> {
        let start = self.at;
        let mut count = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            count = count * 10 + u64::from(digit - b'0');
            self.at += 1;
            if self.at - start > 15 {
                return None;
            }
        }
        let zeros = self.bytes.get(start) == Some(&b'0') && self.at > start + 1;
        (self.at > start && !zeros && !matches!(self.peek(), Some(b'.' | b'e' | b'E'))).then_some(count)
    }

    pub(super) fn payload(&mut self) -> Option<Payload> {
        let start = self.at;
        self.skip()?;
        Some(Payload::from_wire(Encoding::Json, self.text.slice(start..self.at)))
    }

    /// Consumes any value. It must be valid JSON without leading blanks.
    pub(super) fn skip(&mut self) -> Option<()> {
        // One bit per open container, behind a first bit that is always set. The bit is set if the
        // container is an object.
        let mut open: u128 = 1;
        loop {
            match self.next()? {
                b'"' => self.string()?,
                b'0' => self.number(b'0')?,
                digit @ (b'1'..=b'9' | b'-') => self.number(digit)?,
                b't' => self.literal(b"rue")?,
                b'f' => self.literal(b"alse")?,
                b'n' => self.literal(b"ull")?,
                bracket @ (b'{' | b'[') => {
                    let object = bracket == b'{';
                    self.blanks();
                    if !self.eat(bracket + 2) {
                        // Deeper nesting than there are bits is left to the general reader.
                        open = (open.leading_zeros() > 0).then_some(open << 1 | u128::from(object))?;
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => return None,
            }
            loop {
                if open == 1 {
                    return Some(());
                }
                self.blanks();
                let object = open & 1 == 1;
                match self.next()? {
                    b',' if object => break self.key()?,
                    b',' => break self.blanks(),
                    b'}' if object => open >>= 1,
                    b']' if !object => open >>= 1,
                    _ => return None,
                }
            }
        }
    }

    pub(super) fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Consumes a key and its colon.
    pub(super) fn key(&mut self) -> Option<()> {
        self.blanks();
        self.expect(b'"')?;
        self.string()?;
        self.blanks();
        self.expect(b':')?;
        self.blanks();
        Some(())
    }

    /// Consumes the rest of a string.
    pub(super) fn string(&mut self) -> Option<()> {
        loop {
            match self.special()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        let digits = self.bytes.get(self.at..self.at + 4)?;
                        if !digits.iter().all(u8::is_ascii_hexdigit) {
                            return None;
                        }
                        self.at += 4;
                    }
                    _ => return None,
                },
                _ => return None,
            }
        }
    }

    /// Consumes the bytes of a string up to and including the first quote, backslash or control
    /// character.
    pub(super) fn special(&mut self) -> Option<u8> {
        const ONES: u64 = u64::MAX / 255;
        // Sets the high bit of each byte that is zero, and no bit if no byte is zero.
        let zero = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
        while let Some(chunk) = self.bytes[self.at..].first_chunk() {
            let word = u64::from_le_bytes(*chunk);
            let control = word.wrapping_sub(ONES * 0x20) & !word & (ONES << 7);
            let found =
                control | zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')));
            if found != 0 {
                // The lowest bit is right. Higher ones may be false.
                self.at += found.trailing_zeros() as usize / 8;
                return self.next();
            }
            self.at += 8;
        }
        loop {
            if let special @ (b'"' | b'\\' | 0..0x20) = self.next()? {
                return Some(special);
            }
        }
    }

    /// Consumes the rest of a number.
    pub(super) fn number(&mut self, first: u8) -> Option<()> {
        let first = if first == b'-' { self.next()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.eat(b'.') {
            self.digit()?;
            self.digits();
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digit()?;
            self.digits();
        }
        Some(())
    }

    pub(super) fn digit(&mut self) -> Option<()> {
        self.next()?.is_ascii_digit().then_some(())
    }

    pub(super) fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }
}
