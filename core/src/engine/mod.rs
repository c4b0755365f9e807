//! The engine: what a node of the cluster does, without doing it.

mod answering;
mod asking;
mod by_namespace;
mod calls;
mod cluster;
mod content;
mod context;
mod inbox;
mod lanes;
mod namespaces;
mod outbox;
mod purpose;
mod receive;
mod recovery;
mod remote;
mod replies;
mod requests;
mod sockets;
mod timers;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use bytestring::ByteString;

use crate::channel::Carries;
use crate::command::{Command, CommandError, CommandId, Lane, Reply};
use crate::config::{Config, ConfigError, Dialect};
use crate::error::CallError;
use crate::event::{Event, Lag, Source};
use crate::hash::Keyed;
use crate::id::{EntryId, NodeId, Ticket, hex16};
use crate::message::{Body, Message};
use crate::packet::{BroadcastOptions, Packet};
use crate::rooms::Rooms;
use crate::session::Restored;
use crate::time::Time;
use crate::wire::{WireError, classic, pubsub};
use cluster::Cluster;
use context::{Context, InFlight};
use inbox::Inbox;
use outbox::{HandedOut, Next, Outbox, Outgoing, Settled, What};
use purpose::Purpose;
use recovery::{Ready, Recoveries};
use requests::Requests;
use timers::Timer;

/// The longest name of a node that is believed, in bytes. Those of the adapters have 16 to 20.
const MAX_NAME: usize = 256;

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
    cx: Context,
    outbox: Outbox,
    cluster: Cluster,
    inbox: Inbox,
    requests: Requests,
    recoveries: Recoveries,
    /// The namespaces whose servers are being counted for the application, and the commands that do it.
    counts: BTreeMap<Ticket, (ByteString, CommandId)>,
    /// What has come and has not been looked at: it changes rooms, so it is looked at only as its events are polled.
    pending: VecDeque<Pending>,
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
            cx: Context::new(config, uid, hash, rng, now),
            outbox: Outbox::default(),
            cluster: Cluster::new(hash),
            inbox: Inbox::default(),
            requests: Requests::new(hash),
            recoveries: Recoveries::new(hash),
            counts: BTreeMap::new(),
            pending: VecDeque::new(),
        })
    }

    /// The name of this node in the cluster.
    pub fn uid(&self) -> &NodeId {
        &self.cx.uid
    }

    /// The options.
    pub fn config(&self) -> &Config {
        &self.cx.config
    }

    /// The sockets and rooms of a namespace, if it is open.
    pub fn rooms(&self, nsp: &str) -> Option<&Rooms> {
        self.cluster.namespaces.get(nsp).map(|namespace| &namespace.rooms)
    }

    /// The next event, until there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.poll_pending_event() {
                return Some(event);
            }
            // Here, so that who is slow to take events finds these waiting outside, within their own bounds.
            if self.recoveries.has_ready() {
                if let Some(ready) = self.recoveries.next_ready(&mut self.cx) {
                    self.restore(ready);
                }
                continue;
            }
            let (stream, entry, last) = self.inbox.next_entry(&mut self.cx)?;
            let event = self.look_at(&stream, &entry);
            if last {
                self.inbox.is_heard(&mut self.cx, &stream);
            }
            // What it has put among the events happened before it. Nearly always it has put none, and need not be moved there: it is large.
            if self.cx.events.is_empty() {
                self.recoveries.looked_at(&mut self.cx, &stream, entry.id);
                if event.is_some() {
                    return event;
                }
            } else {
                self.cx.events.extend(event);
                self.recoveries.looked_at(&mut self.cx, &stream, entry.id);
            }
        }
    }

    /// A session is restored: its socket comes into its rooms.
    fn restore(&mut self, ready: Ready) {
        let Ready { ticket, nsp, session, missed, position } = ready;
        let Some(namespace) = self.cluster.namespaces.get_mut(&nsp) else { return };
        let mut changes = namespace.rooms.add(session.sid.clone());
        if !mutant!(RestoredOutOfRooms) {
            changes.extend(namespace.rooms.join(&session.sid, session.rooms.iter().cloned()));
        }
        let restored = Restored { ticket, nsp, session, missed, position, changes };
        self.cx.events.push_back(Event::Restored(restored));
    }

    /// The next event among those that have happened already: no further entry is looked at.
    ///
    /// For a caller whose application takes no more broadcasts just now, but waits for what becomes of its own calls.
    pub fn poll_pending_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.cx.events.pop_front() {
                return Some(event);
            }
            let event = match self.pending.pop_front()? {
                Pending::Effect(due, _) if !self.cluster.is_meant(&due) => None,
                Pending::Effect(due, entry) => self.apply(due.effect, entry, self.cx.uid.clone()),
                Pending::Message(message) => self.receive(*message),
                Pending::Request(nsp, from, request) => self.receive_classic(&nsp, from, *request),
                Pending::Response(keys) => self.receive_classic_response(&keys).err().map(|reason| {
                    let channel = self.cx.config.channel_prefix.clone();
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
        if self.cx.events.is_empty() {
            return event;
        }
        self.cx.events.extend(event);
        self.cx.events.pop_front()
    }

    /// The next command, until there is none. Its reply goes to [`handle_reply`](Engine::handle_reply).
    ///
    /// Commands of the same [lane](Command::lane) must reach the server in the order in which they are polled.
    pub fn poll_command(&mut self) -> Option<(CommandId, Command)> {
        let next = self.cx.lanes.pop().or_else(|| self.next_message());
        if let Some((_, Command::XInfoStream { stream })) = &next {
            self.inbox.asking(stream, self.outbox.last_published(stream));
        }
        next
    }

    /// What the outbox has to ask or to send next. A question is sent behind the count of those who will hear it.
    fn next_message(&mut self) -> Option<(CommandId, Command)> {
        loop {
            let HandedOut { id, command, beat } = match self.outbox.poll(&mut self.cx)? {
                Next::Command(handed_out) => handed_out,
                Next::Question { ticket, acts, counted } => match self.requests.contains(ticket) {
                    true if self.cx.config.dialect.subscribes() && !counted => {
                        self.outbox.question_counted();
                        match self.count_for(ticket) {
                            Some(count) => return Some(count),
                            None => continue,
                        }
                    }
                    false if !acts || mutant!(QuestionDropped) => {
                        self.outbox.drop_question(&mut self.cx);
                        continue;
                    }
                    _ => self.outbox.send_next(&mut self.cx)?,
                },
            };
            if let Some((stream, number)) = beat {
                self.inbox.probes(&stream, number, self.cx.now);
            }
            return Some((id, command));
        }
    }

    /// Does what follows from the fates of messages.
    fn settle(&mut self) {
        while let Some(settled) = self.outbox.next_settled() {
            match settled {
                Settled::TakenAgain => self.cluster.nobody_could_speak(&mut self.cx, None),
                Settled::Published(message, entry) => self.is_published(message, entry),
                Settled::Failed(message, error) => self.has_failed(message, error),
            }
        }
    }

    /// A message has its place in the stream, if it has one.
    fn is_published(&mut self, message: Outgoing, entry: Option<EntryId>) {
        let Outgoing { nsp, content, what, effect, .. } = message;
        if matches!(what, What::Beat) {
            self.beat_is_out(&nsp);
        }
        if matches!(content, Content::Entry { .. }) {
            self.cluster.spoke_in(&mut self.cx, &nsp);
        }
        match what {
            What::Message(ticket) => self.cx.events.push_back(Event::Published { ticket, entry }),
            What::Farewell(nsp, number) => self.cluster.left(&mut self.cx, &nsp, number),
            What::Order(ticket) => self.order_published(ticket, entry),
            What::Request { ticket, acts } => self.request_published(ticket, acts, entry),
            What::Notice | What::Beat => {}
        }
        self.pending.extend(effect.map(|effect| Pending::Effect(effect, entry)));
    }

    /// A message will not be sent, or not again.
    fn has_failed(&mut self, message: Outgoing, error: CommandError) {
        let Outgoing { nsp, content, what, effect, .. } = message;
        match what {
            What::Message(ticket) => self.cx.events.push_back(Event::PublishFailed { ticket, error }),
            What::Request { ticket, acts } => self.request_failed(ticket, acts, error),
            What::Order(ticket) if self.requests.contains(ticket) => {
                self.finish_request(ticket, false, Some(error));
            }
            What::Order(ticket) => self.cx.events.push_back(Event::PublishFailed { ticket, error }),
            What::Farewell(nsp, number) => self.cluster.left(&mut self.cx, &nsp, number),
            What::Notice | What::Beat => {
                if matches!(what, What::Beat) {
                    self.beat_is_out(&nsp);
                    if !matches!(&error, CommandError::Server { code, .. } if code == "NOPERM") {
                        self.cluster.beat_failed(&mut self.cx, &nsp);
                    }
                }
                let (Content::Entry { stream, .. } | Content::Push { channel: stream, .. }) = content;
                self.cx.events.push_back(Event::NoticeFailed { stream, error });
            }
        }
        let effect = effect.filter(|_| !mutant!(EffectForgottenOnFailure));
        self.pending.extend(effect.map(|effect| Pending::Effect(effect, None)));
    }

    /// When [`handle_timeout`](Engine::handle_timeout) is due, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.cx.timers.next()
    }

    /// Does what is due. Calling it too early does no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        self.advance(now);
        while let Some(timer) = self.cx.timers.pop(self.cx.now) {
            match timer {
                Timer::Heartbeat(nsp) => self.heartbeat_due(&nsp),
                Timer::Expiry(nsp) => self.expiry_due(&nsp),
                Timer::RequestTimeout(ticket) => self.request_due(ticket),
                Timer::Recheck(nsp) => self.recheck(&nsp),
                Timer::GiveUp(destination) => {
                    self.outbox.expire(&mut self.cx, &destination);
                    self.settle();
                }
                Timer::Retry(lane) => self.cx.lanes.resume(&lane),
                Timer::Resubscribe(nsp) => self.cluster.subscribe(&mut self.cx, vec![nsp]),
                Timer::Session(ticket) => self.recoveries.session_due(&mut self.cx, ticket),
                Timer::Leave(nsp) => self.cluster.leave_due(&mut self.cx, &nsp),
            }
        }
    }

    /// How far the node is behind each of its streams.
    pub fn lags(&self) -> impl Iterator<Item = (&ByteString, Lag)> {
        self.inbox.lags()
    }

    /// A connection was lost, or is there (again).
    ///
    /// Report a loss before the errors of the commands that it took with it: the engine then waits for the connection to come back, and does not
    /// try them again by itself after a while. A connection counts as there until it is reported lost.
    pub fn handle_link(&mut self, now: Time, lane: &Lane, up: bool) {
        self.advance(now);
        if !self.cx.lanes.set_up(lane, up) {
            return;
        }
        self.cx.events.push_back(Event::Link { lane: lane.clone(), up });
        if (lane, up) == (&Lane::Writer, true) {
            self.beat_again();
        }
        if let (Lane::Reader(stream), false) = (lane, up) {
            self.inbox.lost(&mut self.cx, stream);
        }
        if *lane == Lane::Subscriber {
            self.cluster.subscriber_changed(&mut self.cx, up);
        }
    }

    /// A Pub/Sub message has come, by a subscription to its channel or to a pattern.
    pub fn handle_push(&mut self, now: Time, channel: &str, payload: &Bytes) {
        self.advance(now);
        let Some((nsp, carries)) = self.cluster.carried(channel) else { return };
        match self.read_push(&nsp, carries, payload).and_then(believable) {
            Ok(Some(pending)) => self.pending.push_back(pending),
            Ok(None) => {}
            Err(reason) => {
                let channel = ByteString::from(channel);
                self.cx.events.push_back(Event::Skipped { source: Source::Channel { channel }, reason });
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
            let decode = match self.cx.config.dialect {
                Dialect::Sharded => pubsub::decode_sharded,
                _ => pubsub::decode,
            };
            return Ok(own(decode(payload)?));
        }
        let payload = self.cx.config.unparsed(payload).map_err(WireError::Codec)?;
        Ok(match carries {
            Carries::Requests => {
                let (from, request) = classic::decode_request(&payload)?;
                (from != self.cx.uid).then(|| Pending::Request(nsp.clone(), from, Box::new(request)))
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
        self.cx.now = self.cx.now.max(now);
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
