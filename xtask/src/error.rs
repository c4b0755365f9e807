//! Errors.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

pub(crate) type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A command ran and failed. Its own output, right above, says why.
    #[error("`{command}` failed ({status})")]
    Failed { command: String, status: ExitStatus },

    /// A command could not be run at all.
    #[error("`{command}` could not be run: {source}")]
    NotRun { command: String, source: io::Error },

    /// Something is missing on this machine, and could not be installed.
    #[error("{what}\n  {remedy}")]
    Missing { what: String, remedy: String },

    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },

    /// Something does not have the expected form.
    #[error("{what} is not understood: {why}")]
    Unreadable { what: String, why: String },

    /// Packages that the minimum supported Rust version does not allow.
    #[error("not compatible with the workspace's rust-version {rust_version}:\n{}", offences.join("\n"))]
    Msrv { rust_version: String, offences: Vec<String> },

    /// A check has found something wrong.
    #[error("{what}:\n{}", offences.join("\n"))]
    Offences { what: &'static str, offences: Vec<String> },

    #[error("no fuzz target is called {name}; there are: {known}")]
    UnknownTarget { name: String, known: String },

    #[error("no step is called {name}; there are: {known}")]
    UnknownStep { name: String, known: String },

    #[error("the corpus has an input called {name} already, with other content")]
    NameTaken { name: String },

    #[error("step `{step}`: {source}")]
    Step { step: &'static str, source: Box<Error> },
}

impl Error {
    pub(crate) fn missing(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Missing { what: what.into(), remedy: remedy.into() }
    }

    pub(crate) fn file(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File { path: path.into(), source }
    }

    pub(crate) fn unreadable(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Unreadable { what: what.into(), why: why.to_string() }
    }
}
