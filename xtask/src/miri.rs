//! `cargo xtask miri`: core's tests in an interpreter that detects undefined behaviour. It is not
//! part of `ci`, because it takes long.

use std::env;
use std::process::Command;

use crate::error::{Error, Result};
use crate::workspace::Workspace;
use crate::{fuzz, process};

/// The names of its components for rustup.
const COMPONENTS: [&str; 6] = ["component", "add", "--toolchain", "nightly", "miri", "rust-src"];

/// Tests read the environment, and the cases that failed once.
const FLAGS: &str = "-Zmiri-disable-isolation";

pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    ensure_tools()?;
    process::run(&mut command(workspace, args))
}

fn command(workspace: &Workspace, args: &[String]) -> Command {
    let mut command = workspace.cargo_of("nightly");
    command.args(["miri", "test", "--locked", "-p", "sio-streams-core"]);
    // Without the documentation's examples, each of which would be compiled by itself.
    let own = args.iter().take_while(|arg| *arg != "--");
    let chosen = own.into_iter().any(|arg| matches!(arg.as_str(), "--lib" | "--test" | "--tests" | "--doc"));
    command.args((!chosen).then_some("--tests")).args(args);
    let given = env::var("MIRIFLAGS").unwrap_or_default();
    command.env("MIRIFLAGS", format!("{given} {FLAGS}").trim());
    command
}

fn ensure_tools() -> Result<()> {
    fuzz::ensure_nightly("Miri")?;
    if process::succeeds("rustup", &["run", "nightly", "cargo", "miri", "--version"]) {
        return Ok(());
    }
    process::run(Command::new("rustup").args(COMPONENTS)).map_err(|error| {
        Error::missing(
            format!("Miri was not found, and could not be installed: {error}"),
            "rustup component add --toolchain nightly miri rust-src",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(args: &[&str]) -> String {
        let workspace = Workspace::find().unwrap();
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        process::line(&command(&workspace, &args))
    }

    #[test]
    fn all_tests_unless_some_are_chosen() {
        let all = line_of(&["--", "--nocapture"]);
        assert!(
            all.ends_with("cargo miri test --locked -p sio-streams-core --tests -- --nocapture"),
            "{all}"
        );
        assert!(all.starts_with("MIRIFLAGS=") && all.contains(FLAGS), "{all}");
        let some = line_of(&["--lib", "--test", "vectors"]);
        assert!(some.ends_with("-p sio-streams-core --lib --test vectors"), "{some}");
    }
}
