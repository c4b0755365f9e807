//! `cargo xtask test`: all tests, on any machine.

use std::time::Instant;

use crate::args::Interop;
use crate::error::Result;
use crate::workspace::{FAULTS, INTEROP, Workspace};
use crate::{process, say, setup};

pub(crate) fn run(workspace: &Workspace, interop: Interop, args: &[String]) -> Result<()> {
    let machine = setup::run(workspace, interop)?;
    let mut command = workspace.cargo();
    command.arg("test").args(cargo_args(interop, args));
    if let Some((name, binary)) = machine.redis.environment() {
        command.env(name, binary);
    }
    let started = Instant::now();
    let result = process::run_on_stdout(&mut command);
    let verdict = if result.is_ok() { "tests passed" } else { "TESTS FAILED" };
    eprintln!();
    say(format_args!("{verdict} after {:.0} s, with {machine}", started.elapsed().as_secs_f64()));
    result
}

fn cargo_args(interop: Interop, args: &[String]) -> Vec<String> {
    let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    let cargo = &args[..end];
    let has = |names: &[&str]| {
        cargo.iter().any(|arg| names.iter().any(|name| arg == name || arg.starts_with(&format!("{name}="))))
    };
    let short_package = cargo.iter().any(|arg| arg.starts_with("-p") && !arg.starts_with("--"));
    let mut all = Vec::new();
    if !short_package && !has(&["--package"]) {
        if !has(&["--workspace", "--all"]) {
            all.push("--workspace");
        }
        if interop == Interop::Without {
            all.extend(["--exclude", INTEROP, "--exclude", FAULTS]);
        }
    }
    for flag in ["--locked", "--no-fail-fast"] {
        if !has(&[flag]) {
            all.push(flag);
        }
    }
    all.into_iter().map(str::to_owned).chain(args.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(interop: Interop, line: &str) -> String {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        cargo_args(interop, &args).join(" ")
    }

    #[test]
    fn the_whole_workspace_by_default() {
        assert_eq!(args(Interop::With, ""), "--workspace --locked --no-fail-fast");
        assert_eq!(
            args(Interop::Without, "some_name -- --nocapture"),
            "--workspace --exclude sio-streams-interop --exclude sio-streams-faults --locked --no-fail-fast some_name -- --nocapture"
        );
    }

    #[test]
    fn a_package_instead_of_the_workspace() {
        for package in ["-p core", "-pcore", "--package core", "--package=core"] {
            assert_eq!(args(Interop::With, package), format!("--locked --no-fail-fast {package}"));
        }
    }

    #[test]
    fn nothing_twice() {
        assert_eq!(args(Interop::With, "--workspace --locked"), "--no-fail-fast --workspace --locked");
        assert_eq!(
            args(Interop::With, "-- --locked -p"),
            "--workspace --locked --no-fail-fast -- --locked -p"
        );
    }
}
