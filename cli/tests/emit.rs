//! `sio-streams emit` with answers, and with many events from a file.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use sio_streams_driver::sio_streams_core::Dialect;
use sio_streams_interop::{Generation, OurServer, Peer, PeerConfig, Result, eventually, quick};
use sio_streams_testkit::RedisServer;

/// Runs the command, with this on its standard input.
fn emit(url: &str, args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sio-streams"));
    command.args(["emit", "--redis", url]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

async fn aside(url: &str, args: &[&str]) -> Output {
    let (url, args) = (url.to_owned(), args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>());
    let run = move || emit(&url, &args.iter().map(String::as_str).collect::<Vec<_>>(), "");
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

async fn clients_answer(generation: Generation, dialect: Dialect, name: &str) -> Result<()> {
    let redis = RedisServer::start()?;
    let peer = Peer::start(PeerConfig::new(generation, redis.url()).quick()).await?;
    let ours = OurServer::start(quick(dialect), &redis.url(), &["/"]).await?;
    let (one, two) = (peer.connect("/").await?, peer.connect("/").await?);
    let three = ours.connect("/").await?;
    for (client, reply) in [(&one, "one"), (&two, "two")] {
        peer.client_ack(&client.sid, "version", Some(json!({ "from": reply }))).await?;
    }
    ours.client_ack(&three, "version", Some(json!({ "from": "three" })));
    eventually("the servers know each other", async || {
        peer.server_count("/").await.is_ok_and(|count| count == 2)
    })
    .await?;
    let ask = ["--dialect", name, "event", "--ack", "--timeout", "60", "version"];
    let output = aside(&redis.url(), &ask).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut answers: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    answers.sort_by_key(Value::to_string);
    assert_eq!(answers, [json!({ "from": "one" }), json!({ "from": "three" }), json!({ "from": "two" })]);
    assert_eq!(text(&output.stderr), "3 of 3 clients answered, on 2 of 2 servers\n");

    // One that never answers.
    peer.client_ack(&two.sid, "version", None).await?;
    let ask = ["--dialect", name, "--to", &two.sid, "event", "--ack", "--timeout", "0.5", "other"];
    let output = aside(&redis.url(), &ask).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "0 of 1 clients answered, on 2 of 2 servers\n");
    assert!(output.stdout.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_answer_in_a_cluster_of_streams_0_2() -> Result<()> {
    clients_answer(Generation::V02, Dialect::Streams02, "streams-0.2").await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_answer_in_a_cluster_of_streams_0_3() -> Result<()> {
    clients_answer(Generation::V03, Dialect::Streams03, "streams-0.3").await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_answer_in_a_cluster_of_the_classic_adapter() -> Result<()> {
    clients_answer(Generation::Classic, Dialect::Classic, "classic").await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_answer_in_a_cluster_of_the_sharded_adapter() -> Result<()> {
    clients_answer(Generation::Sharded, Dialect::Sharded, "sharded").await
}

#[test]
fn nobody_answers_where_nobody_is() {
    let redis = RedisServer::start().unwrap();
    let output = emit(&redis.url(), &["event", "--ack", "--timeout", "0.1", "version"], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "0 of 0 clients answered, on 0 of 0 servers\n");
    let output = emit(&redis.url(), &["--dialect", "bridge", "event", "--ack", "version"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("streams-0.2 or streams-0.3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_sent_in_order() -> Result<()> {
    let redis = RedisServer::start()?;
    let peer = Peer::start(PeerConfig::new(Generation::V03, redis.url())).await?;
    let client = peer.connect("/").await?;
    let count = 3_000;
    let lines: String = (0..count).map(|n| format!("{{\"event\":\"n\",\"args\":[{n}]}}\n\n")).collect();
    let url = redis.url();
    let output = tokio::task::spawn_blocking(move || emit(&url, &["lines"], &lines)).await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("emitted 3000 events in "), "{}", text(&output.stdout));
    let received = peer.wait_client_event(&client.sid, "n", count).await?;
    let numbers: Vec<_> = received.iter().map(|event| event.args[0].as_u64().unwrap() as usize).collect();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    Ok(())
}

/// The data of the entries that are in the stream.
fn entries(redis: &RedisServer) -> Vec<String> {
    let entries = redis.command(&["XRANGE", "socket.io", "-", "+"]);
    let data = |entry: &sio_streams_testkit::Reply| {
        entry.items()[1].field("data").unwrap().as_str().unwrap().to_owned()
    };
    entries.items().iter().map(data).collect()
}

#[test]
fn a_file_is_sent_up_to_a_line_that_is_wrong() {
    let redis = RedisServer::start().unwrap();
    let file = std::env::temp_dir().join(format!("sio-streams-lines-{}", std::process::id()));
    std::fs::write(&file, "{\"event\":\"a\"}\n{\"event\":\"b\"}\nnonsense\n{\"event\":\"c\"}\n").unwrap();
    let path = file.to_str().unwrap();
    let output = emit(&redis.url(), &["lines", path], "");
    assert_eq!(output.status.code(), Some(2));
    let complaint = text(&output.stderr);
    assert!(
        complaint.starts_with("error: line 3: ") && complaint.contains("2 events were sent"),
        "{complaint}"
    );
    assert_eq!(entries(&redis).len(), 2);
    std::fs::write(&file, "{\"event\":\"a\"}\n".repeat(20)).unwrap();
    let began = std::time::Instant::now();
    assert!(emit(&redis.url(), &["lines", "--rate", "40", path], "").status.success());
    // The last one waits, too.
    assert!(began.elapsed().as_secs_f64() >= 0.45, "{:?}", began.elapsed());
    assert_eq!(entries(&redis).len(), 22);
    std::fs::remove_file(&file).unwrap();
    let output = emit(&redis.url(), &["lines", path], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("can't read"));
}

#[test]
fn flags_are_written() {
    let redis = RedisServer::start().unwrap();
    for (args, flag) in [
        (&["event", "news"][..], None),
        (&["--compress", "event", "news"], Some(r#""compress":true"#)),
        (&["--compress=false", "event", "news"], Some(r#""compress":false"#)),
    ] {
        redis.command(&["DEL", "socket.io"]);
        assert!(emit(&redis.url(), args, "").status.success(), "{args:?}");
        let data = entries(&redis).remove(0);
        assert!(flag.map_or(!data.contains("compress"), |flag| data.contains(flag)), "{args:?}: {data}");
    }
    let output = emit(&redis.url(), &["--only-plaintext", "event", "news", "@/bin/sh"], "");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert_eq!(entries(&redis).len(), 1);
}
