//! Runs the [`sio-streams-core`](sio_streams_core) engine on tokio, over any Redis client.
//!
//! [`start`] a node on a [backend](backend::Backend): `sio-streams-redis-rs` for a real server, or the [in-memory one](memory) for tests and
//! demonstrations. What comes back is a [`Node`], to ask things of the cluster, and [`Events`], to hear from it.
//!
//! ```
//! use sio_streams_core::{BroadcastOptions, Config, Packet};
//! use sio_streams_driver::{Event, memory::MemoryRedis};
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let redis = MemoryRedis::new();
//! let (one, _) = sio_streams_driver::start(Config::default(), redis.backend()).unwrap();
//! let (two, mut events) = sio_streams_driver::start(Config::default(), redis.backend()).unwrap();
//! let here = one.open("/chat").await.unwrap();
//! let there = two.open("/chat").await.unwrap();
//! there.add_socket("a client's socket id").await.unwrap();
//!
//! let packet = Packet::event("hello", &("world",)).unwrap();
//! here.broadcast(packet, BroadcastOptions::all()).await.unwrap();
//!
//! let Some(Event::Broadcast(broadcast)) = events.next().await else { unreachable!() };
//! assert_eq!(broadcast.packet.data.as_json(), Some(r#"["hello","world"]"#));
//! assert_eq!(broadcast.sockets, ["a client's socket id"]);
//! # });
//! ```
//!
//! # Taking events
//!
//! Take them steadily. While they are not taken, the streams are not read on: nothing is lost, but answers to requests that come by a stream
//! wait there too. So don't wait for a request in the very task that takes the events; spawn it.

mod acceptance;
pub mod backend;
mod caught;
pub mod cluster;
#[cfg(feature = "conformance")]
pub mod conformance;
mod emitter;
mod event;
mod first;
mod lane;
mod line;
mod links;
pub mod memory;
mod node;
mod observe;
mod opening;
mod pushes;
mod queue;
mod remote;
mod retry;
mod run;
pub mod sentinel;
mod unreadable;
pub mod wire;

use core::time::Duration;
use std::sync::Arc;

use sio_streams_core::{Config, ConfigError, Engine, Time};
use tokio::sync::mpsc;
use tokio_stream::Stream;

use backend::{Backend, Timing};
pub use emitter::Emitter;
pub use event::{AckReply, Broadcast, EmitReply, Event, SocketsReply};
pub use line::Publishing;
pub use node::{Acks, Error, Namespace, Node, Responses, Sockets};
pub use remote::Names;
pub use sio_streams_core;

/// How a node is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The engine's options.
    pub config: Config,
    /// How long to wait for Redis.
    pub timing: Timing,
    /// How many events wait for the application before the streams are not read on.
    pub event_buffer: usize,
    /// How many Pub/Sub messages may wait to be looked at. While there are so many, no more are read from the connection: Redis keeps them, within
    /// its `client-output-buffer-limit`, beyond which it closes the connection. Where the client crate can't be kept from reading, the
    /// connection is given up, and opened again when there is room. Either way [`Event::Link`] tells.
    pub push_buffer: usize,
    /// How many bytes of them: 16 MiB by default.
    pub push_buffer_bytes: usize,
    /// How long [`Node::open`] waits for Redis: a minute by default.
    pub open_within: Duration,
    /// What the node's name and its request ids are drawn from; `None`: the operating system's randomness.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            config: Config::default(),
            timing: Timing::default(),
            event_buffer: 1_024,
            push_buffer: 16_384,
            push_buffer_bytes: 16 << 20,
            open_within: Duration::from_secs(60),
            seed: None,
        }
    }
}

impl From<Config> for Options {
    fn from(config: Config) -> Self {
        Options { config, ..Options::default() }
    }
}

/// Why a node can't be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The options can't work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A time within which nothing can be done.
    #[error("{0} must not be zero")]
    NoTime(&'static str),
    /// The operating system gives no randomness.
    #[error("no randomness for the node's name: {0}; give a seed")]
    Randomness(getrandom::Error),
}

/// Starts a node. It has no connection and no namespace yet: [`Node::open`].
///
/// # Errors
///
/// If the options can't work.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn start<B: Backend>(options: impl Into<Options>, backend: B) -> Result<(Node, Events), StartError> {
    let mut options = options.into();
    options.event_buffer = options.event_buffer.max(1);
    let Timing { response, connect, .. } = options.timing;
    let times =
        [(response, "timing.response"), (connect, "timing.connect"), (options.open_within, "open_within")];
    if let Some((_, name)) = times.into_iter().find(|(time, _)| time.is_zero()) {
        return Err(StartError::NoTime(name));
    }
    let seed = match options.seed {
        Some(seed) => seed,
        None => getrandom::u64().map_err(StartError::Randomness)?,
    };
    let engine = Engine::new(options.config.clone(), seed, Time::ZERO)?;
    let (calls, inbox) = mpsc::unbounded_channel();
    let (teller, taker) = queue::queue(options.event_buffer);
    let uid = engine.uid().clone();
    let line = Arc::new(line::Line::new(options.config.limits));
    let weak = node::WeakNode { calls: calls.downgrade() };
    let patience = node::Patience {
        open: options.open_within,
        accept: options.config.recovery.as_ref().map_or(options.timing.response, |recovery| recovery.timeout),
        close: options.timing.response,
    };
    let run = run::Run::new(engine, options, weak, teller, Arc::clone(&line));
    tokio::spawn(run::Loop::new(run, backend, inbox).run());
    Ok((Node { calls, line, uid, patience }, Events { taker }))
}

/// What the application hears, in order. A stream.
#[derive(Debug)]
pub struct Events {
    taker: queue::Taker,
}

impl Events {
    /// The next event; nothing when the node is closed.
    pub async fn next(&mut self) -> Option<Event> {
        core::future::poll_fn(|context| self.taker.poll_next(context)).await
    }

    /// The next event, if one is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.taker.try_next()
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(
        mut self: core::pin::Pin<&mut Self>,
        cx: &mut core::task::Context<'_>,
    ) -> core::task::Poll<Option<Event>> {
        self.taker.poll_next(cx)
    }
}

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
