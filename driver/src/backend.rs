//! What a Redis client must do to carry a node.
//!
//! A backend opens connections and executes commands. It knows nothing of Socket.IO, decides nothing, and never tries anything twice: what is
//! to be done about a failure is the engine's business, and it can decide rightly only if it is told the truth about each command.

use core::future::Future;
use core::time::Duration;

use sio_streams_core::{Command, CommandError, Lane, Reply};

/// Opens connections.
pub trait Backend: Send + Sync + 'static {
    /// A connection.
    type Connection: Connection;

    /// Opens the connection for a lane. The driver calls it when a lane is first needed, and again, after a pause, each time the connection
    /// was lost or could not be opened.
    ///
    /// Pub/Sub messages that arrive on the [`Subscriber`](Lane::Subscriber) lane's connection go to `pushes`. A backend that can stop reading should
    /// do so while there is no [room](PushSender::poll_room): then Redis keeps what comes, within its own limits.
    fn connect(
        &self,
        lane: &Lane,
        pushes: PushSender,
    ) -> impl Future<Output = Result<Self::Connection, ConnectError>> + Send;
}

/// One connection. It is closed when it is dropped.
pub trait Connection: Send + 'static {
    /// Executes commands, in order, and returns as many results, in the same order. Nothing is executed twice, on no account.
    ///
    /// The three ways of failing are to be told apart with care. [`CommandError::Server`]: the server has answered, with an error.
    /// [`CommandError::NotSent`]: the command certainly did not reach the server. [`CommandError::Lost`]: anything else; when in doubt, this. After
    /// either of the last two the driver drops the connection and opens another.
    ///
    /// The driver bounds the time; dropping the future counts as losing the connection. So does a panic.
    fn execute(
        &mut self,
        commands: Vec<Command>,
    ) -> impl Future<Output = Vec<Result<Reply, CommandError>>> + Send;

    /// Completes when the connection is lost while nothing is being executed on it, with words for the log. May be dropped and called again.
    fn lost(&mut self) -> impl Future<Output = String> + Send;
}

/// A connection could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("can't connect to Redis: {0}")]
pub struct ConnectError(pub String);

pub use crate::pushes::{Push, PushReceiver, PushSender};

/// How long the driver waits, beside what a blocking command may take by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// For a reply. A connection that is silent for longer is given up.
    pub response: Duration,
    /// For a connection to be opened.
    pub connect: Duration,
    /// Before a lost connection is first opened again, less a random part. 50 ms by default. From the second failure in a row on the pause is at least a
    /// second, and doubles with each. A failure is the first one again when a connection has been of use: when it has got over what the last one was
    /// lost by, and has held for a second.
    pub backoff_min: Duration,
    /// The longest pause before a connection is tried again, but for a random tenth on top. One second by default. A shorter one makes the second pause
    /// shorter, too.
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
