//! The handle of the cluster, which is also the state of the adapters.

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use sio_streams_driver::sio_streams_core::{
    BroadcastOptions, ByteString, Config, Dialect, Payload, RoomOwner, SubscriptionMode,
};
use sio_streams_driver::{Events, Node, Publishing, Queued, Responses, Sockets};
use socketioxide_core::Sid;

use crate::aliases::{self, Aliases};
use crate::error::SetupError;
use crate::notices::{self, Notices};
use crate::pump;
use crate::registry::Registry;

/// What a socket of this server tells to the servers that fetch it. By default both are `{}`.
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

/// This server's place in the cluster. It is the state of [`SioStreamsAdapter`], and does what
/// socketioxide has no methods for. It is cheap to clone.
///
/// [`SioStreamsAdapter`]: crate::SioStreamsAdapter
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    node: Node,
    registry: Arc<Registry>,
    aliases: Aliases,
    join_later: bool,
    describe: Arc<RwLock<Option<Describe>>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { node, registry, join_later, .. } = &*self.0;
        f.debug_struct("Cluster")
            .field("node", node.uid())
            .field("registry", registry)
            .field("join_later", join_later)
            .finish_non_exhaustive()
    }
}

/// The options of a [`Cluster`].
#[derive(Clone, Debug)]
pub struct Builder {
    join_later: bool,
    remembered_ids: usize,
    notice_buffer: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Builder { join_later: false, remembered_ids: 65_536, notice_buffer: 1_024 }
    }
}

impl Builder {
    /// Lets namespaces be there at once, whether or not Redis can be reached. Clients of this server
    /// hear each other meanwhile. What is published waits for `Limits::in_flight_for` of the node, and
    /// the server joins the cluster as soon as it can. Each attempt takes `Options::open_within` of the
    /// node, 60 s by default. In the second between two attempts, what is published is an error.
    ///
    /// By default `SocketIo::ns` waits for Redis, within `Options::open_within` of the node.
    #[must_use]
    pub fn join_later(mut self) -> Self {
        self.join_later = true;
        self
    }

    /// Sets how many remote sockets' ids are remembered at most. 65 536 by default, about 6 MB. An id
    /// is needed as long as the application holds the `RemoteSocket`.
    #[must_use]
    pub fn remembered_ids(mut self, ids: usize) -> Self {
        self.remembered_ids = ids;
        self
    }

    /// Sets how many [`Notices`] wait for the application at most. 1 024 by default.
    #[must_use]
    pub fn notice_buffer(mut self, notices: usize) -> Self {
        self.notice_buffer = notices.max(1);
        self
    }

    /// Makes a cluster of a node and its events.
    ///
    /// # Errors
    ///
    /// If the node was started with options that don't fit socketioxide: see [`SetupError`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn build(self, node: Node, events: Events) -> Result<(Cluster, Notices), SetupError> {
        check(node.config())?;
        let (teller, notices) = notices::queue(self.notice_buffer);
        let inner = Inner {
            registry: Arc::default(),
            aliases: Aliases::new(self.remembered_ids),
            join_later: self.join_later,
            describe: Arc::default(),
            node,
        };
        let describe = Arc::clone(&inner.describe);
        // The task ends with the node.
        tokio::spawn(pump::run(
            inner.node.uid().clone(),
            Arc::clone(&inner.registry),
            describe,
            teller,
            events,
        ));
        Ok((Cluster(Arc::new(inner)), notices))
    }
}

fn check(config: &Config) -> Result<(), SetupError> {
    let has_room_channels =
        config.dialect == Dialect::Sharded && config.subscription_mode != SubscriptionMode::Static;
    match config {
        _ if config.room_owner != RoomOwner::Application => Err(SetupError::RoomOwner),
        _ if has_room_channels => Err(SetupError::RoomChannels),
        _ if config.recovery.is_some() => Err(SetupError::Recovery),
        _ => Ok(()),
    }
}

impl Cluster {
    /// Makes a cluster of a node and its events, with default options. The node's rooms must be the
    /// application's (`Config::room_owner`).
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn new(node: Node, events: Events) -> Result<(Cluster, Notices), SetupError> {
        Cluster::builder().build(node, events)
    }

    /// Returns the options.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns the node. [`Node::close`] ends it in order: call it when the server is closed.
    pub fn node(&self) -> &Node {
        &self.0.node
    }

    /// Sets what this server's sockets tell to servers that fetch them. `describe` is given the
    /// namespace and the socket's id. It is called in the task that takes the node's events, so it
    /// must not wait. It usually holds the `SocketIo` handle, which then lives as long as the node.
    pub fn describe_sockets(
        &self,
        describe: impl Fn(&str, Sid) -> SocketDescription + Send + Sync + 'static,
    ) {
        *self.0.describe.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(describe));
    }

    /// Emits an event to the other servers. `packet` is `[event, …args]`: see [`Payload::event`].
    /// [`Notices`] have what they emit.
    pub fn server_side_emit(&self, nsp: impl Into<ByteString>, packet: Payload) -> Publishing {
        self.0.node.namespace(nsp).server_side_emit(packet)
    }

    /// Emits an event to the other servers and collects their answers.
    pub fn server_side_emit_with_ack(
        &self,
        nsp: impl Into<ByteString>,
        packet: Payload,
    ) -> Queued<Responses> {
        self.0.node.namespace(nsp).server_side_emit_with_ack(packet)
    }

    /// Finds sockets on all servers, with their true ids, handshakes, rooms and data, and with the
    /// servers that did not answer.
    pub fn fetch_sockets(&self, nsp: impl Into<ByteString>, opts: BroadcastOptions) -> Queued<Sockets> {
        self.0.node.namespace(nsp).fetch_sockets(opts)
    }

    /// Returns the true id of a socket that socketioxide's `fetch_sockets` has found, unless it has
    /// been forgotten since. Sockets of Node.js servers have longer ids than socketioxide has room for.
    pub fn true_id(&self, sid: Sid) -> Option<ByteString> {
        self.0.aliases.true_id(sid)
    }

    /// Returns the id by which socketioxide knows a socket with this true id.
    pub fn alias(id: &str) -> Sid {
        aliases::alias(id)
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.0.registry
    }

    pub(crate) fn aliases(&self) -> &Aliases {
        &self.0.aliases
    }

    pub(crate) fn joins_later(&self) -> bool {
        self.0.join_later
    }
}

/// The application's word on its sockets.
pub(crate) type Descriptions = Arc<RwLock<Option<Describe>>>;

/// Asks the application about a socket. If it panics, the socket has no description.
pub(crate) fn describe(descriptions: &Descriptions, nsp: &str, sid: Sid) -> SocketDescription {
    let describe = descriptions.read().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(describe) = describe else { return SocketDescription::default() };
    catch_unwind(AssertUnwindSafe(|| describe(nsp, sid))).unwrap_or_else(|_| {
        tracing::error!(nsp, %sid, "the description of a socket panicked");
        SocketDescription::default()
    })
}
