//! Packing the crates, and unpacking them outside of the repository.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::error::{Error, Result};
use crate::published::{self, Crate};
use crate::workspace::Workspace;
use crate::{adapter, process};

/// The choice to have cargo build each package from its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    Yes,
    No,
}

/// A crate as it would be published.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) origin: Crate,
    /// The `.crate` file.
    pub(crate) file: PathBuf,
    /// Where its content is unpacked, outside of the repository.
    pub(crate) directory: PathBuf,
}

/// The crates of the workspace in the order in which they would be published, and then the adapter
/// for socketioxide.
pub(crate) fn all(workspace: &Workspace, build: Build) -> Result<Vec<Packed>> {
    let root = super::outside("crates")?;
    let crates = published::of_workspace(workspace)?;
    let mut command = workspace.cargo_outside();
    command.arg("package").args(flags(build)).arg("--locked");
    for one in &crates {
        command.args(["-p", &one.name]);
    }
    process::run(&mut command)?;
    let mut packed = Vec::new();
    for origin in crates {
        packed.push(unpack(workspace, origin, &root)?);
    }
    let adapter = published::adapter(workspace)?;
    pack_adapter(workspace, build, &packed)?;
    packed.push(unpack(workspace, adapter, &root)?);
    Ok(packed)
}

/// Returns the packages of an earlier step.
pub(crate) fn again(workspace: &Workspace) -> Result<Vec<Packed>> {
    let mut crates = published::of_workspace(workspace)?;
    crates.push(published::adapter(workspace)?);
    let root = super::outside("crates")?;
    crates.into_iter().map(|origin| unpack(workspace, origin, &root)).collect()
}

/// The adapter is a workspace of its own, for which cargo does not find packages that are not on
/// crates.io: the unpacked ones stand in for them.
fn pack_adapter(workspace: &Workspace, build: Build, packed: &[Packed]) -> Result<()> {
    // The replacements appear in the lock file, which is the repository's.
    let lock = LockFile::keep(workspace.path("adapter-socketioxide/Cargo.lock"))?;
    let mut command = workspace.cargo_outside();
    command.arg("package").args(flags(build)).args(["--manifest-path", adapter::MANIFEST]);
    command.args(replacements(packed));
    let result = process::run(&mut command);
    lock.put_back()?;
    result
}

/// `--no-verify` goes with a working directory in which somebody is at work.
fn flags(build: Build) -> &'static [&'static str] {
    match build {
        Build::Yes => &[],
        Build::No => &["--no-verify", "--allow-dirty"],
    }
}

/// Arguments of cargo by which the unpacked crates stand in for those of crates.io.
fn replacements(packed: &[Packed]) -> Vec<String> {
    let patch = |one: &Packed| {
        let path = quoted(&one.directory);
        ["--config".to_owned(), format!("patch.crates-io.{}.path={path}", one.origin.name)]
    };
    packed.iter().flat_map(patch).collect()
}

/// A string of TOML; those of JSON are such, too.
fn quoted(path: &Path) -> serde_json::Value {
    path.to_string_lossy().into()
}

/// The part of a manifest by which the unpacked crates stand in for those of crates.io.
pub(super) fn patches(packed: &[Packed]) -> String {
    let mut text = "[patch.crates-io]\n".to_owned();
    for one in packed {
        let path = quoted(&one.directory);
        text += &format!("{} = {{ path = {path} }}\n", one.origin.name);
    }
    text
}

fn unpack(workspace: &Workspace, origin: Crate, root: &Path) -> Result<Packed> {
    let file = workspace.path("target/package").join(format!("{}.crate", origin.stem()));
    let archive = File::open(&file).map_err(|e| Error::file(&file, e))?;
    tar::Archive::new(GzDecoder::new(archive)).unpack(root).map_err(|e| Error::file(&file, e))?;
    let kept = super::results(workspace, "crates")?.join(format!("{}.crate", origin.stem()));
    fs::copy(&file, &kept).map_err(|e| Error::file(&kept, e))?;
    let directory = root.join(origin.stem());
    Ok(Packed { origin, file: kept, directory })
}

struct LockFile {
    path: PathBuf,
    content: Vec<u8>,
}

impl LockFile {
    fn keep(path: PathBuf) -> Result<Self> {
        let content = fs::read(&path).map_err(|e| Error::file(&path, e))?;
        Ok(Self { path, content })
    }

    fn put_back(&self) -> Result<()> {
        fs::write(&self.path, &self.content).map_err(|e| Error::file(&self.path, e))
    }
}
