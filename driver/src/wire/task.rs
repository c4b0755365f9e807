//! A wire that reads in a task of its own.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sio_streams_core::CommandError;
use sio_streams_resp::{Args, Subscription, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::gone::Gone;
use super::link::{Wire, missing};
use crate::backend::PushSender;

type Answers = Vec<Result<Value, CommandError>>;

enum Request {
    Send(Vec<Args>, oneshot::Sender<Answers>),
    Subscribe(Vec<Subscription>, oneshot::Sender<Vec<Result<(), CommandError>>>),
}

/// A [`Wire`] in a task of its own, which ends with it. Messages are passed on even while no
/// command is under way. While there is no room for them, nothing is read.
pub struct TaskWire {
    requests: mpsc::UnboundedSender<Request>,
    pushes: PushSender,
    /// The number of requests that have been answered.
    replies: Arc<AtomicU64>,
    gone: Gone,
    task: AbortHandle,
}

impl TaskWire {
    /// Has a wire read whose messages go to `pushes`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn spawn(wire: impl Wire, pushes: PushSender) -> Self {
        let (requests, inbox) = mpsc::unbounded_channel();
        let gone = Gone::new();
        let replies = Arc::default();
        let serving = serve(wire, inbox, Arc::clone(&replies), Ended(gone.clone()));
        let task = tokio::spawn(serving).abort_handle();
        TaskWire { requests, pushes, replies, gone, task }
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, CommandError> {
        if let Some(why) = self.gone.get() {
            return Err(CommandError::NotSent(why));
        }
        let (sender, answer) = oneshot::channel();
        if self.requests.send(request(sender)).is_err() {
            return Err(CommandError::NotSent(self.gone.wait().await));
        }
        match answer.await {
            Ok(answer) => Ok(answer),
            Err(_) => Err(CommandError::Lost(self.gone.wait().await)),
        }
    }
}

async fn serve<W: Wire>(
    mut wire: W,
    mut inbox: mpsc::UnboundedReceiver<Request>,
    replies: Arc<AtomicU64>,
    gone: Ended,
) {
    loop {
        let request = tokio::select! {
            why = wire.lost() => return gone.0.set(why),
            request = inbox.recv() => request,
        };
        // The caller may have lost interest. Then the connection is dropped soon, too.
        match request {
            Some(Request::Send(commands, answer)) => drop(answer.send(wire.send(commands).await)),
            Some(Request::Subscribe(changes, answer)) => drop(answer.send(wire.subscribe_all(changes).await)),
            None => return,
        }
        replies.fetch_add(1, Ordering::Relaxed);
    }
}

/// Notes that the connection is lost when its task ends, even by a panic.
struct Ended(Gone);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.set("the connection was closed");
    }
}

impl Wire for TaskWire {
    async fn send(&mut self, commands: Vec<Args>) -> Answers {
        let count = commands.len();
        match self.ask(|answer| Request::Send(commands, answer)).await {
            Ok(answers) => answers,
            Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
        }
    }

    async fn subscribe(&mut self, change: Subscription) -> Result<(), CommandError> {
        self.subscribe_all(vec![change]).await.pop().unwrap_or_else(|| Err(missing()))
    }

    async fn subscribe_all(&mut self, changes: Vec<Subscription>) -> Vec<Result<(), CommandError>> {
        let count = changes.len();
        match self.ask(|answer| Request::Subscribe(changes, answer)).await {
            Ok(results) => results,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn lost(&mut self) -> String {
        self.gone.wait().await
    }

    fn is_stalled(&self) -> bool {
        !self.pushes.has_room()
    }

    fn replies(&self) -> Option<u64> {
        Some(self.replies.load(Ordering::Relaxed))
    }
}

impl Drop for TaskWire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for TaskWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskWire").field("gone", &self.gone.get()).finish_non_exhaustive()
    }
}
