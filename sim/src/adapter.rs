//! The adapter logic of a host that owns its rooms, to be put under test.

use core::fmt;

use bytestring::ByteString;
use sio_streams_core::{Engine, Event, RoomOwner};

/// The adapter logic of a framework that [owns its rooms](RoomOwner::Application), on one node. A
/// [campaign](crate::campaign) puts it on all nodes of its clusters, under all faults, and checks it
/// by the rules of `docs/simulator.md`.
///
/// Clients come, go, and change their rooms; the cluster sends [events](Event). After each event and
/// in the calm at the end the logic must have the sockets, the rooms and the addressees that a
/// simple model has. Answers and acknowledgements are given by the campaign, for the sockets that the
/// logic has found.
///
/// `engine` is for [`Engine::set_rooms_occupied`], which the dialect `Sharded` needs. The other calls
/// that change state are the campaign's.
pub trait Adapter: fmt::Debug {
    /// A namespace was opened. It is empty.
    fn opened(&mut self, nsp: &str);

    /// A namespace was closed, with all that is in it.
    fn closed(&mut self, nsp: &str);

    /// A client has connected. Its socket is in the room of its own id. There may be such a socket
    /// already; then this does nothing.
    fn connected(&mut self, engine: &mut Engine, nsp: &str, socket: &str);

    /// A client has gone. There may be no such socket.
    fn disconnected(&mut self, engine: &mut Engine, nsp: &str, socket: &str);

    /// A socket of this node joins a room. There may be no such socket.
    fn join(&mut self, engine: &mut Engine, nsp: &str, socket: &str, room: &str);

    /// A socket of this node leaves a room. There may be no such socket, and it may be in no such
    /// room.
    fn leave(&mut self, engine: &mut Engine, nsp: &str, socket: &str, room: &str);

    /// Does what an event demands, and returns the sockets that it was for: those that get the packet
    /// of [`Event::Broadcast`], that have followed [`Event::SocketsJoin`] or [`Event::SocketsLeave`],
    /// that [`Event::DisconnectSockets`] addresses (their [`disconnected`](Adapter::disconnected)
    /// follows), or that [`Event::FetchSockets`] asks for. After [`Event::Restored`] the client's
    /// socket is there again, in its rooms. Nothing follows from other events.
    fn event(&mut self, engine: &mut Engine, event: &Event) -> Vec<ByteString>;

    /// The ids of all sockets of a namespace.
    fn sockets(&self, nsp: &str) -> Vec<ByteString>;

    /// The rooms of a socket, including that of its own id.
    fn rooms(&self, nsp: &str, socket: &str) -> Option<Vec<ByteString>>;
}

/// Creates the logic of a node that starts.
pub type NewAdapter = fn() -> Box<dyn Adapter>;

/// The owner of the rooms on all nodes.
#[derive(Clone, Copy, Debug, Default)]
pub enum Rooms {
    /// The engine.
    #[default]
    Engine,
    /// A simulated application.
    Application,
    /// An application whose adapter logic is under test.
    Adapter(NewAdapter),
}

impl Rooms {
    pub(crate) fn owner(self) -> RoomOwner {
        match self {
            Rooms::Engine => RoomOwner::Engine,
            Rooms::Application | Rooms::Adapter(_) => RoomOwner::Application,
        }
    }

    pub(crate) fn adapter(self) -> Option<Box<dyn Adapter>> {
        match self {
            Rooms::Adapter(new) => Some(new()),
            Rooms::Engine | Rooms::Application => None,
        }
    }
}
