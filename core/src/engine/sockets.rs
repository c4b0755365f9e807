//! This node's own sockets. They come and go by themselves, or on request.

use bytestring::ByteString;

use super::cluster::Namespace;
use super::recovery::is_recoverable;
use super::{CallError, Effect, EffectKind, Engine};
use crate::event::{Delivery, Event};
use crate::id::{EntryId, NodeId};
use crate::packet::{BroadcastOptions, Packet};
use crate::rooms::RoomChange;

impl Engine {
    /// Reports that a client has connected to this node. From now on, messages address its socket.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`].
    pub fn add_socket(
        &mut self,
        nsp: &str,
        socket: impl Into<ByteString>,
    ) -> Result<Vec<RoomChange>, CallError> {
        let changes = self.open_mut(nsp)?.rooms.add(socket.into());
        self.cluster.rooms_changed(&mut self.cx, nsp, &changes);
        Ok(changes)
    }

    /// Reports that a client of this node is gone.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`].
    pub fn remove_socket(&mut self, nsp: &str, socket: &str) -> Result<Vec<RoomChange>, CallError> {
        let changes = self.open_mut(nsp)?.rooms.remove(socket);
        self.cluster.rooms_changed(&mut self.cx, nsp, &changes);
        Ok(changes)
    }

    /// Makes a socket of this node join rooms.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`].
    pub fn join(
        &mut self,
        nsp: &str,
        socket: &str,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Result<Vec<RoomChange>, CallError> {
        let changes = self.open_mut(nsp)?.rooms.join(socket, rooms);
        self.cluster.rooms_changed(&mut self.cx, nsp, &changes);
        Ok(changes)
    }

    /// Makes a socket of this node leave rooms.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::UnknownNamespace`].
    pub fn leave<'a>(
        &mut self,
        nsp: &str,
        socket: &str,
        rooms: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<RoomChange>, CallError> {
        let changes = self.open_mut(nsp)?.rooms.leave(socket, rooms);
        self.cluster.rooms_changed(&mut self.cx, nsp, &changes);
        Ok(changes)
    }

    pub(super) fn open_mut(&mut self, nsp: &str) -> Result<&mut Namespace, CallError> {
        self.cluster.namespaces.get_mut(nsp).ok_or_else(|| CallError::UnknownNamespace(nsp.into()))
    }

    /// Applies the effect of a message to this node's own sockets. The message's namespace is open.
    pub(super) fn apply(&mut self, effect: Effect, entry: Option<EntryId>, from: NodeId) -> Option<Event> {
        let Effect { nsp, kind } = effect;
        Some(match kind {
            // Most effects are broadcasts, which need nothing of the namespace.
            EffectKind::Broadcast { packet, opts } => {
                delivery(nsp, packet, opts, entry, from, self.cx.config.recovery.is_some())
            }
            EffectKind::Join { opts, rooms } => {
                let namespace = self.cluster.namespaces.get_mut(&nsp)?;
                let sockets = namespace.rooms.matching(&opts);
                let each =
                    sockets.iter().flat_map(|socket| namespace.rooms.join(socket, rooms.iter().cloned()));
                let changes: Vec<_> = each.collect();
                self.cluster.rooms_changed(&mut self.cx, &nsp, &changes);
                Event::SocketsJoin(crate::event::Moved { nsp, sockets, rooms, changes })
            }
            EffectKind::Leave { opts, rooms } => {
                let namespace = self.cluster.namespaces.get_mut(&nsp)?;
                let sockets = namespace.rooms.matching(&opts);
                let each = sockets
                    .iter()
                    .take(if mutant!(LeaveIgnored) { 0 } else { usize::MAX })
                    .flat_map(|socket| namespace.rooms.leave(socket, rooms.iter().map(|room| &**room)));
                let changes: Vec<_> = each.collect();
                self.cluster.rooms_changed(&mut self.cx, &nsp, &changes);
                Event::SocketsLeave(crate::event::Moved { nsp, sockets, rooms, changes })
            }
            EffectKind::Disconnect { opts, close } => {
                let namespace = self.cluster.namespaces.get(&nsp)?;
                Event::DisconnectSockets { sockets: namespace.rooms.matching(&opts), nsp, close }
            }
        })
    }
}

/// Creates the event by which a packet goes to this node's own sockets, in a namespace that is
/// open.
pub(super) fn delivery(
    nsp: ByteString,
    packet: Packet,
    opts: BroadcastOptions,
    entry: Option<EntryId>,
    from: NodeId,
    recovery: bool,
) -> Event {
    let offset = entry.filter(|_| recovery && is_recoverable(&packet, &opts));
    Event::Broadcast(Delivery { nsp, packet, opts, entry, offset, from, responder: None })
}
