//! JavaScript's conversions of numbers, objects and strings.

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
