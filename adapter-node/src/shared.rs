//! What the tasks of a node have in common: the namespaces by their numbers, and the questions of other
//! servers that JavaScript has not answered.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use sio_streams_driver::{
    AckResponder, ByteString, EmitResponder, LocalDelivery, Namespace, Node, NodeId, SocketsResponder,
};

use crate::queue::Queue;
use crate::records::Records;

/// The time after which a question is forgotten that JavaScript has not answered. Whoever asked has
/// given up long before.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// The number of open questions from which on those are looked for that are to be forgotten.
const FEW: usize = 256;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    uid: NodeId,
    /// This node's own name, if its sockets follow its orders at the call. `None` if they do so when
    /// the orders come back by the stream.
    pub(crate) own: Option<NodeId>,
    namespaces: RwLock<Namespaces>,
    open: Mutex<Open>,
}

/// The namespaces by their numbers, and the other way round.
#[derive(Debug, Default)]
struct Namespaces {
    by_number: HashMap<u32, Namespace>,
    by_name: HashMap<ByteString, u32>,
}

/// The right to answer another server.
#[derive(Debug)]
pub(crate) enum Responder {
    Acks(AckResponder),
    Sockets(SocketsResponder),
    Emit(EmitResponder),
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    by_number: HashMap<u64, (Instant, Responder)>,
    many: usize,
}

impl Shared {
    pub(crate) fn new(queue: Queue, node: &Node) -> Self {
        let own = match node.config().local_delivery {
            LocalDelivery::StreamOrder => None,
            _ => Some(node.uid().clone()),
        };
        Shared { queue, uid: node.uid().clone(), own, namespaces: RwLock::default(), open: Mutex::default() }
    }

    /// Returns this node's name.
    pub(crate) fn uid(&self) -> &NodeId {
        &self.uid
    }

    pub(crate) fn add(&self, number: u32, namespace: Namespace) {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        namespaces.by_name.insert(namespace.name().into(), number);
        namespaces.by_number.insert(number, namespace);
    }

    pub(crate) fn remove(&self, number: u32) -> Option<Namespace> {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        let namespace = namespaces.by_number.remove(&number)?;
        // By now the name may be that of a later namespace.
        if namespaces.by_name.get(namespace.name()) == Some(&number) {
            namespaces.by_name.remove(namespace.name());
        }
        Some(namespace)
    }

    pub(crate) fn namespace(&self, number: u32) -> Option<Namespace> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        namespaces.by_number.get(&number).cloned()
    }

    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        namespaces.by_name.get(name).copied()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the right to answer, and returns its number.
    pub(crate) fn ask(&self, responder: Responder) -> u64 {
        let mut open = self.open();
        if open.by_number.len() >= open.many.max(FEW) {
            open.by_number.retain(|_, (asked, _)| asked.elapsed() < FORGOTTEN);
            open.many = 2 * open.by_number.len();
        }
        open.last += 1;
        let number = open.last;
        open.by_number.insert(number, (Instant::now(), responder));
        number
    }

    /// Takes the right to answer.
    pub(crate) fn answer(&self, number: u64) -> Option<Responder> {
        self.open().by_number.remove(&number).map(|(_, responder)| responder)
    }

    /// Returns the right to pass on clients' acknowledgements, which is used many times.
    pub(crate) fn acks(&self, number: u64) -> Option<AckResponder> {
        match self.open().by_number.get(&number)? {
            (_, Responder::Acks(responder)) => Some(responder.clone()),
            _ => None,
        }
    }

    /// Tells JavaScript that something of its own was not done, or may not have been done.
    pub(crate) fn refused(&self, number: u32, what: &str, reason: &str) {
        self.queue.tell(|records| {
            let detail = serde_json::json!({ "event": "refused", "what": what, "reason": reason });
            notice(records, Some(number), &detail);
        });
    }
}

/// Writes a notice. Without a number it is for all namespaces.
pub(crate) fn notice(records: &mut Records, number: Option<u32>, detail: &serde_json::Value) {
    records.field("n").optional(number).field(&detail.to_string());
}
