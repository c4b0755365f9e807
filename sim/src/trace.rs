//! The record of a run, as a hash and as a list.

use core::time::Duration;

use bytestring::ByteString;
use sio_streams_core::wire::entry::SEQUENCE_FIELD;
use sio_streams_core::{Answer, Command, EntryId, Event, Lost, NodeId, Payload, Reply, Source, Time};

use crate::encoding::Encoder;
use crate::watch::{Happening, PeerNote, Watch};

/// The row of a timeline to which something belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// On the server.
    Server,
    /// On a host.
    Host(usize),
}

/// The kind of a record, which decides how it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An entry was added to a stream.
    Entry,
    /// A message was published by Pub/Sub.
    Push,
    /// The application was told something.
    Delivery,
    /// An answer, the end of a request, or a call's fate.
    Answer,
    /// The application has called.
    Call,
    /// A connection was lost.
    Down,
    /// A connection is there.
    Up,
    /// A fault, or its end.
    Fault,
    /// Entries are missing, or came again, or a node came or went.
    Notice,
    /// A command, or its reply.
    Wire,
    /// Something that must not happen.
    Violation,
}

/// A line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The time.
    pub at: Time,
    /// The row of the timeline.
    pub place: Place,
    /// The kind.
    pub kind: Kind,
    /// The duration, if it is a fault that lasts.
    pub lasts: Duration,
    /// The text.
    pub text: String,
    /// The entry that it is about, if it is about one.
    pub entry: Option<EntryId>,
}

/// Hashes what happens, and keeps a record of it if asked to.
#[derive(Debug, Default)]
pub struct Tracer {
    hash: Hash,
    /// Set if every byte of every happening counts, and not only that it happened.
    exact: Option<Encoder>,
    records: Option<Vec<Record>>,
}

/// FNV, over 64 bits at a time where possible.
#[derive(Clone, Copy, Debug)]
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Hash(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn add(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }

    /// The length counts too: where one happening ends, the next begins.
    fn add_bytes(&mut self, bytes: &[u8]) {
        self.add(bytes.len() as u64);
        let (chunks, rest) = bytes.as_chunks::<8>();
        chunks.iter().for_each(|chunk| self.add(u64::from_le_bytes(*chunk)));
        rest.iter().for_each(|byte| self.add(u64::from(*byte)));
    }
}

impl Tracer {
    /// A trace whose hash covers everything that happens, in an encoding that does not depend on
    /// names in the code.
    ///
    /// # Panics
    ///
    /// It panics as soon as it sees a variant that the engine has and the encoding has no number
    /// for.
    pub fn exact() -> Self {
        Tracer { exact: Some(Encoder::default()), ..Self::default() }
    }

    /// The same, with a record.
    ///
    /// # Panics
    ///
    /// As [`exact`](Tracer::exact) does.
    pub fn recording() -> Self {
        Tracer { records: Some(Vec::new()), ..Self::exact() }
    }

    /// The hash of all that has happened so far.
    pub fn hash(&self) -> u64 {
        self.hash.0
    }

    /// Adds something to the record that did not happen in the world.
    pub fn note(&mut self, at: Time, place: Place, kind: Kind, text: impl FnOnce() -> String) {
        if let Some(records) = &mut self.records {
            let (lasts, entry) = (Duration::ZERO, None);
            records.push(Record { at, place, kind, lasts, text: text(), entry });
        }
    }

    /// The record, if there is one.
    pub fn take_records(&mut self) -> Vec<Record> {
        self.records.take().unwrap_or_default()
    }
}

impl Watch for Tracer {
    fn saw(&mut self, now: Time, what: &Happening<'_>) {
        self.hash.add(now.as_micros());
        if let Some(encoder) = &mut self.exact {
            self.hash.add_bytes(encoder.bytes_of(what));
        }
        if let Some(records) = &mut self.records
            && let Some((place, kind, lasts, text)) = describe(what)
        {
            let entry = entry_of(what);
            records.push(Record { at: now, place, kind, lasts, text, entry });
        }
    }
}

/// The entry that a happening is about.
fn entry_of(what: &Happening<'_>) -> Option<EntryId> {
    match what {
        Happening::Executed { reply: Ok(Reply::Added(id)), .. } => Some(*id),
        Happening::Event { event: Event::Broadcast(delivery), .. } => delivery.entry,
        Happening::Event { event: Event::Published { entry, .. }, .. } => *entry,
        Happening::Event { event: Event::Repeated { id, .. }, .. } => Some(*id),
        _ => None,
    }
}

/// The record of a happening; `None` for one that would only fill it.
fn describe(what: &Happening<'_>) -> Option<(Place, Kind, Duration, String)> {
    let brief = |place, kind, text: String| Some((place, kind, Duration::ZERO, text));
    match what {
        Happening::Executed { host, command: Command::XAdd { stream, fields, .. }, reply } => {
            let field = |name| fields.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
            let (kind, seq) = (field("type").unwrap_or_default(), field(SEQUENCE_FIELD).unwrap_or_default());
            let who = if *host == usize::MAX { "foreign".to_owned() } else { format!("host {host}") };
            let data: String = field("data").unwrap_or_default().chars().take(90).collect();
            let text = match reply {
                Ok(Reply::Added(id)) => format!("{stream} {id} by {who}: type {kind} seq {seq} {data}"),
                Ok(_) => return None,
                Err(error) => format!("XADD of {who} refused: {error}"),
            };
            brief(Place::Server, Kind::Entry, text)
        }
        Happening::Executed { host, command: Command::Publish { channel, .. }, .. } => {
            brief(Place::Server, Kind::Push, format!("{channel} by host {host}"))
        }
        Happening::Event { host, event } => {
            let kind = match event {
                Event::Broadcast(_)
                | Event::SocketsJoin(_)
                | Event::SocketsLeave(_)
                | Event::DisconnectSockets { .. }
                | Event::FetchSockets { .. }
                | Event::ServerSideEmit { .. } => Kind::Delivery,
                Event::Published { .. }
                | Event::PublishFailed { .. }
                | Event::Answer { .. }
                | Event::RequestDone { .. }
                | Event::ServerCount { .. } => Kind::Answer,
                Event::Link { .. } => return None,
                _ => Kind::Notice,
            };
            brief(Place::Host(*host), kind, told(event))
        }
        Happening::Asked { host, id, command } => {
            brief(Place::Host(*host), Kind::Wire, format!("{id} {}", short(command)))
        }
        Happening::Replied { host, id, reply, .. } => {
            let text = match reply {
                Ok(Reply::Entries(entries)) => {
                    let ids: Vec<String> = entries.iter().map(|entry| entry.id.to_string()).collect();
                    format!("{id} = [{}]", ids.join(" "))
                }
                Ok(reply) => format!("{id} = {reply:?}"),
                Err(error) => format!("{id}: {error}"),
            };
            brief(Place::Host(*host), Kind::Wire, text)
        }
        Happening::Link { host, lane, up } => {
            let (kind, word) = if *up { (Kind::Up, "up") } else { (Kind::Down, "down") };
            brief(Place::Host(*host), kind, format!("{lane} {word}"))
        }
        Happening::Started { host, uid } => brief(Place::Host(*host), Kind::Up, format!("starts as {uid}")),
        Happening::Died { host } => brief(Place::Host(*host), Kind::Down, "dies".to_owned()),
        Happening::TailLost { stream, entries } => {
            let text = match entries {
                Some(entries) => format!("{stream} has lost its last {entries} entries"),
                None => format!("{stream} is lost"),
            };
            brief(Place::Server, Kind::Fault, text)
        }
        Happening::Fault(fault) => {
            let place = fault.host().map_or(Place::Server, Place::Host);
            Some((place, Kind::Fault, fault.lasts(), fault.to_string()))
        }
        Happening::Healed { what, host } => {
            brief(host.map_or(Place::Server, Place::Host), Kind::Fault, (*what).to_owned())
        }
        Happening::Peer { host, note } => {
            let kind = match note {
                PeerNote::Delivered { .. } => Kind::Delivery,
                PeerNote::Answered { .. } | PeerNote::TimedOut { .. } => Kind::Answer,
                PeerNote::Poisoned { .. } => Kind::Notice,
            };
            brief(Place::Host(*host), kind, format!("{note:?}"))
        }
        _ => None,
    }
}

/// A command in a line.
fn short(command: &Command) -> String {
    match command {
        Command::XAdd { stream, fields, .. } => {
            let seq = fields.get(SEQUENCE_FIELD).map(|seq| String::from_utf8_lossy(seq).into_owned());
            format!("XADD {stream} seq {}", seq.unwrap_or_default())
        }
        Command::XRead { stream, after, count, .. } => format!("XREAD {stream} {after} COUNT {count}"),
        Command::XRange { stream, after, count } => format!("XRANGE {stream} ({after} COUNT {count}"),
        Command::Publish { channel, .. } => format!("PUBLISH {channel}"),
        other => format!("{other:?}"),
    }
}

/// An event in a line.
fn told(event: &Event) -> String {
    match event {
        Event::Broadcast(delivery) => {
            let entry = delivery.entry.map(|entry| format!(" at {entry}")).unwrap_or_default();
            format!(
                "{} broadcast {}{entry} from {}",
                delivery.nsp,
                data(delivery.packet.data()),
                name(delivery.from.as_ref())
            )
        }
        Event::SocketsJoin(moved) => {
            format!("{} {} join {}", moved.nsp, names(&moved.sockets), names(&moved.rooms))
        }
        Event::SocketsLeave(moved) => {
            format!("{} {} leave {}", moved.nsp, names(&moved.sockets), names(&moved.rooms))
        }
        Event::DisconnectSockets { nsp, sockets, .. } => format!("{nsp} disconnect {}", names(sockets)),
        Event::FetchSockets { nsp, sockets, .. } => format!("{nsp} is asked for {}", names(sockets)),
        Event::ServerSideEmit { nsp, packet, from, .. } => {
            format!("{nsp} server-side emit {} from {}", data(packet), name(from.as_ref()))
        }
        Event::Published { ticket, entry: Some(entry) } => format!("{ticket} published as {entry}"),
        Event::Published { ticket, entry: None } => format!("{ticket} done here"),
        Event::PublishFailed { ticket, error } => format!("{ticket} failed: {error}"),
        Event::Answer { ticket, from, answer } => {
            let answer = match answer {
                Answer::Sockets(sockets) => names(sockets.iter().map(|socket| &socket.id)),
                Answer::Emit(value) | Answer::Ack(value) => data(value),
                Answer::ClientCount(clients) => format!("{clients} clients"),
                other => format!("{other:?}"),
            };
            format!("{ticket} answered by {}: {answer}", name(from.as_ref()))
        }
        Event::RequestDone { ticket, outcome } => {
            let missing = outcome.missing.len() as u64 + outcome.missing_unnamed;
            let answered = outcome.answered.len() as u64 + outcome.answered_unnamed;
            let late = if outcome.timed_out { ", timed out" } else { "" };
            let error = outcome.error.as_ref().map(|error| format!(", {error}")).unwrap_or_default();
            format!("{ticket} is over: {answered} answered, {missing} missing{late}{error}")
        }
        Event::ServerCount { ticket, count: Ok(count) } => format!("{ticket} counts {count}"),
        Event::Ready { nsp } => format!("{nsp} is ready"),
        Event::Closed { nsp } => format!("{nsp} is closed"),
        Event::NodeUp { nsp, node } => format!("{nsp} {node} is there"),
        Event::NodeDown { nsp, node, reason } => format!("{nsp} {node} is gone: {reason:?}"),
        Event::Refused { lane, channel, error } => {
            let channel = channel.as_ref().map(|channel| format!(", {channel}")).unwrap_or_default();
            format!("{lane}{channel} refused: {error}")
        }
        Event::Repeated { id, from, .. } => format!("{id} passed over, a repetition by {from}"),
        Event::Skipped { source: Source::Entry { id, .. }, reason } => format!("{id} passed over: {reason}"),
        Event::Gap { after, until, lost, .. } => format!("gap from {after} to {until}: {}", many(*lost)),
        Event::Rewound { cursor, last, lost, .. } => {
            format!("rewound from {cursor} to {last}: {}", many(*lost))
        }
        other => format!("{other:?}"),
    }
}

fn many(lost: Lost) -> String {
    match lost {
        Lost::Exactly(lost) => format!("{lost} entries lost"),
        Lost::Unknown => "nobody knows how many entries are lost".to_owned(),
    }
}

fn data(payload: &Payload) -> String {
    payload.as_json().map_or_else(|| "binary".to_owned(), |data| data.chars().take(60).collect())
}

fn name(node: Option<&NodeId>) -> &str {
    node.map_or("nobody", NodeId::as_str)
}

fn names<'a>(names: impl IntoIterator<Item = &'a ByteString>) -> String {
    let names: Vec<&str> = names.into_iter().map(|name| &**name).collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}
