//! A cluster of two nodes, driven by hand. It has no network sockets and no threads, and its clock
//! is only a number.
#![allow(clippy::print_stdout)]

use std::{collections::BTreeMap, error::Error, time::Duration};

use sio_streams_core::{Answer, BroadcastOptions, CommandId, Config, Engine, Event, Handshake, Lane};
use sio_streams_core::{LocalSocket, Packet, Payload, Time};
use sio_streams_redis_model::{ClientId, Executed, RedisModel};

/// A server: its engine, a connection to Redis per lane, and the reads that wait there for an
/// entry.
struct Node {
    engine: Engine,
    lanes: BTreeMap<Lane, ClientId>,
    reads: BTreeMap<ClientId, CommandId>,
}

/// Does the work of a driver: commands go to Redis, replies and messages come back, and time
/// passes, until a node has an event.
fn next_event(nodes: &mut [Node], redis: &mut RedisModel, now: &mut Time) -> (usize, Event) {
    loop {
        for (at, Node { engine, lanes, reads }) in nodes.iter_mut().enumerate() {
            engine.handle_timeout(*now);
            if let Some(event) = engine.poll_event() {
                return (at, event);
            }
            while let Some((id, command)) = engine.poll_command() {
                let client = *lanes.entry(command.lane()).or_insert_with(|| redis.connect());
                match redis.execute(now.as_micros() / 1_000, client, &command) {
                    Executed::Reply(reply) => engine.handle_reply(*now, id, reply),
                    Executed::Blocked => _ = reads.insert(client, id),
                }
            }
        }
        while let Some((client, reply)) = redis.poll_wakeup() {
            let reader = nodes.iter_mut().find_map(|node| Some((node.reads.remove(&client)?, node)));
            let (id, node) = reader.expect("somebody reads");
            node.engine.handle_reply(*now, id, reply);
        }
        while let Some((client, channel, payload)) = redis.poll_push() {
            for node in nodes.iter_mut().filter(|node| node.lanes.get(&Lane::Subscriber) == Some(&client)) {
                node.engine.handle_push(*now, &channel, &payload);
            }
        }
        *now = *now + Duration::from_millis(1);
        redis.handle_timeout(now.as_micros() / 1_000);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut redis, mut now, mut nodes) = (RedisModel::new(), Time::ZERO, Vec::new());
    for (seed, name) in [(1, "alice"), (2, "bob")] {
        let mut engine = Engine::new(Config::default(), seed, now)?;
        engine.open_namespace(now, "/")?;
        engine.add_socket("/", name)?;
        nodes.push(Node { engine, lanes: BTreeMap::new(), reads: BTreeMap::new() });
    }
    let (hello, mut greeted, mut found) = (Packet::event("hello", &["world"])?, Vec::new(), Vec::new());
    while found.len() < 2 {
        let (at, event) = next_event(&mut nodes, &mut redis, &mut now);
        println!("{now} node {at}: {:.80}", format!("{event:?}"));
        let engine = &mut nodes[at].engine;
        match event {
            Event::Ready { nsp } if at == 1 => {
                engine.broadcast(now, &nsp, hello.clone(), BroadcastOptions::all())?;
            }
            Event::Broadcast(it) => greeted.extend(engine.rooms(&it.nsp).expect("open").matching(&it.opts)),
            Event::Published { .. } => _ = engine.fetch_sockets(now, "/", BroadcastOptions::all())?,
            Event::FetchSockets { sockets, responder, .. } => {
                let connected = Handshake::at(now.as_micros() / 1_000);
                let tell = |id| LocalSocket::new(id, &connected, Payload::empty_object());
                let told: Result<_, _> = sockets.into_iter().map(tell).collect();
                engine.respond_sockets(now, responder, told?)?;
            }
            Event::Answer { answer: Answer::Sockets(sockets), .. } => found.extend(sockets),
            _ => {}
        }
    }
    assert_eq!(greeted, ["alice", "bob"]);
    assert!(found.iter().map(|socket| &*socket.id).eq(["bob", "alice"]));
    Ok(())
}
