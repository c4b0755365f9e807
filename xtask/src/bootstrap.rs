//! Unstable options of rustdoc with a stable compiler. Cargo runs rustdoc through this program,
//! which allows them to that one process: with the variable in cargo's own environment, much would
//! be compiled again.

use std::env;
use std::ffi::OsStr;
use std::process::{Command, ExitCode};

use crate::error::{Error, Result};

/// Names the real rustdoc to this program when it stands in for it.
const RUSTDOC: &str = "XTASK_RUSTDOC";

/// Makes cargo use this rustdoc, with unstable options allowed.
pub(crate) fn let_rustdoc(cargo: &mut Command, rustdoc: &OsStr) -> Result<()> {
    let own = env::current_exe().map_err(|e| Error::file("xtask", e))?;
    cargo.env("RUSTDOC", own).env(RUSTDOC, rustdoc);
    Ok(())
}

/// Stands in for rustdoc if that is what cargo has started this program for.
pub(crate) fn stand_in() -> Option<ExitCode> {
    let rustdoc = env::var_os(RUSTDOC)?;
    let mut command = Command::new(rustdoc);
    command.args(env::args_os().skip(1)).env("RUSTC_BOOTSTRAP", "1").env_remove(RUSTDOC);
    Some(match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: rustdoc can't be run: {error}");
            ExitCode::FAILURE
        }
    })
}
