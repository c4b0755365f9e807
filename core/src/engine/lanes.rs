//! The commands that wait to be sent, for each connection.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::pauses::Pauses;
use crate::command::{Command, CommandId, Lane};
use crate::link::LinkState;

/// The commands of one connection that have not been handed out, in the order of their ids.
///
/// A command that certainly was not sent comes back with its old id, and so to its old place. The
/// order therefore holds over reconnects.
#[derive(Debug)]
struct Queue {
    link: LinkState,
    paused: bool,
    waiting: BTreeMap<CommandId, Command>,
}

impl Default for Queue {
    fn default() -> Self {
        Queue { link: LinkState::Up, paused: false, waiting: BTreeMap::new() }
    }
}

impl Queue {
    fn is_open(&self) -> bool {
        self.link.is_up() && !self.paused
    }
}

/// The news in the reported state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkChange {
    /// The link was lost, or is back.
    State,
    /// The link is still down, for another reason than before.
    Reason,
}

#[derive(Debug, Default)]
pub(super) struct Lanes {
    queues: BTreeMap<Lane, Queue>,
    /// The lanes that are open and have commands waiting. In most cases there are no such lanes,
    /// while there may be a lane for each of many streams.
    ready: BTreeSet<Lane>,
    /// The lanes that have rested since they were last of use. In most cases there are none.
    weary: BTreeMap<Lane, Pauses>,
}

impl Lanes {
    pub(super) fn push(&mut self, id: CommandId, command: Command) {
        let lane = command.lane();
        let queue = match self.queues.get_mut(&lane) {
            Some(queue) => queue,
            None => self.queues.entry(lane.clone()).or_default(),
        };
        queue.waiting.insert(id, command);
        if queue.is_open() && queue.waiting.len() == 1 {
            self.ready.insert(lane);
        }
    }

    /// Takes the next command of a lane that is neither down nor paused.
    pub(super) fn pop(&mut self) -> Option<(CommandId, Command)> {
        while let Some(lane) = self.ready.first() {
            let queue = self.queues.get_mut(lane);
            let next = queue.and_then(|queue| Some((queue.waiting.pop_first()?, queue.waiting.is_empty())));
            if next.as_ref().is_none_or(|(_, last)| *last) {
                self.ready.pop_first();
            }
            if let Some((next, _)) = next {
                return Some(next);
            }
        }
        None
    }

    /// Changes the state of a lane.
    fn change<T>(&mut self, lane: &Lane, change: impl FnOnce(&mut Queue) -> T) -> T {
        let queue = self.queues.entry(lane.clone()).or_default();
        let result = change(queue);
        match queue.is_open() && !queue.waiting.is_empty() {
            true => self.ready.insert(lane.clone()),
            false => self.ready.remove(lane),
        };
        result
    }

    /// Notes the state of a link. Returns the news in it, if there is any. A link counts as up
    /// until it is reported down.
    pub(super) fn set_link(&mut self, lane: &Lane, link: LinkState) -> Option<LinkChange> {
        self.change(lane, |queue| {
            queue.paused &= !link.is_up();
            let change = match queue.link.is_up() == link.is_up() {
                true => LinkChange::Reason,
                false => LinkChange::State,
            };
            let is_news = queue.link != link;
            queue.link = link;
            is_news.then_some(change)
        })
    }

    /// Returns `true` if commands of the lane are handed out.
    pub(super) fn is_open(&self, lane: &Lane) -> bool {
        self.queues.get(lane).is_none_or(Queue::is_open)
    }

    pub(super) fn is_down(&self, lane: &Lane) -> bool {
        self.queues.get(lane).is_some_and(|queue| !queue.link.is_up())
    }

    /// Hands out nothing more for this lane until it is resumed or reported up. Returns the time
    /// after which it is to be resumed, unless it is paused already: several commands that fail
    /// together are one failure.
    pub(super) fn pause(
        &mut self,
        lane: &Lane,
        rng: &mut fastrand::Rng,
        longest: Duration,
    ) -> Option<Duration> {
        if self.change(lane, |queue| core::mem::replace(&mut queue.paused, true)) {
            return None;
        }
        Some(self.weary.entry(lane.clone()).or_default().next(rng, longest))
    }

    /// Returns `true` if there is a lane that has rested since it was last of use.
    #[inline]
    pub(super) fn is_any_weary(&self) -> bool {
        !self.weary.is_empty()
    }

    /// The next pause of this lane is the first one.
    pub(super) fn is_of_use(&mut self, lane: &Lane) {
        self.weary.remove(lane);
    }

    pub(super) fn resume(&mut self, lane: &Lane) {
        if self.queues.contains_key(lane) {
            self.change(lane, |queue| queue.paused = false);
        }
    }

    /// Takes back a command that has not been handed out. Returns `true` if it was there.
    pub(super) fn withdraw(&mut self, lane: &Lane, id: CommandId) -> bool {
        self.queues.contains_key(lane) && self.change(lane, |queue| queue.waiting.remove(&id).is_some())
    }

    /// Returns `true` if the command has not been handed out.
    pub(super) fn waits(&self, lane: &Lane, id: CommandId) -> bool {
        self.queues.get(lane).is_some_and(|queue| queue.waiting.contains_key(&id))
    }

    /// Takes back all commands that wait for the lane.
    pub(super) fn take_waiting(&mut self, lane: &Lane) -> BTreeMap<CommandId, Command> {
        self.ready.remove(lane);
        self.queues.get_mut(lane).map(|queue| core::mem::take(&mut queue.waiting)).unwrap_or_default()
    }

    /// Forgets the lane and all commands that wait for it. Returns the ids of these commands.
    pub(super) fn remove(&mut self, lane: &Lane) -> impl Iterator<Item = CommandId> + use<> {
        self.ready.remove(lane);
        self.weary.remove(lane);
        self.queues.remove(lane).into_iter().flat_map(|queue| queue.waiting.into_keys())
    }
}
