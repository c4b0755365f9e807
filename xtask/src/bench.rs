//! `cargo xtask bench`: how fast it is, beside others and beside what was recorded.

use crate::args::Interop;
use crate::error::Result;
use crate::tools::Package;
use crate::workspace::Workspace;
use crate::{process, setup};

const VALGRIND: Package = Package {
    what: "valgrind",
    apt: "valgrind",
    brew: "valgrind",
    otherwise: "install Valgrind 3.19 or later, and put it on the PATH",
};

/// Nodes of ours beside their peers.
pub(crate) fn peers(workspace: &Workspace, args: &[String]) -> Result<()> {
    let machine = setup::run(workspace, Interop::With)?;
    let mut command = workspace.cargo();
    command
        .args(["run", "--release", "--locked", "-p", "sio-streams-bench", "--bin", "peers", "--"])
        .args(args);
    if let Some((name, binary)) = machine.redis.environment() {
        command.env(name, binary);
    }
    process::run(&mut command)
}

/// Instructions, against their budgets.
pub(crate) fn budgets(workspace: &Workspace, args: &[String]) -> Result<()> {
    if !process::succeeds("valgrind", &["--version"]) {
        VALGRIND.install()?;
    }
    let mut command = workspace.cargo();
    command
        .args(["run", "--release", "--locked", "-p", "sio-streams-bench", "--bin", "instructions", "--"])
        .args(args);
    process::run(&mut command)
}
