//! The first of several tries to succeed.

use core::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::timeout;

/// The time after which the next try begins although the one before has not ended. That one may
/// still be the first to succeed.
pub(crate) const HURRY: Duration = Duration::from_millis(500);

/// Runs tries one after the other, and returns the result of the first that succeeds. The next one
/// begins when one has failed or [takes too long](HURRY), so a try that hangs does not delay the
/// others for longer than that. If all of them fail, the failures are returned in the order in
/// which they came.
pub(crate) async fn first<T, E, F>(tries: impl IntoIterator<Item = F>) -> Result<T, Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut tries = tries.into_iter();
    let mut running = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        let next = tries.next();
        let more = next.is_some();
        running.extend(next);
        let outcome = match more {
            true => match timeout(HURRY, running.next()).await {
                Ok(outcome) => outcome,
                Err(_) => continue,
            },
            false => running.next().await,
        };
        match outcome {
            Some(Ok(found)) => return Ok(found),
            Some(Err(failure)) => failures.push(failure),
            None => return Err(failures),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::future::pending;
    use core::pin::Pin;

    use super::*;

    type Try = Pin<Box<dyn Future<Output = Result<u32, &'static str>>>>;

    fn hangs() -> Try {
        Box::pin(pending())
    }

    fn ends(result: Result<u32, &'static str>) -> Try {
        Box::pin(async move { result })
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_hangs_delays_nobody_for_long() {
        let began = tokio::time::Instant::now();
        assert_eq!(first([hangs(), ends(Err("no")), hangs(), ends(Ok(4)), ends(Ok(5))]).await, Ok(4));
        assert_eq!(began.elapsed(), 2 * HURRY);
        assert_eq!(first([ends(Err("a")), ends(Err("b"))]).await, Err(vec!["a", "b"]));
        assert_eq!(first(Vec::<Try>::new()).await, Err(vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_slow_may_still_be_the_first() {
        let slow: Try = Box::pin(async {
            tokio::time::sleep(3 * HURRY).await;
            Ok(1)
        });
        assert_eq!(first([slow, hangs(), hangs()]).await, Ok(1));
    }
}
