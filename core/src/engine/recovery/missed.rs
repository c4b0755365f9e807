//! The broadcasts that clients miss while they are away. Each stream has a window. It is filled
//! with the entries that are looked at, and extended backwards by pages that all waiting attempts
//! share.

use std::collections::BTreeSet;

use bytestring::ByteString;

use super::window::Window;
use super::{Page, Recoveries, Stream};
use crate::command::{Command, CommandError, CommandId, Entry, Lane, Reply, StreamInfo};
use crate::engine::batch::{entries_at_once, mean_size};
use crate::engine::context::Context;
use crate::engine::purpose::Purpose;
use crate::id::{EntryId, NodeId, Ticket};
use crate::message::{Body, Message};
use crate::session::{Kept, NotRecovered};
use crate::wire::entry;

/// The maximum number of entries in the first page, because their size is not known yet.
const FIRST_PAGE: u32 = 100;

impl Recoveries {
    /// Drops the window of a stream that is not read any more.
    pub(in crate::engine) fn window_closes(&mut self, stream: &ByteString) {
        self.streams.remove(stream);
    }

    /// Handles the server's answer about a stream: its end, if that was not known, and its
    /// beginning.
    pub(in crate::engine) fn window_told(
        &mut self,
        cx: &mut Context,
        stream: &ByteString,
        end: EntryId,
        info: &StreamInfo,
    ) {
        if cx.config.recovery.is_none() {
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
        let found = self.streams.entry(stream.clone()).or_insert_with(opened);
        let none_left = || info.last_generated_id.next();
        found.window.begins(info.first_entry_id.unwrap_or_else(none_left));
    }

    /// Notes that entries before this one were trimmed before they were read.
    pub(in crate::engine) fn window_has_gap(
        &mut self,
        cx: &mut Context,
        stream: &ByteString,
        until: EntryId,
    ) {
        if let Some(found) = self.streams.get_mut(stream) {
            found.window.gap(until);
            self.look_again(cx, stream);
        }
    }

    /// Notes that the server has lost the entries behind this one.
    pub(in crate::engine) fn window_rewound(&mut self, cx: &mut Context, stream: &ByteString, last: EntryId) {
        if let Some(found) = self.streams.get_mut(stream) {
            // The page that is under way was requested from another history.
            found.page = None;
            found.window.rewound(last);
            self.look_again(cx, stream);
        }
    }

    /// Makes all attempts that wait for the window look again, because the window has changed.
    fn look_again(&mut self, cx: &mut Context, stream: &ByteString) {
        let Some(found) = self.streams.get_mut(stream) else { return };
        let mut waiting = core::mem::take(&mut found.before);
        waiting.append(&mut found.ahead);
        for (_, ticket) in waiting {
            self.find_offset(cx, ticket);
        }
    }

    /// Returns `true` if the stream has a window.
    #[inline]
    pub(in crate::engine) fn has_window(&self, stream: &ByteString) -> bool {
        self.streams.contains_key(stream)
    }

    /// Keeps a broadcast that is being looked at. `author` is the node that sent it, and its number
    /// among the entries of that node. `first` is `false` if it has come before.
    #[inline]
    pub(in crate::engine) fn keep(
        &mut self,
        stream: &ByteString,
        id: EntryId,
        nsp: &ByteString,
        body: &Body,
        author: (&NodeId, Option<u64>),
        first: bool,
    ) {
        if let Some(found) = self.streams.get_mut(stream)
            && let Body::Broadcast { .. } = body
        {
            match first {
                true => found.window.keep(id, kept(id, nsp, body, author)),
                false => found.window.repeated(id),
            }
        }
    }

    /// Notes that an entry has been looked at.
    #[inline]
    pub(in crate::engine) fn looked_at(&mut self, cx: &mut Context, stream: &ByteString, id: EntryId) {
        let Some(found) = self.streams.get_mut(stream) else { return };
        found.window.pass(id);
        let needed = found.pinned.first().map(|(offset, _)| *offset);
        if let Some(options) = &cx.config.recovery {
            found.window.shrink(cx.now, options, needed);
        }
        while let Some(waiting) = self.streams.get_mut(stream).and_then(|found| {
            let first = found.ahead.first().copied()?;
            (first.0 <= id).then(|| found.ahead.pop_first()).flatten()
        }) {
            self.find_offset(cx, waiting.1);
        }
    }

    /// Asks for the page before the window, if an attempt needs it.
    pub(super) fn dig(&mut self, cx: &mut Context, stream: &ByteString) {
        let Some(found) = self.streams.get_mut(stream) else { return };
        if found.before.is_empty() {
            return found.window.rest();
        }
        if found.page.is_some() {
            return;
        }
        found.window.dig(cx.now, cx.hash);
        let Some(options) = &cx.config.recovery else { return };
        let count = found.entry_bytes.map_or(FIRST_PAGE, entries_at_once).min(options.page_entries);
        let (before, stream) = (found.window.from(), stream.clone());
        let command = Command::XRevRange { stream: stream.clone(), before, count };
        let id = cx.command(command, Purpose::Page(stream.clone()));
        if let Some(found) = self.streams.get_mut(&stream) {
            found.page = Some(Page { command: id, count: count as usize, before });
        }
    }

    /// Handles a page, or the lack of one.
    pub(in crate::engine) fn page_read(
        &mut self,
        cx: &mut Context,
        id: CommandId,
        stream: &ByteString,
        reply: Result<Reply, CommandError>,
        command: Option<Box<Command>>,
    ) {
        let Some(found) = self.streams.get_mut(stream) else { return };
        let Some(page) = found.page.take_if(|page| page.command == id) else { return };
        let error = match reply {
            // The window has grown too large meanwhile and has dropped its oldest entries. There
            // would be a hole between the window and the page.
            Ok(Reply::Entries(_)) if page.before != found.window.from() => {
                return self.look_again(cx, stream);
            }
            Ok(Reply::Entries(entries)) => return self.page_has_come(cx, stream, &entries, page.count),
            // No attempt needs the page any more.
            Err(error) if found.before.is_empty() => error,
            Err(CommandError::NotSent(_)) => {
                found.page = Some(page);
                return cx.again(id, command, Purpose::Page(stream.clone()));
            }
            Err(error) if error.is_transient() || matches!(error, CommandError::Lost(_)) => {
                cx.rest(&Lane::Recovery);
                return self.dig(cx, stream);
            }
            other => CommandError::of(other),
        };
        for (_, ticket) in core::mem::take(&mut found.before) {
            self.not_recovered(cx, ticket, NotRecovered::Command(error.clone()));
        }
    }

    fn page_has_come(&mut self, cx: &mut Context, stream: &ByteString, entries: &[Entry], count: usize) {
        let Some(options) = cx.config.recovery.clone() else { return };
        let Some(found) = self.streams.get_mut(stream) else { return };
        found.entry_bytes = mean_size(entries).or(found.entry_bytes);
        let mut names = BTreeSet::new();
        for Entry { id, fields } in entries {
            let message = entry::decode(fields).ok();
            let broadcast = message.filter(|message| matches!(message.body, Body::Broadcast { .. }));
            let kept = broadcast.map(|Message { uid, nsp, body }| {
                // The namespace names in one page are shared, and do not keep the page's bytes in
                // memory.
                let nsp = names.get(&nsp).cloned().unwrap_or_else(|| ByteString::from(&*nsp));
                names.insert(nsp.clone());
                kept(*id, &nsp, &body, (&uid, entry::sequence(fields)))
            });
            found.window.prepend(*id, kept);
        }
        if entries.len() < count {
            found.window.reached_the_beginning();
        }
        // Attempts whose offset has been reached go on. At the beginning of the stream the others
        // go on as well, to learn that their offset can't be reached.
        let too_much = found.window.too_much(&options);
        let reached = match entries.len() < count {
            true => core::mem::take(&mut found.before),
            false => found.before.split_off(&(found.window.from(), Ticket(0))),
        };
        for (_, ticket) in reached {
            self.find_offset(cx, ticket);
        }
        let Some(found) = self.streams.get_mut(stream) else { return };
        if let Some(too_much) = too_much {
            for (_, ticket) in core::mem::take(&mut found.before) {
                self.not_recovered(cx, ticket, too_much.clone());
            }
        }
        self.dig(cx, stream);
    }
}

/// Returns what is kept of a broadcast, or `None` if a client that misses it does not get it later.
/// `nsp` is kept as it is.
fn kept(id: EntryId, nsp: &ByteString, body: &Body, (author, seq): (&NodeId, Option<u64>)) -> Option<Kept> {
    let Body::Broadcast { packet, opts, request_id: None } = body else { return None };
    packet
        .is_recoverable(opts)
        .then(|| Kept::new(id, nsp.clone(), packet, opts, seq.map(|seq| (author, seq))))
}
