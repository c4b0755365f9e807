//! A Pub/Sub message of streams-0.3: `{uid, nsp, type, data}` in MessagePack, its keys in any order.

use bytes::Bytes;
use bytestring::ByteString;

use super::sink::{PackedSink, Sink};
use super::{WireError, data, msgpack, packed};
use crate::id::NodeId;
use crate::message::Message;
use crate::payload::PayloadError;

/// Reads a message. Keys that this crate doesn't know are passed over.
///
/// # Errors
///
/// If the bytes are none of the protocol's messages: see [`WireError`].
pub fn decode(payload: &Bytes) -> Result<Message, WireError> {
    let (mut uid, mut nsp, mut kind, mut raw) = (None, None, None, None);
    let mut reader = msgpack::Reader::new(payload);
    reader.map(|key, value| {
        match &*key {
            "uid" => uid = Some(value.str()?),
            "nsp" => nsp = Some(value.str()?),
            "type" => kind = Some(value.unsigned()?),
            // What the data means depends on the type, which may yet come.
            "data" => raw = Some(value.raw()?),
            _ => drop(value.raw()?),
        }
        Ok::<(), WireError>(())
    })?;
    reader.end()?;
    let nsp = nsp.filter(|nsp| !nsp.is_empty()).ok_or(WireError::MissingField("nsp"))?;
    let kind = data::kind(kind.ok_or(WireError::MissingField("type"))?)?;
    let data = match raw.filter(|_| data::carries_data(kind)) {
        Some(raw) => packed::read(kind, &mut msgpack::Reader::new(&raw))?,
        None => data::Data::default(),
    };
    let uid = NodeId::new(uid.unwrap_or_else(ByteString::new));
    Ok(Message { uid, nsp, body: data.into_body(kind)? })
}

/// Writes a message.
///
/// # Errors
///
/// If a payload can't be put into MessagePack for Node peers; see [`PayloadError`].
pub fn encode(message: &Message) -> Result<Bytes, PayloadError> {
    let kind = message.body.kind();
    let with_data = data::carries_data(kind);
    let mut sink = PackedSink::default();
    sink.map(3 + usize::from(with_data), |out| {
        out.key("uid");
        out.str(message.uid.as_str());
        out.key("nsp");
        out.str(&message.nsp);
        out.key("type");
        out.unsigned(u64::from(kind));
        match with_data {
            true => {
                out.key("data");
                data::write(&message.body, out)
            }
            false => Ok(()),
        }
    })?;
    Ok(sink.out.into())
}
