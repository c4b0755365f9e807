//! A value, written as `decoders.mjs` writes it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// The form that leaves nothing open.
#[derive(Debug, PartialEq)]
pub(crate) struct Written(pub(crate) String);

pub(crate) fn text(value: &str) -> String {
    let unit = |unit: u16| match u8::try_from(unit) {
        Ok(byte @ b' '..=b'~') if byte != b'"' && byte != b'\\' => char::from(byte).to_string(),
        _ => format!("\\u{unit:04x}"),
    };
    format!("\"{}\"", value.encode_utf16().map(unit).collect::<String>())
}

fn number(value: f64) -> String {
    let value = if value.is_nan() { f64::NAN } else { value };
    format!("n{:016x}", value.to_bits())
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Written, E> {
        Ok(Written("null".into()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Written, E> {
        Ok(Written(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Written, E> {
        Ok(Written(number(value as f64)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Written, E> {
        Ok(Written(number(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Written, E> {
        Ok(Written(number(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Written, E> {
        Ok(Written(text(value)))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Written, E> {
        let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Written(format!("b{digits}")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Written, A::Error> {
        let mut parts = Vec::new();
        while let Some(Written(part)) = seq.next_element()? {
            parts.push(part);
        }
        Ok(Written(format!("[{}]", parts.join(","))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((key, Written(value))) = map.next_entry::<String, Written>()? {
            entries.insert(text(&key), value);
        }
        // As JavaScript sorts them: the whole entry, not the key alone.
        let mut entries: Vec<String> =
            entries.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
        entries.sort();
        Ok(Written(format!("{{{}}}", entries.join(","))))
    }
}
