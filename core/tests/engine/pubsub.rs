//! The dialects without streams, and the older adapters' calls in all dialects.

use sio_streams_core::{
    Answer, BroadcastOptions, Bytes, CallError, Codec, Command, CommandError, Config, Dialect, Emitter,
    Engine, Event, Lane, LocalDelivery, Outcome, Payload, PayloadCodec, Reply, SubscriptionMode, Ticket,
    Time,
};

use crate::world::{World, config, packet, sockets};

const ALL: [Dialect; 5] =
    [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Sharded, Dialect::Classic];

/// The same scenarios must hold in each of these.
fn without_streams() -> Vec<Config> {
    let sharded = |subscription_mode| Config { subscription_mode, ..config(Dialect::Sharded) };
    vec![
        sharded(SubscriptionMode::Static),
        sharded(SubscriptionMode::Dynamic),
        sharded(SubscriptionMode::DynamicPrivate),
        config(Dialect::Classic),
        Config { publish_on_specific_response_channel: true, ..config(Dialect::Classic) },
        Config { parser: Some(PayloadCodec::new(Reversed)), ..config(Dialect::Classic) },
    ]
}

#[derive(Debug)]
struct Reversed;

impl Codec for Reversed {
    fn encode(&self, packed: Bytes) -> Bytes {
        packed.iter().rev().copied().collect::<Vec<u8>>().into()
    }

    fn decode(&self, payload: &Bytes) -> Result<Bytes, String> {
        Ok(self.encode(payload.clone()))
    }
}

/// Three nodes, each with its socket; the first two are in `room`.
fn three(config: &Config) -> World {
    let mut world = World::with_configs([config.clone(), config.clone(), config.clone()]);
    for index in 0..3 {
        world.open(index, "/");
    }
    for index in 0..2 {
        world.nodes[index].engine.join("/", &format!("s{index}"), ["room".into()]).unwrap();
    }
    world.settle();
    world
}

/// Whose sockets the text reached.
fn reached(world: &mut World, text: &str) -> Vec<usize> {
    let mut reached = Vec::new();
    for index in 0..world.nodes.len() {
        while let Some(Event::Broadcast(delivery)) =
            world.take(index, |event| matches!(event, Event::Broadcast(_)))
        {
            assert_eq!(delivery.packet.data.decode::<(String, String)>().unwrap().1, text);
            assert_eq!(delivery.offset, None, "there is no stream to recover from");
            if !world.nodes[index].engine.rooms("/").unwrap().matching(&delivery.opts).is_empty() {
                reached.push(index);
            }
        }
    }
    reached
}

#[test]
fn broadcasts_reach_whom_they_are_for() {
    for config in without_streams() {
        let mut world = three(&config);
        let all = BroadcastOptions::all;
        let cases = [
            (all(), vec![0, 1, 2]),
            (BroadcastOptions::to("room"), vec![0, 1]),
            (BroadcastOptions::to("s2"), vec![2]),
            (BroadcastOptions::to("room").and("s2"), vec![0, 1, 2]),
            (BroadcastOptions::to("nobody"), vec![]),
            (all().except("room"), vec![2]),
            (all().local(), vec![0]),
        ];
        for (opts, expected) in cases {
            world.broadcast_to(0, "text", opts.clone());
            world.settle();
            assert_eq!(reached(&mut world, "text"), expected, "{config:?} {opts:?}");
        }
        let now = world.now();
        let binary = Payload::from_msgpack(vec![0x92, 0xa1, b'e', 0xc4, 1, 7]).unwrap();
        let binary = sio_streams_core::Packet::new(binary).unwrap();
        world.nodes[1].engine.broadcast(now, "/", binary.clone(), all()).unwrap();
        world.settle();
        for index in 0..3 {
            let got = world.take(index, |event| matches!(event, Event::Broadcast(_)));
            assert!(matches!(got, Some(Event::Broadcast(delivery)) if delivery.packet.data == binary.data));
        }
    }
}

#[test]
fn rooms_that_come_and_go_are_heard_while_they_are_there() {
    for config in without_streams() {
        let mut world = three(&config);
        let now = world.now();
        let opts = || BroadcastOptions::to("s2");
        world.nodes[0].engine.sockets_join(now, "/", opts(), vec!["late".into()]).unwrap();
        world.settle();
        world.broadcast_to(0, "text", BroadcastOptions::to("late"));
        world.settle();
        assert_eq!(reached(&mut world, "text"), [2], "{config:?}");
        world.nodes[0].engine.sockets_leave(now, "/", opts(), vec!["late".into()]).unwrap();
        world.settle();
        world.broadcast_to(0, "text", BroadcastOptions::to("late"));
        world.settle();
        assert_eq!(reached(&mut world, "text"), Vec::<usize>::new());
        world.nodes[1].engine.disconnect_sockets(now, "/", BroadcastOptions::all(), true).unwrap();
        world.settle();
        for index in 0..3 {
            let told = world.take(index, |event| matches!(event, Event::DisconnectSockets { .. }));
            assert!(
                matches!(told, Some(Event::DisconnectSockets { sockets, close: true, .. }) if sockets.len() == 1)
            );
        }
    }
}

#[test]
fn requests_are_answered_by_all_and_by_those_who_are_there() {
    for config in without_streams() {
        let mut world = three(&config);
        assert_eq!(world.count(1), 3, "{config:?}");
        let now = world.now();
        let ticket = world.nodes[0].engine.fetch_sockets(now, "/", BroadcastOptions::all()).unwrap();
        world.settle();
        let (answers, outcome) = world.outcome(0, ticket).unwrap();
        assert_eq!(sockets(&answers), ["s0", "s1", "s2"]);
        assert!(outcome.is_complete(), "{outcome:?}");
        assert_eq!(outcome.answered.len() as u64 + outcome.answered_unnamed, 3);

        let ask = Payload::event("who", &()).unwrap();
        let ticket = world.nodes[1].engine.server_side_emit_with_ack(now, "/", ask.clone()).unwrap();
        world.settle();
        let (answers, outcome) = world.outcome(1, ticket).unwrap();
        assert!(outcome.is_complete() && answers.len() == 2, "{outcome:?}");
        world.nodes[1].engine.server_side_emit(now, "/", ask).unwrap();
        world.settle();
        for index in [0, 2] {
            let heard = world.take(index, |event| matches!(event, Event::ServerSideEmit { .. }));
            assert!(matches!(heard, Some(Event::ServerSideEmit { responder: None, .. })));
        }

        let all = BroadcastOptions::all();
        let ticket = world.nodes[2].engine.broadcast_with_ack(now, "/", packet("ack"), all).unwrap();
        world.settle();
        let (answers, outcome) = world.outcome(2, ticket).unwrap();
        assert_eq!((outcome.clients, outcome.acks), (3, 3));
        assert!(outcome.is_complete() && answers.len() == 6, "{outcome:?} {answers:?}");

        world.nodes[1].answers = false;
        let ticket = world.nodes[0].engine.fetch_sockets(now, "/", BroadcastOptions::all()).unwrap();
        world.pass(6_000);
        let (answers, outcome) = world.outcome(0, ticket).unwrap();
        assert_eq!(sockets(&answers), ["s0", "s2"]);
        assert!(outcome.timed_out && !outcome.is_complete());
        assert_eq!(outcome.missing.len() as u64 + outcome.missing_unnamed, 1);
    }
}

/// What became of an order.
fn obeyed(world: &mut World, index: usize, wanted: Ticket) -> (bool, Outcome) {
    let (answers, outcome) = world.outcome(index, wanted).expect("it ends");
    (answers.contains(&Answer::Done), outcome)
}

#[test]
fn the_older_calls_work_in_every_dialect() {
    for dialect in ALL {
        let mut world = three(&config(dialect));
        let now = world.now();
        let names = |answers: Vec<Answer>| {
            let names = answers.into_iter().flat_map(|answer| match answer {
                Answer::SocketIds(names) | Answer::Rooms(names) => names,
                other => panic!("{other:?}"),
            });
            names.map(|name| name.to_string()).collect::<std::collections::BTreeSet<_>>()
        };
        for (rooms, expected) in [(vec![], vec!["s0", "s1", "s2"]), (vec!["room".into()], vec!["s0", "s1"])] {
            let ticket = world.nodes[2].engine.sockets(now, "/", rooms).unwrap();
            world.settle();
            let (answers, outcome) = world.outcome(2, ticket).unwrap();
            assert!(outcome.is_complete(), "{dialect:?} {outcome:?}");
            assert!(names(answers).iter().eq(expected.iter()), "{dialect:?}");
        }
        let ticket = world.nodes[2].engine.all_rooms(now, "/").unwrap();
        world.settle();
        let (answers, outcome) = world.outcome(2, ticket).unwrap();
        assert!(outcome.is_complete(), "{dialect:?} {outcome:?}");
        assert!(names(answers).iter().eq(["room", "s0", "s1", "s2"].iter()), "{dialect:?}");

        // The socket is elsewhere, here, nowhere.
        for (socket, at) in [("s1", Some(1)), ("s0", Some(0)), ("nobody", None)] {
            let rooms = |world: &World| {
                at.map(|at: usize| world.nodes[at].engine.rooms("/").unwrap().of(socket).unwrap())
                    .is_some_and(|rooms| rooms.contains(&"new".into()))
            };
            let now = world.now();
            let ticket = world.nodes[0].engine.remote_join(now, "/", socket, "new").unwrap();
            world.pass(6_000);
            let (done, _) = obeyed(&mut world, 0, ticket);
            assert_eq!((done, rooms(&world)), (at.is_some(), at.is_some()), "{dialect:?} {socket}");
            let now = world.now();
            let ticket = world.nodes[0].engine.remote_leave(now, "/", socket, "new").unwrap();
            world.pass(6_000);
            assert_eq!(obeyed(&mut world, 0, ticket).0, at.is_some(), "{dialect:?} {socket}");
            assert!(!rooms(&world));
            let now = world.now();
            let ticket = world.nodes[0].engine.remote_disconnect(now, "/", socket, true).unwrap();
            world.pass(6_000);
            assert_eq!(obeyed(&mut world, 0, ticket).0, at.is_some(), "{dialect:?} {socket}");
            if let Some(at) = at {
                let told = |event: &Event| matches!(event, Event::DisconnectSockets { sockets, close: true, .. } if sockets == &[socket]);
                assert!(world.take(at, told).is_some(), "{dialect:?}");
            }
        }
    }
}

#[test]
fn what_is_sent_while_a_link_is_down_is_lost_and_the_link_is_reported() {
    for config in without_streams() {
        let mut world = three(&config);
        world.cut(1, &Lane::Subscriber);
        world.broadcast_to(0, "lost", BroadcastOptions::to("room"));
        world.settle();
        assert_eq!(reached(&mut world, "lost"), [0]);
        let down = |event: &Event| matches!(event, Event::Link { lane: Lane::Subscriber, up: false });
        assert!(world.take(1, down).is_some());
        world.mend(1, &Lane::Subscriber);
        world.broadcast_to(0, "text", BroadcastOptions::to("room"));
        world.settle();
        assert_eq!(reached(&mut world, "text"), [0, 1], "{config:?}");

        // What waits for the writer keeps its order.
        world.cut(0, &Lane::Writer);
        for text in ["1", "2", "3"] {
            world.broadcast(0, text);
        }
        world.mend(0, &Lane::Writer);
        assert_eq!(world.heard(2), ["1", "2", "3"]);
    }
}

/// A reply may lie behind the loss of its link, or even behind the next connection. What it says is not true there.
#[test]
fn a_subscription_whose_link_is_lost_is_made_again_whatever_its_reply_says() {
    let lost = || CommandError::Lost("cut".into());
    for dialect in [Dialect::Streams03, Dialect::Bridge, Dialect::Sharded, Dialect::Classic] {
        for (reply, after_the_next) in
            [(Ok(Reply::Done), false), (Ok(Reply::Done), true), (Err(lost()), false), (Err(lost()), true)]
        {
            let now = Time::from_millis(1);
            let mut engine = Engine::new(config(dialect), 1, now).unwrap();
            engine.open_namespace(now, "/").unwrap();
            let subscriptions = |engine: &mut Engine| {
                let commands = core::iter::from_fn(|| engine.poll_command());
                Vec::from_iter(commands.filter(|(_, command)| command.lane() == Lane::Subscriber))
            };
            // The patterns come first, and then the channels.
            let mut asked = subscriptions(&mut engine);
            if dialect == Dialect::Classic {
                let (id, _) = asked.pop().unwrap();
                engine.handle_reply(now, id, Ok(Reply::Done));
                asked = subscriptions(&mut engine);
            }
            let (id, _) = asked.pop().unwrap();
            engine.handle_link(now, &Lane::Subscriber, false);
            if !after_the_next {
                engine.handle_reply(now, id, reply.clone());
            }
            engine.handle_link(now, &Lane::Subscriber, true);
            if after_the_next {
                engine.handle_reply(now, id, reply.clone());
            }
            let again = subscriptions(&mut engine);
            assert_eq!(again.len(), 1, "{dialect:?}, {reply:?}, {after_the_next}: {again:?}");
            let ready = |event: &Event| matches!(event, Event::Ready { .. });
            assert!(!core::iter::from_fn(|| engine.poll_event()).any(|event| ready(&event)));
        }
    }
}

#[test]
fn a_node_that_leaves_is_not_counted_and_hears_nothing() {
    for config in without_streams() {
        let mut world = three(&config);
        let now = world.now();
        world.nodes[1].engine.close(now);
        world.settle();
        assert!(world.take(1, |event| matches!(event, Event::Closed { .. })).is_some());
        assert_eq!(world.count(0), 2, "{config:?}");
        world.broadcast_to(0, "text", BroadcastOptions::to("room"));
        world.settle();
        assert_eq!(world.heard(1), Vec::<String>::new());
    }
}

/// How many hear a sharded channel, by the server's word.
fn subscribers(world: &mut World, channel: &str) -> u64 {
    let client = world.store.connect();
    let count = Command::PubSubNumSub { channels: vec![channel.into()], sharded: true };
    match world.store.execute(1_700_000_000_000 + world.millis, client, &count) {
        sio_streams_redis_model::Executed::Reply(Ok(Reply::Counts(counts))) => counts[0],
        other => panic!("{other:?}"),
    }
}

/// The server refuses to end a subscription: without another try the node would hear, and be counted, as long as its connection lasts.
#[test]
fn what_is_left_while_redis_refuses_is_left_afterwards() {
    let mut world = three(&config(Dialect::Sharded));
    let busy = CommandError::Server { code: "BUSY".into(), message: "a script runs".into() };
    let (room, common) = ("socket.io#/#room#", "socket.io#/#");
    assert_eq!((subscribers(&mut world, room), subscribers(&mut world, common)), (2, 3));
    world.store.refuse_with(Some(busy.clone()));
    world.nodes[1].engine.leave("/", "s1", ["room"]).unwrap();
    world.settle();
    world.store.refuse_with(None);
    world.pass(1_000);
    assert_eq!(subscribers(&mut world, room), 1);

    // Somebody joins again before the next try.
    world.nodes[1].engine.join("/", "s1", ["room".into()]).unwrap();
    world.settle();
    world.store.refuse_with(Some(busy.clone()));
    world.nodes[1].engine.leave("/", "s1", ["room"]).unwrap();
    world.settle();
    world.store.refuse_with(None);
    world.nodes[1].engine.join("/", "s1", ["room".into()]).unwrap();
    world.pass(1_000);
    assert_eq!(subscribers(&mut world, room), 2);

    // All is left.
    world.store.refuse_with(Some(busy));
    let now = world.now();
    world.nodes[1].engine.close(now);
    world.settle();
    assert!(world.take(1, |event| matches!(event, Event::Closed { .. })).is_none());
    world.store.refuse_with(None);
    world.pass(1_000);
    assert!(world.take(1, |event| matches!(event, Event::Closed { .. })).is_some());
    assert_eq!((subscribers(&mut world, room), subscribers(&mut world, common)), (1, 2));
}

#[test]
fn an_emitter_is_heard_in_every_dialect_and_counted_in_none() {
    for dialect in ALL {
        let mut world = three(&config(dialect));
        let emitter = Emitter::new(config(dialect)).unwrap();
        let client = world.store.connect();
        let say = |world: &mut World, command| {
            let wall = 1_700_000_000_000 + world.millis;
            let executed = world.store.execute(wall, client, &command);
            assert!(matches!(executed, sio_streams_redis_model::Executed::Reply(Ok(_))));
            world.settle();
        };
        let all = BroadcastOptions::all;
        say(&mut world, emitter.broadcast("/", packet("text"), BroadcastOptions::to("room")).unwrap());
        for index in 0..3 {
            let heard = world.heard(index);
            // Who has nobody in the room need not hear it.
            assert!(heard == ["text"] || index == 2 && heard.is_empty(), "{dialect:?} {index} {heard:?}");
        }
        say(&mut world, emitter.sockets_join("/", BroadcastOptions::to("s2"), vec!["room".into()]).unwrap());
        assert!(world.nodes[2].engine.rooms("/").unwrap().of("s2").unwrap().contains(&"room".into()));
        say(&mut world, emitter.sockets_leave("/", all(), vec!["room".into()]).unwrap());
        assert!(!world.nodes[0].engine.rooms("/").unwrap().has_room("room"));
        say(&mut world, emitter.server_side_emit("/", Payload::event("hi", &(1,)).unwrap()).unwrap());
        say(&mut world, emitter.disconnect_sockets("/", all(), true).unwrap());
        for index in 0..3 {
            assert!(
                world.take(index, |event| matches!(event, Event::ServerSideEmit { .. })).is_some(),
                "{dialect:?}"
            );
            assert!(world.take(index, |event| matches!(event, Event::DisconnectSockets { .. })).is_some());
            assert!(
                world
                    .take(index, |event| matches!(event, Event::NodeUp { node, .. } if node.is_emitter()))
                    .is_none()
            );
        }
        assert_eq!(world.count(0), 3, "{dialect:?}");
    }
}

#[test]
fn what_can_not_be_is_refused() {
    let wrong = Config { local_delivery: LocalDelivery::StreamOrder, ..config(Dialect::Classic) };
    assert!(wrong.validate().unwrap_err().to_string().starts_with("local_delivery"));

    let mut world = three(&config(Dialect::Classic));
    let now = world.now();
    let engine = &mut world.nodes[0].engine;
    engine.open_namespace(now, "/a#b").unwrap();
    assert!(matches!(engine.open_namespace(now, "/a"), Err(CallError::Overlap(..))));
    engine.open_namespace(now, "/ab").unwrap();
}
