//! A server that answers correctly, or with anything else.

use std::collections::BTreeMap;

use sio_streams_core::wire::entry::BRIDGE_FIELD;
use sio_streams_core::{ByteString, Bytes, Command, CommandError, Entry, EntryId, Fields, Reply, StreamInfo};

use super::plan::{How, Which};

#[derive(Default)]
pub(super) struct StreamState {
    entries: Vec<Entry>,
    last: EntryId,
    added: u64,
}

impl StreamState {
    /// The stream that a command is about.
    pub(super) fn of(command: &Command) -> Option<&ByteString> {
        match command {
            Command::XAdd { stream, .. }
            | Command::XRead { stream, .. }
            | Command::XRange { stream, .. }
            | Command::XRevRange { stream, .. }
            | Command::XInfoStream { stream } => Some(stream),
            _ => None,
        }
    }

    fn add(&mut self, fields: Fields) -> EntryId {
        let EntryId { ms, seq } = self.last;
        self.last = EntryId { ms: ms.max(1), seq: seq + 1 };
        self.added += 1;
        self.entries.push(Entry { id: self.last, fields });
        self.last
    }

    fn after(&self, after: EntryId, count: u32) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.id > after).take(count as usize).cloned().collect()
    }

    fn info(&self, counts: bool) -> Option<StreamInfo> {
        (self.last > EntryId::ZERO).then(|| StreamInfo {
            length: self.entries.len() as u64,
            last_generated_id: self.last,
            entries_added: counts.then_some(self.added),
            max_deleted_entry_id: counts.then_some(EntryId::ZERO),
            first_entry_id: self.entries.first().map(|entry| entry.id),
        })
    }
}

pub(super) struct Redis {
    streams: BTreeMap<ByteString, StreamState>,
    values: BTreeMap<ByteString, Bytes>,
    /// All that was ever stored under a key.
    stored: BTreeMap<ByteString, Vec<Bytes>>,
    /// The number of other nodes, as far as it knows.
    others: u8,
    /// `true` if it counts the entries, as Redis does from 7.0 on.
    counts: bool,
}

impl Redis {
    pub(super) fn new(counts: bool, others: u8) -> Self {
        Redis { streams: BTreeMap::new(), values: BTreeMap::new(), stored: BTreeMap::new(), others, counts }
    }

    pub(super) fn set_others(&mut self, others: u8) {
        self.others = others;
    }

    /// All entries of a stream.
    pub(super) fn entries(&self, stream: &str) -> &[Entry] {
        self.streams.get(stream).map_or(&[], |stream| &stream.entries)
    }

    /// All that was ever stored under a key.
    pub(super) fn stored(&self, key: &str) -> &[Bytes] {
        self.stored.get(key).map_or(&[], |stored| stored)
    }

    pub(super) fn store(&mut self, key: ByteString, value: Bytes) {
        self.stored.entry(key.clone()).or_default().push(value.clone());
        self.values.insert(key, value);
    }

    pub(super) fn know(&mut self, stream: &ByteString) {
        if !self.streams.contains_key(stream) {
            self.streams.insert(stream.clone(), StreamState::default());
        }
    }

    fn stream(&mut self, which: Which) -> Option<&mut StreamState> {
        let at = usize::from(which.0).checked_rem(self.streams.len())?;
        self.streams.values_mut().nth(at)
    }

    pub(super) fn append(&mut self, which: Which, mut fields: Fields, bridge: bool) {
        if bridge {
            fields.push(BRIDGE_FIELD, "1");
        }
        if let Some(stream) = self.stream(which) {
            stream.add(fields);
        }
    }

    /// The stream is emptied. With `lower`, it begins anew.
    pub(super) fn reset(&mut self, which: Which, lower: bool) {
        if let Some(stream) = self.stream(which) {
            stream.entries.clear();
            if lower {
                *stream = StreamState::default();
            }
        }
    }

    /// The oldest entries of a stream are gone.
    pub(super) fn trim(&mut self, which: Which, count: u8) {
        if let Some(stream) = self.stream(which) {
            stream.entries.drain(..usize::from(count).min(stream.entries.len()));
        }
    }

    /// The server's answer. There is none to a read that finds nothing: it blocks.
    pub(super) fn right(&mut self, command: &Command) -> Option<Reply> {
        if let Some(stream) = StreamState::of(command) {
            self.know(stream);
        }
        let stream = StreamState::of(command).and_then(|stream| self.streams.get_mut(stream));
        Some(match (command, stream) {
            (Command::XAdd { fields, .. }, Some(stream)) => Reply::Added(stream.add((**fields).clone())),
            (Command::XRead { after, count, .. }, Some(stream)) => {
                let entries = stream.after(*after, *count);
                if entries.is_empty() {
                    return None;
                }
                Reply::Entries(entries)
            }
            (Command::XRange { after, count, .. }, Some(stream)) => {
                Reply::Entries(stream.after(*after, *count))
            }
            (Command::XInfoStream { .. }, Some(stream)) => Reply::Stream(stream.info(self.counts)),
            (Command::XRevRange { before, count, .. }, Some(stream)) => {
                let entries = stream.entries.iter().rev().filter(|entry| entry.id < *before);
                Reply::Entries(entries.take(*count as usize).cloned().collect())
            }
            (Command::Set { key, value, .. }, _) => {
                self.store(key.clone(), value.clone());
                Reply::Done
            }
            (Command::GetRange { key, end }, _) => {
                let value = self.values.get(key);
                Reply::Value(value.map(|value| value.slice(..value.len().min(*end as usize + 1))))
            }
            (Command::GetDel { key }, _) => Reply::Value(self.values.remove(key)),
            (Command::PubSubNumSub { channels, .. }, _) => {
                let mut counts = vec![1; channels.len()];
                counts[0] += u64::from(self.others);
                Reply::Counts(counts)
            }
            (Command::PubSubChannels { pattern, .. }, _) => {
                let names =
                    (3..3 + self.others).map(|node| pattern.replace('*', &format!("node{node}")).into());
                Reply::Channels(names.collect())
            }
            _ => Reply::Done,
        })
    }

    pub(super) fn replies(&mut self, command: &Command, how: &How) -> Vec<Result<Reply, CommandError>> {
        let right = |redis: &mut Self| redis.right(command).unwrap_or(Reply::Entries(Vec::new()));
        match how {
            How::Right => vec![Ok(right(self))],
            How::Wrong(which) => vec![Ok(wrong(*which))],
            How::NotSent => vec![Err(CommandError::NotSent("no link".into()))],
            How::Lost { executed } => {
                if *executed {
                    right(self);
                }
                vec![Err(CommandError::Lost("the link broke".into()))]
            }
            How::Refused => {
                let (code, message) = ("READONLY".into(), "a replica".into());
                vec![Err(CommandError::Server { code, message })]
            }
            How::Twice => vec![Ok(right(self)), Ok(right(self))],
            How::Absurd(n) => vec![Ok(self.absurd(command, *n))],
        }
    }

    /// A reply of the right kind that no honest server would give.
    fn absurd(&mut self, command: &Command, n: u64) -> Reply {
        let id = EntryId { ms: n >> 32, seq: n };
        match self.right(command) {
            Some(Reply::Added(_)) => Reply::Added(id),
            Some(Reply::Entries(mut entries)) => {
                entries.reverse();
                entries.extend(entries.clone());
                Reply::Entries(entries)
            }
            Some(Reply::Stream(_)) => Reply::Stream(Some(StreamInfo {
                length: n,
                last_generated_id: id,
                entries_added: Some(n),
                max_deleted_entry_id: Some(id),
                first_entry_id: Some(id),
            })),
            Some(Reply::Counts(counts)) => {
                Reply::Counts(counts.iter().map(|count| n >> (count % 8)).collect())
            }
            Some(Reply::Channels(_)) => {
                let names = [
                    "",
                    "#",
                    "socket.io#/#",
                    "socket.io#/#node3#",
                    "socket.io#/#node4#",
                    "socket.io#/a#node5#",
                ];
                let chosen = names.iter().enumerate().filter(|(bit, _)| n >> bit & 1 == 1);
                Reply::Channels(chosen.map(|(_, name)| ByteString::from_static(name)).collect())
            }
            _ => Reply::Done,
        }
    }
}

/// Some reply, whatever was asked.
fn wrong(which: u8) -> Reply {
    match which % 7 {
        0 => Reply::Added(EntryId { ms: which.into(), seq: 0 }),
        1 => Reply::Entries(Vec::new()),
        2 => Reply::Stream(None),
        3 => Reply::Counts(vec![which.into(); usize::from(which % 3)]),
        4 => Reply::Channels(vec!["socket.io#/#node3#".into()]),
        5 => Reply::Value(Some(vec![which; 30].into())),
        _ => Reply::Done,
    }
}
