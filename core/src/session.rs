//! Sessions: the stored state of clients that are away, and its recovery.

use std::sync::Arc;

use bytestring::ByteString;

use crate::command::CommandError;
use crate::error::Limit;
use crate::id::{EntryId, NodeId, Ticket};
use crate::packet::Packet;
use crate::payload::Payload;
use crate::rooms::RoomChange;
use crate::wire::Frames;

/// The longest private session id that is accepted, in bytes. Those of Node's servers have 20.
pub const MAX_PID: usize = 64;

/// The state of a client's connection in one namespace. A server stores it when the client
/// disconnects. Any server of the cluster, Rust or Node, can restore a socket from it.
///
/// ```
/// use sio_streams_core::{Payload, Session, wire::session};
///
/// let session = Session {
///     sid: "a socket's id".into(),
///     pid: "kcMGPjpM08c5WNcdAAAC".into(),
///     rooms: vec!["a socket's id".into(), "room1".into()],
///     data: Payload::encode(&("anything",)).unwrap(),
/// };
/// let stored = session::encode(&session).unwrap();
/// assert_eq!(session::decode(&stored).unwrap().rooms, session.rooms);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The socket's id, which is public.
    pub sid: ByteString,
    /// The private id of the session, which only the client knows. Anyone who has it can take over
    /// the session. Draw it at random. It consists of at most [`MAX_PID`] letters, digits, `-` and
    /// `_`.
    pub pid: ByteString,
    /// The rooms that the socket was in, including the one with its own id.
    pub rooms: Vec<ByteString>,
    /// The data that the application attached to the socket. `null` is stored as `{}`.
    pub data: Payload,
}

/// Returns `true` if this may be the private id of a session. The text comes from a client and
/// becomes part of a key.
pub(crate) fn is_pid(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_PID).contains(&text.len()) && text.bytes().all(fits)
}

/// The result of a recovery: see [`Event::Restored`](crate::Event::Restored).
#[derive(Clone, Debug)]
pub struct Restored {
    /// The ticket that [`restore_session`](crate::Engine::restore_session) returned.
    pub ticket: Ticket,
    /// The namespace.
    pub nsp: ByteString,
    /// The client's session, which is no longer stored.
    pub session: Session,
    /// The packets that the client missed, in order.
    pub missed: Vec<Missed>,
    /// The entry of the stream up to which `missed` is complete. Later packets are delivered as to
    /// any socket.
    pub position: EntryId,
    /// The changes in the rooms. The socket has been added, and is in its rooms. If the rooms are the
    /// application's, there are none, and the application makes the socket join the session's rooms
    /// now.
    pub changes: Vec<RoomChange>,
}

/// A packet that a client missed. Cloning is cheap, because all clients that missed the packet
/// share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed(pub(crate) Arc<Kept>);

impl Missed {
    /// Returns the packet.
    pub fn packet(&self) -> &Packet {
        &self.0.packet
    }

    /// Returns the packet's id in the stream. [`frames`](Missed::frames) appends it to the packet's
    /// arguments, as with a [`Delivery`](crate::Delivery).
    pub fn offset(&self) -> EntryId {
        self.0.id
    }

    /// Makes the frames for a client that missed the packet, with the packet's offset.
    pub fn frames(&self) -> Frames {
        self.packet().frames(&self.0.nsp, Some(self.offset()))
    }
}

/// A packet that is kept for clients that may miss it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) id: EntryId,
    pub(crate) nsp: ByteString,
    pub(crate) packet: Packet,
    pub(crate) rooms: Box<[ByteString]>,
    pub(crate) except: Box<[ByteString]>,
    /// The author and the number of the entry, if the author numbers its entries.
    pub(crate) author: Option<(NodeId, u64)>,
    /// The size that counts against the bounds, in bytes.
    pub(crate) size: usize,
}

/// The reason why a client's state could not be recovered. The client then begins anew, like any
/// client that connects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotRecovered {
    /// The text is not a private session id.
    #[error("this is no private session id")]
    InvalidPid,
    /// The text is not an offset.
    #[error("this is no offset")]
    InvalidOffset,
    /// There is no such session. It has expired, was restored already, or never existed.
    #[error("there is no such session")]
    NoSession,
    /// The session takes more bytes than `session_bytes` allows.
    #[error("the session takes more than {limit} bytes")]
    SessionTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The stored value is not a session.
    #[error("what is stored is no session: {0}")]
    Malformed(String),
    /// The session was stored in another namespace.
    #[error("the session is of the namespace {0:?}")]
    OtherNamespace(String),
    /// The stream does not reach back to the offset any more.
    #[error("the stream begins behind the offset")]
    Trimmed,
    /// No broadcast of the namespace has this offset.
    #[error("no broadcast of the namespace has this offset")]
    UnknownOffset,
    /// The client missed more than the limits allow.
    #[error("the client missed too much: the limit of {limit} {what} is reached")]
    TooMuch {
        /// The limited quantity.
        what: Limit,
        /// The limit.
        limit: usize,
    },
    /// Too many sessions are being restored at once.
    #[error("too many sessions are being restored: the limit of {limit} {what} is reached")]
    Busy {
        /// The limited quantity.
        what: Limit,
        /// The limit.
        limit: usize,
    },
    /// Node peers write the namespace to a stream that they do not read, so the missed packets have
    /// no order.
    #[error("the namespace lies on two streams: Node peers write it to one that they don't read")]
    TwoStreams,
    /// The namespace was closed in the meantime.
    #[error("the namespace was closed")]
    Closed,
    /// The recovery took too long: Redis is unavailable, or this node is too far behind the stream.
    #[error("it took too long")]
    TimedOut,
    /// Redis refused a command, or could not be reached.
    #[error(transparent)]
    Command(#[from] CommandError),
}
