//! Stored sessions: base64 of MessagePack of `{sid, pid, rooms, data}`. The peers store a session
//! under `<sessionKeyPrefix><pid>`.
//!
//! This project's nodes add the namespace as `nsp`, so that a session can't be restored in another
//! namespace. The peers ignore that key and do not write it.

use bytes::Bytes;
use bytestring::ByteString;

use super::encoder::{Encoder, MsgPackEncoder};
use super::msgpack_body::{names, payload};
use super::{WireError, base64};
use crate::msgpack::{self, MsgPackError};
use crate::payload::{Payload, PayloadError};
use crate::session::Session;

/// Reads a stored session. Unknown keys are ignored.
///
/// # Errors
///
/// Returns an error if the value is not a session: see [`WireError`].
pub fn decode(value: &[u8]) -> Result<Session, WireError> {
    Ok(decode_with_namespace(value)?.0)
}

/// Reads a stored session and its namespace. The namespace is `None` in a session that a Node
/// server stored.
///
/// # Errors
///
/// Returns an error if the value is not a session: see [`WireError`].
pub fn decode_with_namespace(value: &[u8]) -> Result<(Session, Option<ByteString>), WireError> {
    let bytes = Bytes::from(base64::decode(value)?);
    let mut reader = msgpack::Reader::new(&bytes);
    let (mut sid, mut pid, mut rooms, mut data, mut nsp) = (None, None, None, None, None);
    reader.map(|key, value| {
        match &*key {
            "sid" => sid = Some(value.str()?),
            "pid" => pid = Some(value.str()?),
            "rooms" => rooms = Some(names(value)?),
            "data" => data = Some(payload(value)?),
            "nsp" => nsp = Some(value.str()?),
            _ => drop(value.raw()?),
        }
        Ok::<(), MsgPackError>(())
    })?;
    reader.end()?;
    let session = Session {
        sid: sid.ok_or(WireError::MissingField("sid"))?,
        pid: pid.ok_or(WireError::MissingField("pid"))?,
        rooms: rooms.ok_or(WireError::MissingField("rooms"))?,
        // Some encoders omit a value that is `undefined` in JavaScript.
        data: data.unwrap_or_else(Payload::empty_object),
    };
    Ok((session, nsp))
}

/// Writes a session as the peers do, with the same keys in the same order. Data that is `null` is
/// written as `{}`: Node applications read properties of it.
///
/// # Errors
///
/// Returns an error if its data can't be converted to MessagePack for Node peers: see
/// [`PayloadError`].
pub fn encode(session: &Session) -> Result<Bytes, PayloadError> {
    write(session, None)
}

/// Writes a session as [`encode`] does, followed by its namespace.
///
/// # Errors
///
/// Returns an error if its data can't be converted to MessagePack for Node peers: see
/// [`PayloadError`].
pub fn encode_with_namespace(session: &Session, nsp: &str) -> Result<Bytes, PayloadError> {
    write(session, Some(nsp))
}

fn write(session: &Session, nsp: Option<&str>) -> Result<Bytes, PayloadError> {
    let mut encoder = MsgPackEncoder::default();
    encoder.map(4 + usize::from(nsp.is_some()), |encoder| {
        encoder.key("sid");
        encoder.str(&session.sid);
        encoder.key("pid");
        encoder.str(&session.pid);
        encoder.key("rooms");
        encoder.array(session.rooms.len(), |encoder| {
            session.rooms.iter().for_each(|room| encoder.str(room));
            Ok::<(), PayloadError>(())
        })?;
        encoder.key("data");
        encoder.payload(&session.data.clone().or_empty_object())?;
        if let Some(nsp) = nsp {
            encoder.key("nsp");
            encoder.str(nsp);
        }
        Ok::<(), PayloadError>(())
    })?;
    Ok(base64::encode(&encoder.out).into())
}
