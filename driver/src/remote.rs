//! The older adapters' calls.

use std::collections::BTreeSet;

use sio_streams_core::{ByteString, CallError, Outcome, Ticket};
use tokio::sync::oneshot;

use crate::node::{Error, Namespace};
use crate::run::{Run, Waiting};

/// Names from all nodes that answered, each once, in order.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The ids of sockets, or the names of rooms.
    pub names: Vec<ByteString>,
    /// Who answered, and who didn't.
    pub outcome: Outcome,
}

impl Namespace {
    /// The ids of the sockets of all nodes that are in any of `rooms`; if there are no rooms, of all sockets. Nodes that don't answer don't make
    /// it fail: the outcome names them.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Command`] if the question could not be published; [`Error::Closed`].
    pub async fn sockets(&self, rooms: Vec<ByteString>) -> Result<Names, Error> {
        self.names(move |run, nsp| run.engine.sockets(run.now(), nsp, rooms)).await
    }

    /// The names of all rooms of all nodes, those of single sockets included.
    ///
    /// # Errors
    ///
    /// As [`sockets`](Namespace::sockets).
    pub async fn all_rooms(&self) -> Result<Names, Error> {
        self.names(|run, nsp| run.engine.all_rooms(run.now(), nsp)).await
    }

    /// Makes one socket join a room, on whatever node it is.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSocket`]; [`Error::Call`]; [`Error::Command`]; [`Error::Closed`].
    pub async fn remote_join(
        &self,
        socket: impl Into<ByteString>,
        room: impl Into<ByteString>,
    ) -> Result<(), Error> {
        let (socket, room) = (socket.into(), room.into());
        let name = socket.clone();
        self.order(name, move |run, nsp| run.engine.remote_join(run.now(), nsp, socket, room)).await
    }

    /// Makes one socket leave a room, on whatever node it is.
    ///
    /// # Errors
    ///
    /// As [`remote_join`](Namespace::remote_join).
    pub async fn remote_leave(
        &self,
        socket: impl Into<ByteString>,
        room: impl Into<ByteString>,
    ) -> Result<(), Error> {
        let (socket, room) = (socket.into(), room.into());
        let name = socket.clone();
        self.order(name, move |run, nsp| run.engine.remote_leave(run.now(), nsp, socket, room)).await
    }

    /// Disconnects one socket, on whatever node it is; with `close`, its underlying connection too.
    ///
    /// # Errors
    ///
    /// As [`remote_join`](Namespace::remote_join).
    pub async fn remote_disconnect(&self, socket: impl Into<ByteString>, close: bool) -> Result<(), Error> {
        let socket = socket.into();
        let name = socket.clone();
        self.order(name, move |run, nsp| run.engine.remote_disconnect(run.now(), nsp, socket, close)).await
    }

    async fn names(
        &self,
        call: impl FnOnce(&mut Run, &str) -> Result<Ticket, CallError> + Send + 'static,
    ) -> Result<Names, Error> {
        let (done, names) = oneshot::channel();
        self.start(call, Waiting::Names { found: BTreeSet::new(), done }).await?;
        let mut names = names.await.map_err(|_| Error::Closed)?;
        match names.outcome.error.take() {
            Some(error) => Err(error.into()),
            None => Ok(names),
        }
    }

    async fn order(
        &self,
        socket: ByteString,
        call: impl FnOnce(&mut Run, &str) -> Result<Ticket, CallError> + Send + 'static,
    ) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        self.start(call, Waiting::Order { obeyed: false, done }).await?;
        match outcome.await.map_err(|_| Error::Closed)? {
            (true, _) => Ok(()),
            (false, Outcome { error: Some(error), .. }) => Err(error.into()),
            (false, outcome) => {
                let missing = outcome.missing.len() as u64 + outcome.missing_unnamed;
                Err(Error::NoSuchSocket { socket, missing })
            }
        }
    }
}
