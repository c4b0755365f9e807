//! Randomness that a seed repeats.
#![allow(clippy::print_stderr, reason = "a test that fails shows what it printed")]

use std::env;

use fastrand::Rng;
use sio_streams_testkit::{Direction, Fault, Proxy, Trouble};

/// Names the seed to use instead of a random one.
pub const SEED: &str = "SIO_STREAMS_FAULTS_SEED";

/// Set to anything: the long form of the tests that have a short one, and bounds that only a busy
/// machine may miss.
pub const FULL: &str = "SIO_STREAMS_FAULTS_FULL";

/// A source of chance. Its seed is printed.
pub fn rng() -> Rng {
    let seed = match env::var(SEED) {
        Ok(seed) => seed.parse().unwrap_or_else(|_| panic!("{SEED} is not a number: {seed}")),
        Err(_) => fastrand::u64(..),
    };
    eprintln!("{SEED}={seed}");
    Rng::with_seed(seed)
}

/// Returns `true` if the long form is asked for.
pub fn is_full() -> bool {
    env::var_os(FULL).is_some()
}

/// The number of repetitions: `short`, or `full` if the long form is asked for.
pub fn rounds(short: usize, full: usize) -> usize {
    if is_full() { full } else { short }
}

/// Has something happen at one of the given number of next bytes of requests, or at one of the
/// replies to them, which are about an eighth.
pub fn strike(rng: &mut Rng, link: &Proxy, bytes: u64, what: Trouble) {
    let fault = match rng.bool() {
        true => Fault { direction: Direction::Requests, after: rng.u64(..bytes), what },
        false => Fault { direction: Direction::Replies, after: rng.u64(..bytes / 8), what },
    };
    link.inject(fault);
}
