//! Strings under keys, and when they expire.

use core::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use sio_streams_core::{CommandError, Reply};

use crate::{RedisModel, Value, errors};

/// A string.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    bytes: Bytes,
    /// From then on it isn't there any more, in milliseconds since 1970.
    expires: u64,
}

impl RedisModel {
    /// Keys whose time is over are gone.
    pub(crate) fn expire(&mut self, now_ms: u64, key: &str) {
        if let Some(Value::Text(text)) = self.keys.get(key)
            && text.expires <= now_ms
        {
            self.keys.remove(key);
            self.touched(key);
        }
    }

    pub(crate) fn set(
        &mut self,
        now_ms: u64,
        key: &ByteString,
        value: &Bytes,
        px: Duration,
    ) -> Result<Reply, CommandError> {
        let px = i64::try_from(px.as_millis()).map(i64::cast_unsigned);
        let px = px.map_err(|_| errors::generic("value is not an integer or out of range"))?;
        let expires = now_ms.checked_add(px).filter(|at| px > 0 && i64::try_from(*at).is_ok());
        let expires = expires.ok_or_else(|| errors::generic("invalid expire time in 'set' command"))?;
        self.keys.insert(key.clone(), Value::Text(Text { bytes: value.clone(), expires }));
        self.touched(key);
        Ok(Reply::Done)
    }

    pub(crate) fn get_range(&self, key: &str, end: u32) -> Result<Reply, CommandError> {
        let text = self.text(key)?.filter(|text| !text.bytes.is_empty());
        let part = |text: &Text| text.bytes.slice(..text.bytes.len().min((end as usize).saturating_add(1)));
        Ok(Reply::Value(text.map(part)))
    }

    pub(crate) fn get_del(&mut self, key: &str) -> Result<Reply, CommandError> {
        let found = self.text(key)?.map(|text| text.bytes.clone());
        if found.is_some() {
            self.keys.remove(key);
            self.touched(key);
        }
        Ok(Reply::Value(found))
    }

    /// The keys under which strings stand, and when they expire, in milliseconds since 1970.
    pub fn strings(&self) -> impl Iterator<Item = (&ByteString, &Bytes, u64)> {
        self.keys.iter().filter_map(|(key, value)| match value {
            Value::Text(text) => Some((key, &text.bytes, text.expires)),
            _ => None,
        })
    }

    fn text(&self, key: &str) -> Result<Option<&Text>, CommandError> {
        match self.keys.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Stream(_) | Value::Other) => Err(errors::wrong_type()),
        }
    }
}
