//! One connection to Redis: opened when it is needed, opened again when it is lost.

use core::time::Duration;
use std::sync::Arc;

use sio_streams_core::{Command, CommandError, CommandId, Lane, Reply};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::backend::{Backend, Connection, PushSender, Timing};

/// Commands that are sent in one go, at most.
const BATCH: usize = 1_024;

/// What a lane has to say.
#[derive(Debug)]
pub(crate) enum Report {
    /// The connection is there, or was lost.
    Link { lane: Lane, instance: u64, up: bool, reason: String },
    /// What became of commands.
    Replies(Vec<(CommandId, Result<Reply, CommandError>)>),
}

/// A command for a lane.
#[derive(Debug)]
pub(crate) struct Order {
    /// How often the lane had been reported up when the command was given. One from before must not be executed: whoever gave it did not know
    /// what had been lost in front of it.
    pub(crate) ups: u64,
    pub(crate) id: CommandId,
    pub(crate) command: Command,
}

/// A lane's task.
pub(crate) struct LaneTask<B: Backend> {
    pub(crate) lane: Lane,
    /// Tells the task from an earlier one of the same lane, whose last words may come late.
    pub(crate) instance: u64,
    pub(crate) backend: Arc<B>,
    pub(crate) timing: Timing,
    pub(crate) pushes: PushSender,
    pub(crate) inbox: mpsc::UnboundedReceiver<Order>,
    pub(crate) reports: mpsc::UnboundedSender<Report>,
}

/// How a connection ended.
enum End {
    /// The node needs no connection any more.
    Unneeded,
    /// It was lost, while these commands were on their way.
    Lost { reason: String, replies: Vec<(CommandId, Result<Reply, CommandError>)> },
}

impl<B: Backend> LaneTask<B> {
    pub(crate) async fn run(mut self) {
        let mut known_down = false;
        let mut known_reason = String::new();
        let mut failures = 0_u32;
        let mut ups = 0_u64;
        loop {
            let pushes = self.pushes.fresh();
            let opened = timeout(self.timing.connect, self.backend.connect(&self.lane, pushes.clone())).await;
            let reason = match opened {
                Ok(Ok(connection)) => {
                    if known_down {
                        ups += 1;
                        self.link(true, String::new());
                    }
                    match self.serve(connection, &pushes, ups, &mut failures).await {
                        End::Unneeded => return,
                        End::Lost { reason, replies } => {
                            self.went_down(&reason, replies);
                            known_down = true;
                            known_reason.clone_from(&reason);
                            reason
                        }
                    }
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "can't connect to Redis: it took too long".into(),
            };
            // One reason may take another's place: a server that was gone is back, and wants a password.
            if !known_down || reason != known_reason {
                self.link(false, reason.clone());
            }
            // Given before the loss was known.
            self.give_back(&reason, Vec::new());
            known_down = true;
            known_reason.clone_from(&reason);
            tracing::debug!(lane = %self.lane, %reason, failures, "no connection");
            sleep(self.pause(failures)).await;
            failures = failures.saturating_add(1);
        }
    }

    /// Doubles with each failure; the chance in it keeps nodes that lost the same server from coming back all at once.
    fn pause(&self, failures: u32) -> Duration {
        let Timing { backoff_min, backoff_max, .. } = self.timing;
        let longest = backoff_min.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(backoff_max);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    fn link(&self, up: bool, reason: String) {
        // The loop that listens ends before its lanes do.
        let _ =
            self.reports.send(Report::Link { lane: self.lane.clone(), instance: self.instance, up, reason });
    }

    /// Reports the loss before what it cost: the engine then keeps commands back until the link is there again. Those that were waiting go
    /// back to it, so that their order holds whatever it does about the others.
    fn went_down(&mut self, reason: &str, replies: Vec<(CommandId, Result<Reply, CommandError>)>) {
        self.link(false, reason.to_owned());
        self.give_back(reason, replies);
    }

    /// Reports these replies, and that whatever was given to the lane has not been sent.
    fn give_back(&mut self, reason: &str, mut replies: Vec<(CommandId, Result<Reply, CommandError>)>) {
        while let Ok(Order { id, .. }) = self.inbox.try_recv() {
            replies.push((id, Err(CommandError::NotSent(reason.to_owned()))));
        }
        if !replies.is_empty() {
            let _ = self.reports.send(Report::Replies(replies));
        }
    }

    async fn serve(
        &mut self,
        mut connection: B::Connection,
        pushes: &PushSender,
        ups: u64,
        failures: &mut u32,
    ) -> End {
        let mut batch = Vec::new();
        loop {
            let count = tokio::select! {
                biased;
                () = pushes.overflow() => {
                    let reason = "more Pub/Sub messages came than could be taken".into();
                    return End::Lost { reason, replies: Vec::new() };
                }
                count = self.inbox.recv_many(&mut batch, BATCH) => count,
                reason = connection.lost() => return End::Lost { reason, replies: Vec::new() },
            };
            if count == 0 {
                return End::Unneeded;
            }
            let (orders, stale): (Vec<_>, Vec<_>) =
                batch.drain(..).partition(|order: &Order| order.ups == ups);
            if !stale.is_empty() {
                let not_sent = || Err(CommandError::NotSent("the connection was lost before".into()));
                let replies = stale.into_iter().map(|order| (order.id, not_sent())).collect();
                let _ = self.reports.send(Report::Replies(replies));
            }
            if orders.is_empty() {
                continue;
            }
            let (ids, commands): (Vec<CommandId>, Vec<Command>) =
                orders.into_iter().map(|order| (order.id, order.command)).unzip();
            let patience = commands.iter().map(|command| self.patience(command)).max().unwrap_or_default();
            let results = timeout(patience, connection.execute(commands)).await.unwrap_or_default();
            let silent = || Err(CommandError::Lost("the server did not answer in time".into()));
            let missing = ids.len().saturating_sub(results.len());
            let results = results.into_iter().chain(core::iter::repeat_with(silent).take(missing));
            let replies: Vec<_> = ids.into_iter().zip(results).collect();
            match replies.iter().find_map(|(_, result)| ends(result)) {
                Some(reason) => return End::Lost { reason, replies },
                None => {
                    // A connection counts as good when it has been of use: one that only opens does not make the pauses short again.
                    *failures = 0;
                    let _ = self.reports.send(Report::Replies(replies));
                }
            }
        }
    }

    fn patience(&self, command: &Command) -> Duration {
        match command {
            Command::XRead { block, .. } => self.timing.response + *block,
            _ => self.timing.response,
        }
    }
}

/// Why the connection is of no use any more, if so: it is lost, or the server says that it is not the one to talk to. Whoever listens at the
/// same address may be another by now.
fn ends(result: &Result<Reply, CommandError>) -> Option<String> {
    match result {
        Err(CommandError::Lost(reason) | CommandError::NotSent(reason)) => Some(reason.clone()),
        Err(CommandError::Server { code, message })
            if matches!(code.as_str(), "READONLY" | "UNBLOCKED" | "MASTERDOWN" | "NOAUTH") =>
        {
            Some(format!("{code} {message}"))
        }
        _ => None,
    }
}
