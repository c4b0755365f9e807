//! Nodes whose rooms are the application's, beside nodes whose rooms are the engine's.

use sio_streams_core::{
    Answer, BroadcastOptions, CallError, Command, Config, Dialect, Event, Lane, RoomOwner, SubscriptionMode,
};

use crate::cluster::{Cluster, config, packet, sockets};

const ALL: [Dialect; 5] =
    [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Sharded, Dialect::Classic];

fn own(dialect: Dialect) -> Config {
    Config { room_owner: RoomOwner::Application, ..config(dialect) }
}

/// The first and the third node's applications own the rooms.
fn mixed(dialect: Dialect) -> Cluster {
    let mut cluster = Cluster::with_configs([own(dialect), config(dialect), own(dialect)]);
    (0..3).for_each(|index| cluster.open(index, "/"));
    cluster
}

#[test]
fn the_engine_refuses_to_change_or_list_rooms_that_are_not_its_own() {
    let mut cluster = mixed(Dialect::Streams03);
    let engine = &mut cluster.nodes[0].engine;
    let refused = |result: Result<_, CallError>| matches!(result, Err(CallError::RoomsOfApplication));
    assert!(refused(engine.add_socket("/", "s")));
    assert!(refused(engine.remove_socket("/", "s")));
    assert!(refused(engine.join("/", "s", ["room".into()])));
    assert!(refused(engine.leave("/", "s", ["room".into()])));
    assert!(engine.rooms("/").is_none());
    assert!(matches!(engine.add_socket("/closed", "s"), Err(CallError::UnknownNamespace(_))));
}

/// There are never two owners. The calls of one do nothing where the other owns the rooms.
#[test]
fn the_calls_of_an_application_that_owns_the_rooms_do_nothing_elsewhere() {
    let config = Config { subscription_mode: SubscriptionMode::DynamicPrivate, ..config(Dialect::Sharded) };
    let mut cluster = Cluster::with_configs([config.clone(), config]);
    (0..2).for_each(|index| cluster.open(index, "/"));
    let engine = &mut cluster.nodes[0].engine;
    engine.join("/", "s0", ["room".into()]).unwrap();
    engine.set_rooms_occupied("/", ["room".into(), "other".into()], true).unwrap();
    engine.set_rooms_occupied("/", ["room".into()], false).unwrap();
    cluster.settle();
    cluster.broadcast_to(1, "hello", BroadcastOptions::to("room"));
    cluster.broadcast_to(1, "to nobody", BroadcastOptions::to("other"));
    cluster.settle();
    assert_eq!(cluster.heard(0), ["hello"]);

    let now = cluster.now();
    cluster.nodes[0].answers = false;
    let asked = cluster.nodes[1].engine.broadcast_with_ack(now, "/", packet("x"), BroadcastOptions::all());
    cluster.settle();
    let heard = cluster.take(0, |event| matches!(event, Event::Broadcast(_)));
    let Some(Event::Broadcast(delivery)) = heard else { panic!("{heard:?}") };
    let responder = delivery.responder.unwrap();
    cluster.nodes[0].engine.respond_client_count(now, &responder, 9).unwrap();
    assert!(cluster.settle_and_tell(0).is_empty(), "the engine has said the number already");
    cluster.pass(6_000);
    let (_, outcome) = cluster.outcome(1, asked.unwrap()).unwrap();
    assert_eq!(outcome.clients, 2);
}

#[test]
fn everybody_is_found_whoever_owns_the_rooms() {
    for dialect in ALL {
        let mut cluster = mixed(dialect);
        for asker in 0..3 {
            let now = cluster.now();
            let ticket =
                cluster.nodes[asker].engine.fetch_sockets(now, "/", BroadcastOptions::all()).unwrap();
            cluster.settle();
            let (answers, outcome) = cluster.outcome(asker, ticket).unwrap();
            assert!(outcome.is_complete(), "{dialect:?} {asker}: {outcome:?}");
            assert_eq!(sockets(&answers), ["s0", "s1", "s2"], "{dialect:?} {asker}");
        }
    }
}

#[test]
fn every_client_is_counted_and_acknowledges() {
    for dialect in ALL {
        let mut cluster = mixed(dialect);
        for asker in 0..3 {
            let now = cluster.now();
            let opts = BroadcastOptions::all().except("s1");
            let ticket = cluster.nodes[asker].engine.broadcast_with_ack(now, "/", packet("x"), opts).unwrap();
            cluster.settle();
            let (_, outcome) = cluster.outcome(asker, ticket).unwrap();
            assert!(outcome.is_complete(), "{dialect:?} {asker}: {outcome:?}");
            assert_eq!((outcome.clients, outcome.acks), (2, 2), "{dialect:?} {asker}");
        }
    }
}

#[test]
fn orders_name_their_addressees() {
    for dialect in ALL {
        let mut cluster = mixed(dialect);
        let now = cluster.now();
        let opts = BroadcastOptions::to("s0").and("s1");
        cluster.nodes[1].engine.sockets_join(now, "/", opts.clone(), vec!["room".into()]).unwrap();
        cluster.settle();
        let moved = cluster.take(0, |event| matches!(event, Event::SocketsJoin(_)));
        let Some(Event::SocketsJoin(moved)) = moved else { panic!("{dialect:?}: {moved:?}") };
        assert_eq!((moved.opts, &*moved.sockets, &*moved.changes), (opts.clone(), &[][..], &[][..]));
        assert_eq!(moved.from.as_ref(), Some(cluster.nodes[1].engine.uid()), "{dialect:?}");
        assert_eq!(cluster.nodes[0].own.as_ref().unwrap().of("s0").unwrap(), ["s0", "room"]);
        let now = cluster.now();
        cluster.nodes[0].engine.disconnect_sockets(now, "/", BroadcastOptions::to("room"), true).unwrap();
        cluster.settle();
        for index in 0..3 {
            let event = cluster.take(index, |event| matches!(event, Event::DisconnectSockets { .. }));
            let Some(Event::DisconnectSockets { opts, sockets, close, from, .. }) = event else {
                panic!("{dialect:?} {index}: {event:?}")
            };
            assert_eq!((opts, close), (BroadcastOptions::to("room"), true));
            assert_eq!(from.as_ref(), Some(cluster.nodes[0].engine.uid()), "{dialect:?} {index}");
            assert_eq!(sockets, if index == 1 { vec!["s1"] } else { vec![] }, "{dialect:?} {index}");
        }
    }
}

/// The engine asks the application for what it would have known itself.
#[test]
fn the_calls_of_the_older_adapters_are_answered_by_the_application() {
    for dialect in ALL {
        let mut cluster = mixed(dialect);
        for asker in 0..3 {
            let now = cluster.now();
            let ticket = cluster.nodes[asker].engine.sockets(now, "/", vec![]).unwrap();
            cluster.settle();
            let (answers, outcome) = cluster.outcome(asker, ticket).unwrap();
            assert!(outcome.is_complete(), "{dialect:?} {asker}: {outcome:?}");
            let mut ids = Vec::new();
            for answer in answers {
                let Answer::SocketIds(found) = answer else { panic!("{answer:?}") };
                ids.extend(found);
            }
            ids.sort();
            assert_eq!(ids, ["s0", "s1", "s2"], "{dialect:?} {asker}");

            let ticket = cluster.nodes[asker].engine.all_rooms(now, "/").unwrap();
            cluster.settle();
            let (answers, outcome) = cluster.outcome(asker, ticket).unwrap();
            assert!(outcome.is_complete(), "{dialect:?} {asker}: {outcome:?}");
            assert!(answers.iter().all(|answer| matches!(answer, Answer::Rooms(_))), "{answers:?}");

            let other = (asker + 2) % 3;
            let (socket, room) = (format!("s{other}"), format!("new{asker}"));
            let ticket = cluster.nodes[asker].engine.remote_join(now, "/", &*socket, &*room).unwrap();
            cluster.settle();
            let (answers, _) = cluster.outcome(asker, ticket).unwrap();
            assert_eq!(answers, [Answer::Done], "{dialect:?} {asker}");
            cluster.settle();
            let node = &cluster.nodes[other];
            let rooms = node.own.as_ref().or_else(|| node.engine.rooms("/")).unwrap();
            assert!(rooms.of(&socket).unwrap().contains(&room.as_str().into()), "{dialect:?} {asker}");
        }
    }
}

/// Each call that empties or fills rooms makes one command at most.
#[test]
fn occupied_rooms_are_subscribed_while_they_are_occupied() {
    let config = Config { subscription_mode: SubscriptionMode::DynamicPrivate, ..own(Dialect::Sharded) };
    let mut cluster = Cluster::with_configs([config.clone(), config]);
    (0..2).for_each(|index| cluster.open(index, "/"));
    let rooms = || ["a".into(), "b".into()];
    let engine = &mut cluster.nodes[0].engine;
    engine.set_rooms_occupied("/", rooms(), true).unwrap();
    engine.set_rooms_occupied("/", rooms(), true).unwrap();
    let subscribed = cluster.settle_and_tell(0);
    let [Command::Subscribe { channels, sharded: true }] = &*subscribed else { panic!("{subscribed:?}") };
    assert_eq!(*channels, ["socket.io#/#a#", "socket.io#/#b#"]);
    cluster.settle();
    cluster.broadcast_to(1, "hello", BroadcastOptions::to("a"));
    cluster.settle();
    assert_eq!(cluster.heard(0), ["hello"]);

    // They are subscribed again after a break.
    cluster.cut(0, &Lane::Subscriber);
    cluster.mend(0, &Lane::Subscriber);
    cluster.settle();
    cluster.broadcast_to(1, "again", BroadcastOptions::to("b"));
    cluster.settle();
    assert_eq!(cluster.heard(0), ["again"]);

    cluster.nodes[0].engine.set_rooms_occupied("/", rooms(), false).unwrap();
    let ended = cluster.settle_and_tell(0);
    assert!(matches!(&*ended, [Command::Unsubscribe { channels, .. }] if channels.len() == 2), "{ended:?}");
    cluster.settle();
    cluster.broadcast_to(1, "gone", BroadcastOptions::to("a"));
    cluster.settle();
    assert_eq!(cluster.heard(0), [""; 0]);
}
