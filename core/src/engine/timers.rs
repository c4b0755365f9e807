//! A table of timers.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;

use super::destination::Destination;
use crate::command::Lane;
use crate::id::Ticket;
use crate::time::Time;

/// The reason for which a timer is armed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The namespace has been silent for a heartbeat interval.
    Heartbeat(ByteString),
    /// A node of the namespace may have been silent for too long.
    Expiry(ByteString),
    /// The request has waited long enough.
    RequestTimeout(Ticket),
    /// It is time to check that the nodes that requests of the namespace wait for are still there.
    Recheck(ByteString),
    /// Messages for the destination have waited for a long time.
    GiveUp(Destination),
    /// The lane may be tried again.
    Retry(Lane),
    /// The namespace's subscription may be tried again.
    Resubscribe(ByteString),
    /// Channels that were refused may be tried again.
    Refused,
    /// A session has been on its way for a long time.
    Session(Ticket),
    /// The namespace has been closing for a long time.
    Leave(ByteString),
}

/// The timers that are armed. Each timer is armed at most once: arming it again moves it.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Time, Timer)>,
    armed: BTreeMap<Timer, Time>,
}

impl Timers {
    pub(super) fn arm(&mut self, timer: Timer, at: Time) {
        if let Some(before) = self.armed.insert(timer.clone(), at) {
            self.due.remove(&(before, timer.clone()));
        }
        self.due.insert((at, timer));
    }

    /// Moves a timer that is armed, if that makes it earlier.
    pub(super) fn hasten(&mut self, timer: &Timer, at: Time) {
        if self.armed.get(timer).is_some_and(|before| *before > at) {
            self.arm(timer.clone(), at);
        }
    }

    pub(super) fn cancel(&mut self, timer: &Timer) {
        if let Some((timer, at)) = self.armed.remove_entry(timer) {
            self.due.remove(&(at, timer));
        }
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due.
    pub(super) fn pop(&mut self, now: Time) -> Option<Timer> {
        // A timer that is armed for the end of time is never due. It would only be armed again for
        // the same moment.
        if self.next().is_none_or(|at| at > now || at == Time::END) {
            return None;
        }
        let (_, timer) = self.due.pop_first()?;
        self.armed.remove(&timer);
        Some(timer)
    }
}
