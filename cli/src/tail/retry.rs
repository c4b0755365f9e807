//! Connections that are opened again after they were lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sio_streams_driver::backend::{
    Backend as _, BoxedBackend, BoxedConnection, ConnectError, Connection as _, PushSender,
};
use sio_streams_driver::sio_streams_core::{Command, CommandError, Lane, Reply};
use tokio::sync::mpsc::Sender;

use super::Item;

/// The time limit for a connection, and for a reply beyond the time for which it may block.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause before a connection is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// The printer is gone, or something has happened that a new connection does not help against.
#[derive(Debug)]
pub(super) struct Over;

/// A link to the server, which is restored when it is lost.
pub(super) struct Link {
    backend: Arc<BoxedBackend>,
    /// The subject of notices, such as the name of a stream.
    subject: String,
    items: Sender<Item>,
    /// It was open before. A server that was never reached is an error.
    proven: bool,
    lost: Option<Instant>,
}

impl Link {
    pub(super) fn new(backend: Arc<BoxedBackend>, subject: String, items: Sender<Item>) -> Self {
        Link { backend, subject, items, proven: false, lost: None }
    }

    /// Opens a connection.
    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<BoxedConnection, String> {
        match tokio::time::timeout(PATIENCE, self.backend.connect(lane, pushes)).await {
            Ok(result) => result.map_err(|error| match self.proven {
                true => error.0,
                false => error.to_string(),
            }),
            Err(_) => Err(ConnectError(format!("no answer within {} s", PATIENCE.as_secs())).to_string()),
        }
    }

    /// Opens a connection, or tries until there is one.
    pub(super) async fn open(&mut self, lane: &Lane, pushes: &PushSender) -> Result<BoxedConnection, Over> {
        loop {
            match self.connect(lane, pushes.clone()).await {
                Ok(connection) => return Ok(connection),
                Err(reason) => self.lost(&reason).await?,
            }
        }
    }

    /// Notes that the link works, and says so if it was lost. `missed` says what that means.
    pub(super) async fn works(&mut self, missed: &str) -> Result<(), Over> {
        self.proven = true;
        match self.lost.take() {
            Some(lost) => {
                let seconds = lost.elapsed().as_secs_f64();
                self.say(format!("{}: connected again after {seconds:.1} s{missed}", self.subject)).await
            }
            None => Ok(()),
        }
    }

    /// Says that the link is lost, once, and waits before the next attempt. A server that was never
    /// reached is the end.
    pub(super) async fn lost(&mut self, reason: &str) -> Result<(), Over> {
        if !self.proven {
            return Err(self.fail(reason.to_owned()).await);
        }
        if self.lost.is_none() {
            self.lost = Some(Instant::now());
            self.say(format!("{}: the link is lost ({reason}), connecting again", self.subject)).await?;
        }
        tokio::time::sleep(PAUSE).await;
        match self.items.is_closed() {
            true => Err(Over),
            false => Ok(()),
        }
    }

    /// Deals with a failed command. Returns `Ok` if a new connection may help.
    pub(super) async fn failed(&mut self, error: CommandError) -> Result<(), Over> {
        match error {
            CommandError::NotSent(reason) | CommandError::Lost(reason) => self.lost(&reason).await,
            error if error.is_transient() => self.lost(&error.to_string()).await,
            error => Err(self.fail(format!("{}: {error}", self.subject)).await),
        }
    }

    pub(super) async fn say(&self, notice: String) -> Result<(), Over> {
        self.send(Item::Notice(notice)).await
    }

    async fn fail(&self, reason: String) -> Over {
        let _ = self.send(Item::Failed(reason)).await;
        Over
    }

    pub(super) async fn send(&self, item: Item) -> Result<(), Over> {
        self.items.send(item).await.map_err(|_| Over)
    }
}

/// Executes commands within the time limit, beyond the time for which they may block. Returns the
/// first error.
pub(super) async fn execute(
    connection: &mut BoxedConnection,
    commands: Vec<Command>,
    block: Duration,
) -> Result<Vec<Reply>, CommandError> {
    match tokio::time::timeout(block.saturating_add(PATIENCE), connection.execute(commands)).await {
        Ok(results) => results.into_iter().collect(),
        Err(_) => Err(CommandError::Lost(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}
