//! A stored session: base64 of MessagePack of `{sid, pid, rooms, data}`, as the peers write it under `<sessionKeyPrefix><pid>`.
//!
//! This project's nodes add `nsp`, the namespace, so that nobody takes a session into another one. The peers pass over it,
//! and don't write it.

use bytes::Bytes;
use bytestring::ByteString;

use super::encoder::{Encoder, MsgPackEncoder};
use super::msgpack_body::{names, payload};
use super::{WireError, base64};
use crate::msgpack::{self, MsgPackError};
use crate::payload::{Payload, PayloadError};
use crate::session::Session;

/// Reads a stored session. Keys that this crate doesn't know are passed over.
///
/// # Errors
///
/// If it is none: see [`WireError`].
pub fn decode(value: &[u8]) -> Result<Session, WireError> {
    Ok(decode_with_namespace(value)?.0)
}

/// Reads a stored session, and the namespace that it is of, if that is written there: Node's servers don't write it.
///
/// # Errors
///
/// If it is none: see [`WireError`].
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
        // What JavaScript calls undefined is not written by every encoder.
        data: data.unwrap_or_else(Payload::null),
    };
    Ok((session, nsp))
}

/// Writes a session, as the peers do: the same keys in the same order.
///
/// # Errors
///
/// If its data can't be put into MessagePack for Node peers; see [`PayloadError`].
pub fn encode(session: &Session) -> Result<Bytes, PayloadError> {
    write(session, None)
}

/// Writes a session of a namespace: as [`encode`] does, and the namespace behind it.
///
/// # Errors
///
/// If its data can't be put into MessagePack for Node peers; see [`PayloadError`].
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
        encoder.payload(&session.data)?;
        if let Some(nsp) = nsp {
            encoder.key("nsp");
            encoder.str(nsp);
        }
        Ok::<(), PayloadError>(())
    })?;
    Ok(base64::encode(&encoder.out).into())
}
