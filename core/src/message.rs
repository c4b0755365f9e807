//! The messages between nodes, independent of their encoding.

use bytestring::ByteString;

use crate::id::{NodeId, RequestId};
use crate::packet::{BroadcastOptions, Packet, RemoteSocket};
use crate::payload::Payload;

/// A message from one node of the cluster to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender.
    pub uid: NodeId,
    /// The namespace that the message is about, with its leading `/`.
    pub nsp: ByteString,
    /// The content.
    pub body: Body,
}

/// The thirteen kinds of message, numbered as in the streams adapters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// 1: the sender has started. Every other node answers with a heartbeat.
    InitialHeartbeat,
    /// 2: the sender is alive.
    Heartbeat,
    /// 3: a packet for clients.
    Broadcast {
        /// The packet.
        packet: Packet,
        /// The addressed sockets, and the flags.
        opts: BroadcastOptions,
        /// The request's id, if the sender wants the clients' acknowledgements.
        request_id: Option<RequestId>,
    },
    /// 4: the matching sockets join rooms.
    SocketsJoin {
        /// The addressed sockets.
        opts: BroadcastOptions,
        /// The rooms to join.
        rooms: Vec<ByteString>,
    },
    /// 5: the matching sockets leave rooms.
    SocketsLeave {
        /// The addressed sockets.
        opts: BroadcastOptions,
        /// The rooms to leave.
        rooms: Vec<ByteString>,
    },
    /// 6: the matching sockets are disconnected.
    DisconnectSockets {
        /// The addressed sockets.
        opts: BroadcastOptions,
        /// `true` if the underlying connections are closed too.
        close: bool,
    },
    /// 7: a request for the matching sockets.
    FetchSockets {
        /// The addressed sockets.
        opts: BroadcastOptions,
        /// The id that the answers repeat.
        request_id: RequestId,
    },
    /// 8: the answer to 7.
    FetchSocketsResponse {
        /// The request that is answered.
        request_id: RequestId,
        /// The sender's matching sockets.
        sockets: Vec<RemoteSocket>,
    },
    /// 9: an event for the other servers.
    ServerSideEmit {
        /// `[event, …args]`.
        packet: Payload,
        /// The request's id, if the sender wants answers.
        request_id: Option<RequestId>,
    },
    /// 10: the answer to 9.
    ServerSideEmitResponse {
        /// The request that is answered.
        request_id: RequestId,
        /// The value with which the listener answered.
        packet: Payload,
    },
    /// 11: the number of the sender's clients that will be asked to acknowledge a broadcast.
    BroadcastClientCount {
        /// The request id of the broadcast.
        request_id: RequestId,
        /// The number of clients, which may be 0.
        client_count: u64,
    },
    /// 12: one client's acknowledgement.
    BroadcastAck {
        /// The request id of the broadcast.
        request_id: RequestId,
        /// The value with which the client answered.
        packet: Payload,
    },
    /// 13: the sender leaves.
    AdapterClose,
}

impl Body {
    /// Returns the addressed sockets, if the message is about sockets.
    pub fn opts(&self) -> Option<&BroadcastOptions> {
        match self {
            Body::Broadcast { opts, .. }
            | Body::SocketsJoin { opts, .. }
            | Body::SocketsLeave { opts, .. }
            | Body::DisconnectSockets { opts, .. }
            | Body::FetchSockets { opts, .. } => Some(opts),
            _ => None,
        }
    }

    /// Returns the message's number on the wire.
    pub fn kind(&self) -> u8 {
        match self {
            Body::InitialHeartbeat => 1,
            Body::Heartbeat => 2,
            Body::Broadcast { .. } => 3,
            Body::SocketsJoin { .. } => 4,
            Body::SocketsLeave { .. } => 5,
            Body::DisconnectSockets { .. } => 6,
            Body::FetchSockets { .. } => 7,
            Body::FetchSocketsResponse { .. } => 8,
            Body::ServerSideEmit { .. } => 9,
            Body::ServerSideEmitResponse { .. } => 10,
            Body::BroadcastClientCount { .. } => 11,
            Body::BroadcastAck { .. } => 12,
            Body::AdapterClose => 13,
        }
    }
}
