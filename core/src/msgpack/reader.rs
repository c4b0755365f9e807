//! Reading MessagePack one value after the other.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;
use rmp::Marker;

use super::{MAX_DEPTH, MsgPackError, TIMESTAMP};
use crate::javascript::{number_text, whole};

/// The findings of a walk over a well-formed value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// There is a `bin` value.
    pub(crate) binary: bool,
    /// There is an extension value. A JavaScript `Date` is one.
    pub(crate) extension: bool,
    /// There is an integer that a JavaScript number can't represent exactly.
    pub(crate) unsafe_integer: bool,
    /// There is a map key that is a number. JavaScript converts it to text.
    pub(crate) number_key: bool,
    /// There is a map with `_placeholder: true`, by which clients recognise the place of a binary
    /// value.
    pub(crate) placeholder: bool,
    /// There is a value that goes to clients in a binary frame: `bin`, or an extension that is not
    /// a date.
    pub(crate) attachment: bool,
    /// There is an extension that `notepack.io` reads in its own way.
    pub(crate) foreign: bool,
}

impl Facts {
    /// Combines the findings of two walks.
    fn and(self, other: Facts) -> Facts {
        Facts {
            binary: self.binary | other.binary,
            extension: self.extension | other.extension,
            unsafe_integer: self.unsafe_integer | other.unsafe_integer,
            number_key: self.number_key | other.number_key,
            placeholder: self.placeholder | other.placeholder,
            attachment: self.attachment | other.attachment,
            foreign: self.foreign | other.foreign,
        }
    }

    /// Returns `true` if a client would take a map for the placeholder of a binary value.
    pub(crate) fn has_false_placeholder(self) -> bool {
        self.placeholder && self.attachment
    }
}

/// The head of a value: its type, and its length if it has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Head {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Str(usize),
    Bin(usize),
    Array(usize),
    Map(usize),
    Ext(i8, usize),
}

/// The kinds of map key that make a difference.
enum Key {
    Text,
    Number,
    Placeholder,
}

/// Reads values one after the other from `bytes`.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
    depth_left: usize,
    /// The findings in values that were walked over, not in those that were read.
    facts: Facts,
}

const SAFE_INTEGER: u64 = (1 << 53) - 1;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a Bytes) -> Self {
        Self::with_depth(bytes, MAX_DEPTH)
    }

    pub(crate) fn with_depth(bytes: &'a Bytes, depth: usize) -> Self {
        Reader { bytes, at: 0, depth_left: depth, facts: Facts::default() }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], MsgPackError> {
        let bytes: &'a [u8] = self.bytes;
        let end = self.at.checked_add(len).filter(|&end| end <= bytes.len());
        let end = end.ok_or(MsgPackError::Truncated { at: bytes.len() })?;
        let slice = &bytes[self.at..end];
        self.at = end;
        Ok(slice)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], MsgPackError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn len8(&mut self) -> Result<usize, MsgPackError> {
        Ok(usize::from(self.number::<1>()?[0]))
    }

    fn len16(&mut self) -> Result<usize, MsgPackError> {
        Ok(usize::from(u16::from_be_bytes(self.number()?)))
    }

    fn len32(&mut self) -> Result<usize, MsgPackError> {
        // A length that exceeds `usize` is longer than any input.
        Ok(usize::try_from(u32::from_be_bytes(self.number()?)).unwrap_or(usize::MAX))
    }

    fn ext(&mut self, len: usize) -> Result<Head, MsgPackError> {
        Ok(Head::Ext(i8::from_be_bytes(self.number()?), len))
    }

    /// Reads the head of the next value.
    pub(crate) fn head(&mut self) -> Result<Head, MsgPackError> {
        let at = self.at;
        let [marker] = self.number()?;
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Head::Nil,
            Marker::True => Head::Bool(true),
            Marker::False => Head::Bool(false),
            Marker::FixPos(n) => Head::Unsigned(u64::from(n)),
            Marker::FixNeg(n) => Head::Signed(i64::from(n)),
            Marker::U8 => Head::Unsigned(u64::from(u8::from_be_bytes(self.number()?))),
            Marker::U16 => Head::Unsigned(u64::from(u16::from_be_bytes(self.number()?))),
            Marker::U32 => Head::Unsigned(u64::from(u32::from_be_bytes(self.number()?))),
            Marker::U64 => Head::Unsigned(u64::from_be_bytes(self.number()?)),
            Marker::I8 => Head::Signed(i64::from(i8::from_be_bytes(self.number()?))),
            Marker::I16 => Head::Signed(i64::from(i16::from_be_bytes(self.number()?))),
            Marker::I32 => Head::Signed(i64::from(i32::from_be_bytes(self.number()?))),
            Marker::I64 => Head::Signed(i64::from_be_bytes(self.number()?)),
            Marker::F32 => Head::Float(f64::from(f32::from_be_bytes(self.number()?))),
            Marker::F64 => Head::Float(f64::from_be_bytes(self.number()?)),
            Marker::FixStr(n) => Head::Str(usize::from(n)),
            Marker::Str8 => Head::Str(self.len8()?),
            Marker::Str16 => Head::Str(self.len16()?),
            Marker::Str32 => Head::Str(self.len32()?),
            Marker::Bin8 => Head::Bin(self.len8()?),
            Marker::Bin16 => Head::Bin(self.len16()?),
            Marker::Bin32 => Head::Bin(self.len32()?),
            Marker::FixArray(n) => Head::Array(usize::from(n)),
            Marker::Array16 => Head::Array(self.len16()?),
            Marker::Array32 => Head::Array(self.len32()?),
            Marker::FixMap(n) => Head::Map(usize::from(n)),
            Marker::Map16 => Head::Map(self.len16()?),
            Marker::Map32 => Head::Map(self.len32()?),
            Marker::FixExt1 => self.ext(1)?,
            Marker::FixExt2 => self.ext(2)?,
            Marker::FixExt4 => self.ext(4)?,
            Marker::FixExt8 => self.ext(8)?,
            Marker::FixExt16 => self.ext(16)?,
            Marker::Ext8 => {
                let len = self.len8()?;
                self.ext(len)?
            }
            Marker::Ext16 => {
                let len = self.len16()?;
                self.ext(len)?
            }
            Marker::Ext32 => {
                let len = self.len32()?;
                self.ext(len)?
            }
            Marker::Reserved => return Err(MsgPackError::Marker { at }),
        })
    }

    /// Returns the head of the next value without consuming it.
    pub(crate) fn peek(&self) -> Result<Head, MsgPackError> {
        self.clone().head()
    }

    /// Walks over one value.
    pub(crate) fn walk(&mut self, facts: &mut Facts) -> Result<(), MsgPackError> {
        let at = self.at;
        match self.head()? {
            Head::Nil | Head::Bool(_) | Head::Float(_) => {}
            Head::Unsigned(n) => facts.unsafe_integer |= n > SAFE_INTEGER,
            Head::Signed(n) => facts.unsafe_integer |= n.unsigned_abs() > SAFE_INTEGER,
            Head::Str(len) => drop(self.take(len)?),
            Head::Bin(len) => {
                facts.binary = true;
                facts.attachment = true;
                self.take(len)?;
            }
            Head::Ext(kind, len) => {
                if kind == TIMESTAMP && !matches!(len, 4 | 8 | 12) {
                    return Err(MsgPackError::Unexpected { at, expected: "a timestamp of 4, 8 or 12 bytes" });
                }
                facts.extension = true;
                facts.attachment |= kind != TIMESTAMP;
                facts.foreign |= kind != TIMESTAMP || matches!(self.bytes[at], 0xc8 | 0xc9);
                self.take(len)?;
            }
            Head::Array(len) => {
                self.enter(at)?;
                for _ in 0..len {
                    self.walk(facts)?;
                }
                self.leave();
            }
            Head::Map(len) => {
                self.enter(at)?;
                for _ in 0..len {
                    match self.walk_key()? {
                        Key::Number => facts.number_key = true,
                        Key::Placeholder => {
                            facts.placeholder |= self.bytes.get(self.at) == Some(&Marker::True.to_u8());
                        }
                        Key::Text => {}
                    }
                    self.walk(facts)?;
                }
                self.leave();
            }
        }
        Ok(())
    }

    /// Walks over a map key.
    fn walk_key(&mut self) -> Result<Key, MsgPackError> {
        let at = self.at;
        match self.head()? {
            Head::Str(len) => match self.take(len)? {
                b"__proto__" => Err(MsgPackError::Key { at }),
                b"_placeholder" => Ok(Key::Placeholder),
                _ => Ok(Key::Text),
            },
            Head::Unsigned(_) | Head::Signed(_) | Head::Float(_) => Ok(Key::Number),
            _ => Err(MsgPackError::Key { at }),
        }
    }

    pub(crate) fn enter(&mut self, at: usize) -> Result<(), MsgPackError> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or(MsgPackError::TooDeep { at })?;
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.depth_left += 1;
    }

    /// Consumes the content that follows a head of this length.
    pub(crate) fn content(&mut self, len: usize) -> Result<Bytes, MsgPackError> {
        let content = self.take(len)?;
        Ok(self.bytes.slice_ref(content))
    }

    /// Consumes the next value and returns its bytes.
    pub(crate) fn raw(&mut self) -> Result<Bytes, MsgPackError> {
        let (start, mut facts) = (self.at, self.facts);
        self.walk(&mut facts)?;
        self.facts = facts;
        Ok(self.bytes.slice(start..self.at))
    }

    /// Consumes the next value, and returns its bytes and the findings in it.
    pub(crate) fn raw_with_facts(&mut self) -> Result<(Bytes, Facts), MsgPackError> {
        let before = core::mem::take(&mut self.facts);
        let value = self.raw()?;
        let facts = self.facts;
        self.facts = before.and(facts);
        Ok((value, facts))
    }

    /// Returns the findings in the values that were walked over.
    pub(crate) fn facts(&self) -> Facts {
        self.facts
    }

    /// Returns the position of the next value.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Consumes the next value if it is nil.
    pub(crate) fn nil(&mut self) -> Result<bool, MsgPackError> {
        let next = self.bytes.get(self.at).ok_or(MsgPackError::Truncated { at: self.bytes.len() })?;
        let nil = *next == Marker::Null.to_u8();
        self.at += usize::from(nil);
        Ok(nil)
    }

    /// Reads a string. Invalid UTF-8 is replaced, as in JavaScript's decoder.
    pub(crate) fn str(&mut self) -> Result<ByteString, MsgPackError> {
        let at = self.at;
        match self.head()? {
            Head::Str(len) => {
                let start = self.at;
                let text = self.take(len)?;
                let shared = self.bytes.slice(start..self.at);
                Ok(ByteString::try_from(shared)
                    .unwrap_or_else(|_| String::from_utf8_lossy(text).into_owned().into()))
            }
            _ => Err(MsgPackError::Unexpected { at, expected: "a string" }),
        }
    }

    /// Reads a map key. JavaScript converts numbers to text. The peers' decoder fails on any other
    /// type.
    pub(crate) fn key(&mut self) -> Result<Cow<'a, str>, MsgPackError> {
        let at = self.at;
        let number = match self.head()? {
            Head::Str(len) => match self.take(len)? {
                b"__proto__" => return Err(MsgPackError::Key { at }),
                text => return Ok(String::from_utf8_lossy(text)),
            },
            Head::Unsigned(n) => n as f64,
            Head::Signed(n) => n as f64,
            Head::Float(n) => n,
            _ => return Err(MsgPackError::Key { at }),
        };
        Ok(number_text(number).into())
    }

    /// Converts a key into one that shares the reader's bytes.
    pub(crate) fn shared(&self, key: Cow<'a, str>) -> ByteString {
        match key {
            Cow::Borrowed(text) => {
                ByteString::try_from(self.bytes.slice_ref(text.as_bytes())).unwrap_or_default()
            }
            Cow::Owned(text) => text.into(),
        }
    }

    pub(crate) fn bool(&mut self) -> Result<bool, MsgPackError> {
        let at = self.at;
        match self.head()? {
            Head::Bool(value) => Ok(value),
            _ => Err(MsgPackError::Unexpected { at, expected: "a boolean" }),
        }
    }

    /// Reads a non-negative integer. JavaScript has one number type, so a float without a fraction
    /// counts.
    pub(crate) fn unsigned(&mut self) -> Result<u64, MsgPackError> {
        let at = self.at;
        match self.head()? {
            Head::Unsigned(n) => Ok(n),
            Head::Float(n) => whole(n).ok_or(MsgPackError::Unexpected { at, expected: "a whole number" }),
            Head::Signed(n) => {
                u64::try_from(n).map_err(|_| MsgPackError::Unexpected { at, expected: "a whole number" })
            }
            _ => Err(MsgPackError::Unexpected { at, expected: "a whole number" }),
        }
    }

    /// Reads an array with `each`.
    pub(crate) fn array<T, E: From<MsgPackError>>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        let at = self.at;
        match self.head()? {
            Head::Array(len) => {
                self.enter(at)?;
                // The claimed length is not trusted: each element takes at least one byte.
                let mut out = Vec::with_capacity(len.min((self.bytes.len() - self.at) / 8 + 1));
                for _ in 0..len {
                    out.push(each(self)?);
                }
                self.leave();
                Ok(out)
            }
            _ => Err(MsgPackError::Unexpected { at, expected: "an array" }.into()),
        }
    }

    /// Reads a map with `each`, which gets a key and must consume its value.
    pub(crate) fn map<E: From<MsgPackError>>(
        &mut self,
        mut each: impl FnMut(Cow<'a, str>, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let at = self.at;
        match self.head()? {
            Head::Map(len) => {
                self.enter(at)?;
                for _ in 0..len {
                    let key = self.key()?;
                    each(key, self)?;
                }
                self.leave();
                Ok(())
            }
            _ => Err(MsgPackError::Unexpected { at, expected: "a map" }.into()),
        }
    }

    /// Returns an error if bytes follow.
    pub(crate) fn end(&self) -> Result<(), MsgPackError> {
        match self.at == self.bytes.len() {
            true => Ok(()),
            false => Err(MsgPackError::Trailing { at: self.at }),
        }
    }
}

/// Walks over `bytes`, which must be one complete value.
pub(crate) fn facts(bytes: &Bytes) -> Result<Facts, MsgPackError> {
    let mut facts = Facts::default();
    let mut reader = Reader::new(bytes);
    reader.walk(&mut facts)?;
    reader.end()?;
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_length_costs_nothing() {
        for bytes in [
            &[0xdd, 0xff, 0xff, 0xff, 0xff][..],
            &[0xdf, 0xff, 0xff, 0xff, 0xff],
            &[0xdb, 0xff, 0xff, 0xff, 0xff],
        ] {
            let bytes = Bytes::copy_from_slice(bytes);
            assert_eq!(facts(&bytes), Err(MsgPackError::Truncated { at: 5 }));
            let read: Result<Vec<Bytes>, MsgPackError> = Reader::new(&bytes).array(Reader::raw);
            assert!(read.is_err());
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| {
            let mut bytes = vec![0x91; depth];
            bytes.push(0xc0);
            facts(&bytes.into())
        };
        assert!(nested(MAX_DEPTH).is_ok());
        assert_eq!(nested(MAX_DEPTH + 1), Err(MsgPackError::TooDeep { at: MAX_DEPTH }));
        assert!(nested(1_000_000).is_err());
    }
}
