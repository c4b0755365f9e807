//! The task that takes the node's events, and does what they say with this server's sockets.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::stream::{Stream, StreamExt, select_all};
use sio_streams_driver::sio_streams_core::{NodeId, Payload};
use sio_streams_driver::{AckReply, Broadcast, Event, Events, Queued};

use crate::cluster::Shared;
use crate::namespaces::Answers;
use crate::notices::{Notice, Teller};

/// Takes events until the node is closed.
pub(crate) async fn run(own: NodeId, shared: Arc<Shared>, mut teller: Teller, mut events: Events) {
    while let Some(event) = events.next().await {
        // A panic in the framework must not stop the events for all others.
        if catch_unwind(AssertUnwindSafe(|| follow(&own, &shared, &mut teller, event))).is_err() {
            teller.undelivered(&"".into(), "the server panicked on an event of another one".into());
        }
    }
}

fn follow(own: &NodeId, shared: &Shared, teller: &mut Teller, event: Event) {
    let mut answers = Answers::default();
    // This server has followed its own orders already, when they were given.
    if let Some(nsp) = event.nsp().filter(|_| event.sender() != Some(own)) {
        for adapter in shared.namespaces.adapters(nsp) {
            let followed = adapter.follow(&event, &mut answers);
            followed.unwrap_or_else(|reason| teller.undelivered(nsp, reason));
        }
    }
    match event {
        Event::Broadcast(Broadcast { acks: Some(acks), .. }) => {
            // The asking server waits for the number even if it is zero.
            follow_up(acks.clients(answers.clients));
            tokio::spawn(pass_on(acks, select_all(answers.acks)));
        }
        Event::FetchSockets { reply, .. } => follow_up(reply.send_in_rooms(answers.sockets)),
        Event::Broadcast(_)
        | Event::SocketsJoin(_)
        | Event::SocketsLeave(_)
        | Event::DisconnectSockets { .. } => {}
        other => teller.tell(Notice::Node(Box::new(other))),
    }
}

/// Passes clients' acknowledgements on to the server that asked for them. They end in time.
async fn pass_on(acks: AckReply, mut answers: impl Stream<Item = Payload> + Unpin) {
    while let Some(answer) = answers.next().await {
        follow_up(acks.send(answer));
    }
}

/// Lets an answer go out, and logs its failure.
fn follow_up(answer: Queued<()>) {
    tokio::spawn(async move {
        if let Err(error) = answer.await {
            tracing::warn!(%error, "an answer to another server could not be sent");
        }
    });
}
