//! The development tasks of this workspace: `cargo xtask help`.
//!
//! Standard output belongs to the test runner, so that other programs can read its lines. The
//! output of other commands, and of xtask itself, goes to standard error.
#![allow(clippy::print_stderr, reason = "a program for people at a terminal")]

mod adapter;
mod api;
mod args;
mod bench;
mod bootstrap;
mod ci;
mod corpus;
mod coverage;
mod error;
#[cfg(test)]
mod figures;
mod fuzz;
mod licence;
mod links;
mod miri;
mod msrv;
mod node_adapter;
mod process;
mod published;
mod release;
mod server;
mod setup;
mod soak;
mod spelling;
mod steps;
mod supply;
mod test;
mod tools;
mod version;
mod workspace;

use std::process::ExitCode;

use args::{Adapter, Bench, Browser, Interop, Task};
use error::Result;
use workspace::Workspace;

fn main() -> ExitCode {
    if let Some(exit) = bootstrap::stand_in() {
        return exit;
    }
    let task = args::parse(std::env::args().skip(1)).unwrap_or_else(|usage| usage.exit());
    match run(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let workspace = Workspace::find()?;
    match task {
        Task::Setup { no_interop, no_browser } => {
            let browser = Browser::unless(no_interop || no_browser);
            setup::run(&workspace, Interop::unless(no_interop), browser).and_then(|_| setup::valgrind())
        }
        Task::Test { no_interop, no_socketioxide, no_browser, args } => {
            let (adapter, browser) = (Adapter::unless(no_socketioxide), Browser::unless(no_browser));
            test::run(&workspace, Interop::unless(no_interop), adapter, browser, &args)
        }
        Task::Fuzz(options) => fuzz::run(&workspace, &options),
        Task::Corpus { change } => fuzz::change_corpus(&workspace, &change),
        Task::Miri { args } => miri::run(&workspace, &args),
        Task::Soak { args } => soak::run(&workspace, &args),
        Task::Bench(Bench::Peers { args }) => bench::peers(&workspace, &args),
        Task::Bench(Bench::Frames { args }) => bench::frames(&workspace, &args),
        Task::Bench(Bench::Growth { args }) => bench::growth(&workspace, &args),
        Task::Bench(Bench::Budgets { args }) => bench::budgets(&workspace, &args),
        Task::Bench(Bench::Recovery) => {
            test::run(&workspace, Interop::With, Adapter::Without, Browser::Without, &ignored("stampede"))
        }
        Task::Api { write } => {
            api::run(&workspace, if write { api::Snapshots::Write } else { api::Snapshots::Compare })
        }
        Task::Links => links::run(&workspace),
        Task::Spelling => spelling::run(&workspace),
        Task::Supply => supply::run(&workspace),
        Task::Release { check: _, only } => release::check(&workspace, &only),
        Task::Ci => ci::run(&workspace),
    }
}

/// The arguments that run a benchmark which is written as an ignored test.
fn ignored(test: &str) -> Vec<String> {
    ["--release", "-p", workspace::INTEROP, "--test", test, "--", "--ignored", "--nocapture"]
        .map(str::to_owned)
        .into()
}

/// Prints a message for the person at the terminal.
fn say(text: impl std::fmt::Display) {
    eprintln!("xtask: {text}");
}
