//! An emitter: it sends into a cluster without being a member of it.

use core::time::Duration;

use sio_streams_core::{
    BroadcastOptions, ByteString, CallError, Command, CommandError, Config, ConfigError, EntryId, Lane,
    Packet, Payload, Reply,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::backend::{Backend, Connection, PushSender, Timing};
use crate::caught::caught;
use crate::lane;
use crate::outcomes::Fate;
use crate::retry::Retry;

/// Broadcasts into a cluster from outside, for programs that only emit. An emitter is never counted
/// as a node, and receives nothing.
///
/// Each call completes when Redis has the message. If the connection is lost before that, the call
/// fails with [`CommandError::Lost`]: the message may have been published, and it is not sent
/// again. A command that certainly had no effect is sent again, if the connection that was kept is
/// lost, or if the server is not a master any more. It is sent on a new connection, within
/// [`Timing::response`].
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
    kept: Mutex<Kept<B::Connection>>,
}

/// The connection that is kept, and the time of its last use.
#[derive(Debug)]
struct Kept<C> {
    connection: Option<C>,
    used: Instant,
}

/// A connection that was used within this time is not checked before it is used again.
const BUSY: Duration = Duration::from_millis(1);

/// The time that is given to the end of a connection to be noticed. It is noticed when the runtime
/// has asked the system for news.
const NOTICE: Duration = Duration::from_millis(1);

impl<B: Backend> Emitter<B> {
    /// Creates an emitter for a cluster with these options. It connects when it is first used.
    ///
    /// # Errors
    ///
    /// If the options are not valid.
    pub fn new(config: Config, backend: B) -> Result<Self, ConfigError> {
        let emitter = sio_streams_core::Emitter::new(config)?;
        Ok(Emitter {
            emitter,
            backend,
            timing: Timing::default(),
            kept: Mutex::new(Kept { connection: None, used: Instant::now() }),
        })
    }

    /// Sets the time limits for Redis.
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
    ///
    /// [`Error::Call`]: crate::Error::Call
    /// [`Error::Command`]: crate::Error::Command
    pub async fn broadcast(&self, nsp: &str, packet: Packet, opts: BroadcastOptions) -> Fate {
        self.execute(self.emitter.broadcast(nsp, packet, opts)).await
    }

    /// Makes the sockets that `opts` match join rooms, on all nodes.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Emitter::broadcast).
    pub async fn sockets_join(
        &self,
        nsp: &str,
        opts: BroadcastOptions,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Fate {
        self.execute(self.emitter.sockets_join(nsp, opts, rooms)).await
    }

    /// Makes the sockets that `opts` match leave rooms, on all nodes.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Emitter::broadcast).
    pub async fn sockets_leave(
        &self,
        nsp: &str,
        opts: BroadcastOptions,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Fate {
        self.execute(self.emitter.sockets_leave(nsp, opts, rooms)).await
    }

    /// Disconnects the sockets that `opts` match, on all nodes. With `close`, their underlying
    /// connections are closed, too.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Emitter::broadcast).
    pub async fn disconnect_sockets(&self, nsp: &str, opts: BroadcastOptions, close: bool) -> Fate {
        self.execute(self.emitter.disconnect_sockets(nsp, opts, close)).await
    }

    /// Emits an event to the servers. `packet` is `[event, …args]`: see [`Payload::event`]. There
    /// are no answers.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Emitter::broadcast).
    pub async fn server_side_emit(&self, nsp: &str, packet: Payload) -> Fate {
        self.execute(self.emitter.server_side_emit(nsp, packet)).await
    }

    /// Executes a command. While it certainly had no effect, because it went to the wrong server,
    /// it is sent again, to the server that listens at the address now.
    async fn execute(&self, command: Result<Command, CallError>) -> Fate {
        let command = command?;
        let mut kept = self.kept.lock().await;
        let Kept { connection, used } = &mut *kept;
        let began = Instant::now();
        let mut retry = Retry::new(self.timing.backoff_min, self.timing.backoff_max);
        loop {
            if used.elapsed() >= BUSY {
                drop_if_lost(connection).await;
            }
            let kept = connection.is_some();
            let result = self.try_on(connection, command.clone()).await;
            *used = Instant::now();
            match &result {
                // The connection had been lost before, so that nothing was sent.
                Err(CommandError::NotSent(_)) if kept => {}
                // The first retry is immediate: another server may be the master already.
                Err(CommandError::Server { .. }) if connection.is_none() => {
                    if retry.failures() > 0 || !kept {
                        let pause = retry.pause();
                        if began.elapsed().saturating_add(pause) >= self.timing.response {
                            return Ok(result?);
                        }
                        sleep(pause).await;
                    } else {
                        retry.pause();
                    }
                }
                _ => return Ok(result?),
            }
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
        // Until the command is answered, the connection is out of its place. If the future is
        // dropped, so is the connection.
        let lost = |why: String| vec![Err(CommandError::Lost(why))];
        let executed = caught(async { open.execute(vec![command]).await });
        let mut replies = match timeout(self.timing.response, executed).await {
            Ok(replies) => replies.unwrap_or_else(lost),
            Err(_) => lost("Redis did not answer in time".into()),
        };
        let reply = replies.pop().unwrap_or_else(|| Err(CommandError::Lost("the reply is missing".into())));
        if lane::ends(&reply).is_none() {
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
        let connecting = caught(async { self.backend.connect(&Lane::Writer, pushes).await });
        match timeout(self.timing.connect, connecting).await {
            Ok(Ok(connection)) => connection.map_err(|error| CommandError::NotSent(error.to_string())),
            Ok(Err(panic)) => Err(CommandError::NotSent(panic)),
            Err(_) => Err(CommandError::NotSent("no connection in time".into())),
        }
    }
}

/// Drops a connection whose end has arrived meanwhile.
async fn drop_if_lost<C: Connection>(connection: &mut Option<C>) {
    let Some(open) = connection else { return };
    if timeout(NOTICE, caught(async { open.lost().await })).await.is_ok() {
        *connection = None;
    }
}
