//! Things that an application may want to know, and that concern none of its sockets.

use sio_streams_core::ByteString;
use tokio::sync::mpsc;

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
        /// The namespace. It is empty if a host panicked.
        nsp: ByteString,
        /// The reason.
        reason: String,
    },
    /// So many notices were dropped here, because 1 024 were waiting to be taken.
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

pub(crate) fn queue() -> (Teller, Notices) {
    let (queue, notices) = mpsc::channel(WAITING);
    (Teller { queue, missed: 0 }, Notices(notices))
}

impl Teller {
    pub(crate) fn undelivered(&mut self, nsp: &str, reason: String) {
        observe::undelivered(nsp, &reason);
        self.tell(Notice::Undelivered { nsp: nsp.into(), reason });
    }

    pub(crate) fn tell(&mut self, notice: Notice) {
        if self.missed > 0 && self.queue.try_send(Notice::Missed(self.missed)).is_ok() {
            self.missed = 0;
        }
        // An application that has dropped its end wants none.
        if let Err(mpsc::error::TrySendError::Full(notice)) = self.queue.try_send(notice) {
            observe::untold(&notice);
            self.missed += 1;
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
        drop(teller);
        assert!(notices.next().await.is_none());
    }
}
