//! This node's own sockets. They come and go by themselves, or on request.

use bytestring::ByteString;

use super::{Cluster, Namespace};
use crate::engine::context::Context;
use crate::engine::due::Due;
use crate::error::CallError;
use crate::event::{Delivery, Event, Moved};
use crate::id::{EntryId, NodeId};
use crate::message::Body;
use crate::packet::{BroadcastOptions, Packet};
use crate::rooms::{RoomChange, Rooms};

impl Cluster {
    pub(in crate::engine) fn add_socket(
        &mut self,
        cx: &mut Context,
        nsp: &str,
        socket: ByteString,
    ) -> Result<Vec<RoomChange>, CallError> {
        self.change(cx, nsp, |rooms| rooms.add(socket))
    }

    pub(in crate::engine) fn remove_socket(
        &mut self,
        cx: &mut Context,
        nsp: &str,
        socket: &str,
    ) -> Result<Vec<RoomChange>, CallError> {
        self.change(cx, nsp, |rooms| rooms.remove(socket))
    }

    pub(in crate::engine) fn join(
        &mut self,
        cx: &mut Context,
        nsp: &str,
        socket: &str,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Result<Vec<RoomChange>, CallError> {
        self.change(cx, nsp, |all| all.join(socket, rooms))
    }

    pub(in crate::engine) fn leave_rooms(
        &mut self,
        cx: &mut Context,
        nsp: &str,
        socket: &str,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Result<Vec<RoomChange>, CallError> {
        self.change(cx, nsp, |all| all.leave(socket, rooms))
    }

    /// Changes the rooms of a namespace, and subscribes to what they need.
    fn change(
        &mut self,
        cx: &mut Context,
        nsp: &str,
        change: impl FnOnce(&mut Rooms) -> Vec<RoomChange>,
    ) -> Result<Vec<RoomChange>, CallError> {
        let rooms = &mut self.namespace_mut(nsp)?.rooms;
        if !cx.owns_rooms() {
            return Err(CallError::RoomsOfApplication);
        }
        let changes = change(rooms);
        self.rooms_changed(cx, nsp, &changes);
        Ok(changes)
    }

    /// Notes that rooms of the application have their first sockets, or have lost their last ones,
    /// and subscribes to what they need.
    pub(in crate::engine) fn set_occupied(
        &mut self,
        cx: &mut Context,
        nsp: &str,
        rooms: impl IntoIterator<Item = ByteString>,
        occupied: bool,
    ) -> Result<(), CallError> {
        let namespace = self.namespace_mut(nsp)?;
        if cx.owns_rooms() || !cx.config.rooms_are_channels() {
            return Ok(());
        }
        let change = |room: ByteString| match occupied {
            true => namespace.occupied.insert(room.clone()).then_some(RoomChange::Create { room }),
            false => namespace.occupied.remove(&room).then_some(RoomChange::Delete { room }),
        };
        let changes: Vec<RoomChange> = rooms.into_iter().filter_map(change).collect();
        self.rooms_changed(cx, nsp, &changes);
        Ok(())
    }

    /// Returns the effect that a message of this node will have on its own sockets.
    pub(in crate::engine) fn effect(&self, nsp: ByteString, body: Body) -> Box<Due> {
        Box::new(Due { nsp, body, closings: self.closings })
    }

    /// Returns `true` if the namespace that was meant is still open. Nearly always nothing was
    /// closed since.
    pub(in crate::engine) fn is_meant(&self, due: &Due) -> bool {
        let is_older = |namespace: &Namespace| namespace.closings <= due.closings;
        due.closings == self.closings || self.namespaces.get(&due.nsp).is_some_and(is_older)
    }

    /// Applies the effect of a message to this node's own sockets. Returns `None` if the namespace
    /// is not open, or if the message has no effect on sockets.
    pub(in crate::engine) fn apply(
        &mut self,
        cx: &mut Context,
        nsp: ByteString,
        body: Body,
        entry: Option<EntryId>,
        from: NodeId,
    ) -> Option<Event> {
        Some(match body {
            // Most effects are broadcasts, which need nothing of the namespace.
            Body::Broadcast { packet, opts, request_id: None } => {
                delivery(nsp, packet, opts, entry, from, cx.config.recovery.is_some())
            }
            Body::SocketsJoin { opts, rooms } => {
                let namespace = self.namespaces.get_mut(&nsp)?;
                let sockets = namespace.rooms.matching(&opts);
                let changes = namespace.rooms.join_all(&sockets, &rooms);
                self.rooms_changed(cx, &nsp, &changes);
                Event::SocketsJoin(Moved { nsp, opts, sockets, rooms, changes, from: from.named() })
            }
            Body::SocketsLeave { opts, rooms } => {
                let namespace = self.namespaces.get_mut(&nsp)?;
                let sockets = namespace.rooms.matching(&opts);
                let who = if mutant!(LeaveIgnored) { &[] } else { &*sockets };
                let changes = namespace.rooms.leave_all(who, &rooms);
                self.rooms_changed(cx, &nsp, &changes);
                Event::SocketsLeave(Moved { nsp, opts, sockets, rooms, changes, from: from.named() })
            }
            Body::DisconnectSockets { opts, close } => {
                let namespace = self.namespaces.get(&nsp)?;
                let sockets = namespace.rooms.matching(&opts);
                Event::DisconnectSockets { nsp, opts, sockets, close, from: from.named() }
            }
            _ => return None,
        })
    }
}

/// Creates the event by which a packet goes to this node's own sockets, in a namespace that is
/// open.
pub(in crate::engine) fn delivery(
    nsp: ByteString,
    packet: Packet,
    opts: BroadcastOptions,
    entry: Option<EntryId>,
    from: NodeId,
    recovery: bool,
) -> Event {
    let offset = entry.filter(|_| recovery && packet.is_recoverable(&opts));
    Event::Broadcast(Delivery { nsp, packet, opts, entry, offset, from: from.named(), responder: None })
}
