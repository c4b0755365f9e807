//! RESP as servers send it: whatever comes, in whatever pieces, is read the same, within limits, and
//! answers each command once.

use core::time::Duration;
use std::collections::BTreeMap;

use sio_streams_core::{Command, EntryId, Fields, Lane};
use sio_streams_resp::{
    Came, Connection, Expected, Incoming, Login, Pipeline, Protocol, ReadLimits, Reader, Received, Reply,
    Request, RespError, Value,
};

use crate::memory::bounded;

const EXPECTED: [Expected; 9] = [
    Expected::Added,
    Expected::Entries,
    Expected::Range,
    Expected::Stream,
    Expected::Counts,
    Expected::Channels,
    Expected::Value,
    Expected::Part,
    Expected::Anything,
];

/// Four bytes that choose (the size of the pieces, the depth, the length, the commands), and what
/// the server sends.
///
/// # Panics
///
/// If something does not hold.
pub fn resp(input: &[u8]) {
    let Some((&[piece, depth, length, choice], bytes)) = input.split_first_chunk() else { return };
    let piece = usize::from(piece).max(1);
    let all = bounded(bytes.len(), || read(bytes, bytes.len().max(1), ReadLimits::default()));
    assert_eq!(all, read(bytes, piece, ReadLimits::default()));
    let limits = ReadLimits::default().with_depth((depth % 40).into()).with_bytes(4 * usize::from(length));
    let some = read(bytes, bytes.len().max(1), limits);
    assert_eq!(some, read(bytes, piece, limits));
    // A limit cuts short, and changes nothing else.
    assert!(all.0.starts_with(&some.0));
    assert!(matches!(some.1, Some(RespError::TooDeep { .. } | RespError::TooLong { .. })) || some == all);
    for received in &all.0 {
        assert!(nested(&received.value) <= 33);
        for expected in EXPECTED {
            bounded(4 * bytes.len(), || _ = expected.parse(received.value.clone()));
        }
    }
    entries(bytes);
    each_command_once(bytes, piece, choice, limits);
}

fn read(bytes: &[u8], piece: usize, limits: ReadLimits) -> (Vec<Received>, Option<RespError>) {
    let (mut reader, mut values) = (Reader::new(limits), Vec::new());
    for piece in bytes.chunks(piece) {
        reader.feed(piece);
        loop {
            match reader.read() {
                Ok(Some(received)) => values.push(received),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.read().as_ref(), Err(&error));
                    return (values, Some(error));
                }
            }
        }
    }
    (values, None)
}

fn nested(value: &Value) -> usize {
    let deepest = match value {
        Value::List(items) => items.iter().map(nested).max(),
        Value::Map(pairs) => pairs.iter().map(|(name, value)| nested(name).max(nested(value))).max(),
        _ => None,
    };
    1 + deepest.unwrap_or_default()
}

/// Entries that are read at once are those that are read by way of values.
fn entries(bytes: &[u8]) {
    for (command, expected) in [("XREAD", Expected::Entries), ("XRANGE", Expected::Range)] {
        let (mut pipeline, mut reader) = (Pipeline::default(), Reader::default());
        pipeline.ask(&[command.into()].into());
        pipeline.feed(bytes);
        reader.feed(bytes);
        if let Ok(Some(Came::Reply(Value::Entries(entries)))) = pipeline.poll() {
            let Ok(Some(received)) = reader.read() else { panic!("the general reader refuses it") };
            assert!(!received.is_push);
            assert_eq!(expected.parse(received.value), Ok(Reply::Entries(entries)));
        }
    }
}

fn command(number: u8) -> Command {
    let (stream, key, id) = (|| "s".into(), || "k".into(), EntryId { ms: 1, seq: 2 });
    let sharded = number & 16 != 0;
    match number % 16 {
        0 => Command::XAdd { stream: stream(), max_len: 9, fields: Fields::from_iter([("a", "b")]).into() },
        1 => Command::XRead { stream: stream(), after: id, count: 9, block: Duration::from_secs(1) },
        2 => Command::XRange { stream: stream(), after: id, count: 9 },
        3 => Command::XRevRange { stream: stream(), before: id, count: 9 },
        4 => Command::Set { key: key(), value: "v".into(), px: Duration::from_secs(1) },
        5 => Command::GetRange { key: key(), end: 9 },
        6 => Command::GetDel { key: key() },
        7 => Command::XInfoStream { stream: stream() },
        8 => Command::Publish { channel: key(), payload: "p".into(), sharded },
        9 => Command::Subscribe { channels: vec![key(), stream()], sharded },
        10 => Command::Unsubscribe { channels: vec![key(), stream()], sharded },
        11 => Command::PSubscribe { patterns: vec![key()] },
        12 => Command::PUnsubscribe { patterns: vec![] },
        13 => Command::PubSubNumSub { channels: vec![key(), stream()], sharded },
        14 => Command::PubSubChannels { pattern: key(), sharded },
        _ => Command::Release { lane: Lane::Writer },
    }
}

/// Each command has one result, whatever comes, and no answer of another form.
fn each_command_once(bytes: &[u8], piece: usize, choice: u8, limits: ReadLimits) {
    let protocol = [Protocol::Resp2, Protocol::Resp3, Protocol::Best][usize::from(choice % 3)];
    let mut connection = Connection::new(&Login::default(), protocol, limits);
    let commands = if choice >= 128 { choice..choice.saturating_add(12) } else { choice..choice + 1 };
    let mut results = BTreeMap::new();
    for number in commands.clone() {
        connection.send(number, command(number));
        connection.ping();
    }
    for (turn, piece) in bytes.chunks(piece).enumerate() {
        // Some of it is written late, or never.
        connection.written(connection.output().len() / (1 + turn % 3));
        connection.feed(piece);
        let failed = loop {
            match connection.poll() {
                Ok(Some(Incoming::Reply(number, result))) => {
                    assert!(results.insert(number, result.is_ok()).is_none(), "two results for {number}");
                }
                Ok(Some(_)) => {}
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        if failed {
            break;
        }
    }
    for (number, result) in connection.end("the end") {
        let known = matches!(Request::of(command(number)), Request::Nothing);
        assert!(result.is_err() || known);
        assert!(results.insert(number, false).is_none(), "two results for {number}");
    }
    assert!(results.into_keys().eq(commands));
}
