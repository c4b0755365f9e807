//! Each command against a real server, over both versions of the protocol.

mod common;

use core::time::Duration;

use common::*;
use sio_streams_core::{Command, CommandError, EntryId, Fields, Lane, Reply, StreamInfo};
use sio_streams_driver::backend::Connection as _;
use sio_streams_testkit::RedisServer;

const SHORT: Duration = Duration::from_millis(1);

/// The server's URL, for each version of the protocol.
fn urls(redis: &RedisServer) -> [String; 2] {
    ["resp3", "resp2"].map(|protocol| format!("{}/?protocol={protocol}", redis.url()))
}

#[tokio::test(flavor = "multi_thread")]
async fn streams() {
    let redis = RedisServer::start().unwrap();
    for url in urls(&redis) {
        redis.command(&["FLUSHALL"]);
        let (mut writer, mut reader) = (open(&url, Lane::Writer).await, open(&url, reader()).await);
        let info = || Command::XInfoStream { stream: STREAM.into() };

        assert_eq!(run(&mut reader, info()).await, Ok(Reply::Stream(None)));
        assert_eq!(run(&mut reader, xread(EntryId::ZERO, SHORT)).await, Ok(Reply::Entries(vec![])));

        let first = added(run(&mut writer, xadd(&[("nsp", "/"), ("type", "3")])).await);
        let second = added(run(&mut writer, xadd(&[("nsp", "/"), ("nsp", "/b"), ("", "")])).await);
        assert!(first < second);

        let Ok(Reply::Entries(entries)) = run(&mut reader, xread(EntryId::ZERO, SHORT)).await else {
            panic!()
        };
        assert_eq!(entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), [first, second]);
        let xrange = |after, count| Command::XRange { stream: STREAM.into(), after, count };
        assert_eq!(run(&mut writer, xrange(EntryId::ZERO, 100)).await, Ok(Reply::Entries(entries.clone())));
        assert_eq!(run(&mut writer, xrange(first, 1)).await, Ok(Reply::Entries(entries[1..].to_vec())));
        assert_eq!(run(&mut writer, xrange(second, 1)).await, Ok(Reply::Entries(vec![])));
        assert_eq!(
            entries[1].fields,
            [("nsp", "/"), ("nsp", "/b"), ("", "")].into_iter().collect::<Fields>()
        );
        let Ok(Reply::Entries(entries)) = run(&mut reader, xread(first, SHORT)).await else { panic!() };
        assert_eq!(entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), [second]);

        redis.command(&["XDEL", STREAM, &first.to_string()]);
        let expected = StreamInfo {
            length: 1,
            last_generated_id: second,
            entries_added: Some(2),
            max_deleted_entry_id: Some(first),
            first_entry_id: Some(second),
        };
        let Ok(Reply::Stream(Some(got))) = run(&mut reader, info()).await else { panic!() };
        // Redis 6.2 does not tell these two.
        let expected = match got.entries_added {
            None => StreamInfo { entries_added: None, max_deleted_entry_id: None, ..expected },
            Some(_) => expected,
        };
        assert_eq!(got, expected);

        redis.command(&["XTRIM", STREAM, "MAXLEN", "0"]);
        let Ok(Reply::Stream(Some(got))) = run(&mut reader, info()).await else { panic!() };
        assert_eq!(got, StreamInfo { length: 0, first_entry_id: None, ..expected });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_trimmed_about_where_it_is_told() {
    let redis = RedisServer::start().unwrap();
    let mut writer = open(&redis.url(), Lane::Writer).await;
    let add =
        || Command::XAdd { stream: STREAM.into(), max_len: 10, fields: [("a", "b")].into_iter().collect() };
    let results = within(writer.execute((0..500).map(|_| add()).collect())).await;
    let ids: Vec<_> = results.into_iter().map(added).collect();
    assert!(ids.is_sorted() && ids.len() == 500);
    let length = redis.command(&["XLEN", STREAM]).as_int().unwrap();
    assert!((10..=200).contains(&length), "{length}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_kept_as_they_are() {
    let redis = RedisServer::start().unwrap();
    let every: Vec<u8> = (0..=255).collect();
    let large = vec![0xff; 3 << 20];
    let fields: Fields = [(every.clone(), large.clone()), (b"\r\n".to_vec(), every.clone()), (every, vec![])]
        .into_iter()
        .collect();
    for url in urls(&redis) {
        redis.command(&["FLUSHALL"]);
        let mut writer = open(&url, Lane::Writer).await;
        let id = added(run(&mut writer, xadd_to(STREAM, fields.clone())).await);
        let mut reader = open(&url, reader()).await;
        let Ok(Reply::Entries(entries)) = run(&mut reader, xread(EntryId::ZERO, SHORT)).await else {
            panic!()
        };
        assert!(entries.len() == 1 && entries[0].id == id && entries[0].fields == fields);
    }
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
async fn subscribers_are_counted_and_named() {
    let redis = RedisServer::start().unwrap();
    let (mut listener, _messages) = subscriber(&redis.url()).await;
    for sharded in [false, true] {
        assert_eq!(run(&mut listener, subscribe(&["io#a", "io#b"], sharded)).await, Ok(Reply::Done));
        for url in urls(&redis) {
            let mut writer = open(&url, Lane::Writer).await;
            let count = |channel: &str| Command::PubSubNumSub { channel: channel.into(), sharded };
            assert_eq!(run(&mut writer, count("io#a")).await, Ok(Reply::Count(1)));
            assert_eq!(run(&mut writer, count("none")).await, Ok(Reply::Count(0)));
            let channels = |pattern: &str| Command::PubSubChannels { pattern: pattern.into(), sharded };
            let Ok(Reply::Channels(mut names)) = run(&mut writer, channels("io#*")).await else { panic!() };
            names.sort();
            assert_eq!(names, ["io#a", "io#b"]);
            assert_eq!(run(&mut writer, channels("no*")).await, Ok(Reply::Channels(vec![])));
        }
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
