//! Orders of another server cross what the application does to its own sockets: 300 of them, under an
//! application that owns the rooms. With two owners of the rooms, a third of the sockets would be in
//! different rooms for ever.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::collections::BTreeSet;
use std::time::Duration;

use sio_streams_core::{
    Answer, BroadcastOptions, ByteString, Config, Dialect, Event, Payload, RemoteSocket, RoomChange,
    RoomOwner, Rooms, SubscriptionMode,
};
use sio_streams_sim::{App, Fault, Hand, HostOptions, Lanes, Network, World};

const SOCKETS: usize = 300;

const DIALECTS: [Dialect; 5] =
    [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Sharded, Dialect::Classic];

/// An application with maps of its own. It answers what it is asked, and keeps what it is told.
struct Owner {
    rooms: Rooms,
    /// The rooms whose broadcasts reached a socket.
    reached: BTreeSet<ByteString>,
    /// The sockets of all answers that have come.
    answers: Vec<RemoteSocket>,
    done: bool,
}

impl Owner {
    fn new() -> Self {
        let rooms = Rooms::new([3; 16]);
        Owner { rooms, reached: BTreeSet::new(), answers: Vec::new(), done: false }
    }
}

/// Tells the engine which rooms have got their first socket, or lost their last one.
fn tell(node: &mut Hand<'_>, changes: Vec<RoomChange>) {
    for (room, occupied) in changes.iter().filter_map(RoomChange::occupancy) {
        node.engine.set_rooms_occupied("/", [room.clone()], occupied).unwrap();
    }
}

impl App for Owner {
    fn event(&mut self, node: &mut Hand<'_>, event: Event) {
        match event {
            Event::SocketsJoin(moved) => tell(node, self.rooms.join_matching(&moved.opts, &moved.rooms)),
            Event::SocketsLeave(moved) => tell(node, self.rooms.leave_matching(&moved.opts, &moved.rooms)),
            Event::Broadcast(delivery) if !self.rooms.matching(&delivery.opts).is_empty() => {
                self.reached.extend(delivery.opts.rooms);
            }
            Event::FetchSockets { opts, responder, .. } => {
                let socket = |id: ByteString| RemoteSocket {
                    rooms: self.rooms.of(&id).unwrap(),
                    id,
                    handshake: Payload::empty_object(),
                    data: Payload::empty_object(),
                };
                let sockets = self.rooms.matching(&opts).into_iter().map(socket).collect();
                node.engine.respond_sockets_in_rooms(node.now, responder, sockets).unwrap();
            }
            Event::Answer { answer: Answer::Sockets(sockets), .. } => self.answers.extend(sockets),
            Event::RequestDone { outcome, .. } => self.done = outcome.is_complete(),
            _ => {}
        }
    }

    fn reborn(&self) -> Self {
        Owner::new()
    }
}

fn socket(index: usize) -> ByteString {
    format!("socket{index}").into()
}

fn room(index: usize) -> ByteString {
    format!("room{index}").into()
}

/// Lets orders of node 0 cross what node 1 does itself. Returns the number of sockets for which the
/// order came last.
fn cross(dialect: Dialect, seed: u64) -> usize {
    let mut world = World::new(seed, Network::default());
    let config = Config {
        dialect,
        room_owner: RoomOwner::Application,
        subscription_mode: SubscriptionMode::DynamicPrivate,
        ..Config::default()
    };
    for _ in 0..2 {
        let host = world.add_node(config.clone(), HostOptions::default(), Owner::new()).unwrap();
        world.open(host, "/", &[]).unwrap();
    }
    world.run_for(Duration::from_secs(1));
    // The sockets with even numbers begin in their rooms.
    world.call(1, |node| {
        let (app, mut hand) = node.parts();
        for index in 0..SOCKETS {
            tell(&mut hand, app.rooms.add(socket(index)));
            if index % 2 == 0 {
                tell(&mut hand, app.rooms.join(&socket(index), [room(index)]));
            }
        }
    });
    world.run_for(Duration::from_secs(2));
    // In the middle of it, a connection is lost where that loses no order.
    let lanes = match dialect {
        Dialect::Streams02 | Dialect::Streams03 | Dialect::Bridge => Lanes::Readers,
        Dialect::Sharded | Dialect::Classic => Lanes::Writer,
    };
    for index in 0..SOCKETS {
        let leaves = index % 2 == 0;
        if index == SOCKETS / 2 {
            let (executed, late, lasts) = (0, Duration::ZERO, Duration::from_millis(40));
            let host = usize::from(lanes == Lanes::Readers);
            world.inflict(&Fault::Cut { host, lanes, executed, late, lasts });
        }
        world.call(0, |node| {
            let opts = BroadcastOptions::to(socket(index));
            let rooms = vec![room(index)];
            match leaves {
                true => node.engine.sockets_leave(node.now, "/", opts, rooms),
                false => node.engine.sockets_join(node.now, "/", opts, rooms),
            }
            .unwrap();
        });
        world.run_for(Duration::from_micros((index as u64 * 37) % 150 * 100));
        // Its application does the opposite.
        world.call(1, |node| {
            let (app, mut hand) = node.parts();
            let changes = match leaves {
                true => app.rooms.join(&socket(index), [room(index)]),
                false => app.rooms.leave(&socket(index), [room(index)]),
            };
            tell(&mut hand, changes);
        });
    }
    world.run_for(Duration::from_secs(10));

    // What the others see is how it is.
    let rooms = &world.app(1).unwrap().rooms;
    let is: BTreeSet<_> = (0..SOCKETS).map(|index| rooms.of(&socket(index)).unwrap()).collect();
    let occupied: BTreeSet<ByteString> = (0..SOCKETS).map(room).filter(|room| rooms.has_room(room)).collect();
    world.call(0, |node| node.engine.fetch_sockets(node.now, "/", BroadcastOptions::all()).unwrap());
    world.run_for(Duration::from_secs(2));
    let asker = world.app(0).unwrap();
    assert!(asker.done && asker.answers.len() == SOCKETS, "{dialect:?}");
    assert_eq!(asker.answers.iter().map(|socket| socket.rooms.clone()).collect::<BTreeSet<_>>(), is);
    for index in 0..SOCKETS {
        world.call(0, |node| {
            let packet = sio_streams_core::Packet::event("hello", &(index,)).unwrap();
            node.engine.broadcast(node.now, "/", packet, BroadcastOptions::to(room(index))).unwrap();
        });
        world.run_for(Duration::from_millis(1));
    }
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.app(1).unwrap().reached, occupied, "{dialect:?}");
    (0..SOCKETS).filter(|index| occupied.contains(&room(*index)) == (index % 2 == 1)).count()
}

#[test]
fn an_order_that_crosses_a_local_change_leaves_one_truth() {
    for dialect in DIALECTS {
        for seed in 0..4 {
            let last = cross(dialect, seed);
            assert!((1..SOCKETS).contains(&last), "nothing crossed in {dialect:?}: {last} of {SOCKETS}");
        }
    }
}
