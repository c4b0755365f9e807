//! One's own logic under faults: all servers agree on the winner of the auction of
//! `examples/total_order.rs`, whatever happens to links, processes and the Redis server.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::time::Duration;

use proptest::prelude::*;
use sio_streams_driver::sio_streams_core::{BroadcastOptions, Config, Event, LocalDelivery, Packet};
use sio_streams_sim::{App, Fault, Hand, HostOptions, Network, World, harmless_faults};

#[path = "../total_order.rs"]
mod example;

#[derive(Default)]
struct Server(example::Auction);

impl App for Server {
    fn event(&mut self, _: &mut Hand<'_>, event: Event) {
        if let Event::Broadcast(delivery) = event {
            self.0.bid(delivery.packet.data());
        }
    }

    fn reborn(&self) -> Self {
        Server::default()
    }
}

fn all_agree(bids: &[(usize, u32, Option<Fault>)], local_delivery: LocalDelivery) -> bool {
    let mut world = World::new(1, Network::default());
    for _ in 0..3 {
        let config = Config { local_delivery, ..Config::default() };
        let node = world.add_node(config, HostOptions::default(), Server::default()).unwrap();
        world.open(node, "/auction", &["bidder"]).unwrap();
    }
    world.run_for(Duration::from_secs(1));
    for (node, price, fault) in bids {
        fault.iter().for_each(|fault| world.inflict(fault));
        world.call(*node, |it| {
            let bid = Packet::event("bid", &(node.to_string(), price)).unwrap();
            it.engine.broadcast(it.now, "/auction", bid, BroadcastOptions::all()).unwrap();
        });
    }
    world.run_for(Duration::from_secs(60));
    let results: Vec<_> = world.apps().map(|server| &server.0).collect();
    results.windows(2).all(|pair| pair[0] == pair[1])
}

proptest! {
    #[test]
    fn the_servers_agree(bids in prop::collection::vec((0..3_usize, 1..9_u32, prop::option::of(harmless_faults(3, 1_500))), 1..20)) {
        prop_assert!(all_agree(&bids, LocalDelivery::StreamOrder));
    }
}

#[test]
fn without_the_order_of_the_stream_they_would_not() {
    let bids = [(0, 5, None), (1, 5, None), (2, 5, None)];
    assert!(!all_agree(&bids, LocalDelivery::AtOnce));
}

#[test]
fn the_example_runs() {
    example::main().unwrap();
}
