//! Connections: bytes in flight, in order, in both directions.

use std::collections::VecDeque;

use bytes::Bytes;
use bytestring::ByteString;
use sio_streams_core::{Command, CommandError, Reply, Time};
use sio_streams_redis_model::ClientId;

use super::lane::Tag;

/// Names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnId(pub(crate) u64);

/// A message from the server to a host.
#[derive(Debug)]
pub(crate) enum Down {
    Reply(Tag, Result<Reply, CommandError>),
    Push(ByteString, Bytes),
    /// The server has closed the connection.
    Closed,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) host: usize,
    /// The host's lane.
    pub(crate) slot: usize,
    pub(crate) client: ClientId,
    /// `true` while the host still holds it.
    pub(crate) held: bool,
    /// On their way to the server.
    pub(crate) up: VecDeque<(Tag, Command)>,
    /// At the server, behind a read that blocks.
    pub(crate) arrived: VecDeque<(Tag, Command)>,
    /// The read that blocks.
    pub(crate) blocked: Option<Tag>,
    /// On their way to the host.
    pub(crate) down: VecDeque<Down>,
    /// The time at which the last message arrives: later ones arrive later.
    pub(crate) last_up: Time,
    pub(crate) last_down: Time,
    /// Nothing arrives at the server before: what is on its way is late.
    pub(crate) not_before: Time,
    /// The number of messages that it has carried. It determines their latencies.
    pub(crate) carried: u64,
}
