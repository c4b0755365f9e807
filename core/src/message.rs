//! What nodes say to each other, apart from how it is written.

use bytestring::ByteString;

use crate::id::{NodeId, RequestId};
use crate::packet::{BroadcastOptions, Packet, RemoteSocket};
use crate::payload::Payload;

/// A message from one node of the cluster to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender.
    pub uid: NodeId,
    /// The namespace that it is about, with its leading `/`.
    pub nsp: ByteString,
    /// What it says.
    pub body: Body,
}

/// The thirteen kinds of message, with the numbers of the streams adapters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// 1: a node has started; every other node answers with a heartbeat.
    InitialHeartbeat,
    /// 2: the sender is alive.
    Heartbeat,
    /// 3: a packet for clients.
    Broadcast {
        /// The packet.
        packet: Packet,
        /// For whom.
        opts: BroadcastOptions,
        /// Present if the clients' acknowledgements are wanted.
        request_id: Option<RequestId>,
    },
    /// 4: the matching sockets join rooms.
    SocketsJoin {
        /// Which sockets.
        opts: BroadcastOptions,
        /// The rooms to join.
        rooms: Vec<ByteString>,
    },
    /// 5: the matching sockets leave rooms.
    SocketsLeave {
        /// Which sockets.
        opts: BroadcastOptions,
        /// The rooms to leave.
        rooms: Vec<ByteString>,
    },
    /// 6: the matching sockets are disconnected.
    DisconnectSockets {
        /// Which sockets.
        opts: BroadcastOptions,
        /// Whether the underlying connection is closed too.
        close: bool,
    },
    /// 7: which sockets match?
    FetchSockets {
        /// Which sockets.
        opts: BroadcastOptions,
        /// What the answers repeat.
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
        /// Present if answers are wanted.
        request_id: Option<RequestId>,
    },
    /// 10: the answer to 9.
    ServerSideEmitResponse {
        /// The request that is answered.
        request_id: RequestId,
        /// The one value that the listener answered with.
        packet: Payload,
    },
    /// 11: how many clients of the sender will be asked to acknowledge a broadcast.
    BroadcastClientCount {
        /// The broadcast that it is about.
        request_id: RequestId,
        /// How many clients; may be 0.
        client_count: u64,
    },
    /// 12: one client's acknowledgement.
    BroadcastAck {
        /// The broadcast that was acknowledged.
        request_id: RequestId,
        /// The one value that the client answered with.
        packet: Payload,
    },
    /// 13: the sender leaves.
    AdapterClose,
}

impl Body {
    /// The message's number on the wire.
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
