//! `cargo xtask setup`: installs what the tests need on this machine.

mod chromium;
mod node;
mod peers;
mod redis;
mod valgrind;

use std::ffi::OsStr;
use std::fmt;

use crate::args::{Browser, Interop};
use crate::error::Result;
use crate::say;
use crate::workspace::Workspace;
pub(crate) use node::ensure as node;
pub(crate) use redis::ensure as redis;
pub(crate) use valgrind::ensure as valgrind;

/// The programs that were found or installed.
#[derive(Debug)]
pub(crate) struct Machine {
    redis: redis::Redis,
    node: Option<node::Node>,
    chromium: Option<chromium::Chromium>,
}

impl Machine {
    /// Returns the environment variables by which tests find the programs.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&'static str, &OsStr)> {
        let chromium = self.chromium.as_ref().and_then(chromium::Chromium::environment);
        self.redis.environment().into_iter().chain(chromium)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{}, {node}", self.redis)?,
            None => write!(f, "{}, without Node.js", self.redis)?,
        }
        match &self.chromium {
            Some(chromium) => write!(f, ", {chromium}"),
            None => Ok(()),
        }
    }
}

/// Looks for what the tests need, and installs what is missing. The test in a browser needs
/// Node.js, too.
pub(crate) fn run(workspace: &Workspace, interop: Interop, browser: Browser) -> Result<Machine> {
    let redis = redis::ensure()?;
    let node = match interop {
        Interop::With => {
            let node = node::ensure(workspace)?;
            peers::ensure(workspace)?;
            Some(node)
        }
        Interop::Without => None,
    };
    let chromium = match (interop, browser) {
        (Interop::With, Browser::With) => Some(chromium::ensure()?),
        _ => None,
    };
    let machine = Machine { redis, node, chromium };
    say(format_args!("ready, with {machine}"));
    Ok(machine)
}
