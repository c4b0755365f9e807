//! The events that wait for the application. They change hands many at a time: a lock and a wake-up for each would cost more than they do.

use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::event::{Event, Told};

#[derive(Debug)]
struct Shared {
    line: Mutex<Line>,
    /// How many have been told and not taken, those in the application's hands included.
    untaken: AtomicUsize,
    /// As many may be untaken before there is no room.
    capacity: usize,
    /// Half of them have been taken since there was no room.
    room: Notify,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Told>,
    /// Who waits for the first.
    taker: Option<Waker>,
    /// No more will come.
    ended: bool,
    /// Nobody will take them.
    unwanted: bool,
}

impl Shared {
    /// Nobody panics while holding the lock.
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loop's end. What is told goes over when it is [handed over](Teller::hand_over).
#[derive(Debug)]
pub(crate) struct Teller {
    shared: Arc<Shared>,
    fresh: VecDeque<Told>,
}

/// The application's end.
#[derive(Debug)]
pub(crate) struct Taker {
    shared: Arc<Shared>,
    hand: VecDeque<Told>,
}

/// A line in which there is room for so many.
pub(crate) fn queue(capacity: usize) -> (Teller, Taker) {
    let capacity = capacity.max(1);
    let shared =
        Shared { line: Mutex::default(), untaken: AtomicUsize::new(0), capacity, room: Notify::new() };
    let shared = Arc::new(shared);
    (Teller { shared: Arc::clone(&shared), fresh: VecDeque::new() }, Taker { shared, hand: VecDeque::new() })
}

impl Teller {
    /// How many are handed over in one go, at most: the first of many should not wait for the last.
    const AT_ONCE: usize = 64;

    /// Takes what is to be told, whether there is room or not.
    pub(crate) fn tell(&mut self, told: Told) {
        self.fresh.push_back(told);
        if self.fresh.len() >= Self::AT_ONCE {
            self.hand_over();
        }
    }

    /// Lets the application have what it was told.
    pub(crate) fn hand_over(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        let taker = {
            let mut line = self.shared.lock();
            if line.unwanted {
                drop(line);
                // Nobody listens any more: the application has chosen so.
                return self.fresh.drain(..).for_each(|told| drop(told.event()));
            }
            self.shared.untaken.fetch_add(self.fresh.len(), Ordering::AcqRel);
            if line.waiting.is_empty() {
                // An event is large: it is not moved where it need not be.
                core::mem::swap(&mut line.waiting, &mut self.fresh);
            } else {
                line.waiting.append(&mut self.fresh);
            }
            line.taker.take()
        };
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    /// How many there are for which there is no room.
    pub(crate) fn excess(&self) -> usize {
        self.untaken().saturating_sub(self.shared.capacity)
    }

    /// Whether there is no room for another.
    pub(crate) fn is_full(&self) -> bool {
        self.untaken() >= self.shared.capacity
    }

    /// How many have been told and not taken.
    pub(crate) fn untaken(&self) -> usize {
        self.shared.untaken.load(Ordering::Acquire) + self.fresh.len()
    }

    /// Completes when half of what there is room for is free, after there was none. It may do so too early.
    pub(crate) async fn room(&mut self) {
        self.shared.room.notified().await;
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.hand_over();
        let taker = {
            let mut line = self.shared.lock();
            line.ended = true;
            line.taker.take()
        };
        if let Some(taker) = taker {
            taker.wake();
        }
    }
}

impl Taker {
    /// The next event; nothing when there will be no more.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.at_hand() {
                return Poll::Ready(Some(event));
            }
            let mut line = self.shared.lock();
            if line.waiting.is_empty() {
                if line.ended {
                    return Poll::Ready(None);
                }
                line.taker = Some(context.waker().clone());
                return Poll::Pending;
            }
            core::mem::swap(&mut line.waiting, &mut self.hand);
        }
    }

    /// The next event, if one is there already.
    pub(crate) fn try_next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.at_hand() {
                return Some(event);
            }
            let mut line = self.shared.lock();
            if line.waiting.is_empty() {
                return None;
            }
            core::mem::swap(&mut line.waiting, &mut self.hand);
        }
    }

    fn at_hand(&mut self) -> Option<Event> {
        loop {
            let told = self.hand.pop_front()?;
            let left = self.shared.untaken.fetch_sub(1, Ordering::AcqRel) - 1;
            // On the way down from full there is always a last one above the half.
            if left == self.shared.capacity / 2 {
                self.shared.room.notify_one();
            }
            if let Some(event) = told.event() {
                return Some(event);
            }
        }
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let waiting = {
            let mut line = self.shared.lock();
            line.unwanted = true;
            core::mem::take(&mut line.waiting)
        };
        // What was to be done among the events is done all the same.
        self.hand.drain(..).chain(waiting).for_each(|told| drop(told.event()));
        self.shared.untaken.store(0, Ordering::Release);
        self.shared.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use core::future::poll_fn;
    use core::pin::pin;

    use sio_streams_core::Lane;

    use super::*;

    fn link(up: bool) -> Told {
        Told::Event(Event::Link { lane: Lane::Writer, up, reason: String::new() })
    }

    /// Whether the future completes at once.
    fn is_ready(future: impl Future<Output = ()>) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    async fn next(taker: &mut Taker) -> Option<Event> {
        poll_fn(|context| taker.poll_next(context)).await
    }

    #[tokio::test]
    async fn there_is_room_again_when_half_is_taken() {
        for capacity in [1, 2, 5] {
            let (mut teller, mut taker) = queue(capacity);
            for _ in 0..capacity + 2 {
                teller.tell(link(true));
            }
            teller.hand_over();
            assert!(teller.is_full());
            assert_eq!(teller.excess(), 2);
            for left in (0..capacity + 2).rev() {
                assert!(!is_ready(teller.room()), "{left} of {capacity} left");
                next(&mut taker).await.unwrap();
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
        let (mut teller, mut taker) = queue(10);
        assert!(taker.try_next().is_none());
        let taking = tokio::spawn(async move {
            let mut count = 0;
            while next(&mut taker).await.is_some() {
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
            }))
        };
        let (mut teller, mut taker) = queue(1);
        for _ in 0..3 {
            teller.tell(link(true));
            teller.tell(act());
        }
        teller.hand_over();
        taker.try_next().unwrap();
        drop(taker);
        assert_eq!(done.load(Ordering::Relaxed), 3);
        assert!(!teller.is_full());
        teller.tell(act());
        teller.hand_over();
        assert_eq!(done.load(Ordering::Relaxed), 4);
        assert!(!teller.is_full(), "the loop goes on");
    }
}
