//! Points in time on the command line: entry ids, times, and spans before now.

use jiff::{SignedDuration, Timestamp};
use sio_streams_driver::sio_streams_core::EntryId;

/// A point in time, as an entry id. One that was given as a time stands for its whole millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Id(EntryId),
    Millis(u64),
}

#[derive(Debug, thiserror::Error)]
#[error("expected an entry id (1764410400000-0), a time (2025-11-29T10:00:00Z), a span (10m), or now")]
pub(crate) struct InvalidWhen;

/// The present time of this machine, in milliseconds since 1970.
pub(crate) fn now() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default()
}

/// Formats milliseconds since 1970 as RFC 3339 in UTC. `None` stands for a time that has no such
/// form.
pub(crate) fn rfc3339(millis: u64) -> Option<String> {
    let time = Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()?;
    Some(format!("{time:.3}"))
}

impl When {
    /// Reads a point in time from the command line.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidWhen> {
        Self::at(text, now())
    }

    fn at(text: &str, now: u64) -> Result<Self, InvalidWhen> {
        if text == "now" {
            return Ok(When::Millis(now));
        }
        if let Ok(id) = text.parse() {
            return Ok(When::Id(id));
        }
        if let Ok(millis) = text.parse() {
            return Ok(When::Millis(millis));
        }
        if let Ok(span) = text.parse::<SignedDuration>() {
            let before = u64::try_from(span.as_millis()).map_err(|_| InvalidWhen)?;
            return Ok(When::Millis(now.saturating_sub(before)));
        }
        let time: Timestamp = text.parse().map_err(|_| InvalidWhen)?;
        u64::try_from(time.as_millisecond()).map(When::Millis).map_err(|_| InvalidWhen)
    }

    /// The id behind which reading starts, so that the first entry of this time is included.
    pub(crate) fn before(self) -> EntryId {
        match self {
            When::Id(EntryId { ms, seq: 0 }) | When::Millis(ms) => match ms.checked_sub(1) {
                Some(ms) => EntryId { ms, seq: u64::MAX },
                None => EntryId::ZERO,
            },
            When::Id(EntryId { ms, seq }) => EntryId { ms, seq: seq - 1 },
        }
    }

    /// The last id that belongs to this time.
    pub(crate) fn last(self) -> EntryId {
        match self {
            When::Id(id) => id,
            When::Millis(ms) => EntryId { ms, seq: u64::MAX },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_times_and_spans_are_read() {
        let now = 1_764_410_400_000;
        let id = EntryId { ms: now, seq: 3 };
        for (text, expected) in [
            ("1764410400000-3", When::Id(id)),
            ("0", When::Millis(0)),
            ("now", When::Millis(now)),
            ("10m", When::Millis(now - 600_000)),
            ("1h 30m", When::Millis(now - 5_400_000)),
            ("2025-11-29T10:00:00Z", When::Millis(now)),
            ("2025-11-29T11:00:00.250+01:00", When::Millis(now + 250)),
        ] {
            assert_eq!(When::at(text, now).ok(), Some(expected), "{text}");
        }
        for text in ["", "yesterday", "-10m", "1-2-3", "2025-11-29T10:00:00", "1969-01-01T00:00:00Z"] {
            assert!(When::at(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn both_ends_are_included() {
        let id = |ms, seq| EntryId { ms, seq };
        assert_eq!(When::Id(id(5, 3)).before(), id(5, 2));
        assert_eq!(When::Id(id(5, 0)).before(), id(4, u64::MAX));
        assert_eq!(When::Millis(5).before(), id(4, u64::MAX));
        assert_eq!(When::Millis(0).before(), EntryId::ZERO);
        assert_eq!(When::Id(id(5, 3)).last(), id(5, 3));
        assert_eq!(When::Millis(5).last(), id(5, u64::MAX));
    }

    #[test]
    fn times_are_written_with_milliseconds() {
        assert_eq!(rfc3339(1_764_410_400_007).as_deref(), Some("2025-11-29T10:00:00.007Z"));
        assert_eq!(rfc3339(u64::MAX), None);
    }
}
