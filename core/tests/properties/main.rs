//! Properties that hold for every message, every input and every order of events.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

mod arriving;
mod engine;
mod frames;
mod messages;
mod payloads;
mod rooms;
mod values;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// Uses the same cases in every run. `PROPTEST_RNG_SEED` and `PROPTEST_CASES` select others, and
/// more of them.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    let given = ProptestConfig::default();
    // Miri is slow.
    let cases = if cfg!(miri) { (cases / 100).clamp(2, 4) } else { cases };
    ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { cases },
        rng_seed: match given.rng_seed {
            RngSeed::Random => RngSeed::Fixed(1),
            fixed => fixed,
        },
        failure_persistence: None,
        ..given
    }
}
