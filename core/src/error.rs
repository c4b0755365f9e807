//! The error of a call that the engine or an emitter refuses.

use crate::payload::PayloadError;

/// Why the engine did not take a call. Nothing has happened then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The namespace is not open on this node.
    #[error("the namespace {0:?} is not open: open it first")]
    UnknownNamespace(String),
    /// Channels of this namespace would be taken for those of rooms, or of nodes, of the other, or the other way round.
    #[error("the namespace {0:?} can't be told from {1:?} by its channels: leave out the '#'")]
    Overlap(String, String),
    /// The namespace is open already, or is just being closed.
    #[error("the namespace {0:?} is open already, or is being closed")]
    NamespaceInUse(String),
    /// A namespace begins with a slash.
    #[error("the namespace {0:?} does not begin with '/'")]
    InvalidNamespace(String),
    /// A value can't be carried to Node peers.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The event's name is one that Node's servers keep for themselves, or on which they throw.
    #[error("the event name {0:?} can't be used between servers")]
    ReservedEvent(String),
    /// The message holds binary data, and `only_plaintext` is set.
    #[error("the message holds binary data, but only_plaintext is set")]
    Binary,
    /// Connection state recovery is off.
    #[error("connection state recovery is off: set the option recovery")]
    RecoveryOff,
    /// Not every text can be a session's private id: it becomes part of a key.
    #[error("a private session id consists of 1 to {} letters, digits, '-' and '_'", crate::MAX_PID)]
    InvalidPid,
    /// The session is larger than [`session_bytes`](crate::Recovery::session_bytes).
    #[error("the session takes {size} bytes; at most {limit} are stored")]
    SessionTooLarge {
        /// What it takes.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// One of the [`Limits`](crate::Limits) is reached. Try again when events show that something is done.
    #[error("the limit of {limit} {what} is reached")]
    Full {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}
