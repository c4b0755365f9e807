//! The commands under way on one connection, and what comes back.

use core::fmt;
use std::collections::VecDeque;

use bytes::BufMut;
use sio_streams_core::{ByteString, Bytes, CommandError};

use crate::args::Args;
use crate::arrived::Arrived;
use crate::entries::{self, Wrapping};
use crate::error::RespError;
use crate::limits::ReadLimits;
use crate::reader::Reader;
use crate::subscription::{Subscription, SubscriptionKind};
use crate::text::for_log;
use crate::value::Value;

/// The memory for output that is kept once it is written, in bytes.
const KEPT: usize = 1 << 20;

/// One side of a connection, without I/O: commands are encoded, replies are matched to them in
/// order, and messages are told apart.
///
/// ```
/// use sio_streams_resp::{Bytes, Came, Pipeline, Value};
///
/// let mut pipeline = Pipeline::default();
/// pipeline.ask(&[Bytes::from("PING")].into());
/// assert_eq!(pipeline.output(), b"*1\r\n$4\r\nPING\r\n"); // write it
/// pipeline.written(14);
/// pipeline.feed(b"+PONG\r\n"); // what was read
/// assert_eq!(pipeline.poll().unwrap(), Some(Came::Reply(Value::Bytes("PONG".into()))));
/// ```
#[derive(Default)]
pub struct Pipeline {
    reader: Reader,
    output: Vec<u8>,
    /// The number of bytes of `output` that have been written.
    written: usize,
    /// The number of bytes that were written before those of `output`.
    before: u64,
    subscriber: bool,
    under_way: VecDeque<UnderWay>,
    replies: u64,
}

/// A command, or a change of subscriptions, whose answer is awaited.
#[derive(Debug)]
struct UnderWay {
    /// The position of its first byte in all that was ever written.
    from: u64,
    awaited: Awaited,
}

#[derive(Debug)]
enum Awaited {
    Reply(Option<Wrapping>),
    Change(Change),
}

/// A change of subscriptions that is not confirmed yet.
#[derive(Debug)]
struct Change {
    /// The number of channels that are neither confirmed nor refused.
    left: usize,
    /// The number of them that belong to the oldest command.
    left_of_command: usize,
    /// The number of channels in a command, unless fewer are left.
    at_once: usize,
    /// Sharded subscriptions end.
    leaves: bool,
    /// The first refusal.
    refused: Option<CommandError>,
}

/// Something that has come from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Came {
    /// The reply to the oldest command.
    Reply(Value),
    /// The oldest change of subscriptions is in force on all its channels, or was refused for some
    /// of them.
    Changed(Result<(), CommandError>),
    /// A Pub/Sub message.
    Message {
        /// The channel on which it came.
        channel: ByteString,
        /// The message itself.
        payload: Bytes,
    },
}

/// The connection is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The server's bytes can't be read.
    #[error(transparent)]
    Resp(#[from] RespError),
    /// A reply has come, and no command was under way.
    #[error("the server has answered what was not asked")]
    Unasked,
    /// A change of subscriptions was answered by a reply. The text shows it.
    #[error("a subscription is answered by {0}")]
    Unconfirmed(String),
    /// The server has ended a sharded subscription by itself.
    #[error("the server has ended a subscription: its slot has moved")]
    SubscriptionEnded,
}

impl Pipeline {
    /// Creates one for a new connection. A pipeline that is not for a `subscriber` ignores
    /// messages.
    pub fn new(limits: ReadLimits, subscriber: bool) -> Self {
        Pipeline { reader: Reader::new(limits), subscriber, ..Self::default() }
    }

    /// Makes this pipeline one for a subscriber, or for none. Do it before the first subscription.
    pub fn set_subscriber(&mut self, subscriber: bool) {
        self.subscriber = subscriber;
    }

    /// Returns `true` if messages are told apart.
    pub fn is_subscriber(&self) -> bool {
        self.subscriber
    }

    /// Sends a command that has one reply. It must not be one that changes subscriptions.
    pub fn ask(&mut self, args: &Args) {
        self.start(Awaited::Reply(Wrapping::of(args.name())));
        args.encode(&mut self.output);
    }

    /// Sends a change of subscriptions. The pipeline must be one for a subscriber. A change without
    /// channels is complete when it is the oldest thing under way.
    pub fn change(&mut self, change: &Subscription) {
        let (left, at_once) = (change.channels.len(), change.at_once());
        self.start(Awaited::Change(Change {
            left,
            left_of_command: left.min(at_once),
            at_once,
            leaves: !change.on && change.kind == SubscriptionKind::Sharded,
            refused: None,
        }));
        change.commands().for_each(|args| args.encode(&mut self.output));
    }

    fn start(&mut self, awaited: Awaited) {
        let from = self.before + self.output.len() as u64;
        self.under_way.push_back(UnderWay { from, awaited });
    }

    /// Makes room for this many bytes of output, as an optimisation.
    pub fn reserve(&mut self, bytes: usize) {
        self.output.reserve(bytes);
    }

    /// Returns the bytes that are still to be written.
    pub fn output(&self) -> &[u8] {
        &self.output[self.written..]
    }

    /// Notes that this many bytes of the output have been written, or may have been.
    pub fn written(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(bytes).min(self.output.len());
        if self.written == self.output.len() {
            self.before += self.written as u64;
            self.written = 0;
            match self.output.capacity() > KEPT {
                true => self.output = Vec::new(),
                false => self.output.clear(),
            }
        }
    }

    /// Takes bytes that were read. See [`Reader::feed`].
    pub fn feed(&mut self, bytes: &[u8]) {
        self.reader.feed(bytes);
    }

    /// Returns room for bytes that are read. See [`Reader::space`].
    pub fn space(&mut self) -> impl BufMut + '_ {
        self.reader.space()
    }

    /// Returns the next thing that has come, or `None` if more bytes are needed. Poll until then
    /// before you read on.
    ///
    /// # Errors
    ///
    /// If the connection can't be used any more. What is under way stays so.
    pub fn poll(&mut self) -> Result<Option<Came>, PipelineError> {
        loop {
            if let Some(came) = self.whole_change() {
                return Ok(Some(came));
            }
            let Some(whole) = self.reader.whole()? else { return Ok(None) };
            if let Some(UnderWay { awaited: Awaited::Reply(Some(wrapping)), .. }) = self.under_way.front()
                && let Some(entries) = entries::read(&whole, *wrapping)
            {
                self.under_way.pop_front();
                self.replies += 1;
                return Ok(Some(Came::Reply(Value::Entries(entries))));
            }
            match self.reader.decoded(&whole)?.sort(self.subscriber) {
                Arrived::Reply(value) => {
                    self.replies += 1;
                    if let Some(came) = self.replied(value)? {
                        return Ok(Some(came));
                    }
                }
                Arrived::Changed { ended_sharded } => {
                    self.replies += 1;
                    self.changed(ended_sharded)?;
                }
                Arrived::Message { channel, payload } if self.subscriber => {
                    return Ok(Some(Came::Message { channel, payload }));
                }
                Arrived::Message { .. } | Arrived::Other => {}
            }
        }
    }

    fn replied(&mut self, value: Value) -> Result<Option<Came>, PipelineError> {
        match self.under_way.front_mut().map(|oldest| &mut oldest.awaited) {
            None => Err(PipelineError::Unasked),
            Some(Awaited::Reply(_)) => {
                self.under_way.pop_front();
                Ok(Some(Came::Reply(value)))
            }
            Some(Awaited::Change(change)) => match value {
                // One error refuses all channels of the command.
                Value::Error { code, message } => {
                    change.refused.get_or_insert(CommandError::Server { code, message });
                    change.settle(change.left_of_command);
                    Ok(None)
                }
                other => Err(PipelineError::Unconfirmed(for_log(&format!("{other:?}")))),
            },
        }
    }

    fn changed(&mut self, ended_sharded: bool) -> Result<(), PipelineError> {
        match self.under_way.front_mut().map(|oldest| &mut oldest.awaited) {
            Some(Awaited::Change(change)) if change.leaves || !ended_sharded => {
                change.settle(1);
                Ok(())
            }
            _ if ended_sharded => Err(PipelineError::SubscriptionEnded),
            _ => Ok(()),
        }
    }

    /// Returns the oldest change, if it is complete.
    fn whole_change(&mut self) -> Option<Came> {
        match &mut self.under_way.front_mut()?.awaited {
            Awaited::Change(change) if change.left == 0 => {
                let refused = change.refused.take();
                self.under_way.pop_front();
                Some(Came::Changed(refused.map_or(Ok(()), Err)))
            }
            _ => None,
        }
    }

    /// Returns the number of commands and changes that are not answered yet.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Returns the number of those under way of which nothing has been written. They are the
    /// latest ones. If the connection is lost, their fate is [`CommandError::NotSent`], and that of
    /// the others is [`CommandError::Lost`].
    pub fn unsent(&self) -> usize {
        let written = self.before + self.written as u64;
        self.under_way.iter().rev().take_while(|under_way| under_way.from >= written).count()
    }

    /// Returns the number of replies and confirmations that have come so far.
    pub fn replies(&self) -> u64 {
        self.replies
    }
}

impl Change {
    /// Notes that this many channels are confirmed or refused.
    fn settle(&mut self, channels: usize) {
        self.left = self.left.saturating_sub(channels);
        self.left_of_command = self.left_of_command.saturating_sub(channels);
        if self.left_of_command == 0 {
            self.left_of_command = self.left.min(self.at_once);
        }
    }
}

impl fmt::Debug for Pipeline {
    /// Omits the bytes, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("reader", &self.reader)
            .field("output", &self.output().len())
            .field("subscriber", &self.subscriber)
            .field("under_way", &self.under_way.len())
            .field("replies", &self.replies)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resp(words: &str) -> Vec<u8> {
        words.replace(' ', "\r\n").into_bytes()
    }

    fn ask(pipeline: &mut Pipeline, name: &'static str) {
        pipeline.ask(&[Bytes::from(name)].into());
    }

    fn subscriber() -> Pipeline {
        Pipeline::new(ReadLimits::default(), true)
    }

    fn change(channels: &[&str], kind: SubscriptionKind, on: bool) -> Subscription {
        Subscription { channels: channels.iter().map(|&channel| channel.into()).collect(), kind, on }
    }

    fn reply(text: &'static str) -> Came {
        Came::Reply(Value::Bytes(text.into()))
    }

    fn all(pipeline: &mut Pipeline) -> Vec<Came> {
        core::iter::from_fn(|| pipeline.poll().unwrap()).collect()
    }

    #[test]
    fn entries_are_read_as_such_where_they_were_asked_for() {
        let mut pipeline = Pipeline::default();
        ["XREAD", "XREAD", "A"].into_iter().for_each(|name| ask(&mut pipeline, name));
        let entries = "*1 *2 $1 s *1 *2 $3 1-2 *2 $1 a $1 b ";
        pipeline.feed(&resp(&format!("{entries}*-1 {entries}")));
        let came = all(&mut pipeline);
        assert!(
            matches!(&came[..], [Came::Reply(Value::Entries(entries)), Came::Reply(Value::Nil), Came::Reply(Value::List(_))]
                if entries[0].fields.get("a").unwrap() == "b"),
            "{came:?}"
        );
    }

    #[test]
    fn a_change_is_complete_when_each_channel_is_confirmed_or_refused() {
        let mut pipeline = subscriber();
        pipeline.change(&change(&["a", "b"], SubscriptionKind::Channels, true));
        pipeline.change(&change(&["c", "d", "e"], SubscriptionKind::Sharded, true));
        pipeline.change(&change(&[], SubscriptionKind::Channels, false));
        ask(&mut pipeline, "PING");
        pipeline.feed(&resp("*3 +subscribe +a :1 *3 +message +a +x *3 +subscribe +b :2 "));
        let message = Came::Message { channel: "a".into(), payload: "x".into() };
        assert_eq!(all(&mut pipeline), [message, Came::Changed(Ok(()))]);
        pipeline.feed(&resp(">3 +ssubscribe +c :1 -MOVED >3 +ssubscribe +e :2 *2 +pong $0  "));
        let pong = Value::List(vec![Value::Bytes("pong".into()), Value::Bytes("".into())]);
        let came = all(&mut pipeline);
        assert!(matches!(&came[0], Came::Changed(Err(CommandError::Server { code, .. })) if code == "MOVED"));
        assert_eq!(came[1..], [Came::Changed(Ok(())), Came::Reply(pong)]);
        assert_eq!(pipeline.under_way(), 0);
    }

    #[test]
    fn one_refusal_is_for_all_channels_of_a_command() {
        let mut pipeline = subscriber();
        let many: Vec<String> = (0..2_500).map(|number| number.to_string()).collect();
        let names: Vec<&str> = many.iter().map(String::as_str).collect();
        pipeline.change(&change(&names, SubscriptionKind::Channels, true));
        ask(&mut pipeline, "PING");
        let confirmed = "*3 +subscribe +c :1 ";
        pipeline.feed(&resp(&confirmed.repeat(1_000)));
        pipeline.feed(&resp("-NOPERM "));
        pipeline.feed(&resp(&confirmed.repeat(499)));
        assert_eq!(all(&mut pipeline), []);
        pipeline.feed(&resp(&format!("{confirmed}+PONG ")));
        let refused = CommandError::Server { code: "NOPERM".into(), message: String::new() };
        assert_eq!(all(&mut pipeline), [Came::Changed(Err(refused)), reply("PONG")]);
    }

    #[test]
    fn a_sharded_subscription_that_ends_by_itself_ends_the_connection() {
        let ended = resp(">3 +sunsubscribe +a :0 ");
        let mut pipeline = subscriber();
        pipeline.change(&change(&["a"], SubscriptionKind::Sharded, false));
        pipeline.feed(&ended);
        assert_eq!(all(&mut pipeline), [Came::Changed(Ok(()))]);
        pipeline.feed(&ended);
        assert_eq!(pipeline.poll(), Err(PipelineError::SubscriptionEnded));
    }

    #[test]
    fn only_what_was_asked_is_answered() {
        let mut pipeline = Pipeline::default();
        pipeline.feed(&resp(">2 +invalidate *0 >3 +message +a +x "));
        assert_eq!(all(&mut pipeline), []);
        pipeline.feed(&resp("+what? "));
        assert_eq!(pipeline.poll(), Err(PipelineError::Unasked));
        let mut pipeline = subscriber();
        pipeline.change(&change(&["a"], SubscriptionKind::Channels, true));
        pipeline.feed(&resp("+OK "));
        assert!(matches!(pipeline.poll(), Err(PipelineError::Unconfirmed(_))));
    }

    #[test]
    fn what_was_written_at_all_may_have_been_executed() {
        let mut pipeline = Pipeline::default();
        let size = |pipeline: &Pipeline| pipeline.output().len();
        ask(&mut pipeline, "A");
        let first = size(&pipeline);
        ask(&mut pipeline, "B");
        assert_eq!(pipeline.unsent(), 2);
        pipeline.written(1);
        assert_eq!(pipeline.unsent(), 1);
        pipeline.written(first - 1);
        assert_eq!(pipeline.unsent(), 1);
        pipeline.written(size(&pipeline));
        assert_eq!((pipeline.unsent(), pipeline.output().len()), (0, 0));
        ask(&mut pipeline, "C");
        assert_eq!(pipeline.unsent(), 1);
        pipeline.written(usize::MAX);
        assert_eq!(pipeline.unsent(), 0);
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut pipeline = Pipeline::default();
        pipeline.ask(&[Bytes::from("AUTH"), Bytes::from("secret")].into());
        pipeline.feed(b"-ERR unknown command 'AUTH', with args beginning with: 'secret'");
        assert!(!format!("{pipeline:?}").contains("secret"));
    }
}
