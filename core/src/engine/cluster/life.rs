//! Signs of life: this node's own heartbeats, and those of the other nodes.

use core::time::Duration;

use bytestring::ByteString;

use super::Cluster;
use crate::command::Lane;
use crate::config::Dialect;
use crate::engine::context::{Context, RETRY};
use crate::engine::timers::Timer;
use crate::event::Event;
use crate::id::NodeId;
use crate::message::Body;
use crate::time::Time;

/// The time after which the engine looks again while it can't tell a silent node from one that was
/// not heard.
const EXPIRY_GRACE: Duration = Duration::from_secs(1);

/// The result of looking for silent nodes.
#[derive(Debug, Default)]
pub(in crate::engine) struct Expired {
    /// The nodes that have been silent for too long.
    pub(in crate::engine) silent: Vec<NodeId>,
    /// `true` if, by the clock, other nodes have been silent for too long as well. This can be
    /// decided once an entry of this node has made its way to the server and back.
    pub(in crate::engine) in_doubt: bool,
}

impl Cluster {
    /// Schedules another heartbeat after one was given up. The other nodes wait for one.
    pub(in crate::engine) fn beat_failed(&mut self, cx: &mut Context, nsp: &ByteString) {
        if self.namespaces.contains_key(nsp) {
            cx.timers.arm(Timer::Heartbeat(nsp.clone()), cx.now + RETRY);
        }
    }

    /// Notes that something was published in the namespace, at `at` or later. No heartbeat is
    /// needed for a while. The time of the reply does not matter: the other nodes may have read the
    /// entry long before.
    pub(in crate::engine) fn spoke_in(&mut self, cx: &mut Context, nsp: &str, at: Time) {
        if !cx.config.dialect.heartbeats() {
            return;
        }
        if let Some(namespace) = self.namespaces.get_mut(nsp) {
            let at = if mutant!(SpokeByTheReply) { cx.now } else { at };
            namespace.last_spoken = namespace.last_spoken.max(at);
        }
    }

    /// Schedules the heartbeat that follows one that was published. It may have become due while
    /// the fate of that one was unknown.
    pub(in crate::engine) fn beats_next(&mut self, cx: &mut Context, nsp: &str) {
        if !cx.config.dialect.heartbeats() || mutant!(SpokeByTheReply) {
            return;
        }
        if let Some((nsp, namespace)) = self.namespaces.get_key_value(nsp) {
            let due = namespace.last_spoken + cx.config.heartbeat_interval;
            cx.timers.arm(Timer::Heartbeat(nsp.clone()), due.max(cx.now));
        }
    }

    /// Notes that the server has taken nothing for a while, on this stream or on any. Silence in
    /// that time says nothing.
    pub(in crate::engine) fn nobody_could_speak(&mut self, cx: &mut Context, stream: Option<&ByteString>) {
        if !cx.config.dialect.heartbeats() {
            return;
        }
        for namespace in self.namespaces.values_mut() {
            if stream.is_none() || namespace.stream.as_ref() == stream {
                namespace.members.refresh_all(cx.now);
            }
        }
    }

    /// Handles an entry of another node, in a dialect in which an entry is a sign of life.
    pub(in crate::engine) fn heard(
        &mut self,
        cx: &mut Context,
        nsp: &ByteString,
        node: &NodeId,
        body: &Body,
        bridge: bool,
    ) {
        let dialect = cx.config.dialect;
        if !node.is_a_node() || *body == Body::AdapterClose {
            return;
        }
        let Some(namespace) = self.namespaces.get_mut(nsp) else { return };
        // Every message of a 0.2 node is a sign of life. There may also be 0.3 nodes, which are
        // counted by their subscriptions.
        let heartbeat = matches!(body, Body::InitialHeartbeat | Body::Heartbeat);
        if dialect == Dialect::Bridge && !heartbeat && !namespace.members.was(node) {
            namespace.members.refresh(node, cx.now);
        } else if namespace.members.seen(node, bridge, cx.now, cx.config.limits.nodes) {
            if namespace.members.len() == 1 {
                cx.timers.arm(Timer::Expiry(nsp.clone()), cx.now + cx.config.heartbeat_timeout);
            }
            cx.events.push_back(Event::NodeUp { nsp: nsp.clone(), node: node.clone() });
        }
    }

    /// Notes that a heartbeat has left the outbox. Another one may follow.
    pub(in crate::engine) fn beat_is_out(&mut self, nsp: &str) {
        if let Some(namespace) = self.namespaces.get_mut(nsp) {
            namespace.beating = false;
        }
    }

    /// Notes that a heartbeat is to be published. Returns `false` if one is waiting already. That
    /// one stands for all, because it is never far from the others.
    pub(in crate::engine) fn beats(&mut self, nsp: &str) -> bool {
        self.namespaces.get_mut(nsp).is_some_and(|namespace| {
            namespace.beat_owed = false;
            !core::mem::replace(&mut namespace.beating, true)
        })
    }

    /// Checks a namespace that may have been silent for a heartbeat interval. Returns `true` if a
    /// heartbeat is due now.
    pub(in crate::engine) fn is_beat_due(&mut self, cx: &mut Context, nsp: &ByteString) -> bool {
        let Some(namespace) = self.namespaces.get_mut(nsp) else { return false };
        let due = namespace.last_spoken + cx.config.heartbeat_interval;
        if due > cx.now {
            if !mutant!(HeartbeatNotRearmed) {
                cx.timers.arm(Timer::Heartbeat(nsp.clone()), due);
            }
            return false;
        }
        // While the link is down, no node can hear the heartbeat. A missed heartbeat is sent as
        // soon as the link is back.
        let is_down = cx.lanes.is_down(&Lane::Writer);
        if is_down {
            namespace.beat_owed = !mutant!(HeartbeatNotMadeUp);
        }
        cx.timers.arm(Timer::Heartbeat(nsp.clone()), cx.now + cx.config.heartbeat_interval);
        !is_down
    }

    /// Returns the namespaces whose heartbeats were due while the writer's link was down, in order.
    pub(in crate::engine) fn owed_beats(&self) -> Vec<ByteString> {
        let owed = self.namespaces.iter().filter(|(_, namespace)| namespace.beat_owed);
        let mut owed: Vec<ByteString> = owed.map(|(nsp, _)| nsp.clone()).collect();
        owed.sort();
        owed
    }

    /// Looks for nodes that have been silent for too long. Everything that was said before
    /// `heard_until` is known.
    pub(in crate::engine) fn expire(
        &mut self,
        cx: &mut Context,
        nsp: &ByteString,
        heard_until: Time,
    ) -> Expired {
        let Some(namespace) = self.namespaces.get_mut(nsp) else { return Expired::default() };
        let timeout = match cx.config.heartbeat_timeout {
            timeout if mutant!(ExpiryLate) => timeout + cx.config.heartbeat_interval,
            timeout if mutant!(ExpiryEarly) => timeout / 2,
            timeout => timeout,
        };
        let proven = if mutant!(SilenceByTheClock) { cx.now } else { heard_until };
        let (silent, next) = namespace.members.expire(proven, timeout);
        let in_doubt = next.is_some_and(|next| next <= cx.now);
        // The namespace looks again in a moment. It does not while the server refuses writes,
        // because then no node can speak.
        let next = if in_doubt { Some(cx.now + EXPIRY_GRACE) } else { next };
        if let Some(next) = next.filter(|_| !mutant!(ExpiryNotRearmed)) {
            cx.timers.arm(Timer::Expiry(nsp.clone()), next);
        }
        Expired { silent, in_doubt }
    }
}
