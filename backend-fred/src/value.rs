//! fred's frames.

use fred::types::Resp3Frame as Frame;
use sio_streams_core::Bytes;
use sio_streams_driver::wire::Value;

/// Strings move, without being copied.
pub(crate) fn convert(frame: Frame) -> Value {
    match frame {
        Frame::BlobString { data, .. } | Frame::SimpleString { data, .. } | Frame::BigNumber { data, .. } => {
            Value::Bytes(data)
        }
        Frame::VerbatimString { data, .. } => Value::Bytes(data),
        Frame::Number { data, .. } => Value::Int(data),
        Frame::Boolean { data, .. } => Value::Int(data.into()),
        Frame::Double { data, .. } => Value::Bytes(data.to_string().into()),
        Frame::Array { data, .. } | Frame::Push { data, .. } => list(data),
        Frame::Set { data, .. } => list(data),
        Frame::Map { data, .. } => {
            Value::Map(data.into_iter().map(|(name, value)| (convert(name), convert(value))).collect())
        }
        Frame::SimpleError { data, .. } => Value::error(&data),
        Frame::BlobError { data, .. } => Value::error(&String::from_utf8_lossy(&data)),
        // Nothing that a node asks for is answered by one of the others.
        _ => Value::Nil,
    }
}

fn list(items: impl IntoIterator<Item = Frame>) -> Value {
    Value::List(items.into_iter().map(convert).collect())
}

/// What a message carries.
pub(crate) fn payload(value: fred::types::Value) -> Bytes {
    value.into_bytes().unwrap_or_default()
}
