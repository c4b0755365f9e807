//! The errors of reading MessagePack.

/// Why bytes are not the MessagePack that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MsgPackError {
    /// The bytes end in the middle of a value.
    #[error("the MessagePack value is cut off at byte {at}")]
    Truncated {
        /// Where the bytes end.
        at: usize,
    },
    /// Bytes follow the one value that was expected.
    #[error("bytes follow the MessagePack value, from byte {at}")]
    Trailing {
        /// Where the first surplus byte stands.
        at: usize,
    },
    /// The marker byte 0xc1, which MessagePack never uses.
    #[error("byte {at} is no MessagePack marker")]
    Marker {
        /// Where it stands.
        at: usize,
    },
    /// Arrays and maps are nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    #[error("the MessagePack value is nested too deeply at byte {at}")]
    TooDeep {
        /// Where the first container too many begins.
        at: usize,
    },
    /// A map key is neither a string nor a number, or is `__proto__`. The peers' decoder refuses the whole message.
    #[error("the map key at byte {at} is neither a string nor a number, or is \"__proto__\"")]
    Key {
        /// Where it stands.
        at: usize,
    },
    /// Another kind of value stands here than the message needs.
    #[error("the MessagePack value at byte {at} is not {expected}")]
    Unexpected {
        /// Where the value stands.
        at: usize,
        /// What the message needs.
        expected: &'static str,
    },
}
