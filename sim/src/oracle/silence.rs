//! Checks that a node that is reported as silent was silent: by what it could have said, and what
//! could have been heard.

use core::time::Duration;
use std::collections::BTreeMap;

use bytestring::ByteString;
use sio_streams_core::{Lane, NodeId, Time};

use super::Oracle;
use crate::fault::{Fault, Lanes, Refusal};
use crate::peer::stream_of;

/// It is not over yet.
const NEVER: Time = Time::from_micros(u64::MAX);

/// Times in which something could not be done.
#[derive(Debug, Default)]
struct Outages(Vec<(Time, Time)>);

impl Outages {
    fn add(&mut self, from: Time, lasts: Duration) {
        self.0.push((from, from + lasts));
    }

    /// From now on, until it is said that it is over.
    fn begin(&mut self, now: Time) {
        self.0.push((now, NEVER));
    }

    /// The blocked operation has worked after all.
    fn worked(&mut self, now: Time) {
        let wrong = self.0.iter_mut().filter(|(from, until)| *from < now && now < *until);
        wrong.for_each(|(_, until)| *until = now);
    }

    fn end(&mut self, now: Time) {
        self.0.iter_mut().filter(|(_, until)| *until == NEVER).for_each(|(_, until)| *until = now);
    }
}

/// The times at which hosts could not speak or hear.
#[derive(Debug, Default)]
pub(super) struct Silences {
    /// The server executes nothing.
    server: Outages,
    /// It takes no entries.
    writes: Outages,
    /// A host can't write.
    mouths: BTreeMap<usize, Outages>,
    /// A host can't read, or doesn't look at what it reads.
    ears: BTreeMap<usize, Outages>,
    /// The time of the last jump of a host's clock.
    jumped: BTreeMap<usize, Time>,
    /// The times at which a node's entries were added.
    spoke: BTreeMap<(ByteString, NodeId), Vec<Time>>,
}

impl Silences {
    /// The server has executed something: an outage is over, or there was none. One that begins
    /// while the server is away is no other one.
    pub(super) fn server_worked(&mut self, now: Time) {
        self.server.worked(now);
    }

    /// Returns `true` if there is a stretch of this length between two moments in which the host
    /// could write.
    fn could_speak(&self, host: usize, from: Time, until: Time, stretch: Duration) -> bool {
        let all = self.server.0.iter().chain(&self.writes.0);
        let all = all.chain(self.mouths.get(&host).into_iter().flat_map(|mouth| &mouth.0));
        let mut all: Vec<(Time, Time)> = all.copied().collect();
        all.sort_unstable();
        let mut free = from;
        for (begins, ends) in all {
            if begins >= until {
                break;
            }
            if begins > free && begins.since(free) >= stretch {
                return true;
            }
            free = free.max(ends);
        }
        until > free && until.since(free) >= stretch
    }

    /// Up to when a host can know what was written: until now, unless it can't read just now, or
    /// could not a moment ago. An outage of its own is over once the host has read what was
    /// written after it, at `read`. So is one of the server that was too short to be noticed
    /// (`brief`); after a longer one the others must have had their time again.
    fn could_hear_until(
        &self,
        host: usize,
        now: Time,
        moment: Duration,
        brief: Duration,
        read: Time,
    ) -> Time {
        let is_open = |(_, until): &&(Time, Time)| *until > read;
        let is_long = |(from, until): &&(Time, Time)| until.since(*from) > brief;
        let server = self.server.0.iter().filter(|outage| is_open(outage) || is_long(outage));
        let ears = self.ears.get(&host).into_iter().flat_map(|ear| &ear.0).filter(is_open);
        let mut all: Vec<(Time, Time)> = server.chain(ears).copied().collect();
        all.sort_unstable();
        let mut until = now;
        for (begins, ends) in all.into_iter().rev() {
            if begins < until && (ends == NEVER || ends + moment > until) {
                until = begins;
            }
        }
        until
    }
}

fn before(at: Time, by: Duration) -> Time {
    Time::ZERO + at.since(Time::ZERO).saturating_sub(by)
}

impl Oracle {
    pub(super) fn spoke(&mut self, nsp: &ByteString, node: &NodeId) {
        let now = self.now;
        self.silences.spoke.entry((nsp.clone(), node.clone())).or_default().push(now);
    }

    pub(super) fn silenced_by(&mut self, fault: &Fault) {
        let now = self.now;
        let interval = self.hosts.first().map_or(Duration::ZERO, |host| host.config.heartbeat_interval);
        let Silences { server, writes, mouths, ears, .. } = &mut self.silences;
        match *fault {
            Fault::Freeze { lasts } => server.add(now, lasts),
            Fault::Falter { lasts, .. } => writes.add(now, lasts),
            Fault::Restart { away, loading, .. } => server.add(now, away + loading),
            Fault::Failover { demoted, away, .. } => server.add(now, demoted + away),
            // A forbidden command is not tried again, since nobody tells when it is allowed.
            Fault::Refuse { refusal: Refusal::NoPermission, lasts } => {
                server.add(now, lasts);
                writes.add(now, lasts + interval);
            }
            Fault::Refuse { refusal, lasts } if refusal.is_total() => server.add(now, lasts),
            Fault::Refuse { lasts, .. } => writes.add(now, lasts),
            Fault::Stall { host, lanes, lasts } => {
                if matches!(lanes, Lanes::All | Lanes::Writer) {
                    mouths.entry(host).or_default().add(now, lasts);
                }
                if matches!(lanes, Lanes::All | Lanes::Readers) {
                    ears.entry(host).or_default().add(now, lasts);
                }
            }
            Fault::Pause { host, lasts } => {
                mouths.entry(host).or_default().add(now, lasts);
                ears.entry(host).or_default().add(now, lasts);
            }
            Fault::ClockJump { host, .. } => drop(self.silences.jumped.insert(host, now)),
            Fault::SlowApp { host, lasts } => ears.entry(host).or_default().add(now, lasts),
            _ => {}
        }
    }

    pub(super) fn silenced_by_link(&mut self, host: usize, lane: &Lane, up: bool) {
        let now = self.now;
        let Silences { mouths, ears, .. } = &mut self.silences;
        let outages = match lane {
            Lane::Writer => mouths.entry(host).or_default(),
            Lane::Reader(_) => ears.entry(host).or_default(),
            _ => return,
        };
        match up {
            true => outages.end(now),
            false => outages.begin(now),
        }
    }

    /// A host begins anew: it has no connection that could be lost.
    pub(super) fn silence_begins_anew(&mut self, host: usize) {
        let now = self.now;
        let Silences { mouths, ears, .. } = &mut self.silences;
        mouths.entry(host).or_default().end(now);
        ears.entry(host).or_default().end(now);
    }

    /// A host says that a node was silent for too long: why that is wrong, if it is.
    pub(super) fn wrongly_silent(
        &self,
        host: usize,
        nsp: &ByteString,
        node: &NodeId,
    ) -> Option<(&'static str, String)> {
        let (now, view) = (self.now, &self.hosts[host]);
        let other = self.ours_named(node).filter(|other| self.hosts[*other].alive)?;
        let ready = *self.hosts[other].ready.get(nsp)?;
        let stream = stream_of(&view.config, nsp);
        // Entries that are lost or trimmed before they are read say nothing.
        let lost = self.histories.get(&stream).is_some_and(|history| history.losses() > 0);
        if lost || view.config.max_len < 1_000 || self.trimmed.contains(&stream) {
            return None;
        }
        let (interval, timeout) = (view.config.heartbeat_interval, view.config.heartbeat_timeout);
        // A command is tried again, a connection is opened again, and one word waits for another.
        let moment = Duration::from_millis(500) + self.latency * 20;
        let none = Vec::new();
        let spoke = self.silences.spoke.get(&(nsp.clone(), node.clone())).unwrap_or(&none);
        let last = spoke.last().copied().unwrap_or_default().max(ready);
        let (due, until) = (last + interval.mul_f64(1.03), before(now, moment));
        if self.silences.could_speak(other, due, until, moment) {
            let details = format!("host {host}, {nsp}: {node}, which spoke at {last}");
            return Some(("a node could speak, and did not", details));
        }
        // An entry that is written now is read a moment later; more so where reading begins anew.
        let moment = Duration::from_millis(50) + self.latency * 8;
        let brief = timeout.saturating_sub(interval) / 2 + view.config.block_time;
        let read = view.readers.get(&stream).and_then(|reader| reader.last_read());
        let read = read.and_then(|id| self.histories.get(&stream)?.at(id)).map_or(Time::ZERO, |read| read.at);
        let heard = self.silences.could_hear_until(host, now, moment, brief, read);
        let enough = before(heard, moment);
        let last = spoke.iter().rev().find(|at| **at <= enough).copied()?;
        // A clock that jumps makes silence longer.
        let steady = self.silences.jumped.get(&host).is_none_or(|jumped| *jumped < last);
        if steady && heard.since(last).mul_f64(1.03) <= timeout {
            let details =
                format!("host {host}, {nsp}: {node} spoke at {last}, and was to be heard until {heard}");
            return Some(("a node is declared dead that could not be heard", details));
        }
        None
    }
}
