//! Entering and leaving the cluster, namespace by namespace; and who else is there.

use core::time::Duration;
use std::collections::BTreeSet;

use bytestring::ByteString;

use super::members::Members;
use super::outbox::{Outgoing, What};
use super::{CallError, Destination, Due, Engine, Purpose, RETRY, Timer};
use crate::channel::Carries;
use crate::command::{Command, CommandError, Lane};
use crate::config::Dialect;
use crate::event::{DownReason, Event};
use crate::id::NodeId;
use crate::message::Body;
use crate::rooms::Rooms;

/// How many namespaces are subscribed again by one command.
const SUBSCRIBE_AT_ONCE: usize = 100;

/// While it can't be told whether a node is silent or only not heard, it is looked again after this long.
const EXPIRY_GRACE: Duration = Duration::from_secs(1);

/// Where a namespace stands with its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subscription {
    No,
    Asked,
    /// In force; the number tells it from others before.
    Yes(u64),
}

/// A namespace that is being left.
#[derive(Debug)]
pub(super) struct Closing {
    /// How many had been closed before. That tells it from others of the same name.
    number: u64,
    /// How many commands it still takes.
    farewells: usize,
}

/// A namespace that is open on this node.
#[derive(Debug)]
pub(super) struct Namespace {
    /// How many had been closed when it was opened. That tells it from others of the same name, that were open before.
    closings: u64,
    /// Where it is published, if the dialect has streams.
    pub(super) stream: Option<ByteString>,
    /// Where Node peers publish it to nobody, if they do.
    lost_stream: Option<ByteString>,
    /// Where its nodes are counted, if they subscribe.
    pub(super) channel: ByteString,
    pub(super) rooms: Rooms,
    pub(super) members: Members,
    /// The nodes that have been heard, or listed as subscribers. Only for giving names to those that are missing.
    pub(super) known: BTreeSet<NodeId>,
    subscription: Subscription,
    /// How many subscriptions have come into force.
    subscriptions: u64,
    /// It is being looked after those who owe answers, or will be.
    pub(super) rechecking: bool,
    /// When it was looked after them last.
    pub(super) rechecked: Option<crate::Time>,
    ready: bool,
    /// When an entry of this node's was published last.
    last_spoken: crate::Time,
    /// A heartbeat waits to be published.
    beating: bool,
    /// A heartbeat was due while there was no link.
    beat_owed: bool,
}

impl Namespace {
    fn streams(&self) -> impl Iterator<Item = &ByteString> {
        self.stream.iter().chain(&self.lost_stream)
    }

    /// Whether it is subscribed, and by which subscription.
    pub(super) fn subscribed_since(&self) -> Option<u64> {
        match self.subscription {
            Subscription::Yes(number) => Some(number),
            Subscription::No | Subscription::Asked => None,
        }
    }

    /// Where Node peers publish it to nobody, if they do.
    pub(super) fn lost_stream(&self) -> Option<&ByteString> {
        self.lost_stream.as_ref()
    }
}

impl Engine {
    /// Enters the cluster in this namespace. [`Event::Ready`] tells when it hears everything. It is told of nothing that this node had read
    /// before, in particular not of what waited when a namespace of this name was closed.
    ///
    /// # Errors
    ///
    /// [`CallError::InvalidNamespace`], [`CallError::NamespaceInUse`], [`CallError::Overlap`], [`CallError::Full`].
    pub fn open_namespace(&mut self, now: crate::Time, nsp: &str) -> Result<(), CallError> {
        self.advance(now);
        if !nsp.starts_with('/') {
            return Err(CallError::InvalidNamespace(nsp.into()));
        }
        if self.namespaces.contains_key(nsp) || self.closing.contains_key(nsp) {
            return Err(CallError::NamespaceInUse(nsp.into()));
        }
        if let Some(other) = self.overlapping(nsp) {
            return Err(CallError::Overlap(nsp.into(), other.to_string()));
        }
        let channels = match self.cx.config.dialect.subscribes() {
            true => self.cx.config.channels(nsp, self.cx.uid.as_str()),
            false => Vec::new(),
        };
        if let Some((other, _)) = channels.iter().find_map(|(channel, _)| self.channels.get(channel)) {
            return Err(CallError::Overlap(nsp.into(), other.to_string()));
        }
        let limit = self.cx.config.limits.namespaces;
        if self.namespaces.len() >= limit {
            return Err(CallError::Full { what: "namespaces", limit });
        }
        let mut seed = [0; 16];
        self.cx.rng.fill(&mut seed);
        let name = ByteString::from(nsp);
        let streams = self.cx.config.dialect.has_streams();
        let namespace = Namespace {
            closings: self.closings,
            stream: streams.then(|| self.cx.config.stream_of(nsp)),
            lost_stream: self.cx.config.lost_stream_of(nsp).filter(|_| streams),
            channel: self.cx.config.request_channel(nsp),
            rooms: Rooms::new(seed),
            members: Members::default(),
            known: BTreeSet::new(),
            subscription: Subscription::No,
            subscriptions: 0,
            rechecking: false,
            rechecked: None,
            ready: false,
            last_spoken: self.cx.now,
            beating: false,
            beat_owed: false,
        };
        let streams: Vec<ByteString> = namespace.streams().cloned().collect();
        self.namespaces.insert(name.clone(), namespace);
        if name.contains('#') {
            self.hashed.insert(name.clone());
        }
        if self.cx.config.dialect.subscribes() {
            for (channel, carries) in channels {
                self.channels.insert(channel, (name.clone(), carries));
            }
            if let Some(prefix) = self.cx.config.broadcast_prefix(nsp) {
                self.channels.insert(prefix, (name.clone(), Carries::Broadcasts));
            }
            self.subscribe(vec![name.clone()]);
        }
        for stream in &streams {
            self.inbox.open(&mut self.cx, stream, &name);
            self.outbox.revive(&Destination::Stream(stream.clone()));
        }
        self.outbox.revive(&Destination::Channels);
        self.maybe_ready(&name);
        Ok(())
    }

    /// Leaves the cluster in this namespace and tells the others. Requests that are open end with what has come. [`Event::Closed`] tells
    /// when the others know.
    ///
    /// What was called before is still published, and its fate told; but nothing of it happens here any more, even if the namespace is opened again.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownNamespace`].
    pub fn close_namespace(&mut self, now: crate::Time, nsp: &str) -> Result<(), CallError> {
        self.advance(now);
        let unknown = || CallError::UnknownNamespace(nsp.into());
        for ticket in self.requests.of(nsp) {
            self.finish_request(ticket, false, None);
        }
        self.counts_closed(nsp);
        self.recoveries.recoveries_closed(&mut self.cx, nsp);
        let (name, namespace) = self.namespaces.remove_entry(nsp).ok_or_else(unknown)?;
        for timer in [Timer::Heartbeat, Timer::Expiry, Timer::Resubscribe, Timer::Recheck] {
            self.cx.timers.cancel(&timer(name.clone()));
        }
        self.hashed.remove(&name);
        let number = self.closings;
        self.closings += 1;
        // What is left of it does nothing here, whoever opens a namespace of this name again.
        self.pending.retain(|pending| !pending.is_for(&name));
        let mut farewells = 0;
        // Who was never announced need not say goodbye.
        if namespace.ready
            && self.cx.config.dialect.heartbeats()
            && !mutant!(FarewellUnsaid)
            && let Ok(content) = self.cx.config.content(&self.cx.uid, &name, &Body::AdapterClose)
        {
            let (nsp, what) = (name.clone(), What::Farewell(name.clone(), number));
            self.outbox.enqueue(&mut self.cx, Outgoing { nsp, content, what, effect: None, size: 0 });
            farewells += 1;
        }
        for stream in namespace.streams() {
            self.stop_reading(stream, &name);
        }
        if self.cx.config.dialect.subscribes() && !mutant!(UnsubscribeForgotten) {
            let mut channels = self.all_channels(&name, &namespace);
            channels.retain(|channel| self.channels.remove(channel).is_some());
            let sharded = self.cx.config.sharded();
            let mut goodbyes = vec![Command::Unsubscribe { channels, sharded }];
            if let Some((prefix, pattern)) =
                self.cx.config.broadcast_prefix(&name).zip(self.cx.config.pattern(&name))
            {
                self.channels.remove(&prefix);
                goodbyes.push(Command::PUnsubscribe { patterns: vec![pattern] });
            }
            // Without a connection there is no subscription to end, only what waits to be subscribed.
            if self.cx.lanes.is_down(&Lane::Subscriber) {
                goodbyes.clear();
                self.prune_subscriptions();
            }
            for goodbye in goodbyes {
                self.cx.command(goodbye, Purpose::Leave(name.clone(), number));
                farewells += 1;
            }
        }
        if self.namespaces.is_empty() {
            self.outbox.retire(&mut self.cx, &Destination::Channels);
        }
        if farewells == 0 {
            self.cx.events.push_back(Event::Closed { nsp: name });
        } else {
            self.cx.timers.arm(Timer::Leave(name.clone()), self.cx.now + self.cx.config.limits.in_flight_for);
            self.closing.insert(name, Closing { number, farewells });
        }
        Ok(())
    }

    /// Leaves the cluster in every namespace: see [`close_namespace`](Engine::close_namespace).
    pub fn close(&mut self, now: crate::Time) {
        let mut open: Vec<ByteString> = self.namespaces.keys().cloned().collect();
        open.sort();
        for nsp in open {
            // Just seen to be open.
            let _ = self.close_namespace(now, &nsp);
        }
    }

    /// Whether no namespace is open or being closed, and no session on its way to Redis.
    pub fn is_closed(&self) -> bool {
        self.namespaces.is_empty() && self.closing.is_empty() && !self.recoveries.is_saving()
    }

    /// Whether the namespace is still open that was meant: nearly always nothing was closed since.
    pub(super) fn is_meant(&self, due: &Due) -> bool {
        let is_older = |namespace: &Namespace| namespace.closings <= due.closings;
        due.closings == self.closings || self.namespaces.get(&due.effect.nsp).is_some_and(is_older)
    }

    /// One of the farewells has been said, or can't be.
    pub(super) fn left(&mut self, nsp: &ByteString, number: u64) {
        if let Some(closing) = self.closing.get_mut(nsp).filter(|closing| closing.number == number) {
            closing.farewells -= 1;
            if closing.farewells == 0 {
                self.leave_due(nsp);
            }
        }
    }

    /// All farewells have been said; or Redis could not be told in time, and nothing waits for it any longer.
    pub(super) fn leave_due(&mut self, nsp: &ByteString) {
        self.cx.timers.cancel(&Timer::Leave(nsp.clone()));
        if self.closing.remove(nsp).is_some() {
            self.cx.events.push_back(Event::Closed { nsp: nsp.clone() });
        }
    }

    /// The channels of a namespace, those of its rooms included.
    fn all_channels(&self, nsp: &str, namespace: &Namespace) -> Vec<ByteString> {
        let channels =
            self.cx.config.channels(nsp, self.cx.uid.as_str()).into_iter().map(|(channel, _)| channel);
        channels.chain(self.cx.config.room_channels(nsp, namespace.rooms.names())).collect()
    }

    /// The streams from which a namespace is read, if it is open.
    pub fn streams(&self, nsp: &str) -> impl Iterator<Item = &ByteString> {
        self.namespaces.get(nsp).into_iter().flat_map(Namespace::streams)
    }

    /// Asks to hear these namespaces' patterns and channels.
    pub(super) fn subscribe(&mut self, names: Vec<ByteString>) {
        let mut patterns = Vec::new();
        for nsp in &names {
            if let Some(namespace) = self.namespaces.get_mut(nsp) {
                namespace.subscription = Subscription::Asked;
                let again = namespace.ready && mutant!(PatternForgottenInBreak);
                patterns.extend(self.cx.config.pattern(nsp).filter(|_| !again));
            }
        }
        if patterns.is_empty() {
            self.subscribe_channels(names);
        } else {
            self.cx.command(Command::PSubscribe { patterns }, Purpose::Patterns(names));
        }
    }

    /// Asks to hear these namespaces' channels. Who hears them hears the patterns already, and is counted from then on.
    pub(super) fn subscribe_channels(&mut self, names: Vec<ByteString>) {
        let open = names.iter().filter_map(|nsp| self.namespaces.get_key_value(nsp));
        let mut channels: Vec<ByteString> =
            open.flat_map(|(nsp, namespace)| self.all_channels(nsp, namespace)).collect();
        if mutant!(RoomsForgottenInBreak) {
            channels.truncate(2 * names.len());
        }
        if !channels.is_empty() {
            let sharded = self.cx.config.sharded();
            self.cx.command(Command::Subscribe { channels, sharded }, Purpose::Subscribe(names));
        }
    }

    pub(super) fn subscribed(&mut self, names: &[ByteString]) {
        self.unheard = None;
        for nsp in names {
            if let Some(namespace) = self.namespaces.get_mut(nsp) {
                namespace.subscriptions += 1;
                namespace.subscription = Subscription::Yes(namespace.subscriptions);
                self.maybe_ready(nsp);
            }
        }
    }

    /// A subscription has failed. If the link is down it is made again when the link comes back; if not, after a while.
    pub(super) fn subscribe_failed(&mut self, names: Vec<ByteString>, error: CommandError) {
        let down = self.cx.lanes.is_down(&Lane::Subscriber);
        let refused = matches!(error, CommandError::Server { .. } | CommandError::Unusable(_));
        if refused && self.unheard.as_ref() != Some(&error) {
            self.unheard = Some(error.clone());
            self.cx.events.push_back(Event::Refused { lane: Lane::Subscriber, error });
        }
        for nsp in names {
            if let Some(namespace) = self.namespaces.get_mut(&nsp) {
                namespace.subscription = Subscription::No;
                if !down {
                    self.cx.timers.arm(Timer::Resubscribe(nsp), self.cx.now + RETRY);
                }
            }
        }
    }

    /// A new connection has no subscriptions.
    pub(super) fn subscriber_changed(&mut self, up: bool) {
        if !up {
            self.prune_subscriptions();
            // What was asked on the lost connection means nothing on the next one, even if its reply is still to come.
            let lanes = &self.cx.lanes;
            self.cx
                .in_flight
                .retain(|id, command| !command.purpose.subscribes() || lanes.waits(&Lane::Subscriber, *id));
            let asked: BTreeSet<&ByteString> =
                self.cx.in_flight.values().flat_map(|command| command.purpose.subscribed_names()).collect();
            for (nsp, namespace) in &mut self.namespaces {
                namespace.subscription = match asked.contains(nsp) {
                    // It goes out on the next connection.
                    true => Subscription::Asked,
                    false => Subscription::No,
                };
            }
            return;
        }
        let mut silent: Vec<ByteString> = self
            .namespaces
            .iter()
            .filter(|(_, namespace)| namespace.subscription == Subscription::No)
            .map(|(nsp, _)| nsp.clone())
            .collect();
        silent.sort();
        silent.truncate(if mutant!(SubscriptionNotRenewed) { 0 } else { usize::MAX });
        for some in silent.chunks(SUBSCRIBE_AT_ONCE) {
            self.subscribe(some.to_vec());
        }
    }

    /// The subscriber has no connection: nothing has to be ended on it, and on the next one only what is wanted now is to be
    /// subscribed.
    fn prune_subscriptions(&mut self) {
        for (id, command) in self.cx.lanes.take_waiting(&Lane::Subscriber) {
            let Some(mut waiting) = self.cx.in_flight.remove(&id) else { continue };
            let wanted = match command {
                Command::Subscribe { mut channels, sharded } => {
                    channels.retain(|channel| self.channels.contains_key(channel));
                    (!channels.is_empty()).then_some(Command::Subscribe { channels, sharded })
                }
                Command::PSubscribe { .. } => {
                    if let Purpose::Patterns(names) = &mut waiting.purpose {
                        names.retain(|nsp| self.namespaces.contains_key(nsp));
                    }
                    let Purpose::Patterns(names) = &waiting.purpose else { continue };
                    let patterns = names.iter().filter_map(|nsp| self.cx.config.pattern(nsp));
                    let patterns: Vec<ByteString> = patterns.collect();
                    (!patterns.is_empty()).then_some(Command::PSubscribe { patterns })
                }
                Command::Unsubscribe { .. } | Command::PUnsubscribe { .. } => None,
                other => Some(other),
            };
            if let Some(command) = wanted {
                self.cx.lanes.push(id, command);
                self.cx.in_flight.insert(id, waiting);
            } else if let Purpose::Leave(nsp, number) = waiting.purpose {
                self.left(&nsp, number);
            }
        }
    }

    /// The stream's end is known, for the first time or after a break.
    pub(super) fn stream_is_heard(&mut self, stream: &ByteString) {
        for nsp in self.inbox.namespaces(stream) {
            if let Some(namespace) = self.namespaces.get_mut(&nsp) {
                // During the break nobody could be heard.
                namespace.members.refresh_all(self.cx.now);
            }
            self.maybe_ready(&nsp);
        }
        self.inbox.hears_from_now_on(stream, self.cx.now);
    }

    /// The namespace does not live on the stream any more.
    fn stop_reading(&mut self, stream: &ByteString, nsp: &ByteString) {
        if self.inbox.close(&mut self.cx, stream, nsp) {
            self.recoveries.window_closes(stream);
            self.outbox.retire(&mut self.cx, &Destination::Stream(stream.clone()));
            self.settle();
            let lane = Lane::Reader(stream.clone());
            self.cx.command(Command::Release { lane }, Purpose::Release);
        }
    }

    fn maybe_ready(&mut self, nsp: &ByteString) {
        let Some(namespace) = self.namespaces.get_mut(nsp) else { return };
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

    /// Publishes a heartbeat. One that waits already stands for all: in line it is never far from the others.
    ///
    /// It does not count against the limits, so that a busy namespace silences none of its neighbours.
    pub(super) fn announce(&mut self, nsp: &ByteString, body: Body) {
        let Ok(content) = self.cx.config.content(&self.cx.uid, nsp, &body) else { return };
        let Some(namespace) = self.namespaces.get_mut(nsp) else { return };
        namespace.beat_owed = false;
        if !core::mem::replace(&mut namespace.beating, true) {
            let what = What::Beat;
            self.outbox
                .enqueue(&mut self.cx, Outgoing { nsp: nsp.clone(), content, what, effect: None, size: 0 });
        }
    }

    /// A heartbeat was given up. The others wait for one.
    pub(super) fn beat_failed(&mut self, nsp: &ByteString) {
        if self.namespaces.contains_key(nsp) {
            self.cx.timers.arm(Timer::Heartbeat(nsp.clone()), self.cx.now + RETRY);
        }
    }

    /// A heartbeat has been published, or given up.
    pub(super) fn beat_is_out(&mut self, nsp: &str) {
        let Some((name, namespace)) = self.namespaces.get_key_value(nsp) else { return };
        let (name, stream) = (name.clone(), namespace.stream.clone());
        // It may have been read back before its reply came: whoever is in doubt can go on asking now.
        if stream
            .is_some_and(|stream| self.inbox.is_in_doubt(&stream, nsp) && !self.inbox.is_probing(&stream))
        {
            self.cx.timers.arm(Timer::Expiry(name), self.cx.now);
        }
        if let Some(namespace) = self.namespaces.get_mut(nsp) {
            namespace.beating = false;
        }
    }

    /// Something was published in the namespace: no heartbeat is needed for a while.
    pub(super) fn spoke_in(&mut self, nsp: &str) {
        if !self.cx.config.dialect.heartbeats() {
            return;
        }
        if let Some(namespace) = self.namespaces.get_mut(nsp) {
            namespace.last_spoken = self.cx.now;
        }
    }

    pub(super) fn heartbeat_due(&mut self, nsp: &ByteString) {
        let Some(namespace) = self.namespaces.get_mut(nsp) else { return };
        let due = namespace.last_spoken + self.cx.config.heartbeat_interval;
        if due > self.cx.now {
            if !mutant!(HeartbeatNotRearmed) {
                self.cx.timers.arm(Timer::Heartbeat(nsp.clone()), due);
            }
            return;
        }
        // While the link is down nobody can hear it. It is made up for as soon as the link is back.
        match self.cx.lanes.is_down(&Lane::Writer) {
            true => namespace.beat_owed = !mutant!(HeartbeatNotMadeUp),
            false => self.announce(nsp, Body::Heartbeat),
        }
        self.cx.timers.arm(Timer::Heartbeat(nsp.clone()), self.cx.now + self.cx.config.heartbeat_interval);
    }

    /// The writer's link is back. The others may have heard nothing for long; and they may have been cut off, too, and are
    /// about to say so.
    pub(super) fn beat_again(&mut self) {
        self.nobody_could_speak(None);
        let owed = self.namespaces.iter().filter(|(_, namespace)| namespace.beat_owed);
        let mut owed: Vec<ByteString> = owed.map(|(nsp, _)| nsp.clone()).collect();
        owed.sort();
        for nsp in owed {
            self.announce(&nsp, Body::Heartbeat);
        }
    }

    /// For a while the server has taken nothing, on this stream or on any: silence in that time says nothing.
    pub(super) fn nobody_could_speak(&mut self, stream: Option<&ByteString>) {
        if !self.cx.config.dialect.heartbeats() {
            return;
        }
        for namespace in self.namespaces.values_mut() {
            if stream.is_none() || namespace.stream.as_ref() == stream {
                namespace.members.refresh_all(self.cx.now);
            }
        }
    }

    /// An entry of that node has come, in a dialect in which that is a sign of life.
    pub(super) fn heard(&mut self, nsp: &ByteString, node: &NodeId, body: &Body, bridge: bool) {
        let dialect = self.cx.config.dialect;
        if !node.is_a_node() || *body == Body::AdapterClose {
            return;
        }
        let Some(namespace) = self.namespaces.get_mut(nsp) else { return };
        // Beside nodes of 0.2, whose every message is a sign of life, there are those of 0.3, which are counted by their subscriptions.
        let heartbeat = matches!(body, Body::InitialHeartbeat | Body::Heartbeat);
        if dialect == Dialect::Bridge && !heartbeat && !namespace.members.was(node) {
            namespace.members.refresh(node, self.cx.now);
        } else if namespace.members.seen(node, bridge, self.cx.now, self.cx.config.limits.nodes) {
            if namespace.members.len() == 1 {
                self.cx
                    .timers
                    .arm(Timer::Expiry(nsp.clone()), self.cx.now + self.cx.config.heartbeat_timeout);
            }
            self.cx.events.push_back(Event::NodeUp { nsp: nsp.clone(), node: node.clone() });
        }
    }

    pub(super) fn expiry_due(&mut self, nsp: &ByteString) {
        let Some(namespace) = self.namespaces.get_mut(nsp) else { return };
        let timeout = match self.cx.config.heartbeat_timeout {
            timeout if mutant!(ExpiryLate) => timeout + self.cx.config.heartbeat_interval,
            timeout if mutant!(ExpiryEarly) => timeout / 2,
            timeout => timeout,
        };
        let Some(stream) = namespace.streams().next().cloned() else { return };
        let Some(proven) = self.inbox.heard_until(&stream) else { return };
        let proven = if mutant!(SilenceByTheClock) { self.cx.now } else { proven };
        let (silent, next) = namespace.members.expire(proven, timeout);
        match next {
            Some(next) if next > self.cx.now => {
                let next = Some(next).filter(|_| !mutant!(ExpiryNotRearmed));
                next.into_iter().for_each(|next| self.cx.timers.arm(Timer::Expiry(nsp.clone()), next));
            }
            // By the clock it was silent for too long. Whether it was is known when something of this node's own has made
            // its way to the server and back.
            // Not while the server refuses to be written to: then nobody can speak.
            Some(_) => {
                self.inbox.doubt(&stream, nsp);
                let asks = !self.inbox.is_probing(&stream) && !self.cx.lanes.is_down(&Lane::Writer);
                if !mutant!(ExpiryNotRearmed) {
                    self.cx.timers.arm(Timer::Expiry(nsp.clone()), self.cx.now + EXPIRY_GRACE);
                }
                if asks {
                    self.announce(nsp, Body::Heartbeat);
                }
            }
            None => {}
        }
        for node in silent {
            self.node_is_down(nsp, node, DownReason::Silent);
        }
    }

    /// The node has said that it leaves.
    pub(super) fn node_closed(&mut self, nsp: &ByteString, node: &NodeId) {
        let Some(namespace) = self.namespaces.get_mut(nsp) else { return };
        if namespace.members.remove(node) {
            self.node_is_down(nsp, node.clone(), DownReason::Closed);
        }
    }

    fn node_is_down(&mut self, nsp: &ByteString, node: NodeId, reason: DownReason) {
        for ticket in self.requests.gone(nsp, &node) {
            self.finish_if_over(ticket);
        }
        self.cx.events.push_back(Event::NodeDown { nsp: nsp.clone(), node, reason });
    }
}
