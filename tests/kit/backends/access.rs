//! Passwords, rights, TLS, and servers without HELLO.

use core::time::Duration;

use super::common::*;
use crate::Backend;
use sio_streams_core::{Command, EntryId, Lane, Reply};
use sio_streams_testkit::RedisServer;

/// As in the documentation of the crate.
const LEAST: &str = "resetkeys resetchannels -@all ~socket.io &socket.io* \
    +xadd +xread +xrange +xinfo|stream +ping";
const PLAIN: &str = "+publish +subscribe +unsubscribe +pubsub|numsub +pubsub|channels";
const SHARDED: &str = "+spublish +ssubscribe +sunsubscribe +pubsub|shardnumsub +pubsub|shardchannels";

/// Everything that a node does.
async fn exercise(url: &str, sharded: bool) {
    let mut writer = open(url, Lane::Writer).await;
    let id = added(run(&mut writer, xadd(&[("a", "b")])).await);
    let mut reader = open(url, reader()).await;
    let read = run(&mut reader, xread(EntryId::ZERO, Duration::from_millis(1))).await;
    assert!(
        matches!(read, Ok(Reply::Entries(entries)) if entries.last().is_some_and(|entry| entry.id == id))
    );
    let info = run(&mut reader, Command::XInfoStream { stream: STREAM.into() }).await;
    assert!(matches!(info, Ok(Reply::Stream(Some(info))) if info.last_generated_id == id));

    let found =
        run(&mut writer, Command::XRange { stream: STREAM.into(), after: EntryId::ZERO, count: 10 }).await;
    assert!(matches!(found, Ok(Reply::Entries(entries)) if !entries.is_empty()));

    let channel = "socket.io#/#";
    let (mut listener, mut messages) = subscriber(url).await;
    assert_eq!(run(&mut listener, subscribe(&[channel], sharded)).await, Ok(Reply::Done));
    assert_eq!(run(&mut writer, publish(channel, "hello", sharded)).await, Ok(Reply::Done));
    assert_eq!(within(messages.recv()).await, Some((channel.into(), "hello".into())));
    let count = Command::PubSubNumSub { channels: vec![channel.into()], sharded };
    assert_eq!(run(&mut writer, count).await, Ok(Reply::Counts(vec![1])));
    let channels = Command::PubSubChannels { pattern: "socket.io*".into(), sharded };
    assert_eq!(run(&mut writer, channels).await, Ok(Reply::Channels(vec![channel.into()])));
    assert_eq!(run(&mut listener, unsubscribe(&[channel], sharded)).await, Ok(Reply::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_rights_suffice() {
    let redis = RedisServer::builder()
        .user("plain", "pw", &format!("{LEAST} {PLAIN}"))
        .user("sharded", "pw", &format!("{LEAST} {SHARDED}"))
        .start()
        .unwrap();
    exercise(&redis.url_as("plain", "pw"), false).await;
    exercise(&format!("{}/?protocol=resp2", redis.url_as("plain", "pw")), false).await;
    exercise(&redis.url_as("sharded", "pw"), true).await;
}

/// The additional rights for connection state recovery.
#[tokio::test(flavor = "multi_thread")]
async fn the_least_rights_for_recovery_suffice() {
    let rights = format!("{LEAST} ~sio:session:* +set +getrange +getdel +xrevrange");
    let redis = RedisServer::builder().user("ann", "pw", &rights).start().unwrap();
    let url = redis.url_as("ann", "pw");
    let id = added(run(&mut open(&url, Lane::Writer).await, xadd(&[("a", "b")])).await);
    let mut recovery = open(&url, Lane::Recovery).await;
    let key = || "sio:session:pid".into();
    let set = Command::Set { key: key(), value: "x".into(), px: Duration::from_secs(60) };
    assert_eq!(run(&mut recovery, set).await, Ok(Reply::Done));
    let found = Ok(Reply::Value(Some("x".into())));
    assert_eq!(run(&mut recovery, Command::GetRange { key: key(), end: 9 }).await, found);
    assert_eq!(run(&mut recovery, Command::GetDel { key: key() }).await, found);
    let before = EntryId { ms: id.ms + 1, seq: 0 };
    let back = Command::XRevRange { stream: STREAM.into(), before, count: 1 };
    assert!(matches!(run(&mut recovery, back).await, Ok(Reply::Entries(entries)) if entries[0].id == id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_told() {
    let redis =
        RedisServer::builder().user("ann", "pw", &format!("{LEAST} {PLAIN} {SHARDED}")).start().unwrap();
    for url in [redis.url_as("ann", "pw"), format!("{}/?protocol=resp2", redis.url_as("ann", "pw"))] {
        let mut writer = open(&url, Lane::Writer).await;
        let elsewhere = xadd_to("elsewhere", [("a", "b")].into_iter().collect());
        assert_eq!(code(run(&mut writer, elsewhere).await), "NOPERM");
        assert_eq!(code(run(&mut writer, publish("elsewhere", "x", false)).await), "NOPERM");
        let (mut listener, _messages) = subscriber(&url).await;
        let some = subscribe(&["socket.io#", "elsewhere"], false);
        assert_eq!(code(run(&mut listener, some).await), "NOPERM");
        // The connection goes on.
        assert_eq!(run(&mut listener, subscribe(&["socket.io#"], false)).await, Ok(Reply::Done));
    }
    let (mut listener, _messages) = subscriber(&redis.url_as("ann", "pw")).await;
    assert_eq!(code(run(&mut listener, subscribe(&["socket.io#", "elsewhere"], true)).await), "NOPERM");
    assert_eq!(run(&mut listener, subscribe(&["socket.io#"], true)).await, Ok(Reply::Done));
}

/// The server's words, or those that a client crate has in their place.
const WRONG: [&str; 2] = ["WRONGPASS", "authentication failed"];

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told() {
    let redis = RedisServer::builder().requirepass("right").user("ann", "pw", "+@all").start().unwrap();
    exercise(&redis.url(), false).await;
    let bare = format!("redis://127.0.0.1:{}", redis.port());
    for (url, words) in [
        (redis.url_as("ann", "wrong"), WRONG),
        (format!("{}/?protocol=resp2", redis.url_as("ann", "wrong")), WRONG),
        (bare.clone(), ["NOAUTH"; 2]),
        (format!("{bare}/?protocol=resp2"), ["NOAUTH"; 2]),
        (format!("{}/200", redis.url()), ["switch database", "DB index"]),
    ] {
        for lane in [Lane::Writer, Lane::Subscriber] {
            let why = refusal(&Backend::new(&url).unwrap(), lane).await;
            assert!(words.iter().any(|words| why.contains(words)), "{url}: {why}");
            assert!(!why.contains("wrong\u{20}") && !why.contains("right"), "{why}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_hello_is_spoken_to_in_resp2() {
    let redis = RedisServer::builder().config("rename-command HELLO \"\"").start().unwrap();
    exercise(&redis.url(), false).await;
    let strict = Backend::new(&format!("{}/?protocol=resp3", redis.url())).unwrap();
    let why = refusal(&strict, Lane::Writer).await;
    assert!(why.contains("HELLO"), "{why}");

    let locked =
        RedisServer::builder().config("rename-command HELLO \"\"").requirepass("right").start().unwrap();
    exercise(&locked.url(), false).await;
    for lane in [Lane::Writer, Lane::Subscriber] {
        let bare = Backend::new(&format!("redis://127.0.0.1:{}", locked.port())).unwrap();
        let why = refusal(&bare, lane.clone()).await;
        assert!(why.contains("NOAUTH"), "{why}");
        let wrong = Backend::new(&locked.url().replace("right", "wrong")).unwrap();
        let why = refusal(&wrong, lane.clone()).await;
        assert!(WRONG.iter().any(|words| why.contains(words)), "{why}");
        // The first attempt is told, too; a backend may omit it where nothing is pushed.
        assert!(lane == Lane::Writer || why.contains("HELLO"), "{why}");
        // The server quotes what it did not understand.
        assert!(!why.contains("'wrong'"), "{why}");
    }
}

#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_the_given_authority_and_no_other() {
    let redis = RedisServer::builder().tls().start().unwrap();
    let other = RedisServer::builder().tls().start().unwrap();
    let url = redis.tls_url().unwrap();
    let pem = |server: &RedisServer| std::fs::read(&server.tls_files().unwrap().ca).unwrap();

    for lane in [Lane::Writer, reader(), Lane::Subscriber] {
        for protocol in ["resp3", "resp2"] {
            let url = format!("{url}/?protocol={protocol}");
            let right = Backend::builder(&url).ca_certificate(pem(&redis)).build().unwrap();
            let mut connection = within(right.open(&lane, |_, _| {})).await.unwrap();
            let command =
                if lane == Lane::Subscriber { subscribe(&["a"], false) } else { xadd(&[("a", "b")]) };
            run(&mut connection, command).await.unwrap();
        }
        let wrong = Backend::builder(&url).ca_certificate(pem(&other)).build().unwrap();
        let why = refusal(&wrong, lane.clone()).await;
        assert!(why.to_lowercase().contains("certificate"), "{why}");
        let system = Backend::new(&url).unwrap();
        let why = refusal(&system, lane).await;
        assert!(why.to_lowercase().contains("certificate"), "{why}");
    }
    // It may say so in clear text or not at all; it must not hang.
    let plain = Backend::new(&url.replace("rediss://", "redis://")).unwrap();
    refusal(&plain, Lane::Writer).await;
}

#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_presented() {
    let redis = RedisServer::builder().tls().config("tls-auth-clients yes").start().unwrap();
    let files = redis.tls_files().unwrap();
    let read = |path| std::fs::read(path).unwrap();
    let builder = Backend::builder(redis.tls_url().unwrap()).ca_certificate(read(&files.ca));
    let with = builder.clone().client_certificate(read(&files.cert), read(&files.key)).build().unwrap();
    let mut connection = within(with.open(&Lane::Writer, |_, _| {})).await.unwrap();
    added(run(&mut connection, xadd(&[("a", "b")])).await);
    refusal(&builder.build().unwrap(), Lane::Writer).await;
}

/// Something that answers any connection, and is no Redis.
fn stranger(words: &'static [u8]) -> std::net::SocketAddr {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(words);
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_redis_is_told_on_one_line() {
    let page =
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>\r\n<body>\r\nno\r\n</body>";
    let address = stranger(page);
    for protocol in ["resp3", "resp2"] {
        let backend = Backend::new(&format!("redis://{address}/?protocol={protocol}")).unwrap();
        for lane in [Lane::Writer, Lane::Subscriber] {
            let why = refusal(&backend, lane).await;
            assert!(!why.contains(['\n', '\r']) && why.len() < 500, "{why:?}");
        }
    }
}
