//! A connection over a client crate's: the engine's commands, and a heartbeat.

use core::fmt;
use core::time::Duration;

use sio_streams_core::{Bytes, Command, CommandError, Reply};
use sio_streams_resp::{Args, Expected, Request, Subscription, Value};
use tokio::time::{Instant, timeout};

use super::link::{Wire, missing};
use crate::backend::Connection;

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
    /// The sign of life that was asked for and has not come.
    asked: Option<Asked>,
    gone: Option<String>,
}

/// A sign of life that is awaited. It outlives the future that has asked for it, so a caller that
/// drops that future does not put off the end of a dead connection.
#[derive(Clone, Copy, Debug)]
struct Asked {
    since: Instant,
    /// The number of replies that had come by then, if the wire counts them.
    replies: Option<u64>,
}

impl<W: Wire> WireConnection<W> {
    /// Creates a connection from a wire that has just been opened.
    pub fn new(wire: W, heartbeat: Heartbeat) -> Self {
        WireConnection { wire, heartbeat, quiet: Instant::now(), asked: None, gone: None }
    }

    /// Sends one command that is not the engine's, such as `CLUSTER SLOTS`.
    ///
    /// # Errors
    ///
    /// See [`Connection::execute`].
    pub async fn ask(&mut self, args: &[&str]) -> Result<Value, CommandError> {
        let args: Vec<_> = args.iter().map(|arg| Bytes::copy_from_slice(arg.as_bytes())).collect();
        self.ask_all(vec![args.into()]).await.pop().unwrap_or_else(|| Err(missing()))
    }

    /// Sends commands that are not the engine's, at once, and returns one result for each.
    ///
    /// # Errors
    ///
    /// Each result as that of [`ask`](Self::ask).
    pub async fn ask_all(&mut self, commands: Vec<Args>) -> Vec<Result<Value, CommandError>> {
        let mut results = self.send(commands).await;
        for result in &mut results {
            if let Ok(Value::Error { code, message }) = result {
                *result = Err(CommandError::Server {
                    code: core::mem::take(code),
                    message: core::mem::take(message),
                });
            }
        }
        results
    }

    async fn send(&mut self, commands: Vec<Args>) -> Vec<Result<Value, CommandError>> {
        let count = commands.len();
        if let Some(why) = &self.gone {
            return (0..count).map(|_| Err(CommandError::NotSent(why.clone()))).collect();
        }
        let mut results = self.wire.send(commands).await;
        self.heard();
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
        expected: &mut Vec<Expected>,
        results: &mut Vec<Result<Reply, CommandError>>,
    ) {
        if args.is_empty() {
            return;
        }
        let values = self.send(core::mem::take(args)).await;
        let replies = values.into_iter().zip(expected.drain(..));
        results.extend(replies.map(|(value, expected)| value.and_then(|value| expected.parse(value))));
    }

    /// Makes the gathered changes of subscriptions, and appends the results.
    async fn subscribe(
        &mut self,
        changes: &mut Vec<Subscription>,
        results: &mut Vec<Result<Reply, CommandError>>,
    ) {
        if changes.is_empty() {
            return;
        }
        let changes = core::mem::take(changes);
        let count = changes.len();
        if let Some(why) = &self.gone {
            return results.extend((0..count).map(|_| Err(CommandError::NotSent(why.clone()))));
        }
        let mut done = self.wire.subscribe_all(changes).await;
        self.heard();
        done.resize_with(count, || Err(missing()));
        done.iter().for_each(|result| self.note(result));
        results.extend(done.into_iter().map(|result| result.map(|()| Reply::Done)));
    }

    /// Notes that the server has answered.
    fn heard(&mut self) {
        self.quiet = Instant::now();
        self.asked = None;
    }

    /// Returns the times of testing the connection.
    pub(crate) fn heartbeat(&self) -> Heartbeat {
        self.heartbeat
    }

    /// Waits for the end of the connection, and asks for a sign of life from time to time, because
    /// a dead connection may look like an idle one. The future may be dropped, and the method
    /// called again: the time that has passed without an answer counts.
    async fn watch(&mut self) -> String {
        let Heartbeat { interval, patience } = self.heartbeat;
        loop {
            if let Some(Asked { since, replies: Some(before) }) = self.asked {
                // The future that has asked was dropped. The ping is not sent twice: any reply that
                // comes now is its answer.
                let left = patience.saturating_sub(since.elapsed());
                let ended = timeout(left.min(patience / LOOKS), self.wire.lost()).await;
                match ended {
                    Ok(why) => return why,
                    Err(_) if self.wire.is_stalled() || self.wire.replies() != Some(before) => self.heard(),
                    Err(_) if left.is_zero() => return silence(patience),
                    Err(_) => {}
                }
                continue;
            }
            let left = interval.saturating_sub(self.quiet.elapsed());
            if let Ok(why) = timeout(left, self.wire.lost()).await {
                return why;
            }
            // Messages that are held back come before the answer, and show that the server is
            // alive.
            if self.wire.is_stalled() {
                self.heard();
                continue;
            }
            self.asked = Some(Asked { since: Instant::now(), replies: self.wire.replies() });
            let pong = timeout(patience, self.wire.ping()).await;
            self.heard();
            match pong {
                Ok(Ok(()) | Err(CommandError::Server { .. } | CommandError::Unusable(_))) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return silence(patience),
            }
        }
    }
}

/// The number of times per patience of a heartbeat that the connection is checked for an answer
/// whose future was dropped.
const LOOKS: u32 = 64;

fn silence(patience: Duration) -> String {
    format!("no answer to a PING within {patience:?}")
}

impl<W: Wire> Connection for WireConnection<W> {
    async fn execute(&mut self, commands: Vec<Command>) -> Vec<Result<Reply, CommandError>> {
        let mut results = Vec::with_capacity(commands.len());
        let (mut batch, mut expected) =
            (Vec::with_capacity(commands.len()), Vec::with_capacity(commands.len()));
        let mut changes = Vec::new();
        let stream = match commands.as_slice() {
            [Command::XInfoStream { stream }] => Some(stream.clone()),
            _ => None,
        };
        for command in commands {
            // Plain commands and changes of subscriptions wait for each other. Both in one batch
            // are rare, because subscriptions have a lane of their own.
            let result = match Request::of(command) {
                Request::Plain(args, expects) => {
                    self.subscribe(&mut changes, &mut results).await;
                    batch.push(args);
                    expected.push(expects);
                    continue;
                }
                Request::Subscription(change) => {
                    self.flush(&mut batch, &mut expected, &mut results).await;
                    changes.push(change);
                    continue;
                }
                Request::Nothing => Ok(Reply::Done),
                _ => Err(CommandError::Unusable("this backend does not know the command".into())),
            };
            self.subscribe(&mut changes, &mut results).await;
            self.flush(&mut batch, &mut expected, &mut results).await;
            results.push(result);
        }
        self.subscribe(&mut changes, &mut results).await;
        self.flush(&mut batch, &mut expected, &mut results).await;
        if let (Some(stream), [Err(CommandError::Server { code, .. })]) = (stream, results.as_slice())
            && code == "ERR"
        {
            let (mut args, mut expected) = (vec![Request::short_info(stream)], vec![Expected::Stream]);
            results.clear();
            self.flush(&mut args, &mut expected, &mut results).await;
        }
        results
    }

    async fn lost(&mut self) -> String {
        if let Some(why) = &self.gone {
            return why.clone();
        }
        let why = self.watch().await;
        self.gone.get_or_insert(why).clone()
    }
}

impl<W> fmt::Debug for WireConnection<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireConnection").field("gone", &self.gone).finish_non_exhaustive()
    }
}
