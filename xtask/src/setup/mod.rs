//! `cargo xtask setup`: installs what the tests need on this machine.

mod node;
mod peers;
mod redis;
mod valgrind;

use std::fmt;

use crate::args::Interop;
use crate::error::Result;
use crate::say;
use crate::workspace::Workspace;
pub(crate) use valgrind::ensure as valgrind;

/// The programs that were found or installed.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) redis: redis::Redis,
    node: Option<node::Node>,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{}, {node}", self.redis),
            None => write!(f, "{}, without Node.js", self.redis),
        }
    }
}

pub(crate) fn run(workspace: &Workspace, interop: Interop) -> Result<Machine> {
    let redis = redis::ensure()?;
    let node = match interop {
        Interop::With => {
            let node = node::ensure(workspace)?;
            peers::ensure(workspace)?;
            Some(node)
        }
        Interop::Without => None,
    };
    let machine = Machine { redis, node };
    say(format_args!("ready, with {machine}"));
    Ok(machine)
}
