//! The server's errors, in its own words.

use sio_streams_core::CommandError;

/// `-ERR …`
pub(crate) fn generic(message: impl Into<String>) -> CommandError {
    CommandError::Server { code: "ERR".to_owned(), message: message.into() }
}

pub(crate) fn wrong_number_of_arguments(command: &str) -> CommandError {
    generic(format!("wrong number of arguments for '{command}' command"))
}

pub(crate) fn wrong_type() -> CommandError {
    CommandError::Server {
        code: "WRONGTYPE".to_owned(),
        message: "Operation against a key holding the wrong kind of value".to_owned(),
    }
}

/// `-NOPERM …`
pub(crate) fn no_channel() -> CommandError {
    CommandError::Server {
        code: "NOPERM".to_owned(),
        message: "this user has no permissions to access one of the channels used as arguments".to_owned(),
    }
}

/// `-EXECABORT …`
pub(crate) fn aborted(why: &str) -> CommandError {
    CommandError::Server { code: "EXECABORT".to_owned(), message: format!("Transaction discarded {why}") }
}

/// The text of the server's error, without the leading minus.
pub(crate) fn words(error: &CommandError) -> String {
    match error {
        CommandError::Server { code, message } => format!("{code} {message}"),
        other => other.to_string(),
    }
}
