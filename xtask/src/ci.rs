//! `cargo xtask ci`: everything that a change must pass. A missing tool is a failure, not a skip.

use std::process::Command;

use crate::args::{Adapter, Browser, FuzzOptions, Interop};
use crate::error::{Error, Result};
use crate::steps::Step;
use crate::workspace::Workspace;
use crate::{
    adapter, bench, fuzz, links, msrv, node_adapter, process, release, spelling, steps, supply, test,
};

/// Time for all targets together.
const FUZZ_SECONDS: u64 = 12;

const SIMULATED_SEEDS: &str = "600";

/// Quick ones first.
const STEPS: [Step; 12] = [
    Step { name: "format", run: format },
    Step { name: "links", run: links::run },
    Step { name: "spelling", run: spelling::run },
    Step { name: "supply", run: supply::run },
    Step { name: "packages", run: release::packages },
    Step { name: "clippy", run: clippy },
    Step { name: "docs", run: docs },
    Step { name: "msrv", run: msrv::run },
    Step { name: "test", run: test },
    Step { name: "budgets", run: budgets },
    Step { name: "simulation", run: simulation },
    Step { name: "fuzz", run: fuzz },
];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    steps::run(workspace, &STEPS)
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
