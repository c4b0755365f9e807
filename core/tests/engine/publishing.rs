//! Tests of publishing.

use sio_streams_core::{
    BroadcastOptions, ByteString, CallError, Command, CommandError, Config, Dialect, Engine, Event, Lane,
    Limit, Limits, Packet, Payload, PayloadError, Time,
};

use crate::cluster::{Cluster, config, packet, recovering};

#[test]
fn a_broadcast_reaches_every_node_once_and_bears_an_offset_if_it_can_be_recovered() {
    let dialects = [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge];
    for (dialect, recovers) in dialects.into_iter().flat_map(|dialect| [(dialect, false), (dialect, true)]) {
        let config = if recovers { recovering(dialect) } else { config(dialect) };
        let mut cluster = Cluster::ready_with([config.clone(), config.clone(), config]);
        let sent = cluster.broadcast(0, "hello");
        let published =
            cluster.take(0, |event| matches!(event, Event::Published { ticket, .. } if *ticket == sent));
        let Some(Event::Published { entry: Some(entry), .. }) = published else { panic!("{published:?}") };
        for index in 0..3 {
            let Some(Event::Broadcast(delivery)) =
                cluster.take(index, |event| matches!(event, Event::Broadcast(_)))
            else {
                panic!("{dialect:?}: nothing at {index}")
            };
            assert_eq!(delivery.entry, Some(entry));
            assert_eq!(delivery.offset, recovers.then_some(entry));
            let text = match recovers {
                true => format!(r#"2["event","hello","{entry}"]"#),
                false => r#"2["event","hello"]"#.into(),
            };
            assert_eq!(delivery.frames().text, text);
            assert_eq!(delivery.from, Some(cluster.uid(0)));
            assert_eq!(cluster.heard(index), Vec::<String>::new(), "twice");
        }
    }
}

#[test]
fn volatile_packets_have_no_offset_even_if_the_flag_is_false() {
    let config = recovering(Dialect::Streams03);
    let mut cluster = Cluster::ready_with([config.clone(), config]);
    let mut explicit = BroadcastOptions::all();
    explicit.flags.volatile = Some(false);
    let mut odd = BroadcastOptions::all();
    odd.flags.other.push(("volatile".into(), Payload::null()));
    for opts in [BroadcastOptions::all().volatile(), explicit, odd] {
        cluster.broadcast_to(0, "gone", opts);
        cluster.settle();
        for index in [0, 1] {
            let Some(Event::Broadcast(delivery)) =
                cluster.take(index, |event| matches!(event, Event::Broadcast(_)))
            else {
                panic!("nothing")
            };
            assert!(delivery.entry.is_some() && delivery.offset.is_none());
        }
    }
}

#[test]
fn local_messages_stay_on_their_node() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02; 2]);
    let before = cluster.store.stream_info("socket.io").unwrap().entries_added;
    cluster.broadcast_to(0, "here", BroadcastOptions::all().local());
    let now = cluster.now();
    let engine = &mut cluster.nodes[0].engine;
    engine.sockets_join(now, "/", BroadcastOptions::all().local(), vec!["room".into()]).unwrap();
    cluster.settle();
    assert_eq!(cluster.heard(0), ["here"]);
    assert_eq!(cluster.heard(1), Vec::<String>::new());
    assert_eq!(cluster.store.stream_info("socket.io").unwrap().entries_added, before);
    assert!(
        cluster.nodes[0].engine.rooms("/").unwrap().of("s0").unwrap().contains(&ByteString::from("room"))
    );
}

#[test]
fn room_changes_take_effect_in_stream_order_everywhere() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02; 2]);
    let now = cluster.now();
    let engine = &mut cluster.nodes[0].engine;
    let room = || BroadcastOptions::to("room");
    engine.broadcast(now, "/", packet("before"), room()).unwrap();
    engine.sockets_join(now, "/", BroadcastOptions::all(), vec!["room".into()]).unwrap();
    engine.broadcast(now, "/", packet("within"), room()).unwrap();
    engine.sockets_leave(now, "/", BroadcastOptions::all(), vec!["room".into()]).unwrap();
    engine.broadcast(now, "/", packet("after"), room()).unwrap();
    // The recipients are determined as the events come, as an application would do it.
    let mut reached = [Vec::new(), Vec::new()];
    for _ in 0..20 {
        for (index, reached) in reached.iter_mut().enumerate() {
            while let Some(event) = cluster.nodes[index].engine.poll_event() {
                if let Event::Broadcast(delivery) = &event {
                    let sockets = cluster.nodes[index].engine.rooms("/").unwrap().matching(&delivery.opts);
                    reached.extend(
                        sockets
                            .iter()
                            .map(|_| delivery.packet.data().decode::<(String, String)>().unwrap().1),
                    );
                }
            }
        }
        cluster.settle_commands();
    }
    assert_eq!(reached, [vec!["within".to_owned()], vec!["within".to_owned()]]);
}

#[test]
fn what_was_certainly_not_sent_goes_out_later_in_the_old_order() {
    let mut cluster = Cluster::ready(&[Dialect::Streams03; 2]);
    cluster.cut(0, &Lane::Writer);
    for number in 0..50 {
        cluster.broadcast(0, &number.to_string());
    }
    assert_eq!(cluster.heard(1), Vec::<String>::new());
    cluster.mend(0, &Lane::Writer);
    let expected: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    assert_eq!(cluster.heard(1), expected);
    assert_eq!(cluster.heard(0), expected);
}

#[test]
fn a_backend_that_reports_no_links_is_tried_again_after_a_while() {
    let mut engine = Engine::new(config(Dialect::Streams02), 1, Time::ZERO).unwrap();
    engine.open_namespace(Time::ZERO, "/").unwrap();
    let (id, _) = engine.poll_command().unwrap();
    engine.handle_reply(Time::ZERO, id, Err(CommandError::NotSent("no connection".into())));
    assert!(engine.poll_command().is_none(), "not at once");
    let again = engine.poll_timeout().unwrap();
    engine.handle_timeout(again);
    assert!(matches!(engine.poll_command(), Some((_, Command::XInfoStream { .. }))));
}

#[test]
fn bounds_are_kept_and_told_at_once() {
    let limits = Limits { in_flight: 5, requests: 2, ..Limits::default() };
    let mut cluster = Cluster::with_configs([Config { limits, ..config(Dialect::Streams02) }]);
    cluster.open(0, "/");
    cluster.cut(0, &Lane::Writer);
    let now = cluster.now();
    let ask = |engine: &mut Engine| engine.fetch_sockets(now, "/", BroadcastOptions::all());
    // There is no other node. This node answers itself, unless its application is silent.
    cluster.nodes[0].answers = false;
    let engine = &mut cluster.nodes[0].engine;
    ask(engine).unwrap();
    ask(engine).unwrap();
    assert!(matches!(ask(engine), Err(CallError::Full { limit: 2, .. })));
    for _ in 0..3 {
        cluster.broadcast_to(0, "waits", BroadcastOptions::all());
    }
    let engine = &mut cluster.nodes[0].engine;
    let refused = engine.broadcast(now, "/", packet("too many"), BroadcastOptions::all());
    assert!(matches!(refused, Err(CallError::Full { limit: 5, .. })), "{refused:?}");
    cluster.mend(0, &Lane::Writer);
    cluster.broadcast(0, "room again");
    assert_eq!(cluster.heard(0).len(), 4);
}

#[test]
fn bytes_in_flight_are_bounded() {
    let limits = Limits { in_flight_bytes: 10_000, ..Limits::default() };
    let mut cluster = Cluster::with_configs([Config { limits, ..config(Dialect::Streams02) }]);
    cluster.open(0, "/");
    cluster.cut(0, &Lane::Writer);
    let large = "x".repeat(6_000);
    cluster.broadcast_to(0, &large, BroadcastOptions::all());
    let now = cluster.now();
    let refused = cluster.nodes[0].engine.broadcast(now, "/", packet(&large), BroadcastOptions::all());
    assert!(matches!(refused, Err(CallError::Full { what: Limit::InFlightBytes, .. })), "{refused:?}");
    cluster.mend(0, &Lane::Writer);
    cluster.broadcast(0, &large);
    assert_eq!(cluster.heard(0).len(), 2);
}

#[test]
fn what_would_hurt_a_node_peer_is_refused() {
    let mut cluster = Cluster::ready(&[Dialect::Streams03]);
    let now = cluster.now();
    let engine = &mut cluster.nodes[0].engine;
    for name in ["error", "connection", "connect", "new_namespace"] {
        let event = Payload::event(name, &()).unwrap();
        assert!(
            matches!(engine.server_side_emit(now, "/", event), Err(CallError::ReservedEvent(_))),
            "{name}"
        );
    }
    let no_event = Payload::encode(&7).unwrap();
    assert!(matches!(
        engine.server_side_emit(now, "/", no_event),
        Err(CallError::Payload(PayloadError::NotAnEvent))
    ));
    for name in ["connect", "disconnect", "disconnecting", "connect_error", "newListener", "removeListener"] {
        assert!(matches!(Packet::event(name, &()), Err(PayloadError::ReservedEvent(_))), "{name}");
    }
}

#[test]
fn only_plaintext_refuses_binary_data_on_the_stream() {
    let plain = Config { only_plaintext: true, ..config(Dialect::Streams03) };
    let mut cluster = Cluster::with_configs([plain]);
    cluster.open(0, "/");
    let now = cluster.now();
    let binary = Packet::event("event", &(serde_bytes::Bytes::new(b"binary"),)).unwrap();
    let engine = &mut cluster.nodes[0].engine;
    assert!(matches!(engine.broadcast(now, "/", binary, BroadcastOptions::all()), Err(CallError::Binary)));
    cluster.broadcast(0, "text");
    assert_eq!(cluster.heard(0), ["text"]);
}

#[test]
fn a_closed_engine_holds_nothing() {
    for dialect in [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge] {
        let mut cluster = Cluster::ready(&[dialect; 2]);
        cluster.nodes[1].answers = false;
        let now = cluster.now();
        let asked = cluster.nodes[0].engine.fetch_sockets(now, "/", BroadcastOptions::all()).unwrap();
        cluster.settle();
        cluster.nodes[0].engine.close(now);
        cluster.settle();
        let (_, outcome) = cluster.outcome(0, asked).expect("an open request ends");
        assert!(!outcome.is_complete());
        assert!(cluster.take(0, |event| matches!(event, Event::Closed { .. })).is_some());
        let engine = &mut cluster.nodes[0].engine;
        assert!(engine.is_closed());
        assert_eq!(engine.poll_timeout(), None, "{dialect:?}: a timer is left");
        assert!(engine.poll_command().is_none());
        assert!(format!("{engine:?}").contains("in_flight: {}"), "{dialect:?}: a command is left");
        let unknown = engine.broadcast(now, "/", packet("late"), BroadcastOptions::all());
        assert!(matches!(unknown, Err(CallError::UnknownNamespace(_))));
        engine.open_namespace(now, "/").unwrap();
        cluster.settle();
        assert!(
            cluster.take(0, |event| matches!(event, Event::Ready { .. })).is_some(),
            "it can be opened again"
        );
    }
}
