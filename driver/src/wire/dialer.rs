//! The trait for client crates that can connect to any server.

use sio_streams_core::Lane;

use super::address::Address;
use super::connection::WireConnection;
use super::link::Wire;
use crate::backend::{ConnectError, PushSender};

/// Connects to any server.
pub trait Dialer: Send + Sync + 'static {
    /// The type of its connections.
    type Wire: Wire;

    /// Returns the address that it was given: a standalone server's, or one to start from.
    fn home(&self) -> Address;

    /// Opens a connection for a lane, with the same user, password and TLS for every address. The
    /// caller bounds the time.
    fn dial(
        &self,
        address: &Address,
        lane: &Lane,
        pushes: PushSender,
    ) -> impl Future<Output = Result<WireConnection<Self::Wire>, ConnectError>> + Send;
}
