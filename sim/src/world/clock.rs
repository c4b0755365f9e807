//! The clock of a machine.

use core::time::Duration;

use sio_streams_core::Time;

const MILLION: i128 = 1_000_000;

/// A clock that may run fast or slow, and jump.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The difference to the world's time, in microseconds, without the drift.
    offset: i128,
    /// The number of microseconds that it gains in a second; may be negative.
    drift: i32,
}

impl Clock {
    pub(crate) fn new(offset: Duration, drift: i32) -> Self {
        Clock { offset: offset.as_micros().cast_signed(), drift }
    }

    /// The time that it shows. Never less than zero.
    pub(crate) fn read(&self, world: Time) -> Time {
        let world = i128::from(world.as_micros());
        let shown = world + world * i128::from(self.drift) / MILLION + self.offset;
        Time::from_micros(u64::try_from(shown.max(0)).unwrap_or(u64::MAX))
    }

    /// The world's time at which it will show this time.
    pub(crate) fn when(&self, shown: Time) -> Time {
        let shown = i128::from(shown.as_micros()) - self.offset;
        // Rounded up: a moment too late is harmless, one too early would be tried again at once.
        let world = (shown * MILLION).div_euclid(MILLION + i128::from(self.drift)) + 1;
        Time::from_micros(u64::try_from(world.max(0)).unwrap_or(u64::MAX))
    }

    pub(crate) fn jump(&mut self, micros: i64) {
        self.offset += i128::from(micros);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_is_the_reverse_of_read() {
        for drift in [-50_000, 0, 33_333] {
            let clock = Clock::new(Duration::from_secs(3), drift);
            for micros in [4_000_000, 5_000_001, 123_456_789] {
                let shown = Time::from_micros(micros);
                let at = clock.when(shown);
                assert!(clock.read(at) >= shown, "{drift} {micros}");
                assert!(clock.read(at).since(shown) < Duration::from_micros(3), "{drift} {micros}");
            }
        }
    }
}
