//! Looking at the Redis servers themselves: for commands that are not about messages.

mod errors;
mod reply;
mod servers;

use std::future::Future;
use std::io;
use std::process::ExitCode;

pub(crate) use errors::{Error, Refusal};
pub(crate) use reply::{Info, pairs};
pub(crate) use servers::{Server, Servers};

/// Runs a command to its end. It returns the exit code, and writes to standard output.
pub(crate) fn run(command: impl Future<Output = Result<u8, Error>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return crate::complain(&format!("can't start: {error}"), 1),
    };
    match runtime.block_on(command) {
        Ok(code) => ExitCode::from(code),
        // The reader of the output does not want more of it.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => crate::complain(&error.to_string(), error.exit_code()),
    }
}
