//! What is kept of a client while it is away, and what becomes of it.

use std::sync::Arc;

use bytestring::ByteString;

use crate::command::CommandError;
use crate::id::{EntryId, NodeId, Ticket};
use crate::packet::Packet;
use crate::payload::Payload;
use crate::rooms::RoomChange;

/// The longest private session id that is accepted, in bytes. Those of Node's servers have 20.
pub const MAX_PID: usize = 64;

/// The state of a client's connection in one namespace: what a server stores when the client is gone, and what any server of the cluster, ours
/// or Node's, makes a socket of again.
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
    /// The socket's id, which everybody may know.
    pub sid: ByteString,
    /// The private id of the session, which only the client knows: whoever has it can take the session. Draw it at random, of letters, digits, `-`
    /// and `_`, at most [`MAX_PID`] of them.
    pub pid: ByteString,
    /// The rooms that the socket was in, the one with its own id included.
    pub rooms: Vec<ByteString>,
    /// What the application attached to the socket.
    pub data: Payload,
}

/// Whether this may be the private id of a session. It comes from a client and becomes part of a key.
pub(crate) fn is_pid(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_PID).contains(&text.len()) && text.bytes().all(fits)
}

/// A client is back: [`Event::Restored`](crate::Event::Restored).
#[derive(Clone, Debug)]
pub struct Restored {
    /// What [`restore_session`](crate::Engine::restore_session) returned.
    pub ticket: Ticket,
    /// The namespace.
    pub nsp: ByteString,
    /// Its session. The store does not have it any more.
    pub session: Session,
    /// What it missed, in order.
    pub missed: Vec<Missed>,
    /// Up to which entry of the stream that is all. What comes behind it is delivered as to any socket.
    pub position: EntryId,
    /// What has changed in the rooms: the socket has been added, and is in its rooms.
    pub changes: Vec<RoomChange>,
}

/// A packet that a client missed. Cloning is cheap: all who missed it share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed(pub(crate) Arc<Kept>);

impl Missed {
    /// The packet.
    pub fn packet(&self) -> &Packet {
        &self.0.packet
    }

    /// Its id in the stream: to be appended to the packet's data, as with a [`Delivery`](crate::Delivery).
    pub fn offset(&self) -> EntryId {
        self.0.id
    }
}

/// A packet that may be missed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) id: EntryId,
    pub(crate) nsp: ByteString,
    pub(crate) packet: Packet,
    pub(crate) rooms: Box<[ByteString]>,
    pub(crate) except: Box<[ByteString]>,
    /// Who wrote it, and under which number, if the author numbers its entries.
    pub(crate) author: Option<(NodeId, u64)>,
    /// What it counts against the bounds.
    pub(crate) size: usize,
}

/// Why a client's state could not be recovered: it begins anew, as any client that connects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotRecovered {
    /// The client's session id is none.
    #[error("this is no private session id")]
    InvalidPid,
    /// The client's offset is none.
    #[error("this is no offset")]
    InvalidOffset,
    /// There is no such session: it has expired, was restored already, or never was.
    #[error("there is no such session")]
    NoSession,
    /// The session takes more bytes than `session_bytes` allows.
    #[error("the session takes more than {limit} bytes")]
    SessionTooLarge {
        /// The limit.
        limit: usize,
    },
    /// What is stored is no session.
    #[error("what is stored is no session: {0}")]
    Malformed(String),
    /// The session was stored in another namespace.
    #[error("the session is of the namespace {0:?}")]
    OtherNamespace(String),
    /// The stream does not go back to the offset any more.
    #[error("the stream begins behind the offset")]
    Trimmed,
    /// No broadcast of the namespace has this offset.
    #[error("no broadcast of the namespace has this offset")]
    UnknownOffset,
    /// The client was away for so much that it can't all be sent.
    #[error("the client missed too much: the limit of {limit} {what} is reached")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Too many sessions are being restored at once.
    #[error("too many sessions are being restored: the limit of {limit} {what} is reached")]
    Busy {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Node peers write the namespace to another stream than they read, so that what was missed has no order.
    #[error("the namespace lies on two streams: Node peers write it to one that they don't read")]
    TwoStreams,
    /// The namespace was closed meanwhile.
    #[error("the namespace was closed")]
    Closed,
    /// It took too long: Redis is away, or this node is too far behind the stream.
    #[error("it took too long")]
    TimedOut,
    /// Redis refused, or can't be asked.
    #[error(transparent)]
    Command(#[from] CommandError),
}
