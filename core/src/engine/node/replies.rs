//! The replies of Redis.

use bytestring::ByteString;

use super::Node;
use crate::command::{CommandError, CommandId, Entry, Reply, StreamInfo};
use crate::engine::context::InFlight;
use crate::engine::inbox::{Batch, Finding, Told};
use crate::engine::purpose::Purpose;
use crate::event::Event;

impl Node {
    pub(in crate::engine) fn replied(&mut self, id: CommandId, reply: Result<Reply, CommandError>) {
        let Some(InFlight { command, purpose }) = self.cx.answered(id) else { return };
        if reply.is_ok() {
            self.cx.was_of_use(&purpose);
        }
        match purpose {
            Purpose::Locate(stream) => self.stream_told(id, stream, reply, true),
            Purpose::Check(stream) => self.stream_told(id, stream, reply, false),
            Purpose::Read(stream) => self.stream_read(id, stream, reply),
            Purpose::Patterns(names) => match reply {
                Ok(_) => self.cluster.subscribe_channels(&mut self.cx, names),
                Err(error) => self.cluster.subscribe_failed(&mut self.cx, names, false, error),
            },
            Purpose::Own(nsp) => match reply {
                Ok(_) => {
                    self.cluster.subscribed(core::slice::from_ref(&nsp));
                    self.cluster.subscribe_rooms(&mut self.cx, &nsp);
                    self.maybe_ready(&nsp);
                }
                Err(error) => self.cluster.subscribe_failed(&mut self.cx, vec![nsp], false, error),
            },
            Purpose::Rooms(nsp) => match reply {
                Ok(_) => self.cluster.rooms_subscribed(command),
                Err(error) => self.cluster.rooms_failed(&mut self.cx, nsp, command, error),
            },
            Purpose::Subscribe(names) => match reply {
                Ok(_) => {
                    self.cluster.subscribed(&names);
                    names.iter().for_each(|nsp| self.maybe_ready(nsp));
                }
                Err(error) => self.cluster.subscribe_failed(&mut self.cx, names, true, error),
            },
            Purpose::Publish { destination, number } => {
                self.outbox.replied(&mut self.cx, &destination, number, reply);
                self.settle();
            }
            Purpose::Search(stream) => {
                self.outbox.searched(&mut self.cx, stream, reply);
                self.settle();
            }
            Purpose::CountFor(ticket, census) => self.counted_for(ticket, *census, reply),
            Purpose::Recheck(census) => self.looked_after(*census, reply),
            Purpose::Names(nsp) => self.listed(&nsp, reply),
            Purpose::ServerCount(ticket, census) => self.servers_counted(ticket, *census, reply),
            Purpose::SaveSession(ticket) => {
                self.recoveries.session_saved(&mut self.cx, id, ticket, reply, command)
            }
            Purpose::ReadSession(ticket) => {
                self.recoveries.session_read(&mut self.cx, id, ticket, reply, command)
            }
            Purpose::TakeSession(ticket) => {
                self.recoveries.session_taken(&mut self.cx, id, ticket, reply, command)
            }
            Purpose::Page(stream) => self.recoveries.page_read(&mut self.cx, id, &stream, reply, command),
            Purpose::Leave(nsp, number) => match (reply, command) {
                // A node that is still subscribed is still counted, so the command is sent again.
                (Err(error), Some(command)) if error.is_transient() => {
                    self.cluster.leave_again(&mut self.cx, id, *command, nsp, number);
                }
                _ => self.cluster.left(&mut self.cx, &nsp, number),
            },
            Purpose::Unheard => {
                if let (Err(CommandError::Server { .. }), Some(command)) = (reply, command) {
                    self.cluster.unsubscribe_again(&mut self.cx, *command);
                }
            }
            Purpose::Release => {}
        }
    }

    /// Returns `true` if this is the reply that the stream's reader waits for.
    fn is_awaited(&mut self, stream: &ByteString, id: CommandId) -> bool {
        let Some(took) = self.inbox.is_awaited(&self.cx, stream, id) else { return false };
        if took > self.cx.config.block_time.saturating_add(self.cx.config.notable_delay()) {
            // The server was stuck or could not be reached, and the other nodes may have been cut
            // off meanwhile.
            self.cluster.nobody_could_speak(&mut self.cx, Some(stream));
        }
        true
    }

    /// Handles a stream of which everything that has come has been looked at.
    pub(super) fn is_heard(&mut self, stream: &ByteString) {
        if self.inbox.is_heard(&mut self.cx, stream) {
            // The application was slow, and nothing was asked of the server meanwhile.
            self.cluster.nobody_could_speak(&mut self.cx, Some(stream));
        }
    }

    /// Handles the reply about a stream's end and its counters, or the error. `is_located` is
    /// `true` if the server was asked for the first time, or after a break.
    fn stream_told(
        &mut self,
        id: CommandId,
        stream: ByteString,
        reply: Result<Reply, CommandError>,
        is_located: bool,
    ) {
        if !self.is_awaited(&stream, id) {
            return;
        }
        match reply {
            // A stream that does not exist yet is read from its beginning.
            Ok(Reply::Stream(info)) => {
                self.inbox.counts(&stream);
                self.stream_is(stream, &info.unwrap_or_else(StreamInfo::absent), is_located);
            }
            other => match CommandError::of(other) {
                error @ CommandError::Unusable(_) => self.stream_uncounted(&stream, error, is_located),
                error => self.inbox.failed(&mut self.cx, &stream, error, false),
            },
        }
    }

    /// Handles a server that can't tell a stream's end and its counters.
    fn stream_uncounted(&mut self, stream: &ByteString, error: CommandError, is_located: bool) {
        let Some(Batch { findings, .. }) = self.inbox.uncounted(&mut self.cx, stream, error) else { return };
        self.report(stream, findings);
        if is_located && !self.inbox.is_seeking(stream) {
            self.stream_is_heard(stream);
        }
        self.inbox.read_on(&mut self.cx, stream);
    }

    /// Handles the state of a stream.
    fn stream_is(&mut self, stream: ByteString, info: &StreamInfo, is_located: bool) {
        let told = self.inbox.told(&mut self.cx, &stream, info, is_located);
        let Some(Told { located, rewound, cursor, end, findings, holes }) = told else { return };
        self.report(&stream, findings);
        for until in holes {
            self.recoveries.window_has_gap(&mut self.cx, &stream, until);
        }
        self.outbox.located(&stream, end, rewound);
        self.outbox.has_read(&stream, cursor);
        self.recoveries.window_told(&mut self.cx, &stream, end, info);
        self.is_heard(&stream);
        self.inbox.read_on(&mut self.cx, &stream);
        if is_located || located {
            self.stream_is_heard(&stream);
        }
    }

    /// Handles the entries of a stream, or the error of the read.
    fn stream_read(&mut self, id: CommandId, stream: ByteString, reply: Result<Reply, CommandError>) {
        if !self.is_awaited(&stream, id) {
            return;
        }
        let batch = match reply {
            Ok(Reply::Entries(entries)) if self.inbox.is_seeking(&stream) => {
                let last = entries.last().map(|entry| entry.id);
                if let Some(info) = self.inbox.sought(&mut self.cx, &stream, last) {
                    self.stream_is(stream, &info, true);
                }
                return;
            }
            Ok(Reply::Entries(entries)) if self.inbox.is_searching(&stream) => {
                return self.stream_searched(stream, Ok(entries.first()));
            }
            Ok(Reply::Unreadable { .. }) if self.inbox.is_searching(&stream) => {
                return self.stream_searched(stream, Err(()));
            }
            Ok(Reply::Entries(entries)) => self.inbox.read(&mut self.cx, &stream, entries),
            Ok(Reply::Unreadable { next, alone }) => self.inbox.pass_over(&stream, next, alone),
            other => return self.inbox.failed(&mut self.cx, &stream, CommandError::of(other), true),
        };
        let Some(Batch { cursor, findings }) = batch else { return };
        self.outbox.has_read(&stream, cursor);
        self.report(&stream, findings);
        self.is_heard(&stream);
        self.inbox.read_on(&mut self.cx, &stream);
    }

    /// Handles the entry that was asked for to find out whether the stream is the one that was read.
    /// `Err` means that it can't be read.
    fn stream_searched(&mut self, stream: ByteString, entry: Result<Option<&Entry>, ()>) {
        if let Some((info, is_located)) = self.inbox.searched(&mut self.cx, &stream, entry) {
            self.stream_is(stream, &info, is_located);
        }
    }

    /// Reports that entries are missing, or that the server has lost some.
    fn report(&mut self, stream: &ByteString, findings: Vec<Finding>) {
        for finding in &findings {
            match finding {
                Finding::Gap { until, .. } => {
                    self.recoveries.window_has_gap(&mut self.cx, stream, *until);
                }
                Finding::Rewound { last, .. } => {
                    self.recoveries.window_rewound(&mut self.cx, stream, *last);
                }
            }
        }
        if mutant!(GapSilent) {
            return;
        }
        let stream = || stream.clone();
        self.cx.events.extend(findings.into_iter().map(|finding| match finding {
            Finding::Gap { after, until, lost } => Event::Gap { stream: stream(), after, until, lost },
            Finding::Rewound { cursor, last, lost } => {
                Event::Rewound { stream: stream(), cursor, last, lost }
            }
        }));
    }
}
