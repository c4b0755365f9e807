//! The pauses before something that was refused is tried again.

use core::time::Duration;

use crate::engine::context::RETRY;

/// Pauses that grow. Each is twice as long as the one before, from [`RETRY`] on. A random part of up
/// to a quarter is left out, so that the nodes of a cluster that were refused at the same moment do
/// not all come back at the same moment. The pauses start anew when an attempt was of use.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pauses {
    last: Duration,
}

impl Pauses {
    /// The longest pause of a lane. All that a node says or hears may wait for it, and others wait
    /// for that.
    pub(super) const OF_LANES: Duration = Duration::from_secs(1);

    /// The longest pause of something that waits for a right. A right that is granted has an effect
    /// after at most as long as it was missing.
    pub(super) const OF_RIGHTS: Duration = Duration::from_secs(10);

    /// Returns the pause after another failure.
    pub(super) fn next(&mut self, rng: &mut fastrand::Rng, longest: Duration) -> Duration {
        self.last = (self.last * 2).clamp(RETRY, longest.max(RETRY));
        let quarter = u64::try_from((self.last / 4).as_micros()).unwrap_or(u64::MAX);
        self.last - Duration::from_micros(rng.u64(..=quarter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_are_not_all_alike() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut first = Vec::new();
        for _ in 0..20 {
            let mut pauses = Pauses::default();
            for longest in [200, 400, 800, 1_000, 1_000] {
                let longest = Duration::from_millis(longest);
                let pause = pauses.next(&mut rng, Pauses::OF_LANES);
                assert!(longest * 3 / 4 <= pause && pause <= longest, "{pause:?} of {longest:?}");
                first.push(pause);
            }
        }
        first.sort();
        first.dedup();
        assert!(first.len() > 90, "{first:?}");
    }
}
