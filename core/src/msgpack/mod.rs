//! MessagePack at the level of bytes. Values are walked over without being built.
//!
//! Input stays in place: a value that the engine does not use is skipped and kept as a slice.
//! Nothing here allocates in proportion to a length that the input merely claims.

mod error;
mod json;
mod reader;
mod rewrite;
mod timestamp;
mod writer;

pub use error::MsgPackError;
pub(crate) use json::{buffer, placeholder, to_json};
pub(crate) use reader::{Facts, Head, Reader, facts};
pub(crate) use rewrite::{First, append, first, prepend, without_extensions};
pub(crate) use timestamp::{TIMESTAMP, date};
pub(crate) use writer::{
    write_array, write_bin, write_bool, write_float, write_map, write_nil, write_signed, write_str,
    write_unsigned,
};

/// The deepest nesting of arrays and maps in output, and in MessagePack input. Deeper input is
/// refused.
///
/// The peers' encoder (`@msgpack/msgpack`) gives up at 100 levels, including the envelope. JSON
/// from peers may be deeper, because a JSON payload is passed on without being walked.
pub const MAX_DEPTH: usize = 100;
