//! A connection of the fred crate: one client that has one connection, and never gets another.

use core::fmt;
use core::future::poll_fn;
use core::task::Poll;
use core::time::Duration;

use fred::bytes_utils::Str;
use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, PubsubInterface, StreamsInterface};
use fred::types::streams::{XCapKind, XCapTrim, XID};
use fred::types::{ClusterHash, CustomCommand, Resp3Frame as Frame, Value as Argument};
use sio_streams_core::{ByteString, Bytes, CommandError};
use sio_streams_driver::wire::{
    Frame as _, Gone, Opened, Subscription, SubscriptionKind, Value, Wire, Words, refusal,
};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::connect::words;
use crate::value::FredFrame;

/// A connection of the fred crate. It is closed when it is dropped.
pub struct FredWire {
    client: Client,
    /// It ends when the connection does.
    task: Task<Result<(), Error>>,
    _forwarder: Option<Task<()>>,
    gone: Gone,
    /// How many PINGs were sent that must be told apart.
    pings: u64,
}

/// A task that ends when this is dropped.
pub(crate) struct Task<T>(pub(crate) JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl FredWire {
    pub(crate) fn new(
        client: Client,
        task: Task<Result<(), Error>>,
        forwarder: Option<Task<()>>,
        gone: Gone,
    ) -> Self {
        FredWire { client, task, _forwarder: forwarder, gone, pings: 0 }
    }

    /// Says its name, for CLIENT LIST.
    pub(crate) async fn introduce(&mut self, name: String) {
        let words = [Bytes::from_static(b"CLIENT"), Bytes::from_static(b"SETNAME"), name.into()];
        // Whatever is answered: the connection is as good without.
        self.send(vec![words.into()]).await;
    }

    async fn known_to_be_lost(&mut self) -> Option<String> {
        if self.gone.get().is_none() && self.task.0.is_finished() {
            return Some(ended(&mut self.task, &self.gone).await);
        }
        self.gone.get()
    }

    /// What is said of a command that has no reply. fred tells several things by the same words, so that it can't be known whether the
    /// command had been sent.
    fn failed(&self, error: &Error) -> CommandError {
        let why = words(error);
        self.gone.set(why.clone());
        CommandError::Lost(why)
    }

    /// Changes subscriptions, with a PING behind it, whose answer is what is returned: it bears the PING's number if all is well.
    ///
    /// fred drops the answers to these commands. And it takes a refusal of one for the answer to the command that was sent next, if there is one
    /// by then: the two go in one piece, so that there always is.
    async fn change(
        &mut self,
        channels: Vec<String>,
        kind: SubscriptionKind,
        on: bool,
    ) -> Result<Argument, Error> {
        let pipeline = self.client.pipeline();
        match (kind, on) {
            (SubscriptionKind::Channels | SubscriptionKind::Sharded, true) => {
                pipeline.subscribe(channels).await?
            }
            (SubscriptionKind::Channels, false) => pipeline.unsubscribe(channels).await?,
            (SubscriptionKind::Sharded, false) => {
                for channel in channels {
                    pipeline.sunsubscribe(channel).await?;
                }
            }
            (SubscriptionKind::Patterns, true) => pipeline.psubscribe(channels).await?,
            (SubscriptionKind::Patterns, false) => pipeline.punsubscribe(channels).await?,
        }
        self.pings += 1;
        let ping = CustomCommand::new_static("PING", ClusterHash::Random, false);
        pipeline.custom::<(), _>(ping, vec![self.pings.to_string()]).await?;
        answer(&mut self.task, &self.gone, pipeline.last()).await
    }

    /// After a refusal, the answer to the PING behind it is left over. fred drops it if nothing else is under way when it comes; otherwise all
    /// answers would be one behind. So PINGs with numbers are sent, after pauses that grow, until one is answered by its own number.
    async fn come_back_in_step(&mut self) -> Result<(), CommandError> {
        let mut pause = Duration::from_millis(1);
        loop {
            sleep(pause).await;
            pause *= 2;
            self.pings += 1;
            let number = self.pings.to_string();
            let ping = [Bytes::from_static(b"PING"), Bytes::from(number.clone())];
            match self.send(vec![ping.into()]).await.pop().map(|result| result.map(Value::of)) {
                Some(Ok(Value::Error { code, message })) => {
                    return Err(CommandError::Server { code, message });
                }
                Some(Ok(pong)) => {
                    // Over RESP2, with subscriptions, it is a list of two.
                    let last = match pong {
                        Value::List(mut items) => items.pop().unwrap_or(Value::Nil),
                        other => other,
                    };
                    if last.text().is_some_and(|text| *text == *number) {
                        return Ok(());
                    }
                }
                Some(Err(error)) => return Err(error),
                None => return Err(CommandError::Lost("a reply is missing".into())),
            }
        }
    }
}

impl Wire for FredWire {
    type Frame = FredFrame;

    async fn send(&mut self, commands: Vec<Words>) -> Vec<Result<FredFrame, CommandError>> {
        if let Some(why) = self.known_to_be_lost().await {
            return commands.iter().map(|_| Err(CommandError::NotSent(why.clone()))).collect();
        }
        let client = &self.client;
        let mut waiting: Vec<_> =
            commands.into_iter().map(|words| Pending::Sent(Box::pin(request(client, words)))).collect();
        // fred takes a command when its future is first polled. One after the other, so that their order holds.
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
            results.push(result.map(FredFrame).map_err(|error| self.failed(&error)));
        }
        results
    }

    async fn subscribe(&mut self, change: Subscription) -> Result<(), CommandError> {
        let Subscription { channels, kind, on } = change;
        if kind == SubscriptionKind::Sharded && on {
            // These alone are answered as other commands are. One call for each channel, as their slots may differ.
            let subscribe =
                |channel: ByteString| [Bytes::from_static(b"SSUBSCRIBE"), channel.into_bytes()].into();
            for result in self.send(channels.into_iter().map(subscribe).collect()).await {
                if let Opened::Error { code, message } = result?.open() {
                    return Err(CommandError::Server { code, message });
                }
            }
            return Ok(());
        }
        if let Some(why) = self.known_to_be_lost().await {
            return Err(CommandError::NotSent(why));
        }
        let names: Vec<String> = channels.iter().map(ToString::to_string).collect();
        let Err(error) = self.change(names, kind, on).await else { return Ok(()) };
        if !is_refusal(&error) {
            return Err(self.failed(&error));
        }
        // The one who is refused here is the PING, which is as good an answer.
        if error.details().contains("'ping'") {
            return Ok(());
        }
        // If PINGs are refused too, there is no way to know: a new connection then.
        if let Err(error) = self.come_back_in_step().await {
            self.gone.set(format!("a subscription can't be confirmed: {error}"));
        }
        Err(refusal(error.details()))
    }

    async fn lost(&mut self) -> String {
        ended(&mut self.task, &self.gone).await
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

/// The answer to a command, or that the connection was lost: what fred is given after its task has ended, it neither does nor refuses.
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

/// One of the commands that come in bursts has to be called by its own method: fred writes every custom one to the socket by itself.
async fn request(client: &Client, words: Words) -> Result<Frame, Error> {
    let answer = match words.name() {
        b"XADD" => add(client, &words).await,
        b"PUBLISH" | b"SPUBLISH" => publish(client, words).await,
        _ => return custom(client, words).await,
    };
    match answer {
        Err(error) if is_refusal(&error) => {
            Ok(Frame::SimpleError { data: error.details().into(), attributes: None })
        }
        other => other,
    }
}

async fn add(client: &Client, words: &Words) -> Result<Frame, Error> {
    let Some((stream, max_len, fields)) = words.as_add() else { return custom(client, words.clone()).await };
    let pair = |(name, value): (&Bytes, &Bytes)| (name.clone(), Argument::Bytes(value.clone()));
    let fields: Vec<_> = fields.iter().map(pair).collect();
    // Redis knows no greater numbers.
    let max_len = i64::try_from(max_len).unwrap_or(i64::MAX);
    let cap = (XCapKind::MaxLen, XCapTrim::AlmostExact, max_len);
    let id: Argument = client.xadd(stream.as_bytes().clone(), false, cap, XID::Auto, fields).await?;
    Ok(Frame::BlobString { data: id.into_bytes().unwrap_or_default(), attributes: None })
}

async fn publish(client: &Client, words: Words) -> Result<Frame, Error> {
    let sharded = words.name() == b"SPUBLISH";
    let [_, channel, payload] = <[Bytes; 3]>::try_from(words.into_vec())
        .map_err(|_| Error::new(ErrorKind::InvalidArgument, "a channel and a message are published"))?;
    let (channel, payload) = (Str::try_from(channel).unwrap_or_default(), Argument::Bytes(payload));
    let data: i64 = match sharded {
        true => client.spublish(channel, payload).await?,
        false => client.publish(channel, payload).await?,
    };
    Ok(Frame::Number { data, attributes: None })
}

async fn custom(client: &Client, words: Words) -> Result<Frame, Error> {
    // fred must know what blocks, lest it take the silence for a dead connection.
    let blocking = words.name() == b"XREAD";
    let mut words = words.into_vec().into_iter();
    let name = Str::try_from(words.next().unwrap_or_default()).unwrap_or_default();
    let arguments: Vec<Argument> = words.map(Argument::Bytes).collect();
    client.custom_raw(CustomCommand::new(name, ClusterHash::Random, blocking), arguments).await
}

impl fmt::Debug for FredWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FredWire").field("gone", &self.gone.get()).finish_non_exhaustive()
    }
}
