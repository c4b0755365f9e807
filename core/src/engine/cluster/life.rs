//! Signs of life: this node's own heartbeats, and those of the others.

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

/// While it can't be told whether a node is silent or only not heard, it is looked again after this long.
const EXPIRY_GRACE: Duration = Duration::from_secs(1);

/// What has come of looking for silent nodes.
#[derive(Debug, Default)]
pub(in crate::engine) struct Expired {
    /// The nodes that have been silent for too long.
    pub(in crate::engine) silent: Vec<NodeId>,
    /// By the clock, others have been too. Whether they were is known when something of this node's own has made its way to the
    /// server and back.
    pub(in crate::engine) in_doubt: bool,
}

impl Cluster {
    /// A heartbeat was given up. The others wait for one.
    pub(in crate::engine) fn beat_failed(&mut self, cx: &mut Context, nsp: &ByteString) {
        if self.namespaces.contains_key(nsp) {
            cx.timers.arm(Timer::Heartbeat(nsp.clone()), cx.now + RETRY);
        }
    }

    /// Something was published in the namespace: no heartbeat is needed for a while.
    pub(in crate::engine) fn spoke_in(&mut self, cx: &mut Context, nsp: &str) {
        if !cx.config.dialect.heartbeats() {
            return;
        }
        if let Some(namespace) = self.namespaces.get_mut(nsp) {
            namespace.last_spoken = cx.now;
        }
    }

    /// For a while the server has taken nothing, on this stream or on any: silence in that time says nothing.
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

    /// An entry of that node has come, in a dialect in which that is a sign of life.
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
        // Beside nodes of 0.2, whose every message is a sign of life, there are those of 0.3, which are counted by their subscriptions.
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

    /// A heartbeat has left the outbox. Another one may follow.
    pub(in crate::engine) fn beat_is_out(&mut self, nsp: &str) {
        if let Some(namespace) = self.namespaces.get_mut(nsp) {
            namespace.beating = false;
        }
    }

    /// A heartbeat is to be published. Returns `false` if one waits already, which stands for all: it is never far from the others.
    pub(in crate::engine) fn beats(&mut self, nsp: &str) -> bool {
        self.namespaces.get_mut(nsp).is_some_and(|namespace| {
            namespace.beat_owed = false;
            !core::mem::replace(&mut namespace.beating, true)
        })
    }

    /// The namespace may have been silent for a heartbeat interval. Returns `true` if a heartbeat is due now.
    pub(in crate::engine) fn is_beat_due(&mut self, cx: &mut Context, nsp: &ByteString) -> bool {
        let Some(namespace) = self.namespaces.get_mut(nsp) else { return false };
        let due = namespace.last_spoken + cx.config.heartbeat_interval;
        if due > cx.now {
            if !mutant!(HeartbeatNotRearmed) {
                cx.timers.arm(Timer::Heartbeat(nsp.clone()), due);
            }
            return false;
        }
        // While the link is down nobody can hear it. It is made up for as soon as the link is back.
        let is_down = cx.lanes.is_down(&Lane::Writer);
        if is_down {
            namespace.beat_owed = !mutant!(HeartbeatNotMadeUp);
        }
        cx.timers.arm(Timer::Heartbeat(nsp.clone()), cx.now + cx.config.heartbeat_interval);
        !is_down
    }

    /// The namespaces whose heartbeats were due while the writer's link was down, in order.
    pub(in crate::engine) fn owed_beats(&self) -> Vec<ByteString> {
        let owed = self.namespaces.iter().filter(|(_, namespace)| namespace.beat_owed);
        let mut owed: Vec<ByteString> = owed.map(|(nsp, _)| nsp.clone()).collect();
        owed.sort();
        owed
    }

    /// Looks for nodes that have been silent for too long. All that was said before `heard_until` is known.
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
        // The namespace looks again in a moment. Not while the server refuses to be written to: then nobody can speak.
        let next = if in_doubt { Some(cx.now + EXPIRY_GRACE) } else { next };
        if let Some(next) = next.filter(|_| !mutant!(ExpiryNotRearmed)) {
            cx.timers.arm(Timer::Expiry(nsp.clone()), next);
        }
        Expired { silent, in_doubt }
    }
}
