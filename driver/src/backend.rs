//! The traits that a Redis client implements to carry a node.
//!
//! A backend opens connections and executes commands. It knows nothing of Socket.IO, decides
//! nothing, and never tries anything twice. The engine decides about failures, and it can decide
//! correctly only if it is told the truth about each command.

use core::future::Future;
use core::time::Duration;

use sio_streams_core::{Command, CommandError, Lane, Reply};

/// Opens connections.
pub trait Backend: Send + Sync + 'static {
    /// The type of its connections.
    type Connection: Connection;

    /// Opens the connection for a lane. The driver calls this when a lane is first needed, and
    /// again, after a pause, each time the connection was lost or could not be opened.
    ///
    /// Pub/Sub messages that arrive on the connection of the [`Subscriber`](Lane::Subscriber) lane
    /// go to `pushes`. A backend that can stop reading should do so while there is no
    /// [room](PushSender::poll_room). Redis then keeps the messages, within its own limits.
    fn connect(
        &self,
        lane: &Lane,
        pushes: PushSender,
    ) -> impl Future<Output = Result<Self::Connection, ConnectError>> + Send;
}

/// One connection. It is closed when it is dropped.
pub trait Connection: Send + 'static {
    /// Executes commands in order, and returns one result for each, in the same order. Nothing is
    /// executed twice.
    ///
    /// The three kinds of failure must be told apart. [`CommandError::Server`]: the server has
    /// answered with an error. [`CommandError::NotSent`]: the command certainly did not reach the
    /// server. [`CommandError::Lost`]: anything else, and all cases of doubt. After either of the
    /// last two, the driver drops the connection and opens another.
    ///
    /// The driver bounds the time. If it drops the future, it drops the connection, too. The same
    /// holds if the future panics.
    fn execute(
        &mut self,
        commands: Vec<Command>,
    ) -> impl Future<Output = Vec<Result<Reply, CommandError>>> + Send;

    /// Completes when the connection is lost while nothing is being executed on it. Returns the
    /// reason, for the log. The future may be dropped, and this called again.
    fn lost(&mut self) -> impl Future<Output = String> + Send;
}

/// A connection could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("can't connect to Redis: {0}")]
pub struct ConnectError(pub String);

pub use crate::boxed::{BoxedBackend, BoxedConnection};
pub use crate::pushes::{Push, PushReceiver, PushSender};

/// The time limits for Redis. A blocking command has its own time in addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Timing {
    /// For a reply. A connection that is silent for longer is given up. 5 s by default.
    #[cfg_attr(feature = "serde", serde(with = "sio_streams_core::millis"))]
    pub response: Duration,
    /// For a connection to be opened. 5 s by default.
    #[cfg_attr(feature = "serde", serde(with = "sio_streams_core::millis"))]
    pub connect: Duration,
    /// The pause before a lost connection is first opened again, less a random part of up to a
    /// half. 50 ms by default. From the second failure in a row on, the pause is at least a second,
    /// and doubles with each failure. A failure counts as the first one again after a connection
    /// that was of use. Such a connection has got over what the last one was lost by and has held
    /// for a second, or it has held for five seconds.
    #[cfg_attr(feature = "serde", serde(with = "sio_streams_core::millis"))]
    pub backoff_min: Duration,
    /// The longest pause before a connection is opened again. From the second failure on, a random
    /// part of up to a tenth is added. One second by default. If it is less than a second, it also
    /// shortens the second pause and the time for which a connection must hold.
    #[cfg_attr(feature = "serde", serde(with = "sio_streams_core::millis"))]
    pub backoff_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            response: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
        }
    }
}

impl Timing {
    /// Sets the time for a reply.
    #[must_use]
    pub fn response(self, time: Duration) -> Self {
        Timing { response: time, ..self }
    }

    /// Sets the time for a connection to be opened.
    #[must_use]
    pub fn connect(self, time: Duration) -> Self {
        Timing { connect: time, ..self }
    }

    /// Sets the pauses before a lost connection is opened again, from the first one to the longest.
    #[must_use]
    pub fn backoff(self, min: Duration, max: Duration) -> Self {
        Timing { backoff_min: min, backoff_max: max, ..self }
    }
}
