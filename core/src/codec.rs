//! The application's own format for the messages of the classic dialect.

use core::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// The `parser` option of the classic adapter: another format for the messages that it writes in
/// MessagePack by default. All nodes and emitters of a cluster must use the same one.
///
/// ```
/// use sio_streams_core::{Bytes, Codec, PayloadCodec};
///
/// #[derive(Debug)]
/// struct Reversed;
///
/// impl Codec for Reversed {
///     fn encode(&self, msgpack: Bytes) -> Bytes {
///         core::iter::once(0).chain(msgpack.iter().rev().copied()).collect()
///     }
///     fn decode(&self, payload: &Bytes) -> Result<Bytes, String> {
///         match payload.split_first() {
///             Some((0, reversed)) => Ok(reversed.iter().rev().copied().collect()),
///             _ => Err("it does not begin with a zero".to_owned()),
///         }
///     }
/// }
///
/// let config = sio_streams_core::Config { parser: Some(PayloadCodec::new(Reversed)), ..Default::default() };
/// ```
pub trait Codec: fmt::Debug + Send + Sync {
    /// Converts from MessagePack. The result must not begin with `{`: a message that does is read as
    /// JSON, here and by Node's adapter.
    fn encode(&self, msgpack: Bytes) -> Bytes;

    /// Converts to MessagePack.
    ///
    /// # Errors
    ///
    /// Returns the reason why the bytes are not in this codec's format. The message is then skipped
    /// and reported.
    fn decode(&self, payload: &Bytes) -> Result<Bytes, String>;
}

/// A shared [`Codec`].
#[derive(Clone, Debug)]
pub struct PayloadCodec(Arc<dyn Codec>);

impl PayloadCodec {
    /// Wraps a codec.
    pub fn new(codec: impl Codec + 'static) -> Self {
        PayloadCodec(Arc::new(codec))
    }

    pub(crate) fn codec(&self) -> &dyn Codec {
        &*self.0
    }
}

impl PartialEq for PayloadCodec {
    /// Returns `true` if both share one codec.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for PayloadCodec {}
