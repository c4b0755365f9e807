//! JavaScript's conversions of numbers, objects, dates and strings.

use std::collections::BTreeSet;

use bytestring::ByteString;

/// The text that JavaScript's `String` gives for an object. No application names a room like this.
/// A room that is an object matches no socket, but it counts as a room.
pub(crate) const OBJECT_TEXT: &str = "[object Object]";

/// Returns the text that JavaScript's `String` gives for the number.
pub(crate) fn number_text(number: f64) -> String {
    match number.abs() {
        0.0 => "0".into(),
        f64::INFINITY => if number > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        1e-6..1e21 => number.to_string(),
        1e21.. => format!("{number:e}").replacen('e', "e+", 1),
        _ if number.is_nan() => "NaN".into(),
        _ => format!("{number:e}"),
    }
}

/// Returns `false` if the text is certainly not that of a number. Most names are not, and their first
/// character tells.
#[inline]
pub(crate) fn may_be_number(text: &str) -> bool {
    matches!(text.as_bytes().first(), Some(b'0'..=b'9' | b'-'))
}

/// Returns the number whose text in JavaScript is `text`, if there is one. `Infinity` and `NaN`
/// don't count.
pub(crate) fn number(text: &str) -> Option<f64> {
    /// No number has a longer text.
    const LONGEST: usize = 32;
    if !may_be_number(text) || text.len() > LONGEST {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    (number.is_finite() && number_text(number) == text).then_some(number)
}

/// Returns the text of a date, given in milliseconds since 1970, as `Date.prototype.toString` prints
/// it where the time zone is UTC.
pub(crate) fn date_text(millis: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const LAST: u64 = 8_640_000_000_000_000;
    if millis > LAST {
        return "Invalid Date".into();
    }
    let (days, second) = (millis / 86_400_000, millis / 1_000 % 86_400);
    let (year, month, day) = civil(days as i64);
    let name = DAYS[(days % 7) as usize];
    let month = MONTHS[(month - 1) as usize];
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!(
        "{name} {month} {day:02} {year:04} {hour:02}:{minute:02}:{second:02} GMT+0000 \
         (Coordinated Universal Time)"
    )
}

/// Returns year, month and day in the proleptic Gregorian calendar, `days` after 1970-01-01.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    // Days are counted from 0000-03-01, so that the leap day ends a year, in eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * shifted + 2) / 5 + 1, (shifted + 2) % 12 + 1);
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Returns the elements of the set that JavaScript makes of a text: its characters, each once.
pub(crate) fn characters(text: &ByteString) -> Vec<ByteString> {
    let mut seen = BTreeSet::new();
    let fresh = text.char_indices().filter(|(_, character)| seen.insert(*character));
    fresh.map(|(at, character)| text.slice_ref(&text[at..at + character.len_utf8()])).collect()
}

/// Returns the integer that the float represents, if it is not negative and JavaScript represents
/// it exactly.
pub(crate) fn whole(number: f64) -> Option<u64> {
    const MAX: f64 = ((1_u64 << 53) - 1) as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // just checked to be exact
    (number.fract() == 0.0 && (0.0..=MAX).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Node says the same: String(Number(text)) === text.
    #[test]
    fn a_number_is_what_javascript_would_write() {
        for (text, value) in [
            ("0", 0.0),
            ("5", 5.0),
            ("-7", -7.0),
            ("1.5", 1.5),
            ("9007199254740991", 9_007_199_254_740_991.0),
            ("1e+21", 1e21),
            ("1e-7", 1e-7),
            ("100000000000000000000", 1e20),
        ] {
            assert_eq!(number(text), Some(value), "{text}");
        }
        for text in [
            "",
            "-",
            "-0",
            "+5",
            "05",
            "5.0",
            "5.",
            ".5",
            " 5",
            "5 ",
            "1e3",
            "1e21",
            "1E+21",
            "0x5",
            "NaN",
            "Infinity",
            "-Infinity",
            "inf",
            "-inf",
            "9007199254740993",
            "5a",
            "\u{664}",
            "1_0",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(number(&"1".repeat(1_000)), None);
    }

    // The texts are Node's, with TZ=UTC.
    #[test]
    fn a_date_is_written_as_javascript_writes_it() {
        for (millis, text) in [
            (0, "Thu Jan 01 1970 00:00:00 GMT+0000 (Coordinated Universal Time)"),
            (1_700_000_000_999, "Tue Nov 14 2023 22:13:20 GMT+0000 (Coordinated Universal Time)"),
            (1_709_164_800_000, "Thu Feb 29 2024 00:00:00 GMT+0000 (Coordinated Universal Time)"),
            (8_640_000_000_000_000, "Sat Sep 13 275760 00:00:00 GMT+0000 (Coordinated Universal Time)"),
            (u64::MAX, "Invalid Date"),
        ] {
            assert_eq!(date_text(millis), text);
        }
    }
}
