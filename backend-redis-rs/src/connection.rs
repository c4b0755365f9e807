//! A connection: commands in, replies out.

use core::fmt;

use redis::aio::{MultiplexedConnection, PubSubSink};
use redis::{Cmd, Pipeline, RedisError, RedisResult, Value, cmd};
use sio_streams_core::{Command, CommandError, Reply};
use sio_streams_driver::backend::Connection;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::config::Heartbeat;
use crate::request::{Expected, Request, Subscription};
use crate::{error, reply};

/// A connection to Redis, for one lane. It is closed when it is dropped.
pub struct RedisConnection {
    wire: Wire,
    gone: Gone,
    heartbeat: Heartbeat,
}

pub(crate) enum Wire {
    Multiplexed(MultiplexedConnection),
    /// The subscriber over RESP2.
    PubSub {
        sink: PubSubSink,
        _forwarder: Forwarder,
    },
}

/// The task that passes messages on. Ends when this is dropped.
pub(crate) struct Forwarder(pub(crate) JoinHandle<()>);

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether the connection is known to be lost, and why. Once it is, nothing is written to it any more.
#[derive(Clone)]
pub(crate) struct Gone(watch::Sender<Option<&'static str>>);

impl Gone {
    pub(crate) fn new() -> Self {
        Gone(watch::Sender::new(None))
    }

    pub(crate) fn set(&self, why: &'static str) {
        self.0.send_if_modified(|known| known.replace(why).is_none());
    }

    fn get(&self) -> Option<&'static str> {
        *self.0.borrow()
    }

    async fn wait(&self) -> &'static str {
        let mut changes = self.0.subscribe();
        // The sender lives as long as `self`, so that waiting can't fail.
        match changes.wait_for(Option::is_some).await {
            Ok(why) => why.unwrap_or_default(),
            Err(_) => "the connection was closed",
        }
    }
}

/// Plain commands that will go out in one write.
#[derive(Default)]
struct Batch {
    pipeline: Pipeline,
    expected: Vec<Expected>,
}

impl Batch {
    fn push(&mut self, command: Cmd, expected: Expected) {
        self.pipeline.add_command(command);
        self.expected.push(expected);
    }
}

impl RedisConnection {
    pub(crate) fn new(wire: Wire, gone: Gone, heartbeat: Heartbeat) -> Self {
        RedisConnection { wire, gone, heartbeat }
    }

    /// Sends the batch, if it is not empty, and appends its results.
    async fn flush(&mut self, batch: &mut Batch, results: &mut Vec<Result<Reply, CommandError>>) {
        let Batch { pipeline, expected } = core::mem::take(batch);
        let count = expected.len();
        if count == 0 {
            return;
        }
        let values = match self.send(&pipeline).await {
            Ok(values) => values,
            Err(error) => {
                results.extend(core::iter::repeat_n(Err(error), count));
                return;
            }
        };
        // The crate promises as many as there are commands. Should it not keep that: they have been sent.
        let missing = count.saturating_sub(values.len());
        results
            .extend(expected.into_iter().zip(values).map(|(expected, value)| reply::parse(value, expected)));
        results.extend(core::iter::repeat_n(Err(CommandError::Lost("a reply is missing".into())), missing));
    }

    /// One reply for each command of the pipeline, be it a refusal.
    ///
    /// `send_packed_commands` leaves a refusal in its place, as `Value::ServerError`. It is `Pipeline::query_async` that would make one
    /// error of all of them. If the connection is lost on the way, the crate also drops the replies that it had: all are lost then.
    async fn send(&mut self, pipeline: &Pipeline) -> Result<Vec<Value>, CommandError> {
        if let Some(why) = self.gone.get() {
            return Err(CommandError::NotSent(why.into()));
        }
        let Wire::Multiplexed(connection) = &mut self.wire else {
            return Err(CommandError::Unusable("this connection is for subscriptions".into()));
        };
        let sent = connection.send_packed_commands(pipeline, 0, pipeline.len()).await;
        sent.map_err(|error| self.failed(error))
    }

    /// Completes when the server has confirmed all of it.
    async fn subscribe(&mut self, subscription: Subscription) -> Result<Reply, CommandError> {
        if let Some(why) = self.gone.get() {
            return Err(CommandError::NotSent(why.into()));
        }
        let Subscription { channels, sharded, on } = subscription;
        let names: Vec<&str> = channels.iter().map(|channel| &**channel).collect();
        if sharded {
            return self.subscribe_sharded(&names, on).await;
        }
        // Since redis 1.8 all of these wait for as many confirmations as there are channels. Before, they returned at the first.
        let done = match (&mut self.wire, on) {
            (Wire::Multiplexed(connection), true) => connection.subscribe(&names).await,
            (Wire::Multiplexed(connection), false) => connection.unsubscribe(&names).await,
            (Wire::PubSub { sink, .. }, true) => sink.subscribe(&names).await,
            (Wire::PubSub { sink, .. }, false) => sink.unsubscribe(&names).await,
        };
        match done {
            Ok(()) => Ok(Reply::Done),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The crate has methods for this only with its cluster, but its connection handles the answers: a push that confirms counts as the reply
    /// of the command. One call for each channel, as their slots may differ; each is answered by one confirmation, or one refusal.
    async fn subscribe_sharded(&mut self, names: &[&str], on: bool) -> Result<Reply, CommandError> {
        if let Wire::PubSub { .. } = self.wire {
            // The crate closes a RESP2 connection on which a sharded message arrives.
            return Err(CommandError::Unusable(
                "sharded Pub/Sub needs RESP3, and the server refused it".into(),
            ));
        }
        let mut pipeline = Pipeline::with_capacity(names.len());
        for name in names {
            pipeline.cmd(if on { "SSUBSCRIBE" } else { "SUNSUBSCRIBE" }).arg(*name);
        }
        for value in self.send(&pipeline).await? {
            reply::parse(value, Expected::Anything)?;
        }
        Ok(Reply::Done)
    }

    /// Sorts an error. After all but the server's refusals the connection is not used any more.
    fn failed(&self, error: RedisError) -> CommandError {
        let error = error::of_request(error);
        if !matches!(error, CommandError::Server { .. }) {
            self.gone.set("the connection failed");
        }
        error
    }
}

impl Connection for RedisConnection {
    async fn execute(&mut self, commands: Vec<Command>) -> Vec<Result<Reply, CommandError>> {
        let mut results = Vec::with_capacity(commands.len());
        let mut batch = Batch::default();
        for command in commands {
            let result = match Request::new(command) {
                Request::Plain(command, expected) => {
                    batch.push(command, expected);
                    continue;
                }
                // What follows has to wait for what precedes it. It is rare: subscriptions have a lane of their own.
                Request::Subscription(subscription) => {
                    self.flush(&mut batch, &mut results).await;
                    self.subscribe(subscription).await
                }
                Request::Nothing => {
                    self.flush(&mut batch, &mut results).await;
                    Ok(Reply::Done)
                }
                Request::Unknown => {
                    self.flush(&mut batch, &mut results).await;
                    Err(CommandError::Unusable("this backend does not know the command".into()))
                }
            };
            results.push(result);
        }
        self.flush(&mut batch, &mut results).await;
        results
    }

    async fn lost(&mut self) -> String {
        let gone = self.gone.clone();
        tokio::select! {
            why = gone.wait() => why.to_owned(),
            why = self.beat() => why,
        }
    }
}

impl RedisConnection {
    /// Pings until that fails. A link can be dead and tell nobody; and over RESP2 the crate tells nobody that a link was closed.
    ///
    /// May be dropped at any time: the crate discards a reply that nobody waits for any more.
    async fn beat(&mut self) -> String {
        let Heartbeat { interval, patience } = self.heartbeat;
        loop {
            sleep(interval).await;
            match timeout(patience, self.wire.ping()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => match self.failed(error) {
                    // It lives.
                    CommandError::Server { .. } => {}
                    error => return error.to_string(),
                },
                Err(_) => {
                    self.gone.set("the server fell silent");
                    return format!("no answer to a PING within {patience:?}");
                }
            }
        }
    }
}

impl Wire {
    async fn ping(&mut self) -> RedisResult<()> {
        let pong = match self {
            Wire::Multiplexed(connection) => connection.send_packed_command(&cmd("PING")).await?,
            Wire::PubSub { sink, .. } => sink.ping::<Value>().await?,
        };
        pong.extract_error().map(drop)
    }
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConnection").field("gone", &self.gone.get()).finish_non_exhaustive()
    }
}
