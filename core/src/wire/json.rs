//! Reading the `data` of a message from JSON. Only the envelope is parsed; payloads stay text.

use core::fmt;
use core::time::Duration;
use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::WireError;
use super::data::{BROADCAST, Data, PacketData};
use crate::packet::{BroadcastOptions, EVENT, Flags, Packet, RemoteSocket};
use crate::payload::{Encoding, Payload};

/// Reads the data of a message of this kind.
pub(super) fn read(kind: u8, bytes: &Bytes) -> Result<Data, WireError> {
    let source = Source(bytes);
    if kind == BROADCAST {
        let data: JsonData<'_, JsonPacket<'_>> = serde_json::from_slice(bytes)?;
        let packet = data.packet.as_ref().map(|packet| source.packet(packet)).transpose()?;
        Ok(source.data(data, packet.map(PacketData::Packet)))
    } else {
        let data: JsonData<'_, &RawValue> = serde_json::from_slice(bytes)?;
        let packet = data.packet.map(|raw| PacketData::Value(source.payload(raw)));
        Ok(source.data(data, packet))
    }
}

/// `array`, a JSON text, with `first` put before its elements; nothing if it is no array.
pub(crate) fn prepend(first: &str, array: &str) -> Option<String> {
    let rest = array.trim_ascii_start().strip_prefix('[')?;
    let comma = if rest.trim_ascii_start().starts_with(']') { "" } else { "," };
    Some(format!("[{}{comma}{rest}", serde_json::Value::from(first)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonData<'a, P> {
    packet: Option<P>,
    #[serde(borrow)]
    opts: Option<JsonOptions<'a>>,
    #[serde(borrow)]
    request_id: Option<JsonStr<'a>>,
    #[serde(borrow)]
    rooms: Option<Vec<JsonStr<'a>>>,
    close: Option<bool>,
    #[serde(borrow)]
    sockets: Option<Vec<JsonSocket<'a>>>,
    client_count: Option<u64>,
}

#[derive(Deserialize)]
struct JsonPacket<'a> {
    #[serde(rename = "type")]
    kind: Option<u8>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    nsp: Option<JsonStr<'a>>,
    #[serde(default, deserialize_with = "present")]
    id: Option<Option<u64>>,
}

#[derive(Deserialize)]
struct JsonOptions<'a> {
    #[serde(borrow)]
    rooms: Option<Vec<JsonStr<'a>>>,
    #[serde(borrow)]
    except: Option<Vec<JsonStr<'a>>>,
    #[serde(borrow)]
    flags: Option<JsonFlags<'a>>,
}

#[derive(Deserialize)]
struct JsonSocket<'a> {
    #[serde(borrow)]
    id: JsonStr<'a>,
    #[serde(borrow)]
    handshake: Option<&'a RawValue>,
    #[serde(borrow)]
    rooms: Option<Vec<JsonStr<'a>>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// A key that is there counts, even with the value null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::<u64>::deserialize(deserializer).map(Some)
}

/// A string that borrows from the text unless it holds escapes. Room names may be numbers in JavaScript: they count by their text.
struct JsonStr<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonStr<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.into()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Cow::Owned(number.to_string()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Cow::Owned(number.to_string()))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Cow::Owned(number.to_string()))
            }
        }
        deserializer.deserialize_any(Text).map(JsonStr)
    }
}

/// All flags in order, their values still text.
struct JsonFlags<'a>(Vec<(JsonStr<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonFlags<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = JsonFlags<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(JsonFlags(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// The text that everything borrows from: what comes out shares its bytes.
struct Source<'a>(&'a Bytes);

impl Source<'_> {
    fn data<P>(&self, data: JsonData<'_, P>, packet: Option<PacketData>) -> Data {
        Data {
            packet,
            opts: data.opts.map(|opts| self.opts(opts)),
            request_id: data.request_id.map(|id| self.str(id)),
            rooms: data.rooms.map(|rooms| self.strs(Some(rooms))),
            close: data.close,
            sockets: data.sockets.map(|sockets| sockets.into_iter().map(|socket| self.socket(socket)).collect()),
            client_count: data.client_count,
        }
    }

    fn str(&self, text: JsonStr<'_>) -> ByteString {
        match text.0 {
            Cow::Borrowed(text) => {
                let shared = self.0.slice_ref(text.as_bytes());
                ByteString::try_from(shared).unwrap_or_default()
            }
            Cow::Owned(text) => text.into(),
        }
    }

    fn strs(&self, texts: Option<Vec<JsonStr<'_>>>) -> Vec<ByteString> {
        texts.into_iter().flatten().map(|text| self.str(text)).collect()
    }

    fn payload(&self, raw: &RawValue) -> Payload {
        Payload::from_wire(Encoding::Json, self.0.slice_ref(raw.get().as_bytes()))
    }

    fn packet(&self, packet: &JsonPacket<'_>) -> Result<Packet, WireError> {
        let data = packet.data.map(|raw| self.payload(raw)).filter(Payload::is_array).ok_or(WireError::PacketData)?;
        Ok(Packet {
            kind: packet.kind.unwrap_or(EVENT),
            data,
            nsp: packet.nsp.as_ref().map(|nsp| self.str(JsonStr(nsp.0.clone()))),
            id: packet.id.map(|id| id.unwrap_or(0)),
        })
    }

    fn opts(&self, opts: JsonOptions<'_>) -> BroadcastOptions {
        BroadcastOptions {
            rooms: self.strs(opts.rooms),
            except: self.strs(opts.except),
            flags: opts.flags.map(|flags| self.flags(flags)).unwrap_or_default(),
        }
    }

    fn flags(&self, pairs: JsonFlags<'_>) -> Flags {
        let mut flags = Flags::default();
        for (key, raw) in pairs.0 {
            let switch = match raw.get() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            };
            let millis = raw.get().parse::<u64>().ok();
            if !flags.set(&key.0, switch, millis) {
                flags.other.push((self.str(key), self.payload(raw)));
            }
        }
        flags
    }

    fn socket(&self, socket: JsonSocket<'_>) -> RemoteSocket {
        let value = |raw: Option<&RawValue>| raw.map_or_else(Payload::null, |raw| self.payload(raw));
        RemoteSocket {
            id: self.str(socket.id),
            handshake: value(socket.handshake),
            rooms: self.strs(socket.rooms),
            data: value(socket.data),
        }
    }
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
}
