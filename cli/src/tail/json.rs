//! The output as JSON: one object a line. `docs/operating.md` describes it.

use serde::Serialize;
use serde_json::value::RawValue;
use sio_streams_driver::sio_streams_core::{Body, ByteString, Payload};

use super::Depth;
use super::place::Gap;
use super::record::{Content, Record, Source};
use super::text::{clean, short};
use super::when::rfc3339;

/// The number of characters of a payload that is shown in short.
const SHORT: usize = 100;

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nsp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    except: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<Flags>,
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<Vec<Socket<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<Vec<(String, String)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<u64>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Flags {
    #[serde(skip_serializing_if = "Option::is_none")]
    volatile: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compress: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Socket<'a> {
    id: &'a str,
    rooms: Vec<&'a str>,
}

fn names(names: &[ByteString]) -> Vec<&str> {
    names.iter().map(|name| &**name).collect()
}

/// The arguments of an event, as a JSON array.
pub(super) fn args(event: &Payload) -> String {
    let mut text = String::from("[");
    for (number, arg) in event.args().enumerate() {
        if number > 0 {
            text.push(',');
        }
        text.push_str(&arg.to_json());
    }
    text.push(']');
    text
}

/// Writes a message as a line.
pub(super) fn record(record: &Record, depth: Depth) -> String {
    let mut line = Line {
        kind: record.kind().name(),
        time: rfc3339(record.time),
        node: record.node.as_deref(),
        nsp: record.nsp.as_deref(),
        size: Some(record.size),
        request_id: record.request_id().map(|id| id.as_str()),
        names: record.names().map(names),
        event: record.event().and_then(Payload::event_name),
        ..Line::default()
    };
    match &record.source {
        Source::Stream { name, id } => {
            line.stream = Some(name);
            line.id = Some(id.to_string());
        }
        Source::Channel(channel) => line.channel = Some(channel),
    }
    if let Some(opts) = record.body().and_then(Body::opts) {
        let given = &opts.flags;
        let timeout = given.timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let flags = Flags { volatile: given.volatile, compress: given.compress, timeout };
        line.flags = (flags != Flags::default()).then_some(flags);
        line.rooms = Some(names(&opts.rooms));
        line.except = Some(names(&opts.except));
    } else if !record.rooms().is_empty() {
        line.rooms = Some(names(record.rooms()));
    }
    match record.body() {
        Some(Body::DisconnectSockets { close, .. }) => line.close = Some(*close),
        Some(Body::BroadcastClientCount { client_count, .. }) => line.client_count = Some(*client_count),
        Some(Body::FetchSocketsResponse { sockets, .. }) => {
            let sockets = sockets.iter().map(|socket| Socket { id: &socket.id, rooms: names(&socket.rooms) });
            line.sockets = Some(sockets.collect());
        }
        _ => {}
    }
    let (args, value) = (record.event().map(args), record.value().map(|value| value.to_json().into_owned()));
    match depth {
        Depth::Full => {
            let raw = |json: String| RawValue::from_string(json).ok();
            (line.args, line.value) = (args.and_then(raw), value.and_then(raw));
        }
        Depth::Short => line.preview = args.or(value).map(|json| short(&json, SHORT).into_owned()),
        Depth::Hidden => {}
    }
    if let Content::Unreadable { reason, raw } = &record.content {
        line.reason = Some(reason);
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            match depth {
                Depth::Full => text.into_owned(),
                _ => short(&text, SHORT).into_owned(),
            }
        };
        let fields = || raw.iter().map(|(name, value)| (text(name), text(value))).collect();
        line.raw = (depth != Depth::Hidden).then(fields);
    }
    finish(&line)
}

/// Writes what is missing in a stream as a line.
pub(super) fn gap(stream: &str, gap: Gap) -> String {
    let missing = match gap {
        Gap::Missed(missing) => missing,
        Gap::BeginsLater => None,
    };
    finish(&Line { kind: "gap", stream: Some(stream), missing, ..Line::default() })
}

fn finish(line: &Line<'_>) -> String {
    // Serialising to a string fails only for maps whose keys are no strings.
    let json = serde_json::to_string(line).unwrap_or_default();
    clean(&json).into_owned()
}
