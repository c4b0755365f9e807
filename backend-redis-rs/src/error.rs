//! The redis crate's errors, in words.

use redis::{RedisError, ServerError};
use sio_streams_driver::wire::for_log;

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
