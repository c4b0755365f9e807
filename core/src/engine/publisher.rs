//! Writing: in order, each message once, and never without knowing what became of it.
//!
//! Every entry bears a sequence number. When a link is lost between an XADD and its reply, nothing more is sent until the stream has been
//! searched for the numbers in question: what is found there is published; the rest is sent again, in order, with the same numbers. If a first
//! try is executed late all the same, receivers of ours know its number and pass over it. `docs/guarantees.md` has the argument.

use std::sync::Arc;

use bytestring::ByteString;

use super::line::{Item, Left, Line, Outgoing, Publisher, State, What};
use super::{Content, Engine, Pending, Purpose, RETRY, Timer};
use crate::command::{Command, CommandError, CommandId, Entry, Lane};
use crate::event::Event;
use crate::id::EntryId;
use crate::wire::entry::{SEQUENCE_FIELD, sequence};

/// How many entries a search reads at once.
const PAGE: u32 = 1_000;

impl Engine {
    /// A stream's end is known.
    ///
    /// The first number is above every number that an earlier node of the same name can have used: each of its entries moved the stream's last
    /// id by as much as its number, or more.
    pub(super) fn publisher_located(&mut self, stream: &ByteString, last: EntryId, rewound: bool) {
        let publisher = self.publishers.entry(Line::Stream(stream.clone())).or_default();
        if core::mem::replace(&mut publisher.located, true) {
            if rewound {
                // What was taken to be settled may be gone. Otherwise it is only newer than what the server has said.
                publisher.settled = publisher.settled.min(last);
            }
        } else {
            publisher.settled = last;
            self.last_seq = self.last_seq.max((last.ms << 20).wrapping_add(last.seq));
        }
        self.note_eager(&Line::Stream(stream.clone()));
    }

    /// The line may have something to ask or to say now. There may be many lines, most of which have not: they are not gone through each time.
    fn note_eager(&mut self, line: &Line) {
        if let Some(publisher) = self.publishers.get_mut(line)
            && publisher.becomes_eager()
        {
            self.eager.insert(line.clone());
        }
    }

    /// The last entry that this node is known to have added to the stream, or to have read there before it added any.
    pub(super) fn last_published(&self, stream: &ByteString) -> EntryId {
        self.publishers
            .get(&Line::Stream(stream.clone()))
            .map_or(EntryId::ZERO, |publisher| publisher.settled)
    }

    /// Puts a message in line.
    pub(super) fn enqueue(&mut self, message: Outgoing) {
        self.published += 1;
        self.published_bytes += message.size;
        let line = match &message.content {
            Content::Entry { stream, .. } => Line::Stream(stream.clone()),
            Content::Push { .. } => Line::Channels,
        };
        let publisher = match self.publishers.get_mut(&line) {
            Some(publisher) => publisher,
            None => self.publishers.entry(line.clone()).or_default(),
        };
        publisher.located |= line == Line::Channels;
        publisher.items.push_back(Item {
            message,
            since: self.now,
            seq: None,
            counted: false,
            doubtful: false,
            unanswered: 0,
            state: State::Waiting(None),
        });
        if publisher.becomes_eager() {
            self.eager.insert(line.clone());
        }
        if !core::mem::replace(&mut publisher.watched, true) {
            self.timers.arm(Timer::GiveUp(line), self.now + self.config.limits.in_flight_for);
        }
    }

    /// What the publishers have to ask or to say next.
    pub(super) fn next_publication(&mut self) -> Option<(CommandId, Command)> {
        if !self.lanes.is_open(&Lane::Writer) {
            return None;
        }
        loop {
            let Some(line) = self.eager.first().cloned() else {
                debug_assert!(!self.publishers.values().any(Publisher::is_eager), "a line was not noted");
                return None;
            };
            let Some(publisher) = self.publishers.get_mut(&line).filter(|publisher| publisher.is_eager())
            else {
                self.eager.pop_first();
                if let Some(publisher) = self.publishers.get_mut(&line) {
                    publisher.eager = false;
                }
                continue;
            };
            if publisher.unknown {
                publisher.unknown = false;
                publisher.searching = true;
                let end = EntryId { ms: u64::MAX, seq: 0 };
                let after = if mutant!(SearchFromTheEnd) { end } else { publisher.settled };
                let Line::Stream(stream) = line else { continue };
                return Some(self.search_page(stream, after));
            }
            let at = publisher.handed;
            let item = &mut publisher.items[at];
            if let What::Request { ticket, acts } = item.message.what {
                match self.requests.contains(ticket) {
                    true if self.config.dialect.subscribes()
                        && !core::mem::replace(&mut item.counted, true) =>
                    {
                        // By the command just before: who is there now will hear it.
                        match self.count_for(ticket) {
                            Some(count) => return Some(count),
                            None => continue,
                        }
                    }
                    false if !acts || mutant!(QuestionDropped) => {
                        self.settle(&line, at);
                        continue;
                    }
                    _ => {}
                }
                item.counted = false;
            }
            let seq = match item.seq.filter(|_| !mutant!(NewNumberOnRetry)) {
                Some(seq) => seq,
                None => {
                    self.last_seq = self.last_seq.wrapping_add(1);
                    if let Content::Entry { fields, .. } = &mut item.message.content {
                        Arc::make_mut(fields).push(SEQUENCE_FIELD, self.last_seq.to_string());
                    }
                    *item.seq.insert(self.last_seq)
                }
            };
            let command = item.message.content.clone().into_command(&self.config);
            if at == 0
                && let Line::Stream(stream) = &line
            {
                // What has been read was there before.
                let read = self.readers.get(stream).and_then(|reader| reader.cursor);
                publisher.settled = publisher.settled.max(read.unwrap_or_default());
            }
            if matches!(publisher.items[at].message.what, What::Beat)
                && let Line::Stream(stream) = &line
                && let Some(reader) = self.readers.get_mut(stream)
            {
                reader.hearing.probes(seq, self.now);
            }
            publisher.handed += 1;
            publisher.set(at, State::Sent);
            let id = CommandId(self.number());
            self.expect(id, None, Purpose::Publish { line, seq });
            return Some((id, command));
        }
    }

    /// The reply to a message's XADD or PUBLISH.
    pub(super) fn publish_replied(
        &mut self,
        line: &Line,
        seq: u64,
        reply: Result<Option<EntryId>, CommandError>,
    ) {
        let Some(publisher) = self.publishers.get_mut(line) else { return };
        let Some(at) = publisher.find(seq) else { return };
        match reply {
            Ok(id) => {
                if self.refused.take().is_some() {
                    self.nobody_could_speak(None);
                }
                let Some(publisher) = self.publishers.get_mut(line) else { return };
                if at > 0 {
                    self.settle_before(line, seq, false);
                    return self.published_as(line, seq, id);
                }
                publisher.settled = publisher.settled.max(id.unwrap_or_default());
                publisher.published = publisher.published.max(seq);
                let Some(item) = publisher.take(0) else { return };
                let left = publisher.left();
                self.has_left(line, &item.message, left);
                self.is_published(item.message, id);
            }
            // A stream can be searched for it; of what went to a channel there is no trace.
            Err(error @ CommandError::Lost(_)) if *line != Line::Channels => {
                if mutant!(BlindRetry) {
                    publisher.set(at, State::Waiting(None));
                    publisher.handed = publisher.handed.min(at);
                    self.note_eager(line);
                    return self.rest(&Lane::Writer);
                }
                publisher.unknown = true;
                publisher.set(at, State::Unknown(error));
                if let Some(item) = publisher.items.get_mut(at) {
                    item.unanswered += 1;
                }
                self.note_eager(line);
                // Give the connection a moment to be reported lost, or to come to itself.
                self.rest(&Lane::Writer);
            }
            Err(error)
                if error.is_transient()
                    || matches!(error, CommandError::Lost(_)) && mutant!(LostPushSentAgain) =>
            {
                publisher.set(at, State::Waiting(Some(error.clone())));
                publisher.handed = publisher.handed.min(at);
                self.note_eager(line);
                self.rest(&Lane::Writer);
                if matches!(error, CommandError::Server { .. }) && self.refused.as_ref() != Some(&error) {
                    self.refused = Some(error.clone());
                    self.events.push_back(Event::Refused { lane: Lane::Writer, error });
                }
            }
            Err(error) => self.give_up(line, at, error),
        }
    }

    /// Settles what stands before this number, which is in the stream: what was found is published; what was refused is given up, because behind
    /// that number it would be out of order, and receivers would take it for a repetition. What is unknown is given up once it was searched for.
    fn settle_before(&mut self, line: &Line, number: u64, searched: bool) {
        let mut at = 0;
        while let Some(publisher) = self.publishers.get_mut(line)
            && let Some(Item { seq: Some(seq), state, .. }) = publisher.items.get(at)
            && *seq < number
        {
            match state {
                State::Found(id) => {
                    let (seq, id) = (*seq, *id);
                    publisher.items[at].message.effect.take_if(|_| mutant!(EffectForgotten));
                    publisher.settled = publisher.settled.max(id);
                    self.published_as(line, seq, Some(id));
                }
                State::Waiting(error) => {
                    let overtaken = || CommandError::NotSent("a later message came through".into());
                    let error = error.clone().unwrap_or_else(overtaken);
                    self.give_up(line, at, error);
                }
                State::Unknown(error) if searched && !mutant!(OvertakenSentAgain) => {
                    let error = error.clone();
                    self.give_up(line, at, error);
                }
                State::Unknown(_) | State::Sent => at += 1,
            }
        }
    }

    fn search_page(&mut self, stream: ByteString, after: EntryId) -> (CommandId, Command) {
        let command = Command::XRange { stream: stream.clone(), after, count: PAGE };
        let id = CommandId(self.number());
        self.expect(id, None, Purpose::Search(stream));
        (id, command)
    }

    /// A page of the search has come.
    pub(super) fn searched(&mut self, stream: ByteString, entries: &[Entry]) {
        let uid = self.uid.as_str().as_bytes();
        let line = Line::Stream(stream.clone());
        let Some(publisher) = self.publishers.get_mut(&line) else { return };
        for entry in entries {
            let ours = entry.fields.get("uid").is_some_and(|author| author == uid);
            let at = ours.then(|| sequence(&entry.fields)).flatten().and_then(|seq| publisher.find(seq));
            if let Some(at) = at.filter(|at| matches!(publisher.items[*at].state, State::Unknown(_))) {
                publisher.set(at, State::Found(entry.id));
            }
        }
        match entries.last() {
            Some(last) if entries.len() >= PAGE as usize => {
                let (id, command) = self.search_page(stream, last.id);
                self.lanes.push(id, command);
            }
            _ => self.search_done(&line),
        }
    }

    /// The search has no result. It is made again, unless the server doesn't allow it.
    pub(super) fn search_failed(&mut self, stream: ByteString, error: CommandError) {
        let line = &Line::Stream(stream);
        let Some(publisher) = self.publishers.get_mut(line) else { return };
        publisher.searching = false;
        publisher.unknown = true;
        if error.is_transient() || matches!(error, CommandError::Lost(_)) {
            self.note_eager(line);
            return self.rest(&Lane::Writer);
        }
        publisher.unknown = false;
        self.events.push_back(Event::Refused { lane: Lane::Writer, error });
        let mut at = 0;
        while let Some(item) = self.publishers.get(line).and_then(|publisher| publisher.items.get(at)) {
            if matches!(item.state, State::Unknown(_) | State::Found(_)) {
                let error = CommandError::Lost("and the stream can't be searched for the message".into());
                self.give_up(line, at, error);
            } else {
                at += 1;
            }
        }
        self.note_eager(line);
    }

    /// What was found is published. What was not is sent again, unless something behind it is in the stream.
    fn search_done(&mut self, line: &Line) {
        let Some(publisher) = self.publishers.get(line) else { return };
        let found = |item: &Item| if matches!(item.state, State::Found(_)) { item.seq } else { None };
        let last_found = publisher.items.iter().rev().find_map(found).map(|seq| seq.saturating_add(1));
        let in_stream = last_found.unwrap_or_default().max(publisher.published);
        self.settle_before(line, in_stream, true);
        self.give_up_too_large(line);
        let Some(publisher) = self.publishers.get_mut(line) else { return };
        publisher.searching = false;
        for at in 0..publisher.items.len() {
            if matches!(publisher.items[at].state, State::Unknown(_)) {
                publisher.items[at].doubtful = true;
                publisher.set(at, State::Waiting(None));
            }
        }
        let waiting = |item: &Item| matches!(item.state, State::Waiting(_));
        publisher.handed = publisher.items.iter().position(waiting).unwrap_or(publisher.items.len());
        self.note_eager(line);
    }

    /// What is lost each time, all alone, and was not found, will not get through: those behind it have waited for it long enough.
    fn give_up_too_large(&mut self, line: &Line) {
        let is_it = |item: &Item| matches!(item.state, State::Unknown(_)) && item.is_too_large();
        while let Some(at) =
            self.publishers.get(line).and_then(|publisher| publisher.items.iter().position(is_it))
        {
            let size = self.publishers[line].items[at].message.size;
            let words =
                format!("the connection was lost each time that this message of {size} bytes was sent");
            self.give_up(line, at, CommandError::Lost(words));
        }
    }

    /// The message has its place in the stream.
    fn published_as(&mut self, line: &Line, seq: u64, id: Option<EntryId>) {
        let Some(publisher) = self.publishers.get_mut(line) else { return };
        publisher.published = publisher.published.max(seq);
        let Some(at) = publisher.find(seq) else { return };
        if let Some(message) = self.settle(line, at) {
            self.is_published(message, id);
        }
    }

    /// What follows from that.
    fn is_published(&mut self, message: Outgoing, id: Option<EntryId>) {
        if matches!(message.content, Content::Entry { .. }) {
            self.spoke_in(&message.nsp);
        }
        match message.what {
            What::Message(ticket) => self.events.push_back(Event::Published { ticket, entry: id }),
            What::Farewell(nsp, number) => self.left(&nsp, number),
            What::Order(ticket) => self.order_published(ticket, id),
            What::Request { ticket, acts } => self.request_published(ticket, acts, id),
            What::Notice | What::Beat => {}
        }
        if let Some(effect) = message.effect {
            self.pending.push_back(Pending::Effect(effect, id));
        }
    }

    /// The message will not be sent, or not again.
    fn give_up(&mut self, line: &Line, at: usize, error: CommandError) {
        let doubtful = self
            .publishers
            .get(line)
            .and_then(|publisher| publisher.items.get(at))
            .is_some_and(|item| item.doubtful);
        let Some(message) = self.settle(line, at) else { return };
        let error = match error {
            CommandError::Lost(_) => error,
            // What its last try came to says nothing of the one before.
            error if doubtful => CommandError::Lost(format!("an earlier try may come late; then: {error}")),
            error => error,
        };
        match message.what {
            What::Message(ticket) => self.events.push_back(Event::PublishFailed { ticket, error }),
            What::Request { ticket, acts } => self.request_failed(ticket, acts, error),
            What::Order(ticket) if self.requests.contains(ticket) => {
                self.finish_request(ticket, false, Some(error));
            }
            What::Order(ticket) => self.events.push_back(Event::PublishFailed { ticket, error }),
            What::Farewell(nsp, number) => self.left(&nsp, number),
            What::Notice | What::Beat => {
                if matches!(message.what, What::Beat)
                    && !matches!(&error, CommandError::Server { code, .. } if code == "NOPERM")
                {
                    self.beat_failed(&message.nsp);
                }
                let (Content::Entry { stream, .. } | Content::Push { channel: stream, .. }) = message.content;
                self.events.push_back(Event::NoticeFailed { stream, error });
            }
        }
        let effect = message.effect.filter(|_| !mutant!(EffectForgottenOnFailure));
        self.pending.extend(effect.map(|effect| Pending::Effect(effect, None)));
    }

    /// Takes a message out of the line.
    fn settle(&mut self, line: &Line, at: usize) -> Option<Outgoing> {
        let publisher = self.publishers.get_mut(line)?;
        let message = publisher.take(at)?.message;
        let left = publisher.left();
        self.has_left(line, &message, left);
        Some(message)
    }

    /// A message is out of the line.
    fn has_left(&mut self, line: &Line, message: &Outgoing, left: Left) {
        self.published -= usize::from(!(mutant!(NoticeLeaksBound) && matches!(message.what, What::Beat)));
        self.published_bytes -= message.size;
        if matches!(message.what, What::Beat) {
            self.beat_is_out(&message.nsp);
        }
        match left {
            Left::Nothing => self.retire_if_idle(line),
            Left::Eager => {
                self.eager.insert(line.clone());
            }
            Left::Others => {}
        }
    }

    /// The line is empty: where nothing lives on it, it needs no publisher any more.
    fn retire_if_idle(&mut self, line: &Line) {
        let idle = match line {
            Line::Stream(stream) => !self.readers.contains_key(stream),
            Line::Channels => self.namespaces.is_empty(),
        };
        if idle {
            self.publishers.remove(line);
            self.eager.remove(line);
            self.timers.cancel(&Timer::GiveUp(line.clone()));
        }
    }

    /// A namespace was closed.
    pub(super) fn retire_channels(&mut self) {
        if self.publishers.get(&Line::Channels).is_some_and(|publisher| publisher.items.is_empty()) {
            self.retire_if_idle(&Line::Channels);
        }
    }

    /// Nothing lives on the stream any more. What is in line is still said, if it is known where.
    pub(super) fn retire_publisher(&mut self, stream: &ByteString) {
        let line = &Line::Stream(stream.clone());
        while let Some(publisher) = self.publishers.get(line) {
            if publisher.items.is_empty() {
                return self.retire_if_idle(line);
            } else if publisher.located {
                return;
            } else {
                let error = CommandError::NotSent("the namespace was closed before it was ready".into());
                self.give_up(line, 0, error);
            }
        }
    }

    /// Some messages may have waited for too long.
    pub(super) fn give_up_due(&mut self, line: &Line) {
        let patience = self.config.limits.in_flight_for;
        let mut at = 0;
        while let Some(item) = self.publishers.get(line).and_then(|publisher| publisher.items.get(at)) {
            if self.now < item.since + patience {
                break;
            }
            let error = match &item.state {
                State::Unknown(error) | State::Waiting(Some(error)) => error.clone(),
                State::Waiting(None) => CommandError::NotSent("Redis was away for too long".into()),
                // Its fate is known already, or will be: the backend says what comes of it.
                State::Found(_) | State::Sent => {
                    at += 1;
                    continue;
                }
            };
            self.give_up(line, at, error);
        }
        let Some(publisher) = self.publishers.get_mut(line) else { return };
        publisher.watched = !publisher.items.is_empty();
        if let Some(oldest) = publisher.items.front() {
            let due = (oldest.since + patience).max(self.now + RETRY);
            self.timers.arm(Timer::GiveUp(line.clone()), due);
        }
    }
}
