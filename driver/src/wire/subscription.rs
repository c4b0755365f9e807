//! Changes of subscriptions.

use sio_streams_core::ByteString;

/// A change of subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The channels, or the patterns.
    pub channels: Vec<ByteString>,
    /// Their kind.
    pub kind: SubscriptionKind,
    /// `true` to subscribe, `false` to end the subscriptions.
    pub on: bool,
}

/// The kinds of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubscriptionKind {
    /// Channels: `SUBSCRIBE`.
    Channels,
    /// Channels of sharded Pub/Sub: `SSUBSCRIBE`, one for each.
    Sharded,
    /// Patterns: `PSUBSCRIBE`.
    Patterns,
}
