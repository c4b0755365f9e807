//! Connection state recovery.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::{StreamExt, stream};
use sio_streams_core::{ByteString, CallError, Engine, Payload, Restored, Session, Ticket, Time};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::acceptance::{Acceptance, Place};
use crate::call::Call;
use crate::caught::words;
use crate::error::Error;
use crate::namespace::Namespace;
use crate::queued::Queued;
use crate::waiting::Waiter;

/// The numbers of sessions that are stored at a time, from the first attempt to the last.
const AT_ONCE: [usize; 3] = [256, 16, 1];

impl Namespace {
    /// Stores the session of a client whose connection was lost. Completes when the session is
    /// stored.
    ///
    /// It may also be called now and then while the client is connected. If this server dies, the
    /// client recovers at another one.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]: nothing has happened. [`Error::Command`]: the session was not stored, or (with
    /// [`CommandError::Lost`](sio_streams_core::CommandError::Lost)) it may have been stored.
    /// [`Error::Closed`].
    pub fn persist_session(&self, session: Session) -> Queued<()> {
        self.save(move |engine, now, nsp| engine.persist_session(now, nsp, &session))
    }

    /// Takes leave of a client whose connection was lost: stores its session, with the rooms that its
    /// socket is in, and removes the socket, in one step. Completes when the session is stored. The
    /// socket is removed even if the session can't be stored.
    ///
    /// An application that [owns the rooms](sio_streams_core::RoomOwner) removes the socket itself,
    /// and calls [`persist_session`](Namespace::persist_session).
    ///
    /// # Errors
    ///
    /// As [`persist_session`](Namespace::persist_session). If this node does not have the socket, the
    /// call is refused with [`CallError::UnknownSocket`]: what is stored of the client stays.
    pub fn suspend(
        &self,
        sid: impl Into<ByteString>,
        pid: impl Into<ByteString>,
        data: Payload,
    ) -> Queued<()> {
        let (sid, pid) = (sid.into(), pid.into());
        self.save(move |engine, now, nsp| {
            let session = take_leave(engine, nsp, sid, pid, data)?;
            engine.persist_session(now, nsp, &session)
        })
    }

    /// [Suspends](Namespace::suspend) many clients, each with its socket's id, its private session
    /// id and its data, for a server that is about to close. All sockets are removed in one step.
    /// Then their sessions are stored, as by [`persist_sessions`](Namespace::persist_sessions).
    /// Returns the clients whose sessions are not stored, or may not be, with the reasons.
    ///
    /// # Errors
    ///
    /// [`Error::Call`], if the namespace is not open or the rooms are the application's: nothing has
    /// happened. [`Error::Closed`].
    pub fn suspend_all(
        &self,
        clients: Vec<(ByteString, ByteString, Payload)>,
    ) -> Queued<Vec<(ByteString, Error)>> {
        let taken = self.ask(move |engine, nsp| {
            let (mut sessions, mut lost) = (Vec::with_capacity(clients.len()), Vec::new());
            for (sid, pid, data) in clients {
                match take_leave(engine, nsp, sid.clone(), pid, data) {
                    Ok(session) => sessions.push(session),
                    Err(error @ CallError::UnknownSocket(_)) => lost.push((sid, Error::from(error))),
                    Err(error) => return Err(error),
                }
            }
            Ok((sessions, lost))
        });
        let namespace = self.clone();
        Queued::new(async move {
            let (sessions, mut lost) = taken.await?;
            lost.append(&mut namespace.persist_sessions(sessions).await?);
            Ok(lost)
        })
    }

    /// Stores many sessions, however many that are: at a time, no more than
    /// [`Recovery::sessions`](sio_streams_core::Recovery::sessions) and
    /// [`sessions_bytes`](sio_streams_core::Recovery::sessions_bytes) allow. They are stored while
    /// the future is polled; dropping it leaves out the rest. Returns the sockets' ids of those that
    /// are not stored, or may not be, with the reasons.
    ///
    /// # Errors
    ///
    /// The call itself has none.
    pub fn persist_sessions(&self, sessions: Vec<Session>) -> Queued<Vec<(ByteString, Error)>> {
        let namespace = self.clone();
        Queued::new(async move {
            let (mut waiting, mut lost) = (sessions, Vec::new());
            // A session that does not fit beside others is tried again beside fewer, and at last alone.
            for at_once in AT_ONCE {
                let sessions = stream::iter(core::mem::take(&mut waiting));
                let mut stored = sessions
                    .map(|session| {
                        let stored = namespace.persist_session(session.clone());
                        async { (session, stored.await) }
                    })
                    .buffer_unordered(at_once);
                while let Some((session, result)) = stored.next().await {
                    match result {
                        Ok(()) => {}
                        Err(Error::Call(CallError::Full { .. })) if at_once > 1 => waiting.push(session),
                        Err(error) => lost.push((session.sid, error)),
                    }
                }
            }
            Ok(lost)
        })
    }

    fn save(
        &self,
        start: impl FnOnce(&mut Engine, Time, &str) -> Result<Ticket, CallError> + Send + 'static,
    ) -> Queued<()> {
        let (done, saved) = oneshot::channel();
        let started = self.start(start, Waiter::Saved(done));
        Queued::new(async {
            started.await?;
            Ok(saved.await.map_err(|_| Error::Closed)??)
        })
    }

    /// Makes a socket of a client's session again. Any server of the cluster may have stored the
    /// session. `pid` and `offset` are those that the client sent, unchanged.
    ///
    /// If it succeeds, `accept` gets the session and the packets that the client missed, and its
    /// result is returned. It runs where the [events](crate::Events) are taken, in the socket's
    /// place among them: earlier events are not for this connection of the client, and each later
    /// [`Broadcast`](crate::Event::Broadcast) that names the socket is. So `accept` should make the
    /// socket known to the task that takes the events, and queue the missed packets for the client.
    /// It must not block. [`Event::Accepted`](crate::Event::Accepted) follows it, for consumers that
    /// collect what they send. It runs even if the future is dropped meanwhile, since the session is
    /// stored nowhere else then.
    ///
    /// Each packet goes to the client with its [`offset`](sio_streams_core::Missed::offset):
    /// [`Missed::frames`](sio_streams_core::Missed::frames) makes the frames with it.
    ///
    /// # Errors
    ///
    /// [`Error::NotRecovered`] says why the client must begin anew. [`Error::EventsNotTaken`] if
    /// the events are not taken within [`Recovery::timeout`](sio_streams_core::Recovery::timeout),
    /// as they can't be by a task that awaits this: then the session is stored again, and can be
    /// restored later. [`Error::AcceptPanicked`]. [`Error::Command`] if that fails. [`Error::Call`]; [`Error::Closed`].
    pub fn restore_session<T: Send + 'static>(
        &self,
        pid: &str,
        offset: &str,
        accept: impl FnOnce(Restored) -> T + Send + 'static,
    ) -> Queued<T> {
        let (pid, offset) = (pid.to_owned(), offset.to_owned());
        let (told, restored) = oneshot::channel();
        let (done, mut accepted) = oneshot::channel();
        let place = Place::default();
        // A panic must not end the task that takes the events.
        let accept = move |restored| {
            let end = catch_unwind(AssertUnwindSafe(|| accept(restored)));
            let end = end.map_err(|panic| Error::AcceptPanicked(words(&*panic)));
            let is_accepted = end.is_ok();
            // The caller may have lost interest.
            drop(done.send(end));
            is_accepted
        };
        let started = self.start(
            move |engine, now, nsp| engine.restore_session(now, nsp, &pid, &offset),
            Waiter::Restored(Acceptance::new(told, accept, place.clone())),
        );
        let namespace = self.clone();
        Queued::new(async move {
            started.await?;
            restored.await.map_err(|_| Error::Closed)??;
            if let Ok(accepted) = timeout(namespace.node.patience.accept, &mut accepted).await {
                return accepted.map_err(|_| Error::Closed)?;
            }
            match place.withdraw() {
                // It has been accepted just now, or is just being accepted.
                None => accepted.await.map_err(|_| Error::Closed)?,
                Some(restored) => Err(namespace.put_back(restored.session).await?),
            }
        })
    }

    /// Stores a session again that was not accepted. Returns the error that tells the caller so.
    async fn put_back(&self, session: Session) -> Result<Error, Error> {
        let (done, saved) = oneshot::channel();
        let (nsp, session) = (self.nsp.clone(), Box::new(session));
        let untaken = self.node.calls.send(|untaken| Call::PutBack { nsp, session, saved: done, untaken });
        let untaken = untaken?.await.map_err(|_| Error::Closed)??;
        saved.await.map_err(|_| Error::Closed)??;
        Ok(Error::EventsNotTaken(untaken))
    }
}

/// Removes a socket, and returns the session of its client.
fn take_leave(
    engine: &mut Engine,
    nsp: &str,
    sid: ByteString,
    pid: ByteString,
    data: Payload,
) -> Result<Session, CallError> {
    let rooms = match engine.rooms(nsp) {
        Some(rooms) => rooms.of(&sid).ok_or_else(|| CallError::UnknownSocket(sid.to_string()))?,
        // Removing the socket is refused, with the reason.
        None => Vec::new(),
    };
    engine.remove_socket(nsp, &sid)?;
    Ok(Session { sid, pid, rooms, data })
}
