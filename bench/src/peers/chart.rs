//! The figures as a bar chart, in SVG.

use core::fmt::Write;

use super::results::{Figures, Results, Spread};

/// One field of the picture: what it shows of which payload.
type Panel = (&'static str, &'static str, fn(&Figures) -> f64, f64);

/// Rows of three. The last number is what a figure is divided by.
const PANELS: [[Panel; 3]; 3] = [
    [
        ("small JSON: thousand messages/s", "small", |it| it.rate, 1e3),
        ("small JSON: µs of CPU, sender", "small", |it| it.sender, 1.0),
        ("small JSON: µs of CPU, receiver", "small", |it| it.receiver, 1.0),
    ],
    [
        ("small JSON: µs of delay, idle, p50", "small", |it| it.idle[0], 1.0),
        ("small JSON: µs of delay, half load, p50", "small", |it| it.half_load[0], 1.0),
        ("small JSON: ms of delay, half load, p99", "small", |it| it.half_load[1], 1e3),
    ],
    [
        ("1 KiB JSON: thousand messages/s", "1k-json", |it| it.rate, 1e3),
        ("1 KiB binary: thousand messages/s", "1k-binary", |it| it.rate, 1e3),
        ("64 KiB JSON: thousand messages/s", "64k-json", |it| it.rate, 1e3),
    ],
];

/// Pixels: the names' column, a panel, its bars, the space between panels, a line.
const NAMES: f64 = 190.0;
const PANEL: f64 = 250.0;
const BARS: f64 = 190.0;
const GAP: f64 = 16.0;
const LINE: f64 = 19.0;
const TITLE: f64 = 34.0;

const NOTE: &str =
    "Messages a second: more is better. All else: less is better. Bars are medians; a line spans all rounds.";

const STYLE: &str = "text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.value { font-size: 11px; fill: #57606a }
.node { fill: #9aa4b0 } .oxide { fill: #c08a5b } .ours { fill: #2f7d5b } .bare { fill: #a9cdbd }
.spread { stroke: #24292f; stroke-width: 1; opacity: .55 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .value { fill: #9da7b3 }
.node { fill: #6e7884 } .bare { fill: #33574a } .spread { stroke: #e6edf3 } }";

/// The picture.
pub fn svg(results: &Results) -> String {
    let names: Vec<(&str, &str)> = match results.payloads.first() {
        Some(payload) => payload.contenders.iter().map(|it| (&*it.key, &*it.name)).collect(),
        None => Vec::new(),
    };
    let height_of_row = TITLE + names.len() as f64 * LINE + GAP;
    let rows = PANELS.iter().filter(|row| row.iter().any(|panel| results.payload(panel.1).is_some()));
    let rows: Vec<_> = rows.collect();
    let (width, height) = (NAMES + 3.0 * (PANEL + GAP), rows.len() as f64 * height_of_row + 2.0 * GAP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>sio-streams beside its peers: messages a second, processor time, delays</title>\n<style>{STYLE}</style>\n"
    );
    for (at, row) in rows.into_iter().enumerate() {
        let top = GAP / 2.0 + at as f64 * height_of_row;
        for (line, (_, name)) in names.iter().enumerate() {
            let _ = writeln!(
                out,
                "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                NAMES - 8.0,
                base(top, line),
                escaped(name)
            );
        }
        for (column, panel) in row.iter().enumerate() {
            let left = NAMES + column as f64 * (PANEL + GAP);
            out += &drawn(results, &names, *panel, left, top);
        }
    }
    let _ =
        writeln!(out, "<text class=\"value\" x=\"{NAMES}\" y=\"{:.1}\">{NOTE}</text>", height - GAP / 2.0);
    out + "</svg>\n"
}

fn base(top: f64, line: usize) -> f64 {
    top + TITLE + line as f64 * LINE
}

fn drawn(
    results: &Results,
    names: &[(&str, &str)],
    (title, payload, figure, unit): Panel,
    left: f64,
    top: f64,
) -> String {
    let Some(payload) = results.payload(payload) else { return String::new() };
    let spread = |key: &str| payload.contender(key)?.spread(|it| figure(it) / unit);
    // By the medians, so that one bad round does not flatten everything else.
    let most = names.iter().filter_map(|(key, _)| spread(key)).map(|it| it.median).fold(0.0, f64::max);
    let place = |value: f64| left + (value / most.max(f64::MIN_POSITIVE)).min(1.0) * BARS;
    let mut out = format!(
        "<text class=\"title\" x=\"{left}\" y=\"{:.1}\">{}</text>\n",
        base(top, 0) - 17.0,
        escaped(title)
    );
    for (line, (key, _)) in names.iter().enumerate() {
        let Some(Spread { min, median, max }) = spread(key) else { continue };
        let middle = base(top, line) - 4.0;
        let _ = writeln!(
            out,
            "<rect class=\"{}\" x=\"{left}\" y=\"{:.1}\" width=\"{:.1}\" height=\"13\" rx=\"2\"/>\
             <path class=\"spread\" d=\"M{:.1} {middle:.1}H{:.1}\"/>\
             <text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            class(key),
            middle - 6.5,
            (place(median) - left).max(1.0),
            place(min),
            place(max),
            place(median.max(max)) + 5.0,
            base(top, line),
            digits(median),
        );
    }
    out
}

fn class(key: &str) -> &'static str {
    match key {
        "redis" | "fred" | "socketioxide-sio-streams" => "ours",
        "socketioxide" => "oxide",
        _ if key.starts_with("bare") || key.starts_with("socket") => "bare",
        _ => "node",
    }
}

/// Three of them.
fn digits(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::contender::CONTENDERS;
    use crate::peers::results::made_up;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        let results =
            made_up("1k-json", &[("streams-0.3.1", 50_000.0), ("fred", 200_000.0), ("<other>", 1.0)]);
        let svg = svg(&results);
        assert!(svg.contains("&lt;other>"), "{svg}");
        assert!(svg.contains(&format!("class=\"ours\" x=\"190\" y=\"50.5\" width=\"{BARS:.1}\"")), "{svg}");
        assert!(svg.contains(&format!("width=\"{:.1}\" height=\"13\"", BARS / 4.0)), "{svg}");
    }

    #[test]
    fn ours_stand_out() {
        let ours: Vec<_> = CONTENDERS.iter().filter(|it| class(it.key) == "ours").map(|it| it.name).collect();
        assert_eq!(ours, ["sio-streams, socketioxide", "sio-streams, redis", "sio-streams, fred"]);
        assert_eq!(CONTENDERS.iter().filter(|it| class(it.key) == "node").count(), 4);
    }
}
