//! Tests of two masters that live at once: a node reads from one, and is switched to the other.

use core::time::Duration;

use sio_streams_core::wire::entry;
use sio_streams_core::{
    Body, BroadcastOptions, Command, CommandError, Config, Dialect, Engine, Entry, EntryId, Event, Fields,
    Lane, Lost, Message, NodeId, Reply, StreamInfo, Time,
};
use sio_streams_redis_model::RedisModel;

use crate::cluster::{Cluster, config, located, packet};

const STREAM: &str = "socket.io";

fn reader() -> Lane {
    Lane::Reader(STREAM.into())
}

/// Returns the entry of a broadcast. Entries of Node peers bear no number.
fn said(uid: &str, number: Option<u64>, text: &str) -> Fields {
    let body = Body::Broadcast { packet: packet(text), opts: BroadcastOptions::all(), request_id: None };
    let message = Message { uid: NodeId::new(uid.to_owned()), nsp: "/".into(), body };
    let mut fields = entry::encode(&message).unwrap();
    if let Some(number) = number {
        fields.push(entry::SEQUENCE_FIELD, number.to_string());
    }
    fields
}

/// The time of an entry by the server's clock.
const LATER: u64 = 1_800_000_000_000;

fn add(store: &mut RedisModel, after: u64, fields: Fields) -> EntryId {
    store.add_entry(LATER + after, STREAM, fields).unwrap()
}

fn rewinds(cluster: &mut Cluster, index: usize) -> Vec<(EntryId, EntryId, Lost)> {
    let mut found = Vec::new();
    while let Some(Event::Rewound { cursor, last, lost, .. }) =
        cluster.take(index, |event| matches!(event, Event::Rewound { .. }))
    {
        found.push((cursor, last, lost));
    }
    found
}

fn gaps(cluster: &mut Cluster, index: usize) -> usize {
    core::iter::from_fn(|| cluster.take(index, |event| matches!(event, Event::Gap { .. }))).count()
}

/// A cluster with one node that has read ten entries.
fn read_ten(config: Config) -> Cluster {
    let mut cluster = Cluster::ready_with([config]);
    for number in 0..10 {
        add(&mut cluster.store, number, said("ann", Some(number + 1), &format!("common {number}")));
    }
    cluster.pass(100);
    assert_eq!(cluster.heard(0).len(), 10);
    cluster
}

/// Switches the node to another master.
fn switch(cluster: &mut Cluster, other: &RedisModel) {
    cluster.cut(0, &reader());
    cluster.store.take_streams_of(other);
    cluster.mend(0, &reader());
    cluster.pass(10_000);
}

#[test]
fn what_another_master_took_below_the_readers_place_is_read() {
    // By how much the new master is ahead of the old one in the end, and whether it counts.
    for (ahead, counts) in [(-2_i64, true), (0, true), (2, true), (-2, false), (0, false), (2, false)] {
        let mut cluster = read_ten(config(Dialect::Streams02));
        cluster.store.set_counting(counts);
        let mut other = cluster.store.clone();
        let base = other.stream_info(STREAM).unwrap().last_generated_id;
        // As many on either side, so that the number of entries shows nothing.
        for number in 0..20 {
            add(&mut cluster.store, 100 + 10 * number, said("ben", None, &format!("old {number}")));
        }
        for number in 0..20 {
            // Every other id is one that the old master has given, too.
            let after = 100 + 10 * number + 5 * (number % 2);
            add(&mut other, after, said("cleo", None, &format!("new {number}")));
        }
        for number in 0..ahead {
            add(&mut other, 1_000 + number.unsigned_abs(), said("cleo", None, &format!("ahead {number}")));
        }
        if ahead < 0 {
            other.lose_tail(STREAM, ahead.unsigned_abs());
        }
        cluster.pass(100);
        assert_eq!(cluster.heard(0).len(), 20);
        let cursor = cluster.store.stream_info(STREAM).unwrap().last_generated_id;
        switch(&mut cluster, &other);
        let mut expected: Vec<String> =
            (0..20.min(20 + ahead)).map(|number| format!("new {number}")).collect();
        expected.extend((0..ahead).map(|number| format!("ahead {number}")));
        assert_eq!(cluster.heard(0), expected, "{ahead}, {counts}");
        assert_eq!(rewinds(&mut cluster, 0), [(cursor, base, Lost::Exactly(20))], "{ahead}, {counts}");
        assert_eq!(gaps(&mut cluster, 0), 0);
        // All is as before.
        cluster.broadcast(0, "after");
        cluster.pass(20_000);
        assert_eq!(rewinds(&mut cluster, 0), []);
        assert_eq!(gaps(&mut cluster, 0), 0);
    }
}

#[test]
fn an_entry_with_the_id_of_the_last_one_that_was_read_is_told_from_it() {
    let mut cluster = read_ten(config(Dialect::Streams02));
    let mut other = cluster.store.clone();
    let id = add(&mut cluster.store, 100, said("ben", Some(1), "old"));
    assert_eq!(add(&mut other, 100, said("cleo", Some(1), "new")), id);
    cluster.pass(100);
    assert_eq!(cluster.heard(0), ["old"]);
    switch(&mut cluster, &other);
    assert_eq!(cluster.heard(0), ["new"]);
    assert_eq!(rewinds(&mut cluster, 0).len(), 1);
}

#[test]
fn what_was_delivered_already_is_not_delivered_again() {
    let mut cluster = read_ten(config(Dialect::Streams02));
    let mut other = cluster.store.clone();
    // Ben's second message was on its way when the old master went, and he has sent it again.
    add(&mut cluster.store, 100, said("ben", Some(1), "one"));
    add(&mut cluster.store, 110, said("ben", Some(2), "two"));
    add(&mut other, 105, said("cleo", Some(1), "three"));
    add(&mut other, 120, said("ben", Some(2), "two"));
    add(&mut other, 130, said("ben", Some(3), "four"));
    cluster.pass(100);
    assert_eq!(cluster.heard(0), ["one", "two"]);
    switch(&mut cluster, &other);
    assert_eq!(cluster.heard(0), ["three", "four"]);
    assert!(cluster.take(0, |event| matches!(event, Event::Repeated { .. })).is_some());
}

#[test]
fn what_parts_before_all_that_is_remembered_is_a_rewind_of_unknown_size() {
    let config = Config { max_len: 1, ..config(Dialect::Streams02) };
    let mut cluster = read_ten(config);
    let mut other = cluster.store.clone();
    for number in 0..2_000 {
        add(&mut cluster.store, 100 + number, said("ben", None, "old"));
    }
    add(&mut other, 101, said("cleo", None, "too early"));
    add(&mut other, 2_050, said("cleo", None, "in time"));
    cluster.pass(1_000);
    assert_eq!(cluster.heard(0).len(), 2_000);
    switch(&mut cluster, &other);
    assert_eq!(cluster.heard(0), ["in time"]);
    let [(_, _, Lost::Unknown)] = rewinds(&mut cluster, 0)[..] else { panic!("not told") };
}

#[test]
fn an_entry_that_was_deleted_by_hand_is_no_fork() {
    for deleted in [&[9][..], &[5], &[7, 8, 9], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]] {
        for more in [0, 1, 150] {
            let mut cluster = read_ten(config(Dialect::Streams02));
            let ids: Vec<EntryId> = cluster.store.entries(STREAM).map(|entry| entry.id).collect();
            let tens = &ids[ids.len() - 10..];
            for place in deleted {
                assert!(cluster.store.delete(STREAM, tens[*place]));
            }
            cluster.cut(0, &reader());
            for number in 0..more {
                add(&mut cluster.store, 100 + number, said("ben", None, "more"));
            }
            cluster.mend(0, &reader());
            cluster.pass(20_000);
            assert_eq!(cluster.heard(0).len() as u64, more, "{deleted:?}");
            assert_eq!(rewinds(&mut cluster, 0), [], "{deleted:?}, {more}");
            assert_eq!(gaps(&mut cluster, 0), 0, "{deleted:?}, {more}");
        }
    }
}

#[test]
fn a_stream_of_which_nothing_was_read_is_not_doubted() {
    for trimmed in [None, Some(0), Some(1)] {
        let mut cluster = Cluster::with_configs([config(Dialect::Streams03)]);
        for number in 0..10 {
            add(&mut cluster.store, number, said("ann", Some(number + 1), "before"));
        }
        cluster.open(0, "/");
        if let Some(kept) = trimmed {
            cluster.store.trim(STREAM, kept);
        }
        for _ in 0..3 {
            cluster.cut(0, &reader());
            cluster.mend(0, &reader());
            cluster.pass(10_000);
        }
        assert_eq!((rewinds(&mut cluster, 0), gaps(&mut cluster, 0)), (vec![], 0), "{trimmed:?}");
        assert_eq!(cluster.heard(0), [""; 0]);
        add(&mut cluster.store, 100, said("ann", Some(11), "after"));
        cluster.pass(100);
        assert_eq!(cluster.heard(0), ["after"]);
    }
}

#[test]
fn a_stream_that_was_trimmed_is_no_fork() {
    for kept in [0, 1, 5, 10] {
        let mut cluster = read_ten(config(Dialect::Streams02));
        cluster.cut(0, &reader());
        cluster.store.trim(STREAM, kept);
        cluster.mend(0, &reader());
        cluster.pass(10_000);
        assert_eq!((rewinds(&mut cluster, 0), gaps(&mut cluster, 0)), (vec![], 0), "{kept}");
        assert_eq!(cluster.heard(0), [""; 0]);
    }
}

/// The node is switched back and forth. What one master alone has is read as often as the node comes
/// to it, but what bears a number is delivered once.
#[test]
fn a_node_that_is_switched_back_and_forth_gets_everything() {
    let mut cluster = read_ten(config(Dialect::Streams02));
    let mut other = cluster.store.clone();
    add(&mut cluster.store, 100, said("ben", Some(1), "old"));
    add(&mut other, 90, said("cleo", Some(1), "new"));
    cluster.pass(100);
    let mut old = cluster.store.clone();
    switch(&mut cluster, &other);
    add(&mut old, 80_000, said("ben", Some(2), "old, too"));
    switch(&mut cluster, &old);
    add(&mut other, 90_000, said("cleo", Some(2), "new, too"));
    switch(&mut cluster, &other);
    assert_eq!(cluster.heard(0), ["old", "new", "old, too", "new, too"]);
    assert_eq!(rewinds(&mut cluster, 0).len(), 3);
}

/// Answers what a node asks about its stream, until it waits for more. Returns what it has told.
/// When the last entry is read for the first time, it is lost.
fn serve(engine: &mut Engine, now: Time, stream: &mut Vec<Entry>, mut loses: bool) -> (Vec<String>, usize) {
    let (mut heard, mut rewinds) = (Vec::new(), 0);
    loop {
        while let Some(event) = engine.poll_event() {
            match event {
                Event::Broadcast(delivery) => {
                    heard.push(delivery.packet.data().decode::<(String, String)>().unwrap().1);
                }
                Event::Rewound { .. } => rewinds += 1,
                _ => {}
            }
        }
        let Some((id, command)) = engine.poll_command() else { return (heard, rewinds) };
        let reply = match command {
            Command::XInfoStream { .. } => {
                let (first, last) = (stream[0].id, stream[stream.len() - 1].id);
                let added = stream.len() as u64;
                Reply::Stream(Some(StreamInfo {
                    length: added,
                    last_generated_id: last,
                    entries_added: Some(added),
                    max_deleted_entry_id: Some(EntryId::ZERO),
                    first_entry_id: Some(first),
                }))
            }
            Command::XRead { after, count, block, .. } => {
                let behind = stream.iter().filter(|entry| entry.id > after);
                let found: Vec<Entry> = behind.take(count as usize).cloned().collect();
                if found.is_empty() && block > Duration::from_millis(1) {
                    engine.handle_reply(now, id, Err(CommandError::Lost("cut".into())));
                    return (heard, rewinds);
                }
                if loses && found.last() == stream.last() {
                    stream.pop();
                    loses = false;
                }
                Reply::Entries(found)
            }
            _ => Reply::Added(EntryId { ms: 1, seq: 0 }),
        };
        engine.handle_reply(now, id, Ok(reply));
    }
}

/// A batch of the new master is held back while the node finds out whether that is another one. The
/// end of the batch is lost at that moment. Nothing of it is part of what both masters have.
#[test]
fn what_is_held_back_and_lost_in_part_is_read_again() {
    let entry = |ms, text: &str| Entry { id: EntryId { ms, seq: 1 }, fields: said("ann", None, text) };
    let mut engine = located(Time::ZERO);
    let mut old = vec![entry(10, "common"), entry(20, "old")];
    let (heard, _) = serve(&mut engine, Time::ZERO, &mut old, false);
    assert_eq!(heard, ["common", "old"]);
    let texts = [(10, "common"), (15, "below"), (30, "above"), (40, "lost")];
    let mut new: Vec<Entry> = texts.into_iter().map(|(ms, text)| entry(ms, text)).collect();
    let later = Time::from_millis(1_000);
    engine.handle_timeout(later);
    let (heard, rewinds) = serve(&mut engine, later, &mut new, true);
    assert_eq!((heard, rewinds), (vec!["below".to_owned(), "above".to_owned()], 1));
}
