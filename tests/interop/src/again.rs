//! Questions that are asked again, because a slow server can't be told from one that does not
//! answer.

use serde_json::Value;

use crate::types::{Acks, Responses};
use crate::{Error, Result};

/// The number of times that servers are asked. The peers wait five seconds for answers each time,
/// which can't be changed.
const TRIES: usize = 6;

/// Asks clients until exactly the `expected` acknowledgements have come. Some clients never answer.
/// Each attempt has the next of the `timeouts`, in milliseconds.
///
/// # Errors
///
/// If all clients have answered, or an unexpected one has.
pub async fn partial_acks(
    expected: &[Value],
    timeouts: &[u64],
    mut ask: impl AsyncFnMut(u64) -> Result<Acks>,
) -> Result<()> {
    for &timeout in timeouts {
        match ask(timeout).await? {
            Acks::Complete { acks } => return Err(complete(&acks)),
            Acks::Failed { partial, .. } if are_all(&partial, expected)? => return Ok(()),
            Acks::Failed { .. } => {}
        }
    }
    Err(missing(expected))
}

/// Asks servers until exactly the `expected` responses have come. Some servers never answer.
///
/// # Errors
///
/// If all servers have answered, or an unexpected one has.
pub async fn partial_responses(
    expected: &[Value],
    mut ask: impl AsyncFnMut() -> Result<Responses>,
) -> Result<()> {
    for _ in 0..TRIES {
        match ask().await? {
            Responses::Complete { responses } => return Err(complete(&responses)),
            Responses::Failed { partial, .. } if are_all(&partial, expected)? => return Ok(()),
            Responses::Failed { .. } => {}
        }
    }
    Err(missing(expected))
}

/// Asks servers until all of them have answered in time. Returns their responses.
pub async fn all_responses(mut ask: impl AsyncFnMut() -> Result<Responses>) -> Result<Vec<Value>> {
    let mut last = String::new();
    for _ in 0..TRIES {
        match ask().await? {
            Responses::Complete { responses } => return Ok(responses),
            Responses::Failed { error, partial } => last = format!("{error}, with {partial:?}"),
        }
    }
    Err(Error::TimedOut(format!("the servers' responses: {last}")))
}

/// Returns `true` if nothing is missing, in any order; an error if something else came.
fn are_all(partial: &[Value], expected: &[Value]) -> Result<bool> {
    let mut missing: Vec<&Value> = expected.iter().collect();
    for value in partial {
        let Some(at) = missing.iter().position(|expected| *expected == value) else {
            return Err(Error::Unexpected(format!("{partial:?} instead of {expected:?}")));
        };
        missing.swap_remove(at);
    }
    Ok(missing.is_empty())
}

fn complete(values: &[Value]) -> Error {
    Error::Unexpected(format!("all have answered: {values:?}"))
}

fn missing(expected: &[Value]) -> Error {
    Error::TimedOut(format!("answers {expected:?}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_compared_whatever_their_order() {
        let expected = [json!(1), json!(3), json!(3)];
        assert!(are_all(&[json!(3), json!(1), json!(3)], &expected).unwrap());
        assert!(!are_all(&[json!(3), json!(1)], &expected).unwrap());
        are_all(&[json!(1), json!(1)], &expected).unwrap_err();
        are_all(&[json!(2)], &expected).unwrap_err();
    }
}
