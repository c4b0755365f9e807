//! The options of a node. They bear the peers' names and defaults.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use bytestring::ByteString;

use crate::codec::PayloadCodec;

mod setters;

/// The peers that a node can talk to. The dialect decides which message goes over which transport
/// in which encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Dialect {
    /// `@socket.io/redis-streams-adapter` 0.2. Everything goes over the stream, and nodes know each
    /// other by heartbeats.
    #[cfg_attr(feature = "serde", serde(rename = "streams-0.2"))]
    Streams02,
    /// `@socket.io/redis-streams-adapter` 0.3. Requests and responses go through Pub/Sub, and nodes
    /// are counted by their subscriptions.
    #[cfg_attr(feature = "serde", serde(rename = "streams-0.3"))]
    #[default]
    Streams03,
    /// Both streams adapters in one cluster, as during a rolling upgrade. The node sees, queries
    /// and answers nodes of either generation.
    ///
    /// Requests go over the stream, which both generations read; each generation answers in its own
    /// way. A flaw of the Node 0.3 peer shows here: if one of its listeners throws on such a
    /// request, the peer reads the request again in an endless loop. See `docs/protocol.md`.
    Bridge,
    /// `createShardedAdapter` of `@socket.io/redis-adapter`. Everything goes through sharded
    /// Pub/Sub, which needs Redis 7. A node does not receive messages that are sent while its
    /// connection is down.
    Sharded,
    /// `@socket.io/redis-adapter`, formerly `socket.io-redis`. Everything goes through Pub/Sub. A
    /// node does not receive messages that are sent while its connection is down.
    Classic,
}

/// The name of a dialect: `streams-0.2`, `streams-0.3`, `bridge`, `sharded` or `classic`.
///
/// ```
/// use sio_streams_core::Dialect;
///
/// assert_eq!("streams-0.2".parse(), Ok(Dialect::Streams02));
/// assert_eq!(Dialect::Bridge.to_string(), "bridge");
/// assert_eq!("0.2".parse::<Dialect>().unwrap_err().to_string(),
///     "\"0.2\" is no dialect: choose streams-0.2, streams-0.3, bridge, sharded or classic");
/// ```
impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Dialect::Streams02 => "streams-0.2",
            Dialect::Streams03 => "streams-0.3",
            Dialect::Bridge => "bridge",
            Dialect::Sharded => "sharded",
            Dialect::Classic => "classic",
        })
    }
}

/// A text that names no [`Dialect`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no dialect: choose streams-0.2, streams-0.3, bridge, sharded or classic")]
pub struct UnknownDialect(String);

impl FromStr for Dialect {
    type Err = UnknownDialect;

    /// Reads the name as [`Display`](fmt::Display) writes it.
    fn from_str(name: &str) -> Result<Self, UnknownDialect> {
        const ALL: [Dialect; 5] =
            [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Sharded, Dialect::Classic];
        let named = ALL.into_iter().find(|dialect| dialect.to_string() == name);
        named.ok_or_else(|| UnknownDialect(name.into()))
    }
}

impl Dialect {
    /// Returns `true` if nodes announce themselves on the stream.
    pub(crate) fn heartbeats(self) -> bool {
        matches!(self, Dialect::Streams02 | Dialect::Bridge)
    }

    /// Returns `true` if nodes subscribe to channels and are counted there.
    pub(crate) fn subscribes(self) -> bool {
        self != Dialect::Streams02
    }

    /// Returns `true` if the dialect uses streams.
    pub(crate) fn has_streams(self) -> bool {
        !matches!(self, Dialect::Sharded | Dialect::Classic)
    }
}

/// The `subscriptionMode` of the sharded adapter. It decides which rooms have a channel of their
/// own, to which only those nodes subscribe that have sockets in the room. All nodes of a cluster
/// must use the same mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum SubscriptionMode {
    /// No room has a channel of its own.
    Static,
    /// All rooms have one, except the rooms of single sockets. Those are recognised by their length
    /// of 20 characters.
    #[default]
    Dynamic,
    /// All rooms have one.
    DynamicPrivate,
}

impl SubscriptionMode {
    /// Returns `true` if a broadcast to this room alone goes out on the room's own channel.
    pub(crate) fn is_apart(self, room: &str) -> bool {
        match self {
            SubscriptionMode::Static => false,
            // The length counts UTF-16 code units, as in JavaScript.
            SubscriptionMode::Dynamic => room.encode_utf16().count() != 20,
            SubscriptionMode::DynamicPrivate => true,
        }
    }
}

/// The time at which a node's own clients get what the node publishes, and at which its own sockets
/// follow its orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum LocalDelivery {
    /// At the time of the call. Delivery precedes that of all other nodes, has no offset, and
    /// happens even if the message is never published.
    AtOnce,
    /// At the time when the message is published or given up, as in Node's adapters.
    #[default]
    WhenPublished,
    /// At the time when the node reads the message back from the stream. All nodes, this one
    /// included, then process everything in the same order. A message that is given up takes effect
    /// nowhere.
    StreamOrder,
}

/// The owner of the rooms of a node's own sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum RoomOwner {
    /// The engine. The application tells it of each socket and each room
    /// ([`add_socket`](crate::Engine::add_socket), [`join`](crate::Engine::join), …), and events
    /// name the sockets that are meant.
    #[default]
    Engine,
    /// The application, which has maps of its own, as server frameworks do. Events name no sockets:
    /// the application matches their `opts` against its maps, follows the order at once, and
    /// answers with what it finds there. The engine refuses the calls that would change its rooms.
    Application,
}

/// The options of a node.
///
/// With the feature `serde` they can be read from a file. Every key may be left out, unknown keys
/// are refused, and times are whole milliseconds. A [`parser`](Config::parser) can't be read.
///
/// ```
/// use sio_streams_core::{Config, Dialect};
///
/// let config = Config::default().dialect(Dialect::Bridge).max_len(50_000);
/// assert_eq!(config.stream_name, "socket.io");
/// config.validate().unwrap();
/// // All fields are public, too.
/// assert_eq!(config, Config { dialect: Dialect::Bridge, max_len: 50_000, ..Config::default() });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Config {
    /// The peers that the node talks to. [`Dialect::Streams03`] by default.
    pub dialect: Dialect,
    /// `streamName`: the stream's key. If `stream_count` is above 1, it is the prefix of the keys.
    /// `socket.io` by default.
    pub stream_name: ByteString,
    /// `streamCount` (0.3): the number of streams. A namespace always uses the same one,
    /// `<stream_name>-<i>`. 1 by default; at most 1 024.
    pub stream_count: u32,
    /// `maxLen`: the approximate number of entries that a stream keeps. It limits how far a server
    /// can catch up after an interruption; see "What to set" in `docs/guarantees.md`. 10 000 by
    /// default.
    pub max_len: u64,
    /// `readCount`: the number of entries per read. It grows up to eightfold while reads come back
    /// full, and shrinks where a read would exceed about one mebibyte. 100 by default.
    pub read_count: u32,
    /// `blockTimeInMs` (0.3): the time for which a read waits for the first entry.
    /// 5 s by default; at least 1 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::millis"))]
    pub block_time: Duration,
    /// `heartbeatInterval` (0.2): the time without other published messages after which the node
    /// sends a heartbeat. 5 s by default; at least 1 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::millis"))]
    pub heartbeat_interval: Duration,
    /// `heartbeatTimeout` (0.2): the time of silence after which a node is considered down.
    /// 10 s by default; longer than `heartbeat_interval`.
    #[cfg_attr(feature = "serde", serde(with = "crate::millis"))]
    pub heartbeat_timeout: Duration,
    /// `channelPrefix` (0.3, sharded), `key` (classic): the first part of the names of Pub/Sub
    /// channels. `socket.io` by default.
    pub channel_prefix: ByteString,
    /// `useShardedPubSub` (0.3): use SPUBLISH and SSUBSCRIBE, which need Redis 7. The sharded
    /// adapter always uses them. Off by default.
    pub use_sharded_pub_sub: bool,
    /// `subscriptionMode` (sharded). [`SubscriptionMode::Dynamic`] by default.
    pub subscription_mode: SubscriptionMode,
    /// `publishOnSpecificResponseChannel` (classic): responses go only to the node that sent the
    /// request. Off by default.
    pub publish_on_specific_response_channel: bool,
    /// `parser` (classic). `None`, which is MessagePack, by default.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub parser: Option<PayloadCodec>,
    /// `onlyPlaintext` (0.3): refuse payloads with binary data instead of writing them to the
    /// stream. Off by default.
    pub only_plaintext: bool,
    /// The time at which this node's own clients get what it publishes.
    /// [`LocalDelivery::WhenPublished`] by default.
    pub local_delivery: LocalDelivery,
    /// The owner of the rooms of this node's own sockets. [`RoomOwner::Engine`] by default.
    pub room_owner: RoomOwner,
    /// The time to wait for answers to a request, unless the request's flags set another. The peers
    /// use a fixed 5 s, which is the default.
    #[cfg_attr(feature = "serde", serde(with = "crate::millis"))]
    pub request_timeout: Duration,
    /// Connection state recovery, or `None` to turn it off, which is the default.
    pub recovery: Option<Recovery>,
    /// The bounds on what the engine holds.
    pub limits: Limits,
}

/// Connection state recovery. A client that reconnects soon enough gets back its socket's id, rooms
/// and data, and the packets that it missed.
///
/// It requires [`LocalDelivery::StreamOrder`]. A client reports its position by one offset, so
/// packets must reach it in the order of their offsets.
///
/// ```
/// use sio_streams_core::{Config, LocalDelivery, Recovery};
///
/// let recovery = Some(Recovery::default());
/// let config = Config { recovery, local_delivery: LocalDelivery::StreamOrder, ..Config::default() };
/// config.validate().unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Recovery {
    /// `sessionKeyPrefix`: the prefix of the keys of stored sessions. A session's private id
    /// follows it. `sio:session:` by default.
    pub session_key_prefix: ByteString,
    /// `maxDisconnectionDuration`: the time for which a session is kept. 2 minutes by default.
    #[cfg_attr(feature = "serde", serde(with = "crate::millis"))]
    pub max_disconnection_duration: Duration,
    /// The largest number of broadcasts of each stream that the window keeps in memory. A client
    /// that missed only those costs Redis nothing but its session. 10 000 by default.
    pub window_entries: usize,
    /// The largest size of the window, in bytes. 32 MiB by default.
    pub window_bytes: usize,
    /// The largest age of a broadcast in the window, by its entry id. 10 minutes by default.
    #[cfg_attr(feature = "serde", serde(with = "crate::millis"))]
    pub window_age: Duration,
    /// The longest time that restoring a session may take, or waiting for Redis to save one. 5 s by
    /// default.
    #[cfg_attr(feature = "serde", serde(with = "crate::millis"))]
    pub timeout: Duration,
    /// The largest number of sessions on their way to or from Redis. 50 000 by default.
    pub sessions: usize,
    /// The largest total size of those sessions, in bytes. 64 MiB by default.
    pub sessions_bytes: usize,
    /// The largest size of a stored session, in bytes. 1 MiB by default.
    pub session_bytes: u32,
    /// The number of entries per read where the window does not reach back far enough. 1 000 by
    /// default.
    pub page_entries: u32,
    /// The largest number of broadcasts of the stream that a client may have been away for.
    /// Broadcasts to other clients count. The window grows to this size while clients need it.
    /// 100 000 by default.
    pub replay_entries: usize,
    /// The largest total size of those broadcasts, in bytes. 64 MiB by default.
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

/// The bounds of the engine. A call that would exceed one of them is refused at once, with an error
/// that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Limits {
    /// The largest number of published messages whose fate is unknown. 10 000 by default.
    pub in_flight: usize,
    /// The time that a message waits while Redis is unavailable, before it is given up. One minute by
    /// default.
    #[cfg_attr(feature = "serde", serde(with = "crate::millis"))]
    pub in_flight_for: Duration,
    /// The largest total size of those messages, in bytes. 64 MiB by default.
    pub in_flight_bytes: usize,
    /// The largest number of requests that wait for answers. 10 000 by default.
    pub requests: usize,
    /// The largest number of known nodes per namespace. Entries of further nodes are processed, but
    /// those nodes are not counted. 1 000 by default.
    pub nodes: usize,
    /// The largest number of open namespaces. 100 000 by default.
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
            room_owner: RoomOwner::default(),
            request_timeout: Duration::from_secs(5),
            recovery: None,
            limits: Limits::default(),
        }
    }
}

/// An option has a value with which a node can't run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option} {reason}")]
pub struct ConfigError {
    option: &'static str,
    reason: &'static str,
}

impl Config {
    /// A server that takes longer than this hung, and may have kept others from speaking: half of
    /// what a node may be late by before it counts as silent.
    pub(crate) fn notable_delay(&self) -> Duration {
        self.heartbeat_timeout.saturating_sub(self.heartbeat_interval) / 2
    }

    /// Checks the options against each other.
    ///
    /// # Errors
    ///
    /// Returns an error that names the first invalid option, and the reason.
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

    /// Returns the stream in which this node writes and reads a namespace.
    pub(crate) fn stream_of(&self, nsp: &str) -> ByteString {
        match self.stream_count {
            1 => self.stream_name.clone(),
            count => self.numbered(i64::from(hash_code(nsp)).rem_euclid(i64::from(count))),
        }
    }

    /// Returns the stream to which Node peers write a namespace whose hash is negative. No Node
    /// peer reads that stream; this project does.
    pub(crate) fn lost_stream_of(&self, nsp: &str) -> Option<ByteString> {
        let index = i64::from(hash_code(nsp)) % i64::from(self.stream_count);
        (index < 0).then(|| self.numbered(index))
    }

    pub(crate) fn numbered(&self, index: i64) -> ByteString {
        format!("{}-{index}", self.stream_name).into()
    }
}

/// Returns the peers' hash of a namespace: over UTF-16 code units, wrapping to signed 32 bits.
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
        // The remainder was computed with the peer's own function, in Node:
        // hashCode("/notifications") % 4.
        assert!(hash_code("/notifications") < 0);
        let lost = config.lost_stream_of("/notifications").unwrap();
        assert!(lost.starts_with("socket.io--"), "{lost}");
        let read: ByteString = config.stream_of("/notifications");
        assert!(["socket.io-0", "socket.io-1", "socket.io-2", "socket.io-3"].contains(&&*read), "{read}");
    }

    #[test]
    fn a_dialect_is_read_as_it_is_written() {
        for name in ["streams-0.2", "streams-0.3", "bridge", "sharded", "classic"] {
            assert_eq!(name.parse::<Dialect>().map(|dialect| dialect.to_string()), Ok(name.to_owned()));
        }
        for name in ["", "Bridge", " bridge", "streams-0.4"] {
            assert_eq!(name.parse::<Dialect>(), Err(UnknownDialect(name.into())));
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn options_are_read_as_they_are_written() {
        let recovery = Recovery::default().session_bytes(7);
        let config = Config::default()
            .dialect(Dialect::Streams02)
            .recovery(recovery)
            .block_time(Duration::from_millis(250));
        let text = serde_json::to_string(&config).unwrap();
        assert!(
            text.contains(r#""dialect":"streams-0.2""#) && text.contains(r#""block_time":250"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
        let few: Config = serde_json::from_str(r#"{"dialect":"bridge","limits":{"requests":5}}"#).unwrap();
        assert_eq!(few, Config::default().dialect(Dialect::Bridge).limits(Limits::default().requests(5)));
        for name in ["streams-0.2", "streams-0.3", "bridge", "sharded", "classic"] {
            let read: Dialect = serde_json::from_value(name.into()).unwrap();
            assert_eq!(read.to_string(), name);
        }
        assert!(serde_json::from_str::<Config>(r#"{"max_length":5}"#).is_err(), "a wrong key is no default");
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
