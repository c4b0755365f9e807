//! Random values that only depend on their purpose.
//!
//! A generator that everybody shares would give everyone other numbers as soon as one of them draws
//! once more: taking a single fault out of a run would make another run of it. Here a number is a
//! hash of the seed and of what it decides.

use core::time::Duration;

/// A source of numbers, named by a seed and by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Chance(mix(seed ^ 0x5105_73e4_a35d_91c3))
    }

    /// The source for one of many things.
    pub(crate) fn of(self, what: u64) -> Self {
        Chance(mix(self.0 ^ mix(what.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    /// The number.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// A number below `end`; 0 if that is 0.
    pub(crate) fn below(self, end: u64) -> u64 {
        ((u128::from(self.0) * u128::from(end)) >> 64) as u64
    }

    /// A time between two others.
    pub(crate) fn between(self, (from, to): (Duration, Duration)) -> Duration {
        let span = u64::try_from(to.saturating_sub(from).as_micros()).unwrap_or(u64::MAX);
        from + Duration::from_micros(self.below(span.saturating_add(1)))
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn percent(self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The finaliser of splitmix64: every bit of the input changes half of the output.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thing_has_a_number_of_its_own() {
        let chance = Chance::new(7);
        let mut seen: Vec<u64> = (0..1_000).map(|what| chance.of(what).number()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1_000);
        assert_ne!(chance.of(1).of(2), chance.of(2).of(1));
        let tenths = (0..1_000).filter(|&what| chance.of(what).percent(10)).count();
        assert!((60..140).contains(&tenths), "{tenths}");
    }
}
