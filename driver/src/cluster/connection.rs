//! A lane's connections to the servers of a cluster.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::{join_all, select_all};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use sio_streams_core::{ByteString, Command, CommandError, Lane, Reply};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::link::{Answer, Link};
use super::parts::{Part, grouped, is_lost, merge, run, singles};
use super::slots::{Slots, redirection, slot_of};
use super::{SLOTS, Shared, read_slots};
use crate::backend::{ConnectError, Connection, PushSender};
use crate::first::first;
use crate::wire::{Address, Dialer};

/// The number of times that a command is sent elsewhere in one go, at most. Each `MOVED` or `ASK`
/// should be the last.
const REDIRECTIONS: usize = 5;

/// The interval at which a subscriber asks for the servers. Also the age at which that knowledge is
/// renewed before all servers are asked something.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The time limit for the answer of a server that is asked for the servers. A later answer is of no
/// use, because the question is soon asked again, perhaps of another server.
const LOOKING: Duration = Duration::from_secs(1);

/// The time for which replicas are waited for when all other servers have answered, and when they
/// are connected to for the first time. A replica that takes longer is left out. It is not waited
/// for again until it has let this node connect anew.
const REPLICA_PATIENCE: Duration = Duration::from_millis(500);

/// The time after which a replica that was not there is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// The time limit for connecting to a replica. Nobody waits for it.
const REPLICA_CONNECT: Duration = Duration::from_secs(10);

/// The connections that serve a lane.
pub struct ClusterConnection<D: Dialer> {
    origin: Arc<Origin<D>>,
    slots: Slots,
    /// The time at which a server was last asked for the servers.
    looked: Instant,
    /// The server that was asked then.
    asked: Option<Address>,
    /// The server that the lane depends on in addition to the masters that its commands lead to.
    /// This is the subscriber's server for plain channels, or the reader's server.
    home: Address,
    links: BTreeMap<Address, Link>,
    replicas: Replicas,
    /// For questions about the cluster, if the links can't be asked.
    questions: Option<(Address, Link)>,
    /// The place where the channels of each slot are subscribed.
    sharded: BTreeMap<u16, Place>,
    gone: Option<String>,
}

/// The parameters of new links.
struct Origin<D> {
    shared: Arc<Shared<D>>,
    lane: Lane,
    pushes: PushSender,
}

/// The replicas that are being connected to.
#[derive(Default)]
struct Replicas {
    dialling: JoinSet<(Address, Option<Link>)>,
    under_way: BTreeSet<Address>,
    /// The time at which the replicas that are not connected were last tried.
    tried: Option<Instant>,
}

/// The server at which channels of a slot are subscribed, and the channels.
struct Place {
    at: Address,
    channels: BTreeSet<ByteString>,
}

impl<D: Dialer> Origin<D> {
    async fn dial(&self, address: &Address) -> Result<Link, ConnectError> {
        let dialled = self.shared.dialer.dial(address, &self.lane, self.pushes.clone()).await;
        match dialled {
            Ok(connection) => Ok(Link::new(connection)),
            Err(error) => Err(ConnectError(format!("{address}: {}", error.0))),
        }
    }

    /// Connects to all of them at once.
    async fn dial_all(&self, addresses: Vec<Address>) -> Vec<(Address, Result<Link, ConnectError>)> {
        join_all(addresses.into_iter().map(|address| async {
            let link = self.dial(&address).await;
            (address, link)
        }))
        .await
    }

    /// Connects to one of them. A server that hangs does not delay the others for long.
    async fn dial_any(&self, addresses: Vec<Address>) -> Result<(Address, Link), ConnectError> {
        let tries = addresses.into_iter().map(|address| async {
            let link = self.dial(&address).await?;
            Ok((address, link))
        });
        first(tries).await.map_err(|errors: Vec<ConnectError>| {
            let errors: Vec<String> = errors.into_iter().map(|error| error.0).collect();
            ConnectError(errors.join("; "))
        })
    }
}

impl<D: Dialer> ClusterConnection<D> {
    pub(super) async fn open(
        shared: Arc<Shared<D>>,
        lane: Lane,
        pushes: PushSender,
    ) -> Result<Self, ConnectError> {
        let slots = shared.learn().await?;
        let mut masters: Vec<Address> = slots.masters().iter().cloned().collect();
        // Not all nodes should depend on the same master.
        fastrand::shuffle(&mut masters);
        let origin = Arc::new(Origin { shared, lane, pushes });
        let mut links = BTreeMap::new();
        let home = match &origin.lane {
            Lane::Reader(stream) => match slots.owner(slot_of(stream)) {
                Some(owner) => {
                    links.insert(owner.clone(), origin.dial(owner).await?);
                    owner.clone()
                }
                None => return Err(ConnectError(format!("nobody has the slot of {stream}"))),
            },
            Lane::Writer | Lane::Recovery => {
                for (address, result) in origin.dial_all(masters.clone()).await {
                    links.insert(address, result?);
                }
                masters.pop().unwrap_or(origin.shared.dialer.home())
            }
            // Any of them will do.
            _ => {
                let (home, link) = origin.dial_any(masters).await?;
                links.insert(home.clone(), link);
                home
            }
        };
        Ok(ClusterConnection {
            origin,
            slots,
            looked: Instant::now(),
            asked: None,
            home,
            links,
            replicas: Replicas::default(),
            questions: None,
            sharded: BTreeMap::new(),
            gone: None,
        })
    }

    /// Renews the map of the cluster, and connects to the replicas, since all servers are to be
    /// asked for their subscribers.
    async fn prepare_for_everyone(&mut self) {
        if self.looked.elapsed() >= LOOK_AGAIN {
            self.look_again().await;
        }
        let first_time = self.replicas.tried.is_none();
        if self.replicas.tried.is_none_or(|tried| tried.elapsed() >= TRY_AGAIN) {
            self.replicas.tried = Some(Instant::now());
            for replica in self.slots.replicas() {
                if self.links.contains_key(replica) || !self.replicas.under_way.insert(replica.clone()) {
                    continue;
                }
                let (origin, replica) = (Arc::clone(&self.origin), replica.clone());
                self.replicas.dialling.spawn(async move {
                    let link = timeout(REPLICA_CONNECT, origin.dial(&replica)).await;
                    (replica, link.ok().and_then(Result::ok))
                });
            }
        }
        let patience = if first_time { REPLICA_PATIENCE } else { Duration::ZERO };
        let until = Instant::now() + patience;
        while let Ok(Some(dialled)) = timeout_at(until, self.replicas.dialling.join_next()).await {
            let Ok((replica, link)) = dialled else {
                // The task has panicked. It is not known which replica it was for, so all of them
                // may be tried again.
                self.replicas.under_way.clear();
                continue;
            };
            self.replicas.under_way.remove(&replica);
            if let Some(link) = link.filter(|_| self.slots.nodes().any(|node| *node == replica)) {
                self.links.entry(replica).or_insert(link);
            }
        }
    }

    /// Asks one of the connected masters for the servers, the next one each time, or the server to
    /// which there is a connection for questions. If it does not answer soon, what is known stays
    /// as it is.
    async fn look_again(&mut self) {
        self.looked = Instant::now();
        let masters = self.slots.masters();
        let is_next = |node: &&Address| self.asked.as_ref().is_none_or(|asked| asked < *node);
        let connected = || self.links.keys().filter(|node| masters.contains(*node));
        let Some(address) = connected().find(is_next).or_else(|| connected().next()).cloned() else { return };
        self.asked = Some(address.clone());
        let answer = match (&self.questions, self.links.get(&address)) {
            (Some((address, link)), _) => {
                timeout(LOOKING, link.ask(SLOTS)).await.map(|reply| (address, reply))
            }
            (None, Some(link)) => timeout(LOOKING, link.ask(SLOTS)).await.map(|reply| (&address, reply)),
            (None, None) => return,
        };
        match answer.map(|(address, reply)| reply.and_then(|value| read_slots(value, address))) {
            Ok(Ok(slots)) if slots != self.slots => {
                self.slots = slots;
                self.replicas.tried = None;
            }
            Ok(Ok(_)) => {}
            // Some client crates have connections that can only subscribe. Then the questions need
            // a connection of their own.
            Ok(Err(CommandError::Unusable(_))) if self.questions.is_none() => {
                let link = timeout(LOOKING, self.origin.shared.dial_to_ask(&address)).await;
                self.questions =
                    link.ok().and_then(Result::ok).map(|connection| (address, Link::new(connection)));
            }
            Ok(Err(_)) | Err(_) => self.questions = None,
        }
    }

    /// Returns the server that has the slot of a key or channel. If none is known, any server will do:
    /// it names the right one.
    fn owner(&self, name: &str) -> &Address {
        self.slots.owner(slot_of(name)).unwrap_or(&self.home)
    }

    /// Divides a command into parts for the servers.
    fn divide(&self, of: usize, command: Command) -> Vec<Part> {
        let part =
            |command, at: &Address| Part { of, command, at: at.clone(), asking: false, optional: false };
        let at = match &command {
            Command::XAdd { stream, .. }
            | Command::XRange { stream, .. }
            | Command::XRevRange { stream, .. } => self.owner(stream),
            Command::Set { key, .. } | Command::GetRange { key, .. } | Command::GetDel { key } => {
                self.owner(key)
            }
            // The engine must know when the stream moves: this lane does not follow it.
            Command::XRead { .. } | Command::XInfoStream { .. } => &self.home,
            // Any server would pass a plain message on. All messages of a channel go to the same
            // server, to keep their order.
            Command::Publish { channel, .. } => self.owner(channel),
            Command::PubSubNumSub { .. } | Command::PubSubChannels { .. } => {
                let everyone = self.slots.nodes().filter_map(|node| {
                    let optional = !self.slots.masters().contains(node);
                    let there = !optional || self.links.contains_key(node);
                    there.then(|| Part { optional, ..part(command.clone(), node) })
                });
                return everyone.collect();
            }
            Command::Subscribe { channels, sharded: true } => {
                let parts = grouped(channels, |channel| self.owner(channel));
                let each = |(at, channels)| part(Command::Subscribe { channels, sharded: true }, at);
                return parts.into_iter().map(each).collect();
            }
            Command::Unsubscribe { channels, sharded: true } => {
                let parts = grouped(channels, |channel| match self.sharded.get(&slot_of(channel)) {
                    Some(place) => &place.at,
                    None => self.owner(channel),
                });
                let each = |(at, channels)| part(Command::Unsubscribe { channels, sharded: true }, at);
                return parts.into_iter().map(each).collect();
            }
            _ => &self.home,
        };
        let at = at.clone();
        vec![part(command, &at)]
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
        for (address, result) in self.origin.dial_all(absent).await {
            match result {
                Ok(link) => drop(self.links.insert(address, link)),
                Err(error) => drop(unreachable.insert(address, error.0)),
            }
        }
        let mut answered = Vec::new();
        let (mut needed, mut others) = (Vec::new(), FuturesUnordered::new());
        for (address, parts) in groups {
            match self.links.remove(&address) {
                Some(link) if parts.iter().all(|part| part.optional) => {
                    others.push(run(address, link, parts))
                }
                Some(link) => needed.push(run(address, link, parts)),
                None => {
                    let why = unreachable.remove(&address).unwrap_or_default();
                    let not_sent = |part| (part, Err(CommandError::NotSent(why.clone())));
                    answered.extend(parts.into_iter().map(not_sent));
                }
            }
        }
        let mut needed = core::pin::pin!(join_all(needed));
        let mut late = Vec::new();
        let mut done = loop {
            tokio::select! {
                done = needed.as_mut() => break done,
                Some(one) = others.next() => late.push(one),
            }
        };
        let until = Instant::now() + REPLICA_PATIENCE;
        while let Ok(Some(one)) = timeout_at(until, others.next()).await {
            late.push(one);
        }
        // The replicas that have not answered hang. Their links are dropped with the futures.
        drop(others);
        done.append(&mut late);
        for (address, link, mut answers) in done {
            let lost = answers.iter().any(|(part, answer)| !part.optional && is_lost(answer));
            if lost || !answers.iter().any(|(_, answer)| is_lost(answer)) {
                self.links.insert(address, link);
            }
            answered.append(&mut answers);
        }
        answered
    }

    /// Returns the parts to be sent instead of a part that was refused by `MOVED` or `ASK`. If the
    /// part has several channels, it is not known which of them are meant. Then each becomes a part
    /// of its own.
    fn redirected(&self, part: &Part, answer: &Answer) -> Option<Vec<Part>> {
        let Err(CommandError::Server { code, message }) = answer else { return None };
        let asking = match code.as_str() {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let again = |command, at, asking| Part { at, asking, command, ..*part };
        if let Some(singles) = singles(&part.command) {
            return Some(singles.map(|command| again(command, part.at.clone(), false)).collect());
        }
        let at = redirection(message, &part.at)?;
        Some(vec![again(part.command.clone(), at, asking)])
    }

    /// Applies an answer's meaning to the connection.
    fn note(&mut self, part: &Part, answer: Answer) -> Answer {
        match &answer {
            Ok(_) => match &part.command {
                Command::Subscribe { channels, sharded: true } => {
                    for channel in channels {
                        let new = || Place { at: part.at.clone(), channels: BTreeSet::new() };
                        let place = self.sharded.entry(slot_of(channel)).or_insert_with(new);
                        if place.at != part.at {
                            place.at = part.at.clone();
                        }
                        place.channels.insert(channel.clone());
                    }
                }
                Command::Unsubscribe { channels, sharded: true } => {
                    for channel in channels {
                        let slot = slot_of(channel);
                        let Some(place) = self.sharded.get_mut(&slot) else { continue };
                        place.channels.remove(channel);
                        if place.channels.is_empty() {
                            self.sharded.remove(&slot);
                        }
                    }
                }
                _ => {}
            },
            Err(CommandError::Server { code, message }) if code == "MOVED" && self.is_reader() => {
                let why = format!("MOVED {message}: another server has the stream now");
                self.gone.get_or_insert_with(|| why.clone());
                return Err(CommandError::NotSent(why));
            }
            // The owner of the slot has no known address. That is no reason to leave the other
            // servers.
            Err(CommandError::Server { code, message })
                if matches!(code.as_str(), "MOVED" | "ASK") && redirection(message, &part.at).is_none() =>
            {
                let message = format!("{code} {message}: the server is not known by any address");
                return Err(CommandError::Server { code: "TRYAGAIN".to_owned(), message });
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
        self.sharded.iter().find_map(|(slot, Place { at, channels })| {
            let owner = self.slots.owner(*slot).unwrap_or(&self.home);
            let channel = channels.first()?;
            (owner != at).then(|| format!("the slot of {channel} has moved from {at} to {owner}"))
        })
    }

    /// Returns `true` if the lane can do without this server.
    fn is_optional(&self, address: &Address) -> bool {
        self.slots.replicas().contains(address) && *address != self.home
    }

    /// Returns the reason if a link that is needed is lost. Lost links that are not needed are
    /// forgotten.
    fn known_to_be_lost(&mut self) -> Option<String> {
        let ends = self.links.iter().filter_map(|(address, link)| Some((address.clone(), link.end()?)));
        for (address, why) in Vec::from_iter(ends) {
            if !self.is_optional(&address) {
                return Some(format!("{address}: {why}"));
            }
            self.links.remove(&address);
        }
        None
    }
}

impl<D: Dialer> Connection for ClusterConnection<D> {
    async fn execute(&mut self, commands: Vec<Command>) -> Vec<Answer> {
        let count = commands.len();
        if self.gone.is_none() {
            self.gone = self.known_to_be_lost();
        }
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
            let mut again: Vec<(Part, Vec<Part>)> = Vec::new();
            for (part, answer) in self.send(core::mem::take(&mut parts)).await {
                match self.redirected(&part, &answer) {
                    Some(next)
                        if round < REDIRECTIONS
                            && (next.iter().any(|next| next.asking) || !self.is_reader()) =>
                    {
                        moved |= !next.iter().any(|next| next.asking);
                        again.push((part, next));
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
            // their commands. A command that was taken apart is redirected one round later. Those
            // behind it wait for it, so that they don't overtake it.
            again.sort_by_key(|(part, _)| part.of);
            let mut behind = false;
            for (part, next) in again {
                let is_taken_apart = next.len() > 1;
                match behind && !is_taken_apart {
                    true => parts.push(part),
                    false => parts.extend(next),
                }
                behind |= is_taken_apart;
            }
        }
        if moved && self.gone.is_none() {
            self.look_again().await;
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Ok(Reply::Done))).collect()
    }

    /// The links watch themselves, so it does no harm if this future is dropped.
    async fn lost(&mut self) -> String {
        loop {
            if self.gone.is_none() {
                self.gone = self.known_to_be_lost();
            }
            if let Some(why) = &self.gone {
                return why.clone();
            }
            if self.links.is_empty() {
                return self.gone.insert("there is no connection".to_owned()).clone();
            }
            let watches = self.origin.lane == Lane::Subscriber;
            let next = self.looked + LOOK_AGAIN;
            let any = select_all(self.links.values().map(|link| Box::pin(link.lost())));
            let look = tokio::select! {
                _ = any => false,
                () = sleep_until(next), if watches => true,
            };
            if look {
                self.look_again().await;
                self.gone = self.misplaced();
            }
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
