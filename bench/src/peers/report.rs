//! Figures as Markdown.

use core::fmt::Write;

use super::aims;
use super::results::{Figures, OfPayload, Results, Spread};

/// A column: its head, what it shows, and the decimals of the first contender's figure.
type Column = (&'static str, fn(&Figures) -> f64, usize);

const COLUMNS: [Column; 12] = [
    ("messages/s", |it| it.rate, 0),
    ("sender CPU µs", |it| it.sender, 1),
    ("receiver CPU µs", |it| it.receiver, 1),
    ("Redis CPU µs", |it| it.redis, 1),
    ("bytes on the wire", |it| it.wire, 0),
    ("idle p50 µs", |it| it.idle[0], 0),
    ("idle p99 µs", |it| it.idle[1], 0),
    ("idle p99.9 µs", |it| it.idle[2], 0),
    ("half load p50 µs", |it| it.half_load[0], 0),
    ("half load p99 µs", |it| it.half_load[1], 0),
    ("half load p99.9 µs", |it| it.half_load[2], 0),
    ("memory MiB", |it| it.rss, 0),
];

/// The columns whose spread is shown.
const SPREAD: [Column; 6] = [
    ("messages/s", |it| it.rate, 0),
    ("sender CPU µs", |it| it.sender, 2),
    ("receiver CPU µs", |it| it.receiver, 2),
    ("idle p50 µs", |it| it.idle[0], 0),
    ("half load p50 µs", |it| it.half_load[0], 0),
    ("half load p99 µs", |it| it.half_load[1], 0),
];

/// All of it.
pub fn markdown(results: &Results) -> String {
    let mut out = format!(
        "{}, {}; {} {}.\n\n",
        results.date,
        results.machine,
        match results.rounds {
            1 => "one round".to_owned(),
            rounds => format!("medians of {rounds} rounds"),
        },
        if results.quick { "that was short, to see that all works: no figures to rely on" } else { "each" },
    );
    out = out.replace(" each.", ".");
    for failure in &results.failures {
        let _ = writeln!(out, "- **failed:** {failure}");
    }
    out += &aims::markdown(results);
    for payload in &results.payloads {
        out += &table(payload);
    }
    out += "\n<details><summary>How far the rounds lie apart: least, median, greatest</summary>\n";
    for payload in &results.payloads {
        out += &spreads(payload);
    }
    out + "\n</details>\n"
}

/// The first contender's medians as they are, the others' as medians of the ratios to the first
/// within the same round.
fn table(payload: &OfPayload) -> String {
    let mut out = head(&payload.title, &COLUMNS);
    for (at, contender) in payload.contenders.iter().enumerate() {
        let _ = write!(out, "| {} |", contender.name);
        for (_, figure, decimals) in COLUMNS {
            let shown = match at {
                0 => contender.spread(figure).map(|all| format!(" {:.decimals$} |", all.median)),
                _ => contender
                    .ratio(&payload.contenders[0], figure)
                    .map(|all| format!(" × {} |", ratio(all.median))),
            };
            out += &shown.unwrap_or_else(|| " – |".into());
        }
        out.push('\n');
    }
    out
}

fn spreads(payload: &OfPayload) -> String {
    let mut out = head(&payload.title, &SPREAD);
    for contender in &payload.contenders {
        let _ = write!(out, "| {} |", contender.name);
        for (_, figure, decimals) in SPREAD {
            let shown = contender.spread(figure).map(|Spread { min, median, max }| {
                format!(" {min:.decimals$} · {median:.decimals$} · {max:.decimals$} |")
            });
            out += &shown.unwrap_or_else(|| " – |".into());
        }
        out.push('\n');
    }
    out
}

fn head(title: &str, columns: &[Column]) -> String {
    let mut out = format!("\n#### {title}\n\n| |");
    for (head, ..) in columns {
        let _ = write!(out, " {head} |");
    }
    let _ = writeln!(out, "\n|---|{}", "---:|".repeat(columns.len()));
    out
}

/// A ratio, with as many digits as it has.
pub(super) fn ratio(ratio: f64) -> String {
    match ratio {
        100.0.. => format!("{ratio:.0}"),
        10.0.. => format!("{ratio:.1}"),
        _ => format!("{ratio:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::results::OfContender;

    fn contender(name: &str, rates: &[Option<f64>]) -> OfContender {
        let rounds = rates.iter().map(|rate| rate.map(|rate| Figures { rate, ..Figures::default() }));
        OfContender { key: name.into(), name: name.into(), rounds: rounds.collect() }
    }

    #[test]
    fn the_first_has_figures_the_others_ratios() {
        let contenders = vec![
            contender("one", &[Some(100.0), Some(90.0)]),
            contender("two", &[Some(400.0), None]),
            contender("three", &[None, None]),
        ];
        let payload = OfPayload { key: "small".into(), title: "small".into(), contenders };
        let results = Results {
            date: "today".into(),
            machine: "this one".into(),
            rounds: 2,
            quick: false,
            failures: vec!["two fell".into()],
            payloads: vec![payload],
        };
        let text = markdown(&results);
        assert!(text.starts_with("today, this one; medians of 2 rounds.\n"), "{text}");
        assert!(text.contains("- **failed:** two fell"), "{text}");
        assert!(text.contains("| one | 100 |"), "{text}");
        assert!(text.contains("| two | × 4.00 | – |"), "{text}");
        assert!(text.contains("| three | – |"), "{text}");
        assert!(text.contains("| one | 90 · 100 · 100 |"), "{text}");
    }
}
