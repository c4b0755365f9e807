//! Tests of entries that are trimmed before they are read, and of servers that have lost entries
//! that were read.

use sio_streams_core::wire::entry;
use sio_streams_core::{
    Body, BroadcastOptions, Command, CommandError, Config, Dialect, Engine, Entry, EntryId, Event, Fields,
    Lane, LinkState, Lost, Message, NodeId, Reply, StreamInfo, Time,
};

use crate::cluster::{Cluster, config, located, packet, stream_up_to};

const STREAM: &str = "socket.io";

fn reader() -> Lane {
    Lane::Reader(STREAM.into())
}

/// Writes broadcasts of an unrelated program.
fn foreign(cluster: &mut Cluster, count: u64) {
    for _ in 0..count {
        let body =
            Body::Broadcast { packet: packet("foreign"), opts: BroadcastOptions::all(), request_id: None };
        let message = Message { uid: NodeId::new("foreign"), nsp: "/".into(), body };
        let wall = 1_700_000_000_000 + cluster.millis;
        cluster.store.add_entry(wall, STREAM, entry::encode(&message).unwrap()).unwrap();
    }
}

fn gap(cluster: &mut Cluster, index: usize) -> Option<(EntryId, EntryId, Lost)> {
    match cluster.take(index, |event| matches!(event, Event::Gap { .. }))? {
        Event::Gap { after, until, lost, .. } => Some((after, until, lost)),
        _ => unreachable!(),
    }
}

fn rewound(cluster: &mut Cluster, index: usize) -> Option<(EntryId, EntryId, Lost)> {
    match cluster.take(index, |event| matches!(event, Event::Rewound { .. }))? {
        Event::Rewound { cursor, last, lost, .. } => Some((cursor, last, lost)),
        _ => unreachable!(),
    }
}

fn last(cluster: &Cluster) -> EntryId {
    cluster.store.stream_info(STREAM).unwrap().last_generated_id
}

fn first(cluster: &Cluster) -> EntryId {
    cluster.store.stream_info(STREAM).unwrap().first_entry_id.unwrap()
}

#[test]
#[cfg_attr(miri, ignore = "thousands of entries")]
fn a_trimmed_stream_is_a_gap_of_a_known_size() {
    for kept in [0, 1, 99, 100, 101, 250, 500] {
        let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams02]);
        let before = last(&cluster);
        cluster.cut(1, &reader());
        foreign(&mut cluster, 500);
        cluster.settle();
        cluster.store.trim(STREAM, kept);
        let until = if kept == 0 { last(&cluster) } else { first(&cluster) };
        cluster.mend(1, &reader());
        cluster.pass(10_000);
        let expected = (kept < 500).then_some((before, until, Lost::Exactly(500 - kept)));
        assert_eq!(gap(&mut cluster, 1), expected, "{kept}");
        assert_eq!(gap(&mut cluster, 1), None);
        assert_eq!(gap(&mut cluster, 0), None);
        assert_eq!(rewound(&mut cluster, 1), None);
        cluster.heard(1);
        cluster.broadcast(0, "after");
        assert_eq!(cluster.heard(1), ["after"]);
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of entries")]
fn a_reader_that_is_overtaken_without_a_disconnect_notices() {
    // The application takes no events while more is written than the stream keeps. Batches that
    // were read before are not affected.
    for (ahead, more, kept) in
        [(50, 1_000, 100), (100, 1_000, 100), (250, 1_000, 30), (0, 120, 20), (99, 50, 40)]
    {
        let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams02]);
        cluster.pass(100);
        foreign(&mut cluster, ahead);
        cluster.settle_commands();
        foreign(&mut cluster, more);
        cluster.store.trim(STREAM, kept);
        cluster.settle_commands();
        cluster.pass(20_000);
        let Some((after, until, Lost::Exactly(lost))) = gap(&mut cluster, 1) else { panic!("not noticed") };
        assert!(after < until);
        assert_eq!(gap(&mut cluster, 1), None);
        assert_eq!(rewound(&mut cluster, 1), None);
        assert_eq!(cluster.heard(1).len() as u64 + lost, ahead + more);
    }
}

#[test]
fn a_server_that_does_not_count_leaves_the_size_open() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams02]);
    cluster.store.set_counting(false);
    cluster.pass(20_000);
    cluster.cut(1, &reader());
    foreign(&mut cluster, 500);
    cluster.store.trim(STREAM, 10);
    let until = first(&cluster);
    cluster.mend(1, &reader());
    let (_, to, lost) = gap(&mut cluster, 1).unwrap();
    assert_eq!((to, lost), (until, Lost::Unknown));
}

#[test]
#[cfg_attr(miri, ignore = "thousands of entries")]
fn a_burst_that_fills_batches_is_no_gap() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams03]);
    for burst in [1, 99, 100, 101, 350, 1_000, 5_000] {
        foreign(&mut cluster, burst);
        cluster.settle();
        cluster.pass(700);
        assert_eq!((gap(&mut cluster, 0), gap(&mut cluster, 1)), (None, None), "{burst}");
        assert_eq!((rewound(&mut cluster, 0), rewound(&mut cluster, 1)), (None, None), "{burst}");
    }
}

#[test]
fn an_emptied_stream_is_noticed_without_a_disconnect() {
    for again in [0, 1, 40] {
        let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams02]);
        foreign(&mut cluster, 30);
        cluster.pass(100);
        let cursor = last(&cluster);
        let entries = cluster.store.stream_info(STREAM).unwrap().entries_added.unwrap();
        cluster.store.flush();
        foreign(&mut cluster, again);
        cluster.pass(15_000);
        let (from, _, Lost::Exactly(lost)) = rewound(&mut cluster, 1).expect("noticed") else { panic!() };
        assert!(from >= cursor);
        assert!(lost <= entries + 10 && lost >= entries, "{lost} of {entries}");
        assert_eq!(rewound(&mut cluster, 1), None);
        assert_eq!(gap(&mut cluster, 1), None);
        cluster.heard(1);
        cluster.broadcast(0, "after");
        assert_eq!(cluster.heard(1), ["after"]);
    }
}

#[test]
fn a_lost_tail_is_noticed_though_the_stream_has_grown_beyond_it() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams02]);
    foreign(&mut cluster, 30);
    cluster.pass(1_000);
    cluster.cut(1, &reader());
    cluster.store.lose_tail(STREAM, 7);
    cluster.pass(10);
    foreign(&mut cluster, 20);
    cluster.mend(1, &reader());
    cluster.pass(1_000);
    let (_, _, lost) = rewound(&mut cluster, 1).expect("noticed");
    assert_eq!(lost, Lost::Exactly(7));
    assert_eq!(gap(&mut cluster, 1), None);
    cluster.pass(20_000);
    assert_eq!(rewound(&mut cluster, 1), None, "once");
}

#[test]
fn the_lag_is_known_and_goes_away() {
    let config = Config { read_count: 10, ..config(Dialect::Streams02) };
    let mut cluster = Cluster::with_configs([config]);
    cluster.open(0, "/");
    cluster.pass(6_000);
    foreign(&mut cluster, 100);
    cluster.settle_commands();
    let lag = |cluster: &Cluster| cluster.nodes[0].engine.lags().next().unwrap().1;
    assert!(lag(&cluster).waiting > 0);
    let position = lag(&cluster).position;
    cluster.pass(6_000);
    assert_eq!((lag(&cluster).waiting, lag(&cluster).unread), (0, Some(0)));
    assert_eq!(lag(&cluster).position, Some(last(&cluster)));
    assert!(lag(&cluster).position > position);
}

#[test]
fn a_sender_is_told_of_its_lost_messages_though_it_had_not_read_them() {
    let mut cluster = Cluster::ready(&[Dialect::Streams03, Dialect::Streams03]);
    cluster.broadcast(0, "read by all");
    cluster.cut(0, &reader());
    let published: Vec<EntryId> = (0..5)
        .map(|number| {
            cluster.broadcast(0, &number.to_string());
            last(&cluster)
        })
        .collect();
    cluster.store.lose_tail(STREAM, 2);
    cluster.mend(0, &reader());
    cluster.pass(10);
    let (cursor, last, lost) = rewound(&mut cluster, 0).expect("told");
    assert_eq!((cursor, last, lost), (published[4], published[2], Lost::Unknown));
    cluster.pass(20_000);
    assert_eq!(rewound(&mut cluster, 0), None, "once");
    cluster.broadcast(1, "after");
    let heard = cluster.heard(0);
    assert_eq!(heard.last().map(String::as_str), Some("after"));
}

/// Crashes of real servers found this: replies on the writer's connection overtook the reader's,
/// and the node forgot them when the server reported the stream's former end.
#[test]
fn a_sender_is_told_of_what_was_acknowledged_while_the_server_was_asked() {
    let now = Time::from_millis(1);
    let mut engine = located(now);
    engine.broadcast(now, "/", packet("a"), BroadcastOptions::all()).unwrap();
    // The reader's link breaks and comes back. The test sets the replies that follow.
    let ask = |engine: &mut Engine| {
        let (mut sent, mut asked) = (Vec::new(), None);
        let mut take = |engine: &mut Engine| {
            let mut reading = None;
            while let Some((id, command)) = engine.poll_command() {
                match command {
                    Command::XRead { .. } => reading = Some(id),
                    Command::XInfoStream { .. } => asked = Some(id),
                    _ => sent.push(id),
                }
            }
            reading
        };
        let reading = take(engine).expect("it reads");
        engine.handle_link(now, &reader(), LinkState::down("cut"));
        engine.handle_reply(now, reading, Err(CommandError::Lost("cut".into())));
        engine.handle_link(now, &reader(), LinkState::Up);
        take(engine);
        (sent, asked.expect("where does it end?"))
    };
    let (sent, asked) = ask(&mut engine);
    // These are the heartbeat and the broadcast.
    assert_eq!(sent.len(), 2);
    for (seq, id) in (1..).zip(sent) {
        engine.handle_reply(now, id, Ok(Reply::Added(EntryId { ms: 1, seq })));
    }
    engine.handle_reply(now, asked, Ok(Reply::Stream(Some(stream_up_to(1)))));
    // The server is now one that has not got the broadcast.
    let (_, asked) = ask(&mut engine);
    engine.handle_reply(now, asked, Ok(Reply::Stream(Some(stream_up_to(1)))));
    let told = std::iter::from_fn(|| engine.poll_event()).find_map(|event| match event {
        Event::Rewound { cursor, last, lost, .. } => Some((cursor, last, lost)),
        _ => None,
    });
    assert_eq!(told, Some((EntryId { ms: 1, seq: 2 }, EntryId { ms: 1, seq: 1 }, Lost::Unknown)));
}

#[test]
fn after_each_reconnect_the_server_is_asked_what_it_counts_before_more_is_read() {
    let mut cluster = Cluster::ready(&[Dialect::Streams03, Dialect::Streams03]);
    cluster.pass(100);
    cluster.cut(1, &reader());
    foreign(&mut cluster, 150);
    // The server reports 150 entries, of which a hundred are read.
    cluster.connect(1, &reader());
    cluster.settle_commands();
    cluster.store.lose_tail(STREAM, 50);
    cluster.cut(1, &reader());
    cluster.mend(1, &reader());
    cluster.pass(1_000);
    foreign(&mut cluster, 10);
    cluster.pass(20_000);
    assert_eq!(cluster.heard(1).len(), 110);
    // No entry that had been read is lost, and no existing entry was missed.
    assert_eq!((rewound(&mut cluster, 1), gap(&mut cluster, 1)), (None, None));
}

/// The batch is held until the server has told its count. A server that does not count still tells
/// its first entry, which is behind the whole batch here.
#[test]
fn what_was_trimmed_behind_a_batch_that_is_held_is_a_gap_without_counts() {
    let id = |seq| EntryId { ms: 1, seq };
    for first in [Some(id(196)), None] {
        let mut engine = located(Time::ZERO);
        let commands: Vec<_> = core::iter::from_fn(|| engine.poll_command()).collect();
        let is_read = |command: &Command| matches!(command, Command::XRead { .. });
        let (read, _) = commands.into_iter().find(|(_, command)| is_read(command)).unwrap();
        let entries = (1..=100).map(|seq| Entry { id: id(seq), fields: Fields::new() });
        engine.handle_reply(Time::ZERO, read, Ok(Reply::Entries(entries.collect())));
        let (check, command) = engine.poll_command().unwrap();
        assert!(matches!(command, Command::XInfoStream { .. }), "{command:?}");
        let info = StreamInfo {
            length: first.map_or(0, |_| 5),
            last_generated_id: id(200),
            first_entry_id: first,
            ..StreamInfo::default()
        };
        engine.handle_reply(Time::ZERO, check, Ok(Reply::Stream(Some(info))));
        let gaps: Vec<_> = core::iter::from_fn(|| engine.poll_event())
            .filter_map(|event| match event {
                Event::Gap { after, until, lost, .. } => Some((after, until, lost)),
                _ => None,
            })
            .collect();
        let behind = (id(100), first.unwrap_or(id(200)), Lost::Unknown);
        assert_eq!(gaps, [(EntryId::ZERO, id(1), Lost::Unknown), behind]);
    }
}
