//! The commands that the engine sends to Redis, and their replies.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;

use crate::id::EntryId;

/// Identifies a command, so that its reply can be matched to it. See
/// [`Engine::handle_reply`](crate::Engine::handle_reply).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub(crate) u64);

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// One of the connections that a node needs.
///
/// Commands of one lane are executed in the order in which they were polled. Lanes exist because a
/// blocking read occupies its connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Carries publishes and queries.
    Writer,
    /// Reads one stream with blocking reads.
    Reader(ByteString),
    /// Carries subscriptions, and receives Pub/Sub messages.
    Subscriber,
    /// Saves and restores sessions, so that a burst of them does not hold up the writer. It is
    /// needed only with [`Recovery`](crate::Recovery).
    Recovery,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lane::Writer => f.write_str("writer"),
            Lane::Reader(stream) => write!(f, "reader of {stream}"),
            Lane::Subscriber => f.write_str("subscriber"),
            Lane::Recovery => f.write_str("recovery"),
        }
    }
}

/// A Redis command. The documentation of each variant names its [`Reply`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// `XADD stream MAXLEN ~ max_len * fields…` → [`Reply::Added`].
    XAdd {
        /// The stream's key.
        stream: ByteString,
        /// The approximate number of entries that the stream keeps.
        max_len: u64,
        /// The entry. It is shared with the engine, which keeps it until its fate is known.
        fields: Arc<Fields>,
    },
    /// `XREAD BLOCK block COUNT count STREAMS stream after` → [`Reply::Entries`], which is empty if
    /// no entry arrived before the block time was over, or [`Reply::Unreadable`].
    XRead {
        /// The stream's key.
        stream: ByteString,
        /// Entries after this one are read.
        after: EntryId,
        /// The largest number of entries to return.
        count: u32,
        /// The time to wait for the first entry, in whole milliseconds, at least one.
        block: Duration,
    },
    /// `XRANGE stream (after + COUNT count` → [`Reply::Entries`]. It never blocks, and goes over
    /// the writer's connection.
    XRange {
        /// The stream's key.
        stream: ByteString,
        /// Entries after this one are read.
        after: EntryId,
        /// The largest number of entries to return.
        count: u32,
    },
    /// `XREVRANGE stream (before - COUNT count` → [`Reply::Entries`], newest first.
    XRevRange {
        /// The stream's key.
        stream: ByteString,
        /// Entries before this one are read.
        before: EntryId,
        /// The largest number of entries to return.
        count: u32,
    },
    /// `SET key value PX px` → [`Reply::Done`].
    Set {
        /// The key.
        key: ByteString,
        /// The value.
        value: Bytes,
        /// The time after which the key expires, in whole milliseconds, at least one.
        px: Duration,
    },
    /// `GETRANGE key 0 end` → [`Reply::Value`], the first `end` + 1 bytes. An empty value and a
    /// missing key both give `None`; the command can't tell them apart.
    GetRange {
        /// The key.
        key: ByteString,
        /// The offset of the last byte to return.
        end: u32,
    },
    /// `GETDEL key` → [`Reply::Value`], the value that was removed. If several clients try, one of
    /// them gets it.
    GetDel {
        /// The key.
        key: ByteString,
    },
    /// `XINFO STREAM stream` → [`Reply::Stream`], which is `None` if the key does not exist.
    XInfoStream {
        /// The stream's key.
        stream: ByteString,
    },
    /// `PUBLISH channel payload`, or `SPUBLISH` → [`Reply::Done`].
    Publish {
        /// The channel.
        channel: ByteString,
        /// The message.
        payload: Bytes,
        /// `true` for sharded Pub/Sub.
        sharded: bool,
    },
    /// `SUBSCRIBE channels…`, or one `SSUBSCRIBE` per channel → [`Reply::Done`] once every
    /// subscription is in force.
    Subscribe {
        /// The channels.
        channels: Vec<ByteString>,
        /// `true` for sharded Pub/Sub.
        sharded: bool,
    },
    /// `UNSUBSCRIBE channels…`, or `SUNSUBSCRIBE` → [`Reply::Done`].
    Unsubscribe {
        /// The channels.
        channels: Vec<ByteString>,
        /// `true` for sharded Pub/Sub.
        sharded: bool,
    },
    /// `PSUBSCRIBE patterns…` → [`Reply::Done`] once every subscription is in force.
    PSubscribe {
        /// The glob patterns.
        patterns: Vec<ByteString>,
    },
    /// `PUNSUBSCRIBE patterns…` → [`Reply::Done`].
    PUnsubscribe {
        /// The glob patterns.
        patterns: Vec<ByteString>,
    },
    /// `PUBSUB NUMSUB channels…`, or `SHARDNUMSUB`, summed over all servers → [`Reply::Counts`].
    PubSubNumSub {
        /// The channels. One command must count them all, so that the numbers belong to one moment.
        channels: Vec<ByteString>,
        /// `true` for sharded Pub/Sub.
        sharded: bool,
    },
    /// `PUBSUB CHANNELS pattern`, or `SHARDCHANNELS`, on all masters → [`Reply::Channels`].
    PubSubChannels {
        /// The glob pattern.
        pattern: ByteString,
        /// `true` for sharded Pub/Sub.
        sharded: bool,
    },
    /// Tells the backend that the lane is not needed any more and its connection may be closed. It
    /// is not a Redis command. → [`Reply::Done`].
    Release {
        /// The lane.
        lane: Lane,
    },
}

impl Command {
    /// Returns the size of the message that the command publishes, in bytes. It is 0 if the command
    /// publishes nothing.
    pub(crate) fn size(&self) -> usize {
        match self {
            Command::XAdd { fields, .. } => fields.size(),
            Command::Publish { channel, payload, .. } => channel.len() + payload.len(),
            _ => 0,
        }
    }

    /// Returns the lane that the command belongs on.
    pub fn lane(&self) -> Lane {
        match self {
            Command::XRead { stream, .. } => Lane::Reader(stream.clone()),
            Command::XInfoStream { stream } => Lane::Reader(stream.clone()),
            Command::Subscribe { .. }
            | Command::Unsubscribe { .. }
            | Command::PSubscribe { .. }
            | Command::PUnsubscribe { .. } => Lane::Subscriber,
            Command::Release { lane } => lane.clone(),
            Command::XRevRange { .. }
            | Command::Set { .. }
            | Command::GetRange { .. }
            | Command::GetDel { .. } => Lane::Recovery,
            Command::XAdd { .. }
            | Command::XRange { .. }
            | Command::Publish { .. }
            | Command::PubSubNumSub { .. }
            | Command::PubSubChannels { .. } => Lane::Writer,
        }
    }
}

/// A reply from Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The id of the new entry.
    Added(EntryId),
    /// Entries, in the order that the command asked for.
    Entries(Vec<Entry>),
    /// The reply to an XREAD if the next entry can't be read, because a reply that has only this
    /// entry is larger than the server, or something on the way, lets through.
    Unreadable {
        /// The next entry that can be read.
        next: EntryId,
        /// `true` if it is certain that only one entry before `next` can't be read.
        alone: bool,
    },
    /// The state of a stream, or `None` if there is no such stream.
    Stream(Option<StreamInfo>),
    /// The number of subscribers of each channel, in the order of the command's channels.
    Counts(Vec<u64>),
    /// Channel names.
    Channels(Vec<ByteString>),
    /// The value of a key, or `None` if there is none.
    Value(Option<Bytes>),
    /// The command succeeded.
    Done,
}

/// A stream entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The entry's id.
    pub id: EntryId,
    /// The entry's fields, in order.
    pub fields: Fields,
}

/// The state of a stream, as reported by `XINFO STREAM`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamInfo {
    /// The number of entries in the stream.
    pub length: u64,
    /// The highest id that the stream has ever assigned.
    pub last_generated_id: EntryId,
    /// The number of entries that were ever added. Redis reports it from 7.0 on.
    pub entries_added: Option<u64>,
    /// The highest id that was removed by XDEL. Trimming does not change it. Redis reports it from
    /// 7.0 on.
    pub max_deleted_entry_id: Option<EntryId>,
    /// The id of the oldest entry in the stream.
    pub first_entry_id: Option<EntryId>,
}

impl StreamInfo {
    /// Returns the state of a stream that does not exist.
    pub(crate) fn absent() -> Self {
        StreamInfo { entries_added: Some(0), ..Self::default() }
    }
}

/// The reason why a command has no reply. The variants differ in whether the command may have taken
/// effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The command was not sent. It certainly had no effect.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The fate of the command is unknown: the connection was lost before its reply, or the reply
    /// can't be understood. The command may have taken effect, or may still do so.
    #[error("its fate is unknown: {0}")]
    Lost(String),
    /// The server refused the command.
    #[error("Redis answered {code}: {message}")]
    Server {
        /// The error's first word: `READONLY`, `OOM`, `NOPERM`, …
        code: String,
        /// The rest of the error.
        message: String,
    },
    /// The server's reply does not fit the command, or the backend does not support the command.
    #[error("unusable reply: {0}")]
    Unusable(String),
}

/// The error codes by which a server says that it has not executed a command.
const REFUSALS: [&str; 8] =
    ["ERR", "WRONGTYPE", "NOPERM", "NOAUTH", "WRONGPASS", "CROSSSLOT", "EXECABORT", "DENIED"];

impl CommandError {
    /// Returns the error of a command whose reply is an error, or does not belong to the command.
    pub(crate) fn of(reply: Result<Reply, CommandError>) -> Self {
        match reply {
            Ok(reply) => CommandError::Unusable(format!("{reply:?} is not what belongs to the command")),
            Err(error) => error,
        }
    }

    /// Returns the same error, or [`Lost`](CommandError::Lost) if the error leaves open whether the
    /// command was executed. It leaves that open if the reply can't be understood, or if the code
    /// is not one by which Redis refuses a command: a proxy that has lost the server behind it
    /// replies with codes of its own.
    pub(crate) fn of_what_may_be_executed(self) -> Self {
        match &self {
            CommandError::Unusable(_) => CommandError::Lost(self.to_string()),
            CommandError::Server { code, .. }
                if !self.is_transient() && !REFUSALS.contains(&code.as_str()) =>
            {
                CommandError::Lost(self.to_string())
            }
            _ => self,
        }
    }

    /// Returns `true` if the server does not let this user have one of the channels that the command
    /// names. The server does not say which, and refuses the whole command.
    pub(crate) fn refuses_channels(&self) -> bool {
        // Redis words this in several ways. A command as such is refused without this word.
        matches!(self, CommandError::Server { code, message } if code == "NOPERM" && message.contains("channel"))
    }

    /// Returns `true` if the command had no effect and may succeed later: it was not sent, or the
    /// server is in a temporary state.
    pub fn is_transient(&self) -> bool {
        match self {
            CommandError::NotSent(_) => true,
            CommandError::Lost(_) | CommandError::Unusable(_) => false,
            CommandError::Server { code, .. } => matches!(
                code.as_str(),
                // In order: the server is starting; it became a replica; a slot moves, or its
                // master is gone; a script runs; memory or disk is full; there are too few
                // replicas.
                "LOADING"
                    | "READONLY"
                    | "UNBLOCKED"
                    | "MOVED"
                    | "ASK"
                    | "TRYAGAIN"
                    | "CLUSTERDOWN"
                    | "MASTERDOWN"
                    | "BUSY"
                    | "OOM"
                    | "MISCONF"
                    | "NOREPLICAS"
            ),
        }
    }
}

/// The fields of a stream entry, as names and values in order.
///
/// ```
/// use sio_streams_core::Fields;
///
/// let mut fields = Fields::new();
/// fields.push("uid", "d0a1b2c3d4e5f607");
/// assert_eq!(fields.get("uid").unwrap(), "d0a1b2c3d4e5f607");
/// assert_eq!(fields.get("nsp"), None);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(SmallVec<[(Bytes, Bytes); 5]>);

impl Fields {
    /// Returns an empty list of fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a field.
    #[inline]
    pub fn push(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.0.push((name.into(), value.into()));
    }

    /// Returns the value of the last field with this name. If a name occurs twice, the last value
    /// counts.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().rev().find(|(key, _)| key == name.as_bytes()).map(|(_, value)| value)
    }

    /// Iterates over names and values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Bytes, &Bytes)> + DoubleEndedIterator {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// Returns the total size of all names and values, in bytes.
    pub fn size(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Returns the number of fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if there are no fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<Bytes>, V: Into<Bytes>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Fields(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
