//! A deterministic simulator for Socket.IO clusters over Redis Streams.
//!
//! Whole clusters of the real engine ([`sio_streams_core`]) run in a simulated world: a clock that
//! jumps from one thing that is due to the next, links that are slow, silent or lost, processes
//! that stand still or die, clocks that drift and jump, simulated Node servers of both wire
//! generations, and a simulated Redis ([`sio_streams_redis_model`]) that is restarted, fails over,
//! refuses, trims. A seed decides everything: the same seed gives the same run, to the microsecond.
//!
//! It is two things:
//!
//! - **A test of the engine.** `cargo run --release -p sio-streams-sim -- run --seeds 10000` draws
//!   ten thousand bad days, and checks in each of them what the engine promises: see [`campaign`],
//!   and `docs/simulator.md`.
//! - **A library** for those who embed the engine: an [`App`] of yours runs on the nodes of a
//!   [`World`], you let [`Fault`]s happen, and look whether your own invariants hold.
//!
//! # An application under test
//!
//! Every node keeps a list of who is present, from what it hears. If a message were lost or done
//! twice on one node, the lists would differ.
//!
//! ```
//! use std::collections::BTreeSet;
//! use std::time::Duration;
//! use sio_streams_core::{BroadcastOptions, Config, Event, Packet};
//! use sio_streams_sim::{App, Data, Fault, Hand, HostOptions, Lanes, Network, World};
//!
//! #[derive(Default)]
//! struct Presence(BTreeSet<String>);
//!
//! impl App for Presence {
//!     fn event(&mut self, _: &mut Hand<'_>, event: Event) {
//!         if let Event::Broadcast(delivery) = event {
//!             let (what, who) = delivery.packet.data().decode::<(String, String)>().unwrap();
//!             match &*what {
//!                 "came" => self.0.insert(who),
//!                 _ => self.0.remove(&who),
//!             };
//!         }
//!     }
//!
//!     fn reborn(&self) -> Self {
//!         Presence::default()
//!     }
//! }
//!
//! let mut world = World::new(42, Network::default());
//! for _ in 0..3 {
//!     let node = world.add_node(Config::default(), HostOptions::default(), Presence::default()).unwrap();
//!     world.open(node, "/", &[]).unwrap();
//! }
//! world.run_for(Duration::from_secs(1));
//!
//! for guest in 0..100 {
//!     match guest {
//!         // Replies are lost in the middle of it; then the readers of another node; then the server is restarted.
//!         20 => world.inflict(&Fault::Cut {
//!             host: 0,
//!             lanes: Lanes::Writer,
//!             executed: 2,
//!             late: Duration::ZERO,
//!             lasts: Duration::from_millis(300),
//!         }),
//!         40 => world.inflict(&Fault::Stall { host: 2, lanes: Lanes::Readers, lasts: Duration::from_secs(7) }),
//!         60 => world.inflict(&Fault::Restart {
//!             data: Data::Kept,
//!             away: Duration::from_secs(2),
//!             loading: Duration::from_millis(500),
//!         }),
//!         _ => {}
//!     }
//!     world.call(0, |node| {
//!         let packet = Packet::event("came", &(format!("guest {guest}"),)).unwrap();
//!         node.engine.broadcast(node.now, "/", packet, BroadcastOptions::all()).unwrap();
//!     });
//!     world.run_for(Duration::from_millis(20));
//! }
//! world.run_for(Duration::from_secs(30));
//! assert!(world.apps().all(|app| app.0.len() == 100));
//! ```
//!
//! With the feature `proptest` (on by default) [`harmless_faults`] draws faults for a
//! property-based test, which shrinks what it found: `tests/presence.rs` is one.
//!
//! [Simulator] is the guide to the command and the campaign.
//!
//! [Simulator]: https://github.com/sio-streams/sio-streams/blob/main/docs/simulator.md

#![cfg_attr(docsrs, feature(doc_cfg))]

mod adapter;
mod app;
pub mod campaign;
mod chance;
mod encoding;
pub mod explore;
mod family;
mod fault;
pub mod hashes;
mod minimise;
mod oracle;
mod own_rooms;
mod page;
mod peer;
mod peer_validity;
mod plan;
mod plan_generator;
mod responder;
#[cfg(feature = "proptest")]
mod strategy;
mod timeline;
mod trace;
mod trial;
mod watch;
mod world;

pub use adapter::{Adapter, NewAdapter, Rooms};
pub use app::{App, Hand, Node};
pub use family::Family;
pub use fault::{Data, Fault, Forgery, Impostor, Lanes, Refusal};
pub use page::page;
pub use peer::Generation;
#[cfg(feature = "proptest")]
pub use strategy::harmless_faults;
pub use timeline::text;
pub use trace::{Kind, Place, Record, Tracer};
pub use trial::Report;
pub use watch::{Happening, PeerNote, Watch};
pub use world::{HostOptions, Network, World};
