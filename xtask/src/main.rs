//! The chores of this workspace: `cargo xtask help`.
//!
//! Standard output belongs to the test runner, so that its lines can be read by other programs. What the other commands
//! and xtask itself have to say goes to standard error.
#![allow(clippy::print_stderr, reason = "a program for people at a terminal")]

mod args;
mod bench;
mod ci;
mod coverage;
mod error;
mod fuzz;
mod miri;
mod msrv;
mod process;
mod setup;
mod soak;
mod tally;
mod test;
mod tools;
mod version;
mod workspace;

use std::io::{self, Write};
use std::process::ExitCode;

use args::Task;
use error::Result;
use workspace::Workspace;

fn main() -> ExitCode {
    let task = match args::parse(std::env::args().skip(1)) {
        Ok(task) => task,
        Err(usage) => {
            eprintln!("error: {usage} (see `cargo xtask help`)");
            return ExitCode::from(2);
        }
    };
    match run(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    if let Task::Help = task {
        // Whoever closes the pipe early has read enough.
        let _ = writeln!(io::stdout(), "{}", args::HELP);
        return Ok(());
    }
    let workspace = Workspace::find()?;
    match task {
        Task::Help => Ok(()),
        Task::Setup(interop) => setup::run(&workspace, interop).and_then(|_| setup::valgrind()),
        Task::Test { interop, args } => test::run(&workspace, interop, &args),
        Task::Fuzz(options) => fuzz::run(&workspace, &options),
        Task::Miri(args) => miri::run(&workspace, &args),
        Task::Soak(args) => soak::run(&workspace, &args),
        Task::BenchRecovery => test::run(&workspace, args::Interop::With, &ignored("stampede")),
        Task::BenchPeers(args) => bench::peers(&workspace, &args),
        Task::BenchBudgets(args) => bench::budgets(&workspace, &args),
        Task::BenchGrowth(args) => bench::growth(&workspace, &args),
        Task::BenchFrames(args) => bench::frames(&workspace, &args),
        Task::Ci => ci::run(&workspace),
    }
}

/// A benchmark against Node peers is a test that is left out otherwise.
fn ignored(test: &str) -> Vec<String> {
    ["--release", "-p", workspace::INTEROP, "--test", test, "--", "--ignored", "--nocapture"]
        .map(str::to_owned)
        .into()
}

/// Says something to the person who watches.
fn say(text: impl std::fmt::Display) {
    eprintln!("xtask: {text}");
}
