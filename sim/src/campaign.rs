//! Campaigns: runs of many seeds.

use core::time::Duration;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crate::adapter::Rooms;

use crate::family::Family;
use crate::plan::Plan;
use crate::trace::Tracer;
use crate::trial::{self, Report};
use crate::{minimise, plan_generator, timeline};

/// One seed of this number is run twice, and must give the same hash.
const TWICE: u64 = 50;

/// A set of seeds to run.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// The families, which take turns. Nothing runs if the list is empty.
    pub families: &'static [Family],
    /// The number of the first seed of each family; the others follow.
    pub first: u64,
    /// The number of seeds, of all families together.
    pub seeds: u64,
    /// The number of threads.
    pub threads: usize,
    /// `true` to stop at the first violation.
    pub until_first: bool,
    /// The owner of the rooms on all nodes.
    pub rooms: Rooms,
}

impl Campaign {
    /// The seed to run.
    fn seed(&self, turn: u64) -> Option<u64> {
        let families = self.families.len() as u64;
        let family = self.families.get(usize::try_from(turn.checked_rem(families)?).ok()?)?;
        Some(family.seed(self.first.wrapping_add(turn / families)))
    }
}

/// A seed that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The rule, in few words.
    pub rule: String,
    /// A description of the violation.
    pub details: String,
}

/// The result of a campaign.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The number of seeds that were run.
    pub seeds: u64,
    /// The seeds that break a rule, in order.
    pub failures: Vec<Failure>,
    /// The simulated time of all worlds together.
    pub simulated: Duration,
    /// The real time that the campaign took.
    pub wall: Duration,
    /// The number of simulated events.
    pub events: u64,
}

impl Summary {
    /// The line that ends a campaign.
    pub fn line(&self) -> String {
        format!(
            "seeds {}, violations {}, simulated {:.1} hours, wall {:.1} s, events {}",
            self.seeds,
            self.failures.len(),
            self.simulated.as_secs_f64() / 3_600.0,
            self.wall.as_secs_f64(),
            self.events
        )
    }
}

/// The plan of a seed.
fn plan(seed: u64, rooms: Rooms) -> Plan {
    let mut plan = plan_generator::plan(seed);
    plan.hosts.iter_mut().for_each(|host| host.config.room_owner = rooms.owner());
    plan.rooms = rooms;
    plan
}

/// Runs one seed.
pub fn run_seed(seed: u64, rooms: Rooms) -> Report {
    trial::run(&plan(seed, rooms), Tracer::default())
}

/// Runs one seed, and hashes every byte of what happens.
pub fn hash_seed(seed: u64, rooms: Rooms) -> Report {
    trial::run(&plan(seed, rooms), Tracer::exact())
}

/// Runs one seed, and records what happens.
pub fn record_seed(seed: u64, rooms: Rooms) -> Report {
    trial::run(&plan(seed, rooms), Tracer::recording())
}

/// Runs one seed, twice where its turn has come. A panic is a failure too.
pub fn check_seed(seed: u64, rooms: Rooms) -> (Option<Failure>, Report) {
    let checked = std::panic::catch_unwind(|| {
        let report = run_seed(seed, rooms);
        let rule = report.rule().map(str::to_owned);
        let failure = rule.map(|rule| Failure { seed, rule, details: report.failure().unwrap_or_default() });
        if failure.is_some() || !seed.is_multiple_of(TWICE) {
            return (failure, report);
        }
        let hashes = [hash_seed(seed, rooms).hash, hash_seed(seed, rooms).hash];
        let failure = (hashes[0] != hashes[1]).then(|| Failure {
            seed,
            rule: "one seed, two runs".to_owned(),
            details: format!("{:016x} and {:016x}", hashes[0], hashes[1]),
        });
        (failure, report)
    });
    checked.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let details = text.unwrap_or_else(|| "without a text".to_owned());
        (Some(Failure { seed, rule: "a panic".to_owned(), details }), Report::empty())
    })
}

/// Calls `work` with 0, 1, 2, … on a number of threads, until it returns `false`.
pub fn spread(threads: usize, work: impl Fn(u64) -> bool + Sync) {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let turns = || {
        while !stop.load(Ordering::Relaxed) {
            if !work(next.fetch_add(1, Ordering::Relaxed)) {
                stop.store(true, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| (0..threads.max(1)).for_each(|_| drop(scope.spawn(turns))));
}

/// Runs a campaign. `found` is told of each failure as it is found.
pub fn run(campaign: Campaign, found: impl Fn(&Failure) + Sync) -> Summary {
    let started = Instant::now();
    let summary = Mutex::new(Summary::default());
    spread(campaign.threads, |number| {
        let seed = campaign.seed(number).filter(|_| number < campaign.seeds);
        let Some((failure, report)) = seed.map(|seed| check_seed(seed, campaign.rooms)) else { return false };
        failure.iter().for_each(&found);
        let goes_on = failure.is_none() || !campaign.until_first;
        let mut all = summary.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.seeds += 1;
        all.simulated += report.simulated;
        all.events += report.events;
        all.failures.extend(failure);
        goes_on
    });
    let mut summary = summary.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    summary.failures.sort_by_key(|failure| failure.seed);
    summary.wall = started.elapsed();
    summary
}

/// The shortest run found that breaks the same rule as this seed.
#[derive(Debug)]
pub struct Minimised {
    /// The plan.
    pub plan: String,
    /// The run.
    pub report: Report,
    /// The number of runs that minimising took.
    pub runs: u32,
}

impl Minimised {
    /// The plan, and the timeline.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.plan, timeline::text(&self.report.records, false))
    }
}

/// Looks for the shortest run that breaks the same rule as the seed. Returns `None` if the seed
/// breaks no rule.
pub fn minimise_seed(seed: u64, rooms: Rooms) -> Option<Minimised> {
    let (plan, runs) = minimise::minimise(&plan(seed, rooms))?;
    let report = trial::run(&plan, Tracer::recording());
    Some(Minimised { plan: plan.to_string(), report, runs })
}
