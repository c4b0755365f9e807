//! RESP over any stream of bytes, in both versions.
//!
//! This is for backends whose client crate can connect, but reads slowly: here, strings are slices
//! of the input, and a reply that arrives in pieces is scanned once. It is also for those whose
//! client crate can't be kept from reading Pub/Sub messages that are not taken: here, reading
//! stops.

use core::fmt;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use std::io;

use sio_streams_core::{ByteString, Bytes, CommandError};
use sio_streams_resp::{
    Args, Came, Login, Pipeline, PipelineError, Protocol, ReadLimits, Subscription, Value, for_log,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::link::{Wire, missing};
use crate::backend::PushSender;

/// A connection over a stream of bytes. No replies may be outstanding. Unless it is authenticated
/// already, [`RespWire::log_in`] comes first.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// use sio_streams_core::Bytes;
/// use sio_streams_driver::wire::{RespWire, Value, Wire};
/// use tokio::io::AsyncWriteExt;
///
/// let (ours, mut server) = tokio::io::duplex(1_024);
/// let mut wire = RespWire::new(ours);
/// server.write_all(b"+PONG\r\n").await.unwrap();
/// let replies = wire.send(vec![[Bytes::from_static(b"PING")].into()]).await;
/// assert_eq!(replies, [Ok(Value::Bytes("PONG".into()))]);
/// # });
/// ```
pub struct RespWire<S> {
    stream: S,
    pipeline: Pipeline,
    /// `true` if bytes were written that have not been flushed.
    unflushed: bool,
    /// The place where messages go, if this connection is for subscriptions.
    pushes: Option<PushSender>,
    /// A message for which there is no room. Nothing behind it is read.
    held: Option<(ByteString, Bytes)>,
    gone: Option<String>,
}

/// The end of a connection.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Pipeline(#[from] PipelineError),
    #[error("the connection was closed")]
    Closed,
}

/// The answer to something that was asked.
#[derive(Debug)]
enum Answer {
    Reply(Value),
    Changed(Result<(), CommandError>),
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> RespWire<S> {
    /// Creates a connection from a stream that has just been opened. Its replies are bounded by
    /// the default [`ReadLimits`].
    pub fn new(stream: S) -> Self {
        let pipeline = Pipeline::new(ReadLimits::default(), false);
        RespWire { stream, pipeline, unflushed: false, pushes: None, held: None, gone: None }
    }

    /// Creates a connection for subscriptions. Their messages go to `pushes`. While there is no
    /// room for them, nothing is read.
    pub fn subscriber(stream: S, pushes: PushSender) -> Self {
        Self::new(stream).into_subscriber(pushes)
    }

    /// Makes this connection one for subscriptions.
    #[must_use]
    pub fn into_subscriber(mut self, pushes: PushSender) -> Self {
        self.pushes = Some(pushes);
        self.pipeline.set_subscriber(true);
        self
    }

    /// Logs in on a new connection, with this version of the protocol.
    ///
    /// # Errors
    ///
    /// [`CommandError::Server`] with the server's refusal. [`CommandError::Lost`] if the server
    /// closes the connection instead.
    pub async fn log_in(&mut self, login: &Login, protocol: Protocol) -> Result<(), CommandError> {
        let mut handshake = login.begin(protocol);
        while let Some(args) = handshake.next_command() {
            let reply = self.send(vec![args]).await.pop().unwrap_or_else(|| Err(missing()));
            handshake.answered(reply?)?;
        }
        Ok(())
    }

    /// Waits for the next answer. Meanwhile, pending bytes are written, so that neither side waits
    /// for the other to read.
    async fn next(&mut self) -> Result<Answer, String> {
        if let Some(why) = &self.gone {
            return Err(why.clone());
        }
        let next = poll_fn(|context| self.poll_next(context)).await;
        next.map_err(|end| self.gone.insert(for_log(&end.to_string())).clone())
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Answer, End>> {
        // A write that is not possible now is tried again when there is room. Until then, input is
        // read. Input is read even from a connection that accepts no more output.
        let written = self.poll_write(context);
        match (self.poll_read(context), written) {
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error.into())),
            (next, _) => next,
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Answer, End>> {
        loop {
            if let Some(pushes) = self.pushes.as_ref().filter(|_| self.held.is_some()) {
                ready!(pushes.poll_room(context));
                if let Some((channel, payload)) = self.held.take() {
                    pushes.send(channel, payload);
                }
            }
            match self.pipeline.poll()? {
                Some(Came::Reply(value)) => return Poll::Ready(Ok(Answer::Reply(value))),
                Some(Came::Changed(result)) => return Poll::Ready(Ok(Answer::Changed(result))),
                Some(Came::Message { channel, payload }) => self.held = Some((channel, payload)),
                Some(_) => {}
                None => {
                    let mut space = self.pipeline.space();
                    if ready!(pin!(self.stream.read_buf(&mut space)).poll(context))? == 0 {
                        return Poll::Ready(Err(End::Closed));
                    }
                }
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pipeline.output().is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, self.pipeline.output()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.pipeline.written(count),
            }
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the answers to what nobody waits for any more. If the connection is lost, the next
    /// answer tells.
    async fn pass_over(&mut self, left_over: usize) {
        for _ in 0..left_over {
            if self.next().await.is_err() {
                return;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Wire for RespWire<S> {
    async fn send(&mut self, commands: Vec<Args>) -> Vec<Result<Value, CommandError>> {
        if let Some(why) = &self.gone {
            return vec![Err(CommandError::NotSent(why.clone())); commands.len()];
        }
        self.pipeline.reserve(commands.iter().map(Args::encoded_size).sum());
        let left_over = self.pipeline.under_way();
        commands.iter().for_each(|args| self.pipeline.ask(args));
        self.pass_over(left_over).await;
        let mut results = Vec::with_capacity(commands.len());
        for _ in &commands {
            results.push(match self.next().await {
                Ok(Answer::Reply(value)) => Ok(value),
                Ok(Answer::Changed(_)) => Err(missing()),
                // The command may have been executed. Only the server knows.
                Err(why) => Err(CommandError::Lost(why)),
            });
        }
        results
    }

    async fn subscribe(&mut self, change: Subscription) -> Result<(), CommandError> {
        self.subscribe_all(vec![change]).await.pop().unwrap_or_else(|| Err(missing()))
    }

    /// All commands are written at once. Each channel is confirmed by itself, in order, or its
    /// command is refused.
    async fn subscribe_all(&mut self, changes: Vec<Subscription>) -> Vec<Result<(), CommandError>> {
        if self.pushes.is_none() {
            let unusable = CommandError::Unusable("this connection is not for subscriptions".into());
            return vec![Err(unusable); changes.len()];
        }
        if let Some(why) = &self.gone {
            return vec![Err(CommandError::NotSent(why.clone())); changes.len()];
        }
        let left_over = self.pipeline.under_way();
        changes.iter().for_each(|change| self.pipeline.change(change));
        self.pass_over(left_over).await;
        let mut results = Vec::with_capacity(changes.len());
        for _ in &changes {
            results.push(match self.next().await {
                Ok(Answer::Changed(result)) => result,
                Ok(Answer::Reply(_)) => Err(missing()),
                Err(why) => Err(CommandError::Lost(why)),
            });
        }
        results
    }

    async fn lost(&mut self) -> String {
        loop {
            // Answers that nobody waits for any more may come.
            if let Err(why) = self.next().await {
                return why;
            }
        }
    }

    fn is_stalled(&self) -> bool {
        self.held.is_some()
    }

    fn replies(&self) -> Option<u64> {
        Some(self.pipeline.replies())
    }
}

impl<S> fmt::Debug for RespWire<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RespWire")
            .field("pipeline", &self.pipeline)
            .field("gone", &self.gone)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use sio_streams_core::Bytes;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn resp(words: &str) -> Vec<u8> {
        words.replace(' ', "\r\n").into_bytes()
    }

    fn command(name: &'static str) -> Args {
        [Bytes::from(name)].into()
    }

    fn pair() -> (RespWire<DuplexStream>, DuplexStream) {
        // This socket has little room.
        let (ours, theirs) = duplex(64);
        (RespWire::new(ours), theirs)
    }

    #[tokio::test]
    async fn a_burst_is_answered_while_it_is_still_written() {
        let (mut wire, mut server) = pair();
        let echo = tokio::spawn(async move {
            let (mut asked, mut buffer) = (0, [0; 16]);
            while asked < 1_000 * b"*1\r\n$4\r\nPING\r\n".len() {
                let count = server.read(&mut buffer).await.unwrap();
                asked += count;
                // The server answers before it reads on.
                server.write_all(&resp("+x ").repeat(count)).await.unwrap();
            }
            server
        });
        let results = wire.send(vec![command("PING"); 1_000]).await;
        assert_eq!(results.len(), 1_000);
        assert!(results.iter().all(|result| *result == Ok(Value::Bytes("x".into()))));
        echo.abort();
    }

    #[tokio::test]
    async fn an_answer_that_nobody_waits_for_is_nobody_elses() {
        let (mut wire, mut server) = pair();
        {
            let mut ping = pin!(wire.ping());
            let asked = poll_fn(|context| Poll::Ready(ping.as_mut().poll(context))).await;
            assert!(asked.is_pending());
        }
        server.write_all(&resp("+PONG +own >2 +message +unasked +too ")).await.unwrap();
        assert_eq!(wire.send(vec![command("A")]).await, [Ok(Value::Bytes("own".into()))]);
        assert_eq!(wire.send(vec![command("B")]).await, [Ok(Value::Bytes("too".into()))]);
    }

    #[tokio::test]
    async fn what_was_answered_before_the_end_is_known_the_rest_is_lost_and_then_nothing_is_sent() {
        let (mut wire, mut server) = pair();
        server.write_all(&resp("+yes $5 he")).await.unwrap();
        drop(server);
        let results = wire.send(vec![command("A"), command("B")]).await;
        assert!(matches!(&results[..], [Ok(_), Err(CommandError::Lost(_))]), "{results:?}");
        let results = wire.send(vec![command("C")]).await;
        assert!(matches!(&results[..], [Err(CommandError::NotSent(_))]), "{results:?}");
        assert!(wire.lost().await.contains("closed"));
    }

    #[tokio::test]
    async fn entries_are_read_as_such_where_they_were_asked_for() {
        let (mut wire, mut server) = pair();
        let entries = "*1 *2 $1 s *1 *2 $3 1-2 *2 $1 a $1 b ";
        let replies = resp(&format!("{entries}*-1 {entries}"));
        let answered = server.write_all(&replies);
        let asked = wire.send(vec![command("XREAD"), command("XREAD"), command("A")]);
        let (results, _) = tokio::join!(asked, answered);
        assert!(
            matches!(&results[..], [Ok(Value::Entries(entries)), Ok(Value::Nil), Ok(Value::List(_))]
                if entries[0].fields.get("a").unwrap() == "b"),
            "{results:?}"
        );
    }

    #[tokio::test]
    async fn an_end_is_noticed_though_nothing_is_asked() {
        let (mut wire, server) = pair();
        drop(server);
        assert!(wire.lost().await.contains("closed"));
        let (mut wire, mut server) = pair();
        server.write_all(&resp("+what? ")).await.unwrap();
        assert!(wire.lost().await.contains("not asked"));
    }
}
