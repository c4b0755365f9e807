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
    /// The longest pause of a lane, unless heartbeats are more frequent than usual.
    const OF_LANES: Duration = Duration::from_secs(1);

    /// The longest pause of something that waits for a right. A right that is granted has an effect
    /// after at most as long as it was missing.
    pub(super) const OF_RIGHTS: Duration = Duration::from_secs(10);

    /// Returns the longest pause of a lane. All that a node says or hears may wait for it, so it is
    /// short beside the time between two heartbeats.
    pub(super) fn of_lanes(heartbeat_interval: Duration) -> Duration {
        Pauses::OF_LANES.min(heartbeat_interval / 5)
    }

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
    fn a_lane_does_not_pause_for_long_where_heartbeats_are_frequent() {
        let seconds = Duration::from_secs;
        let longest = [500, 2_000, 5_000, 60_000].map(|ms| Pauses::of_lanes(Duration::from_millis(ms)));
        let expected = [Duration::from_millis(100), Duration::from_millis(400), seconds(1), seconds(1)];
        assert_eq!(longest, expected);
        let mut pauses = Pauses::default();
        let mut rng = fastrand::Rng::with_seed(1);
        assert!((0..9).all(|_| pauses.next(&mut rng, longest[0]) <= RETRY));
    }

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
