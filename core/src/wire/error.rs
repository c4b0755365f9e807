//! The errors of reading a message.

use crate::foreign::{Base64Error, JsonError};
use crate::msgpack::MsgPackError;

/// The reason why bytes from the wire are not a valid message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A field of the entry, or a key of the Pub/Sub message, is missing.
    #[error("the field {0:?} is missing")]
    MissingField(&'static str),
    /// The message's number is not one of the protocol's thirteen.
    #[error("{0:?} is no known message type")]
    UnknownType(String),
    /// The data lacks a key that this type of message needs.
    #[error("a message of type {kind} needs {key:?} in its data")]
    MissingKey {
        /// The message's number.
        kind: u8,
        /// The missing key.
        key: &'static str,
    },
    /// The data is not JSON, or not of the expected shape.
    #[error("the data is not as expected: {0}")]
    Json(JsonError),
    /// The data is not MessagePack, or not of the expected shape.
    #[error("the data is not as expected: {0}")]
    MsgPack(#[from] MsgPackError),
    /// The data is neither JSON nor base64.
    #[error("the data is neither a JSON object nor base64: {0}")]
    Base64(Base64Error),
    /// The application's codec can't read it.
    #[error("the data is not as expected: {0}")]
    Codec(String),
    /// The author's name is longer than that of any real node. The engine would have to store it.
    #[error("the uid has {size} bytes; at most {limit} are believed")]
    NameTooLong {
        /// The length of the name, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The data of a broadcast's packet is not an array.
    #[error("the packet's data is not an array")]
    PacketData,
    /// The room to join or to leave is neither a string nor a number.
    #[error("the room is neither a text nor a number")]
    RoomName,
    /// A broadcast's packet is not an event. Clients would end their connections, or take it for an
    /// acknowledgement of their own packets.
    #[error("the packet is no event: its type is neither 2 nor 5")]
    PacketType,
    /// A broadcast's packet has an id that is not a whole number. Clients would end their
    /// connections.
    #[error("the packet's id is not a whole number")]
    PacketId,
    /// A broadcast's event has no name, or one that is neither a string nor a number, or one that
    /// Socket.IO reserves. Clients would end their connections.
    #[error("the event has no name that clients accept")]
    EventName,
    /// A broadcast carries binary data, and an object with `_placeholder: true`. Clients would take
    /// that object for the placeholder of a binary value, and end their connections if there is no
    /// such value.
    #[error("an object beside binary data says that it is a placeholder")]
    Placeholder,
}

impl From<JsonError> for WireError {
    fn from(error: JsonError) -> Self {
        WireError::Json(error)
    }
}

impl From<Base64Error> for WireError {
    fn from(error: Base64Error) -> Self {
        WireError::Base64(error)
    }
}
