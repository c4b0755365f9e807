//! A connection of the fred crate: one client that has one connection, and never gets another.

use core::fmt;
use core::future::poll_fn;
use core::task::Poll;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fred::bytes_utils::Str;
use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, PubsubInterface, StreamsInterface};
use fred::types::streams::{XCapKind, XCapTrim, XID};
use fred::types::{ClusterHash, CustomCommand, Resp3Frame as Frame, Value as Argument};
use sio_streams_core::{Bytes, CommandError};
use sio_streams_driver::wire::{Args, Gone, Subscription, TaskWire, Value, Wire};
use tokio::task::JoinHandle;

use crate::connect::words;
use crate::value::convert;

/// A connection to Redis. It is closed when it is dropped.
pub struct FredWire(Link);

// There are few of them.
#[allow(clippy::large_enum_variant)]
enum Link {
    Fred(FredLink),
    Subscriber(TaskWire),
}

/// A connection of the fred crate.
struct FredLink {
    client: Client,
    /// It ends when the connection does.
    task: Task<Result<(), Error>>,
    gone: Gone,
    /// The number of PINGs that have been answered.
    pongs: Arc<AtomicU64>,
    /// The task of the last PING.
    asked: Option<Task<Result<(), Error>>>,
}

/// A task that ends when this is dropped.
pub(crate) struct Task<T>(pub(crate) JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl FredWire {
    pub(crate) fn new(client: Client, task: Task<Result<(), Error>>, gone: Gone) -> Self {
        FredWire(Link::Fred(FredLink { client, task, gone, pongs: Arc::default(), asked: None }))
    }

    pub(crate) fn subscriber(wire: TaskWire) -> Self {
        FredWire(Link::Subscriber(wire))
    }

    /// Says its name, for CLIENT LIST.
    pub(crate) async fn introduce(&mut self, name: String) {
        let args = [Bytes::from_static(b"CLIENT"), Bytes::from_static(b"SETNAME"), name.into()];
        // The answer does not matter: the connection is as good without.
        self.send(vec![args.into()]).await;
    }
}

impl FredLink {
    async fn known_to_be_lost(&mut self) -> Option<String> {
        if self.gone.get().is_none() && self.task.0.is_finished() {
            return Some(ended(&mut self.task, &self.gone).await);
        }
        self.gone.get()
    }

    /// Notes the failure of a command that has no reply, and returns its error. fred uses the same
    /// words for several things, so it can't be known whether the command was sent.
    fn failed(&self, error: &Error) -> CommandError {
        let why = words(error);
        self.gone.set(why.clone());
        CommandError::Lost(why)
    }

    async fn send(&mut self, commands: Vec<Args>) -> Vec<Result<Value, CommandError>> {
        if let Some(why) = self.known_to_be_lost().await {
            return commands.iter().map(|_| Err(CommandError::NotSent(why.clone()))).collect();
        }
        let client = &self.client;
        let mut waiting: Vec<_> =
            commands.into_iter().map(|args| Pending::Sent(Box::pin(request(client, args)))).collect();
        // fred takes a command when its future is first polled. The futures are polled one after
        // the other, so that the order of the commands holds.
        poll_fn(|context| {
            for pending in &mut waiting {
                if let Pending::Sent(future) = pending
                    && let Poll::Ready(result) = future.as_mut().poll(context)
                {
                    *pending = Pending::Answered(result);
                }
            }
            Poll::Ready(())
        })
        .await;
        let mut results = Vec::with_capacity(waiting.len());
        for pending in waiting {
            let result = match pending {
                Pending::Sent(future) => answer(&mut self.task, &self.gone, future).await,
                Pending::Answered(result) => result,
            };
            results.push(result.map(convert).map_err(|error| self.failed(&error)));
        }
        results
    }
}

impl Wire for FredWire {
    async fn send(&mut self, commands: Vec<Args>) -> Vec<Result<Value, CommandError>> {
        match &mut self.0 {
            Link::Fred(link) => link.send(commands).await,
            Link::Subscriber(wire) => wire.send(commands).await,
        }
    }

    async fn subscribe(&mut self, change: Subscription) -> Result<(), CommandError> {
        match &mut self.0 {
            Link::Fred(link) => match link.known_to_be_lost().await {
                Some(why) => Err(CommandError::NotSent(why)),
                None => Err(CommandError::Unusable("this connection is not for subscriptions".into())),
            },
            Link::Subscriber(wire) => wire.subscribe(change).await,
        }
    }

    async fn subscribe_all(&mut self, changes: Vec<Subscription>) -> Vec<Result<(), CommandError>> {
        match &mut self.0 {
            Link::Fred(_) => {
                let mut results = Vec::with_capacity(changes.len());
                for change in changes {
                    results.push(self.subscribe(change).await);
                }
                results
            }
            Link::Subscriber(wire) => wire.subscribe_all(changes).await,
        }
    }

    async fn lost(&mut self) -> String {
        match &mut self.0 {
            Link::Fred(link) => ended(&mut link.task, &link.gone).await,
            Link::Subscriber(wire) => wire.lost().await,
        }
    }

    fn is_stalled(&self) -> bool {
        matches!(&self.0, Link::Subscriber(wire) if wire.is_stalled())
    }

    fn replies(&self) -> Option<u64> {
        match &self.0 {
            Link::Fred(link) => Some(link.pongs.load(Ordering::Relaxed)),
            Link::Subscriber(wire) => wire.replies(),
        }
    }

    /// Sends a PING from a task of its own. The answer counts even if this future is dropped.
    async fn ping(&mut self) -> Result<(), CommandError> {
        let words = || [Bytes::from_static(b"PING")].into();
        let link = match &mut self.0 {
            Link::Fred(link) => link,
            Link::Subscriber(wire) => return wire.ping().await,
        };
        if let Some(why) = link.known_to_be_lost().await {
            return Err(CommandError::NotSent(why));
        }
        let (client, pongs) = (link.client.clone(), Arc::clone(&link.pongs));
        let asked = tokio::spawn(async move {
            let answer = custom(&client, words()).await;
            if answer.is_ok() {
                pongs.fetch_add(1, Ordering::Relaxed);
            }
            answer.map(drop)
        });
        // The task ends with this connection at the latest. Otherwise it could wait forever,
        // because a client without a connection neither answers nor fails.
        link.asked = Some(Task(asked));
        let asked = async {
            match &mut link.asked {
                Some(Task(asked)) => asked
                    .await
                    .unwrap_or_else(|error| Err(Error::new(ErrorKind::Canceled, error.to_string()))),
                None => Ok(()),
            }
        };
        let result = answer(&mut link.task, &link.gone, asked).await;
        result.map_err(|error| link.failed(&error))
    }
}

/// Completes when the connection is lost.
async fn ended(task: &mut Task<Result<(), Error>>, gone: &Gone) -> String {
    if gone.get().is_none() {
        tokio::select! {
            _ = gone.wait() => {}
            ended = &mut task.0 => gone.set(match ended {
                Ok(Err(error)) => words(&error),
                _ => "the connection was closed".to_owned(),
            }),
        }
    }
    gone.wait().await
}

/// Returns the answer to a command, or an error if the connection is lost. fred neither executes
/// nor refuses what it is given after its task has ended.
async fn answer<T>(
    task: &mut Task<Result<(), Error>>,
    gone: &Gone,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        answer = answer => answer,
        why = ended(task, gone) => Err(Error::new(ErrorKind::Canceled, why)),
    }
}

/// Whether the server has said so. fred's own errors have the same type.
fn is_refusal(error: &Error) -> bool {
    let code = error.details().split(' ').next().unwrap_or_default();
    let by_fred = [ErrorKind::IO, ErrorKind::Canceled, ErrorKind::Timeout, ErrorKind::Protocol];
    !by_fred.contains(error.kind()) && !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// A command on its way.
enum Pending<F> {
    Sent(core::pin::Pin<Box<F>>),
    Answered(Result<Frame, Error>),
}

/// Sends a command. The commands that come in bursts are sent by methods of their own, because fred
/// writes every custom command to the socket by itself.
async fn request(client: &Client, args: Args) -> Result<Frame, Error> {
    let answer = match args.name() {
        b"XADD" => add(client, &args).await,
        b"PUBLISH" | b"SPUBLISH" => publish(client, args).await,
        _ => return custom(client, args).await,
    };
    match answer {
        Err(error) if is_refusal(&error) => {
            Ok(Frame::SimpleError { data: error.details().into(), attributes: None })
        }
        other => other,
    }
}

async fn add(client: &Client, args: &Args) -> Result<Frame, Error> {
    let Some((stream, max_len, fields)) = args.as_add() else { return custom(client, args.clone()).await };
    let pair = |(name, value): (&Bytes, &Bytes)| (name.clone(), Argument::Bytes(value.clone()));
    let fields: Vec<_> = fields.iter().map(pair).collect();
    // Redis knows no greater numbers.
    let max_len = i64::try_from(max_len).unwrap_or(i64::MAX);
    let cap = (XCapKind::MaxLen, XCapTrim::AlmostExact, max_len);
    let id: Argument = client.xadd(stream.as_bytes().clone(), false, cap, XID::Auto, fields).await?;
    Ok(Frame::BlobString { data: id.into_bytes().unwrap_or_default(), attributes: None })
}

async fn publish(client: &Client, args: Args) -> Result<Frame, Error> {
    let sharded = args.name() == b"SPUBLISH";
    let [_, channel, payload] = <[Bytes; 3]>::try_from(args.into_vec())
        .map_err(|_| Error::new(ErrorKind::InvalidArgument, "a channel and a message are published"))?;
    let (channel, payload) = (Str::try_from(channel).unwrap_or_default(), Argument::Bytes(payload));
    let data: i64 = match sharded {
        true => client.spublish(channel, payload).await?,
        false => client.publish(channel, payload).await?,
    };
    Ok(Frame::Number { data, attributes: None })
}

async fn custom(client: &Client, args: Args) -> Result<Frame, Error> {
    // fred must know what blocks, lest it take the silence for a dead connection.
    let blocking = args.name() == b"XREAD";
    let mut args = args.into_vec().into_iter();
    let name = Str::try_from(args.next().unwrap_or_default()).unwrap_or_default();
    let arguments: Vec<Argument> = args.map(Argument::Bytes).collect();
    client.custom_raw(CustomCommand::new(name, ClusterHash::Random, blocking), arguments).await
}

impl fmt::Debug for FredWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Link::Fred(link) => {
                f.debug_struct("FredWire").field("gone", &link.gone.get()).finish_non_exhaustive()
            }
            Link::Subscriber(wire) => f.debug_tuple("FredWire").field(wire).finish(),
        }
    }
}
