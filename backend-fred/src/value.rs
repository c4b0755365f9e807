//! fred's frames.

use fred::types::Resp3Frame as Theirs;
use sio_streams_driver::wire::Value;

/// The driver's form of a reply. Its strings stay slices of what was read.
pub(crate) fn convert(frame: Theirs) -> Value {
    match frame {
        Theirs::BlobString { data, .. }
        | Theirs::SimpleString { data, .. }
        | Theirs::BigNumber { data, .. }
        | Theirs::VerbatimString { data, .. } => Value::Bytes(data),
        Theirs::Number { data, .. } => Value::Int(data),
        Theirs::Boolean { data, .. } => Value::Int(data.into()),
        Theirs::Double { data, .. } => Value::Bytes(data.to_string().into()),
        Theirs::Array { data, .. } | Theirs::Push { data, .. } => list(data),
        Theirs::Set { data, .. } => list(data),
        Theirs::Map { data, .. } => {
            Value::Map(data.into_iter().map(|(name, value)| (convert(name), convert(value))).collect())
        }
        Theirs::SimpleError { data, .. } => Value::error(&data),
        Theirs::BlobError { data, .. } => Value::error(&String::from_utf8_lossy(&data)),
        // Nothing that a node asks for is answered by one of the others.
        _ => Value::Nil,
    }
}

fn list(items: impl IntoIterator<Item = Theirs>) -> Value {
    Value::List(items.into_iter().map(convert).collect())
}
