//! The aims, and whether they are met.

use core::fmt::Write;

use super::report::ratio;
use super::results::{Figures, Results};

/// The payload to which the aims apply.
const PAYLOAD: &str = "small";

/// A figure's ratio to that of another contender in the same round.
struct Aim {
    what: &'static str,
    figure: fn(&Figures) -> f64,
    /// Whose.
    of: &'static str,
    to: &'static str,
    /// The minimum or the maximum.
    bound: Bound,
}

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

const NODE: &str = "streams-0.3.1";
/// A reader is attached to it, but it reads nothing itself. A node reads its own entries too.
const RAW: &str = "socket-adds-only";

/// The contenders of this project, and the client crate that each uses.
const OURS: [(&str, &str); 2] = [("redis", "bare-redis"), ("fred", "bare-fred")];

fn aims() -> impl Iterator<Item = Aim> {
    OURS.into_iter().flat_map(|(of, bare)| {
        let aim = move |what, figure, to, bound| Aim { what, figure, of, to, bound };
        [
            aim("messages/s", |it: &Figures| it.rate, NODE, Bound::AtLeast(4.0)),
            aim("messages/s", |it| it.rate, RAW, Bound::AtLeast(0.7)),
            aim("sender CPU", |it| it.sender, NODE, Bound::AtMost(1.0 / 5.0)),
            aim("receiver CPU", |it| it.receiver, NODE, Bound::AtMost(1.0 / 3.0)),
            aim("sender CPU", |it| it.sender, bare, Bound::AtMost(1.3)),
            aim("receiver CPU", |it| it.receiver, bare, Bound::AtMost(1.3)),
            aim("delay when idle, p50", |it| it.idle[0], NODE, Bound::AtMost(0.7)),
            aim("delay at half load, p99", |it| it.half_load[1], NODE, Bound::AtMost(1.0 / 3.0)),
        ]
    })
}

/// A line for each aim: met or missed, with the figures.
pub fn markdown(results: &Results) -> String {
    let mut out = String::from("| aim, small JSON | | median | rounds | |\n|---|---|---:|---:|---|\n");
    let Some(payload) = results.payload(PAYLOAD) else {
        return "The aims go by small JSON, which was not measured.\n".into();
    };
    for aim in aims() {
        let (Some(of), Some(to)) = (payload.contender(aim.of), payload.contender(aim.to)) else { continue };
        let Some(found) = of.ratio(to, aim.figure) else { continue };
        let (met, bound) = match aim.bound {
            Bound::AtLeast(bound) => (found.median >= bound, format!("at least {}", ratio(bound))),
            Bound::AtMost(bound) => (found.median <= bound, format!("at most {}", ratio(bound))),
        };
        let _ = writeln!(
            out,
            "| {}: {} | {bound} × {} | {} | {}–{} | {} |",
            of.name,
            aim.what,
            to.name,
            ratio(found.median),
            ratio(found.min),
            ratio(found.max),
            if met { "met" } else { "**missed**" }
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::contender::CONTENDERS;
    use crate::peers::measure::PAYLOADS;
    use crate::peers::results::made_up;

    #[test]
    fn those_who_are_named_exist() {
        let known = |key: &str| CONTENDERS.iter().any(|contender| contender.key == key);
        assert!(aims().all(|aim| known(aim.of) && known(aim.to)));
        assert!(PAYLOADS.iter().any(|load| load.key == PAYLOAD));
    }

    #[test]
    fn an_aim_is_met_or_missed() {
        let results = made_up(PAYLOAD, &[(NODE, 1.0), ("redis", 4.0), (RAW, 8.0)]);
        let text = markdown(&results);
        assert!(
            text.contains("| redis: messages/s | at least 4.00 × streams-0.3.1 | 4.00 | 4.00–4.00 | met |"),
            "{text}"
        );
        assert!(
            text.contains("at least 0.70 × socket-adds-only | 0.50 | 0.50–0.50 | **missed** |"),
            "{text}"
        );
    }
}
