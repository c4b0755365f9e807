//! Glob patterns, as `PUBSUB CHANNELS` matches them.

/// Returns `true` if the whole of `text` matches `pattern`: `*`, `?`, `[a-c]`, `[^a]`, and `\`
/// before a character that is meant literally.
///
/// Only the last star is ever gone back to: where the rest after it can't match, no other length of
/// an earlier star helps. So the time is bounded by the product of the lengths, whatever the
/// pattern.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // Redis looks at no pattern if there is no text: not even a star matches the empty name.
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut rest) = (pattern, text);
    let mut star: Option<(&[u8], &[u8])> = None;
    while let Some((&byte, after)) = rest.split_first() {
        if at.first() == Some(&b'*') {
            at = skip_stars(at);
            star = Some((at, rest));
        } else if let Some(next) = match_one(at, byte) {
            (at, rest) = (next, after);
        } else {
            // The last star takes one byte more.
            let Some((after_star, tried)) = star else { return false };
            at = after_star;
            rest = &tried[1..];
            star = Some((at, rest));
        }
    }
    skip_stars(at).is_empty()
}

fn skip_stars(pattern: &[u8]) -> &[u8] {
    let stars = pattern.iter().take_while(|&&byte| byte == b'*').count();
    &pattern[stars..]
}

/// Matches one byte against the pattern's first element, which is no star; the pattern behind it if
/// that works.
fn match_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', class @ ..] => match_class(class, byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
    }
}

/// A class may end with the pattern instead of a bracket.
fn match_class(class: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    let rest = loop {
        class = match class {
            [] => break class,
            [b'\\', literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
            [b']', rest @ ..] => break rest,
            [low, b'-', high, rest @ ..] => {
                found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
        };
    };
    (found != negated).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern:?} {text:?}");
    }

    #[test]
    fn patterns() {
        check("a*c", "abbc", true);
        check("a*c", "abbcd", false);
        check("a*b*c*", "aXbYbZc", true);
        check("a?c", "abc", true);
        check("a?", "a", false);
        check("[a-c][^x]", "by", true);
        check("[c-a]", "b", true);
        check("[^a]", "a", false);
        check("", "", true);
        check("*", "", false);
        check("**", "x", true);
    }

    #[test]
    fn escapes() {
        check(r"a\*", "a*", true);
        check(r"a\*", "ab", false);
        check(r"\[x\]#*", "[x]#1", true);
        check(r"[\]]", "]", true);
        check(r"a\", r"a\", true);
        check("[ab", "a", true);
        check("[", "[", false);
    }

    #[test]
    fn many_stars_take_no_time() {
        check(&"a*".repeat(50).replace("**", "*"), &format!("{}b", "a".repeat(5_000)), true);
        check(&format!("{}b", "a*".repeat(50)), &"a".repeat(5_000), false);
    }
}
