//! A model of Redis in memory: as much of it as a Socket.IO cluster uses, as a pure state machine.
//!
//! It executes the [`Command`]s of `sio-streams-core` and answers as a Redis 7.0 would through a
//! backend: streams with ids, trimming by whole nodes, blocking reads and `XINFO`; Pub/Sub, plain
//! and sharded; strings that expire; transactions. It does no I/O and has no clock: each call
//! carries the server's time, in milliseconds since 1970. So the same code serves programs that run
//! without a server, in real time, and simulators, in virtual time. It is itself tested against a
//! real server: the same commands, the same replies.
//!
//! ```
//! use std::time::Duration;
//! use sio_streams_core::{Command, EntryId, Fields, Reply};
//! use sio_streams_redis_model::{Executed, RedisModel};
//!
//! let mut redis = RedisModel::new();
//! let (reader, writer) = (redis.connect(), redis.connect());
//!
//! // There is nothing to read yet: the read blocks …
//! let stream = "socket.io".into();
//! let read = Command::XRead { stream, after: EntryId::ZERO, count: 10, block: Duration::from_secs(5) };
//! assert_eq!(redis.execute(1_000, reader, &read), Executed::Blocked);
//! assert_eq!(redis.poll_timeout(), Some(6_000));
//!
//! // … until somebody adds an entry.
//! let fields = Fields::from_iter([("nsp", "/")]);
//! let add = Command::XAdd { stream: "socket.io".into(), max_len: 10_000, fields: fields.into() };
//! let id = EntryId { ms: 2_000, seq: 0 };
//! assert_eq!(redis.execute(2_000, writer, &add), Executed::Reply(Ok(Reply::Added(id))));
//! let (client, reply) = redis.poll_wakeup().unwrap();
//! assert_eq!(client, reader);
//! assert!(matches!(reply, Ok(Reply::Entries(entries)) if entries[0].id == id));
//! ```
//!
//! Extraordinary events have methods of their own: entries of foreign programs
//! ([`RedisModel::add_entry`]), a restart without data ([`RedisModel::flush`],
//! [`RedisModel::disconnect_all`]), a failover that loses entries ([`RedisModel::lose_tail`]), a
//! server that refuses ([`RedisModel::refuse_with`]), and more.
//!
//! # Differences to a real server
//!
//! - There is one server, no cluster: sharded channels are only a namespace of their own.
//! - There is no limit of memory. It holds the stored data, and the messages and replies that
//!   [`poll_push`](RedisModel::poll_push) and [`poll_wakeup`](RedisModel::poll_wakeup) have not
//!   taken out.
//! - Subscribed clients may execute any command, as with RESP3.
//! - Lists of channels are in alphabetical order. Redis returns them in no order.
//! - A read whose time is up is answered before all other events of the same time.
//!
//! [Running on Redis], a page of the repository, tells what a cluster needs of a real server.
//!
//! [Running on Redis]: https://github.com/sio-streams/sio-streams/blob/main/docs/redis.md

mod blocked;
mod errors;
mod execute;
mod faults;
mod glob;
mod listpack;
mod nodes;
mod pubsub;
mod streams;
mod strings;
mod transactions;

use core::fmt;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use bytestring::ByteString;
use sio_streams_core::{CommandError, Entry, Reply, StreamInfo};

use blocked::BlockedReads;
pub use nodes::NodeLimits;
use pubsub::Channels;
use streams::Stream;
use strings::Text;
pub use transactions::Replies;
use transactions::Transaction;

#[cfg(doc)]
use sio_streams_core::Command;

/// Names a connection to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u64);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}", self.0)
    }
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executed {
    /// It is answered.
    Reply(Result<Reply, CommandError>),
    /// It is a read, and waits: its answer comes out of [`RedisModel::poll_wakeup`]. Until then the
    /// client can execute nothing else.
    Blocked,
}

/// A Redis server. See the [crate's page](crate).
#[derive(Clone, Debug, Default)]
pub struct RedisModel {
    limits: NodeLimits,
    keys: BTreeMap<ByteString, Value>,
    clients: BTreeSet<ClientId>,
    last_client: u64,
    blocked: BlockedReads,
    plain: Channels,
    sharded: Channels,
    patterns: Channels,
    transactions: BTreeMap<ClientId, Transaction>,
    /// While a transaction is executed: the streams that have new entries for those who wait.
    unserved: Option<Vec<ByteString>>,
    wakeups: VecDeque<(ClientId, Result<Reply, CommandError>)>,
    pushes: VecDeque<(ClientId, ByteString, Bytes)>,
    refusal: Option<CommandError>,
    write_refusal: Option<CommandError>,
    read_refusal: Option<CommandError>,
    /// The channels to which nobody may subscribe.
    withheld: BTreeSet<ByteString>,
    /// `XINFO` does not tell how many entries were added.
    uncounted: bool,
}

/// The value of a key.
#[derive(Clone, Debug)]
enum Value {
    Stream(Stream),
    Text(Text),
    /// Anything else.
    Other,
}

impl RedisModel {
    /// An empty server with Redis' default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty server whose streams have nodes of another size.
    pub fn with_node_limits(limits: NodeLimits) -> Self {
        RedisModel { limits, ..Self::default() }
    }

    /// `CONFIG SET` of the node settings. Nodes that are there stay as they are.
    pub fn set_node_limits(&mut self, limits: NodeLimits) {
        self.limits = limits;
    }

    /// Opens a connection.
    pub fn connect(&mut self) -> ClientId {
        self.last_client += 1;
        let client = ClientId(self.last_client);
        self.clients.insert(client);
        client
    }

    /// Closes a connection. Its subscriptions end, its read is forgotten, and what has not been
    /// taken out for it is lost.
    pub fn disconnect(&mut self, client: ClientId) {
        if self.clients.remove(&client) {
            self.blocked.remove(client);
            self.plain.unsubscribe_all(client);
            self.patterns.unsubscribe_all(client);
            self.sharded.unsubscribe_all(client);
            self.transactions.remove(&client);
            self.wakeups.retain(|(to, _)| *to != client);
            self.pushes.retain(|(to, ..)| *to != client);
        }
    }

    /// Returns `true` if the connection is open.
    pub fn is_connected(&self, client: ClientId) -> bool {
        self.clients.contains(&client)
    }

    /// The answer to the next blocked read that waits no longer: there were entries, its time was
    /// up, or it was [interrupted](Self::unblock_all).
    pub fn poll_wakeup(&mut self) -> Option<(ClientId, Result<Reply, CommandError>)> {
        self.wakeups.pop_front()
    }

    /// The next Pub/Sub message for a client: its channel and its payload.
    pub fn poll_push(&mut self) -> Option<(ClientId, ByteString, Bytes)> {
        self.pushes.pop_front()
    }

    /// The channels that a client has subscribed to, plain and sharded ones.
    pub fn channels_of(&self, client: ClientId) -> impl Iterator<Item = &ByteString> {
        self.plain.of(client).chain(self.sharded.of(client))
    }

    /// The patterns that a client has subscribed to.
    pub fn patterns_of(&self, client: ClientId) -> impl Iterator<Item = &ByteString> {
        self.patterns.of(client)
    }

    /// The time at which the next blocked read has waited long enough, in milliseconds since 1970:
    /// call [`handle_timeout`](Self::handle_timeout) then.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.blocked.next_deadline()
    }

    /// Answers, by no entries, the reads that have waited long enough. Calling it too early does no
    /// harm.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        while let Some(client) = self.blocked.take_expired(now_ms) {
            self.wakeups.push_back((client, Ok(Reply::Entries(Vec::new()))));
        }
    }

    /// The reply to `XINFO STREAM`; `None` if there is no such stream.
    pub fn stream_info(&self, stream: &str) -> Option<StreamInfo> {
        let mut info = self.stream(stream).map(Stream::info)?;
        if self.uncounted {
            info.entries_added = None;
            info.max_deleted_entry_id = None;
        }
        Some(info)
    }

    /// The entries of a stream, the oldest first; none if there is no such stream.
    pub fn entries(&self, stream: &str) -> impl DoubleEndedIterator<Item = &Entry> {
        self.stream(stream).into_iter().flat_map(Stream::entries)
    }

    /// The keys under which there are streams, in order.
    pub fn streams(&self) -> impl Iterator<Item = &ByteString> {
        self.keys.iter().filter(|(_, value)| matches!(value, Value::Stream(_))).map(|(key, _)| key)
    }

    fn stream(&self, stream: &str) -> Option<&Stream> {
        match self.keys.get(stream) {
            Some(Value::Stream(stream)) => Some(stream),
            Some(Value::Text(_) | Value::Other) | None => None,
        }
    }
}

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
