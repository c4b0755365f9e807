//! The values that servers send.

use sio_streams_core::{ByteString, Bytes, CommandError, Entry, EntryId};

/// A value that a server sends.
///
/// RESP3 has more types than are told apart here, because nothing depends on them: RESP2 and RESP3
/// differ only in lists and maps. The types of a server's values become:
///
/// | RESP | here |
/// |---|---|
/// | simple string `+`, bulk string `$`, verbatim string `=` (without its format) | [`Value::Bytes`] |
/// | integer `:` | [`Value::Int`] |
/// | boolean `#` | [`Value::Int`], 1 or 0 |
/// | double `,`, big number `(` | [`Value::Bytes`], as it is written |
/// | array `*`, set `~`, push `>` | [`Value::List`] |
/// | map `%` | [`Value::Map`], in order |
/// | null `_`, `$-1`, `*-1` | [`Value::Nil`] |
/// | simple error `-`, bulk error `!` | [`Value::Error`] |
/// | attribute <code>&#124;</code> | nothing |
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Null, of any kind.
    Nil,
    /// A number.
    Int(i64),
    /// A string of any kind.
    Bytes(Bytes),
    /// An array, a set or a push.
    List(Vec<Value>),
    /// A map.
    Map(Vec<(Value, Value)>),
    /// The entries of XREAD, XRANGE or XREVRANGE, if they were decoded at once. A [`Reader`] does
    /// not return them; a [`Pipeline`] does, where entries were asked for.
    ///
    /// [`Reader`]: crate::Reader
    /// [`Pipeline`]: crate::Pipeline
    Entries(Vec<Entry>),
    /// A refusal.
    Error {
        /// The first word: `READONLY`, `NOPERM`, …
        code: String,
        /// The rest.
        message: String,
    },
}

impl Value {
    /// Creates a refusal from the server's line, such as `NOPERM this user …`.
    pub fn error(line: &str) -> Self {
        let (code, message) = first_word(line);
        Value::Error { code, message }
    }

    /// Returns the elements of a list.
    pub fn list(self) -> Option<Vec<Value>> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the string, if it is UTF-8.
    pub fn text(self) -> Option<ByteString> {
        ByteString::try_from(self.bytes()?).ok()
    }

    /// Returns the number. It may be written in a string.
    pub fn number(self) -> Option<u64> {
        match self {
            Value::Int(number) => number.try_into().ok(),
            other => str::from_utf8(&other.bytes()?).ok()?.parse().ok(),
        }
    }

    /// Returns the string.
    pub fn bytes(self) -> Option<Bytes> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns the entries of a map. RESP2 has a list of names and values instead.
    pub(crate) fn pairs(self) -> Option<Vec<(Value, Value)>> {
        if let Value::Map(pairs) = self {
            return Some(pairs);
        }
        let items = self.list()?;
        let mut pairs = Vec::with_capacity(items.len() / 2);
        let mut items = items.into_iter();
        while let Some(name) = items.next() {
            pairs.push((name, items.next()?));
        }
        Some(pairs)
    }

    /// Returns the id of an entry, which is written in a string.
    pub(crate) fn id(self) -> Option<EntryId> {
        str::from_utf8(&self.bytes()?).ok()?.parse().ok()
    }
}

/// Creates the error for a refusal from the server's line.
pub fn refusal(line: &str) -> CommandError {
    let (code, message) = first_word(line);
    CommandError::Server { code, message }
}

fn first_word(line: &str) -> (String, String) {
    let (code, message) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    (code.to_owned(), message.trim_start().to_owned())
}
