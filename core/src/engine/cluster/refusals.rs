//! Channels that the server refuses, while it takes others.
//!
//! A user may lack the right to some channels, such as those of one room. The server then refuses
//! each command that names one of them as a whole, and does not say which it is. So the command is
//! divided until the channels that are refused stand alone, and all others are in force. A room's
//! channel that is refused alone is left out of later commands, and tried again by itself. The
//! channels of a namespace other than those of its rooms are needed together, and are not divided.

use std::collections::BTreeMap;

use bytestring::ByteString;

use super::Cluster;
use super::namespace::Subscription;
use crate::channel::Carries;
use crate::command::{Command, CommandError, Lane};
use crate::engine::context::Context;
use crate::engine::pauses::Pauses;
use crate::engine::purpose::Purpose;
use crate::engine::timers::Timer;
use crate::event::Event;
use crate::time::Time;

/// The channels of rooms that the server has refused alone.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<ByteString, Refused>);

#[derive(Debug)]
struct Refused {
    /// The refusal that was reported last.
    error: CommandError,
    pauses: Pauses,
    /// The time of the next attempt, unless one is under way or there is no connection.
    due: Option<Time>,
}

impl Refusals {
    pub(super) fn has(&self, channel: &ByteString) -> bool {
        self.0.contains_key(channel)
    }

    /// Forgets a channel that is in force, or not wanted any more.
    pub(super) fn forget(&mut self, channel: &ByteString) {
        self.0.remove(channel);
    }

    fn next(&self) -> Option<Time> {
        self.0.values().filter_map(|refused| refused.due).min()
    }
}

impl Cluster {
    /// Divides a command that subscribes to the channels of these namespaces, if the server has
    /// refused some of the channels. Returns `false` if it can't be divided.
    pub(super) fn divides(&mut self, cx: &mut Context, names: &[ByteString], with_rooms: bool) -> bool {
        if let [_, _, ..] = names {
            for half in names.chunks(names.len().div_ceil(2)) {
                self.subscribe(cx, half.to_vec());
            }
            return true;
        }
        let Some((nsp, namespace)) = names.first().and_then(|nsp| self.namespaces.get_key_value(nsp)) else {
            return false;
        };
        let divides = with_rooms && !self.room_channels(cx, nsp, namespace).is_empty();
        if divides {
            let channels = self.own_channels(cx, nsp);
            let sharded = cx.config.sharded();
            cx.command(Command::Subscribe { channels, sharded }, Purpose::Own(nsp.clone()));
        }
        divides
    }

    /// Subscribes to the channels of a namespace's rooms. The other channels are in force.
    pub(in crate::engine) fn subscribe_rooms(&mut self, cx: &mut Context, nsp: &ByteString) {
        let Some(namespace) = self.namespaces.get(nsp) else { return };
        let channels = self.room_channels(cx, nsp, namespace);
        if !channels.is_empty() {
            cx.command(Command::Subscribe { channels, sharded: true }, Purpose::Rooms(nsp.clone()));
        }
    }

    /// Handles the server's refusal of a namespace's own channels. They are tried again, after
    /// pauses that grow.
    pub(super) fn is_unheard(&mut self, cx: &mut Context, nsp: ByteString, error: CommandError) {
        let Some(namespace) = self.namespaces.get_mut(&nsp) else { return };
        namespace.subscription = Subscription::No;
        if namespace.unheard.as_ref() != Some(&error) {
            namespace.unheard = Some(error.clone());
            let channel = Some(namespace.channel.clone());
            cx.events.push_back(Event::Refused { lane: Lane::Subscriber, channel, error });
        }
        let pause = namespace.pauses.next(&mut cx.rng, Pauses::OF_RIGHTS);
        if !mutant!(NamespaceRefusedForGood) {
            cx.timers.arm(Timer::Resubscribe(nsp), cx.now + pause);
        }
    }

    /// Notes that a subscription to channels of rooms is in force.
    pub(in crate::engine) fn rooms_subscribed(&mut self, command: Option<Box<Command>>) {
        if let Some(Command::Subscribe { channels, .. }) = command.as_deref() {
            channels.iter().for_each(|channel| self.refusals.forget(channel));
        }
    }

    /// Handles a subscription to channels of a namespace's rooms that has failed.
    pub(in crate::engine) fn rooms_failed(
        &mut self,
        cx: &mut Context,
        nsp: ByteString,
        command: Option<Box<Command>>,
        error: CommandError,
    ) {
        let Some(Command::Subscribe { mut channels, .. }) = command.map(|command| *command) else {
            return self.subscribe_failed(cx, vec![nsp], false, error);
        };
        if !error.refuses_channels() {
            // A channel that was refused before is tried again by itself, all others with the
            // namespace.
            channels.retain(|channel| !self.waits_again(cx, channel));
            self.await_refused(cx);
            if !channels.is_empty() {
                self.subscribe_failed(cx, vec![nsp], false, error);
            }
            return;
        }
        let is_wanted =
            |channel: &ByteString| self.channels.get(channel) == Some(&(nsp.clone(), Carries::Room));
        channels.retain(is_wanted);
        match &*channels {
            [] => {}
            [channel] => self.is_refused(cx, channel.clone(), error),
            all if mutant!(RefusalNotDivided) => {
                all.iter().for_each(|channel| self.is_refused(cx, channel.clone(), error.clone()));
            }
            more => {
                for half in more.chunks(more.len().div_ceil(2)) {
                    let command = Command::Subscribe { channels: half.to_vec(), sharded: true };
                    cx.command(command, Purpose::Rooms(nsp.clone()));
                }
            }
        }
    }

    /// Handles the server's refusal of a single channel.
    fn is_refused(&mut self, cx: &mut Context, channel: ByteString, error: CommandError) {
        let is_known = self.refusals.0.get(&channel).is_some_and(|refused| refused.error == error);
        if !is_known {
            let channel = Some(channel.clone());
            cx.events.push_back(Event::Refused { lane: Lane::Subscriber, channel, error: error.clone() });
        }
        let fresh = || Refused { error: error.clone(), pauses: Pauses::default(), due: None };
        self.refusals.0.entry(channel.clone()).or_insert_with(fresh).error.clone_from(&error);
        self.waits_again(cx, &channel);
        self.await_refused(cx);
    }

    /// Has a refused channel wait for another attempt, whatever became of the last one. Returns
    /// `false` if the channel was not refused.
    fn waits_again(&mut self, cx: &mut Context, channel: &ByteString) -> bool {
        let Some(refused) = self.refusals.0.get_mut(channel) else { return false };
        let due = cx.now + refused.pauses.next(&mut cx.rng, Pauses::OF_RIGHTS);
        // All are tried on the next connection.
        let down = cx.lanes.is_down(&Lane::Subscriber);
        refused.due = Some(due).filter(|_| !down && !mutant!(RefusedForGood));
        true
    }

    /// Arms the timer for the next attempt.
    fn await_refused(&self, cx: &mut Context) {
        match self.refusals.next() {
            Some(next) => cx.timers.arm(Timer::Refused, next),
            None => cx.timers.cancel(&Timer::Refused),
        }
    }

    /// Tries the refused channels again for which it is time, each by itself.
    pub(in crate::engine) fn try_refused(&mut self, cx: &mut Context) {
        let now = cx.now;
        for (channel, refused) in &mut self.refusals.0 {
            if refused.due.take_if(|due| *due <= now).is_some()
                && let Some((nsp, _)) = self.channels.get(channel)
            {
                let command = Command::Subscribe { channels: vec![channel.clone()], sharded: true };
                cx.command(command, Purpose::Rooms(nsp.clone()));
            }
        }
        self.await_refused(cx);
    }

    /// Handles a change of the subscriber's connection. On a new one the refused channels are tried
    /// again at once: it may lead to another server.
    pub(super) fn refused_by_another(&mut self, cx: &mut Context, up: bool) {
        let due = up.then_some(cx.now);
        self.refusals.0.values_mut().for_each(|refused| refused.due = due);
        self.try_refused(cx);
    }
}
