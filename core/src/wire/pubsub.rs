//! Pub/Sub messages of streams-0.3 and of the sharded adapter: `{uid, nsp, type, data}`, with the
//! keys in any order.
//!
//! Streams-0.3 always writes MessagePack. The sharded adapter writes JSON unless there is binary
//! data. A message that begins with `{` is JSON. The two adapters read MessagePack differently,
//! because they use different libraries.

use bytes::Bytes;
use bytestring::ByteString;

use super::data::{self, Data};
use super::encoder::{Encoder, JsonEncoder, MsgPackEncoder};
use super::{WireError, encode, json, msgpack_body, notepack};
use crate::id::NodeId;
use crate::message::{Body, Message};
use crate::msgpack;
use crate::msgpack::Facts;
use crate::payload::{Encoding, PayloadError};

/// The envelope of the data, which is JSON or MessagePack.
struct Envelope<T> {
    uid: Option<ByteString>,
    nsp: Option<ByteString>,
    kind: Option<u64>,
    data: Option<T>,
}

/// Reads a message as streams-0.3 does. Unknown keys are ignored.
///
/// # Errors
///
/// Returns an error if the bytes are not a message of the protocol: see [`WireError`].
pub fn decode(payload: &Bytes) -> Result<Message, WireError> {
    match payload.first() {
        Some(b'{') => json_envelope(payload)?.open(|kind, text: &ByteString| json::read(kind, text)),
        _ => Ok(read_msgpack(payload)?.0),
    }
}

/// Reads a message as the sharded adapter does. It takes extension 0 of MessagePack for
/// `undefined`, a date or an `ArrayBuffer`.
///
/// # Errors
///
/// Returns an error if the bytes are not a message of the protocol: see [`WireError`].
pub fn decode_sharded(payload: &Bytes) -> Result<Message, WireError> {
    match payload.first() {
        Some(b'{') => decode(payload),
        _ => notepack::read(payload, read_msgpack),
    }
}

fn read_msgpack(payload: &Bytes) -> Result<(Message, Facts), WireError> {
    let (envelope, facts) = msgpack_envelope(payload)?;
    let message =
        envelope.open(|kind, raw: &Bytes| msgpack_body::read(kind, &mut msgpack::Reader::new(raw)))?;
    Ok((message, facts))
}

impl<T> Envelope<T> {
    fn open(self, read: impl FnOnce(u8, &T) -> Result<Data, WireError>) -> Result<Message, WireError> {
        let nsp = self.nsp.filter(|nsp| !nsp.is_empty()).ok_or(WireError::MissingField("nsp"))?;
        let kind = data::kind(self.kind.ok_or(WireError::MissingField("type"))?)?;
        let data = match self.data.filter(|_| data::carries_data(kind)) {
            Some(data) => read(kind, &data)?,
            None => Data::default(),
        };
        let uid = NodeId::new(self.uid.unwrap_or_default());
        Ok(Message { uid, nsp, body: data.into_body(kind)? })
    }
}

fn msgpack_envelope(payload: &Bytes) -> Result<(Envelope<Bytes>, Facts), WireError> {
    let mut envelope = Envelope { uid: None, nsp: None, kind: None, data: None };
    let mut reader = msgpack::Reader::new(payload);
    reader.map(|key, value| {
        match &*key {
            "uid" if value.nil()? => envelope.uid = None,
            "uid" => envelope.uid = Some(msgpack_body::name(value)?),
            "nsp" if value.nil()? => envelope.nsp = None,
            "nsp" => envelope.nsp = Some(msgpack_body::name(value)?),
            "type" => envelope.kind = Some(value.unsigned()?),
            // The type decides how to read the data, and may follow it.
            "data" => envelope.data = Some(value.raw()?),
            _ => drop(value.raw()?),
        }
        Ok::<(), WireError>(())
    })?;
    reader.end()?;
    Ok((envelope, reader.facts()))
}

fn json_envelope(payload: &Bytes) -> Result<Envelope<ByteString>, WireError> {
    let mut envelope = Envelope { uid: None, nsp: None, kind: None, data: None };
    for (key, value) in json::pairs(&json::text(payload))? {
        match &*key {
            "uid" => envelope.uid = json::some_name(&value)?,
            "nsp" => envelope.nsp = json::some_name(&value)?,
            "type" => envelope.kind = Some(json::unsigned(&value)?),
            "data" => envelope.data = Some(value),
            _ => {}
        }
    }
    Ok(envelope)
}

/// Writes a message in MessagePack, as streams-0.3 does.
///
/// # Errors
///
/// Returns an error if a payload can't be converted to MessagePack for Node peers: see
/// [`PayloadError`].
pub fn encode(message: &Message) -> Result<Bytes, PayloadError> {
    write(&message.uid, &message.nsp, &message.body)
}

/// Writes a message as the sharded adapter does, as JSON if every payload is JSON, and as
/// MessagePack otherwise.
///
/// # Errors
///
/// Returns an error if a payload can't be converted to MessagePack for Node peers: see
/// [`PayloadError`].
pub fn encode_sharded(message: &Message) -> Result<Bytes, PayloadError> {
    write_sharded(&message.uid, &message.nsp, &message.body)
}

/// Does the same as [`encode`], for a message in parts.
pub(crate) fn write(uid: &NodeId, nsp: &ByteString, body: &Body) -> Result<Bytes, PayloadError> {
    let mut encoder = MsgPackEncoder::default();
    write_to(&mut encoder, uid, nsp, body)?;
    Ok(encoder.out.into())
}

/// Does the same as [`encode_sharded`], for a message in parts.
pub(crate) fn write_sharded(uid: &NodeId, nsp: &ByteString, body: &Body) -> Result<Bytes, PayloadError> {
    if encode::payloads(body).any(|payload| payload.encoding() != Encoding::Json) {
        return write(uid, nsp, body);
    }
    let mut encoder = JsonEncoder::for_payloads(encode::payloads(body));
    write_to(&mut encoder, uid, nsp, body)?;
    Ok(encoder.out.into())
}

fn write_to<S: Encoder>(
    out: &mut S,
    uid: &NodeId,
    nsp: &ByteString,
    body: &Body,
) -> Result<(), PayloadError> {
    let kind = body.kind();
    let with_data = data::carries_data(kind);
    out.map(3 + usize::from(with_data), |out| {
        out.key("uid");
        out.str(uid.as_str());
        out.key("nsp");
        out.str(nsp);
        out.key("type");
        out.unsigned(u64::from(kind));
        match with_data {
            true => {
                out.key("data");
                encode::data(body, out)
            }
            false => Ok(()),
        }
    })
}
