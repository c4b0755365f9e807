//! The limits of what is read.

/// The limits of a single reply. A reply that exceeds one is an [error](crate::RespError) as soon as
/// that is known, before it has arrived.
///
/// ```
/// use sio_streams_resp::{Reader, ReadLimits, RespError};
///
/// let mut reader = Reader::new(ReadLimits::default().with_bytes(1_000));
/// reader.feed(b"$1000000\r\n");
/// assert_eq!(reader.read(), Err(RespError::TooLong { limit: 1_000 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadLimits {
    /// The deepest nesting of lists, in levels. 32 by default; more than [`ReadLimits::MAX_DEPTH`]
    /// counts as that. The replies to the engine's commands are nested six levels deep at most.
    pub depth: usize,
    /// The length of a reply with all its parts and marks, in bytes. 1 GiB by default, which is
    /// twice the longest string that Redis stores with its default settings.
    pub bytes: usize,
}

impl ReadLimits {
    /// The greatest depth that can be set. Decoding takes stack for each level.
    pub const MAX_DEPTH: usize = 128;

    /// Returns the limits with another depth, in levels.
    #[must_use]
    pub fn with_depth(self, depth: usize) -> Self {
        ReadLimits { depth, ..self }
    }

    /// Returns the limits with another length, in bytes.
    #[must_use]
    pub fn with_bytes(self, bytes: usize) -> Self {
        ReadLimits { bytes, ..self }
    }
}

impl Default for ReadLimits {
    fn default() -> Self {
        ReadLimits { depth: 32, bytes: 1 << 30 }
    }
}
