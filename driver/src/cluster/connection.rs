//! A lane's connections to the servers of a cluster.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::{join_all, select_all};
use sio_streams_core::{ByteString, Command, CommandError, Lane, Reply};
use tokio::time::{Instant, sleep_until, timeout};

use super::slots::{Slots, redirection, slot_of};
use super::{Shared, ask_slots};
use crate::backend::{ConnectError, Connection, PushSender};
use crate::wire::{Address, Dialer, WireConnection};

/// The number of times that a command is sent elsewhere in one go, at most. Each `MOVED` or `ASK`
/// should be the last.
const REDIRECTIONS: usize = 5;

/// The interval at which a subscriber asks for the servers. Also the age at which that knowledge is
/// renewed before all servers are asked something.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a replica may take to be connected to. It is asked for its subscribers, if it is there.
const REPLICA_PATIENCE: Duration = Duration::from_secs(1);

/// After how long a replica is tried again that was not.
const TRY_AGAIN: Duration = Duration::from_secs(5);

type Answer = Result<Reply, CommandError>;
type Link<D> = WireConnection<<D as Dialer>::Wire>;

/// The connections that serve a lane.
pub struct ClusterConnection<D: Dialer> {
    origin: Origin<D>,
    slots: Slots,
    /// When it was last asked who the servers are.
    looked: Instant,
    /// When the replicas were last tried that are not connected.
    tried: Option<Instant>,
    /// Whom the lane depends on beside the masters that its commands lead to: the subscriber's server for plain channels, the reader's.
    home: Address,
    links: BTreeMap<Address, Link<D>>,
    /// For questions about the cluster, if the links can't be asked.
    questions: Option<(Address, Link<D>)>,
    /// Where sharded channels are subscribed.
    sharded: BTreeMap<ByteString, Address>,
    gone: Option<String>,
}

/// The parameters of new links.
struct Origin<D> {
    shared: Arc<Shared<D>>,
    lane: Lane,
    pushes: PushSender,
}

/// A command, or the part of it that one server can do.
struct Part {
    /// The index of the command.
    of: usize,
    command: Command,
    at: Address,
    asking: bool,
    /// `true` if the command is executed without this part if the server can't be reached.
    optional: bool,
}

impl<D: Dialer> Origin<D> {
    /// Connects to all of them at once.
    async fn dial(&self, addresses: Vec<Address>) -> Vec<(Address, Result<Link<D>, ConnectError>)> {
        join_all(addresses.into_iter().map(|address| async {
            let link = self.shared.dialer.dial(&address, &self.lane, self.pushes.clone()).await;
            let link = link.map_err(|error| ConnectError(format!("{address}: {}", error.0)));
            (address, link)
        }))
        .await
    }
}

impl<D: Dialer> ClusterConnection<D> {
    pub(super) async fn open(
        shared: Arc<Shared<D>>,
        lane: Lane,
        pushes: PushSender,
    ) -> Result<Self, ConnectError> {
        let slots = shared.learn().await?;
        let masters: Vec<Address> = slots.masters().iter().cloned().collect();
        let home = match &lane {
            Lane::Reader(stream) => match slots.owner(slot_of(stream)) {
                Some(owner) => owner.clone(),
                None => return Err(ConnectError(format!("nobody has the slot of {stream}"))),
            },
            // Not the same for all nodes.
            _ => {
                masters.get(fastrand::usize(..masters.len().max(1))).cloned().unwrap_or(shared.dialer.home())
            }
        };
        let wanted = match lane {
            Lane::Writer | Lane::Recovery => masters,
            _ => vec![home.clone()],
        };
        let mut connection = ClusterConnection {
            origin: Origin { shared, lane, pushes },
            slots,
            looked: Instant::now(),
            tried: None,
            home,
            links: BTreeMap::new(),
            questions: None,
            sharded: BTreeMap::new(),
            gone: None,
        };
        for (address, result) in connection.origin.dial(wanted).await {
            connection.links.insert(address, result?);
        }
        Ok(connection)
    }

    /// Renews the map of the cluster, and connects to the replicas, since all servers are to be
    /// asked for their subscribers.
    async fn prepare_for_everyone(&mut self) {
        if self.looked.elapsed() >= LOOK_AGAIN {
            self.look_again().await;
        }
        if self.tried.is_some_and(|tried| tried.elapsed() < TRY_AGAIN) {
            return;
        }
        self.tried = Some(Instant::now());
        let absent =
            self.slots.replicas().iter().filter(|replica| !self.links.contains_key(*replica)).cloned();
        let dialling = absent.map(|replica| timeout(REPLICA_PATIENCE, self.origin.dial(vec![replica])));
        let dialled = join_all(dialling).await;
        for (address, result) in dialled.into_iter().filter_map(Result::ok).flatten() {
            if let Ok(link) = result {
                self.links.insert(address, link);
            }
        }
    }

    /// Asks one of the servers that are connected. What it can't answer is found out otherwise.
    async fn look_again(&mut self) {
        self.looked = Instant::now();
        let masters = self.slots.masters();
        let asked = self.links.iter_mut().find(|(node, _)| masters.contains(*node));
        let Some((address, link)) = asked else { return };
        let answer = match &mut self.questions {
            None => ask_slots(link, address).await,
            Some((address, link)) => ask_slots(link, address).await,
        };
        match answer {
            Ok(slots) if slots != self.slots => {
                self.slots = slots;
                self.tried = None;
            }
            Ok(_) => {}
            // Some client crates have connections that can do nothing but subscribe. Then the questions need one of their own.
            Err(CommandError::Unusable(_)) if self.questions.is_none() => {
                let address = address.clone();
                let link = self.origin.shared.dial_to_ask(&address).await;
                self.questions = link.ok().map(|link| (address, link));
            }
            Err(_) => self.questions = None,
        }
    }

    /// Who has the slot of a key or channel. If nobody is known to, any server will say so.
    fn owner(&self, name: &str) -> Address {
        self.slots.owner(slot_of(name)).unwrap_or(&self.home).clone()
    }

    /// Divides a command into parts for the servers.
    fn divide(&self, of: usize, command: Command) -> Vec<Part> {
        let part = |command, at| Part { of, command, at, asking: false, optional: false };
        let at = match &command {
            Command::XAdd { stream, .. }
            | Command::XRange { stream, .. }
            | Command::XRevRange { stream, .. } => self.owner(stream),
            Command::Set { key, .. } | Command::GetRange { key, .. } | Command::GetDel { key } => {
                self.owner(key)
            }
            // The engine must know when the stream moves: this lane does not follow it.
            Command::XRead { .. } | Command::XInfoStream { .. } => self.home.clone(),
            // Any server would pass a plain message on. The same for each channel, to keep the order.
            Command::Publish { channel, .. } => self.owner(channel),
            Command::PubSubNumSub { .. } | Command::PubSubChannels { .. } => {
                let everyone = self.slots.nodes().filter_map(|node| {
                    let optional = !self.slots.masters().contains(node);
                    let there = !optional || self.links.contains_key(node);
                    there.then(|| Part { optional, ..part(command.clone(), node.clone()) })
                });
                return everyone.collect();
            }
            Command::Subscribe { channels, sharded: true } => {
                let one = |channel: &ByteString| {
                    let command = Command::Subscribe { channels: vec![channel.clone()], sharded: true };
                    part(command, self.owner(channel))
                };
                return channels.iter().map(one).collect();
            }
            Command::Unsubscribe { channels, sharded: true } => {
                let one = |channel: &ByteString| {
                    let command = Command::Unsubscribe { channels: vec![channel.clone()], sharded: true };
                    let at = self.sharded.get(channel).cloned().unwrap_or_else(|| self.owner(channel));
                    part(command, at)
                };
                return channels.iter().map(one).collect();
            }
            _ => self.home.clone(),
        };
        vec![part(command, at)]
    }

    /// Sends all parts to their servers at once. Returns the parts with their answers. Those of one
    /// server stay in order.
    async fn send(&mut self, parts: Vec<Part>) -> Vec<(Part, Answer)> {
        let mut groups: BTreeMap<Address, Vec<Part>> = BTreeMap::new();
        for part in parts {
            groups.entry(part.at.clone()).or_default().push(part);
        }
        let absent = groups.keys().filter(|address| !self.links.contains_key(*address)).cloned().collect();
        let mut unreachable = BTreeMap::new();
        for (address, result) in self.origin.dial(absent).await {
            match result {
                Ok(link) => drop(self.links.insert(address, link)),
                Err(error) => drop(unreachable.insert(address, error.0)),
            }
        }
        let mut answered = Vec::new();
        let mut running = Vec::new();
        for (address, parts) in groups {
            match self.links.remove(&address) {
                Some(link) => running.push(run::<D>(address, link, parts)),
                None => {
                    let why = unreachable.remove(&address).unwrap_or_default();
                    let not_sent = |part| (part, Err(CommandError::NotSent(why.clone())));
                    answered.extend(parts.into_iter().map(not_sent));
                }
            }
        }
        for (address, link, mut answers) in join_all(running).await {
            let lost = answers.iter().any(|(part, answer)| !part.optional && is_lost(answer));
            if lost || !answers.iter().any(|(_, answer)| is_lost(answer)) {
                self.links.insert(address, link);
            }
            answered.append(&mut answers);
        }
        answered
    }

    /// Where a part must go that was refused by `MOVED` or `ASK`.
    fn redirected(&self, part: &Part, answer: &Answer) -> Option<Part> {
        let Err(CommandError::Server { code, message }) = answer else { return None };
        let asking = match code.as_str() {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let at = redirection(message, &part.at)?;
        Some(Part { at, asking, command: part.command.clone(), ..*part })
    }

    /// Applies an answer's meaning to the connection.
    fn note(&mut self, part: &Part, answer: Answer) -> Answer {
        match &answer {
            Ok(_) => match &part.command {
                Command::Subscribe { channels, sharded: true } => {
                    self.sharded.extend(channels.iter().map(|channel| (channel.clone(), part.at.clone())));
                }
                Command::Unsubscribe { channels, sharded: true } => {
                    self.sharded.retain(|channel, _| !channels.contains(channel));
                }
                _ => {}
            },
            Err(CommandError::Server { code, message }) if code == "MOVED" && self.is_reader() => {
                let why = format!("MOVED {message}: another server has the stream now");
                self.gone.get_or_insert_with(|| why.clone());
                return Err(CommandError::NotSent(why));
            }
            Err(CommandError::Server { code, message }) if code == "CLUSTERDOWN" => {
                self.gone.get_or_insert_with(|| format!("CLUSTERDOWN {message}"));
            }
            Err(CommandError::Lost(why) | CommandError::NotSent(why)) if !part.optional => {
                self.gone.get_or_insert_with(|| why.clone());
            }
            Err(_) => {}
        }
        answer
    }

    fn is_reader(&self) -> bool {
        matches!(self.origin.lane, Lane::Reader(_))
    }

    /// Returns a reason if the subscriber's channels are not at the right servers any more.
    fn misplaced(&self) -> Option<String> {
        if !self.slots.masters().contains(&self.home) {
            return Some(format!("{} is no master any more", self.home));
        }
        self.sharded.iter().find_map(|(channel, at)| {
            let owner = self.owner(channel);
            (owner != *at).then(|| format!("the slot of {channel} has moved from {at} to {owner}"))
        })
    }

    async fn any_lost(&mut self) -> String {
        loop {
            let replicas = self.slots.replicas();
            let losing = self.links.iter_mut().map(|(address, link)| {
                let optional = replicas.contains(address);
                Box::pin(async move { (address.clone(), optional, link.lost().await) })
            });
            let losing: Vec<_> = losing.collect();
            if losing.is_empty() {
                return "there is no connection".to_owned();
            }
            let ((address, optional, why), _, rest) = select_all(losing).await;
            drop(rest);
            if !optional {
                return format!("{address}: {why}");
            }
            self.links.remove(&address);
        }
    }
}

fn is_lost(answer: &Answer) -> bool {
    matches!(answer, Err(CommandError::Lost(_) | CommandError::NotSent(_)))
}

/// One server's parts, in order.
async fn run<D: Dialer>(
    address: Address,
    mut link: Link<D>,
    parts: Vec<Part>,
) -> (Address, Link<D>, Vec<(Part, Answer)>) {
    let mut answered = Vec::with_capacity(parts.len());
    let mut parts = parts.into_iter().peekable();
    while let Some(first) = parts.next() {
        // `ASKING` applies only to the next command.
        let mut together = vec![first];
        if together[0].asking {
            if let Err(error) = link.ask(&["ASKING"]).await {
                answered.extend(together.into_iter().map(|part| (part, Err(error.clone()))));
                continue;
            }
        } else {
            while let Some(part) = parts.next_if(|part| !part.asking) {
                together.push(part);
            }
        }
        let answers = link.execute(together.iter().map(|part| part.command.clone()).collect()).await;
        answered.extend(together.into_iter().zip(answers));
    }
    (address, link, answered)
}

/// Merges the answers of a command's parts.
fn merge(known: Option<Answer>, more: Answer) -> Answer {
    match (known, more) {
        (None, answer) => answer,
        (Some(Err(error)), _) | (Some(Ok(_)), Err(error)) => Err(error),
        (Some(Ok(Reply::Counts(some))), Ok(Reply::Counts(more))) if some.len() == more.len() => {
            let each = some.into_iter().zip(more);
            Ok(Reply::Counts(each.map(|(one, other)| one.saturating_add(other)).collect()))
        }
        (Some(Ok(Reply::Channels(some))), Ok(Reply::Channels(more))) => {
            // A plain channel can have subscribers at several servers.
            let all: BTreeSet<ByteString> = some.into_iter().chain(more).collect();
            Ok(Reply::Channels(all.into_iter().collect()))
        }
        (Some(known), Ok(_)) => known,
    }
}

impl<D: Dialer> Connection for ClusterConnection<D> {
    async fn execute(&mut self, commands: Vec<Command>) -> Vec<Answer> {
        let count = commands.len();
        if let Some(why) = &self.gone {
            return vec![Err(CommandError::NotSent(why.clone())); count];
        }
        let everyone = |command: &Command| {
            matches!(command, Command::PubSubNumSub { .. } | Command::PubSubChannels { .. })
        };
        if commands.iter().any(everyone) {
            self.prepare_for_everyone().await;
        }
        let mut answers: Vec<Option<Answer>> = vec![None; count];
        let mut parts: Vec<Part> = Vec::with_capacity(count);
        for (of, command) in commands.into_iter().enumerate() {
            parts.extend(self.divide(of, command));
        }
        let mut moved = false;
        for round in 0..=REDIRECTIONS {
            let mut again = Vec::new();
            for (part, answer) in self.send(core::mem::take(&mut parts)).await {
                match self.redirected(&part, &answer) {
                    Some(next) if round < REDIRECTIONS && (next.asking || !self.is_reader()) => {
                        moved |= !next.asking;
                        again.push(next);
                    }
                    _ => {
                        let answer = self.note(&part, answer);
                        if !(part.optional && is_lost(&answer)) {
                            let slot = &mut answers[part.of];
                            *slot = Some(merge(slot.take(), answer));
                        }
                    }
                }
            }
            if again.is_empty() {
                break;
            }
            // The servers have answered in any order. The parts for one server go in the order of
            // their commands.
            again.sort_by_key(|part| part.of);
            parts = again;
        }
        if moved && self.gone.is_none() {
            self.look_again().await;
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Ok(Reply::Done))).collect()
    }

    async fn lost(&mut self) -> String {
        loop {
            if let Some(why) = &self.gone {
                return why.clone();
            }
            let watches = self.origin.lane == Lane::Subscriber;
            let next = self.looked + LOOK_AGAIN;
            let lost = tokio::select! {
                why = self.any_lost() => Some(why),
                () = sleep_until(next), if watches => None,
            };
            self.gone = match lost {
                Some(why) => Some(why),
                None => {
                    self.look_again().await;
                    self.misplaced()
                }
            };
        }
    }
}

impl<D: Dialer> fmt::Debug for ClusterConnection<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterConnection")
            .field("lane", &self.origin.lane)
            .field("links", &self.links.keys())
            .finish_non_exhaustive()
    }
}
