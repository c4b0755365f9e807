//! The elements of an array that a payload carries: the arguments of an event or an
//! acknowledgement.

use core::fmt;
use std::borrow::Cow;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::json_text;
use crate::msgpack::{self, Head, Reader};
use crate::payload::{DecodeError, Encoding, Payload};

impl Payload {
    /// Returns the value as JSON text, whichever its encoding is.
    ///
    /// A binary value becomes what `JSON.stringify` makes of a `Buffer` on Node,
    /// `{"type":"Buffer","data":[1,2,3]}`. The text is for people and for logs, and for formats that
    /// have no binary values; [`Packet::frames`](crate::Packet::frames) makes what clients get.
    ///
    /// ```
    /// use serde_bytes::Bytes;
    /// use sio_streams_core::Payload;
    ///
    /// let plain = Payload::encode(&("a", 1)).unwrap();
    /// let binary = Payload::encode(&("a", Bytes::new(&[1, 2]))).unwrap();
    /// assert_eq!(plain.to_json(), r#"["a",1]"#);
    /// assert_eq!(binary.to_json(), r#"["a",{"type":"Buffer","data":[1,2]}]"#);
    /// assert_eq!(plain.to_string(), plain.to_json());
    /// ```
    pub fn to_json(&self) -> Cow<'_, str> {
        match self.encoding() {
            Encoding::Json => String::from_utf8_lossy(self.bytes()),
            Encoding::MsgPack => {
                msgpack::to_json(self.bytes(), |out, content| msgpack::buffer(out, &content)).into()
            }
        }
    }

    /// Iterates over the elements of the array, in either encoding. They share its bytes. A value
    /// that is not an array has none.
    ///
    /// ```
    /// use sio_streams_core::Payload;
    ///
    /// let answer = Payload::encode(&(1, "two", [3])).unwrap();
    /// let texts: Vec<String> = answer.elements().map(|element| element.to_string()).collect();
    /// assert_eq!(texts, ["1", "\"two\"", "[3]"]);
    /// ```
    pub fn elements(&self) -> Elements {
        Elements::new(self)
    }

    /// Decodes the element at `index` of the array, counted from 0. A missing element is decoded as
    /// `null`, so that an `Option` may be absent.
    ///
    /// # Errors
    ///
    /// Returns an error if the value is not an array, or the element is not a `T`.
    pub fn element<T: DeserializeOwned>(&self, index: usize) -> Result<T, DecodeError> {
        if !self.is_array() {
            return Err(DecodeError::new::<T>("it is not an element of an array".into()));
        }
        match self.elements().nth(index) {
            Some(element) => element.decode(),
            None => Payload::null().decode().map_err(|_| {
                DecodeError::new::<T>(format!("the array has no element {index}, counted from 0"))
            }),
        }
    }

    /// Iterates over the arguments of the event `[event, …args]`: all elements but the first.
    ///
    /// ```
    /// use sio_streams_core::Packet;
    ///
    /// let packet = Packet::event("move", &("ann", [3, 4])).unwrap();
    /// let args: Vec<_> = packet.data().args().collect();
    /// assert_eq!(args[0].decode::<String>().unwrap(), "ann");
    /// assert_eq!(args[1].decode::<[u8; 2]>().unwrap(), [3, 4]);
    /// ```
    pub fn args(&self) -> Elements {
        let mut elements = self.elements();
        let _name = elements.next();
        elements
    }

    /// Decodes the argument at `index` of the event `[event, …args]`, counted from 0 behind the
    /// event's name. A missing argument is decoded as `null`, so that an `Option` may be absent.
    ///
    /// ```
    /// use sio_streams_core::Packet;
    ///
    /// let packet = Packet::event("move", &("ann", [3, 4])).unwrap();
    /// assert_eq!(packet.data().event_name().as_deref(), Some("move"));
    /// assert_eq!(packet.data().arg::<String>(0).unwrap(), "ann");
    /// assert_eq!(packet.data().arg::<[u8; 2]>(1).unwrap(), [3, 4]);
    /// assert_eq!(packet.data().arg::<Option<bool>>(2).unwrap(), None);
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the value is not an array, or the argument is not a `T`.
    pub fn arg<T: DeserializeOwned>(&self, index: usize) -> Result<T, DecodeError> {
        self.element(index.saturating_add(1))
    }
}

/// The text of [`Payload::to_json`].
impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_json())
    }
}

/// Iterates over the elements of an array, or over the arguments of an event: see
/// [`Payload::elements`] and [`Payload::args`].
#[derive(Clone, Debug)]
pub struct Elements {
    encoding: Encoding,
    /// The text or the bytes that follow. In JSON they begin with an element, its comma, or the
    /// closing bracket.
    rest: Bytes,
    /// The number of elements that follow in MessagePack.
    left: usize,
}

impl Elements {
    fn new(payload: &Payload) -> Self {
        let (encoding, bytes) = (payload.encoding(), payload.bytes());
        let none = Elements { encoding, rest: Bytes::new(), left: 0 };
        match encoding {
            Encoding::Json => {
                let rest = bytes.trim_ascii_start().strip_prefix(b"[");
                rest.map_or(none, |rest| Elements { encoding, rest: bytes.slice_ref(rest), left: 0 })
            }
            Encoding::MsgPack => {
                let mut reader = Reader::new(bytes);
                match reader.head() {
                    Ok(Head::Array(left)) => Elements { encoding, rest: bytes.slice(reader.at()..), left },
                    _ => none,
                }
            }
        }
    }
}

impl Iterator for Elements {
    type Item = Payload;

    fn next(&mut self) -> Option<Payload> {
        let element = match self.encoding {
            Encoding::Json => {
                let (element, rest) = json_text::next_element(&self.rest)?;
                let element = self.rest.slice_ref(element);
                self.rest = self.rest.slice_ref(rest);
                element
            }
            Encoding::MsgPack => {
                self.left = self.left.checked_sub(1)?;
                let mut reader = Reader::new(&self.rest);
                let element = reader.raw().ok()?;
                self.rest = self.rest.slice(reader.at()..);
                element
            }
        };
        Some(Payload::from_wire(self.encoding, element))
    }
}

impl core::iter::FusedIterator for Elements {}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(payload: &Payload) -> Vec<String> {
        payload.elements().map(|element| element.to_string()).collect()
    }

    #[test]
    fn elements_end_where_they_do() {
        let json = r#" [ "a,]\"" , {"b":[1,"}"]} ,[ ],  -1.5e3,true,null , "\\" ] "#;
        let payload = Payload::from_json(json).unwrap();
        assert_eq!(
            texts(&payload),
            [r#""a,]\"""#, r#"{"b":[1,"}"]}"#, "[ ]", "-1.5e3", "true", "null", r#""\\""#]
        );
        for empty in ["[]", "[ ]", "{}", "1", "\"[1]\"", "null"] {
            assert_eq!(texts(&Payload::from_json(empty).unwrap()), [""; 0], "{empty}");
        }
        assert_eq!(
            texts(&Payload::from_msgpack(&b"\x93\x01\x92\x02\xc4\x01\x07\xa1a"[..]).unwrap()),
            ["1", r#"[2,{"type":"Buffer","data":[7]}]"#, "\"a\""]
        );
        assert_eq!(texts(&Payload::from_msgpack(&b"\x81\xa1a\x01"[..]).unwrap()), [""; 0]);
    }

    #[test]
    fn what_is_missing_is_null() {
        for payload in [Payload::from_json(r#"["e",1]"#), Payload::from_msgpack(&b"\x92\xa1e\x01"[..])] {
            let payload = payload.unwrap();
            assert_eq!(payload.arg::<u8>(0).unwrap(), 1);
            assert_eq!(payload.arg::<Option<u8>>(1).unwrap(), None);
            let error = payload.arg::<u8>(1).unwrap_err().to_string();
            assert!(error.contains("no element 2"), "{error}");
            assert!(payload.arg::<String>(0).is_err() && payload.arg::<u8>(usize::MAX).is_err());
        }
        assert!(Payload::null().element::<Option<u8>>(0).is_err());
    }
}
