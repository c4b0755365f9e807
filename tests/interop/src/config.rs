//! The configuration of a peer.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// The adapter: a generation of `@socket.io/redis-streams-adapter`, or one of those in
/// `@socket.io/redis-adapter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Generation {
    /// 0.2.3: everything on the stream.
    #[serde(rename = "0.2")]
    V02,
    /// 0.3.1: requests and answers on Pub/Sub.
    #[serde(rename = "0.3")]
    V03,
    /// `createAdapter` of `@socket.io/redis-adapter` 8.3.0: everything on Pub/Sub.
    #[serde(rename = "classic")]
    Classic,
    /// `createShardedAdapter` of `@socket.io/redis-adapter` 8.3.0: everything on sharded Pub/Sub.
    #[serde(rename = "sharded")]
    Sharded,
}

/// The Redis client that the peer's adapter uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RedisClient {
    /// `redis` 4.
    Redis4,
    /// `redis` 5; not with [`Generation::V02`], which cannot read with it.
    Redis5,
    /// `ioredis` 5.
    IoRedis,
}

/// The configuration of a peer: the options that an application would pass to `createAdapter` and
/// `new Server`.
#[derive(Debug, Clone, Serialize)]
pub struct PeerConfig {
    generation: Generation,
    client: RedisClient,
    url: String,
    cluster: bool,
    adapter: Map<String, Value>,
    server: Map<String, Value>,
    namespaces: Vec<String>,
    recovery: Value,
    #[serde(rename = "adminUi", skip_serializing_if = "Option::is_none")]
    admin_ui: Option<String>,
    probe: bool,
}

impl PeerConfig {
    /// The adapter's defaults, `redis` 4, the namespace `/`, no connection state recovery.
    pub fn new(generation: Generation, url: impl Into<String>) -> Self {
        Self {
            generation,
            client: RedisClient::Redis4,
            url: url.into(),
            cluster: false,
            adapter: Map::new(),
            server: Map::new(),
            namespaces: vec!["/".to_owned()],
            recovery: json!(false),
            admin_ui: None,
            probe: true,
        }
    }

    /// Short heartbeats, where the adapter has any, for tests that must not wait for the usual
    /// ones; and time for everyone to answer, where the adapter lets one say how much: those of
    /// [`quick`](crate::quick).
    #[must_use]
    pub fn quick(self) -> Self {
        match self.generation {
            Generation::V02 => self.adapter("heartbeatInterval", 200).adapter("heartbeatTimeout", 30_000),
            Generation::Classic => self.adapter("requestsTimeout", 60_000),
            _ => self,
        }
    }

    /// Takes a server for dead after two seconds of silence, where the adapter goes by that: only
    /// for tests that wait for it, as a server may be silent for so long on a busy machine.
    #[must_use]
    pub fn impatient(self) -> Self {
        match self.generation {
            Generation::V02 => self.adapter("heartbeatTimeout", 2_000),
            _ => self,
        }
    }

    /// Chooses the Redis client.
    #[must_use]
    pub fn client(mut self, client: RedisClient) -> Self {
        self.client = client;
        self
    }

    /// The URL is that of one server of a Redis Cluster.
    #[must_use]
    pub fn cluster(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// Sets an option of the adapter, by its JavaScript name: `streamName`, `heartbeatInterval`,
    /// ...
    #[must_use]
    pub fn adapter(mut self, option: &str, value: impl Into<Value>) -> Self {
        self.adapter.insert(option.to_owned(), value.into());
        self
    }

    /// Sets an option of the Socket.IO server, by its JavaScript name: `pingTimeout`, ...
    #[must_use]
    pub fn server(mut self, option: &str, value: impl Into<Value>) -> Self {
        self.server.insert(option.to_owned(), value.into());
        self
    }

    /// The namespaces to open. `/` is always open.
    #[must_use]
    pub fn namespaces(mut self, namespaces: &[&str]) -> Self {
        self.namespaces = namespaces.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Turns connection state recovery on, with the server's default duration.
    #[must_use]
    pub fn recovery(mut self) -> Self {
        self.recovery = json!(true);
        self
    }

    /// Turns connection state recovery on, for this long.
    #[must_use]
    pub fn recovery_ms(mut self, max_disconnection_duration: u64) -> Self {
        self.recovery = json!(max_disconnection_duration);
        self
    }

    /// Has `@socket.io/admin-ui` on the server, in the namespace `/admin`, where pages may come in
    /// without a password. They know the server by this id.
    #[must_use]
    pub fn admin_ui(mut self, server_id: &str) -> Self {
        self.admin_ui = Some(server_id.to_owned());
        self.namespaces.push("/admin".to_owned());
        self
    }

    /// Leaves the streams as they are: the peer is ready when its XREAD waits, with `$` for a
    /// cursor. It then may miss what is written between two XREADs, until it has read its first
    /// entry. Without this, it reads a probe first.
    #[must_use]
    pub fn without_probe(mut self) -> Self {
        self.probe = false;
        self
    }
}
