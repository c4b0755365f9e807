//! Channels to which nobody may subscribe.

use core::time::Duration;

use bytestring::ByteString;
use fastrand::Rng;
use sio_streams_core::{Config, Dialect};

use super::{moment, ms, often, pick};
use crate::fault::Fault;
use crate::plan::{Action, Step};

/// Rights that somebody takes away, and gives back. `rng` is one of its own, so that the rest of a
/// seed's plan does not depend on what is drawn here.
pub(super) fn steps(
    rng: &mut Rng,
    config: &Config,
    namespaces: &[ByteString],
    chaos: Duration,
    calls: &[Duration],
) -> Vec<Step> {
    if !often(rng, 25) {
        return Vec::new();
    }
    let longest = *pick(rng, &[300, 3_000, 30_000]);
    let mut steps: Vec<Step> = (0..*pick(rng, &[1, 1, 2, 5]))
        .map(|_| {
            let at = moment(rng, 50, chaos, calls);
            let channels = (0..*pick(rng, &[1, 1, 2, 4])).map(|_| channel(rng, config, namespaces));
            let channels = channels.collect();
            Step { at, action: Action::Fault(Fault::Withhold { channels, lasts: ms(rng.u64(1..longest)) }) }
        })
        .collect();
    // Subscriptions that are in force are not asked for again.
    for at in steps.iter().map(|step| step.at).collect::<Vec<_>>() {
        if often(rng, 60) {
            let at = at + ms(rng.u64(..200));
            steps.push(Step { at, action: Action::Fault(Fault::KillClients) });
        }
    }
    steps
}

/// A channel that nodes subscribe to, or a pattern.
fn channel(rng: &mut Rng, config: &Config, namespaces: &[ByteString]) -> ByteString {
    let (prefix, nsp) = (&config.channel_prefix, pick(rng, namespaces));
    let channel = match config.dialect {
        Dialect::Classic => match rng.u8(..3) {
            0 => format!("{prefix}#{nsp}#*"),
            1 => format!("{prefix}-request#{nsp}#"),
            _ => format!("{prefix}-response#{nsp}#"),
        },
        _ => match often(rng, 80) {
            true => format!("{prefix}#{nsp}#room{}#", rng.u8(..4)),
            false => format!("{prefix}#{nsp}#"),
        },
    };
    channel.into()
}
