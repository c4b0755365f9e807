//! The adapter for socketioxide, a workspace of its own: socketioxide needs a newer compiler than
//! the other crates do.

use std::process::Command;

use crate::args::{Browser, Interop};
use crate::error::{Error, Result};
use crate::version::Version;
use crate::workspace::Workspace;
use crate::{process, test};

/// The name of its package.
pub(crate) const PACKAGE: &str = "sio-streams-socketioxide";

pub(crate) const MANIFEST: &str = "adapter-socketioxide/Cargo.toml";

/// The `rust-version` of its manifest, which is socketioxide's.
const OLDEST: Version = Version::new(1, 94, 0);

/// A part of the names of the tests in a browser, and of no others.
const IN_BROWSER: &str = "browsers_";

/// Fails if the compiler is too old.
pub(crate) fn check_compiler(workspace: &Workspace) -> Result<()> {
    let answer = process::ask(workspace.cargo().arg("--version"))?.unwrap_or_default();
    check(&answer)
}

fn check(answer: &str) -> Result<()> {
    let version = answer.strip_prefix("cargo ").and_then(Version::parse).ok_or_else(|| {
        Error::unreadable("what `cargo --version` prints", format!("it is no version: {answer:?}"))
    })?;
    match version >= OLDEST {
        true => Ok(()),
        false => Err(Error::missing(
            format!("{PACKAGE} needs Rust {OLDEST}, as socketioxide does, and this is Rust {version}"),
            "update it: rustup update stable (or leave this crate's tests out: cargo xtask test --no-socketioxide)",
        )),
    }
}

/// Makes the command that runs its tests. Those against Node.js and in a browser are left out on
/// request.
pub(crate) fn test(workspace: &Workspace, interop: Interop, browser: Browser, args: &[String]) -> Command {
    let mut command = cargo(workspace, "test");
    command.args(test_args(interop, browser, args));
    command
}

fn test_args(interop: Interop, browser: Browser, args: &[String]) -> Vec<String> {
    let mut all = vec!["--no-fail-fast"];
    if interop == Interop::Without {
        all.extend(["--lib", "--test", "corners"]);
    }
    let mut all: Vec<String> = all.into_iter().map(str::to_owned).chain(args.iter().cloned()).collect();
    if interop == Interop::With && browser == Browser::Without {
        test::skip(&mut all, IN_BROWSER);
    }
    all
}

pub(crate) fn clippy(workspace: &Workspace) -> Result<()> {
    check_compiler(workspace)?;
    process::run(cargo(workspace, "clippy").args(["--all-targets", "--", "-D", "warnings"]))
}

pub(crate) fn docs(workspace: &Workspace) -> Result<()> {
    check_compiler(workspace)?;
    process::run(cargo(workspace, "doc").arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings"))
}

/// It shares the directory of the other crates: it is built from nearly the same packages.
fn cargo(workspace: &Workspace, task: &str) -> Command {
    let mut command = workspace.cargo();
    command.args([task, "--locked", "--manifest-path", MANIFEST, "--target-dir", "target"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_compiler_is_named_with_what_needs_a_newer_one() {
        assert!(check("cargo 1.94.0 (abc 2026-01-01)\n").is_ok());
        assert!(check("cargo 1.96.0-nightly (abc 2026-01-01)").is_ok());
        let error = check("cargo 1.93.1 (abc 2025-12-01)").unwrap_err().to_string();
        assert!(error.contains(PACKAGE) && error.contains("1.94") && error.contains("1.93.1"), "{error}");
        assert!(matches!(check("rustc"), Err(Error::Unreadable { .. })));
    }

    #[test]
    fn tests_are_left_out_on_request() {
        let args = |interop, browser, line: &str| {
            let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            test_args(interop, browser, &args).join(" ")
        };
        assert_eq!(args(Interop::With, Browser::With, "name"), "--no-fail-fast name");
        let alone = "--no-fail-fast --lib --test corners";
        assert_eq!(args(Interop::Without, Browser::With, ""), alone);
        assert_eq!(args(Interop::Without, Browser::Without, ""), alone);
        assert_eq!(args(Interop::With, Browser::Without, ""), "--no-fail-fast -- --skip browsers_");
        assert_eq!(
            args(Interop::With, Browser::Without, "name -- --nocapture"),
            "--no-fail-fast name -- --nocapture --skip browsers_"
        );
    }
}
