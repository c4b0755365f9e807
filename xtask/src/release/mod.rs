//! `cargo xtask release`: what would be published, packed and used as somebody does who has nothing
//! else.

mod contents;
mod minimal;
mod npm;
mod outside;
mod pack;
mod program;
mod rustdoc;

use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::error::{Error, Result};
use crate::steps::{self, Step};
use crate::workspace::Workspace;

/// The first packs the crates, which the others unpack.
const STEPS: [Step; 7] = [
    Step { name: "contents", run: contents },
    Step { name: "packages", run: verified },
    Step { name: "outside", run: outside::run },
    Step { name: "program", run: program::run },
    Step { name: "docs.rs", run: rustdoc::run },
    Step { name: "minimal", run: minimal::run },
    Step { name: "npm", run: npm::run },
];

/// Checks all of it, or only these steps. What was packed stays in `target/release-check`.
pub(crate) fn check(workspace: &Workspace, only: &[String]) -> Result<()> {
    let steps = chosen(only)?;
    let result = steps::run(workspace, &steps);
    // A failure leaves what it happened with.
    result.and_then(|()| remove(&outside_root()))
}

fn chosen(only: &[String]) -> Result<Vec<Step>> {
    if let Some(name) = only.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        let known = STEPS.map(|step| step.name).join(", ");
        return Err(Error::UnknownStep { name: name.clone(), known });
    }
    let is_chosen = |step: &Step| only.is_empty() || only.iter().any(|name| name == step.name);
    Ok(STEPS.into_iter().filter(is_chosen).collect())
}

/// Packs the crates and looks at what is in the packages, without building them: the part of the
/// check that takes seconds.
pub(crate) fn packages(workspace: &Workspace) -> Result<()> {
    contents(workspace)?;
    remove(&outside_root())
}

fn contents(workspace: &Workspace) -> Result<()> {
    contents::check(workspace, &pack::all(workspace, pack::Build::No)?)
}

/// Packs them once more, now only from what is committed, and builds each.
fn verified(workspace: &Workspace) -> Result<()> {
    pack::all(workspace, pack::Build::Yes).map(drop)
}

/// Returns the directory in which a check keeps its packages.
fn results(workspace: &Workspace, part: &str) -> Result<PathBuf> {
    let directory = workspace.path("target/release-check").join(part);
    fs::create_dir_all(&directory).map_err(|e| Error::file(&directory, e))?;
    Ok(directory)
}

/// An empty directory outside of the repository, where no manifest and no configuration of it is
/// found.
fn outside(part: &str) -> Result<PathBuf> {
    let directory = outside_root().join(part);
    remove(&directory)?;
    fs::create_dir_all(&directory).map_err(|e| Error::file(&directory, e))?;
    Ok(directory)
}

fn outside_root() -> PathBuf {
    env::temp_dir().join(format!("sio-streams-release-{}", std::process::id()))
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file(directory, e)),
        _ => Ok(()),
    }
}

/// Makes a project outside take the versions of the workspace: what others publish meanwhile is not
/// what is checked here.
fn same_versions(workspace: &Workspace, directory: &Path) -> Result<()> {
    let lock = directory.join("Cargo.lock");
    fs::copy(workspace.path("Cargo.lock"), &lock).map(drop).map_err(|e| Error::file(lock, e))
}

fn write(path: PathBuf, text: &str) -> Result<()> {
    fs::write(&path, text).map_err(|e| Error::file(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_by_name() {
        let names = |only: &[&str]| -> Result<Vec<&str>> {
            let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
            Ok(chosen(&only)?.iter().map(|step| step.name).collect())
        };
        assert_eq!(names(&[]).unwrap().len(), STEPS.len());
        assert_eq!(names(&["npm", "outside"]).unwrap(), ["outside", "npm"]);
        assert!(names(&["nmp"]).unwrap_err().to_string().contains("docs.rs"));
    }
}
