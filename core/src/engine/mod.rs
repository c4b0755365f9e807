//! The engine: the logic of one node of the cluster, without any I/O.

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

/// The longest accepted name of a node, in bytes. The names of the adapters have 16 to 20 bytes.
const MAX_NAME: usize = 256;

/// A node of a Socket.IO cluster, as a state machine.
///
/// It does no I/O and has no clock. The caller reports each thing that happens by a method call
/// that carries the time. The caller then takes out everything that follows from it, until there is
/// no more:
///
/// - [`poll_event`](Engine::poll_event): what the application should know or do;
/// - [`poll_command`](Engine::poll_command): what Redis should do;
/// - [`poll_timeout`](Engine::poll_timeout): when to call
///   [`handle_timeout`](Engine::handle_timeout) if nothing else happens.
///
/// Poll for events first. The entries of a read are processed one at a time, as events are polled.
/// The engine asks for the next read only when they are used up. An application that is slow to
/// take events therefore slows down the reading of its streams, and nothing else. The streams are
/// the buffer.
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
    /// The open server counts of the application: the namespace of each, and the command that
    /// counts.
    counts: BTreeMap<Ticket, (ByteString, CommandId)>,
    /// Inputs that have arrived but have not been processed. They change rooms, so each is
    /// processed only when its events are polled.
    pending: VecDeque<Pending>,
}

/// An input that waits to be processed and is not an entry of a stream.
#[derive(Debug)]
enum Pending {
    /// The effect on this node of one of its own messages, with the message's entry in the stream,
    /// if it has one. The message has the same effect on the other nodes.
    Effect(Box<Due>, Option<EntryId>),
    /// A Pub/Sub message.
    Message(Box<Message>),
    /// A request in the classic form.
    Request(ByteString, NodeId, Box<classic::Request>),
    /// A response in the classic form. Its meaning depends on what was asked.
    Response(Box<classic::Keys>),
}

impl Pending {
    fn is_for(&self, nsp: &str) -> bool {
        match self {
            Pending::Effect(due, _) => due.effect.nsp == *nsp,
            Pending::Message(message) => message.nsp == *nsp,
            Pending::Request(of, ..) => of == nsp,
            // Nobody waits for a response once the namespace's requests are over.
            Pending::Response(_) => false,
        }
    }
}

/// The effect of a published message on this node itself, once the message has its place in the
/// stream.
#[derive(Debug)]
struct Effect {
    nsp: ByteString,
    kind: EffectKind,
}

/// An effect that is due once its message has its place in the stream. It is dropped if the
/// namespace is closed before then, because a later namespace of the same name is not meant.
#[derive(Debug)]
struct Due {
    effect: Effect,
    /// The number of namespaces that had been closed at the time of the call.
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
    /// Returns the effect of the message on each node, or `None` if the message asks something or
    /// has no effect on sockets.
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
    /// Creates a node that has no namespace yet.
    ///
    /// `seed` decides the node's name, the ids of its requests and the keys of its hash tables.
    /// Draw it at random, and do not use the same seed twice in a cluster.
    ///
    /// # Errors
    ///
    /// Returns an error if the options can't work together.
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

    /// Returns the name of this node in the cluster.
    pub fn uid(&self) -> &NodeId {
        &self.cx.uid
    }

    /// Returns the options.
    pub fn config(&self) -> &Config {
        &self.cx.config
    }

    /// Returns the sockets and rooms of a namespace, if it is open.
    pub fn rooms(&self, nsp: &str) -> Option<&Rooms> {
        self.cluster.namespaces.get(nsp).map(|namespace| &namespace.rooms)
    }

    /// Returns the next event, or `None` if there is no more.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.poll_pending_event() {
                return Some(event);
            }
            // Restored sessions are taken only here. If the application is slow to take events, the
            // sessions wait in `recoveries`, outside the event queue, within bounds of their own.
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
            // The events that the entry has queued happened before `event`. Nearly always the entry
            // has queued no events. `event` is then returned directly, because an event is large
            // and costly to move into the queue.
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

    /// Restores a session: adds its socket and makes it join its rooms.
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

    /// Returns the next of the events that have happened already. It processes no further entry.
    ///
    /// This is for a caller whose application takes no more broadcasts for now, but still waits for
    /// the outcome of its own calls.
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

    /// Returns `event`, or the first of the events that happened before it; `event` is then queued
    /// behind them. An event is large, so it is queued only if it has to wait.
    fn or_before(&mut self, event: Option<Event>) -> Option<Event> {
        if self.cx.events.is_empty() {
            return event;
        }
        self.cx.events.extend(event);
        self.cx.events.pop_front()
    }

    /// Returns the next command, or `None` if there is no more. The command's reply goes to
    /// [`handle_reply`](Engine::handle_reply).
    ///
    /// Commands of the same [lane](Command::lane) must reach the server in the order in which they
    /// are polled.
    pub fn poll_command(&mut self) -> Option<(CommandId, Command)> {
        let next = self.cx.lanes.pop().or_else(|| self.next_message());
        if let Some((_, Command::XInfoStream { stream })) = &next {
            self.inbox.asking(stream, self.outbox.last_published(stream));
        }
        next
    }

    /// Returns the next command of the outbox. In the dialects whose nodes subscribe, a question is
    /// sent right behind the command that counts the nodes that will hear it.
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

    /// Handles the outcomes of messages.
    fn settle(&mut self) {
        while let Some(settled) = self.outbox.next_settled() {
            match settled {
                Settled::TakenAgain => self.cluster.nobody_could_speak(&mut self.cx, None),
                Settled::Published { message, entry, tried } => self.is_published(message, entry, tried),
                Settled::Failed(message, error) => self.has_failed(message, error),
            }
        }
    }

    /// Handles a message that has been published. `entry` is its place in the stream, if it has
    /// one. `tried` is the time of its first try.
    fn is_published(&mut self, message: Outgoing, entry: Option<EntryId>, tried: Time) {
        let Outgoing { nsp, content, what, effect, .. } = message;
        if matches!(content, Content::Entry { .. }) {
            self.cluster.spoke_in(&mut self.cx, &nsp, tried);
        }
        if matches!(what, What::Beat) {
            self.beat_is_out(&nsp);
            self.cluster.beats_next(&mut self.cx, &nsp);
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

    /// Handles a message that will not be sent, or will not be sent again.
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

    /// Returns the time at which [`handle_timeout`](Engine::handle_timeout) is due, if nothing
    /// happens before.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.cx.timers.next()
    }

    /// Does everything that is due. A call that comes too early does no harm.
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

    /// Returns how far the node is behind each of its streams.
    pub fn lags(&self) -> impl Iterator<Item = (&ByteString, Lag)> {
        self.inbox.lags()
    }

    /// Reports that a connection was lost, or that it is there (again).
    ///
    /// Report a loss before the errors of the commands that were lost with the connection. The
    /// engine then waits for the connection to come back, instead of retrying the commands by
    /// itself after a while. A connection counts as there until it is reported lost.
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

    /// Reports a Pub/Sub message, which came by a subscription to its channel or to a pattern.
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

    /// Decodes a Pub/Sub message. Returns `None` if it does not concern the namespace.
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

    /// Reports the reply to a command, or that the reply will never come. Replies to unknown
    /// commands are ignored.
    pub fn handle_reply(&mut self, now: Time, id: CommandId, reply: Result<Reply, CommandError>) {
        self.advance(now);
        self.replied(id, reply);
    }

    fn advance(&mut self, now: Time) {
        self.cx.now = self.cx.now.max(now);
    }
}

/// Passes on `pending`, unless it would be kept under a name that no node bears.
fn believable(pending: Option<Pending>) -> Result<Option<Pending>, WireError> {
    match &pending {
        Some(Pending::Message(message)) => check_name(message.uid.as_str())?,
        Some(Pending::Request(_, from, _)) => check_name(from.as_str())?,
        _ => {}
    }
    Ok(pending)
}

/// Returns an error if no node may bear this name. The names of other nodes are kept in memory, so
/// their length is limited.
fn check_name(uid: &str) -> Result<(), WireError> {
    match uid.len() {
        size if size > MAX_NAME => Err(WireError::NameTooLong { size, limit: MAX_NAME }),
        _ => Ok(()),
    }
}
