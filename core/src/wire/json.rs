//! Reading the `data` of a message from JSON. Only the envelope is parsed; payloads stay text.

use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;
use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::data::{BROADCAST, Data, JOIN, OBJECT_TEXT, PacketData, RawPacket, Scalar};
use super::data::{characters, number_text, uses, whole};
use super::{WireError, usual};
use crate::message::Body;
use crate::packet::{BroadcastOptions, Flags, RemoteSocket};
use crate::payload::{Encoding, Payload};

/// Reads what a message of this kind says.
pub(super) fn body(kind: u8, bytes: &Bytes) -> Result<Body, WireError> {
    if kind == BROADCAST
        && (is_ascii(bytes) || core::str::from_utf8(bytes).is_ok())
        && let Some(body) = usual::broadcast(bytes)
    {
        return Ok(body);
    }
    read(kind, &text(bytes))?.into_body(kind)
}

/// Like the method of the same name, which looks at most of a short text byte by byte.
fn is_ascii(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks();
    let together = words.iter().fold(0, |all, word| all | u64::from_le_bytes(*word));
    rest.iter().fold(together, |all, byte| all | u64::from(*byte)) & 0x8080_8080_8080_8080 == 0
}

/// Reads the data of a message of this kind.
pub(super) fn read(kind: u8, text: &ByteString) -> Result<Data, WireError> {
    match usual::read(kind, text.as_bytes()) {
        Some(data) => Ok(data),
        None => read_any(kind, text),
    }
}

/// The same, however it is written.
pub(super) fn read_any(kind: u8, text: &ByteString) -> Result<Data, WireError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let data = DataOf(kind).deserialize(&mut json)?;
    json.end()?;
    Source(text).data(data)
}

/// `array`, a JSON text, with `last`, which needs no escapes, put behind its elements; nothing if it is no array.
pub(crate) fn append(array: &str, last: &str) -> Option<String> {
    let rest = array.trim_ascii().strip_prefix('[')?.strip_suffix(']')?;
    let comma = if rest.trim_ascii().is_empty() { "" } else { "," };
    Some(format!("[{rest}{comma}\"{last}\"]"))
}

/// The data of a message of this kind: only the keys that it uses are looked at.
struct DataOf(u8);

#[derive(Default)]
struct JsonData<'a> {
    packet: Option<JsonPacket<'a>>,
    value: Option<&'a RawValue>,
    opts: Option<AnyOptions<'a>>,
    request_id: Option<JsonStr<'a>>,
    rooms: Option<Vec<JsonStr<'a>>>,
    close: Option<&'a RawValue>,
    sockets: Option<Vec<JsonSocket<'a>>>,
    client_count: Option<Whole>,
}

impl<'de> DeserializeSeed<'de> for DataOf {
    type Value = JsonData<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for DataOf {
    type Value = JsonData<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut data = JsonData::default();
        while let Some(key) = map.next_key::<JsonStr<'_>>()? {
            match &*key.0 {
                key if !uses(self.0, key) => drop(map.next_value::<IgnoredAny>()?),
                "packet" if self.0 == BROADCAST => data.packet = map.next_value()?,
                "packet" => data.value = map.next_value()?,
                "opts" => data.opts = map.next_value()?,
                "requestId" => data.request_id = map.next_value()?,
                "rooms" if self.0 == JOIN => {
                    data.rooms = map.next_value::<Option<Joined<'_>>>()?.map(|it| it.0)
                }
                "rooms" => data.rooms = map.next_value()?,
                "close" => data.close = map.next_value()?,
                "sockets" => data.sockets = map.next_value()?,
                _ => data.client_count = map.next_value()?,
            }
        }
        Ok(data)
    }
}

/// An object with these keys. Others are passed over; of equal ones the last counts, as in JavaScript.
macro_rules! object {
    ($name:ident { $($key:literal => $field:ident: $type:ty,)* }) => {
        #[derive(Default)]
        struct $name<'a> {
            $($field: $type,)*
        }

        impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Keys<'a>(PhantomData<$name<'a>>);
                impl<'de: 'a, 'a> Visitor<'de> for Keys<'a> {
                    type Value = $name<'a>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut out = $name::default();
                        while let Some(key) = map.next_key::<JsonStr<'_>>()? {
                            match &*key.0 {
                                $($key => out.$field = map.next_value()?,)*
                                _ => drop(map.next_value::<IgnoredAny>()?),
                            }
                        }
                        Ok(out)
                    }
                }
                deserializer.deserialize_map(Keys(PhantomData))
            }
        }
    };
}

object!(JsonPacket {
    "type" => kind: JsonScalar<'a>,
    "data" => data: Option<&'a RawValue>,
    "nsp" => nsp: JsonScalar<'a>,
    "id" => id: JsonScalar<'a>,
});

object!(JsonOptions {
    "rooms" => rooms: JsonSet<'a>,
    "except" => except: JsonSet<'a>,
    "flags" => flags: Option<JsonFlags<'a>>,
});

object!(JsonSocket {
    "id" => id: Option<JsonStr<'a>>,
    "handshake" => handshake: Option<&'a RawValue>,
    "rooms" => rooms: Option<Vec<JsonStr<'a>>>,
    "data" => data: Option<&'a RawValue>,
});

/// The text of a value that matters whatever its kind, null included; nothing where there is no value.
#[derive(Default)]
struct JsonScalar<'a>(Option<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonScalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(JsonScalar(Some(<&RawValue>::deserialize(deserializer)?.get())))
    }
}

/// Options. In JavaScript anything but null has properties: what is no object has none of these.
struct AnyOptions<'a>(JsonOptions<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for AnyOptions<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        match json.as_bytes() {
            [b'{', ..] => serde_json::from_str(json).map(AnyOptions).map_err(D::Error::custom),
            b"null" => Err(D::Error::custom("options are expected")),
            _ => Ok(AnyOptions(JsonOptions::default())),
        }
    }
}

/// Anything of which JavaScript makes a set: an array, the characters of a text, nothing.
#[derive(Default)]
enum JsonSet<'a> {
    #[default]
    Empty,
    Names(Vec<JsonStr<'a>>),
    Characters(JsonStr<'a>),
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonSet<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        match json.as_bytes() {
            [b'[', ..] => serde_json::from_str(json).map(JsonSet::Names),
            [b'"', ..] => serde_json::from_str(json).map(JsonSet::Characters),
            b"null" => Ok(JsonSet::Empty),
            _ => return Err(D::Error::custom("names are expected")),
        }
        .map_err(D::Error::custom)
    }
}

/// The rooms to join, of which a single one may stand without an array around it.
struct Joined<'a>(Vec<JsonStr<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Joined<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        match json.as_bytes() {
            [b'"' | b'-' | b'0'..=b'9', ..] => serde_json::from_str(json).map(|name| Joined(vec![name])),
            _ => serde_json::from_str(json).map(Joined),
        }
        .map_err(D::Error::custom)
    }
}

/// An integer that is not negative. JavaScript has one kind of number: a float without a fraction counts.
struct Whole(u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let whole = number.as_u64().or_else(|| number.as_f64().and_then(whole));
        whole.map(Whole).ok_or_else(|| D::Error::custom("a whole number is expected"))
    }
}

/// A string that borrows from the text unless it holds escapes. What is no string counts by the text that JavaScript gives it: room
/// names may be numbers, and are `null` where somebody named an `undefined` room.
struct JsonStr<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonStr<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        let text = match json.as_bytes() {
            [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => Cow::Borrowed(&json[1..json.len() - 1]),
            [b'"', ..] => Cow::Owned(unescaped(json).map_err(D::Error::custom)?),
            [b'{' | b'[', ..] => Cow::Borrowed(OBJECT_TEXT),
            [b't' | b'f' | b'n', ..] => Cow::Borrowed(json),
            _ => Cow::Owned(json.parse().map(number_text).map_err(D::Error::custom)?),
        };
        Ok(JsonStr(text))
    }
}

/// The string that this JSON text stands for. Half of a surrogate pair is replaced, as it is where MessagePack carries it.
fn unescaped(json: &str) -> serde_json::Result<String> {
    struct Lossy;
    impl Visitor<'_> for Lossy {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
            Ok(String::from_utf8_lossy(bytes).into_owned())
        }
    }
    serde_json::Deserializer::from_str(json).deserialize_bytes(Lossy)
}

/// The keys of an object in order, their values still text.
struct Pairs<'a>(Vec<(JsonStr<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// Flags. In JavaScript anything has properties: what is no object has none of these.
struct JsonFlags<'a>(Vec<(JsonStr<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonFlags<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        match json.starts_with('{') {
            true => serde_json::from_str(json)
                .map(|pairs: Pairs<'_>| JsonFlags(pairs.0))
                .map_err(D::Error::custom),
            false => Ok(JsonFlags(Vec::new())),
        }
    }
}

/// The JSON text as the peers see it, whose clients replace what is no UTF-8 before they parse.
pub(super) fn text(bytes: &Bytes) -> ByteString {
    ByteString::try_from(bytes.clone()).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

/// The keys of an object in order, each with the text of its value.
pub(super) fn pairs(json: &ByteString) -> Result<Vec<(ByteString, ByteString)>, WireError> {
    let source = Source(json);
    let Pairs(pairs) = serde_json::from_str(json)?;
    let shared = |(key, raw): (JsonStr<'_>, &RawValue)| (source.str(key), json.slice_ref(raw.get()));
    Ok(pairs.into_iter().map(shared).collect())
}

/// The value that a JSON text stands for, where a packet is expected.
pub(super) fn packet(json: &ByteString) -> Result<RawPacket, WireError> {
    Source(json).packet(serde_json::from_str(json)?)
}

/// The same, where options are.
pub(super) fn opts(json: &ByteString) -> Result<BroadcastOptions, WireError> {
    let AnyOptions(opts) = serde_json::from_str(json)?;
    Ok(Source(json).opts(opts))
}

/// The same, where a name is.
pub(super) fn name(json: &ByteString) -> Result<ByteString, WireError> {
    Ok(Source(json).str(serde_json::from_str(json)?))
}

/// The same, where a name may be.
pub(super) fn some_name(json: &ByteString) -> Result<Option<ByteString>, WireError> {
    if *json == "null" { Ok(None) } else { name(json).map(Some) }
}

/// The same, where names are.
pub(super) fn names(json: &ByteString) -> Result<Vec<ByteString>, WireError> {
    Ok(Source(json).strs(serde_json::from_str(json)?))
}

/// The same, where anything is of which JavaScript makes a set of names.
pub(super) fn set(json: &ByteString) -> Result<Vec<ByteString>, WireError> {
    Ok(Source(json).set(serde_json::from_str(json)?))
}

/// The same, where the rooms to join or to leave are.
pub(super) fn joined(join: bool, json: &ByteString) -> Result<Vec<ByteString>, WireError> {
    if !join {
        return names(json);
    }
    let Joined(rooms) = serde_json::from_str(json)?;
    Ok(Source(json).strs(Some(rooms)))
}

/// The same, where sockets are.
pub(super) fn sockets(json: &ByteString) -> Result<Vec<RemoteSocket>, WireError> {
    let sockets: Vec<JsonSocket<'_>> = serde_json::from_str(json)?;
    sockets.into_iter().map(|socket| Source(json).socket(socket)).collect()
}

/// The same, where a number is.
pub(super) fn unsigned(json: &ByteString) -> Result<u64, WireError> {
    let Whole(number) = serde_json::from_str(json)?;
    Ok(number)
}

/// The text that everything borrows from: what comes out shares its bytes.
struct Source<'a>(&'a ByteString);

impl Source<'_> {
    fn data(&self, data: JsonData<'_>) -> Result<Data, WireError> {
        let packet = match data.packet {
            Some(packet) => Some(PacketData::Packet(self.packet(packet)?)),
            None => data.value.map(|raw| PacketData::Value(self.payload(raw))),
        };
        let sockets =
            data.sockets.map(|sockets| sockets.into_iter().map(|socket| self.socket(socket)).collect());
        Ok(Data {
            packet,
            opts: data.opts.map(|AnyOptions(opts)| self.opts(opts)),
            request_id: data.request_id.map(|id| self.str(id)),
            rooms: data.rooms.map(|rooms| self.strs(Some(rooms))),
            close: data.close.map(|raw| truthy(raw.get())),
            sockets: sockets.transpose()?,
            client_count: data.client_count.map(|count| count.0),
        })
    }

    fn str(&self, text: JsonStr<'_>) -> ByteString {
        match text.0 {
            Cow::Borrowed(OBJECT_TEXT) => ByteString::from_static(OBJECT_TEXT),
            Cow::Borrowed(text) => self.0.slice_ref(text),
            Cow::Owned(text) => text.into(),
        }
    }

    fn strs(&self, texts: Option<Vec<JsonStr<'_>>>) -> Vec<ByteString> {
        texts.into_iter().flatten().map(|text| self.str(text)).collect()
    }

    fn payload(&self, raw: &RawValue) -> Payload {
        Payload::from_wire(Encoding::Json, self.0.slice_ref(raw.get()).into_bytes())
    }

    fn set(&self, set: JsonSet<'_>) -> Vec<ByteString> {
        match set {
            JsonSet::Empty => Vec::new(),
            JsonSet::Names(names) => self.strs(Some(names)),
            JsonSet::Characters(text) => characters(&self.str(text)),
        }
    }

    fn packet(&self, packet: JsonPacket<'_>) -> Result<RawPacket, WireError> {
        let scalar = |JsonScalar(json): JsonScalar<'_>| json.map(|json| self.scalar(json)).transpose();
        Ok(RawPacket {
            kind: scalar(packet.kind)?,
            data: packet.data.map(|raw| self.payload(raw)),
            nsp: scalar(packet.nsp)?,
            id: scalar(packet.id)?,
            // Binary values are in no JSON.
            confusing: false,
        })
    }

    fn scalar(&self, json: &str) -> Result<Scalar, WireError> {
        Ok(match json.as_bytes() {
            b"null" => Scalar::Null,
            [b'"', ..] => Scalar::Text(self.str(serde_json::from_str(json)?)),
            _ => {
                let float = || json.parse().ok().and_then(whole);
                json.parse().ok().or_else(float).map_or(Scalar::Other, Scalar::Whole)
            }
        })
    }

    fn opts(&self, opts: JsonOptions<'_>) -> BroadcastOptions {
        BroadcastOptions {
            rooms: self.set(opts.rooms),
            except: self.set(opts.except),
            flags: opts.flags.map(|flags| self.flags(flags)).unwrap_or_default(),
        }
    }

    fn flags(&self, pairs: JsonFlags<'_>) -> Flags {
        let mut flags = Flags::default();
        for (key, raw) in pairs.0 {
            let switch = match raw.get() {
                "true" => Some(true),
                "false" => Some(false),
                // The one that counts by its truth.
                other if *key.0 == *"volatile" && truthy(other) => Some(true),
                _ => None,
            };
            let millis = raw.get().parse().ok().or_else(|| raw.get().parse().ok().and_then(whole));
            if !flags.set(&key.0, switch, millis) {
                flags.other.push((self.str(key), self.payload(raw)));
            }
        }
        flags.last_counts();
        flags
    }

    fn socket(&self, socket: JsonSocket<'_>) -> Result<RemoteSocket, WireError> {
        let value = |raw: Option<&RawValue>| raw.map_or_else(Payload::null, |raw| self.payload(raw));
        Ok(RemoteSocket {
            id: self.str(socket.id.ok_or(WireError::MissingField("id"))?),
            handshake: value(socket.handshake),
            rooms: self.strs(socket.rooms),
            data: value(socket.data),
        })
    }
}

/// Whether JavaScript takes the value of this JSON text for true.
pub(super) fn truthy(json: &str) -> bool {
    !matches!(json, "false" | "null" | "\"\"") && json.parse() != Ok(0.0)
}

impl Flags {
    /// Sets the flag of this name, if it is a known one and its value is of the usual kind.
    pub(super) fn set(&mut self, key: &str, switch: Option<bool>, millis: Option<u64>) -> bool {
        let slot = match key {
            "volatile" => &mut self.volatile,
            "compress" => &mut self.compress,
            "local" => &mut self.local,
            "broadcast" => &mut self.broadcast,
            "binary" => &mut self.binary,
            "expectSingleResponse" => &mut self.expect_single_response,
            "timeout" => {
                self.timeout = millis.map(Duration::from_millis);
                return millis.is_some();
            }
            _ => return false,
        };
        *slot = switch;
        switch.is_some()
    }

    /// Of equal keys the last counts: what came of an unusual kind before the usual one is not there.
    pub(super) fn last_counts(&mut self) {
        let mut other = core::mem::take(&mut self.other);
        other.retain(|(key, _)| match &**key {
            "volatile" => self.volatile.is_none(),
            "compress" => self.compress.is_none(),
            "local" => self.local.is_none(),
            "broadcast" => self.broadcast.is_none(),
            "binary" => self.binary.is_none(),
            "expectSingleResponse" => self.expect_single_response.is_none(),
            "timeout" => self.timeout.is_none(),
            _ => true,
        });
        self.other = other;
    }
}
