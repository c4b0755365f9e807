//! The common parts of these tests. Nothing here waits for a duration; the bound only ends a test
//! that hangs.

use core::fmt::Debug;
use core::time::Duration;

use sio_streams_core::{ByteString, Bytes, Command, CommandError, Config, EntryId, Fields, Lane, Reply};
use sio_streams_driver::Options;
use sio_streams_driver::backend::{Connection as _, Timing};
use sio_streams_testkit::RedisServer;
use tokio::sync::mpsc;

use crate::{Backend, Connection};

pub(crate) type Outcome = Result<Reply, CommandError>;
pub(crate) type Messages = mpsc::UnboundedReceiver<(ByteString, Bytes)>;

pub(crate) const STREAM: &str = "socket.io";

pub(crate) const BOUND: Duration = Duration::from_secs(120);

/// The time limit for a case of the suite, which may have many steps.
pub(crate) const CASE: Duration = Duration::from_secs(300);

/// A backend for nodes that does not take silence for the end of a link: on a busy machine anybody
/// may be silent for seconds.
pub(crate) fn steady(url: &str) -> Backend {
    Backend::builder(url).heartbeat(Duration::from_secs(5), BOUND).build().unwrap()
}

/// The options of such a node. It gives no message up, either, before the test does.
pub(crate) fn options(mut config: Config) -> Options {
    config.limits.in_flight_for = 5 * BOUND;
    let timing = Timing { response: BOUND, connect: BOUND, ..Timing::default() };
    Options { timing, ..Options::from(config) }
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(BOUND, future).await.expect("within two minutes")
}

/// Asks again until it is so.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub(crate) fn reader() -> Lane {
    Lane::Reader(STREAM.into())
}

/// A connection whose messages nobody wants.
pub(crate) async fn open(url: &str, lane: Lane) -> Connection {
    within(Backend::new(url).unwrap().open(&lane, |_, _| {})).await.unwrap()
}

/// A subscriber with its messages.
pub(crate) async fn subscriber(url: &str) -> (Connection, Messages) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let backend = Backend::new(url).unwrap();
    let on_push = move |channel, payload| drop(sender.send((channel, payload)));
    (within(backend.open(&Lane::Subscriber, on_push)).await.unwrap(), receiver)
}

/// Why it can't connect.
pub(crate) async fn refusal(backend: &Backend, lane: Lane) -> String {
    within(backend.open(&lane, |_, _| {})).await.expect_err("no connection").to_string()
}

pub(crate) async fn run(connection: &mut Connection, command: Command) -> Outcome {
    let mut results = within(connection.execute(vec![command])).await;
    assert_eq!(results.len(), 1);
    results.remove(0)
}

pub(crate) fn xadd(fields: &[(&str, &str)]) -> Command {
    xadd_to(STREAM, fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
}

pub(crate) fn xadd_to(stream: &str, fields: Fields) -> Command {
    Command::XAdd { stream: stream.into(), max_len: 10_000, fields: fields.into() }
}

pub(crate) fn xread(after: EntryId, block: Duration) -> Command {
    Command::XRead { stream: STREAM.into(), after, count: 100, block }
}

pub(crate) fn publish(channel: &str, payload: impl Into<Bytes>, sharded: bool) -> Command {
    Command::Publish { channel: channel.into(), payload: payload.into(), sharded }
}

pub(crate) fn subscribe(channels: &[&str], sharded: bool) -> Command {
    Command::Subscribe { channels: channels.iter().map(|&channel| channel.into()).collect(), sharded }
}

pub(crate) fn unsubscribe(channels: &[&str], sharded: bool) -> Command {
    Command::Unsubscribe { channels: channels.iter().map(|&channel| channel.into()).collect(), sharded }
}

pub(crate) fn added(outcome: Outcome) -> EntryId {
    match outcome {
        Ok(Reply::Added(id)) => id,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn code<T: Debug>(result: Result<T, CommandError>) -> String {
    match result {
        Err(CommandError::Server { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

/// Waits until a client is blocked in the server.
pub(crate) async fn until_blocked(redis: &RedisServer) {
    until(|| {
        let info = redis.command(&["INFO", "clients"]);
        info.as_str().is_some_and(|text| text.contains("blocked_clients:1\r\n"))
    })
    .await;
}
