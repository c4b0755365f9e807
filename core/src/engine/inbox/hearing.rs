//! How long ago a stream was heard for certain.
//!
//! Silence is only heard by those who listen. That somebody has said nothing for a while is known when a question to the
//! server that was asked after that while has come back, and all that came with it has been looked at. One such round trip is
//! not enough: a server that hung answers what has been waiting in any order, so what others had said meanwhile may lie just
//! behind. When a second round trip has begun after the first had ended, and has ended too, all that the server had when it
//! answered the first has been looked at.

use core::time::Duration;

use crate::time::Time;

#[derive(Debug)]
pub(super) struct Hearing {
    /// All that was said before this has been looked at.
    proven: Time,
    /// The last round trip began here …
    began: Time,
    /// … and ended here.
    ended: Time,
    /// An entry of this node's own that has not been read back: its number, and when it was handed out.
    probe: Option<(u64, Time)>,
}

impl Hearing {
    /// Nothing was heard before now.
    pub(super) fn since(now: Time) -> Self {
        Hearing { proven: now, began: now, ended: now, probe: None }
    }

    /// All that was said before this has been looked at.
    pub(super) fn proven(&self) -> Time {
        self.proven
    }

    /// A round trip that began at `began` has ended; whether it counts.
    pub(super) fn round_trip(&mut self, began: Time, now: Time) -> bool {
        if began < self.ended {
            return false;
        }
        self.proven = core::mem::replace(&mut self.began, began);
        self.ended = now;
        true
    }

    /// Whether an entry of this node's is on its way that will tell.
    #[inline]
    pub(super) fn is_probing(&self) -> bool {
        self.probe.is_some()
    }

    /// An entry of this node's is handed out. The first one tells soonest.
    pub(super) fn probes(&mut self, number: u64, now: Time) {
        self.probe.get_or_insert((number, now));
    }

    /// An entry of this node's has been read back; how long that took, if it is one that tells.
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
