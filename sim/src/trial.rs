//! Runs a plan: chaos, then calm, in which everything must work again.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use sio_streams_core::{
    Body, BroadcastOptions, CallError, Config, ConfigError, Dialect, EntryId, NodeId, Packet, Payload,
    RequestId, Ticket, Time,
};

use crate::app::Node;
use crate::fault::Fault;
use crate::oracle::{Ask, Fate, Oracle, Violation};
use crate::peer::{Generation, Question};
use crate::plan::{Action, Call, HostKind, Kind, Plan, Target, room_name, socket_name};
use crate::responder::Responder;
use crate::trace::{Kind as Mark, Place, Record, Tracer};
use crate::watch::{Happening, PeerNote, Watch};
use crate::world::World;

/// What became of a run.
#[derive(Debug)]
pub struct Report {
    /// What was wrong, if anything: which rule was broken, and how.
    pub(crate) violation: Option<Violation>,
    /// The hash of everything that has happened.
    pub hash: u64,
    /// How many things have happened.
    pub events: u64,
    /// How much time has passed in the world.
    pub simulated: Duration,
    /// What has happened, if it was to be recorded.
    pub records: Vec<Record>,
}

impl Report {
    /// Of a run that came to nothing.
    pub(crate) fn empty() -> Self {
        Report { violation: None, hash: 0, events: 0, simulated: Duration::ZERO, records: Vec::new() }
    }

    /// What was wrong, in words.
    pub fn failure(&self) -> Option<String> {
        self.violation.as_ref().map(|Violation { at, rule, details }| format!("{rule}, at {at}: {details}"))
    }

    /// Which rule was broken.
    pub fn rule(&self) -> Option<&'static str> {
        self.violation.as_ref().map(|violation| violation.rule)
    }
}

/// Who looks on.
#[derive(Debug)]
pub(crate) struct Eyes {
    pub(crate) oracle: Oracle,
    tracer: Tracer,
}

impl Watch for Eyes {
    fn saw(&mut self, now: Time, what: &Happening<'_>) {
        // In this order: what breaks a rule is in the record.
        self.tracer.saw(now, what);
        self.oracle.saw(now, what);
    }
}

type Worlds = World<Responder, Eyes>;

/// A run under way.
struct Trial<'a> {
    plan: &'a Plan,
    world: Worlds,
    questions: u64,
    /// Those that have left.
    gone: BTreeSet<usize>,
}

/// Runs a plan to its end, or to the first violation.
pub(crate) fn run(plan: &Plan, tracer: Tracer) -> Report {
    let eyes = Eyes { oracle: Oracle::new(plan.counting), tracer };
    let world = World::watched(plan.seed, plan.network.clone(), eyes);
    let mut trial = Trial { plan, world, questions: 0, gone: BTreeSet::new() };
    if let Err(error) = trial.begin() {
        trial.oracle().fail("a plan that can't be run", error.to_string());
    }
    let ended = trial.chaos().and_then(|()| trial.calm());
    trial.report(ended)
}

/// No run has so many events, unless something goes round in circles.
const TOO_MANY: u64 = 3_000_000;

/// The run has ended: a rule is broken.
struct Broken;

type Go = Result<(), Broken>;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Trial<'_> {
    fn oracle(&mut self) -> &mut Oracle {
        let now = self.world.now();
        let oracle = &mut self.world.watch_mut().oracle;
        oracle.now = now;
        oracle
    }

    fn report(mut self, _: Go) -> Report {
        let (now, events) = (self.world.now(), self.world.steps());
        let Eyes { oracle, tracer } = self.world.watch_mut();
        let violation = oracle.violation.take();
        if let Some(Violation { at, rule, details }) = &violation {
            tracer.note(*at, Place::Server, Mark::Violation, || format!("{rule}: {details}"));
        }
        Report {
            violation,
            hash: tracer.hash(),
            events,
            simulated: now.since(Time::ZERO),
            records: tracer.take_records(),
        }
    }

    fn verdict(&mut self) -> Go {
        if self.world.steps() > TOO_MANY || self.world.is_overrun() {
            self.oracle().fail("no end of events", String::new());
        }
        match self.world.watch().oracle.violation {
            Some(_) => Err(Broken),
            None => Ok(()),
        }
    }

    fn run_until(&mut self, end: Time) -> Go {
        while self.world.step(end) {
            self.verdict()?;
        }
        self.world.run_until(end);
        Ok(())
    }

    fn run_for(&mut self, duration: Duration) -> Go {
        self.run_until(self.world.now() + duration)
    }

    /// Lets time pass until something holds; it must within `patience`.
    fn run_until_holds(
        &mut self,
        patience: Duration,
        rule: &'static str,
        mut holds: impl FnMut(&mut Self) -> bool,
    ) -> Go {
        let end = self.world.now() + patience;
        while !holds(self) {
            let more = self.world.step(end);
            self.verdict()?;
            if !more {
                self.oracle().fail(rule, format!("after {patience:?}"));
                return Err(Broken);
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), ConfigError> {
        self.world.set_counting(self.plan.counting);
        let namespaces: Vec<&str> = self.plan.namespaces.iter().map(|nsp| &**nsp).collect();
        for (index, host) in self.plan.hosts.iter().enumerate() {
            self.oracle().expect_host(host.kind == HostKind::Ours, &host.config);
            let names: Vec<String> = (0..host.sockets).map(|socket| socket_name(index, socket)).collect();
            let sockets: Vec<&str> = names.iter().map(|name| &**name).collect();
            match host.kind {
                HostKind::Ours => {
                    let app = Responder::new(host.think, host.mute);
                    self.world.add_node(host.config.clone(), host.options, app)?;
                }
                HostKind::Peer(generation) => {
                    self.world.add_peer(generation, &host.config, host.options, &namespaces, &sockets);
                }
            }
            if !host.present {
                self.world.inflict(&Fault::Crash { host: index, back_after: None });
            }
        }
        for host in 0..self.plan.hosts.len() {
            self.open_all(host);
        }
        Ok(())
    }

    /// Opens what is not open on a node of ours.
    fn open_all(&mut self, host: usize) {
        for nsp in &self.plan.namespaces {
            self.open(host, nsp);
        }
    }

    fn is_ours(&self, host: usize) -> bool {
        self.plan.hosts[host].kind == HostKind::Ours
    }

    fn open(&mut self, host: usize, nsp: &ByteString) {
        if !self.is_ours(host) {
            return;
        }
        let count = self.plan.hosts[host].sockets;
        self.world.act(host, |node, eyes, _| {
            if node.engine.open_namespace(node.now, nsp).is_err() {
                return;
            }
            let rooms = eyes.oracle.hosts[host].open.entry(nsp.clone()).or_default();
            for socket in 0..count {
                let name = socket_name(host, socket);
                rooms.add(&name);
                let _ = node.engine.add_socket(nsp, name);
            }
        });
    }

    fn chaos(&mut self) -> Go {
        self.verdict()?;
        self.run_until_holds(Duration::from_secs(10), "never ready", Self::all_ready)?;
        let start = self.world.now();
        let plan = self.plan;
        for step in &plan.steps {
            self.run_until(start + step.at)?;
            match &step.action {
                Action::Fault(fault) => self.inflict(fault),
                Action::Call { host, nsp, call } => self.perform(*host, *nsp, call),
            }
            self.verdict()?;
        }
        self.run_until(start + plan.chaos)
    }

    fn all_ready(&mut self) -> bool {
        let oracle = &self.world.watch().oracle;
        oracle
            .hosts
            .iter()
            .filter(|host| host.ours && host.alive)
            .all(|host| self.plan.namespaces.iter().all(|nsp| host.ready.contains(nsp)))
    }

    fn inflict(&mut self, fault: &Fault) {
        if fault.host().is_some_and(|host| !self.plan.hosts[host].present) {
            return;
        }
        self.world.inflict(fault);
    }

    fn perform(&mut self, host: usize, nsp: usize, call: &Call) {
        if !self.plan.hosts[host].present || !self.world.runs(host) {
            return;
        }
        let now = self.world.now();
        let nsp = self.plan.namespaces[nsp].clone();
        let watch = self.world.watch_mut();
        watch.tracer.note(now, Place::Host(host), Mark::Call, || format!("{nsp} {call}"));
        match self.plan.hosts[host].kind {
            HostKind::Ours => self.perform_ours(host, &nsp, call),
            HostKind::Peer(_) => self.perform_peer(host, &nsp, call),
        }
    }

    fn perform_peer(&mut self, host: usize, nsp: &str, call: &Call) {
        match call {
            Call::Broadcast { to, times, .. } => {
                let opts = to.options();
                for _ in 0..*times {
                    let data = packet("peer", self.questions, Kind::Plain).data;
                    self.questions += 1;
                    self.world.call_peer(host, |peer, _| peer.broadcast(nsp, data, opts.clone()));
                }
            }
            Call::Join { to, room } => {
                let (opts, rooms) = (to.options(), vec![room_name(*room)]);
                self.world.call_peer(host, |peer, _| peer.join(nsp, opts, rooms));
            }
            Call::FetchSockets { to } => drop(self.ask_peer(host, nsp, Question::FetchSockets(to.options()))),
            Call::EmitWithAck => {
                let question = Question::Emit(payload("ask", self.questions));
                self.ask_peer(host, nsp, question);
            }
            Call::BroadcastWithAck { to } => {
                let question = Question::Broadcast(payload("peer", self.questions), to.options());
                self.ask_peer(host, nsp, question);
            }
            _ => {}
        }
    }

    fn ask_peer(&mut self, host: usize, nsp: &str, question: Question) -> u64 {
        self.questions += 1;
        let number = self.questions;
        self.world.call_peer(host, |peer, now| peer.ask(now, nsp, number, question));
        number
    }

    fn perform_ours(&mut self, host: usize, nsp: &ByteString, call: &Call) {
        match call {
            Call::Broadcast { times, .. } | Call::Emit { times } => {
                for _ in 0..*times {
                    let _ = self.publish(host, nsp, call);
                }
            }
            Call::Join { .. } | Call::Leave { .. } | Call::Disconnect { .. } => {
                let _ = self.publish(host, nsp, call);
            }
            Call::FetchSockets { .. }
            | Call::EmitWithAck
            | Call::BroadcastWithAck { .. }
            | Call::ServerCount => {
                let _ = self.ask(host, nsp, call);
            }
            Call::OpenNamespace => self.open(host, nsp),
            Call::CloseNamespace => self.close(host, nsp),
            Call::AddSocket { socket } => {
                let name = socket_name(host, usize::from(*socket));
                self.touch(host, nsp, |node, rooms| {
                    rooms.add(&name);
                    let _ = node.engine.add_socket(nsp, name);
                });
            }
            Call::RemoveSocket { socket } => {
                let name = socket_name(host, usize::from(*socket));
                self.touch(host, nsp, |node, rooms| {
                    rooms.remove(&name);
                    let _ = node.engine.remove_socket(nsp, &name);
                });
            }
            Call::LocalJoin { socket, room } => {
                let (name, room) = (socket_name(host, usize::from(*socket)), room_name(*room));
                self.touch(host, nsp, |node, rooms| {
                    rooms.join(&name, core::slice::from_ref(&room));
                    let _ = node.engine.join(nsp, &name, [room]);
                });
            }
            Call::LocalLeave { socket, room } => {
                let (name, room) = (socket_name(host, usize::from(*socket)), room_name(*room));
                self.touch(host, nsp, |node, rooms| {
                    rooms.leave(&name, core::slice::from_ref(&room));
                    let _ = node.engine.leave(nsp, &name, [&*room]);
                });
            }
        }
    }

    /// Changes the sockets of a host, here and in the oracle's books.
    fn touch(
        &mut self,
        host: usize,
        nsp: &str,
        action: impl FnOnce(&mut Node<'_, Responder>, &mut crate::oracle::RoomModel),
    ) {
        self.world.act(host, |node, eyes, _| {
            if let Some(rooms) = eyes.oracle.hosts[host].open.get_mut(nsp) {
                action(node, rooms);
            }
        });
    }

    fn close(&mut self, host: usize, nsp: &str) {
        self.world.act(host, |node, eyes, _| {
            if node.engine.close_namespace(node.now, nsp).is_ok() {
                eyes.oracle.namespace_closed(host, nsp);
            }
        });
    }

    /// Has a node publish something.
    fn publish(&mut self, host: usize, nsp: &ByteString, call: &Call) -> Option<Result<Ticket, CallError>> {
        self.world.act(host, |node, eyes, world_now| {
            let oracle = &mut eyes.oracle;
            oracle.now = world_now;
            let (now, engine) = (node.now, &mut *node.engine);
            let number = oracle.next_deed();
            let marked = |to: &Target| to.options().except(format!("#{number}"));
            let mut local = false;
            let (result, body) = match call {
                Call::Broadcast { to, kind, .. } => {
                    let mut opts = to.options();
                    if *kind == Kind::Volatile {
                        opts = opts.volatile();
                    }
                    if *kind == Kind::Local {
                        opts = opts.local();
                        local = true;
                    }
                    let packet = packet("said", number, *kind);
                    let body =
                        Body::Broadcast { packet: packet.clone(), opts: opts.clone(), request_id: None };
                    (engine.broadcast(now, nsp, packet, opts), body)
                }
                Call::Join { to, room } => {
                    let (opts, rooms) = (marked(to), vec![room_name(*room)]);
                    let body = Body::SocketsJoin { opts: opts.clone(), rooms: rooms.clone() };
                    (engine.sockets_join(now, nsp, opts, rooms), body)
                }
                Call::Leave { to, room } => {
                    let (opts, rooms) = (marked(to), vec![room_name(*room)]);
                    let body = Body::SocketsLeave { opts: opts.clone(), rooms: rooms.clone() };
                    (engine.sockets_leave(now, nsp, opts, rooms), body)
                }
                Call::Disconnect { to } => {
                    let opts = marked(to);
                    let body = Body::DisconnectSockets { opts: opts.clone(), close: number % 2 == 0 };
                    (engine.disconnect_sockets(now, nsp, opts, number % 2 == 0), body)
                }
                _ => {
                    let event = payload("news", number);
                    let body = Body::ServerSideEmit { packet: event.clone(), request_id: None };
                    (engine.server_side_emit(now, nsp, event), body)
                }
            };
            match &result {
                Ok(ticket) => oracle.did(host, nsp, body, local, *ticket),
                Err(error) => oracle.refused(host, nsp, error),
            }
            result
        })
    }

    /// Has a node ask something.
    fn ask(&mut self, host: usize, nsp: &ByteString, call: &Call) -> Option<Result<Ticket, CallError>> {
        let timeout = self.plan.hosts[host].config.request_timeout;
        self.world.act(host, |node, eyes, world_now| {
            let oracle = &mut eyes.oracle;
            oracle.now = world_now;
            let (now, engine) = (node.now, &mut *node.engine);
            let number = oracle.next_question();
            let itself = RequestId::new("");
            let (result, ask, here) = match call {
                Call::FetchSockets { to } => {
                    let opts = to.options();
                    let here = Body::FetchSockets { opts: opts.clone(), request_id: itself };
                    (engine.fetch_sockets(now, nsp, opts), Ask::Sockets, Some(here))
                }
                Call::EmitWithAck => {
                    let result = engine.server_side_emit_with_ack(now, nsp, payload("ask", number));
                    (result, Ask::Emit { value: number }, None)
                }
                Call::BroadcastWithAck { to } => {
                    let (opts, packet) = (to.options(), packet("ask", number, Kind::Plain));
                    let here = Body::Broadcast {
                        packet: packet.clone(),
                        opts: opts.clone(),
                        request_id: Some(itself),
                    };
                    let result = engine.broadcast_with_ack(now, nsp, packet, opts);
                    (result, Ask::Broadcast { call: number }, Some(here))
                }
                _ => (engine.server_count(now, nsp), Ask::Count, None),
            };
            match &result {
                Ok(ticket) => oracle.asks(host, nsp, ask, timeout, *ticket, here),
                Err(error) => oracle.refused(host, nsp, error),
            }
            result
        })
    }

    /// Nothing goes wrong any more: everything heals, and everything works.
    fn calm(&mut self) -> Go {
        let longest = self.longest_wait();
        self.run_for(longest)?;
        self.run_until_holds(Duration::from_secs(120), "never at rest", Self::at_rest)?;
        for host in 0..self.plan.hosts.len() {
            self.world.call(host, |node| {
                node.app.mute = 0;
                node.app.think = Duration::ZERO;
            });
            self.open_all(host);
        }
        self.run_until_holds(Duration::from_secs(20), "never ready again", Self::all_ready)?;
        self.run_for(longest)?;
        self.final_checks()?;
        self.everything_works()?;
        if self.plan.calm.death {
            self.somebody_dies()?;
        }
        self.final_checks()?;
        if self.plan.calm.farewell {
            self.everybody_leaves()?;
        }
        Ok(())
    }

    /// After so long without faults everything is known that can be known.
    fn longest_wait(&self) -> Duration {
        let config = &self.plan.hosts[0].config;
        config.heartbeat_timeout * 2
            + self.plan.network.backoff_max * 2
            + self.plan.network.notice.1
            + ms(1_500)
    }

    fn at_rest(&mut self) -> bool {
        let hosts = 0..self.world.hosts();
        let dead = |host: usize| !self.world.watch().oracle.hosts[host].alive;
        let linked =
            hosts.clone().all(|host| dead(host) || (self.world.runs(host) && self.world.is_linked(host)));
        let oracle = &self.world.watch().oracle;
        let settled = oracle.deeds.iter().all(|deed| deed.fate != Fate::Open);
        let answered = oracle.hosts.iter().all(|host| host.asks.open().next().is_none());
        linked && settled && answered && oracle.behind_the_end(&self.first_entries()).is_none()
    }

    /// The first entry that each stream still has.
    fn first_entries(&self) -> BTreeMap<ByteString, EntryId> {
        let store = self.world.store();
        let first = |stream: ByteString| Some((stream.clone(), store.stream_info(&stream)?.first_entry_id?));
        self.world.streams().into_iter().filter_map(first).collect()
    }

    fn final_checks(&mut self) -> Go {
        for host in 0..self.world.hosts() {
            let (engine, eyes) = self.world.engine_and_watch(host);
            if let Some(engine) = engine {
                eyes.oracle.check_rooms(host, engine);
            }
        }
        let first = self.first_entries();
        let oracle = self.oracle();
        oracle.check_reading(&first);
        oracle.check_fates();
        oracle.check_requests();
        self.verdict()
    }

    /// The hosts that are there, ours or not.
    fn living(&self) -> Vec<usize> {
        let alive = |host: &usize| self.world.watch().oracle.hosts[*host].alive && !self.gone.contains(host);
        (0..self.world.hosts()).filter(alive).collect()
    }

    fn name(&self, host: usize) -> NodeId {
        self.world.watch().oracle.hosts[host].uid.clone()
    }

    /// The others that a host must know by their heartbeats.
    fn beating(&self, but: usize) -> Vec<NodeId> {
        let beats = |host: &usize| {
            let plan = &self.plan.hosts[*host];
            match plan.kind {
                HostKind::Ours => plan.config.dialect != Dialect::Streams03,
                HostKind::Peer(generation) => generation == Generation::Streams02,
            }
        };
        let mut names: Vec<NodeId> = self
            .living()
            .into_iter()
            .filter(beats)
            .filter(|host| *host != but)
            .map(|host| self.name(host))
            .collect();
        names.sort();
        names
    }

    /// What a host believes wrongly of who is there.
    fn wrong_members(&self) -> Option<String> {
        let oracle = &self.world.watch().oracle;
        self.living().into_iter().find_map(|host| {
            if !self.is_ours(host) || self.plan.hosts[host].config.dialect == Dialect::Streams03 {
                return None;
            }
            let expected = self.beating(host);
            self.plan.namespaces.iter().find_map(|nsp| oracle.wrong_members(host, nsp, &expected))
        })
    }

    /// Within this time everybody knows who is there.
    fn check_members(&mut self, patience: Duration) -> Go {
        let end = self.world.now() + patience;
        while let Some(wrong) = self.wrong_members() {
            let more = self.world.step(end);
            self.verdict()?;
            if !more {
                self.oracle().fail("the wrong nodes are known", wrong);
                return Err(Broken);
            }
        }
        Ok(())
    }

    /// Whether everything goes so quickly that answers come in time: not if entries are read one by one, or hardly anything may be in flight.
    fn is_brisk(&self) -> bool {
        let brisk = |config: &Config| config.read_count >= 100 && config.limits.in_flight >= 40;
        self.plan.hosts.iter().all(|host| brisk(&host.config))
    }

    /// Everyone does everything, one after the other.
    fn everything_works(&mut self) -> Go {
        self.check_members(self.longest_wait())?;
        let to = Target::default;
        let deeds = [
            Call::Broadcast { to: to(), kind: Kind::Plain, times: 1 },
            Call::Join { to: to(), room: 0 },
            Call::Emit { times: 1 },
        ];
        let asks = [
            Call::FetchSockets { to: to() },
            Call::EmitWithAck,
            Call::BroadcastWithAck { to: to() },
            Call::ServerCount,
        ];
        for host in self.living() {
            for nsp in self.plan.namespaces.clone() {
                if !self.is_ours(host) {
                    self.peer_works(host, &nsp)?;
                    continue;
                }
                for call in &deeds {
                    let done = self.publish(host, &nsp, call);
                    self.accepted(host, call, done)?;
                    self.run_until_holds(ms(5_000), "a call without an end", |trial| {
                        trial.world.watch().oracle.deeds.iter().all(|deed| deed.fate != Fate::Open)
                    })?;
                }
                for call in &asks {
                    let asked = self.ask(host, &nsp, call);
                    let ticket = self.accepted(host, call, asked)?;
                    self.answered_by_all(host, &nsp, call, ticket)?;
                }
            }
        }
        Ok(())
    }

    fn accepted(
        &mut self,
        host: usize,
        call: &Call,
        result: Option<Result<Ticket, CallError>>,
    ) -> Result<Ticket, Broken> {
        match result {
            Some(Ok(ticket)) => Ok(ticket),
            other => {
                self.oracle()
                    .fail("a call is refused in the calm", format!("host {host}, {call}: {other:?}"));
                Err(Broken)
            }
        }
    }

    fn answered_by_all(&mut self, host: usize, nsp: &str, call: &Call, ticket: Ticket) -> Go {
        let patience = self.plan.hosts[host].config.request_timeout + ms(1_000);
        let gaps = self.world.watch().oracle.gaps;
        self.run_until_holds(patience, "a request without an end", |trial| {
            let asks = &trial.world.watch().oracle.hosts[host].asks;
            asks.open().all(|(other, _)| *other != ticket)
        })?;
        let living = self.living();
        let mut expected: BTreeSet<NodeId> = living.iter().map(|other| self.name(*other)).collect();
        if *call == Call::EmitWithAck {
            expected.remove(&self.name(host));
        }
        let asked = self.world.watch().oracle.hosts[host].asks.asked.get(&ticket);
        let problem = match asked.map(|asked| (&asked.outcome, &asked.servers)) {
            Some((_, Some(servers))) => {
                let right = *servers == Ok(living.len() as u64);
                (!right).then(|| format!("{servers:?} servers, really {}", living.len()))
            }
            Some((Some(outcome), _)) => {
                let right = outcome.is_complete() && outcome.answered.iter().eq(expected.iter());
                (!right).then(|| format!("{outcome:?}, expected {expected:?}"))
            }
            _ => Some("no outcome".to_owned()),
        };
        // An answer that was trimmed before it was read is a loss that was reported.
        if let Some(problem) = problem
            && gaps == self.world.watch().oracle.gaps
            && self.is_brisk()
        {
            let details = format!("host {host}, {nsp} {call}: {problem}");
            self.oracle().fail("not everyone has answered", details);
        }
        self.verdict()
    }

    /// A peer's questions are answered too, as far as its generation hears the answers.
    fn peer_works(&mut self, host: usize, nsp: &str) -> Go {
        let HostKind::Peer(generation) = self.plan.hosts[host].kind else { return Ok(()) };
        let others = self.living().into_iter().filter_map(|other| match self.plan.hosts[other].kind {
            HostKind::Peer(generation) => Some(generation),
            HostKind::Ours => None,
        });
        // Those of 0.2 take those of 0.3 for nodes, and never hear their answers.
        if generation == Generation::Streams02
            && others.into_iter().any(|other| other == Generation::Streams03)
        {
            return Ok(());
        }
        let all = BroadcastOptions::all;
        for question in [
            Question::FetchSockets(all()),
            Question::Emit(payload("ask", self.questions)),
            Question::Broadcast(payload("ask", self.questions), all()),
        ] {
            let text = format!("{question:?}");
            let gaps = self.world.watch().oracle.gaps;
            let number = self.ask_peer(host, nsp, question);
            let patience = self.plan.hosts[host].config.request_timeout + ms(1_000);
            self.run_until_holds(patience, "a peer's question without an end", |trial| {
                trial.world.watch().oracle.peer_answers.contains_key(&number)
            })?;
            let answer = self.world.watch().oracle.peer_answers.get(&number).cloned();
            let excused = !self.is_brisk() || gaps != self.world.watch().oracle.gaps;
            if !excused && !matches!(answer, Some(PeerNote::Answered { .. })) {
                let details = format!("host {host}, {nsp} {text}: {answer:?}");
                self.oracle().fail("a peer is not answered", details);
            }
            self.verdict()?;
        }
        Ok(())
    }

    /// One of ours dies without a word. The others notice in time. Then it comes back, and is known at once.
    fn somebody_dies(&mut self) -> Go {
        let ours: Vec<usize> = self.living().into_iter().filter(|host| self.is_ours(*host)).collect();
        let (Some(&victim), true) = (ours.last(), ours.len() > 1) else { return Ok(()) };
        let config: &Config = &self.plan.hosts[victim].config;
        let timeout = config.heartbeat_timeout;
        let back_after = if self.plan.calm.newcomer { Some(timeout * 2 + ms(2_000)) } else { None };
        let latency = self.plan.network.latency.1 * 10;
        self.world.inflict(&Fault::Crash { host: victim, back_after });
        // Its last words may still be under way, and a clock may be slow.
        self.run_for((timeout + latency).mul_f64(1.03) + self.plan.network.notice.1)?;
        let slow = if self.is_brisk() { Duration::ZERO } else { timeout * 3 + ms(3_000) };
        self.check_members(slow)?;
        let asker = ours[0];
        for nsp in self.plan.namespaces.clone() {
            for call in [Call::FetchSockets { to: Target::default() }, Call::ServerCount] {
                let asked = self.ask(asker, &nsp, &call);
                let ticket = self.accepted(asker, &call, asked)?;
                self.answered_by_all(asker, &nsp, &call, ticket)?;
            }
        }
        if back_after.is_some() {
            let patience = timeout * 2 + ms(2_000);
            self.run_until_holds(patience, "nobody comes back", |trial| {
                trial.world.watch().oracle.hosts[victim].alive
            })?;
            self.open_all(victim);
            self.run_until_holds(Duration::from_secs(5), "never ready", Self::all_ready)?;
            // Long before anybody's next heartbeat: the first one is answered.
            let interval = self.plan.hosts[victim].config.heartbeat_interval;
            let patience = if self.is_brisk() { latency.min(interval * 2 / 3) } else { timeout };
            self.check_members(patience)?;
            self.everything_works()?;
        }
        Ok(())
    }

    fn everybody_leaves(&mut self) -> Go {
        let ours: Vec<usize> = self.living().into_iter().filter(|host| self.is_ours(*host)).collect();
        let latency = self.plan.network.latency.1 * 10;
        for &host in &ours {
            for nsp in self.plan.namespaces.clone() {
                self.close(host, &nsp);
            }
            self.gone.insert(host);
            // Who says goodbye is not waited for.
            if self.is_brisk() && latency < self.plan.hosts[host].config.heartbeat_timeout / 2 {
                self.check_members(latency)?;
            }
        }
        self.run_until_holds(Duration::from_secs(5), "never closed", |trial| {
            ours.iter().all(|host| {
                let closed = trial.world.engine(*host).is_some_and(sio_streams_core::Engine::is_closed);
                closed && trial.world.outstanding(*host) == 0
            })
        })?;
        for host in ours {
            let left = self.world.engine(host).and_then(left_behind);
            if let Some(left) = left {
                self.oracle().fail("something is left behind", format!("host {host}: {left}"));
            }
        }
        self.verdict()
    }
}

/// What an engine still holds when it has left everything. Its debugging form shows all that it has.
fn left_behind(engine: &sio_streams_core::Engine) -> Option<String> {
    if let Some(at) = engine.poll_timeout() {
        return Some(format!("an alarm at {at}"));
    }
    let shown = format!("{engine:?}");
    let empty = [
        "namespaces: {}",
        "channels: {}",
        "closing: {}",
        "readers: {}",
        "publishers: {}",
        "requests: Requests { open: {}, by_id: {} }",
        "in_flight: {}",
        "published: 0,",
        "published_bytes: 0,",
        "pending: []",
        "events: []",
    ];
    let part = empty.iter().find(|part| !shown.contains(**part))?;
    let name = part.split(':').next().unwrap_or_default();
    let at = shown.find(&format!(" {name}: ")).unwrap_or_default();
    Some(shown[at..].chars().take(300).collect())
}

/// `[name, number]`.
fn payload(name: &str, number: u64) -> Payload {
    // A text and a number can be carried.
    Payload::encode(&(name, number)).unwrap_or(Payload::null())
}

fn packet(name: &str, number: u64, kind: Kind) -> Packet {
    let data = match kind {
        Kind::Binary => {
            let bytes = [0x91, number as u8, 0xc1];
            Payload::encode(&(name, number, serde_bytes::Bytes::new(&bytes)))
        }
        Kind::Large => Payload::encode(&(name, number, "x".repeat(2_000))),
        Kind::Plain | Kind::Volatile | Kind::Local => Payload::encode(&(name, number)),
    };
    // Texts, numbers and bytes can be carried.
    let data = data.unwrap_or(Payload::null());
    Packet { kind: sio_streams_core::EVENT, data, nsp: None, id: None }
}
