//! The future of a call that is in line.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

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
