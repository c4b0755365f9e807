//! Tests of membership: heartbeats, silence, and departures.

use sio_streams_core::wire::pubsub;
use sio_streams_core::{
    Body, Command, Config, Dialect, DownReason, Engine, Entry, EntryId, Event, Lane, LinkState, Message,
    NodeId, Reply, Time,
};

use crate::cluster::{Cluster, config, located, stream_up_to};

fn down(cluster: &mut Cluster, index: usize) -> Option<(NodeId, DownReason)> {
    match cluster.take(index, |event| matches!(event, Event::NodeDown { .. })) {
        Some(Event::NodeDown { node, reason, .. }) => Some((node, reason)),
        _ => None,
    }
}

#[test]
fn nodes_know_each_other_from_the_start_in_every_dialect() {
    for dialect in [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge] {
        let mut cluster = Cluster::ready(&[dialect; 4]);
        for index in 0..4 {
            assert_eq!(cluster.count(index), 4, "{dialect:?}");
        }
    }
}

#[test]
fn heartbeats_keep_silent_nodes_alive() {
    for dialect in [Dialect::Streams02, Dialect::Bridge] {
        let mut cluster = Cluster::ready(&[dialect; 3]);
        cluster.pass(120_000);
        for index in 0..3 {
            assert_eq!(cluster.count(index), 3);
            assert_eq!(down(&mut cluster, index), None);
        }
    }
}

#[test]
fn a_dead_node_expires_after_the_timeout_and_not_before() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02; 2]);
    cluster.pass(1_000);
    let dead = cluster.uid(1);
    // Its last sign of life was at the start.
    cluster.kill(1);
    cluster.pass(8_999);
    assert_eq!(cluster.count(0), 2);
    cluster.pass(2);
    assert_eq!(down(&mut cluster, 0), Some((dead, DownReason::Silent)));
    assert_eq!(cluster.count(0), 1);
}

#[test]
fn a_node_that_leaves_is_gone_at_once() {
    for dialect in [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge] {
        let mut cluster = Cluster::ready(&[dialect; 2]);
        let now = cluster.now();
        let left = cluster.uid(1);
        cluster.nodes[1].engine.close(now);
        cluster.settle();
        assert_eq!(cluster.count(0), 1);
        if dialect != Dialect::Streams03 {
            assert_eq!(down(&mut cluster, 0), Some((left, DownReason::Closed)));
        }
    }
}

#[test]
fn nobody_is_declared_silent_while_nobody_can_be_heard() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02; 3]);
    let reader = Lane::Reader("socket.io".into());
    cluster.cut(0, &reader);
    cluster.pass(60_000);
    assert_eq!(down(&mut cluster, 0), None);
    cluster.mend(0, &reader);
    cluster.pass(1_000);
    assert_eq!(cluster.count(0), 3);
    assert_eq!(down(&mut cluster, 0), None);
    // Afterwards silence counts again.
    cluster.kill(2);
    cluster.pass(20_000);
    assert_eq!(cluster.count(0), 2);
}

#[test]
fn a_slow_application_does_not_declare_others_silent() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02; 2]);
    cluster.nodes[0].stopped = true;
    for second in 0..30 {
        cluster.broadcast(1, &second.to_string());
        cluster.pass(1_000);
    }
    cluster.nodes[0].stopped = false;
    cluster.settle();
    assert_eq!(down(&mut cluster, 0), None);
    cluster.pass(2_000);
    assert_eq!(cluster.count(0), 2);
}

/// A process that was suspended looks at the clock before it reads the messages that came in the
/// meantime.
#[test]
fn a_node_that_stood_still_does_not_declare_others_silent() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02; 2]);
    let stand_still = |cluster: &mut Cluster| {
        cluster.nodes[0].stopped = true;
        cluster.pass(60_000);
        cluster.nodes[0].stopped = false;
        let now = cluster.now();
        cluster.nodes[0].engine.handle_timeout(now);
    };
    stand_still(&mut cluster);
    cluster.settle();
    assert_eq!(down(&mut cluster, 0), None);
    cluster.pass(2_000);
    assert_eq!(down(&mut cluster, 0), None);
    assert_eq!(cluster.count(0), 2);
    // A node that really died meanwhile is missed all the same, once the others have had their time
    // again.
    let dead = cluster.uid(1);
    cluster.kill(1);
    stand_still(&mut cluster);
    cluster.pass(9_000);
    assert_eq!(down(&mut cluster, 0), None);
    cluster.pass(3_000);
    assert_eq!(down(&mut cluster, 0), Some((dead, DownReason::Silent)));
}

/// A stream whose batches are always full is queried after each batch. Silence is judged in the
/// end, even if such a query is always pending when it is due.
#[test]
fn a_dead_node_expires_on_a_busy_stream() {
    let busy = Config { read_count: 1, ..config(Dialect::Streams02) };
    let mut engine = Engine::new(busy, 1, Time::ZERO).unwrap();
    engine.open_namespace(Time::ZERO, "/").unwrap();
    // The node can't write, so it must rely on what it reads.
    engine.handle_link(Time::ZERO, &Lane::Writer, LinkState::down("cut"));
    let mut seq = 0;
    let (mut read, mut asked) = (None, Vec::new());
    let mut down = false;
    for tick in 0..300 {
        let now = Time::from_millis(tick * 100);
        // An entry comes every second, and the server is asked for its count. The reply takes half
        // a second.
        if tick % 10 == 9
            && let Some(id) = read.take()
        {
            seq += 1;
            let author = if seq == 1 { "dead" } else { "busy" };
            let fields = [("uid", author), ("nsp", "/"), ("type", "2")].into_iter().collect();
            let entries = vec![Entry { id: EntryId { ms: 1, seq }, fields }];
            engine.handle_reply(now, id, Ok(Reply::Entries(entries)));
        }
        engine.handle_timeout(now);
        while let Some(event) = engine.poll_event() {
            down |= matches!(&event, Event::NodeDown { node, .. } if node.as_str() == "dead");
            assert!(
                !matches!(&event, Event::NodeDown { node, .. } if node.as_str() == "busy"),
                "{event:?} at {now}"
            );
        }
        let answers = tick % 10 == 4 || tick == 0;
        while let Some((id, command)) = engine.poll_command() {
            match command {
                Command::XRead { .. } => read = Some(id),
                Command::XInfoStream { .. } if answers => {
                    engine.handle_reply(now, id, Ok(Reply::Stream(Some(stream_up_to(seq)))));
                }
                Command::XInfoStream { .. } => asked.push(id),
                _ => {}
            }
        }
        if answers {
            for id in asked.drain(..) {
                engine.handle_reply(now, id, Ok(Reply::Stream(Some(stream_up_to(seq)))));
            }
        }
    }
    assert!(down);
}

#[test]
fn a_bridge_counts_both_generations_and_other_bridges_once() {
    let all = [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Bridge, Dialect::Streams03];
    let mut cluster = Cluster::ready(&all);
    for bridge in [2, 3] {
        assert_eq!(cluster.count(bridge), 5);
    }
    // Broadcasts of 0.3 nodes are on the stream. They do not make a node a member twice.
    cluster.broadcast(1, "hello");
    cluster.broadcast(4, "hello");
    cluster.pass(60_000);
    for bridge in [2, 3] {
        assert_eq!(cluster.count(bridge), 5);
        assert_eq!(down(&mut cluster, bridge), None);
    }
    for gone in [0, 1, 3] {
        cluster.kill(gone);
    }
    cluster.pass(20_000);
    assert_eq!(cluster.count(2), 2);
}

/// The simulator found this: the bridge was counted by its subscription, which had no name yet, and
/// by its heartbeat.
#[test]
fn a_bridge_that_is_heard_of_while_the_servers_are_counted_is_counted_once() {
    let mut cluster = Cluster::ready(&[Dialect::Bridge; 2]);
    let now = cluster.now();
    cluster.nodes[0].stopped = true;
    cluster.add(config(Dialect::Bridge));
    cluster.open(2, "/");
    let engine = &mut cluster.nodes[0].engine;
    let ticket = engine.server_count(now, "/").unwrap();
    let count = std::iter::from_fn(|| engine.poll_command())
        .find_map(|(id, command)| matches!(command, Command::PubSubNumSub { .. }).then_some(id))
        .expect("it asks who subscribes");
    // The heartbeat comes before the reply.
    cluster.nodes[0].stopped = false;
    cluster.settle();
    // Three nodes subscribe: this one, the old bridge, and one without a name.
    cluster.nodes[0].engine.handle_reply(now, count, Ok(Reply::Counts(vec![3, 1, 1])));
    cluster.settle();
    let told = cluster.nodes[0].events.iter().find_map(|event| match event {
        Event::ServerCount { ticket: told, count } if *told == ticket => Some(count.clone()),
        _ => None,
    });
    assert_eq!(told, Some(Ok(3)));
}

#[test]
fn an_emitter_is_no_node() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02]);
    let data = r#"{"packet":{"type":2,"data":["event","emitted"],"nsp":"/"},"opts":{"rooms":[],"except":[],"flags":{}}}"#;
    let fields = [("uid", "emitter"), ("nsp", "/"), ("type", "3"), ("data", data)];
    cluster.store.add_entry(1_800_000_000_000, "socket.io", fields.into_iter().collect()).unwrap();
    cluster.settle();
    assert_eq!(cluster.heard(0), ["emitted"]);
    assert_eq!(cluster.count(0), 1);
}

/// The fuzz target `engine` found this: a pending heartbeat went out behind the farewell, and kept
/// the node alive for the others.
#[test]
fn a_namespace_that_is_closed_answers_nothing_that_had_come_before() {
    let mut cluster = Cluster::ready(&[Dialect::Bridge]);
    let now = cluster.now();
    let engine = &mut cluster.nodes[0].engine;
    let hello = Message { uid: NodeId::new("other"), nsp: "/".into(), body: Body::InitialHeartbeat };
    engine.handle_push(now, "socket.io#/#", &pubsub::encode(&hello).unwrap());
    engine.close_namespace(now, "/").unwrap();
    while engine.poll_event().is_some() {}
    let published = std::iter::from_fn(|| engine.poll_command()).filter_map(|(_, command)| match command {
        Command::XAdd { fields, .. } => Some(fields.get("type").unwrap().clone()),
        _ => None,
    });
    assert_eq!(published.collect::<Vec<_>>(), ["13"]);
}

#[test]
fn answers_by_pubsub_do_not_stand_for_heartbeats() {
    let mut cluster = Cluster::ready(&[Dialect::Bridge, Dialect::Bridge, Dialect::Streams03]);
    for _ in 0..60 {
        let now = cluster.now();
        cluster.nodes[2].engine.fetch_sockets(now, "/", Default::default()).unwrap();
        cluster.pass(500);
    }
    for index in [0, 1] {
        assert_eq!(down(&mut cluster, index), None);
    }
}

const BEATING: [Dialect; 2] = [Dialect::Streams02, Dialect::Bridge];

/// A heartbeat that falls into an outage is sent as soon as the link is back.
#[test]
#[cfg_attr(miri, ignore = "hundreds of outages")]
fn outages_that_are_shorter_than_the_patience_kill_nobody() {
    for dialect in BEATING {
        for lane in [Lane::Writer, Lane::Reader("socket.io".into()), Lane::Subscriber] {
            for outage in [100, 500, 1_000, 2_000, 3_000, 4_000, 4_900] {
                let mut cluster = Cluster::ready(&[dialect; 2]);
                for phase in 0..25 {
                    cluster.pass(5_000 + phase * 200);
                    cluster.cut(0, &lane);
                    cluster.pass(outage);
                    cluster.mend(0, &lane);
                    cluster.pass(5_000);
                    for index in [0, 1] {
                        assert_eq!(down(&mut cluster, index), None, "{dialect:?}, {lane}: {outage} ms");
                    }
                }
            }
        }
    }
}

/// The others read an entry when it is added, and its author may learn of that much later. What
/// counts for the next heartbeat is the entry, not its reply.
#[test]
fn a_reply_that_comes_late_delays_no_heartbeat() {
    let beat = |engine: &mut Engine| {
        core::iter::from_fn(|| engine.poll_command())
            .find_map(|(id, command)| matches!(command, Command::XAdd { .. }).then_some(id))
    };
    for late in [1, 2_500, 4_999, 5_000, 5_001, 9_000, 30_000] {
        let at = Time::from_millis;
        let mut engine = located(at(0));
        let mut began = 0;
        for number in 1..=20 {
            let id =
                beat(&mut engine).unwrap_or_else(|| panic!("no heartbeat at {began} ms, {late} ms late"));
            let mut now = began;
            while now < began + late {
                now = engine.poll_timeout().map_or(u64::MAX, |due| due.as_micros().div_ceil(1_000));
                now = now.clamp(began + 1, began + late);
                engine.handle_timeout(at(now));
                if now < began + late {
                    assert_eq!(beat(&mut engine), None, "one at a time");
                }
            }
            engine.handle_reply(at(now), id, Ok(Reply::Added(EntryId { ms: began, seq: number })));
            // The next one is due an interval after the last one was handed out, or at once.
            began = now.max(began + 5_000);
            engine.handle_timeout(at(began - 1).max(at(now)));
            if now < began {
                assert_eq!(beat(&mut engine), None, "{late} ms late: too soon");
            }
            engine.handle_timeout(at(began));
        }
    }
}

/// While the server hangs, no node can publish or be heard.
#[test]
#[cfg_attr(miri, ignore = "hundreds of hangs")]
fn a_server_that_hangs_kills_nobody() {
    for dialect in BEATING {
        for hang in [1_000, 4_900, 5_000, 5_100, 9_000, 9_990, 10_001, 15_000] {
            for order in [[0, 1], [1, 0]] {
                let mut cluster = Cluster::ready(&[dialect; 2]);
                for phase in 0..20 {
                    cluster.pass(5_000 + phase * 250);
                    cluster.hang();
                    cluster.pass(hang);
                    cluster.go_on(&order);
                    for index in [0, 1] {
                        assert_eq!(down(&mut cluster, index), None, "{dialect:?}: {hang} ms, {phase}");
                    }
                    cluster.pass(10_000);
                    for index in [0, 1] {
                        assert_eq!(down(&mut cluster, index), None, "{dialect:?}: {hang} ms, {phase}");
                    }
                }
                // A node that dies is detected all the same.
                let dead = cluster.uid(1);
                cluster.kill(1);
                cluster.pass(12_000);
                assert_eq!(down(&mut cluster, 0), Some((dead, DownReason::Silent)));
            }
        }
    }
}

/// The node that judges loses its own link for writing just then, so that none of its own entries
/// shows that the server hung.
#[test]
fn a_server_that_hangs_kills_nobody_for_a_node_that_only_hears() {
    for hang in [5_000, 9_000, 10_001, 15_000] {
        let mut cluster = Cluster::ready(&[Dialect::Streams02; 3]);
        cluster.pass(7_000);
        cluster.hang();
        cluster.cut(0, &Lane::Writer);
        cluster.pass(hang);
        cluster.go_on(&[0]);
        // The others are cut off for a moment more.
        for other in [1, 2] {
            cluster.nodes[other].stopped = true;
        }
        cluster.pass(1_000);
        for other in [1, 2] {
            cluster.nodes[other].stopped = false;
        }
        cluster.settle();
        assert_eq!(down(&mut cluster, 0), None, "{hang} ms");
        cluster.pass(12_000);
        assert_eq!(down(&mut cluster, 0), None, "{hang} ms");
    }
}

/// While the application takes nothing, nothing is asked of the server, and so nothing shows that it
/// hangs.
#[test]
fn a_slow_application_kills_nobody_for_a_node_that_only_hears() {
    for slow in [9_000, 10_000, 12_000, 30_000] {
        let mut cluster = Cluster::ready(&[Dialect::Streams02; 3]);
        cluster.cut(0, &Lane::Writer);
        cluster.pass(5_100);
        cluster.nodes[0].takes = false;
        // This is read and not looked at.
        cluster.broadcast(2, "zero");
        cluster.pass(100);
        cluster.hang();
        cluster.cut(1, &Lane::Writer);
        cluster.pass(slow);
        cluster.nodes[0].takes = true;
        cluster.pass(100);
        cluster.go_on(&[0, 2, 1]);
        cluster.broadcast(2, "one");
        cluster.pass(10);
        cluster.broadcast(2, "two");
        cluster.pass(1_000);
        assert_eq!(down(&mut cluster, 0), None, "{slow} ms");
        cluster.mend(1, &Lane::Writer);
        cluster.pass(20_000);
        assert_eq!(down(&mut cluster, 0), None, "{slow} ms");
    }
}

/// A server that takes no entries still answers reads. A node that can't write can't tell that from
/// silence.
#[test]
fn a_node_that_only_hears_does_not_judge_by_a_stream_that_stands_still() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02; 2]);
    cluster.cut(0, &Lane::Writer);
    cluster.cut(1, &Lane::Writer);
    cluster.pass(60_000);
    assert_eq!(down(&mut cluster, 0), None);
    assert_eq!(down(&mut cluster, 1), None);
    cluster.mend(0, &Lane::Writer);
    let silent = cluster.uid(1);
    cluster.pass(12_000);
    assert_eq!(down(&mut cluster, 0), Some((silent, DownReason::Silent)), "by entries of its own");
    assert_eq!(down(&mut cluster, 1), None);
}

/// Nodes whose own link for writing is down can't send out a question of their own, but they hear.
#[test]
fn a_death_is_noticed_by_a_node_that_only_hears() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02; 3]);
    cluster.cut(0, &Lane::Writer);
    let dead = cluster.uid(1);
    cluster.kill(1);
    cluster.pass(25_000);
    assert_eq!(down(&mut cluster, 0), Some((dead, DownReason::Silent)));
    assert_eq!(down(&mut cluster, 0), None, "the third lives");
}

#[test]
fn a_busy_namespace_silences_none_of_its_neighbours() {
    let limits = sio_streams_core::Limits { in_flight: 3, ..Default::default() };
    let config = Config { limits, ..config(Dialect::Streams02) };
    let mut engine = Engine::new(config, 1, Time::ZERO).unwrap();
    for nsp in ["/", "/b"] {
        engine.open_namespace(Time::ZERO, nsp).unwrap();
    }
    let (id, _) = engine.poll_command().unwrap();
    engine.handle_reply(Time::ZERO, id, Ok(Reply::Stream(None)));
    let mut beats = Vec::new();
    for second in 0..60 {
        let now = Time::from_millis(second * 1_000);
        engine.handle_timeout(now);
        // The application publishes until a call is refused.
        while engine.broadcast(now, "/", crate::cluster::packet("a"), Default::default()).is_ok() {}
        while engine.poll_event().is_some() {}
        while let Some((id, command)) = engine.poll_command() {
            let Command::XAdd { fields, .. } = command else { continue };
            let is = |name: &str, value: &str| fields.get(name).is_some_and(|found| found == value);
            if is("nsp", "/b") {
                beats.push(second);
                let entry = EntryId { ms: second + 1, seq: beats.len() as u64 };
                engine.handle_reply(now, id, Ok(Reply::Added(entry)));
            } else if is("type", "1") {
                let entry = EntryId { ms: 1, seq: 0 };
                engine.handle_reply(now, id, Ok(Reply::Added(entry)));
            }
        }
    }
    assert!(beats.len() >= 12, "{beats:?}");
    assert!(beats.windows(2).all(|pair| pair[1] - pair[0] <= 6), "{beats:?}");
}

fn add(cluster: &mut Cluster, fields: &[(&'static str, &'static str)]) {
    let wall = 1_700_000_000_000 + cluster.millis;
    cluster.store.add_entry(wall, "socket.io", fields.iter().copied().collect()).unwrap();
    cluster.settle();
}

/// Node's servers of 0.2 send no heartbeats while they have other things to publish.
#[test]
fn a_node_that_fell_silent_and_speaks_again_is_there_again() {
    for dialect in BEATING {
        let mut cluster = Cluster::ready(&[dialect]);
        add(&mut cluster, &[("uid", "old"), ("nsp", "/"), ("type", "2")]);
        cluster.pass(15_000);
        assert_eq!(down(&mut cluster, 0), Some((NodeId::new("old"), DownReason::Silent)), "{dialect:?}");
        let up =
            |cluster: &mut Cluster| cluster.take(0, |event| matches!(event, Event::NodeUp { .. })).is_some();
        assert!(up(&mut cluster));
        assert!(!up(&mut cluster));
        for _ in 0..10 {
            let data = r#"{"packet":{"type":2,"data":["event","a"]},"opts":{"rooms":[],"except":[]}}"#;
            add(&mut cluster, &[("uid", "old"), ("nsp", "/"), ("type", "3"), ("data", data)]);
            cluster.pass(3_000);
        }
        assert!(up(&mut cluster), "{dialect:?}");
        assert_eq!(cluster.count(0), 2, "{dialect:?}");
        assert_eq!(down(&mut cluster, 0), None, "{dialect:?}");
    }
}
