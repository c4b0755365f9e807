//! Two masters that live at once.

use core::time::Duration;

use bytestring::ByteString;
use fastrand::Rng;
use sio_streams_core::Config;

use super::{foreign, moment, ms, often, pick, stream};
use crate::fault::Fault;
use crate::plan::{Action, Step};

/// Failovers after which the old master still lives for a while. `rng` is one of its own, so that
/// the rest of a seed's plan does not depend on what is drawn here.
pub(super) fn steps(
    rng: &mut Rng,
    config: &Config,
    namespaces: &[ByteString],
    chaos: Duration,
    calls: &[Duration],
) -> Vec<Step> {
    if !often(rng, 20) {
        return Vec::new();
    }
    let longest = *pick(rng, &[30, 300, 3_000]);
    (0..*pick(rng, &[1, 1, 2, 4]))
        .map(|_| {
            let at = moment(rng, 70, chaos, calls);
            let lasts = ms(rng.u64(1..longest));
            let mut entries: Vec<_> = (0..*pick(rng, &[0, 1, 3, 20, 150]))
                .map(|_| {
                    let after = Duration::from_micros(rng.u64(..=lasts.as_micros() as u64));
                    (after, stream(rng, config, namespaces), foreign(rng, namespaces))
                })
                .collect();
            entries.sort_by_key(|(after, ..)| *after);
            let (lost, away) = (rng.u64(..4), ms(rng.u64(..longest)));
            Step { at, action: Action::Fault(Fault::TwoMasters { lost, entries, lasts, away }) }
        })
        .collect()
}
