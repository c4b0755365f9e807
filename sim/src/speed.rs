//! Measures how fast the simulation is, and how that depends on the number of nodes.

use std::time::{Duration, Instant};

use sio_streams_core::{BroadcastOptions, Config, Dialect, Event, Packet};
use sio_streams_sim::{App, Hand, HostOptions, Network, World};

/// Broadcasts once a second, and takes what it gets.
struct Chatter {
    heard: u64,
}

impl App for Chatter {
    fn event(&mut self, node: &mut Hand<'_>, event: Event) {
        match event {
            Event::Ready { .. } => node.alarm(Duration::from_secs(1), 0),
            Event::Broadcast(_) => self.heard += 1,
            _ => {}
        }
    }

    fn alarm(&mut self, node: &mut Hand<'_>, _: u64) {
        if let Ok(packet) = Packet::event("said", &("something", 42)) {
            // A full queue would be seen by what is not heard.
            let _ = node.engine.broadcast(node.now, "/", packet, BroadcastOptions::all());
        }
        node.alarm(Duration::from_secs(1), 0);
    }

    fn reborn(&self) -> Self {
        Chatter { heard: 0 }
    }
}

/// Measures, and prints a table.
pub(crate) fn measure() {
    println!("nodes   simulated s   wall s   simulated s per wall s   events per wall s   broadcasts heard");
    for (nodes, seconds) in [(3_u64, 4_000_u64), (10, 600), (30, 90), (100, 12)] {
        let mut world = World::new(7, Network::default());
        for node in 0..nodes {
            let config = Config { dialect: Dialect::Streams02, ..Config::default() };
            let Ok(host) = world.add_node(config, HostOptions::default(), Chatter { heard: 0 }) else {
                return;
            };
            let socket = format!("socket{node}");
            let _ = world.open(host, "/", &[&socket]);
        }
        let started = Instant::now();
        world.run_for(Duration::from_secs(seconds));
        let wall = started.elapsed().as_secs_f64();
        let heard: u64 = world.apps().map(|app| app.heard).sum();
        println!(
            "{nodes:>5} {seconds:>13} {wall:>8.2} {:>24.0} {:>19.0} {heard:>18}",
            seconds as f64 / wall,
            world.steps() as f64 / wall
        );
    }
}
