//! The redis crate's errors, sorted by what they say about a command's fate.

use redis::{RedisError, ServerError};
use sio_streams_core::CommandError;
use sio_streams_driver::wire::for_log;

/// The server's refusal.
pub(crate) fn server(error: &ServerError) -> CommandError {
    CommandError::Server {
        code: error.code().to_owned(),
        message: error.details().unwrap_or_default().to_owned(),
    }
}

/// Why a request failed that had been given to the redis crate.
///
/// Everything but a server's answer is `Lost`: from outside the crate it can't be told whether its task had written the request to the socket.
/// The crate reports a task that is gone, a reset, a write error and an end in the middle of a reply all as I/O errors.
pub(crate) fn of_request(error: RedisError) -> CommandError {
    let words = words(&error);
    match error.into_server_errors().as_deref() {
        Some([(_, first), ..]) => server(first),
        _ => CommandError::Lost(words),
    }
}

/// For people. A server's words are shown as it sent them, but what answers on the port may be no Redis at all, and the crate quotes all that it
/// could not understand.
pub(crate) fn words(error: &RedisError) -> String {
    for_log(&match ServerError::try_from(error.clone()) {
        Ok(server) => match server.details() {
            Some(details) => format!("{} {details}", server.code()),
            None => server.code().to_owned(),
        },
        Err(other) => other.to_string(),
    })
}
