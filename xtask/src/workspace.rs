//! The directory of the workspace, and cargo in it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::process;

pub(crate) const INTEROP: &str = "sio-streams-interop";

/// Its clusters have a Node server each.
pub(crate) const FAULTS: &str = "sio-streams-faults";

#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        // Read when it runs, not when it is compiled: target directories are shared between
        // checkouts.
        let own = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        match own.as_deref().and_then(Path::parent) {
            Some(root) => Ok(Self { root: root.to_owned() }),
            None => Err(Error::missing("the workspace was not found", "run this as `cargo xtask`")),
        }
    }

    /// The path of a file of the workspace.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    pub(crate) fn has(&self, relative: &str) -> bool {
        self.path(relative).exists()
    }

    /// The cargo that runs this program, at the root of the workspace.
    pub(crate) fn cargo(&self) -> Command {
        self.command(&env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
    }

    /// Cargo for packages outside of the workspace. It takes what has been compiled for the
    /// workspace, whose profile leaves out debug information of dependencies.
    pub(crate) fn cargo_outside(&self) -> Command {
        let mut command = self.cargo();
        command.env("CARGO_TARGET_DIR", self.path("target")).env("CARGO_PROFILE_DEV_DEBUG", "false");
        command
    }

    /// The cargo of another toolchain. It goes through rustup, whose choice the environment must
    /// not overrule.
    pub(crate) fn cargo_of(&self, toolchain: &str) -> Command {
        let mut command = self.command("rustup".as_ref());
        command.args(["run", toolchain, "cargo"]);
        command
    }

    /// Another program, at the root of the workspace.
    pub(crate) fn command(&self, program: &std::ffi::OsStr) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        // Cargo has set these for this program. Some build scripts look at them, and would run
        // again whenever somebody else has run cargo.
        for (name, _) in env::vars_os() {
            if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|own| name.to_string_lossy().starts_with(own)) {
                command.env_remove(name);
            }
        }
        command
    }

    /// The output of `cargo metadata`, with the dependencies of all features.
    pub(crate) fn metadata(&self) -> Result<Value> {
        let mut command = self.cargo();
        command.args(["metadata", "--format-version", "1", "--all-features", "--locked"]);
        let text = process::read(&mut command)?;
        serde_json::from_str(&text).map_err(|e| Error::unreadable("what `cargo metadata` prints", e))
    }
}
