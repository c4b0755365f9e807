//! Whole nodes in processes of their own, which send and receive the same broadcasts on the same
//! Redis.

#[cfg(feature = "peers")]
pub mod aims;
#[cfg(feature = "peers")]
pub mod chart;
#[cfg(feature = "peers")]
pub mod contender;
pub mod job;
#[cfg(feature = "peers")]
pub mod measure;
#[cfg(feature = "peers")]
pub mod options;
#[cfg(feature = "peers")]
pub mod report;
#[cfg(feature = "peers")]
pub mod results;
#[cfg(feature = "worker")]
pub mod worker;

use sio_streams_core::Packet;

/// An error. It ends the program.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Something that may go wrong.
pub type Result<T> = std::result::Result<T, Error>;

/// The broadcast that everyone sends: its name, a time, and the payload.
///
/// # Errors
///
/// Never: it can be carried.
pub fn packet(now: u64, payload: job::Payload) -> Result<Packet> {
    Ok(match payload.binary {
        false => Packet::event("m", &(now, "x".repeat(payload.size)))?,
        true => Packet::event("m", &(now, serde_bytes::ByteBuf::from(vec![b'x'; payload.size])))?,
    })
}
