//! Tests of the watch over a connection. Callers that drop it do not delay the end of a dead
//! connection.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use core::time::Duration;

use sio_streams_driver::backend::Connection as _;
use sio_streams_driver::backend::PushSender;
use sio_streams_driver::wire::{Heartbeat, RespWire, TaskWire, Wire, WireConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, timeout};

const HEARTBEAT: Heartbeat = Heartbeat { interval: Duration::from_secs(5), patience: Duration::from_secs(5) };

fn direct() -> (RespWire<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(1 << 16);
    (RespWire::new(ours), theirs)
}

/// Answers each PING after the given time. Returns the number of PINGs when the connection ends.
async fn answer(mut server: DuplexStream, after: Duration) -> usize {
    let mut pings = 0;
    let mut buffer = [0; b"*1\r\n$4\r\nPING\r\n".len()];
    while server.read_exact(&mut buffer).await.is_ok() {
        pings += 1;
        tokio::time::sleep(after).await;
        if server.write_all(b"+PONG\r\n").await.is_err() {
            break;
        }
    }
    pings
}

/// Watches a connection for `time`, but never for longer than `at_once` without dropping the watch.
/// Returns the time at which the link was lost, if it was.
async fn watched<W: Wire>(wire: W, at_once: Duration, time: Duration) -> Option<Duration> {
    let mut connection = WireConnection::new(wire, HEARTBEAT);
    let began = Instant::now();
    while began.elapsed() < time {
        if timeout(at_once, connection.lost()).await.is_ok() {
            return Some(began.elapsed());
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn whoever_drops_the_watch_does_not_put_off_the_end() {
    let end = HEARTBEAT.interval + HEARTBEAT.patience;
    for at_once in [5, 700, 1_000, 4_999, 60_000].map(Duration::from_millis) {
        let (wire, _silent) = direct();
        let lost = watched(wire, at_once, 3 * end).await.expect("it is noticed");
        assert!(end <= lost && lost <= end + Duration::from_secs(1), "{lost:?} by {at_once:?}");
        let (wire, _silent) = direct();
        let (pushes, _messages) = PushSender::channel(10);
        let wire = TaskWire::spawn(wire.into_subscriber(pushes.clone()), pushes);
        let lost = watched(wire, at_once, 3 * end).await.expect("it is noticed");
        assert!(end <= lost && lost <= end + Duration::from_secs(1), "{lost:?} by {at_once:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_while_nobody_waits_is_one() {
    // This holds however often the watch is dropped, and however late the answer comes within its
    // time limit.
    for at_once in [10, 700, 1_000, 60_000].map(Duration::from_millis) {
        for after in [0, 5, 500, 1_500, 4_500].map(Duration::from_millis) {
            let (wire, server) = direct();
            let pings = tokio::spawn(answer(server, after));
            let time = Duration::from_secs(100);
            assert_eq!(watched(wire, at_once, time).await, None, "{at_once:?}, {after:?}");
            // A PING is not sent again each time that the watch is dropped.
            let pings = pings.await.unwrap();
            assert!((5..=25).contains(&pings), "{pings}: {at_once:?}, {after:?}");
        }
    }
}
