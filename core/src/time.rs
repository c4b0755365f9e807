//! Time as the engine sees it: a number that only the caller advances.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A point in time, in microseconds since an origin that the caller chooses.
///
/// The engine has no clock. Every input carries the caller's `now`. It must come from a clock that
/// never runs backwards, such as `std::time::Instant` measured from the start of the process, or a
/// simulator's counter. An input whose `now` precedes an earlier one is treated as if no time had
/// passed.
///
/// ```
/// use core::time::Duration;
/// use sio_streams_core::Time;
///
/// let start = Time::ZERO;
/// let later = start + Duration::from_millis(1_500);
/// assert_eq!(later.since(start), Duration::from_millis(1_500));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The caller's origin.
    pub const ZERO: Time = Time(0);

    /// The last point in time. Nothing ever becomes due at it.
    pub(crate) const END: Time = Time(u64::MAX);

    /// Creates the point that lies `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Time(micros)
    }

    /// Creates the point that lies `millis` milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Time(millis.saturating_mul(1_000))
    }

    /// Returns the microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the time from `earlier` to this point, or zero if `earlier` is later.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    /// Adds a duration. The result saturates at the end of time, half a million years after the
    /// origin.
    fn add(self, rhs: Duration) -> Time {
        let micros = u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(micros))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
