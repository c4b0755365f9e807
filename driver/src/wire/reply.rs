//! Replies, from values. RESP2 and RESP3 shape some of them differently; both are understood everywhere.

use sio_streams_core::{ByteString, Bytes, CommandError, Entry, EntryId, Fields, Reply, StreamInfo};

use super::entries::known;
use super::request::Expected;

/// A reply in a client crate's own form. It is opened level by level, so that no tree is built only to be taken apart.
pub trait Frame: Sized + Send + 'static {
    /// What it is. What is in it stays as it is.
    fn open(self) -> Opened<Self>;
}

/// What a [`Frame`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened<F> {
    /// Nothing: a null of any kind.
    Nil,
    /// A number.
    Int(i64),
    /// A string of any kind.
    Bytes(Bytes),
    /// An array, a set or a push.
    List(Vec<F>),
    /// A map.
    Map(Vec<(F, F)>),
    /// The entries of XREAD, XRANGE or XREVRANGE, where the wire has read them by itself.
    Entries(Vec<Entry>),
    /// A refusal: its first word, and the rest.
    Error {
        /// `READONLY`, `NOPERM`, …
        code: String,
        /// The rest.
        message: String,
    },
}

impl<F> Opened<F> {
    /// The same, with another form of what is in it.
    pub fn map<G>(self, form: impl Fn(F) -> G) -> Opened<G> {
        match self {
            Opened::Nil => Opened::Nil,
            Opened::Int(number) => Opened::Int(number),
            Opened::Bytes(bytes) => Opened::Bytes(bytes),
            Opened::List(items) => Opened::List(items.into_iter().map(form).collect()),
            Opened::Map(pairs) => {
                Opened::Map(pairs.into_iter().map(|(name, value)| (form(name), form(value))).collect())
            }
            Opened::Entries(entries) => Opened::Entries(entries),
            Opened::Error { code, message } => Opened::Error { code, message },
        }
    }
}

/// A whole reply: for what is not worth a [`Frame`] of its own.
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
    /// The entries of XREAD, XRANGE or XREVRANGE, where the wire has read them by itself.
    Entries(Vec<Entry>),
    /// A refusal.
    Error {
        /// Its first word: `READONLY`, `NOPERM`, …
        code: String,
        /// The rest.
        message: String,
    },
}

impl Frame for Value {
    fn open(self) -> Opened<Self> {
        match self {
            Value::Nil => Opened::Nil,
            Value::Int(number) => Opened::Int(number),
            Value::Bytes(bytes) => Opened::Bytes(bytes),
            Value::List(items) => Opened::List(items),
            Value::Map(pairs) => Opened::Map(pairs),
            Value::Entries(entries) => Opened::Entries(entries),
            Value::Error { code, message } => Opened::Error { code, message },
        }
    }
}

impl<F> Opened<F> {
    /// A refusal, as the server words it: `NOPERM this user …`.
    pub fn error(line: &str) -> Self {
        let (code, message) = first_word(line);
        Opened::Error { code, message }
    }
}

impl Value {
    /// The whole of a reply.
    pub fn of(frame: impl Frame) -> Self {
        match frame.open() {
            Opened::Nil => Value::Nil,
            Opened::Int(number) => Value::Int(number),
            Opened::Bytes(bytes) => Value::Bytes(bytes),
            Opened::List(items) => Value::List(items.into_iter().map(Value::of).collect()),
            Opened::Map(pairs) => Value::Map(
                pairs.into_iter().map(|(name, value)| (Value::of(name), Value::of(value))).collect(),
            ),
            Opened::Entries(entries) => Value::Entries(entries),
            Opened::Error { code, message } => Value::Error { code, message },
        }
    }

    /// A refusal, as the server words it: `NOPERM this user …`.
    pub fn error(line: &str) -> Self {
        let (code, message) = first_word(line);
        Value::Error { code, message }
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
        ByteString::try_from(bytes(self.open())?).ok()
    }

    /// The number, or the number that is written in a string.
    pub fn number(self) -> Option<u64> {
        number(self.open())
    }
}

/// A refusal, as the server words it.
pub fn refusal(line: &str) -> CommandError {
    let (code, message) = first_word(line);
    CommandError::Server { code, message }
}

fn first_word(line: &str) -> (String, String) {
    let (code, message) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    (code.to_owned(), message.trim_start().to_owned())
}

/// Makes a reply of a frame. Strings move into it without being copied.
pub(super) fn parse(frame: impl Frame, expected: Expected) -> Result<Reply, CommandError> {
    let frame = match frame.open() {
        Opened::Error { code, message } => {
            // The server knows no other way to say that there is no such stream.
            let absent = code == "ERR" && message.starts_with("no such key");
            return match absent && expected == Expected::Stream {
                true => Ok(Reply::Stream(None)),
                false => Err(CommandError::Server { code, message }),
            };
        }
        frame => frame,
    };
    let reply = match expected {
        Expected::Added => id(frame).map(Reply::Added),
        Expected::Entries => entries(frame).map(Reply::Entries),
        Expected::Range => range(frame).map(Reply::Entries),
        Expected::Stream => stream_info(frame).map(|info| Reply::Stream(Some(info))),
        Expected::Counts => counts(frame).map(Reply::Counts),
        Expected::Channels => channels(frame).map(Reply::Channels),
        Expected::Value | Expected::Part if matches!(frame, Opened::Nil) => Some(Reply::Value(None)),
        Expected::Value => bytes(frame).map(|value| Reply::Value(Some(value))),
        // A part of nothing is an empty string, as a part of an empty one.
        Expected::Part => bytes(frame).map(|part| Reply::Value(Some(part).filter(|part| !part.is_empty()))),
        Expected::Anything => Some(Reply::Done),
    };
    reply.ok_or_else(|| CommandError::Unusable(format!("it is not of the expected form ({expected:?})")))
}

/// RESP2: `[[stream, [entry, …]], …]`, or nil. RESP3: a map of streams, or nil. Only one stream is ever asked for.
fn entries<F: Frame>(frame: Opened<F>) -> Option<Vec<Entry>> {
    let mut streams: Vec<F> = match frame {
        Opened::Entries(entries) => return Some(entries),
        Opened::Nil => Vec::new(),
        Opened::Map(streams) => streams.into_iter().map(|(_, entries)| entries).collect(),
        other => list(other)?
            .into_iter()
            .map(|stream| two(stream).map(|(_, entries)| entries))
            .collect::<Option<_>>()?,
    };
    match (streams.pop(), streams.is_empty()) {
        (None, _) => Some(Vec::new()),
        (Some(entries), true) => range(entries.open()),
        (Some(_), false) => None,
    }
}

/// `[entry, …]`.
fn range<F: Frame>(frame: Opened<F>) -> Option<Vec<Entry>> {
    let frames = match frame {
        Opened::Entries(entries) => return Some(entries),
        other => list(other)?,
    };
    let mut entries = Vec::with_capacity(frames.len());
    for frame in frames {
        let (id, content) = two(frame)?;
        // Filled where it is: an entry is large.
        entries.push(Entry { id: self::id(id.open())?, fields: Fields::new() });
        fill(&mut entries.last_mut()?.fields, content)?;
    }
    Some(entries)
}

/// `[id, content]`, and the like.
fn two<F: Frame>(frame: F) -> Option<(F, F)> {
    let mut items = list(frame.open())?.into_iter();
    let two = (items.next()?, items.next()?);
    items.next().is_none().then_some(two)
}

/// `[name, value, …]`.
fn fill<F: Frame>(fields: &mut Fields, content: F) -> Option<()> {
    let mut push = |name: F, value: F| {
        let name = bytes(name.open())?;
        fields.push(known(&name).unwrap_or(name), bytes(value.open())?);
        Some(())
    };
    match content.open() {
        // Group reads say so of a deleted entry. XREAD has no reason to.
        Opened::Nil => Some(()),
        Opened::Map(pairs) => pairs.into_iter().try_for_each(|(name, value)| push(name, value)),
        other => {
            let mut items = list(other)?.into_iter();
            while let Some(name) = items.next() {
                push(name, items.next()?)?;
            }
            Some(())
        }
    }
}

/// By the names of the fields: which there are, and in which order, depends on the server's version.
fn stream_info<F: Frame>(frame: Opened<F>) -> Option<StreamInfo> {
    let mut info = StreamInfo::default();
    let (mut length, mut last) = (None, None);
    for (name, value) in pairs(frame)? {
        let value = value.open();
        match &bytes(name.open())?[..] {
            b"length" => length = Some(number(value)?),
            b"last-generated-id" => last = Some(id(value)?),
            b"entries-added" => info.entries_added = Some(number(value)?),
            b"max-deleted-entry-id" => info.max_deleted_entry_id = Some(id(value)?),
            b"first-entry" if !matches!(value, Opened::Nil) => {
                info.first_entry_id = Some(id(list(value)?.into_iter().next()?.open())?);
            }
            // The long form has as many as were asked for, the first ones.
            b"entries" => {
                if let Some(first) = list(value)?.into_iter().next() {
                    info.first_entry_id = Some(id(list(first.open())?.into_iter().next()?.open())?);
                }
            }
            _ => {}
        }
    }
    Some(StreamInfo { length: length?, last_generated_id: last?, ..info })
}

/// `[channel, count]`, for the one channel that was asked for.
fn counts<F: Frame>(frame: Opened<F>) -> Option<Vec<u64>> {
    pairs(frame)?.into_iter().map(|(_, count)| number(count.open())).collect()
}

fn channels<F: Frame>(frame: Opened<F>) -> Option<Vec<ByteString>> {
    // Those whose names are not text are not ours.
    let text = |frame: F| ByteString::try_from(bytes(frame.open())?).ok();
    Some(list(frame)?.into_iter().filter_map(text).collect())
}

fn list<F>(frame: Opened<F>) -> Option<Vec<F>> {
    match frame {
        Opened::List(items) => Some(items),
        _ => None,
    }
}

fn pairs<F>(frame: Opened<F>) -> Option<Vec<(F, F)>> {
    if let Opened::Map(pairs) = frame {
        return Some(pairs);
    }
    let items = list(frame)?;
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let Some(name) = items.next() {
        pairs.push((name, items.next()?));
    }
    Some(pairs)
}

fn bytes<F>(frame: Opened<F>) -> Option<Bytes> {
    match frame {
        Opened::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// The number, or the number that is written in a string.
fn number<F>(frame: Opened<F>) -> Option<u64> {
    match frame {
        Opened::Int(number) => number.try_into().ok(),
        other => str::from_utf8(&bytes(other)?).ok()?.parse().ok(),
    }
}

fn id<F>(frame: Opened<F>) -> Option<EntryId> {
    str::from_utf8(&bytes(frame)?).ok()?.parse().ok()
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
        let long = Value::Map(vec![
            (bulk("length"), Value::Int(2)),
            (bulk("last-generated-id"), bulk("5-1")),
            (bulk("max-deleted-entry-id"), bulk("0-0")),
            (bulk("entries-added"), Value::Int(7)),
            (bulk("entries"), Value::List(vec![Value::List(vec![bulk("4-4"), Value::List(vec![])])])),
            (bulk("groups"), Value::List(vec![])),
        ]);
        assert_eq!(parse(long, Expected::Stream).unwrap(), parse(new.clone(), Expected::Stream).unwrap());
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
