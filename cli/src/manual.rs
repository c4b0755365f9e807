//! Completions and man pages, which are made from the options themselves.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::{Cli, complain};

/// Prints the completions for a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sio-streams", &mut text);
    match io::stdout().write_all(&text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("can't write: {error}"), 1)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Writes a page for the program, and one for each command.
pub(crate) fn pages(directory: &Path) -> ExitCode {
    let written =
        std::fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(Cli::command(), directory));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("can't write to {}: {error}", directory.display()), 1),
    }
}
