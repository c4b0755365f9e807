//! A Node server in the cluster, with the official adapter.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use sio_streams_interop::{Generation, Peer, PeerConfig, Received, Select, ServerSideReply};
use tokio::sync::Mutex;

use crate::server::{NSP, NUMBER};

/// A Node server with one client, which answers what it is asked.
#[derive(Debug)]
pub struct NodeServer {
    peer: Peer,
    sid: String,
    said: AtomicU32,
    heard: Mutex<HashMap<String, Vec<u32>>>,
}

/// The name under which the Node server says numbers.
pub const NODE: &str = "node";

impl NodeServer {
    /// Starts a server on version 0.3.1 of the adapter.
    pub async fn start(url: &str) -> Self {
        let config = PeerConfig::new(Generation::V03, url).adapter("blockTimeInMs", 500);
        let peer = Peer::start(config).await.unwrap();
        let sid = peer.connect(NSP).await.unwrap().sid;
        peer.client_ack(&sid, "ask", Some(json!("node's client"))).await.unwrap();
        peer.on_server_side(NSP, "ping", ServerSideReply::Answer(json!("pong"))).await.unwrap();
        NodeServer { peer, sid, said: AtomicU32::new(0), heard: Mutex::default() }
    }

    /// The process.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Its client's id.
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// Sends this many numbers.
    pub async fn say(&self, count: u32) {
        let to = Select::all(NSP);
        for _ in 0..count {
            let number = self.said.fetch_add(1, Ordering::Relaxed);
            self.peer.emit(&to, NUMBER, &[json!(NODE), json!(number)]).await.unwrap();
        }
    }

    /// The number of messages that it has sent.
    pub fn said(&self) -> u32 {
        self.said.load(Ordering::Relaxed)
    }

    /// The numbers that its client got of an author.
    pub async fn heard(&self, author: &str) -> Vec<u32> {
        let mut heard = self.heard.lock().await;
        for Received { event, args, .. } in self.peer.take_received(&self.sid).await.unwrap() {
            if let (NUMBER, [author, number, ..]) = (&*event, &args[..]) {
                let number = u32::try_from(number.as_u64().unwrap()).unwrap();
                heard.entry(author.as_str().unwrap().to_owned()).or_default().push(number);
            }
        }
        heard.get(author).cloned().unwrap_or_default()
    }
}
