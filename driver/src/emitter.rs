//! Speaking into a cluster without being a member of it.

use sio_streams_core::{
    BroadcastOptions, ByteString, CallError, Command, CommandError, Config, ConfigError, EntryId, Lane,
    Packet, Payload, Reply,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::backend::{Backend, Connection, PushSender, Timing};
use crate::node::Error;

/// Broadcasts into a cluster from outside: for programs that only emit. It is never counted as a node, and hears nothing.
///
/// Each call is done when Redis has the message. If the connection is lost before Redis says so, the call fails with
/// [`CommandError::Lost`]: whether the message is published is not known then, and it is not sent again.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// use sio_streams_core::{BroadcastOptions, Config, Packet};
/// use sio_streams_driver::{Emitter, memory::MemoryRedis};
///
/// let redis = MemoryRedis::new();
/// // The options must be those of the cluster.
/// let emitter = Emitter::new(Config::default(), redis.backend()).unwrap();
/// let news = Packet::event("news", &("hello",)).unwrap();
/// let entry = emitter.broadcast("/", news, BroadcastOptions::all()).await.unwrap();
/// assert!(entry.is_some());
/// # });
/// ```
#[derive(Debug)]
pub struct Emitter<B: Backend> {
    emitter: sio_streams_core::Emitter,
    backend: B,
    timing: Timing,
    connection: Mutex<Option<B::Connection>>,
}

/// The message's id in the stream, if it has a place in one.
type Emitted = Result<Option<EntryId>, Error>;

impl<B: Backend> Emitter<B> {
    /// An emitter for a cluster with these options. It connects when it is first used.
    ///
    /// # Errors
    ///
    /// If the options can't work together.
    pub fn new(config: Config, backend: B) -> Result<Self, ConfigError> {
        let emitter = sio_streams_core::Emitter::new(config)?;
        Ok(Emitter { emitter, backend, timing: Timing::default(), connection: Mutex::new(None) })
    }

    /// How long to wait for Redis.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Sends a packet to the clients that `opts` match, on all nodes.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]: nothing has happened. [`Error::Command`]: it was not published, or (with [`CommandError::Lost`]) perhaps it was.
    pub async fn broadcast(&self, nsp: &str, packet: Packet, opts: BroadcastOptions) -> Emitted {
        self.execute(self.emitter.broadcast(nsp, packet, opts)).await
    }

    /// Makes the sockets that `opts` match join rooms, on all nodes.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Emitter::broadcast).
    pub async fn sockets_join(&self, nsp: &str, opts: BroadcastOptions, rooms: Vec<ByteString>) -> Emitted {
        self.execute(self.emitter.sockets_join(nsp, opts, rooms)).await
    }

    /// Makes the sockets that `opts` match leave rooms, on all nodes.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Emitter::broadcast).
    pub async fn sockets_leave(&self, nsp: &str, opts: BroadcastOptions, rooms: Vec<ByteString>) -> Emitted {
        self.execute(self.emitter.sockets_leave(nsp, opts, rooms)).await
    }

    /// Disconnects the sockets that `opts` match, on all nodes; with `close`, their underlying connections too.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Emitter::broadcast).
    pub async fn disconnect_sockets(&self, nsp: &str, opts: BroadcastOptions, close: bool) -> Emitted {
        self.execute(self.emitter.disconnect_sockets(nsp, opts, close)).await
    }

    /// Emits an event to the servers. `packet` is `[event, …args]`: see [`Payload::event`]. There are no answers.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Emitter::broadcast).
    pub async fn server_side_emit(&self, nsp: &str, packet: Payload) -> Emitted {
        self.execute(self.emitter.server_side_emit(nsp, packet)).await
    }

    async fn execute(&self, command: Result<Command, CallError>) -> Emitted {
        let command = command?;
        let mut connection = self.connection.lock().await;
        let kept = connection.is_some();
        match self.try_on(&mut connection, command.clone()).await {
            // The connection had been lost before: nothing was sent.
            Err(CommandError::NotSent(_)) if kept => Ok(self.try_on(&mut connection, command).await?),
            result => Ok(result?),
        }
    }

    async fn try_on(
        &self,
        connection: &mut Option<B::Connection>,
        command: Command,
    ) -> Result<Option<EntryId>, CommandError> {
        let mut open = match connection.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        // Until it has answered, the connection is out of its place: a future that is dropped takes it along.
        let silent = || vec![Err(CommandError::Lost("Redis did not answer in time".into()))];
        let reply = timeout(self.timing.response, open.execute(vec![command]))
            .await
            .unwrap_or_else(|_| silent())
            .pop();
        let reply = reply.unwrap_or_else(|| Err(CommandError::Lost("the reply is missing".into())));
        if !matches!(reply, Err(CommandError::Lost(_) | CommandError::NotSent(_))) {
            *connection = Some(open);
        }
        match reply? {
            Reply::Added(entry) => Ok(Some(entry)),
            Reply::Done => Ok(None),
            other => Err(CommandError::Unusable(format!("{other:?} is not what belongs to the command"))),
        }
    }

    async fn connect(&self) -> Result<B::Connection, CommandError> {
        let (pushes, _) = PushSender::channel(1);
        match timeout(self.timing.connect, self.backend.connect(&Lane::Writer, pushes)).await {
            Ok(connection) => connection.map_err(|error| CommandError::NotSent(error.to_string())),
            Err(_) => Err(CommandError::NotSent("no connection in time".into())),
        }
    }
}
