//! fred's frames.

use fred::types::Resp3Frame as Theirs;
use sio_streams_core::Bytes;
use sio_streams_driver::wire::{Frame, Opened};

/// A reply, as fred has it. Its strings are slices of what was read.
#[derive(Debug)]
pub struct FredFrame(pub(crate) Theirs);

impl Frame for FredFrame {
    fn open(self) -> Opened<Self> {
        match self.0 {
            Theirs::BlobString { data, .. }
            | Theirs::SimpleString { data, .. }
            | Theirs::BigNumber { data, .. }
            | Theirs::VerbatimString { data, .. } => Opened::Bytes(data),
            Theirs::Number { data, .. } => Opened::Int(data),
            Theirs::Boolean { data, .. } => Opened::Int(data.into()),
            Theirs::Double { data, .. } => Opened::Bytes(data.to_string().into()),
            Theirs::Array { data, .. } | Theirs::Push { data, .. } => list(data),
            Theirs::Set { data, .. } => list(data),
            Theirs::Map { data, .. } => Opened::Map(
                data.into_iter().map(|(name, value)| (FredFrame(name), FredFrame(value))).collect(),
            ),
            Theirs::SimpleError { data, .. } => Opened::error(&data),
            Theirs::BlobError { data, .. } => Opened::error(&String::from_utf8_lossy(&data)),
            // Nothing that a node asks for is answered by one of the others.
            _ => Opened::Nil,
        }
    }
}

fn list(items: impl IntoIterator<Item = Theirs>) -> Opened<FredFrame> {
    Opened::List(items.into_iter().map(FredFrame).collect())
}

/// What a message carries.
pub(crate) fn payload(value: fred::types::Value) -> Bytes {
    value.into_bytes().unwrap_or_default()
}
