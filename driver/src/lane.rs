//! One connection to Redis: opened when it is needed, opened again when it is lost.

use core::time::Duration;
use std::sync::Arc;

use sio_streams_core::{Command, CommandError, CommandId, Lane, Reply};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::backend::{Backend, Connection, PushSender, Timing};

/// About how many commands are sent in one go, at most.
pub(crate) const BATCH: usize = 1_024;

/// What a lane has to say.
#[derive(Debug)]
pub(crate) enum Report {
    /// The connection is there, or was lost.
    Link { lane: Lane, instance: u64, up: bool, reason: String },
    /// What became of commands: as many results as ids.
    Replies { ids: Vec<CommandId>, results: Vec<Outcome> },
}

type Outcome = Result<Reply, CommandError>;

/// Commands for a lane.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// How often the lane had been reported up when the commands were given. Those from before must not be executed: whoever gave them did not
    /// know what had been lost in front of them.
    pub(crate) ups: u64,
    pub(crate) ids: Vec<CommandId>,
    pub(crate) commands: Vec<Command>,
}

impl Batch {
    /// The commands; none are left.
    pub(crate) fn take(&mut self) -> Self {
        let (ids, commands) = (core::mem::take(&mut self.ids), core::mem::take(&mut self.commands));
        Batch { ups: self.ups, ids, commands }
    }
}

/// A lane's task.
pub(crate) struct LaneTask<B: Backend> {
    pub(crate) lane: Lane,
    /// Tells the task from an earlier one of the same lane, whose last words may come late.
    pub(crate) instance: u64,
    pub(crate) backend: Arc<B>,
    pub(crate) timing: Timing,
    pub(crate) pushes: PushSender,
    pub(crate) inbox: mpsc::UnboundedReceiver<Batch>,
    pub(crate) reports: mpsc::UnboundedSender<Report>,
}

/// How a connection ended.
enum End {
    /// The node needs no connection any more.
    Unneeded,
    /// It was lost, while these commands were on their way.
    Lost { reason: String, ids: Vec<CommandId>, results: Vec<Outcome> },
}

impl End {
    /// It was lost while nothing was on its way.
    fn idle(reason: String) -> Self {
        End::Lost { reason, ids: Vec::new(), results: Vec::new() }
    }
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
                        End::Lost { reason, ids, results } => {
                            self.went_down(&reason, ids, results);
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
            self.give_back(&reason, Vec::new(), Vec::new());
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
    fn went_down(&mut self, reason: &str, ids: Vec<CommandId>, results: Vec<Outcome>) {
        self.link(false, reason.to_owned());
        self.give_back(reason, ids, results);
    }

    /// Reports these results, and that whatever was given to the lane has not been sent.
    fn give_back(&mut self, reason: &str, mut ids: Vec<CommandId>, mut results: Vec<Outcome>) {
        while let Ok(mut batch) = self.inbox.try_recv() {
            ids.append(&mut batch.ids);
        }
        results.resize_with(ids.len(), || Err(CommandError::NotSent(reason.to_owned())));
        self.report(ids, results);
    }

    fn report(&self, ids: Vec<CommandId>, results: Vec<Outcome>) {
        if !ids.is_empty() {
            let _ = self.reports.send(Report::Replies { ids, results });
        }
    }

    /// Adds what else is waiting. What was given before a loss was known goes back.
    fn fill(&mut self, mut batch: Batch, ups: u64) -> Batch {
        let mut stale = Vec::new();
        loop {
            if batch.ups != ups {
                stale.append(&mut batch.ids);
                batch.commands.clear();
            }
            if batch.ids.len() >= BATCH {
                break;
            }
            let Ok(mut next) = self.inbox.try_recv() else { break };
            if next.ups != ups {
                stale.append(&mut next.ids);
            } else if batch.ids.is_empty() {
                batch = next;
            } else {
                batch.ids.append(&mut next.ids);
                batch.commands.append(&mut next.commands);
            }
        }
        let not_sent = || Err(CommandError::NotSent("the connection was lost before".into()));
        let results = core::iter::repeat_with(not_sent).take(stale.len()).collect();
        self.report(stale, results);
        batch
    }

    async fn serve(
        &mut self,
        mut connection: B::Connection,
        pushes: &PushSender,
        ups: u64,
        failures: &mut u32,
    ) -> End {
        loop {
            let given = tokio::select! {
                biased;
                () = pushes.overflow() => {
                    return End::idle("more Pub/Sub messages came than could be taken".into());
                }
                given = self.inbox.recv() => given,
                reason = connection.lost() => return End::idle(reason),
            };
            let Some(given) = given else { return End::Unneeded };
            let Batch { ids, commands, .. } = self.fill(given, ups);
            if ids.is_empty() {
                continue;
            }
            let patience = commands.iter().map(|command| self.patience(command)).max().unwrap_or_default();
            let mut results = timeout(patience, connection.execute(commands)).await.unwrap_or_default();
            results.resize_with(ids.len(), || {
                Err(CommandError::Lost("the server did not answer in time".into()))
            });
            match results.iter().find_map(ends) {
                Some(reason) => return End::Lost { reason, ids, results },
                None => {
                    // A connection counts as good when it has been of use: one that only opens does not make the pauses short again.
                    *failures = 0;
                    self.report(ids, results);
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
fn ends(result: &Outcome) -> Option<String> {
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
