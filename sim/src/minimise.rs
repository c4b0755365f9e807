//! Shortens a run that breaks a rule to one that breaks the same rule.

use core::time::Duration;

use sio_streams_core::Limits;

use crate::fault::Fault;
use crate::plan::{Action, Call, HostKind, Plan, Step, Target};
use crate::trace::Tracer;
use crate::trial;
use crate::world::HostOptions;

/// The number of runs after which it is short enough.
const RUNS: u32 = 3_000;

struct Search {
    best: Plan,
    rule: &'static str,
    runs: u32,
}

/// The shortest plan found that breaks the same rule, and the number of runs that this took; `None`
/// if the plan breaks no rule.
pub(crate) fn minimise(plan: &Plan) -> Option<(Plan, u32)> {
    let rule = trial::run(plan, Tracer::default()).rule()?;
    let mut search = Search { best: plan.clone(), rule, runs: 1 };
    loop {
        let before = (search.best.steps.clone(), search.best.present());
        search.steps();
        search.hosts();
        search.settings();
        search.each_step();
        let after = (search.best.steps.clone(), search.best.present());
        if before == after || search.runs >= RUNS {
            return Some((search.best, search.runs));
        }
    }
}

impl Search {
    /// Takes the change if the rule is still broken.
    fn try_this(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        if self.runs >= RUNS {
            return false;
        }
        let mut plan = self.best.clone();
        change(&mut plan);
        self.runs += 1;
        let still = trial::run(&plan, Tracer::default()).rule() == Some(self.rule);
        if still {
            self.best = plan;
        }
        still
    }

    /// Leaves out steps: large parts first, then smaller ones.
    fn steps(&mut self) {
        let mut part = self.best.steps.len();
        while part > 0 {
            let mut from = 0;
            while from < self.best.steps.len() {
                let until = (from + part).min(self.best.steps.len());
                if !self.try_this(|plan| drop(plan.steps.drain(from..until))) {
                    from = until;
                }
            }
            part /= 2;
        }
    }

    fn hosts(&mut self) {
        for host in (0..self.best.hosts.len()).rev() {
            if self.best.hosts[host].present {
                self.try_this(|plan| {
                    plan.hosts[host].present = false;
                    plan.steps.retain(|step| match &step.action {
                        Action::Fault(fault) => fault.host() != Some(host),
                        Action::Call { host: other, .. } => *other != host,
                    });
                });
            }
        }
    }

    fn settings(&mut self) {
        self.try_this(|plan| plan.calm.death = false);
        self.try_this(|plan| plan.calm.farewell = false);
        if self.best.namespaces.len() > 1 {
            self.try_this(|plan| {
                plan.namespaces.truncate(1);
                for step in &mut plan.steps {
                    if let Action::Call { nsp, .. } = &mut step.action {
                        *nsp = 0;
                    }
                }
            });
        }
        let last = self.best.steps.last().map_or(Duration::ZERO, |step| step.at);
        self.try_this(|plan| plan.chaos = last + Duration::from_millis(100));
        self.try_this(|plan| plan.network.latency = (Duration::from_micros(500), Duration::from_micros(500)));
        for host in 0..self.best.hosts.len() {
            if self.best.hosts[host].kind == HostKind::Ours {
                self.try_this(|plan| plan.hosts[host].options = HostOptions::default());
                self.try_this(|plan| plan.hosts[host].think = Duration::ZERO);
                self.try_this(|plan| plan.hosts[host].mute = 0);
                self.try_this(|plan| plan.hosts[host].config.read_count = 100);
                self.try_this(|plan| plan.hosts[host].config.limits = Limits::default());
            }
            self.try_this(|plan| plan.hosts[host].sockets = plan.hosts[host].sockets.min(1));
        }
        self.try_this(|plan| plan.hosts.iter_mut().for_each(|host| host.config.max_len = 10_000));
    }

    fn each_step(&mut self) {
        for at in 0..self.best.steps.len() {
            while let Some(simpler) = simpler(&self.best.steps[at]) {
                if !self.try_this(|plan| plan.steps[at] = simpler) {
                    break;
                }
            }
        }
    }
}

/// The same step, a little simpler.
fn simpler(step: &Step) -> Option<Step> {
    let mut step = step.clone();
    match &mut step.action {
        Action::Call { call, .. } => match call {
            Call::Broadcast { times, .. } | Call::Emit { times } if *times > 1 => *times /= 2,
            Call::Broadcast { to, .. }
            | Call::Join { to, .. }
            | Call::Leave { to, .. }
            | Call::Disconnect { to }
            | Call::FetchSockets { to }
            | Call::BroadcastWithAck { to }
                if *to != Target::default() =>
            {
                *to = Target::default();
            }
            _ => return None,
        },
        Action::Fault(fault) => {
            let mut any = false;
            let mut halve = |time: &mut Duration| {
                any |= *time >= Duration::from_millis(20);
                if *time >= Duration::from_millis(20) {
                    *time /= 2;
                }
            };
            match fault {
                Fault::Cut { lasts, late, .. } => {
                    halve(lasts);
                    halve(late);
                }
                Fault::Stall { lasts, .. }
                | Fault::Pause { lasts, .. }
                | Fault::SlowApp { lasts, .. }
                | Fault::Refuse { lasts, .. }
                | Fault::Withhold { lasts, .. }
                | Fault::Freeze { lasts } => halve(lasts),
                Fault::Restart { away, loading, .. } => {
                    halve(away);
                    halve(loading);
                }
                Fault::Failover { demoted, away, .. } => {
                    halve(demoted);
                    halve(away);
                }
                _ => {}
            }
            if !any {
                return None;
            }
        }
    }
    Some(step)
}
