//! The pinned npm packages under `tests/interop/peers`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::version::Version;
use crate::workspace::Workspace;
use crate::{process, say};

const DIRECTORY: &str = "tests/interop/peers";

/// The oldest Node.js that the peers run on, by their own word.
pub(crate) fn oldest_node(workspace: &Workspace) -> Result<Version> {
    let path = workspace.path(DIRECTORY).join("package.json");
    let text = fs::read_to_string(&path).map_err(|e| Error::file(&path, e))?;
    let package: Value =
        serde_json::from_str(&text).map_err(|e| Error::unreadable(path.display().to_string(), e))?;
    package["engines"]["node"].as_str().and_then(Version::at_least).ok_or_else(|| {
        Error::unreadable(path.display().to_string(), "engines.node should have the form \">=20\"")
    })
}

/// Installs the packages, unless those of this very lock file are there.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    let peers = Peers::new(workspace.path(DIRECTORY));
    let lock = fs::read(&peers.lock).map_err(|e| Error::file(&peers.lock, e))?;
    if peers.installed(&lock) {
        return Ok(());
    }
    say(format_args!("installing the npm packages of {DIRECTORY}"));
    // npm repeats single downloads; what else goes wrong on the way is gone the next time, or
    // stays.
    let install = || {
        let args = ["ci", "--no-audit", "--no-fund", "--fetch-retries=5"];
        process::run(Command::new("npm").args(args).current_dir(&peers.directory))
    };
    install().or_else(|error| {
        say(format_args!("once more, since {error}"));
        install()
    })?;
    fs::write(&peers.stamp, stamp(&lock)).map_err(|e| Error::file(&peers.stamp, e))
}

struct Peers {
    directory: PathBuf,
    lock: PathBuf,
    /// Written after an installation has succeeded. `npm ci` begins with removing it, with all of
    /// `node_modules`.
    stamp: PathBuf,
    /// Written by npm at the end of any installation.
    npm: PathBuf,
}

impl Peers {
    fn new(directory: PathBuf) -> Self {
        Self {
            lock: directory.join("package-lock.json"),
            stamp: directory.join("node_modules/.installed-lock"),
            npm: directory.join("node_modules/.package-lock.json"),
            directory,
        }
    }

    fn installed(&self, lock: &[u8]) -> bool {
        match fs::read_to_string(&self.stamp) {
            Ok(found) => found == stamp(lock),
            // Somebody ran `npm ci` by hand.
            Err(_) => match (modified(&self.npm), modified(&self.lock)) {
                (Some(installed), Some(locked)) => installed >= locked,
                _ => false,
            },
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// Tells one lock file from another: its length and FNV-1a hash, the same for every build of this
/// program.
fn stamp(lock: &[u8]) -> String {
    let hash = lock.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("package-lock.json {} bytes fnv1a {hash:016x}\n", lock.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A `peers` directory of this test alone.
    struct Scratch(Peers);

    impl Scratch {
        fn new(name: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            fs::create_dir_all(directory.join("node_modules")).unwrap();
            fs::write(directory.join("package-lock.json"), "{}").unwrap();
            Self(Peers::new(directory))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0.directory);
        }
    }

    #[test]
    fn the_stamp_is_that_of_the_published_hash() {
        // Test values from the FNV reference.
        assert!(stamp(b"").ends_with("cbf29ce484222325\n"));
        assert!(stamp(b"a").ends_with("af63dc4c8601ec8c\n"));
        assert!(stamp(b"foobar").ends_with("85944171f73967e8\n"));
    }

    #[test]
    fn without_any_trace_nothing_is_installed() {
        let Scratch(peers) = &Scratch::new("no-trace");
        assert!(!peers.installed(b"{}"));
    }

    #[test]
    fn a_stamp_holds_for_its_lock_file_only() {
        let Scratch(peers) = &Scratch::new("stamp");
        fs::write(&peers.stamp, stamp(b"{}")).unwrap();
        assert!(peers.installed(b"{}"));
        assert!(!peers.installed(b"{ }"));
    }

    #[test]
    fn an_installation_by_hand_counts_if_it_is_newer_than_the_lock_file() {
        let Scratch(peers) = &Scratch::new("by-hand");
        fs::write(&peers.npm, "{}").unwrap();
        let locked = modified(&peers.lock).unwrap();
        let set =
            |time| fs::File::options().write(true).open(&peers.npm).unwrap().set_modified(time).unwrap();
        set(locked + Duration::from_secs(1));
        assert!(peers.installed(b"{}"));
        set(locked - Duration::from_secs(1));
        assert!(!peers.installed(b"{}"));
    }
}
