//! RESP over any stream of bytes, in both versions.
//!
//! For backends whose client crate can connect, but takes long to read: strings are slices of what was read, and a reply that comes in pieces is
//! looked at once. And for those whose client crate can't be kept from reading Pub/Sub messages that nobody takes: this one stops.

use core::fmt;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use std::io;

use sio_streams_core::{ByteString, Bytes, CommandError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::entries::{self, Wrapping};
use super::pushed::{Pushed, message};
use super::{Subscription, SubscriptionKind, Value, Wire, Words, for_log, missing};
use crate::backend::PushSender;

/// How much is read at once, at least.
const CHUNK: usize = 16 << 10;

/// How much room is made at once, at most, whatever is announced.
const LARGEST: usize = 1 << 20;

/// Lists in lists in lists. Nothing that a node asks for is answered by more than a few.
const DEPTH: usize = 32;

/// How many channels one command subscribes to, at most.
const CHANNELS_AT_ONCE: usize = 1_000;

/// A connection over a stream of bytes. Whoever opens it has said who it is: no reply is owed to anybody.
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
    /// What is still to be written.
    write: Vec<u8>,
    written: usize,
    /// Replies that are still to come.
    owed: usize,
    /// How many have come.
    replies: u64,
    /// Sharded subscriptions that are just being ended on demand.
    leaving: usize,
    /// Who takes the messages, if this connection is for subscriptions.
    pushes: Option<PushSender>,
    /// A message for which there is no room. Nothing behind it is read.
    held: Option<(ByteString, Bytes)>,
    gone: Option<String>,
}

/// What has come.
#[derive(Debug)]
enum Came {
    Reply(Value),
    /// A subscription has begun or ended.
    Change,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> RespWire<S> {
    /// A connection that has just been opened.
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

    /// A connection that has just been opened, for subscriptions in particular. Their messages go to `pushes`. While there is no room for them,
    /// nothing is read.
    pub fn subscriber(stream: S, pushes: PushSender) -> Self {
        RespWire { pushes: Some(pushes), ..Self::new(stream) }
    }

    /// The same connection, from now on for subscriptions.
    #[must_use]
    pub fn into_subscriber(mut self, pushes: PushSender) -> Self {
        self.pushes = Some(pushes);
        self
    }

    /// The next reply. Subscriptions may change before it.
    async fn reply(&mut self, entries: Option<Wrapping>) -> Result<Value, String> {
        loop {
            if let Came::Reply(value) = self.next(entries).await? {
                return Ok(value);
            }
        }
    }

    /// What comes next. Meanwhile, what is to be written is written: neither side waits for the other to read.
    async fn next(&mut self, entries: Option<Wrapping>) -> Result<Came, String> {
        if let Some(why) = &self.gone {
            return Err(why.clone());
        }
        let next = poll_fn(|context| self.poll_next(context, entries)).await;
        self.replies += u64::from(next.is_ok());
        next.map_err(|error| self.gone.insert(for_log(&error.to_string())).clone())
    }

    /// Writes the commands of a change: how many channels each has.
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
            let words: Vec<Bytes> =
                core::iter::once(Bytes::from_static(name.as_bytes())).chain(names).collect();
            encode(&words.into(), &mut self.write);
            counts.push(some.len());
        }
        counts
    }

    /// Waits until commands that have so many channels each are confirmed, or refused.
    async fn confirmed(&mut self, counts: Vec<usize>) -> Result<(), CommandError> {
        let mut refused = None;
        for count in counts {
            for _ in 0..count {
                match self.next(None).await.map_err(CommandError::Lost)? {
                    Came::Change => {}
                    Came::Reply(Value::Error { code, message }) => {
                        refused.get_or_insert(CommandError::Server { code, message });
                        // All of this command's channels are refused by one answer.
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
        // What can't be written now is tried again when there is room; until then, what comes is read. What has come is read even from a
        // connection that takes no more.
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
                let (value, pushed) = Parser { whole: &whole, at: 0 }.value(0)?;
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
        // What one large burst has taken is not kept.
        match self.write.capacity() > 1 << 20 {
            true => self.write = Vec::new(),
            false => self.write.clear(),
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Wire for RespWire<S> {
    type Frame = Value;

    async fn send(&mut self, commands: Vec<Words>) -> Vec<Result<Value, CommandError>> {
        if let Some(why) = &self.gone {
            return vec![Err(CommandError::NotSent(why.clone())); commands.len()];
        }
        self.write.reserve(commands.iter().map(encoded_size).sum());
        commands.iter().for_each(|words| encode(words, &mut self.write));
        // Those that come first belong to commands that nobody waits for any more.
        let left_over = self.owed;
        self.owed += commands.len();
        let mut results = Vec::with_capacity(commands.len());
        for number in 0..left_over + commands.len() {
            let command = number.checked_sub(left_over).and_then(|number| commands.get(number));
            let reply = self.reply(command.and_then(|words| Wrapping::of(words.name()))).await;
            self.owed -= 1;
            if command.is_some() {
                // It may have been executed: only the server knows.
                results.push(reply.map_err(CommandError::Lost));
            }
        }
        results
    }

    async fn subscribe(&mut self, change: Subscription) -> Result<(), CommandError> {
        self.subscribe_all(vec![change]).await.pop().unwrap_or_else(|| Err(missing()))
    }

    /// All in one go, however many there are: each channel is confirmed by itself, in order, or its command is refused.
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

fn encoded_size(words: &Words) -> usize {
    // A length with its marks takes less.
    const MARKS: usize = 16;
    words.size() + MARKS * (words.count() + 1)
}

fn encode(words: &Words, out: &mut Vec<u8>) {
    head(b'*', words.count(), out);
    words.each(|word| {
        head(b'$', word.len(), out);
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    });
}

fn head(mark: u8, number: usize, out: &mut Vec<u8>) {
    match number as u8 {
        digit if number < 10 => out.extend_from_slice(&[mark, b'0' + digit, b'\r', b'\n']),
        digits if number < 100 => {
            out.extend_from_slice(&[mark, b'0' + digits / 10, b'0' + digits % 10, b'\r', b'\n']);
        }
        _ => {
            out.push(mark);
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// How far a reply has been looked at that is not there as a whole.
#[derive(Debug)]
struct Scan {
    /// Before this, all is known.
    at: usize,
    /// Values that are still to come.
    values: usize,
    /// As many bytes are missing, at least.
    missing: usize,
}

impl Default for Scan {
    fn default() -> Self {
        Scan { at: 0, values: 1, missing: 0 }
    }
}

impl Scan {
    /// Where the reply ends, if it is there as a whole.
    fn complete(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        while self.values > 0 {
            let Some((end, values)) = extent(bytes, self.at)? else {
                self.missing = 0;
                return Ok(None);
            };
            if end > bytes.len() {
                self.missing = end - bytes.len();
                return Ok(None);
            }
            self.at = end;
            self.values = (self.values - 1).saturating_add(values);
        }
        Ok(Some(self.at))
    }
}

/// Where the value at a place ends, and how many values follow that belong to it; nothing if its line is not all there.
fn extent(bytes: &[u8], at: usize) -> io::Result<Option<(usize, usize)>> {
    match announced(bytes, at) {
        Some((b'$', length, end)) => return Ok(Some((end + length + 2, 0))),
        Some((_, length, end)) => return Ok(Some((end, length))),
        None => {}
    }
    let Some((mark, line, end)) = line(bytes, at)? else { return Ok(None) };
    let length = match mark {
        b'$' | b'=' | b'!' | b'*' | b'~' | b'>' | b'%' | b'|' => length(line)?,
        _ => None,
    };
    Ok(Some(match (mark, length) {
        (_, None) => (end, 0),
        (b'$' | b'=' | b'!', Some(length)) => (end.saturating_add(length).saturating_add(2), 0),
        (b'%', Some(length)) => (end, length.saturating_mul(2)),
        // The value comes behind its attributes.
        (b'|', Some(length)) => (end, length.saturating_mul(2).saturating_add(1)),
        (_, Some(length)) => (end, length),
    }))
}

/// A string's or an array's mark at a place, its length, and where the next line begins: most values begin so. All others, and whatever is unusual
/// about one of these, [`line`] knows about.
pub(super) fn announced(bytes: &[u8], at: usize) -> Option<(u8, usize, usize)> {
    let rest = bytes.get(at..)?;
    let (&mark, digits) = rest.split_first().filter(|(mark, _)| matches!(mark, b'$' | b'*'))?;
    let mut length = 0;
    // As many digits make no number that is too large.
    for count in 0..9 {
        match digits.get(count)? {
            digit @ b'0'..=b'9' => length = length * 10 + usize::from(digit - b'0'),
            b'\r' if count > 0 && digits.get(count + 1) == Some(&b'\n') => {
                return Some((mark, length, at + count + 3));
            }
            _ => return None,
        }
    }
    None
}

/// The mark at a place, the rest of its line, and where the next line begins; nothing if the line is not all there.
fn line(bytes: &[u8], at: usize) -> io::Result<Option<(u8, &[u8], usize)>> {
    let Some((mark, rest)) = bytes.get(at..).and_then(<[u8]>::split_first) else { return Ok(None) };
    if !matches!(
        mark,
        b'$' | b'*'
            | b'%'
            | b'+'
            | b'-'
            | b':'
            | b'_'
            | b'#'
            | b','
            | b'('
            | b'='
            | b'!'
            | b'~'
            | b'>'
            | b'|'
    ) {
        return Err(malformed("an unknown mark"));
    }
    let Some(length) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    match rest[..length].strip_suffix(b"\r") {
        Some(line) => Ok(Some((*mark, line, at + 1 + length + 1))),
        None => Err(malformed("a line that does not end as it should")),
    }
}

/// How many; nothing for RESP2's nulls.
fn length(line: &[u8]) -> io::Result<Option<usize>> {
    /// More digits make no length.
    const DIGITS: usize = 10;
    if line == b"-1" {
        return Ok(None);
    }
    if line.is_empty() || line.len() > DIGITS || !line.iter().all(u8::is_ascii_digit) {
        return Err(malformed("a length that is none"));
    }
    let number = line.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    usize::try_from(number).map(Some).map_err(|_| malformed("a length that is none"))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server does not speak RESP: {what}"))
}

/// Reads a reply that is there as a whole.
struct Parser<'a> {
    whole: &'a Bytes,
    at: usize,
}

impl Parser<'_> {
    /// The value at this place, and whether it is a push.
    fn value(&mut self, depth: usize) -> io::Result<(Value, bool)> {
        let (mark, line, end) = line(self.whole, self.at)?.ok_or_else(|| malformed("it ends too early"))?;
        if depth > DEPTH {
            return Err(malformed("too many lists in lists"));
        }
        let start = self.at + 1;
        self.at = end;
        let text = || self.whole.slice(start..start + line.len());
        let value = match mark {
            b'+' | b',' | b'(' => Value::Bytes(text()),
            b'-' => Value::error(&String::from_utf8_lossy(line)),
            b':' => {
                let number = str::from_utf8(line).ok().and_then(|line| line.parse().ok());
                Value::Int(number.ok_or_else(|| malformed("a number that is none"))?)
            }
            b'#' => Value::Int((line == b"t").into()),
            b'$' | b'=' | b'!' => match length(line)? {
                None => Value::Nil,
                Some(length) => {
                    self.at += length + 2;
                    let bytes = self.whole.slice(end..end + length);
                    match mark {
                        b'!' => Value::error(&String::from_utf8_lossy(&bytes)),
                        // The first three bytes say what kind of text it is.
                        b'=' if length >= 4 => Value::Bytes(bytes.slice(4..)),
                        _ => Value::Bytes(bytes),
                    }
                }
            },
            b'*' | b'~' | b'>' => match length(line)? {
                None => Value::Nil,
                Some(length) => {
                    let mut items = Vec::with_capacity(length);
                    for _ in 0..length {
                        items.push(self.value(depth + 1)?.0);
                    }
                    Value::List(items)
                }
            },
            b'%' | b'|' => {
                let length = length(line)?.unwrap_or_default();
                let mut pairs = Vec::with_capacity(length);
                for _ in 0..length {
                    pairs.push((self.value(depth + 1)?.0, self.value(depth + 1)?.0));
                }
                if mark == b'|' {
                    return self.value(depth + 1);
                }
                Value::Map(pairs)
            }
            _ => Value::Nil,
        };
        Ok((value, mark == b'>'))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn resp(words: &str) -> Vec<u8> {
        words.replace(' ', "\r\n").into_bytes()
    }

    fn command(name: &'static str) -> Words {
        [Bytes::from(name)].into()
    }

    /// Looks at the reply as it comes, so many bytes at a time.
    fn read(reply: &[u8], at_once: usize) -> io::Result<Value> {
        let mut scan = Scan::default();
        for end in (0..reply.len()).step_by(at_once) {
            assert_eq!(scan.complete(&reply[..end])?, None, "{end} of {} bytes", reply.len());
        }
        let end = scan.complete(reply)?.ok_or_else(|| malformed("it ends too early"))?;
        assert_eq!(end, reply.len());
        Ok(Parser { whole: &Bytes::copy_from_slice(reply), at: 0 }.value(0)?.0)
    }

    #[test]
    fn both_versions_are_read_however_they_come() {
        let bulk = |text: &'static str| Value::Bytes(text.into());
        let list = Value::List(vec![bulk("s"), Value::Int(-1)]);
        let map = Value::Map(vec![(bulk("s"), list.clone())]);
        let cases = [
            ("*2 $1 s :-1 ", list.clone()),
            ("~2 +s :-1 ", list.clone()),
            ("|1 +k *1 +v *2 $1 s :-1 ", list.clone()),
            ("*2 |1 +k +v =5 txt:s :-1 ", list.clone()),
            ("%1 $1 s *2 $1 s :-1 ", map.clone()),
            ("*1 %1 $1 s *2 $1 s :-1 ", Value::List(vec![map])),
            ("$0  ", bulk("")),
            ("*0 ", Value::List(vec![])),
            ("*-1 ", Value::Nil),
            ("$-1 ", Value::Nil),
            ("_ ", Value::Nil),
            ("#t ", Value::Int(1)),
            (",1.5 ", bulk("1.5")),
            ("-UNBLOCKED ", Value::error("UNBLOCKED")),
            ("!9 MOVED:1:h ", Value::error("MOVED:1:h")),
        ];
        for (words, expected) in cases {
            let reply = resp(words);
            for at_once in [1, 2, 3, reply.len()] {
                assert_eq!(read(&reply, at_once).unwrap(), expected, "{words}");
            }
        }
    }

    #[test]
    fn what_is_no_resp_is_said_to_be_none() {
        let deep = "*1 ".repeat(DEPTH + 2) + ":1 ";
        for words in ["HTTP/1.1 ", "$-2 ", "$x ", "*+1 ", "$99999999999 ", ":x ", "*1\n:1 ", &*deep] {
            let error = read(&resp(words), usize::MAX).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{words}: {error}");
        }
    }

    #[test]
    fn commands_are_arrays_of_strings() {
        let lengths = [0, 1, 9, 10, 42, 99, 100, 1_000];
        let words: Vec<Bytes> = lengths.map(|length| vec![b'x'; length].into()).into();
        let mut written = Vec::new();
        encode(&words.clone().into(), &mut written);
        let expected = Value::List(words.into_iter().map(Value::Bytes).collect());
        assert_eq!(read(&written, 7).unwrap(), expected);
    }

    #[test]
    fn strings_are_not_copied() {
        let whole = Bytes::from(resp("*1 $5 hello "));
        let (value, _) = Parser { whole: &whole, at: 0 }.value(0).unwrap();
        let Value::List(items) = value else { panic!() };
        let Value::Bytes(bytes) = &items[0] else { panic!() };
        assert!(whole.as_ptr_range().contains(&bytes.as_ptr()));
    }

    fn pair() -> (RespWire<DuplexStream>, DuplexStream) {
        // A socket with little room.
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
                // It answers before it reads on.
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
