//! MessagePack, seen as bytes: walking over values without building them.
//!
//! What arrives stays where it is: a value that the engine has no use for is skipped and kept as a slice. Nothing here allocates in
//! proportion to a length that the input merely claims.

use std::borrow::Cow;

use base64::Engine as _;
use bytes::Bytes;
use bytestring::ByteString;
use rmp::Marker;

use super::data::{number_text, whole};
use super::dates::date;

/// Why bytes are not the MessagePack that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MsgPackError {
    /// The bytes end in the middle of a value.
    #[error("the MessagePack value is cut off at byte {at}")]
    Truncated {
        /// Where the bytes end.
        at: usize,
    },
    /// Bytes follow the one value that was expected.
    #[error("bytes follow the MessagePack value, from byte {at}")]
    Trailing {
        /// Where the first surplus byte stands.
        at: usize,
    },
    /// The marker byte 0xc1, which MessagePack never uses.
    #[error("byte {at} is no MessagePack marker")]
    Marker {
        /// Where it stands.
        at: usize,
    },
    /// Arrays and maps are nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    #[error("the MessagePack value is nested too deeply at byte {at}")]
    TooDeep {
        /// Where the first container too many begins.
        at: usize,
    },
    /// A map key is neither a string nor a number, or is `__proto__`. The peers' decoder refuses the whole message.
    #[error("the map key at byte {at} is neither a string nor a number, or is \"__proto__\"")]
    Key {
        /// Where it stands.
        at: usize,
    },
    /// Another kind of value stands here than the message needs.
    #[error("the MessagePack value at byte {at} is not {expected}")]
    Unexpected {
        /// Where the value stands.
        at: usize,
        /// What the message needs.
        expected: &'static str,
    },
}

/// What a walk over a value saw, beside its being well-formed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// A `bin` value occurs.
    pub(crate) binary: bool,
    /// An extension value occurs; a JavaScript `Date` is one.
    pub(crate) extension: bool,
    /// An integer occurs that a JavaScript number can't hold exactly.
    pub(crate) unsafe_integer: bool,
    /// A map key occurs that is a number. JavaScript makes text of it.
    pub(crate) number_key: bool,
    /// A map occurs that says `_placeholder: true`, as clients know the place of a binary value.
    pub(crate) placeholder: bool,
    /// A value occurs that goes to clients in a binary frame: `bin`, or an extension that is no date.
    pub(crate) attachment: bool,
    /// An extension occurs that `notepack.io` reads in its own way.
    pub(crate) foreign: bool,
}

impl Facts {
    /// What was seen here or there.
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

    /// Whether a client would take a map in here for the place of a binary value.
    pub(crate) fn has_false_placeholder(self) -> bool {
        self.placeholder && self.attachment
    }
}

/// The first element of an array, as far as it can be an event's name.
#[derive(Clone, Copy, Debug)]
pub(super) enum First<'a> {
    Text(&'a [u8]),
    Number(f64),
    /// A date, if JavaScript has one for it.
    Date(Option<()>),
    Other,
}

/// The first element of `array`; nothing if it has none.
pub(super) fn first(array: &Bytes) -> Result<Option<First<'_>>, MsgPackError> {
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

/// The first bytes of a value: its kind, and its length where it has one.
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

/// A map key, as far as it matters.
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
    /// What was seen in the values that were walked over and not read.
    facts: Facts,
}

const SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The extension that a JavaScript `Date` is.
pub(super) const TIMESTAMP: i8 = -1;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a Bytes) -> Self {
        Self::with_depth(bytes, crate::MAX_DEPTH)
    }

    pub(crate) fn with_depth(bytes: &'a Bytes, depth: usize) -> Self {
        Reader { bytes, at: 0, depth_left: depth, facts: Facts::default() }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], MsgPackError> {
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
        // A length that no `usize` holds is longer than any input.
        Ok(usize::try_from(u32::from_be_bytes(self.number()?)).unwrap_or(usize::MAX))
    }

    fn ext(&mut self, len: usize) -> Result<Head, MsgPackError> {
        Ok(Head::Ext(i8::from_be_bytes(self.number()?), len))
    }

    /// Reads what comes before the content of the next value.
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

    /// The kind of the next value, which is not consumed.
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

    pub(super) fn enter(&mut self, at: usize) -> Result<(), MsgPackError> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or(MsgPackError::TooDeep { at })?;
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth_left += 1;
    }

    /// What a head of this length is followed by.
    pub(super) fn content(&mut self, len: usize) -> Result<Bytes, MsgPackError> {
        let content = self.take(len)?;
        Ok(self.bytes.slice_ref(content))
    }

    /// The bytes of the next value, whatever it is.
    pub(crate) fn raw(&mut self) -> Result<Bytes, MsgPackError> {
        let (start, mut facts) = (self.at, self.facts);
        self.walk(&mut facts)?;
        self.facts = facts;
        Ok(self.bytes.slice(start..self.at))
    }

    /// The bytes of the next value, and what is in it.
    pub(super) fn raw_with_facts(&mut self) -> Result<(Bytes, Facts), MsgPackError> {
        let before = core::mem::take(&mut self.facts);
        let value = self.raw()?;
        let facts = self.facts;
        self.facts = before.and(facts);
        Ok((value, facts))
    }

    /// What was seen in the values that were walked over.
    pub(super) fn facts(&self) -> Facts {
        self.facts
    }

    /// Where the next value begins.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Consumes the next value if it is nil.
    pub(crate) fn nil(&mut self) -> Result<bool, MsgPackError> {
        let next = self.bytes.get(self.at).ok_or(MsgPackError::Truncated { at: self.bytes.len() })?;
        let nil = *next == Marker::Null.to_u8();
        self.at += usize::from(nil);
        Ok(nil)
    }

    /// A string. Bytes that are not UTF-8 are replaced, as JavaScript's decoder does.
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

    /// A map key. JavaScript makes text of a number; the peers' decoder fails on anything else.
    pub(super) fn key(&mut self) -> Result<Cow<'a, str>, MsgPackError> {
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

    /// A key that is kept.
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

    /// An integer that is not negative. JavaScript has one kind of number: a float without a fraction counts.
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
                // The claimed length is not believed: each element takes a byte at least.
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

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), MsgPackError> {
        match self.at == self.bytes.len() {
            true => Ok(()),
            false => Err(MsgPackError::Trailing { at: self.at }),
        }
    }
}

/// Walks over `bytes`, which must be one whole value.
pub(crate) fn facts(bytes: &Bytes) -> Result<Facts, MsgPackError> {
    let mut facts = Facts::default();
    let mut reader = Reader::new(bytes);
    reader.walk(&mut facts)?;
    reader.end()?;
    Ok(facts)
}

/// `bytes`, a well-formed value, with each extension value put into a form that serde's data model has: a JavaScript `Date` (a
/// timestamp, extension −1) becomes the ISO text that JSON would have carried, or null if it is no valid date; any other extension its
/// bytes.
pub(crate) fn without_extensions(bytes: &Bytes) -> Result<Vec<u8>, MsgPackError> {
    let mut out = Vec::with_capacity(bytes.len() + 32);
    let mut reader = Reader::new(bytes);
    // A well-formed value is a sequence of heads and contents: containers need no recursion to be copied.
    while reader.at < bytes.len() {
        let start = reader.at;
        match reader.head()? {
            Head::Ext(TIMESTAMP, len) => match date(reader.take(len)?) {
                Some(text) => write_str(&mut out, &text),
                // As JSON has it.
                None => out.push(Marker::Null.to_u8()),
            },
            Head::Ext(_, len) => write_bin(&mut out, reader.take(len)?),
            Head::Str(len) | Head::Bin(len) => {
                reader.take(len)?;
                out.extend_from_slice(&bytes[start..reader.at]);
            }
            _ => out.extend_from_slice(&bytes[start..reader.at]),
        }
    }
    Ok(out)
}

/// The array in `array`, with `first` put before its elements; nothing if it is no array.
pub(crate) fn prepend(first: &str, array: &Bytes) -> Option<Vec<u8>> {
    let mut reader = Reader::new(array);
    let Ok(Head::Array(len)) = reader.head() else { return None };
    let mut out = Vec::with_capacity(array.len() + first.len() + 8);
    write_array(&mut out, len + 1);
    write_str(&mut out, first);
    out.extend_from_slice(&array[reader.at..]);
    Some(out)
}

/// The array in `array`, with `last` put behind its elements; nothing if it is no array.
pub(crate) fn append(array: &Bytes, last: &str) -> Option<Vec<u8>> {
    let mut reader = Reader::new(array);
    let Ok(Head::Array(len)) = reader.head() else { return None };
    let mut out = Vec::with_capacity(array.len() + last.len() + 8);
    write_array(&mut out, len + 1);
    out.extend_from_slice(&array[reader.at..]);
    write_str(&mut out, last);
    Some(out)
}

/// Writing to a `Vec` can't fail, and lengths beyond 32 bits are excluded by [`MAX_PAYLOAD`](crate::MAX_PAYLOAD): these wrap
/// `rmp`'s encoders accordingly.
macro_rules! infallible {
    ($call:expr) => {
        if let Err(error) = $call {
            unreachable!("a Vec takes every write: {error}")
        }
    };
}

pub(crate) fn write_map(out: &mut Vec<u8>, len: usize) {
    infallible!(rmp::encode::write_map_len(out, len32(len)));
}

pub(crate) fn write_array(out: &mut Vec<u8>, len: usize) {
    infallible!(rmp::encode::write_array_len(out, len32(len)));
}

pub(crate) fn write_str(out: &mut Vec<u8>, text: &str) {
    infallible!(rmp::encode::write_str(out, text));
}

pub(crate) fn write_bin(out: &mut Vec<u8>, bytes: &[u8]) {
    infallible!(rmp::encode::write_bin(out, bytes));
}

pub(crate) fn write_bool(out: &mut Vec<u8>, value: bool) {
    infallible!(rmp::encode::write_bool(out, value));
}

pub(crate) fn write_unsigned(out: &mut Vec<u8>, value: u64) {
    infallible!(rmp::encode::write_uint(out, value));
}

pub(super) fn write_signed(out: &mut Vec<u8>, value: i64) {
    infallible!(rmp::encode::write_sint(out, value));
}

fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// The form in which a stream entry carries MessagePack.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The peers' decoder, Node's `Buffer.from(text, "base64")`, does without padding, takes the alphabet for URLs as well, and passes over
/// line breaks: so do the encoders of other languages write it. What it makes of anything else is garbage, and an error here.
pub(crate) fn from_base64(text: &[u8]) -> Result<Vec<u8>, base64::DecodeError> {
    const LENIENT: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new()
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    LENIENT.decode(text).or_else(|_| {
        let standard = |byte: &u8| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        };
        let digits: Vec<u8> = text.iter().filter(|byte| !byte.is_ascii_whitespace()).map(standard).collect();
        LENIENT.decode(digits)
    })
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
        assert!(nested(crate::MAX_DEPTH).is_ok());
        assert_eq!(nested(crate::MAX_DEPTH + 1), Err(MsgPackError::TooDeep { at: crate::MAX_DEPTH }));
        assert!(nested(1_000_000).is_err());
    }
}
