//! The hosts' ends of connections. They are opened on demand, reopened after a loss, and given up
//! when they are silent.

use core::time::Duration;
use std::collections::VecDeque;

use sio_streams_core::{Command, CommandError, Lane, Reply, Time};

use super::host::Mail;
use super::lane::{LaneState, Link, Sent, Tag};
use super::net::{Conn, ConnId, Down};
use super::{Due, LaneDue, World};
use crate::app::App;
use crate::watch::Watch;

/// The error of an attempt to connect.
const CONNECTING: &str = "no connection";

impl<A: App, W: Watch> World<A, W> {
    /// Puts a command into its lane.
    pub(super) fn send(&mut self, host: usize, tag: Tag, command: Command) {
        let lane = command.lane();
        let slot = self.slot(host, lane);
        if let Some(state) = &mut self.hosts[host].lanes[slot] {
            state.inbox.push_back((tag, command, state.known_ups));
        }
        self.flush(host, slot);
    }

    /// The place of a lane; if there is none, its connection is opened.
    fn slot(&mut self, host: usize, lane: Lane) -> usize {
        let state = &mut self.hosts[host];
        let found = state.lanes.iter().position(|slot| slot.as_ref().is_some_and(|other| other.lane == lane));
        if let Some(slot) = found {
            return slot;
        }
        state.instances += 1;
        let fresh = LaneState::new(lane, state.instances);
        let slot = match state.lanes.iter().position(Option::is_none) {
            Some(slot) => {
                state.lanes[slot] = Some(fresh);
                slot
            }
            None => {
                state.lanes.push(Some(fresh));
                state.lanes.len() - 1
            }
        };
        self.connect(host, slot);
        slot
    }

    /// Hands what waits to the connection.
    fn flush(&mut self, host: usize, slot: usize) {
        let (now, response) = (self.now, self.network.response);
        let state = &mut self.hosts[host];
        let batches = state.options.batches;
        let Some(lane) = &mut state.lanes[slot] else { return };
        let Link::Open(conn) = lane.link else { return };
        if lane.inbox.is_empty() || (batches && !lane.sent.is_empty()) {
            return;
        }
        let ups = lane.ups;
        let (commands, stale): (Vec<_>, Vec<_>) =
            core::mem::take(&mut lane.inbox).into_iter().partition(|(.., known)| *known == ups);
        if !stale.is_empty() {
            lane.stale.extend(stale.into_iter().map(|(tag, ..)| tag));
            let instance = lane.instance;
            self.schedule(now, Due::Lane(host, slot, instance, LaneDue::GiveBack));
        }
        if commands.is_empty() {
            return;
        }
        let Some(lane) = &mut self.hosts[host].lanes[slot] else { return };
        let commands: Vec<(Tag, Command)> =
            commands.into_iter().map(|(tag, command, _)| (tag, command)).collect();
        let patience = |command: &Command| match command {
            Command::XRead { block, .. } => response + *block,
            _ => response,
        };
        // All commands of a batch have the same time.
        let longest = commands.iter().map(|(_, command)| patience(command)).max().unwrap_or_default();
        for (tag, command) in &commands {
            let patience = if batches { longest } else { patience(command) };
            lane.sent.push_back(Sent { tag: *tag, deadline: now + patience });
        }
        let stalled = lane.stalled_until;
        if !core::mem::replace(&mut lane.patience_set, true) {
            let instance = lane.instance;
            self.schedule(now + longest, Due::Lane(host, slot, instance, LaneDue::Patience));
        }
        for command in commands {
            self.put_up(conn, command, stalled);
        }
    }

    fn latency(&mut self, conn: ConnId) -> Duration {
        let carried = self.conns.get_mut(&conn).map_or(0, |conn| {
            conn.carried += 1;
            conn.carried
        });
        self.chance.of(2).of(conn.0).of(carried).between(self.network.latency)
    }

    /// Sends something to the server.
    fn put_up(&mut self, id: ConnId, command: (Tag, Command), stalled: Time) {
        let latency = self.latency(id);
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let at = (now.max(stalled) + latency).max(conn.last_up);
        conn.last_up = at;
        conn.up.push_back(command);
        self.schedule(at, Due::Arrive(id));
    }

    /// Sends something to the host.
    pub(super) fn put_down(&mut self, id: ConnId, what: Down) {
        let latency = self.latency(id);
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !conn.held {
            return;
        }
        let lane = self.hosts[conn.host].lanes.get(conn.slot).and_then(Option::as_ref);
        let stalled = lane.map_or(Time::ZERO, |lane| lane.stalled_until);
        let at = (now.max(stalled) + latency).max(conn.last_down);
        conn.last_down = at;
        conn.down.push_back(what);
        self.schedule(at, Due::Deliver(id));
    }

    /// Something comes out of a connection at the host's end.
    pub(super) fn deliver(&mut self, id: ConnId) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !conn.held {
            return;
        }
        let (host, slot) = (conn.host, conn.slot);
        let Some(lane) = &mut self.hosts[host].lanes[slot] else { return };
        if lane.stalled_until > now {
            // It was on its way when the silence began.
            let at = lane.stalled_until;
            return self.schedule(at, Due::Deliver(id));
        }
        match conn.down.pop_front() {
            None => {}
            Some(Down::Push(channel, payload)) => self.mail(host, Mail::Push(channel, payload)),
            Some(Down::Closed) => self.lose(host, slot, "closed by the server", 0, Duration::ZERO),
            Some(Down::Reply(tag, reply)) => {
                let Some(at) = lane.sent.iter().position(|sent| sent.tag == tag) else { return };
                lane.sent.remove(at);
                lane.done.push((tag, reply));
                if self.hosts[host].options.batches
                    && self.hosts[host].lanes[slot].as_ref().is_some_and(|lane| !lane.sent.is_empty())
                {
                    return;
                }
                let Some(lane) = &mut self.hosts[host].lanes[slot] else { return };
                let (name, done) = (lane.lane.clone(), core::mem::take(&mut lane.done));
                // The lane is free before its host hears of it.
                self.flush(host, slot);
                self.mail(host, Mail::Replies(name, done));
            }
        }
    }

    pub(super) fn lane_due(&mut self, host: usize, slot: usize, instance: u64, what: LaneDue) {
        let lane = self.hosts[host].lanes.get(slot).and_then(Option::as_ref);
        if lane.is_none_or(|lane| lane.instance != instance) {
            return;
        }
        match what {
            LaneDue::Attempt => self.attempt(host, slot),
            LaneDue::Retry => self.connect(host, slot),
            LaneDue::Patience => self.check_patience(host, slot),
            LaneDue::GiveBack => self.give_back(host, slot),
        }
    }

    /// Gives back the commands that were meant for an earlier connection. They have not been sent.
    fn give_back(&mut self, host: usize, slot: usize) {
        let Some(lane) = &mut self.hosts[host].lanes[slot] else { return };
        let not_sent = || Err(CommandError::NotSent("the connection was lost before".to_owned()));
        let replies: Vec<_> = lane.stale.drain(..).map(|tag| (tag, not_sent())).collect();
        let name = lane.lane.clone();
        self.mail(host, Mail::Replies(name, replies));
    }

    fn check_patience(&mut self, host: usize, slot: usize) {
        let now = self.now;
        let Some(lane) = &mut self.hosts[host].lanes[slot] else { return };
        lane.patience_set = false;
        let Some(deadline) = lane.sent.iter().map(|sent| sent.deadline).min() else { return };
        if deadline <= now {
            // Data that was sent may still arrive.
            return self.lose(host, slot, "no reply in time", usize::MAX, Duration::ZERO);
        }
        lane.patience_set = true;
        let instance = lane.instance;
        self.schedule(deadline, Due::Lane(host, slot, instance, LaneDue::Patience));
    }

    fn connect(&mut self, host: usize, slot: usize) {
        let Some(lane) = &mut self.hosts[host].lanes[slot] else { return };
        lane.link = Link::Opening;
        let (instance, stalled, failures) = (lane.instance, lane.stalled_until, lane.failures);
        let chance = self.chance.of(3).of(host as u64).of(instance).of(failures.into());
        let round_trip = chance.between(self.network.latency) + chance.of(1).between(self.network.latency);
        let at = (self.now.max(stalled) + round_trip).min(self.now + self.network.connect);
        self.schedule(at, Due::Lane(host, slot, instance, LaneDue::Attempt));
    }

    /// An attempt to connect has come to its end.
    fn attempt(&mut self, host: usize, slot: usize) {
        let now = self.now;
        let Some(lane) = &mut self.hosts[host].lanes[slot] else { return };
        if lane.refused_until > now || lane.stalled_until > now || !self.server.is_up() {
            return self.not_connected(host, slot, CONNECTING);
        }
        self.last_conn += 1;
        let (id, client) = (ConnId(self.last_conn), self.server.redis.connect());
        self.by_client.insert(client, id);
        let conn = Conn {
            host,
            slot,
            client,
            held: true,
            up: VecDeque::new(),
            arrived: VecDeque::new(),
            blocked: None,
            down: VecDeque::new(),
            last_up: now,
            last_down: now,
            not_before: Time::ZERO,
            carried: 0,
        };
        self.conns.insert(id, conn);
        lane.link = Link::Open(id);
        lane.failures = 0;
        lane.ups += u64::from(lane.known_down);
        let (name, known_down) = (lane.lane.clone(), lane.known_down);
        self.flush(host, slot);
        if known_down {
            self.mail(host, Mail::Link(name, true));
        }
    }

    fn not_connected(&mut self, host: usize, slot: usize, reason: &str) {
        let Some(lane) = &mut self.hosts[host].lanes[slot] else { return };
        let first = !core::mem::replace(&mut lane.known_down, true);
        let waits = !lane.inbox.is_empty() || !lane.stale.is_empty();
        self.retry_later(host, slot);
        if first {
            self.went_down(host, slot, reason, Vec::new());
        } else if waits {
            self.give_all_back(host, slot, reason, Vec::new());
        }
    }

    fn retry_later(&mut self, host: usize, slot: usize) {
        let Some(lane) = &mut self.hosts[host].lanes[slot] else { return };
        lane.link = Link::Opening;
        let (instance, failures) = (lane.instance, lane.failures);
        lane.failures = failures.saturating_add(1);
        let longest = self.network.backoff_min.saturating_mul(2_u32.saturating_pow(failures.min(16)));
        let longest = longest.min(self.network.backoff_max);
        let chance = self.chance.of(4).of(host as u64).of(instance).of(self.now.as_micros());
        let pause = chance.between((longest / 2, longest));
        self.schedule(self.now + pause, Due::Lane(host, slot, instance, LaneDue::Retry));
    }

    /// The connection is lost. Of what is on its way to the server, the first `executed` commands
    /// still arrive, some time late.
    pub(super) fn lose(&mut self, host: usize, slot: usize, reason: &str, executed: usize, late: Duration) {
        let Some(lane) = &mut self.hosts[host].lanes[slot] else { return };
        let Link::Open(id) = lane.link else { return };
        lane.known_down = true;
        let sent = lane.sent.drain(..).map(|sent| (sent.tag, Err(CommandError::Lost(reason.to_owned()))));
        let mut replies = core::mem::take(&mut lane.done);
        replies.extend(sent);
        self.abandon(id, executed, late);
        self.retry_later(host, slot);
        self.went_down(host, slot, reason, replies);
    }

    /// As the driver does: first the loss, then what it cost.
    fn went_down(
        &mut self,
        host: usize,
        slot: usize,
        reason: &str,
        replies: Vec<(Tag, Result<Reply, CommandError>)>,
    ) {
        let Some(lane) = &self.hosts[host].lanes[slot] else { return };
        let name = lane.lane.clone();
        self.mail(host, Mail::Link(name, false));
        self.give_all_back(host, slot, reason, replies);
    }

    /// As the driver does after each failed attempt: what was not sent goes back, behind these
    /// replies.
    fn give_all_back(
        &mut self,
        host: usize,
        slot: usize,
        reason: &str,
        mut replies: Vec<(Tag, Result<Reply, CommandError>)>,
    ) {
        let Some(lane) = &mut self.hosts[host].lanes[slot] else { return };
        let unsent = core::mem::take(&mut lane.inbox).into_iter().map(|(tag, ..)| tag);
        let unsent = core::mem::take(&mut lane.stale).into_iter().chain(unsent);
        replies.extend(unsent.map(|tag| (tag, Err(CommandError::NotSent(reason.to_owned())))));
        let name = lane.lane.clone();
        self.mail(host, Mail::Replies(name, replies));
    }

    /// The host lets go of a connection.
    fn abandon(&mut self, id: ConnId, executed: usize, late: Duration) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.held = false;
        let host = conn.host;
        conn.down.clear();
        conn.up.truncate(executed);
        let mut noticed = now + self.chance.of(5).of(id.0).between(self.network.notice);
        if !conn.up.is_empty() {
            // They come at the times at which they would have come, or later; the last one may be
            // the last that the server hears.
            conn.last_up = conn.last_up + late;
            noticed = noticed.max(conn.last_up);
            if !late.is_zero() {
                let at = conn.last_up;
                conn.not_before = at;
                for _ in 0..conn.up.len() {
                    self.schedule(at, Due::Arrive(id));
                }
            }
        }
        self.schedule(noticed, Due::Notice(id));
        self.tell_hearing(host, Some(noticed));
    }

    /// The lane is not needed any more.
    pub(super) fn release(&mut self, host: usize, lane: &Lane) {
        let lanes = &mut self.hosts[host].lanes;
        let is_it = |slot: &Option<LaneState>| slot.as_ref().is_some_and(|other| other.lane == *lane);
        let Some(slot) = lanes.iter().position(is_it) else { return };
        let gone = lanes[slot].take();
        if let Some(LaneState { link: Link::Open(id), .. }) = gone {
            self.abandon(id, usize::MAX, Duration::ZERO);
        }
    }
}
