//! Figures as Markdown.

use core::fmt::Write;

use super::contender::CONTENDERS;
use super::measure::Figures;

/// A column: its head, what it shows, and the decimals of the first contender's figure.
type Column = (&'static str, fn(&Figures) -> f64, usize);

const COLUMNS: [Column; 8] = [
    ("messages/s", |it| it.rate, 0),
    ("sender CPU µs", |it| it.sender, 1),
    ("receiver CPU µs", |it| it.receiver, 1),
    ("idle p50 µs", |it| it.idle.0, 0),
    ("idle p99 µs", |it| it.idle.1, 0),
    ("half load p50 µs", |it| it.half_load.0, 0),
    ("half load p99 µs", |it| it.half_load.1, 0),
    ("memory MiB", |it| it.rss, 0),
];

/// The table of one payload. Each round has the figures of all contenders. The first contender's medians are shown as they are, the others' as
/// medians of the ratios to the first within the same round.
pub fn table(title: &str, rounds: &[Vec<Figures>]) -> String {
    let mut out = format!("### {title}\n\n| |");
    for (head, ..) in COLUMNS {
        let _ = write!(out, " {head} |");
    }
    let _ = writeln!(out, "\n|---|{}", "---:|".repeat(COLUMNS.len()));
    for (at, contender) in CONTENDERS.iter().enumerate() {
        let _ = write!(out, "| {} |", contender.name);
        for (_, figure, decimals) in COLUMNS {
            let _ = match at {
                0 => write!(out, " {:.decimals$} |", median(rounds.iter().map(|round| figure(&round[0])))),
                _ => {
                    let ratios = rounds
                        .iter()
                        .map(|round| figure(&round[at]) / figure(&round[0]).max(f64::MIN_POSITIVE));
                    write!(out, " × {:.2} |", median(ratios))
                }
            };
        }
        out.push('\n');
    }
    out
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let round = |first: f64, others: f64| {
            let figures = |rate| Figures { rate, ..Figures::default() };
            let mut round = vec![figures(others); CONTENDERS.len()];
            round[0] = figures(first);
            round
        };
        // The machine was slow in the second round, for everyone.
        let table = table("small", &[round(100.0, 300.0), round(10.0, 30.0), round(120.0, 360.0)]);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[4].contains("| 100 |"), "{table}");
        assert!(lines[5].contains("| × 3.00 |"), "{table}");
    }
}
