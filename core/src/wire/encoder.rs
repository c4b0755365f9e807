//! One interface for writing both encodings, so that each message is spelled out once.

use crate::javascript::whole;
use crate::msgpack;
use crate::payload::{Encoding, Payload, PayloadError};

/// Receives the parts of a value in order.
pub(super) trait Encoder: Sized {
    /// Writes a map of `len` keys. `content` writes the keys and values.
    fn map<E>(&mut self, len: usize, content: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E>;
    /// Writes an array of `len` elements. `content` writes the elements.
    fn array<E>(&mut self, len: usize, content: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E>;
    /// Writes a key that this crate chose and that needs no escapes.
    fn key(&mut self, key: &'static str);
    /// Writes any key.
    fn any_key(&mut self, key: &str) -> Result<(), PayloadError>;
    fn str(&mut self, value: &str);
    fn unsigned(&mut self, value: u64);
    /// Writes a number. `text` is what JavaScript writes for it.
    fn number(&mut self, text: &str, value: f64);
    fn bool(&mut self, value: bool);
    fn payload(&mut self, value: &Payload) -> Result<(), PayloadError>;
}

/// An encoder for JSON. It is used only if every payload is JSON already.
#[derive(Debug, Default)]
pub(super) struct JsonEncoder {
    pub(super) out: Vec<u8>,
    comma: bool,
}

impl JsonEncoder {
    /// Creates an encoder for a message with these payloads. Its buffer has room for them and for a
    /// typical envelope, so that it rarely grows.
    pub(super) fn for_payloads<'a>(payloads: impl Iterator<Item = &'a Payload>) -> Self {
        const AROUND: usize = 160;
        let size: usize = payloads.map(|payload| payload.bytes().len()).sum();
        JsonEncoder { out: Vec::with_capacity(size + AROUND), comma: false }
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    fn quoted(&mut self, text: &str) {
        if is_plain(text.as_bytes()) {
            self.out.push(b'"');
            self.out.extend_from_slice(text.as_bytes());
            self.out.push(b'"');
        } else if let Err(error) = serde_json::to_writer(&mut self.out, text) {
            unreachable!("a Vec takes every string: {error}")
        }
    }

    fn container<E>(
        &mut self,
        brackets: [u8; 2],
        content: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.separate();
        self.out.push(brackets[0]);
        self.comma = false;
        content(self)?;
        self.out.push(brackets[1]);
        self.comma = true;
        Ok(())
    }
}

/// Returns `true` if a JSON string holds this text without escapes.
pub(super) fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20))
}

impl Encoder for JsonEncoder {
    fn map<E>(&mut self, _: usize, content: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.container(*b"{}", content)
    }

    fn array<E>(&mut self, _: usize, content: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.container(*b"[]", content)
    }

    // It is inlined so that each key is a constant, which takes few instructions to write.
    #[inline]
    fn key(&mut self, key: &'static str) {
        debug_assert!(is_plain(key.as_bytes()));
        if self.comma {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.comma = false;
    }

    fn any_key(&mut self, key: &str) -> Result<(), PayloadError> {
        self.separate();
        self.quoted(key);
        self.out.push(b':');
        self.comma = false;
        Ok(())
    }

    fn str(&mut self, value: &str) {
        self.separate();
        self.quoted(value);
    }

    fn unsigned(&mut self, value: u64) {
        self.separate();
        if let Err(error) = serde_json::to_writer(&mut self.out, &value) {
            unreachable!("a Vec takes every number: {error}")
        }
    }

    fn number(&mut self, text: &str, _: f64) {
        self.separate();
        self.out.extend_from_slice(text.as_bytes());
    }

    fn bool(&mut self, value: bool) {
        self.separate();
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn payload(&mut self, value: &Payload) -> Result<(), PayloadError> {
        debug_assert_eq!(value.encoding(), Encoding::Json);
        self.separate();
        self.out.extend_from_slice(value.bytes());
        Ok(())
    }
}

/// An encoder for MessagePack.
#[derive(Debug, Default)]
pub(super) struct MsgPackEncoder {
    pub(super) out: Vec<u8>,
}

impl Encoder for MsgPackEncoder {
    fn map<E>(&mut self, len: usize, content: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        msgpack::write_map(&mut self.out, len);
        content(self)
    }

    fn array<E>(&mut self, len: usize, content: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        msgpack::write_array(&mut self.out, len);
        content(self)
    }

    fn key(&mut self, key: &'static str) {
        self.str(key);
    }

    fn any_key(&mut self, key: &str) -> Result<(), PayloadError> {
        // The peers' decoder fails on this key.
        if key == "__proto__" {
            return Err(PayloadError::Key);
        }
        self.str(key);
        Ok(())
    }

    fn str(&mut self, value: &str) {
        msgpack::write_str(&mut self.out, value);
    }

    fn unsigned(&mut self, value: u64) {
        msgpack::write_unsigned(&mut self.out, value);
    }

    fn number(&mut self, _: &str, value: f64) {
        match (whole(value), whole(-value)) {
            (Some(value), _) => msgpack::write_unsigned(&mut self.out, value),
            // At most 2^53, so the cast keeps every bit.
            (_, Some(value)) => msgpack::write_signed(&mut self.out, -(value as i64)),
            _ => msgpack::write_float(&mut self.out, value),
        }
    }

    fn bool(&mut self, value: bool) {
        msgpack::write_bool(&mut self.out, value);
    }

    fn payload(&mut self, value: &Payload) -> Result<(), PayloadError> {
        value.write_msgpack(&mut self.out)
    }
}
