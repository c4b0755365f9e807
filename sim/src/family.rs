//! Families of seeds: the subjects of runs.

/// The subject of a seed's run. The highest byte of a seed names it; the rest is a number, from
/// which everything else follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// The dialects with streams, together with Node peers of both generations.
    Streams,
    /// The dialects without: classic and sharded Pub/Sub.
    Channels,
    /// The dialects with streams, and clients that drop and recover.
    Recovery,
    /// All dialects, with what is rare: forged entries and answers, names that look alike, days
    /// without links, short outages at the default times.
    Adverse,
}

/// The number of bits of a seed's number.
const NUMBER_BITS: u32 = 56;

impl Family {
    /// All of them.
    pub const ALL: [Family; 4] = [Family::Streams, Family::Channels, Family::Recovery, Family::Adverse];

    /// The seed of this family with a number; of the number's highest byte nothing is left.
    pub fn seed(self, number: u64) -> u64 {
        let family = match self {
            Family::Streams => 0,
            Family::Channels => 1,
            Family::Recovery => 2,
            Family::Adverse => 3,
        };
        family << NUMBER_BITS | number & ((1 << NUMBER_BITS) - 1)
    }

    /// The family of a seed, and its number in it. Seeds of no family are of the first.
    pub fn of(seed: u64) -> (Self, u64) {
        let family = match seed >> NUMBER_BITS {
            1 => Family::Channels,
            2 => Family::Recovery,
            3 => Family::Adverse,
            _ => Family::Streams,
        };
        (family, seed & ((1 << NUMBER_BITS) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_its_family_and_its_number() {
        for family in Family::ALL {
            for number in [0, 1, 42, (1 << NUMBER_BITS) - 1] {
                assert_eq!(Family::of(family.seed(number)), (family, number));
            }
        }
        assert_eq!(
            Family::Streams.seed(807),
            807,
            "what was a seed before there were families is still the same"
        );
    }
}
