//! The future of a message that is being published.

use core::pin::Pin;
use core::task::{Context, Poll};

use sio_streams_core::EntryId;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::observe;
use crate::outcomes::Fate;

/// A message that is being published. It is already queued, behind all earlier messages, or it was
/// refused. The future resolves to the message's fate.
///
/// Dropping it does not recall the message. If the message is not published then, that is counted
/// and logged.
#[derive(Debug)]
pub struct Publishing(State);

#[derive(Debug)]
enum State {
    /// The node's loop will tell the fate.
    Queued(oneshot::Receiver<Fate>),
    /// The message was refused before it was queued. `None`: the error has been returned, or the
    /// node was closed.
    Refused(Option<Error>),
}

impl Publishing {
    pub(crate) fn queued(fate: oneshot::Receiver<Fate>) -> Self {
        Publishing(State::Queued(fate))
    }

    /// The node is closed. This is not counted as a message that was not published.
    pub(crate) fn closed() -> Self {
        Publishing(State::Refused(None))
    }

    pub(crate) fn refused(error: impl Into<Error>) -> Self {
        Publishing(State::Refused(Some(error.into())))
    }

    /// Returns the error if the message was refused at once, because it would have exceeded the
    /// limits. `None` says that the message is in line, or that the node is closed.
    pub fn refusal(&self) -> Option<&Error> {
        match &self.0 {
            State::Refused(error) => error.as_ref(),
            State::Queued(_) => None,
        }
    }
}

impl Future for Publishing {
    type Output = Result<Option<EntryId>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Queued(fate) => {
                Pin::new(fate).poll(context).map(|fate| fate.unwrap_or(Err(Error::Closed)))
            }
            State::Refused(error) => Poll::Ready(Err(error.take().unwrap_or(Error::Closed))),
        }
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        if let State::Refused(Some(error)) = &self.0 {
            observe::refused(error);
        }
    }
}
