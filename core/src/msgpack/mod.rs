//! MessagePack, seen as bytes: walking over values without building them.
//!
//! What arrives stays where it is: a value that the engine has no use for is skipped and kept as a slice. Nothing here allocates in
//! proportion to a length that the input merely claims.

mod error;
mod reader;
mod rewrite;
mod timestamp;
mod writer;

pub use error::MsgPackError;
pub(crate) use reader::{Facts, Head, Reader, facts};
pub(crate) use rewrite::{First, append, first, prepend, without_extensions};
pub(crate) use timestamp::{TIMESTAMP, date};
pub(crate) use writer::{
    write_array, write_bin, write_bool, write_map, write_signed, write_str, write_unsigned,
};

/// How deep arrays and maps may be nested in what is written, and in MessagePack that is read; deeper input is refused.
///
/// The peers' encoder (`@msgpack/msgpack`) gives up at 100, envelope included. JSON that peers write may be deeper: as a payload it is
/// passed on unseen.
pub const MAX_DEPTH: usize = 100;
