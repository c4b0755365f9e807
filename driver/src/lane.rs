//! One connection to Redis: opened when it is needed, opened again when it is lost.

use core::mem::{Discriminant, discriminant};
use core::time::Duration;
use std::sync::Arc;

use sio_streams_core::{Command, CommandError, CommandId, Lane, Reply};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::backend::{Backend, Connection, PushSender, Timing};
use crate::caught::caught;
use crate::observe::Clean;
use crate::retry::Retry;

/// About how many commands are sent in one go, at most.
pub(crate) const BATCH: usize = 1_024;

/// The shortest time for which a read can block.
const NO_TIME: Duration = Duration::from_millis(1);

/// A read that should have waited, and did not, is followed by a pause between these two.
const HASTE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// What a lane has to say.
#[derive(Debug)]
pub(crate) enum Report {
    /// The connection is there, or was lost.
    Link { lane: Lane, instance: u64, up: bool, reason: String },
    /// Whether the server lets the lane's stream be read.
    Readable { lane: Lane, instance: u64, readable: bool },
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
    pub(crate) state: State,
}

/// What the task remembers from one connection to the next.
#[derive(Debug)]
pub(crate) struct State {
    /// Why it is known to be down, if it is.
    down: Option<String>,
    /// How often it has been reported up.
    ups: u64,
    /// What was given to the connection and has not been answered.
    under_way: Vec<CommandId>,
    retry: Retry,
    stumbled: Stumbled,
    /// The server has let the stream be read.
    readable: bool,
    /// The server does not wait where it should.
    hasty: Retry,
}

impl State {
    pub(crate) fn new(timing: &Timing) -> Self {
        State {
            down: None,
            ups: 0,
            under_way: Vec::new(),
            retry: Retry::new(timing.backoff_min, timing.backoff_max),
            stumbled: Stumbled::Nothing,
            readable: false,
            hasty: Retry::new(HASTE.0, HASTE.1),
        }
    }
}

/// Over what the last connection was lost. The next one has been of use when it has got over that: opening it, or being answered something else,
/// proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stumbled {
    /// Nothing was under way.
    Nothing,
    /// A command of this kind was under way.
    Command(Discriminant<Command>),
    /// More messages came than could be taken.
    Overflow,
}

/// How a connection ended.
enum End {
    /// The node needs no connection any more.
    Unneeded,
    /// It was lost, while these commands were on their way.
    Lost { reason: String, ids: Vec<CommandId>, results: Vec<Outcome>, over: Stumbled },
}

impl End {
    /// It was lost while nothing was on its way.
    fn idle(reason: String) -> Self {
        End::Lost { reason, ids: Vec::new(), results: Vec::new(), over: Stumbled::Nothing }
    }
}

impl<B: Backend> LaneTask<B> {
    /// Nothing ends this task but its node. Wherever code of others panics, the connection is lost, and that is all.
    pub(crate) async fn run(mut self) {
        while let Err(panic) = caught(self.live()).await {
            let ids = core::mem::take(&mut self.state.under_way);
            let results = ids.iter().map(|_| Err(CommandError::Lost(panic.clone()))).collect();
            self.went_down(panic, ids, results);
            sleep(self.state.retry.pause()).await;
        }
    }

    async fn live(&mut self) {
        loop {
            let pushes = self.pushes.fresh();
            let connecting = caught(async { self.backend.connect(&self.lane, pushes.clone()).await });
            match timeout(self.timing.connect, connecting).await {
                Ok(Ok(Ok(connection))) => {
                    if self.state.down.take().is_some() {
                        self.state.ups += 1;
                        self.link(true, String::new());
                    }
                    match self.serve(connection, &pushes).await {
                        End::Unneeded => return,
                        End::Lost { reason, ids, results, over } => {
                            self.state.stumbled = over;
                            self.went_down(reason, ids, results);
                        }
                    }
                }
                Ok(Ok(Err(error))) => self.went_down(error.to_string(), Vec::new(), Vec::new()),
                Ok(Err(panic)) => self.went_down(panic, Vec::new(), Vec::new()),
                Err(_) => {
                    let reason = "can't connect to Redis: it took too long".to_owned();
                    self.went_down(reason, Vec::new(), Vec::new());
                }
            }
            sleep(self.state.retry.pause()).await;
            // What comes on a new connection could not be taken either.
            if self.state.stumbled == Stumbled::Overflow {
                self.pushes.room().await;
            }
        }
    }

    fn link(&self, up: bool, reason: String) {
        // The loop that listens ends before its lanes do.
        let _ =
            self.reports.send(Report::Link { lane: self.lane.clone(), instance: self.instance, up, reason });
    }

    /// Reports the loss before what it cost: the engine then keeps commands back until the link is there again. Those that were waiting go
    /// back to it, so that their order holds whatever it does about the others.
    fn went_down(&mut self, reason: String, ids: Vec<CommandId>, results: Vec<Outcome>) {
        self.state.under_way.clear();
        // One reason may take another's place: a server that was gone is back, and wants a password.
        if self.state.down.as_ref() != Some(&reason) {
            self.link(false, reason.clone());
        }
        self.give_back(&reason, ids, results);
        let failures = self.state.retry.failures();
        tracing::debug!(lane = %Clean(&self.lane), reason = %Clean(&reason), failures, "no connection");
        self.state.down = Some(reason);
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
    fn fill(&mut self, mut batch: Batch) -> Batch {
        let ups = self.state.ups;
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

    async fn serve(&mut self, mut connection: B::Connection, pushes: &PushSender) -> End {
        let opened = Instant::now();
        loop {
            let given = match self.inbox.try_recv() {
                Ok(given) => Some(given),
                // After an idle moment the connection is looked at first: what is not sent on one that is gone has not been sent.
                Err(_) => tokio::select! {
                    biased;
                    dropped = pushes.overflow() => {
                        let reason =
                            format!("more Pub/Sub messages came than could be taken: {dropped} were dropped");
                        let (ids, results) = (Vec::new(), Vec::new());
                        return End::Lost { reason, ids, results, over: Stumbled::Overflow };
                    }
                    lost = caught(async { connection.lost().await }) => match lost {
                        Ok(reason) | Err(reason) => return End::idle(reason),
                    },
                    given = self.inbox.recv() => given,
                },
            };
            let Some(given) = given else { return End::Unneeded };
            let Batch { ids, commands, .. } = self.fill(given);
            if ids.is_empty() {
                continue;
            }
            self.state.under_way.clone_from(&ids);
            let kinds: Vec<_> = commands.iter().map(discriminant).collect();
            let results = self.execute(&mut connection, commands, pushes).await;
            let end = results.iter().zip(&kinds).find_map(|(result, kind)| Some((ends(result)?, *kind)));
            if let Some((reason, kind)) = end {
                return End::Lost { reason, ids, results, over: Stumbled::Command(kind) };
            }
            let of_use = match self.state.stumbled {
                Stumbled::Nothing => true,
                Stumbled::Command(kind) => kinds.contains(&kind),
                Stumbled::Overflow => false,
            };
            if of_use || opened.elapsed() >= self.timing.backoff_max {
                self.state.retry.succeeded();
                self.state.stumbled = Stumbled::Nothing;
            }
            self.state.under_way.clear();
            self.report(ids, results);
        }
    }

    /// Has commands executed: as many results, whatever the backend does.
    async fn execute(
        &mut self,
        connection: &mut B::Connection,
        commands: Vec<Command>,
        pushes: &PushSender,
    ) -> Vec<Outcome> {
        let read = match commands.as_slice() {
            [Command::XRead { stream, after, count, block }] => {
                Some((stream.clone(), *after, *count, *block))
            }
            _ => None,
        };
        let Some((stream, after, count, block)) = read else {
            return self.ask(connection, commands, pushes).await;
        };
        if !self.state.readable {
            // Without waiting, so that it is known at once whether the stream may be read at all.
            let look = Command::XRead { stream, after, count, block: NO_TIME };
            let found = self.ask(connection, vec![look], pushes).await;
            self.state.readable = matches!(found.as_slice(), [Ok(_)]);
            self.readable();
            if !matches!(found.as_slice(), [Ok(Reply::Entries(entries))] if entries.is_empty()) {
                return found;
            }
        }
        let asked = Instant::now();
        let results = self.ask(connection, commands, pushes).await;
        match results.as_slice() {
            [Ok(Reply::Entries(entries))] if entries.is_empty() && asked.elapsed() < block / 2 => {
                // Something between this node and Redis does not let it wait. New entries come later by this pause, at most.
                sleep(self.state.hasty.pause().min(block)).await;
            }
            [Err(CommandError::Server { .. } | CommandError::Unusable(_))] => {
                self.state.readable = false;
                self.readable();
            }
            _ => self.state.hasty.succeeded(),
        }
        results
    }

    fn readable(&self) {
        let Self { lane, instance, state: State { readable, .. }, .. } = self;
        let _ = self.reports.send(Report::Readable {
            lane: lane.clone(),
            instance: *instance,
            readable: *readable,
        });
    }

    async fn ask(
        &self,
        connection: &mut B::Connection,
        commands: Vec<Command>,
        pushes: &PushSender,
    ) -> Vec<Outcome> {
        let count = commands.len();
        let patience = commands.iter().map(|command| self.patience(command)).max().unwrap_or_default();
        let mut executed = core::pin::pin!(caught(async { connection.execute(commands).await }));
        let (mut results, missing) = loop {
            match timeout(patience, executed.as_mut()).await {
                Ok(Ok(results)) => break (results, "a reply is missing".to_owned()),
                Ok(Err(panic)) => break (Vec::new(), panic),
                // It is not the server that is slow: messages stand before the answer that nobody takes.
                Err(_) if !pushes.has_room() => {}
                Err(_) => break (Vec::new(), "the server did not answer in time".to_owned()),
            }
        };
        results.resize_with(count, || Err(CommandError::Lost(missing.clone())));
        results
    }

    fn patience(&self, command: &Command) -> Duration {
        match command {
            Command::XRead { block, .. } => self.timing.response.saturating_add(*block),
            _ => self.timing.response,
        }
    }
}

/// Why the connection is of no use any more, if so: it is lost, or the server says that it is not the one to talk to. Whoever listens at the
/// same address may be another by now.
pub(crate) fn ends(result: &Outcome) -> Option<String> {
    match result {
        Err(CommandError::Lost(reason) | CommandError::NotSent(reason)) => Some(reason.clone()),
        Err(CommandError::Server { code, message }) if is_elsewhere(code) => {
            Some(format!("{code} {message}"))
        }
        _ => None,
    }
}

/// Whether the code of a refusal means that another connection may do better. `MOVED` gets here only where nobody follows it: a service has put
/// another server behind a name, and the old one knows no better than to name that.
fn is_elsewhere(code: &str) -> bool {
    matches!(code, "READONLY" | "UNBLOCKED" | "MASTERDOWN" | "NOAUTH" | "MOVED" | "ASK")
}
