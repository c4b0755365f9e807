//! In a Redis Cluster of three masters: every message between a Node server of the generation 0.3 and one of ours, with one stream and with
//! four, with plain and with sharded Pub/Sub, over both of Node's clients and both of our backends. One of the namespaces has a negative hash: what
//! Node publishes there with four streams, no Node server reads.

mod common;

use std::sync::Arc;

use common::cell::{Pair, cells};
use common::{Shared, run};
use libtest_mimic::Trial;
use sio_streams_driver::cluster::Cluster;
use sio_streams_driver::sio_streams_core::{Config, Dialect};
use sio_streams_fred::FredBackend;
use sio_streams_interop::{
    Error, Generation, Member, OurServer, Peer, PeerConfig, RedisClient, Result, quick,
};
use sio_streams_redis_rs::RedisBackend;
use sio_streams_testkit::RedisCluster;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

const NAMESPACES: [&str; 3] = ["/", "/chat", "/notifications"];

#[derive(Clone, Copy, Debug)]
struct Kind {
    client: RedisClient,
    streams: u32,
    sharded: bool,
}

impl Kind {
    fn all() -> impl Iterator<Item = Kind> {
        [RedisClient::Redis5, RedisClient::IoRedis].into_iter().flat_map(|client| {
            [1, 4].into_iter().flat_map(move |streams| {
                [false, true].into_iter().map(move |sharded| Kind { client, streams, sharded })
            })
        })
    }

    fn name(self) -> String {
        let (client, ours) = match self.client {
            RedisClient::IoRedis => ("ioredis@5", "fred"),
            _ => ("redis@5", "redis-rs"),
        };
        let sharded = if self.sharded { "/sharded" } else { "" };
        format!("0.3.1/{client}/{ours}/streams {}{sharded}", self.streams)
    }

    /// They all share a Redis Cluster.
    fn prefix(self) -> String {
        format!("{:?}-{}-{}", self.client, self.streams, self.sharded).to_lowercase()
    }

    fn peer(self, url: &str) -> PeerConfig {
        PeerConfig::new(Generation::V03, url)
            .cluster()
            .client(self.client)
            .namespaces(&NAMESPACES)
            .adapter("streamName", self.prefix())
            .adapter("channelPrefix", self.prefix())
            .adapter("streamCount", self.streams)
            .adapter("useShardedPubSub", self.sharded)
            .adapter("blockTimeInMs", 1_000)
    }

    async fn ours(self, url: &str) -> Result<OurServer> {
        let config = Config {
            stream_name: self.prefix().into(),
            channel_prefix: self.prefix().into(),
            stream_count: self.streams,
            use_sharded_pub_sub: self.sharded,
            ..quick(Dialect::Streams03)
        };
        match self.client {
            RedisClient::IoRedis => {
                let backend = FredBackend::new(url).map_err(Error::ours)?;
                OurServer::start_on(config, Cluster::new(backend), &NAMESPACES).await
            }
            _ => {
                let backend = RedisBackend::new(url).map_err(Error::ours)?;
                OurServer::start_on(config, Cluster::new(backend), &NAMESPACES).await
            }
        }
    }
}

/// A Node server and one of ours.
struct Two {
    node: Member,
    ours: Member,
}

impl Pair for Two {
    fn node(&self) -> &Member {
        &self.node
    }

    fn ours(&self) -> &Member {
        &self.ours
    }
}

type Redis = Arc<OnceCell<RedisCluster>>;

/// Without replicas: `redis` 5 subscribes at any server, but counts the subscribers of masters only, so that on a cluster with replicas a Node server
/// waits for too few answers, by chance.
async fn start(kind: Kind, redis: Redis) -> Result<Two> {
    let redis = redis.get_or_try_init(|| async {
        tokio::task::block_in_place(|| RedisCluster::start_without_replicas(3))
    });
    let url = redis.await?.url();
    let node = Member::from(Peer::start(kind.peer(&url)).await?);
    let ours = Member::from(kind.ours(&url).await?);
    for nsp in NAMESPACES {
        ours.wait_server_count(nsp, 2).await?;
        node.wait_server_count(nsp, 2).await?;
    }
    Ok(Two { node, ours })
}

fn trials(runtime: &Arc<Runtime>) -> Vec<Trial> {
    let redis = Redis::default();
    let mut trials = Vec::new();
    for kind in Kind::all() {
        let redis = redis.clone();
        let shared = Shared::new(runtime, move || start(kind, redis.clone()));
        trials.append(&mut cells(&kind.name(), &NAMESPACES, &[], &shared));
    }
    trials
}

fn main() -> std::process::ExitCode {
    run(trials)
}
