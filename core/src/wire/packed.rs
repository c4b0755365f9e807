//! Reading the `data` of a message from MessagePack.

use bytestring::ByteString;

use super::WireError;
use super::data::{BROADCAST, Data, OBJECT_TEXT, PacketData, number_text, uses};
use super::msgpack::{Head, MsgPackError, Reader};
use crate::packet::{BroadcastOptions, EVENT, Flags, Packet, RemoteSocket};
use crate::payload::{Encoding, Payload};

/// Reads the data of a message of this kind.
pub(super) fn read(kind: u8, reader: &mut Reader<'_>) -> Result<Data, WireError> {
    let mut data = Data::default();
    reader.map(|key, value| {
        match &*key {
            key if !uses(kind, key) => drop(value.raw()?),
            // A key with nothing behind it counts as absent, except an answer of null.
            key if key != "packet" && value.nil()? => {}
            "packet" if kind == BROADCAST => data.packet = Some(PacketData::Packet(packet(value)?)),
            "packet" => data.packet = Some(PacketData::Value(payload(value)?)),
            "opts" => data.opts = Some(opts(value)?),
            "requestId" => data.request_id = Some(name(value)?),
            "rooms" => data.rooms = Some(names(value)?),
            "close" => data.close = Some(truthy(value)?),
            "sockets" => data.sockets = Some(value.array(socket)?),
            _ => data.client_count = Some(value.unsigned()?),
        }
        Ok::<(), WireError>(())
    })?;
    Ok(data)
}

pub(super) fn payload(reader: &mut Reader<'_>) -> Result<Payload, MsgPackError> {
    Ok(Payload::from_wire(Encoding::MsgPack, reader.raw()?))
}

/// Room names may be numbers in JavaScript, and are nil where somebody named an `undefined` room: they count by their text.
pub(super) fn name(reader: &mut Reader<'_>) -> Result<ByteString, MsgPackError> {
    let text: ByteString = match reader.peek()? {
        Head::Str(_) => return reader.str(),
        Head::Nil => "null".into(),
        Head::Bool(value) => value.to_string().into(),
        Head::Unsigned(n) => number_text(n as f64).into(),
        Head::Signed(n) => number_text(n as f64).into(),
        Head::Float(n) => number_text(n).into(),
        Head::Bin(_) | Head::Array(_) | Head::Map(_) | Head::Ext(..) => ByteString::from_static(OBJECT_TEXT),
    };
    reader.raw()?;
    Ok(text)
}

/// Whether JavaScript takes the value for true.
pub(super) fn truthy(reader: &mut Reader<'_>) -> Result<bool, MsgPackError> {
    let truthy = match reader.peek()? {
        Head::Nil | Head::Bool(false) | Head::Unsigned(0) | Head::Signed(0) | Head::Str(0) => false,
        Head::Float(n) => n != 0.0 && !n.is_nan(),
        _ => true,
    };
    reader.raw()?;
    Ok(truthy)
}

pub(super) fn names(reader: &mut Reader<'_>) -> Result<Vec<ByteString>, MsgPackError> {
    reader.array(name)
}

pub(super) fn packet(reader: &mut Reader<'_>) -> Result<Packet, WireError> {
    let (mut kind, mut data, mut nsp, mut id) = (EVENT, None, None, None);
    reader.map(|key, value| {
        match &*key {
            "type" if value.nil()? => kind = EVENT,
            "type" => kind = u8::try_from(value.unsigned()?).unwrap_or(u8::MAX),
            "data" => data = Some(payload(value)?),
            "nsp" if !value.nil()? => nsp = Some(value.str()?),
            "nsp" => {}
            "id" => id = Some(if value.nil()? { 0 } else { value.unsigned()? }),
            _ => drop(value.raw()?),
        }
        Ok::<(), MsgPackError>(())
    })?;
    let data = data.filter(Payload::is_array).ok_or(WireError::PacketData)?;
    Ok(Packet { kind, data, nsp, id })
}

pub(super) fn opts(reader: &mut Reader<'_>) -> Result<BroadcastOptions, WireError> {
    let mut opts = BroadcastOptions::default();
    reader.map(|key, value| {
        match &*key {
            "rooms" | "except" | "flags" if value.nil()? => {}
            "rooms" => opts.rooms = names(value)?,
            "except" => opts.except = names(value)?,
            "flags" => opts.flags = flags(value)?,
            _ => drop(value.raw()?),
        }
        Ok::<(), MsgPackError>(())
    })?;
    Ok(opts)
}

fn flags(reader: &mut Reader<'_>) -> Result<Flags, MsgPackError> {
    let mut flags = Flags::default();
    // In JavaScript anything has properties: what is no object has none of these.
    if !matches!(reader.peek()?, Head::Map(_)) {
        reader.raw()?;
        return Ok(flags);
    }
    reader.map(|key, value| {
        let switch = value.clone().bool().ok();
        let millis = value.clone().unsigned().ok();
        let raw = payload(value)?;
        if !flags.set(&key, switch, millis) {
            flags.other.push((value.shared(key), raw));
        }
        Ok::<(), MsgPackError>(())
    })?;
    flags.last_counts();
    Ok(flags)
}

pub(super) fn socket(reader: &mut Reader<'_>) -> Result<RemoteSocket, WireError> {
    let mut id = None;
    let mut socket = RemoteSocket {
        id: ByteString::new(),
        handshake: Payload::null(),
        rooms: Vec::new(),
        data: Payload::null(),
    };
    reader.map(|key, value| {
        match &*key {
            "id" if value.nil()? => {}
            "id" => id = Some(name(value)?),
            "handshake" => socket.handshake = payload(value)?,
            "rooms" if value.nil()? => {}
            "rooms" => socket.rooms = names(value)?,
            "data" => socket.data = payload(value)?,
            _ => drop(value.raw()?),
        }
        Ok::<(), MsgPackError>(())
    })?;
    socket.id = id.ok_or(WireError::MissingField("id"))?;
    Ok(socket)
}
