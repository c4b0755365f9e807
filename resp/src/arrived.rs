//! The meaning of a value that has arrived: a reply, a message, or a change of subscriptions.

use sio_streams_core::{ByteString, Bytes};

use crate::value::Value;

/// A value as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The value.
    pub value: Value,
    /// `true` if the server has marked it as a push. RESP2 has no such mark.
    pub is_push: bool,
}

/// The meaning of a value that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrived {
    /// The reply to the oldest command that has none yet.
    Reply(Value),
    /// A Pub/Sub message.
    Message {
        /// The channel on which it came.
        channel: ByteString,
        /// The message itself.
        payload: Bytes,
    },
    /// A subscription has begun or ended. The server sends one for each channel or pattern.
    Changed {
        /// `true` if a sharded subscription has ended: on demand, or because its slot has moved.
        ended_sharded: bool,
    },
    /// Something that was not asked for, and can be ignored: an invalidation, for example, or a
    /// message on a channel whose name is not UTF-8, which the engine does not subscribe to.
    Other,
}

impl Received {
    /// Finds out what the value is about. RESP2 does not mark pushes, so on a connection with
    /// subscriptions (`subscriber`) a list that begins like a message is one.
    pub fn sort(self, subscriber: bool) -> Arrived {
        let Received { value, is_push } = self;
        if !is_push && !subscriber {
            return Arrived::Reply(value);
        }
        let kind = match &value {
            Value::List(parts) => match parts.first() {
                Some(Value::Bytes(kind)) => &kind[..],
                _ => b"",
            },
            _ => b"",
        };
        let at = match kind {
            b"message" | b"smessage" => 1,
            // The pattern comes first.
            b"pmessage" => 2,
            b"subscribe" | b"unsubscribe" | b"psubscribe" | b"punsubscribe" | b"ssubscribe" => {
                return Arrived::Changed { ended_sharded: false };
            }
            b"sunsubscribe" => return Arrived::Changed { ended_sharded: true },
            _ if is_push => return Arrived::Other,
            _ => return Arrived::Reply(value),
        };
        message(value, at).unwrap_or(Arrived::Other)
    }
}

/// Returns the message whose channel is at this position.
fn message(value: Value, at: usize) -> Option<Arrived> {
    let mut parts = value.list()?.into_iter().skip(at);
    let channel = parts.next()?.text()?;
    Some(Arrived::Message { channel, payload: parts.next()?.bytes()? })
}
