//! The error of a call that the engine or an emitter refuses, and the limits that it names.

use core::fmt;

use crate::payload::PayloadError;

/// The limited quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::in_flight`](crate::Limits::in_flight).
    InFlight,
    /// [`Limits::in_flight_bytes`](crate::Limits::in_flight_bytes).
    InFlightBytes,
    /// [`Limits::requests`](crate::Limits::requests).
    Requests,
    /// [`Limits::namespaces`](crate::Limits::namespaces).
    Namespaces,
    /// [`Recovery::sessions`](crate::Recovery::sessions).
    Sessions,
    /// [`Recovery::sessions_bytes`](crate::Recovery::sessions_bytes).
    SessionsBytes,
    /// [`Recovery::replay_entries`](crate::Recovery::replay_entries).
    ReplayEntries,
    /// [`Recovery::replay_bytes`](crate::Recovery::replay_bytes).
    ReplayBytes,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::InFlight => "messages in flight",
            Limit::InFlightBytes => "bytes in flight",
            Limit::Requests => "open requests",
            Limit::Namespaces => "namespaces",
            Limit::Sessions => "sessions on their way",
            Limit::SessionsBytes => "bytes of sessions on their way",
            Limit::ReplayEntries => "missed broadcasts",
            Limit::ReplayBytes => "bytes of missed broadcasts",
        })
    }
}

/// The reason why the engine refused a call. A refused call has no effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The namespace is not open on this node.
    #[error("the namespace {0:?} is not open: open it first")]
    UnknownNamespace(String),
    /// The channels of the first namespace can't be told from those of the second one's rooms or
    /// nodes, or the other way round.
    #[error("the namespace {0:?} can't be told from {1:?} by its channels: leave out the '#'")]
    Overlap(String, String),
    /// The namespace is open already, or is being closed.
    #[error("the namespace {0:?} is open already, or is being closed")]
    NamespaceInUse(String),
    /// The name of a namespace must begin with a slash.
    #[error("the namespace {0:?} does not begin with '/'")]
    InvalidNamespace(String),
    /// The value can't be sent to Node peers.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Node's servers reserve the event's name, or throw on it.
    #[error("the event name {0:?} can't be used between servers")]
    ReservedEvent(String),
    /// The message holds binary data, and `only_plaintext` is set.
    #[error("the message holds binary data, but only_plaintext is set")]
    Binary,
    /// This node does not have the socket.
    #[error("the socket {0:?} is not on this node")]
    UnknownSocket(String),
    /// The rooms are the application's, so the engine can't change or list them.
    #[error("the rooms are the application's (room_owner): ask it, not the engine")]
    RoomsOfApplication,
    /// Connection state recovery is off.
    #[error("connection state recovery is off: set the option recovery")]
    RecoveryOff,
    /// The text can't be a session's private id, which becomes part of a key.
    #[error("a private session id consists of 1 to {} letters, digits, '-' and '_'", crate::MAX_PID)]
    InvalidPid,
    /// The session is larger than [`session_bytes`](crate::Recovery::session_bytes).
    #[error("the session takes {size} bytes; at most {limit} are stored")]
    SessionTooLarge {
        /// The session's size, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// One of the [`Limits`](crate::Limits) is reached. The call can be retried when events report
    /// that something is done.
    #[error("the limit of {limit} {what} is reached")]
    Full {
        /// The limited quantity.
        what: Limit,
        /// The limit.
        limit: usize,
    },
}
