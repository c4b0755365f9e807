//! `cargo xtask test`: all tests, on any machine.

use std::time::Instant;

use crate::args::{Adapter, Browser, Interop};
use crate::error::Result;
use crate::workspace::{FAULTS, INTEROP, Workspace};
use crate::{adapter, node_adapter, process, say, setup};

pub(crate) fn run(
    workspace: &Workspace,
    interop: Interop,
    choice: Adapter,
    browser: Browser,
    args: &[String],
) -> Result<()> {
    let (workspace_args, adapter_args) = split(args);
    let node_args = node_args(args).filter(|_| interop == Interop::With);
    let adapter_args = adapter_args.filter(|_| choice == Adapter::With);
    // The adapter's example is what the browser looks at.
    let browser = if adapter_args.is_some() { browser } else { Browser::Without };
    if adapter_args.is_some() {
        adapter::check_compiler(workspace)?;
    }
    let machine = setup::run(workspace, interop, browser)?;
    let mut commands = Vec::new();
    if let Some(args) = workspace_args {
        let mut command = workspace.cargo();
        command.arg("test").args(cargo_args(interop, args));
        commands.push(command);
    }
    commands.extend(adapter_args.map(|args| adapter::test(workspace, interop, browser, &args)));
    match node_args {
        Some(args) => commands.push(node_adapter::test(workspace, args)),
        None if interop == Interop::With => say(format_args!(
            "the tests of {0} are left out, since the arguments are cargo's: cargo xtask test -p {0}",
            node_adapter::PACKAGE
        )),
        None => {}
    }
    let started = Instant::now();
    let mut result = Ok(());
    for mut command in commands {
        command.envs(machine.environment());
        // The others run even if some fail.
        result = result.and(process::run_on_stdout(&mut command));
    }
    let verdict = if result.is_ok() { "tests passed" } else { "TESTS FAILED" };
    eprintln!();
    say(format_args!("{verdict} after {:.0} s, with {machine}", started.elapsed().as_secs_f64()));
    result
}

/// Returns the arguments for the tests of the adapter for Node.js, if they are meant: by its name, or if
/// there are no arguments. Those behind its name are Node's.
fn node_args(args: &[String]) -> Option<&[String]> {
    match args {
        [flag, package, rest @ ..]
            if matches!(&**flag, "-p" | "--package") && package == node_adapter::PACKAGE =>
        {
            Some(rest)
        }
        _ => args.iter().all(|arg| OWN.contains(&&**arg)).then_some(&[]),
    }
}

/// The arguments that all tests are run with in any case.
const OWN: [&str; 4] = ["--workspace", "--all", "--locked", "--no-fail-fast"];

/// Returns the arguments for the workspace, and those for the adapter for socketioxide, if they are
/// meant. The adapter is meant by its name, or if nothing selects packages or targets.
fn split(args: &[String]) -> (Option<&[String]>, Option<Vec<String>>) {
    if let [flag, package, rest @ ..] = args
        && matches!(&**flag, "-p" | "--package")
        && [adapter::PACKAGE, node_adapter::PACKAGE].contains(&&**package)
    {
        return (None, (package == adapter::PACKAGE).then(|| rest.to_vec()));
    }
    const SELECT: [&str; 9] =
        ["-p", "--package", "--lib", "--test", "--bin", "--bins", "--doc", "--example", "--bench"];
    let selects = |arg: &String| {
        let name = arg.split('=').next().unwrap_or_default();
        SELECT.contains(&name) || arg.starts_with("-p")
    };
    match args.iter().take_while(|arg| *arg != "--").any(selects) {
        true => (Some(args), None),
        false => {
            let rest = args.iter().filter(|arg| !OWN.contains(&&***arg)).cloned();
            (Some(args), Some(rest.collect()))
        }
    }
}

/// A part of the names of the tests that need Node.js in other packages, and of no others.
const BESIDE_NODE: &str = "beside_node_servers_";

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
    let mut all: Vec<String> = all.into_iter().map(str::to_owned).chain(args.iter().cloned()).collect();
    if interop == Interop::Without {
        skip(&mut all, BESIDE_NODE);
    }
    all
}

/// Leaves out the tests whose names contain this.
pub(crate) fn skip(args: &mut Vec<String>, names: &str) {
    if !args.iter().any(|arg| arg == "--") {
        args.push("--".to_owned());
    }
    args.extend(["--skip", names].map(str::to_owned));
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
            "--workspace --exclude sio-streams-interop --exclude sio-streams-faults --locked --no-fail-fast some_name -- --nocapture --skip beside_node_servers_"
        );
    }

    #[test]
    fn a_package_instead_of_the_workspace() {
        for package in ["-p core", "-pcore", "--package core", "--package=core"] {
            assert_eq!(args(Interop::With, package), format!("--locked --no-fail-fast {package}"));
        }
    }

    #[test]
    fn the_adapter_is_tested_with_everything_or_by_name() {
        let parts = |line: &str| {
            let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let (workspace, adapter) = split(&args);
            (workspace.map(|args| args.join(" ")), adapter.map(|args| args.join(" ")))
        };
        let both = |text: &str| (Some(text.to_owned()), Some(text.to_owned()));
        assert_eq!(parts(""), both(""));
        assert_eq!(parts("name -- --nocapture"), both("name -- --nocapture"));
        assert_eq!(
            parts("--workspace --locked"),
            (Some("--workspace --locked".to_owned()), Some(String::new()))
        );
        let adapter = (None, Some("name".to_owned()));
        assert_eq!(parts("-p sio-streams-socketioxide name"), adapter);
        for line in ["-p core", "-pcore", "--package=core", "--test vectors", "--lib"] {
            assert_eq!(parts(line), (Some(line.to_owned()), None));
        }
        assert_eq!(parts("-p sio-streams-node test/matrix.test.js"), (None, None));
    }

    #[test]
    fn the_adapter_for_node_is_tested_with_everything_or_by_name() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let for_node = |line: &str| node_args(&words(line)).map(|args| args.join(" "));
        assert_eq!(for_node(""), Some(String::new()));
        assert_eq!(for_node("--workspace --locked"), Some(String::new()));
        assert_eq!(
            for_node("-p sio-streams-node test/matrix.test.js").as_deref(),
            Some("test/matrix.test.js")
        );
        for line in ["name", "-p core", "-p sio-streams-socketioxide", "--lib"] {
            assert_eq!(for_node(line), None, "{line}");
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
