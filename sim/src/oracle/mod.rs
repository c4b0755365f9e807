//! The rules that must hold in every run.
//!
//! | file | rule |
//! |---|---|
//! | [`reading`] | each reader reads each entry once; missing entries are reported, with their number |
//! | [`delivery`] | each message is told once, in order, unchanged; its local effect happens once |
//! | [`fates`] | each call's fate is told once and is true; each message is published once, in order |
//! | [`channels`] | without streams: each node hears what it should, once, and nothing else |
//! | [`clients`] | a client that drops and comes back has got just what it should have |
//! | [`requests`] | each request ends in time; a node that is said to have answered has answered |
//! | [`silence`] | no node is declared dead that could speak, or could not be heard |
//! | [`members`] | nodes know each other, and no living node is declared dead |
//!
//! Also, Node servers can process every entry of ours, no more is in flight than allowed, and
//! nothing is left behind.

pub(crate) mod channels;
pub(crate) mod clients;
mod delivery;
mod fates;
mod log;
mod members;
mod reading;
mod requests;
mod rooms;
mod silence;
mod withheld;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use bytestring::ByteString;
use sio_streams_core::wire::pubsub;
use sio_streams_core::{
    BroadcastOptions, CallError, Command, Config, EntryId, Event, Fields, Lane, NodeId, Reply, RoomOwner,
    Ticket, Time,
};

use crate::fault::Fault;
use crate::peer_validity;
use crate::watch::{Happening, PeerNote, Watch};
use crate::world::Network;
use delivery::Expected;
pub(crate) use fates::{Deed, Fate};
use log::{History, Written};
use reading::ReaderView;
pub(crate) use requests::Ask;
pub(crate) use rooms::RoomModel;

/// Questions are numbered from here on, beyond all calls that publish.
const FIRST_QUESTION: u64 = 1_000_000_000;

/// Something that must not happen has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) at: Time,
    /// The broken rule, in few words: two runs that break the same rule fail alike.
    pub(crate) rule: &'static str,
    pub(crate) details: String,
}

/// A node of ours, as far as it can be seen from outside.
#[derive(Debug)]
pub(crate) struct HostView {
    pub(crate) ours: bool,
    pub(crate) uid: NodeId,
    pub(crate) alive: bool,
    /// Counts its starts.
    pub(crate) life: u64,
    pub(crate) config: Config,
    /// The namespaces that are open, with their sockets.
    pub(crate) open: BTreeMap<ByteString, RoomModel>,
    /// Namespaces that could not be opened together with others.
    pub(crate) refused: BTreeSet<ByteString>,
    /// The number of times that each namespace was opened.
    openings: BTreeMap<ByteString, u64>,
    /// Namespaces that are being left.
    pub(crate) closing: BTreeSet<ByteString>,
    readers: BTreeMap<ByteString, ReaderView>,
    pushed: VecDeque<Expected>,
    /// The number of messages that came through channels and can't be read. They are told before
    /// what waits.
    skipped_pushes: u64,
    hearing: channels::Hearing,
    own: VecDeque<Expected>,
    /// The namespace and the addressees of the broadcast that was told last.
    addressed: Option<(ByteString, BroadcastOptions)>,
    pub(crate) members: BTreeMap<ByteString, BTreeSet<NodeId>>,
    /// The time by this host's clock when the last entry of that node came; and `true` if its
    /// farewell has come.
    heard: BTreeMap<(ByteString, NodeId), (Time, bool)>,
    /// The namespaces that it has told to be ready, and when.
    pub(crate) ready: BTreeMap<ByteString, Time>,
    tickets: BTreeMap<Ticket, u64>,
    unsettled: usize,
    /// The time of its last search of a stream for what it had published.
    searched: BTreeMap<ByteString, Time>,
    /// The process stood still, or its clock jumped, at that time last.
    disturbed: Option<Time>,
    /// The time up to which the application takes no events.
    drowsy: Option<Time>,
    pub(crate) asks: requests::Asks,
    /// The channels that it hears, as the server sees it, and since when.
    hears: BTreeMap<ByteString, Time>,
    /// The times of its recent requests for lists of channels.
    lists: BTreeMap<ByteString, VecDeque<Time>>,
}

/// A call with its number.
#[derive(Debug)]
struct Numbered {
    first: Rc<Written>,
    /// The entry that it became; the last one, if there are several.
    id: EntryId,
    at: Time,
    /// The number of times that it was written.
    times: u32,
}

/// Looks on, and finds fault.
#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) now: Time,
    pub(crate) hosts: Vec<HostView>,
    histories: BTreeMap<ByteString, History>,
    pub(crate) deeds: Vec<Deed>,
    questions: u64,
    /// The questions that Redis has executed.
    questions_executed: BTreeSet<u64>,
    /// The sequence numbers that were seen, and their entries.
    numbers: BTreeMap<(NodeId, ByteString, u64), Numbered>,
    /// All names that were ever somebody's.
    names: BTreeSet<NodeId>,
    /// The nodes in whose name somebody else has written.
    forged: BTreeSet<NodeId>,
    /// Until then there are subscriptions that nobody holds any more, and the server may count
    /// them.
    heard_less: Time,
    counting: bool,
    /// Streams that somebody has trimmed by hand.
    trimmed: BTreeSet<ByteString>,
    /// The streams of which nothing was left.
    emptied: BTreeSet<ByteString>,
    /// The number of reported gaps.
    pub(crate) gaps: u64,
    pub(crate) peer_answers: BTreeMap<u64, PeerNote>,
    pub(crate) clients: clients::Clients,
    /// The time for which a host waits for a reply.
    response: Duration,
    /// The longest time that a message takes if nothing is wrong.
    latency: Duration,
    silences: silence::Silences,
    withheld: withheld::Withheld,
    pub(crate) violation: Option<Violation>,
}

impl Oracle {
    pub(crate) fn new(counting: bool, network: &Network) -> Self {
        Oracle {
            now: Time::ZERO,
            hosts: Vec::new(),
            histories: BTreeMap::new(),
            deeds: Vec::new(),
            questions: 0,
            questions_executed: BTreeSet::new(),
            numbers: BTreeMap::new(),
            names: BTreeSet::new(),
            forged: BTreeSet::new(),
            heard_less: Time::ZERO,
            counting,
            trimmed: BTreeSet::new(),
            emptied: BTreeSet::new(),
            gaps: 0,
            peer_answers: BTreeMap::new(),
            clients: clients::Clients::default(),
            response: network.response,
            latency: network.latency.1,
            silences: silence::Silences::default(),
            withheld: withheld::Withheld::default(),
            violation: None,
        }
    }

    /// Tells of a host before it is there.
    pub(crate) fn expect_host(&mut self, ours: bool, config: &Config) {
        self.hosts.push(HostView {
            ours,
            uid: NodeId::new(""),
            alive: false,
            life: 0,
            config: config.clone(),
            open: BTreeMap::new(),
            refused: BTreeSet::new(),
            openings: BTreeMap::new(),
            closing: BTreeSet::new(),
            readers: BTreeMap::new(),
            pushed: VecDeque::new(),
            skipped_pushes: 0,
            hearing: channels::Hearing::default(),
            own: VecDeque::new(),
            addressed: None,
            members: BTreeMap::new(),
            heard: BTreeMap::new(),
            ready: BTreeMap::new(),
            tickets: BTreeMap::new(),
            unsettled: 0,
            searched: BTreeMap::new(),
            disturbed: None,
            drowsy: None,
            asks: requests::Asks::default(),
            hears: BTreeMap::new(),
            lists: BTreeMap::new(),
        });
    }

    pub(crate) fn fail(&mut self, rule: &'static str, details: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(Violation { at: self.now, rule, details: details.into() });
        }
    }

    /// A namespace could not be opened: its channels would be taken for others'. That is so only
    /// for names with a hash.
    pub(crate) fn namespace_refused(&mut self, host: usize, nsp: &ByteString) {
        let hashes = nsp.contains('#') || self.hosts[host].open.keys().any(|other| other.contains('#'));
        self.hosts[host].refused.insert(nsp.clone());
        if !hashes {
            self.fail("a namespace is refused for no reason", format!("host {host}, {nsp}"));
        }
    }

    /// A call was refused.
    pub(crate) fn refused(&mut self, host: usize, nsp: &str, error: &CallError) {
        let view = &self.hosts[host];
        let open = view.open.contains_key(nsp);
        let limits = view.config.limits;
        let right = match error {
            CallError::UnknownNamespace(_) => !open,
            CallError::Overlap(..) => open,
            CallError::Full { limit, .. } => *limit == limits.in_flight || *limit == limits.requests,
            _ => false,
        };
        let generous = matches!(error, CallError::Full { limit, .. } if *limit > 1_000);
        if !right || generous {
            self.fail("a call is refused for no reason", format!("host {host}, {nsp}: {error}"));
        }
    }

    /// The number of the next question.
    pub(crate) fn next_question(&mut self) -> u64 {
        self.questions += 1;
        FIRST_QUESTION + self.questions
    }

    /// The host whose name this is.
    fn ours_named(&self, uid: &NodeId) -> Option<usize> {
        self.hosts.iter().position(|host| host.ours && host.uid == *uid)
    }

    fn started(&mut self, host: usize, uid: &str) {
        let view = &mut self.hosts[host];
        view.uid = NodeId::new(uid.to_owned());
        self.names.insert(view.uid.clone());
        view.alive = true;
        view.life += 1;
        view.disturbed = Some(self.now);
    }

    fn died(&mut self, host: usize) {
        self.clients_cut_off(host, None);
        self.silence_begins_anew(host);
        let view = &mut self.hosts[host];
        view.alive = false;
        view.open.clear();
        view.refused.clear();
        view.readers.clear();
        view.pushed.clear();
        view.skipped_pushes = 0;
        view.hearing = channels::Hearing::default();
        view.own.clear();
        view.members.clear();
        view.heard.clear();
        view.ready.clear();
        view.closing.clear();
        view.tickets.clear();
        view.unsettled = 0;
        view.searched.clear();
        view.asks = requests::Asks::default();
        view.lists.clear();
        for deed in self.deeds.iter_mut().filter(|deed| deed.host == host && deed.fate == Fate::Open) {
            deed.fate = Fate::Orphaned;
        }
    }

    fn executed(
        &mut self,
        host: usize,
        command: &Command,
        reply: &Result<Reply, sio_streams_core::CommandError>,
    ) {
        if reply.is_ok() && host != usize::MAX {
            self.silences.server_worked(self.now);
        }
        match (command, reply) {
            (Command::XAdd { stream, fields, .. }, Ok(Reply::Added(id))) => {
                self.added(host, stream, *id, Rc::new(Written::read(self.now, fields, host == usize::MAX)));
            }
            (Command::XAdd { fields, .. }, Err(_)) => self.entry_refused(fields),
            (Command::Publish { payload, .. }, Ok(_)) if host == usize::MAX => {
                self.names.extend(pubsub::decode(payload).ok().map(|message| message.uid));
            }
            (Command::Publish { channel, payload, .. }, Ok(_)) => self.spoken(host, channel, payload),
            (Command::XRange { stream, .. }, Ok(_)) => {
                if let Some(view) = self.hosts.get_mut(host).filter(|host| host.ours) {
                    view.searched.insert(stream.clone(), self.now);
                }
            }
            (Command::Set { .. } | Command::GetDel { .. }, Ok(_)) => self.session_executed(command),
            _ => {}
        }
    }

    /// An entry was added to a stream.
    fn added(&mut self, host: usize, stream: &ByteString, id: EntryId, written: Rc<Written>) {
        if self.hosts.get(host).is_some_and(|host| host.ours) {
            if let Err(reason) = peer_validity::entry(&written.fields) {
                self.fail("an entry that Node servers can't process", format!("{id}: {reason}"));
            }
            let is_new = self.numbered(stream, id, &written);
            // An entry that comes late is no sign of life: its author wrote it long ago.
            if let Some(message) = written.message.as_ref().filter(|_| is_new) {
                self.spoke(&message.nsp, &message.uid);
            }
        }
        if host == usize::MAX
            && let Some(message) = &written.message
        {
            self.names.insert(message.uid.clone());
            if written.dubious {
                self.forged.insert(message.uid.clone());
            }
        }
        self.unreachable_for_some(stream, id, &written);
        if let Some(call) = written.call {
            self.questions_executed.extend(Some(call).filter(|call| *call > FIRST_QUESTION));
            self.deed_executed(call, stream, id);
        }
        self.histories.entry(stream.clone()).or_default().add(id, written);
    }

    /// A sequence number means one message. Returns `true` if this entry is the first with the
    /// number, and none with a higher one came before it.
    fn numbered(&mut self, stream: &ByteString, id: EntryId, written: &Rc<Written>) -> bool {
        let (Some(seq), Some(message)) = (written.seq, &written.message) else {
            self.fail("an entry without a number", format!("{:?}", written.fields));
            return true;
        };
        let (key, at) = ((message.uid.clone(), stream.clone(), seq), self.now);
        let above = (message.uid.clone(), stream.clone(), seq.saturating_add(1))
            ..=(message.uid.clone(), stream.clone(), u64::MAX);
        let is_overtaken = self.numbers.range(above).next().is_some();
        let first = || Numbered { first: written.clone(), id, at, times: 0 };
        let numbered = self.numbers.entry(key).or_insert_with(first);
        (numbered.id, numbered.at) = (id, at);
        numbered.times += 1;
        let is_new = numbered.times == 1 && !is_overtaken;
        if numbered.first.fields != written.fields {
            let details = format!("{seq}: {:?} and {:?}", numbered.first.fields, written.fields);
            self.fail("one number for two messages", details);
        }
        is_new
    }

    /// A node hands out an entry. Not for the second time, unless it has looked for the first one,
    /// and that came later (perhaps at the same moment) or is gone.
    fn hands_out(&mut self, host: usize, stream: &ByteString, fields: &Fields) {
        let view = &self.hosts[host];
        let retained = view.config.max_len >= 1_000 && !self.trimmed.contains(stream);
        // Ids begin anew, perhaps lower, where a server has lost the last ones: what is searched
        // from the old ones on is not found.
        let rising = self.histories.get(stream).is_none_or(|history| history.losses() == 0);
        let Some(seq) = log::number(fields).filter(|_| retained && rising) else { return };
        let Some(before) = self.numbers.get(&(view.uid.clone(), stream.clone(), seq)) else { return };
        let there = self.histories.get(stream).is_some_and(|history| history.has(before.id));
        let searched = view.searched.get(stream).copied();
        if there && searched.is_none_or(|searched| before.at < searched) {
            let details = format!(
                "host {host}, {stream}: {seq} is {}, and was searched for at {searched:?}",
                before.id
            );
            self.fail("sent again, though it is in the stream", details);
        }
    }

    fn event(&mut self, host: usize, event: &Event) {
        if let Event::Broadcast(delivery) = event {
            let view = &mut self.hosts[host];
            let own = view.config.room_owner == RoomOwner::Application;
            view.addressed = own.then(|| (delivery.nsp.clone(), delivery.opts.clone()));
        }
        match event {
            Event::Ready { nsp } => {
                self.hosts[host].ready.insert(nsp.clone(), self.now);
            }
            Event::Closed { nsp } => self.left(host, nsp),
            Event::Restored(restored) => self.restored(host, restored),
            Event::NotRecovered { ticket, reason } => self.not_recovered(host, *ticket, reason),
            Event::Broadcast(_)
            | Event::SocketsJoin(_)
            | Event::SocketsLeave(_)
            | Event::DisconnectSockets { .. }
            | Event::FetchSockets { .. }
            | Event::ServerSideEmit { .. }
            | Event::Skipped { .. }
            | Event::Repeated { .. } => self.told(host, event),
            Event::Published { ticket, entry } => self.published(host, *ticket, *entry),
            Event::PublishFailed { ticket, error } => self.publish_failed(host, *ticket, error),
            Event::Answer { ticket, from, answer } => self.answered(host, *ticket, from.as_ref(), answer),
            Event::RequestDone { ticket, outcome } => self.request_done(host, *ticket, outcome),
            Event::ServerCount { ticket, count } => self.counted(host, *ticket, count),
            Event::NodeUp { nsp, node } => self.node_up(host, nsp, node),
            Event::NodeDown { nsp, node, reason } => self.node_down(host, nsp, node, *reason),
            Event::Rewound { stream, cursor, last, lost } => {
                self.rewound(host, stream, *cursor, *last, *lost)
            }
            Event::Gap { stream, after, until, lost } => self.gap(host, stream, *after, *until, *lost),
            // So it looks.
            Event::NameTaken { .. } if self.forged.contains(&self.hosts[host].uid) => {}
            Event::NameTaken { stream, id } => {
                self.fail("a name is said to be taken", format!("host {host}, {stream} {id}"));
            }
            _ => {}
        }
    }

    fn asked(&mut self, host: usize, id: sio_streams_core::CommandId, command: &Command) {
        match command {
            Command::XAdd { stream, fields, .. } => self.hands_out(host, stream, fields),
            Command::XRead { stream, after, count, .. } => self.reads(host, stream, *after, *count),
            Command::XInfoStream { stream } => self.locates(host, stream, id),
            Command::Release { lane: Lane::Reader(stream) } => {
                self.hosts[host].readers.remove(stream);
            }
            Command::PubSubChannels { pattern, .. } => self.asks_for_list(host, pattern),
            Command::GetDel { .. } => self.session_asked(host, id, command),
            _ => self.asks_to_hear(host, id, command),
        }
    }

    fn replied(
        &mut self,
        host: usize,
        lane: &Lane,
        id: sio_streams_core::CommandId,
        reply: &Result<Reply, sio_streams_core::CommandError>,
    ) {
        match (lane, reply) {
            (Lane::Reader(stream), Ok(Reply::Stream(info))) => self.located(host, stream, id, info.as_ref()),
            (Lane::Reader(stream), Ok(Reply::Entries(entries))) => self.handed(host, stream, entries),
            (Lane::Reader(stream), Err(sio_streams_core::CommandError::Lost(_))) => {
                if let Some(reader) = self.hosts[host].readers.get_mut(stream) {
                    reader.broken = true;
                    reader.searching |= reader.doubtful;
                }
            }
            (Lane::Recovery, reply) => self.session_replied(host, id, reply),
            (Lane::Subscriber, reply) => self.hearing_replied(host, id, reply),
            _ => {}
        }
    }

    /// Returns the time at which everybody has had the time to subscribe to what was withheld.
    pub(crate) fn nothing_is_withheld_at(&self) -> Option<Time> {
        self.withheld.is_over_at()
    }

    fn faulted(&mut self, fault: &Fault) {
        self.silenced_by(fault);
        if let Fault::SlowApp { host, lasts } = fault {
            let until = Some(self.now + *lasts);
            self.hosts[*host].drowsy = self.hosts[*host].drowsy.max(until);
        }
        match fault {
            Fault::Pause { host, .. } | Fault::SlowApp { host, .. } | Fault::ClockJump { host, .. } => {
                self.hosts[*host].disturbed = Some(self.now);
            }
            Fault::Withhold { channels, lasts } => self.withheld.add(channels, self.now + *lasts),
            Fault::Trim { stream, length } => {
                self.trimmed.insert(stream.clone());
                if *length == 0 {
                    self.emptied.insert(stream.clone());
                }
            }
            _ => {}
        }
    }
}

impl Watch for Oracle {
    fn saw(&mut self, now: Time, what: &Happening<'_>) {
        self.now = now;
        match what {
            Happening::Started { host, uid } => self.started(*host, uid),
            Happening::Died { host } => self.died(*host),
            Happening::Asked { host, id, command } => self.asked(*host, *id, command),
            Happening::Executed { host, command, reply } => self.executed(*host, command, reply),
            Happening::Replied { host, lane, id, reply } => self.replied(*host, lane, *id, reply),
            Happening::Pushed { host, channel, payload } => self.pushed(*host, channel, payload),
            Happening::Event { host, event } => self.event(*host, event),
            Happening::Sent { host, sockets } => self.sent(*host, sockets),
            Happening::Drained { host } => self.drained(*host),
            Happening::TailLost { stream, entries } => self.tail_lost(stream, *entries),
            Happening::Fault(fault) => self.faulted(fault),
            Happening::Healed { host: Some(host), .. } => self.hosts[*host].disturbed = Some(now),
            Happening::Peer { host, note } => self.noted(*host, note),
            Happening::Link { host, lane, up } => {
                self.silenced_by_link(*host, lane, *up);
                self.subscriber_link(*host, lane, *up);
            }
            Happening::Hears { host, channels, less } => self.hears(*host, channels, *less),
            Happening::Healed { .. } => {}
        }
    }
}
