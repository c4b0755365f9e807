//! What a Redis client must do to carry a node.
//!
//! A backend opens connections and executes commands. It knows nothing of Socket.IO, decides nothing, and never tries anything twice: what is
//! to be done about a failure is the engine's business, and it can decide rightly only if it is told the truth about each command.

use core::future::Future;
use core::time::Duration;
use std::sync::Arc;

use sio_streams_core::{ByteString, Bytes, Command, CommandError, Lane, Reply};
use tokio::sync::{Notify, mpsc};

/// Opens connections.
pub trait Backend: Send + Sync + 'static {
    /// A connection.
    type Connection: Connection;

    /// Opens the connection for a lane. The driver calls it when a lane is first needed, and again, after a pause, each time the connection
    /// was lost or could not be opened.
    ///
    /// Pub/Sub messages that arrive on the [`Subscriber`](Lane::Subscriber) lane's connection go to `pushes`.
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
    /// The driver bounds the time; dropping the future counts as losing the connection.
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

/// Takes the Pub/Sub messages that arrive. Sending never waits.
#[derive(Clone, Debug)]
pub struct PushSender {
    queue: mpsc::Sender<Push>,
    overflow: Arc<Notify>,
}

/// A Pub/Sub message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The channel on which it came.
    pub channel: ByteString,
    /// What was published.
    pub payload: Bytes,
}

/// Gives out what a [`PushSender`] has taken.
#[derive(Debug)]
pub struct PushReceiver(mpsc::Receiver<Push>);

impl PushReceiver {
    /// The next message; nothing when all senders are gone.
    pub async fn recv(&mut self) -> Option<Push> {
        self.0.recv().await
    }

    /// The next message, if one is there already.
    pub fn try_recv(&mut self) -> Option<Push> {
        self.0.try_recv().ok()
    }
}

impl PushSender {
    /// A queue for so many messages. The driver makes its own; this is for the tests of backends.
    pub fn channel(capacity: usize) -> (PushSender, PushReceiver) {
        let (queue, receiver) = mpsc::channel(capacity.max(1));
        (PushSender { queue, overflow: Arc::default() }, PushReceiver(receiver))
    }

    /// A sender into the same queue that signals its own overflow.
    pub(crate) fn fresh(&self) -> Self {
        PushSender { queue: self.queue.clone(), overflow: Arc::default() }
    }

    /// Hands over a message. If too many are waiting it is dropped, and with it the connection, so that the loss is seen.
    pub fn send(&self, channel: ByteString, payload: Bytes) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(Push { channel, payload }) {
            self.overflow.notify_one();
        }
    }

    pub(crate) async fn overflow(&self) {
        self.overflow.notified().await;
    }
}

/// How long the driver waits, beside what a blocking command may take by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// For a reply. A connection that is silent for longer is given up.
    pub response: Duration,
    /// For a connection to be opened.
    pub connect: Duration,
    /// Before a lost connection is first opened again. Doubles with each failure, with some chance added.
    pub backoff_min: Duration,
    /// At most before a connection is tried again.
    pub backoff_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            response: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
        }
    }
}
