//! What the application may want to know of the cluster, and has no event for in socketioxide.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sio_streams_driver::sio_streams_core::{ByteString, NodeId, Payload};
use sio_streams_driver::{EmitReply, Event};
use tokio::sync::mpsc;

/// Something that the application may want to know.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// Another server has emitted an event to the servers.
    ServerSideEmit {
        /// The namespace.
        nsp: ByteString,
        /// `[event, …args]`.
        packet: Payload,
        /// The sender, if the message names one.
        from: Option<NodeId>,
        /// Takes the answer, if one is wanted.
        reply: Option<EmitReply>,
    },
    /// Any other event of the node that does not concern sockets: servers that come and go,
    /// connections, gaps, messages that were skipped.
    Node(Box<Event>),
    /// Clients of this server did not get what another server sent.
    Undelivered {
        /// The namespace.
        nsp: ByteString,
        /// The reason.
        reason: String,
    },
    /// So many notices were dropped, because too many were waiting to be taken.
    Missed(u64),
}

/// The notices, in order. They need not be taken, and may be dropped.
#[derive(Debug)]
pub struct Notices {
    queue: mpsc::Receiver<Notice>,
    missed: Arc<AtomicU64>,
}

impl Notices {
    /// Returns the next notice, or `None` when the node is closed.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.missed.swap(0, Ordering::Relaxed) {
            0 => self.queue.recv().await,
            missed => Some(Notice::Missed(missed)),
        }
    }
}

/// Tells notices.
#[derive(Debug)]
pub(crate) struct Teller {
    queue: mpsc::Sender<Notice>,
    missed: Arc<AtomicU64>,
}

impl Teller {
    pub(crate) fn tell(&self, notice: Notice) {
        if let Err(mpsc::error::TrySendError::Full(notice)) = self.queue.try_send(notice) {
            tracing::warn!(?notice, "a notice is dropped, as too many wait to be taken");
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn undelivered(&self, nsp: &ByteString, reason: String) {
        tracing::warn!(%nsp, reason, "clients did not get what another server sent");
        self.tell(Notice::Undelivered { nsp: nsp.clone(), reason });
    }
}

pub(crate) fn queue(size: usize) -> (Teller, Notices) {
    let (sender, receiver) = mpsc::channel(size);
    let missed = Arc::new(AtomicU64::new(0));
    (Teller { queue: sender, missed: Arc::clone(&missed) }, Notices { queue: receiver, missed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_is_counted() {
        let (teller, mut notices) = queue(2);
        (0..5).for_each(|_| teller.undelivered(&"/".into(), "full".into()));
        assert!(matches!(notices.next().await, Some(Notice::Missed(3))));
        for _ in 0..2 {
            assert!(matches!(notices.next().await, Some(Notice::Undelivered { .. })));
        }
        drop(teller);
        assert!(notices.next().await.is_none());
    }
}
