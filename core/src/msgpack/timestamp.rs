//! Timestamps, which are extension −1 of MessagePack, in JavaScript's text form.

use crate::javascript::civil;

/// The extension type of a JavaScript `Date`.
pub(crate) const TIMESTAMP: i8 = -1;

/// Returns the text of `Date.prototype.toISOString` for a MessagePack timestamp, or `None` if it is
/// out of JavaScript's range.
pub(crate) fn date(content: &[u8]) -> Option<String> {
    let (seconds, nanos) = match *content {
        [a, b, c, d] => (i64::from(u32::from_be_bytes([a, b, c, d])), 0),
        [a, b, c, d, e, f, g, h] => {
            let both = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            // The layout is 30 bits of nanoseconds, then 34 bits of seconds. Both casts keep every
            // bit.
            ((both & 0x3_ffff_ffff) as i64, (both >> 34) as u32)
        }
        [n0, n1, n2, n3, a, b, c, d, e, f, g, h] => {
            (i64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([n0, n1, n2, n3]))
        }
        _ => return None,
    };
    // The computation uses floats, as in the peers' decoder, and truncates towards zero, as in
    // `Date`.
    let millis = (seconds as f64 * 1e3 + f64::from(nanos) / 1e6).trunc();
    // This is JavaScript's own range. It also keeps the calendar arithmetic from overflowing.
    if millis.abs() > 8.64e15 {
        return None;
    }
    let millis = millis as i64;
    let (days, millis) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (second, millis) = (millis / 1_000, millis % 1_000);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let year = match year {
        0..=9_999 => format!("{year:04}"),
        _ => format!("{}{:06}", if year < 0 { '-' } else { '+' }, year.unsigned_abs()),
    };
    Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_become_the_text_that_javascript_prints() {
        let at = |seconds: i64, millis: u32| {
            let mut content = (millis * 1_000_000).to_be_bytes().to_vec();
            content.extend(seconds.to_be_bytes());
            date(&content).unwrap()
        };
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(1_700_000_000, 123), "2023-11-14T22:13:20.123Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(-1, 999), "1969-12-31T23:59:59.999Z");
        assert_eq!(at(1, 1_500), "1970-01-01T00:00:02.500Z");
        assert_eq!(at(-62_198_755_200, 0), "-000001-01-01T00:00:00.000Z");
        assert_eq!(at(8_640_000_000_000, 0), "+275760-09-13T00:00:00.000Z");
        assert_eq!(date(&[0xff; 12]).as_deref(), Some("1970-01-01T00:00:03.294Z"));
        assert_eq!(date(&[0x7f; 12]), None);
    }
}
