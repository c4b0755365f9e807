//! What the application holds.

use core::time::Duration;
use std::sync::Arc;

use sio_streams_core::{
    BroadcastOptions, ByteString, CallError, CommandError, EntryId, Lag, NodeId, NotRecovered, Outcome,
    Packet, Payload, RemoteSocket, Restored, Session, Ticket,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::Stream;

use crate::acceptance::{Acceptance, Place};
use crate::line::{Line, Publishing, bytes, names};
use crate::opening::{Done, Token};
use crate::run::{Call, Run, Waiting};

/// Why something that was asked of a node did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine did not take the call: nothing has happened.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It was taken, but Redis did not do it, or it is not known whether it did.
    #[error("not done: {0}")]
    Command(#[from] CommandError),
    /// No node that answered has the socket. The outcome tells whether all did.
    #[error("no node that answered has the socket {socket:?}; {missing} did not answer")]
    NoSuchSocket {
        /// The socket.
        socket: ByteString,
        /// How many nodes did not answer; at least, one of them may have it.
        missing: u64,
    },
    /// The client's state could not be recovered: it begins anew.
    #[error("not recovered: {0}")]
    NotRecovered(#[from] NotRecovered),
    /// Too many events are waiting to be taken by the application.
    #[error("{0} events have not been taken; take them before asking for more")]
    EventsNotTaken(usize),
    /// Redis did not let the namespace be opened in time. The attempt is given up; it can be made again.
    #[error("the namespace {nsp:?} could not be opened within {within:?}: {why}")]
    NotOpened {
        /// The namespace.
        nsp: ByteString,
        /// How long it was tried: [`Options::open_within`](crate::Options::open_within).
        within: Duration,
        /// What is wrong with the connections, as far as it is known.
        why: String,
    },
    /// The namespace was closed while it was being opened.
    #[error("the namespace {0:?} was closed before it was open")]
    ClosedMeanwhile(ByteString),
    /// The node is closed.
    #[error("the node is closed")]
    Closed,
}

/// How long a node waits for things.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a namespace to be open.
    pub(crate) open: Duration,
    /// For a restored session to be accepted.
    pub(crate) accept: Duration,
    /// For the others to be told that a namespace is closed.
    pub(crate) close: Duration,
}

/// A node of the cluster. Cheap to clone; all clones are the same node. When the last one is dropped the node leaves the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) calls: mpsc::UnboundedSender<Call>,
    pub(crate) line: Arc<Line>,
    pub(crate) uid: NodeId,
    pub(crate) patience: Patience,
}

/// A node that may be gone.
#[derive(Clone, Debug)]
pub(crate) struct WeakNode {
    pub(crate) calls: mpsc::WeakUnboundedSender<Call>,
}

impl WeakNode {
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Run) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, Error> {
        let calls = self.calls.upgrade().ok_or(Error::Closed)?;
        let answer = submit(&calls, move |run, answer| drop(answer.send(call(run))))?;
        Ok(answer.await.map_err(|_| Error::Closed)??)
    }
}

/// Puts a call in line, at once. What it is given to answer with is returned.
///
/// What is said without waiting is bounded by [`Line`]. Of calls that wait for their answer there are no more than there are who wait. A bounded
/// channel would let calls that wait for room be overtaken, so that a burst could be published out of order.
fn submit<T: Send + 'static>(
    calls: &mpsc::UnboundedSender<Call>,
    call: impl FnOnce(&mut Run, oneshot::Sender<T>) + Send + 'static,
) -> Result<oneshot::Receiver<T>, Error> {
    let (sender, receiver) = oneshot::channel();
    let call: Call = Box::new(move |run: &mut Run| call(run, sender));
    calls.send(call).map_err(|_| Error::Closed)?;
    Ok(receiver)
}

impl Node {
    /// The node's name in the cluster.
    pub fn uid(&self) -> &NodeId {
        &self.uid
    }

    /// Enters the cluster in a namespace; done when everything that is published from now on is heard, and its stream can be read.
    ///
    /// While Redis can't be reached, or refuses, this waits, for [`Options::open_within`](crate::Options::open_within) at most; [`Event::Link`] and
    /// [`Event::Refused`] tell why. If a namespace of this name is just being closed, it waits for that, too. A future that is dropped takes
    /// the attempt back: the namespace is closed again, and can be opened again.
    ///
    /// [`Event::Link`]: crate::Event::Link
    /// [`Event::Refused`]: crate::Event::Refused
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if the namespace is open already, or its name can't be one; [`Error::NotOpened`]; [`Error::ClosedMeanwhile`];
    /// [`Error::Closed`].
    pub async fn open(&self, nsp: impl Into<ByteString>) -> Result<Namespace, Error> {
        let nsp = nsp.into();
        let token = Token::default();
        let mut attempt = Attempt { calls: &self.calls, nsp: &nsp, token: &token, given_up: false };
        let (name, mine) = (nsp.clone(), Arc::clone(&token));
        let opened = submit(&self.calls, move |run, done: Done| run.open(name, mine, done))?;
        match timeout(self.patience.open, opened).await {
            Ok(opened) => {
                // Whatever came of it is known here.
                attempt.given_up = true;
                opened.map_err(|_| Error::Closed)??;
                Ok(Namespace { node: self.clone(), nsp: nsp.clone() })
            }
            Err(_) => {
                let why = attempt.give_up()?.await.map_err(|_| Error::Closed)?;
                Err(Error::NotOpened { nsp: nsp.clone(), within: self.patience.open, why })
            }
        }
    }

    /// The handle of a namespace, for those who have only its name. Its calls fail while the namespace is not open.
    pub fn namespace(&self, nsp: impl Into<ByteString>) -> Namespace {
        Namespace { node: self.clone(), nsp: nsp.into() }
    }

    /// How far the node is behind each of its streams.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub async fn lags(&self) -> Result<Vec<(ByteString, Lag)>, Error> {
        let lags = submit(&self.calls, |run, answer: oneshot::Sender<Vec<(ByteString, Lag)>>| {
            let lags = run.engine.lags().map(|(stream, lag)| (stream.clone(), lag)).collect();
            // Who asked may be gone.
            let _ = answer.send(lags);
        });
        lags?.await.map_err(|_| Error::Closed)
    }

    /// Leaves the cluster: publishes what has been said before, tells the others, waits until they can know (or Redis has been away for
    /// [`Timing::response`](crate::backend::Timing::response)), and closes the connections. A message that is not known to be published by then
    /// ends with [`CommandError::Lost`], everything else that is still under way with [`Error::Closed`].
    pub async fn close(self) {
        let done = submit(&self.calls, |run, answer: oneshot::Sender<()>| run.close(Some(answer)));
        if let Ok(done) = done {
            // It ends either way.
            let _ = done.await;
        }
    }
}

/// An attempt to open a namespace, which is taken back when its future is dropped.
struct Attempt<'a> {
    calls: &'a mpsc::UnboundedSender<Call>,
    nsp: &'a ByteString,
    token: &'a Token,
    given_up: bool,
}

impl Attempt<'_> {
    /// Takes it back; why it came to nothing is returned.
    fn give_up(&mut self) -> Result<oneshot::Receiver<String>, Error> {
        self.given_up = true;
        let (nsp, token) = (self.nsp.clone(), Arc::clone(self.token));
        submit(self.calls, move |run, why: oneshot::Sender<String>| {
            // Whoever asked may be gone.
            let _ = why.send(run.troubles());
            run.abandon(&nsp, &token);
        })
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.given_up {
            // If the node is closed, so is the namespace.
            let _ = self.give_up();
        }
    }
}

/// A namespace that is open on a node. Cheap to clone.
///
/// What is published is in line as soon as the call returns; everything else from its future's first poll on. Dropping a future afterwards takes
/// nothing back.
#[derive(Clone, Debug)]
pub struct Namespace {
    node: Node,
    nsp: ByteString,
}

/// The sockets that were found.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    /// The sockets of all nodes that answered, this one included.
    pub sockets: Vec<RemoteSocket>,
    /// Who answered, and who didn't.
    pub outcome: Outcome,
}

/// The other servers' answers.
#[derive(Clone, Debug, Default)]
pub struct Responses {
    /// Each server's value.
    pub responses: Vec<(NodeId, Payload)>,
    /// Who answered, and who didn't.
    pub outcome: Outcome,
}

/// Clients' acknowledgements, as they come: a stream that ends when all are there, or the time is up.
#[derive(Debug)]
pub struct Acks {
    values: mpsc::UnboundedReceiver<Payload>,
    outcome: oneshot::Receiver<Outcome>,
}

impl Acks {
    /// The next client's value; nothing when there will be no more.
    pub async fn next(&mut self) -> Option<Payload> {
        self.values.recv().await
    }

    /// All values that come, and who acknowledged and who didn't.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub async fn all(mut self) -> Result<(Vec<Payload>, Outcome), Error> {
        let mut values = Vec::new();
        while let Some(value) = self.next().await {
            values.push(value);
        }
        Ok((values, self.outcome().await?))
    }

    /// How it ended. Waits for the end.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub async fn outcome(self) -> Result<Outcome, Error> {
        self.outcome.await.map_err(|_| Error::Closed)
    }
}

impl Stream for Acks {
    type Item = Payload;

    fn poll_next(
        mut self: core::pin::Pin<&mut Self>,
        cx: &mut core::task::Context<'_>,
    ) -> core::task::Poll<Option<Payload>> {
        self.values.poll_recv(cx)
    }
}

/// What became of a message: its id in the stream, if it has a place in one; or why it was not published.
pub(crate) type Fate = Result<Option<EntryId>, Error>;

impl Namespace {
    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.nsp
    }

    /// The node that it is open on.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Sends a packet to the clients that `opts` match, on all nodes. Done when it is in the stream; its id there is returned.
    ///
    /// It is in line when this returns. To have many on their way at once, call it many times, and await the oldest when there are enough: they
    /// are published in the order of the calls.
    ///
    /// What is said beyond the limits is refused, with [`CallError::Full`]: [`Limits::in_flight`](sio_streams_core::Limits::in_flight) and
    /// [`in_flight_bytes`](sio_streams_core::Limits::in_flight_bytes) say how much may wait to be published, and once more as much may wait to be
    /// taken by the node's own task, where it comes to its turn too seldom. So a node never holds more than twice that.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]: nothing has happened. [`Error::Command`]: it was not published, or (with
    /// [`CommandError::Lost`]) perhaps it was; this node's own clients have got it.
    pub fn broadcast(&self, packet: Packet, opts: BroadcastOptions) -> Publishing {
        self.publish(packet.data.bytes().len() + names(&opts), |run, nsp| {
            run.engine.broadcast(run.now(), nsp, packet, opts)
        })
    }

    /// Sends a packet to the clients that `opts` match, on all nodes, and collects their acknowledgements.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]: nothing has happened. What becomes of it later is in the [`Outcome`].
    pub async fn broadcast_with_ack(&self, packet: Packet, opts: BroadcastOptions) -> Result<Acks, Error> {
        let (sender, values) = mpsc::unbounded_channel();
        let (done, outcome) = oneshot::channel();
        self.start(
            move |run, nsp| run.engine.broadcast_with_ack(run.now(), nsp, packet, opts),
            Waiting::Acks { values: sender, done },
        )
        .await?;
        Ok(Acks { values, outcome })
    }

    /// Makes the sockets that `opts` match join rooms, on all nodes.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Namespace::broadcast).
    pub fn sockets_join(&self, opts: BroadcastOptions, rooms: Vec<ByteString>) -> Publishing {
        self.publish(names(&opts) + bytes(&rooms), |run, nsp| {
            run.engine.sockets_join(run.now(), nsp, opts, rooms)
        })
    }

    /// Makes the sockets that `opts` match leave rooms, on all nodes.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Namespace::broadcast).
    pub fn sockets_leave(&self, opts: BroadcastOptions, rooms: Vec<ByteString>) -> Publishing {
        self.publish(names(&opts) + bytes(&rooms), |run, nsp| {
            run.engine.sockets_leave(run.now(), nsp, opts, rooms)
        })
    }

    /// Disconnects the sockets that `opts` match, on all nodes; with `close`, their underlying connections too.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Namespace::broadcast).
    pub fn disconnect_sockets(&self, opts: BroadcastOptions, close: bool) -> Publishing {
        self.publish(names(&opts), move |run, nsp| run.engine.disconnect_sockets(run.now(), nsp, opts, close))
    }

    /// The sockets of all nodes that `opts` match. Nodes that don't answer don't make it fail: the outcome names them.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Command`] if the question could not be published; [`Error::Closed`].
    pub async fn fetch_sockets(&self, opts: BroadcastOptions) -> Result<Sockets, Error> {
        let (done, found) = oneshot::channel();
        self.start(
            move |run, nsp| run.engine.fetch_sockets(run.now(), nsp, opts),
            Waiting::Sockets { found: Vec::new(), done },
        )
        .await?;
        let mut sockets = found.await.map_err(|_| Error::Closed)?;
        match sockets.outcome.error.take() {
            Some(error) => Err(error.into()),
            None => Ok(sockets),
        }
    }

    /// Emits an event to the other servers. `packet` is `[event, …args]`: see [`Payload::event`].
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Namespace::broadcast).
    pub fn server_side_emit(&self, packet: Payload) -> Publishing {
        self.publish(packet.bytes().len(), |run, nsp| run.engine.server_side_emit(run.now(), nsp, packet))
    }

    /// Emits an event to the other servers and collects their answers. Servers that don't answer don't make it fail: the outcome names them.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Command`] if the question could not be published; [`Error::Closed`].
    pub async fn server_side_emit_with_ack(&self, packet: Payload) -> Result<Responses, Error> {
        let (done, answers) = oneshot::channel();
        self.start(
            move |run, nsp| run.engine.server_side_emit_with_ack(run.now(), nsp, packet),
            Waiting::Responses { responses: Vec::new(), done },
        )
        .await?;
        let mut responses = answers.await.map_err(|_| Error::Closed)?;
        match responses.outcome.error.take() {
            Some(error) => Err(error.into()),
            None => Ok(responses),
        }
    }

    /// How many servers the namespace has, this one included.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Command`]; [`Error::Closed`].
    pub async fn server_count(&self) -> Result<u64, Error> {
        let (done, count) = oneshot::channel();
        self.start(move |run, nsp| run.engine.server_count(run.now(), nsp), Waiting::Count(done)).await?;
        Ok(count.await.map_err(|_| Error::Closed)??)
    }

    /// A client has connected to this node: its socket is addressed from now on, and is in the room that bears its id.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Closed`].
    pub async fn add_socket(&self, socket: impl Into<ByteString>) -> Result<(), Error> {
        let socket = socket.into();
        self.call(move |run, nsp| run.engine.add_socket(nsp, socket).map(drop)).await
    }

    /// A client of this node is gone.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Closed`].
    pub async fn remove_socket(&self, socket: impl Into<ByteString>) -> Result<(), Error> {
        let socket = socket.into();
        self.call(move |run, nsp| run.engine.remove_socket(nsp, &socket).map(drop)).await
    }

    /// A socket of this node joins rooms.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Closed`].
    pub async fn join(&self, socket: impl Into<ByteString>, rooms: Vec<ByteString>) -> Result<(), Error> {
        let socket = socket.into();
        self.call(move |run, nsp| run.engine.join(nsp, &socket, rooms).map(drop)).await
    }

    /// A socket of this node leaves rooms.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Closed`].
    pub async fn leave(&self, socket: impl Into<ByteString>, rooms: Vec<ByteString>) -> Result<(), Error> {
        let socket = socket.into();
        let left = move |run: &mut Run, nsp: &str| {
            run.engine.leave(nsp, &socket, rooms.iter().map(|room| &**room)).map(drop)
        };
        self.call(left).await
    }

    /// The rooms of a socket of this node, its own included; `None` if it isn't here.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Closed`].
    pub async fn rooms(&self, socket: impl Into<ByteString>) -> Result<Option<Vec<ByteString>>, Error> {
        let socket = socket.into();
        let rooms = move |run: &mut Run, nsp: &str| {
            let unknown = || CallError::UnknownNamespace(nsp.into());
            run.engine.rooms(nsp).map(|rooms| rooms.of(&socket)).ok_or_else(unknown)
        };
        self.call(rooms).await
    }

    /// Stores the session of a client whose connection was lost; done when it is stored.
    ///
    /// It may also be called now and then while the client is there: if this server dies, the client recovers at another one.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]: nothing has happened; [`Error::Command`]: it was not stored, or (with [`CommandError::Lost`]) perhaps it was;
    /// [`Error::Closed`].
    pub async fn persist_session(&self, session: Session) -> Result<(), Error> {
        let (done, saved) = oneshot::channel();
        let call = move |run: &mut Run, nsp: &str| run.engine.persist_session(run.now(), nsp, &session);
        self.start(call, Waiting::Saved(done)).await?;
        Ok(saved.await.map_err(|_| Error::Closed)??)
    }

    /// Makes a socket of a client's session again, which any server of the cluster has stored. `pid` and `offset` are what the client sent, as it
    /// sent them.
    ///
    /// If it succeeds, `accept` gets the session and what the client missed. It runs where the [events](crate::Events) are taken, in the place that
    /// belongs to the socket among them: what is told before it is not for this connection of the client's, every
    /// [`Broadcast`](crate::Event::Broadcast) that names the socket afterwards is. So it should make the socket known to whoever takes the events,
    /// put what was missed in line for the client, and return; it must not block. What it returns is returned. It runs even if the future is
    /// dropped meanwhile: the session is nowhere else then.
    ///
    /// The application appends each packet's [`offset`](sio_streams_core::Missed::offset) to its data, as with any broadcast.
    ///
    /// # Errors
    ///
    /// [`Error::NotRecovered`] says why the client must begin anew. [`Error::Call`]; [`Error::EventsNotTaken`] if the events are not taken within
    /// [`Recovery::timeout`](sio_streams_core::Recovery::timeout), as they can't be by a task that awaits this: the session is stored again then,
    /// and can be restored later. [`Error::Command`] if that fails. [`Error::Closed`].
    pub async fn restore_session<T: Send + 'static>(
        &self,
        pid: &str,
        offset: &str,
        accept: impl FnOnce(Restored) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (pid, offset) = (pid.to_owned(), offset.to_owned());
        let (told, restored) = oneshot::channel();
        let (done, mut accepted) = oneshot::channel();
        let place = Place::default();
        // Whoever asked may be gone.
        let accept = move |restored| drop(done.send(accept(restored)));
        let call = move |run: &mut Run, nsp: &str| run.engine.restore_session(run.now(), nsp, &pid, &offset);
        let acceptance = Acceptance::new(told, accept, place.clone());
        self.start(call, Waiting::Restored(acceptance)).await?;
        restored.await.map_err(|_| Error::Closed)??;
        if let Ok(accepted) = timeout(self.node.patience.accept, &mut accepted).await {
            return accepted.map_err(|_| Error::Closed);
        }
        match place.withdraw() {
            // Just now, or just being accepted.
            None => accepted.await.map_err(|_| Error::Closed),
            Some(restored) => Err(self.put_back(restored.session).await?),
        }
    }

    /// Stores a session again that nobody has accepted; what is to be said of it.
    async fn put_back(&self, session: Session) -> Result<Error, Error> {
        let (done, saved) = oneshot::channel();
        let nsp = self.nsp.clone();
        // However many events wait: who takes none must not lose the session, too.
        let taken = submit(&self.node.calls, move |run, answer: oneshot::Sender<Result<usize, Error>>| {
            let stored = run
                .engine
                .remove_socket(&nsp, &session.sid)
                .and_then(|_| run.engine.persist_session(run.now(), &nsp, &session));
            let stored = stored.map(|ticket| drop(run.waiting.insert(ticket, Waiting::Saved(done))));
            let _ = answer.send(stored.map(|()| run.untaken()).map_err(Error::from));
        })?;
        let untaken = taken.await.map_err(|_| Error::Closed)??;
        saved.await.map_err(|_| Error::Closed)??;
        Ok(Error::EventsNotTaken(untaken))
    }

    /// Leaves the cluster in this namespace; done when the others have been told, or Redis has been away for
    /// [`Timing::response`](crate::backend::Timing::response): then they are told when it is back, unless that takes too long. Whoever waits for it to be open
    /// gets [`Error::ClosedMeanwhile`]. A future that is dropped takes nothing back.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if it is closed already; [`Error::Closed`].
    pub async fn close(self) -> Result<(), Error> {
        let nsp = self.nsp.clone();
        let closed = submit(&self.node.calls, move |run, done: Done| run.close_namespace(nsp, done))?;
        match timeout(self.node.patience.close, closed).await {
            Ok(closed) => closed.map_err(|_| Error::Closed)?,
            // It goes on by itself.
            Err(_) => Ok(()),
        }
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Run, &str) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, Error> {
        let nsp = self.nsp.clone();
        let answer = submit(&self.node.calls, move |run, answer| drop(answer.send(call(run, &nsp))))?;
        Ok(answer.await.map_err(|_| Error::Closed)??)
    }

    /// Makes a call whose end is told by an event, for which `waiting` waits.
    pub(crate) async fn start(
        &self,
        call: impl FnOnce(&mut Run, &str) -> Result<Ticket, CallError> + Send + 'static,
        waiting: Waiting,
    ) -> Result<(), Error> {
        let nsp = self.nsp.clone();
        let taken = submit(&self.node.calls, move |run, answer: oneshot::Sender<Result<(), Error>>| {
            let taken = match run.backlog() {
                Some(backlog) => Err(Error::EventsNotTaken(backlog)),
                None => call(run, &nsp).map_err(Error::from),
            };
            let taken = taken.map(|ticket| drop(run.waiting.insert(ticket, waiting)));
            // Whoever asked may have lost interest.
            let _ = answer.send(taken);
        });
        taken?.await.map_err(|_| Error::Closed)?
    }

    /// Says something of about so many bytes.
    fn publish(
        &self,
        bytes: usize,
        call: impl FnOnce(&mut Run, &str) -> Result<Ticket, CallError> + Send + 'static,
    ) -> Publishing {
        let (sender, fate) = oneshot::channel();
        let weight = match self.node.line.enter(bytes) {
            Ok(weight) => weight,
            Err(error) => return Publishing { fate, refused: Some(error.into()) },
        };
        let nsp = self.nsp.clone();
        let call: Call =
            Box::new(move |run: &mut Run| run.publish(weight, sender, move |run: &mut Run| call(run, &nsp)));
        // If the node is closed the sender is dropped with the call, and the future says so.
        let _ = self.node.calls.send(call);
        Publishing { fate, refused: None }
    }
}
