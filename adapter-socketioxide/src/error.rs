//! The reasons that a call fails.

use sio_streams_driver::sio_streams_core::PayloadError;
use sio_streams_driver::sio_streams_core::wire::FrameError;
use socketioxide_core::Sid;
use socketioxide_core::adapter::errors::{AdapterError, BroadcastError};

/// The reason that a [`Cluster`](crate::Cluster) can't be made of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The node owns the rooms of its sockets.
    #[error("the rooms are socketioxide's: start the node with `Config::room_owner: RoomOwner::Application`")]
    RoomOwner,
    /// The node's dialect has a channel for each room. socketioxide does not tell its adapter which
    /// rooms there are, so nobody could subscribe to them.
    #[error(
        "socketioxide does not tell its adapter which rooms there are, so they can't have channels: set \
         `Config::subscription_mode: SubscriptionMode::Static` here, and `subscriptionMode: \"static\"` on Node.js"
    )]
    RoomChannels,
    /// This server's clients would get its broadcasts in the order of the stream. socketioxide
    /// delivers to them at once.
    #[error(
        "socketioxide delivers to its own clients at once: leave `Config::local_delivery` as it is by default"
    )]
    StreamOrder,
    /// Connection state recovery is on. socketioxide ignores what a client brings along, so that
    /// nothing could be recovered.
    #[error("socketioxide can't recover a client's state: leave `Config::recovery` unset")]
    Recovery,
}

/// The reason that an operation on the cluster fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The node failed to do it, or refused to.
    #[error(transparent)]
    Node(#[from] sio_streams_driver::Error),
    /// The packet can't be carried to other servers, or their clients could not read it.
    #[error("the packet can't be sent to other servers: {0}")]
    Packet(#[from] PayloadError),
    /// The packet's attachments and its placeholders don't fit together.
    #[error("the packet can't be sent to other servers: {0}")]
    Attachments(#[from] FrameError),
    /// Only events can be broadcast.
    #[error("only events can be sent to other servers")]
    NotAnEvent,
    /// The socket was found by `fetch_sockets` so long ago that its true id has been forgotten. Find
    /// it again.
    #[error("the true id of the remote socket {0} has been forgotten; fetch it again")]
    Forgotten(Sid),
}

impl From<Error> for AdapterError {
    fn from(error: Error) -> Self {
        AdapterError(Box::new(error))
    }
}

impl From<Error> for BroadcastError {
    fn from(error: Error) -> Self {
        BroadcastError::Adapter(error.into())
    }
}
