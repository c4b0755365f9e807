//! The facts about a stream: its writers, the entries that can't be read, and how far it reaches
//! back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sio_streams_driver::sio_streams_core::wire::entry;
use sio_streams_driver::sio_streams_core::{
    Body, ByteString, Command, Entry, EntryId, NodeId, Reply, StreamInfo,
};

use super::Plan;
use super::finding::{Code, Findings, Severity};
use super::server::{Buffers, bytes};
use crate::look::{Error, Server};
use crate::tail::when::rfc3339;

/// The size of a reply that is aimed at, in bytes.
const REPLY: usize = 1 << 20;

/// The largest number of entries that are read at once.
const MOST: u32 = 1_000;

/// The number of examples that are kept.
const EXAMPLES: usize = 3;

/// The number of times between messages that tell a node's heartbeat interval, at least.
const INTERVALS: usize = 5;

/// The traces of a node in the stream, in one namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The time of its newest entry, in milliseconds since 1970.
    pub(super) last: u64,
    /// It sends heartbeats: a server of version 0.2, or a bridge.
    pub(super) beats: bool,
    /// Its heartbeats say that it hears Pub/Sub, too.
    pub(super) is_bridge: bool,
    /// Its newest entry says goodbye.
    pub(super) is_closed: bool,
    /// The times from an entry to the heartbeat behind it, in milliseconds.
    intervals: Vec<u64>,
    /// The time of the entry behind the one that is looked at, and whether it is a heartbeat.
    next: Option<(u64, bool)>,
}

/// Entries that can't be read.
#[derive(Debug, Default)]
struct Unreadable {
    count: u64,
    examples: Vec<(EntryId, String)>,
}

impl Unreadable {
    fn add(&mut self, id: EntryId, reason: String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push((id, reason));
        }
    }

    fn listed(&self) -> String {
        let list: Vec<_> = self.examples.iter().map(|(id, reason)| format!("{id} ({reason})")).collect();
        let more = self.count - self.examples.len() as u64;
        list.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
    }
}

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: ByteString,
    pub(super) info: StreamInfo,
    /// The number of entries that were looked at, from the newest on.
    pub(super) looked_at: u64,
    /// The times of the oldest and of the newest one, in milliseconds since 1970.
    span: Option<(u64, u64)>,
    pub(super) nodes: BTreeMap<(ByteString, NodeId), Seen>,
    pub(super) namespaces: BTreeSet<ByteString>,
    poison: Unreadable,
    foreign: Unreadable,
    largest: (usize, EntryId),
    /// The largest size of as many entries in a row as one read returns.
    batch: usize,
    window: VecDeque<usize>,
    in_window: usize,
}

/// Reads a stream from its end, or as much of it as the plan allows. Returns `None` if there is no
/// such stream, or if it may not be read.
pub(super) async fn read(
    server: &mut Server,
    name: &ByteString,
    limits: Option<Buffers>,
    plan: &Plan,
    found: &mut Findings,
) -> Result<Option<Stream>, Error> {
    let info = match server.execute(Command::XInfoStream { stream: name.clone() }).await? {
        Ok(Reply::Stream(Some(info))) => info,
        Ok(_) => return Ok(None),
        Err(refusal) if refusal.code == "WRONGTYPE" => {
            let seen = "The key is no stream.";
            let todo = "Find the program that uses this key, or choose another streamName.";
            found.add(Severity::Error, Code::ForeignEntries, &**name, seen, todo);
            return Ok(None);
        }
        Err(refusal) => {
            let what = format!("XINFO STREAM is refused ({refusal}): the stream was not looked at.");
            found.unchecked(
                name,
                &refusal,
                &what,
                &format!("give the user ~{name} +xinfo|stream +xrevrange"),
            );
            return Ok(None);
        }
    };
    let mut stream = Stream::new(name.clone(), info);
    let mut before = EntryId { ms: u64::MAX, seq: u64::MAX };
    // A connection with a reply that is too large would be closed.
    let reply = match limits {
        Some(Buffers { output: limit @ 1.., .. }) => REPLY.min(usize::try_from(limit / 4).unwrap_or(REPLY)),
        _ => REPLY,
    };
    let mut count = 1;
    while stream.looked_at < plan.entries {
        let left = u32::try_from(plan.entries - stream.looked_at).unwrap_or(u32::MAX);
        let page = Command::XRevRange { stream: name.clone(), before, count: left.min(count) };
        let entries = match server.execute(page).await? {
            Ok(Reply::Entries(entries)) => entries,
            Ok(_) => break,
            Err(refusal) => {
                let what = format!("XREVRANGE is refused ({refusal}): the entries were not looked at.");
                found.unchecked(name, &refusal, &what, &format!("give the user ~{name} +xrevrange"));
                break;
            }
        };
        let Some(last) = entries.last() else { break };
        before = last.id;
        let largest = entries.iter().map(|entry| entry.fields.size()).max().unwrap_or_default();
        let fit = u32::try_from(reply / largest.max(1)).unwrap_or(MOST);
        count = fit.clamp(1, MOST.min(count.saturating_mul(8)));
        entries.iter().for_each(|entry| stream.note(entry, plan.read_count));
    }
    Ok(Some(stream))
}

impl Stream {
    fn new(name: ByteString, info: StreamInfo) -> Self {
        Stream {
            name,
            info,
            looked_at: 0,
            span: None,
            nodes: BTreeMap::new(),
            namespaces: BTreeSet::new(),
            poison: Unreadable::default(),
            foreign: Unreadable::default(),
            largest: (0, EntryId::ZERO),
            batch: 0,
            window: VecDeque::new(),
            in_window: 0,
        }
    }

    /// Notes an entry. Newer ones come first.
    fn note(&mut self, entry: &Entry, read_count: usize) {
        let Entry { id, fields } = entry;
        self.looked_at += 1;
        self.span = Some((id.ms, self.span.map_or(id.ms, |(_, newest)| newest)));
        let size = fields.size();
        self.largest = self.largest.max((size, *id));
        self.window.push_back(size);
        self.in_window += size;
        if self.window.len() > read_count {
            self.in_window -= self.window.pop_front().unwrap_or_default();
        }
        self.batch = self.batch.max(self.in_window);
        let message = match entry::decode(fields) {
            Ok(message) => message,
            Err(error) => {
                // An entry with a namespace and a type is meant for servers.
                let is_meant = fields.get("nsp").is_some() && fields.get("type").is_some();
                let list = if is_meant { &mut self.poison } else { &mut self.foreign };
                return list.add(*id, error.to_string());
            }
        };
        self.namespaces.insert(message.nsp.clone());
        if message.uid.is_emitter() || message.uid == NodeId::UNNAMED {
            return;
        }
        let is_beat = matches!(message.body, Body::Heartbeat);
        let seen = self.nodes.entry((message.nsp, message.uid)).or_default();
        if seen.last == 0 {
            seen.last = id.ms;
            seen.is_closed = matches!(message.body, Body::AdapterClose);
        }
        seen.beats |= is_beat || matches!(message.body, Body::InitialHeartbeat);
        seen.is_bridge |= fields.get(entry::BRIDGE_FIELD).is_some();
        if let Some((next, true)) = seen.next {
            seen.intervals.push(next.saturating_sub(id.ms));
        }
        seen.next = Some((id.ms, is_beat));
    }

    /// Returns how many entries are written in a second.
    pub(super) fn rate(&self) -> Option<f64> {
        let (oldest, newest) = self.span?;
        let span = newest.checked_sub(oldest).filter(|span| *span > 0)?;
        Some((self.looked_at.saturating_sub(1)) as f64 * 1e3 / span as f64)
    }

    /// Returns `true` if entries were trimmed.
    pub(super) fn is_trimmed(&self) -> Option<bool> {
        Some(self.info.entries_added? > self.info.length)
    }

    /// Returns how far the stream reaches back, in milliseconds.
    pub(super) fn horizon(&self, now: u64) -> Option<u64> {
        Some(now.saturating_sub(self.info.first_entry_id?.ms))
    }

    /// Judges what stands in the stream.
    pub(super) fn judge(&self, plan: &Plan, found: &mut Findings) {
        let name = &*self.name;
        if self.poison.count > 0 {
            let seen =
                format!("{} of {} entries: {}.", self.poison.count, self.looked_at, self.poison.listed());
            let todo = format!(
                "See them with `tail --from 0 --until now --type unreadable`, and find their writer by the uid. \
                 `XDEL {name} <id>` removes one."
            );
            found.add(Severity::Error, Code::PoisonEntries, name, seen, todo);
        }
        if self.foreign.count > 0 {
            let seen =
                format!("{} of {} entries: {}.", self.foreign.count, self.looked_at, self.foreign.listed());
            let todo = "Give each program a stream of its own: streamName.";
            found.add(Severity::Warning, Code::ForeignEntries, name, seen, todo);
        }
        self.judge_intervals(found);
        self.judge_length(plan, found);
    }

    /// Compares the servers' heartbeat intervals.
    fn judge_intervals(&self, found: &mut Findings) {
        let mut medians: Vec<(u64, &NodeId)> = Vec::new();
        for ((_, node), seen) in &self.nodes {
            if seen.intervals.len() >= INTERVALS && !seen.is_closed {
                let mut intervals = seen.intervals.clone();
                let middle = intervals.len() / 2;
                medians.push((*intervals.select_nth_unstable(middle).1, node));
            }
        }
        let (Some((shortest, one)), Some((longest, other))) = (medians.iter().min(), medians.iter().max())
        else {
            return;
        };
        if *longest > (*shortest).max(1) * 2 {
            let seen = format!(
                "Server {one} sends heartbeats every {shortest} ms, server {other} every {longest} ms."
            );
            let todo = "Give all servers the same heartbeatInterval and heartbeatTimeout.";
            found.add(Severity::Warning, Code::OptionsDiffer, &*self.name, seen, todo);
        }
    }

    /// Finds a maxLen that is smaller than the one that is said to be set.
    fn judge_length(&self, plan: &Plan, found: &mut Findings) {
        // Redis trims nodes as a whole, and never below the limit. A deleted entry would be another
        // reason for a short stream.
        let is_cut = self.is_trimmed() == Some(true) && self.info.max_deleted_entry_id == Some(EntryId::ZERO);
        if is_cut && self.info.length < plan.config.max_len {
            let seen = format!(
                "The stream was trimmed to {} entries, though maxLen is said to be {}: some server has a smaller \
                 one, and it decides for all.",
                self.info.length, plan.config.max_len
            );
            let todo = "Give all servers the same maxLen, and tell this command: --max-len.";
            found.add(Severity::Warning, Code::OptionsDiffer, &*self.name, seen, todo);
        }
    }

    /// Judges how far the stream reaches back.
    pub(super) fn judge_horizon(&self, plan: &Plan, now: u64, found: &mut Findings) {
        let Some(horizon) = self.horizon(now) else { return };
        let needed = u64::try_from(plan.outage.as_millis()).unwrap_or(u64::MAX);
        let rate = self.rate().unwrap_or_default();
        let is_trimmed = self.is_trimmed().unwrap_or(self.info.length >= plan.config.max_len);
        // A stream that is not trimmed yet will be, at this rate.
        let reach = match is_trimmed {
            true => horizon,
            false if self.looked_at >= 1_000 && rate > 0.0 => {
                (plan.config.max_len as f64 / rate * 1e3) as u64
            }
            false => return,
        };
        if reach >= needed {
            return;
        }
        let reaches = if is_trimmed { "reaches" } else { "will reach" };
        let seen = format!(
            "The stream {reaches} back {:.1} s, at {rate:.1} entries a second and {} entries; {:.1} s are needed.",
            reach as f64 / 1e3,
            self.info.length,
            plan.outage.as_secs_f64(),
        );
        let todo = format!(
            "Set maxLen to {} or more on all servers.",
            ((rate * plan.outage.as_secs_f64() * 1.5).ceil() as u64).max(plan.config.max_len + 1)
        );
        // A server that is away for less than that is taken for alive by the others.
        let grave = u128::from(reach) < plan.config.heartbeat_timeout.as_millis();
        let severity = if grave { Severity::Error } else { Severity::Warning };
        found.add(severity, Code::RetentionShort, &*self.name, seen, todo);
    }

    /// Compares the ids of the stream with the server's clock.
    pub(super) fn judge_clock(&self, now: u64, found: &mut Findings) {
        let ahead = self.info.last_generated_id.ms.saturating_sub(now);
        if ahead > 1_000 {
            let until = rfc3339(self.info.last_generated_id.ms).unwrap_or_else(|| "a far time".into());
            let seen = format!(
                "The newest id of the stream is {:.1} s ahead of the server's clock: until {until}, all new \
                 entries get ids of that time.",
                ahead as f64 / 1e3,
            );
            let todo = "Have the clocks of all Redis servers set by NTP, those of replicas too.";
            found.add(Severity::Warning, Code::ClocksApart, &*self.name, seen, todo);
        }
    }

    /// Compares the sizes of entries with the server's limits.
    pub(super) fn judge_buffers(&self, limits: Buffers, plan: &Plan, found: &mut Findings) {
        let over = |limit: u64, size: usize| limit > 0 && size as u64 > limit;
        let (size, id) = self.largest;
        if over(limits.output, self.batch) {
            let seen = format!(
                "{} entries in a row take {}; a connection may have {} of replies \
                 (client-output-buffer-limit normal).",
                plan.read_count,
                bytes(self.batch as u64),
                bytes(limits.output),
            );
            let todo = "Raise the limit, or lower readCount on all servers.";
            found.add(Severity::Error, Code::BuffersSmall, &*self.name, seen, todo);
        }
        if over(limits.query, size.saturating_mul(2)) {
            let seen = format!(
                "The entry {id} has {}; a request may have {} (client-query-buffer-limit).",
                bytes(size as u64),
                bytes(limits.query),
            );
            let todo = "Raise the limit, or send large values by another way.";
            found.add(Severity::Warning, Code::BuffersSmall, &*self.name, seen, todo);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sio_streams_driver::sio_streams_core::Fields;

    use super::*;

    fn stream(entries: &[(u64, &'static str, &'static str)]) -> Stream {
        let mut stream = Stream::new("s".into(), StreamInfo::default());
        for (ms, uid, kind) in entries.iter().rev() {
            let fields = Fields::from_iter([("uid", *uid), ("nsp", "/"), ("type", *kind)]);
            stream.note(&Entry { id: EntryId { ms: *ms, seq: 0 }, fields }, 2);
        }
        stream
    }

    fn codes(judge: impl FnOnce(&mut Findings)) -> Vec<Code> {
        let mut found = Findings::default();
        judge(&mut found);
        found.sorted().into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn intervals_are_those_before_heartbeats() {
        let beats = |uid: &'static str, step: u64| (0..8).map(move |beat| (1_000 + beat * step, uid, "2"));
        let mut entries: Vec<_> = beats("a", 100).chain(beats("b", 110)).collect();
        entries.sort();
        assert_eq!(codes(|found| stream(&entries).judge_intervals(found)), []);
        entries.extend(beats("c", 400));
        entries.sort();
        assert_eq!(codes(|found| stream(&entries).judge_intervals(found)), [Code::OptionsDiffer]);
        // One that has said goodbye is not compared.
        entries.push((9_000, "c", "13"));
        assert_eq!(codes(|found| stream(&entries).judge_intervals(found)), []);
    }

    #[test]
    fn the_largest_batch_is_one_of_entries_in_a_row() {
        let mut stream = stream(&[(1, "aaaa", "2"), (2, "a", "2"), (3, "aaaaaaaa", "2"), (4, "aa", "2")]);
        // Names and values without the uid: 12 bytes.
        assert_eq!((stream.batch, stream.largest.0), (12 * 2 + 10, 12 + 8));
        stream.info.length = 4;
        let plan = Plan { read_count: 2, ..Plan::default() };
        let with = |output| Buffers { output, pubsub: 0, query: 0 };
        assert_eq!(codes(|found| stream.judge_buffers(with(34), &plan, found)), []);
        assert_eq!(codes(|found| stream.judge_buffers(with(33), &plan, found)), [Code::BuffersSmall]);
    }

    #[test]
    fn a_stream_that_will_be_trimmed_too_early_is_found_before() {
        let entries: Vec<_> = (0..2_000).map(|n| (1_000 + n, "a", "2")).collect();
        let mut stream = stream(&entries);
        stream.info.length = 2_000;
        stream.info.entries_added = Some(2_000);
        stream.info.first_entry_id = Some(EntryId { ms: 1_000, seq: 0 });
        let plan = Plan { outage: Duration::from_secs(120), ..Plan::default() };
        // 1 000 entries a second for 120 seconds are more than 10 000.
        assert_eq!(codes(|found| stream.judge_horizon(&plan, 3_000, found)), [Code::RetentionShort]);
        let plan = Plan { outage: Duration::from_secs(9), ..plan };
        assert_eq!(codes(|found| stream.judge_horizon(&plan, 3_000, found)), []);
    }
}
