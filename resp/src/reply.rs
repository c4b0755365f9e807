//! Replies, parsed from values. RESP2 and RESP3 shape some of them differently, and both forms are
//! accepted everywhere.

use sio_streams_core::{ByteString, CommandError, Entry, Fields, Reply, StreamInfo};

use crate::entries::known;
use crate::value::Value;

/// The expected form of the reply to a plain command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// An entry's id, for [`Reply::Added`].
    Added,
    /// The entries of the one stream that XREAD was asked for, for [`Reply::Entries`].
    Entries,
    /// The entries of XRANGE and XREVRANGE, for [`Reply::Entries`].
    Range,
    /// The state of a stream, for [`Reply::Stream`].
    Stream,
    /// Channels and their numbers of subscribers, for [`Reply::Counts`].
    Counts,
    /// Names of channels, for [`Reply::Channels`].
    Channels,
    /// A string or null, for [`Reply::Value`].
    Value,
    /// A part of a string, for [`Reply::Value`]. An empty one is `None`.
    Part,
    /// Anything but an error, for [`Reply::Done`].
    Anything,
}

impl Expected {
    /// Parses a value as the expected reply, in the form of either version of the protocol. Strings
    /// move into the reply without being copied.
    ///
    /// # Errors
    ///
    /// [`CommandError::Server`] if the value is a refusal. [`CommandError::Unusable`] if it has
    /// another form.
    pub fn parse(self, value: Value) -> Result<Reply, CommandError> {
        parse(value, self)
    }
}

fn parse(value: Value, expected: Expected) -> Result<Reply, CommandError> {
    let value = match value {
        Value::Error { code, message } => {
            // The server has no other way to say that there is no such stream.
            let absent = code == "ERR" && message.starts_with("no such key");
            return match absent && expected == Expected::Stream {
                true => Ok(Reply::Stream(None)),
                false => Err(CommandError::Server { code, message }),
            };
        }
        value => value,
    };
    let reply = match expected {
        Expected::Added => value.id().map(Reply::Added),
        Expected::Entries => entries(value).map(Reply::Entries),
        Expected::Range => range(value).map(Reply::Entries),
        Expected::Stream => stream_info(value).map(|info| Reply::Stream(Some(info))),
        Expected::Counts => counts(value).map(Reply::Counts),
        Expected::Channels => channels(value).map(Reply::Channels),
        Expected::Value | Expected::Part if matches!(value, Value::Nil) => Some(Reply::Value(None)),
        Expected::Value => value.bytes().map(|value| Reply::Value(Some(value))),
        // A part of a missing string is empty, as is a part of an empty one.
        Expected::Part => value.bytes().map(|part| Reply::Value(Some(part).filter(|part| !part.is_empty()))),
        Expected::Anything => Some(Reply::Done),
    };
    reply.ok_or_else(|| CommandError::Unusable(format!("it is not of the expected form ({expected:?})")))
}

/// Parses the reply to XREAD. RESP2: `[[stream, [entry, …]], …]`, or nil. RESP3: a map of streams,
/// or nil. The engine asks for one stream at a time.
fn entries(value: Value) -> Option<Vec<Entry>> {
    let mut streams: Vec<Value> = match value {
        Value::Entries(entries) => return Some(entries),
        Value::Nil => Vec::new(),
        Value::Map(streams) => streams.into_iter().map(|(_, entries)| entries).collect(),
        other => other
            .list()?
            .into_iter()
            .map(|stream| two(stream).map(|(_, entries)| entries))
            .collect::<Option<_>>()?,
    };
    match (streams.pop(), streams.is_empty()) {
        (None, _) => Some(Vec::new()),
        (Some(entries), true) => range(entries),
        (Some(_), false) => None,
    }
}

/// Parses `[entry, …]`.
fn range(value: Value) -> Option<Vec<Entry>> {
    let items = match value {
        Value::Entries(entries) => return Some(entries),
        other => other.list()?,
    };
    let mut entries = Vec::with_capacity(items.len());
    for value in items {
        let (id, content) = two(value)?;
        // The fields are filled in place, since an entry is large.
        entries.push(Entry { id: id.id()?, fields: Fields::new() });
        fill(&mut entries.last_mut()?.fields, content)?;
    }
    Some(entries)
}

/// Parses `[id, content]`, and the like.
fn two(value: Value) -> Option<(Value, Value)> {
    let mut items = value.list()?.into_iter();
    let two = (items.next()?, items.next()?);
    items.next().is_none().then_some(two)
}

/// Parses `[name, value, …]`.
fn fill(fields: &mut Fields, content: Value) -> Option<()> {
    let mut push = |name: Value, value: Value| {
        let name = name.bytes()?;
        fields.push(known(&name).unwrap_or(name), value.bytes()?);
        Some(())
    };
    match content {
        // Group reads have nil for a deleted entry. XREAD has no reason to.
        Value::Nil => Some(()),
        Value::Map(pairs) => pairs.into_iter().try_for_each(|(name, value)| push(name, value)),
        other => {
            let mut items = other.list()?.into_iter();
            while let Some(name) = items.next() {
                push(name, items.next()?)?;
            }
            Some(())
        }
    }
}

/// Parses by the names of the fields. Their number and order depend on the server's version.
fn stream_info(value: Value) -> Option<StreamInfo> {
    let mut info = StreamInfo::default();
    let (mut length, mut last) = (None, None);
    for (name, value) in value.pairs()? {
        match &name.bytes()?[..] {
            b"length" => length = Some(value.number()?),
            b"last-generated-id" => last = Some(value.id()?),
            b"entries-added" => info.entries_added = Some(value.number()?),
            b"max-deleted-entry-id" => info.max_deleted_entry_id = Some(value.id()?),
            b"first-entry" if !matches!(value, Value::Nil) => {
                info.first_entry_id = Some(value.list()?.into_iter().next()?.id()?);
            }
            // The full form has the first entries, as many as were asked for.
            b"entries" => {
                if let Some(first) = value.list()?.into_iter().next() {
                    info.first_entry_id = Some(first.list()?.into_iter().next()?.id()?);
                }
            }
            _ => {}
        }
    }
    Some(StreamInfo { length: length?, last_generated_id: last?, ..info })
}

/// Parses `[channel, count, …]`.
fn counts(value: Value) -> Option<Vec<u64>> {
    value.pairs()?.into_iter().map(|(_, count)| count.number()).collect()
}

fn channels(value: Value) -> Option<Vec<ByteString>> {
    // Channels whose names are not UTF-8 are not the engine's.
    Some(value.list()?.into_iter().filter_map(Value::text).collect())
}

#[cfg(test)]
mod tests {
    use sio_streams_core::{Bytes, EntryId};

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
        let full = Value::Map(vec![
            (bulk("length"), Value::Int(2)),
            (bulk("last-generated-id"), bulk("5-1")),
            (bulk("max-deleted-entry-id"), bulk("0-0")),
            (bulk("entries-added"), Value::Int(7)),
            (bulk("entries"), Value::List(vec![Value::List(vec![bulk("4-4"), Value::List(vec![])])])),
            (bulk("groups"), Value::List(vec![])),
        ]);
        assert_eq!(parse(full, Expected::Stream).unwrap(), parse(new.clone(), Expected::Stream).unwrap());
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
        for expected in [Expected::Added, Expected::Stream, Expected::Counts] {
            for value in &odd {
                let result = parse(value.clone(), expected);
                assert!(matches!(result, Err(CommandError::Unusable(_))), "{value:?}: {result:?}");
            }
        }
        let odd = Value::List(vec![Value::List(vec![bulk("s"), Value::List(vec![bulks(&["1-1"])])])]);
        assert!(matches!(parse(odd, Expected::Entries), Err(CommandError::Unusable(_))));
    }
}
