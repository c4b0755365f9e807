//! Instructions, counted by Valgrind. Unlike time, they are the same on a busy machine.

use std::path::PathBuf;
use std::process::{self, Command};
use std::{env, fs};

use crate::docs::Result;

/// A copy of this program. The next build may replace the original while it is still needed.
#[derive(Debug)]
pub struct Program(PathBuf);

impl Program {
    /// Copies the program.
    ///
    /// # Errors
    ///
    /// If there is no room for it.
    pub fn of_this() -> Result<Self> {
        let copy = env::temp_dir().join(format!("sio-streams-bench-{}", process::id()));
        fs::copy(env::current_exe()?, &copy)?;
        Ok(Program(copy))
    }

    /// The number of instructions that it takes, started with these arguments.
    ///
    /// # Errors
    ///
    /// If Valgrind can't be run, or the program fails.
    pub fn instructions(&self, args: &[String]) -> Result<u64> {
        self.callgrind(&[], args)
    }

    /// The number of instructions that it takes within [`count_these_instructions`], started with
    /// these arguments.
    ///
    /// # Errors
    ///
    /// If Valgrind can't be run, the program fails, or does nothing there.
    pub fn counted(&self, args: &[String]) -> Result<u64> {
        // The name is enough, whatever the compiler makes of the path.
        match self.callgrind(&["--toggle-collect=*count_these_instructions*"], args)? {
            0 => Err("nothing was counted: is the program stripped of its symbols?".into()),
            count => Ok(count),
        }
    }

    fn callgrind(&self, options: &[&str], args: &[String]) -> Result<u64> {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).args(options);
        let output = command.arg(&self.0).args(args).output();
        let output = output.map_err(|error| format!("valgrind can't be run: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("valgrind failed: {said}").into());
        }
        let collected =
            said.lines().find_map(|line| line.split_once("Collected :")).map(|(_, count)| count.trim());
        Ok(collected.ok_or_else(|| format!("valgrind counted nothing: {said}"))?.parse()?)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The directory is a temporary one.
        let _ = fs::remove_file(&self.0);
    }
}

/// Does the work. It has a name of its own wherever it is used: [`Program::counted`] looks for it.
#[inline(never)]
pub fn count_these_instructions(work: &mut dyn FnMut()) {
    work();
}
