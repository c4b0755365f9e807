//! A backend whose type is chosen at run time.

use core::fmt;

use futures_util::future::{BoxFuture, FutureExt as _};
use sio_streams_core::{Command, CommandError, Lane, Reply};

use crate::backend::{Backend, ConnectError, Connection, PushSender};

/// A [`Backend`] of any type, for programs that choose it at run time. Each call is one allocation
/// more than without the box.
///
/// ```
/// use sio_streams_driver::backend::BoxedBackend;
/// use sio_streams_driver::memory::MemoryRedis;
///
/// # use sio_streams_driver::memory::MemoryBackend;
/// # // A backend on a Redis client.
/// # struct RedisBackend;
/// # impl RedisBackend { fn new(_: &str) -> MemoryBackend { MemoryRedis::new().backend() } }
/// fn backend(url: Option<&str>) -> BoxedBackend {
///     match url {
///         Some(url) => BoxedBackend::new(RedisBackend::new(url)),
///         None => BoxedBackend::new(MemoryRedis::new().backend()),
///     }
/// }
/// # backend(None);
/// # backend(Some("redis://localhost"));
/// ```
pub struct BoxedBackend(Box<dyn AnyBackend>);

/// A connection of a [`BoxedBackend`].
pub struct BoxedConnection(Box<dyn AnyConnection>);

type Results = Vec<Result<Reply, CommandError>>;

trait AnyBackend: Send + Sync {
    fn connect<'a>(
        &'a self,
        lane: &'a Lane,
        pushes: PushSender,
    ) -> BoxFuture<'a, Result<BoxedConnection, ConnectError>>;
}

trait AnyConnection: Send {
    fn execute(&mut self, commands: Vec<Command>) -> BoxFuture<'_, Results>;
    fn lost(&mut self) -> BoxFuture<'_, String>;
}

impl<B: Backend> AnyBackend for B {
    fn connect<'a>(
        &'a self,
        lane: &'a Lane,
        pushes: PushSender,
    ) -> BoxFuture<'a, Result<BoxedConnection, ConnectError>> {
        let connecting = Backend::connect(self, lane, pushes);
        async { Ok(BoxedConnection(Box::new(connecting.await?))) }.boxed()
    }
}

impl<C: Connection> AnyConnection for C {
    fn execute(&mut self, commands: Vec<Command>) -> BoxFuture<'_, Results> {
        Connection::execute(self, commands).boxed()
    }

    fn lost(&mut self) -> BoxFuture<'_, String> {
        Connection::lost(self).boxed()
    }
}

impl BoxedBackend {
    /// Puts a backend into a box.
    pub fn new(backend: impl Backend) -> Self {
        BoxedBackend(Box::new(backend))
    }
}

impl Backend for BoxedBackend {
    type Connection = BoxedConnection;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<BoxedConnection, ConnectError> {
        self.0.connect(lane, pushes).await
    }
}

impl Connection for BoxedConnection {
    async fn execute(&mut self, commands: Vec<Command>) -> Results {
        self.0.execute(commands).await
    }

    async fn lost(&mut self) -> String {
        self.0.lost().await
    }
}

impl fmt::Debug for BoxedBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxedBackend").finish_non_exhaustive()
    }
}

impl fmt::Debug for BoxedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxedConnection").finish_non_exhaustive()
    }
}
