//! The context that the engine lends to each of its parts: the options, the clock, the random
//! numbers, and the queues of commands and events. The context makes no decisions.

use core::time::Duration;
use std::collections::VecDeque;

use hashbrown::HashMap;

use super::lanes::Lanes;
use super::pauses::Pauses;
use super::purpose::Purpose;
use super::timers::{Timer, Timers};
use crate::command::{Command, CommandId, Lane};
use crate::config::{Config, RoomOwner};
use crate::event::Event;
use crate::hash::{Keyed, Numbered};
use crate::id::NodeId;
use crate::time::Time;

/// The time that a refused command waits, at first, before it is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(200);

/// The state that the parts of the engine share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) config: Config,
    /// The name of this node.
    pub(super) uid: NodeId,
    /// The keys for hash tables whose own keys come from outside.
    pub(super) hash: Keyed,
    pub(super) rng: fastrand::Rng,
    pub(super) now: Time,
    /// The last number that a command or a ticket was given.
    pub(super) count: u64,
    pub(super) lanes: Lanes,
    pub(super) in_flight: HashMap<CommandId, InFlight, Numbered>,
    /// The number of commands in flight that ask on behalf of requests.
    pub(super) asking: usize,
    pub(super) timers: Timers,
    /// Events that have happened and wait to be polled.
    pub(super) events: VecDeque<Event>,
}

/// A command whose reply has not come.
#[derive(Debug)]
pub(super) struct InFlight {
    /// The command itself, if it may have to be handed out again.
    pub(super) command: Option<Box<Command>>,
    pub(super) purpose: Purpose,
}

impl Context {
    pub(super) fn new(config: Config, uid: NodeId, hash: Keyed, rng: fastrand::Rng, now: Time) -> Self {
        Context {
            config,
            uid,
            hash,
            rng,
            now,
            count: 0,
            lanes: Lanes::default(),
            in_flight: HashMap::with_hasher(Numbered),
            asking: 0,
            timers: Timers::default(),
            events: VecDeque::new(),
        }
    }

    /// Returns `true` if the engine knows the rooms of this node's sockets.
    #[inline]
    pub(super) fn owns_rooms(&self) -> bool {
        self.config.room_owner == RoomOwner::Engine
    }

    /// Draws the next number, for a command or a ticket.
    #[inline]
    pub(super) fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Queues a command for its lane.
    #[inline]
    pub(super) fn command(&mut self, command: Command, purpose: Purpose) -> CommandId {
        let id = CommandId(self.number());
        self.expect(id, Some(Box::new(command.clone())), purpose);
        self.lanes.push(id, command);
        id
    }

    /// Notes that the reply to a command is to come.
    #[inline]
    pub(super) fn expect(&mut self, id: CommandId, command: Option<Box<Command>>, purpose: Purpose) {
        self.asking += usize::from(purpose.asks());
        self.in_flight.insert(id, InFlight { command, purpose });
    }

    /// Removes and returns a command whose reply has come.
    #[inline]
    pub(super) fn answered(&mut self, id: CommandId) -> Option<InFlight> {
        let in_flight = self.in_flight.remove(&id)?;
        self.asking -= usize::from(in_flight.purpose.asks());
        Some(in_flight)
    }

    /// Takes back a command that has not been handed out. Returns `false` if it has been handed
    /// out.
    pub(super) fn withdraw(&mut self, lane: &Lane, command: CommandId) -> bool {
        let waits = self.lanes.withdraw(lane, command);
        if waits {
            self.answered(command);
        }
        waits
    }

    /// Pauses the lane for a while, for longer each time until the lane is of use. If its link is
    /// known to be down, the lane waits until the link is back instead.
    pub(super) fn rest(&mut self, lane: &Lane) {
        if self.lanes.is_down(lane) {
            return;
        }
        let longest = Pauses::of_lanes(self.config.heartbeat_interval);
        if let Some(pause) = self.lanes.pause(lane, &mut self.rng, longest)
            && !mutant!(RetryNotRearmed)
        {
            self.timers.arm(Timer::Retry(lane.clone()), self.now + pause);
        }
    }

    /// Notes that a command has done what the lane is there for.
    #[inline]
    pub(super) fn was_of_use(&mut self, purpose: &Purpose) {
        if self.lanes.is_any_weary()
            && let Some(lane) = purpose.serves()
        {
            self.lanes.is_of_use(&lane);
        }
    }

    /// Puts a command that certainly had no effect back in its place. The command goes out again
    /// when the link is back, or after a while.
    pub(super) fn again(&mut self, id: CommandId, command: Option<Box<Command>>, purpose: Purpose) {
        let Some(command) = command else { return };
        let lane = command.lane();
        self.lanes.push(id, (*command).clone());
        self.expect(id, Some(command), purpose);
        self.rest(&lane);
    }
}
