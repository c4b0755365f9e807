//! Converts between the control channel's JSON, in which binary is `{"$bin": ..}`, and the payloads
//! of sio-streams.

use core::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Number, Value};
use sio_streams_driver::sio_streams_core::Payload;

use crate::types::{as_bin, bin};

/// A value that serialises its `{"$bin": ..}` as bytes, and reads bytes as `{"$bin": ..}`.
struct Wire(Value);

/// The payload of a value.
pub(crate) fn to_payload(value: &Value) -> Payload {
    Payload::encode(&Ref(value)).expect("the tests send only what can be sent")
}

/// The value of a payload.
pub(crate) fn from_payload(payload: &Payload) -> Value {
    payload
        .decode::<Wire>()
        .map_or_else(|error| Value::String(format!("undecodable: {error}")), |wire| wire.0)
}

struct Ref<'a>(&'a Value);

impl Serialize for Ref<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| seq.serialize_element(&Ref(item)))?;
                seq.end()
            }
            Value::Object(fields) => match as_bin(self.0) {
                Some(bytes) => serializer.serialize_bytes(&bytes),
                None => {
                    let mut map = serializer.serialize_map(Some(fields.len()))?;
                    fields.iter().try_for_each(|(key, value)| map.serialize_entry(key, &Ref(value)))?;
                    map.end()
                }
            },
            plain => plain.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
            }
            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
                Ok(bin(value))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(Wire(item)) = seq.next_element()? {
                    items.push(item);
                }
                Ok(items.into())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut fields = Map::new();
                while let Some((key, Wire(value))) = map.next_entry()? {
                    fields.insert(key, value);
                }
                Ok(fields.into())
            }
        }
        deserializer.deserialize_any(Any).map(Wire)
    }
}
