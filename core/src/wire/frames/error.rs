//! The errors of reading frames.

use crate::payload::PayloadError;

/// The reason why a frame can't be read. Nothing that follows on the connection can be trusted to
/// be in step, so the connection is to be closed, as Node's servers do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame does not begin with the number of a packet type.
    #[error("a frame begins with a digit from 0 to 6, not with {0:?}")]
    Type(Option<char>),
    /// A packet with binary values does not tell their number.
    #[error("the number of attachments is a whole number from 1 on, with '-' behind it")]
    AttachmentCount,
    /// The packet has more binary values than [`FrameLimits`](super::FrameLimits) allow.
    #[error("the packet has more than {limit} attachments")]
    TooManyAttachments {
        /// The limit.
        limit: usize,
    },
    /// The packet takes more bytes than [`FrameLimits`](super::FrameLimits) allow.
    #[error("the packet takes more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The packet's data is nested deeper than [`FrameLimits`](super::FrameLimits) allow.
    #[error("the packet's data is nested deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// The packet's id does not fit into 64 bits, or a blank stands where an id or the data is
    /// expected.
    #[error("the packet's id is not a whole number")]
    Id,
    /// An acknowledgement does not name the event that it is for.
    #[error("an acknowledgement without an id")]
    NoId,
    /// The packet's data is missing, or is not what a packet of this type carries.
    #[error("the data of a packet of type {kind} is not {expected}")]
    Data {
        /// The packet's type.
        kind: u8,
        /// The data that a packet of this type carries.
        expected: &'static str,
    },
    /// An event has no name, or one that is neither a string nor a number, or one that Socket.IO
    /// reserves.
    #[error("the event has no name, or one that is reserved")]
    EventName,
    /// A placeholder names no attachment of its packet.
    #[error("a placeholder names none of the {attachments} attachments")]
    Placeholder {
        /// The number of attachments.
        attachments: usize,
    },
    /// A text frame came while a packet still lacked binary frames.
    #[error("a text frame came while {missing} binary frames were expected")]
    UnexpectedText {
        /// The number of binary frames that were still to come.
        missing: usize,
    },
    /// A binary frame came that belongs to no packet.
    #[error("a binary frame came that belongs to no packet")]
    UnexpectedBinary,
    /// The data can't be carried.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}
