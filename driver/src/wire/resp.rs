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
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::args::Args;
use super::codec::{Scan, decode, encode, encoded_size};
use super::entries::{self, Wrapping};
use super::pushed::{Pushed, message};
use super::subscription::{Subscription, SubscriptionKind};
use super::text::for_log;
use super::value::Value;
use super::{Wire, missing};
use crate::backend::PushSender;

/// The minimum of bytes that are read at once.
const CHUNK: usize = 16 << 10;

/// The maximum of bytes that are reserved at once, whatever length is announced.
const LARGEST: usize = 1 << 20;

/// The maximum of channels that one command subscribes to.
const CHANNELS_AT_ONCE: usize = 1_000;

/// A connection over a stream of bytes. It must be authenticated already, with no replies
/// outstanding.
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
    read: bytes::BytesMut,
    scan: Scan,
    /// The bytes that are still to be written.
    write: Vec<u8>,
    written: usize,
    /// The number of replies that are still to come.
    owed: usize,
    /// The number of replies that have come.
    replies: u64,
    /// The number of commands under way that end sharded subscriptions.
    leaving: usize,
    /// The place where messages go, if this connection is for subscriptions.
    pushes: Option<PushSender>,
    /// A message for which there is no room. Nothing behind it is read.
    held: Option<(ByteString, Bytes)>,
    gone: Option<String>,
}

/// Something that has arrived.
#[derive(Debug)]
enum Came {
    Reply(Value),
    /// A subscription has begun or ended.
    Change,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> RespWire<S> {
    /// Creates a connection from a stream that has just been opened.
    pub fn new(stream: S) -> Self {
        RespWire {
            stream,
            read: bytes::BytesMut::new(),
            scan: Scan::default(),
            write: Vec::new(),
            written: 0,
            owed: 0,
            replies: 0,
            leaving: 0,
            pushes: None,
            held: None,
            gone: None,
        }
    }

    /// Creates a connection for subscriptions. Their messages go to `pushes`. While there is no
    /// room for them, nothing is read.
    pub fn subscriber(stream: S, pushes: PushSender) -> Self {
        RespWire { pushes: Some(pushes), ..Self::new(stream) }
    }

    /// Makes this connection one for subscriptions.
    #[must_use]
    pub fn into_subscriber(mut self, pushes: PushSender) -> Self {
        self.pushes = Some(pushes);
        self
    }

    /// Waits for the next reply. Subscriptions may change before it.
    async fn reply(&mut self, entries: Option<Wrapping>) -> Result<Value, String> {
        loop {
            if let Came::Reply(value) = self.next(entries).await? {
                return Ok(value);
            }
        }
    }

    /// Waits for the next reply or change. Meanwhile, pending bytes are written, so that neither
    /// side waits for the other to read.
    async fn next(&mut self, entries: Option<Wrapping>) -> Result<Came, String> {
        if let Some(why) = &self.gone {
            return Err(why.clone());
        }
        let next = poll_fn(|context| self.poll_next(context, entries)).await;
        self.replies += u64::from(next.is_ok());
        next.map_err(|error| self.gone.insert(for_log(&error.to_string())).clone())
    }

    /// Writes the commands of a change. Returns the number of channels in each.
    fn write_change(&mut self, Subscription { channels, kind, on }: &Subscription) -> Vec<usize> {
        let name = match (kind, on) {
            (SubscriptionKind::Channels, true) => "SUBSCRIBE",
            (SubscriptionKind::Channels, false) => "UNSUBSCRIBE",
            (SubscriptionKind::Sharded, true) => "SSUBSCRIBE",
            (SubscriptionKind::Sharded, false) => "SUNSUBSCRIBE",
            (SubscriptionKind::Patterns, true) => "PSUBSCRIBE",
            (SubscriptionKind::Patterns, false) => "PUNSUBSCRIBE",
        };
        // Sharded channels of one command must have the same slot.
        let at_once = if *kind == SubscriptionKind::Sharded { 1 } else { CHANNELS_AT_ONCE };
        let mut counts = Vec::new();
        for some in channels.chunks(at_once) {
            let names = some.iter().map(|channel| channel.as_bytes().clone());
            let args: Vec<Bytes> =
                core::iter::once(Bytes::from_static(name.as_bytes())).chain(names).collect();
            encode(&args.into(), &mut self.write);
            counts.push(some.len());
        }
        counts
    }

    /// Waits until commands with these numbers of channels are confirmed or refused.
    async fn confirmed(&mut self, counts: Vec<usize>) -> Result<(), CommandError> {
        let mut refused = None;
        for count in counts {
            for _ in 0..count {
                match self.next(None).await.map_err(CommandError::Lost)? {
                    Came::Change => {}
                    Came::Reply(Value::Error { code, message }) => {
                        refused.get_or_insert(CommandError::Server { code, message });
                        // One error refuses all channels of the command.
                        break;
                    }
                    Came::Reply(other) => {
                        let why = format!("a subscription is answered by {other:?}");
                        let why = self.gone.insert(for_log(&why)).clone();
                        return Err(CommandError::Lost(why));
                    }
                }
            }
            self.leaving = self.leaving.saturating_sub(1);
        }
        refused.map_or(Ok(()), Err)
    }

    fn poll_next(&mut self, context: &mut Context<'_>, entries: Option<Wrapping>) -> Poll<io::Result<Came>> {
        // A write that is not possible now is tried again when there is room. Until then, input is
        // read. Input is read even from a connection that accepts no more output.
        let written = self.poll_write(context);
        match (self.poll_read(context, entries), written) {
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (next, _) => next,
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>, entries: Option<Wrapping>) -> Poll<io::Result<Came>> {
        loop {
            if let Some(pushes) = self.pushes.as_ref().filter(|_| self.held.is_some()) {
                ready!(pushes.poll_room(context));
                if let Some((channel, payload)) = self.held.take() {
                    pushes.send(channel, payload);
                }
            }
            if let Some(end) = self.scan.complete(&self.read)? {
                self.scan = Scan::default();
                let whole = self.read.split_to(end).freeze();
                if let Some(entries) = entries.and_then(|wrapping| entries::read(&whole, wrapping)) {
                    return Poll::Ready(Ok(Came::Reply(Value::Entries(entries))));
                }
                let (value, pushed) = decode(&whole)?;
                match (Pushed::of(&value, pushed, self.pushes.is_some()), value) {
                    (None, value) => return Poll::Ready(Ok(Came::Reply(value))),
                    (Some(Pushed::Message { at }), Value::List(parts)) if self.pushes.is_some() => {
                        self.held = message(parts, at);
                    }
                    (Some(Pushed::Change { ended_sharded }), _) => {
                        if ended_sharded && self.leaving == 0 {
                            let words = "the server has ended a subscription: its slot has moved";
                            return Poll::Ready(Err(io::Error::other(words)));
                        }
                        return Poll::Ready(Ok(Came::Change));
                    }
                    _ => {}
                }
                continue;
            }
            self.read.reserve(self.scan.missing.clamp(CHUNK, LARGEST));
            if ready!(pin!(self.stream.read_buf(&mut self.read)).poll(context))? == 0 {
                return Poll::Ready(Err(io::Error::other("the connection was closed")));
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.written < self.write.len() {
            let rest = &self.write[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.written = 0;
        // The memory of a large burst is not kept.
        match self.write.capacity() > 1 << 20 {
            true => self.write = Vec::new(),
            false => self.write.clear(),
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Wire for RespWire<S> {
    async fn send(&mut self, commands: Vec<Args>) -> Vec<Result<Value, CommandError>> {
        if let Some(why) = &self.gone {
            return vec![Err(CommandError::NotSent(why.clone())); commands.len()];
        }
        self.write.reserve(commands.iter().map(encoded_size).sum());
        commands.iter().for_each(|args| encode(args, &mut self.write));
        // Those that come first belong to commands that nobody waits for any more.
        let left_over = self.owed;
        self.owed += commands.len();
        let mut results = Vec::with_capacity(commands.len());
        for number in 0..left_over + commands.len() {
            let command = number.checked_sub(left_over).and_then(|number| commands.get(number));
            let reply = self.reply(command.and_then(|args| Wrapping::of(args.name()))).await;
            self.owed -= 1;
            if command.is_some() {
                // The command may have been executed. Only the server knows.
                results.push(reply.map_err(CommandError::Lost));
            }
        }
        results
    }

    async fn subscribe(&mut self, change: Subscription) -> Result<(), CommandError> {
        self.subscribe_all(vec![change]).await.pop().unwrap_or_else(|| Err(missing()))
    }

    /// All commands are written at once. Each channel is confirmed by itself, in order, or its
    /// command is refused.
    async fn subscribe_all(&mut self, changes: Vec<Subscription>) -> Vec<Result<(), CommandError>> {
        let count = changes.len();
        if self.pushes.is_none() {
            let unusable = CommandError::Unusable("this connection is not for subscriptions".into());
            return vec![Err(unusable); count];
        }
        if let Some(why) = &self.gone {
            return vec![Err(CommandError::NotSent(why.clone())); count];
        }
        let commands: Vec<Vec<usize>> = changes.iter().map(|change| self.write_change(change)).collect();
        let mut results = Vec::with_capacity(count);
        let left_over = core::mem::take(&mut self.owed);
        let mut lost = Ok(());
        for _ in 0..left_over {
            lost = lost.and(self.reply(None).await.map(drop));
        }
        for (counts, change) in commands.into_iter().zip(&changes) {
            let leaves = !change.on && change.kind == SubscriptionKind::Sharded;
            self.leaving = if leaves { counts.len() } else { 0 };
            let result = match &lost {
                Ok(()) => self.confirmed(counts).await,
                Err(why) => Err(CommandError::Lost(why.clone())),
            };
            if let Err(CommandError::Lost(why)) = &result {
                lost = lost.and(Err(why.clone()));
            }
            results.push(result);
        }
        self.leaving = 0;
        results
    }

    async fn lost(&mut self) -> String {
        loop {
            match self.next(None).await {
                Ok(Came::Change) => {}
                Ok(Came::Reply(_)) if self.owed > 0 => self.owed -= 1,
                Ok(Came::Reply(_)) => {
                    self.gone.get_or_insert_with(|| "the server has answered what was not asked".into());
                }
                Err(why) => return why,
            }
        }
    }

    fn is_stalled(&self) -> bool {
        self.held.is_some()
    }

    fn replies(&self) -> Option<u64> {
        Some(self.replies)
    }
}

impl<S> fmt::Debug for RespWire<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RespWire").field("owed", &self.owed).field("gone", &self.gone).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
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
