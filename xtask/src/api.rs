//! The public API of each published library, compared with what the repository has in `api/`:
//! nobody changes it without seeing that they do.
//!
//! rustdoc describes an API in a form that only one crate version reads, and only unstable options
//! make it write that. So this is tied to one compiler release. It needs no other toolchain where
//! that is in use, and what cargo has compiled for the documentation is used again.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::error::{Error, Result};
use crate::published::{self, Crate};
use crate::version::Version;
use crate::workspace::Workspace;
use crate::{adapter, bootstrap, process, say};

/// The compiler whose rustdoc is read. It changes together with the version of `public-api` in
/// xtask/Cargo.toml.
const RELEASE: Version = Version::new(1, 95, 0);

/// The directory of the snapshots.
const DIRECTORY: &str = "api";

/// Of what is implemented without saying so, nobody depends on these.
const IGNORED: [&str; 4] = [
    "impl core::marker::Freeze ",
    "impl core::marker::UnsafeUnpin ",
    "impl core::panic::unwind_safe::RefUnwindSafe ",
    "impl core::panic::unwind_safe::UnwindSafe ",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Snapshots {
    Compare,
    Write,
}

pub(crate) fn run(workspace: &Workspace, snapshots: Snapshots) -> Result<()> {
    let mut crates = published::of_workspace(workspace)?;
    crates.push(published::adapter(workspace)?);
    crates.retain(|one| one.has_library);
    adapter::check_compiler(workspace)?;

    let mut offences = Vec::new();
    let described = describe(workspace)?;
    for one in &crates {
        let now = read(one, &described)?;
        let path = workspace.path(DIRECTORY).join(format!("{}.txt", one.name));
        match snapshots {
            Snapshots::Write => {
                fs::create_dir_all(workspace.path(DIRECTORY)).map_err(|e| Error::file(DIRECTORY, e))?;
                fs::write(&path, now).map_err(|e| Error::file(&path, e))?;
            }
            Snapshots::Compare => {
                let before = match fs::read_to_string(&path) {
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
                    text => text.map_err(|e| Error::file(&path, e))?,
                };
                offences.extend(differences(&before, &now).map(|line| format!("  {}: {line}", one.name)));
            }
        }
    }
    say(format_args!("the public API of {} crates was read", crates.len()));
    match offences.is_empty() {
        true => Ok(()),
        false => Err(Error::Offences {
            what: "the public API is not that of api/. If it is meant to change: cargo xtask api --write, \
                   and an entry in CHANGELOG.md",
            offences,
        }),
    }
}

/// Lets rustdoc describe all libraries. Returns the directory of what it wrote.
fn describe(workspace: &Workspace) -> Result<PathBuf> {
    let toolchain = toolchain(workspace)?;
    let (target, rustdoc) = match &toolchain {
        Toolchain::Active => ("target".to_owned(), "rustdoc".into()),
        Toolchain::Installed(name) => {
            let mut which = Command::new("rustup");
            let path = process::read(which.args(["which", "--toolchain", name, "rustdoc"]))?;
            ("target/api".to_owned(), PathBuf::from(path.trim()))
        }
    };
    for manifest in ["Cargo.toml", adapter::MANIFEST] {
        let mut command = match &toolchain {
            Toolchain::Active => workspace.cargo(),
            Toolchain::Installed(name) => workspace.cargo_of(name),
        };
        command.args(["doc", "--workspace", "--lib", "--no-deps", "--locked", "--manifest-path", manifest]);
        // The features that the documentation is made with, so that little has to be compiled.
        command.args((manifest == "Cargo.toml").then_some("--all-features"));
        command.args(["--target-dir", &target]);
        command.env("RUSTDOCFLAGS", "-Z unstable-options --output-format json");
        bootstrap::let_rustdoc(&mut command, rustdoc.as_os_str())?;
        process::run(&mut command)?;
    }
    Ok(workspace.path(&target).join("doc"))
}

enum Toolchain {
    Active,
    /// Another one, by its name for rustup.
    Installed(String),
}

/// The compiler of that release: the one in use, or another, which is installed if need be.
fn toolchain(workspace: &Workspace) -> Result<Toolchain> {
    let answer = process::read(workspace.cargo().arg("--version"))?;
    let active = answer.strip_prefix("cargo ").and_then(Version::parse);
    if active.is_some_and(|version| version.is_of_release(RELEASE)) {
        return Ok(Toolchain::Active);
    }
    let name = format!("{RELEASE}.0");
    if !process::succeeds("rustup", &["run", &name, "rustdoc", "--version"]) {
        let mut install = Command::new("rustup");
        process::run(install.args(["toolchain", "install", &name, "--profile", "minimal"])).map_err(
            |error| {
                Error::missing(
                    format!(
                        "the public API is read with rustdoc {RELEASE}, which could not be installed: {error}"
                    ),
                    format!("rustup toolchain install {name} --profile minimal"),
                )
            },
        )?;
    }
    Ok(Toolchain::Installed(name))
}

fn read(one: &Crate, described: &std::path::Path) -> Result<String> {
    let path = described.join(format!("{}.json", one.library()));
    let api =
        public_api::Builder::from_rustdoc_json(&path).omit_blanket_impls(true).build().map_err(|e| {
            Error::unreadable(path.display().to_string(), format!("{e}; `cargo clean --doc` makes it anew"))
        })?;
    let mut lines: Vec<String> = api.items().map(|item| item.to_string()).collect();
    lines.retain(|line| !IGNORED.iter().any(|ignored| line.starts_with(ignored)));
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}

/// Returns the lines that are only before, and those that are only now.
fn differences<'a>(before: &'a str, now: &'a str) -> impl Iterator<Item = String> {
    let only = |these: &'a str, those: &'a str, sign: char| {
        these
            .lines()
            .filter(move |line| !those.lines().any(|other| other == *line))
            .map(move |line| format!("{sign} {line}"))
    };
    only(before, now, '-').chain(only(now, before, '+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_and_what_is_new() {
        let before = "pub fn a::one()\npub fn a::two(u8)\n";
        let now = "pub fn a::one()\npub fn a::two(u16)\n";
        let all: Vec<String> = differences(before, now).collect();
        assert_eq!(all, ["- pub fn a::two(u8)", "+ pub fn a::two(u16)"]);
        assert_eq!(differences(now, now).count(), 0);
    }
}
