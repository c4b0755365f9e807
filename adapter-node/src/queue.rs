//! What waits for JavaScript. JavaScript takes it, a part at a time, when it has time. It is woken
//! when it has found nothing, and there is something again.

use core::fmt;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::records::Records;

/// The size of a part from which on the next one is begun.
const PART: usize = 64 << 10;

/// The size of what waits, in bytes, from which on no more events are taken from the node.
const FULL: usize = 1 << 20;

type Wake = Box<dyn Fn() + Send + Sync>;

pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    /// Notified when JavaScript has taken a part.
    taken: Notify,
}

struct Waiting {
    parts: VecDeque<Records>,
    size: usize,
    /// JavaScript has found nothing, and must be woken.
    asleep: bool,
    /// `None` when JavaScript takes nothing any more.
    wake: Option<Wake>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("size", &self.lock().size).finish_non_exhaustive()
    }
}

impl Queue {
    pub(crate) fn new(wake: Wake) -> Self {
        let waiting = Waiting { parts: VecDeque::new(), size: 0, asleep: true, wake: Some(wake) };
        Queue { waiting: Mutex::new(waiting), taken: Notify::new() }
    }

    /// A poisoned lock is as good as any other, since no code panics while holding it.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts records at the end, whether or not there is room.
    pub(crate) fn put(&self, records: Records) {
        let mut waiting = self.lock();
        if records.is_empty() || waiting.wake.is_none() {
            return;
        }
        waiting.size += records.size();
        match waiting.parts.back_mut() {
            Some(last) if last.size() < PART => last.append(records),
            _ => waiting.parts.push_back(records),
        }
        if core::mem::take(&mut waiting.asleep)
            && let Some(wake) = &waiting.wake
        {
            // It only puts a word into the queue of JavaScript's thread.
            wake();
        }
    }

    /// Writes one record, and puts it at the end.
    pub(crate) fn tell(&self, write: impl FnOnce(&mut Records)) {
        let mut records = Records::default();
        write(&mut records);
        self.put(records);
    }

    /// Takes the first part. If there is none, JavaScript will be woken when there is one.
    pub(crate) fn take(&self) -> Option<Records> {
        let mut waiting = self.lock();
        let part = waiting.parts.pop_front();
        waiting.asleep = part.is_none();
        let part = part?;
        waiting.size -= part.size();
        drop(waiting);
        self.taken.notify_one();
        Some(part)
    }

    /// Completes when there is room.
    pub(crate) async fn room(&self) {
        while self.lock().size >= FULL {
            self.taken.notified().await;
        }
    }

    /// Drops what waits, and keeps nothing any more. JavaScript is not woken again.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        let wake = waiting.wake.take();
        (waiting.parts, waiting.size) = Default::default();
        drop(waiting);
        self.taken.notify_one();
        drop(wake);
    }
}
