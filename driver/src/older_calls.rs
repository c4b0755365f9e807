//! The calls of the older adapters.

use std::collections::BTreeSet;

use sio_streams_core::{ByteString, CallError, Engine, Outcome, Ticket, Time};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::namespace::Namespace;
use crate::outcomes::Names;
use crate::queued::Queued;
use crate::waiting::Waiter;

impl Namespace {
    /// Returns the ids of the sockets of all nodes that are in any of `rooms`. If `rooms` is empty,
    /// it returns the ids of all sockets. Nodes that don't answer don't make the call fail: the
    /// outcome names them.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Command`] if the request could not be published;
    /// [`Error::Closed`].
    pub fn sockets(&self, rooms: impl IntoIterator<Item = ByteString>) -> Queued<Names> {
        let rooms: Vec<ByteString> = rooms.into_iter().collect();
        self.names(move |engine, now, nsp| engine.sockets(now, nsp, rooms))
    }

    /// Returns the names of all rooms of all nodes, including those of single sockets.
    ///
    /// # Errors
    ///
    /// As [`sockets`](Namespace::sockets).
    pub fn all_rooms(&self) -> Queued<Names> {
        self.names(|engine, now, nsp| engine.all_rooms(now, nsp))
    }

    /// Makes one socket join a room, on any node.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSocket`]; [`Error::Call`]; [`Error::Command`]; [`Error::Closed`].
    pub fn remote_join(&self, socket: impl Into<ByteString>, room: impl Into<ByteString>) -> Queued<()> {
        let (socket, room) = (socket.into(), room.into());
        let name = socket.clone();
        self.operate(name, move |engine, now, nsp| engine.remote_join(now, nsp, socket, room))
    }

    /// Makes one socket leave a room, on any node.
    ///
    /// # Errors
    ///
    /// As [`remote_join`](Namespace::remote_join).
    pub fn remote_leave(&self, socket: impl Into<ByteString>, room: impl Into<ByteString>) -> Queued<()> {
        let (socket, room) = (socket.into(), room.into());
        let name = socket.clone();
        self.operate(name, move |engine, now, nsp| engine.remote_leave(now, nsp, socket, room))
    }

    /// Disconnects one socket, on any node. With `close`, its underlying connection is
    /// closed, too.
    ///
    /// # Errors
    ///
    /// As [`remote_join`](Namespace::remote_join).
    pub fn remote_disconnect(&self, socket: impl Into<ByteString>, close: bool) -> Queued<()> {
        let socket = socket.into();
        let name = socket.clone();
        self.operate(name, move |engine, now, nsp| engine.remote_disconnect(now, nsp, socket, close))
    }

    fn names(
        &self,
        start: impl FnOnce(&mut Engine, Time, &str) -> Result<Ticket, CallError> + Send + 'static,
    ) -> Queued<Names> {
        let (done, names) = oneshot::channel();
        let started = self.start(start, Waiter::Names { found: BTreeSet::new(), done });
        Queued::answers(started, names, |names| &mut names.outcome)
    }

    fn operate(
        &self,
        socket: ByteString,
        start: impl FnOnce(&mut Engine, Time, &str) -> Result<Ticket, CallError> + Send + 'static,
    ) -> Queued<()> {
        let (done, outcome) = oneshot::channel();
        let started = self.start(start, Waiter::Operation { executed: false, done });
        Queued::new(async {
            started.await?;
            match outcome.await.map_err(|_| Error::Closed)? {
                (true, _) => Ok(()),
                (false, Outcome { error: Some(error), .. }) => Err(error.into()),
                (false, outcome) => {
                    let missing = outcome.missing.len() as u64 + outcome.missing_unnamed;
                    Err(Error::NoSuchSocket { socket, missing })
                }
            }
        })
    }
}
