//! The adapter for Node.js, a workspace of its own: Node.js links it, and its tests are JavaScript's.

use std::process::Command;

use crate::error::Result;
use crate::process;
use crate::workspace::Workspace;

/// The name of its package.
pub(crate) const PACKAGE: &str = "sio-streams-node";

pub(crate) const MANIFEST: &str = "adapter-node/Cargo.toml";

/// Makes the command that builds it and runs its tests, with the arguments of Node's test runner.
pub(crate) fn test(workspace: &Workspace, args: &[String]) -> Command {
    let mut command = workspace.command("node".as_ref());
    command.arg("adapter-node/scripts/test.mjs").args(args);
    command
}

pub(crate) fn clippy(workspace: &Workspace) -> Result<()> {
    process::run(cargo(workspace, "clippy").args(["--all-targets", "--", "-D", "warnings"]))
}

pub(crate) fn docs(workspace: &Workspace) -> Result<()> {
    process::run(cargo(workspace, "doc").arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings"))
}

/// It shares the directory of the other crates: it is built from nearly the same packages.
fn cargo(workspace: &Workspace, task: &str) -> Command {
    let mut command = workspace.cargo();
    command.args([task, "--locked", "--manifest-path", MANIFEST, "--target-dir", "target"]);
    command
}
