//! Packages of the operating system.

use std::process::Command;

use crate::error::{Error, Result};
use crate::{process, say};

/// Installs with apt-get, without starting any service that a package brings.
const APT_INSTALL: &str = include_str!("apt-install.sh");

/// A way to install a package on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    AptAsRoot,
    AptBySudo,
    Brew,
}

/// A thing that is missing, and what it is called where it can be got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Package {
    /// The name for people.
    pub(crate) what: &'static str,
    pub(crate) apt: &'static str,
    pub(crate) brew: &'static str,
    /// Another remedy for people without these package managers.
    pub(crate) otherwise: &'static str,
}

impl Package {
    pub(crate) fn install(&self) -> Result<()> {
        let Some(manager) = manager() else {
            return Err(Error::missing(format!("{} was not found", self.what), self.remedy()));
        };
        say(format_args!("{} was not found; installing it", self.what));
        let mut command = match manager {
            Manager::AptAsRoot => Command::new("sh"),
            Manager::AptBySudo => {
                let mut command = Command::new("sudo");
                command.args(["-n", "sh"]);
                command
            }
            Manager::Brew => Command::new("brew"),
        };
        match manager {
            Manager::Brew => command.args(["install", self.brew]),
            _ => command.args(["-c", APT_INSTALL, "apt-install", self.apt]),
        };
        process::run(&mut command).map_err(|error| {
            Error::missing(
                format!("{} was not found, and could not be installed: {error}", self.what),
                self.remedy(),
            )
        })
    }

    pub(crate) fn remedy(&self) -> String {
        format!(
            "Debian, Ubuntu: apt-get install {}; macOS: brew install {}; otherwise: {}",
            self.apt, self.brew, self.otherwise
        )
    }
}

fn manager() -> Option<Manager> {
    if cfg!(target_os = "macos") {
        return process::succeeds("brew", &["--version"]).then_some(Manager::Brew);
    }
    if !process::succeeds("apt-get", &["--version"]) {
        return None;
    }
    let user = process::ask(Command::new("id").arg("-u")).ok().flatten();
    if user.is_some_and(|id| id.trim() == "0") {
        return Some(Manager::AptAsRoot);
    }
    process::succeeds("sudo", &["-n", "true"]).then_some(Manager::AptBySudo)
}
