//! Redis Cluster, over any [`Dialer`].
//!
//! ```
//! # use sio_streams_driver::wire::{AddressError, Dialer};
//! use sio_streams_driver::cluster::Cluster;
//!
//! # fn example<D: Dialer + Clone>(backend: D) -> Result<(), AddressError> {
//! // `backend` is, say, RedisBackend::new("redis://user:password@10.0.0.1:7000").
//! let cluster = Cluster::new(backend).seed("10.0.0.2:7000")?.seed("10.0.0.3:7000")?;
//! # drop(cluster); Ok(()) }
//! ```
//!
//! # Connections
//!
//! | lane | connections |
//! |---|---|
//! | writer | one to each master; also one to each replica in the dialects that count subscribers (all but 0.2), see below |
//! | reader of a stream | one, to the master that has the stream; its blocking reads hold up nobody |
//! | recovery | one to each master |
//! | subscriber | one to some master; sharded, one to each master that has one of the channels |
//!
//! All namespaces share them. While one master can't be reached, the writer's link counts as down,
//! and nothing is published to the others, either. By default, a cluster refuses that itself
//! (`cluster-require-full-coverage`). Readers of streams on other masters go on.
//!
//! # Changes of the cluster
//!
//! - A command that is answered by `MOVED` or `ASK` has certainly not been executed. It is sent to
//!   the right server, in order. Nothing else is sent twice. The client crates' own cluster clients
//!   are not used, since they also send commands again that may have been executed.
//! - A reader whose stream has moved loses its link, and opens another. The engine then checks
//!   whether it missed anything.
//! - A subscriber asks every second for the owners of its channels' slots. If they are not the
//!   servers that it has subscribed at, its link counts as lost, and everything is subscribed anew.
//! - While a cluster is down, so are the links, with `CLUSTERDOWN` as the reason.
//!
//! # Counting subscribers
//!
//! All servers are asked, including replicas, since clients of Node.js subscribe at any of them.
//!
//! # Rights
//!
//! In addition to those that a backend lists: `+cluster|slots +asking`, and `+cluster|info`, which
//! may be missing.

mod connection;
mod link;
mod parts;
mod slots;

use std::sync::{Arc, Mutex, PoisonError};

use sio_streams_core::{CommandError, Lane};

use crate::backend::{Backend, ConnectError, PushSender};
use crate::first::first;
use crate::wire::{Address, AddressError, Dialer, Value, Wire, WireConnection};
pub use connection::ClusterConnection;
use slots::Slots;
pub use slots::slot_of;

/// A backend on a Redis Cluster. See the [module](self).
pub struct Cluster<D> {
    shared: Arc<Shared<D>>,
}

/// The common state of a cluster's connections.
struct Shared<D> {
    dialer: D,
    seeds: Vec<Address>,
    /// The servers to ask about the cluster, the next one first. A server that has failed goes to
    /// the end, so that the next attempt begins with another, even if a time limit ends this one.
    known: Mutex<Vec<Address>>,
}

impl<D: Dialer> Cluster<D> {
    /// Creates a backend that starts from the address of the given one, and uses its user, password
    /// and TLS for every server.
    pub fn new(backend: D) -> Self {
        Self::of(vec![backend.home()], backend)
    }

    /// Adds one more address to start from, `host:port`.
    ///
    /// # Errors
    ///
    /// If it is not an address.
    pub fn seed(self, address: &str) -> Result<Self, AddressError>
    where
        D: Clone,
    {
        let mut seeds = self.shared.seeds.clone();
        seeds.push(Address::parse(address)?);
        Ok(Self::of(seeds, self.shared.dialer.clone()))
    }

    fn of(seeds: Vec<Address>, dialer: D) -> Self {
        let known = Mutex::new(seeds.clone());
        Cluster { shared: Arc::new(Shared { dialer, seeds, known }) }
    }
}

impl<D> Clone for Cluster<D> {
    fn clone(&self) -> Self {
        Cluster { shared: Arc::clone(&self.shared) }
    }
}

impl<D> core::fmt::Debug for Cluster<D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Cluster").field("seeds", &self.shared.seeds).finish_non_exhaustive()
    }
}

impl<D: Dialer> Backend for Cluster<D> {
    type Connection = ClusterConnection<D>;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<ClusterConnection<D>, ConnectError> {
        ClusterConnection::open(Arc::clone(&self.shared), lane.clone(), pushes).await
    }
}

impl<D: Dialer> Shared<D> {
    /// Asks one server after the other for the owners of the slots. A server that hangs does not
    /// delay the others for long.
    async fn learn(&self) -> Result<Slots, ConnectError> {
        let candidates = self.known().clone();
        let tries = candidates.into_iter().map(|address| async {
            self.put_last(&address);
            match self.learn_from(&address).await {
                Ok(slots) => Ok((slots, address)),
                Err(error) => Err(format!("{address}: {error}")),
            }
        });
        match first(tries).await {
            Ok((slots, address)) => {
                self.remember(&slots, address);
                Ok(slots)
            }
            Err(mut errors) => {
                let none = || "no server of the cluster is known".to_owned();
                Err(ConnectError(errors.pop().unwrap_or_else(none)))
            }
        }
    }

    async fn learn_from(&self, address: &Address) -> Result<Slots, String> {
        let mut server = self.dial_to_ask(address).await.map_err(|error| error.0)?;
        check_state(&mut server).await?;
        let slots = server.ask(SLOTS).await.and_then(|value| read_slots(value, address));
        slots.map_err(|error| error.to_string())
    }

    /// Opens a connection for questions. No messages come on it.
    async fn dial_to_ask(&self, address: &Address) -> Result<WireConnection<D::Wire>, ConnectError> {
        let (pushes, _) = PushSender::channel(1);
        self.dialer.dial(address, &Lane::Writer, pushes).await
    }

    /// Remembers the servers of the cluster, and behind them the seeds, in case all servers have
    /// been replaced.
    fn remember(&self, slots: &Slots, answered: Address) {
        let mut known = vec![answered];
        for address in slots.nodes().chain(&self.seeds) {
            if !known.contains(address) {
                known.push(address.clone());
            }
        }
        *self.known() = known;
    }

    fn put_last(&self, address: &Address) {
        let mut known = self.known();
        if let Some(at) = known.iter().position(|other| other == address) {
            known[at..].rotate_left(1);
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Vec<Address>> {
        // A poisoned lock is as good as any other, since no code panics while holding it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a server whether the cluster works.
async fn check_state<W: Wire>(server: &mut WireConnection<W>) -> Result<(), String> {
    match server.ask(&["CLUSTER", "INFO"]).await {
        Ok(info) => match info.text() {
            Some(info) if info.contains("cluster_state:fail") => {
                Err("CLUSTERDOWN, by its CLUSTER INFO".to_owned())
            }
            _ => Ok(()),
        },
        // If this is forbidden, the results of the commands will tell.
        Err(CommandError::Server { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// The command that asks for the owners of the slots.
const SLOTS: &[&str] = &["CLUSTER", "SLOTS"];

/// Reads the answer to [`SLOTS`] of the server at this address.
fn read_slots(value: Value, address: &Address) -> Result<Slots, CommandError> {
    match Slots::read(value, address) {
        Some(slots) if !slots.masters().is_empty() => Ok(slots),
        _ => Err(CommandError::Lost("the reply to CLUSTER SLOTS names no master".to_owned())),
    }
}
