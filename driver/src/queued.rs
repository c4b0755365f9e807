//! The future of a call that is in line.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use sio_streams_core::Outcome;
use tokio::sync::oneshot;

use crate::error::Error;

/// A call that is in line behind all earlier calls of the node's handles. It resolves to the call's
/// result.
///
/// The call takes effect in its turn, whether or not this is polled. Dropping it takes nothing back,
/// except where the call says so.
///
/// ```
/// # use sio_streams_driver::memory::MemoryRedis;
/// # use sio_streams_driver::{Options, start};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (node, _events) = start(Options::default(), MemoryRedis::new().backend())?;
/// let chat = node.open("/chat").await?;
/// chat.add_socket("socket");
/// let changes = chat.join("socket", vec!["room".into()]).await?;
/// assert_eq!(changes.len(), 2, "the room is created, and the socket is in it");
/// # Ok(())
/// # }
/// ```
pub struct Queued<T>(Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>);

impl<T> Queued<T> {
    /// Wraps what follows a call that is in line already.
    pub(crate) fn new(rest: impl Future<Output = Result<T, Error>> + Send + 'static) -> Self {
        Queued(Box::pin(rest))
    }
}

impl<T: Send + 'static> Queued<T> {
    /// Waits for the answers to a request. If it could not be published, its error is the result.
    pub(crate) fn answers(
        started: Queued<()>,
        answers: oneshot::Receiver<T>,
        outcome: fn(&mut T) -> &mut Outcome,
    ) -> Self {
        Queued::new(async move {
            started.await?;
            let mut answers = answers.await.map_err(|_| Error::Closed)?;
            match outcome(&mut answers).error.take() {
                Some(error) => Err(error.into()),
                None => Ok(answers),
            }
        })
    }
}

impl<T> Future for Queued<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl<T> fmt::Debug for Queued<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queued").finish_non_exhaustive()
    }
}
