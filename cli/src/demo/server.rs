//! A Socket.IO server's handling of events. The clients are simulated: what would be sent to them
//! is recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_bytes::ByteBuf;
use serde_json::{Value, json};
use sio_streams_driver::sio_streams_core::{
    ByteString, DownReason, Handshake, Lane, LocalSocket, NodeId, Payload, PayloadError,
};
use sio_streams_driver::{AckResponder, Broadcast, Event, Events, Namespace};
use tokio::sync::watch;

use super::Error;
use super::cluster::{CLIENTS, SERVERS};
use crate::timeline::Timeline;

/// An event that only marks a place in the stream. It is not shown.
pub(super) const MARK: &str = "mark";

/// An event that comes too often to be shown each time.
pub(super) const TICK: &str = "tick";

/// The client that never acknowledges.
pub(super) const SILENT: &str = "finn";

/// The observations of servers and clients.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The messages that each client received, in order.
    pub(super) inboxes: BTreeMap<String, Vec<String>>,
    /// The last mark of another server that each server has read.
    pub(super) marks: [u64; SERVERS.len()],
    /// The events that servers emitted to servers: the receiver, and the event.
    pub(super) between: Vec<(usize, String)>,
    /// Clients that were disconnected.
    pub(super) disconnected: BTreeSet<String>,
    /// The nodes that each server has heard of.
    pub(super) heard: [BTreeSet<NodeId>; SERVERS.len()],
    /// The departures that servers noticed: the observer, and the node that is gone.
    pub(super) gone: Vec<(usize, NodeId)>,
    /// Redis' refusal, if it refuses.
    pub(super) refused: Option<String>,
    /// The connections that each server is missing.
    pub(super) missing: [BTreeSet<Lane>; SERVERS.len()],
}

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) place: usize,
    pub(super) namespace: Namespace,
    pub(super) names: Arc<[NodeId]>,
    pub(super) seen: Arc<watch::Sender<Seen>>,
    pub(super) timeline: Arc<Timeline>,
}

impl Server {
    pub(super) async fn run(self, mut events: Events) {
        while let Some(event) = events.next().await {
            // The asker sees if an answer can't be sent.
            if let Err(error) = self.handle(event).await {
                self.note(&format!("could not answer: {error}"));
            }
        }
    }

    async fn handle(&self, event: Event) -> Result<(), Error> {
        match event {
            Event::Broadcast(broadcast) => self.deliver(broadcast).await?,
            Event::SocketsJoin(moved) if !moved.sockets.is_empty() => {
                self.note(&format!("{} joined {}", moved.sockets.join(", "), moved.rooms.join(", ")));
            }
            Event::SocketsLeave(moved) if !moved.sockets.is_empty() => {
                self.note(&format!("{} left {}", moved.sockets.join(", "), moved.rooms.join(", ")));
            }
            Event::DisconnectSockets { sockets, .. } => {
                for socket in sockets {
                    self.note(&format!("{socket} disconnected"));
                    self.namespace.remove_socket(socket.clone()).await?;
                    self.seen.send_modify(|seen| _ = seen.disconnected.insert(socket.to_string()));
                }
            }
            Event::FetchSockets { sockets, responder, .. } => {
                let answer = sockets.into_iter().map(describe).collect::<Result<_, _>>()?;
                responder.send(answer).await?;
            }
            Event::ServerSideEmit { packet, from, responder, .. } => {
                let text = show(&packet);
                self.note(&format!("← {text} from {}", name_of(&self.names, from.as_ref())));
                if let Some(responder) = responder {
                    let clients = CLIENTS.iter().filter(|client| client.server == self.place).count();
                    responder.send(Payload::encode(&json!({ "clients": clients }))?).await?;
                }
                self.seen.send_modify(|seen| seen.between.push((self.place, text)));
            }
            Event::NodeUp { node, .. } => {
                self.note(&format!("hears {} for the first time", name_of(&self.names, Some(&node))));
                self.seen.send_modify(|seen| {
                    // One that was only slow is not gone.
                    seen.gone.retain(|(by, gone)| *by != self.place || *gone != node);
                    seen.heard[self.place].insert(node);
                });
            }
            Event::NodeDown { node, reason, .. } => {
                let how = match reason {
                    DownReason::Closed => "has said goodbye",
                    DownReason::Silent => "has been silent for too long: it is down",
                    _ => "is gone",
                };
                self.note(&format!("{} {how}", name_of(&self.names, Some(&node))));
                self.seen.send_modify(|seen| seen.gone.push((self.place, node)));
            }
            Event::Link { lane, link } => {
                let up = link.is_up();
                let which = match lane {
                    Lane::Writer => "writing",
                    Lane::Reader(_) => "reading the stream",
                    Lane::Subscriber => "Pub/Sub",
                    Lane::Recovery => "recovery",
                };
                self.note(&format!("connection for {which} {}", if up { "is back" } else { "lost" }));
                self.seen.send_modify(|seen| {
                    _ = match up {
                        true => seen.missing[self.place].remove(&lane),
                        false => seen.missing[self.place].insert(lane),
                    }
                });
            }
            Event::Skipped { reason, .. } => self.note(&format!("skipped what is no message: {reason}")),
            Event::Rewound { cursor, last, .. } => {
                self.note(&format!("the stream was at {cursor} and is at {last} now: entries may be lost"));
            }
            Event::Refused { error, .. } => {
                self.seen.send_modify(|seen| seen.refused = Some(error.to_string()));
            }
            _ => {}
        }
        Ok(())
    }

    async fn deliver(&self, broadcast: Broadcast) -> Result<(), Error> {
        let Broadcast { packet, sockets, from, responder: acks, .. } = broadcast;
        let name = packet.data().event_name().unwrap_or_default();
        if name == MARK {
            let (_, mark): (String, u64) = packet.data().decode()?;
            if from.as_ref() != Some(&self.names[self.place]) {
                self.seen.send_modify(|seen| seen.marks[self.place] = mark);
            }
            return Ok(());
        }
        if sockets.is_empty() {
            return Ok(());
        }
        let text = show(packet.data());
        if name != TICK {
            self.note(&format!("{} ← {text}", sockets.join(", ")));
        }
        self.seen.send_modify(|seen| {
            for socket in &sockets {
                seen.inboxes.entry(socket.to_string()).or_default().push(text.clone());
            }
        });
        if let Some(acks) = acks {
            self.acknowledge(&acks, &sockets).await?;
        }
        Ok(())
    }

    /// Plays the clients' part.
    async fn acknowledge(&self, acks: &AckResponder, sockets: &[ByteString]) -> Result<(), Error> {
        for socket in sockets.iter().filter(|socket| **socket != SILENT) {
            acks.send(Payload::encode(&format!("{socket}: yes"))?).await?;
        }
        Ok(())
    }

    fn note(&self, what: &str) {
        self.timeline.note(SERVERS[self.place], what);
    }
}

/// The data of a socket that a server tells others, in addition to its rooms, which the engine
/// knows.
fn describe(socket: ByteString) -> Result<LocalSocket, PayloadError> {
    let age = CLIENTS.iter().find(|client| *client.id == *socket).map(|client| client.age);
    let handshake =
        Handshake { address: "127.0.0.1".into(), url: "/socket.io/".into(), ..Handshake::default() };
    LocalSocket::new(socket, &handshake, Payload::encode(&json!({ "age": age }))?)
}

/// A server's name for people.
pub(super) fn name_of(names: &[NodeId], node: Option<&NodeId>) -> String {
    let Some(node) = node else { return "somebody".into() };
    let known = names.iter().position(|name| name == node);
    known.map_or_else(|| node.to_string(), |place| SERVERS[place].name.to_owned())
}

/// An event as it is shown, and compared: its name and its arguments.
pub(super) fn show(event: &Payload) -> String {
    if let Ok(values) = event.decode::<Vec<Value>>() {
        let name = values.first().and_then(Value::as_str).unwrap_or_default().to_owned();
        return values.iter().skip(1).fold(name, |text, value| format!("{text} {value}"));
    }
    match event.decode::<(String, ByteBuf)>() {
        Ok((name, bytes)) => {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{name} <{} bytes: {}>", bytes.len(), hex.join(" "))
        }
        Err(error) => format!("<{error}>"),
    }
}

/// The event that is shown so.
pub(super) fn event(name: &str, argument: &Value) -> Result<Payload, PayloadError> {
    Payload::event(name, &(argument,))
}
