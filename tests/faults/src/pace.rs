//! The pace at which the lanes of a node connect.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sio_streams_driver::backend::{Backend, ConnectError, PushSender};
use sio_streams_driver::sio_streams_core::Lane;

/// The shortest time between two attempts of a lane to connect. The first pause of a new lane is
/// shorter. Later, the pause after a first failure is shorter as well, but then the connection has
/// held for as long.
const LEAST: Duration = Duration::from_secs(1);

/// A record of a node's attempts to connect.
#[derive(Clone, Debug, Default)]
pub struct Pace(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    lanes: HashMap<Lane, (usize, Instant)>,
    attempts: usize,
    hasty: Option<String>,
}

impl Pace {
    /// A backend that connects as the given one does, and notes when.
    pub fn watch<B: Backend>(&self, backend: B) -> Watched<B> {
        Watched { backend, pace: self.clone() }
    }

    /// The number of attempts of all lanes.
    ///
    /// # Errors
    ///
    /// If a lane has tried again too soon after its second failure in a row or a later one.
    pub fn check(&self) -> Result<usize, String> {
        let record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &record.hasty {
            Some(why) => Err(why.clone()),
            None => Ok(record.attempts),
        }
    }

    fn note(&self, lane: &Lane) {
        let mut record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        record.attempts += 1;
        let now = Instant::now();
        let (count, last) = record.lanes.entry(lane.clone()).or_insert((0, now));
        let since = now - *last;
        (*count, *last) = (*count + 1, now);
        if *count > 2 && since < LEAST {
            let count = *count;
            record.hasty = Some(format!("{lane}: attempt {count} came {since:?} after the one before"));
        }
    }
}

/// A backend that notes when a lane connects.
#[derive(Debug)]
pub struct Watched<B> {
    backend: B,
    pace: Pace,
}

impl<B: Backend> Backend for Watched<B> {
    type Connection = B::Connection;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<B::Connection, ConnectError> {
        self.pace.note(lane);
        self.backend.connect(lane, pushes).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_attempt_comes_a_second_after_the_second() {
        let pace = Pace::default();
        pace.note(&Lane::Writer);
        pace.note(&Lane::Writer);
        pace.note(&Lane::Subscriber);
        assert_eq!(pace.check(), Ok(3));
        pace.note(&Lane::Writer);
        assert!(pace.check().is_err());
    }
}
