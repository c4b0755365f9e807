//! What clients that are away miss: the window of each stream, filled with what is looked at, and backwards by pages that all who wait share.

use std::collections::BTreeSet;

use bytestring::ByteString;

use super::{Page, Stream, is_recoverable};
use crate::command::{Command, CommandError, CommandId, Entry, Fields, Lane, Reply, StreamInfo};
use crate::engine::reader::{entries_at_once, mean_size};
use crate::engine::window::Window;
use crate::engine::{Engine, Purpose};
use crate::id::{EntryId, NodeId, Ticket};
use crate::message::{Body, Message};
use crate::session::{Kept, NotRecovered};
use crate::wire::entry;

/// How many entries the first page has, at most: how large they are is not known yet.
const FIRST_PAGE: u32 = 100;

impl Engine {
    /// The stream is not read any more.
    pub(in crate::engine) fn window_closes(&mut self, stream: &ByteString) {
        self.recoveries.streams.remove(stream);
    }

    /// The server has told of a stream: where it ends if that was not known, and where it begins.
    pub(in crate::engine) fn window_told(&mut self, stream: &ByteString, end: EntryId, info: &StreamInfo) {
        if self.config.recovery.is_none() {
            return;
        }
        let opened = || Stream {
            window: Window::new(end),
            before: BTreeSet::new(),
            ahead: BTreeSet::new(),
            pinned: BTreeSet::new(),
            page: None,
            entry_bytes: None,
        };
        let found = self.recoveries.streams.entry(stream.clone()).or_insert_with(opened);
        let none_left = || info.last_generated_id.next();
        found.window.begins(info.first_entry_id.unwrap_or_else(none_left));
    }

    /// Entries before this one were trimmed before they were read.
    pub(in crate::engine) fn window_has_gap(&mut self, stream: &ByteString, until: EntryId) {
        if let Some(found) = self.recoveries.streams.get_mut(stream) {
            found.window.gap(until);
            self.look_again(stream);
        }
    }

    /// The server has lost entries behind this one.
    pub(in crate::engine) fn window_rewound(&mut self, stream: &ByteString, last: EntryId) {
        if let Some(found) = self.recoveries.streams.get_mut(stream) {
            // What is asked for now was asked of another history.
            found.page = None;
            found.window.rewound(last);
            self.look_again(stream);
        }
    }

    /// The window is not what it was: everyone who waits for it looks again.
    fn look_again(&mut self, stream: &ByteString) {
        let Some(found) = self.recoveries.streams.get_mut(stream) else { return };
        let mut waiting = core::mem::take(&mut found.before);
        waiting.append(&mut found.ahead);
        for (_, ticket) in waiting {
            self.find_offset(ticket);
        }
    }

    /// A broadcast is being looked at. `first`: whether for the first time. Who says it, and its number among what that one says.
    pub(in crate::engine) fn keep(
        &mut self,
        stream: &ByteString,
        id: EntryId,
        nsp: &ByteString,
        body: &Body,
        author: (&NodeId, Option<u64>),
        first: bool,
    ) {
        if let Some(found) = self.recoveries.streams.get_mut(stream)
            && let Body::Broadcast { .. } = body
        {
            if !first {
                return found.window.repeated(id);
            }
            let shared = self.namespaces.get_key_value(nsp).map(|(name, _)| name);
            found.window.keep(id, kept(id, shared, nsp, body, author));
        }
    }

    /// An entry is being looked at that is of a namespace that isn't open here. It may be opened while clients of it are away.
    pub(in crate::engine) fn keep_foreign(&mut self, stream: &ByteString, id: EntryId, fields: &Fields) {
        if !self.recoveries.streams.contains_key(stream) {
            return;
        }
        let Ok(Message { uid, nsp, body }) = entry::decode(fields) else { return };
        let Some(reader) = self.readers.get_mut(stream) else { return };
        let seq = entry::sequence(fields);
        let first = seq.is_none_or(|seq| reader.seen.is_new(&uid, seq));
        self.keep(stream, id, &nsp, &body, (&uid, seq), first);
    }

    /// An entry has been looked at.
    pub(in crate::engine) fn looked_at(&mut self, stream: &ByteString, id: EntryId) {
        let Some(found) = self.recoveries.streams.get_mut(stream) else { return };
        found.window.pass(id);
        let needed = found.pinned.first().map(|(offset, _)| *offset);
        if let Some(options) = &self.config.recovery {
            found.window.shrink(self.now, options, needed);
        }
        while let Some(waiting) = self.recoveries.streams.get_mut(stream).and_then(|found| {
            let first = found.ahead.first().copied()?;
            (first.0 <= id).then(|| found.ahead.pop_first()).flatten()
        }) {
            self.find_offset(waiting.1);
        }
    }

    /// Asks for the page before the window, if somebody needs it.
    pub(super) fn dig(&mut self, stream: &ByteString) {
        let Some(found) = self.recoveries.streams.get_mut(stream) else { return };
        if found.before.is_empty() {
            return found.window.rest();
        }
        if found.page.is_some() {
            return;
        }
        found.window.dig(self.now, self.hash);
        let Some(options) = &self.config.recovery else { return };
        let count = found.entry_bytes.map_or(FIRST_PAGE, entries_at_once).min(options.page_entries);
        let (before, stream) = (found.window.from(), stream.clone());
        let command = Command::XRevRange { stream: stream.clone(), before, count };
        let id = self.command(command, Purpose::Page(stream.clone()));
        if let Some(found) = self.recoveries.streams.get_mut(&stream) {
            found.page = Some(Page { command: id, count: count as usize, before });
        }
    }

    /// A page has come, or not.
    pub(in crate::engine) fn page_read(
        &mut self,
        id: CommandId,
        stream: &ByteString,
        reply: Result<Reply, CommandError>,
        command: Option<Box<Command>>,
    ) {
        let Some(found) = self.recoveries.streams.get_mut(stream) else { return };
        let Some(page) = found.page.take_if(|page| page.command == id) else { return };
        let error = match reply {
            // What has grown too large meanwhile has let go of its oldest: there would be a hole between it and the page.
            Ok(Reply::Entries(_)) if page.before != found.window.from() => return self.look_again(stream),
            Ok(Reply::Entries(entries)) => return self.page_has_come(stream, &entries, page.count),
            // Nobody may be left to need it.
            Err(error) if found.before.is_empty() => error,
            Err(CommandError::NotSent(_)) => {
                found.page = Some(page);
                return self.again(id, command, Purpose::Page(stream.clone()));
            }
            Err(error) if error.is_transient() || matches!(error, CommandError::Lost(_)) => {
                self.rest(&Lane::Recovery);
                return self.dig(stream);
            }
            Err(error) => error,
            Ok(other) => crate::engine::replies::unusable(&other),
        };
        for (_, ticket) in core::mem::take(&mut found.before) {
            self.not_recovered(ticket, NotRecovered::Command(error.clone()));
        }
    }

    fn page_has_come(&mut self, stream: &ByteString, entries: &[Entry], count: usize) {
        let Some(options) = self.config.recovery.clone() else { return };
        let Some(found) = self.recoveries.streams.get_mut(stream) else { return };
        found.entry_bytes = mean_size(entries).or(found.entry_bytes);
        for Entry { id, fields } in entries {
            let message = entry::decode(fields).ok();
            let broadcast = message.filter(|message| matches!(message.body, Body::Broadcast { .. }));
            let shared =
                |message: &Message| self.namespaces.get_key_value(&message.nsp).map(|(name, _)| name);
            let kept = broadcast.map(|message| {
                let author = (&message.uid, entry::sequence(fields));
                kept(*id, shared(&message), &message.nsp, &message.body, author)
            });
            found.window.prepend(*id, kept);
        }
        if entries.len() < count {
            found.window.reached_the_beginning();
        }
        // Whoever's offset is reached goes on; so does, to its end, whoever's can't be reached.
        let enough = found.window.is_deep_enough(&options);
        let reached = match entries.len() < count {
            true => core::mem::take(&mut found.before),
            false => found.before.split_off(&(found.window.from(), Ticket(0))),
        };
        for (_, ticket) in reached {
            self.find_offset(ticket);
        }
        let Some(found) = self.recoveries.streams.get_mut(stream) else { return };
        if enough {
            let limit = options.replay_entries;
            for (_, ticket) in core::mem::take(&mut found.before) {
                self.not_recovered(ticket, NotRecovered::TooMuch { what: "entries or bytes", limit });
            }
        }
        self.dig(stream);
    }
}

/// What is kept of a broadcast, if a client that misses it gets it later.
fn kept(
    id: EntryId,
    shared: Option<&ByteString>,
    nsp: &ByteString,
    body: &Body,
    (author, seq): (&NodeId, Option<u64>),
) -> Option<Kept> {
    let Body::Broadcast { packet, opts, request_id: None } = body else { return None };
    let nsp = || shared.cloned().unwrap_or_else(|| ByteString::from(&**nsp));
    is_recoverable(packet, opts).then(|| Kept::new(id, nsp(), packet, opts, seq.map(|seq| (author, seq))))
}
