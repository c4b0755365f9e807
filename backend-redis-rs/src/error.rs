//! The redis crate's errors, in words.

use redis::{RedisError, ServerError};
use sio_streams_driver::wire::for_log;

/// Returns the words of an error, for people. A server's words are shown as it sent them. However,
/// whatever answers on the port may not be Redis at all, and the crate quotes everything that it
/// could not understand. Therefore the text is prepared for a log.
pub(crate) fn words(error: &RedisError) -> String {
    for_log(&match ServerError::try_from(error.clone()) {
        Ok(server) => match server.details() {
            Some(details) => format!("{} {details}", server.code()),
            None => server.code().to_owned(),
        },
        Err(other) => other.to_string(),
    })
}
