//! What Redis answers.

use bytestring::ByteString;

use super::line::Line;
use super::{Engine, InFlight, Purpose};
use crate::command::{Command, CommandError, CommandId, Lane, Reply};

impl Engine {
    pub(super) fn replied(&mut self, id: CommandId, reply: Result<Reply, CommandError>) {
        let Some(InFlight { command, purpose }) = self.in_flight.remove(&id) else { return };
        self.asking -= usize::from(purpose.asks());
        match purpose {
            Purpose::Locate(stream) => {
                self.reader_replied(id, &stream, reply, false, |engine, reply| match reply {
                    Reply::Stream(info) => {
                        engine.located(&stream, info);
                        None
                    }
                    other => Some(other),
                })
            }
            Purpose::Check(stream) => {
                self.reader_replied(id, &stream, reply, false, |engine, reply| match reply {
                    Reply::Stream(info) => {
                        engine.checked(&stream, info);
                        None
                    }
                    other => Some(other),
                })
            }
            Purpose::Read(stream) => {
                self.reader_replied(id, &stream, reply, true, |engine, reply| match reply {
                    Reply::Entries(entries) => {
                        engine.entries_read(&stream, entries);
                        None
                    }
                    Reply::Unreadable { next, alone } => {
                        engine.passed_over(&stream, next, alone);
                        None
                    }
                    other => Some(other),
                })
            }
            Purpose::Patterns(names) => match reply {
                Ok(_) => self.subscribe_channels(names),
                Err(error) => self.subscribe_failed(names, error),
            },
            Purpose::Rooms(nsp) => {
                if let Err(error) = reply {
                    self.subscribe_failed(vec![nsp], error);
                }
            }
            Purpose::Subscribe(names) => match reply {
                Ok(_) => self.subscribed(&names),
                Err(error) => self.subscribe_failed(names, error),
            },
            Purpose::Publish { line, seq } => {
                let reply = match (&line, reply) {
                    (Line::Stream(_), Ok(Reply::Added(entry))) => Ok(Some(entry)),
                    (Line::Channels, Ok(Reply::Done)) => Ok(None),
                    (_, Ok(other)) if mutant!(GarbledIsRefused) => Err(unusable(&other)),
                    (_, Ok(other)) => Err(unusable(&other).of_what_may_be_executed()),
                    (_, Err(error)) => Err(error.of_what_may_be_executed()),
                };
                self.publish_replied(&line, seq, reply);
            }
            Purpose::Search(stream) => match reply {
                Ok(Reply::Entries(entries)) => self.searched(stream, &entries),
                Ok(other) => self.search_failed(stream, unusable(&other)),
                Err(error) => self.search_failed(stream, error),
            },
            Purpose::CountFor(ticket, census) => self.counted_for(ticket, *census, reply),
            Purpose::Recheck(census) => self.looked_after(*census, reply),
            Purpose::Names(nsp) => self.listed(&nsp, reply),
            Purpose::ServerCount(ticket, census) => self.servers_counted(ticket, *census, reply),
            Purpose::SaveSession(ticket) => self.session_saved(id, ticket, reply, command),
            Purpose::ReadSession(ticket) => self.session_read(id, ticket, reply, command),
            Purpose::TakeSession(ticket) => self.session_taken(id, ticket, reply, command),
            Purpose::Page(stream) => self.page_read(id, &stream, reply, command),
            Purpose::Leave(nsp, number) => match (reply, command) {
                // Whoever is still subscribed is counted.
                (Err(error), Some(command)) if error.is_transient() => {
                    self.leave_again(id, *command, nsp, number);
                }
                _ => self.left(&nsp, number),
            },
            Purpose::Unheard => {
                if let (Err(CommandError::Server { .. }), Some(command)) = (reply, command) {
                    self.unsubscribe_again(*command);
                }
            }
            Purpose::Release => {}
        }
    }

    fn reader_replied(
        &mut self,
        id: CommandId,
        stream: &ByteString,
        reply: Result<Reply, CommandError>,
        reads: bool,
        take: impl FnOnce(&mut Self, Reply) -> Option<Reply>,
    ) {
        if !self.is_awaited(stream, id) {
            return;
        }
        let refused = match reply {
            Ok(reply) => take(self, reply).map(|other| unusable(&other)),
            Err(error) => Some(error),
        };
        if let Some(error) = refused {
            self.read_failed(stream, error, reads);
        }
    }

    /// Redis has not taken a goodbye. On a connection that is lost nothing has to be ended; and what has been opened again
    /// since stays.
    fn leave_again(&mut self, id: CommandId, command: Command, nsp: ByteString, number: u64) {
        let command = match command {
            _ if self.lanes.is_down(&Lane::Subscriber) => None,
            Command::Unsubscribe { mut channels, sharded } => {
                channels.retain(|channel| !self.channels.contains_key(channel));
                (!channels.is_empty()).then_some(Command::Unsubscribe { channels, sharded })
            }
            other => (!self.namespaces.contains_key(&nsp)).then_some(other),
        };
        match command {
            Some(command) => {
                self.again(id, Some(Box::new(command)), Purpose::Leave(nsp, number));
            }
            None => self.left(&nsp, number),
        }
    }

    /// The command certainly had no effect: it goes back to its place, and out again when the link is back, or after a while.
    pub(super) fn again(&mut self, id: CommandId, command: Option<Box<Command>>, purpose: Purpose) {
        let Some(command) = command else { return };
        let lane = command.lane();
        self.lanes.push(id, (*command).clone());
        self.expect(id, Some(command), purpose);
        self.rest(&lane);
    }
}

pub(super) fn unusable(reply: &Reply) -> CommandError {
    CommandError::Unusable(format!("{reply:?} is not what belongs to the command"))
}
