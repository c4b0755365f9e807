//! The task that takes the node's events, and does what they say with this server's sockets.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::stream::{Stream, StreamExt, select_all};
use sio_streams_driver::sio_streams_core::{BroadcastOptions, NodeId, Payload, RemoteSocket};
use sio_streams_driver::{AckReply, Broadcast, Event, Events, Queued};

use crate::cluster::{Descriptions, SocketDescription, describe};
use crate::notices::{Notice, Teller};
use crate::registry::Registry;

/// Takes events until the node is closed.
pub(crate) async fn run(
    own: NodeId,
    registry: Arc<Registry>,
    descriptions: Descriptions,
    teller: Teller,
    mut events: Events,
) {
    let pump = Pump { own, registry, descriptions, teller };
    while let Some(event) = events.next().await {
        // A panic in the framework must not stop the events for all others.
        if catch_unwind(AssertUnwindSafe(|| pump.follow(event))).is_err() {
            pump.teller.undelivered(&"".into(), "the server panicked on an event of another one".into());
        }
    }
}

struct Pump {
    own: NodeId,
    registry: Arc<Registry>,
    descriptions: Descriptions,
    teller: Teller,
}

impl Pump {
    /// Does what an event says. This server has followed its own orders already, when they were given.
    fn follow(&self, event: Event) {
        match event {
            Event::Broadcast(broadcast) => self.deliver(broadcast),
            Event::SocketsJoin(moved) if moved.from.as_ref() != Some(&self.own) => {
                self.registry
                    .adapters(&moved.nsp)
                    .iter()
                    .for_each(|local| local.join(&moved.opts, &moved.rooms));
            }
            Event::SocketsLeave(moved) if moved.from.as_ref() != Some(&self.own) => {
                self.registry
                    .adapters(&moved.nsp)
                    .iter()
                    .for_each(|local| local.leave(&moved.opts, &moved.rooms));
            }
            Event::DisconnectSockets { nsp, opts, from, .. } if from.as_ref() != Some(&self.own) => {
                for local in self.registry.adapters(&nsp) {
                    local.disconnect(&opts).unwrap_or_else(|reason| self.teller.undelivered(&nsp, reason));
                }
            }
            Event::SocketsJoin(_) | Event::SocketsLeave(_) | Event::DisconnectSockets { .. } => {}
            Event::FetchSockets { nsp, opts, reply, .. } => {
                follow_up(reply.send_in_rooms(self.sockets(&nsp, &opts)));
            }
            Event::ServerSideEmit { nsp, packet, from, reply } => {
                self.teller.tell(Notice::ServerSideEmit { nsp, packet, from, reply });
            }
            other => self.teller.tell(Notice::Node(Box::new(other))),
        }
    }

    fn deliver(&self, Broadcast { nsp, packet, opts, from, acks, .. }: Broadcast) {
        if from.as_ref() == Some(&self.own) {
            // Its own clients are asked by the adapter.
            return acks.into_iter().for_each(|acks| follow_up(acks.clients(0)));
        }
        let locals = self.registry.adapters(&nsp);
        let Some(acks) = acks else {
            for local in locals {
                local
                    .broadcast(&packet, &opts)
                    .unwrap_or_else(|reason| self.teller.undelivered(&nsp, reason));
            }
            return;
        };
        let (mut clients, mut answers) = (0, Vec::new());
        for local in locals {
            match local.broadcast_with_ack(&packet, &opts) {
                Ok((count, stream)) => {
                    clients += count;
                    answers.push(stream);
                }
                Err(reason) => self.teller.undelivered(&nsp, reason),
            }
        }
        // The asking server waits for the number even if it is zero.
        follow_up(acks.clients(clients));
        tokio::spawn(pass_on(acks, select_all(answers)));
    }

    fn sockets(&self, nsp: &str, opts: &BroadcastOptions) -> Vec<RemoteSocket> {
        let mut found = Vec::new();
        for local in self.registry.adapters(nsp) {
            for (sid, rooms) in local.sockets(opts) {
                let SocketDescription { handshake, data } = describe(&self.descriptions, nsp, sid);
                // On the wire every socket is in the room of its id.
                let others = rooms.iter().filter(|room| **room != sid.as_str()).map(|room| (**room).into());
                let rooms = core::iter::once(sid.as_str().into()).chain(others).collect();
                found.push(RemoteSocket { id: sid.as_str().into(), handshake, rooms, data });
            }
        }
        found
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
