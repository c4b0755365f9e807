//! Changes of subscriptions.

use sio_streams_core::{ByteString, Bytes};

use crate::args::Args;

/// The maximum of channels that one command subscribes to.
const CHANNELS_AT_ONCE: usize = 1_000;

/// A change of subscriptions.
///
/// ```
/// use sio_streams_resp::{Subscription, SubscriptionKind};
///
/// let channels = vec!["a".into(), "b".into()];
/// let change = Subscription { channels, kind: SubscriptionKind::Sharded, on: true };
/// let commands: Vec<_> = change.commands().map(|args| args.into_vec().concat()).collect();
/// assert_eq!(commands, [b"SSUBSCRIBEa", b"SSUBSCRIBEb"]);
/// ```
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

impl Subscription {
    /// Returns the command's name: `SUBSCRIBE`, `SUNSUBSCRIBE`, …
    pub fn name(&self) -> &'static str {
        match (self.kind, self.on) {
            (SubscriptionKind::Channels, true) => "SUBSCRIBE",
            (SubscriptionKind::Channels, false) => "UNSUBSCRIBE",
            (SubscriptionKind::Sharded, true) => "SSUBSCRIBE",
            (SubscriptionKind::Sharded, false) => "SUNSUBSCRIBE",
            (SubscriptionKind::Patterns, true) => "PSUBSCRIBE",
            (SubscriptionKind::Patterns, false) => "PUNSUBSCRIBE",
        }
    }

    /// Returns the maximum of channels for one command. Sharded channels of one command must have
    /// the same slot.
    pub(crate) fn at_once(&self) -> usize {
        if self.kind == SubscriptionKind::Sharded { 1 } else { CHANNELS_AT_ONCE }
    }

    /// Returns the commands of the change: one for each sharded channel, and one for each thousand
    /// others. Without channels, there are none.
    ///
    /// The server confirms each channel by itself. If it refuses a command, one error is the answer
    /// for all channels of the command.
    pub fn commands(&self) -> impl Iterator<Item = Args> + '_ {
        self.channels.chunks(self.at_once()).map(|some| {
            let names = some.iter().map(|channel| channel.as_bytes().clone());
            let name = Bytes::from_static(self.name().as_bytes());
            core::iter::once(name).chain(names).collect::<Vec<_>>().into()
        })
    }
}
