//! The queue of events that wait for the application.
//!
//! Events change hands many at a time. A lock and a wake-up for each of them would cost more than
//! the event itself.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_stream::Stream;

use crate::acceptance::Act;
use crate::event::Event;

/// An item of the queue.
// The large variant is the common one.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Told {
    Event(Event),
    /// An action in its place among the events.
    Act(Act),
}

impl Told {
    /// Returns the event, or takes the action.
    pub(crate) fn event(self) -> Option<Event> {
        match self {
            Told::Event(event) => Some(event),
            Told::Act(act) => act(),
        }
    }
}

impl core::fmt::Debug for Told {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Told::Event(event) => event.fmt(f),
            Told::Act(_) => f.write_str("Act"),
        }
    }
}

#[derive(Debug)]
struct Shared {
    pending: Mutex<Pending>,
    /// The number of items that have been told and not been taken, including those in the
    /// application's hands.
    untaken: AtomicUsize,
    /// The number of untaken items at which there is no more room.
    capacity: usize,
    /// Notified when half of the capacity is free again, after there was no room.
    room: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    waiting: VecDeque<Told>,
    /// The task that waits for the first item.
    taker: Option<Waker>,
    /// The teller is gone: no more items will come.
    ended: bool,
    /// The application has dropped its end: no one will take the items.
    unwanted: bool,
}

impl Shared {
    /// Locks the queue. A poisoned lock is as good as any other, since no code panics while holding
    /// it.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loop's end of the queue. Items go over when they are [handed over](Teller::hand_over).
#[derive(Debug)]
pub(crate) struct Teller {
    shared: Arc<Shared>,
    fresh: VecDeque<Told>,
}

/// The stream of the node's events, in order.
#[derive(Debug)]
pub struct Events {
    shared: Arc<Shared>,
    /// Items that were taken from the queue in one go, and have not been returned yet.
    hand: VecDeque<Told>,
}

/// Creates a queue of this capacity.
pub(crate) fn queue(capacity: usize) -> (Teller, Events) {
    let shared = Arc::new(Shared {
        pending: Mutex::default(),
        untaken: AtomicUsize::new(0),
        capacity: capacity.max(1),
        room: Notify::new(),
    });
    (Teller { shared: Arc::clone(&shared), fresh: VecDeque::new() }, Events { shared, hand: VecDeque::new() })
}

impl Teller {
    /// The number of items that are handed over in one go, at most. The first of many should not
    /// wait for the last.
    const AT_ONCE: usize = 64;

    /// Adds an item, whether or not there is room.
    pub(crate) fn tell(&mut self, told: Told) {
        self.fresh.push_back(told);
        if self.fresh.len() >= Self::AT_ONCE {
            self.hand_over();
        }
    }

    /// Hands over all items that were added.
    pub(crate) fn hand_over(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        let taker = {
            let mut pending = self.shared.lock();
            if pending.unwanted {
                drop(pending);
                // The application has chosen not to listen any more. Actions are taken all the
                // same.
                return self.fresh.drain(..).for_each(|told| drop(told.event()));
            }
            self.shared.untaken.fetch_add(self.fresh.len(), Ordering::AcqRel);
            if pending.waiting.is_empty() {
                // An event is large, so it is not moved without need.
                core::mem::swap(&mut pending.waiting, &mut self.fresh);
            } else {
                pending.waiting.append(&mut self.fresh);
            }
            pending.taker.take()
        };
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    /// Returns the number of untaken items that exceed the capacity.
    pub(crate) fn excess(&self) -> usize {
        self.untaken().saturating_sub(self.shared.capacity)
    }

    /// Returns `true` if there is no room for another item.
    pub(crate) fn is_full(&self) -> bool {
        self.untaken() >= self.shared.capacity
    }

    /// Returns `true` if half of the room is taken.
    pub(crate) fn is_half_full(&self) -> bool {
        self.untaken() >= self.shared.capacity.div_ceil(2)
    }

    /// Returns the number of items that have been told and not been taken.
    pub(crate) fn untaken(&self) -> usize {
        self.shared.untaken.load(Ordering::Acquire) + self.fresh.len()
    }

    /// Completes when half of the capacity is free again, after there was no room. It may complete
    /// too early.
    pub(crate) async fn room(&mut self) {
        self.shared.room.notified().await;
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.hand_over();
        let taker = {
            let mut pending = self.shared.lock();
            pending.ended = true;
            pending.taker.take()
        };
        if let Some(taker) = taker {
            taker.wake();
        }
    }
}

impl Events {
    /// Waits for the next event. Returns `None` when the node is closed.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.poll_event(context)).await
    }

    /// Returns the next event, if it has arrived already.
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.at_hand() {
                return Some(event);
            }
            let mut pending = self.shared.lock();
            if pending.waiting.is_empty() {
                return None;
            }
            core::mem::swap(&mut pending.waiting, &mut self.hand);
        }
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.at_hand() {
                return Poll::Ready(Some(event));
            }
            let mut pending = self.shared.lock();
            if pending.waiting.is_empty() {
                if pending.ended {
                    return Poll::Ready(None);
                }
                pending.taker = Some(context.waker().clone());
                return Poll::Pending;
            }
            core::mem::swap(&mut pending.waiting, &mut self.hand);
        }
    }

    fn at_hand(&mut self) -> Option<Event> {
        loop {
            let told = self.hand.pop_front()?;
            let left = self.shared.untaken.fetch_sub(1, Ordering::AcqRel) - 1;
            // From full down to empty, the number passes the half exactly once.
            if left == self.shared.capacity / 2 {
                self.shared.room.notify_one();
            }
            if let Some(event) = told.event() {
                return Some(event);
            }
        }
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let waiting = {
            let mut pending = self.shared.lock();
            pending.unwanted = true;
            core::mem::take(&mut pending.waiting)
        };
        // Actions are taken though no one listens.
        self.hand.drain(..).chain(waiting).for_each(|told| drop(told.event()));
        self.shared.untaken.store(0, Ordering::Release);
        self.shared.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;

    use sio_streams_core::{Lane, LinkState};

    use super::*;

    fn link(up: bool) -> Told {
        let link = if up { LinkState::Up } else { LinkState::down("cut") };
        Told::Event(Event::Link { lane: Lane::Writer, link })
    }

    /// Returns `true` if the future completes at once.
    fn is_ready(future: impl Future<Output = ()>) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn there_is_room_again_when_half_is_taken() {
        for capacity in [1, 2, 5] {
            let (mut teller, mut events) = queue(capacity);
            for _ in 0..capacity + 2 {
                teller.tell(link(true));
            }
            teller.hand_over();
            assert!(teller.is_full());
            assert_eq!(teller.excess(), 2);
            for left in (0..capacity + 2).rev() {
                assert!(!is_ready(teller.room()), "{left} of {capacity} left");
                events.next().await.unwrap();
                if left == capacity / 2 {
                    break;
                }
            }
            assert!(!teller.is_full());
            assert!(is_ready(teller.room()));
        }
    }

    #[tokio::test]
    async fn what_waits_is_taken_after_the_end() {
        let (mut teller, mut events) = queue(10);
        assert!(events.try_next().is_none());
        let taking = tokio::spawn(async move {
            let mut count = 0;
            while events.next().await.is_some() {
                count += 1;
            }
            count
        });
        // It waits before the first is there.
        tokio::task::yield_now().await;
        for _ in 0..3 {
            teller.tell(link(true));
            teller.hand_over();
            tokio::task::yield_now().await;
        }
        teller.tell(link(false));
        drop(teller);
        assert_eq!(taking.await.unwrap(), 4);
    }

    #[tokio::test]
    async fn what_is_to_be_done_is_done_though_nobody_listens() {
        let done = Arc::new(AtomicUsize::new(0));
        let act = || {
            let done = Arc::clone(&done);
            Told::Act(Box::new(move || {
                done.fetch_add(1, Ordering::Relaxed);
                None
            }))
        };
        let (mut teller, mut events) = queue(1);
        for _ in 0..3 {
            teller.tell(link(true));
            teller.tell(act());
        }
        teller.hand_over();
        events.try_next().unwrap();
        drop(events);
        assert_eq!(done.load(Ordering::Relaxed), 3);
        assert!(!teller.is_full());
        teller.tell(act());
        teller.hand_over();
        assert_eq!(done.load(Ordering::Relaxed), 4);
        assert!(!teller.is_full(), "the loop goes on");
    }
}
