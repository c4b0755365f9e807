//! The example of a node on smol, on a real server that restarts.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::time::Duration;

use sio_streams_resp::sio_streams_core::{BroadcastOptions, Config, Event, LinkState, Packet};
use sio_streams_testkit::RedisServer;
use smol::Timer;
use smol::future::or;

#[path = "../smol_node.rs"]
mod example;

use example::Node;

/// A busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(300);

/// The history of two nodes so far.
#[derive(Debug, Default)]
struct Seen {
    ready: usize,
    downs: usize,
    /// The words that each node's client has got.
    got: [Vec<String>; 2],
}

async fn until(nodes: &mut [Node; 2], seen: &mut Seen, what: &str, reached: impl Fn(&Seen) -> bool) {
    while !reached(seen) {
        let [one, two] = nodes;
        let first = async { Some((0, one.next().await)) };
        let second = async { Some((1, two.next().await)) };
        let late = async {
            Timer::after(PATIENCE).await;
            None
        };
        let (at, event) = or(or(first, second), late).await.unwrap_or_else(|| panic!("{what}: {seen:?}"));
        match event {
            Event::Ready { .. } => seen.ready += 1,
            Event::Link { link: LinkState::Down { .. }, .. } => seen.downs += 1,
            Event::Broadcast(it) => seen.got[at].push(it.packet.data().arg(0).unwrap()),
            Event::Skipped { .. } | Event::PublishFailed { .. } => panic!("{event:?}"),
            _ => {}
        }
    }
}

fn say(node: &mut Node, word: &str) {
    let packet = Packet::event("hello", &[word]).unwrap();
    node.engine.broadcast(node.now(), "/", packet, BroadcastOptions::all()).unwrap();
}

#[test]
fn nodes_on_smol_survive_a_restart_of_the_server() {
    smol::block_on(async {
        let redis = RedisServer::builder().persistent().start().unwrap();
        let mut nodes = [(); 2].map(|()| Node::join(&redis.addr().to_string(), Config::default()).unwrap());
        for (node, socket) in nodes.iter_mut().zip(["ann", "ben"]) {
            node.engine.open_namespace(node.now(), "/").unwrap();
            node.engine.add_socket("/", socket).unwrap();
        }
        let mut seen = Seen::default();
        until(&mut nodes, &mut seen, "both join", |seen| seen.ready == 2).await;
        say(&mut nodes[0], "one");
        let all_have = |words| move |seen: &Seen| seen.got.iter().all(|got| got.len() >= words);
        until(&mut nodes, &mut seen, "all get it", all_have(1)).await;
        redis.kill();
        until(&mut nodes, &mut seen, "the loss is seen", |seen| seen.downs > 0).await;
        say(&mut nodes[1], "two");
        redis.restart().unwrap();
        until(&mut nodes, &mut seen, "what was said meanwhile comes", all_have(2)).await;
        say(&mut nodes[0], "three");
        until(&mut nodes, &mut seen, "and what is said then", all_have(3)).await;
        for got in &seen.got {
            assert_eq!(got[..], ["one", "two", "three"]);
        }
    });
}
