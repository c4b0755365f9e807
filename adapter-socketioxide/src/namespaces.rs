//! The namespaces of this server, and the adapters in them.
//!
//! Two clients that are the first in a dynamic namespace at the same time make two adapters for it.
//! Both have clients then, so that both get what comes. The node opens the namespace for the first.
//! It closes it when the last is gone, or when socketioxide deletes the namespace. socketioxide
//! knows only one of the two adapters then, and tells no other.

use std::collections::HashMap;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::stream::BoxStream;
use sio_streams_driver::sio_streams_core::{ByteString, Payload, RemoteSocket};
use sio_streams_driver::{Event, Namespace, Queued};
use tokio::sync::OnceCell;

/// The adapter of a namespace, whatever the framework's type of sockets.
pub(crate) trait Local: Send + Sync {
    /// Does what an event says with this adapter's sockets.
    fn follow(&self, event: &Event, answers: &mut Answers) -> Result<(), String>;
}

/// The adapters' answers to an event.
#[derive(Default)]
pub(crate) struct Answers {
    /// The number of clients that were asked for acknowledgements.
    pub(crate) clients: u64,
    /// Their acknowledgements, which end in time.
    pub(crate) acks: Vec<BoxStream<'static, Payload>>,
    pub(crate) sockets: Vec<RemoteSocket>,
}

#[derive(Debug, Default)]
pub(crate) struct Namespaces(Mutex<HashMap<ByteString, Slot>>);

/// A namespace.
#[derive(Debug, Default)]
struct Slot {
    opened: Arc<OnceCell<()>>,
    adapters: Vec<Weak<dyn Local>>,
}

impl Namespaces {
    /// Adds an adapter. Returns what is set when one of the adapters has opened the namespace, and
    /// whether this is the first of them.
    pub(crate) fn enter(&self, nsp: &str, adapter: Weak<dyn Local>) -> (Arc<OnceCell<()>>, bool) {
        let mut slots = self.lock();
        let Slot { opened, adapters } = slots.entry(nsp.into()).or_default();
        adapters.retain(|other| !ptr::addr_eq(other.as_ptr(), adapter.as_ptr()));
        adapters.push(adapter);
        (Arc::clone(opened), adapters.len() == 1)
    }

    /// Returns the adapters of a namespace.
    pub(crate) fn adapters(&self, nsp: &str) -> Vec<Arc<dyn Local>> {
        self.lock()
            .get(nsp)
            .map_or(Vec::new(), |slot| slot.adapters.iter().filter_map(Weak::upgrade).collect())
    }

    /// Takes an adapter away. If it was the last one, or if all are to go with it, the namespace is
    /// closed: returns the end of that.
    pub(crate) fn leave<T>(&self, nsp: &Namespace, adapter: &T, with_all: bool) -> Option<Queued<()>> {
        let mut slots = self.lock();
        let adapters = &mut slots.get_mut(nsp.name())?.adapters;
        // It may be another namespace of the same name by now.
        let place = adapters.iter().position(|other| ptr::addr_eq(other.as_ptr(), adapter))?;
        adapters.remove(place);
        if !adapters.is_empty() && !with_all {
            return None;
        }
        slots.remove(nsp.name());
        // It is in line to be closed before anybody can open it again.
        Some(nsp.clone().close())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ByteString, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
