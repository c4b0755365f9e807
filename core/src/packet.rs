//! Packets for clients, and the sockets that they are addressed to.

use core::time::Duration;

use bytestring::ByteString;
use serde::Serialize;

use crate::event_name::{is_named, is_reserved};
use crate::javascript::date_text;
use crate::payload::{Payload, PayloadError};

/// The packet type of an event, the only type that servers broadcast to clients.
pub(crate) const EVENT: u8 = 2;

/// An event on its way to clients. Every packet can be sent: its data is an array, and its name is
/// not one of Socket.IO's own.
///
/// ```
/// use sio_streams_core::Packet;
///
/// let packet = Packet::event("news", &("hello", 42)).unwrap();
/// assert_eq!(packet.data().as_json(), Some(r#"["news","hello",42]"#));
///
/// // A Node client that gets one of Socket.IO's own names ends its connection.
/// assert!(Packet::event("disconnect", &()).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub(crate) data: Payload,
    pub(crate) nsp: Option<ByteString>,
    pub(crate) id: Option<u64>,
}

impl Packet {
    /// Creates an event with its arguments, which are a tuple, an array or a `Vec` of values. `()`
    /// stands for no arguments.
    ///
    /// # Errors
    ///
    /// Returns an error if Node peers or their clients could not read the event: see
    /// [`PayloadError`].
    pub fn event<A: Serialize + ?Sized>(name: &str, args: &A) -> Result<Self, PayloadError> {
        let data = Payload::event(name, args)?;
        match is_reserved(name.as_bytes()) {
            true => Err(PayloadError::ReservedEvent(name.into())),
            false => Packet::named(data),
        }
    }

    /// Creates a packet from `data`, which must be `[event, …args]`. The event may be a number, as
    /// with Node's servers.
    ///
    /// # Errors
    ///
    /// [`PayloadError::NotAnEvent`], [`PayloadError::ReservedEvent`],
    /// [`PayloadError::Placeholder`].
    pub fn new(data: Payload) -> Result<Self, PayloadError> {
        if data.is_array() && is_named(&data).is_ok_and(|named| named) {
            return Packet::named(data);
        }
        Err(match data.event_name() {
            Some(name) => PayloadError::ReservedEvent(name),
            None => PayloadError::NotAnEvent,
        })
    }

    /// Creates a packet from an event whose name is accepted.
    fn named(data: Payload) -> Result<Self, PayloadError> {
        match data.has_false_placeholder() {
            true => Err(PayloadError::Placeholder),
            false => Ok(Packet { data, nsp: None, id: None }),
        }
    }

    /// Returns `true` if a client that misses the packet gets it later.
    pub(crate) fn is_recoverable(&self, opts: &BroadcastOptions) -> bool {
        self.id.is_none() && (!opts.flags.has_volatile() || mutant!(OffsetOnVolatile))
    }

    /// Returns `[event, …args]`.
    pub fn data(&self) -> &Payload {
        &self.data
    }

    /// Takes `[event, …args]` out of the packet.
    pub fn into_data(self) -> Payload {
        self.data
    }

    /// Returns the namespace, if the packet itself names one. Node's adapters write it. The
    /// receivers use the namespace of the message instead.
    pub fn nsp(&self) -> Option<&ByteString> {
        self.nsp.as_ref()
    }

    /// Names the namespace in the packet itself, as Node's adapters do in what they write.
    #[must_use]
    pub fn with_nsp(self, nsp: impl Into<ByteString>) -> Self {
        Packet { nsp: Some(nsp.into()), ..self }
    }

    /// Returns the id under which a client acknowledges the packet. On the wire between servers a
    /// broadcast has none: each server gives it one of its own.
    pub fn id(&self) -> Option<u64> {
        self.id
    }

    /// Sets the id under which a client acknowledges the packet, before
    /// [`frames`](Packet::frames) are made of it.
    #[must_use]
    pub fn with_id(self, id: u64) -> Self {
        Packet { id: Some(id), ..self }
    }
}

/// The sockets that a message addresses, and the flags for sending it.
///
/// Empty `rooms` address every socket in the namespace. Otherwise the union of the rooms is
/// addressed. A socket in any room of `except` is left out. Every socket is in a room that bears
/// its own id, so a socket id can be used as a room.
///
/// In JavaScript a room may be a number, and `5` is another room than `"5"`. Here the room `"5"`
/// stands for both.
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
    /// The addressed rooms. If there are none, every socket is addressed.
    pub rooms: Vec<ByteString>,
    /// The rooms whose sockets are left out.
    pub except: Vec<ByteString>,
    /// The flags for sending.
    pub flags: Flags,
}

impl BroadcastOptions {
    /// Addresses every socket in the namespace.
    pub fn all() -> Self {
        Self::default()
    }

    /// Addresses the sockets in `room`.
    pub fn to(room: impl Into<ByteString>) -> Self {
        Self::all().and(room)
    }

    /// Adds the sockets in `room`.
    #[must_use]
    pub fn and(mut self, room: impl Into<ByteString>) -> Self {
        self.rooms.push(room.into());
        self
    }

    /// Leaves out the sockets in `room`.
    #[must_use]
    pub fn except(mut self, room: impl Into<ByteString>) -> Self {
        self.except.push(room.into());
        self
    }

    /// Addresses only sockets of this node. Nothing is published.
    #[must_use]
    pub fn local(mut self) -> Self {
        self.flags.local = Some(true);
        self
    }

    /// Lets clients miss the packet if they are not ready to receive it. Such a packet gets no
    /// offset and can't be recovered.
    #[must_use]
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = Some(true);
        self
    }

    /// Sets whether the transport may compress the packet.
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = Some(compress);
        self
    }

    /// Sets the time to wait for answers, in whole milliseconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.flags.timeout = Some(timeout);
        self
    }
}

/// The flags of a broadcast. `None` means that the key is absent, which differs from `false`: the
/// peers give an offset only to packets on which `volatile` is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Clients that are not ready may miss the packet. A truthy value of another type counts as
    /// `true`; other emitters write `1` or `"yes"`.
    pub volatile: Option<bool>,
    /// The transport may compress the packet.
    pub compress: Option<bool>,
    /// The message never leaves its node.
    pub local: Option<bool>,
    /// `socket.broadcast` sets this flag in older versions. It has no effect.
    pub broadcast: Option<bool>,
    /// Older versions set this flag. It has no effect.
    pub binary: Option<bool>,
    /// The time to wait for answers, in whole milliseconds on the wire.
    pub timeout: Option<Duration>,
    /// The caller expects one answer, and gets it by itself instead of in a list.
    pub expect_single_response: Option<bool>,
    /// Flags that this crate does not know, or whose value has an unexpected type. They are passed
    /// on unchanged.
    pub other: Vec<(ByteString, Payload)>,
}

impl Flags {
    /// Sets `volatile` to `false` if it is absent, so that the packet gets no offset. A packet with
    /// `id: null` needs this: it gets no offset, while JavaScript's `id: undefined` gets one.
    pub(crate) fn keep_offset_away(&mut self) {
        if !self.has_volatile() {
            self.volatile = Some(false);
        }
    }

    /// Returns `true` if the flag `volatile` is present, with any value.
    pub(crate) fn has_volatile(&self) -> bool {
        self.volatile.is_some() || self.other.iter().any(|(key, _)| key == "volatile")
    }

    /// Returns `true` if the message stays on its node.
    pub fn is_local(&self) -> bool {
        self.local == Some(true)
    }
}

/// A socket of any node, as `fetch_sockets` returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSocket {
    /// The socket's id.
    pub id: ByteString,
    /// The client's handshake. It is a [`Handshake`] if a streams peer sent it.
    pub handshake: Payload,
    /// The rooms that the socket is in, including the one with its own id.
    pub rooms: Vec<ByteString>,
    /// The data that the application attached to the socket.
    pub data: Payload,
}

/// A socket of this node, as the application describes it when it is asked. The engine adds its
/// rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSocket {
    /// The socket's id.
    pub id: ByteString,
    /// The client's handshake.
    pub handshake: Payload,
    /// The data that the application attached to the socket. If there is none, it is
    /// [`{}`](Payload::empty_object).
    pub data: Payload,
}

impl LocalSocket {
    /// Creates a socket with the given handshake and data.
    ///
    /// ```
    /// use sio_streams_core::{Handshake, LocalSocket, Payload};
    ///
    /// let handshake = Handshake { address: "192.0.2.1".into(), ..Handshake::at(1_700_000_000_000) };
    /// let socket = LocalSocket::new("a socket's id", &handshake, Payload::empty_object()).unwrap();
    /// assert_eq!(socket.handshake.decode::<Handshake>().unwrap(), handshake);
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the handshake can't be encoded. Its headers, query and auth come from a
    /// client.
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
    /// The HTTP headers of the first request, with names in lower case.
    pub headers: serde_json::Map<String, serde_json::Value>,
    /// The time of the handshake, as JavaScript's `Date` prints it. [`Handshake::at`] makes it.
    pub time: String,
    /// The client's IP address.
    pub address: String,
    /// `true` if the request came from another origin.
    pub xdomain: bool,
    /// `true` if the connection is encrypted.
    pub secure: bool,
    /// The time of the handshake, in milliseconds since 1970.
    pub issued: u64,
    /// The request's path and query.
    pub url: String,
    /// The request's query parameters.
    pub query: serde_json::Map<String, serde_json::Value>,
    /// The data that the client sent to authenticate itself.
    pub auth: serde_json::Map<String, serde_json::Value>,
}

impl Handshake {
    /// Creates the handshake of a client that connected at this time, in milliseconds since 1970.
    /// Everything else is empty.
    ///
    /// ```
    /// use sio_streams_core::Handshake;
    ///
    /// let handshake = Handshake::at(1_700_000_000_000);
    /// assert_eq!(handshake.issued, 1_700_000_000_000);
    /// assert_eq!(handshake.time, "Tue Nov 14 2023 22:13:20 GMT+0000 (Coordinated Universal Time)");
    /// ```
    pub fn at(issued: u64) -> Self {
        Handshake { issued, time: date_text(issued), ..Handshake::default() }
    }
}
