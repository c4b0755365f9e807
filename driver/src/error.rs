//! Errors of a node's calls.

use core::time::Duration;

use sio_streams_core::{ByteString, CallError, CommandError, NotRecovered};

/// The reason that a call on a node failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine refused the call. Nothing has happened.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The engine took the call, but Redis did not carry it out, or it is not known whether it did.
    #[error("not done: {0}")]
    Command(#[from] CommandError),
    /// No node that answered has the socket.
    #[error("no node that answered has the socket {socket:?}; {missing} did not answer")]
    NoSuchSocket {
        /// The socket.
        socket: ByteString,
        /// At least this many nodes did not answer. One of them may have the socket.
        missing: u64,
    },
    /// The client's state could not be recovered. The client begins anew.
    #[error("not recovered: {0}")]
    NotRecovered(#[from] NotRecovered),
    /// Too many events are waiting to be taken by the application.
    #[error("{0} events have not been taken; take them before asking for more")]
    EventsNotTaken(usize),
    /// The application's own function, which was to accept a restored client, has panicked. The
    /// session is not stored any more, and the client begins anew. If the rooms are the node's, the
    /// socket is in them: remove it.
    #[error("the function that accepts a restored client has {0}")]
    AcceptPanicked(String),
    /// A call that blocks its thread was made where tasks run, which it could keep from running.
    /// Nothing has happened.
    #[error("this call blocks its thread, and must not be made in a task: await the one that does not")]
    WouldBlock,
    /// Redis did not let the namespace be opened in time. The attempt is given up; it can be made
    /// again.
    #[error("the namespace {nsp:?} could not be opened within {within:?}: {why}")]
    NotOpened {
        /// The namespace.
        nsp: ByteString,
        /// The time limit: that of the call, or
        /// [`Options::open_within`](crate::Options::open_within).
        within: Duration,
        /// The state of the connections, as far as it is known.
        why: String,
    },
    /// The namespace was closed while it was being opened.
    #[error("the namespace {0:?} was closed before it was open")]
    ClosedMeanwhile(ByteString),
    /// The node is closed.
    #[error("the node is closed")]
    Closed,
}
