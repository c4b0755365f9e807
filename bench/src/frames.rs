//! From an entry to the Socket.IO frames that go to its clients, as a framework may do it: without a look at the values.
//!
//! A JSON payload is written behind its head as it is, with the offset spliced in. A binary one is walked through once: its JSON is written on the
//! way, with a placeholder for each attachment.

use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use sio_streams_core::wire::entry::decode;
use sio_streams_core::{Body, EntryId, Fields, Payload};

use crate::docs::Result;

/// What goes to a client: a text, and binary messages behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// The packet.
    pub text: String,
    /// Its attachments.
    pub attachments: Vec<Vec<u8>>,
}

/// The frames of an entry that is a broadcast. The offset stands last among its arguments.
///
/// # Errors
///
/// If it is none, or holds what JSON can't say.
pub fn of_entry(id: EntryId, fields: &Fields) -> Result<Frames> {
    let message = decode(fields)?;
    let Body::Broadcast { packet, .. } = message.body else { return Err("no broadcast".into()) };
    of_data(&message.nsp, &packet.data, id)
}

/// The same, of a broadcast's data.
///
/// # Errors
///
/// If it holds what JSON can't say.
pub fn of_data(nsp: &str, data: &Payload, offset: EntryId) -> Result<Frames> {
    let unpacked;
    let (json, attachments) = match data.as_json() {
        Some(json) => (json, Vec::new()),
        None => {
            let Unpacked { json, attachments } = data.decode()?;
            unpacked = String::from_utf8(json)?;
            (unpacked.as_str(), attachments)
        }
    };
    let arguments = json.strip_suffix(']').ok_or("an event is an array")?;
    let mut text = String::with_capacity(json.len() + nsp.len() + 48);
    match attachments.len() {
        0 => text.push('2'),
        count => text.extend(["5", &count.to_string(), "-"]),
    }
    if nsp != "/" {
        text.extend([nsp, ","]);
    }
    text.extend([arguments, ",\"", &offset.to_string(), "\"]"]);
    Ok(Frames { text, attachments })
}

/// A value without its binary parts.
#[derive(Default)]
struct Unpacked {
    json: Vec<u8>,
    attachments: Vec<Vec<u8>>,
}

impl<'de> Deserialize<'de> for Unpacked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> core::result::Result<Self, D::Error> {
        let mut unpacked = Unpacked::default();
        Walk(&mut unpacked).deserialize(deserializer)?;
        Ok(unpacked)
    }
}

impl Unpacked {
    fn write<E: Error>(&mut self, value: &(impl Serialize + ?Sized)) -> core::result::Result<(), E> {
        serde_json::to_writer(&mut self.json, value).map_err(E::custom)
    }

    fn close(&mut self, with: u8) {
        if self.json.last() == Some(&b',') {
            self.json.pop();
        }
        self.json.push(with);
    }
}

/// Writes what it meets.
struct Walk<'a>(&'a mut Unpacked);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> core::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can say")
    }

    fn visit_unit<E: Error>(self) -> core::result::Result<(), E> {
        self.0.write(&())
    }

    fn visit_bool<E: Error>(self, value: bool) -> core::result::Result<(), E> {
        self.0.write(&value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> core::result::Result<(), E> {
        self.0.write(&value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> core::result::Result<(), E> {
        self.0.write(&value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> core::result::Result<(), E> {
        // As JavaScript writes it.
        match value.fract() == 0.0 && value.abs() < 1e15 {
            true => self.0.write(&(value as i64)),
            false => self.0.write(&value),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> core::result::Result<(), E> {
        self.0.write(value)
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> core::result::Result<(), E> {
        self.visit_byte_buf(value.to_vec())
    }

    fn visit_byte_buf<E: Error>(self, value: Vec<u8>) -> core::result::Result<(), E> {
        let number = self.0.attachments.len();
        self.0.attachments.push(value);
        self.0.json.extend_from_slice(format!(r#"{{"_placeholder":true,"num":{number}}}"#).as_bytes());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> core::result::Result<(), A::Error> {
        self.0.json.push(b'[');
        // A comma behind each, which the last one loses.
        while items.next_element_seed(Walk(self.0))?.is_some() {
            self.0.json.push(b',');
        }
        self.0.close(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> core::result::Result<(), A::Error> {
        self.0.json.push(b'{');
        while entries.next_key_seed(Walk(self.0))?.is_some() {
            self.0.json.push(b':');
            entries.next_value_seed(Walk(self.0))?;
            self.0.json.push(b',');
        }
        self.0.close(b'}');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(data: &Payload) -> Frames {
        of_data("/chat", data, EntryId { ms: 5, seq: 1 }).unwrap()
    }

    #[test]
    fn the_offset_is_spliced_in() {
        let data = Payload::from_json(r#"["m",{"a":[]}]"#).unwrap();
        let expected = Frames { text: r#"2/chat,["m",{"a":[]},"5-1"]"#.into(), attachments: vec![] };
        assert_eq!(frames(&data), expected);
    }

    #[test]
    fn binary_values_are_attached() {
        #[derive(serde::Serialize)]
        struct Argument {
            file: serde_bytes::ByteBuf,
            tags: [&'static str; 2],
            none: Vec<u8>,
            half: f64,
            no: Option<u8>,
        }
        let file = serde_bytes::ByteBuf::from([1, 2]);
        let argument = Argument { file: file.clone(), tags: ["a", "\""], none: vec![], half: 0.5, no: None };
        let data = Payload::event("m", &(argument, file)).unwrap();
        let text = concat!(
            r#"52-/chat,["m",{"file":{"_placeholder":true,"num":0},"tags":["a","\""],"none":[],"half":0.5,"no":null},"#,
            r#"{"_placeholder":true,"num":1},"5-1"]"#
        );
        assert_eq!(frames(&data), Frames { text: text.into(), attachments: vec![vec![1, 2]; 2] });
    }
}
