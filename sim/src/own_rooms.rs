//! The rooms of a simulated application: the engine's, or maps of its own, as the node's options
//! say.

use std::collections::BTreeMap;

use bytestring::ByteString;
use sio_streams_core::{
    AckResponder, CallError, Delivery, Engine, Event, LocalSocket, RemoteSocket, RoomChange, RoomOwner,
    Rooms as Maps, SocketsResponder, Time,
};

use crate::adapter::{Adapter, Rooms as Owner};

/// The sockets of a node and their rooms, in each namespace. The calls are those of [`Engine`].
/// Nothing is here if the rooms are the engine's.
#[derive(Debug, Default)]
pub(crate) struct OwnRooms {
    owner: Owner,
    maps: BTreeMap<ByteString, Maps>,
    /// The logic under test, which has the sockets and rooms then.
    adapter: Option<Box<dyn Adapter>>,
    /// The result of the logic under test for the event.
    found: Option<Vec<ByteString>>,
}

fn are_own(engine: &Engine) -> bool {
    engine.config().room_owner == RoomOwner::Application
}

impl OwnRooms {
    pub(crate) fn new(owner: Owner) -> Self {
        OwnRooms { owner, adapter: owner.adapter(), ..OwnRooms::default() }
    }

    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// Notes a namespace that has been opened.
    pub(crate) fn opened(&mut self, engine: &Engine, nsp: &ByteString) {
        if let Some(adapter) = &mut self.adapter {
            adapter.opened(nsp);
        }
        if are_own(engine) {
            self.maps.insert(nsp.clone(), Maps::new([0; 16]));
        }
    }

    /// Notes a namespace that has been closed.
    pub(crate) fn closed(&mut self, nsp: &str) {
        if let Some(adapter) = &mut self.adapter {
            adapter.closed(nsp);
        }
        self.maps.remove(nsp);
    }

    /// Returns the maps of a namespace that is open. They are empty if there is logic under test.
    fn of<'a>(&'a self, engine: &'a Engine, nsp: &str) -> Option<&'a Maps> {
        if are_own(engine) { self.maps.get(nsp) } else { engine.rooms(nsp) }
    }

    /// Returns `true` if the namespace is open.
    pub(crate) fn has(&self, engine: &Engine, nsp: &str) -> bool {
        self.of(engine, nsp).is_some()
    }

    /// Returns the rooms of a socket.
    pub(crate) fn rooms(&self, engine: &Engine, nsp: &str, socket: &str) -> Option<Vec<ByteString>> {
        let maps = self.of(engine, nsp)?;
        match &self.adapter {
            Some(adapter) => adapter.rooms(nsp, socket),
            None => maps.of(socket),
        }
    }

    /// Returns the number of sockets of a namespace that is open.
    pub(crate) fn socket_count(&self, engine: &Engine, nsp: &str) -> Option<usize> {
        let maps = self.of(engine, nsp)?;
        Some(self.adapter.as_ref().map_or_else(|| maps.socket_count(), |adapter| adapter.sockets(nsp).len()))
    }

    /// Returns the sockets that get the packet of the event that is being handled.
    pub(crate) fn addressees(&self, engine: &Engine, delivery: &Delivery) -> Option<Vec<ByteString>> {
        let maps = self.of(engine, &delivery.nsp)?;
        Some(self.found.clone().unwrap_or_else(|| maps.matching(&delivery.opts)))
    }

    /// Returns what the logic under test has returned for the event.
    pub(crate) fn take_sent(&mut self) -> Option<Vec<ByteString>> {
        self.found.take()
    }

    pub(crate) fn add(
        &mut self,
        engine: &mut Engine,
        nsp: &str,
        socket: ByteString,
    ) -> Result<Vec<RoomChange>, CallError> {
        if let Some(adapter) = &mut self.adapter {
            adapter.connected(engine, nsp, &socket);
            return Ok(Vec::new());
        }
        match self.maps.get_mut(nsp) {
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
        if let Some(adapter) = &mut self.adapter {
            adapter.disconnected(engine, nsp, socket);
            return Ok(Vec::new());
        }
        match self.maps.get_mut(nsp) {
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
        if let Some(adapter) = &mut self.adapter {
            joined.iter().for_each(|room| adapter.join(engine, nsp, socket, room));
            return Ok(Vec::new());
        }
        match self.maps.get_mut(nsp) {
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
        if let Some(adapter) = &mut self.adapter {
            left.iter().for_each(|room| adapter.leave(engine, nsp, socket, room));
            return Ok(Vec::new());
        }
        let names = left.iter().cloned();
        match self.maps.get_mut(nsp) {
            Some(rooms) => tell(engine, nsp, rooms.leave(socket, names)),
            None => engine.leave(nsp, socket, names),
        }
    }

    /// Has the logic under test follow an event, and adds to the event what it has found.
    fn have_followed(&mut self, engine: &mut Engine, event: &mut Event) {
        let Some(adapter) = &mut self.adapter else { return };
        self.found = None;
        let nsp = match event {
            Event::Broadcast(delivery) => &delivery.nsp,
            Event::SocketsJoin(moved) | Event::SocketsLeave(moved) => &moved.nsp,
            Event::DisconnectSockets { nsp, .. } | Event::FetchSockets { nsp, .. } => nsp,
            Event::Restored(restored) => &restored.nsp,
            _ => return,
        };
        if !self.maps.contains_key(nsp) {
            return;
        }
        let found = adapter.event(engine, event);
        match event {
            Event::Broadcast(_) => self.found = Some(found),
            Event::SocketsJoin(moved) | Event::SocketsLeave(moved) => moved.sockets = found,
            Event::DisconnectSockets { sockets, .. } | Event::FetchSockets { sockets, .. } => {
                *sockets = found
            }
            _ => {}
        }
    }

    /// Follows an event that is an order to sockets, and adds to it what the engine would have told.
    pub(crate) fn follow(&mut self, engine: &mut Engine, event: &mut Event) {
        if self.adapter.is_some() {
            return self.have_followed(engine, event);
        }
        match event {
            Event::SocketsJoin(moved) => {
                let Some(rooms) = self.maps.get_mut(&moved.nsp) else { return };
                moved.sockets = rooms.matching(&moved.opts);
                moved.changes = rooms.join_matching(&moved.opts, &moved.rooms);
                let _ = tell(engine, &moved.nsp, moved.changes.clone());
            }
            Event::SocketsLeave(moved) => {
                let Some(rooms) = self.maps.get_mut(&moved.nsp) else { return };
                moved.sockets = rooms.matching(&moved.opts);
                moved.changes = rooms.leave_matching(&moved.opts, &moved.rooms);
                let _ = tell(engine, &moved.nsp, moved.changes.clone());
            }
            Event::DisconnectSockets { nsp, opts, sockets, .. }
            | Event::FetchSockets { nsp, opts, sockets, .. } => {
                let Some(rooms) = self.maps.get(nsp) else { return };
                *sockets = rooms.matching(opts);
            }
            Event::Restored(restored) => {
                let Some(rooms) = self.maps.get_mut(&restored.nsp) else { return };
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
        let in_rooms = sockets.into_iter().filter_map(|LocalSocket { id, handshake, data }| {
            let rooms = self.rooms(engine, nsp, &id)?;
            Some(RemoteSocket { id, handshake, rooms, data })
        });
        let in_rooms = in_rooms.collect();
        engine.respond_sockets_in_rooms(now, to, in_rooms)
    }
}

/// Tells the engine which rooms have their first socket, and which have lost their last one.
fn tell(engine: &mut Engine, nsp: &str, changes: Vec<RoomChange>) -> Result<Vec<RoomChange>, CallError> {
    for occupied in [false, true] {
        let told = changes.iter().filter_map(RoomChange::occupancy);
        let rooms = told.filter(|(_, is)| *is == occupied).map(|(room, _)| room.clone());
        engine.set_rooms_occupied(nsp, rooms, occupied)?;
    }
    Ok(changes)
}
