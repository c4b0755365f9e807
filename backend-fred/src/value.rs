//! fred's frames.

use fred::types::Resp3Frame as Theirs;
use sio_streams_driver::wire::{Frame, Opened, Value};

/// A reply.
#[derive(Debug)]
pub struct FredFrame(Form);

#[derive(Debug)]
enum Form {
    /// As fred has it. Its strings are slices of what was read.
    Theirs(Theirs),
    Own(Value),
}

impl FredFrame {
    pub(crate) fn theirs(frame: Theirs) -> Self {
        FredFrame(Form::Theirs(frame))
    }

    pub(crate) fn own(value: Value) -> Self {
        FredFrame(Form::Own(value))
    }
}

impl Frame for FredFrame {
    fn open(self) -> Opened<Self> {
        match self.0 {
            Form::Theirs(frame) => open(frame),
            Form::Own(value) => value.open().map(FredFrame::own),
        }
    }
}

fn open(frame: Theirs) -> Opened<FredFrame> {
    let theirs = FredFrame::theirs;
    match frame {
        Theirs::BlobString { data, .. }
        | Theirs::SimpleString { data, .. }
        | Theirs::BigNumber { data, .. }
        | Theirs::VerbatimString { data, .. } => Opened::Bytes(data),
        Theirs::Number { data, .. } => Opened::Int(data),
        Theirs::Boolean { data, .. } => Opened::Int(data.into()),
        Theirs::Double { data, .. } => Opened::Bytes(data.to_string().into()),
        Theirs::Array { data, .. } | Theirs::Push { data, .. } => list(data),
        Theirs::Set { data, .. } => list(data),
        Theirs::Map { data, .. } => {
            Opened::Map(data.into_iter().map(|(name, value)| (theirs(name), theirs(value))).collect())
        }
        Theirs::SimpleError { data, .. } => Opened::error(&data),
        Theirs::BlobError { data, .. } => Opened::error(&String::from_utf8_lossy(&data)),
        // Nothing that a node asks for is answered by one of the others.
        _ => Opened::Nil,
    }
}

fn list(items: impl IntoIterator<Item = Theirs>) -> Opened<FredFrame> {
    Opened::List(items.into_iter().map(FredFrame::theirs).collect())
}
