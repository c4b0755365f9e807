//! The state of a connection to Redis.

use core::fmt;

use bytestring::ByteString;

/// The state of a lane's connection, as the holder of the connection reports it.
///
/// ```
/// use sio_streams_core::LinkState;
///
/// let lost = LinkState::down("connection reset by peer");
/// assert!(!lost.is_up());
/// assert_eq!(lost.to_string(), "down: connection reset by peer");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// The connection is there, and the server has accepted it.
    Up,
    /// The connection was lost, or it could not be opened.
    #[non_exhaustive]
    Down {
        /// The reason, in words for an operator.
        reason: ByteString,
    },
}

impl LinkState {
    /// Makes the state of a connection that was lost, or could not be opened. The reason may be
    /// empty if nothing is known.
    pub fn down(reason: impl Into<ByteString>) -> Self {
        LinkState::Down { reason: reason.into() }
    }

    /// Returns `true` if the connection is there.
    pub fn is_up(&self) -> bool {
        *self == LinkState::Up
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkState::Up => f.write_str("up"),
            LinkState::Down { reason } => write!(f, "down: {reason}"),
        }
    }
}
