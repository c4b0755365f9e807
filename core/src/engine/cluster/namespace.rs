//! The state of a namespace that is open on this node.

use std::collections::BTreeSet;

use bytestring::ByteString;

use super::members::Members;
use crate::command::CommandError;
use crate::engine::pauses::Pauses;
use crate::id::NodeId;
use crate::rooms::Rooms;
use crate::time::Time;

/// The state of a namespace's subscription to its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Subscription {
    No,
    Asked,
    /// The subscription is in force. The number distinguishes it from earlier ones.
    Yes(u64),
}

/// A namespace that is open on this node.
#[derive(Debug)]
pub(in crate::engine) struct Namespace {
    /// The number of namespaces that had been closed when this one was opened. It distinguishes
    /// this namespace from earlier ones of the same name.
    pub(in crate::engine) closings: u64,
    /// The stream in which the namespace is published, if the dialect has streams.
    pub(in crate::engine) stream: Option<ByteString>,
    /// The stream to which Node peers write the namespace, but which no Node peer reads, if there
    /// is one.
    pub(in crate::engine) lost_stream: Option<ByteString>,
    /// The channel on which the namespace's nodes are counted, if they subscribe.
    pub(in crate::engine) channel: ByteString,
    /// The sockets of this node and their rooms. It is empty if the rooms are the application's.
    pub(in crate::engine) rooms: Rooms,
    /// The rooms in which the application has said that it has sockets, if the rooms are its own.
    pub(in crate::engine) occupied: BTreeSet<ByteString>,
    pub(in crate::engine) members: Members,
    /// The nodes that have been heard, or listed as subscribers. The set is used only to name nodes
    /// that are missing.
    pub(in crate::engine) known: BTreeSet<NodeId>,
    pub(in crate::engine) subscription: Subscription,
    /// The number of subscriptions that have come into force.
    pub(in crate::engine) subscriptions: u64,
    /// The server's refusal of the namespace's own channels that was reported last.
    pub(super) unheard: Option<CommandError>,
    /// The pauses before the namespace is subscribed to again.
    pub(super) pauses: Pauses,
    pub(in crate::engine) ready: bool,
    /// The time at which an entry of this node was last published, or some time before.
    pub(in crate::engine) last_spoken: Time,
    /// `true` if a heartbeat waits to be published.
    pub(in crate::engine) beating: bool,
    /// `true` if a heartbeat was due while there was no link.
    pub(in crate::engine) beat_owed: bool,
}

impl Namespace {
    pub(in crate::engine) fn streams(&self) -> impl Iterator<Item = &ByteString> {
        self.stream.iter().chain(&self.lost_stream)
    }

    /// Returns the number of the subscription that is in force, if there is one.
    pub(in crate::engine) fn subscribed_since(&self) -> Option<u64> {
        match self.subscription {
            Subscription::Yes(number) => Some(number),
            Subscription::No | Subscription::Asked => None,
        }
    }
}
