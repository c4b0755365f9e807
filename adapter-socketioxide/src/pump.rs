//! The task that takes the node's events, and does what they say with this server's sockets.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::TryFutureExt as _;
use futures_util::stream::select_all;
use sio_streams_driver::sio_streams_core::NodeId;
use sio_streams_driver::{Broadcast, Error, Event, Events};
use tokio::sync::mpsc;

use crate::namespaces::{Answers, Namespaces};
use crate::notices::{Notice, Notices};

/// The number of notices that wait for the application at most.
const NOTICES: usize = 1_024;

struct Pump {
    own: NodeId,
    namespaces: Arc<Namespaces>,
    notices: mpsc::Sender<Notice>,
    /// The number of notices that did not fit.
    missed: u64,
}

/// Takes events until the node is closed.
pub(crate) fn start(own: NodeId, namespaces: Arc<Namespaces>, mut events: Events) -> Notices {
    let (notices, receiver) = mpsc::channel(NOTICES);
    let mut pump = Pump { own, namespaces, notices, missed: 0 };
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            // A panic in the framework must not stop the events for all others.
            if catch_unwind(AssertUnwindSafe(|| pump.follow(event))).is_err() {
                pump.undelivered("", "the server panicked on an event of another one".into());
            }
        }
    });
    Notices(receiver)
}

impl Pump {
    fn follow(&mut self, event: Event) {
        let mut answers = Answers::default();
        // This server has followed its own orders already, when they were given.
        if let Some(nsp) = event.nsp().filter(|_| event.sender() != Some(&self.own)) {
            for adapter in self.namespaces.adapters(nsp) {
                let followed = adapter.follow(&event, &mut answers);
                followed.unwrap_or_else(|reason| self.undelivered(nsp, reason));
            }
        }
        match event {
            // The asking server waits for the number of clients even if it is zero.
            Event::Broadcast(Broadcast { acks: Some(acks), .. }) => {
                give(acks.answer(answers.clients, select_all(answers.acks)));
            }
            Event::FetchSockets { reply, .. } => give(reply.send_in_rooms(answers.sockets)),
            Event::Broadcast(_)
            | Event::SocketsJoin(_)
            | Event::SocketsLeave(_)
            | Event::DisconnectSockets { .. } => {}
            other => self.tell(Notice::Node(Box::new(other))),
        }
    }

    fn undelivered(&mut self, nsp: &str, reason: String) {
        tracing::warn!(nsp, reason, "clients did not get what another server sent");
        self.tell(Notice::Undelivered { nsp: nsp.into(), reason });
    }

    fn tell(&mut self, notice: Notice) {
        if self.missed > 0 && self.notices.try_send(Notice::Missed(self.missed)).is_ok() {
            self.missed = 0;
        }
        if let Err(mpsc::error::TrySendError::Full(notice)) = self.notices.try_send(notice) {
            tracing::warn!(?notice, "a notice is dropped, as too many wait to be taken");
            self.missed += 1;
        }
    }
}

/// Lets an answer go out, and logs its failure.
fn give(answer: impl Future<Output = Result<(), Error>> + Send + 'static) {
    tokio::spawn(
        answer.inspect_err(|error| tracing::warn!(%error, "another server got no answer, or not all of it")),
    );
}
