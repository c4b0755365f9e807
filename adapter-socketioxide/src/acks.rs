//! Acknowledgements, from this server's clients and from the others'.

use std::fmt;

use futures_util::stream::{self, BoxStream, Fuse, Stream, StreamExt};
use serde::de::DeserializeOwned;
use sio_streams_driver::Acks;
use socketioxide_core::Sid;
use socketioxide_core::adapter::AckStreamItem;

use crate::encoding::Form;

/// The acknowledgements of all servers' clients. Those of other servers bear no id of a socket, but
/// [`Sid::ZERO`]: the wire has none.
pub type AckStream<E> = Fuse<BoxStream<'static, AckStreamItem<E>>>;

/// The largest number of missing acknowledgements that are told one by one. Another server says how
/// many clients it has asked.
const MISSING: u64 = 100_000;

/// The acknowledgements that are still to come from other servers.
enum Rest {
    Values(Acks),
    /// The time is up.
    Missing(u64),
}

/// Returns the acknowledgements of other servers' clients. Each that does not come in time is an
/// error.
pub(crate) fn remote<E>(acks: Acks, form: Form) -> impl Stream<Item = AckStreamItem<E>> + Send
where
    E: DeserializeOwned + fmt::Debug + Send + 'static,
{
    stream::unfold(Rest::Values(acks), move |mut rest| async move {
        loop {
            rest = match rest {
                Rest::Values(mut acks) => match acks.next().await {
                    Some(argument) => {
                        let answer = form.ack(&argument).map(Ok).or_else(|error| {
                            tracing::warn!(%error, "an acknowledgement can't be read by this server's parser");
                            late::<E>().map(Err).ok_or(())
                        });
                        match answer {
                            Ok(answer) => return Some(((Sid::ZERO, answer), Rest::Values(acks))),
                            Err(()) => Rest::Values(acks),
                        }
                    }
                    None => Rest::Missing(missing(acks).await),
                },
                Rest::Missing(0) => return None,
                Rest::Missing(count) => {
                    let error = late::<E>()?;
                    return Some(((Sid::ZERO, Err(error)), Rest::Missing(count - 1)));
                }
            }
        }
    })
}

/// Returns the number of clients that have been asked and have not answered.
async fn missing(acks: Acks) -> u64 {
    let Ok(outcome) = acks.outcome().await else { return 0 };
    if let Some(error) = &outcome.error {
        tracing::warn!(%error, "acknowledgements of other servers' clients could not be asked for");
    } else if !outcome.is_complete() {
        tracing::debug!(?outcome, "acknowledgements are missing");
    }
    outcome.clients.saturating_sub(outcome.acks).min(MISSING)
}

/// Returns the framework's error for an acknowledgement that did not come in time. Its type is known
/// to the framework alone; its serde form is that in which the framework's own adapters send it.
pub(crate) fn late<E: DeserializeOwned>() -> Option<E> {
    serde_json::from_str("\"Timeout\"").ok()
}

/// Puts this server's acknowledgements and those of the others together.
pub(crate) fn all<E: Send + 'static>(
    here: impl Stream<Item = AckStreamItem<E>> + Send + 'static,
    others: Option<impl Stream<Item = AckStreamItem<E>> + Send + 'static>,
) -> AckStream<E> {
    match others {
        Some(others) => stream::select(here, others).boxed().fuse(),
        None => here.boxed().fuse(),
    }
}
