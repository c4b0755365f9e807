//! Tests of the dialects without streams, and of the older adapters' calls in all dialects.

use sio_streams_core::{
    Answer, BroadcastOptions, Bytes, CallError, Codec, Command, CommandError, Config, Dialect, Emitter,
    Engine, Event, Lane, LinkState, LocalDelivery, Outcome, Payload, PayloadCodec, Reply, SubscriptionMode,
    Ticket, Time,
};

use crate::cluster::{Cluster, config, packet, sockets};

const ALL: [Dialect; 5] =
    [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Sharded, Dialect::Classic];

/// Returns the configurations without streams. The same scenarios must hold in each of them.
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
    fn encode(&self, msgpack: Bytes) -> Bytes {
        msgpack.iter().rev().copied().collect::<Vec<u8>>().into()
    }

    fn decode(&self, payload: &Bytes) -> Result<Bytes, String> {
        Ok(self.encode(payload.clone()))
    }
}

/// Creates three nodes, each with its socket. The first two are in `room`.
fn three(config: &Config) -> Cluster {
    let mut cluster = Cluster::with_configs([config.clone(), config.clone(), config.clone()]);
    for index in 0..3 {
        cluster.open(index, "/");
    }
    for index in 0..2 {
        cluster.nodes[index].engine.join("/", &format!("s{index}"), ["room".into()]).unwrap();
    }
    cluster.settle();
    cluster
}

/// Returns the nodes whose sockets the text reached.
fn reached(cluster: &mut Cluster, text: &str) -> Vec<usize> {
    let mut reached = Vec::new();
    for index in 0..cluster.nodes.len() {
        while let Some(Event::Broadcast(delivery)) =
            cluster.take(index, |event| matches!(event, Event::Broadcast(_)))
        {
            assert_eq!(delivery.packet.data().decode::<(String, String)>().unwrap().1, text);
            assert_eq!(delivery.offset, None, "there is no stream to recover from");
            if !cluster.nodes[index].engine.rooms("/").unwrap().matching(&delivery.opts).is_empty() {
                reached.push(index);
            }
        }
    }
    reached
}

#[test]
fn broadcasts_reach_whom_they_are_for() {
    for config in without_streams() {
        let mut cluster = three(&config);
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
            cluster.broadcast_to(0, "text", opts.clone());
            cluster.settle();
            assert_eq!(reached(&mut cluster, "text"), expected, "{config:?} {opts:?}");
        }
        let now = cluster.now();
        let binary = Payload::from_msgpack(vec![0x92, 0xa1, b'e', 0xc4, 1, 7]).unwrap();
        let binary = sio_streams_core::Packet::new(binary).unwrap();
        cluster.nodes[1].engine.broadcast(now, "/", binary.clone(), all()).unwrap();
        cluster.settle();
        for index in 0..3 {
            let got = cluster.take(index, |event| matches!(event, Event::Broadcast(_)));
            assert!(
                matches!(got, Some(Event::Broadcast(delivery)) if delivery.packet.data() == binary.data())
            );
        }
    }
}

#[test]
fn rooms_that_come_and_go_are_heard_while_they_are_there() {
    for config in without_streams() {
        let mut cluster = three(&config);
        let now = cluster.now();
        let opts = || BroadcastOptions::to("s2");
        cluster.nodes[0].engine.sockets_join(now, "/", opts(), vec!["late".into()]).unwrap();
        cluster.settle();
        cluster.broadcast_to(0, "text", BroadcastOptions::to("late"));
        cluster.settle();
        assert_eq!(reached(&mut cluster, "text"), [2], "{config:?}");
        cluster.nodes[0].engine.sockets_leave(now, "/", opts(), vec!["late".into()]).unwrap();
        cluster.settle();
        cluster.broadcast_to(0, "text", BroadcastOptions::to("late"));
        cluster.settle();
        assert_eq!(reached(&mut cluster, "text"), Vec::<usize>::new());
        cluster.nodes[1].engine.disconnect_sockets(now, "/", BroadcastOptions::all(), true).unwrap();
        cluster.settle();
        for index in 0..3 {
            let told = cluster.take(index, |event| matches!(event, Event::DisconnectSockets { .. }));
            assert!(
                matches!(told, Some(Event::DisconnectSockets { sockets, close: true, .. }) if sockets.len() == 1)
            );
        }
    }
}

#[test]
fn requests_are_answered_by_all_and_by_those_who_are_there() {
    for config in without_streams() {
        let mut cluster = three(&config);
        assert_eq!(cluster.count(1), 3, "{config:?}");
        let now = cluster.now();
        let ticket = cluster.nodes[0].engine.fetch_sockets(now, "/", BroadcastOptions::all()).unwrap();
        cluster.settle();
        let (answers, outcome) = cluster.outcome(0, ticket).unwrap();
        assert_eq!(sockets(&answers), ["s0", "s1", "s2"]);
        assert!(outcome.is_complete(), "{outcome:?}");
        assert_eq!(outcome.answered.len() as u64 + outcome.answered_unnamed, 3);

        let ask = Payload::event("who", &()).unwrap();
        let ticket = cluster.nodes[1].engine.server_side_emit_with_ack(now, "/", ask.clone()).unwrap();
        cluster.settle();
        let (answers, outcome) = cluster.outcome(1, ticket).unwrap();
        assert!(outcome.is_complete() && answers.len() == 2, "{outcome:?}");
        cluster.nodes[1].engine.server_side_emit(now, "/", ask).unwrap();
        cluster.settle();
        for index in [0, 2] {
            let heard = cluster.take(index, |event| matches!(event, Event::ServerSideEmit { .. }));
            assert!(matches!(heard, Some(Event::ServerSideEmit { responder: None, .. })));
        }

        let all = BroadcastOptions::all();
        let ticket = cluster.nodes[2].engine.broadcast_with_ack(now, "/", packet("ack"), all).unwrap();
        cluster.settle();
        let (answers, outcome) = cluster.outcome(2, ticket).unwrap();
        assert_eq!((outcome.clients, outcome.acks), (3, 3));
        assert!(outcome.is_complete() && answers.len() == 6, "{outcome:?} {answers:?}");

        cluster.nodes[1].answers = false;
        let ticket = cluster.nodes[0].engine.fetch_sockets(now, "/", BroadcastOptions::all()).unwrap();
        cluster.pass(6_000);
        let (answers, outcome) = cluster.outcome(0, ticket).unwrap();
        assert_eq!(sockets(&answers), ["s0", "s2"]);
        assert!(outcome.timed_out && !outcome.is_complete());
        assert_eq!(outcome.missing.len() as u64 + outcome.missing_unnamed, 1);
    }
}

/// Returns the result of an order.
fn obeyed(cluster: &mut Cluster, index: usize, wanted: Ticket) -> (bool, Outcome) {
    let (answers, outcome) = cluster.outcome(index, wanted).expect("it ends");
    (answers.contains(&Answer::Done), outcome)
}

#[test]
fn the_older_calls_work_in_every_dialect() {
    for dialect in ALL {
        let mut cluster = three(&config(dialect));
        let now = cluster.now();
        let names = |answers: Vec<Answer>| {
            let names = answers.into_iter().flat_map(|answer| match answer {
                Answer::SocketIds(names) | Answer::Rooms(names) => names,
                other => panic!("{other:?}"),
            });
            names.map(|name| name.to_string()).collect::<std::collections::BTreeSet<_>>()
        };
        for (rooms, expected) in [(vec![], vec!["s0", "s1", "s2"]), (vec!["room".into()], vec!["s0", "s1"])] {
            let ticket = cluster.nodes[2].engine.sockets(now, "/", rooms).unwrap();
            cluster.settle();
            let (answers, outcome) = cluster.outcome(2, ticket).unwrap();
            assert!(outcome.is_complete(), "{dialect:?} {outcome:?}");
            assert!(names(answers).iter().eq(expected.iter()), "{dialect:?}");
        }
        let ticket = cluster.nodes[2].engine.all_rooms(now, "/").unwrap();
        cluster.settle();
        let (answers, outcome) = cluster.outcome(2, ticket).unwrap();
        assert!(outcome.is_complete(), "{dialect:?} {outcome:?}");
        assert!(names(answers).iter().eq(["room", "s0", "s1", "s2"].iter()), "{dialect:?}");

        // The socket is on another node, on this one, and on none.
        for (socket, at) in [("s1", Some(1)), ("s0", Some(0)), ("nobody", None)] {
            let rooms = |cluster: &Cluster| {
                at.map(|at: usize| cluster.nodes[at].engine.rooms("/").unwrap().of(socket).unwrap())
                    .is_some_and(|rooms| rooms.contains(&"new".into()))
            };
            // If no node has the socket, the call ends when its time is up.
            let wait = |cluster: &mut Cluster| match at {
                Some(_) => cluster.settle(),
                None => cluster.pass(6_000),
            };
            let now = cluster.now();
            let ticket = cluster.nodes[0].engine.remote_join(now, "/", socket, "new").unwrap();
            wait(&mut cluster);
            let (done, _) = obeyed(&mut cluster, 0, ticket);
            assert_eq!((done, rooms(&cluster)), (at.is_some(), at.is_some()), "{dialect:?} {socket}");
            let now = cluster.now();
            let ticket = cluster.nodes[0].engine.remote_leave(now, "/", socket, "new").unwrap();
            wait(&mut cluster);
            assert_eq!(obeyed(&mut cluster, 0, ticket).0, at.is_some(), "{dialect:?} {socket}");
            assert!(!rooms(&cluster));
            let now = cluster.now();
            let ticket = cluster.nodes[0].engine.remote_disconnect(now, "/", socket, true).unwrap();
            wait(&mut cluster);
            assert_eq!(obeyed(&mut cluster, 0, ticket).0, at.is_some(), "{dialect:?} {socket}");
            if let Some(at) = at {
                let told = |event: &Event| matches!(event, Event::DisconnectSockets { sockets, close: true, .. } if sockets == &[socket]);
                assert!(cluster.take(at, told).is_some(), "{dialect:?}");
            }
        }
    }
}

#[test]
fn what_is_sent_while_a_link_is_down_is_lost_and_the_link_is_reported() {
    for config in without_streams() {
        let mut cluster = three(&config);
        cluster.cut(1, &Lane::Subscriber);
        cluster.broadcast_to(0, "lost", BroadcastOptions::to("room"));
        cluster.settle();
        assert_eq!(reached(&mut cluster, "lost"), [0]);
        let down = |event: &Event| {
            matches!(event, Event::Link { lane: Lane::Subscriber, link: LinkState::Down { .. } })
        };
        assert!(cluster.take(1, down).is_some());
        cluster.mend(1, &Lane::Subscriber);
        cluster.broadcast_to(0, "text", BroadcastOptions::to("room"));
        cluster.settle();
        assert_eq!(reached(&mut cluster, "text"), [0, 1], "{config:?}");

        // Messages that wait for the writer keep their order.
        cluster.cut(0, &Lane::Writer);
        for text in ["1", "2", "3"] {
            cluster.broadcast(0, text);
        }
        cluster.mend(0, &Lane::Writer);
        assert_eq!(cluster.heard(2), ["1", "2", "3"]);
    }
}

/// A reply may lie behind the loss of its link, or even behind the next connection. What it says is
/// not true there.
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
            engine.handle_link(now, &Lane::Subscriber, LinkState::down("cut"));
            if !after_the_next {
                engine.handle_reply(now, id, reply.clone());
            }
            engine.handle_link(now, &Lane::Subscriber, LinkState::Up);
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
        let mut cluster = three(&config);
        let now = cluster.now();
        cluster.nodes[1].engine.close(now);
        cluster.settle();
        assert!(cluster.take(1, |event| matches!(event, Event::Closed { .. })).is_some());
        assert_eq!(cluster.count(0), 2, "{config:?}");
        cluster.broadcast_to(0, "text", BroadcastOptions::to("room"));
        cluster.settle();
        assert_eq!(cluster.heard(1), Vec::<String>::new());
    }
}

/// Returns the number of subscribers of a sharded channel, as the server counts them.
fn subscribers(cluster: &mut Cluster, channel: &str) -> u64 {
    let client = cluster.store.connect();
    let count = Command::PubSubNumSub { channels: vec![channel.into()], sharded: true };
    match cluster.store.execute(1_700_000_000_000 + cluster.millis, client, &count) {
        sio_streams_redis_model::Executed::Reply(Ok(Reply::Counts(counts))) => counts[0],
        other => panic!("{other:?}"),
    }
}

/// The server refuses to end a subscription. Without another attempt, the node would hear the
/// channel and be counted as long as its connection lasts.
#[test]
fn what_is_left_while_redis_refuses_is_left_afterwards() {
    let mut cluster = three(&config(Dialect::Sharded));
    let busy = CommandError::Server { code: "BUSY".into(), message: "a script runs".into() };
    let (room, common) = ("socket.io#/#room#", "socket.io#/#");
    assert_eq!((subscribers(&mut cluster, room), subscribers(&mut cluster, common)), (2, 3));
    cluster.store.refuse_with(Some(busy.clone()));
    cluster.nodes[1].engine.leave("/", "s1", ["room".into()]).unwrap();
    cluster.settle();
    cluster.store.refuse_with(None);
    cluster.pass(1_000);
    assert_eq!(subscribers(&mut cluster, room), 1);

    // A socket joins again before the next attempt.
    cluster.nodes[1].engine.join("/", "s1", ["room".into()]).unwrap();
    cluster.settle();
    cluster.store.refuse_with(Some(busy.clone()));
    cluster.nodes[1].engine.leave("/", "s1", ["room".into()]).unwrap();
    cluster.settle();
    cluster.store.refuse_with(None);
    cluster.nodes[1].engine.join("/", "s1", ["room".into()]).unwrap();
    cluster.pass(1_000);
    assert_eq!(subscribers(&mut cluster, room), 2);

    // All rooms are left.
    cluster.store.refuse_with(Some(busy));
    let now = cluster.now();
    cluster.nodes[1].engine.close(now);
    cluster.settle();
    assert!(cluster.take(1, |event| matches!(event, Event::Closed { .. })).is_none());
    cluster.store.refuse_with(None);
    cluster.pass(1_000);
    assert!(cluster.take(1, |event| matches!(event, Event::Closed { .. })).is_some());
    assert_eq!((subscribers(&mut cluster, room), subscribers(&mut cluster, common)), (1, 2));
}

#[test]
fn an_emitter_is_heard_in_every_dialect_and_counted_in_none() {
    for dialect in ALL {
        let mut cluster = three(&config(dialect));
        let emitter = Emitter::new(config(dialect)).unwrap();
        let client = cluster.store.connect();
        let say = |cluster: &mut Cluster, command| {
            let wall = 1_700_000_000_000 + cluster.millis;
            let executed = cluster.store.execute(wall, client, &command);
            assert!(matches!(executed, sio_streams_redis_model::Executed::Reply(Ok(_))));
            cluster.settle();
        };
        let all = BroadcastOptions::all;
        say(&mut cluster, emitter.broadcast("/", packet("text"), BroadcastOptions::to("room")).unwrap());
        for index in 0..3 {
            let heard = cluster.heard(index);
            // A node without sockets in the room need not hear it.
            assert!(heard == ["text"] || index == 2 && heard.is_empty(), "{dialect:?} {index} {heard:?}");
        }
        say(
            &mut cluster,
            emitter.sockets_join("/", BroadcastOptions::to("s2"), vec!["room".into()]).unwrap(),
        );
        assert!(cluster.nodes[2].engine.rooms("/").unwrap().of("s2").unwrap().contains(&"room".into()));
        say(&mut cluster, emitter.sockets_leave("/", all(), vec!["room".into()]).unwrap());
        assert!(!cluster.nodes[0].engine.rooms("/").unwrap().has_room("room"));
        say(&mut cluster, emitter.server_side_emit("/", Payload::event("hi", &(1,)).unwrap()).unwrap());
        say(&mut cluster, emitter.disconnect_sockets("/", all(), true).unwrap());
        for index in 0..3 {
            assert!(
                cluster.take(index, |event| matches!(event, Event::ServerSideEmit { .. })).is_some(),
                "{dialect:?}"
            );
            assert!(cluster.take(index, |event| matches!(event, Event::DisconnectSockets { .. })).is_some());
            assert!(
                cluster
                    .take(index, |event| matches!(event, Event::NodeUp { node, .. } if node.is_emitter()))
                    .is_none()
            );
        }
        assert_eq!(cluster.count(0), 3, "{dialect:?}");
    }
}

#[test]
fn what_can_not_be_is_refused() {
    let wrong = Config { local_delivery: LocalDelivery::StreamOrder, ..config(Dialect::Classic) };
    assert!(wrong.validate().unwrap_err().to_string().starts_with("local_delivery"));

    let mut cluster = three(&config(Dialect::Classic));
    let now = cluster.now();
    let engine = &mut cluster.nodes[0].engine;
    engine.open_namespace(now, "/a#b").unwrap();
    assert!(matches!(engine.open_namespace(now, "/a"), Err(CallError::Overlap(..))));
    engine.open_namespace(now, "/ab").unwrap();
}
