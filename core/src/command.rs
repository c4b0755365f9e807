//! What the engine asks of Redis, and what can come back.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;

use crate::id::EntryId;

/// Names a command, so that its reply finds its way back: see [`Engine::handle_reply`](crate::Engine::handle_reply).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub(crate) u64);

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// One of the connections that a node needs.
///
/// Commands of one lane are executed in the order in which they were polled. A blocking read keeps its connection to itself: that is why
/// lanes exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Publishes and asks.
    Writer,
    /// Reads one stream, blocking.
    Reader(ByteString),
    /// Subscribes, and receives Pub/Sub messages.
    Subscriber,
    /// Saves and restores sessions. Many at once must not hold up the writer. Needed only with [`Recovery`](crate::Recovery).
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

/// A Redis command. Each is answered by the [`Reply`] that is named with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// `XADD stream MAXLEN ~ max_len * fields…` → [`Reply::Added`].
    XAdd {
        /// The stream's key.
        stream: ByteString,
        /// About how many entries the stream keeps.
        max_len: u64,
        /// The entry. Shared with the engine, which keeps it until its fate is known.
        fields: Arc<Fields>,
    },
    /// `XREAD BLOCK block COUNT count STREAMS stream after` → [`Reply::Entries`], empty if nothing came while it blocked, or [`Reply::Unreadable`].
    XRead {
        /// The stream's key.
        stream: ByteString,
        /// Entries after this one are read.
        after: EntryId,
        /// How many at most.
        count: u32,
        /// How long to wait for the first; whole milliseconds, at least one.
        block: Duration,
    },
    /// `XRANGE stream (after + COUNT count` → [`Reply::Entries`]. On the writer's connection: it never waits.
    XRange {
        /// The stream's key.
        stream: ByteString,
        /// Entries after this one are read.
        after: EntryId,
        /// How many at most.
        count: u32,
    },
    /// `XREVRANGE stream (before - COUNT count` → [`Reply::Entries`], the newest first.
    XRevRange {
        /// The stream's key.
        stream: ByteString,
        /// Entries before this one are read.
        before: EntryId,
        /// How many at most.
        count: u32,
    },
    /// `SET key value PX px` → [`Reply::Done`].
    Set {
        /// The key.
        key: ByteString,
        /// The value.
        value: Bytes,
        /// How long it is kept; whole milliseconds, at least one.
        px: Duration,
    },
    /// `GETRANGE key 0 end` → [`Reply::Value`]: the first `end` + 1 bytes. There is nothing to tell an empty value from none: both are `None`.
    GetRange {
        /// The key.
        key: ByteString,
        /// The last byte that is wanted.
        end: u32,
    },
    /// `GETDEL key` → [`Reply::Value`]: what was there, and isn't any more. Of several who try, one gets it.
    GetDel {
        /// The key.
        key: ByteString,
    },
    /// `XINFO STREAM stream` → [`Reply::Stream`]; `None` if there is no such key.
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
        /// Sharded Pub/Sub.
        sharded: bool,
    },
    /// `SUBSCRIBE channels…`, or one `SSUBSCRIBE` each → [`Reply::Done`] once every subscription is in force.
    Subscribe {
        /// The channels.
        channels: Vec<ByteString>,
        /// Sharded Pub/Sub.
        sharded: bool,
    },
    /// `UNSUBSCRIBE channels…`, or `SUNSUBSCRIBE` → [`Reply::Done`].
    Unsubscribe {
        /// The channels.
        channels: Vec<ByteString>,
        /// Sharded Pub/Sub.
        sharded: bool,
    },
    /// `PSUBSCRIBE patterns…` → [`Reply::Done`] once every subscription is in force.
    PSubscribe {
        /// The glob patterns.
        patterns: Vec<ByteString>,
    },
    /// `PUNSUBSCRIBE patterns…` → [`Reply::Done`].
    PUnsubscribe {
        /// The patterns.
        patterns: Vec<ByteString>,
    },
    /// `PUBSUB NUMSUB channels…`, or `SHARDNUMSUB`, each summed over all servers → [`Reply::Counts`].
    PubSubNumSub {
        /// The channels. They must be counted by one command: only then do the numbers belong together.
        channels: Vec<ByteString>,
        /// Sharded Pub/Sub.
        sharded: bool,
    },
    /// `PUBSUB CHANNELS pattern`, or `SHARDCHANNELS`, of all masters → [`Reply::Channels`].
    PubSubChannels {
        /// A glob pattern.
        pattern: ByteString,
        /// Sharded Pub/Sub.
        sharded: bool,
    },
    /// Not a command to Redis: the lane is not needed any more, its connection may be closed. → [`Reply::Done`].
    Release {
        /// The lane.
        lane: Lane,
    },
}

impl Command {
    /// The connection on which the command belongs.
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

/// What Redis answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The id of the new entry.
    Added(EntryId),
    /// Entries, in the order that was asked for.
    Entries(Vec<Entry>),
    /// To XREAD: what comes next in the stream can't be read, because a reply with it alone is too large for the server, or for something on the way. Then
    /// comes an entry that can be.
    Unreadable {
        /// The next entry that can be read.
        next: EntryId,
        /// Whether there is certainly only one entry before it that can't be.
        alone: bool,
    },
    /// What is known of a stream; `None` if there is none.
    Stream(Option<StreamInfo>),
    /// How many subscribers each channel has, in the order that was asked for.
    Counts(Vec<u64>),
    /// Names of channels.
    Channels(Vec<ByteString>),
    /// What stood under a key.
    Value(Option<Bytes>),
    /// It is done.
    Done,
}

/// A stream entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// Its fields, in order.
    pub fields: Fields,
}

/// What `XINFO STREAM` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamInfo {
    /// How many entries there are.
    pub length: u64,
    /// The highest id that the stream ever gave.
    pub last_generated_id: EntryId,
    /// How many entries were ever added. Redis 7.0 and later.
    pub entries_added: Option<u64>,
    /// The highest id that was deleted by XDEL; trimming leaves no trace here. Redis 7.0 and later.
    pub max_deleted_entry_id: Option<EntryId>,
    /// The oldest entry that is still there.
    pub first_entry_id: Option<EntryId>,
}

impl StreamInfo {
    /// What there is to know of a stream that isn't there.
    pub(crate) fn absent() -> Self {
        StreamInfo { entries_added: Some(0), ..Self::default() }
    }
}

/// Why a command has no reply. What matters most is whether it may have had an effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The command was not sent: it certainly had no effect.
    #[error("not sent: {0}")]
    NotSent(String),
    /// Nobody knows what became of the command: the link was lost before its reply, or the reply can't be understood. It
    /// may have had its effect, or may yet have it.
    #[error("its fate is unknown: {0}")]
    Lost(String),
    /// The server refused.
    #[error("Redis answered {code}: {message}")]
    Server {
        /// The error's first word: `READONLY`, `OOM`, `NOPERM`, …
        code: String,
        /// The rest.
        message: String,
    },
    /// The server's answer is not what belongs to the command, or the backend can't do it.
    #[error("unusable reply: {0}")]
    Unusable(String),
}

/// The first words of errors by which a server says that it has not executed a command.
const REFUSALS: [&str; 8] =
    ["ERR", "WRONGTYPE", "NOPERM", "NOAUTH", "WRONGPASS", "CROSSSLOT", "EXECABORT", "DENIED"];

impl CommandError {
    /// The same error, or [`Lost`](CommandError::Lost) where it does not tell whether the command was executed: the reply
    /// can't be understood, or it is not a word by which Redis refuses. Proxies answer in words of their own when they have
    /// lost the server behind them.
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

    /// Whether the command had no effect, and may have one later: it was not sent, or the server is in a state that passes.
    pub fn is_transient(&self) -> bool {
        match self {
            CommandError::NotSent(_) => true,
            CommandError::Lost(_) | CommandError::Unusable(_) => false,
            CommandError::Server { code, .. } => matches!(
                code.as_str(),
                // starting; became a replica; a slot moves or its master is gone; a script runs; memory or disk is full; too few replicas
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

/// The fields of a stream entry: names and values, in order.
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
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a field.
    #[inline]
    pub fn push(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.0.push((name.into(), value.into()));
    }

    /// The value of the last field of this name: the one that counts where a name stands twice.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().rev().find(|(key, _)| key == name.as_bytes()).map(|(_, value)| value)
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Bytes, &Bytes)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// How many bytes the names and the values have, all together.
    pub fn size(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
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
