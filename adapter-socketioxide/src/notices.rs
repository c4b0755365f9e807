//! Things that the application may want to know of the cluster, and for which socketioxide has no
//! event.

use sio_streams_driver::Event;
use sio_streams_driver::sio_streams_core::ByteString;
use tokio::sync::mpsc;

/// Something that the application may want to know.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// An event of the node that does not concern sockets: a server-side emit of another server,
    /// servers that come and go, connections, gaps, messages that were skipped.
    Node(Box<Event>),
    /// Clients of this server did not get what another server sent.
    Undelivered {
        /// The namespace.
        nsp: ByteString,
        /// The reason.
        reason: String,
    },
    /// So many notices were dropped here, because too many were waiting to be taken.
    Missed(u64),
}

/// The notices, in order. They need not be taken, and may be dropped.
#[derive(Debug)]
pub struct Notices(pub(crate) mpsc::Receiver<Notice>);

impl Notices {
    /// Returns the next notice, or `None` when the node is closed.
    pub async fn next(&mut self) -> Option<Notice> {
        self.0.recv().await
    }
}
