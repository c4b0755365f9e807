//! Reading the replies of commands that the engine does not use.

use std::collections::HashMap;

use sio_streams_driver::wire::Value;

/// Returns names and values, which RESP2 sends as one list.
pub(crate) fn pairs(value: Value) -> Option<Vec<(Value, Value)>> {
    if let Value::Map(pairs) = value {
        return Some(pairs);
    }
    let mut items = value.list()?.into_iter();
    let mut pairs = Vec::new();
    while let Some(name) = items.next() {
        pairs.push((name, items.next()?));
    }
    Some(pairs)
}

/// The reply to INFO.
#[derive(Debug, Default)]
pub(crate) struct Info(HashMap<String, String>);

impl Info {
    pub(crate) fn parse(text: &str) -> Self {
        let pair =
            |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Info(text.lines().filter(|line| !line.starts_with('#')).filter_map(pair).collect())
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// Returns the version of the protocol's commands that the server has: major and minor.
    pub(crate) fn version(&self) -> Option<(u32, u32)> {
        let mut parts = self.text("redis_version")?.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read() {
        let info =
            Info::parse("# Server\r\nredis_version:7.0.15\r\nexecutable:/a:b\r\n\r\nmaxmemory:0\r\nodd\r\n");
        assert_eq!(info.version(), Some((7, 0)));
        assert_eq!(info.text("executable"), Some("/a:b"));
        assert_eq!((info.number("maxmemory"), info.number("executable")), (Some(0), None));
        assert_eq!(Info::parse("").version(), None);
    }

    #[test]
    fn both_forms_of_pairs_are_read() {
        let text = |text: &'static str| Value::Bytes(text.into());
        let expected = Some(vec![(text("a"), text("b"))]);
        assert_eq!(pairs(Value::Map(vec![(text("a"), text("b"))])), expected);
        assert_eq!(pairs(Value::List(vec![text("a"), text("b")])), expected);
        assert_eq!(pairs(Value::List(vec![text("a")])), None);
        assert_eq!(pairs(Value::Nil), None);
    }
}
