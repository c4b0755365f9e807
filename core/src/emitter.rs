//! Publishing to a cluster without being a member of it.

use bytestring::ByteString;

use crate::command::Command;
use crate::config::{Config, ConfigError};
use crate::error::CallError;
use crate::id::NodeId;
use crate::message::Body;
use crate::outgoing::check_server_event;
use crate::packet::{BroadcastOptions, Packet};
use crate::payload::Payload;

/// Makes the commands that broadcast to a cluster from outside, for programs that only emit.
///
/// An emitter has no state, reads nothing, and is never counted as a node. Each call returns one
/// command, which the caller executes. The command's reply tells whether the message is published.
/// If the reply is lost, the fate of the message stays unknown; only a node of the cluster can look
/// it up.
///
/// ```
/// use sio_streams_core::{BroadcastOptions, Command, Config, Emitter, Packet};
///
/// // The options must be those of the cluster.
/// let emitter = Emitter::new(Config { stream_count: 4, ..Config::default() }).unwrap();
/// let news = Packet::event("news", &("hello",)).unwrap();
/// let command = emitter.broadcast("/chat", news, BroadcastOptions::to("room")).unwrap();
/// assert!(matches!(command, Command::XAdd { stream, .. } if stream.starts_with("socket.io-")));
/// ```
#[derive(Clone, Debug)]
pub struct Emitter {
    config: Config,
}

impl Emitter {
    /// Creates an emitter for a cluster with these options.
    ///
    /// # Errors
    ///
    /// Returns an error if the options conflict.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Emitter { config })
    }

    /// Sends a packet to the clients that `opts` match, on all nodes.
    ///
    /// # Errors
    ///
    /// [`CallError::InvalidNamespace`], [`CallError::Payload`], [`CallError::Binary`].
    pub fn broadcast(&self, nsp: &str, packet: Packet, opts: BroadcastOptions) -> Result<Command, CallError> {
        self.command(nsp, Body::Broadcast { packet, opts, request_id: None })
    }

    /// Makes the sockets that `opts` match join rooms, on all nodes.
    ///
    /// # Errors
    ///
    /// [`CallError::InvalidNamespace`], [`CallError::Payload`].
    pub fn sockets_join(
        &self,
        nsp: &str,
        opts: BroadcastOptions,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Result<Command, CallError> {
        let rooms = rooms.into_iter().collect();
        self.command(nsp, Body::SocketsJoin { opts, rooms })
    }

    /// Makes the sockets that `opts` match leave rooms, on all nodes.
    ///
    /// # Errors
    ///
    /// [`CallError::InvalidNamespace`], [`CallError::Payload`].
    pub fn sockets_leave(
        &self,
        nsp: &str,
        opts: BroadcastOptions,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Result<Command, CallError> {
        let rooms = rooms.into_iter().collect();
        self.command(nsp, Body::SocketsLeave { opts, rooms })
    }

    /// Disconnects the sockets that `opts` match, on all nodes. If `close` is set, their underlying
    /// connections are closed too.
    ///
    /// # Errors
    ///
    /// [`CallError::InvalidNamespace`], [`CallError::Payload`].
    pub fn disconnect_sockets(
        &self,
        nsp: &str,
        opts: BroadcastOptions,
        close: bool,
    ) -> Result<Command, CallError> {
        self.command(nsp, Body::DisconnectSockets { opts, close })
    }

    /// Emits an event to the servers. `packet` is `[event, …args]`; see [`Payload::event`]. Servers
    /// can't answer it.
    ///
    /// # Errors
    ///
    /// [`CallError::InvalidNamespace`], [`CallError::ReservedEvent`], [`CallError::Payload`],
    /// [`CallError::Binary`].
    pub fn server_side_emit(&self, nsp: &str, packet: Payload) -> Result<Command, CallError> {
        check_server_event(&packet)?;
        self.command(nsp, Body::ServerSideEmit { packet, request_id: None })
    }

    fn command(&self, nsp: &str, body: Body) -> Result<Command, CallError> {
        if !nsp.starts_with('/') {
            return Err(CallError::InvalidNamespace(nsp.into()));
        }
        self.config.message(&NodeId::EMITTER, &nsp.into(), &body)
    }
}
