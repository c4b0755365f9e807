//! What is open on this node under one name.

use std::collections::BTreeSet;

use bytestring::ByteString;

use super::members::Members;
use crate::id::NodeId;
use crate::rooms::Rooms;
use crate::time::Time;

/// Where a namespace stands with its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Subscription {
    No,
    Asked,
    /// In force; the number tells it from others before.
    Yes(u64),
}

/// A namespace that is open on this node.
#[derive(Debug)]
pub(in crate::engine) struct Namespace {
    /// How many had been closed when it was opened. That tells it from others of the same name, that were open before.
    pub(in crate::engine) closings: u64,
    /// Where it is published, if the dialect has streams.
    pub(in crate::engine) stream: Option<ByteString>,
    /// Where Node peers publish it to nobody, if they do.
    pub(in crate::engine) lost_stream: Option<ByteString>,
    /// Where its nodes are counted, if they subscribe.
    pub(in crate::engine) channel: ByteString,
    pub(in crate::engine) rooms: Rooms,
    pub(in crate::engine) members: Members,
    /// The nodes that have been heard, or listed as subscribers. Only for giving names to those that are missing.
    pub(in crate::engine) known: BTreeSet<NodeId>,
    pub(in crate::engine) subscription: Subscription,
    /// How many subscriptions have come into force.
    pub(in crate::engine) subscriptions: u64,
    /// It is being looked after those who owe answers, or will be.
    pub(in crate::engine) rechecking: bool,
    /// When it was looked after them last.
    pub(in crate::engine) rechecked: Option<Time>,
    pub(in crate::engine) ready: bool,
    /// When an entry of this node's was published last.
    pub(in crate::engine) last_spoken: Time,
    /// A heartbeat waits to be published.
    pub(in crate::engine) beating: bool,
    /// A heartbeat was due while there was no link.
    pub(in crate::engine) beat_owed: bool,
}

impl Namespace {
    pub(in crate::engine) fn streams(&self) -> impl Iterator<Item = &ByteString> {
        self.stream.iter().chain(&self.lost_stream)
    }

    /// The number of the subscription by which it is subscribed, if it is.
    pub(in crate::engine) fn subscribed_since(&self) -> Option<u64> {
        match self.subscription {
            Subscription::Yes(number) => Some(number),
            Subscription::No | Subscription::Asked => None,
        }
    }

    /// Where Node peers publish it to nobody, if they do.
    pub(in crate::engine) fn lost_stream(&self) -> Option<&ByteString> {
        self.lost_stream.as_ref()
    }
}
