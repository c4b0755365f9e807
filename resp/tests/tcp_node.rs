//! The example of a node over blocking sockets, on a real server that restarts.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::time::{Duration, Instant};

use sio_streams_resp::sio_streams_core::{
    Answer, BroadcastOptions, Config, Dialect, Event, LinkState, Packet, Payload,
};
use sio_streams_testkit::RedisServer;

#[path = "../examples/tcp_node.rs"]
mod example;

use example::Node;

/// A busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(300);

/// A cluster of two nodes, and what they have seen.
struct Cluster {
    nodes: [Node; 2],
    /// The broadcasts that each node's client has got.
    got: [Vec<String>; 2],
    ready: usize,
    downs: usize,
    published: usize,
    done: usize,
    answers: Vec<String>,
}

impl Cluster {
    fn start(redis: &RedisServer, dialect: Dialect) -> Self {
        let nodes = ["ann", "ben"].map(|name| {
            let config = Config { dialect, ..Config::default() };
            let mut node = Node::join(&redis.addr().to_string(), config).unwrap();
            node.engine.open_namespace(node.now(), "/").unwrap();
            node.engine.add_socket("/", name).unwrap();
            node
        });
        Cluster { nodes, got: [vec![], vec![]], ready: 0, downs: 0, published: 0, done: 0, answers: vec![] }
    }

    fn until(&mut self, what: &str, reached: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !reached(self) {
            assert!(begin.elapsed() < PATIENCE, "{what}");
            for at in 0..2 {
                if let Some(event) = self.nodes[at].turn(Duration::from_millis(5)) {
                    self.note(at, event);
                }
            }
        }
    }

    fn note(&mut self, at: usize, event: Event) {
        match &event {
            Event::Broadcast(it) => {
                assert_eq!(self.nodes[at].engine.rooms("/").unwrap().matching(&it.opts).len(), 1);
                self.got[at].push(it.packet.data().decode::<(String, String)>().unwrap().1);
            }
            Event::Ready { .. } => self.ready += 1,
            Event::Link { link: LinkState::Down { .. }, .. } => self.downs += 1,
            Event::Published { .. } => self.published += 1,
            Event::RequestDone { .. } => self.done += 1,
            Event::Answer { answer: Answer::Sockets(sockets), .. } => {
                self.answers.extend(sockets.iter().map(|socket| socket.id.to_string()));
            }
            Event::Answer { answer: Answer::Emit(value), .. } => self.answers.push(value.decode().unwrap()),
            Event::Skipped { .. } | Event::PublishFailed { .. } => panic!("{event:?}"),
            _ => {}
        }
        self.nodes[at].serve(event).unwrap();
    }

    fn say(&mut self, text: &str) {
        let node = &mut self.nodes[0];
        let packet = Packet::event("hello", &[text]).unwrap();
        node.engine.broadcast(node.now(), "/", packet, BroadcastOptions::all()).unwrap();
    }
}

fn lives(dialect: Dialect) {
    let redis = RedisServer::builder().persistent().start().unwrap();
    let mut cluster = Cluster::start(&redis, dialect);
    cluster.until("both join", |cluster| cluster.ready == 2);
    cluster.say("one");
    cluster.until("all get it", |cluster| cluster.got.iter().all(|got| got.len() == 1));

    // Questions, until the other one is known.
    let begin = Instant::now();
    while !["ann", "ben", "here"].iter().all(|name| cluster.answers.iter().any(|answer| answer == name)) {
        assert!(begin.elapsed() < PATIENCE, "{:?}", cluster.answers);
        let node = &mut cluster.nodes[0];
        let now = node.now();
        let question = Payload::from_json(r#"["who?"]"#).unwrap();
        node.engine.fetch_sockets(now, "/", BroadcastOptions::all()).unwrap();
        node.engine.server_side_emit_with_ack(now, "/", question).unwrap();
        let done = cluster.done + 2;
        cluster.until("the questions end", |cluster| cluster.done >= done);
    }

    // The server is gone for a while. What is said meanwhile is published when it is back.
    let downs = cluster.downs;
    redis.kill();
    cluster.until("the loss is seen", |cluster| cluster.downs > downs);
    cluster.say("two");
    redis.restart().unwrap();
    cluster.until("all get it", |cluster| cluster.got.iter().all(|got| got.len() >= 2));
    cluster.say("three");
    cluster.until("and what is said then", |cluster| cluster.got.iter().all(|got| got.len() >= 3));
    for got in &cluster.got {
        assert_eq!(got[..], ["one", "two", "three"]);
    }
    cluster.until("the fates are known", |cluster| cluster.published >= 3);
}

#[test]
fn a_node_by_hand_survives_a_restart_of_the_server() {
    lives(Dialect::Streams03);
}

#[test]
fn a_node_by_hand_hears_heartbeats_and_answers_by_the_stream() {
    lives(Dialect::Bridge);
}
