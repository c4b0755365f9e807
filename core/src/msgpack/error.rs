//! The errors of reading MessagePack.

/// The reason why bytes are not the expected MessagePack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MsgPackError {
    /// The bytes end in the middle of a value.
    #[error("the MessagePack value is cut off at byte {at}")]
    Truncated {
        /// The position where the bytes end.
        at: usize,
    },
    /// Bytes follow the one value that was expected.
    #[error("bytes follow the MessagePack value, from byte {at}")]
    Trailing {
        /// The position of the first surplus byte.
        at: usize,
    },
    /// The bytes contain the marker 0xc1, which MessagePack never uses.
    #[error("byte {at} is no MessagePack marker")]
    Marker {
        /// The marker's position.
        at: usize,
    },
    /// Arrays and maps are nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    #[error("the MessagePack value is nested too deeply at byte {at}")]
    TooDeep {
        /// The position of the first container that is too deep.
        at: usize,
    },
    /// A map key is neither a string nor a number, or is `__proto__`. The peers' decoder refuses
    /// the whole message.
    #[error("the map key at byte {at} is neither a string nor a number, or is \"__proto__\"")]
    Key {
        /// The key's position.
        at: usize,
    },
    /// The value has another type than the message needs.
    #[error("the MessagePack value at byte {at} is not {expected}")]
    Unexpected {
        /// The value's position.
        at: usize,
        /// The type that the message needs.
        expected: &'static str,
    },
}
