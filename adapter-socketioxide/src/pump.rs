//! The task that takes the node's events, and does what they say with this server's sockets.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::TryFutureExt as _;
use futures_util::stream::select_all;
use sio_streams_driver::sio_streams_core::NodeId;
use sio_streams_driver::{Broadcast, Error, Event, Events};

use crate::namespaces::{Answers, Namespaces};
use crate::notices::{Notice, Teller};

/// Takes events until the node is closed.
pub(crate) async fn run(own: NodeId, namespaces: Arc<Namespaces>, mut teller: Teller, mut events: Events) {
    while let Some(event) = events.next().await {
        // A panic in the framework must not stop the events for all others.
        if catch_unwind(AssertUnwindSafe(|| follow(&own, &namespaces, &mut teller, event))).is_err() {
            teller.undelivered(&"".into(), "the server panicked on an event of another one".into());
        }
    }
}

fn follow(own: &NodeId, namespaces: &Namespaces, teller: &mut Teller, event: Event) {
    let mut answers = Answers::default();
    // This server has followed its own orders already, when they were given.
    if let Some(nsp) = event.nsp().filter(|_| event.sender() != Some(own)) {
        for adapter in namespaces.adapters(nsp) {
            let followed = adapter.follow(&event, &mut answers);
            followed.unwrap_or_else(|reason| teller.undelivered(nsp, reason));
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
        other => teller.tell(Notice::Node(Box::new(other))),
    }
}

/// Lets an answer go out, and logs its failure.
fn give(answer: impl Future<Output = Result<(), Error>> + Send + 'static) {
    tokio::spawn(
        answer.inspect_err(|error| tracing::warn!(%error, "another server got no answer, or not all of it")),
    );
}
