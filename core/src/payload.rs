//! Values that the engine carries without decoding them.

use core::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use crate::foreign::{self, JsonError};
use crate::id::EntryId;
use crate::json_text;
use crate::msgpack::{self, MAX_DEPTH, MsgPackError};

/// The largest payload that is accepted for writing, in bytes. Redis refuses bulk strings over 512
/// MiB.
pub const MAX_PAYLOAD: usize = 256 << 20;

/// The largest number of levels that the envelope of a message adds around a payload (`{data:
/// {sockets: [{data: …`).
const ENVELOPE_DEPTH: usize = 5;

/// The deepest nesting of arrays and maps in a payload.
pub(crate) const DEPTH: usize = MAX_DEPTH - ENVELOPE_DEPTH;

/// The initial capacity for an encoded value. Most values need less than this, or not much more.
const ROOM: usize = 64;

/// The encoding of a [`Payload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// JSON text.
    Json,
    /// MessagePack. The peers use it for everything that holds binary data, and for everything that
    /// goes through Pub/Sub.
    MsgPack,
}

/// A value in encoded form, as it arrived or will be sent: JSON text or MessagePack.
///
/// Cloning is cheap, because clones share the bytes. The value is decoded on demand, into a type
/// that the caller chooses: as a whole by [`decode`](Payload::decode), and an argument at a time by
/// [`arg`](Payload::arg) and [`args`](Payload::args). Which encoding arrives is up to the sender, and
/// makes no difference to these.
///
/// ```
/// use sio_streams_core::{Encoding, Payload};
///
/// let text = Payload::encode(&("hello", 1)).unwrap();
/// assert_eq!(text.encoding(), Encoding::Json);
/// assert_eq!(text.bytes(), r#"["hello",1]"#);
/// assert_eq!(text.decode::<(String, u8)>().unwrap(), ("hello".into(), 1));
///
/// // Binary data makes it MessagePack, as with the peers.
/// let binary = Payload::encode(&serde_bytes::Bytes::new(&[1, 2, 3])).unwrap();
/// assert_eq!(binary.encoding(), Encoding::MsgPack);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    encoding: Encoding,
    bytes: Bytes,
}

/// The reason why a value can't be carried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The value's `Serialize` implementation failed.
    #[error("the value can't be serialised: {0}")]
    Serialize(String),
    /// The text is not JSON.
    #[error("not a JSON value: {0}")]
    Json(JsonError),
    /// The bytes are not MessagePack.
    #[error("not a MessagePack value: {0}")]
    MsgPack(#[from] MsgPackError),
    /// A map key is not a string, or is `__proto__`. Node's decoder would refuse the whole message.
    #[error("a map key is not a string, or is \"__proto__\": Node peers can't read that; use other keys")]
    Key,
    /// An integer is beyond ±(2^53 − 1). A JavaScript number would change it silently.
    #[error("an integer is beyond 2^53 - 1: JavaScript would change it; send it as a string")]
    Integer,
    /// Arrays and maps are nested too deeply for the peers' encoder and decoder.
    #[error("the value is nested deeper than {} levels", DEPTH)]
    Depth,
    /// The value takes more than [`MAX_PAYLOAD`] bytes.
    #[error("the value takes {0} bytes; at most {MAX_PAYLOAD} are accepted")]
    Size(usize),
    /// The value is not `[event, …args]`, an array that begins with the event's name.
    #[error("an event is an array that begins with its name, a string")]
    NotAnEvent,
    /// Socket.IO reserves this name. A Node client that receives it ends its connection.
    #[error("the event name {0:?} is reserved by Socket.IO")]
    ReservedEvent(String),
    /// The value holds binary data, and an object with `_placeholder: true`. A client takes that
    /// object for the placeholder of a binary value, and ends its connection if there is no such
    /// value.
    #[error("beside binary data, an object with \"_placeholder\": true can't be sent to clients")]
    Placeholder,
    /// The arguments of an acknowledgement are not an array.
    #[error("the arguments of an acknowledgement are an array")]
    NotAnArray,
    /// The classic Pub/Sub adapter has no message of this kind.
    #[error("the classic adapter has no message of this kind")]
    NoRequest,
}

impl From<JsonError> for PayloadError {
    fn from(error: JsonError) -> Self {
        PayloadError::Json(error)
    }
}

/// The reason why a payload can't be decoded into the requested type.
#[derive(Debug, thiserror::Error)]
#[error("the payload is no {wanted}: {reason}")]
pub struct DecodeError {
    wanted: &'static str,
    reason: String,
}

impl DecodeError {
    pub(crate) fn new<T>(reason: String) -> Self {
        DecodeError { wanted: core::any::type_name::<T>(), reason }
    }
}

impl Payload {
    /// Encodes `value` as JSON, or as MessagePack if it contains binary data (serde's *bytes*).
    ///
    /// Types with a text form (`is_human_readable`) are written as text in both encodings. Integers
    /// of 128 bits count as binary data; send them as strings.
    ///
    /// # Errors
    ///
    /// Refuses values that a Node peer could not read or would change: see [`PayloadError`].
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        let (encoded, facts) = Payload::pack(value)?;
        if facts.binary {
            return Ok(encoded);
        }
        let mut text = Vec::with_capacity(2 * encoded.bytes.len() + ROOM);
        write_json(value, &mut text)?;
        Payload::from_text(text)
    }

    /// Encodes `value` as MessagePack. The walk over the result shows whether Node peers can read
    /// it, and whether it contains binary data.
    fn pack<T: Serialize + ?Sized>(value: &T) -> Result<(Self, msgpack::Facts), PayloadError> {
        let mut encoded = Vec::with_capacity(ROOM);
        // A type with a text form is written as text, as in JSON, even if something else in the
        // message is binary.
        let mut writer = rmp_serde::Serializer::new(&mut encoded).with_struct_map().with_human_readable();
        value.serialize(&mut writer).map_err(|e| PayloadError::Serialize(e.to_string()))?;
        Payload::check_msgpack(encoded.into())
    }

    /// Checks a JSON text that this crate has just written.
    fn from_text(text: Vec<u8>) -> Result<Self, PayloadError> {
        // The text is longer than the MessagePack where it has many escapes, and deeper where it
        // contains a `RawValue`.
        if text.len() > MAX_PAYLOAD {
            return Err(PayloadError::Size(text.len()));
        }
        if json_text::is_deeper_than(&text, DEPTH) {
            return Err(PayloadError::Depth);
        }
        Ok(Payload { encoding: Encoding::Json, bytes: text.into() })
    }

    /// Creates a payload from a JSON text. Whitespace around it is removed.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Json`] if the text is not one JSON value in UTF-8; [`PayloadError::Depth`],
    /// [`PayloadError::Size`].
    pub fn from_json(text: impl Into<Bytes>) -> Result<Self, PayloadError> {
        let bytes: Bytes = text.into();
        if bytes.len() > MAX_PAYLOAD {
            return Err(PayloadError::Size(bytes.len()));
        }
        let raw: &serde_json::value::RawValue = foreign::from_json(&bytes)?;
        if json_text::is_deeper_than(raw.get().as_bytes(), DEPTH) {
            return Err(PayloadError::Depth);
        }
        let bytes = bytes.slice_ref(raw.get().as_bytes());
        Ok(Payload { encoding: Encoding::Json, bytes })
    }

    /// Creates a payload from a MessagePack value.
    ///
    /// # Errors
    ///
    /// Refuses values that a Node peer could not read or would change: see [`PayloadError`].
    pub fn from_msgpack(bytes: impl Into<Bytes>) -> Result<Self, PayloadError> {
        Ok(Payload::check_msgpack(bytes.into())?.0)
    }

    fn check_msgpack(bytes: Bytes) -> Result<(Self, msgpack::Facts), PayloadError> {
        let payload = Payload { encoding: Encoding::MsgPack, bytes };
        if payload.bytes.len() > MAX_PAYLOAD {
            return Err(PayloadError::Size(payload.bytes.len()));
        }
        let facts = payload.facts()?;
        if facts.number_key {
            return Err(PayloadError::Key);
        }
        if facts.unsafe_integer {
            return Err(PayloadError::Integer);
        }
        Ok((payload, facts))
    }

    /// Encodes `[name, …args]`, an event with its arguments. The arguments are a tuple, an array or
    /// a `Vec` of values. `()` stands for no arguments.
    ///
    /// # Errors
    ///
    /// Refuses values that a Node peer could not read or would change: see [`PayloadError`].
    pub fn event<A: Serialize + ?Sized>(name: &str, args: &A) -> Result<Self, PayloadError> {
        let (encoded, facts) = Payload::pack(args)?;
        if facts.binary {
            let event = msgpack::prepend(name, &encoded.bytes).ok_or(PayloadError::NotAnEvent)?;
            return Payload::from_msgpack(event);
        }
        let mut text = Vec::with_capacity(name.len() + 2 * encoded.bytes.len() + ROOM);
        text.push(b'[');
        write_json(name, &mut text)?;
        // The arguments' own bracket becomes the comma behind the name.
        let at = text.len();
        write_json(args, &mut text)?;
        match &text[at..] {
            [b'[', rest @ ..] if rest.trim_ascii_start() != b"]" => text[at] = b',',
            b"null" | [b'[', ..] => {
                text.truncate(at);
                text.push(b']');
            }
            _ => return Err(PayloadError::NotAnEvent),
        }
        Payload::from_text(text)
    }

    /// Appends a client's offset to the array. Clients receive their packets in this form if
    /// connection state recovery is on. Returns `None` if the value is not an array.
    ///
    /// ```
    /// use sio_streams_core::Packet;
    ///
    /// let packet = Packet::event("news", &(1,)).unwrap();
    /// let data = packet.data().with_offset("1700000000000-0".parse().unwrap()).unwrap();
    /// assert_eq!(data.as_json(), Some(r#"["news",1,"1700000000000-0"]"#));
    /// ```
    pub fn with_offset(&self, offset: EntryId) -> Option<Self> {
        let offset = offset.to_string();
        let bytes = match self.encoding {
            Encoding::Json => json_text::append(self.as_json()?, &offset)?.into(),
            Encoding::MsgPack => msgpack::append(&self.bytes, &offset)?.into(),
        };
        Some(Payload { encoding: self.encoding, bytes })
    }

    /// Returns `null`.
    pub fn null() -> Self {
        Payload { encoding: Encoding::Json, bytes: Bytes::from_static(b"null") }
    }

    /// Returns `{}`. It is the data of a socket to which the application has attached none, as on
    /// Node: applications there, and the admin UI, read properties of it, which `null` does not have.
    pub fn empty_object() -> Self {
        Payload { encoding: Encoding::Json, bytes: Bytes::from_static(b"{}") }
    }

    /// Returns the value, or `{}` in place of `null`.
    pub(crate) fn or_empty_object(self) -> Self {
        let null = match self.encoding {
            Encoding::Json => *self.bytes == *b"null",
            Encoding::MsgPack => *self.bytes == [0xc0],
        };
        if null { Payload::empty_object() } else { self }
    }

    /// Wraps a value that a reader of the wire has already checked.
    pub(crate) fn from_wire(encoding: Encoding, bytes: Bytes) -> Self {
        Payload { encoding, bytes }
    }

    fn facts(&self) -> Result<msgpack::Facts, PayloadError> {
        let mut facts = msgpack::Facts::default();
        let mut reader = msgpack::Reader::with_depth(&self.bytes, DEPTH);
        let walked = reader.walk(&mut facts).and_then(|()| reader.end());
        match walked {
            Ok(()) => Ok(facts),
            Err(MsgPackError::TooDeep { .. }) => Err(PayloadError::Depth),
            Err(MsgPackError::Key { .. }) => Err(PayloadError::Key),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the encoding of the value.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Returns the encoded value: JSON text or MessagePack.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the JSON text, if the value is encoded as JSON. [`to_json`](Payload::to_json) gives one
    /// in any case.
    pub fn as_json(&self) -> Option<&str> {
        match self.encoding {
            Encoding::Json => core::str::from_utf8(&self.bytes).ok(),
            Encoding::MsgPack => None,
        }
    }

    /// Decodes the value into a type that the caller chooses.
    ///
    /// A JavaScript `Date` in MessagePack is decoded as the ISO text that JSON would have carried,
    /// so that a peer's choice of encoding makes no difference.
    ///
    /// # Errors
    ///
    /// Returns an error if the value is not a `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        let reason = match self.encoding {
            Encoding::Json => match serde_json::from_slice(&self.bytes) {
                Ok(value) => return Ok(value),
                Err(error) => error.to_string(),
            },
            Encoding::MsgPack => match self.decode_msgpack() {
                Ok(value) => return Ok(value),
                Err(reason) => reason,
            },
        };
        Err(DecodeError::new::<T>(reason))
    }

    fn decode_msgpack<T: DeserializeOwned>(&self) -> Result<T, String> {
        let facts = msgpack::facts(&self.bytes).map_err(|e| e.to_string())?;
        let decoded = match facts.extension {
            true => {
                let plain = msgpack::without_extensions(&self.bytes).map_err(|e| e.to_string())?;
                from_msgpack(&plain)
            }
            false => from_msgpack(&self.bytes),
        };
        decoded.map_err(|e| e.to_string())
    }

    /// Returns the value in MessagePack, whichever its encoding is. If it is MessagePack, its bytes are
    /// shared.
    ///
    /// ```
    /// use sio_streams_core::Payload;
    ///
    /// let payload = Payload::from_json(r#"["a",1]"#).unwrap();
    /// assert_eq!(payload.to_msgpack().unwrap(), [0x92, 0xa1, b'a', 1][..]);
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if JSON holds what the peers' MessagePack can't: see [`PayloadError`].
    pub fn to_msgpack(&self) -> Result<Bytes, PayloadError> {
        match self.encoding {
            Encoding::MsgPack => Ok(self.bytes.clone()),
            Encoding::Json => {
                let mut out = Vec::with_capacity(self.bytes.len());
                self.write_msgpack(&mut out)?;
                Ok(out.into())
            }
        }
    }

    /// Appends the value to `out` in MessagePack, converting it if necessary.
    ///
    /// The value is checked again. Its message may now be deeper than the one in which it came. And
    /// `__proto__`, a plain key in JSON, makes the peers' MessagePack decoder fail.
    pub(crate) fn write_msgpack(&self, out: &mut Vec<u8>) -> Result<(), PayloadError> {
        match self.encoding {
            Encoding::MsgPack => {
                out.extend_from_slice(&self.bytes);
                self.facts()?;
            }
            Encoding::Json => {
                let start = out.len();
                if let Err(first) = transcode(&self.bytes, out) {
                    // JavaScript may have cut a character in two, and a client can send the halves.
                    // MessagePack's strings must be UTF-8.
                    out.truncate(start);
                    transcode(&json_text::replace_lone_surrogates(&self.bytes), out).map_err(|_| first)?;
                }
                let encoded = Bytes::copy_from_slice(&out[start..]);
                Payload { encoding: Encoding::MsgPack, bytes: encoded }.facts()?;
            }
        }
        Ok(())
    }

    /// Returns the name of the event, if the value is `[event, …args]`.
    pub fn event_name(&self) -> Option<String> {
        match self.encoding {
            Encoding::Json => {
                let rest = self.bytes.trim_ascii_start().strip_prefix(b"[")?;
                serde_json::Deserializer::from_slice(rest).into_iter::<String>().next()?.ok()
            }
            Encoding::MsgPack => {
                let mut reader = msgpack::Reader::new(&self.bytes);
                match reader.head() {
                    Ok(msgpack::Head::Array(len)) if len > 0 => reader.str().ok().map(Into::into),
                    _ => None,
                }
            }
        }
    }

    /// Returns `true` if a client would take an object in the value for the placeholder of a binary
    /// value.
    pub(crate) fn has_false_placeholder(&self) -> bool {
        self.encoding == Encoding::MsgPack
            && msgpack::facts(&self.bytes).is_ok_and(msgpack::Facts::has_false_placeholder)
    }

    /// Returns `true` if the value is an array.
    pub(crate) fn is_array(&self) -> bool {
        match self.encoding {
            Encoding::Json => self.bytes.trim_ascii_start().first() == Some(&b'['),
            Encoding::MsgPack => {
                matches!(msgpack::Reader::new(&self.bytes).head(), Ok(msgpack::Head::Array(_)))
            }
        }
    }
}

/// Decodes types with a text form from text, as `Payload::encode` writes it and as JSON has it.
fn from_msgpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    T::deserialize(&mut rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable())
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_json() {
            Some(text) => write!(f, "Payload({text})"),
            None => write!(f, "Payload(MessagePack, {:?})", self.bytes),
        }
    }
}

/// A payload can be a part of another value. A JavaScript `Date` becomes its ISO text, as with
/// [`decode`](Payload::decode).
///
/// ```
/// use serde_bytes::Bytes;
/// use sio_streams_core::Payload;
///
/// let text = Payload::from_json(r#"{"a":[1,"two"]}"#).unwrap();
/// let binary = Payload::encode(&Bytes::new(&[1, 2])).unwrap();
/// let both = Payload::encode(&(Some("x"), &text, [&binary])).unwrap();
/// assert_eq!(both.to_json(), r#"["x",{"a":[1,"two"]},[{"type":"Buffer","data":[1,2]}]]"#);
/// ```
impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.encoding {
            Encoding::Json => {
                serde_transcode::transcode(&mut serde_json::Deserializer::from_slice(&self.bytes), serializer)
            }
            Encoding::MsgPack => {
                let plain = msgpack::without_extensions(&self.bytes).map_err(S::Error::custom)?;
                serde_transcode::transcode(&mut rmp_serde::Deserializer::from_read_ref(&plain), serializer)
            }
        }
    }
}

/// Appends the value to `out` in JSON.
fn write_json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), PayloadError> {
    serde_json::to_writer(out, value).map_err(|e| PayloadError::Serialize(e.to_string()))
}

/// Appends the JSON text to `out` in MessagePack.
fn transcode(json: &[u8], out: &mut Vec<u8>) -> Result<(), PayloadError> {
    let mut json = serde_json::Deserializer::from_slice(json);
    let mut writer = rmp_serde::Serializer::new(out);
    serde_transcode::transcode(&mut json, &mut writer).map_err(|e| PayloadError::Serialize(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_node_would_change_or_refuse_is_refused() {
        assert!(matches!(Payload::encode(&u64::MAX), Err(PayloadError::Integer)));
        assert!(matches!(Payload::encode(&[((1 << 53) - 1_i64), -(1 << 53)]), Err(PayloadError::Integer)));
        assert!(Payload::encode(&((1_i64 << 53) - 1)).is_ok());
        let odd: std::collections::BTreeMap<u8, u8> = [(1, 2)].into();
        assert!(matches!(Payload::encode(&odd), Err(PayloadError::Key)));
        let proto: std::collections::BTreeMap<&str, u8> = [("__proto__", 2)].into();
        assert!(matches!(Payload::encode(&proto), Err(PayloadError::Key)));
        assert!(matches!(Payload::from_json("[1,"), Err(PayloadError::Json(_))));
        assert!(matches!(Payload::from_json("1 2"), Err(PayloadError::Json(_))));
        let deep = format!("{}1{}", "[".repeat(96), "]".repeat(96));
        assert!(matches!(Payload::from_json(deep), Err(PayloadError::Depth)));
    }

    #[test]
    fn a_date_reads_the_same_from_both_encodings() {
        let date = Payload::from_msgpack(vec![0x91, 0xd6, 0xff, 0x65, 0x53, 0xf1, 0x00]).unwrap();
        assert_eq!(date.decode::<[String; 1]>().unwrap(), ["2023-11-14T22:13:20.000Z"]);
    }

    #[test]
    fn a_payload_is_the_same_within_another() {
        for json in ["null", r#"[1,-2.5,"\u00e9",{"b":true,"a":[]}]"#] {
            let inner = Payload::from_json(json).unwrap();
            let plain = Payload::encode(&(&inner,)).unwrap();
            assert_eq!(
                plain.decode::<(serde_json::Value,)>().unwrap().0,
                inner.decode::<serde_json::Value>().unwrap()
            );
            let binary = Payload::encode(&(serde_bytes::Bytes::new(&[7]), &inner)).unwrap();
            assert_eq!(binary.encoding(), Encoding::MsgPack);
            let outer = Payload::encode(&[&binary]).unwrap();
            assert_eq!(outer.encoding(), Encoding::MsgPack);
            assert_eq!(outer.bytes()[1..], *binary.bytes());
            let (_, back) = binary.decode::<(serde_bytes::ByteBuf, serde_json::Value)>().unwrap();
            assert_eq!(back, inner.decode::<serde_json::Value>().unwrap());
        }
        let date = Payload::from_msgpack(vec![0xd6, 0xff, 0x65, 0x53, 0xf1, 0x00]).unwrap();
        assert_eq!(Payload::encode(&[date]).unwrap().as_json(), Some(r#"["2023-11-14T22:13:20.000Z"]"#));
    }

    #[test]
    fn arguments_are_an_array_however_they_are_written() {
        let raw = |text: &str| serde_json::value::RawValue::from_string(text.into()).unwrap();
        for (args, event) in [
            ("[]", r#"["e \"1\""]"#),
            ("[ ]", r#"["e \"1\""]"#),
            ("null", r#"["e \"1\""]"#),
            ("[1]", r#"["e \"1\"",1]"#),
            ("[ 1, [] ]", r#"["e \"1\"", 1, [] ]"#),
        ] {
            assert_eq!(Payload::event("e \"1\"", &raw(args)).unwrap().as_json(), Some(event));
        }
        for args in ["1", "\"[]\"", "{}", "true", "\"null\""] {
            assert!(matches!(Payload::event("e", &raw(args)), Err(PayloadError::NotAnEvent)), "{args}");
        }
        let deep = |depth: usize| raw(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        assert!(Payload::event("e", &deep(DEPTH)).is_ok());
        assert!(matches!(Payload::event("e", &deep(MAX_DEPTH)), Err(PayloadError::Depth)));
    }
}
