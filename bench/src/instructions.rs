//! Instructions, counted by Valgrind: unlike time, they are the same on a machine that is busy.

use std::env;
use std::process::Command;

use crate::docs::Result;

/// How many instructions this very program takes, started with these arguments.
///
/// # Errors
///
/// If Valgrind can't be run, or the program fails.
pub fn of_this_program(args: &[String]) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(env::current_exe()?).args(args);
    let output = command.output().map_err(|error| format!("valgrind can't be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("valgrind failed: {said}").into());
    }
    let collected =
        said.lines().find_map(|line| line.split_once("Collected :")).map(|(_, count)| count.trim());
    Ok(collected.ok_or_else(|| format!("valgrind counted nothing: {said}"))?.parse()?)
}
