//! Text from the wire, made harmless for a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// Returns `true` for what a terminal may obey, or what changes the look of the text around it.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Replaces what is unsafe by its escape in JSON. White space that breaks lines becomes a space, so
/// that JSON text stays the same JSON.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.contains(is_unsafe) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => safe.push(' '),
            c if is_unsafe(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(safe, "\\u{unit:04x}");
                }
            }
            c => safe.push(c),
        }
    }
    safe.into()
}

/// Returns a name as it is, or quoted if it could be taken for something else.
pub(crate) fn name(text: &str) -> Cow<'_, str> {
    let plain = |c: char| !c.is_whitespace() && !matches!(c, ',' | '"' | '\'' | '\\') && !is_unsafe(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into(),
        false => format!("{text:?}").into(),
    }
}

/// Cuts a text to a number of characters. The last one is then `…`.
pub(crate) fn short(text: &str, limit: usize) -> Cow<'_, str> {
    match text.char_indices().nth(limit) {
        None => text.into(),
        Some(_) => {
            let end = text.char_indices().nth(limit - 1).map_or(0, |(end, _)| end);
            format!("{}…", &text[..end]).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let evil = "a\x1b[2J\u{9b}2J\x07\x7f\u{202e}\u{e0001}b\nc\0";
        let clean = clean(evil);
        assert_eq!(clean, r"a\u001b[2J\u009b2J\u0007\u007f\u202e\udb40\udc01b c\u0000");
        assert!(!name(evil).contains(is_unsafe), "{}", name(evil));
    }

    #[test]
    fn what_is_harmless_stays() {
        for text in ["", "a b", "ü 😀 नमस्ते", r#"{"a":"\u001b"}"#] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn json_stays_the_same_json() {
        let text = "{\"a\u{7f}\u{202e}\":\n[1,\t\"\u{e0001}\"]}";
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&clean(text)), value(text));
    }

    #[test]
    fn names_are_quoted_only_if_they_must_be() {
        for (text, expected) in [
            ("room:1", "room:1"),
            ("", "\"\""),
            ("a,b", "\"a,b\""),
            ("a b", "\"a b\""),
            ("\x1b", "\"\\u{1b}\""),
        ] {
            assert_eq!(name(text), expected);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(short("äöü", 3), "äöü");
        assert_eq!(short("äöüß", 3), "äö…");
    }
}
