//! Reading the `data` of a message from MessagePack.

use bytestring::ByteString;

use super::WireError;
use super::data::{BROADCAST, Data, JOIN, PacketData, RawPacket, Scalar, uses};
use crate::javascript::{OBJECT_TEXT, characters, number_text, whole};
use crate::msgpack::{Head, MsgPackError, Reader};
use crate::packet::{BroadcastOptions, Flags, RemoteSocket};
use crate::payload::{Encoding, Payload};

/// Reads the data of a message of this kind.
pub(super) fn read(kind: u8, reader: &mut Reader<'_>) -> Result<Data, WireError> {
    let mut data = Data::default();
    reader.map(|key, value| {
        match &*key {
            key if !uses(kind, key) => drop(value.raw()?),
            // A nil value counts as absent, except in an answer. The last of equal keys counts.
            key if (key != "packet" || kind == BROADCAST) && value.nil()? => match key {
                "packet" => data.packet = None,
                "opts" => data.opts = None,
                "requestId" => data.request_id = None,
                "rooms" => data.rooms = None,
                "close" => data.close = None,
                "sockets" => data.sockets = None,
                _ => data.client_count = None,
            },
            "packet" if kind == BROADCAST => data.packet = Some(PacketData::Packet(packet(value)?)),
            "packet" => data.packet = Some(PacketData::Value(payload(value)?)),
            "opts" => data.opts = Some(opts(value)?),
            "requestId" => data.request_id = Some(name(value)?),
            "rooms" => data.rooms = Some(joined(kind == JOIN, value)?),
            "close" => data.close = Some(truthy(value)?),
            "sockets" => data.sockets = Some(value.array(socket)?),
            _ => data.client_count = Some(value.unsigned()?),
        }
        Ok::<(), WireError>(())
    })?;
    Ok(data)
}

/// Reads any value without decoding it.
pub(super) fn payload(reader: &mut Reader<'_>) -> Result<Payload, MsgPackError> {
    Ok(Payload::from_wire(Encoding::MsgPack, reader.raw()?))
}

/// Reads the name of a room. In JavaScript, room names may be numbers, and are nil if the
/// application used an `undefined` room. Both are represented by their text.
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

/// Returns `true` if the value is truthy in JavaScript.
pub(super) fn truthy(reader: &mut Reader<'_>) -> Result<bool, MsgPackError> {
    let truthy = match reader.peek()? {
        Head::Nil | Head::Bool(false) | Head::Unsigned(0) | Head::Signed(0) | Head::Str(0) => false,
        Head::Float(n) => n != 0.0 && !n.is_nan(),
        _ => true,
    };
    reader.raw()?;
    Ok(truthy)
}

/// Reads an array of names. A number behind its own text is the same name.
pub(super) fn names(reader: &mut Reader<'_>) -> Result<Vec<ByteString>, MsgPackError> {
    // Numbers are rare. The others take no second list.
    let (mut read, mut numbers) = (0, Vec::new());
    let mut names = reader.array(|reader| {
        if matches!(reader.peek()?, Head::Unsigned(_) | Head::Signed(_) | Head::Float(_)) {
            numbers.push(read);
        }
        read += 1;
        name(reader)
    })?;
    numbers.retain(|&at| at > 0 && names[at] == names[at - 1]);
    if !numbers.is_empty() {
        let (mut at, mut numbers) = (0, numbers.into_iter().peekable());
        names.retain(|_| {
            at += 1;
            numbers.next_if_eq(&(at - 1)).is_none()
        });
    }
    Ok(names)
}

/// Reads the names in any value that JavaScript converts to a set: an array, the characters of a
/// string, the bytes of a binary value, or nil for the empty set.
pub(super) fn set(reader: &mut Reader<'_>) -> Result<Vec<ByteString>, MsgPackError> {
    match reader.peek()? {
        Head::Nil => {
            reader.raw()?;
            Ok(Vec::new())
        }
        Head::Str(_) => Ok(characters(&reader.str()?)),
        Head::Bin(len) => {
            reader.head()?;
            let mut bytes = reader.content(len)?.to_vec();
            bytes.sort_unstable();
            bytes.dedup();
            Ok(bytes.into_iter().map(|byte| byte.to_string().into()).collect())
        }
        _ => names(reader),
    }
}

/// Reads the rooms to join or to leave. A single room may be joined without an array around it.
pub(super) fn joined(join: bool, reader: &mut Reader<'_>) -> Result<Vec<ByteString>, MsgPackError> {
    match reader.peek()? {
        Head::Str(_) | Head::Unsigned(_) | Head::Signed(_) | Head::Float(_) if join => {
            Ok(vec![name(reader)?])
        }
        _ => names(reader),
    }
}

/// Reads a packet. Its validity is checked later, with the whole message.
pub(super) fn packet(reader: &mut Reader<'_>) -> Result<RawPacket, WireError> {
    let mut packet = RawPacket::default();
    reader.map(|key, value| {
        match &*key {
            "type" => packet.kind = Some(scalar(value)?),
            "data" => {
                let (data, facts) = value.raw_with_facts()?;
                packet.data = Some(Payload::from_wire(Encoding::MsgPack, data));
                packet.false_placeholder = facts.has_false_placeholder();
            }
            "nsp" => packet.nsp = Some(scalar(value)?),
            "id" => packet.id = Some(scalar(value)?),
            _ => drop(value.raw()?),
        }
        Ok::<(), MsgPackError>(())
    })?;
    Ok(packet)
}

fn scalar(reader: &mut Reader<'_>) -> Result<Scalar, MsgPackError> {
    let float = |number| whole(number).map_or(Scalar::Other, Scalar::Whole);
    let scalar = match reader.peek()? {
        Head::Str(_) => return Ok(Scalar::Text(reader.str()?)),
        Head::Nil => Scalar::Null,
        Head::Unsigned(number) => Scalar::Whole(number),
        Head::Signed(number) => u64::try_from(number).map_or(Scalar::Other, Scalar::Whole),
        Head::Float(number) => float(number),
        _ => Scalar::Other,
    };
    reader.raw()?;
    Ok(scalar)
}

/// Reads options. In JavaScript, every value except null and undefined has properties. A value that
/// is not an object has none of these.
pub(super) fn opts(reader: &mut Reader<'_>) -> Result<BroadcastOptions, WireError> {
    let mut opts = BroadcastOptions::default();
    if !matches!(reader.peek()?, Head::Map(_)) {
        reader.raw()?;
        return Ok(opts);
    }
    reader.map(|key, value| {
        match &*key {
            "rooms" => opts.rooms = set(value)?,
            "except" => opts.except = set(value)?,
            "flags" => opts.flags = flags(value)?,
            _ => drop(value.raw()?),
        }
        Ok::<(), MsgPackError>(())
    })?;
    Ok(opts)
}

fn flags(reader: &mut Reader<'_>) -> Result<Flags, MsgPackError> {
    let mut flags = Flags::default();
    // In JavaScript, a value that is not an object has none of these properties.
    if !matches!(reader.peek()?, Head::Map(_)) {
        reader.raw()?;
        return Ok(flags);
    }
    reader.map(|key, value| {
        let switch = match value.clone().bool() {
            Ok(switch) => Some(switch),
            // This flag is set by any truthy value.
            Err(_) if key == "volatile" && truthy(&mut value.clone())? => Some(true),
            Err(_) => None,
        };
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
            "id" if value.nil()? => id = None,
            "id" => id = Some(name(value)?),
            "handshake" => socket.handshake = payload(value)?,
            "rooms" if value.nil()? => socket.rooms.clear(),
            "rooms" => socket.rooms = names(value)?,
            "data" => socket.data = payload(value)?,
            _ => drop(value.raw()?),
        }
        Ok::<(), MsgPackError>(())
    })?;
    socket.id = id.ok_or(WireError::MissingField("id"))?;
    Ok(socket)
}
