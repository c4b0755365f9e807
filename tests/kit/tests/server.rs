//! Starts real servers and breaks them.

use std::process::Command;

use sio_streams_testkit::{RedisServer, Reply};

#[test]
fn a_server_answers_and_goes_away() {
    let redis = RedisServer::start().unwrap();
    let id = redis.command(&["XADD", "stream", "*", "nsp", "/", "type", "3"]);
    assert!(id.as_str().is_some_and(|id| id.contains('-')));
    let entries = redis.command(&["XRANGE", "stream", "-", "+"]);
    assert_eq!(entries.items()[0].items()[1].field("type").and_then(Reply::as_int), Some(3));
    assert_eq!(redis.command(&["GET", "none"]), Reply::Nil);
    assert!(matches!(redis.command(&["NO", "SUCH"]), Reply::Error(_)));

    let (dir, addr) = (redis.dir().to_owned(), redis.addr());
    drop(redis);
    assert!(!dir.exists());
    assert!(std::net::TcpStream::connect(addr).is_err());
}

#[test]
fn a_restart_keeps_the_port_and_only_persistent_data() {
    for (redis, kept) in [
        (RedisServer::start().unwrap(), Reply::Nil),
        (RedisServer::builder().persistent().start().unwrap(), Reply::Bulk(b"1".to_vec())),
    ] {
        redis.command(&["SET", "a", "1"]);
        redis.kill();
        assert!(redis.try_command(&["PING"]).is_err());
        redis.restart().unwrap();
        assert_eq!(redis.command(&["GET", "a"]), kept);
    }
}

#[test]
fn a_paused_server_answers_later() {
    let redis = RedisServer::start().unwrap();
    redis.pause().unwrap();
    let mut client = redis.connect().unwrap();
    let answer = std::thread::spawn(move || client.command(&["PING"]).unwrap());
    assert!(!answer.is_finished());
    redis.resume().unwrap();
    assert_eq!(answer.join().unwrap(), Reply::Simple("PONG".into()));
}

#[test]
fn passwords_and_users_are_demanded() {
    let redis = RedisServer::builder().requirepass("secret").user("ann", "pw", "~a* +@read").start().unwrap();
    assert_eq!(redis.url(), format!("redis://:secret@127.0.0.1:{}", redis.port()));
    let mut stranger = sio_streams_testkit::Client::connect(redis.addr()).unwrap();
    assert!(matches!(stranger.command(&["GET", "a"]).unwrap(), Reply::Error(e) if e.starts_with("NOAUTH")));
    stranger.command(&["AUTH", "ann", "pw"]).unwrap();
    assert_eq!(stranger.command(&["GET", "a"]).unwrap(), Reply::Nil);
    assert!(matches!(stranger.command(&["GET", "b"]).unwrap(), Reply::Error(e) if e.starts_with("NOPERM")));
}

#[test]
fn a_bad_configuration_is_reported_with_the_log() {
    let error = RedisServer::builder().config("no-such-directive yes").start().unwrap_err();
    assert!(error.to_string().contains("redis-server ended"), "{error}");
}

#[test]
fn tls_is_offered_with_a_certificate_that_the_authority_signed() {
    let redis = RedisServer::builder().tls().start().unwrap();
    let url = redis.tls_url().unwrap();
    let files = redis.tls_files().unwrap();
    assert!(url.starts_with("rediss://localhost:"));
    // redis-cli comes with the server; it is the witness that needs no more dependencies.
    let output = Command::new("redis-cli")
        .args(["-h", "localhost", "-p", url.rsplit(':').next().unwrap(), "--tls", "--cacert"])
        .arg(&files.ca)
        .arg("PING")
        .output();
    let output = output.expect("redis-cli is installed together with redis-server");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "PONG", "{output:?}");
}
