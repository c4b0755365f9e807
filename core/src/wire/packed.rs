//! Reading the `data` of a message from MessagePack.

use bytestring::ByteString;

use super::WireError;
use super::data::{BROADCAST, Data, PacketData};
use super::msgpack::{Head, MsgPackError, Reader};
use crate::packet::{BroadcastOptions, EVENT, Flags, Packet, RemoteSocket};
use crate::payload::{Encoding, Payload};

/// Reads the data of a message of this kind.
pub(super) fn read(kind: u8, reader: &mut Reader<'_>) -> Result<Data, WireError> {
    let mut data = Data::default();
    reader.map(|key, value| {
        let known = matches!(&*key, "packet" | "opts" | "requestId" | "rooms" | "close" | "sockets" | "clientCount");
        // A key with nothing behind it counts as absent, except an answer of null.
        if !known || (key != "packet" && value.nil()?) {
            if !known {
                value.raw()?;
            }
            return Ok(());
        }
        match &*key {
            "packet" if kind == BROADCAST => data.packet = Some(PacketData::Packet(packet(value)?)),
            "packet" => data.packet = Some(PacketData::Value(payload(value)?)),
            "opts" => data.opts = Some(opts(value)?),
            "requestId" => data.request_id = Some(value.str()?),
            "rooms" => data.rooms = Some(names(value)?),
            "close" => data.close = Some(value.bool()?),
            "sockets" => data.sockets = Some(value.array(socket)?),
            _ => data.client_count = Some(value.unsigned()?),
        }
        Ok::<(), WireError>(())
    })?;
    Ok(data)
}

fn payload(reader: &mut Reader<'_>) -> Result<Payload, MsgPackError> {
    Ok(Payload::from_wire(Encoding::MsgPack, reader.raw()?))
}

/// Room names may be numbers in JavaScript: they count by their text.
fn name(reader: &mut Reader<'_>) -> Result<ByteString, MsgPackError> {
    let number = match reader.peek()? {
        Head::Unsigned(n) => n.to_string(),
        Head::Signed(n) => n.to_string(),
        Head::Float(n) => n.to_string(),
        _ => return reader.str(),
    };
    reader.raw()?;
    Ok(number.into())
}

fn names(reader: &mut Reader<'_>) -> Result<Vec<ByteString>, MsgPackError> {
    reader.array(name)
}

fn packet(reader: &mut Reader<'_>) -> Result<Packet, WireError> {
    let (mut kind, mut data, mut nsp, mut id) = (EVENT, None, None, None);
    reader.map(|key, value| {
        match &*key {
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

fn opts(reader: &mut Reader<'_>) -> Result<BroadcastOptions, WireError> {
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
    reader.map(|key, value| {
        let switch = value.clone().bool().ok();
        let millis = value.clone().unsigned().ok();
        let raw = payload(value)?;
        if !flags.set(&key, switch, millis) {
            flags.other.push((key, raw));
        }
        Ok::<(), MsgPackError>(())
    })?;
    Ok(flags)
}

fn socket(reader: &mut Reader<'_>) -> Result<RemoteSocket, WireError> {
    let mut id = None;
    let mut socket =
        RemoteSocket { id: ByteString::new(), handshake: Payload::null(), rooms: Vec::new(), data: Payload::null() };
    reader.map(|key, value| {
        match &*key {
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
