//! In a Redis Cluster of three masters: every message between a Node server and one of ours. The
//! generation 0.3 with one stream and with four, with plain and with sharded Pub/Sub; and the
//! sharded adapter in each of its modes. Over both of Node's clients and both of our backends. One
//! of the namespaces has a negative hash: what Node publishes there with four streams, no Node
//! server reads.

mod common;

use std::sync::Arc;

use common::cell::{Pair, RoomChannels, cells};
use common::{Kind, Ours, Shared, Variant, run};
use libtest_mimic::Trial;
use sio_streams_driver::sio_streams_core::Config;
use sio_streams_interop::{Generation, Member, OurServer, Peer, PeerConfig, RedisClient, Result};
use sio_streams_testkit::RedisCluster;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

static NAMESPACES: [&str; 3] = ["/", "/chat", "/notifications"];

/// A Node server and one of ours, and what they have set.
#[derive(Clone, Copy, Debug)]
struct Setup {
    node: Kind,
    ours: Ours,
    streams: u32,
}

impl Setup {
    fn all() -> Vec<Setup> {
        let redis4 = ("redis@4", RedisClient::Redis4);
        let redis5 = ("redis@5", RedisClient::Redis5);
        let ioredis = ("ioredis@5", RedisClient::IoRedis);
        let setup = |(name, client), generation, variant, ours, streams| {
            let node = Kind { name, generation, client, variant };
            Setup { node, ours, streams }
        };
        let mut setups = Vec::new();
        for (client, ours) in [(redis5, Ours::RedisRs), (ioredis, Ours::Fred)] {
            for streams in [1, 4] {
                for variant in [Variant::Default, Variant::ShardedPubSub] {
                    setups.push(setup(client, Generation::V03, variant, ours, streams));
                }
            }
        }
        let sharded = [
            (redis4, Ours::RedisRs),
            (redis5, Ours::RedisRs),
            (redis5, Ours::Fred),
            (ioredis, Ours::RedisRs),
            (ioredis, Ours::Fred),
        ];
        for (client, ours) in sharded {
            for variant in [Variant::Static, Variant::Default, Variant::DynamicPrivate] {
                setups.push(setup(client, Generation::Sharded, variant, ours, 1));
            }
        }
        setups
    }

    fn name(self) -> String {
        let (client, ours) = (self.node.name, self.ours.name());
        match (self.node.generation, self.node.variant) {
            (Generation::Sharded, Variant::Static) => format!("sharded/{client}/{ours}/static"),
            (Generation::Sharded, Variant::DynamicPrivate) => format!("sharded/{client}/{ours}/private"),
            (Generation::Sharded, _) => format!("sharded/{client}/{ours}/dynamic"),
            (_, Variant::ShardedPubSub) => format!("0.3.1/{client}/{ours}/streams {}/sharded", self.streams),
            _ => format!("0.3.1/{client}/{ours}/streams {}", self.streams),
        }
    }

    /// They all share a Redis Cluster.
    fn prefix(self) -> String {
        self.name().replace([' ', '/'], "-")
    }

    /// The last of them differs from the others only where there are streams.
    fn namespaces(self) -> &'static [&'static str] {
        match self.node.generation {
            Generation::Sharded => &NAMESPACES[..2],
            _ => &NAMESPACES,
        }
    }

    fn peer(self, url: &str) -> PeerConfig {
        let config = self.node.peer(url).cluster().namespaces(self.namespaces());
        let config = config.adapter("channelPrefix", self.prefix());
        match self.node.generation {
            Generation::Sharded => config,
            _ => config.adapter("streamName", self.prefix()).adapter("streamCount", self.streams),
        }
    }

    async fn ours(self, url: &str) -> Result<OurServer> {
        let config = Config {
            stream_name: self.prefix().into(),
            channel_prefix: self.prefix().into(),
            stream_count: self.streams,
            ..self.node.ours()
        };
        self.ours.start_in_cluster(config, url, self.namespaces()).await
    }
}

/// A Node server and one of ours.
struct Two {
    setup: Setup,
    prefix: String,
    redis: Redis,
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

    fn channels(&self) -> Option<RoomChannels<'_>> {
        self.setup.node.room_channels(self.redis.get()?.nodes(), &self.prefix)
    }
}

type Redis = Arc<OnceCell<RedisCluster>>;

/// Without replicas: `redis` 5 subscribes at any server, but counts the subscribers of masters
/// only, so that on a cluster with replicas a Node server waits for too few answers, by chance.
async fn start(setup: Setup, redis: Redis) -> Result<Two> {
    let started = redis.get_or_try_init(|| async {
        tokio::task::block_in_place(|| RedisCluster::start_without_replicas(3))
    });
    let url = started.await?.url();
    let node = Member::from(Peer::start(setup.peer(&url)).await?);
    let ours = Member::from(setup.ours(&url).await?);
    for nsp in setup.namespaces() {
        ours.wait_server_count(nsp, 2).await?;
        node.wait_server_count(nsp, 2).await?;
    }
    Ok(Two { setup, prefix: setup.prefix(), redis, node, ours })
}

fn trials(runtime: &Arc<Runtime>) -> Vec<Trial> {
    let redis = Redis::default();
    let mut trials = Vec::new();
    for setup in Setup::all() {
        let redis = redis.clone();
        let shared = Shared::new(runtime, move || start(setup, redis.clone()));
        trials.append(&mut cells(&setup.name(), setup.namespaces(), &[], &shared));
    }
    trials
}

fn main() -> std::process::ExitCode {
    run(trials)
}
