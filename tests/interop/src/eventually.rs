//! Waiting for a condition.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{Error, Result};

/// The time limit for a condition. It is generous: a loaded machine is no failure.
const BOUND: Duration = Duration::from_secs(120);

/// The interval between two checks.
const PACE: Duration = Duration::from_millis(10);

/// Something that is met or not yet: a `bool`, or an `Option` with the value that was waited for.
pub trait Condition {
    /// The result when the condition is met.
    type Value;

    /// The value, if it is met.
    fn met(self) -> Option<Self::Value>;
}

impl Condition for bool {
    type Value = ();

    fn met(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Condition for Option<T> {
    type Value = T;

    fn met(self) -> Option<T> {
        self
    }
}

/// Looks at a condition again and again until it is met, for at most two minutes.
pub async fn eventually<F, Fut>(what: &str, mut condition: F) -> Result<<Fut::Output as Condition>::Value>
where
    F: FnMut() -> Fut,
    Fut: Future,
    Fut::Output: Condition,
{
    let deadline = Instant::now() + BOUND;
    loop {
        if let Some(value) = condition().await.met() {
            return Ok(value);
        }
        if Instant::now() > deadline {
            return Err(Error::TimedOut(what.to_owned()));
        }
        sleep(PACE).await;
    }
}
