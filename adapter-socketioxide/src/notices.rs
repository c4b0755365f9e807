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
pub struct Notices(mpsc::Receiver<Notice>);

impl Notices {
    /// Returns the next notice, or `None` when the node is closed.
    pub async fn next(&mut self) -> Option<Notice> {
        self.0.recv().await
    }
}

/// Tells notices.
#[derive(Debug)]
pub(crate) struct Teller {
    queue: mpsc::Sender<Notice>,
    missed: u64,
}

impl Teller {
    pub(crate) fn tell(&mut self, notice: Notice) {
        if self.missed > 0 && self.queue.try_send(Notice::Missed(self.missed)).is_ok() {
            self.missed = 0;
        }
        if let Err(mpsc::error::TrySendError::Full(notice)) = self.queue.try_send(notice) {
            tracing::warn!(?notice, "a notice is dropped, as too many wait to be taken");
            self.missed += 1;
        }
    }

    pub(crate) fn undelivered(&mut self, nsp: &ByteString, reason: String) {
        tracing::warn!(%nsp, reason, "clients did not get what another server sent");
        self.tell(Notice::Undelivered { nsp: nsp.clone(), reason });
    }
}

pub(crate) fn queue(size: usize) -> (Teller, Notices) {
    let (queue, notices) = mpsc::channel(size);
    (Teller { queue, missed: 0 }, Notices(notices))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_is_counted() {
        let (mut teller, mut notices) = queue(2);
        let mut tell = || teller.undelivered(&"/".into(), "full".into());
        (0..5).for_each(|_| tell());
        for _ in 0..2 {
            assert!(matches!(notices.next().await, Some(Notice::Undelivered { .. })));
        }
        tell();
        assert!(matches!(notices.next().await, Some(Notice::Missed(3))));
        assert!(matches!(notices.next().await, Some(Notice::Undelivered { .. })));
        drop(teller);
        assert!(notices.next().await.is_none());
    }
}
