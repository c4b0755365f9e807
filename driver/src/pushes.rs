//! Pub/Sub messages on their way from a connection to the node's loop.

use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sio_streams_core::{ByteString, Bytes};
use tokio::sync::Notify;

/// A Pub/Sub message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The channel on which it came.
    pub channel: ByteString,
    /// The message itself.
    pub payload: Bytes,
}

impl Push {
    fn size(&self) -> usize {
        self.channel.len() + self.payload.len()
    }
}

/// Takes the Pub/Sub messages that arrive. Sending never waits.
#[derive(Clone, Debug)]
pub struct PushSender {
    target: Target,
    overflow: Arc<Overflow>,
}

enum Target {
    Queue(Arc<Queue>),
    Function(Arc<dyn Fn(ByteString, Bytes) + Send + Sync>),
}

/// The messages that one connection has lost.
#[derive(Debug, Default)]
struct Overflow {
    dropped: AtomicU64,
    happened: Notify,
}

/// Returns the messages that a [`PushSender`] has taken.
#[derive(Debug)]
pub struct PushReceiver(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    buffer: Mutex<Buffer>,
    messages: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Buffer {
    waiting: VecDeque<Push>,
    bytes: usize,
    /// The number of senders.
    senders: usize,
    /// The receiver has been dropped.
    unwanted: bool,
    receiver: Option<Waker>,
    /// The tasks that wait for room.
    stalled: Vec<Waker>,
}

impl Queue {
    /// Locks the queue. A poisoned lock is as good as any other, since no code panics while holding
    /// it.
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, buffer: &Buffer) -> bool {
        buffer.unwanted || buffer.waiting.len() < self.messages && buffer.bytes < self.bytes
    }

    fn pop(&self) -> Option<Push> {
        let mut buffer = self.lock();
        let push = buffer.waiting.pop_front()?;
        buffer.bytes -= push.size();
        // Stalled tasks are not woken for each single message, so that they find something to do.
        if buffer.waiting.len() <= self.messages / 2 && buffer.bytes <= self.bytes / 2 {
            for waker in core::mem::take(&mut buffer.stalled) {
                waker.wake();
            }
        }
        Some(push)
    }

    fn poll_recv(&self, context: &mut Context<'_>) -> Poll<Option<Push>> {
        if let Some(push) = self.pop() {
            return Poll::Ready(Some(push));
        }
        let mut buffer = self.lock();
        // A message may have come in between.
        if !buffer.waiting.is_empty() {
            context.waker().wake_by_ref();
        } else if buffer.senders == 0 {
            return Poll::Ready(None);
        }
        buffer.receiver = Some(context.waker().clone());
        Poll::Pending
    }
}

impl PushReceiver {
    /// Waits for the next message. Returns `None` when all senders are gone.
    pub async fn recv(&mut self) -> Option<Push> {
        poll_fn(|context| self.0.poll_recv(context)).await
    }

    /// Returns the next message, if it has arrived already.
    pub fn try_recv(&mut self) -> Option<Push> {
        self.0.pop()
    }
}

impl Drop for PushReceiver {
    fn drop(&mut self) {
        let (waiting, stalled) = {
            let mut buffer = self.0.lock();
            buffer.unwanted = true;
            buffer.bytes = 0;
            (core::mem::take(&mut buffer.waiting), core::mem::take(&mut buffer.stalled))
        };
        drop(waiting);
        stalled.into_iter().for_each(Waker::wake);
    }
}

impl PushSender {
    /// Creates a queue for this number of messages, however large. The driver makes its own; this
    /// is for the tests of backends.
    pub fn channel(capacity: usize) -> (PushSender, PushReceiver) {
        Self::bounded(capacity, usize::MAX)
    }

    /// Creates a queue for this number of messages, and this number of bytes. There is always room
    /// for one message, however large it is.
    pub fn bounded(messages: usize, bytes: usize) -> (PushSender, PushReceiver) {
        let buffer = Mutex::new(Buffer { senders: 1, ..Buffer::default() });
        let queue = Arc::new(Queue { buffer, messages: messages.max(1), bytes: bytes.max(1) });
        let receiver = PushReceiver(Arc::clone(&queue));
        (PushSender { target: Target::Queue(queue), overflow: Arc::default() }, receiver)
    }

    /// Creates a sender that hands each message to a function, which must not block. There is
    /// always room.
    pub fn to(function: impl Fn(ByteString, Bytes) + Send + Sync + 'static) -> Self {
        PushSender { target: Target::Function(Arc::new(function)), overflow: Arc::default() }
    }

    /// Returns a sender into the same queue that counts its own losses.
    pub(crate) fn fresh(&self) -> Self {
        PushSender { target: self.target.clone(), overflow: Arc::default() }
    }

    /// Hands over a message. If there is no room, the message is dropped, and the driver then drops
    /// the connection, so that the loss is seen.
    pub fn send(&self, channel: ByteString, payload: Bytes) {
        let queue = match &self.target {
            Target::Queue(queue) => queue,
            Target::Function(function) => return function(channel, payload),
        };
        let mut buffer = queue.lock();
        if !queue.has_room(&buffer) {
            drop(buffer);
            self.overflow.dropped.fetch_add(1, Ordering::Relaxed);
            return self.overflow.happened.notify_one();
        }
        if buffer.unwanted {
            return;
        }
        let push = Push { channel, payload };
        buffer.bytes += push.size();
        buffer.waiting.push_back(push);
        if let Some(receiver) = buffer.receiver.take() {
            drop(buffer);
            receiver.wake();
        }
    }

    /// Returns `true` if a message would be taken.
    pub fn has_room(&self) -> bool {
        match &self.target {
            Target::Queue(queue) => queue.has_room(&queue.lock()),
            Target::Function(_) => true,
        }
    }

    /// Returns `Ready` if a message would be taken. If not, the task is woken when half of the room
    /// is free.
    pub fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let Target::Queue(queue) = &self.target else { return Poll::Ready(()) };
        let mut buffer = queue.lock();
        if queue.has_room(&buffer) {
            return Poll::Ready(());
        }
        if !buffer.stalled.iter().any(|waker| waker.will_wake(context.waker())) {
            buffer.stalled.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Completes when a message would be taken.
    pub async fn room(&self) {
        poll_fn(|context| self.poll_room(context)).await;
    }

    /// Completes when messages of this connection were dropped. Returns the number of them so far.
    pub(crate) async fn overflow(&self) -> u64 {
        self.overflow.happened.notified().await;
        self.overflow.dropped.load(Ordering::Relaxed)
    }
}

impl Clone for Target {
    fn clone(&self) -> Self {
        match self {
            Target::Queue(queue) => {
                queue.lock().senders += 1;
                Target::Queue(Arc::clone(queue))
            }
            Target::Function(function) => Target::Function(Arc::clone(function)),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let Target::Queue(queue) = self else { return };
        let mut buffer = queue.lock();
        buffer.senders -= 1;
        if buffer.senders == 0
            && let Some(receiver) = buffer.receiver.take()
        {
            drop(buffer);
            receiver.wake();
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Queue(_) => "Queue",
            Target::Function(_) => "Function",
        })
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;

    use super::*;

    fn send(sender: &PushSender, payload: &'static str) {
        sender.send("c".into(), Bytes::from_static(payload.as_bytes()));
    }

    fn is_ready(future: impl Future) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn there_is_room_for_so_many_messages_and_so_many_bytes() {
        // The channel's name counts, too.
        for (messages, bytes, fits) in [(3, 1_000, 3), (1_000, 6, 3), (1_000, 1, 1)] {
            let (sender, mut receiver) = PushSender::bounded(messages, bytes);
            for _ in 0..fits {
                assert!(sender.has_room());
                send(&sender, "x");
            }
            assert!(!sender.has_room() && !is_ready(sender.room()));
            assert!(!is_ready(sender.overflow()));
            send(&sender, "x");
            send(&sender, "x");
            assert_eq!(sender.overflow.dropped.load(Ordering::Relaxed), 2);
            assert!(is_ready(sender.overflow()));
            assert!(!is_ready(sender.fresh().overflow()), "another connection has lost nothing");
            for _ in 0..fits {
                receiver.try_recv().unwrap();
            }
            assert_eq!(receiver.try_recv(), None);
            assert!(is_ready(sender.room()));
        }
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let (sender, mut receiver) = PushSender::bounded(2, 1_000);
        let stalled = sender.clone();
        let sending = tokio::spawn(async move {
            for _ in 0..100 {
                stalled.room().await;
                send(&stalled, "x");
            }
        });
        drop(sender);
        let mut count = 0;
        while receiver.recv().await.is_some() {
            count += 1;
        }
        assert_eq!(count, 100, "and nothing comes when the senders are gone");
        sending.await.unwrap();
        let (sender, receiver) = PushSender::bounded(1, 1_000);
        send(&sender, "x");
        drop(receiver);
        sender.room().await;
        send(&sender, "x");
        assert!(!is_ready(sender.overflow()), "nobody wants them");
    }
}
