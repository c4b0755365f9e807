//! The tasks of a node's lanes, as the loop sees them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use sio_streams_core::{Command, CommandId, Lane};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::backend::{Backend, PushSender, Timing};
use crate::lane::{BATCH, Batch, LaneTask, Report, State};

/// Starts a task for each lane that is needed, and hands it the lane's commands in batches.
pub(crate) struct Lanes<B: Backend> {
    backend: Arc<B>,
    timing: Timing,
    pushes: PushSender,
    reports: mpsc::UnboundedSender<Report>,
    handles: BTreeMap<Lane, Handle>,
    /// The lanes for which commands have been gathered.
    gathered: Vec<Lane>,
    /// The number of tasks that have been started.
    instances: u64,
    tasks: JoinSet<()>,
}

/// The loop's end of a lane's task.
struct Handle {
    instance: u64,
    /// A lane counts as up until it is reported down.
    up: bool,
    /// The commands that have been gathered.
    batch: Batch,
    inbox: mpsc::UnboundedSender<Batch>,
    task: AbortHandle,
}

impl<B: Backend> Lanes<B> {
    pub(crate) fn new(
        backend: B,
        timing: Timing,
        pushes: PushSender,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Self {
        Lanes {
            backend: Arc::new(backend),
            timing,
            pushes,
            reports,
            handles: BTreeMap::new(),
            gathered: Vec::new(),
            instances: 0,
            tasks: JoinSet::new(),
        }
    }

    /// Gathers a command for its lane. Returns `true` if the lane's batch is full.
    pub(crate) fn gather(&mut self, id: CommandId, command: Command) -> bool {
        let handle = match self.handles.entry(command.lane()) {
            Entry::Occupied(open) => {
                if open.get().batch.ids.is_empty() {
                    self.gathered.push(open.key().clone());
                }
                open.into_mut()
            }
            Entry::Vacant(new) => {
                self.gathered.push(new.key().clone());
                let (sender, inbox) = mpsc::unbounded_channel();
                self.instances += 1;
                let instance = self.instances;
                let task = LaneTask {
                    lane: new.key().clone(),
                    instance,
                    backend: Arc::clone(&self.backend),
                    timing: self.timing,
                    pushes: self.pushes.clone(),
                    inbox,
                    reports: self.reports.clone(),
                    state: State::new(&self.timing),
                };
                let task = self.tasks.spawn(task.run());
                new.insert(Handle { instance, up: true, batch: Batch::default(), inbox: sender, task })
            }
        };
        handle.batch.ids.push(id);
        handle.batch.commands.push(command);
        handle.batch.ids.len() >= BATCH
    }

    /// Hands over all gathered commands. Returns those that could not be handed over: the lane's
    /// task is gone, with its runtime.
    pub(crate) fn hand_over(&mut self) -> Vec<CommandId> {
        let mut unsent = Vec::new();
        for lane in self.gathered.drain(..) {
            let Some(handle) = self.handles.get_mut(&lane).filter(|handle| !handle.batch.ids.is_empty())
            else {
                continue;
            };
            if let Err(mpsc::error::SendError(batch)) = handle.inbox.send(handle.batch.take()) {
                self.handles.remove(&lane);
                unsent.extend(batch.ids);
            }
        }
        unsent
    }

    /// Ends a lane.
    pub(crate) fn release(&mut self, lane: &Lane) {
        if let Some(handle) = self.handles.remove(lane) {
            handle.task.abort();
        }
    }

    /// Returns `true` if it is this instance that serves the lane now. The reports of an earlier
    /// one may come late.
    pub(crate) fn is_current(&self, lane: &Lane, instance: u64) -> bool {
        self.handles.get(lane).is_some_and(|handle| handle.instance == instance)
    }

    /// Notes a report on a lane's connection. Returns `None` if it comes from an earlier instance,
    /// and otherwise whether the connection's state has changed.
    pub(crate) fn link(&mut self, lane: &Lane, instance: u64, up: bool) -> Option<bool> {
        let handle = self.handles.get_mut(lane).filter(|handle| handle.instance == instance)?;
        handle.batch.ups += u64::from(up);
        Some(core::mem::replace(&mut handle.up, up) != up)
    }

    /// Completes when a task has ended, and forgets it. Completes with `None` at once if there are
    /// no tasks.
    pub(crate) async fn ended(&mut self) -> Option<()> {
        self.tasks.join_next().await.map(drop)
    }

    /// Ends all tasks. Completes when they have ended.
    pub(crate) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}
