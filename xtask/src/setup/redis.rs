//! A Redis server to test with.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt};

use crate::error::{Error, Result};
use crate::process;
use crate::tools::Package;
use crate::version::Version;

/// Names the binary; `sio-streams-testkit` reads it too.
const VARIABLE: &str = "SIO_STREAMS_REDIS_SERVER";

/// The server that the tests start when the variable is not set.
const DEFAULT: &str = "redis-server";

/// Streams as the engine uses them exist from here on.
const OLDEST: Version = Version::new(6, 2, 0);

const PACKAGE: Package = Package {
    what: "redis-server",
    apt: "redis-server",
    brew: "redis",
    otherwise: "install Redis 6.2 or later or Valkey, and put redis-server on the PATH or name the server binary in \
                SIO_STREAMS_REDIS_SERVER",
};

#[derive(Debug)]
pub(crate) struct Redis {
    binary: OsString,
    version: Version,
}

impl Redis {
    pub(crate) fn binary(&self) -> &OsStr {
        &self.binary
    }

    /// The environment variable that the tests need to find this server, if any.
    pub(crate) fn environment(&self) -> Option<(&'static str, &OsStr)> {
        (self.binary != DEFAULT).then_some((VARIABLE, self.binary.as_os_str()))
    }
}

impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.binary.to_string_lossy(), self.version)
    }
}

pub(crate) fn ensure() -> Result<Redis> {
    if let Some(binary) = env::var_os(VARIABLE) {
        let binary = from_anywhere(binary);
        return look(&binary)?.ok_or_else(|| {
            Error::missing(
                format!("{VARIABLE} names {}, which was not found", binary.to_string_lossy()),
                "name an existing server binary, or unset the variable",
            )
        });
    }
    for binary in [DEFAULT, "valkey-server"] {
        if let Some(redis) = look(binary.as_ref())? {
            return Ok(redis);
        }
    }
    PACKAGE.install()?;
    look(DEFAULT.as_ref())?.ok_or_else(|| {
        Error::missing(
            "redis-server was installed, but is not on the PATH",
            format!("put it there, or name the server binary in {VARIABLE}"),
        )
    })
}

/// A path that holds in other directories too: the tests of each package run in that package's own.
fn from_anywhere(binary: OsString) -> OsString {
    match Path::new(&binary).components().count() {
        0 | 1 => binary,
        _ => std::path::absolute(&binary).map_or(binary, PathBuf::into_os_string),
    }
}

fn look(binary: &OsStr) -> Result<Option<Redis>> {
    let Some(answer) = process::ask(Command::new(binary).arg("--version"))? else { return Ok(None) };
    let name = binary.to_string_lossy();
    let Some(version) = Version::of_redis(&answer) else {
        return Err(Error::unreadable(
            format!("what `{name} --version` prints"),
            format!("it names no version: {:?}", answer.lines().next().unwrap_or_default()),
        ));
    };
    match version >= OLDEST {
        true => Ok(Some(Redis { binary: binary.to_owned(), version })),
        false => Err(Error::missing(
            format!("{name} is version {version}, but the tests need {OLDEST} or later"),
            format!("install a newer Redis or Valkey, and name its server binary in {VARIABLE}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_hold_in_other_directories_names_stay() {
        assert_eq!(from_anywhere("valkey-server".into()), "valkey-server");
        let there = from_anywhere("bin/redis-server".into());
        assert!(Path::new(&there).is_absolute());
        assert!(Path::new(&there).ends_with("bin/redis-server"));
    }

    #[test]
    fn the_tests_are_told_only_of_another_server() {
        let version = OLDEST;
        let redis = |binary: &str| Redis { binary: binary.into(), version };
        assert_eq!(redis("redis-server").environment(), None);
        let (name, value) = (VARIABLE, OsStr::new("valkey-server"));
        assert_eq!(redis("valkey-server").environment(), Some((name, value)));
    }
}
