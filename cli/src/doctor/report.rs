//! The doctor's report.

use std::io::{self, Write};

use serde_json::json;

use super::finding::{Finding, Severity};
use crate::tail::text::clean;

/// The number of things that were looked at.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) servers: usize,
    pub(super) streams: usize,
    pub(super) entries: u64,
    pub(super) channels: usize,
}

/// The width of a text for people, in columns.
const WIDTH: usize = 78;

/// Breaks a text into lines.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn count(findings: &[Finding], severity: Severity) -> usize {
    findings.iter().filter(|finding| finding.severity == severity).count()
}

fn number(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

pub(super) fn human(findings: &[Finding], scope: &Scope, out: &mut dyn Write) -> io::Result<()> {
    for finding in findings {
        let Finding { severity, code, about, seen, todo } = finding;
        writeln!(out, "{:<7}  {}  {}", severity.name(), code.name(), clean(about))?;
        for (mark, text) in [(" ", &**seen), (" ", code.means()), (">", todo)] {
            for (at, line) in wrapped(&clean(text), WIDTH - 4).into_iter().enumerate() {
                writeln!(out, "  {} {line}", if at == 0 { mark } else { " " })?;
            }
        }
        writeln!(out)?;
    }
    let severities = [Severity::Error, Severity::Warning, Severity::Note];
    let counts = severities.map(|severity| number(count(findings, severity), severity.name()));
    let Scope { servers, streams, entries, channels } = *scope;
    writeln!(
        out,
        "{}\nin {}, {} with {}, {}",
        counts.join(", "),
        number(servers, "Redis server"),
        number(streams, "stream"),
        match entries {
            1 => "1 entry".to_owned(),
            entries => format!("{entries} entries"),
        },
        number(channels, "channel"),
    )
}

pub(super) fn json(findings: &[Finding], scope: &Scope, out: &mut dyn Write) -> io::Result<()> {
    for finding in findings {
        let line = json!({
            "kind": "finding",
            "severity": finding.severity.name(),
            "code": finding.code.name(),
            "about": finding.about,
            "seen": finding.seen,
            "means": finding.code.means(),
            "todo": finding.todo,
        });
        writeln!(out, "{line}")?;
    }
    let worst = findings.iter().map(|finding| finding.severity).max();
    let line = json!({
        "kind": "diagnosis",
        "worst": worst.map(Severity::name),
        "errors": count(findings, Severity::Error),
        "warnings": count(findings, Severity::Warning),
        "notes": count(findings, Severity::Note),
        "servers": scope.servers,
        "streams": scope.streams,
        "entries": scope.entries,
        "channels": scope.channels,
    });
    writeln!(out, "{line}")
}

#[cfg(test)]
mod tests {
    use super::super::finding::Code;
    use super::*;

    #[test]
    fn lines_fit_a_terminal_of_80_columns() {
        for code in Code::ALL {
            let (about, seen, todo) = ("s".into(), "word ".repeat(100), "word ".repeat(99));
            let finding = Finding { severity: Severity::Warning, code, about, seen, todo };
            let mut out = Vec::new();
            human(&[finding], &Scope::default(), &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            assert!(text.ends_with(
                "0 errors, 1 warning, 0 notes\nin 0 Redis servers, 0 streams with 0 entries, 0 channels\n"
            ));
        }
    }

    #[test]
    fn long_words_stay_whole() {
        assert_eq!(wrapped("a bb  cccccc d", 4), ["a bb", "cccccc", "d"]);
        assert_eq!(wrapped("", 4), [""; 0]);
    }
}
