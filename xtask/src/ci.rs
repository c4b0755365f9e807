//! `cargo xtask ci`: everything that a change must pass. A missing tool is a failure, not a skip.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::args::{Adapter, Browser, FuzzOptions, Interop};
use crate::error::{Error, Result};
use crate::workspace::Workspace;
use crate::{adapter, bench, fuzz, msrv, node_adapter, process, test};

/// Time for all targets together.
const FUZZ_SECONDS: u64 = 12;

const SIMULATED_SEEDS: &str = "600";

enum Outcome {
    Passed,
    Failed,
}

struct Step {
    name: &'static str,
    run: fn(&Workspace) -> Result<()>,
}

/// Quick ones first.
const STEPS: [Step; 8] = [
    Step { name: "format", run: format },
    Step { name: "clippy", run: clippy },
    Step { name: "docs", run: docs },
    Step { name: "msrv", run: msrv::run },
    Step { name: "test", run: test },
    Step { name: "budgets", run: budgets },
    Step { name: "simulation", run: simulation },
    Step { name: "fuzz", run: fuzz },
];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut rows = Vec::new();
    let mut failure = None;
    for Step { name, run } in STEPS {
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
    eprintln!("\n{}", table(&rows));
    match failure {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn table(rows: &[(&str, Outcome, Duration)]) -> String {
    let mut lines = Vec::new();
    for (name, outcome, time) in rows {
        let outcome = match outcome {
            Outcome::Passed => "passed",
            Outcome::Failed => "FAILED",
        };
        lines.push(format!("{name:<12}{:>8.1} s  {outcome}", time.as_secs_f64()));
    }
    for Step { name, .. } in &STEPS[rows.len().min(STEPS.len())..] {
        lines.push(format!("{name:<12}{:>8}    not run", "-"));
    }
    let sum: Duration = rows.iter().map(|(_, _, time)| *time).sum();
    lines.push(format!("{:<12}{:>8.1} s", "altogether", sum.as_secs_f64()));
    lines.join("\n")
}

fn format(workspace: &Workspace) -> Result<()> {
    ensure_component(workspace, "rustfmt", "fmt")?;
    process::run(workspace.cargo().args(["fmt", "--all", "--check"]))?;
    // These are workspaces of their own.
    let manifests =
        ["fuzz/Cargo.toml", "bench/socketioxide/Cargo.toml", adapter::MANIFEST, node_adapter::MANIFEST];
    for manifest in manifests {
        process::run(workspace.cargo().args(["fmt", "--manifest-path", manifest, "--check"]))?;
    }
    Ok(())
}

fn clippy(workspace: &Workspace) -> Result<()> {
    ensure_component(workspace, "clippy", "clippy")?;
    let args = ["--workspace", "--all-targets", "--all-features", "--locked", "--", "-D", "warnings"];
    process::run(workspace.cargo().arg("clippy").args(args))?;
    // An embedder of the driver may leave out logs and metrics.
    let bare = ["-p", "sio-streams-driver", "--no-default-features", "--locked", "--", "-D", "warnings"];
    process::run(workspace.cargo().arg("clippy").args(bare))?;
    adapter::clippy(workspace)?;
    node_adapter::clippy(workspace)
}

fn docs(workspace: &Workspace) -> Result<()> {
    let args = ["doc", "--workspace", "--all-features", "--no-deps", "--locked"];
    process::run(workspace.cargo().args(args).env("RUSTDOCFLAGS", "-D warnings"))?;
    adapter::docs(workspace)?;
    node_adapter::docs(workspace)
}

fn test(workspace: &Workspace) -> Result<()> {
    test::run(workspace, Interop::With, Adapter::With, Browser::With, &[])
}

fn budgets(workspace: &Workspace) -> Result<()> {
    bench::budgets(workspace, &[])
}

fn simulation(workspace: &Workspace) -> Result<()> {
    let simulator = ["run", "--release", "--locked", "-p", "sio-streams-sim", "--"];
    process::run(workspace.cargo().args(simulator).arg("regressions"))?;
    process::run(workspace.cargo().args(simulator).arg("hashes"))?;
    process::run(workspace.cargo().args(simulator).arg("explore"))?;
    // The seeds are drawn at random, and printed.
    process::run(workspace.cargo().args(simulator).args(["run", "--seeds", SIMULATED_SEEDS]))?;
    process::run(workspace.cargo().args(simulator).args(["run", "--own-rooms", "--seeds", SIMULATED_SEEDS]))
}

fn fuzz(workspace: &Workspace) -> Result<()> {
    let options = FuzzOptions { seconds: FUZZ_SECONDS, seed: None, coverage: false, targets: Vec::new() };
    fuzz::run(workspace, &options)
}

/// rustfmt and clippy are components of the toolchain that minimal installations leave out.
fn ensure_component(workspace: &Workspace, component: &str, subcommand: &str) -> Result<()> {
    let answer = process::ask(workspace.cargo().args([subcommand, "--version"]))?;
    if answer.is_some_and(|answer| !answer.is_empty()) {
        return Ok(());
    }
    process::run(Command::new("rustup").args(["component", "add", component])).map_err(|error| {
        Error::missing(
            format!("{component} was not found, and could not be installed: {error}"),
            format!(
                "with rustup: rustup component add {component}; otherwise take it from where cargo came from"
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_what_ran_and_what_did_not() {
        let second = Duration::from_secs(1);
        let rows = [("format", Outcome::Passed, second), ("clippy", Outcome::Failed, 2 * second)];
        let table = table(&rows);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), STEPS.len() + 1);
        assert_eq!(lines[0], "format           1.0 s  passed");
        assert_eq!(lines[1], "clippy           2.0 s  FAILED");
        assert_eq!(lines[2], "docs               -    not run");
        assert_eq!(lines[5], "budgets            -    not run");
        assert_eq!(lines[8], "altogether       3.0 s");
    }
}
