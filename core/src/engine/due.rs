//! The effect of a message of this node on the node's own sockets.

use bytestring::ByteString;

use crate::message::Body;

/// The effect on this node of one of its own messages. It is due once the message has its place in
/// the stream. It is dropped if the namespace is closed before then, because a later namespace of
/// the same name is not meant.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) nsp: ByteString,
    pub(super) body: Body,
    /// The number of namespaces that had been closed at the time of the call.
    pub(super) closings: u64,
}
