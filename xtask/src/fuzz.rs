//! `cargo xtask fuzz`: the fuzz targets under `fuzz/`, each for a while.

use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;
use std::{env, fs};

use crate::args::FuzzOptions;
use crate::error::{Error, Result};
use crate::tools::Package;
use crate::workspace::Workspace;
use crate::{coverage, process, say};

/// Nothing in this workspace is unsafe: a sanitizer would find little, and take half of the speed.
pub(crate) const SANITIZER: [&str; 2] = ["--sanitizer", "none"];

/// An input that takes longer than this, in seconds, or more memory, in megabytes, is a finding.
const LIMITS: [&str; 2] = ["-timeout=60", "-rss_limit_mb=1024"];

/// libFuzzer comes as C++ source.
const CXX: Package = Package {
    what: "a C++ compiler (c++)",
    apt: "g++",
    brew: "llvm",
    otherwise: "install a C++ compiler, and put c++ on the PATH or name it in CXX",
};

pub(crate) fn is_there(workspace: &Workspace) -> bool {
    workspace.has("fuzz/Cargo.toml")
}

pub(crate) fn run(workspace: &Workspace, options: &FuzzOptions) -> Result<()> {
    if !is_there(workspace) {
        return Err(Error::NoFuzz);
    }
    ensure_tools(workspace)?;
    let list = process::read(cargo_fuzz(workspace).arg("list"))?;
    let known: Vec<&str> = list.split_whitespace().collect();
    let targets = choose(&known, &options.targets)?;
    if options.coverage {
        return coverage::run(workspace, &targets);
    }
    let seconds = share(options.seconds, targets.len());
    let seed = options.seed.unwrap_or_else(any_seed);
    say(format_args!("fuzzing {}, {seconds} s each, seed {seed}", targets.join(", ")));
    for target in &targets {
        fuzz(workspace, target, seconds, seed)?;
    }
    say(format_args!("nothing found in {}", targets.join(", ")));
    Ok(())
}

fn fuzz(workspace: &Workspace, target: &str, seconds: u64, seed: u32) -> Result<()> {
    // libFuzzer adds what it finds to the first directory. The corpus in the repository changes by intent only.
    let found = found(workspace, target);
    fs::create_dir_all(&found).map_err(|e| Error::file(&found, e))?;
    let mut command = cargo_fuzz(workspace);
    command.arg("run").args(SANITIZER).arg(target).arg(&found);
    let corpus = corpus(target);
    if workspace.has(&corpus) {
        command.arg(corpus);
    }
    command.args(["--", &format!("-max_total_time={seconds}"), &format!("-seed={seed}")]).args(LIMITS);
    let dictionary = format!("fuzz/dict/{target}.dict");
    if workspace.has(&dictionary) {
        command.arg(format!("-dict={dictionary}"));
    }
    process::run(&mut command)
}

/// The inputs that belong to the project.
pub(crate) fn corpus(target: &str) -> String {
    format!("fuzz/corpus/{target}")
}

/// The inputs that runs on this machine have found worth keeping.
pub(crate) fn found(workspace: &Workspace, target: &str) -> PathBuf {
    workspace.path("fuzz/target/found").join(target)
}

pub(crate) fn cargo_fuzz(workspace: &Workspace) -> Command {
    let mut command = workspace.cargo_of("nightly");
    command.arg("fuzz");
    command
}

/// A nightly toolchain, which `what` needs.
pub(crate) fn ensure_nightly(what: &str) -> Result<()> {
    let toolchain = "install rustup (https://rustup.rs), then: rustup toolchain install nightly";
    let missing = |problem: &str| {
        Error::missing(format!("{what} needs a nightly toolchain of rustup{problem}"), toolchain)
    };
    if !process::succeeds("rustup", &["--version"]) {
        return Err(missing("; rustup was not found"));
    }
    if !process::succeeds("rustup", &["run", "nightly", "cargo", "--version"]) {
        let mut install = Command::new("rustup");
        process::run(install.args(["toolchain", "install", "nightly", "--profile", "minimal"]))
            .map_err(|error| missing(&format!(", which could not be installed: {error}")))?;
    }
    Ok(())
}

fn ensure_tools(workspace: &Workspace) -> Result<()> {
    ensure_nightly("fuzzing")?;
    if !process::succeeds("rustup", &["run", "nightly", "cargo", "fuzz", "--version"]) {
        process::run(workspace.cargo().args(["install", "cargo-fuzz", "--locked"]))?;
    }
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if !process::succeeds(&compiler, &["--version"]) {
        CXX.install()?;
    }
    Ok(())
}

fn choose<'a>(known: &[&'a str], wanted: &[String]) -> Result<Vec<&'a str>> {
    if wanted.is_empty() {
        return Ok(known.to_vec());
    }
    let find = |name: &String| {
        known
            .iter()
            .copied()
            .find(|target| target == name)
            .ok_or_else(|| Error::UnknownTarget { name: name.clone(), known: known.join(", ") })
    };
    wanted.iter().map(find).collect()
}

/// The time of one target, out of that for all. Zero would mean for ever.
fn share(seconds: u64, targets: usize) -> u64 {
    (seconds / (targets as u64).max(1)).max(1)
}

fn any_seed() -> u32 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Zero lets libFuzzer choose one itself.
    (now.as_nanos() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_shared_but_never_none() {
        assert_eq!(share(60, 3), 20);
        assert_eq!(share(5, 8), 1);
        assert_eq!(share(0, 1), 1);
        assert_eq!(share(5, 0), 5);
    }

    #[test]
    fn targets_by_name() {
        let known = ["entry", "session"];
        assert_eq!(choose(&known, &[]).unwrap(), known);
        assert_eq!(choose(&known, &["session".to_owned()]).unwrap(), ["session"]);
        let error = choose(&known, &["sesion".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, "no fuzz target is called sesion; there are: entry, session");
    }
}
