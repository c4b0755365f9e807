//! The bound on messages that wait for the node's loop.

use std::sync::atomic::{AtomicUsize, Ordering};

use sio_streams_core::{BroadcastOptions, ByteString, CallError, Limit, Limits};

/// Admits messages to the queue of calls, up to the limits.
///
/// The loop takes messages as fast as it can, and refuses those that exceed the limits. But it
/// needs its turn for that, and a task that never waits does not give it one. So the queue itself
/// is bounded, too.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The total weight of the queued messages. A message weighs its bytes, but at least
    /// [`least`](Self::least), so that the weight also bounds their number.
    weight: AtomicUsize,
    least: usize,
    limits: Limits,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        let least = (limits.in_flight_bytes / limits.in_flight.max(1)).max(1);
        Admission { weight: AtomicUsize::new(0), least, limits }
    }

    /// Admits a message of this size, and returns its weight. The weight is
    /// [released](Self::release) when the loop has taken the message.
    pub(crate) fn admit(&self, bytes: usize) -> Result<usize, CallError> {
        let weight = bytes.max(self.least);
        // No other memory depends on this number.
        let before = self.weight.fetch_add(weight, Ordering::Relaxed);
        if before.saturating_add(weight) <= self.limits.in_flight_bytes {
            return Ok(weight);
        }
        self.release(weight);
        Err(match weight > self.least {
            true => CallError::Full { what: Limit::InFlightBytes, limit: self.limits.in_flight_bytes },
            false => CallError::Full { what: Limit::InFlight, limit: self.limits.in_flight },
        })
    }

    /// Releases the weight of messages that the loop has taken.
    pub(crate) fn release(&self, weight: usize) {
        self.weight.fetch_sub(weight, Ordering::Relaxed);
    }
}

/// Returns the size of the room names that address a message, in bytes.
pub(crate) fn address_size(opts: &BroadcastOptions) -> usize {
    names_size(&opts.rooms) + names_size(&opts.except)
}

/// Returns the size of names, in bytes.
pub(crate) fn names_size(names: &[ByteString]) -> usize {
    names.iter().map(|name| name.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_too_many_nor_too_large_messages_are_admitted() {
        let admission = Admission::new(Limits { in_flight: 10, in_flight_bytes: 1_000, ..Limits::default() });
        let small: Vec<usize> = (0..10).map(|_| admission.admit(7).unwrap()).collect();
        assert!(matches!(admission.admit(7), Err(CallError::Full { limit: 10, .. })));
        small.into_iter().for_each(|weight| admission.release(weight));
        let large = admission.admit(950).unwrap();
        assert!(matches!(admission.admit(120), Err(CallError::Full { limit: 1_000, .. })));
        admission.release(large);
        assert_eq!(admission.admit(1_000).unwrap(), 1_000);
    }
}
