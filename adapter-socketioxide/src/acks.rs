//! Acknowledgements of other servers' clients.

use futures_util::stream::{BoxStream, Fuse, Stream, StreamExt};
use serde::de::DeserializeOwned;
use sio_streams_driver::Acks;
use socketioxide_core::Sid;
use socketioxide_core::adapter::AckStreamItem;

use crate::encoding::Form;

/// The acknowledgements of all servers' clients. Those of other servers bear no id of a socket, but
/// [`Sid::ZERO`]: the wire has none.
pub type AckStream<E> = Fuse<BoxStream<'static, AckStreamItem<E>>>;

/// Returns the acknowledgements of other servers' clients. Each that does not come in time, or can't
/// be read, is an error.
pub(crate) fn of_others<E: DeserializeOwned>(
    acks: Acks,
    form: Form,
) -> impl Stream<Item = AckStreamItem<E>> + Send {
    acks.with_missing().filter_map(move |argument| async move {
        let value = argument.and_then(|argument| {
            form.ack(&argument)
                .inspect_err(
                    |error| tracing::warn!(%error, "this server's parser can't hold an acknowledgement"),
                )
                .ok()
        });
        // The framework alone knows the type of its error for an acknowledgement that did not come in
        // time. This is the serde form in which the framework's own adapters send it.
        let late = || serde_json::from_str("\"Timeout\"").ok();
        Some((Sid::ZERO, value.map(Ok).or_else(|| late().map(Err))?))
    })
}
