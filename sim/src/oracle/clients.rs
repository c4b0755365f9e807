//! Clients that drop and come back: what a client has got before, what is sent after it, and what
//! it gets from then on is just what it should have got, in order; or it is told, in time, that it
//! is not recovered. A session is taken only by who restores it.
//!
//! The packets that should be replayed follow from the history of the stream, and from the position
//! of the node's reader.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytestring::ByteString;
use sio_streams_core::{
    Body, BroadcastOptions, Command, CommandError, CommandId, Delivery, EntryId, Missed, NodeId,
    NotRecovered, Packet, Reply, Restored, Session, Ticket, Time,
};

use super::log::{History, Written};
use super::reading::ReaderView;
use super::{Oracle, RoomModel};
use crate::peer::stream_of;

/// The time after which an attempt that could not be given up is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The state of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// It was never there, or has nothing that it could come back with.
    Nowhere,
    At(usize),
    Away,
    /// A node was asked to restore it.
    Returning(usize, Ticket),
}

/// A client that recovers.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) at: Whereabouts,
    pub(crate) nsp: ByteString,
    pub(crate) sid: ByteString,
    pub(crate) pid: ByteString,
    /// The packets that it has got, by their offsets.
    pub(crate) got: Vec<EntryId>,
    /// All that was ever to be stored of it.
    saved: Vec<BTreeSet<ByteString>>,
    attempt: Option<Attempt>,
}

#[derive(Debug)]
struct Attempt {
    since: Time,
    /// `true` if its session was taken from Redis, and its node knows.
    taken: bool,
    /// The known losses at the beginning.
    losses: Losses,
}

/// The number of lost entries, and of its host's reports about that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Losses {
    gaps: u64,
    rewinds: u64,
    entries: u64,
}

/// All clients.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    pub(crate) all: Vec<Client>,
    /// The keys of sessions that are stored.
    stored: BTreeSet<ByteString>,
    /// Attempts to come back in a namespace that is not the client's.
    strays: BTreeSet<(usize, Ticket)>,
    /// Commands that take a session.
    takes: BTreeMap<(usize, CommandId), ByteString>,
    born: u64,
}

impl Client {
    fn is_at(&self, host: usize, nsp: &str) -> bool {
        self.at == Whereabouts::At(host) && self.nsp == nsp
    }
}

/// Returns `true` if a client that misses the broadcast gets it later.
fn is_kept(packet: &Packet, opts: &BroadcastOptions) -> bool {
    let volatile =
        opts.flags.volatile.is_some() || opts.flags.other.iter().any(|(flag, _)| flag == "volatile");
    packet.id().is_none() && !volatile
}

impl Oracle {
    /// Makes room for clients.
    pub(crate) fn expect_clients(&mut self, count: usize) {
        let nobody = || Client {
            at: Whereabouts::Nowhere,
            nsp: ByteString::new(),
            sid: ByteString::new(),
            pid: ByteString::new(),
            got: Vec::new(),
            saved: Vec::new(),
            attempt: None,
        };
        self.clients.all.resize_with(count, nobody);
    }

    /// A client connects as a new one. Returns its socket's id.
    pub(crate) fn client_connects(&mut self, client: usize, host: usize, nsp: &ByteString) -> ByteString {
        self.clients.born += 1;
        let born = self.clients.born;
        let fresh = &mut self.clients.all[client];
        fresh.at = Whereabouts::At(host);
        fresh.nsp = nsp.clone();
        fresh.sid = format!("client{client}.{born}").into();
        fresh.pid = format!("pid{client}-{born}").into();
        fresh.got.clear();
        fresh.saved.clear();
        fresh.attempt = None;
        let sid = fresh.sid.clone();
        if let Some(rooms) = self.hosts[host].open.get_mut(nsp) {
            rooms.add(&sid);
        }
        sid
    }

    /// Notes the session of a client that is about to be stored.
    pub(crate) fn client_saved(&mut self, client: usize, session: &Session) {
        self.clients.all[client].saved.push(session.rooms.iter().cloned().collect());
    }

    /// A client's connection is lost; of what was sent to it the last packets have not come.
    pub(crate) fn client_drops(&mut self, client: usize, unseen: usize) {
        let gone = &mut self.clients.all[client];
        gone.got.truncate(gone.got.len().saturating_sub(unseen));
        gone.at = if gone.got.is_empty() { Whereabouts::Nowhere } else { Whereabouts::Away };
    }

    /// A node was asked to restore a client.
    pub(crate) fn client_returns(&mut self, client: usize, host: usize, ticket: Ticket) {
        let (since, losses) = (self.now, self.losses(host));
        let back = &mut self.clients.all[client];
        back.at = Whereabouts::Returning(host, ticket);
        back.attempt = Some(Attempt { since, taken: false, losses });
    }

    /// A node was asked to restore a client in a namespace that is not the client's.
    pub(crate) fn client_strays(&mut self, host: usize, ticket: Ticket) {
        self.clients.strays.insert((host, ticket));
    }

    fn losses(&self, host: usize) -> Losses {
        Losses {
            gaps: self.gaps,
            rewinds: self.hosts[host].readers.values().map(ReaderView::rewinds).sum(),
            entries: self.histories.values().map(History::losses).sum(),
        }
    }

    /// A host is gone, or has left the namespace.
    pub(super) fn clients_cut_off(&mut self, host: usize, nsp: Option<&str>) {
        if nsp.is_none() {
            self.clients.strays.retain(|(other, _)| *other != host);
        }
        for client in &mut self.clients.all {
            let concerned = nsp.is_none_or(|nsp| client.nsp == nsp);
            client.at = match client.at {
                Whereabouts::At(at) if at == host && concerned => match client.got.is_empty() {
                    true => Whereabouts::Nowhere,
                    false => Whereabouts::Away,
                },
                // A host that is alive says what becomes of the attempt.
                Whereabouts::Returning(at, _) if at == host && nsp.is_none() => Whereabouts::Away,
                other => other,
            };
        }
    }

    /// Clients whose sockets somebody has disconnected don't come back as what they were.
    pub(super) fn clients_dismissed(&mut self, host: usize, nsp: &str, sockets: &[ByteString]) {
        for client in &mut self.clients.all {
            if client.is_at(host, nsp) && sockets.contains(&client.sid) {
                client.at = Whereabouts::Nowhere;
            }
        }
    }

    /// A broadcast is told: clients that are there get it.
    pub(super) fn clients_get(&mut self, host: usize, told: &Delivery) {
        let Some(offset) = told.offset else { return };
        let Some(rooms) = self.hosts[host].open.get(&told.nsp) else { return };
        let matching = rooms.matching(&told.opts);
        for client in 0..self.clients.all.len() {
            let one = &self.clients.all[client];
            if one.is_at(host, &told.nsp) && matching.contains(&one.sid) {
                self.client_gets(client, offset);
            }
        }
    }

    fn client_gets(&mut self, client: usize, offset: EntryId) {
        let strict = self.is_steady(client);
        let one = &mut self.clients.all[client];
        let last = one.got.last().copied();
        one.got.push(offset);
        if strict && last.is_some_and(|last| last >= offset) {
            let details = format!("{}: {offset} after {last:?}", one.sid);
            self.fail("a client got a packet twice, or out of order", details);
        }
    }

    /// Returns `true` if the client's stream has lost nothing so far. A server that loses entries
    /// and gives their ids to others confuses everybody.
    fn is_steady(&self, client: usize) -> bool {
        let nsp = &self.clients.all[client].nsp;
        self.hosts.first().is_none_or(|host| {
            self.histories.get(&stream_of(&host.config, nsp)).is_none_or(|history| history.losses() == 0)
        })
    }

    /// The server has stored a session, or given it out.
    pub(super) fn session_executed(&mut self, command: &Command) {
        if let Command::Set { key, .. } = command {
            self.clients.stored.insert(key.clone());
        } else if let Command::GetDel { key } = command {
            self.clients.stored.remove(key);
        }
    }

    /// Returns `true` if a client's session is stored.
    pub(crate) fn is_stored(&self, client: usize) -> bool {
        let pid = &self.clients.all[client].pid;
        self.clients.stored.iter().any(|key| key.ends_with(&**pid))
    }

    /// A node asks for a session, and will have it.
    pub(super) fn session_asked(&mut self, host: usize, id: CommandId, command: &Command) {
        if let Command::GetDel { key } = command {
            self.clients.takes.insert((host, id), key.clone());
        }
    }

    pub(super) fn session_replied(
        &mut self,
        host: usize,
        id: CommandId,
        reply: &Result<Reply, CommandError>,
    ) {
        let Some(key) = self.clients.takes.remove(&(host, id)) else { return };
        if !matches!(reply, Ok(Reply::Value(Some(_)))) {
            return;
        }
        let returning = |client: &&mut Client| {
            matches!(client.at, Whereabouts::Returning(at, _) if at == host) && key.ends_with(&*client.pid)
        };
        if let Some(attempt) =
            self.clients.all.iter_mut().find(returning).and_then(|client| client.attempt.as_mut())
        {
            attempt.taken = true;
        }
    }

    fn client_of(&self, host: usize, ticket: Ticket) -> Option<usize> {
        self.clients.all.iter().position(|client| client.at == Whereabouts::Returning(host, ticket))
    }

    /// A node has restored a client.
    pub(super) fn restored(&mut self, host: usize, restored: &Restored) {
        self.look(host);
        let Restored { ticket, nsp, session, missed, .. } = restored;
        if self.clients.strays.contains(&(host, *ticket)) {
            return self.fail("restored in another namespace", format!("host {host}, {nsp}: {session:?}"));
        }
        let Some(client) = self.client_of(host, *ticket) else {
            return self.fail("restored without being asked", format!("host {host}, {ticket}"));
        };
        self.check_duration(host, client);
        let one = &self.clients.all[client];
        let rooms: BTreeSet<ByteString> = session.rooms.iter().cloned().collect();
        let right = one.nsp == *nsp && one.sid == session.sid && one.pid == session.pid;
        if !right || !one.saved.contains(&rooms) {
            return self.fail("another session was restored", format!("host {host}: {session:?}"));
        }
        self.check_replay(host, client, session, missed);
        let sid = session.sid.clone();
        if let Some(model) = self.hosts[host].open.get_mut(nsp) {
            model.add(&sid);
            model.join(&sid, &session.rooms);
        }
        self.clients.all[client].at = Whereabouts::At(host);
        self.clients.all[client].attempt = None;
        for packet in missed {
            self.client_gets(client, packet.offset());
        }
    }

    /// Checks that a replay consists of what the client has missed: no more, no less, in order.
    fn check_replay(&mut self, host: usize, client: usize, session: &Session, missed: &[Missed]) {
        let one = &self.clients.all[client];
        let stream = stream_of(&self.hosts[host].config, &one.nsp);
        let Some(&offset) = one.got.last() else { return };
        let (Some(reader), Some(history)) =
            (self.hosts[host].readers.get(&stream), self.histories.get(&stream))
        else {
            return self.fail("restored without a stream", format!("host {host}, {stream}"));
        };
        // Nobody can tell what the client has of a stream whose end was lost, and perhaps written
        // anew; nor, at once, where somebody has trimmed by hand.
        if history.losses() > 0 || self.trimmed.contains(&stream) {
            return;
        }
        let replay = Replay::of(history, &one.nsp, session, offset, reader.looked_at());
        let got: Vec<EntryId> = missed.iter().map(Missed::offset).collect();
        // A node that has come later can't know that an entry stands there for the second time.
        let known = |id: &EntryId| replay.repeated.get(id).is_none_or(|first| reader.has_read(*first));
        let dubious = |id: &EntryId| history.at(*id).is_some_and(|written| written.dubious);
        let told: Vec<EntryId> = got.iter().copied().filter(known).filter(|id| !dubious(id)).collect();
        let right = replay.entries.iter().eq(told.iter());
        let same = missed.iter().all(|packet| {
            let written = history.at(packet.offset()).and_then(|written| written.message.as_ref());
            let body = written.map(|message| &message.body);
            matches!(body, Some(Body::Broadcast { packet: said, .. }) if said.data() == packet.packet().data())
        });
        if !right {
            let details = format!(
                "host {host}, {} after {offset}: {got:?}, but it has missed {:?}",
                session.sid, replay.entries
            );
            self.fail("not what the client has missed", details);
        } else if !same {
            self.fail("a packet was changed on its way to a client", format!("host {host}: {missed:?}"));
        }
    }

    /// A node could not restore a client.
    pub(super) fn not_recovered(&mut self, host: usize, ticket: Ticket, reason: &NotRecovered) {
        if self.clients.strays.remove(&(host, ticket)) {
            return;
        }
        let Some(client) = self.client_of(host, ticket) else {
            return self.fail("not recovered without being asked", format!("host {host}, {ticket}"));
        };
        self.check_duration(host, client);
        let losses = self.losses(host);
        // A packet that is out of sight may also be trimmed by then, or be looked for in vain.
        let too_deep =
            matches!(reason, NotRecovered::TooMuch { .. } | NotRecovered::Trimmed | NotRecovered::TimedOut)
                && self.is_out_of_sight(host, client);
        let stream = stream_of(&self.hosts[host].config, &self.clients.all[client].nsp);
        let reader = self.hosts[host].readers.get(&stream);
        let has_gap = reader.is_some_and(|reader| reader.has_unreported_gap() || reader.has_gap_ahead());
        let one = &mut self.clients.all[client];
        one.at = Whereabouts::Away;
        let Some(attempt) = one.attempt.take() else { return };
        // The stream may change, or the namespace be closed, in the last moment; or more may come
        // than is ever kept.
        let excused = *reason == NotRecovered::Closed || attempt.losses != losses || has_gap || too_deep;
        if attempt.taken && !excused {
            let details = format!("host {host}, {}: {reason}", one.sid);
            self.fail("a session was taken for nothing", details);
        }
    }

    /// Returns `true` if more was broadcast since the client dropped than a node keeps at most.
    fn is_out_of_sight(&self, host: usize, client: usize) -> bool {
        let (view, one) = (&self.hosts[host], &self.clients.all[client]);
        let stream = stream_of(&view.config, &one.nsp);
        let (Some(reader), Some(history), Some(recovery), Some(offset)) = (
            view.readers.get(&stream),
            self.histories.get(&stream),
            &view.config.recovery,
            one.got.last().copied(),
        ) else {
            return false;
        };
        let is_broadcast = |written: &Rc<Written>| {
            written.message.as_ref().is_some_and(|message| matches!(message.body, Body::Broadcast { .. }))
        };
        let behind = history.iter().filter(|(id, written)| *id > offset && is_broadcast(written));
        let seen = behind.take_while(|(id, _)| *id <= reader.looked_at()).count();
        seen >= recovery.window_entries.max(recovery.replay_entries)
    }

    /// An attempt ends in time.
    fn check_duration(&mut self, host: usize, client: usize) {
        let Some(attempt) = &self.clients.all[client].attempt else { return };
        let view = &self.hosts[host];
        let Some(recovery) = &view.config.recovery else { return };
        // A session that has been taken is told when the application takes events again.
        let steady = view.disturbed.max(view.drowsy).is_none_or(|disturbed| disturbed < attempt.since);
        let took = self.now.since(attempt.since);
        // An attempt that is on its way when the time is up is waited for.
        let longest = (recovery.timeout + LOOK_AGAIN).mul_f64(1.03) + self.response * 2;
        if steady && took > longest {
            let details = format!("host {host}, {}: {took:?}", self.clients.all[client].sid);
            self.fail("a recovery took too long", details);
        }
    }

    /// Returns `true` if no client is on its way back.
    pub(crate) fn clients_have_arrived(&self) -> bool {
        let returning = |client: &Client| matches!(client.at, Whereabouts::Returning(..));
        !self.clients.all.iter().any(returning)
    }
}

/// The packets that a client should be sent.
struct Replay {
    entries: Vec<EntryId>,
    /// Entries in the same range that stand in the stream for the second time, or were overtaken;
    /// by which one.
    repeated: BTreeMap<EntryId, EntryId>,
}

impl Replay {
    /// Returns the entries behind `after`, up to `until`.
    fn of(history: &History, nsp: &str, session: &Session, after: EntryId, until: EntryId) -> Self {
        let mut client = RoomModel::default();
        client.add(&session.sid);
        client.join(&session.sid, &session.rooms);
        let (mut entries, mut repeated) = (Vec::new(), BTreeMap::new());
        let mut numbers: BTreeMap<&NodeId, (u64, EntryId)> = BTreeMap::new();
        for (id, written) in history.iter().take_while(|(id, _)| *id <= until) {
            let Some(message) = written.message.as_ref().filter(|_| !written.dubious) else { continue };
            // An author's numbers rise.
            let again = written.seq.and_then(|seq| {
                let last = numbers.entry(&message.uid).or_default();
                if last.0 >= seq {
                    return Some(last.1);
                }
                *last = (seq, id);
                None
            });
            let Body::Broadcast { packet, opts, request_id: None } = &message.body else { continue };
            if id <= after || message.nsp != nsp || !is_kept(packet, opts) || client.matching(opts).is_empty()
            {
                continue;
            }
            match again {
                Some(first) => _ = repeated.insert(id, first),
                None => entries.push(id),
            }
        }
        Replay { entries, repeated }
    }
}
