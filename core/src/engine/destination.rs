//! The destination of a message.

use bytestring::ByteString;

/// The destination of a message. There is one queue for each stream, and one for all channels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Destination {
    Stream(ByteString),
    Channels,
}
