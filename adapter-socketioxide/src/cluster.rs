//! The handle of the cluster, which is also the state of the adapters.

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use sio_streams_driver::hosts::{Hosts, Notices};
use sio_streams_driver::sio_streams_core::{
    BroadcastOptions, ByteString, Config, Dialect, LocalDelivery, Payload, SubscriptionMode,
};
use sio_streams_driver::{Events, Node, Publishing, Queued, Responses, Sockets};
use socketioxide_core::Sid;

use crate::aliases::{self, Aliases};
use crate::error::SetupError;

/// The answer of a socket of this server to the servers that fetch it. By default the handshake and
/// the data are `{}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketDescription {
    /// The client's handshake. Applications on Node.js expect a
    /// [`Handshake`](sio_streams_driver::sio_streams_core::Handshake).
    pub handshake: Payload,
    /// The data that the application has attached to the socket, an object.
    pub data: Payload,
}

impl Default for SocketDescription {
    fn default() -> Self {
        SocketDescription { handshake: Payload::empty_object(), data: Payload::empty_object() }
    }
}

type Describe = Arc<dyn Fn(&str, Sid) -> SocketDescription + Send + Sync>;

/// This server's place in the cluster. It is the state of [`SioStreamsAdapter`]. It is cheap to
/// clone.
///
/// It has the calls that socketioxide lacks; the events come as [`Notices`].
///
/// [`SioStreamsAdapter`]: crate::SioStreamsAdapter
#[derive(Clone)]
pub struct Cluster {
    pub(crate) hosts: Hosts,
    pub(crate) aliases: Arc<Aliases>,
    describe: Arc<RwLock<Option<Describe>>>,
    pub(crate) joins_later: bool,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.hosts).finish()
    }
}

impl Cluster {
    /// Makes a cluster of a node and its events.
    ///
    /// # Errors
    ///
    /// If the node was started with options that don't fit socketioxide: see [`SetupError`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new(node: Node, events: Events) -> Result<(Cluster, Notices), SetupError> {
        check(node.config())?;
        let (hosts, notices) = Hosts::start(node, events).map_err(|_| SetupError::RoomOwner)?;
        let (aliases, describe) = Default::default();
        Ok((Cluster { hosts, aliases, describe, joins_later: false }, notices))
    }

    /// Makes the namespaces of the adapters that get this handle usable at once, even if Redis can't
    /// be reached. Clients of this server hear each other meanwhile. The messages for
    /// other servers wait for `Limits::in_flight_for` of the node, and the server joins the cluster
    /// as soon as it can.
    ///
    /// By default `SocketIo::ns` waits for Redis, within `Options::open_within` of the node.
    #[must_use]
    pub fn join_later(self) -> Self {
        Cluster { joins_later: true, ..self }
    }

    /// Returns the node. [`Node::close`] ends it in order: call it when the server is closed.
    pub fn node(&self) -> &Node {
        self.hosts.node()
    }

    /// Sets the answers of this server's sockets to servers that fetch them. `describe` is given
    /// the namespace and the socket's id. It is called in the task that takes the node's events, so
    /// it must not wait. It usually holds the `SocketIo` handle, which then lives as long as the
    /// node. Call this before `SocketIo::ns`: until it is set, the sockets are described by `{}`.
    pub fn describe_sockets(
        &self,
        describe: impl Fn(&str, Sid) -> SocketDescription + Send + Sync + 'static,
    ) {
        let mut place = self.describe.write().unwrap_or_else(PoisonError::into_inner);
        let former = place.replace(Arc::new(describe));
        // It may hold what uses this handle when it is dropped.
        drop(place);
        drop(former);
    }

    /// Asks the application about a socket. If it panics, the socket has no description.
    pub(crate) fn description(&self, nsp: &str, sid: Sid) -> SocketDescription {
        let describe = self.describe.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(describe) = describe else { return SocketDescription::default() };
        catch_unwind(AssertUnwindSafe(|| describe(nsp, sid))).unwrap_or_else(|_| {
            tracing::error!(nsp, %sid, "the description of a socket panicked");
            SocketDescription::default()
        })
    }

    /// Emits an event to the other servers. `packet` is `[event, …args]`: see [`Payload::event`].
    /// [`Notices`] have the events that they emit.
    pub fn server_side_emit(&self, nsp: impl Into<ByteString>, packet: Payload) -> Publishing {
        self.node().namespace(nsp).server_side_emit(packet)
    }

    /// Emits an event to the other servers and collects their answers.
    pub fn server_side_emit_with_ack(
        &self,
        nsp: impl Into<ByteString>,
        packet: Payload,
    ) -> Queued<Responses> {
        self.node().namespace(nsp).server_side_emit_with_ack(packet)
    }

    /// Finds sockets on all servers, with their true ids, handshakes, rooms and data, and with the
    /// servers that did not answer.
    pub fn fetch_sockets(&self, nsp: impl Into<ByteString>, opts: BroadcastOptions) -> Queued<Sockets> {
        self.node().namespace(nsp).fetch_sockets(opts)
    }

    /// Returns the true id of a socket that socketioxide's `fetch_sockets` has found, unless it has
    /// been forgotten since. Sockets of Node.js servers have longer ids than socketioxide has room for.
    pub fn true_id(&self, sid: Sid) -> Option<ByteString> {
        self.aliases.true_id(sid)
    }

    /// Returns the id by which socketioxide knows a socket with this true id.
    pub fn alias(id: &str) -> Sid {
        aliases::alias(id)
    }
}

fn check(config: &Config) -> Result<(), SetupError> {
    let is_dynamic = config.subscription_mode != SubscriptionMode::Static;
    match config {
        _ if config.dialect == Dialect::Sharded && is_dynamic => Err(SetupError::RoomChannels),
        _ if config.recovery.is_some() => Err(SetupError::Recovery),
        _ if config.local_delivery == LocalDelivery::StreamOrder => Err(SetupError::StreamOrder),
        _ => Ok(()),
    }
}
