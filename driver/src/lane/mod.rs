//! One connection to Redis. It is opened when it is needed, and reopened when it is lost.

mod reading;
mod subscribing;

use core::mem::{Discriminant, discriminant};
use core::time::Duration;
use std::sync::Arc;

use sio_streams_core::{Command, CommandError, CommandId, Lane, LinkState, Reply};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::backend::{Backend, Connection, PushSender, Timing};
use crate::caught::caught;
use crate::observe;
use crate::retry::Retry;
use reading::Reading;
use subscribing::Subscribing;

/// The approximate maximum of commands that are sent in one go.
pub(crate) const BATCH: usize = 1_024;

/// The reason of a loss if the server does not answer.
const NO_ANSWER: &str = "the server did not answer in time";

/// A report of a lane's task to the loop.
#[derive(Debug)]
pub(crate) enum Report {
    /// The connection is up, or was lost.
    Link { lane: Lane, instance: u64, link: LinkState },
    /// The server lets the lane's stream be read, or refuses it.
    Readable { lane: Lane, instance: u64, readable: bool },
    /// The results of commands: one for each id.
    Replies { ids: Vec<CommandId>, results: Vec<Outcome> },
}

type Outcome = Result<Reply, CommandError>;

/// Commands for a lane.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The number of times that the lane had been reported up when the commands were given.
    /// Commands from before a loss must not be executed: the engine did not know of the loss then.
    pub(crate) ups: u64,
    pub(crate) ids: Vec<CommandId>,
    pub(crate) commands: Vec<Command>,
}

impl Batch {
    /// Takes the commands.
    pub(crate) fn take(&mut self) -> Self {
        let (ids, commands) = (core::mem::take(&mut self.ids), core::mem::take(&mut self.commands));
        Batch { ups: self.ups, ids, commands }
    }
}

/// A lane's task.
pub(crate) struct LaneTask<B: Backend> {
    pub(crate) lane: Lane,
    /// Tells this task from earlier ones of the same lane, whose last reports may come late.
    pub(crate) instance: u64,
    pub(crate) backend: Arc<B>,
    pub(crate) timing: Timing,
    pub(crate) pushes: PushSender,
    pub(crate) inbox: mpsc::UnboundedReceiver<Batch>,
    pub(crate) reports: mpsc::UnboundedSender<Report>,
    pub(crate) state: State,
}

/// The state of the task that outlives a connection.
#[derive(Debug)]
pub(crate) struct State {
    /// The reason that was reported for being down.
    down: Option<String>,
    /// The number of times that the lane has been reported up.
    ups: u64,
    /// The commands that were given to the connection and have not been answered.
    under_way: Vec<CommandId>,
    retry: Retry,
    /// The time at which the connection was opened.
    opened: Instant,
    stumbled: Stumbled,
    reading: Reading,
    subscribing: Subscribing,
}

impl State {
    pub(crate) fn new(timing: &Timing) -> Self {
        State {
            down: None,
            ups: 0,
            under_way: Vec::new(),
            retry: Retry::new(timing.backoff_min, timing.backoff_max),
            opened: Instant::now(),
            stumbled: Stumbled::Nothing,
            reading: Reading::default(),
            subscribing: Subscribing::default(),
        }
    }
}

/// The trouble in which the last connection was lost. The next one has been of use when it has got
/// over the same. Being opened, or answering something else, proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stumbled {
    /// The connection was idle.
    Nothing,
    /// A command of this kind was being executed.
    Command(Discriminant<Command>),
    /// More Pub/Sub messages came than could be taken.
    Overflow,
}

/// The end of a connection.
enum End {
    /// The node does not need the connection any more.
    Unneeded,
    /// The connection was lost, with these commands on their way.
    Lost { reason: String, ids: Vec<CommandId>, results: Vec<Outcome>, over: Stumbled },
}

impl End {
    /// Creates the end of a connection that was lost while it was idle.
    fn idle(reason: String) -> Self {
        End::Lost { reason, ids: Vec::new(), results: Vec::new(), over: Stumbled::Nothing }
    }
}

impl<B: Backend> LaneTask<B> {
    /// Runs until the node does not need the lane any more. If the backend panics, the connection
    /// counts as lost.
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
                        self.link(LinkState::Up);
                    }
                    match self.serve(connection, &pushes).await {
                        End::Unneeded => return,
                        End::Lost { reason, ids, results, over } => {
                            if over != Stumbled::Nothing {
                                self.state.stumbled = over;
                            }
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
            // A new connection could not take more messages, either.
            if self.state.stumbled == Stumbled::Overflow {
                self.pushes.room().await;
                self.state.stumbled = Stumbled::Nothing;
            }
        }
    }

    fn link(&self, link: LinkState) {
        // The loop that receives reports ends before its lanes do.
        let _ = self.reports.send(Report::Link { lane: self.lane.clone(), instance: self.instance, link });
    }

    /// Reports the loss before its consequences, so that the engine keeps commands back until the
    /// link is up again. Waiting commands go back to the engine, so that their order holds.
    fn went_down(&mut self, reason: String, ids: Vec<CommandId>, results: Vec<Outcome>) {
        self.state.under_way.clear();
        // The reason may change. For example, a server that was gone is back, and demands a
        // password.
        if self.state.down.as_ref() != Some(&reason) {
            self.link(LinkState::down(reason.clone()));
        }
        self.give_back(&reason, ids, results);
        let failures = self.state.retry.failures();
        observe::no_connection(&self.lane, &reason, failures);
        self.state.down = Some(reason);
    }

    /// Reports these results, and returns the commands that were given to the lane as not sent.
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

    /// Adds the other waiting commands to a batch. Commands that were given before a loss was known
    /// go back.
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

    /// Serves a connection that has just been opened. A connection has been of use if it got over
    /// the trouble in which the last one was lost and held for a while, or if it held for long. The
    /// next failure then counts as the first one.
    async fn serve(&mut self, mut connection: B::Connection, pushes: &PushSender) -> End {
        self.state.opened = Instant::now();
        let end = self.answer(&mut connection, pushes).await;
        let (held, hold) = (self.state.opened.elapsed(), self.state.retry.hold());
        if held >= hold && (self.state.stumbled == Stumbled::Nothing || held >= 5 * hold) {
            self.state.stumbled = Stumbled::Nothing;
            self.state.retry.succeeded();
        }
        end
    }

    async fn answer(&mut self, connection: &mut B::Connection, pushes: &PushSender) -> End {
        loop {
            let given = match self.inbox.try_recv() {
                Ok(given) => Some(given),
                // After an idle moment, a lost connection is noticed first. Then the commands have
                // certainly not been sent.
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
            let results = self.execute(connection, commands, pushes).await;
            let end = results.iter().zip(&kinds).find_map(|(result, kind)| Some((ends(result)?, *kind)));
            if let Some((reason, kind)) = end {
                return End::Lost { reason, ids, results, over: Stumbled::Command(kind) };
            }
            if matches!(self.state.stumbled, Stumbled::Command(kind) if kinds.contains(&kind)) {
                self.state.stumbled = Stumbled::Nothing;
            }
            self.state.under_way.clear();
            self.report(ids, results);
        }
    }

    /// Executes commands. Returns one result for each, even if the backend returns fewer or more.
    async fn execute(
        &mut self,
        connection: &mut B::Connection,
        commands: Vec<Command>,
        pushes: &PushSender,
    ) -> Vec<Outcome> {
        match commands.as_slice() {
            [Command::XRead { .. }] => self.read(connection, commands, pushes).await,
            [Command::XInfoStream { .. }] => self.ask_for_count(connection, commands, pushes).await,
            _ if self.lane == Lane::Subscriber => self.subscribe(connection, commands, pushes).await,
            _ => self.ask(connection, commands, pushes).await,
        }
    }

    /// Sends commands, and waits for their replies within the time limit.
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
                // The server is not slow: messages precede the answer, and the node does not take
                // them.
                Err(_) if !pushes.has_room() => {}
                Err(_) => break (Vec::new(), NO_ANSWER.to_owned()),
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

/// Returns the reason that the connection is of no use any more, if there is one: it is lost, or
/// the server says that another one is to be asked. Another server may be listening at the same
/// address by now.
pub(crate) fn ends(result: &Outcome) -> Option<String> {
    match result {
        Err(CommandError::Lost(reason) | CommandError::NotSent(reason)) => Some(reason.clone()),
        Err(CommandError::Server { code, message }) if is_elsewhere(code) => {
            Some(format!("{code} {message}"))
        }
        _ => None,
    }
}

/// Returns `true` if another connection may not be refused like this. `MOVED` gets here only
/// outside of a cluster: a service has put another server behind the name, and the old server
/// reports its own address.
fn is_elsewhere(code: &str) -> bool {
    matches!(code, "READONLY" | "UNBLOCKED" | "MASTERDOWN" | "NOAUTH" | "MOVED" | "ASK")
}
