//! A stored session: base64 of MessagePack of `{sid, pid, rooms, data}`, as the peers write it under `<sessionKeyPrefix><pid>`.
//!
//! This project's nodes add `nsp`, the namespace, so that nobody takes a session into another one. The peers pass over it,
//! and don't write it.

use bytes::Bytes;
use bytestring::ByteString;

use super::packed::{names, payload};
use super::sink::{PackedSink, Sink};
use super::{MsgPackError, WireError, msgpack};
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
    let bytes = Bytes::from(msgpack::from_base64(value)?);
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
    let mut sink = PackedSink::default();
    sink.map(4 + usize::from(nsp.is_some()), |sink| {
        sink.key("sid");
        sink.str(&session.sid);
        sink.key("pid");
        sink.str(&session.pid);
        sink.key("rooms");
        sink.array(session.rooms.len(), |sink| {
            session.rooms.iter().for_each(|room| sink.str(room));
            Ok::<(), PayloadError>(())
        })?;
        sink.key("data");
        sink.payload(&session.data)?;
        if let Some(nsp) = nsp {
            sink.key("nsp");
            sink.str(nsp);
        }
        Ok::<(), PayloadError>(())
    })?;
    Ok(msgpack::to_base64(&sink.out).into())
}
