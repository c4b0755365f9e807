//! Faults for proptest: drawn at random, and made simpler when a test fails.

use core::time::Duration;

use proptest::prelude::*;

use crate::fault::{Data, Fault, Lanes, Refusal};

/// A time of up to the given number of milliseconds; shorter ones are simpler.
fn up_to(millis: u64) -> impl Strategy<Value = Duration> {
    (0..=millis).prop_map(Duration::from_millis)
}

fn lanes() -> impl Strategy<Value = Lanes> {
    prop_oneof![Just(Lanes::Readers), Just(Lanes::Writer), Just(Lanes::Subscriber), Just(Lanes::All)]
}

/// Faults after which nothing need be lost: links that are cut or silent, processes that stand
/// still, a server that is restarted with its data, refuses, or hangs. Each lasts for `longest`
/// milliseconds at most.
///
/// A vector of these shrinks to the few that a failure needs. `hosts` must not be 0.
pub fn harmless_faults(hosts: usize, longest: u64) -> impl Strategy<Value = Fault> {
    let host = 0..hosts;
    prop_oneof![
        4 => (host.clone(), lanes(), 0..4_usize, up_to(longest), up_to(longest)).prop_map(
            |(host, lanes, executed, late, lasts)| Fault::Cut { host, lanes, executed, late, lasts }
        ),
        2 => (host.clone(), lanes(), up_to(longest))
            .prop_map(|(host, lanes, lasts)| Fault::Stall { host, lanes, lasts }),
        1 => (host.clone(), up_to(longest)).prop_map(|(host, lasts)| Fault::Pause { host, lasts }),
        1 => (host, up_to(longest)).prop_map(|(host, lasts)| Fault::SlowApp { host, lasts }),
        1 => (up_to(longest), up_to(longest))
            .prop_map(|(away, loading)| Fault::Restart { data: Data::Kept, away, loading }),
        1 => up_to(longest).prop_map(|lasts| Fault::Refuse { refusal: Refusal::OutOfMemory, lasts }),
        1 => up_to(longest).prop_map(|lasts| Fault::Freeze { lasts }),
        1 => Just(Fault::KillClients),
    ]
}
