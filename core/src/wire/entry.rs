//! A stream entry: the fields `uid`, `nsp`, `type` (decimal text) and, for most types, `data`.
//!
//! `data` is JSON if it begins with `{`, and base64 of MessagePack otherwise. The peers write MessagePack only where binary data is inside.

use bytes::Bytes;
use bytestring::ByteString;

use super::sink::{JsonSink, PackedSink};
use super::{WireError, data, json, msgpack, packed};
use crate::command::Fields;
use crate::id::NodeId;
use crate::message::{Body, Message};
use crate::payload::{Encoding, PayloadError};

/// A field with which a node of the [`Bridge`](crate::Dialect::Bridge) dialect marks its heartbeats: it subscribes to the namespace's channel
/// too, and is not to be counted twice. Peers pass over fields that they don't know.
pub const BRIDGE_FIELD: &str = "bridge";

/// A field with the number of an entry among those that its author wrote to the stream, in decimal. It rises, not always by one. A reader that
/// meets a number of an author's again, or a lower one, has the entry already: its first try was executed late. Peers pass over it.
pub const SEQUENCE_FIELD: &str = "seq";

pub(crate) use super::data::payloads;

/// The fields of an entry that mean something, as they stand there. Of those that stand twice, the last counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts<'a> {
    uid: Option<&'a Bytes>,
    nsp: Option<&'a Bytes>,
    kind: Option<&'a Bytes>,
    data: Option<&'a Bytes>,
    seq: Option<&'a Bytes>,
    bridge: Option<&'a Bytes>,
}

impl<'a> Parts<'a> {
    /// Looks for them, once for all.
    pub(crate) fn of(fields: &'a Fields) -> Self {
        const SEQUENCE: &[u8] = SEQUENCE_FIELD.as_bytes();
        const BRIDGE: &[u8] = BRIDGE_FIELD.as_bytes();
        let mut parts = Parts::default();
        for (name, value) in fields.iter() {
            let part = match &name[..] {
                b"uid" => &mut parts.uid,
                b"nsp" => &mut parts.nsp,
                b"type" => &mut parts.kind,
                b"data" => &mut parts.data,
                SEQUENCE => &mut parts.seq,
                BRIDGE => &mut parts.bridge,
                _ => continue,
            };
            *part = Some(value);
        }
        parts
    }

    /// The namespace, without decoding the rest.
    pub(crate) fn namespace(&self) -> Option<&'a str> {
        self.nsp.and_then(|nsp| core::str::from_utf8(nsp).ok()).filter(|nsp| !nsp.is_empty())
    }

    /// The author's name, as it stands there. Nothing: the entry has none.
    pub(crate) fn author(&self) -> Option<&'a [u8]> {
        self.uid.map(|uid| &uid[..])
    }

    /// The entry's number among those of its author, if that is one of ours: see [`SEQUENCE_FIELD`].
    pub(crate) fn sequence(&self) -> Option<u64> {
        core::str::from_utf8(self.seq?).ok()?.parse().ok()
    }

    /// Whether a node of the bridge dialect marks its heartbeat: see [`BRIDGE_FIELD`].
    pub(crate) fn is_bridge(&self) -> bool {
        self.bridge.is_some()
    }

    /// The author, by its name.
    pub(crate) fn uid(&self) -> NodeId {
        // An entry without a uid is nobody's, and yet obeyed: as the peers do it.
        NodeId::new(self.uid.map(json::text).unwrap_or_default())
    }

    /// What the entry says.
    pub(crate) fn body(&self) -> Result<Body, WireError> {
        let number = self.kind.ok_or(WireError::MissingField("type"))?;
        let kind = core::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
        let kind =
            kind.ok_or_else(|| WireError::UnknownType(String::from_utf8_lossy(number).into_owned()))?;
        let kind = data::kind(kind)?;
        match self.data.filter(|_| data::carries_data(kind)) {
            None => data::Data::default().into_body(kind),
            Some(text) if text.first() == Some(&b'{') => json::body(kind, &json::text(text)),
            Some(text) => {
                let bytes = Bytes::from(msgpack::from_base64(text)?);
                let mut reader = msgpack::Reader::new(&bytes);
                let data = packed::read(kind, &mut reader)?;
                reader.end()?;
                data.into_body(kind)
            }
        }
    }
}

/// Reads an entry. Fields that this crate doesn't know are passed over.
///
/// # Errors
///
/// If the entry is none of the protocol's messages: see [`WireError`].
pub fn decode(fields: &Fields) -> Result<Message, WireError> {
    let parts = Parts::of(fields);
    let nsp = parts.nsp.filter(|nsp| !nsp.is_empty()).ok_or(WireError::MissingField("nsp"))?;
    let body = parts.body()?;
    Ok(Message { uid: parts.uid(), nsp: json::text(nsp), body })
}

/// Writes an entry: JSON if every payload inside is JSON, MessagePack otherwise.
///
/// # Errors
///
/// If a payload can't be put into MessagePack for Node peers; see [`PayloadError`].
pub fn encode(message: &Message) -> Result<Fields, PayloadError> {
    write(&message.uid, &message.nsp, &message.body)
}

/// Writes the message that these make up.
pub(crate) fn write(uid: &NodeId, nsp: &ByteString, body: &Body) -> Result<Fields, PayloadError> {
    const KINDS: [&str; 14] = ["", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13"];
    let kind = body.kind();
    let mut fields = Fields::new();
    fields.push("uid", uid.text().clone().into_bytes());
    fields.push("nsp", nsp.clone().into_bytes());
    fields.push("type", KINDS[usize::from(kind)]);
    if data::carries_data(kind) {
        let plain = data::payloads(body).all(|payload| payload.encoding() == Encoding::Json);
        let text = if plain {
            let mut sink = JsonSink::for_payloads(data::payloads(body));
            data::write(body, &mut sink)?;
            sink.out
        } else {
            let mut sink = PackedSink::default();
            data::write(body, &mut sink)?;
            msgpack::to_base64(&sink.out).into_bytes()
        };
        fields.push("data", text);
    }
    Ok(fields)
}
