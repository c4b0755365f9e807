//! `sio-streams sessions`: the stored state of clients that are away.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use sio_streams_driver::sio_streams_core::wire::session::decode_with_namespace;
use sio_streams_driver::sio_streams_core::{
    ByteString, Bytes, Command, EntryId, MAX_PID, Observer, Reply, Session, escape_glob,
};
use sio_streams_driver::wire::{Args as Request, Value};

use crate::adapter::AdapterArgs;
use crate::ask::table::Table;
use crate::doctor::server::bytes;
use crate::look::{Error, Refusal, Server, Servers};
use crate::server::ServerArgs;
use crate::tail::text::{clean, name};

pub(crate) const EXAMPLES: &str = "\
Examples:
  sio-streams sessions                 how many, how old, how large
  sio-streams sessions --list          each of them
  sio-streams sessions --json --list   the same, for programs

The private ids of sessions are never shown: who knows one can take the session over.

Exit codes: 0 every session would be restored, 1 one would not, or Redis can't be reached, 2 wrong
usage.";

#[derive(Debug, Args)]
pub(crate) struct SessionsArgs {
    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// sessionKeyPrefix
    #[arg(long, value_name = "NAME", default_value = "sio:session:")]
    session_key_prefix: String,

    /// maxDisconnectionDuration, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 120_000)]
    max_disconnection_duration: u64,

    /// The largest size of a session that servers restore, in bytes: session_bytes of servers of this
    /// project
    #[arg(long, value_name = "N", default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1..))]
    session_bytes: u32,

    /// Show each session, and not only those that would not be restored
    #[arg(long)]
    list: bool,

    /// One JSON object a line, as docs/operating.md describes it
    #[arg(long)]
    json: bool,
}

/// The number of keys that are looked at together.
const PAGE: &str = "500";

/// The reason why a session would not be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    Malformed(String),
    TooLarge,
    InvalidPid,
    OtherPid,
    Trimmed,
}

impl Reason {
    fn text(&self) -> String {
        match self {
            Reason::Malformed(error) => format!("it is no session: {error}"),
            Reason::TooLarge => "it is larger than a server reads".into(),
            Reason::InvalidPid => "its key has no private id that a client could name".into(),
            Reason::OtherPid => "its private id is not that of its key".into(),
            Reason::Trimmed => "the stream does not reach back to the time when it was stored".into(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Reason::Malformed(_) => "malformed",
            Reason::TooLarge => "too-large",
            Reason::InvalidPid => "invalid-pid",
            Reason::OtherPid => "other-pid",
            Reason::Trimmed => "trimmed",
        }
    }
}

/// A stored session.
#[derive(Debug)]
struct Stored {
    session: Option<Session>,
    nsp: Option<ByteString>,
    /// In bytes, as it is stored.
    size: u64,
    /// In milliseconds. `None` if it never expires, or lives longer than it should: then its age is
    /// not known.
    age: Option<u64>,
    /// In milliseconds, unless it never expires.
    ttl: Option<u64>,
    reason: Option<Reason>,
}

pub(crate) fn run(args: SessionsArgs) -> ExitCode {
    crate::look::run(look(args))
}

async fn look(args: SessionsArgs) -> Result<u8, Error> {
    let observer = Observer::new(args.adapter.config())?;
    let mut servers = Servers::connect(&args.server).await?;
    // The oldest time to which each stream reaches back. `None` if nothing was trimmed.
    let mut reaches = BTreeMap::new();
    for stream in observer.streams() {
        if let Some(server) = servers.owner(&stream) {
            let reach = reach(server, &stream).await?;
            reaches.insert(stream, reach);
        }
    }
    let mut sessions = Vec::new();
    for server in servers.masters() {
        scan(server, &args, &observer, &reaches, &mut sessions).await?;
    }
    sessions.sort_by_key(|stored| core::cmp::Reverse(stored.age));
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        lines(&sessions, args.list, &mut out)?
    } else {
        human(&sessions, args.list, &mut out)?
    }
    out.flush()?;
    Ok(u8::from(sessions.iter().any(|stored| stored.reason.is_some())))
}

/// Returns the time of the oldest entry that is there, if older ones were trimmed.
async fn reach(server: &mut Server, stream: &ByteString) -> Result<Option<EntryId>, Error> {
    let command = Command::XInfoStream { stream: stream.clone() };
    match server.execute(command).await? {
        Ok(Reply::Stream(Some(info))) if info.entries_added.is_none_or(|added| added > info.length) => {
            Ok(info.first_entry_id)
        }
        Ok(_) => Ok(None),
        Err(refusal) => {
            Err(Error::Refused { name: server.name.clone(), command: "XINFO STREAM".into(), refusal })
        }
    }
}

fn request(parts: &[&[u8]]) -> Request {
    parts.iter().map(|part| Bytes::copy_from_slice(part)).collect::<Vec<_>>().into()
}

/// Reads all sessions that a server has.
async fn scan(
    server: &mut Server,
    args: &SessionsArgs,
    observer: &Observer,
    reaches: &BTreeMap<ByteString, Option<EntryId>>,
    sessions: &mut Vec<Stored>,
) -> Result<(), Error> {
    let pattern = format!("{}*", escape_glob(&args.session_key_prefix));
    let end = args.session_bytes.to_string();
    let mut cursor = "0".to_owned();
    let mut seen = std::collections::HashSet::new();
    loop {
        let reply = server.must(&["SCAN", &cursor, "MATCH", &pattern, "COUNT", PAGE]).await?;
        let mut parts = reply.list().unwrap_or_default().into_iter();
        let next = parts.next().and_then(Value::text);
        let keys = parts.next().and_then(Value::list).unwrap_or_default();
        let keys: Vec<Bytes> =
            keys.into_iter().filter_map(Value::bytes).filter(|key| seen.insert(key.clone())).collect();
        let asked = keys.iter().flat_map(|key| {
            [
                request(&[b"PTTL", key]),
                request(&[b"STRLEN", key]),
                request(&[b"GETRANGE", key, b"0", end.as_bytes()]),
            ]
        });
        let replies = server.ask_all(asked.collect()).await?;
        let now = crate::tail::when::now();
        for (key, replies) in keys.iter().zip(replies.chunks_exact(3)) {
            let ttl = number(&replies[0]);
            // It has expired in between.
            if ttl == Some(-2) {
                continue;
            }
            if let Some(refusal) = replies.iter().find_map(|reply| reply.as_ref().err())
                && refusal.code != "WRONGTYPE"
            {
                let (name, refusal) = (server.name.clone(), refusal.clone());
                return Err(Error::Refused { name, command: "PTTL, STRLEN or GETRANGE".into(), refusal });
            }
            let pid = key.get(args.session_key_prefix.len()..).unwrap_or_default();
            let size = number(&replies[1]).and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
            let value = match &replies[2] {
                Ok(Value::Bytes(value)) => Ok(value),
                _ => Err("the key has no text".to_owned()),
            };
            sessions.push(judge(pid, value, size, ttl, now, args, |nsp| {
                let streams = nsp.and_then(|nsp| observer.stream(nsp));
                match (streams, reaches.len()) {
                    (Some(stream), _) => reaches.get(&stream).copied().flatten(),
                    (None, 1) => reaches.values().next().copied().flatten(),
                    // Node servers do not store the namespace: any of the streams may be the one.
                    _ => None,
                }
            }));
        }
        match next {
            Some(next) if &*next != "0" => cursor = next.to_string(),
            _ => return Ok(()),
        }
    }
}

fn number(reply: &Result<Value, Refusal>) -> Option<i64> {
    match reply {
        Ok(Value::Int(number)) => Some(*number),
        _ => None,
    }
}

fn judge(
    pid: &[u8],
    value: Result<&Bytes, String>,
    size: u64,
    ttl: Option<i64>,
    now: u64,
    args: &SessionsArgs,
    reach: impl FnOnce(Option<&str>) -> Option<EntryId>,
) -> Stored {
    let ttl = ttl.and_then(|ttl| u64::try_from(ttl).ok());
    let age = ttl.and_then(|ttl| args.max_disconnection_duration.checked_sub(ttl));
    let mut stored = Stored { session: None, nsp: None, size, age, ttl, reason: None };
    let is_pid = pid.len() <= MAX_PID
        && !pid.is_empty()
        && pid.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if size > u64::from(args.session_bytes) {
        stored.reason = Some(Reason::TooLarge);
        return stored;
    }
    match value.and_then(|value| decode_with_namespace(value).map_err(|error| error.to_string())) {
        Err(error) => stored.reason = Some(Reason::Malformed(error)),
        Ok((session, nsp)) => {
            let is_trimmed = || {
                let (age, first) = age.zip(reach(nsp.as_deref()))?;
                Some(first.ms > now.saturating_sub(age))
            };
            if !is_pid {
                stored.reason = Some(Reason::InvalidPid);
            } else if session.pid.as_bytes() != pid {
                stored.reason = Some(Reason::OtherPid);
            } else if is_trimmed() == Some(true) {
                stored.reason = Some(Reason::Trimmed);
            }
            (stored.session, stored.nsp) = (Some(session), nsp);
        }
    }
    stored
}

fn seconds(ms: Option<u64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1e3))
}

fn human(sessions: &[Stored], list: bool, out: &mut dyn io::Write) -> io::Result<()> {
    let shown: Vec<_> = sessions.iter().filter(|stored| list || stored.reason.is_some()).collect();
    if !shown.is_empty() {
        let mut table = Table::new(["SOCKET", ">AGE", ">EXPIRES IN", ">SIZE", "ROOMS", "RESTORED"]);
        for stored in shown {
            let rooms = stored.session.iter().flat_map(|session| {
                session.rooms.iter().filter(|room| **room != session.sid).map(|room| name(room))
            });
            table.row([
                stored.session.as_ref().map_or_else(|| "-".to_owned(), |session| session.sid.to_string()),
                seconds(stored.age),
                stored.ttl.map_or_else(|| "never".to_owned(), |ttl| seconds(Some(ttl))),
                stored.size.to_string(),
                rooms.collect::<Vec<_>>().join(", "),
                match &stored.reason {
                    Some(reason) => format!("no: {}", reason.code()),
                    None => "yes".to_owned(),
                },
            ]);
        }
        table.write(out)?;
        writeln!(out)?;
    }
    let sizes = || sessions.iter().map(|stored| stored.size);
    writeln!(
        out,
        "{} session{}, {} in all; the largest {}, the oldest {}",
        sessions.len(),
        if sessions.len() == 1 { "" } else { "s" },
        bytes(sizes().sum()),
        bytes(sizes().max().unwrap_or_default()),
        seconds(sessions.iter().filter_map(|stored| stored.age).max()),
    )?;
    match sessions.iter().filter(|stored| stored.reason.is_some()).count() {
        0 => writeln!(out, "nothing speaks against restoring them"),
        lost => writeln!(out, "{lost} would not be restored"),
    }
}

fn lines(sessions: &[Stored], list: bool, out: &mut dyn io::Write) -> io::Result<()> {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for stored in sessions {
        if let Some(reason) = &stored.reason {
            *reasons.entry(reason.code()).or_default() += 1;
        } else if !list {
            continue;
        }
        let session = stored.session.as_ref();
        let line = json!({
            "kind": "session",
            "socket": session.map(|session| &*session.sid),
            "nsp": stored.nsp.as_deref(),
            "rooms": session.map(|session| session.rooms.iter().map(|room| &**room).collect::<Vec<_>>()),
            "size": stored.size,
            "ageMs": stored.age,
            "expiresMs": stored.ttl,
            "restorable": stored.reason.is_none(),
            "reason": stored.reason.as_ref().map(Reason::code),
            "detail": stored.reason.as_ref().map(|reason| clean(&reason.text()).into_owned()),
        });
        writeln!(out, "{line}")?;
    }
    let line = json!({
        "kind": "sessions",
        "count": sessions.len(),
        "bytes": sessions.iter().map(|stored| stored.size).sum::<u64>(),
        "largest": sessions.iter().map(|stored| stored.size).max(),
        "oldestMs": sessions.iter().filter_map(|stored| stored.age).max(),
        "immortal": sessions.iter().filter(|stored| stored.ttl.is_none()).count(),
        "notRestorable": reasons.values().sum::<u64>(),
        "reasons": reasons,
    });
    writeln!(out, "{line}")
}
