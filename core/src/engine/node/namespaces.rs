//! Entering and leaving the cluster, namespace by namespace, and the consequences of signs of life.

use bytestring::ByteString;

use super::Node;
use crate::command::{Command, Lane};
use crate::engine::cluster::Expired;
use crate::engine::destination::Destination;
use crate::engine::outbox::What;
use crate::engine::purpose::Purpose;
use crate::engine::recovery;
use crate::engine::timers::Timer;
use crate::error::CallError;
use crate::event::{DownReason, Event};
use crate::id::{EntryId, NodeId, Ticket};
use crate::message::Body;
use crate::session::Session;

impl Node {
    /// Enters the cluster in a namespace.
    pub(in crate::engine) fn open_namespace(&mut self, nsp: &str) -> Result<(), CallError> {
        let (name, streams) = self.cluster.open(&mut self.cx, nsp)?;
        for stream in &streams {
            self.inbox.open(&mut self.cx, stream, &name);
            self.outbox.revive(&Destination::Stream(stream.clone()));
        }
        self.outbox.revive(&Destination::Channels);
        self.maybe_ready(&name);
        Ok(())
    }

    /// Leaves the cluster in a namespace, and tells the other nodes.
    pub(in crate::engine) fn close_namespace(&mut self, nsp: &str) -> Result<(), CallError> {
        self.requests.closed(&mut self.cx, nsp);
        self.recoveries.recoveries_closed(&mut self.cx, nsp);
        let closed = self.cluster.close(&mut self.cx, nsp)?;
        let (name, namespace) = (&closed.name, &closed.namespace);
        // The namespace's pending inputs have no effect here any more, even if a namespace of this
        // name is opened again.
        self.pending.retain(|pending| !pending.is_for(name));
        let mut farewells = 0;
        // A node that was never announced need not say goodbye.
        if namespace.ready
            && self.cx.config.dialect.heartbeats()
            && !mutant!(FarewellUnsaid)
            && let Ok(command) = self.cx.config.message(&self.cx.uid, name, &Body::AdapterClose)
        {
            let what = What::Farewell(name.clone(), closed.number);
            self.outbox.publish_anyway(&mut self.cx, name.clone(), command, what);
            farewells += 1;
        }
        for stream in namespace.streams() {
            self.stop_reading(stream, name);
        }
        self.cluster.leave(&mut self.cx, closed, farewells);
        if self.cluster.is_empty() {
            self.outbox.retire(&mut self.cx, &Destination::Channels);
        }
        Ok(())
    }

    /// Leaves the cluster in every namespace.
    pub(in crate::engine) fn close(&mut self) {
        let mut open: Vec<ByteString> = self.cluster.namespaces.keys().cloned().collect();
        open.sort();
        for nsp in open {
            // The namespace has just been seen to be open.
            let _ = self.close_namespace(&nsp);
        }
    }

    /// Stores a client's session.
    pub(in crate::engine) fn persist_session(
        &mut self,
        nsp: &str,
        session: &Session,
    ) -> Result<Ticket, CallError> {
        self.cx.config.recovery.as_ref().ok_or(CallError::RecoveryOff)?;
        self.cluster.namespace(nsp)?;
        self.recoveries.persist(&mut self.cx, nsp, session)
    }

    /// Restores a socket from a session that any server of the cluster has stored.
    pub(in crate::engine) fn restore_session(
        &mut self,
        nsp: &str,
        pid: &str,
        offset: &str,
    ) -> Result<Ticket, CallError> {
        self.cx.config.recovery.as_ref().ok_or(CallError::RecoveryOff)?;
        let (nsp, namespace) = self.cluster.namespace(nsp)?;
        // Recovery needs the order of the stream, and without streams there is no such order.
        let (nsp, stream) = (nsp.clone(), namespace.stream.clone().ok_or(CallError::RecoveryOff)?);
        let two_streams =
            namespace.lost_stream.as_ref().is_some_and(|lost| self.inbox.cursor(lost) != Some(EntryId::ZERO));
        self.recoveries.begin(&mut self.cx, recovery::Wanted { nsp, stream, two_streams, pid, offset })
    }

    /// Handles a stream whose end has become known, for the first time or after a break.
    pub(super) fn stream_is_heard(&mut self, stream: &ByteString) {
        for nsp in self.inbox.namespaces(stream) {
            if let Some(namespace) = self.cluster.namespaces.get_mut(&nsp) {
                // No node could be heard during the break.
                namespace.members.refresh_all(self.cx.now);
            }
            self.maybe_ready(&nsp);
        }
        self.inbox.hears_from_now_on(stream, self.cx.now);
    }

    /// Stops reading a stream for a namespace that does not use it any more.
    fn stop_reading(&mut self, stream: &ByteString, nsp: &ByteString) {
        if self.inbox.close(&mut self.cx, stream, nsp) {
            self.recoveries.window_closes(stream);
            self.outbox.retire(&mut self.cx, &Destination::Stream(stream.clone()));
            self.settle();
            let lane = Lane::Reader(stream.clone());
            self.cx.command(Command::Release { lane }, Purpose::Release);
        }
    }

    pub(super) fn maybe_ready(&mut self, nsp: &ByteString) {
        let Some(namespace) = self.cluster.namespaces.get_mut(nsp) else { return };
        let located = namespace.streams().all(|stream| self.inbox.cursor(stream).is_some());
        let subscribed = !self.cx.config.dialect.subscribes() || namespace.subscribed_since().is_some();
        if namespace.ready || !located || !subscribed {
            return;
        }
        namespace.ready = true;
        if self.cx.config.dialect.heartbeats() {
            self.announce(nsp, Body::InitialHeartbeat);
            self.cx
                .timers
                .arm(Timer::Heartbeat(nsp.clone()), self.cx.now + self.cx.config.heartbeat_interval);
        }
        self.cx.events.push_back(Event::Ready { nsp: nsp.clone() });
    }

    /// Publishes a heartbeat, unless one is waiting already.
    ///
    /// Heartbeats do not count against the limits, so a busy namespace can't silence the others.
    pub(super) fn announce(&mut self, nsp: &ByteString, body: Body) {
        let Ok(command) = self.cx.config.message(&self.cx.uid, nsp, &body) else { return };
        if self.cluster.beats(nsp) {
            self.outbox.publish_anyway(&mut self.cx, nsp.clone(), command, What::Beat);
        }
    }

    /// Handles a heartbeat that has been published or given up.
    pub(super) fn beat_is_out(&mut self, nsp: &str) {
        let Some((name, namespace)) = self.cluster.namespaces.get_key_value(nsp) else { return };
        let (name, stream) = (name.clone(), namespace.stream.clone());
        // The heartbeat may have been read back before its reply came. If the namespace is in doubt
        // about silent nodes, it can go on asking now.
        if stream
            .is_some_and(|stream| self.inbox.is_in_doubt(&stream, nsp) && !self.inbox.is_probing(&stream))
        {
            self.cx.timers.arm(Timer::Expiry(name), self.cx.now);
        }
        self.cluster.beat_is_out(nsp);
    }

    /// Publishes a heartbeat, if the namespace has been silent for a heartbeat interval.
    pub(super) fn heartbeat_due(&mut self, nsp: &ByteString) {
        if self.cluster.is_beat_due(&mut self.cx, nsp) {
            self.announce(nsp, Body::Heartbeat);
        }
    }

    /// Handles the return of the writer's link. The other nodes may have heard nothing for long.
    /// They may also have been cut off themselves and be about to say so.
    pub(super) fn beat_again(&mut self) {
        self.cluster.nobody_could_speak(&mut self.cx, None);
        for nsp in self.cluster.owed_beats() {
            self.announce(&nsp, Body::Heartbeat);
        }
    }

    /// Looks for nodes of the namespace that have been silent for too long.
    pub(super) fn expiry_due(&mut self, nsp: &ByteString) {
        let Ok((_, namespace)) = self.cluster.namespace(nsp) else { return };
        let Some(stream) = namespace.streams().next().cloned() else { return };
        let Some(heard_until) = self.inbox.heard_until(&stream) else { return };
        let Expired { silent, in_doubt } = self.cluster.expire(&mut self.cx, nsp, heard_until);
        if in_doubt {
            self.inbox.doubt(&stream, nsp);
            if !self.inbox.is_probing(&stream) && !self.cx.lanes.is_down(&Lane::Writer) {
                self.announce(nsp, Body::Heartbeat);
            }
        }
        for node in silent {
            self.node_is_down(nsp, node, DownReason::Silent);
        }
    }

    /// Handles a node that has said that it leaves.
    pub(super) fn node_closed(&mut self, nsp: &ByteString, node: &NodeId) {
        let Some(namespace) = self.cluster.namespaces.get_mut(nsp) else { return };
        if namespace.members.remove(node) {
            self.node_is_down(nsp, node.clone(), DownReason::Closed);
        }
    }

    fn node_is_down(&mut self, nsp: &ByteString, node: NodeId, reason: DownReason) {
        self.requests.node_is_down(&mut self.cx, nsp, &node);
        self.cx.events.push_back(Event::NodeDown { nsp: nsp.clone(), node, reason });
    }
}
