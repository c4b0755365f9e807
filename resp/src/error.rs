//! Errors in the bytes of a server.

/// The bytes of a server can't be read. Nothing behind them can be read either, so the connection
/// is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RespError {
    /// A value begins with a byte that is no mark of RESP.
    #[error("the server does not speak RESP: a value begins with the byte {0:#04x}")]
    Mark(u8),
    /// A line ends with a line feed that has no carriage return before it.
    #[error("the server does not speak RESP: a line does not end with CR LF")]
    LineEnd,
    /// The length of a string or of a list is not a number of at most ten digits.
    #[error("the server does not speak RESP: a length is not a number")]
    Length,
    /// A string is longer than it was announced.
    #[error("the server does not speak RESP: a string does not end where it was announced to end")]
    StringEnd,
    /// An integer, a double or a big number is not a number.
    #[error("the server does not speak RESP: a number can't be read")]
    Number,
    /// A boolean is neither `t` nor `f`.
    #[error("the server does not speak RESP: a boolean is neither t nor f")]
    Boolean,
    /// A null has a content.
    #[error("the server does not speak RESP: a null has a content")]
    Null,
    /// Lists are nested deeper than [`ReadLimits::depth`](crate::ReadLimits::depth).
    #[error("a reply has lists in lists, more than {limit} levels deep")]
    TooDeep {
        /// The limit, in levels.
        limit: usize,
    },
    /// A reply is longer than [`ReadLimits::bytes`](crate::ReadLimits::bytes), or says that it will
    /// be.
    #[error("a reply has more than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
}
