//! The envelope of a message in JSON, as types for serde. Payloads stay text.

use core::fmt;
use core::marker::PhantomData;
use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::javascript::{OBJECT_TEXT, number_text, whole};
use crate::wire::data::{BROADCAST, JOIN, uses};

/// The serde seed for the data of a message of this kind. Only the keys that the kind uses are
/// read.
pub(super) struct DataOf(pub(super) u8);

#[derive(Default)]
pub(super) struct JsonData<'a> {
    pub(super) packet: Option<JsonPacket<'a>>,
    pub(super) value: Option<&'a RawValue>,
    pub(super) opts: Option<AnyOptions<'a>>,
    pub(super) request_id: Option<JsonStr<'a>>,
    pub(super) rooms: Option<Vec<JsonStr<'a>>>,
    pub(super) close: Option<&'a RawValue>,
    pub(super) sockets: Option<Vec<JsonSocket<'a>>>,
    pub(super) client_count: Option<Whole>,
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

/// Defines an object with these keys. Other keys are ignored. The last of equal keys counts, as in
/// JavaScript.
macro_rules! object {
    ($name:ident { $($key:literal => $field:ident: $type:ty,)* }) => {
        #[derive(Default)]
        pub(super) struct $name<'a> {
            $(pub(super) $field: $type,)*
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

/// The text of a value of any type, including null, or `None` if the key is absent.
#[derive(Default)]
pub(super) struct JsonScalar<'a>(pub(super) Option<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonScalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(JsonScalar(Some(<&RawValue>::deserialize(deserializer)?.get())))
    }
}

/// Options. In JavaScript, every value except null has properties. A value that is not an object
/// has none of these.
pub(super) struct AnyOptions<'a>(pub(super) JsonOptions<'a>);

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

/// Any value that JavaScript converts to a set: an array, the characters of a string, or null for
/// the empty set.
#[derive(Default)]
pub(super) enum JsonSet<'a> {
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

/// The rooms to join. A single room may stand without an array around it.
pub(super) struct Joined<'a>(pub(super) Vec<JsonStr<'a>>);

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

/// A non-negative integer. JavaScript has one number type, so a float without a fraction counts.
pub(super) struct Whole(pub(super) u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let whole = number.as_u64().or_else(|| number.as_f64().and_then(whole));
        whole.map(Whole).ok_or_else(|| D::Error::custom("a whole number is expected"))
    }
}

/// A string that borrows from the text unless it has escapes. Any other value is represented by the
/// text that JavaScript converts it to: room names may be numbers, and are `null` if the
/// application used an `undefined` room. The second part is `true` for a number.
pub(super) struct JsonStr<'a>(pub(super) Cow<'a, str>, pub(super) bool);

impl<'de: 'a, 'a> Deserialize<'de> for JsonStr<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        let text = match json.as_bytes() {
            [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => Cow::Borrowed(&json[1..json.len() - 1]),
            [b'"', ..] => Cow::Owned(unescaped(json).map_err(D::Error::custom)?),
            [b'{' | b'[', ..] => Cow::Borrowed(OBJECT_TEXT),
            [b't' | b'f' | b'n', ..] => Cow::Borrowed(json),
            _ => {
                let number = json.parse().map(number_text).map_err(D::Error::custom)?;
                return Ok(JsonStr(Cow::Owned(number), true));
            }
        };
        Ok(JsonStr(text, false))
    }
}

/// Decodes a JSON string. Lone surrogates are replaced, as they are in MessagePack.
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

/// The keys of an object in order, with undecoded values.
pub(super) struct Pairs<'a>(pub(super) Vec<(JsonStr<'a>, &'a RawValue)>);

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

/// Flags. In JavaScript, a value that is not an object has none of these properties.
pub(super) struct JsonFlags<'a>(pub(super) Vec<(JsonStr<'a>, &'a RawValue)>);

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
