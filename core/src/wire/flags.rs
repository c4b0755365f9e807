//! The flags of a broadcast, by their names on the wire.

use core::time::Duration;

use crate::packet::Flags;

impl Flags {
    /// Sets the flag with this name. Returns `false` if the name is unknown, or the value has an
    /// unexpected type.
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

    /// Applies the rule that the last of equal keys counts. A known flag that was set after a value
    /// of an unexpected type replaces that value.
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
