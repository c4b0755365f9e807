//! Which nodes a namespace has, as far as they send heartbeats.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::NodeId;
use crate::time::Time;

/// How many nodes are remembered that fell silent.
const FORMER: usize = 1_000;

#[derive(Clone, Copy, Debug)]
struct Member {
    last_seen: Time,
    /// It subscribes too, so it is counted twice unless somebody takes care.
    bridge: bool,
}

/// The other nodes that are alive.
#[derive(Debug, Default)]
pub(in crate::engine) struct Members {
    all: BTreeMap<NodeId, Member>,
    /// When one has fallen silent more may follow: the others as they were seen last then, the longest silent first. Who was seen since is
    /// passed over. So not all are looked at for each that falls silent; and where none does, nothing is kept.
    queue: VecDeque<(Time, NodeId)>,
    /// Nodes that fell silent, and have not said that they leave. Some may live.
    former: BTreeSet<NodeId>,
}

impl Members {
    /// A sign of life; whether the node is new. With `limit` nodes known, further ones stay unknown.
    pub(in crate::engine) fn seen(&mut self, node: &NodeId, bridge: bool, now: Time, limit: usize) -> bool {
        if let Some(member) = self.all.get_mut(node) {
            member.last_seen = now;
            member.bridge |= bridge;
            return false;
        }
        let room = self.all.len() < limit;
        if room {
            self.former.remove(node);
            self.all.insert(node.owned(), Member { last_seen: now, bridge });
        }
        room
    }

    /// Whether it was a member, and fell silent.
    pub(in crate::engine) fn was(&self, node: &NodeId) -> bool {
        self.former.contains(node)
    }

    /// A sign of life that makes nobody a member.
    pub(in crate::engine) fn refresh(&mut self, node: &NodeId, now: Time) {
        if let Some(member) = self.all.get_mut(node) {
            member.last_seen = now;
        }
    }

    /// Nobody could be heard until now, so nobody's silence counts.
    pub(in crate::engine) fn refresh_all(&mut self, now: Time) {
        self.all.values_mut().for_each(|member| member.last_seen = now);
    }

    pub(in crate::engine) fn remove(&mut self, node: &NodeId) -> bool {
        self.former.remove(node);
        self.all.remove(node).is_some()
    }

    /// Takes out the nodes that were silent for longer than `timeout`; and when the next will have been, if it stays silent.
    pub(in crate::engine) fn expire(&mut self, now: Time, timeout: Duration) -> (Vec<NodeId>, Option<Time>) {
        let is_silent = |last_seen: Time| now.since(last_seen) > timeout;
        let mut silent = Vec::new();
        while let Some(last_seen) = self.oldest_in_queue()
            && is_silent(last_seen)
            && let Some((_, node)) = self.queue.pop_front()
        {
            self.remove(&node);
            silent.push(node);
        }
        if self.queue.is_empty() {
            let rest = self.all.iter().filter(|(_, member)| is_silent(member.last_seen));
            let found: Vec<NodeId> = rest.map(|(node, _)| node.clone()).collect();
            for node in &found {
                self.remove(node);
            }
            if !found.is_empty() {
                self.queue = self.all.iter().map(|(node, member)| (member.last_seen, node.clone())).collect();
                self.queue.make_contiguous().sort_unstable();
            }
            silent.extend(found);
        }
        silent.sort_unstable();
        for node in &silent {
            if self.former.len() >= FORMER {
                self.former.pop_first();
            }
            self.former.insert(node.clone());
        }
        let first = self.queue.front().map(|(last_seen, _)| *last_seen);
        let oldest = first.or_else(|| self.all.values().map(|member| member.last_seen).min());
        (silent, oldest.map(|last_seen| last_seen + timeout + Duration::from_micros(1)))
    }

    /// When the one was seen last that has been silent for the longest, if the queue has it.
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

    /// Those that subscribe, too.
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

    /// As it is said: whoever was silent for too long.
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
