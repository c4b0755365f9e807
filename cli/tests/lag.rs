//! `sio-streams lag` and `sio-streams sessions`, on streams and sessions that tests and Node servers
//! write.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

mod schema;

use std::process::{Command, Output};

use serde_json::{Value, json};
use sio_streams_interop::{Generation, Peer, PeerConfig, Result, Select, eventually};
use sio_streams_testkit::{RedisCluster, RedisServer};

const PAGE: &str = include_str!("../../docs/operating.md");

fn rights(user: &str) -> &'static str {
    let prefix = format!("ACL SETUSER {user} on >password ");
    PAGE.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap()
}

fn run(command: &str, url: &str, args: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sio-streams"));
    program.args([command, "--redis", url]).args(args).output().unwrap()
}

fn objects(command: &str, output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.iter().for_each(|line| schema::check(command, line));
    lines
}

fn lag(url: &str, args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = run("lag", url, &[&["--json", "--interval", "0.05"], args].concat());
    (output.status.code(), objects("lag", &output))
}

fn beat(redis: &RedisServer, id: &str, max_len: &str) {
    redis.command(&["XADD", "socket.io", "MAXLEN", max_len, id, "uid", "n", "nsp", "/", "type", "2"]);
}

#[test]
fn a_stream_is_measured() {
    let redis = RedisServer::builder().user("lag", "password", rights("lag")).start().unwrap();
    let url = redis.url_as("lag", "password");
    assert_eq!(lag(&url, &[]), (Some(1), vec![]));
    for second in 0..=60 {
        beat(&redis, &format!("{}-0", 1_764_410_400_000_u64 + second * 1_000), "1000");
    }
    let (code, lines) = lag(&url, &[]);
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((line["length"].as_u64(), line["entriesAdded"].as_u64()), (Some(61), Some(61)));
    assert_eq!((&line["averagePerSecond"], &line["perSecond"]), (&json!(1.0), &json!(0.0)));
    assert_eq!(line["lastId"], "1764410460000-0");
    assert!(line["memory"].as_u64() > Some(500), "{line}");
    // Nothing was trimmed: whoever was away has missed nothing.
    assert_eq!((&line["trimmed"], &line["enough"], code), (&json!(false), &json!(true), Some(0)));
    // The entries that are left were written just now.
    for _ in 0..10 {
        beat(&redis, "*", "10");
    }
    let (code, lines) = lag(&url, &["--max-disconnection-duration", "3600000"]);
    assert_eq!((&lines[0]["trimmed"], &lines[0]["enough"], code), (&json!(true), &json!(false), Some(1)));
    assert!(lines[0]["reachesMs"].as_u64() < Some(3_600_000), "{lines:?}");
    let (code, lines) = lag(&url, &["--max-disconnection-duration", "0"]);
    assert_eq!((&lines[0]["enough"], code), (&json!(true), Some(0)));
    let text = String::from_utf8(run("lag", &url, &["--interval", "0.01"]).stdout).unwrap();
    assert!(text.starts_with("STREAM     ENTRIES  ADDED/S  AVERAGE/S  REACHES BACK"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn what_is_added_meanwhile_is_counted() {
    let redis = RedisServer::start().unwrap();
    beat(&redis, "*", "1000");
    let url = redis.url();
    let measured =
        std::thread::spawn(move || objects("lag", &run("lag", &url, &["--json", "--interval", "1"])));
    while !measured.is_finished() {
        beat(&redis, "*", "1000");
    }
    let lines = measured.join().unwrap();
    assert!(lines[0]["perSecond"].as_f64() > Some(0.0), "{lines:?}");
}

#[test]
fn the_streams_of_a_redis_cluster_are_found() {
    let redis = RedisCluster::start_without_replicas(3).unwrap();
    for stream in ["s-0", "s-1", "s-2", "s-3"] {
        redis.command(stream, &["XADD", stream, "*", "uid", "n", "nsp", "/", "type", "2"]);
    }
    let (code, lines) = lag(&redis.url(), &["--cluster", "--stream", "s", "--stream-count", "4"]);
    let names: Vec<_> = lines.iter().map(|line| line["stream"].as_str().unwrap()).collect();
    assert_eq!((names, code), (vec!["s-0", "s-1", "s-2", "s-3"], Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_node_servers_are_told_from_what_is_none() -> Result<()> {
    let redis = RedisServer::builder().user("sessions", "password", rights("sessions")).start()?;
    let url = redis.url_as("sessions", "password");
    let peer = Peer::start(PeerConfig::new(Generation::V03, redis.url()).recovery_ms(600_000)).await?;
    let client = peer.connect("/").await?;
    peer.server_join(&client.sid, &["room1"]).await?;
    peer.emit(&Select::all("/"), "news", &[json!(1)]).await?;
    peer.wait_client_event(&client.sid, "news", 1).await?;
    peer.drop_client(&client.sid).await?;
    eventually("the session is stored", async || {
        redis.command(&["KEYS", "sio:session:*"]).items().len() == 1
    })
    .await?;
    let sessions = |args: &[&str]| {
        let args = [&["--max-disconnection-duration", "600000", "--json"], args].concat();
        let output = run("sessions", &url, &args);
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code(), objects("sessions", &output))
    };
    let (code, lines) = sessions(&["--list"]);
    let [session, summary] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&session["socket"], &session["restorable"]), (&json!(client.sid), &json!(true)));
    assert!(session["rooms"].as_array().unwrap().contains(&json!("room1")), "{session}");
    assert!(session["ageMs"].as_u64() < Some(600_000) && session["expiresMs"].as_u64() <= Some(600_000));
    assert_eq!((&summary["count"], &summary["notRestorable"], code), (&json!(1), &json!(0), Some(0)));

    // No server restores sessions with such faults.
    let key = redis.command(&["KEYS", "sio:session:*"]).items()[0].as_str().unwrap().to_owned();
    let stored = redis.command(&["GET", &key]).as_str().unwrap().to_owned();
    redis.command(&["SET", "sio:session:a", "no session", "PX", "500000"]);
    redis.command(&["SET", "sio:session:b", &stored, "PX", "500000"]);
    redis.command(&["SET", "sio:session:b c", &stored]);
    redis.command(&["SET", "sio:session:d", &"A".repeat(3_000), "PX", "500000"]);
    redis.command(&["LPUSH", "sio:session:e", "x"]);
    let (code, lines) = sessions(&["--session-bytes", "2000"]);
    let summary = lines.last().unwrap();
    let reasons = json!({ "invalid-pid": 1, "malformed": 2, "other-pid": 1, "too-large": 1 });
    assert_eq!((&summary["reasons"], code), (&reasons, Some(1)), "{lines:#?}");
    assert_eq!((&summary["count"], &summary["immortal"]), (&json!(6), &json!(2)));

    // A stream that was trimmed behind a session.
    for other in ["a", "b", "b c", "d", "e"] {
        redis.command(&["DEL", &format!("sio:session:{other}")]);
    }
    redis.command(&["XTRIM", "socket.io", "MAXLEN", "0"]);
    redis.command(&["XADD", "socket.io", "*", "uid", "n", "nsp", "/", "type", "2"]);
    let (code, lines) = sessions(&[]);
    assert_eq!((&lines[0]["reason"], code), (&json!("trimmed"), Some(1)), "{lines:#?}");

    // The private id is nowhere.
    let pid = key.strip_prefix("sio:session:").unwrap();
    for args in [&["--list"][..], &["--json", "--list"]] {
        let text = String::from_utf8(run("sessions", &url, args).stdout).unwrap();
        assert!(text.contains(&client.sid) && !text.contains(pid), "{text}");
        assert!(args.len() > 1 || text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
    Ok(())
}

#[test]
fn a_missing_right_is_named() {
    let redis = RedisServer::builder().user("ann", "secret", "~* -@all +xinfo|stream").start().unwrap();
    let output = run("sessions", &redis.url_as("ann", "secret"), &[]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("refuses SCAN") && complaint.contains("NOPERM"), "{complaint}");
    let output = run("lag", &redis.url_as("ann", "secret"), &["--stream-count", "0"]);
    assert_eq!(output.status.code(), Some(2));
}
