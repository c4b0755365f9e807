//! Steps that run one after another until one fails, and the table of how they went.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::workspace::Workspace;

#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Workspace) -> Result<()>,
}

enum Outcome {
    Passed,
    Failed,
}

pub(crate) fn run(workspace: &Workspace, steps: &[Step]) -> Result<()> {
    let mut rows = Vec::new();
    let mut failure = None;
    for &Step { name, run } in steps {
        eprintln!("\n=== {name} ===");
        let started = Instant::now();
        let outcome = match run(workspace) {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                failure = Some(Error::Step { step: name, source: Box::new(error) });
                Outcome::Failed
            }
        };
        rows.push((name, outcome, started.elapsed()));
        if failure.is_some() {
            break;
        }
    }
    eprintln!("\n{}", table(steps, &rows));
    match failure {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn table(steps: &[Step], rows: &[(&str, Outcome, Duration)]) -> String {
    let mut lines = Vec::new();
    for (name, outcome, time) in rows {
        let outcome = match outcome {
            Outcome::Passed => "passed",
            Outcome::Failed => "FAILED",
        };
        lines.push(format!("{name:<12}{:>8.1} s  {outcome}", time.as_secs_f64()));
    }
    for Step { name, .. } in steps.iter().skip(rows.len()) {
        lines.push(format!("{name:<12}{:>8}    not run", "-"));
    }
    let sum: Duration = rows.iter().map(|(_, _, time)| *time).sum();
    lines.push(format!("{:<12}{:>8.1} s", "altogether", sum.as_secs_f64()));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_what_ran_and_what_did_not() {
        let steps = ["format", "clippy", "docs"].map(|name| Step { name, run: |_| Ok(()) });
        let second = Duration::from_secs(1);
        let rows = [("format", Outcome::Passed, second), ("clippy", Outcome::Failed, 2 * second)];
        let table = table(&steps, &rows);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), steps.len() + 1);
        assert_eq!(lines[0], "format           1.0 s  passed");
        assert_eq!(lines[1], "clippy           2.0 s  FAILED");
        assert_eq!(lines[2], "docs               -    not run");
        assert_eq!(lines[3], "altogether       3.0 s");
    }
}
