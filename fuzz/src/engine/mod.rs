//! The whole engine: it keeps its promises for every input, in every order.
//!
//! A [`Scenario`] is a configuration and a list of things that happen: calls of an application,
//! entries, Pub/Sub messages, replies (right ones, wrong ones, none, twice), links that go and
//! come, time. [`run`] makes them happen and watches:
//!
//! - nothing panics;
//! - what the limits bound stays within them;
//! - each call that got a ticket ends, once, with the event that belongs to it, and requests end in
//!   time even if nobody answers;
//! - a stream's entries come out in order, each at most once, and none of this node's own;
//! - no loss is reported where nothing was lost;
//! - a client that is back has a session that was stored for it, once, and gets what it missed,
//!   neither more nor less;
//! - no command is handed out twice while its reply is awaited;
//! - a timer that was handled is not due again at once;
//! - after closing nothing is left;
//! - the same scenario gives the same outputs.

mod away;
mod commands;
mod host_rooms;
mod plan;
mod redis;
mod restored;
mod tickets;
mod trace;
mod world;

pub use away::Away;
pub use plan::Scenario;

use trace::Trace;
use world::World;

/// Runs a scenario, and some of them twice.
///
/// # Panics
///
/// If something that must hold does not.
pub fn run(scenario: &Scenario) {
    let first = play(scenario);
    if scenario.setup.seed.is_multiple_of(4) {
        let second = play(scenario);
        assert_eq!(first, second, "the same scenario, other outputs");
    }
}

fn play(scenario: &Scenario) -> Trace {
    let mut world = World::new(&scenario.setup);
    for step in &scenario.steps {
        world.step(step);
    }
    world.end()
}
