//! For server frameworks: hands a node's events to the objects that the framework has for its
//! namespaces.
//!
//! A framework has rooms of its own, so the node's rooms are the
//! [application's](sio_streams_core::RoomOwner). It has an object for each namespace, which gives
//! the orders of this server to the cluster and follows those of the others: a [`Host`]. The parts
//! that are the same for all frameworks are in [`Hosts`]:
//!
//! - An event comes to the hosts of its namespace. Orders of this server don't come: a host follows
//!   them itself, as soon as they are in line.
//! - Questions are answered for all hosts of the namespace together, with what each of them puts
//!   into [`Answers`]. The number of clients is told first, and even if it is zero.
//! - The namespace is opened for the first host that enters, and closed when the last one is gone.
//!   Some frameworks make two objects if two first clients come into a namespace at the same time,
//!   and both have clients then.
//! - A host that panics does not keep events from the others.
//! - All other events, and what went wrong, are [`Notices`] for the application.
//!
//! ```
//! # use sio_streams_driver::{Config, RoomOwner, memory::MemoryRedis, start};
//! use std::sync::{Arc, Mutex, Weak};
//!
//! use sio_streams_driver::hosts::{Answers, Host, Hosts};
//! use sio_streams_driver::{BroadcastOptions, Event, Packet};
//!
//! /// A namespace with one client, which is in no room.
//! #[derive(Default)]
//! struct Chat(Mutex<Vec<Packet>>);
//!
//! impl Host for Chat {
//!     fn follow(&self, event: &Event, answers: &mut Answers) -> Result<(), String> {
//!         match event {
//!             Event::Broadcast(it) if it.opts.rooms.is_empty() => {
//!                 self.0.lock().unwrap().push(it.packet.clone());
//!                 // If acknowledgements are wanted: `answers.acks` is a place for them.
//!                 answers.clients += 1;
//!             }
//!             _ => {} // joins, leaves, disconnects, questions for sockets
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let redis = MemoryRedis::new();
//! # let (other, _events) = start(Config::default(), redis.backend())?;
//! # let sender = other.open("/chat").await?;
//! # let config = || Config { room_owner: RoomOwner::Application, ..Config::default() };
//! let (node, events) = start(config(), redis.backend())?;
//! let (hosts, _notices) = Hosts::start(node, events);
//! let chat = Arc::new(Chat::default());
//! let host: Weak<dyn Host> = Arc::<Chat>::downgrade(&chat);
//! hosts.enter("/chat", host).await?;
//! # sender.broadcast(Packet::event("hello", &())?, BroadcastOptions::all()).await?;
//! # while chat.0.lock().unwrap().is_empty() { tokio::task::yield_now().await; }
//! // … and when the framework closes the namespace:
//! hosts.leave("/chat", &*chat).unwrap().await?;
//! # Ok(())
//! # }
//! ```

mod notices;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::TryFutureExt as _;
use futures_util::stream::{BoxStream, select_all};
use sio_streams_core::{ByteString, NodeId, Payload, RemoteSocket};
use tokio::sync::OnceCell;

use self::notices::Teller;
pub use self::notices::{Notice, Notices};
use crate::error::Error;
use crate::event::{Broadcast, Event};
use crate::node::Node;
use crate::observe;
use crate::queue::Events;
use crate::queued::Queued;

/// A framework's object for a namespace.
pub trait Host: Send + Sync {
    /// Does what an event says with this object's sockets, and adds their answers if it is a
    /// question. Events come one after the other, in order, in one task for the whole node: so this
    /// must not wait.
    ///
    /// # Errors
    ///
    /// The reason that clients did not get what they should: it is a [`Notice::Undelivered`], and
    /// is counted and logged.
    fn follow(&self, event: &Event, answers: &mut Answers) -> Result<(), String>;
}

/// The answers of a namespace's hosts to an event.
#[derive(Default)]
pub struct Answers {
    /// For a broadcast with acknowledgements: the number of clients that were asked.
    pub clients: u64,
    /// Their acknowledgements as they come. A stream should end when its clients have answered;
    /// what comes after the sender's time limit is not passed on.
    pub acks: Vec<BoxStream<'static, Payload>>,
    /// For [`Event::FetchSockets`]: the sockets, each with the room that bears its id.
    pub sockets: Vec<RemoteSocket>,
}

impl core::fmt::Debug for Answers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Answers { clients, acks, sockets } = self;
        let mut answers = f.debug_struct("Answers");
        answers.field("clients", clients).field("acks", &acks.len()).field("sockets", sockets).finish()
    }
}

/// The hosts of a node, by their namespaces. It is cheap to clone.
///
/// The task that takes the events does not hold the node: it leaves the cluster when the last
/// handle is dropped, among them this one.
#[derive(Clone, Debug)]
pub struct Hosts {
    node: Node,
    by_name: Arc<ByName>,
}

/// The open namespaces, and those that are being opened.
#[derive(Debug, Default)]
struct ByName(Mutex<HashMap<ByteString, Slot>>);

/// A namespace.
#[derive(Debug, Default)]
struct Slot {
    opened: Arc<OnceCell<()>>,
    hosts: Vec<Weak<dyn Host>>,
}

impl Hosts {
    /// Takes the node's events from now on, in a task of its own, until the node is closed. The
    /// node's rooms must be the [application's](sio_streams_core::RoomOwner).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(node: Node, mut events: Events) -> (Hosts, Notices) {
        let (mut teller, notices) = notices::queue();
        let hosts = Hosts { node, by_name: Arc::default() };
        let (own, by_name) = (hosts.node.uid().clone(), Arc::clone(&hosts.by_name));
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                // A panic must not stop the events for all others.
                let followed = AssertUnwindSafe(|| by_name.follow(&own, event, &mut teller));
                if catch_unwind(followed).is_err() {
                    teller.undelivered("", "a host panicked".into());
                }
            }
        });
        (hosts, notices)
    }

    /// Returns the node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Adds a host to a namespace. Completes when the namespace is open: it is opened for the first
    /// host, and the others wait for that, too. If it fails, the host stays, and may enter again.
    ///
    /// # Errors
    ///
    /// As [`Node::open`].
    pub async fn enter(&self, nsp: impl Into<ByteString>, host: Weak<dyn Host>) -> Result<(), Error> {
        let nsp = nsp.into();
        let (opened, _) = self.by_name.add(&nsp, host);
        opened.get_or_try_init(|| self.node.open(nsp).map_ok(drop)).await.copied()
    }

    /// Adds a host to a namespace, and does not wait until it is open, however long Redis may be
    /// away. Until then, broadcasts and orders wait within the node's limits, and nothing comes. If
    /// the namespace can't be opened at all, that is logged.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn enter_later(&self, nsp: impl Into<ByteString>, host: Weak<dyn Host>) {
        let nsp = nsp.into();
        let (_, is_first) = self.by_name.add(&nsp, host);
        if is_first {
            // It is in line before the namespace can be closed again.
            let opening = self.node.open_within(nsp, Duration::MAX);
            tokio::spawn(opening.map_ok(drop).unwrap_or_else(|error| observe::not_opened(&error)));
        }
    }

    /// Takes a host away, which must be the same object that has entered. If it was the last one in
    /// the namespace, that is closed: returns the end of that. It is in line at once.
    ///
    /// A host calls this when it is dropped. Nothing happens if it is not in the namespace.
    pub fn leave<T>(&self, nsp: &str, host: &T) -> Option<Queued<()>> {
        self.remove(nsp, host, false)
    }

    /// Takes a host away, as [`leave`](Hosts::leave) does, and all others of the namespace with it:
    /// the framework has deleted the namespace.
    pub fn delete<T>(&self, nsp: &str, host: &T) -> Option<Queued<()>> {
        self.remove(nsp, host, true)
    }

    fn remove<T>(&self, nsp: &str, host: &T, with_all: bool) -> Option<Queued<()>> {
        let mut slots = self.by_name.lock();
        let hosts = &mut slots.get_mut(nsp)?.hosts;
        // It may be another namespace of the same name by now.
        let place = hosts.iter().position(|other| ptr::addr_eq(other.as_ptr(), host))?;
        hosts.remove(place);
        if !hosts.is_empty() && !with_all {
            return None;
        }
        slots.remove(nsp);
        // It is in line to be closed before anybody can open it again.
        Some(self.node.namespace(nsp).close())
    }
}

impl ByName {
    /// Adds a host. Returns what is set when one of the hosts has opened the namespace, and whether
    /// this is the first of them.
    fn add(&self, nsp: &ByteString, host: Weak<dyn Host>) -> (Arc<OnceCell<()>>, bool) {
        let mut slots = self.lock();
        let Slot { opened, hosts } = slots.entry(nsp.clone()).or_default();
        hosts.retain(|other| !ptr::addr_eq(other.as_ptr(), host.as_ptr()));
        hosts.push(host);
        (Arc::clone(opened), hosts.len() == 1)
    }

    fn hosts(&self, nsp: &str) -> Vec<Arc<dyn Host>> {
        let slots = self.lock();
        let hosts = slots.get(nsp).map_or(&[][..], |slot| &slot.hosts);
        hosts.iter().filter_map(Weak::upgrade).collect()
    }

    fn follow(&self, own: &NodeId, event: Event, teller: &mut Teller) {
        let mut answers = Answers::default();
        // This server has followed its own orders already, when they were given.
        if let Some(nsp) = event.nsp().filter(|_| event.sender() != Some(own)) {
            for host in self.hosts(nsp) {
                let followed = host.follow(&event, &mut answers);
                followed.unwrap_or_else(|reason| teller.undelivered(nsp, reason));
            }
        }
        match event {
            Event::Broadcast(Broadcast { responder: Some(responder), .. }) => {
                give(responder.answer(answers.clients, select_all(answers.acks)));
            }
            Event::FetchSockets { responder, .. } => give(responder.send_in_rooms(answers.sockets)),
            Event::Broadcast(_)
            | Event::SocketsJoin(_)
            | Event::SocketsLeave(_)
            | Event::DisconnectSockets { .. } => {}
            other => teller.tell(Notice::Node(Box::new(other))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ByteString, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets an answer go out.
fn give(answer: impl Future<Output = Result<(), Error>> + Send + 'static) {
    tokio::spawn(answer.unwrap_or_else(|error| observe::not_answered(&error)));
}
