//! Tests of the nodes that a question waits for, and of the answers that count.

use core::time::Duration;

use sio_streams_core::wire::{entry, pubsub};
use sio_streams_core::{
    Answer, Body, BroadcastOptions, Command, CommandError, Config, Dialect, Event, Lane, Message, NodeId,
    Payload, RequestId, SubscriptionMode, Ticket,
};

use crate::cluster::{Cluster, LostReply, config, packet, sockets};

const ALL: [Dialect; 5] =
    [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Sharded, Dialect::Classic];
const SUBSCRIBING: [Dialect; 4] = [Dialect::Streams03, Dialect::Bridge, Dialect::Sharded, Dialect::Classic];

fn fetch(cluster: &mut Cluster, index: usize) -> Ticket {
    let now = cluster.now();
    let opts = BroadcastOptions::all().timeout(Duration::from_secs(3));
    let ticket = cluster.nodes[index].engine.fetch_sockets(now, "/", opts).unwrap();
    cluster.settle();
    ticket
}

fn ask_clients(cluster: &mut Cluster, index: usize, text: &str) -> Ticket {
    let now = cluster.now();
    let opts = BroadcastOptions::all().timeout(Duration::from_secs(3));
    cluster.nodes[index].engine.broadcast_with_ack(now, "/", packet(text), opts).unwrap()
}

fn published(cluster: &mut Cluster, index: usize, wanted: Ticket) -> bool {
    let told = |event: &Event| matches!(event, Event::Published { ticket, .. } if *ticket == wanted);
    cluster.take(index, told).is_some()
}

/// A node that knows no other node publishes all the same, because others may exist.
#[test]
fn what_wants_acknowledgements_is_published_though_nobody_is_known() {
    for dialect in ALL {
        let mut cluster = Cluster::ready(&[dialect]);
        cluster.nodes[0].noted = Some(Vec::new());
        let asked = ask_clients(&mut cluster, 0, "a");
        let now = cluster.now();
        let event = Payload::event("ping", &(1,)).unwrap();
        let emitted = cluster.nodes[0].engine.server_side_emit_with_ack(now, "/", event).unwrap();
        cluster.settle();
        let published = cluster.nodes[0].noted.take().unwrap();
        let published = published
            .iter()
            .filter(|command| matches!(command, Command::XAdd { .. } | Command::Publish { .. }));
        assert_eq!(published.count(), 2, "{dialect:?}");
        for ticket in [asked, emitted] {
            let (_, outcome) = cluster.outcome(0, ticket).expect("over");
            assert!(outcome.is_complete(), "{dialect:?}: {outcome:?}");
        }
    }
}

#[test]
fn what_wants_acknowledgements_waits_for_the_link_and_then_for_everybody() {
    for dialect in ALL {
        let mut cluster = Cluster::ready(&[dialect; 3]);
        cluster.cut(0, &Lane::Writer);
        let asked = ask_clients(&mut cluster, 0, "a");
        cluster.settle();
        assert_eq!(cluster.outcome(0, asked), None, "{dialect:?}: it is not published yet");
        cluster.pass(2_000);
        cluster.mend(0, &Lane::Writer);
        let (_, outcome) = cluster.outcome(0, asked).expect("over");
        assert!(outcome.is_complete(), "{dialect:?}: {outcome:?}");
        assert_eq!((outcome.clients, outcome.acks), (3, 3), "{dialect:?}");
        for index in [1, 2] {
            assert_eq!(cluster.heard(index), ["a"], "{dialect:?}");
        }
    }
}

#[test]
fn a_question_whose_time_is_up_before_it_is_published_has_its_fate_told_later() {
    for dialect in ALL {
        let mut cluster = Cluster::ready(&[dialect; 2]);
        cluster.cut(0, &Lane::Writer);
        let asked = ask_clients(&mut cluster, 0, "late");
        let fetched = fetch(&mut cluster, 0);
        cluster.pass(3_000);
        let (_, outcome) = cluster.outcome(0, asked).expect("the time is up");
        assert!(outcome.timed_out && outcome.pending && !outcome.is_complete(), "{dialect:?}: {outcome:?}");
        let (_, outcome) = cluster.outcome(0, fetched).expect("the time is up");
        assert!(!outcome.pending, "{dialect:?}: a mere question is not asked any more");
        cluster.nodes[0].noted = Some(Vec::new());
        cluster.mend(0, &Lane::Writer);
        assert!(published(&mut cluster, 0, asked), "{dialect:?}");
        assert_eq!(cluster.heard(1), ["late"], "{dialect:?}");
        assert!(!published(&mut cluster, 0, fetched), "{dialect:?}");
    }
    // In the other case, the question is never published.
    let mut cluster = Cluster::ready(&[Dialect::Streams02; 2]);
    cluster.cut(0, &Lane::Writer);
    let asked = ask_clients(&mut cluster, 0, "never");
    cluster.pass(70_000);
    assert!(cluster.outcome(0, asked).is_some());
    let told = |event: &Event| matches!(event, Event::PublishFailed { ticket, .. } if *ticket == asked);
    assert!(cluster.take(0, told).is_some());
}

/// The link is lost with the question, which is executed late. Who hears it is not known by what
/// was counted before.
#[test]
fn a_question_that_is_executed_late_is_answered_by_everybody_who_hears_it_then() {
    for dialect in [Dialect::Streams03, Dialect::Sharded, Dialect::Classic] {
        let mut cluster = Cluster::ready(&[dialect; 3]);
        cluster.cut(2, &Lane::Subscriber);
        cluster.nodes[0].lost = vec![LostReply::Late].into();
        let now = cluster.now();
        let event = Payload::event("ping", &(1,)).unwrap();
        let asked = cluster.nodes[0].engine.server_side_emit_with_ack(now, "/", event).unwrap();
        cluster.settle();
        cluster.mend(2, &Lane::Subscriber);
        cluster.nodes[1].answers = false;
        cluster.arrive_late();
        assert_eq!(cluster.outcome(0, asked), None, "{dialect:?}: only the third node has answered");
        let question = cluster.take(1, |event| matches!(event, Event::ServerSideEmit { .. }));
        let Some(Event::ServerSideEmit { responder: Some(responder), .. }) = question else {
            panic!("{dialect:?}: not asked")
        };
        let now = cluster.now();
        cluster.nodes[1].engine.respond_emit(now, responder, Payload::null()).unwrap();
        cluster.settle();
        let (answers, outcome) = cluster.outcome(0, asked).expect("over");
        assert!(outcome.is_complete(), "{dialect:?}: {outcome:?}");
        assert_eq!(answers.len(), 2, "{dialect:?}");
    }
}

#[test]
fn a_question_of_unknown_fate_is_not_complete_unless_somebody_answers() {
    for dialect in [Dialect::Streams03, Dialect::Sharded, Dialect::Classic] {
        let mut cluster = Cluster::ready(&[dialect]);
        cluster.nodes[0].lost = vec![LostReply::Before].into();
        let asked = ask_clients(&mut cluster, 0, "a");
        cluster.pass(3_000);
        let (_, outcome) = cluster.outcome(0, asked).expect("over");
        assert!(matches!(outcome.error, Some(CommandError::Lost(_))), "{dialect:?}: {outcome:?}");
        let mut cluster = Cluster::ready(&[dialect; 2]);
        cluster.nodes[0].lost = vec![LostReply::After].into();
        let asked = ask_clients(&mut cluster, 0, "a");
        cluster.pass(3_000);
        let (_, outcome) = cluster.outcome(0, asked).expect("over");
        assert!(outcome.is_complete(), "{dialect:?}: {outcome:?}");
    }
}

/// A node whose own subscription is down is not among the counted ones, and does not hear the
/// answers.
#[test]
fn a_node_that_does_not_hear_takes_nobody_away() {
    for dialect in SUBSCRIBING {
        for known in [true, false] {
            let mut cluster = Cluster::ready(&[dialect; 3]);
            match known {
                true => cluster.cut(0, &Lane::Subscriber),
                false => cluster.sever(0, &Lane::Subscriber),
            }
            assert_eq!(cluster.count(0), 3, "{dialect:?}, {known}");
            let asked = fetch(&mut cluster, 0);
            cluster.pass(3_000);
            let (answers, outcome) = cluster.outcome(0, asked).expect("the time is up");
            let heard = sockets(&answers).len() as u64;
            let missing = outcome.missing.len() as u64 + outcome.missing_unnamed;
            assert_eq!(heard + missing, 3, "{dialect:?}, {known}: {outcome:?}");
            assert_eq!(outcome.is_complete(), heard == 3, "{dialect:?}, {known}: {outcome:?}");
        }
    }
}

#[test]
fn a_link_that_comes_back_behind_the_count_makes_nobody_superfluous() {
    for dialect in [Dialect::Streams03, Dialect::Sharded, Dialect::Classic] {
        let mut cluster = Cluster::ready(&[dialect; 3]);
        // The names are known.
        for index in 0..3 {
            cluster.broadcast(index, "hello");
        }
        cluster.cut(2, &Lane::Subscriber);
        cluster.cut(0, &Lane::Subscriber);
        let now = cluster.now();
        let opts = BroadcastOptions::all().timeout(Duration::from_secs(3));
        let asked = cluster.nodes[0].engine.fetch_sockets(now, "/", opts).unwrap();
        // The server has counted, and the question is on its way.
        cluster.settle_commands();
        cluster.mend(0, &Lane::Subscriber);
        cluster.mend(2, &Lane::Subscriber);
        cluster.nodes[1].answers = true;
        cluster.pass(3_000);
        let (answers, outcome) = cluster.outcome(0, asked).expect("over");
        let names = sockets(&answers);
        let others = names.iter().filter(|name| *name != "s0").count();
        assert!(!outcome.is_complete() || others >= 1, "{dialect:?}: {outcome:?}");
        assert!(!outcome.is_complete() || names.contains(&"s1".into()), "{dialect:?}: {names:?}");
    }
}

/// The subscription of such a room can't be told from the node's. While this node's link is down, its
/// own subscriptions are not in force, and must not be subtracted from those of others.
#[test]
fn a_room_with_the_name_of_a_node_takes_nobody_away() {
    for is_cut in [false, true] {
        let mut cluster = Cluster::ready(&[Dialect::Sharded; 2]);
        for index in [0, 1] {
            cluster.broadcast(index, "hello");
        }
        let room = cluster.uid(1).as_str().to_owned().into();
        cluster.nodes[0].engine.join("/", "s0", [room]).unwrap();
        cluster.settle();
        if is_cut {
            cluster.cut(0, &Lane::Subscriber);
        }
        cluster.nodes[1].answers = false;
        let asked = fetch(&mut cluster, 0);
        cluster.pass(2_900);
        assert_eq!(cluster.outcome(0, asked), None, "the other node is there, cut: {is_cut}");
        cluster.pass(200);
        let (_, outcome) = cluster.outcome(0, asked).expect("the time is up");
        assert_eq!(outcome.missing, [cluster.uid(1)], "cut: {is_cut}");
    }
}

#[test]
fn channels_of_rooms_say_nothing_about_nodes() {
    let mut cluster = Cluster::ready(&[Dialect::Sharded; 3]);
    let now = cluster.now();
    for index in 0..3 {
        cluster.broadcast(index, "hello");
        let rooms = (0..700).map(|number| format!("room {index} {number}").into());
        let socket = format!("s{index}");
        cluster.nodes[index].engine.join("/", &socket, rooms).unwrap();
        cluster.nodes[index].engine.join("/", &socket, ["lobby".into()]).unwrap();
    }
    cluster.settle();
    cluster.nodes[1].answers = false;
    cluster.nodes[2].answers = false;
    cluster.nodes[0].noted = Some(Vec::new());
    let opts = BroadcastOptions::all().timeout(Duration::from_secs(60));
    let asked: Vec<Ticket> =
        (0..100).map(|_| cluster.nodes[0].engine.fetch_sockets(now, "/", opts.clone()).unwrap()).collect();
    cluster.settle();
    cluster.pass(5_000);
    assert_eq!(cluster.outcome(0, asked[0]), None, "nobody has gone");
    let noted = cluster.nodes[0].noted.take().unwrap();
    let lists = noted.iter().filter(|command| matches!(command, Command::PubSubChannels { .. })).count();
    let counts = noted.iter().filter(|command| matches!(command, Command::PubSubNumSub { .. })).count();
    assert_eq!(lists, 0, "rooms would be listed, too");
    assert!(counts <= 100 + 11, "{counts} counts");
    let dead = cluster.uid(2);
    cluster.kill(2);
    cluster.nodes[1].answers = true;
    cluster.pass(2_000);
    assert_eq!(cluster.outcome(0, asked[0]), None, "one that lives has not answered");
    cluster.pass(60_000);
    let (_, outcome) = cluster.outcome(0, asked[0]).expect("over");
    let silent = cluster.uid(1);
    let mut missing = [dead, silent];
    missing.sort();
    assert_eq!((outcome.missing, outcome.missing_unnamed), (missing.to_vec(), 0));
}

fn response(request: &RequestId, uid: &str) -> Message {
    let body = Body::ServerSideEmitResponse { request_id: request.clone(), packet: Payload::null() };
    Message { uid: NodeId::new(uid.to_owned()), nsp: "/".into(), body }
}

/// Returns the id of the question that a node has just asked through its stream or a channel.
fn asked_id(commands: &[Command]) -> RequestId {
    let message = commands.iter().find_map(|command| match command {
        Command::XAdd { fields, .. } => entry::decode(fields).ok(),
        Command::Publish { payload, .. } => pubsub::decode(payload).ok(),
        _ => None,
    });
    match message.unwrap().body {
        Body::ServerSideEmit { request_id: Some(id), .. } => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_of_nobody_count_for_nobody() {
    for dialect in [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Sharded] {
        let mut cluster = Cluster::ready(&[dialect; 3]);
        cluster.nodes[1].answers = false;
        cluster.nodes[2].answers = false;
        cluster.nodes[0].noted = Some(Vec::new());
        let now = cluster.now();
        let event = Payload::event("ping", &(1,)).unwrap();
        let asked = cluster.nodes[0].engine.server_side_emit_with_ack(now, "/", event).unwrap();
        cluster.settle();
        let id = asked_id(&cluster.nodes[0].noted.take().unwrap());
        for _ in 0..3 {
            for uid in ["", "emitter"] {
                let message = response(&id, uid);
                if dialect != Dialect::Streams02 {
                    let channel = format!("socket.io#/#{}#", cluster.uid(0));
                    let payload = pubsub::encode(&message).unwrap();
                    let now = cluster.now();
                    cluster.nodes[0].engine.handle_push(now, &channel, &payload);
                }
                if dialect != Dialect::Sharded {
                    let fields = entry::encode(&message).unwrap();
                    cluster.store.add_entry(1_800_000_000_000, "socket.io", fields).unwrap();
                }
            }
        }
        cluster.settle();
        assert_eq!(cluster.outcome(0, asked), None, "{dialect:?}");
        cluster.pass(6_000);
        let (answers, outcome) = cluster.outcome(0, asked).expect("the time is up");
        assert_eq!(answers.len(), 0, "{dialect:?}");
        assert_eq!(outcome.missing.len() as u64 + outcome.missing_unnamed, 2, "{dialect:?}: {outcome:?}");
    }
}

#[test]
fn an_answer_by_the_stream_stands_for_no_subscriber() {
    let mut cluster = Cluster::ready(&[Dialect::Bridge, Dialect::Streams03]);
    cluster.nodes[1].answers = false;
    cluster.nodes[0].noted = Some(Vec::new());
    let now = cluster.now();
    let event = Payload::event("ping", &(1,)).unwrap();
    let asked = cluster.nodes[0].engine.server_side_emit_with_ack(now, "/", event).unwrap();
    cluster.settle();
    let id = asked_id(&cluster.nodes[0].noted.take().unwrap());
    // The node of 0.2 is considered dead, or has not been heard yet.
    let fields = entry::encode(&response(&id, "older")).unwrap();
    cluster.store.add_entry(1_800_000_000_000, "socket.io", fields).unwrap();
    cluster.pass(4_000);
    assert_eq!(cluster.outcome(0, asked), None, "a subscriber has not answered");
    cluster.pass(2_000);
    let (answers, outcome) = cluster.outcome(0, asked).expect("the time is up");
    assert!(matches!(&answers[..], [Answer::Emit(_)]));
    assert_eq!(outcome.missing, [cluster.uid(1)]);
}

#[test]
fn everything_ends_while_all_links_are_down() {
    for dialect in ALL {
        let mut cluster = Cluster::ready(&[dialect; 2]);
        let lanes = [Lane::Reader("socket.io".into()), Lane::Writer, Lane::Subscriber];
        for lane in &lanes {
            cluster.cut(0, lane);
        }
        let now = cluster.now();
        let counted = cluster.nodes[0].engine.server_count(now, "/").unwrap();
        let asked = [ask_clients(&mut cluster, 0, "a"), fetch(&mut cluster, 0)];
        cluster.pass(6_000);
        let count = cluster.take(0, |event| matches!(event, Event::ServerCount { .. }));
        match count {
            Some(Event::ServerCount { ticket, count }) => {
                assert_eq!(ticket, counted);
                assert_eq!(count.is_ok(), dialect == Dialect::Streams02, "{dialect:?}: {count:?}");
            }
            other => panic!("{dialect:?}: {other:?}"),
        }
        for ticket in asked {
            assert!(cluster.outcome(0, ticket).is_some(), "{dialect:?}");
        }
        for _ in 0..3 {
            let now = cluster.now();
            cluster.nodes[0].engine.close_namespace(now, "/").unwrap();
            cluster.pass(61_000);
            let closed = cluster.take(0, |event| matches!(event, Event::Closed { .. }));
            assert!(closed.is_some(), "{dialect:?}");
            assert!(cluster.nodes[0].engine.is_closed(), "{dialect:?}");
            let now = cluster.now();
            cluster.nodes[0].engine.open_namespace(now, "/").unwrap();
            cluster.nodes[0].engine.server_count(now, "/").unwrap();
        }
        cluster.pass(24 * 3_600_000);
        cluster.nodes[0].events.clear();
        for lane in &lanes {
            cluster.mend(0, lane);
        }
        cluster.pass(1_000);
        assert!(cluster.take(0, |event| matches!(event, Event::Ready { .. })).is_some(), "{dialect:?}");
        assert_eq!(cluster.count(0), 2, "{dialect:?}");
        cluster.broadcast(1, "hello");
        assert_eq!(cluster.heard(0).last().unwrap(), "hello", "{dialect:?}");
    }
}

#[test]
fn rooms_and_namespaces_whose_channels_are_the_same_are_apart() {
    let modes = [SubscriptionMode::Static, SubscriptionMode::Dynamic, SubscriptionMode::DynamicPrivate];
    for mode in modes {
        let sharded = Config { subscription_mode: mode, ..config(Dialect::Sharded) };
        let mut cluster = Cluster::with_configs([sharded.clone(), sharded]);
        cluster.open(0, "/a");
        cluster.open(1, "/a");
        let now = cluster.now();
        let refused = cluster.nodes[0].engine.open_namespace(now, "/a#b").is_err();
        assert_eq!(refused, mode != SubscriptionMode::Static, "{mode:?}");
        // A room has the name of the node. Its private channel outlives the room.
        let uid = cluster.uid(0);
        let room = || uid.as_str().into();
        cluster.nodes[0].engine.join("/a", "s0", [room()]).unwrap();
        cluster.settle();
        cluster.nodes[0].engine.leave("/a", "s0", [uid.as_str().into()]).unwrap();
        cluster.settle();
        let now = cluster.now();
        let asked = cluster.nodes[0].engine.fetch_sockets(now, "/a", BroadcastOptions::all()).unwrap();
        cluster.settle();
        let (answers, outcome) = cluster.outcome(0, asked).expect("over");
        assert_eq!(sockets(&answers), ["s0", "s1"], "{mode:?}");
        assert!(outcome.is_complete(), "{mode:?}: {outcome:?}");
    }
    for dialect in SUBSCRIBING {
        let mut cluster = Cluster::ready(&[dialect]);
        let now = cluster.now();
        let private = format!("/#{}", cluster.uid(0));
        assert!(cluster.nodes[0].engine.open_namespace(now, &private).is_err(), "{dialect:?}");
    }
}

/// Applications on Node, and the admin UI, read properties of the data.
#[test]
fn a_socket_without_data_has_an_empty_object() {
    for dialect in [Dialect::Streams02, Dialect::Streams03, Dialect::Sharded, Dialect::Classic] {
        let mut cluster = Cluster::ready(&[dialect; 2]);
        let now = cluster.now();
        // The application of each node answers with `null`.
        let asked = cluster.nodes[0].engine.fetch_sockets(now, "/", BroadcastOptions::all()).unwrap();
        cluster.settle();
        let (answers, _) = cluster.outcome(0, asked).expect("over");
        let data = answers.into_iter().flat_map(|answer| match answer {
            Answer::Sockets(sockets) => sockets.into_iter().map(|socket| socket.data.to_string()).collect(),
            _ => Vec::new(),
        });
        assert_eq!(data.collect::<Vec<_>>(), ["{}", "{}"], "{dialect:?}");
    }
}
