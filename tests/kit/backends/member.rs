//! A node under test, with the messages and the events of its links.

use std::sync::{Arc, Mutex};

use super::common::*;
use sio_streams_core::{BroadcastOptions, ByteString, Config, Lane, LinkState, NodeId, Packet, Payload};
use sio_streams_driver::backend::Backend;
use sio_streams_driver::{Broadcast, Event, Namespace, Node};
use sio_streams_testapp::{Application, serve};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A node in one namespace, with one socket.
pub(crate) struct Member {
    pub(crate) node: Node,
    pub(crate) namespace: Namespace,
    heard: mpsc::UnboundedReceiver<u64>,
    told: Arc<Mutex<Vec<Event>>>,
}

impl Member {
    pub(crate) async fn start<B: Backend>(config: Config, backend: B) -> Self {
        Self::start_in(config, backend, "/").await
    }

    pub(crate) async fn start_in<B: Backend>(config: Config, backend: B, nsp: &str) -> Self {
        let (node, events) = sio_streams_driver::start(options(config), backend).unwrap();
        let (sender, heard) = mpsc::unbounded_channel();
        let told = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(serve(events, Listener { heard: sender, told: Arc::clone(&told) }));
        let namespace = within(node.open(nsp.to_owned())).await.unwrap();
        within(namespace.add_socket(format!("socket of {}", node.uid()))).await.unwrap();
        Member { node, namespace, heard, told }
    }

    pub(crate) async fn sees(&self, servers: u64) {
        within(async {
            while self.namespace.server_count().await.unwrap_or_default() != servers {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub(crate) async fn send(&self, number: u64) {
        within(send(&self.namespace, number)).await;
    }

    /// Sends these one after the other, whatever the caller does meanwhile, who must wait for it in
    /// the end. How many they were comes of it.
    pub(crate) fn sends<I>(&self, numbers: I) -> JoinHandle<u64>
    where
        I: Iterator<Item = u64> + Send + 'static,
    {
        let namespace = self.namespace.clone();
        tokio::spawn(async move {
            let mut count = 0;
            for number in numbers {
                send(&namespace, number).await;
                count += 1;
            }
            count
        })
    }

    /// Hears these, once each and in order, and nothing else before them.
    pub(crate) async fn hears(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            assert_eq!(within(self.heard.recv()).await, Some(number));
        }
    }

    /// Asks the others until this many have answered, and nobody is missing. Returns the answers.
    pub(crate) async fn is_answered_by(&self, others: usize) -> Vec<(Option<NodeId>, Payload)> {
        within(async {
            loop {
                let ping = Payload::from_json(r#"["ping"]"#).unwrap();
                if let Ok(answers) = self.namespace.server_side_emit_with_ack(ping).await
                    && answers.outcome.is_complete()
                    && answers.responses.len() == others
                {
                    return answers.responses;
                }
            }
        })
        .await
    }

    /// Everything else that it was told, in words.
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().iter().map(|event| format!("{event:?}")).collect()
    }

    /// Why links of this lane were reported lost, so far.
    pub(crate) fn losses(&self, wanted: &Lane) -> Vec<String> {
        let told = self.told.lock().unwrap();
        let reason = |event: &Event| match event {
            Event::Link { lane, link: LinkState::Down { reason, .. } } if lane == wanted => {
                Some(reason.to_string())
            }
            _ => None,
        };
        told.iter().filter_map(reason).collect()
    }

    /// Returns `true` if the lane was up by the last report.
    pub(crate) fn is_up(&self, wanted: &Lane) -> bool {
        let told = self.told.lock().unwrap();
        let state = |event: &Event| match event {
            Event::Link { lane, link } if lane == wanted => Some(link.is_up()),
            _ => None,
        };
        told.iter().rev().find_map(state).unwrap_or(true)
    }
}

async fn send(namespace: &Namespace, number: u64) {
    let packet = Packet::event("n", &(number,)).unwrap();
    let sent = namespace.broadcast(packet, BroadcastOptions::all()).await;
    sent.unwrap_or_else(|error| panic!("{number}: {error}"));
}

/// The application: it passes on the numbers that come, and keeps what else it is told.
struct Listener {
    heard: mpsc::UnboundedSender<u64>,
    told: Arc<Mutex<Vec<Event>>>,
}

impl Application for Listener {
    fn deliver(&mut self, broadcast: &Broadcast) {
        let (name, number): (String, u64) = broadcast.packet.data().decode().unwrap();
        assert_eq!(name, "n");
        // A test that listens no more has seen enough.
        let _ = self.heard.send(number);
    }

    fn asked(&mut self, _: &ByteString, _: &Payload, _: bool) -> Option<Payload> {
        Some(Payload::encode("pong").unwrap())
    }

    fn told(&mut self, event: Event) {
        self.told.lock().unwrap().push(event);
    }
}
