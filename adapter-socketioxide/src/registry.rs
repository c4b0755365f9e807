//! The namespaces that are open, and the adapters in them.
//!
//! Two clients that are the first in a dynamic namespace at the same time make two adapters for it.
//! Both have clients then, so that both get what comes. The node opens the namespace for the first.
//! It closes it when the last is gone, or when socketioxide deletes the namespace. socketioxide knows
//! only one of the two adapters then, and tells no other.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::stream::BoxStream;
use sio_streams_driver::sio_streams_core::{BroadcastOptions, ByteString, Packet, Payload};
use sio_streams_driver::{Namespace, Queued};
use socketioxide_core::Sid;
use socketioxide_core::adapter::Room;
use tokio::sync::OnceCell;

/// The sockets of one adapter, as the node's events concern them.
pub(crate) trait Local: Send + Sync {
    /// Sends a packet to clients.
    fn broadcast(&self, packet: &Packet, opts: &BroadcastOptions) -> Result<(), String>;

    /// Sends a packet to clients. Returns their number, and their acknowledgements, which end in time.
    fn broadcast_with_ack(
        &self,
        packet: &Packet,
        opts: &BroadcastOptions,
    ) -> Result<(u64, BoxStream<'static, Payload>), String>;

    fn join(&self, opts: &BroadcastOptions, rooms: &[ByteString]);

    fn leave(&self, opts: &BroadcastOptions, rooms: &[ByteString]);

    fn disconnect(&self, opts: &BroadcastOptions) -> Result<(), String>;

    /// Returns the sockets and their rooms.
    fn sockets(&self, opts: &BroadcastOptions) -> Vec<(Sid, Vec<Room>)>;
}

#[derive(Debug, Default)]
pub(crate) struct Registry {
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    by_name: HashMap<ByteString, Slot>,
    last: u64,
}

/// A namespace.
#[derive(Default)]
struct Slot {
    opened: Arc<OnceCell<Namespace>>,
    adapters: Vec<(u64, Weak<dyn Local>)>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let adapters: Vec<u64> = self.adapters.iter().map(|(number, _)| *number).collect();
        f.debug_struct("Slot")
            .field("opened", &self.opened.initialized())
            .field("adapters", &adapters)
            .finish()
    }
}

/// The place of an adapter in its namespace. Dropping it leaves the namespace.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    nsp: ByteString,
    number: u64,
}

impl Registry {
    /// Adds an adapter. Returns its place, and the namespace, which is to be opened by one of its
    /// adapters.
    pub(crate) fn enter(
        self: &Arc<Self>,
        nsp: ByteString,
        adapter: Weak<dyn Local>,
    ) -> (Registration, Arc<OnceCell<Namespace>>) {
        let mut slots = self.lock();
        slots.last += 1;
        let number = slots.last;
        let slot = slots.by_name.entry(nsp.clone()).or_default();
        slot.adapters.push((number, adapter));
        let opened = Arc::clone(&slot.opened);
        drop(slots);
        (Registration { registry: Arc::clone(self), nsp, number }, opened)
    }

    /// Returns the adapters of a namespace.
    pub(crate) fn adapters(&self, nsp: &str) -> Vec<Arc<dyn Local>> {
        let slots = self.lock();
        let adapters = slots.by_name.get(nsp).map_or(&[][..], |slot| &slot.adapters);
        adapters.iter().filter_map(|(_, adapter)| adapter.upgrade()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// Deletes the namespace, for all adapters in it. If it is open, it is closed: returns the end of
    /// that.
    pub(crate) fn delete(self) -> Option<Queued<()>> {
        self.leave(true)
    }

    fn leave(&self, with_all: bool) -> Option<Queued<()>> {
        let mut slots = self.registry.lock();
        let slot = slots.by_name.get_mut(&self.nsp)?;
        let before = slot.adapters.len();
        slot.adapters.retain(|(number, _)| *number != self.number);
        // It may be another namespace of the same name by now.
        if slot.adapters.len() == before || !slot.adapters.is_empty() && !with_all {
            return None;
        }
        // It is in line to be closed before anybody can open it again.
        Some(slots.by_name.remove(&self.nsp)?.opened.get()?.clone().close())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Nobody waits for the end.
        drop(self.leave(false));
    }
}
