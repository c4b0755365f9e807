//! The Redis servers of a long run, a cluster or a master with sentinels, and what happens to them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use fastrand::Rng;
use sio_streams_driver::cluster::Cluster;
use sio_streams_driver::sentinel::Sentinel;
use sio_streams_driver::sio_streams_core::EntryId;
use sio_streams_driver::{Options, wire::Dialer};
use sio_streams_testkit::{RedisCluster, RedisSentinel, RedisServer};

use crate::cluster::STREAM;
use crate::{Server, Ways};

/// A Redis with several servers.
#[derive(Debug)]
pub enum Topology {
    /// Three masters, each with a replica.
    Cluster(RedisCluster),
    /// A master with a replica, and three sentinels.
    Sentinel(Box<RedisSentinel>),
}

/// The kind of a [`Topology`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Three masters, each with a replica.
    Cluster,
    /// A master with a replica, and three sentinels.
    Sentinel,
}

/// A thing that happens to servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// A master hangs for a while, and is a master afterwards.
    HangingMaster,
    /// A replica hangs for a while.
    HangingReplica,
    /// A sentinel hangs for a while.
    HangingSentinel,
    /// A master pauses its clients.
    Pause,
    /// All connections of one type to a server are closed.
    ClientKill,
    /// A master is killed, and its replica takes its place. It comes back as a replica.
    Failover,
    /// A master hangs until its replica has taken its place, and then goes on.
    Deposition,
    /// A master hands over to its replica.
    Handover,
    /// The slot of the stream moves to another master, or that of a channel does.
    Move,
}

impl Topology {
    /// Starts the servers. This blocks.
    pub fn start(kind: Kind) -> Self {
        match kind {
            Kind::Cluster => Topology::Cluster(RedisCluster::start(3).unwrap()),
            Kind::Sentinel => Topology::Sentinel(RedisSentinel::start().unwrap().into()),
        }
    }

    /// The addresses of all servers, and of the sentinels.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        match self {
            Topology::Cluster(cluster) => cluster.addrs(),
            Topology::Sentinel(redis) => {
                redis.servers().iter().chain(redis.sentinels()).map(RedisServer::addr).collect()
            }
        }
    }

    /// The URL of the server that a client is told of first.
    pub fn url(&self) -> String {
        match self {
            Topology::Cluster(cluster) => cluster.url(),
            Topology::Sentinel(redis) => redis.sentinels()[0].url(),
        }
    }

    /// Starts a server of ours that reaches everybody by this dialer.
    pub async fn join<D: Dialer + Clone>(
        &self,
        name: &str,
        ways: Ways,
        dialer: D,
        options: Options,
    ) -> Server<Ways> {
        let pace = ways.pace();
        match self {
            Topology::Cluster(cluster) => {
                let seed = cluster.addrs()[1].to_string();
                let backend = pace.watch(Cluster::new(dialer).seed(&seed).unwrap());
                Server::start_on(name, ways, backend, options).await
            }
            Topology::Sentinel(redis) => {
                let first = Sentinel::new(redis.master_name(), dialer.clone(), dialer);
                let rest = redis.sentinels()[1..].iter().map(|sentinel| sentinel.addr().to_string());
                let backend = pace.watch(rest.fold(first, |all, address| all.also(&address).unwrap()));
                Server::start_on(name, ways, backend, options).await
            }
        }
    }

    /// The entries of the stream from this id on. This blocks.
    pub fn entries(&self, from: EntryId) -> BTreeSet<EntryId> {
        let from = from.to_string();
        let command = ["XRANGE", STREAM, &from, "+"];
        let all = match self {
            Topology::Cluster(cluster) => cluster.command(STREAM, &command),
            Topology::Sentinel(redis) => redis.servers()[redis.master()].command(&command),
        };
        all.items().iter().map(|entry| entry.items()[0].as_str().unwrap().parse().unwrap()).collect()
    }

    /// Returns `true` if there were two masters for a while. A cluster's old master takes no writes
    /// any more when its replica has taken its place. One that sentinels replace does, until they
    /// reach it.
    pub fn has_two_masters(&self, deed: Deed) -> bool {
        matches!((self, deed), (Topology::Sentinel(_), Deed::Handover | Deed::Deposition))
    }

    /// Has something happen to the servers that is over when this returns. This blocks.
    pub fn harm(&self, rng: &mut Rng) -> Deed {
        let deed = match (self, rng.u8(..16)) {
            (_, 0..2) => Deed::HangingMaster,
            (_, 2..4) => Deed::HangingReplica,
            (_, 4) => Deed::Pause,
            (_, 5..8) => Deed::ClientKill,
            (_, 8..10) => Deed::Failover,
            (_, 10..12) => Deed::Deposition,
            (_, 12..14) => Deed::Handover,
            (Topology::Cluster(_), _) => Deed::Move,
            (Topology::Sentinel(_), _) => Deed::HangingSentinel,
        };
        match self {
            Topology::Cluster(cluster) => harm_cluster(cluster, deed, rng),
            Topology::Sentinel(redis) => harm_sentinel(redis, deed, rng),
        }
        deed
    }
}

fn harm_cluster(cluster: &RedisCluster, deed: Deed, rng: &mut Rng) {
    let owner = cluster.owner(STREAM);
    let nodes = cluster.nodes();
    match deed {
        Deed::HangingMaster => hang(&nodes[owner], rng),
        Deed::HangingReplica => hang(&nodes[cluster.partner(any_master(cluster, rng))], rng),
        Deed::HangingSentinel => {}
        Deed::Pause => pause(&nodes[owner], rng),
        Deed::ClientKill => kill_clients(&nodes[rng.usize(..nodes.len())], rng),
        Deed::Failover => {
            cluster.fail_over(owner).unwrap();
            cluster.rejoin(owner).unwrap();
        }
        Deed::Deposition => cluster.depose(owner).unwrap(),
        Deed::Handover => cluster.hand_over(owner).unwrap(),
        Deed::Move => {
            let key = [STREAM, "socket.io#/#"][rng.usize(..2)];
            let from = cluster.owner(key);
            let to = loop {
                let to = any_master(cluster, rng);
                if to != from {
                    break to;
                }
            };
            cluster.move_slot(key, to).unwrap();
        }
    }
}

/// The place of a master. Each has a slot that is never moved.
fn any_master(cluster: &RedisCluster, rng: &mut Rng) -> usize {
    // The slots of these keys are in different thirds.
    cluster.owner(["a", "b", "c"][rng.usize(..3)])
}

fn harm_sentinel(redis: &RedisSentinel, deed: Deed, rng: &mut Rng) {
    let (master, servers) = (redis.master(), redis.servers());
    match deed {
        Deed::HangingMaster => hang(&servers[master], rng),
        Deed::HangingReplica => hang(&servers[1 - master], rng),
        Deed::HangingSentinel => hang(&redis.sentinels()[rng.usize(..3)], rng),
        Deed::Pause => pause(&servers[master], rng),
        Deed::ClientKill => kill_clients(&servers[rng.usize(..2)], rng),
        Deed::Failover => {
            redis.fail_over().unwrap();
            redis.rejoin(master).unwrap();
        }
        Deed::Deposition => redis.depose().unwrap(),
        Deed::Handover => redis.hand_over().unwrap(),
        Deed::Move => {}
    }
}

fn hang(server: &RedisServer, rng: &mut Rng) {
    server.pause().unwrap();
    sleep(Duration::from_millis(rng.u64(500..8_000)));
    server.resume().unwrap();
}

fn pause(server: &RedisServer, rng: &mut Rng) {
    let time = rng.u64(200..3_000);
    let kind = ["ALL", "WRITE"][rng.usize(..2)];
    server.command(&["CLIENT", "PAUSE", &time.to_string(), kind]);
    sleep(Duration::from_millis(time));
}

/// Several times, so that connections which have just been opened again are closed, too.
fn kill_clients(server: &RedisServer, rng: &mut Rng) {
    let kind = ["normal", "pubsub", "replica", "master"][rng.usize(..4)];
    for _ in 0..rng.u32(1..5) {
        server.command(&["CLIENT", "KILL", "TYPE", kind]);
        sleep(Duration::from_millis(rng.u64(..1_500)));
    }
}
