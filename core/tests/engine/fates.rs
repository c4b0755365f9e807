//! Tests of the fate of published messages: each is in the stream once, or its failure is reported.

use std::time::Duration;

use sio_streams_core::{
    BroadcastOptions, Command, CommandError, Config, Dialect, Engine, Entry, EntryId, Event, Lane, Limits,
    LocalDelivery, Reply, Ticket, Time,
};

use crate::cluster::{Cluster, LostReply, config, located, packet};

fn texts(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

/// Publishes a burst in one go. The test has set the fate of each reply.
fn burst(cluster: &mut Cluster, index: usize, count: u32) -> Vec<Ticket> {
    let tickets = texts(0..count)
        .iter()
        .map(|text| cluster.broadcast_to(index, text, BroadcastOptions::all()))
        .collect();
    cluster.settle();
    tickets
}

fn published(cluster: &mut Cluster, index: usize) -> Vec<Ticket> {
    let mut tickets = Vec::new();
    while let Some(Event::Published { ticket, entry }) =
        cluster.take(index, |event| matches!(event, Event::Published { .. }))
    {
        assert!(entry.is_some());
        tickets.push(ticket);
    }
    tickets
}

fn failed(cluster: &mut Cluster, index: usize) -> Option<(Ticket, CommandError)> {
    match cluster.take(index, |event| matches!(event, Event::PublishFailed { .. }))? {
        Event::PublishFailed { ticket, error } => Some((ticket, error)),
        _ => unreachable!(),
    }
}

fn refusal(code: &str) -> CommandError {
    CommandError::Server { code: code.into(), message: "no".into() }
}

#[test]
fn a_lost_reply_is_looked_up_and_nothing_is_doubled() {
    use LostReply::{After, Before, No};
    // The cases are all patterns of replies that a cut can leave: some arrive, some are lost after
    // the command was executed, and the other commands never arrive.
    for (came, executed) in [(0, 0), (0, 3), (2, 0), (2, 3), (5, 0), (0, 5), (4, 1)] {
        let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams02]);
        let mut cut = vec![No; came];
        cut.extend(vec![After; executed]);
        cut.extend(vec![Before; 5 - came - executed]);
        cluster.nodes[0].lost = cut.into();
        let tickets = burst(&mut cluster, 0, 5);
        assert!(cluster.nodes[0].lost.is_empty());
        cluster.pass(1_000);
        assert_eq!(published(&mut cluster, 0), tickets, "{came} {executed}");
        assert!(failed(&mut cluster, 0).is_none());
        for index in [0, 1] {
            assert_eq!(cluster.heard(index), texts(0..5), "{came} {executed}");
        }
    }
}

#[test]
fn a_late_execution_of_the_first_try_is_passed_over_and_reported() {
    for dialect in [Dialect::Streams02, Dialect::Streams03] {
        let mut cluster = Cluster::ready(&[dialect, dialect]);
        cluster.nodes[0].lost = vec![LostReply::Late; 4].into();
        let tickets = burst(&mut cluster, 0, 4);
        cluster.pass(1_000);
        assert_eq!(published(&mut cluster, 0), tickets);
        cluster.arrive_late();
        assert_eq!(cluster.heard(1), texts(0..4));
        for index in [0, 1] {
            let uid = cluster.uid(0);
            for _ in 0..4 {
                let repeated = cluster.take(index, |event| matches!(event, Event::Repeated { .. }));
                assert!(matches!(repeated, Some(Event::Repeated { from, .. }) if from == uid));
            }
            assert!(cluster.take(index, |event| matches!(event, Event::Repeated { .. })).is_none());
        }
    }
}

#[test]
fn what_arrives_late_between_the_search_and_the_second_try_counts_once() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams02]);
    cluster.nodes[0].lost = vec![LostReply::Late; 3].into();
    burst(&mut cluster, 0, 3);
    // The second attempts are held up as well, behind the first ones.
    cluster.nodes[0].lost = vec![LostReply::Late; 3].into();
    cluster.pass(300);
    cluster.arrive_late();
    cluster.pass(1_000);
    assert_eq!(published(&mut cluster, 0).len(), 3);
    assert_eq!(cluster.heard(1), texts(0..3));
    assert_eq!(cluster.heard(0), texts(0..3));
}

#[test]
#[cfg_attr(miri, ignore = "thousands of entries")]
fn a_message_is_found_behind_thousands_of_others() {
    let config = || Config { max_len: 100_000, ..config(Dialect::Streams02) };
    let mut cluster = Cluster::with_configs([config(), config()]);
    cluster.open(0, "/");
    cluster.open(1, "/");
    cluster.nodes[0].lost = vec![LostReply::After, LostReply::Before].into();
    // The reader hears nothing in the meantime, so the search has to begin far back.
    cluster.cut(0, &Lane::Reader("socket.io".into()));
    for text in texts(0..2) {
        cluster.broadcast_to(0, &text, BroadcastOptions::all());
    }
    cluster.settle_commands();
    cluster.cut(0, &Lane::Writer);
    for _ in 0..2_500 {
        cluster.broadcast_to(1, "other", BroadcastOptions::all());
    }
    cluster.settle();
    cluster.heard(1);
    cluster.mend(0, &Lane::Writer);
    assert_eq!(published(&mut cluster, 0).len(), 2);
    assert_eq!(cluster.heard(1), ["1"], "the first has been heard before the others");
}

#[test]
fn what_the_server_can_not_take_now_is_sent_when_it_can() {
    for code in ["OOM", "READONLY", "LOADING", "CLUSTERDOWN", "MISCONF", "BUSY", "NOREPLICAS"] {
        let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams02]);
        cluster.store.refuse_writes_with(Some(refusal(code)));
        let tickets = burst(&mut cluster, 0, 3);
        cluster.pass(3_000);
        assert_eq!(published(&mut cluster, 0), []);
        let refused = |event: &Event| matches!(event, Event::Refused { lane: Lane::Writer, .. });
        assert!(cluster.take(0, refused).is_some(), "{code}");
        assert!(cluster.take(0, refused).is_none(), "once");
        cluster.store.refuse_writes_with(None);
        cluster.pass(1_000);
        assert_eq!(published(&mut cluster, 0), tickets);
        assert_eq!(cluster.heard(1), texts(0..3));
        assert!(failed(&mut cluster, 0).is_none());
    }
}

/// A command that is refused is tried ever more seldom, and the next one as often as at first.
#[test]
fn a_server_that_refuses_is_not_asked_all_the_time() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02]);
    for _ in 0..2 {
        cluster.store.refuse_writes_with(Some(refusal("OOM")));
        burst(&mut cluster, 0, 1);
        let tried = |cluster: &mut Cluster, millis| {
            let noted = cluster.noted_while(0, millis);
            noted.iter().filter(|command| matches!(command, Command::XAdd { .. })).count()
        };
        let soon = tried(&mut cluster, 600);
        assert!((1..=3).contains(&soon), "{soon}");
        cluster.pass(2_400);
        let later = tried(&mut cluster, 4_000);
        assert!((3..=6).contains(&later), "{later}");
        cluster.store.refuse_writes_with(None);
        cluster.pass(1_000);
        assert_eq!(published(&mut cluster, 0).len(), 1);
    }
}

/// A reader that may not read is refused each time, though it may ask where the stream ends.
#[test]
fn a_reader_that_is_refused_asks_ever_more_seldom() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02; 2]);
    cluster.store.refuse_reads_with(Some(refusal("NOPERM")));
    cluster.cut(0, &Lane::Reader("socket.io".into()));
    cluster.mend(0, &Lane::Reader("socket.io".into()));
    cluster.pass(10_000);
    let noted = cluster.noted_while(0, 4_000);
    let reads = noted.iter().filter(|command| matches!(command, Command::XRead { .. })).count();
    assert!((3..=6).contains(&reads), "{reads}");
    cluster.store.refuse_reads_with(None);
    cluster.pass(1_000);
    cluster.broadcast(1, "a");
    assert_eq!(cluster.heard(0), ["a"]);
}

#[test]
fn what_the_server_will_never_take_is_given_up_at_once() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams02]);
    cluster.store.refuse_writes_with(Some(refusal("NOPERM")));
    let tickets = burst(&mut cluster, 0, 2);
    for ticket in tickets {
        assert_eq!(failed(&mut cluster, 0), Some((ticket, refusal("NOPERM"))));
    }
    // The node's own clients get the message all the same, as with Node's adapters.
    assert_eq!(cluster.heard(0), texts(0..2));
    cluster.store.refuse_writes_with(None);
    burst(&mut cluster, 0, 1);
    assert_eq!(cluster.heard(1), texts(0..1));
}

#[test]
fn what_waits_for_too_long_is_given_up_and_says_whether_it_was_sent() {
    let limits = Limits { in_flight_for: Duration::from_secs(30), ..Limits::default() };
    let mut cluster = Cluster::with_configs([Config { limits, ..config(Dialect::Streams02) }]);
    cluster.open(0, "/");
    cluster.nodes[0].lost = vec![LostReply::Before].into();
    let unknown = cluster.broadcast_to(0, "0", BroadcastOptions::all());
    cluster.settle_commands();
    cluster.cut(0, &Lane::Writer);
    cluster.pass(10_000);
    let unsent = cluster.broadcast_to(0, "1", BroadcastOptions::all());
    cluster.pass(19_000);
    assert!(failed(&mut cluster, 0).is_none());
    cluster.pass(1_500);
    assert!(matches!(failed(&mut cluster, 0), Some((ticket, CommandError::Lost(_))) if ticket == unknown));
    cluster.pass(10_000);
    assert!(matches!(failed(&mut cluster, 0), Some((ticket, CommandError::NotSent(_))) if ticket == unsent));
    cluster.mend(0, &Lane::Writer);
    assert_eq!(published(&mut cluster, 0), []);
    let kinds: Vec<_> =
        cluster.store.entries("socket.io").map(|entry| entry.fields.get("type").cloned().unwrap()).collect();
    assert_eq!(kinds, ["1", "2"], "the heartbeat at the beginning, and the one that was owed");
}

#[test]
fn what_may_come_late_is_not_said_to_have_been_refused() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams02]);
    cluster.nodes[0].lost = vec![LostReply::Late].into();
    let tickets = burst(&mut cluster, 0, 1);
    cluster.store.refuse_writes_with(Some(refusal("NOPERM")));
    cluster.pass(1_000);
    let (ticket, error) = failed(&mut cluster, 0).unwrap();
    assert_eq!(ticket, tickets[0]);
    assert!(matches!(&error, CommandError::Lost(why) if why.contains("NOPERM")), "{error}");
    cluster.store.refuse_writes_with(None);
    cluster.arrive_late();
    assert_eq!(cluster.heard(1), texts(0..1), "and so it does");
}

#[test]
fn a_search_that_is_not_allowed_gives_up_what_is_unknown_and_goes_on() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams02]);
    cluster.nodes[0].lost = vec![LostReply::After].into();
    let ticket = cluster.broadcast_to(0, "0", BroadcastOptions::all());
    cluster.settle();
    cluster.store.refuse_with(Some(refusal("NOPERM")));
    cluster.pass(300);
    cluster.store.refuse_with(None);
    cluster.pass(300);
    assert!(matches!(failed(&mut cluster, 0), Some((other, CommandError::Lost(_))) if other == ticket));
    burst(&mut cluster, 0, 2);
    assert_eq!(published(&mut cluster, 0).len(), 2);
}

/// A reply that can't be understood, or an error that is not Redis' own, does not tell that the
/// command was not executed.
#[test]
fn a_reply_that_does_not_tell_the_fate_is_looked_up() {
    for strange in [LostReply::Unusable, LostReply::Foreign] {
        let mut cluster = Cluster::ready(&[Dialect::Streams02; 2]);
        cluster.nodes[0].lost = vec![strange; 3].into();
        let tickets = burst(&mut cluster, 0, 4);
        cluster.pass(2_000);
        assert_eq!(failed(&mut cluster, 0), None, "{strange:?}");
        assert_eq!(published(&mut cluster, 0), tickets, "{strange:?}");
        assert_eq!(cluster.heard(1), texts(0..4), "{strange:?}");
    }
    // A message to a channel leaves no trace, so its fate stays unknown.
    let mut cluster = Cluster::ready(&[Dialect::Sharded; 2]);
    cluster.nodes[0].lost = vec![LostReply::Unusable].into();
    let ticket = cluster.broadcast(0, "a");
    let told = failed(&mut cluster, 0);
    assert!(matches!(&told, Some((of, CommandError::Lost(_))) if *of == ticket), "{told:?}");
    assert_eq!(cluster.heard(1), ["a"]);
}

#[test]
fn in_stream_order_all_nodes_do_the_same_in_the_same_order() {
    let config = || Config { local_delivery: LocalDelivery::StreamOrder, ..config(Dialect::Streams03) };
    let mut cluster = Cluster::with_configs([config(), config()]);
    cluster.open(0, "/");
    cluster.open(1, "/");
    for round in 0..20 {
        for index in [0, 1] {
            cluster.broadcast_to(index, &format!("{index} {round}"), BroadcastOptions::all());
        }
        if round % 3 == 0 {
            cluster.settle();
        }
    }
    cluster.settle();
    let heard = cluster.heard(0);
    assert_eq!(heard.len(), 40);
    assert_eq!(cluster.heard(1), heard);

    cluster.store.refuse_writes_with(Some(refusal("NOPERM")));
    burst(&mut cluster, 0, 1);
    assert!(failed(&mut cluster, 0).is_some());
    assert_eq!(cluster.heard(0), Vec::<String>::new(), "what is given up is done nowhere");
}

#[test]
fn at_once_means_before_anybody_else_and_once() {
    let config = Config { local_delivery: LocalDelivery::AtOnce, ..config(Dialect::Streams02) };
    let mut cluster = Cluster::with_configs([config]);
    cluster.open(0, "/");
    cluster.cut(0, &Lane::Writer);
    cluster.broadcast(0, "now");
    assert_eq!(cluster.heard(0), ["now"]);
    cluster.mend(0, &Lane::Writer);
    assert_eq!(published(&mut cluster, 0).len(), 1);
    assert_eq!(cluster.heard(0), Vec::<String>::new());
}

#[test]
fn a_node_that_comes_back_under_its_old_name_is_heard() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02]);
    let old = cluster.add_with_seed(config(Dialect::Streams02), 77);
    cluster.open(old, "/");
    for _ in 0..20 {
        cluster.broadcast(old, "before");
    }
    cluster.kill(old);
    cluster.heard(0);
    let new = cluster.add_with_seed(config(Dialect::Streams02), 77);
    assert_eq!(cluster.uid(old), cluster.uid(new));
    cluster.open(new, "/");
    cluster.broadcast(new, "after");
    assert_eq!(cluster.heard(0), ["after"]);
}

#[test]
fn two_nodes_of_one_name_are_reported() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02]);
    let twins = [(); 2].map(|()| cluster.add_with_seed(config(Dialect::Streams02), 77));
    for twin in twins {
        cluster.open(twin, "/");
    }
    for _ in 0..3 {
        for twin in twins {
            cluster.broadcast(twin, "who am I?");
        }
    }
    let taken = |cluster: &mut Cluster, index| {
        cluster.take(index, |event| matches!(event, Event::NameTaken { .. })).is_some()
    };
    assert!(twins.map(|twin| taken(&mut cluster, twin)).contains(&true));
    assert!(!taken(&mut cluster, 0));
}

#[test]
fn a_namespace_that_closes_says_what_is_in_line_first() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams02]);
    cluster.nodes[0].lost = vec![LostReply::Before; 3].into();
    burst(&mut cluster, 0, 3);
    let now = cluster.now();
    cluster.nodes[0].engine.close(now);
    cluster.pass(1_000);
    assert!(cluster.take(0, |event| matches!(event, Event::Closed { .. })).is_some());
    assert_eq!(published(&mut cluster, 0).len(), 3);
    assert_eq!(cluster.heard(1), texts(0..3));
    assert!(cluster.take(1, |event| matches!(event, Event::NodeDown { .. })).is_some());
}

#[test]
fn a_namespace_that_was_never_ready_closes_without_redis() {
    let mut cluster = Cluster::with_configs([config(Dialect::Streams02)]);
    cluster.cut(0, &Lane::Reader("socket.io".into()));
    let now = cluster.now();
    cluster.nodes[0].engine.open_namespace(now, "/").unwrap();
    let ticket = cluster.broadcast_to(0, "early", BroadcastOptions::all());
    cluster.settle();
    cluster.nodes[0].engine.close(now);
    cluster.settle();
    assert!(matches!(failed(&mut cluster, 0), Some((other, CommandError::NotSent(_))) if other == ticket));
    assert!(cluster.take(0, |event| matches!(event, Event::Closed { .. })).is_some());
    assert!(cluster.nodes[0].engine.is_closed());
}

/// The fuzz target `engine` found this: a message that the search had found was forgotten behind
/// one that was still unanswered, and nothing was published any more.
#[test]
fn the_search_waits_for_replies_that_may_yet_come() {
    let now = Time::from_millis(1);
    let mut engine = located(now);
    let tickets =
        ["a", "b"].map(|text| engine.broadcast(now, "/", packet(text), BroadcastOptions::all()).unwrap());
    // The first heartbeat and both messages are under way.
    let mut sent = Vec::new();
    while let Some((id, command)) = engine.poll_command() {
        if let Command::XAdd { fields, .. } = command {
            sent.push((id, fields));
        }
    }
    assert_eq!(sent.len(), 3);
    let lost = |engine: &mut Engine, at: usize| {
        engine.handle_reply(now, sent[at].0, Err(CommandError::Lost("cut".into())));
    };
    lost(&mut engine, 2);
    let later = engine.poll_timeout().unwrap();
    engine.handle_timeout(later);
    assert!(engine.poll_command().is_none(), "the others may yet be answered");
    engine.handle_reply(later, sent[0].0, Ok(Reply::Added(EntryId { ms: 1, seq: 1 })));
    engine.handle_reply(later, sent[1].0, Ok(Reply::Added(EntryId { ms: 1, seq: 2 })));
    let Some((id, Command::XRange { .. })) = engine.poll_command() else { panic!("now it is searched") };
    let found = Entry { id: EntryId { ms: 1, seq: 3 }, fields: (*sent[2].1).clone() };
    engine.handle_reply(later, id, Ok(Reply::Entries(vec![found])));
    let ends = std::iter::from_fn(|| engine.poll_event()).filter_map(|event| match event {
        Event::Published { ticket, entry } => Some((ticket, entry.unwrap().seq)),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), [(tickets[0], 2), (tickets[1], 3)]);
    engine.broadcast(later, "/", packet("c"), BroadcastOptions::all()).unwrap();
    assert!(matches!(engine.poll_command(), Some((_, Command::XAdd { .. }))));
}

/// A driver may send a command over the next connection before the engine has heard that the
/// previous connection was lost.
#[test]
fn what_was_overtaken_is_given_up_and_not_sent_behind_what_overtook_it() {
    let mut engine = located(Time::ZERO);
    let mut broadcast = |text: &str| {
        let ticket = engine.broadcast(Time::ZERO, "/", packet(text), BroadcastOptions::all()).unwrap();
        let mut added = None;
        while let Some((id, command)) = engine.poll_command() {
            match command {
                Command::XAdd { fields, .. } if fields.get("type").is_some_and(|kind| kind == "3") => {
                    added = Some((ticket, id, fields));
                }
                // This is the first heartbeat.
                Command::XAdd { .. } => {
                    engine.handle_reply(Time::ZERO, id, Ok(Reply::Added(EntryId { ms: 1, seq: 0 })));
                }
                _ => {}
            }
        }
        added.unwrap()
    };
    let (lost, unknown) = (CommandError::Lost("cut".into()), CommandError::NotSent("cut".into()));
    let [(first, a, _), (second, b, _), (third, c, fields)] = ["one", "two", "three"].map(&mut broadcast);
    engine.handle_reply(Time::ZERO, a, Err(lost.clone()));
    engine.handle_reply(Time::ZERO, b, Err(unknown));
    let id = EntryId { ms: 5, seq: 0 };
    engine.handle_reply(Time::ZERO, c, Ok(Reply::Added(id)));
    let (mut published, mut failed) = (Vec::new(), Vec::new());
    for seconds in 0..5 {
        let now = Time::from_millis(seconds * 1_000);
        engine.handle_timeout(now);
        while let Some((command_id, command)) = engine.poll_command() {
            match command {
                Command::XRange { .. } => {
                    let found = vec![Entry { id, fields: (*fields).clone() }];
                    engine.handle_reply(now, command_id, Ok(Reply::Entries(found)));
                }
                Command::XAdd { fields, .. } => {
                    assert!(fields.get("type").is_none_or(|kind| kind != "3"), "sent again: {fields:?}");
                }
                _ => {}
            }
        }
        while let Some(event) = engine.poll_event() {
            match event {
                Event::Published { ticket, .. } => published.push(ticket),
                Event::PublishFailed { ticket, .. } => failed.push(ticket),
                _ => {}
            }
        }
    }
    failed.sort();
    assert_eq!((published, failed), (vec![third], vec![first, second]));
}
