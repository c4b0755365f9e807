//! The nodes of a namespace, as far as they send heartbeats.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use crate::id::NodeId;
use crate::time::Time;

/// The number of silent nodes that are remembered.
const FORMER: usize = 1_000;

#[derive(Clone, Copy, Debug)]
struct Member {
    last_seen: Time,
    /// `true` if the node also subscribes. Such a node would be counted twice without special care.
    bridge: bool,
}

/// The other nodes that are alive.
#[derive(Debug, Default)]
pub(in crate::engine) struct Members {
    all: BTreeMap<NodeId, Member>,
    /// The nodes to examine for silence first. When one node falls silent, more may follow. The
    /// queue then takes the remaining nodes with the times at which they were last seen, the
    /// longest silent first. Nodes that were seen since then are skipped. So not all nodes are
    /// examined for each one that falls silent. The queue is empty while no node falls silent.
    queue: VecDeque<(Time, NodeId)>,
    /// The nodes that fell silent and have not said that they leave, and which of them subscribe, too.
    /// Some of them may be alive. Only heartbeats tell who subscribes, and other messages may come
    /// first.
    former: BTreeMap<NodeId, bool>,
}

impl Members {
    /// Notes a sign of life. Returns `true` if the node is new. Once `limit` nodes are known,
    /// further ones stay unknown.
    pub(in crate::engine) fn seen(&mut self, node: &NodeId, bridge: bool, now: Time, limit: usize) -> bool {
        if let Some(member) = self.all.get_mut(node) {
            member.last_seen = now;
            member.bridge |= bridge;
            return false;
        }
        let room = self.all.len() < limit;
        if room {
            let was_bridge = self.former.remove(node).unwrap_or(false) && !mutant!(BridgeForgotten);
            self.all.insert(node.owned(), Member { last_seen: now, bridge: bridge || was_bridge });
        }
        room
    }

    /// Returns `true` if the node was a member and fell silent.
    pub(in crate::engine) fn was(&self, node: &NodeId) -> bool {
        self.former.contains_key(node)
    }

    /// Notes a sign of life that does not make the node a member.
    pub(in crate::engine) fn refresh(&mut self, node: &NodeId, now: Time) {
        if let Some(member) = self.all.get_mut(node) {
            member.last_seen = now;
        }
    }

    /// Counts all members as seen now. No node could be heard until now, so no node's silence
    /// counts.
    pub(in crate::engine) fn refresh_all(&mut self, now: Time) {
        self.all.values_mut().for_each(|member| member.last_seen = now);
    }

    pub(in crate::engine) fn remove(&mut self, node: &NodeId) -> bool {
        self.former.remove(node);
        self.all.remove(node).is_some()
    }

    /// Removes and returns the nodes that were silent for longer than `timeout`. Also returns the
    /// time at which the next node exceeds `timeout`, if it stays silent.
    pub(in crate::engine) fn expire(&mut self, now: Time, timeout: Duration) -> (Vec<NodeId>, Option<Time>) {
        let is_silent = |last_seen: Time| now.since(last_seen) > timeout;
        let mut silent = Vec::new();
        while let Some(last_seen) = self.oldest_in_queue()
            && is_silent(last_seen)
            && let Some((_, node)) = self.queue.pop_front()
        {
            self.falls_silent(&node);
            silent.push(node);
        }
        if self.queue.is_empty() {
            let rest = self.all.iter().filter(|(_, member)| is_silent(member.last_seen));
            let found: Vec<NodeId> = rest.map(|(node, _)| node.clone()).collect();
            for node in &found {
                self.falls_silent(node);
            }
            if !found.is_empty() {
                self.queue = self.all.iter().map(|(node, member)| (member.last_seen, node.clone())).collect();
                self.queue.make_contiguous().sort_unstable();
            }
            silent.extend(found);
        }
        silent.sort_unstable();
        let first = self.queue.front().map(|(last_seen, _)| *last_seen);
        let oldest = first.or_else(|| self.all.values().map(|member| member.last_seen).min());
        (silent, oldest.map(|last_seen| last_seen + timeout + Duration::from_micros(1)))
    }

    fn falls_silent(&mut self, node: &NodeId) {
        let Some(member) = self.all.remove(node) else { return };
        if self.former.len() >= FORMER {
            self.former.pop_first();
        }
        self.former.insert(node.clone(), member.bridge);
    }

    /// Returns the time at which the longest silent node was last seen, if the queue has it.
    fn oldest_in_queue(&mut self) -> Option<Time> {
        while let Some((last_seen, node)) = self.queue.front() {
            if self.all.get(node).is_some_and(|member| member.last_seen == *last_seen) {
                return Some(*last_seen);
            }
            self.queue.pop_front();
        }
        self.queue = VecDeque::new();
        None
    }

    pub(in crate::engine) fn names(&self) -> impl Iterator<Item = &NodeId> {
        self.all.keys()
    }

    pub(in crate::engine) fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns the names of the members that subscribe, too.
    pub(in crate::engine) fn bridge_names(&self) -> impl Iterator<Item = &NodeId> {
        self.all.iter().filter(|(_, member)| member.bridge).map(|(node, _)| node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn at(second: u64) -> Time {
        Time::from_micros(second * 1_000_000)
    }

    #[test]
    fn a_bridge_that_comes_back_is_one_before_it_says_so_again() {
        let mut members = Members::default();
        let (bridge, other) = (NodeId::new("bridge"), NodeId::new("other"));
        assert!(members.seen(&bridge, true, at(0), 10) && members.seen(&other, false, at(0), 10));
        assert_eq!(members.expire(at(60), TIMEOUT).0.len(), 2);
        assert!(members.was(&bridge) && members.seen(&bridge, false, at(60), 10));
        assert!(members.was(&other) && members.seen(&other, false, at(60), 10));
        assert_eq!(members.bridge_names().collect::<Vec<_>>(), [&bridge]);
        // One that says that it leaves is forgotten.
        assert!(members.remove(&bridge) && members.seen(&bridge, false, at(61), 10));
        assert_eq!(members.bridge_names().count(), 0);
    }

    /// The definition in its plain form: returns the nodes that were silent for too long.
    fn silent(all: &mut BTreeMap<NodeId, Time>, now: Time) -> Vec<NodeId> {
        let is_silent = |last_seen: &Time| now.since(*last_seen) > TIMEOUT;
        let found = all.iter().filter(|(_, last_seen)| is_silent(last_seen));
        let found: Vec<NodeId> = found.map(|(node, _)| node.clone()).collect();
        all.retain(|_, last_seen| !is_silent(last_seen));
        found
    }

    #[test]
    fn nobody_falls_silent_too_early_too_late_or_unheard() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut members, mut plain) = (Members::default(), BTreeMap::new());
            for second in 0..200 {
                let now = at(second);
                for _ in 0..rng.usize(..4) {
                    let node = NodeId::new(format!("{}", rng.u8(..20)));
                    match rng.u8(..20) {
                        0 => assert_eq!(members.remove(&node), plain.remove(&node).is_some()),
                        1 => {
                            members.refresh_all(now);
                            plain.values_mut().for_each(|last_seen| *last_seen = now);
                        }
                        _ => {
                            let new = plain.insert(node.clone(), now).is_none();
                            assert_eq!(members.seen(&node, rng.bool(), now, 100), new);
                        }
                    }
                }
                let (expired, next) = members.expire(now, TIMEOUT);
                assert_eq!(expired, silent(&mut plain, now), "seed {seed}, second {second}");
                let oldest = plain.values().min();
                assert_eq!(next, oldest.map(|oldest| *oldest + TIMEOUT + Duration::from_micros(1)));
                assert!(members.names().eq(plain.keys()));
            }
        }
    }
}
