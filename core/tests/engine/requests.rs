//! Questions to the cluster.

use core::time::Duration;

use sio_streams_core::{Answer, BroadcastOptions, Command, Dialect, Payload, Reply, Ticket};

use crate::cluster::{Cluster, packet, sockets};

const ALL: [Dialect; 3] = [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge];

fn fetch(cluster: &mut Cluster, index: usize, opts: BroadcastOptions) -> Ticket {
    let now = cluster.now();
    let ticket = cluster.nodes[index].engine.fetch_sockets(now, "/", opts).unwrap();
    cluster.settle();
    ticket
}

fn emit(cluster: &mut Cluster, index: usize) -> Ticket {
    let now = cluster.now();
    let event = Payload::event("ping", &(1,)).unwrap();
    let ticket = cluster.nodes[index].engine.server_side_emit_with_ack(now, "/", event).unwrap();
    cluster.settle();
    ticket
}

fn ask_clients(cluster: &mut Cluster, index: usize, opts: BroadcastOptions) -> Ticket {
    let now = cluster.now();
    let ticket = cluster.nodes[index].engine.broadcast_with_ack(now, "/", packet("question"), opts).unwrap();
    cluster.settle();
    ticket
}

#[test]
fn everyone_answers() {
    for dialect in ALL {
        let mut cluster = Cluster::ready(&[dialect; 3]);
        let asked = fetch(&mut cluster, 0, BroadcastOptions::all());
        let (answers, outcome) = cluster.outcome(0, asked).expect("over at once");
        assert_eq!(sockets(&answers), ["s0", "s1", "s2"], "{dialect:?}");
        assert!(outcome.is_complete());
        assert_eq!(outcome.answered.len(), 3);

        let asked = emit(&mut cluster, 1);
        let (answers, outcome) = cluster.outcome(1, asked).expect("over at once");
        assert_eq!(answers.len(), 2, "{dialect:?}: not this server itself");
        assert!(outcome.is_complete());

        let asked = ask_clients(&mut cluster, 2, BroadcastOptions::all().except("s1"));
        let (answers, outcome) = cluster.outcome(2, asked).expect("over at once");
        let acks = answers.iter().filter(|answer| matches!(answer, Answer::Ack(_))).count();
        assert_eq!((acks, outcome.clients, outcome.acks), (2, 2, 2), "{dialect:?}");
        assert!(outcome.is_complete());
    }
}

#[test]
fn a_lonely_node_answers_itself() {
    for dialect in ALL {
        let mut cluster = Cluster::ready(&[dialect]);
        let asked = fetch(&mut cluster, 0, BroadcastOptions::all());
        assert_eq!(sockets(&cluster.outcome(0, asked).expect("over").0), ["s0"]);
        let asked = emit(&mut cluster, 0);
        assert!(cluster.outcome(0, asked).expect("over").1.is_complete());
        let asked = ask_clients(&mut cluster, 0, BroadcastOptions::to("nobody"));
        let (_, outcome) = cluster.outcome(0, asked).expect("over");
        assert_eq!(outcome.clients, 0);
        assert!(outcome.is_complete());
    }
}

#[test]
fn a_local_question_is_asked_of_this_node_only() {
    for dialect in ALL {
        let mut cluster = Cluster::ready(&[dialect; 2]);
        let asked = fetch(&mut cluster, 0, BroadcastOptions::all().local());
        assert_eq!(sockets(&cluster.outcome(0, asked).expect("over").0), ["s0"]);
    }
}

#[test]
fn a_silent_node_costs_the_time_and_is_named() {
    for dialect in ALL {
        let mut cluster = Cluster::ready(&[dialect; 3]);
        cluster.nodes[2].answers = false;
        let silent = cluster.uid(2);
        let asked = fetch(&mut cluster, 0, BroadcastOptions::all().timeout(Duration::from_secs(2)));
        cluster.pass(1_999);
        assert!(cluster.outcome(0, asked).is_none());
        cluster.pass(1);
        let (answers, outcome) = cluster.outcome(0, asked).expect("over");
        assert_eq!(sockets(&answers), ["s0", "s1"], "{dialect:?}: what has come is not thrown away");
        assert!(outcome.timed_out);
        assert_eq!((outcome.missing, outcome.missing_unnamed), (vec![silent], 0), "{dialect:?}");
    }
}

#[test]
fn a_node_that_dies_meanwhile_is_not_waited_for_and_is_named() {
    for dialect in ALL {
        let mut cluster = Cluster::ready(&[dialect; 3]);
        // It has said something, so its name is known to those who only count.
        cluster.broadcast(2, "hello");
        cluster.nodes[2].answers = false;
        let dead = cluster.uid(2);
        let asked = fetch(&mut cluster, 0, BroadcastOptions::all().timeout(Duration::from_secs(60)));
        cluster.kill(2);
        cluster.pass(12_000);
        let (answers, outcome) = cluster.outcome(0, asked).expect("over before the time is up");
        assert_eq!(sockets(&answers), ["s0", "s1"], "{dialect:?}");
        assert!(!outcome.timed_out);
        assert_eq!((outcome.missing, outcome.missing_unnamed), (vec![dead], 0), "{dialect:?}");
    }
}

#[test]
fn a_subscriber_that_dies_is_noticed_within_a_second() {
    let mut cluster = Cluster::ready(&[Dialect::Streams03; 3]);
    cluster.nodes[2].answers = false;
    let asked = fetch(&mut cluster, 0, BroadcastOptions::all().timeout(Duration::from_secs(60)));
    cluster.kill(2);
    cluster.pass(1_000);
    let (_, outcome) = cluster.outcome(0, asked).expect("over");
    assert_eq!(outcome.missing.len() as u64 + outcome.missing_unnamed, 1);
}

#[test]
fn clients_of_a_node_that_dies_after_counting_are_not_waited_for() {
    for dialect in ALL {
        let mut cluster = Cluster::ready(&[dialect; 2]);
        cluster.nodes[1].answers = false; // counts its clients, but they stay silent
        let asked = ask_clients(&mut cluster, 0, BroadcastOptions::all().timeout(Duration::from_secs(60)));
        assert!(cluster.outcome(0, asked).is_none());
        cluster.kill(1);
        cluster.pass(12_000);
        let (_, outcome) = cluster.outcome(0, asked).expect("over before the time is up");
        assert_eq!((outcome.clients, outcome.acks), (2, 1), "{dialect:?}");
        assert!(!outcome.is_complete());
    }
}

#[test]
fn a_bridge_asks_and_answers_both_generations() {
    let mut cluster =
        Cluster::ready(&[Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Bridge]);
    for bridge in [2, 3] {
        let asked = fetch(&mut cluster, bridge, BroadcastOptions::all());
        let (answers, outcome) = cluster.outcome(bridge, asked).expect("over at once");
        assert_eq!(sockets(&answers), ["s0", "s1", "s2", "s3"]);
        assert!(outcome.is_complete(), "{outcome:?}");
        let asked = ask_clients(&mut cluster, bridge, BroadcastOptions::all());
        let (_, outcome) = cluster.outcome(bridge, asked).expect("over at once");
        assert_eq!((outcome.clients, outcome.acks), (4, 4));
    }
    // Each generation alone with bridges: the other is silent to it, as it is to its own kind.
    cluster.kill(1);
    cluster.pass(1_000);
    let asked = fetch(&mut cluster, 0, BroadcastOptions::all());
    assert_eq!(sockets(&cluster.outcome(0, asked).expect("over").0), ["s0", "s2", "s3"]);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of entries")]
fn many_questions_leave_nothing_behind() {
    let mut cluster = Cluster::ready(&[Dialect::Bridge; 2]);
    cluster.nodes[1].answers = false;
    for _ in 0..500 {
        fetch(&mut cluster, 0, BroadcastOptions::all());
        emit(&mut cluster, 0);
    }
    cluster.pass(10_000);
    let done = cluster.nodes[0]
        .events
        .iter()
        .filter(|event| format!("{event:?}").starts_with("RequestDone"))
        .count();
    assert_eq!(done, 1_000);
    let left = format!("{:?}", cluster.nodes[0].engine);
    assert!(left.contains("requests: Requests { open: {}"), "a request is left");
}

#[test]
fn a_bridge_that_is_heard_of_late_is_nobody_missing() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams03, Dialect::Bridge]);
    // The new bridge asks before it has heard the old one's heartbeat: it counts it among the silent subscribers.
    cluster.nodes[2].stopped = true;
    cluster.add(crate::cluster::config(Dialect::Bridge));
    cluster.open(3, "/");
    let asked = fetch(&mut cluster, 3, BroadcastOptions::all());
    cluster.nodes[2].stopped = false;
    cluster.settle();
    cluster.pass(1_000);
    let (answers, outcome) = cluster.outcome(3, asked).expect("over");
    assert_eq!(sockets(&answers), ["s0", "s1", "s2", "s3"]);
    assert!(outcome.is_complete(), "{outcome:?}");
}

#[test]
fn a_count_that_cannot_be_is_no_panic() {
    let mut cluster = Cluster::ready(&[Dialect::Bridge; 2]);
    let now = cluster.now();
    let engine = &mut cluster.nodes[0].engine;
    engine.server_count(now, "/").unwrap();
    engine.fetch_sockets(now, "/", BroadcastOptions::all()).unwrap();
    while let Some((id, command)) = engine.poll_command() {
        if let Command::PubSubNumSub { channels, .. } = command {
            engine.handle_reply(now, id, Ok(Reply::Counts(vec![u64::MAX; channels.len()])));
        }
    }
    cluster.pass(10_000);
}
