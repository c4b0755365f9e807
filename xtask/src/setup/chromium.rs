//! Chromium, for the test in a browser.

use std::ffi::{OsStr, OsString};
use std::process::Command;
use std::{env, fmt};

use crate::error::{Error, Result};
use crate::process;
use crate::tools::Package;

/// Names the binary. `adapter-socketioxide/tests/browser.rs` reads it, too.
const VARIABLE: &str = "SIO_STREAMS_CHROMIUM";

/// The browser that the test starts when the variable is not set.
const DEFAULT: &str = "chromium";

/// Other names of the same browser, in the packages of other systems.
const OTHERS: [&str; 3] = ["chromium-browser", "google-chrome", "google-chrome-stable"];

const PACKAGE: Package = Package {
    what: "chromium",
    apt: "chromium",
    brew: "chromium",
    otherwise: "install Chromium or Chrome, and put chromium on the PATH or name the binary in SIO_STREAMS_CHROMIUM; \
                or leave the test in a browser out with --no-browser",
};

#[derive(Debug)]
pub(crate) struct Chromium {
    binary: OsString,
    /// The name and version, as the browser tells them.
    version: String,
}

impl Chromium {
    /// Returns the environment variable that the test needs to find this browser, if any.
    pub(crate) fn environment(&self) -> Option<(&'static str, &OsStr)> {
        (self.binary != DEFAULT).then_some((VARIABLE, self.binary.as_os_str()))
    }
}

impl fmt::Display for Chromium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.version)
    }
}

pub(crate) fn ensure() -> Result<Chromium> {
    if let Some(binary) = env::var_os(VARIABLE) {
        return look(&binary)?.ok_or_else(|| {
            Error::missing(
                format!("{VARIABLE} names {}, which can't be run", binary.to_string_lossy()),
                "name an existing binary of Chromium or Chrome, or unset the variable",
            )
        });
    }
    for binary in [DEFAULT].into_iter().chain(OTHERS) {
        if let Some(chromium) = look(binary.as_ref())? {
            return Ok(chromium);
        }
    }
    PACKAGE.install()?;
    look(DEFAULT.as_ref())?
        .ok_or_else(|| Error::missing("chromium was installed, but can't be run", PACKAGE.remedy()))
}

/// Returns `None` if there is no such program, or it is not what its name says: on some systems a
/// script that asks for another package.
fn look(binary: &OsStr) -> Result<Option<Chromium>> {
    let answer = process::ask(Command::new(binary).arg("--version"))?.unwrap_or_default();
    Ok(name(&answer).map(|version| Chromium { binary: binary.to_owned(), version }))
}

/// Returns the name and the version. Distributions add their own names.
fn name(answer: &str) -> Option<String> {
    let mut words = answer.split_whitespace();
    let end = words.by_ref().position(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    Some(answer.split_whitespace().take(end + 1).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_among_other_words() {
        let debian = "Chromium 156.0.8078.108 built on Debian GNU/Linux 12 (bookworm)\n";
        assert_eq!(name(debian).as_deref(), Some("Chromium 156.0.8078.108"));
        assert_eq!(name("Google Chrome 155.0.1.2 \n").as_deref(), Some("Google Chrome 155.0.1.2"));
        assert_eq!(name("Command '/usr/bin/chromium-browser' requires the snap"), None);
        assert_eq!(name(""), None);
    }

    #[test]
    fn the_test_is_told_only_of_another_browser() {
        let chromium = |binary: &str| Chromium { binary: binary.into(), version: String::new() };
        assert_eq!(chromium(DEFAULT).environment(), None);
        let other = chromium("google-chrome");
        assert_eq!(other.environment(), Some((VARIABLE, OsStr::new("google-chrome"))));
    }
}
