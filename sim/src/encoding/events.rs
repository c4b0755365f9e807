//! Events, and what they carry.

use std::error::Error;

use base64::DecodeError;
use serde_json::error::Category;
use sio_streams_core::wire::{MsgPackError, WireError};
use sio_streams_core::{
    AckResponder, Answer, BroadcastOptions, Delivery, DownReason, EmitResponder, Event, Flags, Lost, Missed,
    Moved, NodeId, NotRecovered, Outcome, Packet, RemoteSocket, Restored, RoomChange, Session,
    SocketsResponder, Source,
};

use super::{Encode, Encoder, unknown};

/// The addressed sockets are left out where the event also has what follows from them, and so is the
/// node that demanded it, which the stream tells.
impl Encode for Event {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Event::Ready { nsp } => out.tag(1).put(nsp),
            Event::Closed { nsp } => out.tag(2).put(nsp),
            Event::Broadcast(delivery) => out.tag(3).put(delivery),
            Event::SocketsJoin(moved) => out.tag(4).put(moved),
            Event::SocketsLeave(moved) => out.tag(5).put(moved),
            Event::DisconnectSockets { nsp, opts: _, sockets, close, from: _ } => {
                out.tag(6).put(nsp).put(sockets).put(close)
            }
            Event::FetchSockets { nsp, opts: _, sockets, responder } => {
                out.tag(7).put(nsp).put(sockets).put(responder)
            }
            Event::ServerSideEmit { nsp, packet, from, responder } => {
                out.tag(8).put(nsp).put(packet).put(name(from)).put(responder)
            }
            Event::Published { ticket, entry } => out.tag(9).put(ticket).put(entry),
            Event::PublishFailed { ticket, error } => out.tag(10).put(ticket).put(error),
            Event::NoticeFailed { stream, error } => out.tag(11).put(stream).put(error),
            Event::Answer { ticket, from, answer } => out.tag(12).put(ticket).put(name(from)).put(answer),
            Event::RequestDone { ticket, outcome } => out.tag(13).put(ticket).put(outcome),
            Event::ServerCount { ticket, count } => out.tag(14).put(ticket).put(count),
            Event::SessionSaved { ticket, result } => out.tag(15).put(ticket).put(result),
            Event::Restored(restored) => out.tag(16).put(restored),
            Event::NotRecovered { ticket, reason } => out.tag(17).put(ticket).put(reason),
            Event::NodeUp { nsp, node } => out.tag(18).put(nsp).put(node),
            Event::NodeDown { nsp, node, reason } => out.tag(19).put(nsp).put(node).put(reason),
            Event::Skipped { source, reason } => out.tag(20).put(source).put(reason),
            Event::Link { lane, link } => out.tag(21).put(lane).put(&link.is_up()),
            Event::Rewound { stream, cursor, last, lost } => {
                out.tag(22).put(stream).put(cursor).put(last).put(lost)
            }
            Event::Gap { stream, after, until, lost } => {
                out.tag(23).put(stream).put(after).put(until).put(lost)
            }
            Event::Repeated { stream, id, from } => out.tag(24).put(stream).put(id).put(from),
            Event::NameTaken { stream, id } => out.tag(25).put(stream).put(id),
            Event::Refused { lane, channel: None, error } => out.tag(26).put(lane).put(error),
            Event::Refused { lane, channel: Some(channel), error } => {
                out.tag(27).put(lane).put(channel).put(error)
            }
            other => unknown(other),
        };
    }
}

impl Encode for Delivery {
    fn encode(&self, out: &mut Encoder) {
        let Delivery { nsp, packet, opts, entry, offset, from, responder } = self;
        out.put(nsp).put(packet).put(opts).put(entry).put(offset).put(name(from)).put(responder);
    }
}

/// Nobody has the empty name.
fn name(from: &Option<NodeId>) -> &str {
    from.as_ref().map_or("", NodeId::as_str)
}

impl Encode for Packet {
    fn encode(&self, out: &mut Encoder) {
        // The type of an event, which a packet once named.
        out.put(&2_u8).put(self.data()).put(&self.nsp().cloned()).put(&self.id());
    }
}

impl Encode for BroadcastOptions {
    fn encode(&self, out: &mut Encoder) {
        let BroadcastOptions { rooms, except, flags } = self;
        out.put(rooms).put(except).put(flags);
    }
}

impl Encode for Flags {
    fn encode(&self, out: &mut Encoder) {
        let Flags { volatile, compress, local, broadcast, binary, timeout, expect_single_response, other } =
            self;
        out.put(volatile).put(compress).put(local).put(broadcast).put(binary).put(timeout);
        out.put(expect_single_response).put(other);
    }
}

/// The wish for an answer counts here. The command that carries the answer shows its receiver.
impl Encode for SocketsResponder {
    fn encode(&self, _: &mut Encoder) {}
}

impl Encode for EmitResponder {
    fn encode(&self, _: &mut Encoder) {}
}

impl Encode for AckResponder {
    fn encode(&self, _: &mut Encoder) {}
}

impl Encode for Moved {
    fn encode(&self, out: &mut Encoder) {
        let Moved { nsp, opts: _, sockets, rooms, changes, from: _ } = self;
        out.put(nsp).put(sockets).put(rooms).put(changes);
    }
}

impl Encode for RoomChange {
    fn encode(&self, out: &mut Encoder) {
        match self {
            RoomChange::Create { room } => out.tag(1).put(room),
            RoomChange::Join { room, socket } => out.tag(2).put(room).put(socket),
            RoomChange::Leave { room, socket } => out.tag(3).put(room).put(socket),
            RoomChange::Delete { room } => out.tag(4).put(room),
        };
    }
}

impl Encode for Answer {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Answer::Sockets(sockets) => out.tag(1).put(sockets),
            Answer::Emit(value) => out.tag(2).put(value),
            Answer::ClientCount(clients) => out.tag(3).put(clients),
            Answer::Ack(value) => out.tag(4).put(value),
            Answer::SocketIds(ids) => out.tag(5).put(ids),
            Answer::Rooms(rooms) => out.tag(6).put(rooms),
            Answer::Done => out.tag(7),
            other => unknown(other),
        };
    }
}

impl Encode for RemoteSocket {
    fn encode(&self, out: &mut Encoder) {
        let RemoteSocket { id, handshake, rooms, data } = self;
        out.put(id).put(handshake).put(rooms).put(data);
    }
}

impl Encode for Outcome {
    fn encode(&self, out: &mut Encoder) {
        let Outcome {
            answered,
            answered_unnamed,
            missing,
            missing_unnamed,
            timed_out,
            pending,
            clients,
            acks,
            error,
        } = self;
        out.put(answered).put(answered_unnamed).put(missing).put(missing_unnamed).put(timed_out);
        out.put(pending).put(clients).put(acks).put(error);
    }
}

impl Encode for Restored {
    fn encode(&self, out: &mut Encoder) {
        let Restored { ticket, nsp, session, missed, position, changes } = self;
        out.put(ticket).put(nsp).put(session).put(missed).put(position).put(changes);
    }
}

impl Encode for Session {
    fn encode(&self, out: &mut Encoder) {
        let Session { sid, pid, rooms, data } = self;
        out.put(sid).put(pid).put(rooms).put(data);
    }
}

impl Encode for Missed {
    fn encode(&self, out: &mut Encoder) {
        out.put(self.packet()).put(&self.offset());
    }
}

impl Encode for NotRecovered {
    fn encode(&self, out: &mut Encoder) {
        match self {
            NotRecovered::InvalidPid => out.tag(1),
            NotRecovered::InvalidOffset => out.tag(2),
            NotRecovered::NoSession => out.tag(3),
            NotRecovered::SessionTooLarge { limit } => out.tag(4).put(limit),
            NotRecovered::Malformed(_) => out.tag(5),
            NotRecovered::OtherNamespace(nsp) => out.tag(6).put(nsp),
            NotRecovered::Trimmed => out.tag(7),
            NotRecovered::UnknownOffset => out.tag(8),
            NotRecovered::TooMuch { what: _, limit } => out.tag(9).put(limit),
            NotRecovered::Busy { what: _, limit } => out.tag(10).put(limit),
            NotRecovered::TwoStreams => out.tag(11),
            NotRecovered::Closed => out.tag(12),
            NotRecovered::TimedOut => out.tag(13),
            NotRecovered::Command(error) => out.tag(14).put(error),
            other => unknown(other),
        };
    }
}

impl Encode for DownReason {
    fn encode(&self, out: &mut Encoder) {
        match self {
            DownReason::Closed => out.tag(1),
            DownReason::Silent => out.tag(2),
            other => unknown(other),
        };
    }
}

impl Encode for Lost {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Lost::Exactly(entries) => out.tag(1).put(entries),
            Lost::Unknown => out.tag(2),
        };
    }
}

impl Encode for Source {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Source::Entry { stream, id } => out.tag(1).put(stream).put(id),
            Source::Channel { channel } => out.tag(2).put(channel),
            other => unknown(other),
        };
    }
}

/// Returns the error of this library.
fn library<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> &'a T {
    error.downcast_ref().expect("it is the library's error")
}

impl Encode for WireError {
    fn encode(&self, out: &mut Encoder) {
        match self {
            WireError::MissingField(field) => out.tag(1).put(*field),
            WireError::UnknownType(kind) => out.tag(2).put(kind),
            WireError::MissingKey { kind, key } => out.tag(3).put(kind).put(*key),
            WireError::Json(error) => {
                out.tag(4).put(&library::<serde_json::Error>(error.library()).classify())
            }
            WireError::MsgPack(error) => out.tag(5).put(error),
            WireError::Base64(error) => out.tag(6).put(library::<DecodeError>(error.library())),
            WireError::Codec(_) => out.tag(7),
            WireError::NameTooLong { size, limit } => out.tag(8).put(size).put(limit),
            WireError::PacketData => out.tag(9),
            WireError::RoomName => out.tag(10),
            WireError::PacketType => out.tag(11),
            WireError::PacketId => out.tag(12),
            WireError::EventName => out.tag(13),
            WireError::Placeholder => out.tag(14),
            other => unknown(other),
        };
    }
}

impl Encode for Category {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Category::Io => out.tag(1),
            Category::Syntax => out.tag(2),
            Category::Data => out.tag(3),
            Category::Eof => out.tag(4),
        };
    }
}

impl Encode for MsgPackError {
    fn encode(&self, out: &mut Encoder) {
        match self {
            MsgPackError::Truncated { at } => out.tag(1).put(at),
            MsgPackError::Trailing { at } => out.tag(2).put(at),
            MsgPackError::Marker { at } => out.tag(3).put(at),
            MsgPackError::TooDeep { at } => out.tag(4).put(at),
            MsgPackError::Key { at } => out.tag(5).put(at),
            MsgPackError::Unexpected { at, expected: _ } => out.tag(6).put(at),
            other => unknown(other),
        };
    }
}

impl Encode for DecodeError {
    fn encode(&self, out: &mut Encoder) {
        match self {
            DecodeError::InvalidByte(at, byte) => out.tag(1).put(at).put(byte),
            DecodeError::InvalidLength(length) => out.tag(2).put(length),
            DecodeError::InvalidLastSymbol(at, byte) => out.tag(3).put(at).put(byte),
            DecodeError::InvalidPadding => out.tag(4),
        };
    }
}
