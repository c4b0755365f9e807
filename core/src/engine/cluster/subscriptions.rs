//! The subscriptions of this node: the channels and patterns of its namespaces, and those of their
//! rooms.

use core::ops::Bound::{Included, Unbounded};
use std::collections::BTreeSet;

use bytestring::ByteString;

use super::Cluster;
use super::namespace::{Namespace, Subscription};
use crate::channel::Carries;
use crate::command::{Command, CommandError, CommandId, Lane};
use crate::config::Dialect;
use crate::engine::context::Context;
use crate::engine::pauses::Pauses;
use crate::engine::purpose::Purpose;
use crate::engine::timers::Timer;
use crate::event::Event;
use crate::rooms::RoomChange;

/// The maximum number of namespaces that are subscribed again by one command.
const SUBSCRIBE_AT_ONCE: usize = 100;

impl Cluster {
    /// Returns the namespace that a channel belongs to, and what comes through the channel, if that
    /// is of interest.
    pub(in crate::engine) fn carried(&self, cx: &Context, channel: &str) -> Option<(ByteString, Carries)> {
        if let Some(known) = self.channels.get(channel) {
            return Some(known.clone());
        }
        let ends = channel.match_indices('#').map(|(at, _)| at + 1);
        let by_prefix = |end: usize| Some((self.channels.get(&channel[..end])?, &channel[end..]));
        let ((nsp, carries), rest) =
            ends.filter_map(by_prefix).find(|((_, carries), _)| *carries == Carries::Broadcasts)?;
        // The message is of no interest if nobody here is in the room.
        let room = rest.strip_suffix('#')?;
        let namespace = self.namespaces.get(nsp)?;
        let heard = !cx.owns_rooms() || namespace.rooms.has_room(room) || mutant!(EmptyRoomHeard);
        heard.then(|| (nsp.clone(), *carries))
    }

    /// Returns the open namespace whose room channels can't be told from those of this namespace.
    pub(in crate::engine) fn overlapping(&self, cx: &Context, nsp: &str) -> Option<&ByteString> {
        if cx.config.dialect != Dialect::Classic && !cx.config.rooms_are_channels() {
            return None;
        }
        let mut shorter = nsp.match_indices('#').map(|(at, _)| &nsp[..at]);
        let shorter = shorter.find_map(|name| Some(self.namespaces.get_key_value(name)?.0));
        shorter.or_else(|| {
            let begins = format!("{nsp}#");
            let longer = self.hashed.range::<str, _>((Included(&*begins), Unbounded)).next();
            longer.filter(|longer| longer.starts_with(&begins))
        })
    }

    /// Subscribes to the channels of rooms in which this node has sockets now, and ends the
    /// subscriptions of rooms in which it has none left.
    pub(in crate::engine) fn rooms_changed(&mut self, cx: &mut Context, nsp: &str, changes: &[RoomChange]) {
        if cx.config.dialect != Dialect::Sharded {
            return;
        }
        let told = || changes.iter().filter_map(RoomChange::occupancy);
        let created = told().filter(|(_, occupied)| *occupied).map(|(room, _)| room);
        let deleted = told().filter(|(_, occupied)| !*occupied).map(|(room, _)| room);
        // A room may bear the name of this node, or of another channel. Then that channel is
        // subscribed anyway, and stays so.
        let mut created = cx.config.room_channels(nsp, created);
        created.retain(|channel| !self.channels.contains_key(channel));
        let mut deleted = cx.config.room_channels(nsp, deleted);
        deleted.retain(|channel| {
            self.channels.get(channel).is_some_and(|(_, carries)| *carries == Carries::Room)
        });
        let Some((name, _)) = self.namespaces.get_key_value(nsp) else { return };
        let name = name.clone();
        if !deleted.is_empty() && !mutant!(RoomChannelKept) {
            for channel in &deleted {
                self.channels.remove(channel);
                self.refusals.forget(channel);
            }
            cx.command(Command::Unsubscribe { channels: deleted, sharded: true }, Purpose::Unheard);
        }
        if !created.is_empty() && !mutant!(RoomChannelUnheard) {
            for channel in &created {
                self.channels.insert(channel.clone(), (name.clone(), Carries::Room));
            }
            cx.command(Command::Subscribe { channels: created, sharded: true }, Purpose::Rooms(name));
        }
    }

    /// Repeats a command to end subscriptions that Redis has refused. The subscriptions would
    /// otherwise live on as long as the connection. Channels that are wanted again are left out.
    pub(in crate::engine) fn unsubscribe_again(&mut self, cx: &mut Context, command: Command) {
        let Command::Unsubscribe { mut channels, sharded } = command else { return };
        channels.retain(|channel| !self.channels.contains_key(channel));
        if !channels.is_empty() && !mutant!(RefusedGoodbyeForgotten) {
            cx.command(Command::Unsubscribe { channels, sharded }, Purpose::Unheard);
            cx.rest(&Lane::Subscriber);
        }
    }

    /// Returns the channels of a namespace, including those of its rooms.
    pub(super) fn all_channels(&self, cx: &Context, nsp: &str, namespace: &Namespace) -> Vec<ByteString> {
        let rooms = namespace.rooms.names().chain(&namespace.occupied);
        self.own_channels(cx, nsp).into_iter().chain(cx.config.room_channels(nsp, rooms)).collect()
    }

    /// Returns the channels of a namespace that are not those of its rooms.
    pub(super) fn own_channels(&self, cx: &Context, nsp: &str) -> Vec<ByteString> {
        cx.config.channels(nsp, cx.uid.as_str()).into_iter().map(|(channel, _)| channel).collect()
    }

    /// Returns the channels of a namespace's rooms that are tried together.
    pub(super) fn room_channels(&self, cx: &Context, nsp: &str, namespace: &Namespace) -> Vec<ByteString> {
        let rooms = namespace.rooms.names().chain(&namespace.occupied);
        let mut channels = cx.config.room_channels(nsp, rooms);
        channels.retain(|channel| !self.refusals.has(channel));
        channels
    }

    /// Subscribes to the patterns and channels of these namespaces.
    pub(in crate::engine) fn subscribe(&mut self, cx: &mut Context, names: Vec<ByteString>) {
        let mut patterns = Vec::new();
        for nsp in &names {
            if let Some(namespace) = self.namespaces.get_mut(nsp) {
                namespace.subscription = Subscription::Asked;
                let again = namespace.ready && mutant!(PatternForgottenInBreak);
                patterns.extend(cx.config.pattern(nsp).filter(|_| !again));
            }
        }
        if patterns.is_empty() {
            self.subscribe_channels(cx, names);
        } else {
            cx.command(Command::PSubscribe { patterns }, Purpose::Patterns(names));
        }
    }

    /// Subscribes to the channels of these namespaces. A node that hears the channels hears the
    /// patterns already, and is counted from then on.
    pub(in crate::engine) fn subscribe_channels(&mut self, cx: &mut Context, names: Vec<ByteString>) {
        let open = names.iter().filter_map(|nsp| self.namespaces.get_key_value(nsp));
        let mut channels: Vec<ByteString> =
            open.flat_map(|(nsp, namespace)| self.all_channels(cx, nsp, namespace)).collect();
        channels.retain(|channel| !self.refusals.has(channel));
        if mutant!(RoomsForgottenInBreak) {
            channels.truncate(2 * names.len());
        }
        if !channels.is_empty() {
            let sharded = cx.config.sharded();
            cx.command(Command::Subscribe { channels, sharded }, Purpose::Subscribe(names));
        }
    }

    /// Notes that subscriptions are in force. The namespaces may be ready.
    pub(in crate::engine) fn subscribed(&mut self, names: &[ByteString]) {
        self.unheard = None;
        for nsp in names {
            if let Some(namespace) = self.namespaces.get_mut(nsp) {
                namespace.subscriptions += 1;
                namespace.unheard = None;
                namespace.pauses = Pauses::default();
                namespace.subscription = Subscription::Yes(namespace.subscriptions);
            }
        }
    }

    /// Handles a subscription that has failed. If the link is down, the subscription is made again
    /// when the link comes back. Otherwise it is made again after a while. `with_rooms` is `true` if
    /// the channels of rooms were part of it.
    pub(in crate::engine) fn subscribe_failed(
        &mut self,
        cx: &mut Context,
        mut names: Vec<ByteString>,
        with_rooms: bool,
        error: CommandError,
    ) {
        if error.refuses_channels() {
            if !self.divides(cx, &names, with_rooms)
                && let Some(nsp) = names.pop()
            {
                self.is_unheard(cx, nsp, error);
            }
            return;
        }
        let down = cx.lanes.is_down(&Lane::Subscriber);
        let refused = matches!(error, CommandError::Server { .. } | CommandError::Unusable(_));
        if refused && self.unheard.as_ref() != Some(&error) {
            self.unheard = Some(error.clone());
            cx.events.push_back(Event::Refused { lane: Lane::Subscriber, channel: None, error });
        }
        for nsp in names {
            if let Some(namespace) = self.namespaces.get_mut(&nsp) {
                namespace.subscription = Subscription::No;
                if !down {
                    let longest = Pauses::of_lanes(cx.config.heartbeat_interval);
                    let pause = namespace.pauses.next(&mut cx.rng, longest);
                    cx.timers.arm(Timer::Resubscribe(nsp), cx.now + pause);
                }
            }
        }
    }

    /// Handles a change of the subscriber's connection. A new connection has no subscriptions.
    pub(in crate::engine) fn subscriber_changed(&mut self, cx: &mut Context, up: bool) {
        if !up {
            self.prune_subscriptions(cx);
            // Commands on the lost connection mean nothing on the next one, even if their replies
            // are still to come.
            let lanes = &cx.lanes;
            cx.in_flight
                .retain(|id, command| !command.purpose.subscribes() || lanes.waits(&Lane::Subscriber, *id));
            let asked: BTreeSet<&ByteString> =
                cx.in_flight.values().flat_map(|command| command.purpose.subscribed_names()).collect();
            for (nsp, namespace) in &mut self.namespaces {
                namespace.subscription = match asked.contains(nsp) {
                    // The command goes out on the next connection.
                    true => Subscription::Asked,
                    false => Subscription::No,
                };
            }
            self.refused_by_another(cx, false);
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
            self.subscribe(cx, some.to_vec());
        }
        self.refused_by_another(cx, true);
    }

    /// Prunes the waiting commands while the subscriber has no connection. Nothing has to be ended
    /// on it. On the next connection only what is wanted now is to be subscribed.
    pub(super) fn prune_subscriptions(&mut self, cx: &mut Context) {
        for (id, command) in cx.lanes.take_waiting(&Lane::Subscriber) {
            let Some(mut waiting) = cx.in_flight.remove(&id) else { continue };
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
                    let patterns = names.iter().filter_map(|nsp| cx.config.pattern(nsp));
                    let patterns: Vec<ByteString> = patterns.collect();
                    (!patterns.is_empty()).then_some(Command::PSubscribe { patterns })
                }
                Command::Unsubscribe { .. } | Command::PUnsubscribe { .. } => None,
                other => Some(other),
            };
            if let Some(command) = wanted {
                cx.lanes.push(id, command);
                cx.in_flight.insert(id, waiting);
            } else if let Purpose::Leave(nsp, number) = waiting.purpose {
                self.left(cx, &nsp, number);
            }
        }
    }

    /// Handles a goodbye that Redis has not taken. On a lost connection nothing has to be ended.
    /// A namespace that has been opened again since then stays.
    pub(in crate::engine) fn leave_again(
        &mut self,
        cx: &mut Context,
        id: CommandId,
        command: Command,
        nsp: ByteString,
        number: u64,
    ) {
        let command = match command {
            _ if cx.lanes.is_down(&Lane::Subscriber) => None,
            Command::Unsubscribe { mut channels, sharded } => {
                channels.retain(|channel| !self.channels.contains_key(channel));
                (!channels.is_empty()).then_some(Command::Unsubscribe { channels, sharded })
            }
            other => (!self.namespaces.contains_key(&nsp)).then_some(other),
        };
        match command {
            Some(command) => {
                cx.again(id, Some(Box::new(command)), Purpose::Leave(nsp, number));
            }
            None => self.left(cx, &nsp, number),
        }
    }
}
