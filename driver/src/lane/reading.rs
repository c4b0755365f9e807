//! Reading a stream: from servers that do not block, and around entries that are too large to be
//! read.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use sio_streams_core::{ByteString, Command, CommandError, EntryId, Reply};
use tokio::time::{Instant, sleep, timeout};

use super::{LaneTask, NO_ANSWER, Outcome, Report};
use crate::backend::{Backend, PushSender};
use crate::caught::caught;
use crate::observe;
use crate::retry::Retry;
use crate::unreadable::{Found, Search, Way};

/// The number of reads of one or two entries that have to be cut off in a row before a way around
/// an entry is looked for.
const CUTS: u32 = 2;

/// The number of requests for the count that have to be cut off in a row before none is sent for a
/// while.
const CUTS_OF_COUNTS: u32 = 3;

/// The shortest and the longest of these pauses.
const UNCOUNTED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The shortest time for which a read can block.
const NO_TIME: Duration = Duration::from_millis(1);

/// The shortest and the longest pause after a read that returned too early.
const HASTE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// The state of reading a stream, which outlives a connection.
#[derive(Debug)]
pub(super) struct Reading {
    /// `true` if the server has let the stream be read.
    readable: bool,
    /// Pauses for a server that does not block where it should.
    hasty: Retry,
    /// The entry behind which reading one or two entries was cut off last, and how many times in a
    /// row.
    cut: Option<(EntryId, u32)>,
    /// The number of requests for the count that were cut off in a row, and the time from which the
    /// next one may be sent.
    uncounted: (u32, Option<Instant>),
    /// The way around an entry that can't be read.
    around: Option<Way>,
}

impl Default for Reading {
    fn default() -> Self {
        Reading {
            readable: false,
            hasty: Retry::gradual(HASTE.0, HASTE.1),
            cut: None,
            uncounted: (0, None),
            around: None,
        }
    }
}

/// The parts of an XREAD.
#[derive(Clone)]
struct Read {
    stream: ByteString,
    after: EntryId,
    count: u32,
    block: Duration,
}

impl Read {
    fn into_command(self) -> Command {
        let Read { stream, after, count, block } = self;
        Command::XRead { stream, after, count, block }
    }
}

impl<B: Backend> LaneTask<B> {
    /// Executes an XREAD, the only command in `commands`.
    pub(super) async fn read(
        &mut self,
        connection: &mut B::Connection,
        mut commands: Vec<Command>,
        pushes: &PushSender,
    ) -> Vec<Outcome> {
        let read = match commands.pop() {
            Some(Command::XRead { stream, after, count, block }) => Read { stream, after, count, block },
            other => return self.ask(connection, Vec::from_iter(other), pushes).await,
        };
        if !self.state.reading.readable {
            // The first read does not block, so that it is known at once whether the stream may be
            // read at all.
            let first = Read { block: NO_TIME, ..read.clone() };
            let found = self.read_around(connection, first, pushes).await;
            self.is_readable(matches!(found.as_slice(), [Ok(_)]));
            if !matches!(found.as_slice(), [Ok(Reply::Entries(entries))] if entries.is_empty()) {
                return found;
            }
        }
        let (asked, block) = (Instant::now(), read.block);
        let results = self.read_around(connection, read, pushes).await;
        match results.as_slice() {
            [Ok(Reply::Entries(entries))] if entries.is_empty() && asked.elapsed() < block / 2 => {
                // Something between this node and Redis keeps reads from blocking. New entries are
                // delayed by this pause, at most.
                sleep(self.state.reading.hasty.pause().min(block)).await;
            }
            [Err(CommandError::Server { .. } | CommandError::Unusable(_))] => self.is_readable(false),
            _ => self.state.reading.hasty.succeeded(),
        }
        results
    }

    /// Notes and reports whether the server lets the stream be read.
    fn is_readable(&mut self, readable: bool) {
        self.state.reading.readable = readable;
        let (lane, instance) = (self.lane.clone(), self.instance);
        let _ = self.reports.send(Report::Readable { lane, instance, readable });
    }

    /// Asks for the server's count. Its reply also has the first entry, which may be too large for
    /// a reply. While that is so, the server is asked less and less often.
    pub(super) async fn ask_for_count(
        &mut self,
        connection: &mut B::Connection,
        commands: Vec<Command>,
        pushes: &PushSender,
    ) -> Vec<Outcome> {
        let (times, again) = self.state.reading.uncounted;
        if again.is_some_and(|again| Instant::now() < again) {
            let words = "the server's count is unknown: the connection ends each time that it is asked for";
            return vec![Err(CommandError::Unusable(words.to_owned()))];
        }
        let results = self.ask(connection, commands, pushes).await;
        self.state.reading.uncounted = match results.as_slice() {
            [result] if is_cut(result) => {
                let more = (times + 1).checked_sub(CUTS_OF_COUNTS);
                let pause = |more| UNCOUNTED.0.saturating_mul(2_u32.saturating_pow(more)).min(UNCOUNTED.1);
                (times.saturating_add(1), more.map(|more| Instant::now() + pause(more)))
            }
            _ => (0, None),
        };
        results
    }

    /// Reads, and passes over an entry that can't be read.
    async fn read_around(
        &mut self,
        connection: &mut B::Connection,
        mut read: Read,
        pushes: &PushSender,
    ) -> Vec<Outcome> {
        let (after, few) = (read.after, read.count <= 2);
        let Reading { cut, around, .. } = &self.state.reading;
        if few && around.is_none() && cut.is_some_and(|(_, times)| times >= CUTS) {
            self.state.reading.cut = None;
            self.state.reading.around = self.find_way(connection, &read.stream, after, pushes).await;
        }
        self.state.reading.around.take_if(|way| after >= way.resume);
        if let Some(way) = self.state.reading.around {
            // The entries before the unreadable one are read one by one.
            read.count = 1;
            if after >= way.behind {
                let behind = Read { after: way.resume, ..read };
                let mut results = self.ask(connection, vec![behind.into_command()], pushes).await;
                if let [Ok(Reply::Entries(entries))] = results.as_slice()
                    && let Some(next) = entries.first()
                {
                    // The engine has to know the next entry, so the unreadable one is reported only
                    // once there is a next one.
                    results = vec![Ok(Reply::Unreadable { next: next.id, alone: way.alone })];
                    self.state.reading.around = None;
                }
                return results;
            }
        }
        let results = self.ask(connection, vec![read.into_command()], pushes).await;
        self.state.reading.cut = match (results.as_slice(), self.state.reading.cut) {
            ([result], before) if few && is_cut(result) => {
                // A read may also begin with the last entry of the one before.
                let is_same = |at: EntryId| at == after || at.ms.abs_diff(after.ms) <= 1;
                let times = before.filter(|(at, _)| is_same(*at)).map_or(0, |(_, times)| times);
                Some((after, times + 1))
            }
            _ => None,
        };
        results
    }

    /// Looks for a way around an entry that can't be read. Each time that a read is cut off, the
    /// connection is opened again, after a pause. The link is not reported as lost meanwhile.
    async fn find_way(
        &mut self,
        connection: &mut B::Connection,
        stream: &ByteString,
        after: EntryId,
        pushes: &PushSender,
    ) -> Option<Way> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut search = Search::new(after, u64::try_from(now).unwrap_or(u64::MAX));
        while let Some(after) = search.next() {
            let command = Command::XRead { stream: stream.clone(), after, count: 1, block: NO_TIME };
            let results = self.ask(connection, vec![command], pushes).await;
            search.found(match results.as_slice() {
                [Ok(Reply::Entries(entries))] => match entries.first() {
                    Some(entry) => Found::Entry(entry.id),
                    None => Found::Nothing,
                },
                [result] if is_cut(result) => {
                    sleep(self.state.retry.hold()).await;
                    // If the search fails, the connection that it began with has not held.
                    self.state.opened = Instant::now();
                    let connecting = caught(async { self.backend.connect(&self.lane, pushes.clone()).await });
                    match timeout(self.timing.connect, connecting).await {
                        Ok(Ok(Ok(opened))) => *connection = opened,
                        // Something else is wrong.
                        _ => return None,
                    }
                    Found::CutOff
                }
                _ => return None,
            });
        }
        let way = search.way();
        observe::unreadable(&self.lane, &way);
        way
    }
}

/// Returns `true` if the connection has ended during the command. A server that does not answer
/// does not count, because it was not asked for too much.
fn is_cut(result: &Outcome) -> bool {
    matches!(result, Err(CommandError::Lost(why)) if why != NO_ANSWER)
}
