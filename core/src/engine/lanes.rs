//! What waits to be sent on which connection.

use std::collections::BTreeMap;

use crate::command::{Command, CommandId, Lane};

/// The commands of one connection that have not been handed out, in the order of their ids.
///
/// A command that certainly was not sent comes back with its old id, and so to its old place: order holds over reconnects.
#[derive(Debug, Default)]
struct Queue {
    down: bool,
    paused: bool,
    waiting: BTreeMap<CommandId, Command>,
}

#[derive(Debug, Default)]
pub(super) struct Lanes {
    queues: BTreeMap<Lane, Queue>,
    /// How many commands wait, on all lanes. Mostly none, and there may be a lane for each of many streams.
    waiting: usize,
}

impl Lanes {
    pub(super) fn push(&mut self, id: CommandId, command: Command) {
        let queue = self.queues.entry(command.lane()).or_default();
        self.waiting += usize::from(queue.waiting.insert(id, command).is_none());
    }

    /// The next command of a lane that is neither down nor paused.
    pub(super) fn pop(&mut self) -> Option<(CommandId, Command)> {
        if self.waiting == 0 {
            return None;
        }
        let mut open = self.queues.values_mut().filter(|queue| !queue.down && !queue.paused);
        let next = open.find_map(|queue| queue.waiting.pop_first())?;
        self.waiting -= 1;
        Some(next)
    }

    /// Notes the state of a link; whether that is news. A link counts as up until it is reported down.
    pub(super) fn set_up(&mut self, lane: &Lane, up: bool) -> bool {
        let queue = self.queues.entry(lane.clone()).or_default();
        queue.paused &= !up;
        core::mem::replace(&mut queue.down, !up) == up
    }

    /// Whether commands of the lane are handed out.
    pub(super) fn is_open(&self, lane: &Lane) -> bool {
        self.queues.get(lane).is_none_or(|queue| !queue.down && !queue.paused)
    }

    pub(super) fn is_down(&self, lane: &Lane) -> bool {
        self.queues.get(lane).is_some_and(|queue| queue.down)
    }

    /// Hands out nothing more for this lane until it is resumed or reported up.
    pub(super) fn pause(&mut self, lane: &Lane) {
        self.queues.entry(lane.clone()).or_default().paused = true;
    }

    pub(super) fn resume(&mut self, lane: &Lane) {
        if let Some(queue) = self.queues.get_mut(lane) {
            queue.paused = false;
        }
    }

    /// Takes back a command that has not been handed out; whether it was there.
    pub(super) fn withdraw(&mut self, lane: &Lane, id: CommandId) -> bool {
        let there = self.queues.get_mut(lane).is_some_and(|queue| queue.waiting.remove(&id).is_some());
        self.waiting -= usize::from(there);
        there
    }

    /// Takes back what waits for the lane.
    pub(super) fn take_waiting(&mut self, lane: &Lane) -> BTreeMap<CommandId, Command> {
        let Some(queue) = self.queues.get_mut(lane) else { return BTreeMap::new() };
        self.waiting -= queue.waiting.len();
        core::mem::take(&mut queue.waiting)
    }

    /// Forgets the lane and all that waits for it.
    pub(super) fn remove(&mut self, lane: &Lane) -> impl Iterator<Item = CommandId> + use<> {
        let queue = self.queues.remove(lane);
        self.waiting -= queue.as_ref().map_or(0, |queue| queue.waiting.len());
        queue.into_iter().flat_map(|queue| queue.waiting.into_keys())
    }
}
