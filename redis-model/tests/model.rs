//! Tests of what the comparison with a real server does not reach: time-outs, clients that go, and
//! faults.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Duration;

use bytestring::ByteString;
use sio_streams_core::{Command, CommandError, EntryId, Fields, Lane, Reply};
use sio_streams_redis_model::{ClientId, Executed, RedisModel};

fn fields(value: &str) -> Fields {
    Fields::from_iter([("data".to_owned(), value.to_owned())])
}

fn add(stream: &'static str) -> Command {
    Command::XAdd { stream: stream.into(), max_len: 1_000, fields: fields("x").into() }
}

fn read(stream: &'static str, after: EntryId, block_ms: u64) -> Command {
    Command::XRead { stream: stream.into(), after, count: 100, block: Duration::from_millis(block_ms) }
}

fn subscribe(channel: &'static str, sharded: bool) -> Command {
    Command::Subscribe { channels: vec![channel.into()], sharded }
}

fn id(ms: u64, seq: u64) -> EntryId {
    EntryId { ms, seq }
}

#[track_caller]
fn reply(
    model: &mut RedisModel,
    now_ms: u64,
    client: ClientId,
    command: &Command,
) -> Result<Reply, CommandError> {
    match model.execute(now_ms, client, command) {
        Executed::Reply(reply) => reply,
        Executed::Blocked => panic!("{command:?} blocks"),
    }
}

#[track_caller]
fn added(model: &mut RedisModel, now_ms: u64, client: ClientId) -> EntryId {
    match reply(model, now_ms, client, &add("s")) {
        Ok(Reply::Added(id)) => id,
        other => panic!("{other:?}"),
    }
}

fn loading() -> CommandError {
    CommandError::Server { code: "LOADING".to_owned(), message: "Redis is loading".to_owned() }
}

#[test]
fn ids_grow_whatever_the_clock_does() {
    let mut model = RedisModel::new();
    let client = model.connect();
    let times = [5, 5, 3, 6, 0];
    let ids = times.map(|now_ms| added(&mut model, now_ms, client));
    assert_eq!(ids, [id(5, 0), id(5, 1), id(5, 2), id(6, 0), id(6, 1)]);
    model.add_entry_as(id(7, u64::MAX), "s", fields("x")).unwrap();
    assert_eq!(added(&mut model, 0, client), id(8, 0));
    model.add_entry_as(id(u64::MAX, u64::MAX), "s", fields("x")).unwrap();
    let error = reply(&mut model, 0, client, &add("s")).unwrap_err();
    assert!(error.to_string().contains("exhausted"), "{error}");
}

#[test]
fn reads_time_out_in_the_order_of_their_deadlines() {
    let mut model = RedisModel::new();
    let [slow, quick, writer] = [(); 3].map(|()| model.connect());
    assert_eq!(model.execute(100, slow, &read("s", EntryId::ZERO, 50)), Executed::Blocked);
    assert_eq!(model.execute(110, quick, &read("t", EntryId::ZERO, 10)), Executed::Blocked);
    assert_eq!(model.poll_timeout(), Some(120));
    model.handle_timeout(119);
    assert_eq!(model.poll_wakeup(), None);
    // Time passes by commands too: the time-out comes before the entry.
    added(&mut model, 150, writer);
    let nothing = Ok(Reply::Entries(Vec::new()));
    assert_eq!(model.poll_wakeup(), Some((quick, nothing.clone())));
    assert_eq!(model.poll_wakeup(), Some((slow, nothing)));
    assert_eq!((model.poll_wakeup(), model.poll_timeout()), (None, None));
}

#[test]
fn a_blocked_client_executes_nothing_else() {
    let mut model = RedisModel::new();
    let client = model.connect();
    assert_eq!(model.execute(0, client, &read("s", EntryId::ZERO, 50)), Executed::Blocked);
    assert!(matches!(reply(&mut model, 0, client, &add("s")), Err(CommandError::NotSent(_))));
    model.unblock_all(&loading());
    assert_eq!(model.poll_wakeup(), Some((client, Err(loading()))));
    added(&mut model, 0, client);
}

#[test]
fn what_belongs_to_a_client_ends_with_it() {
    let mut model = RedisModel::new();
    let [gone, stays] = [(); 2].map(|()| model.connect());
    for client in [gone, stays] {
        reply(&mut model, 0, client, &subscribe("c", false)).unwrap();
        reply(&mut model, 0, client, &subscribe("c", true)).unwrap();
    }
    let publish = Command::Publish { channel: "c".into(), payload: "p".into(), sharded: true };
    reply(&mut model, 0, stays, &publish).unwrap();
    assert_eq!(model.execute(0, gone, &read("s", EntryId::ZERO, 50)), Executed::Blocked);
    model.disconnect(gone);
    assert!(!model.is_connected(gone));
    assert_eq!(model.poll_timeout(), None);
    assert_eq!(model.poll_push(), Some((stays, "c".into(), "p".into())));
    assert_eq!(model.poll_push(), None);
    for sharded in [false, true] {
        let count = Command::PubSubNumSub { channels: vec!["c".into()], sharded };
        assert_eq!(reply(&mut model, 0, stays, &count), Ok(Reply::Counts(vec![1])));
    }
    assert!(matches!(reply(&mut model, 0, gone, &add("s")), Err(CommandError::NotSent(_))));

    reply(&mut model, 0, stays, &Command::Unsubscribe { channels: Vec::new(), sharded: false }).unwrap();
    let all = Command::PubSubChannels { pattern: "*".into(), sharded: false };
    assert_eq!(reply(&mut model, 0, stays, &all), Ok(Reply::Channels(Vec::new())));
    model.disconnect_all();
    assert!(!model.is_connected(stays));
}

#[test]
fn a_failover_loses_the_tail() {
    let mut model = RedisModel::new();
    let client = model.connect();
    let ids: Vec<EntryId> = (1..=250).map(|ms| added(&mut model, ms, client)).collect();
    assert_eq!(model.lose_tail("s", 120), 120);
    let info = model.stream_info("s").unwrap();
    assert_eq!((info.length, info.entries_added, info.last_generated_id), (130, Some(130), ids[129]));
    // A reader that is ahead waits for more than the next entry; its id is given again.
    assert_eq!(model.execute(130, client, &read("s", ids[200], 50)), Executed::Blocked);
    assert_eq!(model.add_entry(131, "s", fields("other")), Ok(ids[130]));
    assert_eq!(model.poll_wakeup(), None);
    assert_eq!(model.entries("s").count(), 131);

    // If the entry before was trimmed, the last id lies somewhere before what is lost.
    model.trim("s", 1);
    assert_eq!(model.lose_tail("s", 5), 1);
    let info = model.stream_info("s").unwrap();
    assert_eq!((info.length, info.first_entry_id), (0, None));
    assert!(info.last_generated_id < ids[130]);
}

#[test]
fn a_stream_that_loses_everything_is_gone() {
    let mut model = RedisModel::new();
    model.add_entry(5, "s", fields("x")).unwrap();
    assert_eq!(model.lose_tail("s", 10), 1);
    assert_eq!(model.stream_info("s"), None);
    model.add_entry(3, "s", fields("x")).unwrap();
    model.flush();
    assert_eq!(model.stream_info("s"), None);
    model.add_entry(1, "s", fields("x")).unwrap();
    assert!(model.remove("s"));
    assert!(!model.remove("s"));
}

#[test]
fn refusals() {
    let mut model = RedisModel::new();
    let client = model.connect();
    model.refuse_writes_with(Some(loading()));
    assert_eq!(reply(&mut model, 0, client, &add("s")), Err(loading()));
    assert_eq!(reply(&mut model, 0, client, &subscribe("c", false)), Ok(Reply::Done));
    model.refuse_with(Some(loading()));
    assert_eq!(reply(&mut model, 0, client, &subscribe("c", false)), Err(loading()));
    assert_eq!(reply(&mut model, 0, client, &Command::Release { lane: Lane::Writer }), Ok(Reply::Done));
    model.refuse_with(None);
    model.refuse_writes_with(None);
    added(&mut model, 0, client);

    model.occupy("k");
    let key = ByteString::from("k");
    for command in [add("k"), read("k", EntryId::ZERO, 1), Command::XInfoStream { stream: key }] {
        let error = reply(&mut model, 0, client, &command).unwrap_err();
        assert!(matches!(&error, CommandError::Server { code, .. } if code == "WRONGTYPE"), "{error}");
    }
}
