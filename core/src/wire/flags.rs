//! The flags of a broadcast, by their names on the wire.

use core::time::Duration;

use crate::packet::Flags;

impl Flags {
    /// Sets the flag of this name, if it is a known one and its value is of the usual kind.
    pub(super) fn set(&mut self, key: &str, switch: Option<bool>, millis: Option<u64>) -> bool {
        let slot = match key {
            "volatile" => &mut self.volatile,
            "compress" => &mut self.compress,
            "local" => &mut self.local,
            "broadcast" => &mut self.broadcast,
            "binary" => &mut self.binary,
            "expectSingleResponse" => &mut self.expect_single_response,
            "timeout" => {
                self.timeout = millis.map(Duration::from_millis);
                return millis.is_some();
            }
            _ => return false,
        };
        *slot = switch;
        switch.is_some()
    }

    /// Of equal keys the last counts: what came of an unusual kind before the usual one is not there.
    pub(super) fn last_counts(&mut self) {
        let mut other = core::mem::take(&mut self.other);
        other.retain(|(key, _)| match &**key {
            "volatile" => self.volatile.is_none(),
            "compress" => self.compress.is_none(),
            "local" => self.local.is_none(),
            "broadcast" => self.broadcast.is_none(),
            "binary" => self.binary.is_none(),
            "expectSingleResponse" => self.expect_single_response.is_none(),
            "timeout" => self.timeout.is_none(),
            _ => true,
        });
        self.other = other;
    }
}
