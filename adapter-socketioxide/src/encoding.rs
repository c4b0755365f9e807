//! Packets and acknowledgements in the form of socketioxide's parsers, and in that of the cluster.

use futures_util::stream::{BoxStream, SelectAll, Stream, StreamExt};
use serde::de::DeserializeOwned;
use sio_streams_driver::Acks;
use sio_streams_driver::sio_streams_core::{self as wire, Payload, PayloadError};
use socketioxide_core::adapter::AckStreamItem;
use socketioxide_core::packet::{Packet, PacketData};
use socketioxide_core::parser::Parse;
use socketioxide_core::{Sid, Str, Value};

use crate::error::Error;

/// The acknowledgements of all servers' clients. Those of other servers bear no id of a socket, but
/// [`Sid::ZERO`]: the wire has none.
pub type AckStream<E> = SelectAll<BoxStream<'static, AckStreamItem<E>>>;

/// The form in which a namespace's parser holds values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// JSON with placeholders, and attachments: the common parser.
    Text,
    /// MessagePack.
    MsgPack,
}

impl Form {
    /// Returns the form of a parser's values.
    pub(crate) fn of(parser: impl Parse) -> Self {
        match parser.encode_value(&(), None) {
            Ok(Value::Bytes(_)) => Form::MsgPack,
            _ => Form::Text,
        }
    }

    /// Makes the packet that socketioxide hands to the clients of the namespace.
    pub(crate) fn packet(self, nsp: &Str, packet: &wire::Packet) -> Result<Packet, Error> {
        Ok(Packet::event(nsp.clone(), self.value(packet.data())?))
    }

    /// Returns the acknowledgements of other servers' clients. Each that does not come in time, or
    /// can't be read, is an error.
    pub(crate) fn acks<E: DeserializeOwned>(self, acks: Acks) -> impl Stream<Item = AckStreamItem<E>> + Send {
        acks.with_missing().filter_map(move |argument| async move {
            let value = argument.and_then(|argument| {
                let value = self.ack(&argument);
                value.inspect_err(|error| tracing::warn!(%error, "an acknowledgement is lost")).ok()
            });
            // The framework alone knows the type of its error for an acknowledgement that did not
            // come in time. This is the serde form in which the framework's own adapters send it.
            let late = || serde_json::from_str("\"Timeout\"").ok();
            Some((Sid::ZERO, value.map(Ok).or_else(|| late().map(Err))?))
        })
    }

    /// Makes the value that socketioxide's parser reads an acknowledgement from. The wire has the
    /// first argument only.
    fn ack(self, argument: &Payload) -> Result<Value, PayloadError> {
        Ok(match self.value(argument)? {
            Value::Str(json, attachments) => Value::Str(format!("[{json}]").into(), attachments),
            Value::Bytes(bytes) => {
                const ARRAY_OF_ONE: u8 = 0x91;
                Value::Bytes([&[ARRAY_OF_ONE], &*bytes].concat().into())
            }
        })
    }

    fn value(self, payload: &Payload) -> Result<Value, PayloadError> {
        Ok(match self {
            Form::Text => {
                let (json, attachments) = payload.detach();
                let attachments = (!attachments.is_empty()).then(|| attachments.into());
                Value::Str(Str::copy_from_slice(&json), attachments)
            }
            Form::MsgPack => Value::Bytes(payload.to_msgpack()?),
        })
    }
}

/// Makes the packet that goes to the other servers.
pub(crate) fn to_wire(packet: &Packet) -> Result<wire::Packet, Error> {
    match &packet.inner {
        PacketData::Event(value, _) | PacketData::BinaryEvent(value, _) => {
            Ok(wire::Packet::new(payload(value.clone())?)?)
        }
        _ => Err(Error::NotAnEvent),
    }
}

/// Makes the payload of a client's acknowledgement: its first argument.
pub(crate) fn ack_to_wire(value: Value) -> Result<Payload, Error> {
    Ok(payload(value)?.elements().next().unwrap_or_else(Payload::null))
}

fn payload(value: Value) -> Result<Payload, Error> {
    Ok(match value {
        Value::Str(json, attachments) => {
            Payload::attach(json, attachments.unwrap_or_default().make_contiguous())?
        }
        Value::Bytes(bytes) => Payload::from_msgpack(bytes)?,
    })
}
