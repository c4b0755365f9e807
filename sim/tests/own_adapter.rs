//! The example of a framework's adapter logic under test.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use sio_streams_sim::campaign;

#[path = "../examples/own_adapter.rs"]
mod example;

use example::{MISTAKEN, RIGHT, test};

#[test]
fn logic_that_is_right_breaks_no_rule_under_any_fault() {
    let summary = test(RIGHT, 48);
    assert_eq!(summary.seeds, 48);
    assert!(summary.failures.is_empty(), "{:?}", summary.failures);
}

#[test]
fn a_mistake_is_found_and_the_run_that_shows_it_is_short() {
    let failures = test(MISTAKEN, 48).failures;
    let failure = failures.first().expect("a rule is broken");
    let shortest = campaign::minimise_seed(failure.seed, MISTAKEN).unwrap();
    assert_eq!(shortest.report.rule(), Some(&*failure.rule));
    // It needs hardly anything: a message for a room in which nobody is.
    let steps = shortest.plan.lines().filter(|line| line.contains(" ms  ")).count();
    assert!(steps <= 2, "{}", shortest.plan);
}
