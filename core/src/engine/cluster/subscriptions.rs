//! What this node is subscribed to: the channels and patterns of its namespaces, and those of their rooms.

use core::ops::Bound::{Included, Unbounded};
use std::collections::BTreeSet;

use bytestring::ByteString;

use super::Cluster;
use super::namespace::{Namespace, Subscription};
use crate::channel::Carries;
use crate::command::{Command, CommandError, CommandId, Lane};
use crate::config::Dialect;
use crate::engine::context::{Context, RETRY};
use crate::engine::purpose::Purpose;
use crate::engine::timers::Timer;
use crate::event::Event;
use crate::rooms::RoomChange;

/// How many namespaces are subscribed again by one command.
const SUBSCRIBE_AT_ONCE: usize = 100;

impl Cluster {
    /// The namespace that a channel belongs to, and what comes through it, if that is of interest.
    pub(in crate::engine) fn carried(&self, channel: &str) -> Option<(ByteString, Carries)> {
        if let Some(known) = self.channels.get(channel) {
            return Some(known.clone());
        }
        let ends = channel.match_indices('#').map(|(at, _)| at + 1);
        let by_prefix = |end: usize| Some((self.channels.get(&channel[..end])?, &channel[end..]));
        let ((nsp, carries), rest) =
            ends.filter_map(by_prefix).find(|((_, carries), _)| *carries == Carries::Broadcasts)?;
        // Nobody here is in the room.
        let room = rest.strip_suffix('#')?;
        let heard = self.namespaces.get(nsp)?.rooms.has_room(room) || mutant!(EmptyRoomHeard);
        heard.then(|| (nsp.clone(), *carries))
    }

    /// The open namespace whose rooms' channels can't be told from those of this one.
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

    /// Hears the channels of rooms that this node has sockets in now, and no longer those of rooms that it has none in.
    pub(in crate::engine) fn rooms_changed(&mut self, cx: &mut Context, nsp: &str, changes: &[RoomChange]) {
        if cx.config.dialect != Dialect::Sharded {
            return;
        }
        let created = changes.iter().filter_map(|change| match change {
            RoomChange::Create { room } => Some(room),
            _ => None,
        });
        let deleted = changes.iter().filter_map(|change| match change {
            RoomChange::Delete { room } => Some(room),
            _ => None,
        });
        // A room may bear the name of this node, or of another channel: then that is heard anyway, and goes on to be.
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

    /// Redis has refused to end subscriptions. They would live on as long as the connection, so it is asked once more about those that nobody wants
    /// again.
    pub(in crate::engine) fn unsubscribe_again(&mut self, cx: &mut Context, command: Command) {
        let Command::Unsubscribe { mut channels, sharded } = command else { return };
        channels.retain(|channel| !self.channels.contains_key(channel));
        if !channels.is_empty() && !mutant!(RefusedGoodbyeForgotten) {
            cx.command(Command::Unsubscribe { channels, sharded }, Purpose::Unheard);
            cx.rest(&Lane::Subscriber);
        }
    }

    /// The channels of a namespace, those of its rooms included.
    pub(super) fn all_channels(&self, cx: &Context, nsp: &str, namespace: &Namespace) -> Vec<ByteString> {
        let channels = cx.config.channels(nsp, cx.uid.as_str()).into_iter().map(|(channel, _)| channel);
        channels.chain(cx.config.room_channels(nsp, namespace.rooms.names())).collect()
    }

    /// Asks to hear these namespaces' patterns and channels.
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

    /// Asks to hear these namespaces' channels. Who hears them hears the patterns already, and is counted from then on.
    pub(in crate::engine) fn subscribe_channels(&mut self, cx: &mut Context, names: Vec<ByteString>) {
        let open = names.iter().filter_map(|nsp| self.namespaces.get_key_value(nsp));
        let mut channels: Vec<ByteString> =
            open.flat_map(|(nsp, namespace)| self.all_channels(cx, nsp, namespace)).collect();
        if mutant!(RoomsForgottenInBreak) {
            channels.truncate(2 * names.len());
        }
        if !channels.is_empty() {
            let sharded = cx.config.sharded();
            cx.command(Command::Subscribe { channels, sharded }, Purpose::Subscribe(names));
        }
    }

    /// Subscriptions are in force. The namespaces may be ready.
    pub(in crate::engine) fn subscribed(&mut self, names: &[ByteString]) {
        self.unheard = None;
        for nsp in names {
            if let Some(namespace) = self.namespaces.get_mut(nsp) {
                namespace.subscriptions += 1;
                namespace.subscription = Subscription::Yes(namespace.subscriptions);
            }
        }
    }

    /// A subscription has failed. If the link is down it is made again when the link comes back; if not, after a while.
    pub(in crate::engine) fn subscribe_failed(
        &mut self,
        cx: &mut Context,
        names: Vec<ByteString>,
        error: CommandError,
    ) {
        let down = cx.lanes.is_down(&Lane::Subscriber);
        let refused = matches!(error, CommandError::Server { .. } | CommandError::Unusable(_));
        if refused && self.unheard.as_ref() != Some(&error) {
            self.unheard = Some(error.clone());
            cx.events.push_back(Event::Refused { lane: Lane::Subscriber, error });
        }
        for nsp in names {
            if let Some(namespace) = self.namespaces.get_mut(&nsp) {
                namespace.subscription = Subscription::No;
                if !down {
                    cx.timers.arm(Timer::Resubscribe(nsp), cx.now + RETRY);
                }
            }
        }
    }

    /// A new connection has no subscriptions.
    pub(in crate::engine) fn subscriber_changed(&mut self, cx: &mut Context, up: bool) {
        if !up {
            self.prune_subscriptions(cx);
            // What was asked on the lost connection means nothing on the next one, even if its reply is still to come.
            let lanes = &cx.lanes;
            cx.in_flight
                .retain(|id, command| !command.purpose.subscribes() || lanes.waits(&Lane::Subscriber, *id));
            let asked: BTreeSet<&ByteString> =
                cx.in_flight.values().flat_map(|command| command.purpose.subscribed_names()).collect();
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
            self.subscribe(cx, some.to_vec());
        }
    }

    /// The subscriber has no connection: nothing has to be ended on it, and on the next one only what is wanted now is to be
    /// subscribed.
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

    /// Redis has not taken a goodbye. On a connection that is lost nothing has to be ended; and what has been opened again
    /// since stays.
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
