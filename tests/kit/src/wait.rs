//! Waiting for a condition.

use std::thread;
use std::time::{Duration, Instant};

/// The time limit for servers to agree on something. It is generous: a loaded machine is no
/// failure.
pub(crate) const BOUND: Duration = Duration::from_secs(120);

/// Looks again and again whether a condition is met; whether it was, within the time.
pub(crate) fn within(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + time;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}
