//! The rooms of a simulated application: the engine's, or maps of its own, as the node's options
//! say.

use std::collections::BTreeMap;

use bytestring::ByteString;
use sio_streams_core::{
    AckResponder, CallError, Engine, Event, LocalSocket, RemoteSocket, RoomChange, RoomOwner, Rooms,
    SocketsResponder, Time,
};

/// The sockets of a node and their rooms, in each namespace. The calls are those of [`Engine`].
/// Nothing is here if the rooms are the engine's.
#[derive(Debug, Default)]
pub(crate) struct OwnRooms(BTreeMap<ByteString, Rooms>);

fn are_own(engine: &Engine) -> bool {
    engine.config().room_owner == RoomOwner::Application
}

impl OwnRooms {
    /// Notes a namespace that has been opened.
    pub(crate) fn opened(&mut self, engine: &Engine, nsp: &ByteString) {
        if are_own(engine) {
            self.0.insert(nsp.clone(), Rooms::new([0; 16]));
        }
    }

    /// Notes a namespace that has been closed.
    pub(crate) fn closed(&mut self, nsp: &str) {
        self.0.remove(nsp);
    }

    /// Returns the rooms of a namespace that is open.
    pub(crate) fn of<'a>(&'a self, engine: &'a Engine, nsp: &str) -> Option<&'a Rooms> {
        if are_own(engine) { self.0.get(nsp) } else { engine.rooms(nsp) }
    }

    pub(crate) fn add(
        &mut self,
        engine: &mut Engine,
        nsp: &str,
        socket: ByteString,
    ) -> Result<Vec<RoomChange>, CallError> {
        match self.0.get_mut(nsp) {
            Some(rooms) => tell(engine, nsp, rooms.add(socket)),
            None => engine.add_socket(nsp, socket),
        }
    }

    pub(crate) fn remove(
        &mut self,
        engine: &mut Engine,
        nsp: &str,
        socket: &str,
    ) -> Result<Vec<RoomChange>, CallError> {
        match self.0.get_mut(nsp) {
            Some(rooms) => tell(engine, nsp, rooms.remove(socket)),
            None => engine.remove_socket(nsp, socket),
        }
    }

    pub(crate) fn join(
        &mut self,
        engine: &mut Engine,
        nsp: &str,
        socket: &str,
        joined: &[ByteString],
    ) -> Result<Vec<RoomChange>, CallError> {
        match self.0.get_mut(nsp) {
            Some(rooms) => tell(engine, nsp, rooms.join(socket, joined.iter().cloned())),
            None => engine.join(nsp, socket, joined.iter().cloned()),
        }
    }

    pub(crate) fn leave(
        &mut self,
        engine: &mut Engine,
        nsp: &str,
        socket: &str,
        left: &[ByteString],
    ) -> Result<Vec<RoomChange>, CallError> {
        let names = left.iter().map(|room| &**room);
        match self.0.get_mut(nsp) {
            Some(rooms) => tell(engine, nsp, rooms.leave(socket, names)),
            None => engine.leave(nsp, socket, names),
        }
    }

    /// Follows an event that is an order to sockets, and adds to it what the engine would have told.
    pub(crate) fn follow(&mut self, engine: &mut Engine, event: &mut Event) {
        match event {
            Event::SocketsJoin(moved) => {
                let Some(rooms) = self.0.get_mut(&moved.nsp) else { return };
                moved.sockets = rooms.matching(&moved.opts);
                for socket in &moved.sockets {
                    moved.changes.extend(rooms.join(socket, moved.rooms.iter().cloned()));
                }
                let _ = tell(engine, &moved.nsp, moved.changes.clone());
            }
            Event::SocketsLeave(moved) => {
                let Some(rooms) = self.0.get_mut(&moved.nsp) else { return };
                moved.sockets = rooms.matching(&moved.opts);
                for socket in &moved.sockets {
                    moved.changes.extend(rooms.leave(socket, moved.rooms.iter().map(|room| &**room)));
                }
                let _ = tell(engine, &moved.nsp, moved.changes.clone());
            }
            Event::DisconnectSockets { nsp, opts, sockets, .. }
            | Event::FetchSockets { nsp, opts, sockets, .. } => {
                let Some(rooms) = self.0.get(nsp) else { return };
                *sockets = rooms.matching(opts);
            }
            Event::Restored(restored) => {
                let Some(rooms) = self.0.get_mut(&restored.nsp) else { return };
                let session = &restored.session;
                restored.changes.extend(rooms.add(session.sid.clone()));
                restored.changes.extend(rooms.join(&session.sid, session.rooms.iter().cloned()));
                let _ = tell(engine, &restored.nsp, restored.changes.clone());
            }
            _ => {}
        }
    }

    /// Says how many clients were sent a broadcast, if the engine does not know.
    pub(crate) fn count_clients(&self, engine: &mut Engine, now: Time, to: &AckResponder, clients: usize) {
        if are_own(engine) {
            // The namespace may be closed by now, and the limits may be reached.
            let _ = engine.respond_client_count(now, to, clients as u64);
        }
    }

    /// Answers with sockets that are still there.
    pub(crate) fn answer(
        &self,
        engine: &mut Engine,
        now: Time,
        to: SocketsResponder,
        nsp: &str,
        sockets: Vec<LocalSocket>,
    ) -> Result<(), CallError> {
        if !are_own(engine) {
            return engine.respond_sockets(now, to, sockets);
        }
        let rooms = self.0.get(nsp);
        let in_rooms = sockets.into_iter().filter_map(|LocalSocket { id, handshake, data }| {
            let rooms = rooms?.of(&id)?;
            Some(RemoteSocket { id, handshake, rooms, data })
        });
        engine.respond_sockets_in_rooms(now, to, in_rooms.collect())
    }
}

/// Tells the engine which rooms have their first socket, and which have lost their last one.
fn tell(engine: &mut Engine, nsp: &str, changes: Vec<RoomChange>) -> Result<Vec<RoomChange>, CallError> {
    let (mut occupied, mut vacated) = (Vec::new(), Vec::new());
    for change in &changes {
        match change {
            RoomChange::Create { room } => occupied.push(room.clone()),
            RoomChange::Delete { room } => vacated.push(room.clone()),
            RoomChange::Join { .. } | RoomChange::Leave { .. } => {}
        }
    }
    engine.set_rooms_occupied(nsp, vacated, false)?;
    engine.set_rooms_occupied(nsp, occupied, true)?;
    Ok(changes)
}
