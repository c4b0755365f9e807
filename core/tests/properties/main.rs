//! What holds for every message, every input and every order of events.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

mod arriving;
mod engine;
mod messages;
mod payloads;
mod rooms;
mod values;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// The same cases in every run; other and more ones with `PROPTEST_RNG_SEED` and `PROPTEST_CASES`.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    let given = ProptestConfig::default();
    // Miri takes its time.
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
