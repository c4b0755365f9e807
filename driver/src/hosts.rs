//! This module hands a node's events to a framework's objects for its namespaces.
//!
//! A framework has rooms of its own, so the node's rooms are the
//! [application's](sio_streams_core::RoomOwner). It has an object for each namespace, a [`Host`],
//! which gives the orders of this server to the cluster and follows those of the others. The parts
//! that are the same for all frameworks are in [`Hosts`]:
//!
//! - An event comes to the hosts of its namespace. Each host finds out which of its sockets are meant,
//!   by the event's `opts`; [`Rooms`](sio_streams_core::Rooms) can help.
//! - Orders of this server don't come to its hosts. A host that gives an order, by the calls of
//!   [`Node::namespace`], follows it itself as soon as it is in line, unless
//!   [`Publishing::refusal`](crate::Publishing::refusal) says that it is not. The counts of
//!   `broadcast_with_ack` don't include its own clients. With
//!   [`StreamOrder`](sio_streams_core::LocalDelivery) it is the other way round: orders of this server
//!   come like all others, in the order of the stream, and a host does not follow them before.
//! - Questions are answered for all hosts of the namespace together, with what each of them puts
//!   into [`Answers`]. The asker is told the number of clients first, even if it is zero.
//! - The namespace is opened for the first host that enters, and closed when the last one is gone.
//!   If two clients are the first in a namespace at once, some frameworks make two objects, and each
//!   of them has clients. Both get the orders of other servers. An order that one of them gives does
//!   not reach the clients of the other, as in the framework without a cluster.
//! - A host that panics does not keep events from the others.
//! - All other events, and failures, are [`Notices`] for the application.
//!
//! In the dialect `Sharded` with channels for rooms, the hosts also call
//! [`set_rooms_occupied`](crate::Namespace::set_rooms_occupied).
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
//! let (hosts, _notices) = Hosts::start(node, events)?;
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
use sio_streams_core::{ByteString, LocalDelivery, NodeId, Payload, RemoteSocket, RoomOwner};
use tokio::sync::watch;

use self::notices::Teller;
pub use self::notices::{Notice, Notices};
use crate::caught::words;
use crate::error::Error;
use crate::event::{Broadcast, Event};
use crate::node::Node;
use crate::observe;
use crate::queue::Events;
use crate::queued::Queued;

/// A framework's object for a namespace.
pub trait Host: Send + Sync {
    /// Does what an event says with this object's sockets, and adds the answers of its sockets if the
    /// event is a question. Events come one after the other, in order, in one task for the whole
    /// node, so this must not block. Questions of a server-side emit are the application's: they come
    /// as a [`Notice`].
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
/// The task that takes the events does not hold the node. The node leaves the cluster when its last
/// handle is dropped; a `Hosts` is one.
#[derive(Clone, Debug)]
pub struct Hosts {
    node: Node,
    by_name: Arc<ByName>,
}

/// The open namespaces, and those that are being opened.
#[derive(Debug, Default)]
struct ByName(Mutex<HashMap<ByteString, Slot>>);

/// A namespace.
#[derive(Debug)]
struct Slot {
    hosts: Vec<Weak<dyn Host>>,
    opening: Opening,
}

/// An attempt to open a namespace, for all hosts that wait for it. It has no value until it ends.
type Opening = watch::Receiver<Option<Result<(), Arc<Failure>>>>;

/// The reason that a namespace could not be opened. The first host that asks gets the error itself.
#[derive(Debug)]
struct Failure {
    error: Mutex<Option<Error>>,
    nsp: ByteString,
    within: Duration,
    why: String,
}

impl Failure {
    fn new(nsp: ByteString, error: Error) -> Self {
        let (within, why) = match &error {
            Error::NotOpened { within, why, .. } => (*within, why.clone()),
            other => (Duration::ZERO, other.to_string()),
        };
        Failure { error: Mutex::new(Some(error)), nsp, within, why }
    }

    fn error(&self) -> Error {
        let first = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        let again = || Error::NotOpened { nsp: self.nsp.clone(), within: self.within, why: self.why.clone() };
        first.unwrap_or_else(again)
    }
}

/// Waits for the end of an attempt.
async fn opened(mut opening: Opening) -> Result<(), Error> {
    let end = opening.wait_for(Option::is_some).await.map_err(|_| Error::Closed)?;
    match &*end {
        Some(Err(failure)) => Err(failure.error()),
        _ => Ok(()),
    }
}

/// The node was started with rooms of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hosts have rooms of their own: start the node with `Config::room_owner` set to the application")]
pub struct RoomsOfNode;

impl Hosts {
    /// Takes the node's events from now on, in a task of its own, until the node is closed.
    ///
    /// # Errors
    ///
    /// [`RoomsOfNode`] unless the node's rooms are the
    /// [application's](sio_streams_core::RoomOwner).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(node: Node, mut events: Events) -> Result<(Hosts, Notices), RoomsOfNode> {
        if node.config().room_owner != RoomOwner::Application {
            return Err(RoomsOfNode);
        }
        let (mut teller, notices) = notices::queue();
        let own = match node.config().local_delivery {
            LocalDelivery::StreamOrder => None,
            _ => Some(node.uid().clone()),
        };
        let hosts = Hosts { node, by_name: Arc::default() };
        let by_name = Arc::clone(&hosts.by_name);
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                by_name.follow(own.as_ref(), event, &mut teller);
            }
        });
        Ok((hosts, notices))
    }

    /// Returns the node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Adds a host to a namespace. The result is there when the namespace is open: it is opened for
    /// the first host, and the others wait for the same attempt. If the attempt fails, all of them
    /// get the reason; the hosts stay, and the next one that enters, or enters again, begins
    /// another. Dropping the future takes nothing back.
    ///
    /// A namespace with hosts must be closed by [`leave`](Hosts::leave) or
    /// [`delete`](Hosts::delete), and not by the node's own handle.
    ///
    /// # Errors
    ///
    /// As [`Node::open`]. If several hosts wait, the second and all others get
    /// [`Error::NotOpened`] in any case.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn enter(&self, nsp: impl Into<ByteString>, host: Weak<dyn Host>) -> Queued<()> {
        Queued::new(opened(self.add(nsp.into(), host, None)))
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
        let mut opening = self.add(nsp.clone(), host.clone(), Some(Duration::MAX));
        let hosts = self.clone();
        tokio::spawn(async move {
            while let Err(error) = opened(opening).await {
                // It was the attempt of a host that does not wait for so long.
                let again = matches!(error, Error::NotOpened { .. }).then(|| hosts.open_again(&nsp, &host));
                match again.flatten() {
                    Some(again) => opening = again,
                    None => return observe::not_opened(&error),
                }
            }
        });
    }

    /// Adds a host, and returns the attempt to open the namespace. A new one is in line before
    /// anybody can close the namespace.
    fn add(&self, nsp: ByteString, host: Weak<dyn Host>, within: Option<Duration>) -> Opening {
        let mut slots = self.by_name.lock();
        let slot = slots
            .entry(nsp.clone())
            .or_insert_with(|| Slot { hosts: Vec::new(), opening: self.open(nsp.clone(), within) });
        slot.hosts.retain(|other| !ptr::addr_eq(other.as_ptr(), host.as_ptr()));
        slot.hosts.push(host);
        if slot.has_failed() {
            slot.opening = self.open(nsp, within);
        }
        slot.opening.clone()
    }

    /// Returns the attempt to open the namespace of a host, if it is still there.
    fn open_again(&self, nsp: &ByteString, host: &Weak<dyn Host>) -> Option<Opening> {
        let mut slots = self.by_name.lock();
        let slot = slots.get_mut(nsp)?;
        slot.hosts.iter().find(|other| ptr::addr_eq(other.as_ptr(), host.as_ptr()))?;
        if slot.has_failed() {
            slot.opening = self.open(nsp.clone(), Some(Duration::MAX));
        }
        Some(slot.opening.clone())
    }

    /// Begins to open a namespace.
    fn open(&self, nsp: ByteString, within: Option<Duration>) -> Opening {
        let attempt = match within {
            Some(within) => self.node.open_within(nsp.clone(), within),
            None => self.node.open(nsp.clone()),
        };
        let (told, opening) = watch::channel(None);
        tokio::spawn(async move {
            let end = attempt.await.map(drop);
            told.send_replace(Some(end.map_err(|error| Arc::new(Failure::new(nsp, error)))));
        });
        opening
    }

    /// Takes a host away, which must be the same object that has entered. If it was the last one,
    /// the namespace is closed. The call is in line when this returns, and the future is its end.
    ///
    /// A host calls this when it is dropped. Nothing happens if it is not in the namespace.
    pub fn leave<T: Host + ?Sized>(&self, nsp: &str, host: &T) -> Option<Queued<()>> {
        self.remove(nsp, host, false)
    }

    /// Takes a host away, as [`leave`](Hosts::leave) does, and all others of the namespace with it:
    /// the framework has deleted the namespace.
    pub fn delete<T: Host + ?Sized>(&self, nsp: &str, host: &T) -> Option<Queued<()>> {
        self.remove(nsp, host, true)
    }

    fn remove<T: Host + ?Sized>(&self, nsp: &str, host: &T, with_all: bool) -> Option<Queued<()>> {
        let mut slots = self.by_name.lock();
        let hosts = &mut slots.get_mut(nsp)?.hosts;
        // By now the slot may be that of a new namespace with the same name.
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

impl Slot {
    /// Returns `true` if the namespace could not be opened.
    fn has_failed(&self) -> bool {
        self.opening.borrow().as_ref().is_some_and(Result::is_err)
    }
}

impl ByName {
    fn hosts(&self, nsp: &str) -> Vec<Arc<dyn Host>> {
        let slots = self.lock();
        let hosts = slots.get(nsp).map_or(&[][..], |slot| &slot.hosts);
        hosts.iter().filter_map(Weak::upgrade).collect()
    }

    /// Passes an event to the hosts of its namespace, unless `own` has sent it, and to the
    /// application.
    fn follow(&self, own: Option<&NodeId>, event: Event, teller: &mut Teller) {
        let mut answers = Answers::default();
        if let Some(nsp) = event.nsp().filter(|_| own.is_none() || event.sender() != own) {
            for host in self.hosts(nsp) {
                // A panic must not keep the event from the others.
                let followed = catch_unwind(AssertUnwindSafe(|| host.follow(&event, &mut answers)));
                let followed = followed.unwrap_or_else(|panic| Err(format!("a host has {}", words(&*panic))));
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
