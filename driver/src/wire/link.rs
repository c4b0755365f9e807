//! The trait for one connection of a client crate.

use sio_streams_core::{Bytes, CommandError};
use sio_streams_resp::{Args, Subscription, Value};

/// One connection of a client crate.
pub trait Wire: Send + 'static {
    /// Sends commands, in order, and returns one result for each, in the same order. A refusal is a
    /// [`Value::Error`].
    ///
    /// Nothing is sent twice. [`CommandError::NotSent`] and [`CommandError::Lost`] must be told
    /// apart: see [`Connection::execute`](crate::backend::Connection::execute).
    fn send(&mut self, commands: Vec<Args>) -> impl Future<Output = Vec<Result<Value, CommandError>>> + Send;

    /// Subscribes to channels, or ends subscriptions. Completes when the server has confirmed all
    /// of them. There is at least one channel.
    fn subscribe(&mut self, change: Subscription) -> impl Future<Output = Result<(), CommandError>> + Send;

    /// Makes several changes, in order, and returns one result for each. A wire that can send all
    /// of them before the first is confirmed should do so. Otherwise thousands of rooms that are
    /// joined one by one take as many round trips.
    fn subscribe_all(
        &mut self,
        changes: Vec<Subscription>,
    ) -> impl Future<Output = Vec<Result<(), CommandError>>> + Send {
        async {
            let mut results = Vec::with_capacity(changes.len());
            for change in changes {
                results.push(self.subscribe(change).await);
            }
            results
        }
    }

    /// Completes when the connection is known to be lost, with words for the log. The future may be
    /// dropped, and the method called again.
    fn lost(&mut self) -> impl Future<Output = String> + Send;

    /// Returns `true` if messages are held back because there is no
    /// [room](crate::backend::PushSender::poll_room) for them. Answers behind them are not read
    /// then.
    fn is_stalled(&self) -> bool {
        false
    }

    /// Returns the number of replies that have come so far, or `None` if the wire does not count
    /// them. By this number the answer to a [`ping`](Wire::ping) is noticed although its future was
    /// dropped. Without the number, another ping is sent then, and the time for its answer begins
    /// anew.
    fn replies(&self) -> Option<u64> {
        None
    }

    /// Asks for a sign of life. A refusal is one.
    ///
    /// The future may be dropped. The late reply must not be taken for another command's.
    fn ping(&mut self) -> impl Future<Output = Result<(), CommandError>> + Send {
        async {
            match self.send(vec![[Bytes::from_static(b"PING")].into()]).await.pop() {
                Some(Err(error)) => Err(error),
                _ => Ok(()),
            }
        }
    }
}

/// Returns the error of a command whose reply is missing.
pub(super) fn missing() -> CommandError {
    CommandError::Lost("a reply is missing".into())
}
