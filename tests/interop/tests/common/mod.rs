//! Named tests that share a cluster, and how the servers in it are set up.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod cell;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cell::RoomChannels;
use libtest_mimic::{Failed, Trial};
use sio_streams_driver::cluster::Cluster;
use sio_streams_driver::sio_streams_core::{Config, Dialect, SubscriptionMode};
use sio_streams_fred::FredBackend;
use sio_streams_interop::{
    Error, Generation, OurServer, PATIENCE, PeerConfig, RedisClient, Result, backend, quick,
};
use sio_streams_testkit::{RedisServer, Reply};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

pub(crate) const NAMESPACES: [&str; 2] = ["/", "/chat"];

/// A kind of Node peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) generation: Generation,
    pub(crate) client: RedisClient,
    pub(crate) variant: Variant,
}

/// An option that is not at its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    Default,
    /// 0.3: `useShardedPubSub`.
    ShardedPubSub,
    /// Classic: `publishOnSpecificResponseChannel`.
    SpecificResponses,
    /// Sharded: `subscriptionMode`.
    Static,
    /// Sharded: `subscriptionMode`.
    DynamicPrivate,
}

impl Kind {
    /// The options of a Node server, for a test that must not wait for default heartbeats.
    pub(crate) fn peer(self, url: &str) -> PeerConfig {
        let config = PeerConfig::new(self.generation, url).client(self.client).namespaces(&NAMESPACES);
        let config = match self.generation {
            Generation::V03 => config.adapter("blockTimeInMs", 1_000),
            _ => config.quick(),
        };
        match self.variant {
            Variant::Default => config,
            Variant::ShardedPubSub => config.adapter("useShardedPubSub", true),
            Variant::SpecificResponses => config.adapter("publishOnSpecificResponseChannel", true),
            Variant::Static => config.adapter("subscriptionMode", "static"),
            Variant::DynamicPrivate => config.adapter("subscriptionMode", "dynamic-private"),
        }
    }

    /// The same options for a server of ours.
    pub(crate) fn ours(self) -> Config {
        let dialect = match self.generation {
            Generation::V02 => Dialect::Streams02,
            Generation::V03 => Dialect::Streams03,
            Generation::Classic => Dialect::Classic,
            Generation::Sharded => Dialect::Sharded,
        };
        let subscription_mode = match self.variant {
            Variant::Static => SubscriptionMode::Static,
            Variant::DynamicPrivate => SubscriptionMode::DynamicPrivate,
            _ => SubscriptionMode::Dynamic,
        };
        Config {
            use_sharded_pub_sub: self.variant == Variant::ShardedPubSub,
            publish_on_specific_response_channel: self.variant == Variant::SpecificResponses,
            subscription_mode,
            ..quick(dialect)
        }
    }

    /// The channels of rooms, if they have any.
    pub(crate) fn room_channels<'a>(
        self,
        redis: &'a [RedisServer],
        prefix: &'a str,
    ) -> Option<RoomChannels<'a>> {
        let dynamic = self.generation == Generation::Sharded && self.variant != Variant::Static;
        let private = self.variant == Variant::DynamicPrivate;
        dynamic.then_some(RoomChannels { redis, prefix, private })
    }
}

/// One of our backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ours {
    RedisRs,
    Fred,
}

impl Ours {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Ours::RedisRs => "redis-rs",
            Ours::Fred => "fred",
        }
    }

    /// Starts a server of ours in a Redis Cluster.
    pub(crate) async fn start_in_cluster(
        self,
        config: Config,
        url: &str,
        namespaces: &[&str],
    ) -> Result<OurServer> {
        match self {
            Ours::RedisRs => OurServer::start_on(config, Cluster::new(backend(url)?), namespaces).await,
            Ours::Fred => {
                let backend = FredBackend::builder(url).heartbeat(Duration::from_secs(5), PATIENCE);
                let backend = backend.build().map_err(Error::ours)?;
                OurServer::start_on(config, Cluster::new(backend), namespaces).await
            }
        }
    }
}

/// The fields of the entries that a stream holds.
pub(crate) fn entries(redis: &RedisServer, stream: &str) -> Vec<HashMap<String, String>> {
    let text = |reply: &Reply| reply.as_str().unwrap_or_default().to_owned();
    let fields = |entry: &Reply| {
        let fields = entry.items()[1].items().chunks_exact(2);
        fields.map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
    };
    redis.command(&["XRANGE", stream, "-", "+"]).items().iter().map(fields).collect()
}

pub(crate) type Test<C> = Box<dyn for<'a> FnOnce(&'a C, String) -> Outcome<'a> + Send>;
pub(crate) type Outcome<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

type Starting<C> = Pin<Box<dyn Future<Output = Result<C>>>>;

/// Makes tests that share what `start` gives, which runs with the first of them.
pub(crate) struct Shared<C> {
    runtime: Arc<Runtime>,
    cell: Arc<OnceCell<C>>,
    start: Arc<dyn Fn() -> Starting<C> + Send + Sync>,
}

impl<C: Send + Sync + 'static> Shared<C> {
    pub(crate) fn new<F>(runtime: &Arc<Runtime>, start: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<C>> + 'static,
    {
        let start = Arc::new(move || -> Starting<C> { Box::pin(start()) });
        Shared { runtime: runtime.clone(), cell: Arc::default(), start }
    }

    /// A test of this name, which it is given as a word that no other test uses.
    pub(crate) fn trial(&self, name: String, test: Test<C>) -> Trial {
        let Shared { runtime, cell, start } = self;
        let (runtime, cell, start) = (runtime.clone(), cell.clone(), start.clone());
        Trial::test(name.clone(), move || {
            let outcome = runtime.block_on(async {
                let shared = cell.get_or_try_init(|| start()).await?;
                test(shared, name).await
            });
            outcome.map_err(|error| Failed::from(error.to_string()))
        })
    }
}

/// Runs the tests. Node takes a moment for each process: more at a time than this would only make
/// all of them slow.
pub(crate) fn run(trials: impl FnOnce(&Arc<Runtime>) -> Vec<Trial>) -> std::process::ExitCode {
    let mut arguments = libtest_mimic::Arguments::from_args();
    arguments.test_threads.get_or_insert(4);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let runtime = Arc::new(runtime);
    libtest_mimic::run(&arguments, trials(&runtime)).exit_code()
}
