//! Calls keep their order.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use sio_streams_core::{
    BroadcastOptions, CallError, Command, CommandError, Config, Lane, Limits, LinkState, Packet, Reply,
};
use sio_streams_driver::backend::{Backend, ConnectError, Connection, PushSender, Timing};
use sio_streams_driver::memory::{MemoryBackend, MemoryConnection, MemoryRedis};
use sio_streams_driver::{Error, Event, Options};

/// More than a task may do in one go, and more than are taken in one go.
const COUNT: u32 = 3_000;

#[tokio::test]
async fn broadcasts_are_published_in_the_order_of_the_calls() {
    let (node, mut events) =
        sio_streams_driver::start(Config::default(), MemoryRedis::new().backend()).unwrap();
    let nsp = node.open("/").await.unwrap();
    nsp.add_socket("socket").await.unwrap();
    let numbers = tokio::spawn(async move {
        let mut numbers = Vec::new();
        while numbers.len() < COUNT as usize {
            if let Some(Event::Broadcast(broadcast)) = events.next().await {
                numbers.push(broadcast.packet.data().decode::<(String, u32)>().unwrap().1);
            }
        }
        numbers
    });
    let calls: Vec<_> = (0..COUNT)
        .map(|number| {
            let packet = Packet::event("number", &(number,)).unwrap();
            nsp.broadcast(packet, BroadcastOptions::all())
        })
        .collect();
    for call in calls.into_iter().rev() {
        call.await.unwrap();
    }
    assert_eq!(numbers.await.unwrap(), Vec::from_iter(0..COUNT));
}

/// Whoever never waits doesn't let the node take what is said: it is not kept without bound.
#[tokio::test]
async fn what_is_beyond_the_limits_is_refused_before_the_node_comes_to_its_turn() {
    let limits = Limits { in_flight: 10, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let (node, _events) = sio_streams_driver::start(config, MemoryRedis::new().backend()).unwrap();
    let nsp = node.open("/").await.unwrap();
    let say = || nsp.broadcast(Packet::event("hello", &()).unwrap(), BroadcastOptions::all());
    let calls: Vec<_> = (0..10).map(|_| say()).collect();
    let mut beyond = core::pin::pin!(say());
    let fate = beyond.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Err(Error::Call(CallError::Full { limit: 10, .. }))) = fate else { panic!("{fate:?}") };
    for call in calls {
        call.await.unwrap();
    }
    say().await.unwrap();
}

/// Options of a node that connects again without a pause.
fn back_at_once() -> Options {
    let timing = Timing { backoff_min: Duration::ZERO, backoff_max: Duration::ZERO, ..Timing::default() };
    Options { timing, ..Options::default() }
}

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A call that is to be made at the moment at which something is lost.
type Next = Arc<Mutex<Option<Call>>>;

/// A backend whose writer loses what it is given, before the server has seen it, when there is a
/// call to be made at that moment. It is there again at once.
struct Flaky {
    inner: MemoryBackend,
    next: Next,
}

struct FlakyConnection {
    inner: MemoryConnection,
    next: Next,
}

impl Backend for Flaky {
    type Connection = FlakyConnection;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<FlakyConnection, ConnectError> {
        let inner = self.inner.connect(lane, pushes).await?;
        let next = if *lane == Lane::Writer { self.next.clone() } else { Arc::default() };
        Ok(FlakyConnection { inner, next })
    }
}

impl Connection for FlakyConnection {
    async fn execute(&mut self, commands: Vec<Command>) -> Vec<Result<Reply, CommandError>> {
        if let Some(mut call) = self.next.lock().unwrap().take() {
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            // It is in line now. Somebody has to wait for it.
            drop(tokio::spawn(call));
            return commands.iter().map(|_| Err(CommandError::Lost("lost on the way".into()))).collect();
        }
        self.inner.execute(commands).await
    }

    async fn lost(&mut self) -> String {
        self.inner.lost().await
    }
}

/// What is handed out before the loss is known must not go out on the next connection, before what
/// was lost is sent again: receivers would take that for a repetition.
#[tokio::test]
async fn nothing_overtakes_what_was_lost() {
    let redis = MemoryRedis::new();
    let next = Next::default();
    let backend = Flaky { inner: redis.backend(), next: next.clone() };
    let (node, _events) = sio_streams_driver::start(back_at_once(), backend).unwrap();
    let (listener, mut heard) = sio_streams_driver::start(Config::default(), redis.backend()).unwrap();
    let nsp = node.open("/").await.unwrap();
    listener.open("/").await.unwrap();
    let say = |number: u32| {
        let nsp = nsp.clone();
        let packet = Packet::event("number", &(number,)).unwrap();
        async move {
            nsp.broadcast(packet, BroadcastOptions::all()).await.unwrap();
        }
    };
    for round in 0..30 {
        *next.lock().unwrap() = Some(Box::pin(say(2 * round + 1)));
        say(2 * round).await;
        for expected in [2 * round, 2 * round + 1] {
            let number = loop {
                match heard.next().await {
                    Some(Event::Broadcast(it)) => {
                        break it.packet.data().decode::<(String, u32)>().unwrap().1;
                    }
                    Some(Event::Repeated { .. }) => panic!("{expected} was overtaken, and is lost"),
                    _ => {}
                }
            };
            assert_eq!(number, expected);
        }
    }
}

/// A backend whose reader loses its connection whenever it has read something.
struct Brief(MemoryBackend);

struct BriefConnection {
    inner: MemoryConnection,
    has_read: bool,
}

impl Backend for Brief {
    type Connection = BriefConnection;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<BriefConnection, ConnectError> {
        Ok(BriefConnection { inner: self.0.connect(lane, pushes).await?, has_read: false })
    }
}

impl Connection for BriefConnection {
    async fn execute(&mut self, commands: Vec<Command>) -> Vec<Result<Reply, CommandError>> {
        let results = self.inner.execute(commands).await;
        self.has_read |= results.iter().any(|it| matches!(it, Ok(Reply::Entries(some)) if !some.is_empty()));
        results
    }

    async fn lost(&mut self) -> String {
        match self.has_read {
            true => "it has read something".into(),
            false => self.inner.lost().await,
        }
    }
}

#[tokio::test]
async fn what_was_read_is_told_before_the_loss_of_the_link() {
    let redis = MemoryRedis::new();
    let (listener, mut heard) = sio_streams_driver::start(back_at_once(), Brief(redis.backend())).unwrap();
    listener.open("/").await.unwrap();
    let (node, _events) = sio_streams_driver::start(Config::default(), redis.backend()).unwrap();
    let nsp = node.open("/").await.unwrap();
    for _ in 0..30 {
        nsp.broadcast(Packet::event("hello", &()).unwrap(), BroadcastOptions::all()).await.unwrap();
        let mut told = false;
        loop {
            match heard.next().await.unwrap() {
                Event::Broadcast(_) => told = true,
                Event::Link { link: LinkState::Down { .. }, .. } => {
                    break assert!(told, "the loss came first");
                }
                _ => {}
            }
        }
    }
}
