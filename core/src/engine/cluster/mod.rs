//! The state of this node in the cluster: its namespaces, its subscriptions, and the other nodes.

mod census;
mod life;
mod members;
mod namespace;
mod refusals;
mod sockets;
mod subscriptions;

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use hashbrown::HashMap;

use super::context::Context;
use super::pauses::Pauses;
use super::purpose::Purpose;
use super::timers::Timer;
use crate::channel::Carries;
use crate::command::{Command, CommandError, Lane};
use crate::error::{CallError, Limit};
use crate::event::Event;
use crate::hash::Keyed;
use crate::rooms::Rooms;
pub(super) use life::Expired;
use members::Members;
pub(super) use namespace::Namespace;
use namespace::Subscription;
use refusals::Refusals;
pub(super) use sockets::delivery;

/// The namespaces of this node.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) namespaces: HashMap<ByteString, Namespace, Keyed>,
    /// The namespace of each channel that is subscribed, and what comes through the channel. A
    /// pattern is listed without its star.
    pub(super) channels: HashMap<ByteString, (ByteString, Carries), Keyed>,
    /// The namespaces whose names contain a '#'.
    hashed: BTreeSet<ByteString>,
    /// The number of namespaces that have been closed.
    closings: u64,
    /// The namespaces that are being left.
    closing: BTreeMap<ByteString, Closing>,
    /// The server's refusal of a subscription that was reported last.
    unheard: Option<CommandError>,
    refusals: Refusals,
}

/// A namespace that is being left.
#[derive(Debug)]
struct Closing {
    /// The number of namespaces that had been closed before. It distinguishes this namespace from
    /// others of the same name.
    number: u64,
    /// The number of commands that are still needed to leave it.
    farewells: usize,
}

/// A namespace that is not open any more, and has not been left yet.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) name: ByteString,
    pub(super) namespace: Namespace,
    /// The number of namespaces that had been closed before.
    pub(super) number: u64,
}

impl Cluster {
    pub(super) fn new(hash: Keyed) -> Self {
        Cluster {
            namespaces: HashMap::with_hasher(hash),
            channels: HashMap::with_hasher(hash),
            hashed: BTreeSet::new(),
            closings: 0,
            closing: BTreeMap::new(),
            unheard: None,
            refusals: Refusals::default(),
        }
    }

    /// Returns `true` if no namespace is open.
    pub(super) fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// Returns `true` if a namespace is being left.
    pub(super) fn is_leaving(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Returns the name and the state of a namespace that is open.
    pub(super) fn namespace(&self, nsp: &str) -> Result<(&ByteString, &Namespace), CallError> {
        self.namespaces.get_key_value(nsp).ok_or_else(|| CallError::UnknownNamespace(nsp.into()))
    }

    /// Returns the state of a namespace that is open.
    pub(super) fn namespace_mut(&mut self, nsp: &str) -> Result<&mut Namespace, CallError> {
        self.namespaces.get_mut(nsp).ok_or_else(|| CallError::UnknownNamespace(nsp.into()))
    }

    /// Opens a namespace and subscribes to its channels. Returns its name, and the streams that it
    /// lives on.
    pub(super) fn open(
        &mut self,
        cx: &mut Context,
        nsp: &str,
    ) -> Result<(ByteString, Vec<ByteString>), CallError> {
        if !nsp.starts_with('/') {
            return Err(CallError::InvalidNamespace(nsp.into()));
        }
        if self.namespaces.contains_key(nsp) || self.closing.contains_key(nsp) {
            return Err(CallError::NamespaceInUse(nsp.into()));
        }
        if let Some(other) = self.overlapping(cx, nsp) {
            return Err(CallError::Overlap(nsp.into(), other.to_string()));
        }
        let channels = match cx.config.dialect.subscribes() {
            true => cx.config.channels(nsp, cx.uid.as_str()),
            false => Vec::new(),
        };
        if let Some((other, _)) = channels.iter().find_map(|(channel, _)| self.channels.get(channel)) {
            return Err(CallError::Overlap(nsp.into(), other.to_string()));
        }
        let limit = cx.config.limits.namespaces;
        if self.namespaces.len() >= limit {
            return Err(CallError::Full { what: Limit::Namespaces, limit });
        }
        let mut seed = [0; 16];
        cx.rng.fill(&mut seed);
        let name = ByteString::from(nsp);
        let streams = cx.config.dialect.has_streams();
        let namespace = Namespace {
            closings: self.closings,
            stream: streams.then(|| cx.config.stream_of(nsp)),
            lost_stream: cx.config.lost_stream_of(nsp).filter(|_| streams),
            channel: cx.config.request_channel(nsp),
            rooms: Rooms::new(seed),
            occupied: BTreeSet::new(),
            members: Members::default(),
            known: BTreeSet::new(),
            subscription: Subscription::No,
            subscriptions: 0,
            unheard: None,
            pauses: Pauses::default(),
            ready: false,
            last_spoken: cx.now,
            beating: false,
            beat_owed: false,
        };
        let streams: Vec<ByteString> = namespace.streams().cloned().collect();
        self.namespaces.insert(name.clone(), namespace);
        if name.contains('#') {
            self.hashed.insert(name.clone());
        }
        if cx.config.dialect.subscribes() {
            for (channel, carries) in channels {
                self.channels.insert(channel, (name.clone(), carries));
            }
            if let Some(prefix) = cx.config.broadcast_prefix(nsp) {
                self.channels.insert(prefix, (name.clone(), Carries::Broadcasts));
            }
            self.subscribe(cx, vec![name.clone()]);
        }
        Ok((name, streams))
    }

    /// Removes a namespace from those that are open.
    pub(super) fn close(&mut self, cx: &mut Context, nsp: &str) -> Result<Closed, CallError> {
        let unknown = || CallError::UnknownNamespace(nsp.into());
        let (name, namespace) = self.namespaces.remove_entry(nsp).ok_or_else(unknown)?;
        for timer in [Timer::Heartbeat, Timer::Expiry, Timer::Resubscribe] {
            cx.timers.cancel(&timer(name.clone()));
        }
        self.hashed.remove(&name);
        let number = self.closings;
        self.closings += 1;
        Ok(Closed { name, namespace, number })
    }

    /// Ends the subscriptions of a namespace that is closed. `farewells` is the number of other
    /// commands that are needed to leave it.
    pub(super) fn leave(&mut self, cx: &mut Context, closed: Closed, mut farewells: usize) {
        let Closed { name, namespace, number } = closed;
        if cx.config.dialect.subscribes() && !mutant!(UnsubscribeForgotten) {
            let mut channels = self.all_channels(cx, &name, &namespace);
            channels.iter().for_each(|channel| self.refusals.forget(channel));
            channels.retain(|channel| self.channels.remove(channel).is_some());
            let sharded = cx.config.sharded();
            let mut goodbyes = vec![Command::Unsubscribe { channels, sharded }];
            if let Some((prefix, pattern)) = cx.config.broadcast_prefix(&name).zip(cx.config.pattern(&name)) {
                self.channels.remove(&prefix);
                goodbyes.push(Command::PUnsubscribe { patterns: vec![pattern] });
            }
            // Without a connection there is no subscription to end. Only commands that wait to
            // subscribe have to be dropped.
            if cx.lanes.is_down(&Lane::Subscriber) {
                goodbyes.clear();
                self.prune_subscriptions(cx);
            }
            for goodbye in goodbyes {
                cx.command(goodbye, Purpose::Leave(name.clone(), number));
                farewells += 1;
            }
        }
        if farewells == 0 {
            cx.events.push_back(Event::Closed { nsp: name });
        } else {
            cx.timers.arm(Timer::Leave(name.clone()), cx.now + cx.config.limits.in_flight_for);
            self.closing.insert(name, Closing { number, farewells });
        }
    }

    /// Notes that one of the farewells has been said, or can't be said.
    pub(in crate::engine) fn left(&mut self, cx: &mut Context, nsp: &ByteString, number: u64) {
        if let Some(closing) = self.closing.get_mut(nsp).filter(|closing| closing.number == number) {
            closing.farewells -= 1;
            if closing.farewells == 0 {
                self.leave_due(cx, nsp);
            }
        }
    }

    /// Finishes the closing. Either all farewells have been said, or Redis could not be told in
    /// time and the wait ends.
    pub(in crate::engine) fn leave_due(&mut self, cx: &mut Context, nsp: &ByteString) {
        cx.timers.cancel(&Timer::Leave(nsp.clone()));
        if self.closing.remove(nsp).is_some() {
            cx.events.push_back(Event::Closed { nsp: nsp.clone() });
        }
    }
}
