//! The simulated world: hosts, the server, the messages between them, and one clock that jumps from
//! one due event to the next.

mod clock;
mod faults;
mod host;
mod lane;
mod links;
mod masters;
mod net;
mod server;
mod strangers;

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use bytestring::ByteString;
use sio_streams_core::{CallError, Config, ConfigError, Engine, NodeId, Time};
use sio_streams_redis_model::{ClientId, RedisModel};

use crate::app::{App, Node};
use crate::chance::Chance;
use crate::oracle::channels::Heard;
use crate::peer::{Generation, Peer};
use crate::watch::{Happening, Watch};
pub use host::HostOptions;
use host::{Host, Kind};
use net::{Conn, ConnId};
pub(crate) use server::FROM_NOW;
use server::Server;

/// The behaviour of the network and of the programs on it when nothing is wrong. The waiting times
/// are those of `sio-streams-driver`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The time that a message takes in one direction: from, to.
    pub latency: (Duration, Duration),
    /// The time after which the server notices that a host is gone: from, to.
    pub notice: (Duration, Duration),
    /// The time for which a host waits for a reply before it gives the connection up, in addition
    /// to the block time of a command.
    pub response: Duration,
    /// The time for which it waits for a connection.
    pub connect: Duration,
    /// The time for which it waits before it first opens a lost connection again. Doubles with each
    /// failure.
    pub backoff_min: Duration,
    /// At most.
    pub backoff_max: Duration,
}

impl Default for Network {
    fn default() -> Self {
        Network {
            latency: (Duration::from_micros(100), Duration::from_micros(900)),
            notice: (Duration::ZERO, Duration::from_millis(50)),
            response: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
        }
    }
}

/// A future event.
#[derive(Debug)]
enum Due {
    /// A command arrives at the server.
    Arrive(ConnId),
    /// A reply or a message arrives at its host.
    Deliver(ConnId),
    /// The server notices that nobody holds the connection any more.
    Notice(ConnId),
    /// Something about a lane, with its host and its instance.
    Lane(usize, usize, u64, LaneDue),
    /// A host's timer may be due.
    Wake(usize, u64),
    /// An application's own alarm.
    Alarm(usize, u64, u64),
    /// A host goes on.
    Resume(usize),
    /// An application takes events again.
    TakeEvents(usize),
    /// A host that died comes back.
    Rise(usize),
    /// A read has blocked for long enough.
    ReadTimeout,
    /// A state of the server begins.
    Server(server::Change),
    /// Only for the record: the fault that was inflicted then is over.
    Healed(Option<usize>, &'static str),
}

#[derive(Clone, Copy, Debug)]
enum LaneDue {
    /// An attempt to connect has come to its end.
    Attempt,
    /// Time for the next attempt.
    Retry,
    /// The oldest command may have waited for too long.
    Patience,
    /// Commands that came too late for their connection go back.
    GiveBack,
}

#[derive(Debug)]
struct Scheduled {
    at: Time,
    order: u64,
    what: Due,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A cluster of real engines in a simulated world.
///
/// Everything in it follows from its seed and from what is done to it; the same seed and deeds give
/// the same run, to the microsecond. `A` is the application that runs on the nodes; `W` is the
/// observer.
///
/// The [crate's page](crate) has an example.
#[derive(Debug)]
pub struct World<A, W = ()> {
    chance: Chance,
    network: Network,
    now: Time,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    steps: u64,
    server: Server,
    hosts: Vec<Host<A>>,
    conns: BTreeMap<ConnId, Conn>,
    by_client: BTreeMap<ClientId, ConnId>,
    last_conn: u64,
    /// The time at which the server is next asked for reads that have blocked for long enough.
    read_timeout: Option<Time>,
    /// Some engine has gone round in circles.
    overrun: bool,
    watch: W,
}

impl<A: App> World<A> {
    /// A world with an empty server and no hosts.
    pub fn new(seed: u64, network: Network) -> Self {
        World::watched(seed, network, ())
    }
}

impl<A: App, W: Watch> World<A, W> {
    /// The same, with an observer.
    pub fn watched(seed: u64, network: Network, watch: W) -> Self {
        World {
            chance: Chance::new(seed),
            network,
            now: Time::ZERO,
            queue: BinaryHeap::new(),
            scheduled: 0,
            steps: 0,
            server: Server::default(),
            hosts: Vec::new(),
            conns: BTreeMap::new(),
            by_client: BTreeMap::new(),
            last_conn: 0,
            read_timeout: None,
            overrun: false,
            watch,
        }
    }

    /// Adds a node: an engine with an application on top. Returns its number; numbers count up from
    /// 0.
    ///
    /// # Errors
    ///
    /// If the engine does not accept the configuration.
    pub fn add_node(&mut self, config: Config, options: HostOptions, app: A) -> Result<usize, ConfigError> {
        let host = self.hosts.len();
        let state = Host::node(self.chance.of(1).of(host as u64), config, options, app, self.now)?;
        self.hosts.push(state);
        self.started(host);
        Ok(host)
    }

    /// Adds a simulated Node server with its clients, which are sockets in all of its namespaces.
    /// Returns its number.
    ///
    /// It uses the stream and channel names of `config`, and its heartbeat and request times.
    pub fn add_peer(
        &mut self,
        generation: Generation,
        config: &Config,
        options: HostOptions,
        namespaces: &[&str],
        sockets: &[&str],
    ) -> usize {
        let host = self.hosts.len();
        let chance = self.chance.of(1).of(host as u64);
        let peer = Peer::new(generation, config, chance, namespaces, sockets);
        self.hosts.push(Host::peer(peer, options, chance));
        self.started(host);
        self.turn(host);
        host
    }

    fn started(&mut self, host: usize) {
        let uid = self.hosts[host].uid();
        self.watch.saw(self.now, &Happening::Started { host, uid: &uid });
    }

    /// Enters the cluster in a namespace, with some sockets.
    ///
    /// # Errors
    ///
    /// As [`Engine::open_namespace`].
    pub fn open(&mut self, host: usize, nsp: &str, sockets: &[&str]) -> Result<(), CallError> {
        self.call(host, |node| {
            node.engine.open_namespace(node.now, nsp)?;
            sockets.iter().try_for_each(|socket| node.engine.add_socket(nsp, *socket).map(drop))
        })
        .unwrap_or(Ok(()))
    }

    /// Acts on a node, as its application would, and handles the immediate consequences.
    /// Nothing happens if the node is dead, stopped, or a peer.
    pub fn call<T>(&mut self, host: usize, action: impl FnOnce(&mut Node<'_, A>) -> T) -> Option<T> {
        self.act(host, |node, _, _| action(node))
    }

    /// As [`call`](World::call), but the observer learns of it before the consequences.
    pub(crate) fn act<T>(
        &mut self,
        host: usize,
        action: impl FnOnce(&mut Node<'_, A>, &mut W, Time) -> T,
    ) -> Option<T> {
        let now = self.now;
        let state = self.hosts.get_mut(host)?;
        if !state.runs() {
            return None;
        }
        let local = state.clock.read(now);
        let Kind::Node { engine, app, .. } = &mut state.kind else { return None };
        let mut alarms = Vec::new();
        let mut node = Node { host, now: local, engine, app, alarms: &mut alarms };
        let result = action(&mut node, &mut self.watch, now);
        self.set_alarms(host, alarms);
        self.turn(host);
        Some(result)
    }

    /// Makes a peer ask something: see [`Peer`]. Nothing happens if the host is not a peer, or is
    /// dead or stopped.
    pub(crate) fn call_peer<T>(
        &mut self,
        host: usize,
        action: impl FnOnce(&mut Peer, Time) -> T,
    ) -> Option<T> {
        let now = self.now;
        let state = self.hosts.get_mut(host)?;
        if !state.runs() {
            return None;
        }
        let local = state.clock.read(now);
        let Kind::Peer(peer) = &mut state.kind else { return None };
        let result = action(peer, local);
        self.turn(host);
        Some(result)
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// Lets time pass until a moment.
    pub fn run_until(&mut self, end: Time) {
        while self.step(end) {}
        self.now = self.now.max(end);
    }

    /// Lets time pass until a condition holds, or the time is up. Returns `true` if it holds.
    pub fn run_while(&mut self, patience: Duration, mut condition: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + patience;
        while condition(self) {
            if !self.step(end) {
                self.now = end;
                return !condition(self);
            }
        }
        true
    }

    /// Handles the next event that is due until `end`. Returns `true` if there was one.
    pub(crate) fn step(&mut self, end: Time) -> bool {
        if self.queue.peek().is_none_or(|Reverse(next)| next.at > end) {
            return false;
        }
        let Some(Reverse(Scheduled { at, what, .. })) = self.queue.pop() else { return false };
        self.now = self.now.max(at);
        self.steps += 1;
        match what {
            Due::Arrive(conn) => self.arrive(conn),
            Due::Deliver(conn) => self.deliver(conn),
            Due::Notice(conn) => self.forget(conn),
            Due::Lane(host, slot, instance, what) => self.lane_due(host, slot, instance, what),
            Due::Wake(host, wake) => self.wake(host, wake),
            Due::Alarm(host, life, alarm) => self.alarm(host, life, alarm),
            Due::Resume(host) => self.resume(host),
            Due::TakeEvents(host) => self.take_events(host),
            Due::Rise(host) => self.rise(host),
            Due::ReadTimeout => self.read_timed_out(),
            Due::Server(change) => self.change_server(change),
            Due::Healed(host, what) => self.watch.saw(self.now, &Happening::Healed { what, host }),
        }
        true
    }

    fn schedule(&mut self, at: Time, what: Due) {
        self.scheduled += 1;
        self.queue.push(Reverse(Scheduled { at: at.max(self.now), order: self.scheduled, what }));
    }

    /// The world's time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The number of events so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Returns `true` if some engine went round in circles, and was left alone then.
    pub(crate) fn is_overrun(&self) -> bool {
        self.overrun
    }

    /// The simulated Redis.
    pub fn redis(&self) -> &RedisModel {
        &self.server.redis
    }

    /// The number of hosts, dead ones included.
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// Returns `true` if a host lives, and is not stopped.
    pub fn runs(&self, host: usize) -> bool {
        self.hosts.get(host).is_some_and(Host::runs)
    }

    /// The application of a node; `None` for peers.
    pub fn app(&self, host: usize) -> Option<&A> {
        match &self.hosts.get(host)?.kind {
            Kind::Node { app, .. } => Some(app),
            Kind::Peer(_) => None,
        }
    }

    /// The applications of all nodes that live.
    pub fn apps(&self) -> impl Iterator<Item = &A> {
        self.hosts.iter().filter(|host| host.alive).filter_map(|host| match &host.kind {
            Kind::Node { app, .. } => Some(app),
            Kind::Peer(_) => None,
        })
    }

    /// The engine of a node; `None` for peers.
    pub fn engine(&self, host: usize) -> Option<&Engine> {
        match &self.hosts.get(host)?.kind {
            Kind::Node { engine, .. } => Some(engine),
            Kind::Peer(_) => None,
        }
    }

    /// The name of a host in the cluster. It has another one when it comes back from the dead.
    pub fn uid(&self, host: usize) -> Option<NodeId> {
        Some(NodeId::new(self.hosts.get(host)?.uid()))
    }

    /// The number of commands of a host that have no reply yet.
    pub fn outstanding(&self, host: usize) -> usize {
        let lanes = self.hosts.get(host).map_or(&[][..], |host| &host.lanes[..]);
        lanes
            .iter()
            .flatten()
            .map(|lane| lane.inbox.len() + lane.stale.len() + lane.sent.len() + lane.done.len())
            .sum()
    }

    /// The time that a host's clock shows; the world's for one that isn't there.
    pub fn clock(&self, host: usize) -> Time {
        self.hosts.get(host).map_or(self.now, |host| host.clock.read(self.now))
    }

    /// The observer.
    pub fn watch(&self) -> &W {
        &self.watch
    }

    /// The observer, mutably.
    pub fn watch_mut(&mut self) -> &mut W {
        &mut self.watch
    }

    /// An engine, and the observer.
    pub(crate) fn node_and_watch(&mut self, host: usize) -> (Option<(&Engine, &A)>, &mut W) {
        let node = match self.hosts.get(host).map(|host| (&host.kind, host.alive)) {
            Some((Kind::Node { engine, app, .. }, true)) => Some((engine, app)),
            _ => None,
        };
        (node, &mut self.watch)
    }

    /// Sets whether the server counts entries, as servers do from Redis 7.0 on. By default it does.
    pub fn set_counting(&mut self, counting: bool) {
        self.server.redis.set_counting(counting);
    }

    /// The subscriptions of a host, as the server sees it.
    pub(crate) fn subscriptions(&self, host: usize) -> BTreeSet<Heard> {
        let clients = self.conns.values().filter(|conn| conn.host == host && conn.held);
        let redis = &self.server.redis;
        clients
            .flat_map(|conn| {
                let channels = redis.channels_of(conn.client).cloned().map(Heard::Channel);
                channels.chain(redis.patterns_of(conn.client).cloned().map(Heard::Pattern))
            })
            .collect()
    }

    /// Reports the subscriptions of a host.
    fn tell_hearing(&mut self, host: usize, less: Option<Time>) {
        let channels = self.subscriptions(host).into_iter().filter_map(|heard| match heard {
            Heard::Channel(channel) => Some(channel),
            Heard::Pattern(_) => None,
        });
        let channels: BTreeSet<ByteString> = channels.collect();
        self.watch.saw(self.now, &Happening::Hears { host, channels: &channels, less });
    }

    /// The names of all streams.
    pub fn streams(&self) -> Vec<ByteString> {
        self.server.redis.streams().cloned().collect()
    }
}
