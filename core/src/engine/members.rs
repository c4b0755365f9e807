//! Which nodes a namespace has, as far as they send heartbeats.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::id::NodeId;
use crate::time::Time;

#[derive(Clone, Copy, Debug)]
struct Member {
    last_seen: Time,
    /// It subscribes too, so it is counted twice unless somebody takes care.
    bridge: bool,
}

/// The other nodes that are alive.
#[derive(Debug, Default)]
pub(super) struct Members(BTreeMap<NodeId, Member>);

impl Members {
    /// A sign of life; whether the node is new. With `limit` nodes known, further ones stay unknown.
    pub(super) fn seen(&mut self, node: &NodeId, bridge: bool, now: Time, limit: usize) -> bool {
        if let Some(member) = self.0.get_mut(node) {
            member.last_seen = now;
            member.bridge |= bridge;
            return false;
        }
        let room = self.0.len() < limit;
        if room {
            self.0.insert(node.owned(), Member { last_seen: now, bridge });
        }
        room
    }

    /// A sign of life that makes nobody a member.
    pub(super) fn refresh(&mut self, node: &NodeId, now: Time) {
        if let Some(member) = self.0.get_mut(node) {
            member.last_seen = now;
        }
    }

    /// Nobody could be heard until now, so nobody's silence counts.
    pub(super) fn refresh_all(&mut self, now: Time) {
        self.0.values_mut().for_each(|member| member.last_seen = now);
    }

    pub(super) fn remove(&mut self, node: &NodeId) -> bool {
        self.0.remove(node).is_some()
    }

    /// Takes out the nodes that were silent for longer than `timeout`.
    pub(super) fn expire(&mut self, now: Time, timeout: Duration) -> Vec<NodeId> {
        let silent: Vec<NodeId> = self
            .0
            .iter()
            .filter(|(_, member)| now.since(member.last_seen) > timeout)
            .map(|(node, _)| node.clone())
            .collect();
        for node in &silent {
            self.0.remove(node);
        }
        silent
    }

    /// When the next node will have been silent for too long, if it stays silent.
    pub(super) fn next_expiry(&self, timeout: Duration) -> Option<Time> {
        let first = self.0.values().map(|member| member.last_seen).min()?;
        Some(first + timeout + Duration::from_micros(1))
    }

    pub(super) fn contains(&self, node: &NodeId) -> bool {
        self.0.contains_key(node)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &NodeId> {
        self.0.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn bridges(&self) -> usize {
        self.0.values().filter(|member| member.bridge).count()
    }
}
