//! The errors that end such a command, and the refusals that do not.

use std::io;
use std::time::Duration;

/// A server has refused a command. The connection can be used further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} {message}")]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Refusal {
    /// Returns `true` if the user may not do this.
    pub(crate) fn is_about_rights(&self) -> bool {
        self.code == "NOPERM"
    }

    /// Returns `true` if the server does not know the command, because it is too old or because
    /// the command was renamed.
    pub(crate) fn is_unknown(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        self.code == "ERR"
            && (message.starts_with("unknown command") || message.starts_with("unknown subcommand"))
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Config(#[from] sio_streams_driver::sio_streams_core::ConfigError),
    #[error("{0}")]
    Redis(#[from] sio_streams_redis_rs::ConfigError),
    #[error("{name}: {reason}")]
    Connect { name: String, reason: String },
    #[error("{name}: the link is lost: {reason}")]
    Lost { name: String, reason: String },
    #[error("{name} did not answer within {} s", .patience.as_secs_f64())]
    Silent { name: String, patience: Duration },
    #[error("{name} refuses {command}: {refusal}")]
    Refused { name: String, command: String, refusal: Refusal },
    #[error("{name} answered {command} with something else than was asked for")]
    Unexpected { name: String, command: String },
    #[error("can't write: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) | Error::Redis(_) => 2,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let of = |code: &str, message: &str| Refusal { code: code.into(), message: message.into() };
        // As Redis 6.2 and 7.0 word them.
        for message in [
            "unknown command 'HELLO', with args beginning with: ",
            "unknown command `SSUBSCRIBE`, with args beginning with: `c`, ",
            "unknown subcommand 'SHARDNUMSUB'. Try PUBSUB HELP.",
            "Unknown subcommand or wrong number of arguments for 'SHARDNUMSUB'. Try PUBSUB HELP.",
        ] {
            assert!(of("ERR", message).is_unknown(), "{message}");
        }
        let refused = of("NOPERM", "this user has no permissions to run the 'info' command");
        assert!(refused.is_about_rights() && !refused.is_unknown());
        assert!(!of("ERR", "syntax error").is_unknown());
    }
}
