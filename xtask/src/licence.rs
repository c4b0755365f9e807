//! Licence expressions of packages: `(MIT OR Apache-2.0) AND Unicode-3.0`.

/// Returns whether somebody who accepts these licences may use what bears this expression, or
/// `None` if it is no expression.
pub(crate) fn allows(expression: &str, accepted: &[&str]) -> Option<bool> {
    // Old packages write a slash where they mean OR.
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let allowed = any(&mut words, accepted)?;
    words.next().is_none().then_some(allowed)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, accepted: &[&str]) -> Option<bool> {
    let mut allowed = all(words, accepted)?;
    while words.next_if_eq(&"OR").is_some() {
        allowed |= all(words, accepted)?;
    }
    Some(allowed)
}

fn all(words: &mut Words<'_>, accepted: &[&str]) -> Option<bool> {
    let mut allowed = one(words, accepted)?;
    while words.next_if_eq(&"AND").is_some() {
        allowed &= one(words, accepted)?;
    }
    Some(allowed)
}

fn one(words: &mut Words<'_>, accepted: &[&str]) -> Option<bool> {
    match words.next()? {
        "(" => {
            let allowed = any(words, accepted)?;
            (words.next()? == ")").then_some(allowed)
        }
        ")" | "AND" | "OR" | "WITH" => None,
        licence => {
            // An exception takes nothing away, but it is another licence than the plain one.
            let name = match words.next_if_eq(&"WITH") {
                Some(_) => format!("{licence} WITH {}", words.next()?),
                None => licence.to_owned(),
            };
            Some(accepted.contains(&&*name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let allows = |expression| allows(expression, &["MIT", "Apache-2.0", "ISC"]);
        for good in ["MIT", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "MIT AND (ISC OR GPL-3.0)", "(MIT)"] {
            assert_eq!(allows(good), Some(true), "{good}");
        }
        for bad in
            ["GPL-3.0", "MIT AND GPL-3.0", "ISC AND (GPL-3.0 OR LGPL-3.0)", "Apache-2.0 WITH LLVM-exception"]
        {
            assert_eq!(allows(bad), Some(false), "{bad}");
        }
        for unreadable in ["", "MIT AND", "MIT Apache-2.0", "(MIT", "OR MIT", "MIT WITH"] {
            assert_eq!(allows(unreadable), None, "{unreadable}");
        }
    }

    #[test]
    fn and_binds_closer_than_or() {
        assert_eq!(allows("MIT OR ISC AND GPL-3.0", &["MIT"]), Some(true));
        assert_eq!(allows("GPL-3.0 AND MIT OR ISC", &["MIT"]), Some(false));
    }
}
