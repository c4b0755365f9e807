//! The redis crate's values.

use redis::Value as Theirs;
use sio_streams_core::{ByteString, Bytes};
use sio_streams_driver::wire::{Frame, Opened, Value};

/// A reply.
#[derive(Debug)]
pub struct RedisFrame(Form);

#[derive(Debug)]
enum Form {
    /// As the redis crate has it.
    Theirs(Theirs),
    Own(Value),
}

impl RedisFrame {
    pub(crate) fn theirs(value: Theirs) -> Self {
        RedisFrame(Form::Theirs(value))
    }

    pub(crate) fn own(value: Value) -> Self {
        RedisFrame(Form::Own(value))
    }
}

impl Frame for RedisFrame {
    fn open(self) -> Opened<Self> {
        match self.0 {
            Form::Theirs(value) => open(value),
            Form::Own(value) => value.open().map(RedisFrame::own),
        }
    }
}

/// Strings move, without being copied.
fn open(value: Theirs) -> Opened<RedisFrame> {
    let frame = RedisFrame::theirs;
    match value {
        Theirs::Nil => Opened::Nil,
        Theirs::Int(number) => Opened::Int(number),
        Theirs::BulkString(bytes) => Opened::Bytes(bytes.into()),
        Theirs::SimpleString(text) | Theirs::VerbatimString { text, .. } => Opened::Bytes(text.into()),
        // The redis crate's name for the simple string "OK".
        Theirs::Okay => Opened::Bytes(Bytes::from_static(b"OK")),
        Theirs::Array(items) | Theirs::Set(items) | Theirs::Push { data: items, .. } => {
            Opened::List(items.into_iter().map(frame).collect())
        }
        Theirs::Map(pairs) => {
            Opened::Map(pairs.into_iter().map(|(name, value)| (frame(name), frame(value))).collect())
        }
        Theirs::Attribute { data, .. } => open(*data),
        Theirs::Boolean(value) => Opened::Int(value.into()),
        Theirs::Double(number) => Opened::Bytes(number.to_string().into()),
        Theirs::ServerError(refusal) => Opened::Error {
            code: refusal.code().to_owned(),
            message: refusal.details().unwrap_or_default().to_owned(),
        },
        // Nothing that a node asks for is answered by one of the others.
        _ => Opened::Nil,
    }
}

/// The whole of a reply.
pub(crate) fn convert(value: Theirs) -> Value {
    Value::of(RedisFrame::theirs(value))
}

/// A Pub/Sub message, from what follows its kind: channel and payload.
pub(crate) fn message(data: Vec<Theirs>) -> Option<(ByteString, Bytes)> {
    let mut parts = data.into_iter().map(convert);
    let channel = parts.next()?.text()?;
    match parts.next()? {
        Value::Bytes(payload) => Some((channel, payload)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(resp: &str) -> Value {
        convert(redis::parse_redis_value(resp.replace(' ', "\r\n").as_bytes()).unwrap())
    }

    #[test]
    fn both_protocols_come_out_alike() {
        let bulk = |text: &'static str| Value::Bytes(text.into());
        let list = Value::List(vec![bulk("s"), Value::Int(1)]);
        for resp in ["*2 $1 s :1 ", "~2 $1 s :1 ", "*2 +s :1 ", "|1 +k +v *2 $1 s :1 "] {
            assert_eq!(converted(resp), list, "{resp}");
        }
        assert_eq!(converted("%1 $1 s :1 "), Value::Map(vec![(bulk("s"), Value::Int(1))]));
        assert_eq!(converted("+OK "), bulk("OK"));
        for nil in ["*-1 ", "$-1 ", "_ "] {
            assert_eq!(converted(nil), Value::Nil, "{nil}");
        }
    }

    #[test]
    fn refusals_keep_their_code() {
        let moved = convert(redis::parse_redis_value(b"-MOVED 1 host:1\r\n").unwrap());
        assert_eq!(moved, Value::Error { code: "MOVED".into(), message: "1 host:1".into() });
        let bare = convert(redis::parse_redis_value(b"-UNBLOCKED\r\n").unwrap());
        assert_eq!(bare, Value::Error { code: "UNBLOCKED".into(), message: String::new() });
    }
}
