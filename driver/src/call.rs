//! Calls: what the handles ask the node's loop to do.

use sio_streams_core::{ByteString, CallError, CommandError, Engine, Session, Ticket, Time};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::opening::{Done, Token};
use crate::outcomes::Fate;
use crate::queued::Queued;
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
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Engine, Time) -> Result<T, CallError> + Send + 'static,
    ) -> Queued<T> {
        let answer = self.send(|answer| {
            // The caller may have lost interest.
            Call::Ask(Box::new(move |engine, now| drop(answer.send(ask(engine, now)))))
        });
        Queued::new(async { Ok(answer?.await.map_err(|_| Error::Closed)??) })
    }

    /// Asks the engine something that it answers at once, and blocks the thread until then.
    pub(crate) fn ask_blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Engine, Time) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, Error> {
        if Handle::try_current().is_ok() {
            return Err(Error::WouldBlock);
        }
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let ask = Box::new(move |engine: &mut Engine, now| drop(answer.send(ask(engine, now))));
        self.0.send(Call::Ask(ask)).map_err(|_| Error::Closed)?;
        Ok(answered.recv().map_err(|_| Error::Closed)??)
    }

    /// Starts something whose end `waiter` waits for. Completes when it is started.
    pub(crate) fn start(
        &self,
        start: impl FnOnce(&mut Engine, Time) -> Result<Ticket, CallError> + Send + 'static,
        waiter: Waiter,
    ) -> Queued<()> {
        let started = self.send(|started| Call::Start { start: Box::new(start), waiter, started });
        Queued::new(async { started?.await.map_err(|_| Error::Closed)? })
    }
}

impl WeakCalls {
    /// Asks the engine something that it answers at once.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Engine, Time) -> Result<T, CallError> + Send + 'static,
    ) -> Queued<T> {
        match self.0.upgrade() {
            Some(sender) => Calls(sender).ask(ask),
            None => Queued::new(async { Err(Error::Closed) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use sio_streams_core::{Config, Engine, Packet};

    use super::*;

    fn engine() -> Engine {
        let mut engine = Engine::new(Config::default(), 1, Time::ZERO).unwrap();
        engine.open_namespace(Time::ZERO, "/").unwrap();
        engine
    }

    fn broadcast(engine: &mut Engine, now: Time) -> Result<Ticket, CallError> {
        let packet = Packet::event("hello", &("world",)).unwrap();
        engine.broadcast(now, "/", packet, sio_streams_core::BroadcastOptions::all())
    }

    /// Sends a call of each kind. Returns a future that completes when each caller has been told
    /// that the node is closed.
    fn one_of_each(calls: &Calls) -> impl Future<Output = ()> + use<> {
        let nsp = || ByteString::from("/");
        let (count, counted) = oneshot::channel();
        let (saved, was_saved) = oneshot::channel();
        let session = Box::new(Session {
            sid: "sid".into(),
            pid: "pid".into(),
            rooms: Vec::new(),
            data: sio_streams_core::Payload::event("data", &()).unwrap(),
        });
        let start = || Box::new(broadcast) as Start;
        let answer =
            calls.send(|done| Call::Ask(Box::new(move |engine, _| drop(done.send(engine.uid().clone())))));
        let started =
            calls.send(|started| Call::Start { start: start(), waiter: Waiter::Count(count), started });
        let fate = calls.send(|fate| Call::Publish { start: start(), weight: 1, fate });
        let untaken = calls.send(|untaken| Call::PutBack { nsp: nsp(), session, saved, untaken });
        let opened = calls.send(|done| Call::Open { nsp: nsp(), token: Token::default(), done });
        let why = calls.send(|why| Call::Abandon { nsp: nsp(), token: Token::default(), why });
        let left = calls.send(|done| Call::CloseNamespace { nsp: nsp(), done });
        let closed = calls.send(|done| Call::Close { done });
        async move {
            answer.unwrap().await.unwrap_err();
            started.unwrap().await.unwrap_err();
            counted.await.unwrap_err();
            fate.unwrap().await.unwrap_err();
            untaken.unwrap().await.unwrap_err();
            was_saved.await.unwrap_err();
            opened.unwrap().await.unwrap_err();
            why.unwrap().await.unwrap_err();
            left.unwrap().await.unwrap_err();
            closed.unwrap().await.unwrap_err();
        }
    }

    #[tokio::test]
    async fn a_call_that_is_dropped_tells_its_caller() {
        let (calls, mut inbox) = calls();
        let told = one_of_each(&calls);
        let mut taken = 0;
        while inbox.try_recv().is_ok() {
            taken += 1;
        }
        assert_eq!(taken, 8);
        told.await;
        let told = one_of_each(&calls);
        drop(inbox);
        told.await;
        assert!(matches!(calls.ask(|_, _| Ok(())).await, Err(Error::Closed)));
        let (done, _) = oneshot::channel();
        let started = calls.start(broadcast, Waiter::Count(done)).await;
        assert!(matches!(started, Err(Error::Closed)));
        let weak = calls.downgrade();
        drop(calls);
        assert!(matches!(weak.ask(|_, _| Ok(())).await, Err(Error::Closed)));
    }

    #[tokio::test]
    async fn a_call_is_answered_by_the_engine_that_takes_it() {
        let (calls, mut inbox) = calls();
        let asking = tokio::spawn(async move { calls.ask(|engine, _| Ok(engine.uid().clone())).await });
        let mut engine = engine();
        let Some(Call::Ask(ask)) = inbox.recv().await else { panic!() };
        ask(&mut engine, Time::ZERO);
        assert_eq!(asking.await.unwrap().unwrap(), *engine.uid());
    }
}
