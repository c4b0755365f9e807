//! The application on top of a node, as the tests of this workspace need it: what its sockets
//! receive, and how it answers the other servers.
//!
//! A test implements [`Application`] with what it wants to know, and gives it to [`serve`]. All
//! tests answer in the same way, and at once: a call to the node is in line when it returns.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use sio_streams_driver::sio_streams_core::{ByteString, Handshake, LocalSocket, Payload};
use sio_streams_driver::{Broadcast, Event, Events};

/// A server's application. Each method has a default that answers nothing, or as little as a
/// server can.
pub trait Application: Send + 'static {
    /// A packet has come for sockets of this server.
    fn deliver(&mut self, broadcast: &Broadcast) {
        let _ = broadcast;
    }

    /// The acknowledgement of a socket that was asked for one. With `None` the client is silent.
    fn acknowledge(&mut self, socket: &ByteString, packet: &Payload) -> Option<Payload> {
        let _ = (socket, packet);
        None
    }

    /// Describes a socket of this server.
    fn socket(&mut self, id: &ByteString) -> LocalSocket {
        LocalSocket::new(id.clone(), &Handshake::default(), Payload::empty_object())
            .expect("the default handshake can be written")
    }

    /// Another server emits to the servers. The result is the answer, if it wants one
    /// (`answer_wanted`). With `None` this server is silent.
    fn asked(&mut self, nsp: &ByteString, packet: &Payload, answer_wanted: bool) -> Option<Payload> {
        let _ = (nsp, packet, answer_wanted);
        None
    }

    /// Sockets of this server are to be disconnected.
    fn disconnect(&mut self, nsp: &ByteString, sockets: Vec<ByteString>) {
        let _ = (nsp, sockets);
    }

    /// Anything else: links, nodes, gaps.
    fn told(&mut self, event: Event) {
        let _ = event;
    }
}

/// Takes the events of a node until it is closed.
pub async fn serve(mut events: Events, mut app: impl Application) {
    while let Some(event) = events.next().await {
        take(event, &mut app);
    }
}

/// Gives one event to the application, and its answers to the node. A node that is closing sends
/// no answers, so whether they are sent concerns nobody here.
pub fn take(event: Event, app: &mut impl Application) {
    match event {
        Event::Broadcast(broadcast) => {
            app.deliver(&broadcast);
            let Some(acks) = broadcast.responder else { return };
            for socket in &broadcast.sockets {
                if let Some(value) = app.acknowledge(socket, broadcast.packet.data()) {
                    drop(acks.send(value));
                }
            }
        }
        Event::FetchSockets { sockets, responder, .. } => {
            drop(responder.send(sockets.iter().map(|id| app.socket(id)).collect()));
        }
        Event::ServerSideEmit { nsp, packet, responder, .. } => {
            let answer = app.asked(&nsp, &packet, responder.is_some());
            if let (Some(responder), Some(answer)) = (responder, answer) {
                drop(responder.send(answer));
            }
        }
        Event::DisconnectSockets { nsp, sockets, .. } => app.disconnect(&nsp, sockets),
        other => app.told(other),
    }
}

/// The example in the README of the repository, compiled and run. It is here because no published
/// package may need a file outside of it.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
