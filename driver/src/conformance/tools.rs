//! Tools that the cases share.

use core::fmt::Debug;
use core::time::Duration;

use sio_streams_core::{ByteString, Bytes, Command, CommandError, Entry, EntryId, Fields, Reply};

use super::Outcome;

/// A time that is long enough to find something that exists.
pub(super) const SHORT: Duration = Duration::from_millis(20);

/// A time that is longer than any case may take.
pub(super) const LONG: Duration = Duration::from_secs(3_600);

pub(super) fn ensure(is_so: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if is_so { Ok(()) } else { Err(otherwise()) }
}

pub(super) fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Outcome {
    ensure(found == expected, || format!("{what}: {expected:?} is right, {found:?} came"))
}

pub(super) fn add(stream: &ByteString, fields: Fields) -> Command {
    Command::XAdd { stream: stream.clone(), max_len: 10_000, fields: fields.into() }
}

/// Returns an entry that bears a number.
pub(super) fn numbered(stream: &ByteString, number: usize) -> Command {
    add(stream, [("n", number.to_string())].into_iter().collect())
}

pub(super) fn read(stream: &ByteString, after: EntryId, block: Duration) -> Command {
    Command::XRead { stream: stream.clone(), after, count: 1_000, block }
}

pub(super) fn range(stream: &ByteString, after: EntryId, count: u32) -> Command {
    Command::XRange { stream: stream.clone(), after, count }
}

pub(super) fn info(stream: &ByteString) -> Command {
    Command::XInfoStream { stream: stream.clone() }
}

pub(super) fn subscribe(channels: &[ByteString], sharded: bool) -> Command {
    Command::Subscribe { channels: channels.to_vec(), sharded }
}

pub(super) fn unsubscribe(channels: &[ByteString], sharded: bool) -> Command {
    Command::Unsubscribe { channels: channels.to_vec(), sharded }
}

pub(super) fn publish(channel: &ByteString, payload: impl Into<Bytes>, sharded: bool) -> Command {
    Command::Publish { channel: channel.clone(), payload: payload.into(), sharded }
}

pub(super) fn count(channel: &ByteString, sharded: bool) -> Command {
    Command::PubSubNumSub { channels: vec![channel.clone()], sharded }
}

pub(super) fn added(result: Result<Reply, CommandError>) -> Result<EntryId, String> {
    match result {
        Ok(Reply::Added(id)) => Ok(id),
        other => Err(format!("an XADD is answered by {other:?}")),
    }
}

pub(super) fn entries(result: Result<Reply, CommandError>) -> Result<Vec<Entry>, String> {
    match result {
        Ok(Reply::Entries(entries)) => Ok(entries),
        other => Err(format!("a read is answered by {other:?}")),
    }
}

pub(super) fn done(result: Result<Reply, CommandError>) -> Outcome {
    match result {
        Ok(Reply::Done) => Ok(()),
        other => Err(format!("a command is done, and is answered by {other:?}")),
    }
}

pub(super) fn counted(result: Result<Reply, CommandError>) -> Result<u64, String> {
    match result {
        Ok(Reply::Counts(counts)) if counts.len() == 1 => Ok(counts[0]),
        other => Err(format!("a question for a number is answered by {other:?}")),
    }
}

pub(super) fn channels(result: Result<Reply, CommandError>) -> Result<Vec<ByteString>, String> {
    match result {
        Ok(Reply::Channels(mut names)) => {
            names.sort();
            Ok(names)
        }
        other => Err(format!("a question for channels is answered by {other:?}")),
    }
}

/// Returns the numbers that entries bear.
pub(super) fn numbers(entries: &[Entry]) -> Vec<String> {
    let number = |entry: &Entry| {
        entry.fields.get("n").map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    };
    entries.iter().map(number).collect()
}
