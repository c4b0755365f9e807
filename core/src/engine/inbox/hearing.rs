//! Tracks the time up to which a stream has been heard for certain.
//!
//! Silence can be judged only by a node that listens. To know that a node was silent for a while,
//! this node asks the server after that while, waits for the answer, and looks at everything that
//! came with it. One such round trip is not enough. A server that hung answers the waiting commands
//! in any order, so entries that others had added meanwhile may lie just behind the answer. A
//! second round trip that begins after the end of the first gives certainty: when it has ended too,
//! everything that the server had when it answered the first has been looked at.

use core::time::Duration;

use crate::time::Time;

#[derive(Debug)]
pub(super) struct Hearing {
    /// Everything that was said before this time has been looked at.
    proven: Time,
    /// The time at which the last round trip began …
    began: Time,
    /// … and the time at which it ended.
    ended: Time,
    /// An entry of this node that has not been read back: its number, and the time at which it was
    /// handed out.
    probe: Option<(u64, Time)>,
}

impl Hearing {
    /// Creates a record in which nothing was heard before `now`.
    pub(super) fn since(now: Time) -> Self {
        Hearing { proven: now, began: now, ended: now, probe: None }
    }

    /// Returns the time before which everything that was said has been looked at.
    pub(super) fn proven(&self) -> Time {
        self.proven
    }

    /// Notes that a round trip that began at `began` has ended. Returns `true` if it counts.
    pub(super) fn round_trip(&mut self, began: Time, now: Time) -> bool {
        if began < self.ended {
            return false;
        }
        self.proven = core::mem::replace(&mut self.began, began);
        self.ended = now;
        true
    }

    /// Returns `true` if an entry of this node is under way that will complete a round trip.
    #[inline]
    pub(super) fn is_probing(&self) -> bool {
        self.probe.is_some()
    }

    /// Notes that an entry of this node is handed out. The earliest one is tracked, because it
    /// comes back first.
    pub(super) fn probes(&mut self, number: u64, now: Time) {
        self.probe.get_or_insert((number, now));
    }

    /// Notes that an entry of this node has been read back. Returns how long the round trip took,
    /// if this entry completes one.
    pub(super) fn own_entry(&mut self, number: u64, now: Time) -> Option<Duration> {
        let (_, began) = self.probe.take_if(|(probe, _)| *probe <= number)?;
        self.round_trip(began, now);
        Some(now.since(began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Time {
        Time::from_millis(second * 1_000)
    }

    #[test]
    fn what_is_proven_is_two_round_trips_old() {
        let mut hearing = Hearing::since(at(0));
        assert!(hearing.round_trip(at(1), at(2)));
        assert_eq!(hearing.proven(), at(0));
        assert!(hearing.round_trip(at(2), at(7)));
        assert_eq!(hearing.proven(), at(1));
        assert!(!hearing.round_trip(at(3), at(8)), "it began before the last one had ended");
        assert!(hearing.round_trip(at(8), at(9)));
        assert_eq!(hearing.proven(), at(2));
    }

    #[test]
    fn an_entry_of_ones_own_is_a_round_trip() {
        let mut hearing = Hearing::since(at(0));
        hearing.probes(5, at(1));
        hearing.probes(6, at(2));
        assert_eq!(hearing.own_entry(4, at(3)), None);
        assert!(hearing.is_probing());
        assert_eq!(hearing.own_entry(6, at(4)), Some(Duration::from_secs(3)));
        assert!(!hearing.is_probing());
        hearing.probes(7, at(5));
        assert_eq!(hearing.own_entry(9, at(6)), Some(Duration::from_secs(1)));
        assert_eq!(hearing.proven(), at(1));
    }
}
