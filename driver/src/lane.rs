//! One connection to Redis: opened when it is needed, opened again when it is lost.

use core::mem::{Discriminant, discriminant};
use core::time::Duration;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sio_streams_core::{ByteString, Command, CommandError, CommandId, EntryId, Lane, Reply};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::backend::{Backend, Connection, PushSender, Timing};
use crate::caught::caught;
use crate::observe::Clean;
use crate::retry::Retry;
use crate::unreadable::{Found, Search, Way};

/// About how many commands are sent in one go, at most.
pub(crate) const BATCH: usize = 1_024;

/// So many channels are subscribed to in one go, at most. Each go has the time for a reply: however many channels there are, they are not too many for it.
const CHANNELS: usize = 4_000;

/// After so many reads of one or two entries that were cut off in a row, it is looked for a way around what is too large to be read.
const CUTS: u32 = 2;

/// After so many in a row the question what the server counts is left out for a while, between these two.
const CUTS_OF_LOOKS: u32 = 3;
const UNSAID: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What is said of a server that does not answer. Whoever hangs has not been asked for too much.
const NO_ANSWER: &str = "the server did not answer in time";

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
    /// So many channels are subscribed to in one go: fewer, after connections were lost by that.
    channels: usize,
    /// Where reading one or two entries was cut off last, and how often in a row.
    cut: Option<(EntryId, u32)>,
    /// How often in a row the question what the server counts was cut off, and when it may be asked again.
    unsaid: (u32, Option<Instant>),
    /// An entry that can't be read, and how to get around it.
    around: Option<Way>,
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
            hasty: Retry::gradual(HASTE.0, HASTE.1),
            channels: CHANNELS,
            cut: None,
            unsaid: (0, None),
            around: None,
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
            // What comes on a new connection could not be taken either.
            if self.state.stumbled == Stumbled::Overflow {
                self.pushes.room().await;
                self.state.stumbled = Stumbled::Nothing;
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

    /// The connection has been opened just now. It is of use when it has got over what the last one was lost by, and holds for a while, or if it holds for
    /// long: the next failure is the first one then.
    async fn serve(&mut self, mut connection: B::Connection, pushes: &PushSender) -> End {
        let opened = Instant::now();
        let end = self.answer(&mut connection, pushes).await;
        let (held, hold) = (opened.elapsed(), self.state.retry.hold());
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
            if matches!(commands.as_slice(), [Command::XInfoStream { .. }]) {
                return self.look(connection, commands, pushes).await;
            }
            return match self.lane {
                Lane::Subscriber => self.subscribe(connection, commands, pushes).await,
                _ => self.ask(connection, commands, pushes).await,
            };
        };
        if !self.state.readable {
            // Without waiting, so that it is known at once whether the stream may be read at all.
            let found = self.read(connection, stream.clone(), after, count, NO_TIME, pushes).await;
            self.state.readable = matches!(found.as_slice(), [Ok(_)]);
            self.readable();
            if !matches!(found.as_slice(), [Ok(Reply::Entries(entries))] if entries.is_empty()) {
                return found;
            }
        }
        let asked = Instant::now();
        let results = self.read(connection, stream, after, count, block, pushes).await;
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

    /// Has subscriptions changed, so many at once. Each time, the server has the whole time for a reply.
    async fn subscribe(
        &mut self,
        connection: &mut B::Connection,
        commands: Vec<Command>,
        pushes: &PushSender,
    ) -> Vec<Outcome> {
        let mut results: Vec<Outcome> = Vec::with_capacity(commands.len());
        let mut rest = portions(commands, self.state.channels);
        while let Some(portion) = rest.next() {
            let (of, commands): (Vec<usize>, Vec<Command>) = portion.into_iter().unzip();
            let answers = self.ask(connection, commands, pushes).await;
            let end = answers.iter().find_map(ends);
            for (of, answer) in of.into_iter().zip(answers) {
                match results.get_mut(of) {
                    None => results.push(answer),
                    // A command that was divided is done when all of it is.
                    Some(known) if known.is_ok() => *known = answer,
                    Some(_) => {}
                }
            }
            if let Some(why) = end {
                // Whatever it was, the next connection is asked for less.
                self.state.channels = (self.state.channels / 2).max(1);
                for (of, _) in rest.flatten() {
                    let not_sent = || Err(CommandError::NotSent(why.clone()));
                    match results.get_mut(of) {
                        None => results.push(not_sent()),
                        Some(known) if known.is_ok() => *known = not_sent(),
                        Some(_) => {}
                    }
                }
                return results;
            }
        }
        self.state.channels = self.state.channels.saturating_mul(2).min(CHANNELS);
        results
    }

    /// Asks what the server counts. With that comes an entry, the first one, which may be too large for a reply: then it is asked less and less often.
    async fn look(
        &mut self,
        connection: &mut B::Connection,
        commands: Vec<Command>,
        pushes: &PushSender,
    ) -> Vec<Outcome> {
        let (times, again) = self.state.unsaid;
        if again.is_some_and(|again| Instant::now() < again) {
            let words =
                "what the server counts can't be known: each time that it is asked, the connection ends";
            return vec![Err(CommandError::Unusable(words.to_owned()))];
        }
        let results = self.ask(connection, commands, pushes).await;
        self.state.unsaid = match results.as_slice() {
            [result] if is_cut(result) => {
                let more = (times + 1).checked_sub(CUTS_OF_LOOKS);
                let pause = |more| UNSAID.0.saturating_mul(2_u32.saturating_pow(more)).min(UNSAID.1);
                (times.saturating_add(1), more.map(|more| Instant::now() + pause(more)))
            }
            _ => (0, None),
        };
        results
    }

    /// Reads, around what can't be read.
    async fn read(
        &mut self,
        connection: &mut B::Connection,
        stream: ByteString,
        after: EntryId,
        mut count: u32,
        block: Duration,
        pushes: &PushSender,
    ) -> Vec<Outcome> {
        let few = count <= 2;
        if few && self.state.around.is_none() && self.state.cut.is_some_and(|(_, times)| times >= CUTS) {
            self.state.cut = None;
            self.state.around = self.find_way(connection, &stream, after, pushes).await;
        }
        self.state.around.take_if(|way| after >= way.resume);
        if let Some(way) = self.state.around {
            // Up to where it is, one by one.
            count = 1;
            if after >= way.behind {
                let command = Command::XRead { stream, after: way.resume, count, block };
                let mut results = self.ask(connection, vec![command], pushes).await;
                if let [Ok(Reply::Entries(entries))] = results.as_slice()
                    && let Some(next) = entries.first()
                {
                    // Only now it is certain that the stream has an id behind it, up to which it can be told to have been passed over.
                    results = vec![Ok(Reply::Unreadable { next: next.id, alone: way.alone })];
                    self.state.around = None;
                }
                return results;
            }
        }
        let results =
            self.ask(connection, vec![Command::XRead { stream, after, count, block }], pushes).await;
        self.state.cut = match (results.as_slice(), self.state.cut) {
            ([result], Some((at, times))) if few && is_cut(result) => {
                // The entry before may be asked for as well.
                let same = at.ms.abs_diff(after.ms) <= 1 || at == after;
                Some((after, if same { times + 1 } else { 1 }))
            }
            ([result], None) if few && is_cut(result) => Some((after, 1)),
            _ => None,
        };
        results
    }

    /// Looks for a way around an entry that can't be read. Each time that it is cut off, it connects anew, not too often; the link counts as there meanwhile.
    async fn find_way(
        &mut self,
        connection: &mut B::Connection,
        stream: &ByteString,
        after: EntryId,
        pushes: &PushSender,
    ) -> Option<Way> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut search = Search::new(after, u64::try_from(now).unwrap_or(u64::MAX));
        while let Some(after) = search.next() {
            let command = Command::XRead { stream: stream.clone(), after, count: 1, block: NO_TIME };
            let results = self.ask(connection, vec![command], pushes).await;
            search.found(match results.as_slice() {
                [Ok(Reply::Entries(entries))] => match entries.first() {
                    Some(entry) => Found::Entry(entry.id),
                    None => Found::Nothing,
                },
                [result] if is_cut(result) => {
                    sleep(self.state.retry.hold()).await;
                    let connecting = caught(async { self.backend.connect(&self.lane, pushes.clone()).await });
                    match timeout(self.timing.connect, connecting).await {
                        Ok(Ok(Ok(opened))) => *connection = opened,
                        // Something else is wrong.
                        _ => return None,
                    }
                    Found::CutOff
                }
                _ => return None,
            });
        }
        let way = search.way();
        tracing::warn!(lane = %Clean(&self.lane), ?way, "an entry can't be read: too large for one reply");
        way
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

/// Changes of subscriptions in portions that have no more than so many channels, in order, each command with its number. One that has more is divided.
fn portions(commands: Vec<Command>, most: usize) -> impl Iterator<Item = Vec<(usize, Command)>> {
    let divided = commands.into_iter().enumerate().flat_map(move |(of, command)| {
        let parts: Vec<Command> = match command {
            Command::Subscribe { channels, sharded } if channels.len() > most => {
                let part =
                    |channels: &[ByteString]| Command::Subscribe { channels: channels.to_vec(), sharded };
                channels.chunks(most).map(part).collect()
            }
            Command::Unsubscribe { channels, sharded } if channels.len() > most => {
                let part =
                    |channels: &[ByteString]| Command::Unsubscribe { channels: channels.to_vec(), sharded };
                channels.chunks(most).map(part).collect()
            }
            other => vec![other],
        };
        parts.into_iter().map(move |part| (of, part))
    });
    let mut divided = divided.peekable();
    core::iter::from_fn(move || {
        let mut portion = vec![divided.next()?];
        let mut channels = width(&portion[0].1);
        while let Some(next) = divided.next_if(|(_, next)| channels + width(next) <= most) {
            channels += width(&next.1);
            portion.push(next);
        }
        Some(portion)
    })
}

/// Whether the connection has ended over a command. A server that is silent does not count: it was not asked for too much.
fn is_cut(result: &Outcome) -> bool {
    matches!(result, Err(CommandError::Lost(why)) if why != NO_ANSWER)
}

/// How many channels a change of subscriptions has.
fn width(command: &Command) -> usize {
    match command {
        Command::Subscribe { channels, .. } | Command::Unsubscribe { channels, .. } => channels.len(),
        Command::PSubscribe { patterns } | Command::PUnsubscribe { patterns } => patterns.len(),
        _ => 1,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe(channels: core::ops::Range<u32>) -> Command {
        let channels = channels.map(|number| number.to_string().into()).collect();
        Command::Subscribe { channels, sharded: true }
    }

    #[test]
    fn no_portion_has_more_channels_than_it_may_have_and_none_is_missing() {
        let commands =
            vec![subscribe(0..1), subscribe(1..3), subscribe(3..10), subscribe(10..11), subscribe(11..12)];
        for most in 1..15 {
            let mut seen = Vec::new();
            let mut last = 0;
            for portion in portions(commands.clone(), most) {
                assert!(portion.iter().map(|(_, part)| width(part)).sum::<usize>() <= most);
                for (of, part) in portion {
                    assert!(of == last || of == last + 1, "{of} after {last}");
                    last = of;
                    let Command::Subscribe { channels, .. } = part else { panic!("{part:?}") };
                    seen.extend(channels);
                }
            }
            let all: Vec<ByteString> = (0..12_u32).map(|number| number.to_string().into()).collect();
            assert_eq!(seen, all, "{most}");
        }
        assert_eq!(portions(commands, 15).count(), 1);
    }
}
