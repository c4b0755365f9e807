//! Cases about whole nodes on the backend.

use core::time::Duration;
use std::collections::BTreeSet;

use sio_streams_core::{
    BroadcastOptions, ByteString, Config, Dialect, Handshake, LocalSocket, Packet, Payload,
};
use tokio::sync::mpsc;

use super::tools::{ensure, same};
use super::{Outcome, Restore, Suite};
use crate::backend::{Backend, Timing};
use crate::{Event, Events, Namespace, Node, Options};

/// A node, with the broadcasts that it got for its clients.
struct Peer {
    node: Node,
    heard: mpsc::UnboundedReceiver<(ByteString, Option<usize>)>,
}

impl Peer {
    fn start<B: Backend>(options: &Options, backend: B) -> Result<Self, String> {
        let (node, events) = crate::start(options.clone(), backend).map_err(words)?;
        let (sender, heard) = mpsc::unbounded_channel();
        tokio::spawn(listen(events, sender));
        Ok(Peer { node, heard })
    }

    async fn open(&self, nsp: &str, socket: &str) -> Result<Namespace, String> {
        let namespace = self.node.open(nsp).await.map_err(words)?;
        namespace.add_socket(socket).await.map_err(words)?;
        Ok(namespace)
    }

    async fn hears(&mut self, nsp: &str, number: usize) -> Outcome {
        let heard = self.heard.recv().await.ok_or("the node is gone")?;
        same("what is heard", heard, (nsp.into(), Some(number)))
    }
}

/// Answers all events at once.
async fn listen(mut events: Events, heard: mpsc::UnboundedSender<(ByteString, Option<usize>)>) {
    while let Some(event) = events.next().await {
        match event {
            Event::Broadcast(broadcast) => {
                if let Some(acks) = &broadcast.responder {
                    for socket in &broadcast.sockets {
                        let value = format!("{:?}", &**socket);
                        let Ok(value) = Payload::from_json(value) else { continue };
                        let _ = acks.send(value).await;
                    }
                }
                let number = number_of(&broadcast.packet);
                let _ = heard.send((broadcast.nsp, number));
            }
            Event::FetchSockets { sockets, responder, .. } => {
                let tell = |id| LocalSocket::new(id, &Handshake::default(), Payload::empty_object()).ok();
                let _ = responder.send(sockets.into_iter().filter_map(tell).collect()).await;
            }
            Event::ServerSideEmit { responder: Some(responder), .. } => {
                if let Ok(value) = Payload::from_json(r#""pong""#) {
                    let _ = responder.send(value).await;
                }
            }
            _ => {}
        }
    }
}

fn words(error: impl ToString) -> String {
    error.to_string()
}

fn packet(number: usize) -> Result<Packet, String> {
    Packet::event("n", &(number,)).map_err(words)
}

fn number_of(packet: &Packet) -> Option<usize> {
    packet.data().decode().ok().map(|(_, number): (String, usize)| number)
}

fn texts<'a>(values: impl IntoIterator<Item = &'a Payload>) -> Vec<String> {
    let mut texts: Vec<String> =
        values.into_iter().map(|value| value.decode().unwrap_or_else(|error| format!("{error}"))).collect();
    texts.sort();
    texts
}

impl<B: Backend> Suite<B> {
    /// Returns a node's options, with names that are new.
    fn options(&self, dialect: Dialect) -> Options {
        // A busy machine may get no turn for seconds, which must not count as silence. Each wait
        // ends before the case counts as stuck, so that its failure says what it waited for.
        let long = self.patience / 2;
        let config = Config {
            dialect,
            stream_name: self.name("stream"),
            channel_prefix: self.name("channel"),
            // A read that is under way when something changes must not delay the case.
            block_time: Duration::from_millis(500),
            heartbeat_interval: Duration::from_millis(200),
            heartbeat_timeout: Duration::from_secs(20),
            request_timeout: long,
            ..Config::default()
        };
        let timing = Timing { response: long, connect: long, ..Timing::default() };
        Options { timing, ..Options::from(config) }
    }
}

async fn until_two(namespace: &Namespace) -> Outcome {
    while namespace.server_count().await.map_err(words)? != 2 {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Tries all features between two nodes, in one namespace.
async fn work_together(here: &mut Peer, there: &mut Peer, nsp: &str) -> Outcome {
    let (ann, ben) = (here.open(nsp, "ann").await?, there.open(nsp, "ben").await?);
    until_two(&ann).await?;
    until_two(&ben).await?;
    for number in 0..10 {
        ann.broadcast(packet(number)?, BroadcastOptions::all()).await.map_err(words)?;
    }
    for number in 0..10 {
        here.hears(nsp, number).await?;
        there.hears(nsp, number).await?;
    }
    let found = ann.fetch_sockets(BroadcastOptions::all()).await.map_err(words)?;
    let sockets: BTreeSet<&str> = found.sockets.iter().map(|socket| &*socket.id).collect();
    same("sockets", sockets, BTreeSet::from(["ann", "ben"]))?;
    ensure(found.outcome.is_complete(), || format!("fetching sockets: {:?}", found.outcome))?;

    let ping = Payload::from_json(r#"["ping"]"#).map_err(words)?;
    let answers = ben.server_side_emit_with_ack(ping).await.map_err(words)?;
    same("answers", texts(answers.responses.iter().map(|(_, value)| value)), vec!["pong".to_owned()])?;

    let acks = ben.broadcast_with_ack(packet(10)?, BroadcastOptions::all()).await.map_err(words)?;
    let (values, outcome) = acks.all().await.map_err(words)?;
    same("acknowledgements", texts(&values), vec!["ann".to_owned(), "ben".to_owned()])?;
    ensure(outcome.is_complete(), || format!("a broadcast with acknowledgements: {outcome:?}"))?;
    here.hears(nsp, 10).await?;
    there.hears(nsp, 10).await
}

pub(super) async fn nodes_of_each_dialect_work_together<B: Backend>(suite: &Suite<B>) -> Outcome {
    for dialect in [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Classic] {
        one_dialect(suite, dialect).await?;
    }
    Ok(())
}

pub(super) async fn the_sharded_dialect_works<B: Backend>(suite: &Suite<B>) -> Outcome {
    one_dialect(suite, Dialect::Sharded).await
}

async fn one_dialect<B: Backend>(suite: &Suite<B>, dialect: Dialect) -> Outcome {
    let options = suite.options(dialect);
    let mut here = Peer::start(&options, suite.backend())?;
    let mut there = Peer::start(&options, suite.backend())?;
    work_together(&mut here, &mut there, "/chat").await.map_err(|why| format!("{dialect:?}: {why}"))?;
    here.node.close().await;
    there.node.close().await;
    Ok(())
}

/// Tries more than one stream, with namespaces that have negative hashes.
pub(super) async fn namespaces_on_many_streams<B: Backend>(suite: &Suite<B>) -> Outcome {
    many_streams(suite, false).await
}

pub(super) async fn sharded_channels<B: Backend>(suite: &Suite<B>) -> Outcome {
    many_streams(suite, true).await
}

async fn many_streams<B: Backend>(suite: &Suite<B>, sharded: bool) -> Outcome {
    for dialect in [Dialect::Streams03, Dialect::Bridge] {
        let mut options = suite.options(dialect);
        options.config.stream_count = 4;
        options.config.use_sharded_pub_sub = sharded;
        let mut here = Peer::start(&options, suite.backend())?;
        let mut there = Peer::start(&options, suite.backend())?;
        for nsp in ["/", "/chat", "/notifications", "/dashboard"] {
            work_together(&mut here, &mut there, nsp)
                .await
                .map_err(|why| format!("{dialect:?}, {nsp}: {why}"))?;
        }
    }
    Ok(())
}

/// Checks that a node gets the messages that were published while its links were cut, once and in
/// order.
pub(super) async fn a_node_comes_back<B: Backend>(suite: &Suite<B>) -> Outcome {
    let (backend, faults) = suite.fragile()?;
    let options = suite.options(Dialect::Streams03);
    let here = Peer::start(&options, suite.backend())?;
    let ann = here.open("/", "ann").await?;
    let (node, mut events) = crate::start(options, backend).map_err(words)?;
    let ben = node.open("/").await.map_err(words)?;
    ben.add_socket("ben").await.map_err(words)?;
    let send =
        async |number| ann.broadcast(packet(number)?, BroadcastOptions::all()).await.map(drop).map_err(words);
    send(0).await?;
    {
        let _restore = Restore(faults);
        faults.cut();
        for number in 1..11 {
            send(number).await?;
        }
    }
    send(11).await?;
    for number in 0..12 {
        let heard = loop {
            match events.next().await.ok_or("the node is gone")? {
                Event::Broadcast(broadcast) => break broadcast,
                _ => continue,
            }
        };
        same("what is heard", number_of(&heard.packet), Some(number))?;
    }
    Ok(())
}
