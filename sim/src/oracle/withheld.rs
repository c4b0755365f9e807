//! Channels to which nobody may subscribe: the nodes that need them may be without them, and
//! without nothing else.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use sio_streams_core::Time;

use super::HostView;
use super::channels::Heard;

/// A node has so long to subscribe to a channel when it may again, if its process doesn't stand
/// still. It tries every ten seconds.
const PATIENCE: Duration = Duration::from_secs(11);

/// The channels and patterns that were ever withheld, and until when.
#[derive(Debug, Default)]
pub(super) struct Withheld(BTreeMap<ByteString, Time>);

impl Withheld {
    pub(super) fn add(&mut self, channels: &[ByteString], until: Time) {
        for channel in channels {
            let last = self.0.entry(channel.clone()).or_insert(until);
            *last = until.max(*last);
        }
    }

    /// Returns the time at which everybody has had the time to subscribe to everything again.
    pub(super) fn is_over_at(&self) -> Option<Time> {
        self.0.values().map(|until| *until + PATIENCE).max()
    }

    fn has(&self, heard: &Heard, disturbed: Option<Time>, now: Time) -> bool {
        let (Heard::Channel(name) | Heard::Pattern(name)) = heard;
        let until = self.0.get(name).map(|until| disturbed.map_or(*until, |at| at.max(*until)));
        until.is_some_and(|until| now <= until + PATIENCE)
    }
}

impl HostView {
    /// Returns the channels that this node should hear and may be without: those of rooms that are
    /// withheld, and all of a namespace one of whose own channels is.
    pub(super) fn may_miss(&self, withheld: &Withheld, now: Time) -> BTreeSet<Heard> {
        let mut missing = BTreeSet::new();
        if withheld.0.is_empty() {
            return missing;
        }
        let is_withheld = |heard: &Heard| withheld.has(heard, self.disturbed, now);
        for (nsp, rooms) in &self.open {
            let (own, apart) = self.heard_in(nsp, rooms);
            if own.iter().any(is_withheld) {
                missing.extend(own);
                missing.extend(apart);
            } else {
                missing.extend(apart.into_iter().filter(is_withheld));
            }
        }
        missing
    }
}
