//! The application that runs on a simulated node.

use core::time::Duration;

use bytestring::ByteString;
use sio_streams_core::{Engine, Event, Time};

/// The logic under test. It runs on each node of a [`World`](crate::World).
pub trait App: Sized {
    /// Completes an event before the observers see it. An application that owns the rooms follows
    /// the order here, and fills in the sockets that are meant. The default does nothing.
    fn complete(&mut self, node: &mut Hand<'_>, event: &mut Event) {
        let _ = (node, event);
    }

    /// The engine has told of an event. The application can act on `node`, at once or by an alarm.
    fn event(&mut self, node: &mut Hand<'_>, event: Event);

    /// An alarm that was set by [`Hand::alarm`] rings.
    fn alarm(&mut self, node: &mut Hand<'_>, alarm: u64) {
        let _ = (node, alarm);
    }

    /// The sockets to which the packet of the last event was sent, for observers: see
    /// [`Happening::Sent`](crate::Happening::Sent). `None` if the application does not tell.
    fn take_sent(&mut self) -> Option<Vec<ByteString>> {
        None
    }

    /// The node has died, and comes back: an application with nothing in memory.
    #[must_use]
    fn reborn(&self) -> Self;

    /// The node is back, under a new name, with a fresh engine. The [reborn](App::reborn) application
    /// sets it up: it opens namespaces, and lets clients connect. The default does nothing; then
    /// whoever runs the world opens them, as for a node that was added.
    fn returned(&mut self, node: &mut Hand<'_>) {
        let _ = node;
    }
}

/// The interface of an application to its node.
#[derive(Debug)]
pub struct Hand<'a> {
    /// The node's number.
    pub host: usize,
    /// The time by the node's clock, to be passed to the engine.
    pub now: Time,
    /// The engine.
    pub engine: &'a mut Engine,
    pub(crate) alarms: &'a mut Vec<(Duration, u64)>,
}

impl Hand<'_> {
    /// Makes the world call [`App::alarm`] after a time, with this number, unless the node dies
    /// before.
    pub fn alarm(&mut self, after: Duration, alarm: u64) {
        self.alarms.push((after, alarm));
    }
}

/// A node, for calls from outside: see [`World::call`](crate::World::call).
#[derive(Debug)]
pub struct Node<'a, A> {
    /// The node's number.
    pub host: usize,
    /// The time by the node's clock, to be passed to the engine.
    pub now: Time,
    /// The engine.
    pub engine: &'a mut Engine,
    /// The application.
    pub app: &'a mut A,
    pub(crate) alarms: &'a mut Vec<(Duration, u64)>,
}

impl<A> Node<'_, A> {
    /// The application, and its interface to the node.
    pub fn parts(&mut self) -> (&mut A, Hand<'_>) {
        let hand = Hand { host: self.host, now: self.now, engine: self.engine, alarms: self.alarms };
        (self.app, hand)
    }
}
