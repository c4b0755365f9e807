//! Calls: what the handles ask the node's loop to do.

use sio_streams_core::{ByteString, CallError, CommandError, Engine, Session, Ticket, Time};
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::opening::{Done, Token};
use crate::outcomes::Fate;
use crate::waiting::Waiter;

/// Reads or changes the engine's state, and sends the answer itself.
pub(crate) type Ask = Box<dyn FnOnce(&mut Engine, Time) + Send>;

/// Starts something in the engine. Its end is told by an event that bears the ticket.
pub(crate) type Start = Box<dyn FnOnce(&mut Engine, Time) -> Result<Ticket, CallError> + Send>;

/// A call on its way from a handle to the node's loop: what it does to the engine, and what waits
/// for it then.
///
/// Each call holds the sender that its caller is told by. If the loop ends before it has taken a
/// call, that sender is dropped with the call, and the caller gets [`Error::Closed`].
pub(crate) enum Call {
    /// Asks the engine something that it answers at once.
    Ask(Ask),
    /// Starts something. It is refused while too many events have not been taken.
    Start { start: Start, waiter: Waiter, started: oneshot::Sender<Result<(), Error>> },
    /// Publishes a message that was admitted with this weight. It is refused while too many events
    /// have not been taken.
    Publish { start: Start, weight: usize, fate: oneshot::Sender<Fate> },
    /// Stores a restored session again that was not accepted, however many events have not been
    /// taken: otherwise the session would be lost. The number of these events is returned.
    PutBack {
        nsp: ByteString,
        session: Box<Session>,
        saved: oneshot::Sender<Result<(), CommandError>>,
        untaken: oneshot::Sender<Result<usize, Error>>,
    },
    /// Opens a namespace.
    Open { nsp: ByteString, token: Token, done: Done },
    /// Gives up an attempt to open a namespace. The state of the connections is returned.
    Abandon { nsp: ByteString, token: Token, why: oneshot::Sender<String> },
    /// Closes a namespace.
    CloseNamespace { nsp: ByteString, done: Done },
    /// Closes the node.
    Close { done: oneshot::Sender<()> },
}

/// Sends calls to the node's loop.
///
/// The queue itself is not bounded. Messages are bounded by
/// [`Admission`](crate::admission::Admission). Of all other calls there are no more than there are
/// tasks that wait for them. A bounded queue would let calls that wait for room be overtaken, so
/// that a burst of messages could be published out of order.
#[derive(Clone, Debug)]
pub(crate) struct Calls(mpsc::UnboundedSender<Call>);

/// The same, without keeping the node alive.
#[derive(Clone, Debug)]
pub(crate) struct WeakCalls(mpsc::WeakUnboundedSender<Call>);

/// Returns both ends of a node's queue of calls.
pub(crate) fn calls() -> (Calls, mpsc::UnboundedReceiver<Call>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Calls(sender), receiver)
}

impl Calls {
    pub(crate) fn downgrade(&self) -> WeakCalls {
        WeakCalls(self.0.downgrade())
    }

    /// Queues a call at once, and returns the receiver of its answer.
    pub(crate) fn send<T>(
        &self,
        call: impl FnOnce(oneshot::Sender<T>) -> Call,
    ) -> Result<oneshot::Receiver<T>, Error> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(call(sender)).map_err(|_| Error::Closed)?;
        Ok(receiver)
    }

    /// Asks the engine something that it answers at once.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Engine, Time) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let answer = self.send(|answer| {
            // The caller may have lost interest.
            Call::Ask(Box::new(move |engine, now| drop(answer.send(ask(engine, now)))))
        });
        answer?.await.map_err(|_| Error::Closed)
    }

    /// Starts something whose end `waiter` waits for. Completes when it is started.
    pub(crate) async fn start(
        &self,
        start: impl FnOnce(&mut Engine, Time) -> Result<Ticket, CallError> + Send + 'static,
        waiter: Waiter,
    ) -> Result<(), Error> {
        let started = self.send(|started| Call::Start { start: Box::new(start), waiter, started });
        started?.await.map_err(|_| Error::Closed)?
    }
}

impl WeakCalls {
    /// Asks the engine something that it answers at once.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Engine, Time) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, Error> {
        let calls = self.0.upgrade().map(Calls).ok_or(Error::Closed)?;
        Ok(calls.ask(ask).await??)
    }
}
