//! A backend that panics, hangs, or is given times without an end.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sio_streams_core::{
    BroadcastOptions, Command, CommandError, Config, ConfigError, Dialect, Lane, LinkState, Packet, Recovery,
    Reply,
};
use sio_streams_driver::backend::{Backend, ConnectError, Connection, PushSender, Timing};
use sio_streams_driver::memory::{MemoryBackend, MemoryConnection, MemoryRedis};
use sio_streams_driver::{Error, Event, Events, Options, StartError};
use tokio::time::timeout;

const BOUND: Duration = Duration::from_secs(60);

/// Where the backend panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    Connect,
    Execute,
    Lost,
    Drop,
}

/// The points at which the backend panics, once for each time that they are listed. It panics while
/// it holds the lock, which is poisoned from then on.
type Plan = Arc<Mutex<Vec<(Lane, Point)>>>;

fn strike(plan: &Plan, lane: &Lane, point: Point) {
    let mut left = plan.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(at) = left.iter().position(|planned| *planned == (lane.clone(), point)) {
        left.remove(at);
        panic!("so it\nwas planned");
    }
}

struct Panicky {
    inner: MemoryBackend,
    plan: Plan,
}

struct PanickyConnection {
    inner: MemoryConnection,
    lane: Lane,
    plan: Plan,
}

impl Backend for Panicky {
    type Connection = PanickyConnection;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<PanickyConnection, ConnectError> {
        strike(&self.plan, lane, Point::Connect);
        let inner = self.inner.connect(lane, pushes).await?;
        Ok(PanickyConnection { inner, lane: lane.clone(), plan: Arc::clone(&self.plan) })
    }
}

impl Connection for PanickyConnection {
    async fn execute(&mut self, commands: Vec<Command>) -> Vec<Result<Reply, CommandError>> {
        strike(&self.plan, &self.lane, Point::Execute);
        self.inner.execute(commands).await
    }

    async fn lost(&mut self) -> String {
        strike(&self.plan, &self.lane, Point::Lost);
        self.inner.lost().await
    }
}

impl Drop for PanickyConnection {
    fn drop(&mut self) {
        strike(&self.plan, &self.lane, Point::Drop);
    }
}

fn packet(number: u32) -> Packet {
    Packet::event("n", &(number,)).unwrap()
}

/// Waits for broadcasts with these numbers, in order; what was told of links until then.
async fn hears(events: &mut Events, numbers: impl IntoIterator<Item = u32>) -> Vec<(Lane, LinkState)> {
    let mut links = Vec::new();
    for number in numbers {
        loop {
            match timeout(BOUND, events.next()).await.unwrap().unwrap() {
                Event::Broadcast(it) => {
                    assert_eq!(it.packet.data().decode::<(String, u32)>().unwrap().1, number);
                    break;
                }
                Event::Link { lane, link } => links.push((lane, link)),
                _ => {}
            }
        }
    }
    links
}

#[tokio::test]
async fn a_panic_is_a_lost_link_that_is_told_and_everything_works_again() {
    for dialect in [Dialect::Streams02, Dialect::Streams03, Dialect::Sharded, Dialect::Classic] {
        let streams = matches!(dialect, Dialect::Streams02 | Dialect::Streams03);
        let mut lanes = vec![Lane::Writer];
        lanes.extend(streams.then(|| Lane::Reader("socket.io".into())));
        lanes.extend((dialect != Dialect::Streams02).then_some(Lane::Subscriber));
        for lane in &lanes {
            for point in [Point::Connect, Point::Execute, Point::Lost, Point::Drop] {
                let case = format!("{dialect:?} {lane} {point:?}");
                let redis = MemoryRedis::new();
                let plan = Plan::default();
                let inner = redis.backend();
                let backend = Panicky { inner: inner.clone(), plan: Arc::clone(&plan) };
                let timing = Timing { backoff_max: Duration::from_millis(50), ..Timing::default() };
                let config = Config { dialect, ..Config::default() };
                let options = Options { timing, ..Options::from(config) };
                let (node, mut events) = sio_streams_driver::start(options.clone(), backend).unwrap();
                let (other, mut heard) = sio_streams_driver::start(options, redis.backend()).unwrap();
                let here = timeout(BOUND, node.open("/")).await.expect(&case).unwrap();
                let there = timeout(BOUND, other.open("/")).await.expect(&case).unwrap();
                here.add_socket("a").await.unwrap();
                there.add_socket("b").await.unwrap();
                // Once, and again when it has come back from that.
                plan.lock().unwrap().extend([(lane.clone(), point), (lane.clone(), point)]);
                inner.cut_lane(lane);
                inner.restore();
                let mut lost = 0;
                let mut number = 0;
                // Every message has a fate. The node is there again if it hears what is said when
                // its links are up.
                let mut up = BTreeMap::from([(lane.clone(), true)]);
                while lost == 0 || !up[lane] || !plan.lock().unwrap_or_else(|it| it.into_inner()).is_empty() {
                    number += 1;
                    if point == Point::Drop && up[lane] {
                        inner.cut_lane(lane);
                        inner.restore();
                    }
                    let fate = timeout(BOUND, here.broadcast(packet(number), BroadcastOptions::all())).await;
                    let fate = fate.unwrap_or_else(|_| panic!("{case}: a message without a fate"));
                    assert!(matches!(fate, Ok(_) | Err(Error::Command(_))), "{case}: {fate:?}");
                    while let Some(event) = events.try_next() {
                        if let Event::Link { lane, link } = event {
                            lost += u32::from(link.to_string().contains("panicked: so it was planned"));
                            up.insert(lane, link.is_up());
                        }
                    }
                    tokio::task::yield_now().await;
                }
                // Both ways. Without streams, what is said before the others listen passes them by.
                for number in 1_000_000.. {
                    timeout(BOUND, there.broadcast(packet(number), BroadcastOptions::to("a")))
                        .await
                        .unwrap()
                        .unwrap();
                    timeout(BOUND, here.broadcast(packet(number), BroadcastOptions::to("b")))
                        .await
                        .unwrap()
                        .unwrap();
                    let is_it = |event: &Event| {
                        matches!(event, Event::Broadcast(it) if !it.sockets.is_empty()
                        && it.packet.data().decode::<(String, u32)>().unwrap().1 >= 1_000_000)
                    };
                    let (mut one, mut two) = (false, false);
                    for (events, both) in [(&mut events, &mut one), (&mut heard, &mut two)] {
                        // A turn or two of the node's is all it takes.
                        for _ in 0..100 {
                            while let Some(event) = events.try_next() {
                                *both |= is_it(&event);
                            }
                            tokio::task::yield_now().await;
                        }
                    }
                    if one && two {
                        break;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_node_whose_backend_always_panics_says_so_and_does_not_hang() {
    let plan = Plan::default();
    let backend = Panicky { inner: MemoryRedis::new().backend(), plan: Arc::clone(&plan) };
    let reader = Lane::Reader("socket.io".into());
    plan.lock().unwrap().extend(core::iter::repeat_n((reader, Point::Execute), 100_000));
    let options = Options { open_within: Duration::from_millis(300), ..Options::default() };
    let (node, _events) = sio_streams_driver::start(options, backend).unwrap();
    let refused = timeout(BOUND, node.open("/")).await.unwrap();
    let Err(Error::NotOpened { why, .. }) = &refused else { panic!("{refused:?}") };
    assert!(why.contains("planned"), "{why}");
    timeout(BOUND, node.close()).await.unwrap();
}

/// Opens connections that do nothing, ever.
struct Hanging;

impl Backend for Hanging {
    type Connection = MemoryConnection;

    async fn connect(&self, _: &Lane, _: PushSender) -> Result<MemoryConnection, ConnectError> {
        core::future::pending().await
    }
}

#[tokio::test]
async fn an_open_that_hangs_ends_and_says_why() {
    let timing = Timing { connect: Duration::from_millis(10), ..Timing::default() };
    let options = Options { timing, open_within: Duration::from_millis(500), ..Options::default() };
    let (node, _events) = sio_streams_driver::start(options, Hanging).unwrap();
    for _ in 0..3 {
        let refused = timeout(BOUND, node.open("/")).await.unwrap();
        let Err(Error::NotOpened { nsp, why, .. }) = &refused else { panic!("{refused:?}") };
        assert!(nsp == "/" && why.contains("too long"), "{why}");
    }
    timeout(BOUND, node.close()).await.unwrap();
}

#[tokio::test]
async fn no_time_is_too_long() {
    const EVER: Duration = Duration::MAX;
    for dialect in
        [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Sharded, Dialect::Classic]
    {
        let mut config = Config {
            dialect,
            block_time: EVER,
            heartbeat_interval: EVER - Duration::from_nanos(1),
            heartbeat_timeout: EVER,
            request_timeout: EVER,
            ..Config::default()
        };
        config.limits.in_flight_for = EVER;
        if matches!(dialect, Dialect::Streams02 | Dialect::Streams03) {
            config.local_delivery = sio_streams_core::LocalDelivery::StreamOrder;
            config.recovery = Some(Recovery {
                max_disconnection_duration: EVER,
                window_age: EVER,
                timeout: EVER,
                ..Recovery::default()
            });
        }
        let timing = Timing { response: EVER, connect: EVER, backoff_min: EVER, backoff_max: EVER };
        let options = Options { timing, open_within: EVER, ..Options::from(config) };
        let redis = MemoryRedis::new();
        let (node, mut events) = sio_streams_driver::start(options.clone(), redis.backend()).unwrap();
        let (other, _heard) = sio_streams_driver::start(options, redis.backend()).unwrap();
        let here = timeout(BOUND, node.open("/")).await.unwrap().unwrap();
        let there = timeout(BOUND, other.open("/")).await.unwrap().unwrap();
        here.add_socket("a").await.unwrap();
        for number in 0..3 {
            timeout(BOUND, there.broadcast(packet(number), BroadcastOptions::all())).await.unwrap().unwrap();
            hears(&mut events, [number]).await;
        }
        assert_eq!(timeout(BOUND, there.server_count()).await.unwrap().unwrap(), 2, "{dialect:?}");
        timeout(BOUND, node.close()).await.unwrap();
        timeout(BOUND, other.close()).await.unwrap();
    }
}

#[tokio::test]
async fn no_time_at_all_is_refused_by_name() {
    let refused = |options: Options| {
        sio_streams_driver::start(options, MemoryRedis::new().backend()).map(drop).unwrap_err().to_string()
    };
    let timing = |timing| Options { timing, ..Options::default() };
    let cases = [
        (timing(Timing { response: Duration::ZERO, ..Timing::default() }), "timing.response"),
        (timing(Timing { connect: Duration::ZERO, ..Timing::default() }), "timing.connect"),
        (Options { open_within: Duration::ZERO, ..Options::default() }, "open_within"),
        (Options::from(Config { block_time: Duration::ZERO, ..Config::default() }), "block_time"),
    ];
    for (options, name) in cases {
        let words = refused(options);
        assert!(words.contains(name), "{words}");
    }
    let _: fn(ConfigError) -> StartError = StartError::from;
}

/// What a node starts it also ends.
#[tokio::test]
async fn tasks_do_not_pile_up() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let redis = MemoryRedis::new();
    let before = metrics.num_alive_tasks();
    for dialect in [Dialect::Streams02, Dialect::Bridge, Dialect::Classic] {
        let config = Config { dialect, ..Config::default() };
        for _ in 0..50 {
            let (node, _events) = sio_streams_driver::start(config.clone(), redis.backend()).unwrap();
            node.open("/").await.unwrap();
            node.close().await;
        }
        assert!(metrics.num_alive_tasks() <= before + 2, "{dialect:?}: {}", metrics.num_alive_tasks());
        let (node, _events) = sio_streams_driver::start(config, redis.backend()).unwrap();
        let mut most = 0;
        for round in 0..500 {
            node.open("/").await.unwrap().close().await.unwrap();
            if round == 10 {
                most = metrics.num_alive_tasks() + 3;
            }
            assert!(most == 0 || metrics.num_alive_tasks() <= most, "{dialect:?} {round}");
        }
        node.close().await;
    }
    drop(redis);
}
