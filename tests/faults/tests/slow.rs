//! An application that takes no events: it slows down the reading of its own stream, and nothing
//! else. This test is alone in its process, because it measures memory.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]
#![allow(clippy::print_stderr, reason = "a test that fails shows what it printed")]

use sio_streams_driver::sio_streams_core::{BroadcastOptions, Config, Dialect, Packet};
use sio_streams_driver::{Error, Event, Options};
use sio_streams_faults::cluster::{stream_end, until};
use sio_streams_faults::memory::resident;
use sio_streams_faults::server::quick;
use sio_streams_faults::{Client, Cluster, RedisRs};
use sio_streams_testkit::RedisServer;

/// The number of messages, and the length of each: altogether far more than a node may hold.
const MESSAGES: usize = 1_500;
const LENGTH: usize = 30_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_application_slows_the_reading_of_its_stream_and_nothing_else() {
    let redis = RedisServer::start().unwrap();
    let Options { config, .. } = quick(Dialect::Streams03);
    let config = Config { max_len: 100_000, ..config };
    let options = Options { config, event_buffer: 64, ..quick(Dialect::Streams03) };
    let cluster = Cluster::<RedisRs>::start(&redis, &options, 2, None).await;
    let [a, slow] = &cluster.servers[..] else { unreachable!() };
    // Receives all of it, and keeps nothing.
    let (quick_one, mut events) =
        sio_streams_driver::start(options.clone(), RedisRs::backend(&redis.url(), options.timing.response))
            .unwrap();
    let quick_nsp = quick_one.open("/").await.unwrap();
    quick_nsp.add_socket("quick").await.unwrap();
    let counting = tokio::spawn(async move {
        let mut count = 0;
        while count < MESSAGES {
            count += usize::from(
                matches!(events.next().await, Some(Event::Broadcast(it)) if it.packet.data().as_json().is_some_and(|text| text.len() > LENGTH)),
            );
        }
    });

    slow.set_awake(false);
    let before = resident();
    let text = "x".repeat(LENGTH);
    for _ in 0..MESSAGES {
        let packet = Packet::event("long", &(&text,)).unwrap();
        until("it is sent", async || {
            match a.nsp().broadcast(packet.clone(), BroadcastOptions::all()).await {
                // This application takes its events; its turn may only come late.
                Err(Error::EventsNotTaken(_)) => false,
                sent => sent.unwrap().is_some(),
            }
        })
        .await;
    }
    // The others are not slowed down by it.
    counting.await.unwrap();
    let lag = async || slow.node().lags().await.unwrap()[0].1;
    let last = stream_end(&redis).0;
    until("the lag shows", async || {
        let lag = lag().await;
        lag.waiting > 0 && lag.position.is_some_and(|position| position.ms < last.ms)
    })
    .await;
    let held = lag().await;
    assert!(held.waiting <= 101, "a batch, and the entry that it overlaps: {held:?}");
    if let (Some(before), Some(after)) = (before, resident()) {
        let grown = after.saturating_sub(before);
        eprintln!(
            "{held:?}; memory grew by {} KiB while {} KiB were sent",
            grown / 1_024,
            MESSAGES * LENGTH / 1_024
        );
        assert!(grown < MESSAGES * LENGTH / 2, "it grew by {grown} bytes");
    }
    // It still speaks.
    let packet = Packet::event("still", &("here",)).unwrap();
    slow.nsp().broadcast(packet, BroadcastOptions::all()).await.unwrap();

    slow.set_awake(true);
    cluster.settle().await;
    cluster.nothing_is_lost().await;
    until("it has caught up", async || {
        let lag = lag().await;
        lag.waiting == 0 && lag.unread == Some(0)
    })
    .await;
}
