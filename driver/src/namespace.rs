//! The handle of a namespace: opening, closing, and the sockets of this node.

use core::time::Duration;
use std::sync::Arc;

use sio_streams_core::{
    BroadcastOptions, ByteString, CallError, Engine, RoomChange, RoomOwner, Rooms, Ticket, Time,
};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::call::{Call, Calls};
use crate::error::Error;
use crate::node::Node;
use crate::opening::Token;
use crate::publishing::Publishing;
use crate::queued::Queued;
use crate::waiting::Waiter;

impl Node {
    /// Joins the cluster in a namespace. Completes when the node hears everything that is published
    /// from now on, and its stream can be read.
    ///
    /// While Redis can't be reached, or refuses, this waits, for
    /// [`Options::open_within`](crate::Options::open_within) at most; [`Event::Link`] and
    /// [`Event::Refused`] tell why. If a namespace of this name is just being closed, this waits
    /// for that, too. If the future is dropped, the attempt is taken back: the namespace is closed
    /// again, and can be opened again.
    ///
    /// [`Event::Link`]: crate::Event::Link
    /// [`Event::Refused`]: crate::Event::Refused
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if the namespace is open already, or its name is not valid;
    /// [`Error::NotOpened`]; [`Error::ClosedMeanwhile`]; [`Error::Closed`].
    pub fn open(&self, nsp: impl Into<ByteString>) -> Queued<Namespace> {
        self.open_within(nsp, self.patience.open)
    }

    /// As [`open`](Node::open), with a time limit of its own. With [`Duration::MAX`] it waits for
    /// as long as it takes, until the namespace or the node is closed.
    ///
    /// # Errors
    ///
    /// As [`open`](Node::open).
    pub fn open_within(&self, nsp: impl Into<ByteString>, within: Duration) -> Queued<Namespace> {
        let (nsp, token) = (nsp.into(), Token::default());
        let opened = self.calls.send(|done| Call::Open { nsp: nsp.clone(), token: Arc::clone(&token), done });
        let calls = self.calls.clone();
        let namespace = self.namespace(nsp.clone());
        let attempt = Attempt { calls, nsp, token, given_up: opened.is_err() };
        Queued::new(async move {
            let mut attempt = attempt;
            match timeout(within, opened?).await {
                Ok(opened) => {
                    // The result is known here, so that there is nothing to take back.
                    attempt.given_up = true;
                    opened.map_err(|_| Error::Closed)??;
                    Ok(namespace)
                }
                Err(_) => {
                    let why = attempt.give_up()?.await.map_err(|_| Error::Closed)?;
                    Err(Error::NotOpened { nsp: namespace.nsp, within, why })
                }
            }
        })
    }

    /// Returns the handle of a namespace by its name. The handle's calls fail while the namespace
    /// is not open.
    pub fn namespace(&self, nsp: impl Into<ByteString>) -> Namespace {
        Namespace { node: self.clone(), nsp: nsp.into() }
    }
}

/// An attempt to open a namespace. It is taken back when its future is dropped.
struct Attempt {
    calls: Calls,
    nsp: ByteString,
    token: Token,
    given_up: bool,
}

impl Attempt {
    /// Takes the attempt back, and returns the reason that it has not succeeded.
    fn give_up(&mut self) -> Result<oneshot::Receiver<String>, Error> {
        self.given_up = true;
        let (nsp, token) = (self.nsp.clone(), Arc::clone(&self.token));
        self.calls.send(|why| Call::Abandon { nsp, token, why })
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.given_up {
            // If the node is closed, so is the namespace.
            let _ = self.give_up();
        }
    }
}

/// A namespace that is open on a node. It is cheap to clone.
///
/// Every call is in line as soon as it returns, behind all earlier calls of this node's handles, and
/// takes effect in its turn. Its future gives the result.
#[derive(Clone, Debug)]
pub struct Namespace {
    pub(crate) node: Node,
    pub(crate) nsp: ByteString,
}

impl Namespace {
    /// Returns the namespace's name.
    pub fn name(&self) -> &str {
        &self.nsp
    }

    /// Returns the node on which the namespace is open.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Leaves the cluster in this namespace. Completes when the other nodes have been told, or when
    /// Redis could not be reached for [`Timing::response`](crate::backend::Timing::response). In
    /// that case they are told when Redis is back, unless this takes too long. An
    /// [`open`](Node::open) that is under way ends with [`Error::ClosedMeanwhile`]. Dropping the
    /// future takes nothing back.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if the namespace is closed already; [`Error::Closed`].
    pub fn close(self) -> Queued<()> {
        let closed = self.node.calls.send(|done| Call::CloseNamespace { nsp: self.nsp.clone(), done });
        let patience = self.node.patience.close;
        Queued::new(async move {
            match timeout(patience, closed?).await {
                Ok(closed) => closed.map_err(|_| Error::Closed)?,
                // Closing continues by itself.
                Err(_) => Ok(()),
            }
        })
    }

    /// Adds a client's socket to this node. From now on it is addressed, and it is in the room that
    /// bears its id. Returns the changes that resulted.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Closed`].
    pub fn add_socket(&self, socket: impl Into<ByteString>) -> Queued<Vec<RoomChange>> {
        let socket = socket.into();
        self.ask(move |engine, nsp| engine.add_socket(nsp, socket))
    }

    /// Removes a client's socket from this node. Returns the changes that resulted.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Closed`].
    pub fn remove_socket(&self, socket: impl Into<ByteString>) -> Queued<Vec<RoomChange>> {
        let socket = socket.into();
        self.ask(move |engine, nsp| engine.remove_socket(nsp, &socket))
    }

    /// Makes a socket of this node join rooms. Returns the changes that resulted.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Closed`].
    pub fn join(
        &self,
        socket: impl Into<ByteString>,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Queued<Vec<RoomChange>> {
        let (socket, rooms) = (socket.into(), rooms.into_iter().collect::<Vec<_>>());
        self.ask(move |engine, nsp| engine.join(nsp, &socket, rooms))
    }

    /// Makes a socket of this node leave rooms. Returns the changes that resulted.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Closed`].
    pub fn leave(
        &self,
        socket: impl Into<ByteString>,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Queued<Vec<RoomChange>> {
        let (socket, rooms) = (socket.into(), rooms.into_iter().collect::<Vec<_>>());
        self.ask(move |engine, nsp| engine.leave(nsp, &socket, rooms))
    }

    /// Reports that rooms of an application that [owns them](sio_streams_core::RoomOwner) have their
    /// first sockets on this node, or have lost their last ones. Only the dialect `Sharded` needs it.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Closed`].
    pub fn set_rooms_occupied(
        &self,
        rooms: impl IntoIterator<Item = ByteString>,
        occupied: bool,
    ) -> Queued<()> {
        let rooms: Vec<ByteString> = rooms.into_iter().collect();
        self.ask(move |engine, nsp| engine.set_rooms_occupied(nsp, rooms, occupied))
    }

    /// Returns the rooms of a socket of this node, its own included, or `None` if this node does
    /// not have the socket.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Closed`].
    pub fn rooms(&self, socket: impl Into<ByteString>) -> Queued<Option<Vec<ByteString>>> {
        let socket = socket.into();
        self.ask(move |engine, nsp| Ok(rooms_of(engine, nsp)?.of(&socket)))
    }

    /// Returns the sockets of this node that `opts` match.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Closed`].
    pub fn matching(&self, opts: BroadcastOptions) -> Queued<Vec<ByteString>> {
        self.ask(move |engine, nsp| Ok(rooms_of(engine, nsp)?.matching(&opts)))
    }

    /// Returns the sockets of this node that `opts` match, to a caller that can't await, such as a
    /// thread of an application without tasks. It blocks the thread until the node's own task has
    /// taken all earlier calls, and this one.
    ///
    /// # Errors
    ///
    /// [`Error::WouldBlock`] where tokio runs tasks: there, await
    /// [`matching`](Namespace::matching). [`Error::Call`]; [`Error::Closed`].
    pub fn blocking_matching(&self, opts: &BroadcastOptions) -> Result<Vec<ByteString>, Error> {
        let (nsp, opts) = (self.nsp.clone(), opts.clone());
        self.node.calls.ask_blocking(move |engine, _| Ok(rooms_of(engine, &nsp)?.matching(&opts)))
    }

    pub(crate) fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Engine, &str) -> Result<T, CallError> + Send + 'static,
    ) -> Queued<T> {
        let nsp = self.nsp.clone();
        self.node.calls.ask(move |engine, _| ask(engine, &nsp))
    }

    /// Starts something whose end `waiter` waits for. Completes when it is started.
    pub(crate) fn start(
        &self,
        start: impl FnOnce(&mut Engine, Time, &str) -> Result<Ticket, CallError> + Send + 'static,
        waiter: Waiter,
    ) -> Queued<()> {
        let nsp = self.nsp.clone();
        self.node.calls.start(move |engine, now| start(engine, now, &nsp), waiter)
    }

    /// Queues a message of about this size.
    pub(crate) fn publish(
        &self,
        bytes: usize,
        start: impl FnOnce(&mut Engine, Time, &str) -> Result<Ticket, CallError> + Send + 'static,
    ) -> Publishing {
        let weight = match self.node.admission.admit(bytes) {
            Ok(weight) => weight,
            Err(error) => return Publishing::refused(error),
        };
        let nsp = self.nsp.clone();
        let queued = self.node.calls.send(move |fate| {
            let start = Box::new(move |engine: &mut Engine, now| start(engine, now, &nsp));
            Call::Publish { start, weight, fate }
        });
        match queued {
            Ok(fate) => Publishing::queued(fate),
            Err(_) => Publishing::closed(),
        }
    }
}

fn rooms_of<'a>(engine: &'a Engine, nsp: &str) -> Result<&'a Rooms, CallError> {
    match engine.rooms(nsp) {
        Some(rooms) => Ok(rooms),
        None if engine.config().room_owner == RoomOwner::Application => Err(CallError::RoomsOfApplication),
        None => Err(CallError::UnknownNamespace(nsp.into())),
    }
}
