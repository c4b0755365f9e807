//! Replies, from values. RESP2 and RESP3 shape some of them differently; both are understood everywhere.

use sio_streams_core::{ByteString, Bytes, CommandError, Entry, EntryId, Fields, Reply, StreamInfo};

use super::request::Expected;

/// What the server sent, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing: a null of any kind.
    Nil,
    /// A number.
    Int(i64),
    /// A string of any kind.
    Bytes(Bytes),
    /// An array, a set or a push.
    List(Vec<Value>),
    /// A map.
    Map(Vec<(Value, Value)>),
    /// A refusal.
    Error {
        /// Its first word: `READONLY`, `NOPERM`, …
        code: String,
        /// The rest.
        message: String,
    },
}

impl Value {
    /// A refusal, as the server words it: `NOPERM this user …`.
    pub fn error(line: &str) -> Self {
        let (code, message) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        Value::Error { code: code.to_owned(), message: message.trim_start().to_owned() }
    }

    /// The elements of a list.
    pub fn list(self) -> Option<Vec<Value>> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The string, if it is UTF-8.
    pub fn text(self) -> Option<ByteString> {
        ByteString::try_from(bytes(self)?).ok()
    }

    /// The number, or the number that is written in a string.
    pub fn number(self) -> Option<u64> {
        match self {
            Value::Int(number) => number.try_into().ok(),
            other => other.text()?.parse().ok(),
        }
    }
}

/// A refusal, as the server words it.
pub fn refusal(line: &str) -> CommandError {
    match Value::error(line) {
        Value::Error { code, message } => CommandError::Server { code, message },
        _ => CommandError::Unusable(line.to_owned()),
    }
}

/// Makes a reply of a value. Strings move into it without being copied.
pub(super) fn parse(value: Value, expected: Expected) -> Result<Reply, CommandError> {
    if let Value::Error { code, message } = value {
        // The server knows no other way to say that there is no such stream.
        let absent = code == "ERR" && message.starts_with("no such key");
        return match absent && expected == Expected::Stream {
            true => Ok(Reply::Stream(None)),
            false => Err(CommandError::Server { code, message }),
        };
    }
    let reply = match expected {
        Expected::Added => id(value).map(Reply::Added),
        Expected::Entries => entries(value).map(Reply::Entries),
        Expected::Range => range(value).map(Reply::Entries),
        Expected::Stream => stream_info(value).map(|info| Reply::Stream(Some(info))),
        Expected::Count => count(value).map(Reply::Count),
        Expected::Channels => channels(value).map(Reply::Channels),
        Expected::Value | Expected::Part if value == Value::Nil => Some(Reply::Value(None)),
        Expected::Value => bytes(value).map(|value| Reply::Value(Some(value))),
        // A part of nothing is an empty string, as a part of an empty one.
        Expected::Part => bytes(value).map(|part| Reply::Value(Some(part).filter(|part| !part.is_empty()))),
        Expected::Anything => Some(Reply::Done),
    };
    reply.ok_or_else(|| CommandError::Unusable(format!("it is not of the expected form ({expected:?})")))
}

/// RESP2: `[[stream, [entry, …]], …]`, or nil. RESP3: a map of streams, or nil. Only one stream is ever asked for.
fn entries(value: Value) -> Option<Vec<Entry>> {
    let streams: Vec<Value> = match value {
        Value::Nil => Vec::new(),
        Value::Map(streams) => streams.into_iter().map(|(_, entries)| entries).collect(),
        other => other
            .list()?
            .into_iter()
            .map(|stream| {
                let [_, entries] = <[Value; 2]>::try_from(stream.list()?).ok()?;
                Some(entries)
            })
            .collect::<Option<_>>()?,
    };
    let mut all = Vec::new();
    for stream in streams {
        all.append(&mut range(stream)?);
    }
    Some(all)
}

/// `[entry, …]`.
fn range(value: Value) -> Option<Vec<Entry>> {
    value.list()?.into_iter().map(entry).collect()
}

/// `[id, [name, value, …]]`.
fn entry(value: Value) -> Option<Entry> {
    let [entry_id, fields] = <[Value; 2]>::try_from(value.list()?).ok()?;
    let fields = match fields {
        // Group reads say so of a deleted entry. XREAD has no reason to.
        Value::Nil => Fields::new(),
        fields => pairs(fields)?
            .into_iter()
            .map(|(name, value)| Some((bytes(name)?, bytes(value)?)))
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .collect(),
    };
    Some(Entry { id: id(entry_id)?, fields })
}

/// By the names of the fields: which there are, and in which order, depends on the server's version.
fn stream_info(value: Value) -> Option<StreamInfo> {
    let mut info = StreamInfo::default();
    let (mut length, mut last) = (None, None);
    for (name, value) in pairs(value)? {
        match &bytes(name)?[..] {
            b"length" => length = Some(value.number()?),
            b"last-generated-id" => last = Some(id(value)?),
            b"entries-added" => info.entries_added = Some(value.number()?),
            b"max-deleted-entry-id" => info.max_deleted_entry_id = Some(id(value)?),
            b"first-entry" if value != Value::Nil => {
                info.first_entry_id = Some(id(value.list()?.into_iter().next()?)?);
            }
            _ => {}
        }
    }
    Some(StreamInfo { length: length?, last_generated_id: last?, ..info })
}

/// `[channel, count]`, for the one channel that was asked for.
fn count(value: Value) -> Option<u64> {
    let (_, count) = pairs(value)?.into_iter().next()?;
    count.number()
}

fn channels(value: Value) -> Option<Vec<ByteString>> {
    // Those whose names are not text are not ours.
    Some(value.list()?.into_iter().filter_map(Value::text).collect())
}

fn pairs(value: Value) -> Option<Vec<(Value, Value)>> {
    if let Value::Map(pairs) = value {
        return Some(pairs);
    }
    let items = value.list()?;
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let Some(name) = items.next() {
        pairs.push((name, items.next()?));
    }
    Some(pairs)
}

fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn id(value: Value) -> Option<EntryId> {
    value.text()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn bulks(texts: &[&str]) -> Value {
        Value::List(texts.iter().map(|text| bulk(text)).collect())
    }

    #[test]
    fn entries_come_as_lists_and_as_maps() {
        let entries =
            Value::List(vec![Value::List(vec![bulk("1-2"), bulks(&["a", "1", "b", "", "a", "2"])])]);
        let expected = Reply::Entries(vec![Entry {
            id: "1-2".parse().unwrap(),
            fields: [("a", "1"), ("b", ""), ("a", "2")].into_iter().collect(),
        }]);
        let list = Value::List(vec![Value::List(vec![bulk("s"), entries.clone()])]);
        assert_eq!(parse(list, Expected::Entries).unwrap(), expected);
        let map = Value::Map(vec![(bulk("s"), entries)]);
        assert_eq!(parse(map, Expected::Entries).unwrap(), expected);
        for none in [Value::Nil, Value::List(vec![]), Value::Map(vec![])] {
            assert_eq!(parse(none, Expected::Entries).unwrap(), Reply::Entries(vec![]));
        }
    }

    #[test]
    fn stream_infos_of_old_servers_lack_fields() {
        let old = Value::List(vec![
            bulk("length"),
            Value::Int(0),
            bulk("last-generated-id"),
            bulk("5-1"),
            bulk("groups"),
            Value::Int(0),
            bulk("first-entry"),
            Value::Nil,
            bulk("last-entry"),
            Value::Nil,
        ]);
        let info = StreamInfo { last_generated_id: "5-1".parse().unwrap(), ..StreamInfo::default() };
        assert_eq!(parse(old, Expected::Stream).unwrap(), Reply::Stream(Some(info)));

        let new = Value::Map(vec![
            (bulk("length"), Value::Int(2)),
            (bulk("last-generated-id"), bulk("5-1")),
            (bulk("max-deleted-entry-id"), bulk("0-0")),
            (bulk("entries-added"), Value::Int(7)),
            (bulk("recorded-first-entry-id"), bulk("4-4")),
            (bulk("first-entry"), Value::List(vec![bulk("4-4"), Value::Nil])),
        ]);
        let info = StreamInfo {
            length: 2,
            entries_added: Some(7),
            max_deleted_entry_id: Some(EntryId::ZERO),
            first_entry_id: Some("4-4".parse().unwrap()),
            ..info
        };
        assert_eq!(parse(new, Expected::Stream).unwrap(), Reply::Stream(Some(info)));
    }

    #[test]
    fn only_a_missing_key_is_no_stream() {
        let missing = Value::error("ERR no such key");
        assert_eq!(parse(missing.clone(), Expected::Stream).unwrap(), Reply::Stream(None));
        assert!(matches!(parse(missing, Expected::Added), Err(CommandError::Server { .. })));
        assert_eq!(
            parse(Value::error("MOVED 1 host:1"), Expected::Stream),
            Err(CommandError::Server { code: "MOVED".into(), message: "1 host:1".into() })
        );
        assert_eq!(
            parse(Value::error("UNBLOCKED"), Expected::Entries),
            Err(CommandError::Server { code: "UNBLOCKED".into(), message: String::new() })
        );
    }

    #[test]
    fn what_does_not_fit_is_unusable() {
        let odd = [Value::Int(1), bulk("x"), Value::Nil, bulks(&["x"]), bulk("OK")];
        for expected in [Expected::Added, Expected::Stream, Expected::Count] {
            for value in &odd {
                let result = parse(value.clone(), expected);
                assert!(matches!(result, Err(CommandError::Unusable(_))), "{value:?}: {result:?}");
            }
        }
        let odd = Value::List(vec![Value::List(vec![bulk("s"), Value::List(vec![bulks(&["1-1"])])])]);
        assert!(matches!(parse(odd, Expected::Entries), Err(CommandError::Unusable(_))));
    }
}
