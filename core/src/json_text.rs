//! Inspecting and editing JSON texts without parsing them.

/// Appends `last`, a string that needs no escapes, to the JSON array `array`. Returns `None` if it
/// is not an array.
pub(crate) fn append(array: &str, last: &str) -> Option<String> {
    let rest = array.trim_ascii().strip_prefix('[')?.strip_suffix(']')?;
    let comma = if rest.trim_ascii().is_empty() { "" } else { "," };
    Some(format!("[{rest}{comma}\"{last}\"]"))
}

/// Returns the next element of a well-formed array, and what follows it. `rest` is what follows the
/// array's opening bracket, or one of its elements. Returns `None` at the end of the array.
pub(crate) fn next_element(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = rest.trim_ascii_start();
    let rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
    let (mut level, mut in_string, mut escaped) = (0_usize, false, false);
    let ends = |byte: u8| matches!(byte, b',' | b']' | b' ' | b'\n' | b'\t' | b'\r');
    let mut end = rest.len();
    for (at, &byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            _ if level == 0 && ends(byte) => {
                end = at;
                break;
            }
            b'[' | b'{' => level += 1,
            b']' | b'}' => level -= 1,
            _ => {}
        }
    }
    (end > 0).then(|| rest.split_at(end))
}

/// Replaces each escaped lone surrogate in a well-formed JSON text.
pub(crate) fn replace_lone_surrogates(json: &[u8]) -> Vec<u8> {
    let unit = |at: usize| {
        let digits = json.get(at..)?.strip_prefix(b"\\u")?.get(..4)?;
        u16::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
    };
    let (mut out, mut at) = (Vec::with_capacity(json.len()), 0);
    while at < json.len() {
        let len = match (unit(at), unit(at + 6)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
            (Some(0xd800..0xe000), _) => {
                out.extend_from_slice(b"\\ufffd");
                at += 6;
                continue;
            }
            (Some(_), _) => 6,
            // Any other escape has two bytes. It may be that of a backslash.
            _ if json[at] == b'\\' => 2,
            _ => 1,
        };
        out.extend_from_slice(&json[at..(at + len).min(json.len())]);
        at += len;
    }
    out
}

/// Returns `true` if the text, which is well-formed, is nested deeper than `limit`. Counting
/// brackets first is cheap, and few texts have more than `limit` of them.
pub(crate) fn is_deeper_than(text: &[u8], limit: usize) -> bool {
    let opened: usize = text.iter().map(|byte| usize::from(matches!(byte, b'[' | b'{'))).sum();
    opened > limit && depth(text) > limit
}

/// Returns the nesting depth of arrays and objects in `text`, which is well-formed.
fn depth(text: &[u8]) -> usize {
    let (mut level, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                level += 1;
                deepest = deepest.max(level);
            }
            b']' | b'}' if !in_string => level -= 1,
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_are_not_depth() {
        assert_eq!(depth(br#"["[[[\"[",{"a":"}"}]"#), 2);
    }
}
