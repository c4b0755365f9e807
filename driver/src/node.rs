//! The handle of a node.

use core::time::Duration;
use std::sync::Arc;

use sio_streams_core::{ByteString, Config, Lag, NodeId};

use crate::admission::Admission;
use crate::call::{Call, Calls};
#[cfg(doc)]
use crate::error::Error;
use crate::queued::Queued;

/// The times that a node's calls wait, at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The longest wait for a namespace to be open.
    pub(crate) open: Duration,
    /// The longest wait for a restored session to be accepted.
    pub(crate) accept: Duration,
    /// The longest wait for the other nodes to be told that a namespace is closed.
    pub(crate) close: Duration,
}

/// A node of the cluster. It is cheap to clone, and all clones are the same node. When the last one
/// is dropped, the node leaves the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) calls: Calls,
    pub(crate) admission: Arc<Admission>,
    pub(crate) uid: NodeId,
    pub(crate) patience: Patience,
    pub(crate) config: Arc<Config>,
}

impl Node {
    /// Returns the node's name in the cluster.
    pub fn uid(&self) -> &NodeId {
        &self.uid
    }

    /// Returns the engine's options, with which the node was started.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns how far the node is behind each of its streams.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn lags(&self) -> Queued<Vec<(ByteString, Lag)>> {
        self.calls.ask(|engine, _| Ok(engine.lags().map(|(stream, lag)| (stream.clone(), lag)).collect()))
    }

    /// Leaves the cluster, and closes the connections.
    ///
    /// Before that, the node publishes all earlier messages, and tells the other nodes. It waits
    /// for this until [`Timing::response`](crate::backend::Timing::response) has passed, for Redis
    /// may be away. A message that is not known to be published by then ends with
    /// [`CommandError::Lost`](sio_streams_core::CommandError::Lost), and all other calls that are
    /// under way with [`Error::Closed`].
    pub async fn close(self) {
        if let Ok(closed) = self.calls.send(|done| Call::Close { done }) {
            // The node is closed even if this fails.
            let _ = closed.await;
        }
    }
}
