//! Replies, from the redis crate's values. RESP2 and RESP3 shape some of them differently; both are understood everywhere.

use redis::{ServerErrorKind, Value};
use sio_streams_core::{ByteString, Bytes, CommandError, Entry, EntryId, Fields, Reply, StreamInfo};

use crate::error;
use crate::request::Expected;

/// Makes a reply of a value. Bulk strings move into it without being copied.
pub(crate) fn parse(value: Value, expected: Expected) -> Result<Reply, CommandError> {
    if let Value::ServerError(refusal) = &value {
        // The server knows no other way to say that there is no such stream.
        let absent = refusal.kind() == Some(ServerErrorKind::ResponseError)
            && refusal.details().is_some_and(|details| details.starts_with("no such key"));
        return match absent && expected == Expected::Stream {
            true => Ok(Reply::Stream(None)),
            false => Err(error::server(refusal)),
        };
    }
    let reply = match expected {
        Expected::Added => id(value).map(Reply::Added),
        Expected::Entries => entries(value).map(Reply::Entries),
        Expected::Range => range(value).map(Reply::Entries),
        Expected::Stream => stream_info(value).map(|info| Reply::Stream(Some(info))),
        Expected::Count => count(value).map(Reply::Count),
        Expected::Channels => channels(value).map(Reply::Channels),
        Expected::Anything => Some(Reply::Done),
    };
    reply.ok_or_else(|| CommandError::Unusable(format!("it is not of the expected form ({expected:?})")))
}

/// A Pub/Sub message, from what follows its kind: channel and payload.
pub(crate) fn message(data: Vec<Value>) -> Option<(ByteString, Bytes)> {
    let mut parts = data.into_iter();
    let channel = text(parts.next()?)?;
    Some((channel, bytes(parts.next()?)?))
}

/// RESP2: `[[stream, [entry, …]], …]`, or nil. RESP3: a map of streams, or nil. Only one stream is ever asked for.
fn entries(value: Value) -> Option<Vec<Entry>> {
    let streams: Vec<Value> = match value {
        Value::Nil => Vec::new(),
        Value::Map(streams) => streams.into_iter().map(|(_, entries)| entries).collect(),
        other => list(other)?
            .into_iter()
            .map(|stream| {
                let [_, entries] = <[Value; 2]>::try_from(list(stream)?).ok()?;
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
    list(value)?.into_iter().map(entry).collect()
}

/// `[id, [name, value, …]]`.
fn entry(value: Value) -> Option<Entry> {
    let [entry_id, fields] = <[Value; 2]>::try_from(list(value)?).ok()?;
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
            b"length" => length = Some(number(value)?),
            b"last-generated-id" => last = Some(id(value)?),
            b"entries-added" => info.entries_added = Some(number(value)?),
            b"max-deleted-entry-id" => info.max_deleted_entry_id = Some(id(value)?),
            b"first-entry" if value != Value::Nil => {
                info.first_entry_id = Some(id(list(value)?.into_iter().next()?)?);
            }
            _ => {}
        }
    }
    Some(StreamInfo { length: length?, last_generated_id: last?, ..info })
}

/// `[channel, count]`, for the one channel that was asked for.
fn count(value: Value) -> Option<u64> {
    let (_, count) = pairs(value)?.into_iter().next()?;
    number(count)
}

fn channels(value: Value) -> Option<Vec<ByteString>> {
    // Those whose names are not text are not ours.
    Some(list(value)?.into_iter().filter_map(text).collect())
}

fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) | Value::Set(items) => Some(items),
        Value::Attribute { data, .. } => list(*data),
        _ => None,
    }
}

fn pairs(value: Value) -> Option<Vec<(Value, Value)>> {
    if let Value::Map(pairs) = value {
        return Some(pairs);
    }
    let items = list(value)?;
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let Some(name) = items.next() {
        pairs.push((name, items.next()?));
    }
    Some(pairs)
}

fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.into()),
        // The redis crate's name for the simple string "OK".
        Value::Okay => Some(Bytes::from_static(b"OK")),
        _ => None,
    }
}

fn text(value: Value) -> Option<ByteString> {
    ByteString::try_from(bytes(value)?).ok()
}

fn id(value: Value) -> Option<EntryId> {
    text(value)?.parse().ok()
}

fn number(value: Value) -> Option<u64> {
    match value {
        Value::Int(number) => number.try_into().ok(),
        other => text(other)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn parsed(resp: &str, expected: Expected) -> Result<Reply, CommandError> {
        parse(redis::parse_redis_value(resp.replace(' ', "\r\n").as_bytes()).unwrap(), expected)
    }

    #[test]
    fn entries_come_as_lists_and_as_maps() {
        let entry = "*1 *2 $3 1-2 *6 $1 a $1 1 $1 b $0  $1 a $1 2 ";
        let expected = Reply::Entries(vec![Entry {
            id: "1-2".parse().unwrap(),
            fields: [("a", "1"), ("b", ""), ("a", "2")].into_iter().collect(),
        }]);
        assert_eq!(parsed(&format!("*1 *2 $1 s {entry}"), Expected::Entries).unwrap(), expected);
        assert_eq!(parsed(&format!("%1 $1 s {entry}"), Expected::Entries).unwrap(), expected);
        for nil in ["*-1 ", "$-1 ", "_ ", "*0 ", "%0 "] {
            assert_eq!(parsed(nil, Expected::Entries).unwrap(), Reply::Entries(vec![]), "{nil}");
        }
    }

    #[test]
    fn stream_infos_of_old_servers_lack_fields() {
        let old = Value::Array(vec![
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
            (bulk("first-entry"), Value::Array(vec![bulk("4-4"), Value::Boolean(true)])),
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
        let missing = redis::parse_redis_value(b"-ERR no such key\r\n").unwrap();
        assert_eq!(parse(missing.clone(), Expected::Stream).unwrap(), Reply::Stream(None));
        assert!(matches!(parse(missing, Expected::Added), Err(CommandError::Server { .. })));
        let moved = redis::parse_redis_value(b"-MOVED 1 host:1\r\n").unwrap();
        assert_eq!(
            parse(moved, Expected::Stream),
            Err(CommandError::Server { code: "MOVED".into(), message: "1 host:1".into() })
        );
        let bare = redis::parse_redis_value(b"-UNBLOCKED\r\n").unwrap();
        assert_eq!(
            parse(bare, Expected::Entries),
            Err(CommandError::Server { code: "UNBLOCKED".into(), message: String::new() })
        );
    }

    #[test]
    fn what_does_not_fit_is_unusable() {
        let odd = [Value::Int(1), bulk("x"), Value::Nil, Value::Array(vec![bulk("x")]), Value::Okay];
        for expected in [Expected::Added, Expected::Stream, Expected::Count] {
            for value in &odd {
                let result = parse(value.clone(), expected);
                assert!(matches!(result, Err(CommandError::Unusable(_))), "{value:?}: {result:?}");
            }
        }
        let odd = Value::Array(vec![Value::Array(vec![
            bulk("s"),
            Value::Array(vec![Value::Array(vec![bulk("1-1")])]),
        ])]);
        assert!(matches!(parse(odd, Expected::Entries), Err(CommandError::Unusable(_))));
    }
}
