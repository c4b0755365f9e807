//! The hashers of the engine's tables. They draw no keys of their own, so that a run can be
//! repeated.

use core::hash::{BuildHasher, Hasher};

use siphasher::sip::SipHasher13;

/// A keyed hash, for tables whose keys come from outside. A client that chooses room names can't
/// know which of them collide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed(pub(crate) u64, pub(crate) u64);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// A cheap hash, for tables whose keys the engine counts up itself. No outsider chooses such keys.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbered;

/// Hashes one number.
#[derive(Debug, Default)]
pub(crate) struct NumberHasher(u64);

impl BuildHasher for Numbered {
    type Hasher = NumberHasher;

    fn build_hasher(&self) -> NumberHasher {
        NumberHasher::default()
    }
}

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        // The multiplier is derived from the golden ratio. It puts neighbours far apart in the
        // upper bits.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_chosen_against_one_key_are_like_any_others_under_another() {
        // Miri is slow on each name that is tried.
        let (places, wanted) = if cfg!(miri) { (0x40, 8) } else { (0x1000, 100) };
        let place = |key: Keyed, name: &str| key.hash_one(name) as usize & (places - 1);
        // A client that knows the key can choose names that all fall into one bucket of a table.
        let all = (0..).map(|n| format!("room {n}"));
        let chosen: Vec<String> = all.filter(|name| place(Keyed(1, 2), name) == 7).take(wanted).collect();
        let mut crowd = vec![0; places];
        chosen.iter().for_each(|name| crowd[place(Keyed(3, 4), name)] += 1);
        assert!(crowd.into_iter().max() <= Some(4));
    }
}
