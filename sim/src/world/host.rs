//! Hosts: a node with its engine and application, or a peer; their process and their clock.

use core::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use sio_streams_core::{Command, CommandError, Config, ConfigError, Engine, Lane, LinkState, Reply, Time};

use super::clock::Clock;
use super::lane::{LaneState, Tag};
use super::{Due, World};
use crate::app::{App, Hand};
use crate::chance::Chance;
use crate::peer::Peer;
use crate::watch::{Happening, Watch};

/// No engine asks for more so often without a reply in between, unless it goes round in circles.
const TOO_MANY_ROUNDS: u32 = 10_000;

/// The differences between hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostOptions {
    /// `true` if commands go out in batches, each after the replies to the one before, as with
    /// `sio-streams-driver`; otherwise each goes out at once.
    pub batches: bool,
    /// The number of microseconds that its clock gains in a second; may be negative.
    pub drift: i32,
}

/// The program on a host.
#[derive(Debug)]
// There are few hosts.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Kind<A> {
    Node { engine: Engine, app: A, config: Config },
    Peer(Peer),
}

/// The messages that have come while the host stood still.
#[derive(Debug)]
pub(crate) enum Mail {
    Replies(Lane, Vec<(Tag, Result<Reply, CommandError>)>),
    Link(Lane, bool),
    Push(ByteString, Bytes),
}

#[derive(Debug)]
pub(crate) struct Host<A> {
    pub(crate) kind: Kind<A>,
    pub(crate) options: HostOptions,
    pub(crate) clock: Clock,
    chance: Chance,
    pub(crate) alive: bool,
    /// Counts deaths.
    pub(crate) life: u64,
    pub(crate) paused_until: Time,
    pub(crate) slow_until: Time,
    pub(crate) mail: Vec<Mail>,
    pub(crate) lanes: Vec<Option<LaneState>>,
    pub(crate) instances: u64,
    /// The time at which it is to be woken, and the number of that alarm: earlier alarms are void.
    wake: Option<Time>,
    wakes: u64,
    paused: bool,
    /// So many replies come in a form that is not understood.
    pub(crate) garbled: usize,
}

impl<A> Host<A> {
    fn new(kind: Kind<A>, options: HostOptions, chance: Chance) -> Self {
        Host {
            kind,
            options,
            clock: Clock::new(Duration::from_secs(1_000), options.drift),
            chance,
            alive: true,
            life: 0,
            paused_until: Time::ZERO,
            slow_until: Time::ZERO,
            mail: Vec::new(),
            lanes: Vec::new(),
            instances: 0,
            wake: None,
            wakes: 0,
            paused: false,
            garbled: 0,
        }
    }

    pub(crate) fn node(
        chance: Chance,
        config: Config,
        options: HostOptions,
        app: A,
        now: Time,
    ) -> Result<Self, ConfigError> {
        let local = Clock::new(Duration::from_secs(1_000), options.drift).read(now);
        let engine = Engine::new(config.clone(), chance.number(), local)?;
        Ok(Host::new(Kind::Node { engine, app, config }, options, chance))
    }

    pub(crate) fn peer(peer: Peer, options: HostOptions, chance: Chance) -> Self {
        Host::new(Kind::Peer(peer), options, chance)
    }

    pub(crate) fn runs(&self) -> bool {
        self.alive && !self.paused
    }

    pub(crate) fn uid(&self) -> String {
        match &self.kind {
            Kind::Node { engine, .. } => engine.uid().to_string(),
            Kind::Peer(peer) => peer.uid().to_string(),
        }
    }

    fn hand_over(&mut self, now: Time, mail: Mail) {
        let local = self.clock.read(now);
        match (&mut self.kind, mail) {
            (Kind::Node { engine, .. }, Mail::Link(lane, up)) => {
                let link = if up { LinkState::Up } else { LinkState::down("the connection was cut") };
                engine.handle_link(local, &lane, link);
            }
            (Kind::Node { engine, .. }, Mail::Push(channel, payload)) => {
                engine.handle_push(local, &channel, &payload);
            }
            (Kind::Node { engine, .. }, Mail::Replies(_, replies)) => {
                for (tag, reply) in replies {
                    if let Tag::Engine(id) = tag {
                        engine.handle_reply(local, id, reply);
                    }
                }
            }
            (Kind::Peer(peer), Mail::Link(lane, up)) => peer.link(local, &lane, up),
            (Kind::Peer(peer), Mail::Push(channel, payload)) => peer.pushed(local, &channel, &payload),
            (Kind::Peer(peer), Mail::Replies(lane, replies)) => {
                for (tag, reply) in replies {
                    if let Tag::Peer(id) = tag {
                        peer.replied(local, id, &lane, reply);
                    }
                }
            }
        }
    }
}

impl<A: App, W: Watch> World<A, W> {
    /// Something comes to a host.
    pub(super) fn mail(&mut self, host: usize, mail: Mail) {
        if !self.hosts[host].alive {
            return;
        }
        if self.hosts[host].paused {
            self.hosts[host].mail.push(mail);
            return;
        }
        self.open_mail(host, mail);
        self.turn(host);
    }

    fn open_mail(&mut self, host: usize, mail: Mail) {
        if matches!(self.hosts[host].kind, Kind::Node { .. }) {
            match &mail {
                Mail::Replies(lane, replies) => {
                    for (tag, reply) in replies {
                        if let Tag::Engine(id) = tag {
                            self.watch.saw(self.now, &Happening::Replied { host, lane, id: *id, reply });
                        }
                    }
                }
                Mail::Link(lane, up) => self.watch.saw(self.now, &Happening::Link { host, lane, up: *up }),
                Mail::Push(channel, payload) => {
                    self.watch.saw(self.now, &Happening::Pushed { host, channel, payload });
                }
            }
        }
        if let Mail::Link(lane, true) = &mail {
            let lanes = self.hosts[host].lanes.iter_mut().flatten();
            lanes.filter(|state| state.lane == *lane).for_each(|state| state.known_ups += 1);
        }
        let now = self.now;
        self.hosts[host].hand_over(now, mail);
    }

    /// Takes out of a host what there is: events, then commands, until there is nothing more.
    pub(super) fn turn(&mut self, host: usize) {
        let mut rounds = 0;
        loop {
            rounds += 1;
            self.overrun |= rounds > TOO_MANY_ROUNDS;
            if self.overrun {
                break;
            }
            self.poll_events(host);
            if !self.poll_commands(host) {
                break;
            }
        }
        let state = &self.hosts[host];
        if matches!(state.kind, Kind::Node { .. }) && state.slow_until <= self.now {
            self.watch.saw(self.now, &Happening::Drained { host });
        }
        self.set_wake(host);
    }

    fn poll_events(&mut self, host: usize) {
        let now = self.now;
        let state = &mut self.hosts[host];
        let local = state.clock.read(now);
        let slow = state.slow_until > now;
        match &mut state.kind {
            Kind::Node { engine, app, .. } => {
                let mut alarms = Vec::new();
                loop {
                    let event = if slow { engine.poll_pending_event() } else { engine.poll_event() };
                    let Some(mut event) = event else { break };
                    let mut hand = Hand { host, now: local, engine, alarms: &mut alarms };
                    app.complete(&mut hand, &mut event);
                    self.watch.saw(now, &Happening::Event { host, event: &event });
                    app.event(&mut hand, event);
                    if let Some(sockets) = app.take_sent() {
                        self.watch.saw(now, &Happening::Sent { host, sockets: &sockets });
                    }
                }
                self.set_alarms(host, alarms);
            }
            Kind::Peer(peer) => {
                for note in peer.take_notes() {
                    self.watch.saw(now, &Happening::Peer { host, note: &note });
                }
            }
        }
    }

    pub(super) fn set_alarms(&mut self, host: usize, alarms: Vec<(Duration, u64)>) {
        let life = self.hosts[host].life;
        for (after, alarm) in alarms {
            self.schedule(self.now + after, Due::Alarm(host, life, alarm));
        }
    }

    /// Returns `true` if there were any.
    fn poll_commands(&mut self, host: usize) -> bool {
        let mut any = false;
        loop {
            let command = match &mut self.hosts[host].kind {
                Kind::Node { engine, .. } => {
                    engine.poll_command().map(|(id, command)| (Tag::Engine(id), command))
                }
                Kind::Peer(peer) => peer.poll_command().map(|(id, command)| (Tag::Peer(id), command)),
            };
            let Some((tag, command)) = command else { return any };
            any = true;
            if let Tag::Engine(id) = tag {
                self.watch.saw(self.now, &Happening::Asked { host, id, command: &command });
            }
            match command {
                Command::Release { lane } => {
                    self.release(host, &lane);
                    let now = self.now;
                    self.hosts[host].hand_over(now, Mail::Replies(lane, vec![(tag, Ok(Reply::Done))]));
                }
                command => self.send(host, tag, command),
            }
        }
    }

    fn set_wake(&mut self, host: usize) {
        let state = &mut self.hosts[host];
        let due = match &state.kind {
            Kind::Node { engine, .. } => engine.poll_timeout(),
            Kind::Peer(peer) => peer.poll_timeout(),
        };
        let Some(at) = due.map(|due| state.clock.when(due)) else { return };
        // One that rings too early does no harm: then the next one is set.
        if state.wake.is_none_or(|wake| wake > at) {
            state.wake = Some(at);
            state.wakes += 1;
            let wakes = state.wakes;
            self.schedule(at, Due::Wake(host, wakes));
        }
    }

    pub(super) fn wake(&mut self, host: usize, wake: u64) {
        let state = &mut self.hosts[host];
        if state.wakes != wake {
            return;
        }
        state.wake = None;
        if state.runs() {
            self.handle_timeout(host);
            self.turn(host);
        }
    }

    fn handle_timeout(&mut self, host: usize) {
        let now = self.now;
        let state = &mut self.hosts[host];
        let local = state.clock.read(now);
        match &mut state.kind {
            Kind::Node { engine, .. } => engine.handle_timeout(local),
            Kind::Peer(peer) => peer.timeout(local),
        }
    }

    /// The clock was set: what is due by it is due now.
    pub(super) fn set_clock_right(&mut self, host: usize) {
        self.handle_timeout(host);
        self.hosts[host].wake = None;
        self.turn(host);
    }

    pub(super) fn alarm(&mut self, host: usize, life: u64, alarm: u64) {
        let now = self.now;
        let state = &mut self.hosts[host];
        if !state.alive || state.life != life {
            return;
        }
        if state.paused {
            let later = state.paused_until + Duration::from_micros(1);
            return self.schedule(later, Due::Alarm(host, life, alarm));
        }
        let local = state.clock.read(now);
        if let Kind::Node { engine, app, .. } = &mut state.kind {
            let mut alarms = Vec::new();
            app.alarm(&mut Hand { host, now: local, engine, alarms: &mut alarms }, alarm);
            self.set_alarms(host, alarms);
            self.turn(host);
        }
    }

    pub(super) fn pause(&mut self, host: usize, lasts: Duration) {
        let until = self.now + lasts;
        let state = &mut self.hosts[host];
        if state.alive {
            state.paused = true;
            state.paused_until = state.paused_until.max(until);
            self.schedule(until, Due::Resume(host));
        }
    }

    /// The process goes on. What has come meanwhile and what is due meanwhile wait side by side:
    /// chance decides what it sees first.
    pub(super) fn resume(&mut self, host: usize) {
        let now = self.now;
        let state = &mut self.hosts[host];
        if !state.alive || !state.paused || state.paused_until > now {
            return;
        }
        state.paused = false;
        let timers_first = state.chance.of(now.as_micros()).percent(50);
        self.watch.saw(now, &Happening::Healed { what: "process goes on", host: Some(host) });
        if timers_first {
            self.handle_timeout(host);
            self.turn(host);
        }
        for mail in core::mem::take(&mut self.hosts[host].mail) {
            self.open_mail(host, mail);
            self.turn(host);
        }
        self.handle_timeout(host);
        self.turn(host);
    }

    pub(super) fn slow_app(&mut self, host: usize, lasts: Duration) {
        let until = self.now + lasts;
        let state = &mut self.hosts[host];
        state.slow_until = state.slow_until.max(until);
        self.schedule(until, Due::TakeEvents(host));
    }

    pub(super) fn take_events(&mut self, host: usize) {
        if self.hosts[host].slow_until <= self.now {
            let what = "application takes events again";
            self.watch.saw(self.now, &Happening::Healed { what, host: Some(host) });
            if self.hosts[host].runs() {
                self.turn(host);
            }
        }
    }

    /// The process is gone; its connections are closed by the operating system.
    pub(super) fn crash(&mut self, host: usize, back_after: Option<Duration>) {
        if !self.hosts[host].alive {
            return;
        }
        let lanes: Vec<Lane> =
            self.hosts[host].lanes.iter().flatten().map(|lane| lane.lane.clone()).collect();
        for lane in lanes {
            self.release(host, &lane);
        }
        let state = &mut self.hosts[host];
        state.alive = false;
        state.paused = false;
        state.life += 1;
        state.mail.clear();
        state.wake = None;
        state.wakes += 1;
        self.watch.saw(self.now, &Happening::Died { host });
        if let Some(after) = back_after {
            self.schedule(self.now + after, Due::Rise(host));
        }
    }

    pub(super) fn rise(&mut self, host: usize) {
        let now = self.now;
        let state = &mut self.hosts[host];
        if state.alive {
            return;
        }
        let seed = state.chance.of(state.life).number();
        let local = state.clock.read(now);
        match &mut state.kind {
            Kind::Node { engine, app, config } => {
                // The same configuration was accepted before.
                let Ok(fresh) = Engine::new(config.clone(), seed, local) else { return };
                *engine = fresh;
                *app = app.reborn();
            }
            Kind::Peer(peer) => *peer = peer.reborn(seed),
        }
        state.alive = true;
        state.slow_until = Time::ZERO;
        state.garbled = 0;
        self.started(host);
        let returned = self.act(host, |node, _, _| {
            let (app, mut hand) = node.parts();
            app.returned(&mut hand);
        });
        if returned.is_none() {
            self.turn(host);
        }
    }
}
