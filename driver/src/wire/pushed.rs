//! Messages and confirmations that a server sends to subscribers.

use sio_streams_core::{ByteString, Bytes};

use super::value::Value;

/// The kind of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// A message. `at` is the position of its channel.
    Message { at: usize },
    /// A subscription has begun or ended.
    Change {
        /// A sharded subscription has ended: either on demand, or because its slot has moved.
        ended_sharded: bool,
    },
    /// Something that was not asked for.
    Other,
}

impl Pushed {
    /// Returns the kind of a push, or `None` if the value is a reply. RESP2 does not mark pushes,
    /// so that a subscriber's messages are lists that begin with their kind.
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

/// Returns a message's channel and payload. A channel whose name is not UTF-8 was not subscribed
/// to.
pub(super) fn message(parts: Vec<Value>, at: usize) -> Option<(ByteString, Bytes)> {
    let mut parts = parts.into_iter().skip(at);
    let channel = parts.next()?.text()?;
    match parts.next()? {
        Value::Bytes(payload) => Some((channel, payload)),
        _ => None,
    }
}
