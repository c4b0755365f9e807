//! The output for people: one message a line.

use std::fmt::Write;

use sio_streams_driver::sio_streams_core::{Body, ByteString, Payload};

use super::Depth;
use super::json::args;
use super::place::Gap;
use super::record::{Content, Kind, Record};
use super::text::{clean, name, short};
use super::when::rfc3339;

/// The number of characters of a payload that is shown in short.
const SHORT: usize = 80;

/// The number of names in a list that is shown in short.
const NAMES: usize = 6;

/// Writes names with commas between them.
fn list(names: &[ByteString], depth: Depth) -> String {
    let shown = if depth == Depth::Full { names.len() } else { names.len().min(NAMES) };
    let mut text = names[..shown].iter().map(|text| name(text)).collect::<Vec<_>>().join(",");
    if shown < names.len() {
        let _ = write!(text, ",… ({} in all)", names.len());
    }
    text
}

/// Writes a message as a line.
pub(super) fn record(record: &Record, depth: Depth) -> String {
    let time = rfc3339(record.time).unwrap_or_else(|| record.time.to_string());
    let node = record.node.as_deref().map_or("-".into(), name);
    let nsp = record.nsp.as_deref().map_or("-".into(), name);
    let kind = record.kind().name();
    let mut line = format!("{time}  {node:<16}  {nsp:<6}  {kind:<9}");
    if !record.rooms().is_empty() {
        let _ = write!(line, "  to {}", list(record.rooms(), depth));
    } else if record.body().and_then(Body::opts).is_some() {
        line.push_str("  to all");
    }
    if !record.except().is_empty() {
        let _ = write!(line, " except {}", list(record.except(), depth));
    }
    if let Some(names) = record.names() {
        let verb = match record.kind() {
            Kind::Join | Kind::RemoteJoin => "join ",
            Kind::Leave | Kind::RemoteLeave => "leave ",
            _ => "",
        };
        let _ = write!(line, "  {verb}{}", list(names, depth));
    }
    if let Some(event) = record.event() {
        let event_name = event.event_name();
        let _ = write!(line, "  {}", event_name.as_deref().map_or("-".into(), name));
        payload(&mut line, &args(event), depth);
    }
    if let Some(value) = record.value().map(Payload::to_json) {
        payload(&mut line, &value, depth);
    }
    match record.body() {
        Some(Body::DisconnectSockets { close: true, .. }) => line.push_str("  and close"),
        Some(Body::BroadcastClientCount { client_count, .. }) => {
            let _ = write!(line, "  {client_count}");
        }
        Some(Body::FetchSocketsResponse { sockets, .. }) => {
            let ids: Vec<_> = sockets.iter().map(|socket| socket.id.clone()).collect();
            let ids = if ids.is_empty() { "none".into() } else { list(&ids, depth) };
            let _ = write!(line, "  {ids}");
        }
        _ => {}
    }
    if let Some(id) = record.request_id() {
        let _ = write!(line, "  request {}", name(id.as_str()));
    }
    if let Content::Unreadable { reason, raw } = &record.content {
        let _ = write!(line, "  {}", clean(reason));
        for (field, value) in raw {
            if depth != Depth::Hidden {
                let (field, value) = (String::from_utf8_lossy(field), String::from_utf8_lossy(value));
                let limit = if depth == Depth::Full { usize::MAX } else { SHORT / 2 };
                let _ = write!(line, "  {}={}", name(&short(&field, limit)), clean(&short(&value, limit)));
            }
        }
    }
    line
}

fn payload(line: &mut String, json: &str, depth: Depth) {
    let shown = match depth {
        Depth::Hidden => return,
        Depth::Short => short(json, SHORT),
        Depth::Full => json.into(),
    };
    let _ = write!(line, "  {}", clean(&shown));
}

/// Says what is missing in a stream.
pub(super) fn gap(stream: &str, gap: Gap) -> String {
    match gap {
        Gap::BeginsLater => format!("{stream} begins later: what was before is trimmed"),
        Gap::Missed(Some(1)) => format!("1 entry of {stream} was trimmed before it was read"),
        Gap::Missed(Some(count)) => format!("{count} entries of {stream} were trimmed before they were read"),
        Gap::Missed(None) => format!("entries of {stream} may be missing: they were trimmed or deleted"),
    }
}
