//! Checks that a Node server can process a message: the rules of `docs/protocol.md`, section 16,
//! without any of the engine's code.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rmpv::Value;
use sio_streams_core::Fields;

/// Checks that every Node server that reads the entry survives it.
///
/// # Errors
///
/// The error names what would make a server throw, drop the entry, or misunderstand it.
pub(crate) fn entry(fields: &Fields) -> Result<(), String> {
    let text = |name: &str| -> Result<String, String> {
        let value = fields.get(name).ok_or_else(|| format!("no field {name}"))?;
        String::from_utf8(value.to_vec()).map_err(|_| format!("{name} is not UTF-8"))
    };
    let (uid, nsp, kind) = (text("uid")?, text("nsp")?, text("type")?);
    if uid.is_empty() || !nsp.starts_with('/') {
        return Err(format!("uid {uid:?}, nsp {nsp:?}"));
    }
    let kind: u8 = kind.parse().map_err(|_| format!("type {kind:?}"))?;
    match (kind, fields.get("data")) {
        (1 | 2 | 13, _) => Ok(()),
        (3..=12, Some(data)) => check(kind, &value(kind, data)?),
        (3..=12, None) => Err(format!("type {kind} without data")),
        _ => Err(format!("type {kind}")),
    }
}

/// Checks that every Node server that gets the Pub/Sub message survives it.
///
/// # Errors
///
/// As [`entry`].
pub(crate) fn message(payload: &Bytes) -> Result<(), String> {
    envelope(&unpack(payload)?)
}

/// The same for a message of the sharded adapter, which may be JSON.
///
/// # Errors
///
/// As [`entry`].
pub(crate) fn sharded(payload: &Bytes) -> Result<(), String> {
    envelope(&plain_or_packed(payload)?)
}

fn envelope(message: &Value) -> Result<(), String> {
    let field = |key: &str| get(message, key).ok_or_else(|| format!("no {key}"));
    let text =
        |key: &str| -> Result<bool, String> { Ok(field(key)?.as_str().is_some_and(|text| !text.is_empty())) };
    if !text("uid")? || !text("nsp")? {
        return Err("uid or nsp is no text".into());
    }
    let kind = field("type")?.as_u64().and_then(|kind| u8::try_from(kind).ok());
    match kind.ok_or("type is no number")? {
        kind @ 3..=12 => check(kind, field("data")?),
        kind => Err(format!("type {kind} through Pub/Sub")),
    }
}

/// Checks that every Node server that gets this broadcast of the classic adapter survives and
/// understands it.
///
/// # Errors
///
/// As [`entry`].
pub(crate) fn classic_broadcast(payload: &Bytes) -> Result<(), String> {
    let message = unpack(payload)?;
    let [uid, content, opts] = message.as_array().map(Vec::as_slice).unwrap_or_default() else {
        return Err("not three parts".into());
    };
    if uid.as_str().is_none_or(str::is_empty) {
        return Err("uid is no text".into());
    }
    names(opts)?;
    packet(Some(content))
}

/// The same for its requests.
///
/// # Errors
///
/// As [`entry`].
pub(crate) fn classic_request(payload: &Bytes) -> Result<(), String> {
    let request = plain_or_packed(payload)?;
    let is_text = |key: &str| get(&request, key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    let is_array = |key: &str| get(&request, key).is_some_and(Value::is_array);
    let opts = || names(get(&request, "opts").ok_or("no opts")?);
    let kind = get(&request, "type").and_then(Value::as_u64).ok_or("no type")?;
    if matches!(kind, 0 | 1 | 5 | 7) && !is_text("requestId") {
        return Err(format!("request {kind} without requestId"));
    }
    if get(&request, "requestId").is_some() && !is_text("requestId") {
        return Err(format!("request {kind} with something else than a text for requestId"));
    }
    match kind {
        1 => Ok(()),
        0 if is_array("rooms") => Ok(()),
        // With a requestId it is the older form, for one socket.
        2 | 3 if is_text("requestId") && is_text("sid") && is_text("room") => Ok(()),
        4 if is_text("requestId") && is_text("sid") => Ok(()),
        2 | 3 if is_array("rooms") => opts(),
        4 | 5 => opts(),
        6 if !is_text("uid") => Err("request 6 without uid".into()),
        6 => event(get(&request, "data")),
        7 => opts().and_then(|()| packet(get(&request, "packet"))),
        _ => Err(format!("request {kind}")),
    }
}

/// The same for its responses.
///
/// # Errors
///
/// As [`entry`].
pub(crate) fn classic_response(payload: &Bytes) -> Result<(), String> {
    let response = plain_or_packed(payload)?;
    match get(&response, "requestId").and_then(Value::as_str) {
        Some(id) if !id.is_empty() => Ok(()),
        _ => Err("a response without requestId".into()),
    }
}

fn plain_or_packed(payload: &Bytes) -> Result<Value, String> {
    match payload.first() {
        Some(b'{') => serde_json::from_slice(payload).map_err(|error| error.to_string()),
        _ => unpack(payload),
    }
}

fn value(kind: u8, data: &Bytes) -> Result<Value, String> {
    if data.first() == Some(&b'{') {
        return serde_json::from_slice(data).map_err(|error| format!("type {kind}: {error}"));
    }
    if !matches!(kind, 3 | 8 | 9 | 10 | 12) {
        return Err(format!("type {kind} not in JSON"));
    }
    let packed = STANDARD.decode(data).map_err(|error| format!("type {kind}: {error}"))?;
    unpack(&packed.into())
}

fn unpack(bytes: &Bytes) -> Result<Value, String> {
    let mut rest = &bytes[..];
    let value = rmpv::decode::read_value(&mut rest).map_err(|error| error.to_string())?;
    match rest.is_empty() {
        true => readable(&value).map(|()| value),
        false => Err("bytes behind the message".into()),
    }
}

/// Keys must be strings, and not `__proto__`.
fn readable(value: &Value) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter().try_for_each(readable),
        Value::Map(pairs) => pairs.iter().try_for_each(|(key, value)| match key.as_str() {
            None | Some("__proto__") => Err(format!("the key {key}")),
            Some(_) => readable(value),
        }),
        _ => Ok(()),
    }
}

fn get<'a>(map: &'a Value, key: &str) -> Option<&'a Value> {
    map.as_map()?.iter().find(|(other, _)| other.as_str() == Some(key)).map(|(_, value)| value)
}

fn check(kind: u8, data: &Value) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("type {kind}: {what}"));
    if data.as_map().is_none() {
        return wrong("data is no object");
    }
    if matches!(kind, 3..=7) {
        options(data).map_err(|what| format!("type {kind}: {what}"))?;
    }
    if let Some(id) = get(data, "requestId")
        && id.as_str().is_none_or(str::is_empty)
    {
        return wrong("requestId is there, but no text");
    }
    let needs_id = matches!(kind, 7 | 8 | 10 | 11 | 12);
    if needs_id && get(data, "requestId").is_none() {
        return wrong("no requestId");
    }
    let is_array = |key: &str| get(data, key).is_some_and(Value::is_array);
    match kind {
        3 => packet(get(data, "packet")).map_err(|what| format!("type 3: {what}")),
        4 | 5 if !is_array("rooms") => wrong("rooms is no array"),
        6 if get(data, "close").is_some_and(|close| !close.is_bool()) => wrong("close is no boolean"),
        8 if !is_array("sockets") => wrong("sockets is no array"),
        9 => event(get(data, "packet")).map_err(|what| format!("type 9: {what}")),
        11 if get(data, "clientCount").and_then(Value::as_u64).is_none() => wrong("no clientCount"),
        _ => Ok(()),
    }
}

fn options(data: &Value) -> Result<(), String> {
    let opts = get(data, "opts").ok_or("no opts")?;
    names(opts)?;
    let flags = get(opts, "flags").and_then(Value::as_map).ok_or("opts.flags is no object")?;
    match flags.iter().find(|(_, value)| value.is_nil()) {
        Some((key, _)) => Err(format!("the flag {key} is null")),
        None => Ok(()),
    }
}

/// Rooms, and those that are left out.
fn names(opts: &Value) -> Result<(), String> {
    for key in ["rooms", "except"] {
        let names =
            get(opts, key).and_then(Value::as_array).ok_or_else(|| format!("opts.{key} is no array"))?;
        // A room may also be a number. It follows the same room's text. Large numbers are floats.
        let mut texts = core::iter::once(None).chain(names.iter().map(Value::as_str));
        let is_name = |(name, before): (&Value, Option<&str>)| {
            name.is_str() || name.as_f64().is_some_and(|number| before == Some(&*number.to_string()))
        };
        if !names.iter().all(|name| is_name((name, texts.next().flatten()))) {
            return Err(format!("opts.{key} has something else than texts, and numbers behind their own"));
        }
    }
    Ok(())
}

fn packet(packet: Option<&Value>) -> Result<(), String> {
    let packet = packet.filter(|packet| packet.is_map()).ok_or("no packet")?;
    if get(packet, "type").and_then(Value::as_u64) != Some(2) {
        return Err("the packet is no event".into());
    }
    if ["id", "nsp"].iter().any(|key| get(packet, key).is_some_and(Value::is_nil)) {
        return Err("something in the packet is null".into());
    }
    event(get(packet, "data"))
}

fn event(data: Option<&Value>) -> Result<(), String> {
    match data.and_then(Value::as_array).and_then(|data| data.first()).map(Value::is_str) {
        Some(true) => Ok(()),
        _ => Err("no event with a name".into()),
    }
}
