//! The redis crate's values.

use redis::Value as Theirs;
use sio_streams_core::{ByteString, Bytes};
use sio_streams_driver::wire::Value;

/// The driver's form of a reply. Strings move, without being copied.
pub(crate) fn convert(value: Theirs) -> Value {
    match value {
        Theirs::Nil => Value::Nil,
        Theirs::Int(number) => Value::Int(number),
        Theirs::BulkString(bytes) => Value::Bytes(bytes.into()),
        Theirs::SimpleString(text) | Theirs::VerbatimString { text, .. } => Value::Bytes(text.into()),
        // The redis crate's name for the simple string "OK".
        Theirs::Okay => Value::Bytes(Bytes::from_static(b"OK")),
        Theirs::Array(items) | Theirs::Set(items) | Theirs::Push { data: items, .. } => {
            Value::List(items.into_iter().map(convert).collect())
        }
        Theirs::Map(pairs) => {
            Value::Map(pairs.into_iter().map(|(name, value)| (convert(name), convert(value))).collect())
        }
        Theirs::Attribute { data, .. } => convert(*data),
        Theirs::Boolean(value) => Value::Int(value.into()),
        Theirs::Double(number) => Value::Bytes(number.to_string().into()),
        Theirs::ServerError(refusal) => Value::Error {
            code: refusal.code().to_owned(),
            message: refusal.details().unwrap_or_default().to_owned(),
        },
        // Nothing that a node asks for is answered by one of the others.
        _ => Value::Nil,
    }
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
