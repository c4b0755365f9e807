//! Opening and closing, in all states: the table in `docs/lifecycle.md`, cell by cell.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use core::pin::pin;
use core::task::{Context, Waker};
use core::time::Duration;

use sio_streams_core::{
    BroadcastOptions, CallError, CommandError, Config, Dialect, Lane, LocalDelivery, Packet, Payload,
    Recovery, Session,
};
use sio_streams_driver::backend::Timing;
use sio_streams_driver::memory::{MemoryBackend, MemoryRedis};
use sio_streams_driver::{Error, Event, Events, Namespace, Node, Options};
use tokio::time::timeout;

const BOUND: Duration = Duration::from_secs(120);

const DIALECTS: [Dialect; 5] =
    [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Sharded, Dialect::Classic];

async fn within<F: Future>(future: F) -> F::Output {
    timeout(BOUND, future).await.expect("within two minutes")
}

fn start(dialect: Dialect, backend: MemoryBackend) -> (Node, Events) {
    let timing = Timing { backoff_max: Duration::from_millis(50), ..Timing::default() };
    let options = Options { timing, ..Options::from(Config { dialect, ..Config::default() }) };
    sio_streams_driver::start(options, backend).unwrap()
}

/// Polls once: the call is made then.
fn begin<F: Future + Unpin>(future: &mut F) {
    assert!(pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

fn packet() -> Packet {
    Packet::event("hello", &()).unwrap()
}

async fn works(node: &Node, nsp: &Namespace) {
    within(nsp.broadcast(packet(), BroadcastOptions::all())).await.unwrap();
    assert!(nsp.name().starts_with('/') && nsp.node().uid() == node.uid());
}

fn is_unknown<T: core::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Call(CallError::UnknownNamespace(_)))), "{result:?}");
}

/// Lets the node have its turns.
async fn turns() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn opening_and_dropped_it_is_closed_and_can_be_opened_again() {
    for dialect in DIALECTS {
        let redis = MemoryRedis::new();
        let backend = redis.backend();
        let (node, _events) = start(dialect, backend.clone());
        backend.cut();
        for _ in 0..3 {
            timeout(Duration::from_millis(20), node.open("/")).await.unwrap_err();
            is_unknown(within(node.namespace("/").add_socket("a")).await);
        }
        let mut again = Box::pin(node.open("/"));
        begin(&mut again);
        backend.restore();
        let nsp = within(again).await.unwrap();
        works(&node, &nsp).await;
        // Nothing is left of the earlier attempts that could close it.
        turns().await;
        works(&node, &nsp).await;
        within(node.close()).await;
    }
}

#[tokio::test]
async fn opened_and_dropped_before_it_is_known_it_is_closed() {
    for dialect in DIALECTS {
        let (node, _events) = start(dialect, MemoryRedis::new().backend());
        let mut opening = Box::pin(node.open("/"));
        begin(&mut opening);
        // It is open, and nobody has been told.
        within(async {
            while node.namespace("/").broadcast(packet(), BroadcastOptions::all()).await.is_err() {}
        })
        .await;
        turns().await;
        drop(opening);
        let nsp = within(node.open("/")).await.unwrap();
        works(&node, &nsp).await;
        within(node.close()).await;
    }
}

#[tokio::test]
async fn opening_and_opened_by_another_the_first_wins() {
    for dialect in DIALECTS {
        let (node, _events) = start(dialect, MemoryRedis::new().backend());
        let (first, second) = within(async { tokio::join!(node.open("/"), node.open("/")) }).await;
        works(&node, &first.unwrap()).await;
        assert!(matches!(second, Err(Error::Call(CallError::NamespaceInUse(_)))), "{second:?}");
        // Also when it is open.
        let third = within(node.open("/")).await;
        assert!(matches!(third, Err(Error::Call(CallError::NamespaceInUse(_)))), "{third:?}");
        let wrong = within(node.open("chat")).await;
        assert!(matches!(wrong, Err(Error::Call(CallError::InvalidNamespace(_)))), "{wrong:?}");
        within(node.close()).await;
    }
}

#[tokio::test]
async fn opening_and_closed_by_another_the_opener_is_told() {
    for dialect in DIALECTS {
        let redis = MemoryRedis::new();
        let backend = redis.backend();
        let (node, _events) = start(dialect, backend.clone());
        backend.cut();
        let mut opening = Box::pin(node.open("/"));
        begin(&mut opening);
        let mut closing = Box::pin(node.namespace("/").close());
        begin(&mut closing);
        let told = within(opening).await;
        assert!(matches!(&told, Err(Error::ClosedMeanwhile(nsp)) if nsp == "/"), "{told:?}");
        backend.restore();
        within(closing).await.unwrap();
        works(&node, &within(node.open("/")).await.unwrap()).await;
        within(node.close()).await;
    }
}

#[tokio::test]
async fn opening_and_the_node_is_closed() {
    for dialect in DIALECTS {
        let redis = MemoryRedis::new();
        let backend = redis.backend();
        let timing = Timing { response: Duration::from_millis(100), ..Timing::default() };
        let options = Options { timing, ..Options::from(Config { dialect, ..Config::default() }) };
        let (node, _events) = sio_streams_driver::start(options, backend.clone()).unwrap();
        backend.cut();
        let mut opening = Box::pin(node.open("/"));
        begin(&mut opening);
        within(node.clone().close()).await;
        let told = within(opening).await;
        assert!(matches!(told, Err(Error::ClosedMeanwhile(_) | Error::Closed)), "{told:?}");
    }
}

#[tokio::test]
async fn closing_and_opened_again_the_second_waits_for_the_first() {
    for dialect in DIALECTS {
        let redis = MemoryRedis::new();
        let backend = redis.backend();
        let (node, _events) = start(dialect, backend.clone());
        for cut in [false, true] {
            let nsp = within(node.open("/")).await.unwrap();
            if cut {
                backend.cut();
            }
            let mut closing = Box::pin(nsp.clone().close());
            begin(&mut closing);
            let mut opening = Box::pin(node.open("/"));
            begin(&mut opening);
            // Another one, which nobody waits for in the end.
            {
                let mut dropped = Box::pin(node.open("/"));
                begin(&mut dropped);
            }
            backend.restore();
            within(closing).await.unwrap();
            let nsp = within(opening).await.unwrap();
            works(&node, &nsp).await;
            turns().await;
            works(&node, &nsp).await;
            within(nsp.close()).await.unwrap();
        }
        within(node.close()).await;
    }
}

#[tokio::test]
async fn closing_and_dropped_it_is_closed_all_the_same() {
    for dialect in DIALECTS {
        let (node, _events) = start(dialect, MemoryRedis::new().backend());
        let nsp = within(node.open("/")).await.unwrap();
        {
            let mut closing = Box::pin(nsp.clone().close());
            begin(&mut closing);
        }
        is_unknown(within(nsp.broadcast(packet(), BroadcastOptions::all())).await);
        works(&node, &within(node.open("/")).await.unwrap()).await;
        within(node.close()).await;
    }
}

#[tokio::test]
async fn closing_or_closed_nothing_else_is_done() {
    for dialect in DIALECTS {
        let (node, _events) = start(dialect, MemoryRedis::new().backend());
        let nsp = within(node.open("/")).await.unwrap();
        let mut closing = Box::pin(nsp.clone().close());
        begin(&mut closing);
        for _ in 0..2 {
            is_unknown(within(nsp.clone().close()).await);
            is_unknown(within(nsp.add_socket("a")).await);
            is_unknown(within(nsp.broadcast(packet(), BroadcastOptions::all())).await);
            is_unknown(within(nsp.fetch_sockets(BroadcastOptions::all())).await);
            is_unknown(within(nsp.server_count()).await);
            turns().await;
        }
        within(closing).await.unwrap();
        within(node.close()).await;
    }
}

#[tokio::test]
async fn a_closed_node_says_so_whatever_is_asked() {
    for dialect in DIALECTS {
        let (node, mut events) = start(dialect, MemoryRedis::new().backend());
        let nsp = within(node.open("/")).await.unwrap();
        // Twice at once.
        within(async { tokio::join!(node.clone().close(), node.clone().close()) }).await;
        within(async { while events.next().await.is_some() {} }).await;
        assert!(matches!(within(node.open("/")).await, Err(Error::Closed)));
        assert!(matches!(within(node.open("/other")).await, Err(Error::Closed)));
        assert!(matches!(within(nsp.broadcast(packet(), BroadcastOptions::all())).await, Err(Error::Closed)));
        assert!(matches!(within(nsp.fetch_sockets(BroadcastOptions::all())).await, Err(Error::Closed)));
        assert!(matches!(within(nsp.add_socket("a")).await, Err(Error::Closed)));
        assert!(matches!(within(node.lags()).await, Err(Error::Closed)));
        assert!(matches!(within(nsp.close()).await, Err(Error::Closed)));
        within(node.close()).await;
    }
}

#[tokio::test]
async fn what_was_said_is_published_before_the_node_leaves() {
    for dialect in DIALECTS {
        // By a call, or because its last handle is dropped.
        for by_call in [true, false] {
            let redis = MemoryRedis::new();
            let (other, mut heard) = start(dialect, redis.backend());
            let listener = within(other.open("/")).await.unwrap();
            within(listener.add_socket("a")).await.unwrap();
            let (node, _events) = start(dialect, redis.backend());
            let nsp = within(node.open("/")).await.unwrap();
            let fates: Vec<_> = (0..100).map(|_| nsp.broadcast(packet(), BroadcastOptions::all())).collect();
            drop(nsp);
            match by_call {
                true => within(node.close()).await,
                false => drop(node),
            }
            for fate in fates {
                within(fate).await.unwrap_or_else(|error| panic!("{dialect:?}: {error}"));
            }
            let mut count = 0;
            while count < 100 {
                count += u32::from(matches!(within(heard.next()).await, Some(Event::Broadcast(_))));
            }
        }
    }
}

#[tokio::test]
async fn what_could_not_be_published_before_the_end_is_lost_and_not_silent() {
    for dialect in DIALECTS {
        let backend = MemoryRedis::new().backend();
        let timing = Timing { response: Duration::from_millis(100), ..Timing::default() };
        let options = Options { timing, ..Options::from(Config { dialect, ..Config::default() }) };
        let (node, _events) = sio_streams_driver::start(options, backend.clone()).unwrap();
        let nsp = within(node.open("/")).await.unwrap();
        backend.cut();
        let fate = nsp.broadcast(packet(), BroadcastOptions::all());
        within(node.close()).await;
        let fate = within(fate).await;
        assert!(matches!(fate, Err(Error::Command(CommandError::Lost(_)))), "{dialect:?}: {fate:?}");
    }
}

fn recovering(timeout: Duration) -> Config {
    Config {
        local_delivery: LocalDelivery::StreamOrder,
        recovery: Some(Recovery { timeout, ..Recovery::default() }),
        ..Config::default()
    }
}

#[tokio::test]
async fn a_restore_awaited_by_who_takes_the_events_ends_and_the_session_is_not_lost() {
    let config = recovering(Duration::from_millis(200));
    let (node, mut events) = sio_streams_driver::start(config, MemoryRedis::new().backend()).unwrap();
    let nsp = within(node.open("/")).await.unwrap();
    within(nsp.add_socket("a")).await.unwrap();
    within(nsp.broadcast(packet(), BroadcastOptions::all())).await.unwrap();
    let Some(Event::Broadcast(broadcast)) = within(events.next()).await else { panic!() };
    let offset = broadcast.offset.unwrap().to_string();
    let session = Session {
        sid: "a".into(),
        pid: "secret".into(),
        rooms: vec!["a".into(), "room".into()],
        data: Payload::from_json("{}").unwrap(),
    };
    within(nsp.persist_session(session)).await.unwrap();
    within(nsp.remove_socket("a")).await.unwrap();
    for _ in 0..2 {
        let restored = within(nsp.restore_session("secret", &offset, |_| ())).await;
        assert!(matches!(restored, Err(Error::EventsNotTaken(_))), "{restored:?}");
        assert_eq!(within(nsp.rooms("a")).await.unwrap(), None, "it is not here");
    }
    // With somebody who takes them, it goes well, and is told.
    let taking = tokio::spawn(async move {
        let mut accepted = Vec::new();
        while let Some(event) = events.next().await {
            if let Event::Accepted { nsp, socket } = event {
                accepted.push((nsp, socket));
            }
        }
        accepted
    });
    let sid = within(nsp.restore_session("secret", &offset, |restored| restored.session.sid)).await.unwrap();
    assert_eq!(sid, "a");
    within(node.close()).await;
    assert_eq!(within(taking).await.unwrap(), [("/".into(), "a".into())], "those before were withdrawn");
}

/// The task that takes the events goes on.
#[tokio::test]
async fn a_panic_where_a_client_is_accepted_ends_that_call_alone() {
    let config = recovering(Duration::from_secs(60));
    let (node, mut events) = sio_streams_driver::start(config, MemoryRedis::new().backend()).unwrap();
    let nsp = within(node.open("/")).await.unwrap();
    let id = within(nsp.broadcast(packet(), BroadcastOptions::all())).await.unwrap().unwrap().to_string();
    let (sid, pid, rooms) = ("a".into(), "secret".into(), vec!["a".into()]);
    let session = Session { sid, pid, rooms, data: Payload::empty_object() };
    within(nsp.persist_session(session)).await.unwrap();
    let taking = tokio::spawn(async move {
        let (mut broadcasts, mut accepted) = (0, 0);
        while let Some(event) = events.next().await {
            broadcasts += usize::from(matches!(event, Event::Broadcast(_)));
            accepted += usize::from(matches!(event, Event::Accepted { .. }));
        }
        (broadcasts, accepted)
    });
    let restored = within(nsp.restore_session("secret", &id, |_| -> () { panic!("not this one") })).await;
    let why = restored.unwrap_err();
    assert!(matches!(why, Error::AcceptPanicked(_)) && why.to_string().contains("not this one"), "{why}");
    within(nsp.broadcast(packet(), BroadcastOptions::all())).await.unwrap();
    within(node.close()).await;
    assert_eq!(within(taking).await.unwrap(), (2, 0));
}

#[tokio::test]
async fn a_restore_that_is_dropped_is_accepted_in_its_place() {
    let config = recovering(Duration::from_secs(60));
    let redis = MemoryRedis::new();
    let (node, mut events) = sio_streams_driver::start(config, redis.backend()).unwrap();
    let nsp = within(node.open("/")).await.unwrap();
    within(nsp.add_socket("a")).await.unwrap();
    let id = within(nsp.broadcast(packet(), BroadcastOptions::all())).await.unwrap().unwrap().to_string();
    let session = Session {
        sid: "a".into(),
        pid: "secret".into(),
        rooms: vec!["a".into()],
        data: Payload::from_json("{}").unwrap(),
    };
    within(async { while !matches!(events.next().await, Some(Event::Broadcast(_))) {} }).await;
    within(nsp.persist_session(session)).await.unwrap();
    within(nsp.remove_socket("a")).await.unwrap();
    let (accepted, mut told) = tokio::sync::mpsc::unbounded_channel();
    {
        let mut restoring = Box::pin(nsp.restore_session("secret", &id, move |_| accepted.send(()).unwrap()));
        begin(&mut restoring);
        within(async { while nsp.rooms("a").await.unwrap().is_none() {} }).await;
    }
    turns().await;
    let taking = tokio::spawn(async move { while events.next().await.is_some() {} });
    within(told.recv()).await.unwrap();
    within(node.close()).await;
    within(taking).await.unwrap();
}

/// A node that only publishes, and holds its events without taking any, is not refused for what
/// concerns none of its clients.
#[tokio::test]
async fn who_takes_no_events_can_publish_while_nothing_concerns_it() {
    for dialect in DIALECTS {
        let redis = MemoryRedis::new();
        let (node, _events) = start(dialect, redis.backend());
        let nsp = within(node.open("/")).await.unwrap();
        for number in 0..3_000 {
            let fate = within(nsp.broadcast(packet(), BroadcastOptions::all())).await;
            fate.unwrap_or_else(|error| panic!("{dialect:?} {number}: {error}"));
        }
        within(node.close()).await;
    }
}

/// Links come and go while the application sleeps: it finds how they stand, and not each time.
#[tokio::test]
async fn news_of_links_does_not_pile_up() {
    let redis = MemoryRedis::new();
    let backend = redis.backend();
    let timing = Timing { backoff_min: Duration::ZERO, backoff_max: Duration::ZERO, ..Timing::default() };
    let config = Config { dialect: Dialect::Streams03, ..Config::default() };
    let options = Options { timing, event_buffer: 4, ..Options::from(config) };
    let (node, mut events) = sio_streams_driver::start(options, backend.clone()).unwrap();
    let nsp = within(node.open("/")).await.unwrap();
    within(nsp.add_socket("a")).await.unwrap();
    let (other, _heard) = start(Dialect::Streams03, redis.backend());
    let there = within(other.open("/")).await.unwrap();
    for _ in 0..20 {
        within(there.broadcast(packet(), BroadcastOptions::all())).await.unwrap();
    }
    for _ in 0..300 {
        backend.cut_lane(&Lane::Subscriber);
        turns().await;
        backend.restore();
        // It is back when it can be asked.
        within(async { while nsp.server_count().await.unwrap_or_default() != 2 {} }).await;
    }
    let (mut links, mut broadcasts) = (0, 0);
    within(async {
        while broadcasts < 20 {
            match events.next().await.unwrap() {
                Event::Broadcast(_) => broadcasts += 1,
                Event::Link { .. } => links += 1,
                _ => {}
            }
        }
    })
    .await;
    assert!((1..=8).contains(&links), "{links}");
    within(node.close()).await;
}

#[tokio::test]
async fn closing_a_namespace_ends_though_redis_is_away() {
    for dialect in DIALECTS {
        let redis = MemoryRedis::new();
        let backend = redis.backend();
        let response = Duration::from_millis(50);
        let timing = Timing { response, backoff_max: Duration::from_millis(50), ..Timing::default() };
        let mut config = Config { dialect, ..Config::default() };
        // What is left to say is given up later than any call of this test may take.
        config.limits.in_flight_for = 5 * BOUND;
        let options = Options { timing, ..Options::from(config) };
        let (node, _events) = sio_streams_driver::start(options, backend.clone()).unwrap();
        let nsp = within(node.open("/")).await.unwrap();
        backend.cut();
        within(nsp.close()).await.unwrap();
        is_unknown(within(node.namespace("/").add_socket("a")).await);
        // The others are told when Redis is back. Then the name is free.
        let mut again = Box::pin(node.open("/"));
        begin(&mut again);
        backend.restore();
        let nsp = within(again).await.unwrap();
        works(&node, &nsp).await;
        within(node.close()).await;
    }
}
