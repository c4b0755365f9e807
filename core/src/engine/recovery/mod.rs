//! Clients that were away: their sessions, and the broadcasts that they missed.
//!
//! An attempt to restore a session reads the session, finds its offset in the [window], and takes
//! the session. It is done when the session is taken and the window reaches from the offset to the
//! last entry that was looked at. At that moment the socket is put into its rooms. The replay holds
//! what was looked at before, and what is looked at later is delivered. So the two meet without a
//! hole and without a duplicate. `docs/recovery.md` has the whole argument.

mod missed;
mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use bytestring::ByteString;

use super::by_namespace::ByNamespace;
use super::context::Context;
use super::purpose::Purpose;
use super::timers::Timer;
use crate::command::{Command, CommandError, CommandId, Lane, Reply};
use crate::config::Recovery;
use crate::error::{CallError, Limit};
use crate::event::Event;
use crate::hash::Keyed;
use crate::id::{EntryId, Ticket};
use crate::session::{Missed, NotRecovered, Session, is_pid};
use crate::wire::session;
use window::{Place, Window};

/// The time after which an attempt that can't be given up yet is checked again.
const LOOK_AGAIN: core::time::Duration = core::time::Duration::from_secs(1);

/// The engine's knowledge of clients that are away. It is empty if recovery is off.
#[derive(Debug)]
pub(super) struct Recoveries {
    streams: BTreeMap<ByteString, Stream>,
    attempts: BTreeMap<Ticket, Attempt>,
    by_namespace: ByNamespace,
    saves: BTreeMap<Ticket, Save>,
    /// The attempts whose session is taken and whose window reaches their offset.
    ready: VecDeque<Ticket>,
    /// The total size in bytes of the sessions that are on their way.
    bytes: usize,
}

/// A session on its way to Redis.
#[derive(Debug)]
struct Save {
    command: CommandId,
    size: usize,
}

/// The window of a stream, and the attempts that wait for it.
#[derive(Debug)]
struct Stream {
    window: Window,
    /// The attempts whose offset lies before the window.
    before: BTreeSet<(EntryId, Ticket)>,
    /// The attempts whose offset has not been looked at yet.
    ahead: BTreeSet<(EntryId, Ticket)>,
    /// The attempts whose offset must stay in the window, because their sessions are being taken.
    pinned: BTreeSet<(EntryId, Ticket)>,
    /// The page that is awaited.
    page: Option<Page>,
    /// The approximate size of an entry in bytes.
    entry_bytes: Option<usize>,
}

/// A page that is on its way.
#[derive(Clone, Copy, Debug)]
struct Page {
    command: CommandId,
    /// The maximum number of entries in the page.
    count: usize,
    /// The beginning of the window when the page was requested. The page has the entries before it.
    before: EntryId,
}

/// A session that a client wants back.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) nsp: ByteString,
    pub(super) stream: ByteString,
    /// `true` if the namespace lives on two streams. Then no offset names a place in both.
    pub(super) two_streams: bool,
    pub(super) pid: &'a str,
    pub(super) offset: &'a str,
}

/// A session that is restored as soon as its socket is in its rooms.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) ticket: Ticket,
    pub(super) nsp: ByteString,
    pub(super) session: Session,
    pub(super) missed: Vec<Missed>,
    pub(super) position: EntryId,
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
    /// The session, once it has been read.
    session: Option<Session>,
    /// The session as it was stored.
    stored: Bytes,
    /// `true` if the session is out of Redis and belongs to this attempt alone.
    taken: bool,
}

impl Attempt {
    /// Returns what is stored of the session, as the reply to the awaited command says.
    fn reply(&mut self, reply: Result<Reply, CommandError>) -> Result<Bytes, NotRecovered> {
        match reply {
            Ok(Reply::Value(stored)) => {
                let stored = stored.ok_or(NotRecovered::NoSession)?;
                self.command = None;
                Ok(stored)
            }
            other => Err(NotRecovered::Command(CommandError::of(other))),
        }
    }
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

    /// Returns `true` if there is an attempt that only has to be reported.
    #[inline]
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Returns the next attempt that only has to be reported, now that everything that was looked
    /// at has been reported. Returns `None` if the stream has changed at the last moment.
    pub(super) fn next_ready(&mut self, cx: &mut Context) -> Option<Ready> {
        let ticket = self.ready.pop_front()?;
        let attempt = self.attempts.get(&ticket)?;
        let (found, options) = (self.streams.get(&attempt.stream)?, cx.config.recovery.as_ref()?);
        let (Place::Inside, Ok(())) =
            (found.window.place(&attempt.nsp, attempt.offset), check_bounds(found, attempt, options))
        else {
            // The session has been taken, so the attempt goes on as far as it can.
            self.unpin(ticket);
            self.find_offset(cx, ticket);
            return None;
        };
        let Attempt { nsp, stream, offset, session, .. } = self.end_attempt(cx, ticket)?;
        let (window, session) = (&self.streams.get(&stream)?.window, session?);
        let missed = window.missed(&nsp, &session, offset).collect();
        Some(Ready { ticket, nsp, session, missed, position: window.end() })
    }

    /// Stores a session of the namespace, within the limits.
    pub(super) fn persist(
        &mut self,
        cx: &mut Context,
        nsp: &str,
        session: &Session,
    ) -> Result<Ticket, CallError> {
        let options = cx.config.recovery.as_ref().ok_or(CallError::RecoveryOff)?;
        if !is_pid(&session.pid) {
            return Err(CallError::InvalidPid);
        }
        let value = session::encode_with_namespace(session, nsp)?;
        let (size, limit) = (value.len(), options.session_bytes as usize);
        if size > limit {
            return Err(CallError::SessionTooLarge { size, limit });
        }
        if self.saves.len() >= options.sessions {
            return Err(CallError::Full { what: Limit::Sessions, limit: options.sessions });
        }
        if self.bytes.saturating_add(size) > options.sessions_bytes {
            return Err(CallError::Full { what: Limit::SessionsBytes, limit: options.sessions_bytes });
        }
        let key = format!("{}{}", options.session_key_prefix, session.pid).into();
        let (px, patience) = (options.max_disconnection_duration, options.timeout);
        let ticket = Ticket(cx.number());
        let command = cx.command(Command::Set { key, value, px }, Purpose::SaveSession(ticket));
        self.saves.insert(ticket, Save { command, size });
        self.bytes += size;
        cx.timers.arm(Timer::Session(ticket), cx.now + patience);
        Ok(ticket)
    }

    /// Begins to restore a session.
    pub(super) fn begin(&mut self, cx: &mut Context, wanted: Wanted<'_>) -> Result<Ticket, CallError> {
        let options = cx.config.recovery.as_ref().ok_or(CallError::RecoveryOff)?;
        let Wanted { nsp, stream, two_streams, pid, offset } = wanted;
        let (end, limit, patience) = (options.session_bytes, options.sessions, options.timeout);
        let key: ByteString = format!("{}{pid}", options.session_key_prefix).into();
        let offset = match offset.parse::<EntryId>() {
            _ if !is_pid(pid) => Err(NotRecovered::InvalidPid),
            Err(_) => Err(NotRecovered::InvalidOffset),
            Ok(_) if two_streams => Err(NotRecovered::TwoStreams),
            Ok(_) if self.attempts.len() >= limit => Err(NotRecovered::Busy { what: Limit::Sessions, limit }),
            Ok(offset) => Ok(offset),
        };
        let ticket = Ticket(cx.number());
        match offset {
            Err(reason) => cx.events.push_back(Event::NotRecovered { ticket, reason }),
            Ok(offset) => {
                let command = match mutant!(SessionTakenFirst) {
                    true => Command::GetDel { key: key.clone() },
                    false => Command::GetRange { key: key.clone(), end },
                };
                let command = Some(cx.command(command, Purpose::ReadSession(ticket)));
                let (session, stored) = (None, Bytes::new());
                let attempt = Attempt { nsp, stream, key, offset, command, session, stored, taken: false };
                self.by_namespace.insert(&attempt.nsp, ticket);
                self.attempts.insert(ticket, attempt);
                cx.timers.arm(Timer::Session(ticket), cx.now + patience);
            }
        }
        Ok(ticket)
    }

    /// Handles the reply to storing a session.
    pub(super) fn session_saved(
        &mut self,
        cx: &mut Context,
        id: CommandId,
        ticket: Ticket,
        reply: Result<Reply, CommandError>,
        command: Option<Box<Command>>,
    ) {
        if !self.saves.contains_key(&ticket) {
            return;
        }
        match reply {
            Err(CommandError::NotSent(_)) => cx.again(id, command, Purpose::SaveSession(ticket)),
            Ok(_) => self.save_done(cx, ticket, Ok(())),
            Err(error) => self.save_done(cx, ticket, Err(error)),
        }
    }

    fn save_done(&mut self, cx: &mut Context, ticket: Ticket, result: Result<(), CommandError>) {
        if let Some(save) = self.saves.remove(&ticket) {
            self.bytes -= save.size;
            cx.timers.cancel(&Timer::Session(ticket));
            cx.events.push_back(Event::SessionSaved { ticket, result });
        }
    }

    /// Returns `true` if sessions are on their way to Redis.
    pub(super) fn is_saving(&self) -> bool {
        !self.saves.is_empty()
    }

    /// Handles the reply to reading a session.
    pub(super) fn session_read(
        &mut self,
        cx: &mut Context,
        id: CommandId,
        ticket: Ticket,
        reply: Result<Reply, CommandError>,
        command: Option<Box<Command>>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&ticket) else { return };
        if let Err(CommandError::NotSent(_)) = reply {
            return cx.again(id, command, Purpose::ReadSession(ticket));
        }
        let read = attempt.reply(reply).and_then(|stored| self.read_session(cx, ticket, stored));
        match read {
            Ok(()) => self.find_offset(cx, ticket),
            Err(reason) => self.not_recovered(cx, ticket, reason),
        }
    }

    /// Keeps the stored value if it is a valid session for this attempt.
    fn read_session(&mut self, cx: &mut Context, ticket: Ticket, stored: Bytes) -> Result<(), NotRecovered> {
        let Some(attempt) = self.attempts.get_mut(&ticket) else { return Ok(()) };
        let Some(options) = &cx.config.recovery else { return Ok(()) };
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
        let held = self.bytes - attempt.stored.len();
        if held.saturating_add(stored.len()) > options.sessions_bytes {
            return Err(NotRecovered::Busy { what: Limit::SessionsBytes, limit: options.sessions_bytes });
        }
        self.bytes = held + stored.len();
        (attempt.session, attempt.stored) = (Some(session), stored);
        Ok(())
    }

    /// Looks up the offset and goes on from there: takes the session, waits for the window, or
    /// gives up.
    fn find_offset(&mut self, cx: &mut Context, ticket: Ticket) {
        let Some(attempt) = self.attempts.get(&ticket) else { return };
        let Some(options) = &cx.config.recovery else { return };
        let (offset, taken, stream) = (attempt.offset, attempt.taken, attempt.stream.clone());
        // Before the stream's end is known there is nothing to compare with, and the namespace is
        // not ready either.
        let Some(found) = self.streams.get_mut(&stream) else {
            return self.not_recovered(cx, ticket, NotRecovered::UnknownOffset);
        };
        let reason = match found.window.place(&attempt.nsp, offset) {
            Place::Inside => match check_bounds(found, attempt, options) {
                Err(reason) => reason,
                Ok(()) => {
                    found.pinned.insert((offset, ticket));
                    if taken {
                        return self.ready.push_back(ticket);
                    }
                    let key = attempt.key.clone();
                    let command = cx.command(Command::GetDel { key }, Purpose::TakeSession(ticket));
                    if let Some(attempt) = self.attempts.get_mut(&ticket) {
                        attempt.command = Some(command);
                    }
                    return;
                }
            },
            Place::Before => match found.window.too_much(options) {
                Some(too_much) => too_much,
                None => {
                    found.before.insert((offset, ticket));
                    return self.dig(cx, &stream);
                }
            },
            Place::Ahead => {
                found.ahead.insert((offset, ticket));
                return;
            }
            Place::Trimmed => NotRecovered::Trimmed,
            Place::Nowhere => NotRecovered::UnknownOffset,
        };
        self.not_recovered(cx, ticket, reason);
    }

    /// Handles the reply to taking a session out of Redis. Another node may have been faster.
    pub(super) fn session_taken(
        &mut self,
        cx: &mut Context,
        id: CommandId,
        ticket: Ticket,
        reply: Result<Reply, CommandError>,
        command: Option<Box<Command>>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&ticket) else { return };
        if let Err(CommandError::NotSent(_)) = reply {
            return cx.again(id, command, Purpose::TakeSession(ticket));
        }
        let read = attempt.reply(reply).map(|stored| {
            attempt.taken = true;
            // The session may have been restored and stored anew since it was read.
            (stored != attempt.stored).then_some(stored)
        });
        let read = read.and_then(|anew| match anew {
            Some(stored) => self.read_session(cx, ticket, stored),
            None => Ok(()),
        });
        match read {
            Ok(()) => self.ready.push_back(ticket),
            Err(reason) => self.not_recovered(cx, ticket, reason),
        }
    }

    /// Handles the timeout of an attempt, or of a session that is to be stored.
    pub(super) fn session_due(&mut self, cx: &mut Context, ticket: Ticket) {
        if let Some(save) = self.saves.get(&ticket) {
            // If the command is under way, the backend reports what becomes of it.
            if cx.withdraw(&Lane::Recovery, save.command) {
                self.save_done(cx, ticket, Err(CommandError::NotSent("Redis was away for too long".into())));
            }
        } else if let Some(attempt) = self.attempts.get(&ticket) {
            // A session that is being taken may exist only in the reply.
            let taking = attempt.session.is_some() && !attempt.taken;
            let pinned = self.streams.get(&attempt.stream);
            let pinned = pinned.is_some_and(|found| found.pinned.contains(&(attempt.offset, ticket)));
            let awaited = attempt.command;
            match awaited {
                Some(command) if cx.withdraw(&Lane::Recovery, command) || !taking => {}
                None if !pinned => {}
                // The attempt is nearly done.
                _ => return cx.timers.arm(Timer::Session(ticket), cx.now + LOOK_AGAIN),
            }
            self.not_recovered(cx, ticket, NotRecovered::TimedOut);
        }
    }

    pub(super) fn not_recovered(&mut self, cx: &mut Context, ticket: Ticket, reason: NotRecovered) {
        if let Some(attempt) = self.end_attempt(cx, ticket) {
            if let Some(command) = attempt.command {
                cx.withdraw(&Lane::Recovery, command);
            }
            cx.events.push_back(Event::NotRecovered { ticket, reason });
        }
    }

    fn end_attempt(&mut self, cx: &mut Context, ticket: Ticket) -> Option<Attempt> {
        self.unpin(ticket);
        let attempt = self.attempts.remove(&ticket)?;
        self.by_namespace.remove(&attempt.nsp, ticket);
        self.bytes -= attempt.stored.len();
        cx.timers.cancel(&Timer::Session(ticket));
        if let Some(stream) = self.streams.get_mut(&attempt.stream) {
            stream.before.remove(&(attempt.offset, ticket));
            stream.ahead.remove(&(attempt.offset, ticket));
        }
        Some(attempt)
    }

    fn unpin(&mut self, ticket: Ticket) {
        let Some(attempt) = self.attempts.get(&ticket) else { return };
        if let Some(stream) = self.streams.get_mut(&attempt.stream) {
            stream.pinned.remove(&(attempt.offset, ticket));
        }
    }

    /// Gives up all attempts in a namespace that is closed.
    pub(super) fn recoveries_closed(&mut self, cx: &mut Context, nsp: &str) {
        for ticket in self.by_namespace.of(nsp) {
            self.not_recovered(cx, ticket, NotRecovered::Closed);
        }
    }
}

/// Returns an error if the client may not be sent what it missed.
///
/// Broadcasts that were sent since the session was taken out of Redis are not counted, because
/// there is no way back.
fn check_bounds(found: &Stream, attempt: &Attempt, options: &Recovery) -> Result<(), NotRecovered> {
    if attempt.taken {
        return Ok(());
    }
    let (entries, bytes) = found.window.behind(attempt.offset);
    if entries > options.replay_entries {
        return Err(NotRecovered::TooMuch { what: Limit::ReplayEntries, limit: options.replay_entries });
    }
    if bytes > options.replay_bytes {
        return Err(NotRecovered::TooMuch { what: Limit::ReplayBytes, limit: options.replay_bytes });
    }
    Ok(())
}
