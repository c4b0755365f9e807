//! Reports to the application that need no action of a host.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sio_streams_core::ByteString;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

use crate::event::Event;
use crate::observe;

/// The number of notices that wait for the application at most.
const WAITING: usize = 1_024;

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
    /// This number of notices were dropped here, because 1 024 were waiting to be taken. If one of
    /// them was a server-side emit with an answer, the server that asked gets none.
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
        match self.queue.try_recv() {
            Ok(notice) => Some(notice),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                match self.missed.swap(0, Ordering::AcqRel) {
                    0 => self.queue.recv().await,
                    missed => Some(Notice::Missed(missed)),
                }
            }
        }
    }
}

/// Tells notices.
#[derive(Debug)]
pub(crate) struct Teller {
    queue: mpsc::Sender<Notice>,
    /// The number of notices that did not fit, since that was told last.
    missed: Arc<AtomicU64>,
}

pub(crate) fn queue() -> (Teller, Notices) {
    let (queue, notices) = mpsc::channel(WAITING);
    let missed = Arc::default();
    (Teller { queue, missed: Arc::clone(&missed) }, Notices { queue: notices, missed })
}

impl Teller {
    pub(crate) fn undelivered(&mut self, nsp: &str, reason: String) {
        observe::undelivered(nsp, &reason);
        self.tell(Notice::Undelivered { nsp: nsp.into(), reason });
    }

    pub(crate) fn tell(&mut self, notice: Notice) {
        let missed = self.missed.swap(0, Ordering::AcqRel);
        if missed > 0 && self.queue.try_send(Notice::Missed(missed)).is_err() {
            self.missed.fetch_add(missed, Ordering::AcqRel);
        }
        // An application that has dropped its end wants none.
        if let Err(TrySendError::Full(notice)) = self.queue.try_send(notice)
            && self.missed.fetch_add(1, Ordering::AcqRel) == 0
        {
            observe::untold(&notice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn notices_that_do_not_fit_are_counted() {
        let (mut teller, mut notices) = queue();
        let mut tell = |count| (0..count).for_each(|_| teller.undelivered("/", "full".into()));
        tell(WAITING + 3);
        for _ in 0..WAITING {
            assert!(matches!(notices.next().await, Some(Notice::Undelivered { .. })));
        }
        tell(2);
        assert!(matches!(notices.next().await, Some(Notice::Missed(3))));
        for _ in 0..2 {
            assert!(matches!(notices.next().await, Some(Notice::Undelivered { .. })));
        }
        // Silence follows, and then the end.
        tell(WAITING + 5);
        for _ in 0..WAITING {
            assert!(matches!(notices.next().await, Some(Notice::Undelivered { .. })));
        }
        assert!(matches!(notices.next().await, Some(Notice::Missed(5))));
        tell(WAITING + 1);
        drop(teller);
        for _ in 0..WAITING {
            assert!(matches!(notices.next().await, Some(Notice::Undelivered { .. })));
        }
        assert!(matches!(notices.next().await, Some(Notice::Missed(1))));
        assert!(notices.next().await.is_none());
    }
}
