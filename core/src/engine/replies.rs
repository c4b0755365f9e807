//! What Redis answers.

use std::collections::BTreeSet;

use bytestring::ByteString;

use super::line::Line;
use super::{Engine, InFlight, Purpose};
use crate::command::{Command, CommandError, CommandId, Reply};
use crate::event::{Event, Ticket};
use crate::id::NodeId;

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
                    (_, Ok(other)) => Err(unusable(&other)),
                    (_, Err(error)) => Err(error),
                };
                self.publish_replied(&line, seq, reply);
            }
            Purpose::Search(stream) => match reply {
                Ok(Reply::Entries(entries)) => self.searched(stream, &entries),
                Ok(other) => self.search_failed(stream, unusable(&other)),
                Err(error) => self.search_failed(stream, error),
            },
            Purpose::CountFor(ticket) => match reply {
                Ok(Reply::Count(subscribers)) => {
                    if let Some(request) = self.requests.get_mut(ticket) {
                        let nsp = request.nsp.clone();
                        let unnamed = self.silent_subscribers(&nsp, subscribers);
                        self.send_request(ticket, unnamed);
                    }
                }
                // Asking twice harms nothing.
                Err(CommandError::NotSent(_) | CommandError::Lost(_)) if self.requests.contains(ticket) => {
                    self.again(id, command, Purpose::CountFor(ticket));
                }
                Ok(other) => self.finish_request(ticket, false, Some(unusable(&other))),
                Err(error) => self.finish_request(ticket, false, Some(error)),
            },
            Purpose::ListFor(ticket) => {
                if let Ok(Reply::Channels(channels)) = reply {
                    self.listed(ticket, &channels);
                }
                // Without a list the request still ends in time; only the missing have no names.
                self.recheck_later(ticket);
            }
            Purpose::ServerCount(ticket, nsp) => {
                let count = match reply {
                    Err(CommandError::NotSent(_)) => {
                        return self.again(id, command, Purpose::ServerCount(ticket, nsp));
                    }
                    Ok(Reply::Count(subscribers)) => {
                        let members =
                            self.namespaces.get(&nsp).map_or(0, |namespace| namespace.members.len());
                        Ok(self.silent_subscribers(&nsp, subscribers).saturating_add(1 + members as u64))
                    }
                    Ok(other) => Err(unusable(&other)),
                    Err(error) => Err(error),
                };
                self.events.push_back(Event::ServerCount { ticket, count });
            }
            Purpose::SaveSession(ticket) => self.session_saved(id, ticket, reply, command),
            Purpose::ReadSession(ticket) => self.session_read(id, ticket, reply, command),
            Purpose::TakeSession(ticket) => self.session_taken(id, ticket, reply, command),
            Purpose::Page(stream) => self.page_read(id, &stream, reply, command),
            Purpose::Leave(nsp) => match reply {
                // Whoever is still subscribed is counted.
                Err(error) if error.is_transient() => self.again(id, command, Purpose::Leave(nsp)),
                _ => self.left(&nsp),
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

    /// The command certainly had no effect: it goes back to its place, and out again when the link is back, or after a while.
    pub(super) fn again(&mut self, id: CommandId, command: Option<Box<Command>>, purpose: Purpose) {
        let Some(command) = command else { return };
        let lane = command.lane();
        self.lanes.push(id, (*command).clone());
        self.expect(id, Some(command), purpose);
        self.rest(&lane);
    }

    /// The channels of a namespace are known: each node has one of its own, which bears its name.
    fn listed(&mut self, ticket: Ticket, channels: &[ByteString]) {
        let Some(request) = self.requests.get_mut(ticket) else { return };
        let Some(namespace) = self.namespaces.get_mut(&request.nsp) else { return };
        let prefix = self.config.response_prefix(&request.nsp);
        let name_in = |channel: &ByteString| {
            let name = channel.strip_prefix(&*prefix)?.strip_suffix('#')?;
            (!name.is_empty() && !name.contains('#')).then(|| NodeId::new(name.to_owned()))
        };
        let uid = &self.uid;
        let listed: BTreeSet<NodeId> = channels
            .iter()
            .filter_map(name_in)
            .filter(|name| name != uid)
            .take(self.config.limits.nodes)
            .collect();
        let members = &namespace.members;
        request.listed(&listed, &namespace.known, |node| node == uid || members.contains(node));
        namespace.known = listed;
        self.finish_if_over(ticket);
    }
}

pub(super) fn unusable(reply: &Reply) -> CommandError {
    CommandError::Unusable(format!("{reply:?} is not what belongs to the command"))
}
