//! The pauses before something is tried again.

use core::time::Duration;

/// The upper limit of all pauses. It also keeps sums with an instant representable.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest pause from the second failure in a row on, unless the longest pause is set to be
/// shorter.
pub(crate) const PACE: Duration = Duration::from_secs(1);

/// Pauses that grow. Each is twice as long as the one before, from `least` to `most`. A random part
/// of up to a half is left out, so that those who failed at the same moment do not all come back at
/// the same moment.
///
/// Pauses before connections are opened are at least [`PACE`] from the second one in a row on. From
/// there on, nothing is left out. Instead, a random part of up to a tenth is added. In this way a
/// short break is over quickly, and a server that is away for longer is not asked all the time.
#[derive(Debug)]
pub(crate) struct Retry {
    least: Duration,
    most: Duration,
    /// The minimum of the second pause.
    pace: Duration,
    failures: u32,
}

impl Retry {
    /// Creates the pauses before connections are opened.
    pub(crate) fn new(least: Duration, most: Duration) -> Self {
        let most = most.min(LONGEST);
        Retry { least: least.min(most), most, pace: PACE, failures: 0 }
    }

    /// Creates the pauses before something that costs nothing but its own time.
    pub(crate) fn gradual(least: Duration, most: Duration) -> Self {
        Retry { pace: Duration::ZERO, ..Retry::new(least, most) }
    }

    /// Returns the pause after another failure.
    pub(crate) fn pause(&mut self) -> Duration {
        let before = self.failures.min(30);
        self.failures = self.failures.saturating_add(1);
        let grown = |pause: Duration, times: u32| pause.saturating_mul(2_u32.pow(times));
        let pause = match before.checked_sub(1) {
            Some(more) => grown(self.least, before).max(grown(self.pace, more)),
            None => self.least,
        };
        let pause = pause.min(self.most);
        match before > 0 && !self.pace.is_zero() {
            true => pause.mul_f64(1.0 + fastrand::f64() / 10.0),
            false => pause.mul_f64(0.5 + fastrand::f64() / 2.0),
        }
    }

    /// Returns the time for which a connection must hold to have been of use. If it is lost
    /// earlier, the next one is likely to be lost as well, even if this one worked.
    pub(crate) fn hold(&self) -> Duration {
        PACE.min(self.most)
    }

    /// Notes that a try was of use. The next failure is the first one.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Returns the number of failures since a try was of use.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_about(pause: Duration, expected: Duration) -> bool {
        expected <= pause && pause <= expected.mul_f64(1.1)
    }

    #[test]
    fn a_short_break_is_over_quickly_and_then_it_is_once_a_second() {
        let mut retry = Retry::new(Duration::from_millis(50), Duration::from_secs(1));
        for _ in 0..3 {
            let first = retry.pause();
            assert!(Duration::from_millis(25) <= first && first <= Duration::from_millis(50), "{first:?}");
            for _ in 0..5 {
                let pause = retry.pause();
                assert!(is_about(pause, Duration::from_secs(1)), "{pause:?}");
            }
            retry.succeeded();
        }
    }

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut retry = Retry::new(Duration::from_millis(50), Duration::from_secs(5));
        retry.pause();
        for seconds in [1, 2, 4, 5, 5] {
            let pause = retry.pause();
            assert!(is_about(pause, Duration::from_secs(seconds)), "{pause:?} of {seconds} s");
        }
        let mut slow = Retry::new(Duration::from_secs(3), Duration::from_secs(10));
        slow.pause();
        for seconds in [6, 10, 10] {
            let pause = slow.pause();
            assert!(is_about(pause, Duration::from_secs(seconds)), "{pause:?} of {seconds} s");
        }
    }

    #[test]
    fn what_costs_nothing_is_tried_again_sooner() {
        let mut retry = Retry::gradual(Duration::from_millis(5), Duration::from_millis(500));
        for longest in [5, 10, 20, 40, 80, 160, 320, 500, 500] {
            let (pause, longest) = (retry.pause(), Duration::from_millis(longest));
            assert!(longest / 2 <= pause && pause <= longest, "{pause:?} of {longest:?}");
        }
    }

    #[test]
    fn not_all_come_back_at_the_same_moment() {
        let second = || {
            let mut retry = Retry::new(Duration::from_millis(50), Duration::from_secs(1));
            (retry.pause(), retry.pause())
        };
        let pauses: std::collections::BTreeSet<_> = core::iter::repeat_with(second).take(20).collect();
        assert!(pauses.len() > 10, "{pauses:?}");
    }

    #[test]
    fn no_bound_is_too_large_and_none_too_small() {
        let mut endless = Retry::new(Duration::MAX, Duration::MAX);
        let mut none = Retry::new(Duration::MAX, Duration::ZERO);
        let mut crossed = Retry::new(Duration::MAX, Duration::from_millis(7));
        for _ in 0..100 {
            assert!(endless.pause() <= LONGEST.mul_f64(1.1));
            assert_eq!(none.pause(), Duration::ZERO);
            assert!(crossed.pause() <= Duration::from_millis(8));
        }
    }
}
