//! One connection of a host, as the host sees it: the driver's task for a lane as a state machine.

use std::collections::VecDeque;

use sio_streams_core::{Command, CommandError, CommandId, Lane, Reply, Time};

use super::net::ConnId;

/// Whose command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tag {
    Engine(CommandId),
    Peer(u64),
}

/// A command that has been sent: how long its reply is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) tag: Tag,
    pub(crate) deadline: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Being opened, or waiting to be tried again.
    Opening,
    Open(ConnId),
}

/// A lane of a host.
#[derive(Debug)]
pub(crate) struct LaneState {
    pub(crate) lane: Lane,
    /// Tells it from an earlier one in the same place.
    pub(crate) instance: u64,
    pub(crate) link: Link,
    pub(crate) known_down: bool,
    pub(crate) failures: u32,
    /// Commands that the connection has not been given, and how often the host knew it to be back
    /// by then.
    pub(crate) inbox: VecDeque<(Tag, Command, u64)>,
    /// The number of times that it has come back, and that its host has heard of that. A command
    /// that it gets in between was meant for a connection that was lost: it is given back.
    pub(crate) ups: u64,
    pub(crate) known_ups: u64,
    /// The commands that are to be given back.
    pub(crate) stale: Vec<Tag>,
    /// Commands that it has been given, the oldest first.
    pub(crate) sent: VecDeque<Sent>,
    /// The replies of the batch that is under way, if commands go in batches.
    pub(crate) done: Vec<(Tag, Result<Reply, CommandError>)>,
    /// `true` if an alarm for the oldest command's deadline is set.
    pub(crate) patience_set: bool,
    /// New connections are refused until then.
    pub(crate) refused_until: Time,
    /// Nothing comes through until then.
    pub(crate) stalled_until: Time,
}

impl LaneState {
    pub(crate) fn new(lane: Lane, instance: u64) -> Self {
        LaneState {
            lane,
            instance,
            link: Link::Opening,
            known_down: false,
            failures: 0,
            inbox: VecDeque::new(),
            ups: 0,
            known_ups: 0,
            stale: Vec::new(),
            sent: VecDeque::new(),
            done: Vec::new(),
            patience_set: false,
            refused_until: Time::ZERO,
            stalled_until: Time::ZERO,
        }
    }
}
