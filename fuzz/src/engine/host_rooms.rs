//! The rooms of an application that owns them, kept in step by what the engine tells.

use std::collections::BTreeMap;

use sio_streams_core::{
    BroadcastOptions, ByteString, CallError, Delivery, Engine, Event, LocalSocket, Payload, RemoteSocket,
    RoomChange, RoomOwner, Rooms, SocketsResponder, Time,
};

/// The sockets and rooms of each open namespace. It is empty if the rooms are the engine's.
#[derive(Default)]
pub(super) struct HostRooms(BTreeMap<ByteString, Rooms>);

impl HostRooms {
    pub(super) fn opened(&mut self, engine: &Engine, nsp: &'static str) {
        if engine.config().room_owner == RoomOwner::Application {
            self.0.insert(nsp.into(), Rooms::new([0; 16]));
        }
    }

    pub(super) fn closed(&mut self, nsp: &str) {
        self.0.remove(nsp);
    }

    /// Makes a change that the engine has refused to make, because the rooms are not its own.
    /// Returns the result of the change, or the engine's.
    pub(super) fn change(
        &mut self,
        engine: &mut Engine,
        nsp: &str,
        refused: Result<Vec<RoomChange>, CallError>,
        change: impl FnOnce(&mut Rooms) -> Vec<RoomChange>,
    ) -> Result<Vec<RoomChange>, CallError> {
        match (self.0.get_mut(nsp), refused) {
            (Some(rooms), Err(CallError::RoomsOfApplication)) => {
                let changes = change(rooms);
                tell(engine, nsp, &changes);
                Ok(changes)
            }
            (Some(_), result) => panic!("the engine has no rooms: {result:?}"),
            (None, result) => result,
        }
    }

    /// Follows an event that concerns sockets.
    pub(super) fn follow(&mut self, engine: &mut Engine, now: Time, event: &Event) {
        let (nsp, named) = match event {
            Event::Broadcast(delivery) => (&delivery.nsp, 0),
            Event::SocketsJoin(moved) | Event::SocketsLeave(moved) => (&moved.nsp, moved.sockets.len()),
            Event::DisconnectSockets { nsp, sockets, .. } => (nsp, sockets.len()),
            Event::Restored(restored) => (&restored.nsp, restored.changes.len()),
            _ => return,
        };
        let Some(rooms) = self.0.get_mut(nsp) else { return };
        assert_eq!(named, 0, "the engine knows no sockets: {event:?}");
        let changes = match event {
            Event::Broadcast(Delivery { responder: Some(responder), opts, .. }) => {
                let clients = rooms.count_matching(opts);
                // It may be refused: the queue may be full.
                let _ = engine.respond_client_count(now, responder, clients as u64);
                return;
            }
            Event::SocketsJoin(moved) => rooms.join_matching(&moved.opts, &moved.rooms),
            Event::SocketsLeave(moved) => rooms.leave_matching(&moved.opts, &moved.rooms),
            Event::DisconnectSockets { opts, .. } => {
                let gone = rooms.matching(opts);
                gone.iter().flat_map(|socket| rooms.remove(socket)).collect()
            }
            Event::Restored(restored) => {
                let session = &restored.session;
                let mut changes = rooms.add(session.sid.clone());
                changes.extend(rooms.join(&session.sid, session.rooms.iter().cloned()));
                changes
            }
            _ => return,
        };
        tell(engine, nsp, &changes);
    }

    /// Answers a question for sockets, with those that are there now.
    pub(super) fn answer(
        &self,
        engine: &mut Engine,
        now: Time,
        responder: SocketsResponder,
        (nsp, opts, ids): (ByteString, BroadcastOptions, Vec<ByteString>),
        data: &Payload,
    ) -> Result<(), CallError> {
        let (handshake, data) = (Payload::null(), data.clone());
        let Some(rooms) = self.0.get(&nsp) else {
            let each = |id| LocalSocket { id, handshake: handshake.clone(), data: data.clone() };
            return engine.respond_sockets(now, responder, ids.into_iter().map(each).collect());
        };
        let each = |id: ByteString| RemoteSocket {
            rooms: rooms.of(&id).unwrap_or_default(),
            id,
            handshake: handshake.clone(),
            data: data.clone(),
        };
        let sockets = rooms.matching(&opts).into_iter().map(each).collect();
        engine.respond_sockets_in_rooms(now, responder, sockets)
    }
}

/// Tells the engine which rooms have got their first sockets, or lost their last ones.
fn tell(engine: &mut Engine, nsp: &str, changes: &[RoomChange]) {
    for (room, occupied) in changes.iter().filter_map(RoomChange::occupancy) {
        let told = engine.set_rooms_occupied(nsp, [room.clone()], occupied);
        assert!(told.is_ok(), "{told:?}");
    }
}
