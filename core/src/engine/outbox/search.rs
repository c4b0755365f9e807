//! The search for messages whose replies were lost: are they in the stream or not?

use bytestring::ByteString;

use super::Outbox;
use super::queue::{Item, Queue, State};
use crate::command::{Command, CommandError, CommandId, Entry, Lane, Reply};
use crate::engine::context::Context;
use crate::engine::destination::Destination;
use crate::engine::purpose::Purpose;
use crate::event::Event;
use crate::id::EntryId;
use crate::wire::entry::sequence;

/// The number of entries that a search reads at once.
const PAGE: u32 = 1_000;

/// Begins to search the stream for the messages of the queue whose fate is unknown.
pub(super) fn begin(queue: &mut Queue, cx: &mut Context, stream: &ByteString) -> (CommandId, Command) {
    queue.unknown = false;
    queue.searching = true;
    let end = EntryId { ms: u64::MAX, seq: 0 };
    let after = if mutant!(SearchFromTheEnd) { end } else { queue.settled };
    page(cx, stream.clone(), after)
}

/// Asks for the entries behind `after`.
fn page(cx: &mut Context, stream: ByteString, after: EntryId) -> (CommandId, Command) {
    let command = Command::XRange { stream: stream.clone(), after, count: PAGE };
    let id = CommandId(cx.number());
    cx.expect(id, None, Purpose::Search(stream));
    (id, command)
}

impl Outbox {
    /// Handles a page of the search, or the lack of one.
    pub(in crate::engine) fn searched(
        &mut self,
        cx: &mut Context,
        stream: ByteString,
        reply: Result<Reply, CommandError>,
    ) {
        let entries = match reply {
            Ok(Reply::Entries(entries)) => entries,
            other => return self.search_failed(cx, stream, CommandError::of(other)),
        };
        let destination = Destination::Stream(stream);
        let Some(queue) = self.queues.get_mut(&destination) else { return };
        let uid = cx.uid.as_str().as_bytes();
        for Entry { id, fields } in &entries {
            let ours = fields.get("uid").is_some_and(|author| author == uid);
            let at = ours.then(|| sequence(fields)).flatten().and_then(|number| queue.find(number));
            if let Some(at) = at.filter(|at| matches!(queue.items[*at].state, State::Unknown(_))) {
                queue.set(at, State::Found(*id));
            }
        }
        match (entries.last(), destination) {
            (Some(last), Destination::Stream(stream)) if entries.len() >= PAGE as usize => {
                let (id, command) = page(cx, stream, last.id);
                cx.lanes.push(id, command);
            }
            (_, destination) => self.search_done(cx, &destination),
        }
    }

    /// Handles a search without a result. It is made again, unless the server doesn't allow it.
    fn search_failed(&mut self, cx: &mut Context, stream: ByteString, error: CommandError) {
        let destination = &Destination::Stream(stream);
        let Some(queue) = self.queues.get_mut(destination) else { return };
        queue.searching = false;
        queue.unknown = true;
        if error.is_transient() || matches!(error, CommandError::Lost(_)) {
            self.note_eager(destination);
            return cx.rest(&Lane::Writer);
        }
        queue.unknown = false;
        cx.events.push_back(Event::Refused { lane: Lane::Writer, channel: None, error });
        let mut at = 0;
        while let Some(item) = self.queues.get(destination).and_then(|queue| queue.items.get(at)) {
            if matches!(item.state, State::Unknown(_) | State::Found(_)) {
                let error = CommandError::Lost("and the stream can't be searched for the message".into());
                self.give_up(cx, destination, at, error);
            } else {
                at += 1;
            }
        }
        self.note_eager(destination);
    }

    /// Ends a search. Messages that were found are published. The others are sent again, unless a
    /// later message is in the stream.
    fn search_done(&mut self, cx: &mut Context, destination: &Destination) {
        let Some(queue) = self.queues.get(destination) else { return };
        let found = |item: &Item| if matches!(item.state, State::Found(_)) { item.seq } else { None };
        let last_found = queue.items.iter().rev().find_map(found).map(|number| number.saturating_add(1));
        let in_stream = last_found.unwrap_or_default().max(queue.published);
        self.settle_before(cx, destination, in_stream, true);
        self.give_up_too_large(cx, destination);
        let Some(queue) = self.queues.get_mut(destination) else { return };
        queue.searching = false;
        for at in 0..queue.items.len() {
            if matches!(queue.items[at].state, State::Unknown(_)) {
                queue.items[at].doubtful = true;
                queue.set(at, State::Waiting(None));
            }
        }
        let waiting = |item: &Item| matches!(item.state, State::Waiting(_));
        queue.handed = queue.items.iter().position(waiting).unwrap_or(queue.items.len());
        self.note_eager(destination);
    }

    /// Gives up messages that are lost each time, even when sent alone, and that were not found.
    /// They will not get through, and the messages behind them have waited long enough.
    fn give_up_too_large(&mut self, cx: &mut Context, destination: &Destination) {
        let is_it = |item: &Item| matches!(item.state, State::Unknown(_)) && item.is_too_large();
        while let Some(queue) = self.queues.get(destination)
            && let Some(at) = queue.items.iter().position(is_it)
        {
            let size = queue.items[at].message.size;
            let words =
                format!("the connection was lost each time that this message of {size} bytes was sent");
            self.give_up(cx, destination, at, CommandError::Lost(words));
        }
    }
}
