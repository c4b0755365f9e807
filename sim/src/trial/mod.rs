//! Runs a plan: chaos, then calm, in which everything must work again.
//!
//! | file | what it does |
//! |---|---|
//! | [`calls`] | the calls of the hosts' applications, on their nodes and in the oracle's records |
//! | [`clients`] | clients drop, and come back |
//! | [`hardship`] | a day without links; more to say than gets through |
//! | [`calm`] | everything heals, and everything works |
//! | [`presence`] | who is there, and whether the hosts know it |
//! | [`partings`] | one dies without a word; all leave |

mod calls;
mod calm;
mod clients;
mod hardship;
mod partings;
mod presence;

use core::time::Duration;
use std::collections::BTreeSet;

use sio_streams_core::{ConfigError, Time};

use crate::fault::Fault;
use crate::oracle::{Oracle, Violation};
use crate::plan::{Action, HostKind, Plan, socket_name};
use crate::responder::Responder;
use crate::trace::{Kind as Mark, Place, Record, Tracer};
use crate::watch::{Happening, Watch};
use crate::world::World;

/// The result of a run.
#[derive(Debug)]
pub struct Report {
    /// The violation, if any: the broken rule, and a description.
    pub(crate) violation: Option<Violation>,
    /// The hash of everything that has happened.
    pub hash: u64,
    /// The number of simulated events.
    pub events: u64,
    /// The simulated time.
    pub simulated: Duration,
    /// The recorded events, if they were to be recorded.
    pub records: Vec<Record>,
}

impl Report {
    /// Makes the report of a run that came to nothing.
    pub(crate) fn empty() -> Self {
        Report { violation: None, hash: 0, events: 0, simulated: Duration::ZERO, records: Vec::new() }
    }

    /// A description of the violation.
    pub fn failure(&self) -> Option<String> {
        self.violation.as_ref().map(|Violation { at, rule, details }| format!("{rule}, at {at}: {details}"))
    }

    /// The broken rule.
    pub fn rule(&self) -> Option<&'static str> {
        self.violation.as_ref().map(|violation| violation.rule)
    }
}

/// The observers of a run.
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
    /// The hosts that have left.
    gone: BTreeSet<usize>,
}

/// Runs a plan to its end, or to the first violation.
pub(crate) fn run(plan: &Plan, tracer: Tracer) -> Report {
    let eyes = Eyes { oracle: Oracle::new(plan.counting, &plan.network), tracer };
    let world = World::watched(plan.seed, plan.network.clone(), eyes);
    let mut trial = Trial { plan, world, questions: 0, gone: BTreeSet::new() };
    if let Err(error) = trial.begin() {
        trial.oracle().fail("a plan that can't be run", error.to_string());
    }
    let ended = trial.chaos().and_then(|()| trial.calm());
    trial.report(ended)
}

/// A run with more events than this goes round in circles.
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
        let clients = self.plan.clients();
        self.oracle().expect_clients(clients);
        let namespaces: Vec<&str> = self.plan.namespaces.iter().map(|nsp| &**nsp).collect();
        for (index, host) in self.plan.hosts.iter().enumerate() {
            self.oracle().expect_host(host.kind == HostKind::Ours, &host.config);
            let names: Vec<String> = (0..host.sockets).map(|socket| socket_name(index, socket)).collect();
            let sockets: Vec<&str> = names.iter().map(|name| &**name).collect();
            match host.kind {
                HostKind::Ours => {
                    let app = Responder::new(host.think, host.mute, self.plan.rooms);
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

    fn is_ours(&self, host: usize) -> bool {
        self.plan.hosts[host].kind == HostKind::Ours
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
        oracle.hosts.iter().filter(|host| host.ours && host.alive).all(|host| {
            let is_ready = |nsp| host.ready.contains_key(nsp) || host.refused.contains(nsp);
            self.plan.namespaces.iter().all(is_ready)
        })
    }

    fn inflict(&mut self, fault: &Fault) {
        if fault.host().is_some_and(|host| !self.plan.hosts[host].present) {
            return;
        }
        self.world.inflict(fault);
    }
}
