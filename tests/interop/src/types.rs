//! The parameters and results of a peer's operations.

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A binary value, as the control channel carries it: `{"$bin": "<base64>"}`. The peer sees a
/// `Buffer`.
pub fn bin(bytes: impl AsRef<[u8]>) -> Value {
    json!({ "$bin": BASE64_STANDARD.encode(bytes) })
}

/// The bytes of a binary value.
pub fn as_bin(value: &Value) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(value.get("$bin")?.as_str()?).ok()
}

/// Whom a message is for: `io.of(nsp).to(rooms).except(except)`, with flags.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Select {
    /// The namespace.
    pub nsp: String,
    /// The rooms; none means everyone.
    pub rooms: Vec<String>,
    /// The rooms whose sockets are left out.
    pub except: Vec<String>,
    /// The flags.
    pub flags: Flags,
}

/// The flags of a broadcast. A flag that is `None` or `false` is not set.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Flags {
    /// `.local`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub local: bool,
    /// `.volatile`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub volatile: bool,
    /// `.compress(..)`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compress: Option<bool>,
    /// `.timeout(..)`, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

impl Select {
    /// Everyone in a namespace.
    pub fn all(nsp: &str) -> Self {
        Self { nsp: nsp.to_owned(), ..Self::default() }
    }

    /// Everyone in a room of a namespace.
    pub fn room(nsp: &str, room: &str) -> Self {
        Self::all(nsp).to(room)
    }

    /// One more room.
    #[must_use]
    pub fn to(mut self, room: &str) -> Self {
        self.rooms.push(room.to_owned());
        self
    }

    /// One more room to leave out.
    #[must_use]
    pub fn except(mut self, room: &str) -> Self {
        self.except.push(room.to_owned());
        self
    }

    /// Only this peer's own sockets.
    #[must_use]
    pub fn local(mut self) -> Self {
        self.flags.local = true;
        self
    }

    /// May be lost.
    #[must_use]
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Sets whether messages are compressed on the way to the clients.
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = Some(compress);
        self
    }

    /// Sets the time to wait for answers, in milliseconds.
    #[must_use]
    pub fn timeout(mut self, timeout: u64) -> Self {
        self.flags.timeout = Some(timeout);
        self
    }
}

/// The options of a client's connection.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectOptions {
    /// The namespace; empty means `/`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nsp: String,
    /// The authentication payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Value>,
    /// The query parameters.
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    pub query: HashMap<String, String>,
    /// Additional HTTP headers.
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    pub headers: HashMap<String, String>,
    /// The port of the server, if it is not the peer's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `true` if the server's parser is the one for MessagePack.
    pub msgpack: bool,
    /// The session that the client claims to come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recover: Option<Session>,
}

/// A session that a client left behind, and the last entry that it saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The private session id.
    pub pid: String,
    /// The id of the last entry that the client saw.
    pub offset: String,
}

/// A client's knowledge of its own connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ClientState {
    /// The socket id, the same on both sides.
    pub sid: String,
    /// `true` if the server took up an earlier session.
    pub recovered: bool,
    /// The private session id, with recovery on.
    pub pid: Option<String>,
    /// The id of the last entry that the client saw.
    pub offset: Option<String>,
}

impl ClientState {
    /// The session to recover, once the client has one and has seen an entry.
    pub fn session(&self) -> Option<Session> {
        Some(Session { pid: self.pid.clone()?, offset: self.offset.clone()? })
    }
}

/// An event that arrived, at a client or at a server.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Received {
    /// The event's name.
    pub event: String,
    /// Its arguments. With recovery on, a client sees the entry's id as the last one.
    pub args: Vec<Value>,
    /// `true` if an acknowledgement was asked for.
    pub ack: bool,
}

/// The state of a client's connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Disconnection {
    /// `true` if it is closed.
    pub disconnected: bool,
    /// Why, in the client's words.
    pub reason: Option<String>,
}

/// The result of a broadcast with acknowledgements.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Acks {
    /// Everyone answered.
    Complete {
        /// One value for each client.
        acks: Vec<Value>,
    },
    /// The time was up.
    Failed {
        /// The error's message.
        error: String,
        /// The answers that had arrived.
        partial: Vec<Value>,
    },
}

/// The result of a server-side emit with acknowledgements.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Responses {
    /// Every server answered.
    Complete {
        /// One value for each server.
        responses: Vec<Value>,
    },
    /// The time was up.
    Failed {
        /// The error's message.
        error: String,
        /// The answers that had arrived.
        partial: Vec<Value>,
    },
}

/// A socket, as `fetchSockets` describes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct SocketInfo {
    /// The socket id.
    pub id: String,
    /// The handshake.
    pub handshake: Value,
    /// The rooms, the socket's own id among them.
    pub rooms: Vec<String>,
    /// The application's data.
    pub data: Value,
}

/// A peer's handling of a server-side event.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerSideReply {
    /// Answers, if an answer is wanted.
    Answer(Value),
    /// Listens and never answers.
    Silent,
    /// Throws an error. For an event without acknowledgement that came on the stream this makes the
    /// peer choke.
    Throw(String),
}

/// The state of a peer's process.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Stats {
    /// The process id.
    pub pid: u32,
    /// The processor time used so far, in milliseconds.
    pub cpu_ms: f64,
    /// The memory in use.
    pub rss_bytes: u64,
    /// Its own sockets, by namespace.
    pub sockets: HashMap<String, usize>,
}
