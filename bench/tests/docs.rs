//! The documentation shows the recorded measurements.
#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::fs;

use sio_streams_bench::docs;
use sio_streams_bench::growth::{Found, table};

#[test]
#[cfg(feature = "peers")]
fn the_peers_are_those_of_the_file() {
    use sio_streams_bench::peers::results::Results;
    use sio_streams_bench::peers::{chart, report};

    // Nothing is shown before something was measured.
    let Some(results) = docs::figures::<Results>("peers").unwrap() else { return };
    let again = "write it again: cargo xtask bench peers --docs";
    assert_eq!(docs::shown("peers").unwrap(), report::markdown(&results).trim(), "{again}");
    assert_eq!(
        fs::read_to_string(docs::file("docs/performance.svg")).unwrap(),
        chart::svg(&results),
        "{again}"
    );
}

#[test]
fn the_budgets_are_those_of_the_file() {
    let recorded = fs::read_to_string(docs::file("bench/budgets.txt")).unwrap();
    let shown = docs::shown("budgets").unwrap();
    assert_eq!(
        shown,
        format!("```text\n{recorded}```"),
        "write it again: cargo xtask bench budgets --record"
    );
}

#[test]
fn the_growth_is_that_of_the_file() {
    let Some(found) = docs::figures::<Vec<Found>>("growth").unwrap() else { return };
    let again = "write it again: cargo xtask bench growth --docs";
    assert_eq!(docs::shown("growth").unwrap(), table(&found).trim(), "{again}");
    assert!(found.iter().all(|found| !found.too_much));
}

#[test]
fn every_tool_has_its_place() {
    for section in ["peers", "frames", "growth"] {
        assert!(!docs::shown(section).unwrap().is_empty());
    }
}
