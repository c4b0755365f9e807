//! Reading the `data` of a message from JSON. Only the envelope is parsed, and payloads stay text.

mod envelope;
pub(super) mod fast;
mod scanner;

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::DeserializeSeed;
use serde_json::value::RawValue;

use self::envelope::{
    AnyOptions, DataOf, Joined, JsonData, JsonFlags, JsonOptions, JsonPacket, JsonScalar, JsonSet,
    JsonSocket, JsonStr, Pairs, Whole,
};
use super::WireError;
use super::data::{BROADCAST, Data, PacketData, RawPacket, Scalar};
use crate::foreign::{JsonError, from_json_text};
use crate::javascript::{OBJECT_TEXT, characters, whole};
use crate::message::Body;
use crate::packet::{BroadcastOptions, Flags, RemoteSocket};
use crate::payload::{Encoding, Payload};

/// Reads the body of a message of this kind.
pub(in crate::wire) fn body(kind: u8, bytes: &Bytes) -> Result<Body, WireError> {
    if kind == BROADCAST
        && (is_ascii(bytes) || core::str::from_utf8(bytes).is_ok())
        && let Some(body) = fast::broadcast(bytes)
    {
        return Ok(body);
    }
    read(kind, &text(bytes))?.into_body(kind)
}

/// Returns `true` if all bytes are ASCII. The standard method looks at most bytes of a short text
/// one by one.
fn is_ascii(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks();
    let together = words.iter().fold(0, |all, word| all | u64::from_le_bytes(*word));
    rest.iter().fold(together, |all, byte| all | u64::from(*byte)) & 0x8080_8080_8080_8080 == 0
}

/// Reads the data of a message of this kind.
pub(in crate::wire) fn read(kind: u8, text: &ByteString) -> Result<Data, WireError> {
    match fast::read(kind, text.as_bytes()) {
        Some(data) => Ok(data),
        None => read_any(kind, text),
    }
}

/// Does the same without the fast path.
pub(in crate::wire) fn read_any(kind: u8, text: &ByteString) -> Result<Data, WireError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let data = DataOf(kind).deserialize(&mut json).map_err(JsonError::new)?;
    json.end().map_err(JsonError::new)?;
    Source(text).data(data)
}

/// Returns the text as the peers see it. Their clients replace invalid UTF-8 before they parse.
pub(in crate::wire) fn text(bytes: &Bytes) -> ByteString {
    ByteString::try_from(bytes.clone()).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

/// Returns the keys of an object in order, each with the text of its value.
pub(in crate::wire) fn pairs(json: &ByteString) -> Result<Vec<(ByteString, ByteString)>, WireError> {
    let source = Source(json);
    let Pairs(pairs) = from_json_text(json)?;
    let shared = |(key, raw): (JsonStr<'_>, &RawValue)| (source.str(key), json.slice_ref(raw.get()));
    Ok(pairs.into_iter().map(shared).collect())
}

/// Reads a packet from the text of its value.
pub(in crate::wire) fn packet(json: &ByteString) -> Result<RawPacket, WireError> {
    Source(json).packet(from_json_text(json)?)
}

/// Reads options from the text of their value.
pub(in crate::wire) fn opts(json: &ByteString) -> Result<BroadcastOptions, WireError> {
    let AnyOptions(opts) = from_json_text(json)?;
    Ok(Source(json).opts(opts))
}

/// Reads a name from the text of its value.
pub(in crate::wire) fn name(json: &ByteString) -> Result<ByteString, WireError> {
    Ok(Source(json).str(from_json_text(json)?))
}

/// Reads a name that may be null.
pub(in crate::wire) fn some_name(json: &ByteString) -> Result<Option<ByteString>, WireError> {
    if *json == "null" { Ok(None) } else { name(json).map(Some) }
}

/// Reads an array of names from the text of its value.
pub(in crate::wire) fn names(json: &ByteString) -> Result<Vec<ByteString>, WireError> {
    Ok(Source(json).strs(from_json_text(json)?))
}

/// Reads the names in any value that JavaScript converts to a set.
pub(in crate::wire) fn set(json: &ByteString) -> Result<Vec<ByteString>, WireError> {
    Ok(Source(json).set(from_json_text(json)?))
}

/// Reads the rooms to join or to leave.
pub(in crate::wire) fn joined(join: bool, json: &ByteString) -> Result<Vec<ByteString>, WireError> {
    if !join {
        return names(json);
    }
    let Joined(rooms) = from_json_text(json)?;
    Ok(Source(json).strs(Some(rooms)))
}

/// Reads sockets from the text of their value.
pub(in crate::wire) fn sockets(json: &ByteString) -> Result<Vec<RemoteSocket>, WireError> {
    let sockets: Vec<JsonSocket<'_>> = from_json_text(json)?;
    sockets.into_iter().map(|socket| Source(json).socket(socket)).collect()
}

/// Reads a number from the text of its value.
pub(in crate::wire) fn unsigned(json: &ByteString) -> Result<u64, WireError> {
    let Whole(number) = from_json_text(json)?;
    Ok(number)
}

/// The text that values borrow from. The results share its bytes.
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
        let mut texts = texts.unwrap_or_default();
        // A number behind its own text is the same name.
        texts.dedup_by(|text, before| text.1 && text.0 == before.0);
        texts.into_iter().map(|text| self.str(text)).collect()
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
            // JSON contains no binary values.
            false_placeholder: false,
        })
    }

    fn scalar(&self, json: &str) -> Result<Scalar, WireError> {
        Ok(match json.as_bytes() {
            b"null" => Scalar::Null,
            [b'"', ..] => Scalar::Text(self.str(from_json_text(json)?)),
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
                // This flag is set by any truthy value.
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

/// Returns `true` if the value of this JSON text is truthy in JavaScript.
pub(in crate::wire) fn truthy(json: &str) -> bool {
    !matches!(json, "false" | "null" | "\"\"") && json.parse() != Ok(0.0)
}
