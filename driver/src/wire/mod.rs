//! The common parts of backends: commands as arguments, replies from values, and a heartbeat.
//!
//! A client crate that can send a command's arguments and return a value is made a backend by
//! implementing [`Wire`]. [`WireConnection`] is the rest of a [`Connection`]. If the crate can also
//! connect to any given address, it can be a [`Dialer`], and then works with [Redis
//! Cluster](crate::cluster) and [Sentinel](crate::sentinel) without knowing of them.

mod address;
mod args;
mod codec;
mod entries;
mod gone;
mod login;
mod pushed;
mod reply;
mod request;
mod resp;
mod subscription;
mod task;
mod text;
mod value;

use core::fmt;
use core::time::Duration;

use sio_streams_core::{Bytes, Command, CommandError, Lane, Reply};
use tokio::time::{Instant, timeout};

use crate::backend::{ConnectError, Connection, PushSender};
pub use address::{Address, AddressError};
pub use args::Args;
pub use gone::Gone;
pub use login::Login;
use request::Request;
pub use resp::RespWire;
pub use subscription::{Subscription, SubscriptionKind};
pub use task::TaskWire;
pub use text::{client_name, for_log};
pub use value::{Value, refusal};

/// One connection of a client crate.
pub trait Wire: Send + 'static {
    /// Sends commands, in order, and returns one result for each, in the same order. A refusal is a
    /// [`Value::Error`].
    ///
    /// Nothing is sent twice. [`CommandError::NotSent`] and [`CommandError::Lost`] must be told
    /// apart: see [`Connection::execute`].
    fn send(&mut self, commands: Vec<Args>) -> impl Future<Output = Vec<Result<Value, CommandError>>> + Send;

    /// Subscribes to channels, or ends subscriptions. Completes when the server has confirmed all of it. There is at least one channel.
    fn subscribe(&mut self, change: Subscription) -> impl Future<Output = Result<(), CommandError>> + Send;

    /// Completes when the connection is known to be lost, with words for the log. May be dropped and called again.
    fn lost(&mut self) -> impl Future<Output = String> + Send;

    /// Returns `true` if messages are held back because there is no [room](PushSender::poll_room)
    /// for them. Answers behind them are not read then.
    fn is_stalled(&self) -> bool {
        false
    }

    /// Asks for a sign of life. A refusal is one.
    ///
    /// The future may be dropped. The late reply must not be taken for another command's.
    fn ping(&mut self) -> impl Future<Output = Result<(), CommandError>> + Send {
        async {
            match self.send(vec![[Bytes::from_static(b"PING")].into()]).await.pop() {
                Some(Err(error)) => Err(error),
                _ => Ok(()),
            }
        }
    }
}

/// Connects to any server.
pub trait Dialer: Send + Sync + 'static {
    /// The type of its connections.
    type Wire: Wire;

    /// Returns the address that it was given: a standalone server's, or one to start from.
    fn home(&self) -> Address;

    /// Opens a connection for a lane, with the same user, password and TLS for every address. The
    /// caller bounds the time.
    fn dial(
        &self,
        address: &Address,
        lane: &Lane,
        pushes: PushSender,
    ) -> impl Future<Output = Result<WireConnection<Self::Wire>, ConnectError>> + Send;
}

/// The times of testing idle connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The time after which an idle connection is tested with a PING.
    pub interval: Duration,
    /// The time limit for the answer. If it passes, the connection counts as lost.
    pub patience: Duration,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Heartbeat { interval: Duration::from_secs(5), patience: Duration::from_secs(5) }
    }
}

/// A [`Connection`] over a [`Wire`]. It is closed when it is dropped.
pub struct WireConnection<W> {
    wire: W,
    heartbeat: Heartbeat,
    /// The time of the last sign of life.
    quiet: Instant,
    gone: Option<String>,
}

impl<W: Wire> WireConnection<W> {
    /// Creates a connection from a wire that has just been opened.
    pub fn new(wire: W, heartbeat: Heartbeat) -> Self {
        WireConnection { wire, heartbeat, quiet: Instant::now(), gone: None }
    }

    /// Sends one command that is not the engine's, such as `CLUSTER SLOTS`.
    ///
    /// # Errors
    ///
    /// See [`Connection::execute`].
    pub async fn ask(&mut self, args: &[&str]) -> Result<Value, CommandError> {
        let args: Vec<_> = args.iter().map(|arg| Bytes::copy_from_slice(arg.as_bytes())).collect();
        match self.send(vec![args.into()]).await.pop() {
            Some(result) => match result? {
                Value::Error { code, message } => Err(CommandError::Server { code, message }),
                value => Ok(value),
            },
            None => Err(missing()),
        }
    }

    async fn send(&mut self, commands: Vec<Args>) -> Vec<Result<Value, CommandError>> {
        let count = commands.len();
        if let Some(why) = &self.gone {
            return (0..count).map(|_| Err(CommandError::NotSent(why.clone()))).collect();
        }
        let mut results = self.wire.send(commands).await;
        self.quiet = Instant::now();
        results.resize_with(count, || Err(missing()));
        for result in &results {
            self.note(result);
        }
        results
    }

    /// Notes a failure that is not the server's answer. The connection is not used after it.
    fn note<T>(&mut self, result: &Result<T, CommandError>) {
        if let Err(CommandError::Lost(why) | CommandError::NotSent(why)) = result {
            self.gone.get_or_insert_with(|| why.clone());
        }
    }

    /// Sends the gathered commands, and appends the results.
    async fn flush(
        &mut self,
        args: &mut Vec<Args>,
        expected: &mut Vec<request::Expected>,
        results: &mut Vec<Result<Reply, CommandError>>,
    ) {
        if args.is_empty() {
            return;
        }
        let values = self.send(core::mem::take(args)).await;
        let replies = values.into_iter().zip(expected.drain(..));
        results
            .extend(replies.map(|(value, expected)| value.and_then(|value| reply::parse(value, expected))));
    }

    async fn subscribe(&mut self, change: Subscription) -> Result<Reply, CommandError> {
        if let Some(why) = &self.gone {
            return Err(CommandError::NotSent(why.clone()));
        }
        let result = self.wire.subscribe(change).await;
        self.quiet = Instant::now();
        self.note(&result);
        result.map(|()| Reply::Done)
    }
}

fn missing() -> CommandError {
    CommandError::Lost("a reply is missing".into())
}

impl<W: Wire> Connection for WireConnection<W> {
    async fn execute(&mut self, commands: Vec<Command>) -> Vec<Result<Reply, CommandError>> {
        let mut results = Vec::with_capacity(commands.len());
        let (mut batch, mut expected) =
            (Vec::with_capacity(commands.len()), Vec::with_capacity(commands.len()));
        for command in commands {
            let result = match Request::of(command) {
                Request::Plain(args, expects) => {
                    batch.push(args);
                    expected.push(expects);
                    continue;
                }
                // What follows has to wait for what precedes it. It is rare: subscriptions have a lane of their own.
                Request::Subscription(change) => {
                    self.flush(&mut batch, &mut expected, &mut results).await;
                    self.subscribe(change).await
                }
                Request::Nothing => {
                    self.flush(&mut batch, &mut expected, &mut results).await;
                    Ok(Reply::Done)
                }
                Request::Unknown => {
                    self.flush(&mut batch, &mut expected, &mut results).await;
                    Err(CommandError::Unusable("this backend does not know the command".into()))
                }
            };
            results.push(result);
        }
        self.flush(&mut batch, &mut expected, &mut results).await;
        results
    }

    async fn lost(&mut self) -> String {
        if let Some(why) = &self.gone {
            return why.clone();
        }
        let Heartbeat { interval, patience } = self.heartbeat;
        let why = loop {
            let left = interval.saturating_sub(self.quiet.elapsed());
            if let Ok(why) = timeout(left, self.wire.lost()).await {
                break why;
            }
            // What is held back stands before the answer, and its sender is alive.
            if self.wire.is_stalled() {
                self.quiet = Instant::now();
                continue;
            }
            // A link can be dead and tell nobody.
            let pong = timeout(patience, self.wire.ping()).await;
            self.quiet = Instant::now();
            match pong {
                Ok(Ok(()) | Err(CommandError::Server { .. } | CommandError::Unusable(_))) => {}
                Ok(Err(error)) => break error.to_string(),
                Err(_) => break format!("no answer to a PING within {patience:?}"),
            }
        };
        self.gone.get_or_insert(why).clone()
    }
}

impl<W> fmt::Debug for WireConnection<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireConnection").field("gone", &self.gone).finish_non_exhaustive()
    }
}
