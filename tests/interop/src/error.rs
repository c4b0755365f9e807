//! Errors of a peer.

use std::path::PathBuf;

/// The result of an operation on a peer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on a peer failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no `node` to run.
    #[error(
        "node was not found: install Node.js 20 or later, then run `cargo xtask test` (which runs `npm ci`)"
    )]
    NoNode,
    /// The npm packages are not there.
    #[error("{0} is missing: run `cargo xtask test` (which runs `npm ci`)")]
    NoPackages(PathBuf),
    /// The process ended, by itself or because the test killed it.
    #[error("the peer is gone: {0}")]
    Gone(String),
    /// The peer refused an operation, or the operation failed.
    #[error("{op}: {message}")]
    Operation {
        /// The operation's name in the control protocol.
        op: String,
        /// The peer's words.
        message: String,
    },
    /// A server of ours failed.
    #[error("ours: {0}")]
    Ours(String),
    /// A condition was not met in time.
    #[error("timed out: {0}")]
    TimedOut(String),
    /// Something came that must not come.
    #[error("unexpected: {0}")]
    Unexpected(String),
    /// The peer said something that this crate does not understand.
    #[error("control protocol: {0}")]
    Protocol(#[from] serde_json::Error),
    /// The process could not be started or talked to.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Error {
    /// An error of a server of ours, in words.
    pub fn ours(error: impl core::fmt::Display) -> Self {
        Error::Ours(error.to_string())
    }
}
