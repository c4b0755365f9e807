//! Stream entries, with the fields `uid`, `nsp`, `type` (decimal text) and, for most types, `data`.
//!
//! `data` is JSON if it begins with `{`, and base64 of MessagePack otherwise. The peers write
//! MessagePack only if there is binary data.

use bytes::Bytes;
use bytestring::ByteString;

use super::encoder::{JsonEncoder, MsgPackEncoder};
use super::{WireError, base64, data, encode, json, msgpack_body};
use crate::command::Fields;
use crate::id::NodeId;
use crate::message::{Body, Message};
use crate::msgpack;
use crate::payload::{Encoding, PayloadError};

/// The field by which a node of the [`Bridge`](crate::Dialect::Bridge) dialect marks its
/// heartbeats. Such a node subscribes to the namespace's channel too, and must not be counted
/// twice. Peers ignore fields that they do not know.
pub const BRIDGE_FIELD: &str = "sio-streams-bridge";

/// The field with the decimal sequence number of an entry among those that its author wrote to the
/// stream. The number rises, not always by one. If a reader meets the same number of an author
/// twice, the second entry is a repetition whose first attempt was executed late. Peers ignore the
/// field.
///
/// The number has a meaning only if the author's name belongs to one writer. It has none in entries
/// of [emitters](NodeId::EMITTER), or in entries without a name. `docs/protocol.md` lists the
/// numbers that a reader must not trust.
pub const SEQUENCE_FIELD: &str = "sio-streams-seq";

/// The largest step by which a number still continues those before it. Between two of its entries
/// on a stream, an author writes fewer entries elsewhere, or gives fewer up, than this.
pub(crate) const NEAR: u64 = 1 << 16;

pub(crate) use super::encode::payloads;

/// The known fields of an entry, undecoded. If a field occurs twice, the last one counts.
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
    /// Finds the known fields in one pass.
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

    /// Returns the namespace without decoding the rest.
    pub(crate) fn namespace(&self) -> Option<&'a str> {
        self.nsp.and_then(|nsp| core::str::from_utf8(nsp).ok()).filter(|nsp| !nsp.is_empty())
    }

    /// Returns the author's name. It is `None` if the entry has no name, or one that is not UTF-8.
    pub(crate) fn author(&self) -> Option<&'a str> {
        self.uid.and_then(|uid| core::str::from_utf8(uid).ok())
    }

    /// Returns the entry's sequence number, if the author can be a node of this project: see
    /// [`SEQUENCE_FIELD`].
    pub(crate) fn sequence(&self) -> Option<u64> {
        let text = self.seq?;
        if mutant!(NumbersOfNobody) {
            return number(text);
        }
        let author = self.uid?;
        let shared = author.is_empty() || author == NodeId::EMITTER.as_str();
        if shared || core::str::from_utf8(author).is_err() { None } else { number(text) }
    }

    /// Returns `true` if the entry is a marked heartbeat of a bridge: see [`BRIDGE_FIELD`].
    pub(crate) fn is_bridge(&self) -> bool {
        self.bridge.is_some()
    }

    /// Returns the author's id.
    pub(crate) fn uid(&self) -> NodeId {
        // An entry without a uid has no author. The peers process it, and so does the engine.
        NodeId::new(self.uid.map(json::text).unwrap_or_default())
    }

    /// Decodes the content.
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

/// Returns the sequence number of an entry that this node wrote.
pub(crate) fn sequence(fields: &Fields) -> Option<u64> {
    Parts::of(fields).sequence()
}

/// Parses a decimal number.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.starts_with(b"+") {
        return None;
    }
    // A longer number may overflow.
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

/// Parses eight digits at once: it combines neighbours into pairs, then pairs into fours, then both
/// fours.
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

/// Reads an entry. Unknown fields are ignored.
///
/// # Errors
///
/// Returns an error if the entry is not a message of the protocol: see [`WireError`].
pub fn decode(fields: &Fields) -> Result<Message, WireError> {
    let parts = Parts::of(fields);
    let nsp = parts.nsp.filter(|nsp| !nsp.is_empty()).ok_or(WireError::MissingField("nsp"))?;
    let body = parts.body()?;
    Ok(Message { uid: parts.uid(), nsp: json::text(nsp), body })
}

/// Writes an entry, as JSON if every payload is JSON, and as MessagePack otherwise.
///
/// # Errors
///
/// Returns an error if a payload can't be converted to MessagePack for Node peers: see
/// [`PayloadError`].
pub fn encode(message: &Message) -> Result<Fields, PayloadError> {
    write(&message.uid, &message.nsp, &message.body)
}

/// Writes the message with these parts.
pub(crate) fn write(uid: &NodeId, nsp: &ByteString, body: &Body) -> Result<Fields, PayloadError> {
    let mut fields = Fields::new();
    write_into(&mut fields, uid, nsp, body)?;
    Ok(fields)
}

/// Does the same in place, because fields are expensive to move.
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
