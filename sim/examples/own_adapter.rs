//! The adapter logic of a framework that owns its rooms, under all faults of the simulator, and under
//! the project's own rules. With a deliberate mistake, it is found, and the run that shows it is made
//! short.
//!
//! `cargo run --release -p sio-streams-sim --example own_adapter`

#![allow(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use sio_streams_core::{BroadcastOptions, Engine, Event};
use sio_streams_sim::campaign::{self, Campaign, Summary};
use sio_streams_sim::{Adapter, Family, Rooms};

/// The sockets of a namespace, and the rooms of each.
type Sockets = BTreeMap<ByteString, BTreeSet<ByteString>>;

/// The logic of a framework.
#[derive(Debug, Default)]
struct Framework {
    namespaces: BTreeMap<ByteString, Sockets>,
    /// The mistake: if nobody matches, everybody is addressed. An empty list of rooms means everybody
    /// on the wire, and the list of matching sockets is used as one.
    mistaken: bool,
}

impl Framework {
    fn in_namespace(&mut self, nsp: &str, change: impl FnOnce(&mut Sockets)) -> BTreeSet<ByteString> {
        let Some(sockets) = self.namespaces.get_mut(nsp) else { return BTreeSet::new() };
        let occupied = |sockets: &Sockets| sockets.values().flatten().cloned().collect();
        let before: BTreeSet<ByteString> = occupied(sockets);
        change(sockets);
        &before ^ &occupied(sockets)
    }

    /// Makes a change, and tells the engine which rooms have got their first socket by it, or have
    /// lost their last one.
    fn change(&mut self, engine: &mut Engine, nsp: &str, change: impl FnOnce(&mut Sockets)) {
        for room in self.in_namespace(nsp, change) {
            let sockets = self.namespaces.get(nsp).into_iter().flat_map(BTreeMap::values);
            let occupied = sockets.flatten().any(|other| *other == room);
            // The namespace is open, so this is not refused.
            let _ = engine.set_rooms_occupied(nsp, [room], occupied);
        }
    }

    fn matching(&self, nsp: &str, opts: &BroadcastOptions) -> Vec<ByteString> {
        let Some(sockets) = self.namespaces.get(nsp) else { return Vec::new() };
        let in_any = |joined: &BTreeSet<_>, rooms: &[_]| rooms.iter().any(|room| joined.contains(room));
        let is_meant = |joined: &BTreeSet<ByteString>| {
            (opts.rooms.is_empty() || in_any(joined, &opts.rooms)) && !in_any(joined, &opts.except)
        };
        let matching: Vec<_> =
            sockets.iter().filter(|(_, joined)| is_meant(joined)).map(|(id, _)| id.clone()).collect();
        match matching.is_empty() && self.mistaken {
            true => sockets.keys().cloned().collect(),
            false => matching,
        }
    }
}

impl Adapter for Framework {
    fn opened(&mut self, nsp: &str) {
        self.namespaces.insert(nsp.into(), Sockets::new());
    }

    fn closed(&mut self, nsp: &str) {
        self.namespaces.remove(nsp);
    }

    fn connected(&mut self, engine: &mut Engine, nsp: &str, socket: &str) {
        let id = ByteString::from(socket);
        self.change(engine, nsp, |sockets| {
            sockets.entry(id.clone()).or_insert_with(|| [id].into());
        });
    }

    fn disconnected(&mut self, engine: &mut Engine, nsp: &str, socket: &str) {
        self.change(engine, nsp, |sockets| drop(sockets.remove(socket)));
    }

    fn join(&mut self, engine: &mut Engine, nsp: &str, socket: &str, room: &str) {
        self.change(engine, nsp, |sockets| {
            sockets.get_mut(socket).map(|joined| joined.insert(room.into()));
        });
    }

    fn leave(&mut self, engine: &mut Engine, nsp: &str, socket: &str, room: &str) {
        self.change(engine, nsp, |sockets| {
            sockets.get_mut(socket).map(|joined| joined.remove(room));
        });
    }

    fn event(&mut self, engine: &mut Engine, event: &Event) -> Vec<ByteString> {
        match event {
            Event::Broadcast(it) => self.matching(&it.nsp, &it.opts),
            Event::SocketsJoin(it) => {
                let matching = self.matching(&it.nsp, &it.opts);
                self.change(engine, &it.nsp, |sockets| {
                    for socket in &matching {
                        sockets.entry(socket.clone()).or_default().extend(it.rooms.iter().cloned());
                    }
                });
                matching
            }
            Event::SocketsLeave(it) => {
                let matching = self.matching(&it.nsp, &it.opts);
                self.change(engine, &it.nsp, |sockets| {
                    for socket in &matching {
                        sockets.entry(socket.clone()).or_default().retain(|room| !it.rooms.contains(room));
                    }
                });
                matching
            }
            Event::DisconnectSockets { nsp, opts, .. } | Event::FetchSockets { nsp, opts, .. } => {
                self.matching(nsp, opts)
            }
            Event::Restored(it) => {
                let (sid, rooms) = (it.session.sid.clone(), it.session.rooms.iter().cloned());
                self.change(engine, &it.nsp, |sockets| sockets.entry(sid).or_default().extend(rooms));
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn sockets(&self, nsp: &str) -> Vec<ByteString> {
        self.namespaces.get(nsp).into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    fn rooms(&self, nsp: &str, socket: &str) -> Option<Vec<ByteString>> {
        Some(self.namespaces.get(nsp)?.get(socket)?.iter().cloned().collect())
    }
}

/// The logic, as it should be.
pub(crate) const RIGHT: Rooms = Rooms::Adapter(|| Box::new(Framework::default()));

/// The logic with the mistake.
pub(crate) const MISTAKEN: Rooms =
    Rooms::Adapter(|| Box::new(Framework { mistaken: true, ..Framework::default() }));

/// Puts the logic into clusters of all families, until a rule is broken.
pub(crate) fn test(rooms: Rooms, seeds: u64) -> Summary {
    let families = &Family::ALL;
    campaign::run(Campaign { families, first: 0, seeds, threads: 2, until_first: true, rooms }, |_| {})
}

#[allow(dead_code, reason = "a test includes this file as a module")]
fn main() {
    println!("The logic as it should be: {}\n", test(RIGHT, 200).line());
    let failures = test(MISTAKEN, 200).failures;
    let shortest = failures.first().and_then(|failure| campaign::minimise_seed(failure.seed, MISTAKEN));
    if let (Some(failure), Some(shortest)) = (failures.first(), shortest) {
        println!("With a mistake: {}, at seed {}: {}\n", failure.rule, failure.seed, failure.details);
        println!("The shortest run that shows it:\n\n{}", shortest.text());
    }
}
