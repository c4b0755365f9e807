//! A connection of the redis crate.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::{MultiplexedConnection, PubSubSink};
use redis::{Cmd, Pipeline, RedisError, Value as Theirs};
use sio_streams_core::CommandError;
use sio_streams_driver::wire::{Args, Gone, RespWire, Subscription, SubscriptionKind, TaskWire, Value, Wire};
use tokio::task::JoinHandle;

use crate::direct::Socket;
use crate::{error, value};

/// A connection of the redis crate. It is closed when it is dropped.
pub struct RedisWire {
    pub(crate) link: Link,
    pub(crate) gone: Gone,
    /// Whether sharded subscriptions are just being ended.
    pub(crate) leaving: Arc<AtomicBool>,
}

pub(crate) enum Link {
    /// Plain sockets.
    Direct(RespWire<Socket>),
    /// The subscriber on one of these.
    Subscriber(TaskWire),
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

impl RedisWire {
    /// One value for each command of the pipeline, be it a refusal.
    ///
    /// `send_packed_commands` leaves a refusal in its place, as `Value::ServerError`. It is `Pipeline::query_async` that would make one
    /// error of all of them. If the connection is lost on the way, the crate also drops the replies that it had: all are lost then.
    async fn send_all(&mut self, pipeline: &Pipeline) -> Result<Vec<Theirs>, CommandError> {
        if let Some(why) = self.gone.get() {
            return Err(CommandError::NotSent(why));
        }
        let Link::Multiplexed(connection) = &mut self.link else {
            return Err(CommandError::Unusable("this connection is for subscriptions".into()));
        };
        let sent = connection.send_packed_commands(pipeline, 0, pipeline.len()).await;
        sent.map_err(|error| self.failed(error))
    }

    /// The crate has methods for this only with its cluster, but its connection handles the answers: a push that confirms counts as the reply
    /// of the command. One call for each channel, as their slots may differ; each is answered by one confirmation, or one refusal.
    async fn subscribe_sharded(&mut self, names: &[&str], on: bool) -> Result<(), CommandError> {
        if let Link::PubSub { .. } = self.link {
            // The crate closes a RESP2 connection on which a sharded message arrives.
            return Err(CommandError::Unusable(
                "sharded Pub/Sub needs RESP3, and the server refused it".into(),
            ));
        }
        let mut pipeline = Pipeline::with_capacity(names.len());
        for name in names {
            pipeline.cmd(if on { "SSUBSCRIBE" } else { "SUNSUBSCRIBE" }).arg(*name);
        }
        self.leaving.store(!on, Ordering::Release);
        let answers = self.send_all(&pipeline).await;
        self.leaving.store(false, Ordering::Release);
        for answer in answers? {
            if let Value::Error { code, message } = value::convert(answer) {
                return Err(CommandError::Server { code, message });
            }
        }
        Ok(())
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

impl Wire for RedisWire {
    async fn send(&mut self, commands: Vec<Args>) -> Vec<Result<Value, CommandError>> {
        match &mut self.link {
            Link::Direct(wire) => return wire.send(commands).await,
            Link::Subscriber(wire) => return wire.send(commands).await,
            Link::Multiplexed(_) | Link::PubSub { .. } => {}
        }
        let count = commands.len();
        let mut pipeline = Pipeline::with_capacity(count);
        for args in commands {
            pipeline.add_command(packed(&args));
        }
        match self.send_all(&pipeline).await {
            Ok(values) => values.into_iter().map(|value| Ok(value::convert(value))).collect(),
            Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
        }
    }

    async fn subscribe(&mut self, change: Subscription) -> Result<(), CommandError> {
        if let Some(why) = self.gone.get() {
            return Err(CommandError::NotSent(why));
        }
        match &mut self.link {
            Link::Direct(wire) => return wire.subscribe(change).await,
            Link::Subscriber(wire) => return wire.subscribe(change).await,
            _ => {}
        }
        let Subscription { channels, kind, on } = change;
        let names: Vec<&str> = channels.iter().map(|channel| &**channel).collect();
        let patterns = match kind {
            SubscriptionKind::Sharded => return self.subscribe_sharded(&names, on).await,
            SubscriptionKind::Channels => false,
            SubscriptionKind::Patterns => true,
        };
        // Since redis 1.8 all of these wait for as many confirmations as there are channels. Before, they returned at the first.
        let done = match (&mut self.link, on, patterns) {
            (Link::Multiplexed(connection), true, false) => connection.subscribe(&names).await,
            (Link::Multiplexed(connection), false, false) => connection.unsubscribe(&names).await,
            (Link::Multiplexed(connection), true, true) => connection.psubscribe(&names).await,
            (Link::Multiplexed(connection), false, true) => connection.punsubscribe(&names).await,
            // It was sent on its way above.
            (Link::Direct(_) | Link::Subscriber(_), ..) => return Ok(()),
            (Link::PubSub { sink, .. }, true, false) => sink.subscribe(&names).await,
            (Link::PubSub { sink, .. }, false, false) => sink.unsubscribe(&names).await,
            (Link::PubSub { sink, .. }, true, true) => sink.psubscribe(&names).await,
            (Link::PubSub { sink, .. }, false, true) => sink.punsubscribe(&names).await,
        };
        done.map_err(|error| self.failed(error))
    }

    async fn lost(&mut self) -> String {
        match &mut self.link {
            Link::Direct(wire) => wire.lost().await,
            Link::Subscriber(wire) => wire.lost().await,
            _ => self.gone.wait().await,
        }
    }

    fn is_stalled(&self) -> bool {
        matches!(&self.link, Link::Subscriber(wire) if wire.is_stalled())
    }

    /// The crate discards a reply that nobody waits for any more.
    async fn ping(&mut self) -> Result<(), CommandError> {
        let pong = match &mut self.link {
            Link::Direct(wire) => return wire.ping().await,
            Link::Subscriber(wire) => return wire.ping().await,
            Link::Multiplexed(connection) => connection.send_packed_command(&redis::cmd("PING")).await,
            Link::PubSub { sink, .. } => sink.ping::<Theirs>().await,
        };
        pong.map(drop).map_err(|error| self.failed(error))
    }
}

fn packed(args: &Args) -> Cmd {
    let mut cmd = Cmd::with_capacity(args.count(), args.size());
    args.each(|arg| {
        cmd.arg(arg);
    });
    cmd
}

impl fmt::Debug for RedisWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisWire").field("gone", &self.gone.get()).finish_non_exhaustive()
    }
}
