//! Spelling, by [typos](https://github.com/crate-ci/typos).

use std::path::PathBuf;
use std::process::Command;

use crate::error::{Error, Result};
use crate::workspace::Workspace;
use crate::{process, say};

const VERSION: &str = "1.52.0";

/// Where it is installed, for this checkout alone.
const DIRECTORY: &str = "target/tools/typos";

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let typos = ensure(workspace)?;
    process::run(workspace.command(typos.as_os_str()).args(["--config", "typos.toml"]))
}

/// Returns the program of that version, which is on the PATH, or is installed. PyPI has it
/// compiled, in a second; cargo compiles it, in some minutes.
fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let on_path = PathBuf::from("typos");
    if is_right(&on_path)? {
        return Ok(on_path);
    }
    let directory = workspace.path(DIRECTORY);
    let own = directory.join(format!("bin/typos{}", std::env::consts::EXE_SUFFIX));
    if is_right(&own)? {
        return Ok(own);
    }
    say(format_args!("installing typos {VERSION} to {DIRECTORY}"));
    let wheel = format!("typos=={VERSION}");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--upgrade"]);
    pip.env("PIP_ROOT_USER_ACTION", "ignore");
    let by_pip = process::run(pip.arg("--target").arg(&directory).arg(wheel));
    if by_pip.is_ok() && is_right(&own)? {
        return Ok(own);
    }
    let mut cargo = workspace.cargo();
    cargo.args(["install", "typos-cli", "--locked", "--version", VERSION, "--root"]).arg(&directory);
    process::run(&mut cargo).map_err(|error| {
        Error::missing(
            format!("typos {VERSION} was not found, and could not be installed: {error}"),
            format!("pip install typos=={VERSION}, or cargo install typos-cli --locked --version {VERSION}"),
        )
    })?;
    Ok(own)
}

/// Another version knows other words, so that it would find something else.
fn is_right(program: &std::path::Path) -> Result<bool> {
    let answer = process::ask(Command::new(program).arg("--version"))?;
    Ok(answer.is_some_and(|answer| answer.split_whitespace().last() == Some(VERSION)))
}
