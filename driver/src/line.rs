//! Messages on their way to the node's loop, and how many there may be.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::atomic::{AtomicUsize, Ordering};

use sio_streams_core::{BroadcastOptions, ByteString, CallError, EntryId, Limits};
use tokio::sync::oneshot;

use crate::node::{Error, Fate};
use crate::observe;

/// The bound of the line in which messages wait for the loop. The loop takes them as fast as it can, and refuses those that are beyond the
/// limits: but it needs its turn for that, and whoever never waits doesn't give it one.
#[derive(Debug)]
pub(crate) struct Line {
    /// What the messages in line weigh: as many bytes as they have, but each at least so much that there are not too many.
    weight: AtomicUsize,
    least: usize,
    limits: Limits,
}

impl Line {
    pub(crate) fn new(limits: Limits) -> Self {
        let least = (limits.in_flight_bytes / limits.in_flight.max(1)).max(1);
        Line { weight: AtomicUsize::new(0), least, limits }
    }

    /// A message of so many bytes is to stand in line: what it weighs, if there is room.
    pub(crate) fn enter(&self, bytes: usize) -> Result<usize, CallError> {
        let weight = bytes.max(self.least);
        // Nothing but the number itself hangs on it.
        let before = self.weight.fetch_add(weight, Ordering::Relaxed);
        if before.saturating_add(weight) <= self.limits.in_flight_bytes {
            return Ok(weight);
        }
        self.leave(weight);
        Err(match weight > self.least {
            true => CallError::Full {
                what: "bytes of messages that the node has not taken yet",
                limit: self.limits.in_flight_bytes,
            },
            false => CallError::Full {
                what: "messages that the node has not taken yet",
                limit: self.limits.in_flight,
            },
        })
    }

    /// Messages of this weight are taken.
    pub(crate) fn leave(&self, weight: usize) {
        self.weight.fetch_sub(weight, Ordering::Relaxed);
    }
}

/// A message on its way. It is in line already, behind all that was said before, or was refused; the future ends with its fate.
///
/// Whoever drops it does not care: the message goes its way. What is not published then is only counted, and logged.
#[derive(Debug)]
pub struct Publishing {
    pub(crate) fate: oneshot::Receiver<Fate>,
    /// Why it was not put in line.
    pub(crate) refused: Option<Error>,
}

impl Future for Publishing {
    type Output = Result<Option<EntryId>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(error) = self.refused.take() {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.fate).poll(context).map(|fate| fate.unwrap_or(Err(Error::Closed)))
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        if let Some(error) = &self.refused {
            observe::refused(error);
        }
    }
}

/// How many bytes the names have to whom something goes.
pub(crate) fn names(opts: &BroadcastOptions) -> usize {
    bytes(&opts.rooms) + bytes(&opts.except)
}

pub(crate) fn bytes(rooms: &[ByteString]) -> usize {
    rooms.iter().map(|room| room.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_too_many_nor_too_much_stand_in_line() {
        let line = Line::new(Limits { in_flight: 10, in_flight_bytes: 1_000, ..Limits::default() });
        let small: Vec<usize> = (0..10).map(|_| line.enter(7).unwrap()).collect();
        assert!(matches!(line.enter(7), Err(CallError::Full { limit: 10, .. })));
        small.into_iter().for_each(|weight| line.leave(weight));
        let large = line.enter(950).unwrap();
        assert!(matches!(line.enter(120), Err(CallError::Full { limit: 1_000, .. })));
        line.leave(large);
        assert_eq!(line.enter(1_000).unwrap(), 1_000);
    }
}
