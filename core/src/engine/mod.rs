//! The engine: what a node of the cluster does, without doing it.

mod answering;
mod asking;
mod books;
mod by_namespace;
mod calls;
mod channels;
mod content;
mod hearing;
mod lanes;
mod line;
mod members;
mod namespace;
mod publisher;
mod reader;
mod receive;
mod recovery;
mod remote;
mod replies;
mod requests;
mod seen;
mod sockets;
mod timers;
mod window;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use bytestring::ByteString;
use hashbrown::HashMap;

use crate::channel::Carries;
use crate::command::{Command, CommandError, CommandId, Lane, Reply};
use crate::config::{Config, ConfigError, Dialect};
use crate::error::CallError;
use crate::event::{Event, Source};
use crate::hash::{Keyed, Numbered};
use crate::id::{EntryId, NodeId, Ticket, hex16};
use crate::message::{Body, Message};
use crate::packet::{BroadcastOptions, Packet};
use crate::rooms::Rooms;
use crate::time::Time;
use crate::wire::{WireError, classic, pubsub};
use asking::Census;
use lanes::Lanes;
use line::{Line, Publisher};
use namespace::{Closing, Namespace};
use reader::Reader;
use recovery::Recoveries;
use requests::Requests;
use timers::{Timer, Timers};

/// The longest name of a node that is believed, in bytes. Those of the adapters have 16 to 20.
const MAX_NAME: usize = 256;

/// How long a refused command waits before it is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// A node of a Socket.IO cluster, as a state machine.
///
/// It does no I/O and has no clock. Whatever happens is put in by a method call that carries the time; afterwards everything that follows
/// from it is taken out, until there is no more:
///
/// - [`poll_event`](Engine::poll_event): what the application should know or do;
/// - [`poll_command`](Engine::poll_command): what Redis should do;
/// - [`poll_timeout`](Engine::poll_timeout): when to call [`handle_timeout`](Engine::handle_timeout) if nothing else happens.
///
/// Events first: the entries that have been read are looked at one by one as events are polled, and the next read is asked for only when they
/// are used up. An application that is slow to take events thus slows the reading of its streams, and nothing else; the streams are the
/// buffer.
///
/// The same configuration, seed and inputs give the same outputs, byte for byte.
///
/// The crate's [first page](crate) shows a whole program.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    uid: NodeId,
    /// For tables whose keys come from outside.
    hash: Keyed,
    rng: fastrand::Rng,
    now: Time,
    /// Numbers commands and tickets alike.
    count: u64,
    namespaces: HashMap<ByteString, Namespace, Keyed>,
    /// The namespace of each channel that is subscribed, and what comes through it. A pattern stands here without its star.
    channels: HashMap<ByteString, (ByteString, Carries), Keyed>,
    /// Those of the namespaces whose names have a '#' in them.
    hashed: BTreeSet<ByteString>,
    /// How many namespaces have been closed.
    closings: u64,
    /// Namespaces that are being left.
    closing: BTreeMap<ByteString, Closing>,
    readers: BTreeMap<ByteString, Reader>,
    /// The streams of which entries have come and have not been looked at, in the order in which they came.
    unread: VecDeque<ByteString>,
    publishers: BTreeMap<Line, Publisher>,
    /// The lines that have something to ask or to say, and perhaps some that had.
    eager: BTreeSet<Line>,
    /// The last number that an entry of this node's was given, on any stream.
    last_seq: u64,
    requests: Requests,
    recoveries: Recoveries,
    lanes: Lanes,
    /// The server's refusal to write that was reported last.
    refused: Option<CommandError>,
    /// The server's refusal of a subscription that was reported last.
    unheard: Option<CommandError>,
    in_flight: HashMap<CommandId, InFlight, Numbered>,
    /// How many of these ask on behalf of requests.
    asking: usize,
    /// The namespaces whose servers are being counted for the application, and the commands that do it.
    counts: BTreeMap<Ticket, (ByteString, CommandId)>,
    published: usize,
    published_bytes: usize,
    timers: Timers,
    /// What has come and has not been looked at: it changes rooms, so it is looked at only as its events are polled.
    pending: VecDeque<Pending>,
    events: VecDeque<Event>,
}

/// Something that has come beside the streams.
#[derive(Debug)]
enum Pending {
    /// A message of this node's has its place in the stream, if it has one, and now does here what it does elsewhere.
    Effect(Box<Due>, Option<EntryId>),
    /// A Pub/Sub message.
    Message(Box<Message>),
    /// A request in the classic form.
    Request(ByteString, NodeId, Box<classic::Request>),
    /// A response in the classic form. What it means depends on what was asked.
    Response(Box<classic::Keys>),
}

impl Pending {
    fn is_for(&self, nsp: &str) -> bool {
        match self {
            Pending::Effect(due, _) => due.effect.nsp == *nsp,
            Pending::Message(message) => message.nsp == *nsp,
            Pending::Request(of, ..) => of == nsp,
            // Nobody waits for it once the namespace's requests are over.
            Pending::Response(_) => false,
        }
    }
}

/// A command whose reply has not come.
#[derive(Debug)]
struct InFlight {
    /// Kept where it may have to be handed out again.
    command: Option<Box<Command>>,
    purpose: Purpose,
}

/// What a command is for.
#[derive(Debug)]
enum Purpose {
    /// Where does the stream end?
    Locate(ByteString),
    /// How many entries does the server count?
    Check(ByteString),
    /// What is new in the stream?
    Read(ByteString),
    /// Hear these namespaces' patterns, and then their channels.
    Patterns(Vec<ByteString>),
    /// Hear these namespaces' channels.
    Subscribe(Vec<ByteString>),
    /// Hear channels of the namespace's rooms.
    Rooms(ByteString),
    /// Hear channels no longer.
    Unheard,
    /// Say the message of this number.
    Publish { line: Line, seq: u64 },
    /// Was it added?
    Search(ByteString),
    /// Who will hear the question?
    CountFor(Ticket, Box<Census>),
    /// Who is still there to answer in the namespace?
    Recheck(Box<Census>),
    /// Which names do the namespace's subscribers bear?
    Names(ByteString),
    /// How many servers are there?
    ServerCount(Ticket, Box<Census>),
    /// Store a session.
    SaveSession(Ticket),
    /// What is stored of the session?
    ReadSession(Ticket),
    /// Take the session, before somebody else does.
    TakeSession(Ticket),
    /// What came before the stream's window?
    Page(ByteString),
    /// Leave the namespace, which was closed as the one of this number.
    Leave(ByteString, u64),
    /// Give up the connection.
    Release,
}

impl Purpose {
    /// Whether the command serves a request, which may be over before the reply comes.
    fn asks(&self) -> bool {
        matches!(self, Purpose::CountFor(..) | Purpose::ServerCount(..))
    }

    /// Returns `true` if the command subscribes to something.
    fn subscribes(&self) -> bool {
        matches!(self, Purpose::Patterns(_) | Purpose::Subscribe(_) | Purpose::Rooms(_))
    }

    /// The namespaces that the command subscribes to as a whole.
    fn subscribed_names(&self) -> &[ByteString] {
        match self {
            Purpose::Patterns(names) | Purpose::Subscribe(names) => names,
            _ => &[],
        }
    }
}

/// What a published message does on this node itself, once it has its place in the stream.
#[derive(Debug)]
struct Effect {
    nsp: ByteString,
    kind: EffectKind,
}

/// What is done when it has its place, if the namespace is not closed until then: another of the same name is not meant.
#[derive(Debug)]
struct Due {
    effect: Effect,
    /// How many namespaces had been closed when it was called.
    closings: u64,
}

#[derive(Debug)]
enum EffectKind {
    Broadcast { packet: Packet, opts: BroadcastOptions },
    Join { opts: BroadcastOptions, rooms: Vec<ByteString> },
    Leave { opts: BroadcastOptions, rooms: Vec<ByteString> },
    Disconnect { opts: BroadcastOptions, close: bool },
}

impl EffectKind {
    /// What the message does on each node, unless it asks something.
    fn of(body: Body) -> Option<Self> {
        Some(match body {
            Body::Broadcast { packet, opts, request_id: None } => EffectKind::Broadcast { packet, opts },
            Body::SocketsJoin { opts, rooms } => EffectKind::Join { opts, rooms },
            Body::SocketsLeave { opts, rooms } => EffectKind::Leave { opts, rooms },
            Body::DisconnectSockets { opts, close } => EffectKind::Disconnect { opts, close },
            _ => return None,
        })
    }
}

pub(crate) use calls::check_server_event;
pub(crate) use content::Content;

impl Engine {
    /// A node that has no namespace yet.
    ///
    /// `seed` decides the node's name, the ids of its requests and the keys of its hash tables: draw it at random, and not twice the same in a
    /// cluster.
    ///
    /// # Errors
    ///
    /// If the options can't work together.
    pub fn new(config: Config, seed: u64, now: Time) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut rng = fastrand::Rng::with_seed(seed);
        let uid = NodeId::new(hex16(rng.u64(..)));
        let hash = Keyed(rng.u64(..), rng.u64(..));
        Ok(Engine {
            config,
            uid,
            hash,
            rng,
            now,
            count: 0,
            namespaces: HashMap::with_hasher(hash),
            channels: HashMap::with_hasher(hash),
            hashed: BTreeSet::new(),
            closings: 0,
            closing: BTreeMap::new(),
            readers: BTreeMap::new(),
            unread: VecDeque::new(),
            publishers: BTreeMap::new(),
            eager: BTreeSet::new(),
            last_seq: 0,
            requests: Requests::new(hash),
            recoveries: Recoveries::new(hash),
            lanes: Lanes::default(),
            refused: None,
            unheard: None,
            in_flight: HashMap::with_hasher(Numbered),
            asking: 0,
            counts: BTreeMap::new(),
            published: 0,
            published_bytes: 0,
            timers: Timers::default(),
            pending: VecDeque::new(),
            events: VecDeque::new(),
        })
    }

    /// The name of this node in the cluster.
    pub fn uid(&self) -> &NodeId {
        &self.uid
    }

    /// The options.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The sockets and rooms of a namespace, if it is open.
    pub fn rooms(&self, nsp: &str) -> Option<&Rooms> {
        self.namespaces.get(nsp).map(|namespace| &namespace.rooms)
    }

    /// The next event, until there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.poll_pending_event() {
                return Some(event);
            }
            // Here, so that who is slow to take events finds these waiting outside, within their own bounds.
            if let Some(ticket) = self.recoveries.next_ready() {
                self.restore(ticket);
                continue;
            }
            let (stream, entry, last) = self.next_entry()?;
            let event = self.look_at(&stream, &entry);
            if last {
                self.is_heard(&stream);
            }
            // What it has put among the events happened before it. Nearly always it has put none, and need not be moved there: it is large.
            if self.events.is_empty() {
                self.looked_at(&stream, entry.id);
                if event.is_some() {
                    return event;
                }
            } else {
                self.events.extend(event);
                self.looked_at(&stream, entry.id);
            }
        }
    }

    /// The next event among those that have happened already: no further entry is looked at.
    ///
    /// For a caller whose application takes no more broadcasts just now, but waits for what becomes of its own calls.
    pub fn poll_pending_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let event = match self.pending.pop_front()? {
                Pending::Effect(due, _) if !self.is_meant(&due) => None,
                Pending::Effect(due, entry) => self.apply(due.effect, entry, self.uid.clone()),
                Pending::Message(message) => self.receive(*message),
                Pending::Request(nsp, from, request) => self.receive_classic(&nsp, from, *request),
                Pending::Response(keys) => self.receive_classic_response(&keys).err().map(|reason| {
                    let channel = self.config.channel_prefix.clone();
                    Event::Skipped { source: Source::Channel { channel }, reason }
                }),
            };
            if let Some(event) = self.or_before(event) {
                return Some(event);
            }
        }
    }

    /// This event, or the first of those that happened before it, which it then waits for. An event is large: one that need not wait is not put
    /// among those that do.
    fn or_before(&mut self, event: Option<Event>) -> Option<Event> {
        if self.events.is_empty() {
            return event;
        }
        self.events.extend(event);
        self.events.pop_front()
    }

    /// The next command, until there is none. Its reply goes to [`handle_reply`](Engine::handle_reply).
    ///
    /// Commands of the same [lane](Command::lane) must reach the server in the order in which they are polled.
    pub fn poll_command(&mut self) -> Option<(CommandId, Command)> {
        let next = self.lanes.pop().or_else(|| self.next_publication());
        if let Some((_, Command::XInfoStream { stream })) = &next {
            self.asking(stream);
        }
        next
    }

    /// When [`handle_timeout`](Engine::handle_timeout) is due, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Does what is due. Calling it too early does no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        self.advance(now);
        while let Some(timer) = self.timers.pop(self.now) {
            match timer {
                Timer::Heartbeat(nsp) => self.heartbeat_due(&nsp),
                Timer::Expiry(nsp) => self.expiry_due(&nsp),
                Timer::RequestTimeout(ticket) => self.request_due(ticket),
                Timer::Recheck(nsp) => self.recheck(&nsp),
                Timer::GiveUp(line) => self.give_up_due(&line),
                Timer::Retry(lane) => self.lanes.resume(&lane),
                Timer::Resubscribe(nsp) => self.subscribe(vec![nsp]),
                Timer::Session(ticket) => self.session_due(ticket),
                Timer::Leave(nsp) => self.leave_due(&nsp),
            }
        }
    }

    /// A connection was lost, or is there (again).
    ///
    /// Report a loss before the errors of the commands that it took with it: the engine then waits for the connection to come back, and does not
    /// try them again by itself after a while. A connection counts as there until it is reported lost.
    pub fn handle_link(&mut self, now: Time, lane: &Lane, up: bool) {
        self.advance(now);
        if !self.lanes.set_up(lane, up) {
            return;
        }
        self.events.push_back(Event::Link { lane: lane.clone(), up });
        if (lane, up) == (&Lane::Writer, true) {
            self.beat_again();
        }
        if let (Lane::Reader(stream), false) = (lane, up) {
            self.reader_lost(stream);
        }
        if *lane == Lane::Subscriber {
            self.subscriber_changed(up);
        }
    }

    /// A Pub/Sub message has come, by a subscription to its channel or to a pattern.
    pub fn handle_push(&mut self, now: Time, channel: &str, payload: &Bytes) {
        self.advance(now);
        let Some((nsp, carries)) = self.carried(channel) else { return };
        match self.read_push(&nsp, carries, payload).and_then(believable) {
            Ok(Some(pending)) => self.pending.push_back(pending),
            Ok(None) => {}
            Err(reason) => {
                let channel = ByteString::from(channel);
                self.events.push_back(Event::Skipped { source: Source::Channel { channel }, reason });
            }
        }
    }

    /// What a Pub/Sub message says, if it concerns the namespace.
    fn read_push(
        &self,
        nsp: &ByteString,
        carries: Carries,
        payload: &Bytes,
    ) -> Result<Option<Pending>, WireError> {
        let own = |message: Message| (message.nsp == *nsp).then(|| Pending::Message(Box::new(message)));
        if matches!(carries, Carries::Messages | Carries::Room) {
            let decode = match self.config.dialect {
                Dialect::Sharded => pubsub::decode_sharded,
                _ => pubsub::decode,
            };
            return Ok(own(decode(payload)?));
        }
        let payload = self.config.unparsed(payload).map_err(WireError::Codec)?;
        Ok(match carries {
            Carries::Requests => {
                let (from, request) = classic::decode_request(&payload)?;
                (from != self.uid).then(|| Pending::Request(nsp.clone(), from, Box::new(request)))
            }
            Carries::Responses => Some(Pending::Response(Box::new(classic::Keys::read(&payload)?))),
            Carries::Broadcasts | Carries::Messages | Carries::Room => {
                own(classic::decode_broadcast(&payload)?)
            }
        })
    }

    /// The reply to a command has come, or will never come. Replies to unknown commands are passed over.
    pub fn handle_reply(&mut self, now: Time, id: CommandId, reply: Result<Reply, CommandError>) {
        self.advance(now);
        self.replied(id, reply);
    }

    fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn command(&mut self, command: Command, purpose: Purpose) -> CommandId {
        let id = CommandId(self.number());
        self.expect(id, Some(Box::new(command.clone())), purpose);
        self.lanes.push(id, command);
        id
    }

    fn expect(&mut self, id: CommandId, command: Option<Box<Command>>, purpose: Purpose) {
        self.asking += usize::from(purpose.asks());
        self.in_flight.insert(id, InFlight { command, purpose });
    }

    /// Takes back a command that has not been handed out; whether it could.
    fn withdraw(&mut self, lane: &Lane, command: CommandId) -> bool {
        let waits = self.lanes.withdraw(lane, command);
        if waits && let Some(InFlight { purpose, .. }) = self.in_flight.remove(&command) {
            self.asking -= usize::from(purpose.asks());
        }
        waits
    }

    /// Hands out nothing more for the lane, for a while, unless its link is known to be down: then until it is back.
    fn rest(&mut self, lane: &Lane) {
        if !self.lanes.is_down(lane) {
            self.lanes.pause(lane);
            if !mutant!(RetryNotRearmed) {
                self.timers.arm(Timer::Retry(lane.clone()), self.now + RETRY);
            }
        }
    }
}

/// The same, unless it would be kept under a name that no node bears.
fn believable(pending: Option<Pending>) -> Result<Option<Pending>, WireError> {
    match &pending {
        Some(Pending::Message(message)) => check_name(message.uid.as_str())?,
        Some(Pending::Request(_, from, _)) => check_name(from.as_str())?,
        _ => {}
    }
    Ok(pending)
}

/// Whether a node may bear this name. Names of others are kept, so they are no longer than need be.
fn check_name(uid: &str) -> Result<(), WireError> {
    match uid.len() {
        size if size > MAX_NAME => Err(WireError::NameTooLong { size, limit: MAX_NAME }),
        _ => Ok(()),
    }
}
