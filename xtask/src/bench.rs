//! `cargo xtask bench`: measures the speed, compared with others and with recorded figures.

use std::path::PathBuf;

use crate::args::{Browser, Interop};
use crate::error::Result;
use crate::workspace::Workspace;
use crate::{process, say, setup};

/// The environment variable with the path of the program that drives socketioxide: see
/// `bench/src/peers/contender.rs`.
const OXIDE: &str = "SIO_STREAMS_BENCH_SOCKETIOXIDE";

/// Compares nodes of ours with their peers.
pub(crate) fn peers(workspace: &Workspace, args: &[String]) -> Result<()> {
    let machine = setup::run(workspace, Interop::With, Browser::Without)?;
    let mut command = run(workspace, "peers", &[]);
    command.args(args);
    command.envs(machine.environment());
    match socketioxide(workspace) {
        Ok(program) => drop(command.env(OXIDE, program)),
        // It wants a newer compiler than this workspace does. The others can be compared without
        // it.
        Err(error) => say(format_args!("socketioxide is left out, as its program can't be built: {error}")),
    }
    process::run(&mut command)
}

/// Builds the program that drives socketioxide's adapters. It is not a member of the workspace.
fn socketioxide(workspace: &Workspace) -> Result<PathBuf> {
    let target = workspace.path("target/socketioxide");
    let mut command = workspace.cargo();
    command.args(["build", "--release", "--locked", "--manifest-path", "bench/socketioxide/Cargo.toml"]);
    process::run(command.arg("--target-dir").arg(&target))?;
    Ok(target.join("release/sio-streams-bench-socketioxide"))
}

/// Measures the way from entries to the frames for clients, compared with Node.
pub(crate) fn frames(workspace: &Workspace, args: &[String]) -> Result<()> {
    setup::run(workspace, Interop::With, Browser::Without)?;
    process::run(run(workspace, "frames", WITHOUT_PEERS).args(args))
}

/// Instructions, against their budgets.
pub(crate) fn budgets(workspace: &Workspace, args: &[String]) -> Result<()> {
    setup::valgrind()?;
    process::run(run(workspace, "instructions", WITHOUT_PEERS).args(args))
}

/// The growth of instructions.
pub(crate) fn growth(workspace: &Workspace, args: &[String]) -> Result<()> {
    setup::valgrind()?;
    process::run(run(workspace, "growth", WITHOUT_PEERS).args(args))
}

/// Benchmarks that need no Redis are compiled without the peers.
const WITHOUT_PEERS: &[&str] = &["--no-default-features"];

fn run(workspace: &Workspace, program: &str, features: &[&str]) -> std::process::Command {
    let mut command = workspace.cargo();
    command.args(["run", "--release", "--locked", "-p", "sio-streams-bench"]);
    command.args(features).args(["--bin", program, "--"]);
    command
}
