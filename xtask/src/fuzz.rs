//! `cargo xtask fuzz`: runs the fuzz targets under `fuzz/`.

use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;
use std::{env, fs, slice};

use crate::args::{CorpusChange, FuzzOptions};
use crate::error::{Error, Result};
use crate::tools::Package;
use crate::workspace::Workspace;
use crate::{corpus, coverage, process, say};

/// No crate of this workspace has `unsafe` code. A sanitizer would find little, and halve the
/// speed.
pub(crate) const SANITIZER: [&str; 2] = ["--sanitizer", "none"];

/// An input that takes more time (in seconds) or memory (in megabytes) than this is a finding.
const LIMITS: [&str; 2] = ["-timeout=60", "-rss_limit_mb=1024"];

/// libFuzzer comes as C++ source.
const CXX: Package = Package {
    what: "a C++ compiler (c++)",
    apt: "g++",
    brew: "llvm",
    otherwise: "install a C++ compiler, and put c++ on the PATH or name it in CXX",
};

pub(crate) fn run(workspace: &Workspace, options: &FuzzOptions) -> Result<()> {
    ensure_tools(workspace)?;
    let targets = choose(workspace, &options.targets)?;
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
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
    // libFuzzer adds what it finds to the first directory. The project's corpus changes by intent
    // only.
    let found = found(workspace, target);
    fs::create_dir_all(&found).map_err(|e| Error::file(&found, e))?;
    let mut command = cargo_fuzz(workspace);
    command.arg("run").args(SANITIZER).arg(target).arg(&found);
    command.args(corpus::unpack(workspace, target)?);
    command.args(["--", &format!("-max_total_time={seconds}"), &format!("-seed={seed}")]).args(LIMITS);
    let dictionary = format!("fuzz/dict/{target}.dict");
    if workspace.has(&dictionary) {
        command.arg(format!("-dict={dictionary}"));
    }
    process::run(&mut command)
}

/// `cargo xtask corpus`.
pub(crate) fn change_corpus(workspace: &Workspace, change: &CorpusChange) -> Result<()> {
    ensure_tools(workspace)?;
    match change {
        CorpusChange::Add { target, files } => {
            choose(workspace, slice::from_ref(target))?;
            corpus::add(workspace, target, files)
        }
        CorpusChange::Merge { targets } => {
            choose(workspace, targets)?.iter().try_for_each(|target| merge(workspace, target))
        }
    }
}

/// Adds the inputs that runs on this machine found and that reach further than the corpus.
fn merge(workspace: &Workspace, target: &str) -> Result<()> {
    let found = found(workspace, target);
    if !found.exists() {
        say(format_args!("no run has found anything for {target}"));
        return Ok(());
    }
    let directory = corpus::unpack_to_change(workspace, target)?;
    let mut command = cargo_fuzz(workspace);
    command.arg("run").args(SANITIZER).arg(target).args([directory, found]);
    process::run(command.args(["--", "-set_cover_merge=1", "-use_counters=0"]).args(LIMITS))?;
    corpus::pack(workspace, target)
}

/// The inputs that runs on this machine found worth keeping.
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

/// The targets that are wanted, or all. Fails if there is no such target.
fn choose(workspace: &Workspace, wanted: &[String]) -> Result<Vec<String>> {
    let list = process::read(cargo_fuzz(workspace).arg("list"))?;
    choose_from(&list.split_whitespace().collect::<Vec<_>>(), wanted)
}

fn choose_from(known: &[&str], wanted: &[String]) -> Result<Vec<String>> {
    if let Some(name) = wanted.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(Error::UnknownTarget { name: name.clone(), known: known.join(", ") });
    }
    match wanted {
        [] => Ok(known.iter().map(|name| (*name).to_owned()).collect()),
        wanted => Ok(wanted.to_vec()),
    }
}

/// The time for one target. Zero would mean no limit.
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
        assert_eq!(choose_from(&known, &[]).unwrap(), known);
        assert_eq!(choose_from(&known, &["session".to_owned()]).unwrap(), ["session"]);
        let error = choose_from(&known, &["sesion".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, "no fuzz target is called sesion; there are: entry, session");
    }
}
