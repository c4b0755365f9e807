//! What a server sends to those who have subscribed.

use sio_streams_core::{ByteString, Bytes};

use super::Value;

/// What was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// A message; where its channel stands.
    Message { at: usize },
    /// A subscription has begun or ended.
    Change {
        /// A sharded one has ended: on demand, or because its slot is elsewhere.
        ended_sharded: bool,
    },
    /// Something that nobody here has asked for.
    Other,
}

impl Pushed {
    /// What it is, if it is no reply. Over RESP2 the server marks nothing as pushed; then what is subscribed to comes as a list that begins with
    /// its kind.
    pub(super) fn of(value: &Value, marked: bool, subscriber: bool) -> Option<Self> {
        if !marked && !subscriber {
            return None;
        }
        let kind = match value {
            Value::List(parts) => match parts.first() {
                Some(Value::Bytes(kind)) => &kind[..],
                _ => b"",
            },
            _ => b"",
        };
        match kind {
            b"message" | b"smessage" => Some(Pushed::Message { at: 1 }),
            // The pattern comes first.
            b"pmessage" => Some(Pushed::Message { at: 2 }),
            b"subscribe" | b"unsubscribe" | b"psubscribe" | b"punsubscribe" | b"ssubscribe" => {
                Some(Pushed::Change { ended_sharded: false })
            }
            b"sunsubscribe" => Some(Pushed::Change { ended_sharded: true }),
            _ if marked => Some(Pushed::Other),
            _ => None,
        }
    }
}

/// Channel and payload. A channel whose name is not text is none that was subscribed to.
pub(super) fn message(parts: Vec<Value>, at: usize) -> Option<(ByteString, Bytes)> {
    let mut parts = parts.into_iter().skip(at);
    let channel = parts.next()?.text()?;
    match parts.next()? {
        Value::Bytes(payload) => Some((channel, payload)),
        _ => None,
    }
}
