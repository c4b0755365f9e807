//! What JavaScript makes of values that it converts: numbers, objects and strings.

use std::collections::BTreeSet;

use bytestring::ByteString;

/// What JavaScript's `String` makes of an object. Nobody names a room like this: one that is an object matches nothing, and yet counts.
pub(crate) const OBJECT_TEXT: &str = "[object Object]";

/// What JavaScript's `String` makes of a number.
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

/// The names that JavaScript makes of a text where it wants a set of them: its characters. Each counts once.
pub(crate) fn characters(text: &ByteString) -> Vec<ByteString> {
    let mut seen = BTreeSet::new();
    let fresh = text.char_indices().filter(|(_, character)| seen.insert(*character));
    fresh.map(|(at, character)| text.slice_ref(&text[at..at + character.len_utf8()])).collect()
}

/// The integer, not negative and exact in JavaScript, that a float without a fraction is.
pub(crate) fn whole(number: f64) -> Option<u64> {
    const MAX: f64 = ((1_u64 << 53) - 1) as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // just checked to be exact
    (number.fract() == 0.0 && (0.0..=MAX).contains(&number)).then_some(number as u64)
}
