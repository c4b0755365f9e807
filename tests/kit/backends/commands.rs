//! Each command against a real server, over both versions of the protocol.

use core::time::Duration;

use super::common::*;
use sio_streams_core::{Command, CommandError, EntryId, Fields, Lane, Reply};
use sio_streams_driver::backend::Connection as _;
use sio_streams_testkit::RedisServer;

/// The server's URL, for each version of the protocol.
fn urls(redis: &RedisServer) -> [String; 2] {
    ["resp3", "resp2"].map(|protocol| format!("{}/?protocol={protocol}", redis.url()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_a_batch_leaves_the_others_alone() {
    let redis = RedisServer::start().unwrap();
    for url in urls(&redis) {
        redis.command(&["FLUSHALL"]);
        redis.command(&["SET", "text", "x"]);
        let mut writer = open(&url, Lane::Writer).await;
        let one = || [("a", "b")].into_iter().collect::<Fields>();
        let results = within(writer.execute(vec![
            xadd_to(STREAM, one()),
            xadd_to("text", one()),
            xadd_to(STREAM, Fields::new()),
            Command::Release { lane: reader() },
            Command::XInfoStream { stream: "none".into() },
            xadd_to(STREAM, one()),
        ]))
        .await;
        let Ok([first, wrong, bare, release, none, last]) = <[Outcome; 6]>::try_from(results) else {
            panic!()
        };
        assert!(added(first) < added(last));
        assert_eq!(code(wrong.clone()), "WRONGTYPE");
        assert!(
            matches!(wrong, Err(CommandError::Server { message, .. }) if message.starts_with("Operation"))
        );
        assert_eq!(code(bare), "ERR");
        assert_eq!(release, Ok(Reply::Done));
        assert_eq!(none, Ok(Reply::Stream(None)));
        assert_eq!(redis.command(&["XLEN", STREAM]).as_int(), Some(2));

        assert_eq!(within(writer.execute(vec![])).await, []);
        added(run(&mut writer, xadd(&[("a", "b")])).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_keeps_its_code() {
    let redis = RedisServer::start().unwrap();
    let mut writer = open(&redis.url(), Lane::Writer).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(code(run(&mut writer, xadd(&[("a", "b")])).await), "OOM");
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(code(run(&mut writer, xadd(&[("a", "b")])).await), "READONLY");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_unblocked_by_a_demotion_says_so() {
    let redis = RedisServer::start().unwrap();
    let mut connection = open(&redis.url(), reader()).await;
    let read = run(&mut connection, xread(EntryId::ZERO, Duration::from_secs(3600)));
    let demote = async {
        until_blocked(&redis).await;
        redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    };
    let (outcome, ()) = tokio::join!(read, demote);
    assert_eq!(code(outcome), "UNBLOCKED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_blocks_longer_than_the_crates_own_time_limit() {
    let redis = RedisServer::start().unwrap();
    for url in urls(&redis) {
        redis.command(&["FLUSHALL"]);
        let mut connection = open(&url, reader()).await;
        // Nothing comes: the server ends it, well after 500 ms.
        let before = std::time::Instant::now();
        let empty = run(&mut connection, xread(EntryId::ZERO, Duration::from_millis(800))).await;
        assert_eq!(empty, Ok(Reply::Entries(vec![])));
        assert!(before.elapsed() >= Duration::from_millis(800));
        // Something comes, while it is blocked.
        let read = run(&mut connection, xread(EntryId::ZERO, Duration::from_secs(3600)));
        let add = async {
            until_blocked(&redis).await;
            // This duration is the subject of the test.
            tokio::time::sleep(Duration::from_millis(700)).await;
            redis.command(&["XADD", STREAM, "*", "a", "b"]);
        };
        let (outcome, ()) = tokio::join!(read, add);
        assert!(matches!(outcome, Ok(Reply::Entries(entries)) if entries.len() == 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_have_names_and_are_closed_when_dropped() {
    let redis = RedisServer::start().unwrap();
    let url = redis.url();
    let names = || {
        let list = redis.command(&["CLIENT", "LIST"]);
        let mut names: Vec<String> = list
            .as_str()
            .unwrap()
            .split_whitespace()
            .filter_map(|field| Some(field.strip_prefix("name=")?.to_owned()))
            .filter(|name| !name.is_empty())
            .collect();
        names.sort();
        names
    };
    let odd = Lane::Reader("a stream\n\u{e9}".into());
    let open = [open(&url, Lane::Writer).await, open(&url, odd).await, subscriber(&url).await.0];
    assert_eq!(names(), ["sio-streams:reader:a_stream__", "sio-streams:subscriber", "sio-streams:writer"]);
    drop(open);
    until(|| names().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_of_the_url_is_used() {
    let redis = RedisServer::start().unwrap();
    let mut writer = open(&format!("{}/3", redis.url()), Lane::Writer).await;
    added(run(&mut writer, xadd(&[("a", "b")])).await);
    let mut client = redis.connect().unwrap();
    assert_eq!(client.command(&["EXISTS", STREAM]).unwrap().as_int(), Some(0));
    client.command(&["SELECT", "3"]).unwrap();
    assert_eq!(client.command(&["EXISTS", STREAM]).unwrap().as_int(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(unix)]
async fn a_unix_socket_serves_as_well() {
    let redis = RedisServer::builder().config("unixsocket redis.sock").start().unwrap();
    let url = format!("unix://{}/redis.sock", redis.dir().display());
    added(run(&mut open(&url, Lane::Writer).await, xadd(&[("a", "b")])).await);
}
