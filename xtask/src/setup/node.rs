//! Node.js and npm, for the real peers. They are not installed here, because the right way depends
//! on the machine.

use std::fmt;
use std::process::Command;

use crate::error::{Error, Result};
use crate::process;
use crate::setup::peers;
use crate::version::Version;
use crate::workspace::Workspace;

#[derive(Debug)]
pub(crate) struct Node {
    node: Version,
    npm: Version,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node.js {}, npm {}", self.node, self.npm)
    }
}

pub(crate) fn ensure(workspace: &Workspace) -> Result<Node> {
    let oldest = peers::oldest_node(workspace)?;
    let remedy = format!(
        "the tests against real Socket.IO servers need Node.js {oldest} or later, with npm: https://nodejs.org/download \
         (or leave them out with --no-interop)"
    );
    let node = look("node", &remedy)?;
    if node < oldest {
        return Err(Error::missing(format!("node is version {node}"), remedy));
    }
    let npm = look("npm", &remedy)?;
    Ok(Node { node, npm })
}

fn look(program: &str, remedy: &str) -> Result<Version> {
    let answer = process::ask(Command::new(program).arg("--version"))?
        .ok_or_else(|| Error::missing(format!("{program} was not found"), remedy))?;
    Version::parse(&answer).ok_or_else(|| {
        Error::unreadable(
            format!("what `{program} --version` prints"),
            format!("it is no version: {:?}", answer.lines().next().unwrap_or_default()),
        )
    })
}
