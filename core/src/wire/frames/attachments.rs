//! Putting binary values back in the places that a packet's JSON keeps for them.
//!
//! A first pass finds out what each array and object becomes, a second one writes MessagePack. A
//! packet whose JSON names the same attachment many times is thereby refused before anything is
//! copied.

use core::fmt;
use core::slice::Iter;
use std::borrow::Cow;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::FrameError;
use crate::foreign::JsonError;
use crate::javascript::whole;
use crate::json_text;
use crate::msgpack::{
    write_array, write_bin, write_bool, write_float, write_map, write_nil, write_signed, write_str,
    write_unsigned,
};
use crate::payload::{Payload, PayloadError};

/// The largest integer that a JavaScript number represents exactly.
const MAX_SAFE: u64 = (1 << 53) - 1;

/// A packet's JSON, of which is known where the attachments go.
#[derive(Debug)]
pub(super) struct Places {
    json: Payload,
    /// The arrays and objects, in the order in which they begin. What is inside a placeholder does
    /// not count.
    shapes: Vec<Shape>,
}

/// The form in which an array or an object of the JSON is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Array(u32),
    Map(u32),
    /// The attachment of this number.
    Attachment(u32),
    /// An object that says that it is a placeholder, of an attachment that does not exist.
    Nowhere,
}

impl Places {
    /// Finds the places for `attachments` attachments in `json`.
    pub(super) fn find(json: Payload, attachments: usize) -> Result<Self, FrameError> {
        let (json, shapes) = match shapes(json.bytes(), attachments) {
            Ok(shapes) => (json, shapes),
            Err(first) => {
                // JavaScript may have cut a character in two. MessagePack's strings must be UTF-8.
                let whole = json_text::replace_lone_surrogates(json.bytes());
                let shapes = shapes(&whole, attachments).map_err(|_| first)?;
                (Payload::from_json(whole)?, shapes)
            }
        };
        match shapes.contains(&Shape::Nowhere) {
            true => Err(FrameError::Placeholder { attachments }),
            false => Ok(Places { json, shapes }),
        }
    }

    /// Puts the attachments in their places. The result takes at most `limit` bytes.
    pub(super) fn fill(self, attachments: &[Bytes], limit: usize) -> Result<Payload, FrameError> {
        let named = self.shapes.iter().filter_map(|shape| match shape {
            Shape::Attachment(number) => attachments.get(*number as usize),
            _ => None,
        });
        let sizes: Vec<usize> = named.map(Bytes::len).collect();
        if sizes.is_empty() {
            return Ok(self.json);
        }
        let size = sizes.iter().fold(self.json.bytes().len(), |sum, size| sum.saturating_add(*size));
        if size > limit {
            return Err(FrameError::TooLarge { limit });
        }
        let mut writer = Writer { shapes: self.shapes.iter(), attachments, out: Vec::with_capacity(size) };
        let json = &mut serde_json::Deserializer::from_slice(self.json.bytes());
        writer.deserialize(json).map_err(JsonError::new).map_err(PayloadError::from)?;
        Ok(Payload::from_msgpack(writer.out)?)
    }
}

fn shapes(json: &[u8], attachments: usize) -> Result<Vec<Shape>, PayloadError> {
    let mut finder = Finder { shapes: Vec::new(), attachments };
    finder.deserialize(&mut serde_json::Deserializer::from_slice(json)).map_err(JsonError::new)?;
    Ok(finder.shapes)
}

/// Finds the shapes.
struct Finder {
    shapes: Vec<Shape>,
    attachments: usize,
}

/// A value, in the detail that matters in a placeholder.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    True,
    Number(f64),
    Other,
}

impl Finder {
    /// Returns the shape of a placeholder with this value as its number.
    fn placeholder(&self, number: Seen) -> Shape {
        let number = match number {
            Seen::Number(number) => whole(number).and_then(|number| u32::try_from(number).ok()),
            Seen::True | Seen::Other => None,
        };
        match number {
            Some(number) if (number as usize) < self.attachments => Shape::Attachment(number),
            _ => Shape::Nowhere,
        }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Finder {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Seen, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Finder {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Seen, E> {
        Ok(if value { Seen::True } else { Seen::Other })
    }

    fn visit_u64<E>(self, value: u64) -> Result<Seen, E> {
        Ok(Seen::Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Seen, E> {
        Ok(Seen::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Seen, E> {
        Ok(Seen::Number(value))
    }

    fn visit_str<E>(self, _: &str) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Seen, A::Error> {
        let (at, mut len) = (self.shapes.len(), 0);
        self.shapes.push(Shape::Array(0));
        while seq.next_element_seed(&mut *self)?.is_some() {
            len += 1;
        }
        self.shapes[at] = Shape::Array(len);
        Ok(Seen::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seen, A::Error> {
        let (at, mut len) = (self.shapes.len(), 0);
        self.shapes.push(Shape::Map(0));
        // The last of equal keys counts.
        let (mut mark, mut number) = (Seen::Other, Seen::Other);
        while let Some(key) = map.next_key_seed(Key)? {
            let value = map.next_value_seed(&mut *self)?;
            match &*key {
                "_placeholder" => mark = value,
                "num" => number = value,
                _ => {}
            }
            len += 1;
        }
        if mark == Seen::True {
            self.shapes.truncate(at);
            self.shapes.push(self.placeholder(number));
        } else {
            self.shapes[at] = Shape::Map(len);
        }
        Ok(Seen::Other)
    }
}

/// Writes the value in MessagePack.
struct Writer<'a> {
    /// The shapes of the arrays and objects that are still to come.
    shapes: Iter<'a, Shape>,
    attachments: &'a [Bytes],
    out: Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for &mut Writer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        write_nil(&mut self.out);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        write_bool(&mut self.out, value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        match value <= MAX_SAFE {
            true => write_unsigned(&mut self.out, value),
            // A JavaScript number is a float.
            false => write_float(&mut self.out, value as f64),
        }
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        match value.unsigned_abs() <= MAX_SAFE {
            true => write_signed(&mut self.out, value),
            false => write_float(&mut self.out, value as f64),
        }
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        write_float(&mut self.out, value);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        write_str(&mut self.out, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if let Some(Shape::Array(len)) = self.shapes.next() {
            write_array(&mut self.out, *len as usize);
        }
        while seq.next_element_seed(&mut *self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match self.shapes.next() {
            Some(Shape::Attachment(number)) => {
                let content = self.attachments.get(*number as usize);
                write_bin(&mut self.out, content.map_or(&[], |content| content));
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(());
            }
            Some(Shape::Map(len)) => write_map(&mut self.out, *len as usize),
            _ => {}
        }
        while let Some(key) = map.next_key_seed(Key)? {
            write_str(&mut self.out, &key);
            map.next_value_seed(&mut *self)?;
        }
        Ok(())
    }
}

/// Reads the key of an object.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
