//! A test of recovery against a naive model: a client must get the stream's history, filtered.
//!
//! The steps of all nodes interleave at random: an event is taken, a command handed out, a reply
//! delivered. The end of a replay therefore falls everywhere between the window, the pages and the
//! live flow. A failure prints the seed; `SIO_STREAMS_SEED` repeats it.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use sio_streams_core::wire::entry::SEQUENCE_FIELD;
use sio_streams_core::{
    BroadcastOptions, Command, CommandId, Config, Engine, EntryId, Event, Fields, Lane, LocalDelivery,
    NotRecovered, Packet, Payload, Recovery, Reply, Session, Ticket, Time,
};
use sio_streams_redis_model::{ClientId, Executed, RedisModel};

const WALL: u64 = 1_700_000_000_000;
const STREAM: &str = "socket.io";
const ROOMS: [&str; 4] = ["r0", "r1", "r2", "r3"];
const NODES: usize = 3;
const CLIENTS: usize = 6;
// Miri is slow.
const STEPS: usize = if cfg!(miri) { 60 } else { 1_500 };
const RUNS: u64 = if cfg!(miri) { 1 } else { 60 };

type Answer = Result<Reply, sio_streams_core::CommandError>;

struct Node {
    engine: Engine,
    clients: BTreeMap<Lane, ClientId>,
    /// The replies on their way, in order, per connection.
    replies: BTreeMap<Lane, VecDeque<(CommandId, Answer)>>,
    blocked: BTreeMap<ClientId, (Lane, CommandId)>,
    ready: bool,
}

enum Place {
    /// The client has never connected, or has begun anew since.
    Nowhere,
    At(usize),
    Away,
    /// The client is being restored at this node.
    Between(usize, Ticket),
}

struct Client {
    sid: String,
    pid: String,
    rooms: Vec<&'static str>,
    place: Place,
    /// The client's socket has existed since this entry.
    since: EntryId,
    got: Vec<EntryId>,
}

struct Simulation {
    rng: Rng,
    store: RedisModel,
    millis: u64,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    /// The entries that are in the stream for the second time.
    copies: Vec<EntryId>,
    /// `true` if nodes are started later. Otherwise there are copies.
    late: bool,
    recovered: usize,
    refused: usize,
    paged: usize,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let clients = (0..CLIENTS).map(|_| Client {
            sid: String::new(),
            pid: String::new(),
            rooms: Vec::new(),
            place: Place::Nowhere,
            since: EntryId::ZERO,
            got: Vec::new(),
        });
        let clients = clients.collect();
        let seed_of_nodes = rng.u64(..);
        let mut simulation = Simulation {
            rng,
            store: RedisModel::new(),
            millis: 0,
            nodes: Vec::new(),
            clients,
            copies: Vec::new(),
            late: seed.is_multiple_of(2),
            recovered: 0,
            refused: 0,
            paged: 0,
        };
        (0..NODES as u64).for_each(|number| simulation.start(seed_of_nodes.wrapping_add(number)));
        simulation
    }

    fn start(&mut self, seed: u64) {
        let recovery = Recovery {
            window_entries: self.rng.usize(0..30),
            page_entries: self.rng.u32(1..12),
            timeout: core::time::Duration::from_secs(3_600),
            ..Recovery::default()
        };
        let config = Config {
            recovery: Some(recovery),
            local_delivery: LocalDelivery::StreamOrder,
            read_count: self.rng.u32(1..20),
            ..Config::default()
        };
        let mut engine = Engine::new(config, seed, self.now()).unwrap();
        engine.open_namespace(self.now(), "/").unwrap();
        let (clients, replies, blocked) = Default::default();
        self.nodes.push(Node { engine, clients, replies, blocked, ready: false });
    }

    fn now(&self) -> Time {
        Time::from_millis(self.millis)
    }

    /// Takes one random step.
    fn step(&mut self) {
        let at = self.rng.usize(0..self.nodes.len());
        match self.rng.u8(0..100) {
            0..35 => drop(self.take_event(at)),
            35..55 => drop(self.hand_out(at)),
            55..75 => drop(self.deliver(at)),
            75..84 => self.publish(at),
            84..86 => self.publish_foreign(),
            86 => self.copy(),
            87 => {
                self.millis += self.rng.u64(0..50);
                self.wake();
            }
            88 if self.late && self.nodes.len() < 5 => {
                let seed = self.rng.u64(..);
                self.start(seed);
            }
            88..92 => self.come_and_go(at, true),
            _ => self.come_and_go(at, false),
        }
    }

    fn wake(&mut self) {
        let (wall, now) = (WALL + self.millis, self.now());
        self.store.handle_timeout(wall);
        self.wakeups();
        self.nodes.iter_mut().for_each(|node| node.engine.handle_timeout(now));
    }

    fn take_event(&mut self, at: usize) -> bool {
        let Some(event) = self.nodes[at].engine.poll_event() else { return false };
        match event {
            Event::Ready { .. } => self.nodes[at].ready = true,
            Event::Broadcast(delivery) => {
                let here = self.nodes[at].engine.rooms("/").unwrap().matching(&delivery.opts);
                for client in &mut self.clients {
                    if here.iter().any(|sid| **sid == client.sid) {
                        assert!(matches!(client.place, Place::At(node) if node == at), "it is not here");
                        client.got.extend(delivery.offset);
                    }
                }
            }
            Event::Restored(restored) => {
                let client = self.client_of(restored.ticket, at);
                client.got.extend(restored.missed.iter().map(|missed| missed.offset()));
                client.place = Place::At(at);
                assert_eq!(*restored.session.sid, *client.sid);
                self.recovered += 1;
            }
            Event::NotRecovered { ticket, reason } => {
                let client = self.client_of(ticket, at);
                // Nothing is trimmed and nothing fails, so the only reasons are those that the test
                // has caused.
                assert!(matches!(reason, NotRecovered::NoSession), "{reason}");
                client.place = Place::Nowhere;
                self.refused += 1;
            }
            _ => {}
        }
        true
    }

    fn client_of(&mut self, wanted: Ticket, at: usize) -> &mut Client {
        let is = |client: &&mut Client| matches!(client.place, Place::Between(node, ticket) if node == at && ticket == wanted);
        self.clients.iter_mut().find(is).unwrap()
    }

    fn hand_out(&mut self, at: usize) -> bool {
        let wall = WALL + self.millis;
        let node = &mut self.nodes[at];
        let Some((id, command)) = node.engine.poll_command() else { return false };
        self.paged += usize::from(matches!(command, Command::XRevRange { .. }));
        let lane = command.lane();
        let client = *node.clients.entry(lane.clone()).or_insert_with(|| self.store.connect());
        match self.store.execute(wall, client, &command) {
            Executed::Reply(reply) => node.replies.entry(lane).or_default().push_back((id, reply)),
            Executed::Blocked => drop(node.blocked.insert(client, (lane, id))),
        }
        self.wakeups();
        true
    }

    fn wakeups(&mut self) {
        while let Some((client, reply)) = self.store.poll_wakeup() {
            for node in &mut self.nodes {
                if let Some((lane, id)) = node.blocked.remove(&client) {
                    node.replies.entry(lane).or_default().push_back((id, reply.clone()));
                }
            }
        }
    }

    fn deliver(&mut self, at: usize) -> bool {
        let now = self.now();
        let node = &mut self.nodes[at];
        let full: Vec<Lane> = node
            .replies
            .iter()
            .filter(|(_, queue)| !queue.is_empty())
            .map(|(lane, _)| lane.clone())
            .collect();
        let Some(lane) = self.rng.choice(&full) else { return false };
        let (id, reply) = node.replies.get_mut(lane).unwrap().pop_front().unwrap();
        node.engine.handle_reply(now, id, reply);
        true
    }

    fn options(&mut self) -> BroadcastOptions {
        let mut opts = BroadcastOptions::all();
        for _ in 0..self.rng.usize(0..3) {
            opts = opts.and(*self.rng.choice(&ROOMS).unwrap());
        }
        if self.rng.u8(0..4) == 0 {
            opts = opts.except(*self.rng.choice(&ROOMS).unwrap());
        }
        if self.rng.u8(0..8) == 0 {
            opts = opts.volatile();
        }
        opts
    }

    fn publish(&mut self, at: usize) {
        let (opts, now) = (self.options(), self.now());
        let packet = Packet::event("event", &("x".repeat(self.rng.usize(0..50)),)).unwrap();
        if self.nodes[at].ready {
            self.nodes[at].engine.broadcast(now, "/", packet, opts).unwrap();
        }
    }

    /// Publishes an entry of a Node 0.2 peer, or one of another namespace.
    fn publish_foreign(&mut self) {
        let nsp = *self.rng.choice(&["/", "/", "/other"]).unwrap();
        let request = *self.rng.choice(&["", "", r#","requestId":"r""#]).unwrap();
        let (kind, data) = match self.rng.u8(0..5) {
            0 => ("3", "no data".to_owned()),
            1 => ("2", String::new()),
            _ => (
                "3",
                format!(
                    r#"{{"packet":{{"type":2,"data":["e"]}},"opts":{{"rooms":["r1"],"except":[],"flags":{{}}}}{request}}}"#
                ),
            ),
        };
        let fields = [("uid", "0123456789abcdef"), ("nsp", nsp), ("type", kind), ("data", &data)];
        let fields = fields.map(|(name, value)| (name, value.to_owned())).into_iter().collect();
        self.store.add_entry(WALL + self.millis, STREAM, fields).unwrap();
        self.wakeups();
    }

    /// Adds a copy of an entry: its first attempt, which is executed late, after the second.
    fn copy(&mut self) {
        // Only nodes that existed when the entry was first written can know that it is a copy.
        if self.late || !self.nodes.iter().all(|node| node.ready) {
            return;
        }
        let all = self.store.entries(STREAM).map(|entry| entry.fields.clone());
        let all: Vec<Fields> = all.filter(|fields| fields.get(SEQUENCE_FIELD).is_some()).collect();
        if let Some(fields) = self.rng.choice(&all) {
            self.copies.push(self.store.add_entry(WALL + self.millis, STREAM, fields.clone()).unwrap());
            self.wakeups();
        }
    }

    fn come_and_go(&mut self, at: usize, anew: bool) {
        let (who, now, random) = (self.rng.usize(0..CLIENTS), self.now(), self.rng.u64(..));
        let rooms: Vec<&str> = ROOMS.iter().copied().filter(|_| self.rng.bool()).collect();
        let client = &mut self.clients[who];
        match client.place {
            Place::Nowhere if self.nodes[at].ready => {
                let since = self.nodes[at].engine.lags().next().unwrap().1.position.unwrap();
                let (sid, pid) = (format!("sid{random}"), format!("pid{random}"));
                *client = Client { sid, pid, rooms, place: Place::At(at), since, got: Vec::new() };
                let engine = &mut self.nodes[at].engine;
                engine.add_socket("/", client.sid.clone()).unwrap();
                engine.join("/", &client.sid, client.rooms.iter().map(|room| (*room).into())).unwrap();
            }
            Place::At(node) if !client.got.is_empty() => {
                let rooms = client.rooms.iter().map(|room| (*room).into());
                let rooms = rooms.chain([client.sid.clone().into()]).collect();
                let (sid, pid) = (client.sid.clone().into(), client.pid.clone().into());
                let session = Session { sid, pid, rooms, data: Payload::null() };
                let engine = &mut self.nodes[node].engine;
                engine.remove_socket("/", &client.sid).unwrap();
                engine.persist_session(now, "/", &session).unwrap();
                client.place = Place::Away;
            }
            Place::Away if anew => client.place = Place::Nowhere,
            Place::Away if self.nodes[at].ready => {
                let offset = client.got.last().unwrap().to_string();
                // A client waits until its session is stored. An attempt that comes earlier fails,
                // as it may.
                let ticket = self.nodes[at].engine.restore_session(now, "/", &client.pid, &offset).unwrap();
                client.place = Place::Between(at, ticket);
            }
            _ => {}
        }
    }

    /// Runs until nothing is left to do.
    fn settle(&mut self) {
        loop {
            let mut busy = false;
            for at in 0..self.nodes.len() {
                while self.take_event(at) || self.hand_out(at) || self.deliver(at) {
                    busy = true;
                }
            }
            if !busy {
                return;
            }
        }
    }

    /// Returns the entries that a client must have got: all those for it since its socket exists,
    /// once each, in order.
    fn check(&self) {
        for client in &self.clients {
            // The client's part ends where it was when it went away or began anew.
            let until = match client.place {
                Place::At(_) => EntryId { ms: u64::MAX, seq: 0 },
                _ => client.got.last().copied().unwrap_or_default(),
            };
            let expected: Vec<EntryId> = self
                .store
                .entries(STREAM)
                .filter(|entry| {
                    entry.id > client.since && entry.id <= until && !self.copies.contains(&entry.id)
                })
                .filter(|entry| is_for(&entry.fields, client))
                .map(|entry| entry.id)
                .collect();
            assert_eq!(client.got, expected, "{} in {:?}", client.sid, client.rooms);
        }
    }
}

/// Returns `true` if the entry is for the client. It reads the data without the crate's decoder, so
/// that it does not repeat a fault of it.
fn is_for(fields: &Fields, client: &Client) -> bool {
    let text = |name: &str| fields.get(name).map(|value| String::from_utf8(value.to_vec()).unwrap());
    if text("nsp").as_deref() != Some("/") || text("type").as_deref() != Some("3") {
        return false;
    }
    let Some(data) = text("data").and_then(|data| serde_json::from_str::<serde_json::Value>(&data).ok())
    else {
        return false;
    };
    let among = |list: &serde_json::Value| {
        list.as_array().unwrap().iter().any(|room| client.rooms.iter().any(|own| room == own))
    };
    let opts = &data["opts"];
    data.get("requestId").is_none()
        && opts["flags"].get("volatile").is_none()
        && (opts["rooms"].as_array().unwrap().is_empty() || among(&opts["rooms"]))
        && !among(&opts["except"])
}

#[test]
fn clients_get_everything_once_and_in_order() {
    let first = std::env::var("SIO_STREAMS_SEED").ok().and_then(|seed| seed.parse().ok());
    let runs = if first.is_some() { 1 } else { RUNS };
    let first = first.unwrap_or_else(|| fastrand::u64(..));
    let (mut recovered, mut paged, mut copied) = (0, 0, 0);
    for seed in (0..runs).map(|run| first.wrapping_add(run)) {
        println!("SIO_STREAMS_SEED={seed}");
        let mut simulation = Simulation::new(seed);
        simulation.settle();
        for _ in 0..STEPS {
            simulation.step();
        }
        simulation.settle();
        simulation.check();
        recovered += simulation.recovered;
        paged += simulation.paged;
        copied += simulation.copies.len();
    }
    println!("{recovered} recovered, {paged} pages, {copied} copies");
    // The test has covered each case at least once.
    assert!(
        runs == 1 || (recovered > 500 && paged > 100 && copied > 100),
        "{recovered} recovered, {paged} pages, {copied} copies"
    );
}
