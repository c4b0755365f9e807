//! What is broadcast, and to whom.

use core::time::Duration;

use bytestring::ByteString;
use serde::Serialize;

use crate::payload::{Payload, PayloadError};

/// The packet type of an event; the only one that servers broadcast to clients.
pub const EVENT: u8 = 2;

/// Whether a client's parser does not accept this event name from a server: it would end the connection.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 6] =
        [b"connect", b"connect_error", b"disconnect", b"disconnecting", b"newListener", b"removeListener"];
    NAMES.contains(&name)
}

/// A Socket.IO packet on its way to clients.
///
/// ```
/// use sio_streams_core::Packet;
///
/// let packet = Packet::event("news", &("hello", 42)).unwrap();
/// assert_eq!(packet.data.as_json(), Some(r#"["news","hello",42]"#));
///
/// // A Node client that gets one of Socket.IO's own names ends its connection.
/// assert!(Packet::event("disconnect", &()).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The packet's type; [`EVENT`] for all that this crate makes.
    pub kind: u8,
    /// `[event, …args]`.
    pub data: Payload,
    /// The namespace, if the packet names it itself.
    pub nsp: Option<ByteString>,
    /// The id under which a client would acknowledge. Broadcasts carry none on the wire.
    pub id: Option<u64>,
}

impl Packet {
    /// An event with its arguments: a tuple, an array or a `Vec` of values, `()` for none.
    ///
    /// # Errors
    ///
    /// Whatever Node peers or their clients could not digest: see [`PayloadError`].
    pub fn event<A: Serialize + ?Sized>(name: &str, args: &A) -> Result<Self, PayloadError> {
        Packet::named(name, Payload::event(name, args)?)
    }

    /// A packet of `data`, which must be `[event, …args]`.
    ///
    /// # Errors
    ///
    /// [`PayloadError::NotAnEvent`]; [`PayloadError::ReservedEvent`]; [`PayloadError::Placeholder`].
    pub fn new(data: Payload) -> Result<Self, PayloadError> {
        let name = data.event_name().ok_or(PayloadError::NotAnEvent)?;
        Packet::named(&name, data)
    }

    fn named(name: &str, data: Payload) -> Result<Self, PayloadError> {
        if is_reserved(name.as_bytes()) {
            return Err(PayloadError::ReservedEvent(name.into()));
        }
        match data.has_false_placeholder() {
            true => Err(PayloadError::Placeholder),
            false => Ok(Packet { kind: EVENT, data, nsp: None, id: None }),
        }
    }
}

/// Whom a message is for, and how it is to be sent.
///
/// Empty `rooms` mean everyone in the namespace; otherwise the union of the rooms. A socket in any room of `except` is left out. Every
/// socket is in a room that bears its own id, so a socket id serves as a room.
///
/// ```
/// use core::time::Duration;
/// use sio_streams_core::BroadcastOptions;
///
/// let options = BroadcastOptions::to("room1").and("room2").except("room3").timeout(Duration::from_secs(2));
/// assert_eq!(options.rooms.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BroadcastOptions {
    /// The rooms that are addressed; empty: all.
    pub rooms: Vec<ByteString>,
    /// The rooms whose sockets are left out.
    pub except: Vec<ByteString>,
    /// How to send.
    pub flags: Flags,
}

impl BroadcastOptions {
    /// Everyone in the namespace.
    pub fn all() -> Self {
        Self::default()
    }

    /// The sockets in `room`.
    pub fn to(room: impl Into<ByteString>) -> Self {
        Self::all().and(room)
    }

    /// The sockets in `room` too.
    #[must_use]
    pub fn and(mut self, room: impl Into<ByteString>) -> Self {
        self.rooms.push(room.into());
        self
    }

    /// Not the sockets in `room`.
    #[must_use]
    pub fn except(mut self, room: impl Into<ByteString>) -> Self {
        self.except.push(room.into());
        self
    }

    /// Only the sockets of this node: nothing is published.
    #[must_use]
    pub fn local(mut self) -> Self {
        self.flags.local = Some(true);
        self
    }

    /// Clients that are not ready to receive just now may be passed over. Such a packet gets no offset and is not recovered.
    #[must_use]
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = Some(true);
        self
    }

    /// Whether the transport may compress the packet.
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = Some(compress);
        self
    }

    /// How long to wait for answers, in whole milliseconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.flags.timeout = Some(timeout);
        self
    }
}

/// The flags of a broadcast. `None`: the key is absent, which is not the same as `false`: the peers give an offset only to packets
/// on which `volatile` is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Clients that are not ready may be passed over. What other emitters write, `1` or `"yes"`, counts as JavaScript takes it.
    pub volatile: Option<bool>,
    /// Whether the transport may compress.
    pub compress: Option<bool>,
    /// The message never leaves its node.
    pub local: Option<bool>,
    /// Set by `socket.broadcast` in older versions; without effect.
    pub broadcast: Option<bool>,
    /// Set by older versions; without effect.
    pub binary: Option<bool>,
    /// How long to wait for answers; whole milliseconds on the wire.
    pub timeout: Option<Duration>,
    /// One answer is wanted, so the caller gets it by itself and not as a list.
    pub expect_single_response: Option<bool>,
    /// Flags that this crate doesn't know, or whose value isn't of the usual kind. They are passed on as they came.
    pub other: Vec<(ByteString, Payload)>,
}

impl Flags {
    /// What JavaScript takes for `id: undefined` gets an offset, and `id: null` gets none, as `volatile: false` does not either.
    pub(crate) fn keep_offset_away(&mut self) {
        if !self.has_volatile() {
            self.volatile = Some(false);
        }
    }

    /// Whether the flag `volatile` is there at all, whatever its value.
    pub(crate) fn has_volatile(&self) -> bool {
        self.volatile.is_some() || self.other.iter().any(|(key, _)| key == "volatile")
    }

    /// Whether the message stays on its node.
    pub fn is_local(&self) -> bool {
        self.local == Some(true)
    }
}

/// A socket of some node, as `fetch_sockets` tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSocket {
    /// The socket's id.
    pub id: ByteString,
    /// What is known of the client's handshake; a [`Handshake`] if a streams peer sent it.
    pub handshake: Payload,
    /// The rooms that the socket is in, the one with its own id included.
    pub rooms: Vec<ByteString>,
    /// What the application attached to the socket.
    pub data: Payload,
}

/// A socket of this node, as the application tells of it when it is asked. Its rooms the engine knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSocket {
    /// The socket's id.
    pub id: ByteString,
    /// What is known of the client's handshake.
    pub handshake: Payload,
    /// What the application attached to the socket.
    pub data: Payload,
}

impl LocalSocket {
    /// A socket with the given handshake and data.
    ///
    /// # Errors
    ///
    /// If the handshake can't be carried; its headers, query and auth come from a client.
    pub fn new(
        id: impl Into<ByteString>,
        handshake: &Handshake,
        data: Payload,
    ) -> Result<Self, PayloadError> {
        Ok(LocalSocket { id: id.into(), handshake: Payload::encode(handshake)?, data })
    }
}

/// A client's handshake, in the shape that Node's `RemoteSocket` offers to its users.
#[derive(Clone, Debug, Default, PartialEq, Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Handshake {
    /// The HTTP headers of the first request, names in lower case.
    pub headers: serde_json::Map<String, serde_json::Value>,
    /// When, as JavaScript's `Date` prints it.
    pub time: String,
    /// The client's IP address.
    pub address: String,
    /// Whether the request came from another origin.
    pub xdomain: bool,
    /// Whether the connection is encrypted.
    pub secure: bool,
    /// When, in milliseconds since 1970.
    pub issued: u64,
    /// The request's path and query.
    pub url: String,
    /// The request's query parameters.
    pub query: serde_json::Map<String, serde_json::Value>,
    /// What the client sent to authenticate itself.
    pub auth: serde_json::Map<String, serde_json::Value>,
}
