//! `cargo xtask soak`: all faults at random, for minutes. It is not part of `ci`.

use crate::args::{Browser, Interop};
use crate::error::Result;
use crate::workspace::Workspace;
use crate::{process, setup};

pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    let machine = setup::run(workspace, Interop::With, Browser::Without)?;
    let mut command = workspace.cargo();
    command
        .args(["run", "--release", "--locked", "-p", "sio-streams-faults", "--bin", "soak", "--"])
        .args(args)
        // The allocator of Linux keeps memory apart for each thread. There are many threads here,
        // and what it keeps would hide what the nodes hold.
        .env("MALLOC_ARENA_MAX", "1");
    command.envs(machine.environment());
    process::run(&mut command)
}
