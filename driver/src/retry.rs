//! The pauses before something is tried again.

use core::time::Duration;

/// The upper limit of all pauses. It also keeps sums with an instant representable.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Pauses that grow: each is twice as long as the one before, from `least` to `most`. A random part of up to a half is left out, so that those
/// who failed at the same moment do not all come back at the same moment.
#[derive(Debug)]
pub(crate) struct Retry {
    least: Duration,
    most: Duration,
    failures: u32,
}

impl Retry {
    pub(crate) fn new(least: Duration, most: Duration) -> Self {
        let most = most.min(LONGEST);
        Retry { least: least.min(most), most, failures: 0 }
    }

    /// Returns the pause after another failure.
    pub(crate) fn pause(&mut self) -> Duration {
        let doublings = 2_u32.saturating_pow(self.failures.min(31));
        self.failures = self.failures.saturating_add(1);
        let longest = self.least.saturating_mul(doublings).min(self.most);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
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

    #[test]
    fn pauses_grow_up_to_a_bound_and_begin_anew() {
        let mut retry = Retry::new(Duration::from_millis(50), Duration::from_secs(5));
        for longest in [50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            let pause = retry.pause();
            let longest = Duration::from_millis(longest);
            assert!(longest / 2 <= pause && pause <= longest, "{pause:?} of {longest:?}");
        }
        retry.succeeded();
        assert!(retry.pause() <= Duration::from_millis(50));
    }

    #[test]
    fn no_bound_is_too_large_and_none_too_small() {
        let mut endless = Retry::new(Duration::MAX, Duration::MAX);
        let mut none = Retry::new(Duration::ZERO, Duration::MAX);
        let mut crossed = Retry::new(Duration::MAX, Duration::from_millis(7));
        for _ in 0..100 {
            assert!(endless.pause() <= LONGEST);
            assert_eq!(none.pause(), Duration::ZERO);
            assert!(crossed.pause() <= Duration::from_millis(7));
        }
    }
}
