//! A stream entry: the fields `uid`, `nsp`, `type` (decimal text) and, for most types, `data`.
//!
//! `data` is JSON if it begins with `{`, and base64 of MessagePack otherwise. The peers write MessagePack only where binary data is inside.

use bytes::Bytes;
use bytestring::ByteString;

use super::encoder::{JsonEncoder, MsgPackEncoder};
use super::{WireError, base64, data, encode, json, msgpack_body};
use crate::command::Fields;
use crate::id::NodeId;
use crate::message::{Body, Message};
use crate::msgpack;
use crate::payload::{Encoding, PayloadError};

/// A field with which a node of the [`Bridge`](crate::Dialect::Bridge) dialect marks its heartbeats: it subscribes to the namespace's channel
/// too, and is not to be counted twice. Peers pass over fields that they don't know.
pub const BRIDGE_FIELD: &str = "sio-streams-bridge";

/// A field with the number of an entry among those that its author wrote to the stream, in decimal. It rises, not always by one. A reader that
/// meets a number of an author's again has the entry already: its first try was executed late. Peers pass over it.
///
/// It means something only where the author's name belongs to one writer: not in entries of [emitters](NodeId::EMITTER), nor
/// in those without a name. `docs/protocol.md` says what else a reader must not believe.
pub const SEQUENCE_FIELD: &str = "sio-streams-seq";

pub(crate) use super::encode::payloads;

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

    /// The author's name, as it stands there. Nothing: the entry has none, or one that is no text.
    pub(crate) fn author(&self) -> Option<&'a str> {
        self.uid.and_then(|uid| core::str::from_utf8(uid).ok())
    }

    /// The entry's number among those of its author, if that can be a node of ours: see [`SEQUENCE_FIELD`].
    pub(crate) fn sequence(&self) -> Option<u64> {
        let text = self.seq?;
        if mutant!(NumbersOfNobody) {
            return number(text);
        }
        let author = self.uid?;
        let shared = author.is_empty() || author == NodeId::EMITTER.as_str();
        if shared || core::str::from_utf8(author).is_err() { None } else { number(text) }
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
        let kind = match number[..] {
            [digit @ b'1'..=b'9'] => digit - b'0',
            _ => {
                let kind = core::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
                let unknown = || WireError::UnknownType(String::from_utf8_lossy(number).into_owned());
                data::kind(kind.ok_or_else(unknown)?)?
            }
        };
        match self.data.filter(|_| data::carries_data(kind)) {
            None => data::Data::default().into_body(kind),
            Some(text) if text.first() == Some(&b'{') => json::body(kind, text),
            Some(text) => {
                let bytes = Bytes::from(base64::decode(text)?);
                let mut reader = msgpack::Reader::new(&bytes);
                let data = msgpack_body::read(kind, &mut reader)?;
                reader.end()?;
                data.into_body(kind)
            }
        }
    }
}

/// The sequence number of an entry of ours.
pub(crate) fn sequence(fields: &Fields) -> Option<u64> {
    Parts::of(fields).sequence()
}

/// The number that is written there in decimal.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.starts_with(b"+") {
        return None;
    }
    // A longer one may be too large.
    if text.len() > 19 {
        return core::str::from_utf8(text).ok()?.parse().ok();
    }
    let (eights, rest) = text.as_chunks();
    let number = eights.iter().try_fold(0, |number, digits| Some(number * 100_000_000 + eight(*digits)?))?;
    rest.iter().try_fold(number, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(number * 10 + u64::from(digit))
    })
}

/// Eight digits at once: first tens of neighbours, then hundreds of these, then all.
fn eight(digits: [u8; 8]) -> Option<u64> {
    const ONES: u64 = u64::MAX / 255;
    const LOW: u64 = 0x0000_00ff_0000_00ff;
    let digits = u64::from_le_bytes(digits) ^ (ONES * 0x30);
    if (digits | digits.wrapping_add(ONES * 6)) & (ONES * 0xf0) != 0 {
        return None;
    }
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let even = (pairs & LOW).wrapping_mul(100 + (1_000_000 << 32));
    let odd = ((pairs >> 16) & LOW).wrapping_mul(1 + (10_000 << 32));
    Some(even.wrapping_add(odd) >> 32)
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
    let mut fields = Fields::new();
    write_into(&mut fields, uid, nsp, body)?;
    Ok(fields)
}

/// The same, where they are to stand: fields are large.
pub(crate) fn write_into(
    fields: &mut Fields,
    uid: &NodeId,
    nsp: &ByteString,
    body: &Body,
) -> Result<(), PayloadError> {
    const KINDS: [&str; 14] = ["", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13"];
    let kind = body.kind();
    let data = if data::carries_data(kind) { Some(write_data(body)?) } else { None };
    fields.push("uid", uid.text().as_bytes().clone());
    fields.push("nsp", nsp.as_bytes().clone());
    fields.push("type", KINDS[usize::from(kind)]);
    if let Some(data) = data {
        fields.push("data", data);
    }
    Ok(())
}

fn write_data(body: &Body) -> Result<Vec<u8>, PayloadError> {
    if let Some(text) = json::fast::write_broadcast(body) {
        return Ok(text);
    }
    if encode::payloads(body).all(|payload| payload.encoding() == Encoding::Json) {
        let mut encoder = JsonEncoder::for_payloads(encode::payloads(body));
        encode::data(body, &mut encoder)?;
        Ok(encoder.out)
    } else {
        let mut encoder = MsgPackEncoder::default();
        encode::data(body, &mut encoder)?;
        Ok(base64::encode(&encoder.out).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_what_is_written_there(text in "[0-9]{0,21}|[ -:\\x7fé]{0,21}") {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            prop_assert_eq!(number(text.as_bytes()), text.parse().ok().filter(|_| is_number));
        }
    }

    #[test]
    fn numbers_end_where_they_have_no_place() {
        for at in 0..19 {
            for bad in [b'/', b':', b'+', b' ', b'p', 0xb0] {
                let mut text = *b"1234567890123456789";
                assert_eq!(number(&text), Some(1_234_567_890_123_456_789));
                text[at] = bad;
                assert_eq!(number(&text), None, "{text:?}");
            }
        }
    }
}
