//! Exhaustive search of small worlds: a few nodes, a few calls, one or two faults, and *all* orders in
//! which commands, replies, faults and time-outs can follow each other.
//!
//! Random seeds sample; this leaves nothing out, up to the scenario's bounds. The engine is not copied:
//! a world is repeated from its beginning for each order that is tried. Two worlds that print the same
//! are the same, so what follows from them is tried once. The rules are looked at in each end: where
//! nothing more can happen, every link is restored, time passes, and everything must have come right.
//! As the shortest orders are tried first, a violation that is found is as short as any.

mod scenario;
mod world;

use core::fmt;
use core::hash::{BuildHasher, BuildHasherDefault};
use std::collections::HashSet;
use std::hash::DefaultHasher;

pub use scenario::Scenario;
use world::{Small, Step};

/// The result of an exhaustive search.
#[derive(Clone, Debug)]
pub struct Explored {
    /// The number of different worlds.
    pub states: usize,
    /// The number of worlds in which nothing more can happen.
    pub ends: usize,
    /// The largest number of steps to a world.
    pub depth: usize,
    /// `true` if nothing within the scenario's bounds was left out.
    pub complete: bool,
    /// The broken rule, and the steps that lead there.
    pub violation: Option<(String, Vec<String>)>,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explored { states, ends, depth, complete, violation } = self;
        let whole = if *complete { "complete" } else { "not complete" };
        let violations = usize::from(violation.is_some());
        write!(f, "states {states}, ends {ends}, depth {depth}, {whole}, violations {violations}")?;
        let Some((rule, steps)) = violation else { return Ok(()) };
        write!(f, "\n  {rule}")?;
        steps.iter().try_for_each(|step| write!(f, "\n    {step}"))
    }
}

/// Tries all orders of a scenario, up to this number of worlds. Stops at the first violation.
pub fn explore(scenario: &Scenario, states: usize) -> Explored {
    let mut explored = Explored { states: 1, ends: 0, depth: 0, complete: true, violation: None };
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let digest = |world: &Small| hasher.hash_one(world.print());
    let mut seen = HashSet::from([digest(&Small::new(scenario))]);
    // Each world but the first, with the number of the one before it.
    let mut paths: Vec<(usize, Step)> = Vec::new();
    for number in 0.. {
        let path = match number {
            0 => Vec::new(),
            _ if number > paths.len() => break,
            _ => path_to(&paths, number),
        };
        let world = repeat(scenario, &path);
        explored.depth = explored.depth.max(path.len());
        let steps = world.steps();
        if steps.is_empty() {
            explored.ends += 1;
            if let Err(rule) = world.end() {
                explored.violation = Some((rule, path.iter().map(ToString::to_string).collect()));
                return explored;
            }
        }
        for step in steps {
            let mut next = repeat(scenario, &path);
            next.take(&step);
            if !seen.insert(digest(&next)) {
                continue;
            }
            if explored.states >= states {
                explored.complete = false;
                return explored;
            }
            explored.states += 1;
            paths.push((number, step));
        }
    }
    explored
}

/// Returns the steps to a world. Worlds are counted from 1, and 0 is the beginning.
fn path_to(paths: &[(usize, Step)], mut number: usize) -> Vec<Step> {
    let mut path = Vec::new();
    while number > 0 {
        let (before, step) = &paths[number - 1];
        path.push(step.clone());
        number = *before;
    }
    path.reverse();
    path
}

fn repeat(scenario: &Scenario, path: &[Step]) -> Small {
    let mut world = Small::new(scenario);
    path.iter().for_each(|step| world.take(step));
    world
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_scenario_breaks_no_rule_in_any_order() {
        let explored = explore(&Scenario::named("cut").unwrap(), 100_000);
        assert_eq!(explored.violation, None, "{explored}");
        assert!(explored.complete && explored.states > 1_000 && explored.ends > 10, "{explored}");
    }

    /// An acknowledged entry that the server forgets is found, by a path that is as short as can be.
    #[test]
    fn a_server_that_forgets_is_found() {
        let scenario = Scenario { forgets: true, ..Scenario::named("cut").unwrap() };
        let (rule, steps) = explore(&scenario, 100_000).violation.unwrap();
        assert!(rule.contains("is not in the stream"), "{rule}");
        assert!(steps.len() < 15, "{steps:?}");
    }

    #[test]
    fn what_is_left_out_is_said() {
        let explored = explore(&Scenario::named("cut").unwrap(), 50);
        assert!(!explored.complete && explored.states == 50);
    }
}
