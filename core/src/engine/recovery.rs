//! Clients that were away: their sessions, and what they missed.
//!
//! An attempt to restore a session reads it, finds its offset in the [window](super::window), takes it, and is done when the session is taken and
//! the window reaches from the offset to the last entry that was looked at. In that moment the socket is put into its rooms. The replay holds what
//! was looked at before; what is looked at later is delivered. So the two meet without a hole and without a double. `docs/recovery.md` has the
//! whole argument.

mod missed;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use bytestring::ByteString;

use super::by_namespace::ByNamespace;
use super::window::{Place, Window};
use super::{CallError, Engine, Purpose, Timer};
use crate::command::{Command, CommandError, CommandId, Lane, Reply};
use crate::config::Recovery;
use crate::event::Event;
use crate::hash::Keyed;
use crate::id::{EntryId, Ticket};
use crate::packet::{BroadcastOptions, EVENT, Packet};
use crate::session::{NotRecovered, Restored, Session, is_pid};
use crate::time::Time;
use crate::wire::session;

/// An attempt that can't be given up just now is looked after this often.
const LOOK_AGAIN: core::time::Duration = core::time::Duration::from_secs(1);

/// What the engine knows of clients that are away. Nothing, if recovery is off.
#[derive(Debug)]
pub(super) struct Recoveries {
    streams: BTreeMap<ByteString, Stream>,
    attempts: BTreeMap<Ticket, Attempt>,
    by_namespace: ByNamespace,
    saves: BTreeMap<Ticket, Save>,
    /// Attempts whose session is taken, and whose window is there.
    ready: VecDeque<Ticket>,
    /// The bytes of sessions that are on their way.
    bytes: usize,
}

/// A session on its way to Redis.
#[derive(Debug)]
struct Save {
    command: CommandId,
    size: usize,
}

/// The window of a stream, and who waits for it.
#[derive(Debug)]
struct Stream {
    window: Window,
    /// Attempts whose offset lies before the window.
    before: BTreeSet<(EntryId, Ticket)>,
    /// Attempts whose offset has not been looked at.
    ahead: BTreeSet<(EntryId, Ticket)>,
    /// Attempts whose offset must stay in the window: their sessions are being taken.
    pinned: BTreeSet<(EntryId, Ticket)>,
    /// The page that is awaited.
    page: Option<Page>,
    /// How many bytes an entry has, about.
    entry_bytes: Option<usize>,
}

/// A page that is on its way.
#[derive(Clone, Copy, Debug)]
struct Page {
    command: CommandId,
    /// How many entries it may have.
    count: usize,
    /// Where the window began when it was asked for: it has the entries before this.
    before: EntryId,
}

/// A session that is to be restored.
#[derive(Debug)]
struct Attempt {
    nsp: ByteString,
    stream: ByteString,
    key: ByteString,
    offset: EntryId,
    /// The command that is awaited.
    command: Option<CommandId>,
    /// The session, once it was read.
    session: Option<Session>,
    /// As it was stored.
    stored: Bytes,
    /// Whether it is out of Redis, and nobody else's.
    taken: bool,
}

impl Recoveries {
    pub(super) fn new(hash: Keyed) -> Self {
        Recoveries {
            streams: BTreeMap::new(),
            attempts: BTreeMap::new(),
            by_namespace: ByNamespace::new(hash),
            saves: BTreeMap::new(),
            ready: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The next attempt that only has to be told.
    pub(super) fn next_ready(&mut self) -> Option<Ticket> {
        self.ready.pop_front()
    }
}

/// Whether a client that misses the packet gets it later.
pub(super) fn is_recoverable(packet: &Packet, opts: &BroadcastOptions) -> bool {
    packet.kind == EVENT && packet.id.is_none() && (!opts.flags.has_volatile() || mutant!(OffsetOnVolatile))
}

impl Engine {
    /// Stores a client's session, for [`max_disconnection_duration`](Recovery::max_disconnection_duration). To be called when the client's
    /// connection is lost unexpectedly; a client that leaves by itself has no session.
    ///
    /// Ends with [`Event::SessionSaved`].
    ///
    /// It may also be called while the client is there, now and then: if this server dies, the client recovers at another one.
    ///
    /// # Errors
    ///
    /// [`CallError::RecoveryOff`], [`CallError::UnknownNamespace`], [`CallError::InvalidPid`], [`CallError::Payload`],
    /// [`CallError::SessionTooLarge`], [`CallError::Full`].
    pub fn persist_session(&mut self, now: Time, nsp: &str, session: &Session) -> Result<Ticket, CallError> {
        self.advance(now);
        let options = self.config.recovery.as_ref().ok_or(CallError::RecoveryOff)?;
        if !self.namespaces.contains_key(nsp) {
            return Err(CallError::UnknownNamespace(nsp.into()));
        }
        if !is_pid(&session.pid) {
            return Err(CallError::InvalidPid);
        }
        let value = session::encode_with_namespace(session, nsp)?;
        let (size, limit) = (value.len(), options.session_bytes as usize);
        if size > limit {
            return Err(CallError::SessionTooLarge { size, limit });
        }
        if self.recoveries.saves.len() >= options.sessions {
            return Err(CallError::Full { what: "sessions being saved", limit: options.sessions });
        }
        if self.recoveries.bytes.saturating_add(size) > options.sessions_bytes {
            return Err(CallError::Full { what: "bytes of sessions", limit: options.sessions_bytes });
        }
        let key = format!("{}{}", options.session_key_prefix, session.pid).into();
        let (px, patience) = (options.max_disconnection_duration, options.timeout);
        let ticket = Ticket(self.number());
        let command = self.command(Command::Set { key, value, px }, Purpose::SaveSession(ticket));
        self.recoveries.saves.insert(ticket, Save { command, size });
        self.recoveries.bytes += size;
        self.timers.arm(Timer::Session(ticket), self.now + patience);
        Ok(ticket)
    }

    /// Makes a socket of a session again, which any server of the cluster has stored. `pid` and `offset` are what the client sent; they need not be
    /// looked at before.
    ///
    /// Ends with [`Event::Restored`] or [`Event::NotRecovered`], within [`timeout`](Recovery::timeout) and what the backend needs to tell what
    /// became of a command. The session stays stored unless it is restored, or its last command is lost with its link.
    ///
    /// # Errors
    ///
    /// [`CallError::RecoveryOff`], [`CallError::UnknownNamespace`].
    pub fn restore_session(
        &mut self,
        now: Time,
        nsp: &str,
        pid: &str,
        offset: &str,
    ) -> Result<Ticket, CallError> {
        self.advance(now);
        let options = self.config.recovery.as_ref().ok_or(CallError::RecoveryOff)?;
        let (end, limit, patience) = (options.session_bytes, options.sessions, options.timeout);
        let key: ByteString = format!("{}{pid}", options.session_key_prefix).into();
        let unknown = || CallError::UnknownNamespace(nsp.into());
        let (name, namespace) = self.namespaces.get_key_value(nsp).ok_or_else(unknown)?;
        // Without streams there is no order of the stream, which recovery needs.
        let stream = namespace.stream.clone().ok_or(CallError::RecoveryOff)?;
        let nsp = name.clone();
        let two_streams = namespace.lost_stream().is_some_and(|lost| {
            self.readers.get(lost).is_none_or(|reader| reader.cursor != Some(EntryId::ZERO))
        });
        let offset = match offset.parse::<EntryId>() {
            _ if !is_pid(pid) => Err(NotRecovered::InvalidPid),
            Err(_) => Err(NotRecovered::InvalidOffset),
            Ok(_) if two_streams => Err(NotRecovered::TwoStreams),
            Ok(_) if self.recoveries.attempts.len() >= limit => {
                Err(NotRecovered::Busy { what: "sessions", limit })
            }
            Ok(offset) => Ok(offset),
        };
        let ticket = Ticket(self.number());
        match offset {
            Err(reason) => self.events.push_back(Event::NotRecovered { ticket, reason }),
            Ok(offset) => {
                let command = match mutant!(SessionTakenFirst) {
                    true => Command::GetDel { key: key.clone() },
                    false => Command::GetRange { key: key.clone(), end },
                };
                let command = Some(self.command(command, Purpose::ReadSession(ticket)));
                let (session, stored) = (None, Bytes::new());
                let attempt = Attempt { nsp, stream, key, offset, command, session, stored, taken: false };
                self.recoveries.by_namespace.insert(&attempt.nsp, ticket);
                self.recoveries.attempts.insert(ticket, attempt);
                self.timers.arm(Timer::Session(ticket), self.now + patience);
            }
        }
        Ok(ticket)
    }

    /// A session was stored, or not.
    pub(super) fn session_saved(
        &mut self,
        id: CommandId,
        ticket: Ticket,
        reply: Result<Reply, CommandError>,
        command: Option<Box<Command>>,
    ) {
        if !self.recoveries.saves.contains_key(&ticket) {
            return;
        }
        match reply {
            Err(CommandError::NotSent(_)) => self.again(id, command, Purpose::SaveSession(ticket)),
            Ok(_) => self.save_done(ticket, Ok(())),
            Err(error) => self.save_done(ticket, Err(error)),
        }
    }

    fn save_done(&mut self, ticket: Ticket, result: Result<(), CommandError>) {
        if let Some(save) = self.recoveries.saves.remove(&ticket) {
            self.recoveries.bytes -= save.size;
            self.timers.cancel(&Timer::Session(ticket));
            self.events.push_back(Event::SessionSaved { ticket, result });
        }
    }

    /// Whether sessions are on their way to Redis.
    pub(super) fn is_saving(&self) -> bool {
        !self.recoveries.saves.is_empty()
    }

    /// What is stored of a session has come.
    pub(super) fn session_read(
        &mut self,
        id: CommandId,
        ticket: Ticket,
        reply: Result<Reply, CommandError>,
        command: Option<Box<Command>>,
    ) {
        let Some(attempt) = self.recoveries.attempts.get_mut(&ticket) else { return };
        let reason = match reply {
            Err(CommandError::NotSent(_)) => {
                return self.again(id, command, Purpose::ReadSession(ticket));
            }
            Err(error) => NotRecovered::Command(error),
            Ok(Reply::Value(Some(stored))) => {
                attempt.command = None;
                match self.read_session(ticket, stored) {
                    Ok(()) => return self.find_offset(ticket),
                    Err(reason) => reason,
                }
            }
            Ok(Reply::Value(None)) => NotRecovered::NoSession,
            Ok(other) => NotRecovered::Command(super::replies::unusable(&other)),
        };
        self.not_recovered(ticket, reason);
    }

    /// Notes what is stored of a session, if it is one.
    fn read_session(&mut self, ticket: Ticket, stored: Bytes) -> Result<(), NotRecovered> {
        let Some(attempt) = self.recoveries.attempts.get_mut(&ticket) else { return Ok(()) };
        let Some(options) = &self.config.recovery else { return Ok(()) };
        let limit = options.session_bytes as usize;
        if stored.len() > limit {
            return Err(NotRecovered::SessionTooLarge { limit });
        }
        let (session, nsp) = session::decode_with_namespace(&stored)
            .map_err(|error| NotRecovered::Malformed(error.to_string()))?;
        if let Some(nsp) = nsp.filter(|nsp| *nsp != attempt.nsp && !mutant!(SessionOfAnyNamespace)) {
            return Err(NotRecovered::OtherNamespace(nsp.into()));
        }
        if attempt.key.strip_prefix(&*options.session_key_prefix) != Some(&session.pid) {
            return Err(NotRecovered::Malformed("it is another client's".into()));
        }
        let held = self.recoveries.bytes - attempt.stored.len();
        if held.saturating_add(stored.len()) > options.sessions_bytes {
            return Err(NotRecovered::Busy { what: "bytes", limit: options.sessions_bytes });
        }
        self.recoveries.bytes = held + stored.len();
        (attempt.session, attempt.stored) = (Some(session), stored);
        Ok(())
    }

    /// Looks where the offset is, and goes on from there: takes the session, waits for the window, or gives up.
    fn find_offset(&mut self, ticket: Ticket) {
        let Some(attempt) = self.recoveries.attempts.get(&ticket) else { return };
        let Some(options) = &self.config.recovery else { return };
        let (offset, taken, stream) = (attempt.offset, attempt.taken, attempt.stream.clone());
        // Before the stream's end is known there is nothing to compare with; the namespace is not ready either.
        let Some(found) = self.recoveries.streams.get_mut(&stream) else {
            return self.not_recovered(ticket, NotRecovered::UnknownOffset);
        };
        let reason = match found.window.place(&attempt.nsp, offset) {
            Place::Inside => match check_bounds(found, attempt, options) {
                Err(reason) => reason,
                Ok(()) => {
                    found.pinned.insert((offset, ticket));
                    if taken {
                        return self.recoveries.ready.push_back(ticket);
                    }
                    let key = attempt.key.clone();
                    let command = self.command(Command::GetDel { key }, Purpose::TakeSession(ticket));
                    if let Some(attempt) = self.recoveries.attempts.get_mut(&ticket) {
                        attempt.command = Some(command);
                    }
                    return;
                }
            },
            Place::Before if found.window.is_deep_enough(options) => {
                NotRecovered::TooMuch { what: "entries", limit: options.replay_entries }
            }
            Place::Before => {
                found.before.insert((offset, ticket));
                return self.dig(&stream);
            }
            Place::Ahead => {
                found.ahead.insert((offset, ticket));
                return;
            }
            Place::Trimmed => NotRecovered::Trimmed,
            Place::Nowhere => NotRecovered::UnknownOffset,
        };
        self.not_recovered(ticket, reason);
    }

    /// A session was taken out of Redis, or somebody else was faster.
    pub(super) fn session_taken(
        &mut self,
        id: CommandId,
        ticket: Ticket,
        reply: Result<Reply, CommandError>,
        command: Option<Box<Command>>,
    ) {
        let Some(attempt) = self.recoveries.attempts.get_mut(&ticket) else { return };
        let reason = match reply {
            Err(CommandError::NotSent(_)) => {
                return self.again(id, command, Purpose::TakeSession(ticket));
            }
            Err(error) => NotRecovered::Command(error),
            Ok(Reply::Value(Some(stored))) => {
                attempt.command = None;
                attempt.taken = true;
                // It may have been restored and stored anew since it was read.
                let read = match stored == attempt.stored {
                    true => Ok(()),
                    false => self.read_session(ticket, stored),
                };
                match read {
                    Ok(()) => return self.recoveries.ready.push_back(ticket),
                    Err(reason) => reason,
                }
            }
            Ok(Reply::Value(None)) => NotRecovered::NoSession,
            Ok(other) => NotRecovered::Command(super::replies::unusable(&other)),
        };
        self.not_recovered(ticket, reason);
    }

    /// All that was looked at has been told: the socket comes in here.
    pub(super) fn restore(&mut self, ticket: Ticket) {
        let Some(attempt) = self.recoveries.attempts.get(&ticket) else { return };
        let (Some(found), Some(options)) =
            (self.recoveries.streams.get(&attempt.stream), &self.config.recovery)
        else {
            return;
        };
        let (Place::Inside, Ok(())) =
            (found.window.place(&attempt.nsp, attempt.offset), check_bounds(found, attempt, options))
        else {
            // The stream has changed in the last moment. The session is in hand: what can be done, is done.
            self.unpin(ticket);
            return self.find_offset(ticket);
        };
        let Some(attempt) = self.end_attempt(ticket) else { return };
        let (Some(found), Some(session)) = (self.recoveries.streams.get(&attempt.stream), attempt.session)
        else {
            return;
        };
        let Some(namespace) = self.namespaces.get_mut(&attempt.nsp) else { return };
        let missed = found.window.missed(&attempt.nsp, &session, attempt.offset).collect();
        let mut changes = namespace.rooms.add(session.sid.clone());
        if !mutant!(RestoredOutOfRooms) {
            changes.extend(namespace.rooms.join(&session.sid, session.rooms.iter().cloned()));
        }
        let (nsp, position) = (attempt.nsp, found.window.end());
        self.events.push_back(Event::Restored(Restored { ticket, nsp, session, missed, position, changes }));
    }

    /// An attempt has waited for too long; or a session could not be stored for so long.
    pub(super) fn session_due(&mut self, ticket: Ticket) {
        if let Some(save) = self.recoveries.saves.get(&ticket) {
            // If it is on its way, the backend says what becomes of it.
            if self.withdraw(&Lane::Recovery, save.command) {
                self.save_done(ticket, Err(CommandError::NotSent("Redis was away for too long".into())));
            }
        } else if let Some(attempt) = self.recoveries.attempts.get(&ticket) {
            // A session that is being taken may be nowhere but in the reply.
            let taking = attempt.session.is_some() && !attempt.taken;
            let pinned = self.recoveries.streams.get(&attempt.stream);
            let pinned = pinned.is_some_and(|found| found.pinned.contains(&(attempt.offset, ticket)));
            let awaited = attempt.command;
            match awaited {
                Some(command) if self.withdraw(&Lane::Recovery, command) || !taking => {}
                None if !pinned => {}
                // It is all but done.
                _ => return self.timers.arm(Timer::Session(ticket), self.now + LOOK_AGAIN),
            }
            self.not_recovered(ticket, NotRecovered::TimedOut);
        }
    }

    pub(super) fn not_recovered(&mut self, ticket: Ticket, reason: NotRecovered) {
        if let Some(attempt) = self.end_attempt(ticket) {
            if let Some(command) = attempt.command {
                self.withdraw(&Lane::Recovery, command);
            }
            self.events.push_back(Event::NotRecovered { ticket, reason });
        }
    }

    fn end_attempt(&mut self, ticket: Ticket) -> Option<Attempt> {
        self.unpin(ticket);
        let attempt = self.recoveries.attempts.remove(&ticket)?;
        self.recoveries.by_namespace.remove(&attempt.nsp, ticket);
        self.recoveries.bytes -= attempt.stored.len();
        self.timers.cancel(&Timer::Session(ticket));
        if let Some(stream) = self.recoveries.streams.get_mut(&attempt.stream) {
            stream.before.remove(&(attempt.offset, ticket));
            stream.ahead.remove(&(attempt.offset, ticket));
        }
        Some(attempt)
    }

    fn unpin(&mut self, ticket: Ticket) {
        let Some(attempt) = self.recoveries.attempts.get(&ticket) else { return };
        if let Some(stream) = self.recoveries.streams.get_mut(&attempt.stream) {
            stream.pinned.remove(&(attempt.offset, ticket));
        }
    }

    /// The namespace is closed: nobody is restored there.
    pub(super) fn recoveries_closed(&mut self, nsp: &str) {
        for ticket in self.recoveries.by_namespace.of(nsp) {
            self.not_recovered(ticket, NotRecovered::Closed);
        }
    }
}

/// Whether the client may be sent what it missed.
///
/// What was sent since its session is out of Redis is not counted: there is no way back.
fn check_bounds(found: &Stream, attempt: &Attempt, options: &Recovery) -> Result<(), NotRecovered> {
    if attempt.taken {
        return Ok(());
    }
    let (entries, bytes) = found.window.behind(attempt.offset);
    if entries > options.replay_entries {
        return Err(NotRecovered::TooMuch { what: "entries", limit: options.replay_entries });
    }
    if bytes > options.replay_bytes {
        return Err(NotRecovered::TooMuch { what: "bytes", limit: options.replay_bytes });
    }
    Ok(())
}
