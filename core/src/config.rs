//! How a node behaves. The options bear the peers' names and defaults.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

/// Which peers a node speaks with: what goes over which transport in which encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `@socket.io/redis-streams-adapter` 0.2: everything on the stream; nodes know each other by heartbeats.
    Streams02,
    /// `@socket.io/redis-streams-adapter` 0.3: requests and their answers go through Pub/Sub; nodes are counted by their subscriptions.
    #[default]
    Streams03,
    /// Both in one cluster, as during a rolling upgrade: sees, asks and answers nodes of either generation.
    ///
    /// Requests go over the stream, which both generations read; each answers in its own way. Know that a listener of a Node 0.3 peer
    /// that throws on such a request sends that peer into an endless loop of reading it again (a flaw of the peer's; see
    /// `docs/protocol.md`).
    Bridge,
    /// `createShardedAdapter` of `@socket.io/redis-adapter`: everything through sharded Pub/Sub, of Redis 7. What is sent while a link is down
    /// is lost to whoever is behind it.
    Sharded,
    /// `@socket.io/redis-adapter`, once `socket.io-redis`: everything through Pub/Sub. What is sent while a link is down is lost to whoever is
    /// behind it.
    Classic,
}

impl Dialect {
    /// Whether nodes announce themselves on the stream.
    pub(crate) fn heartbeats(self) -> bool {
        matches!(self, Dialect::Streams02 | Dialect::Bridge)
    }

    /// Whether nodes subscribe to channels, and are counted there.
    pub(crate) fn subscribes(self) -> bool {
        self != Dialect::Streams02
    }

    /// Whether anything stands in streams.
    pub(crate) fn has_streams(self) -> bool {
        !matches!(self, Dialect::Sharded | Dialect::Classic)
    }
}

/// `subscriptionMode` of the sharded adapter: which rooms have a channel of their own, to which only those nodes subscribe that have sockets in
/// the room. All nodes of a cluster must agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SubscriptionMode {
    /// None.
    Static,
    /// All but those of single sockets, which are told by their length: 20 characters.
    #[default]
    Dynamic,
    /// All.
    DynamicPrivate,
}

impl SubscriptionMode {
    /// Whether a broadcast to this room alone goes out on a channel of the room's.
    pub(crate) fn is_apart(self, room: &str) -> bool {
        match self {
            SubscriptionMode::Static => false,
            // As JavaScript counts.
            SubscriptionMode::Dynamic => room.encode_utf16().count() != 20,
            SubscriptionMode::DynamicPrivate => true,
        }
    }
}

/// Another form for what the classic adapter writes in MessagePack: its option `parser`. All nodes and emitters of a cluster must agree.
///
/// ```
/// use sio_streams_core::{Bytes, Codec, PayloadCodec};
///
/// #[derive(Debug)]
/// struct Reversed;
///
/// impl Codec for Reversed {
///     fn encode(&self, packed: Bytes) -> Bytes {
///         packed.iter().rev().copied().collect::<Vec<u8>>().into()
///     }
///     fn decode(&self, payload: &Bytes) -> Result<Bytes, String> {
///         Ok(self.encode(payload.clone()))
///     }
/// }
///
/// let config = sio_streams_core::Config { parser: Some(PayloadCodec::new(Reversed)), ..Default::default() };
/// ```
pub trait Codec: fmt::Debug + Send + Sync {
    /// From MessagePack.
    fn encode(&self, packed: Bytes) -> Bytes;

    /// To MessagePack.
    ///
    /// # Errors
    ///
    /// Why the bytes are none of this codec's. The message is skipped and reported.
    fn decode(&self, payload: &Bytes) -> Result<Bytes, String>;
}

/// A [`Codec`] that is shared.
#[derive(Clone, Debug)]
pub struct PayloadCodec(Arc<dyn Codec>);

impl PayloadCodec {
    /// This codec.
    pub fn new(codec: impl Codec + 'static) -> Self {
        PayloadCodec(Arc::new(codec))
    }

    pub(crate) fn codec(&self) -> &dyn Codec {
        &*self.0
    }
}

impl PartialEq for PayloadCodec {
    /// Whether it is the same one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for PayloadCodec {}

/// When a node's own clients get what it publishes, and its own sockets do what it asks of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LocalDelivery {
    /// When it is called. Before anybody else, without an offset, and even if it is never published.
    AtOnce,
    /// When it is published or given up, as Node's adapters do it.
    #[default]
    WhenPublished,
    /// When the node reads it back from the stream: all nodes, this one included, do everything in the same order. What is given up is done
    /// nowhere.
    StreamOrder,
}

/// The options of a node.
///
/// ```
/// use sio_streams_core::{Config, Dialect};
///
/// let config = Config { dialect: Dialect::Bridge, max_len: 50_000, ..Config::default() };
/// assert_eq!(config.stream_name, "socket.io");
/// config.validate().unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which peers the node speaks with.
    pub dialect: Dialect,
    /// `streamName`: the stream's key; with `stream_count` > 1 its prefix.
    pub stream_name: ByteString,
    /// `streamCount` (0.3): how many streams there are. A namespace always uses the same one, `<stream_name>-<i>`.
    pub stream_count: u32,
    /// `maxLen`: about how many entries a stream keeps. What a server that was away can catch up with: see `docs/guarantees.md`, "What to set".
    pub max_len: u64,
    /// `readCount`: how many entries are read at once. While reads come back full it is up to eight times as many; it is fewer where so many would
    /// take more than about a mebibyte.
    pub read_count: u32,
    /// `blockTimeInMs` (0.3): how long a read waits for the first entry.
    pub block_time: Duration,
    /// `heartbeatInterval` (0.2): a heartbeat goes out when the node published nothing else that counts for so long.
    pub heartbeat_interval: Duration,
    /// `heartbeatTimeout` (0.2): a node that was silent for longer is down.
    pub heartbeat_timeout: Duration,
    /// `channelPrefix` (0.3, sharded), `key` (classic): the first part of the Pub/Sub channels' names.
    pub channel_prefix: ByteString,
    /// `useShardedPubSub` (0.3): SPUBLISH and SSUBSCRIBE, of Redis 7. The sharded adapter uses them always.
    pub use_sharded_pub_sub: bool,
    /// `subscriptionMode` (sharded).
    pub subscription_mode: SubscriptionMode,
    /// `publishOnSpecificResponseChannel` (classic): answers go to the node that asked, and to no other.
    pub publish_on_specific_response_channel: bool,
    /// `parser` (classic).
    pub parser: Option<PayloadCodec>,
    /// `onlyPlaintext` (0.3): a payload with binary data is refused instead of being written to the stream.
    pub only_plaintext: bool,
    /// When this node's own clients get what it publishes.
    pub local_delivery: LocalDelivery,
    /// How long answers to a request are waited for, where the request's own flags don't say. The peers' fixed 5 s.
    pub request_timeout: Duration,
    /// Connection state recovery; `None`: off.
    pub recovery: Option<Recovery>,
    /// What the engine holds at most.
    pub limits: Limits,
}

/// Connection state recovery: clients that were away for a moment get back their socket's id, rooms and data, and what they missed.
///
/// It needs [`LocalDelivery::StreamOrder`]: a client's offset says how far it is only if packets come to it in the order of their offsets.
///
/// ```
/// use sio_streams_core::{Config, LocalDelivery, Recovery};
///
/// let recovery = Some(Recovery::default());
/// let config = Config { recovery, local_delivery: LocalDelivery::StreamOrder, ..Config::default() };
/// config.validate().unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// `sessionKeyPrefix`: a session is stored under this and its private id.
    pub session_key_prefix: ByteString,
    /// `maxDisconnectionDuration`: how long a session is kept.
    pub max_disconnection_duration: Duration,
    /// The window: how many broadcasts of each stream are kept in memory, so that who missed only those costs Redis nothing but its session.
    pub window_entries: usize,
    /// The bytes of those.
    pub window_bytes: usize,
    /// How old they may be, by their ids.
    pub window_age: Duration,
    /// How long restoring a session may take, and waiting for Redis to save one.
    pub timeout: Duration,
    /// How many sessions may be on their way to or from Redis.
    pub sessions: usize,
    /// The bytes of those.
    pub sessions_bytes: usize,
    /// The bytes of one session, as it is stored.
    pub session_bytes: u32,
    /// How many entries are read at once where the window does not go back far enough.
    pub page_entries: u32,
    /// How many broadcasts of the stream a client may have been away for, whomever they were for. The window grows to this many while clients need
    /// it.
    pub replay_entries: usize,
    /// The bytes of those.
    pub replay_bytes: usize,
}

impl Default for Recovery {
    fn default() -> Self {
        Recovery {
            session_key_prefix: ByteString::from_static("sio:session:"),
            max_disconnection_duration: Duration::from_secs(120),
            window_entries: 10_000,
            window_bytes: 32 << 20,
            window_age: Duration::from_secs(600),
            timeout: Duration::from_secs(5),
            sessions: 50_000,
            sessions_bytes: 64 << 20,
            session_bytes: 1 << 20,
            page_entries: 1_000,
            replay_entries: 100_000,
            replay_bytes: 64 << 20,
        }
    }
}

/// Bounds. A call that would pass one of them is refused at once, with an error that says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Published messages whose fate is not known yet.
    pub in_flight: usize,
    /// How long a message waits while Redis is away, before it is given up.
    pub in_flight_for: Duration,
    /// The bytes of those messages.
    pub in_flight_bytes: usize,
    /// Requests that wait for answers.
    pub requests: usize,
    /// Nodes that are known in one namespace. Entries of further ones are obeyed, but they are not counted.
    pub nodes: usize,
    /// Namespaces that are open.
    pub namespaces: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            in_flight: 10_000,
            in_flight_for: Duration::from_secs(60),
            in_flight_bytes: 64 << 20,
            requests: 10_000,
            nodes: 1_000,
            namespaces: 100_000,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            dialect: Dialect::default(),
            stream_name: ByteString::from_static("socket.io"),
            stream_count: 1,
            max_len: 10_000,
            read_count: 100,
            block_time: Duration::from_secs(5),
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(10),
            channel_prefix: ByteString::from_static("socket.io"),
            use_sharded_pub_sub: false,
            subscription_mode: SubscriptionMode::default(),
            publish_on_specific_response_channel: false,
            parser: None,
            only_plaintext: false,
            local_delivery: LocalDelivery::default(),
            request_timeout: Duration::from_secs(5),
            recovery: None,
            limits: Limits::default(),
        }
    }
}

/// An option has a value with which no node can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option} {reason}")]
pub struct ConfigError {
    option: &'static str,
    reason: &'static str,
}

impl Config {
    /// A server that takes longer than this hung, and may have kept others from speaking: half of what a node may be late by
    /// before it counts as silent.
    pub(crate) fn notable_delay(&self) -> Duration {
        self.heartbeat_timeout.saturating_sub(self.heartbeat_interval) / 2
    }

    /// Checks the options against each other.
    ///
    /// # Errors
    ///
    /// Names the first option that can't work, and why.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let checks = [
            (self.stream_name.is_empty(), "stream_name", "must not be empty"),
            (self.stream_count == 0, "stream_count", "must be at least 1"),
            (
                self.stream_count > 1 && self.dialect == Dialect::Streams02,
                "stream_count",
                "must be 1 with streams-0.2 peers, which know a single stream",
            ),
            (
                self.stream_count > 1_024,
                "stream_count",
                "must be at most 1024: each stream takes a connection",
            ),
            (self.max_len == 0, "max_len", "must be at least 1"),
            (self.read_count == 0, "read_count", "must be at least 1"),
            (
                self.block_time < Duration::from_millis(1),
                "block_time",
                "must be at least 1 ms: 0 would block for ever",
            ),
            (
                self.heartbeat_interval < Duration::from_millis(1),
                "heartbeat_interval",
                "must be at least 1 ms",
            ),
            (
                self.heartbeat_timeout <= self.heartbeat_interval,
                "heartbeat_timeout",
                "must be longer than heartbeat_interval, or every node would seem down between two heartbeats",
            ),
            (
                self.local_delivery == LocalDelivery::StreamOrder && !self.dialect.has_streams(),
                "local_delivery",
                "can't be the order of a stream where there are no streams",
            ),
            (self.limits.in_flight_for.is_zero(), "limits.in_flight_for", "must not be zero"),
            (self.request_timeout.is_zero(), "request_timeout", "must not be zero"),
            (
                self.recovery.is_some() && self.local_delivery != LocalDelivery::StreamOrder,
                "local_delivery",
                "must be StreamOrder with recovery: a client that gets packets out of order can't say by one offset what it has",
            ),
            (
                self.recovery.as_ref().is_some_and(|recovery| recovery.timeout.is_zero()),
                "recovery.timeout",
                "must not be zero",
            ),
            (
                self.recovery.as_ref().is_some_and(|recovery| recovery.page_entries == 0),
                "recovery.page_entries",
                "must be at least 1",
            ),
            (
                self.recovery
                    .as_ref()
                    .is_some_and(|recovery| recovery.max_disconnection_duration < Duration::from_millis(1)),
                "recovery.max_disconnection_duration",
                "must be at least 1 ms",
            ),
        ];
        match checks.into_iter().find(|(wrong, ..)| *wrong) {
            Some((_, option, reason)) => Err(ConfigError { option, reason }),
            None => Ok(()),
        }
    }

    /// The stream of a namespace: where this node writes and reads it.
    pub(crate) fn stream_of(&self, nsp: &str) -> ByteString {
        match self.stream_count {
            1 => self.stream_name.clone(),
            count => self.numbered(i64::from(hash_code(nsp)).rem_euclid(i64::from(count))),
        }
    }

    /// The stream to which Node peers write a namespace whose hash is negative. None of them reads it; this project does.
    pub(crate) fn lost_stream_of(&self, nsp: &str) -> Option<ByteString> {
        let index = i64::from(hash_code(nsp)) % i64::from(self.stream_count);
        (index < 0).then(|| self.numbered(index))
    }

    fn numbered(&self, index: i64) -> ByteString {
        format!("{}-{index}", self.stream_name).into()
    }
}

/// The peers' hash of a namespace: over UTF-16 code units, wrapping to signed 32 bits.
fn hash_code(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_with_a_negative_hash_has_a_stream_that_is_read() {
        let config = Config { stream_count: 4, ..Config::default() };
        assert_eq!(config.stream_of("/"), "socket.io-3");
        assert_eq!(config.lost_stream_of("/"), None);
        // Computed with the peer's own function, in Node: hashCode("/notifications") % 4.
        assert!(hash_code("/notifications") < 0);
        let lost = config.lost_stream_of("/notifications").unwrap();
        assert!(lost.starts_with("socket.io--"), "{lost}");
        let read: ByteString = config.stream_of("/notifications");
        assert!(["socket.io-0", "socket.io-1", "socket.io-2", "socket.io-3"].contains(&&*read), "{read}");
    }

    #[test]
    fn options_that_cannot_work_are_refused_by_name() {
        let wrong = Config { heartbeat_timeout: Duration::from_secs(5), ..Config::default() };
        assert!(wrong.validate().unwrap_err().to_string().starts_with("heartbeat_timeout must be longer"));
        let wrong = Config { stream_count: 2, dialect: Dialect::Streams02, ..Config::default() };
        assert!(wrong.validate().unwrap_err().to_string().starts_with("stream_count"));
        Config::default().validate().unwrap();
    }
}
