//! Reading a stream: from a concrete id, one batch at a time, each entry once.

use std::collections::VecDeque;

use bytestring::ByteString;

use super::{Engine, Purpose, RETRY, Timer};
use crate::command::{Command, CommandError, CommandId, Entry, Lane, StreamInfo};
use crate::event::Event;
use crate::id::EntryId;

/// One stream.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The last entry that was looked at. Nothing until the stream's end has been asked for: a `$` would mean another place each time.
    cursor: Option<EntryId>,
    /// Entries that were read and have not been looked at.
    batch: VecDeque<Entry>,
    /// The command of this stream's that is under way. Whatever else is answered was asked by an earlier reader of the stream.
    asked: Option<CommandId>,
    /// How many namespaces live on the stream.
    pub(super) users: usize,
    /// The refusal that was reported last.
    refused: Option<CommandError>,
}

impl Reader {
    /// Whether its place in the stream is known.
    pub(super) fn located(&self) -> bool {
        self.cursor.is_some()
    }

    /// Whether it waits for news: everything that was there has been looked at.
    pub(super) fn caught_up(&self) -> bool {
        self.located() && self.asked.is_some() && self.batch.is_empty()
    }
}

impl Engine {
    /// Starts reading a stream, or notes one more reason to.
    pub(super) fn read_stream(&mut self, stream: &ByteString) {
        let reader = self.readers.entry(stream.clone()).or_default();
        reader.users += 1;
        if reader.users == 1 {
            self.locate(stream);
        }
    }

    /// Stops reading a stream, once nothing lives on it.
    pub(super) fn unread_stream(&mut self, stream: &ByteString) {
        let Some(reader) = self.readers.get_mut(stream) else { return };
        reader.users -= 1;
        if reader.users == 0 {
            self.readers.remove(stream);
            let lane = Lane::Reader(stream.clone());
            for id in self.lanes.remove(&lane) {
                self.in_flight.remove(&id);
            }
            self.timers.cancel(&Timer::Retry(lane.clone()));
            self.command(Command::Release { lane }, Purpose::Release);
        }
    }

    fn locate(&mut self, stream: &ByteString) {
        let asked = self.command(Command::XInfoStream { stream: stream.clone() }, Purpose::Locate);
        if let Some(reader) = self.readers.get_mut(stream) {
            reader.asked = Some(asked);
        }
    }

    /// Asks for the next batch, if the last one is used up.
    fn read_on(&mut self, stream: &ByteString) {
        let Some(reader) = self.readers.get(stream) else { return };
        let (Some(after), None, true) = (reader.cursor, reader.asked, reader.batch.is_empty()) else {
            return;
        };
        let (count, block) = (self.config.read_count, self.config.block_time);
        let asked =
            self.command(Command::XRead { stream: stream.clone(), after, count, block }, Purpose::Read);
        if let Some(reader) = self.readers.get_mut(stream) {
            reader.asked = Some(asked);
        }
    }

    /// Whether this is what the stream's reader waits for. It waits no longer then.
    pub(super) fn is_awaited(&mut self, stream: &ByteString, id: CommandId) -> bool {
        let reader = self.readers.get_mut(stream);
        reader.is_some_and(|reader| reader.asked.take_if(|asked| *asked == id).is_some())
    }

    /// The stream's end is known.
    pub(super) fn located(&mut self, stream: &ByteString, info: Option<StreamInfo>) {
        let Some(reader) = self.readers.get_mut(stream) else { return };
        // A stream that isn't there yet is read from its beginning.
        let last = info.map_or(EntryId::ZERO, |info| info.last_generated_id);
        reader.refused = None;
        match reader.cursor {
            Some(cursor) if last < cursor => {
                reader.cursor = Some(last);
                self.events.push_back(Event::Rewound { stream: stream.clone(), cursor, last });
            }
            Some(_) => {}
            None => reader.cursor = Some(last),
        }
        self.stream_is_heard(stream);
        self.read_on(stream);
    }

    /// A batch has come.
    pub(super) fn entries_read(&mut self, stream: &ByteString, entries: Vec<Entry>) {
        let Some(reader) = self.readers.get_mut(stream) else { return };
        reader.refused = None;
        // Each entry once, whatever a backend may repeat.
        let mut last = reader.cursor;
        reader.batch.extend(entries.into_iter().filter(|entry| {
            let new = Some(entry.id) > last;
            last = last.max(Some(entry.id));
            new
        }));
        self.read_on(stream);
    }

    /// Reading has failed: when the link is back, or after a while, the stream's end is asked for again, because the server may be another one.
    pub(super) fn read_failed(&mut self, stream: &ByteString, error: CommandError) {
        let lane = Lane::Reader(stream.clone());
        let Some(reader) = self.readers.get_mut(stream) else { return };
        let refused = matches!(error, CommandError::Server { .. } | CommandError::Unusable(_));
        if refused && reader.refused.as_ref() != Some(&error) {
            reader.refused = Some(error.clone());
            self.events.push_back(Event::Refused { lane: lane.clone(), error });
        }
        self.locate(stream);
        if !self.lanes.is_down(&lane) {
            self.lanes.pause(&lane);
            self.timers.arm(Timer::Retry(lane), self.now + RETRY);
        }
    }

    /// The next entry to look at. Its stream's cursor moves here, whatever comes of the entry: a bad one can't hold up those behind it.
    pub(super) fn next_entry(&mut self) -> Option<(ByteString, Entry)> {
        let (stream, reader) = self.readers.iter_mut().find(|(_, reader)| !reader.batch.is_empty())?;
        let entry = reader.batch.pop_front()?;
        reader.cursor = reader.cursor.max(Some(entry.id));
        let stream = stream.clone();
        self.read_on(&stream);
        Some((stream, entry))
    }
}
