//! The server's end: the simulated Redis, its clock, and its faults.

use core::time::Duration;
use std::collections::VecDeque;

use bytestring::ByteString;
use sio_streams_core::{Command, CommandError, EntryId, Lane, Reply, Time};
use sio_streams_redis_model::{Executed, RedisModel};

use super::masters::OtherMaster;
use super::net::{ConnId, Down};
use super::{Due, World};
use crate::app::App;
use crate::fault::{Data, Refusal};
use crate::watch::{Happening, Watch};

/// The time by the server's clock when the world begins, in milliseconds since 1970.
pub(crate) const WALL: u64 = 1_700_000_000_000;

/// A read from here is one from `$`, as Node's adapters ask for it: whatever comes after the
/// command.
pub(crate) const FROM_NOW: EntryId = EntryId { ms: u64::MAX, seq: u64::MAX };

/// So many messages are remembered.
const SAID: usize = 20;

/// A change of the server's state.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// It goes away, with all its connections.
    Down { data: Data, away: Duration, loading: Duration },
    /// It is there again.
    Up { loading: Duration },
    /// It goes away, and another master takes its place.
    Switch { away: Duration },
    /// It refuses less than before.
    Willing,
    /// It goes on executing.
    Thaw,
}

#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) redis: RedisModel,
    /// The error of its clock, in milliseconds.
    clock: i64,
    down: bool,
    frozen_until: Time,
    /// Connections on which something has come while it executes nothing.
    waiting: Vec<ConnId>,
    /// The commands of strangers that have come meanwhile.
    strangers: Vec<Command>,
    refusals: Vec<(Time, Refusal)>,
    /// The channels to which nobody may subscribe until then.
    withheld: Vec<(Time, Vec<ByteString>)>,
    /// The messages that were said last, by anybody.
    pub(super) said: VecDeque<Command>,
    /// A second master, which nobody knows yet.
    pub(super) other: Option<OtherMaster>,
    /// So many commands of writers are refused, until then, with this.
    faltering: Option<(usize, Time, Refusal)>,
}

impl Server {
    pub(super) fn is_up(&self) -> bool {
        !self.down
    }

    /// Keeps a stranger's command for later if nothing is executed now.
    pub(super) fn keeps(&mut self, now: Time, command: &Command) -> bool {
        let keeps = self.frozen_until > now;
        if keeps {
            self.strangers.push(command.clone());
        }
        keeps
    }

    pub(super) fn wall(&self, now: Time) -> u64 {
        (WALL + now.as_micros() / 1_000).saturating_add_signed(self.clock)
    }

    /// The time at which its clock will show this time.
    fn when(&self, wall: u64) -> Time {
        Time::from_millis(wall.saturating_sub(WALL).saturating_add_signed(-self.clock))
    }

    pub(super) fn set_faltering(&mut self, refusal: Refusal, commands: usize, until: Time) {
        self.faltering = Some((commands, until, refusal));
    }

    /// Returns the refusal if it refuses just this command.
    fn falter(&mut self, now: Time, command: &Command) -> Option<CommandError> {
        let (left, until, refusal) = self.faltering.as_mut()?;
        if *until <= now || command.lane() != Lane::Writer {
            return None;
        }
        *left = left.checked_sub(1)?;
        Some(refusal.error())
    }

    fn set_refusals(&mut self, now: Time) {
        self.refusals.retain(|(until, _)| *until > now);
        let first = |total: bool| {
            let found = self.refusals.iter().find(|(_, refusal)| refusal.is_total() == total);
            found.map(|(_, refusal)| refusal.error())
        };
        let (all, writes) = (first(true), first(false));
        self.redis.refuse_with(all);
        self.redis.refuse_writes_with(writes);
        self.withheld.retain(|(until, _)| *until > now);
        self.redis.withhold(self.withheld.iter().flat_map(|(_, channels)| channels.iter().cloned()));
    }
}

impl<A: App, W: Watch> World<A, W> {
    /// A command arrives.
    pub(super) fn arrive(&mut self, id: ConnId) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.not_before > now {
            return;
        }
        let Some(command) = conn.up.pop_front() else { return };
        conn.arrived.push_back(command);
        if self.server.frozen_until > now {
            self.server.waiting.push(id);
        } else {
            self.serve(id);
        }
    }

    /// Executes what has come on a connection.
    fn serve(&mut self, id: ConnId) {
        loop {
            let now = self.now;
            let Some(conn) = self.conns.get_mut(&id) else { return };
            if conn.blocked.is_some() {
                return;
            }
            let (host, client) = (conn.host, conn.client);
            let Some((tag, mut command)) = conn.arrived.pop_front() else { return };
            if !self.server.redis.is_connected(client) {
                conn.arrived.clear();
                return;
            }
            if let Command::XRead { stream, after, .. } = &mut command
                && *after == FROM_NOW
            {
                let info = self.server.redis.stream_info(stream);
                *after = info.map_or(EntryId::ZERO, |info| info.last_generated_id);
            }
            let wall = self.server.wall(now);
            let executed = match self.server.falter(now, &command) {
                Some(error) => Executed::Reply(Err(error)),
                None => self.server.redis.execute(wall, client, &command),
            };
            match executed {
                Executed::Reply(reply) => {
                    self.watch.saw(now, &Happening::Executed { host, command: &command, reply: &reply });
                    let reply = self.note(host, &command, reply);
                    match command {
                        Command::Subscribe { .. } => self.tell_hearing(host, None),
                        Command::Unsubscribe { .. } => self.tell_hearing(host, Some(now)),
                        _ => {}
                    }
                    self.put_down(id, Down::Reply(tag, reply));
                }
                Executed::Blocked => conn.blocked = Some(tag),
            }
            self.spread();
        }
    }

    /// Remembers what was said; and the reply, as it comes to its host.
    fn note(
        &mut self,
        host: usize,
        command: &Command,
        reply: Result<Reply, CommandError>,
    ) -> Result<Reply, CommandError> {
        if !matches!(command, Command::XAdd { .. } | Command::Publish { .. }) || reply.is_err() {
            return reply;
        }
        self.server.said.push_back(command.clone());
        if self.server.said.len() > SAID {
            self.server.said.pop_front();
        }
        match self.hosts[host].garbled.checked_sub(1) {
            Some(fewer) => {
                self.hosts[host].garbled = fewer;
                Ok(Reply::Value(None))
            }
            None => reply,
        }
    }

    /// Sends out what Redis has for its clients.
    pub(super) fn spread(&mut self) {
        while let Some((client, reply)) = self.server.redis.poll_wakeup() {
            let Some(&id) = self.by_client.get(&client) else { continue };
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            if let Some(tag) = conn.blocked.take() {
                let more = !conn.arrived.is_empty();
                self.put_down(id, Down::Reply(tag, reply));
                if more {
                    self.serve(id);
                }
            }
        }
        while let Some((client, channel, payload)) = self.server.redis.poll_push() {
            if let Some(&id) = self.by_client.get(&client) {
                self.put_down(id, Down::Push(channel, payload));
            }
        }
        let next = self.server.redis.poll_timeout().map(|wall| self.server.when(wall));
        if let Some(next) = next
            && self.read_timeout.is_none_or(|at| at > next)
        {
            self.read_timeout = Some(next);
            self.schedule(next, Due::ReadTimeout);
        }
    }

    pub(super) fn read_timed_out(&mut self) {
        self.read_timeout = None;
        if self.server.frozen_until <= self.now {
            let wall = self.server.wall(self.now);
            self.server.redis.handle_timeout(wall);
            self.spread();
        }
    }

    /// The server notices that a connection's host is gone.
    pub(super) fn forget(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.remove(&id) {
            self.by_client.remove(&conn.client);
            self.server.redis.disconnect(conn.client);
            self.tell_hearing(conn.host, Some(self.now));
        }
    }

    /// The server closes all connections.
    pub(super) fn close_all(&mut self) {
        self.server.redis.disconnect_all();
        let held: Vec<ConnId> = self.conns.keys().copied().collect();
        for id in held {
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            self.by_client.remove(&conn.client);
            conn.blocked = None;
            match conn.held {
                true => self.put_down(id, Down::Closed),
                false => drop(self.conns.remove(&id)),
            }
        }
        for host in 0..self.hosts.len() {
            self.tell_hearing(host, Some(self.now));
        }
    }

    pub(super) fn change_server(&mut self, change: Change) {
        let now = self.now;
        match change {
            Change::Down { data, away, loading } => {
                if self.server.down {
                    return;
                }
                self.server.down = true;
                self.server.other = None;
                self.server.frozen_until = Time::ZERO;
                self.server.waiting.clear();
                self.server.strangers.clear();
                self.server.refusals.clear();
                self.server.faltering = None;
                self.server.set_refusals(now);
                self.close_all();
                self.lose_data(data);
                self.schedule(now + away, Due::Server(Change::Up { loading }));
            }
            Change::Up { loading } => {
                self.server.down = false;
                self.watch.saw(now, &Happening::Healed { what: "server is there again", host: None });
                if !loading.is_zero() {
                    self.refuse(Refusal::Loading, loading);
                }
            }
            Change::Switch { away } => {
                let other = self.server.other.take();
                self.change_server(Change::Down { data: Data::Kept, away, loading: Duration::ZERO });
                if let Some(other) = other {
                    self.take_over(other);
                }
            }
            Change::Willing => {
                self.server.set_refusals(now);
                self.watch.saw(now, &Happening::Healed { what: "server refuses less", host: None });
            }
            Change::Thaw => {
                if self.server.frozen_until <= now {
                    self.watch.saw(now, &Happening::Healed { what: "server executes again", host: None });
                    let wall = self.server.wall(now);
                    self.server.redis.handle_timeout(wall);
                    for id in core::mem::take(&mut self.server.waiting) {
                        self.serve(id);
                    }
                    for command in core::mem::take(&mut self.server.strangers) {
                        self.do_foreign(&command);
                    }
                    self.spread();
                }
            }
        }
    }

    fn lose_data(&mut self, data: Data) {
        for stream in self.streams() {
            let entries = match data {
                Data::Kept => continue,
                Data::TailLost(entries) => Some(self.server.redis.lose_tail(&stream, entries)),
                Data::Lost => None,
            };
            if entries != Some(0) {
                self.watch.saw(self.now, &Happening::TailLost { stream: &stream, entries });
            }
        }
        if data == Data::Lost {
            self.server.redis.flush();
        }
    }

    pub(super) fn refuse(&mut self, refusal: Refusal, lasts: Duration) {
        let until = self.now + lasts;
        self.server.refusals.push((until, refusal));
        self.server.set_refusals(self.now);
        self.schedule(until, Due::Server(Change::Willing));
    }

    pub(super) fn withhold(&mut self, channels: &[ByteString], lasts: Duration) {
        let until = self.now + lasts;
        self.server.withheld.push((until, channels.to_vec()));
        self.server.set_refusals(self.now);
        self.schedule(until, Due::Server(Change::Willing));
    }

    pub(super) fn freeze(&mut self, lasts: Duration) {
        let until = self.now + lasts;
        self.server.frozen_until = self.server.frozen_until.max(until);
        self.schedule(until, Due::Server(Change::Thaw));
    }

    pub(super) fn demote(&mut self) {
        let error = CommandError::Server {
            code: "UNBLOCKED".to_owned(),
            message: "force unblock from blocking operation, instance state changed (master -> replica?)"
                .to_owned(),
        };
        self.server.redis.unblock_all(&error);
        self.spread();
    }

    pub(super) fn jump_server_clock(&mut self, millis: i64) {
        self.server.clock = self.server.clock.saturating_add(millis);
        self.read_timeout = None;
        // A server that executes nothing looks at its clock only when it goes on.
        if self.server.frozen_until <= self.now {
            let wall = self.server.wall(self.now);
            self.server.redis.handle_timeout(wall);
        }
        self.spread();
    }

    pub(super) fn trim(&mut self, stream: &ByteString, length: u64) {
        self.server.redis.trim(stream, length);
    }
}
