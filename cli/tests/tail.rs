//! `sio-streams tail`, over streams that the tests write.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

mod schema;
mod tailing;

use std::process::{Command, Output};

use serde_json::Value;
use sio_streams_testkit::RedisServer;
use tailing::Tail;

const PAGE: &str = include_str!("../../docs/operating.md");

const NEWS: &str = r#"{"packet":{"type":2,"data":["news",{"n":1}],"nsp":"/chat"},"opts":{"rooms":["room1","room2"],"except":["s2"],"flags":{"volatile":true}}}"#;
const JOIN: &str = r#"{"opts":{"rooms":["s1"],"except":[],"flags":{}},"rooms":["room1"]}"#;
const POISON: &str = r#"{"packet":{"type":2,"data":["news""#;

/// A message of each of the interesting kinds, at fixed times.
fn filled() -> RedisServer {
    let redis = RedisServer::start().unwrap();
    let add = |id: &str, nsp: &str, kind: &str, data: &str| {
        let fields = ["uid", "d0a1b2c3d4e5f607", "nsp", nsp, "type", kind, "data", data];
        redis.command(&[&["XADD", "socket.io", id], &fields[..]].concat());
    };
    add("1764410400000-0", "/", "2", "");
    add("1764410400250-0", "/chat", "3", NEWS);
    add("1764410401000-0", "/chat", "4", JOIN);
    add("1764410402000-0", "/", "9", r#"{"packet":["reload",true],"requestId":"r1"}"#);
    add("1764410403000-0", "/", "3", POISON);
    redis.command(&["XADD", "socket.io", "1764410404000-0", "note", "\x1b[2Jbeep\x07"]);
    redis
}

fn tail(redis: &RedisServer, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sio-streams"));
    command.args(["tail", "--redis", &redis.url(), "--from", "0", "--until", "now"]).args(args);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn lines(output: &Output) -> Vec<String> {
    std::str::from_utf8(&output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn objects(output: &Output) -> Vec<Value> {
    lines(output).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The block of the page behind this mark.
fn block(mark: &str) -> Vec<&'static str> {
    let (_, rest) = PAGE.split_once(&format!("<!-- output: {mark} -->\n```")).unwrap();
    let (block, _) = rest.split_once("\n```").unwrap();
    block.lines().skip(1).collect()
}

#[test]
fn the_page_shows_what_is_printed() {
    let redis = filled();
    assert_eq!(lines(&tail(&redis, &[])), block("tail"));
    assert_eq!(lines(&tail(&redis, &["--json"])), block("tail --json"));
}

#[test]
fn the_page_describes_every_key_of_the_json() {
    let redis = filled();
    let table: Vec<(&str, &str)> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter_map(|(key, rest)| Some((key, rest.split_once(" |")?.0)))
        .collect();
    let is = |value: &Value, kind: &str| match kind {
        "string" => value.is_string(),
        "number" => value.is_u64(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "any" => true,
        other => panic!("{other} is no type of the table"),
    };
    for depth in ["full", "short", "hidden"] {
        let objects = objects(&tail(&redis, &["--json", "--payload", depth]));
        assert_eq!(objects.len(), 6);
        for object in objects {
            schema::check("tail", &object);
            for (key, value) in object.as_object().unwrap() {
                let described = table.iter().find(|(name, _)| name == key);
                assert!(described.is_some_and(|(_, kind)| is(value, kind)), "{key} of {object}");
            }
            for key in ["kind", "time", "stream", "id", "size"] {
                assert!(!object[key].is_null(), "{key} of {object}");
            }
            let shows = |key: &str| !object[key].is_null();
            match (object["event"].as_str(), depth) {
                (Some(_), "full") => assert!(shows("args") && !shows("preview"), "{object}"),
                (Some(_), "short") => assert!(!shows("args") && shows("preview"), "{object}"),
                _ => assert!(!shows("args") && !shows("preview"), "{object}"),
            }
            assert_eq!(shows("raw"), object["kind"] == "unreadable" && depth != "hidden", "{object}");
        }
    }
}

#[test]
fn filters_and_bounds_select() {
    let redis = filled();
    let kinds = |args: &[&str]| -> Vec<String> {
        let objects = objects(&tail(&redis, &[&["--json"], args].concat()));
        objects.iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&["--nsp", "/chat"]), ["broadcast", "join"]);
    assert_eq!(kinds(&["--type", "3", "--type", "heartbeat"]), ["heartbeat", "broadcast"]);
    assert_eq!(kinds(&["--event", "news", "--nsp", "/chat"]), ["broadcast"]);
    assert_eq!(kinds(&["--room", "room1", "--node", "d0a1", "--nsp", "/chat"]), ["broadcast", "join"]);
    assert_eq!(kinds(&["--type", "unreadable"]), ["unreadable", "unreadable"]);
    assert_eq!(kinds(&["--count", "2"]), ["heartbeat", "broadcast"]);
    let range = |from: &str, until: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sio-streams"));
        let range = ["--since", from, "--until", until, "--json"];
        let output = command.args(["tail", "--redis", &redis.url()]).args(range).output().unwrap();
        objects(&output).len()
    };
    assert_eq!(range("1764410400250-0", "1764410401000-0"), 2);
    assert_eq!(range("2025-11-29T10:00:01Z", "2025-11-29T10:00:02Z"), 2);
    assert_eq!(range("1m", "now"), 0);
}

#[test]
fn unreadable_entries_have_a_reason_and_nothing_that_a_terminal_obeys() {
    let redis = filled();
    for args in [&["--payload", "full"][..], &["--json"], &["--payload", "short"]] {
        let output = tail(&redis, &[&["--type", "unreadable"], args].concat());
        let lines = lines(&output);
        assert!(lines[0].contains("the data is not as expected: EOF"), "{lines:?}");
        assert!(lines[1].contains("is missing") && lines[1].contains(r"\u001b[2Jbeep\u0007"), "{lines:?}");
        assert!(output.stdout.iter().all(|byte| *byte == b'\n' || !byte.is_ascii_control()));
    }
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let redis = filled();
    let mut tail = Tail::start(&redis.url(), &["--from", "0"]);
    assert!(tail.line_and_close().contains("heartbeat"));
    assert_eq!(tail.end(), (Some(0), "following socket.io\n".to_owned()));
}

#[test]
fn an_interruption_ends_it_cleanly() {
    let redis = filled();
    let mut tail = Tail::start(&redis.url(), &["--from", "0", "--count", "1000"]);
    for _ in 0..6 {
        tail.line();
    }
    tail.interrupt();
    assert_eq!(tail.end().0, Some(0));
}

#[test]
fn entries_that_were_trimmed_unseen_are_counted() {
    let redis = RedisServer::start().unwrap();
    redis.command(&["XADD", "socket.io", "*", "uid", "n", "nsp", "/", "type", "1"]);
    let mut tail = Tail::start(&redis.url(), &["--json"]);
    tail.note("following");
    // A script is one step: nothing is read in between.
    let script = "for i = 1, 20 do redis.call('XADD', KEYS[1], 'MAXLEN', '5', '*', 'uid', 'n', 'nsp', '/', 'type', '2') end";
    redis.command(&["EVAL", script, "1", "socket.io"]);
    let gap: Value = serde_json::from_str(&tail.line()).unwrap();
    assert_eq!(gap, serde_json::json!({ "kind": "gap", "stream": "socket.io", "missing": 15 }));
    tail.note("15 entries of socket.io were trimmed before they were read");
    for _ in 0..5 {
        assert!(tail.line().contains("\"heartbeat\""));
    }
}

#[test]
fn a_lost_link_is_restored_and_nothing_is_missed() {
    let redis = RedisServer::start().unwrap();
    let mut tail = Tail::start(&redis.url(), &["--dialect", "streams-0.3", "--json"]);
    tail.note("following channels socket.io#*, socket.io (which does not exist yet)");
    redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    redis.command(&["XADD", "socket.io", "*", "uid", "n", "nsp", "/", "type", "2"]);
    let heartbeat: Value = serde_json::from_str(&tail.line()).unwrap();
    assert_eq!(heartbeat["kind"], "heartbeat");
    for subject in ["socket.io", "channels socket.io#*"] {
        tail.note(&format!("{subject}: the link is lost ("));
        tail.note(&format!("{subject}: connected again after"));
    }
    redis.command(&["PUBLISH", "socket.io#/#", r#"{"uid":"n","nsp":"/","type":9,"data":{"packet":["hi"]}}"#]);
    let said: Value = serde_json::from_str(&tail.line()).unwrap();
    assert_eq!((&said["channel"], &said["event"]), (&"socket.io#/#".into(), &"hi".into()));
    redis.command(&["DEL", "socket.io"]);
    tail.note("the stream was deleted, or went back");
}

#[test]
fn all_streams_are_followed_and_those_that_no_node_server_reads() {
    let redis = RedisServer::start().unwrap();
    let mut tail = Tail::start(&redis.url(), &["--stream", "s", "--stream-count", "2", "--json"]);
    tail.note("following s--1 (which does not exist yet), s-0 (which does not exist yet), s-1");
    for stream in ["s-0", "s--1", "s-1"] {
        redis.command(&["XADD", stream, "*", "uid", "n", "nsp", "/", "type", "2"]);
        let heartbeat: Value = serde_json::from_str(&tail.line()).unwrap();
        assert_eq!((&heartbeat["kind"], &heartbeat["stream"]), (&"heartbeat".into(), &stream.into()));
    }
}

#[test]
fn the_rights_on_the_page_are_enough() {
    let rights = |name: &str| {
        let prefix = format!("ACL SETUSER {name} on >password ");
        let line = PAGE.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap();
        RedisServer::builder().user(name, "password", line).start().unwrap()
    };
    let beat = |redis: &RedisServer| {
        redis.command(&["XADD", "socket.io", "*", "uid", "n", "nsp", "/", "type", "2"]);
    };
    let redis = rights("tail-streams");
    let mut tail = Tail::start(&redis.url_as("tail-streams", "password"), &["--json"]);
    tail.note("following");
    beat(&redis);
    assert!(tail.line().contains("heartbeat"));

    let redis = rights("tail-channels");
    let url = redis.url_as("tail-channels", "password");
    let mut tail = Tail::start(&url, &["--dialect", "streams-0.3", "--json"]);
    let mut classic = Tail::start(&url, &["--dialect", "classic", "--json"]);
    tail.note("following");
    classic.note("following");
    beat(&redis);
    assert!(tail.line().contains("heartbeat"));
    redis.command(&["PUBLISH", "socket.io-request#/#", r#"{"uid":"n","type":1,"requestId":"r"}"#]);
    assert!(classic.line().contains("fetch-rooms"));

    let redis = rights("tail-sharded");
    let url = redis.url_as("tail-sharded", "password");
    let mut other = redis.connect().unwrap();
    other.command(&["SSUBSCRIBE", "socket.io#/#room#"]).unwrap();
    let mut tail = Tail::start(&url, &["--dialect", "sharded", "--json"]);
    // It is said when the channels that there are have been subscribed to.
    tail.note("following");
    let message = r#"{"uid":"n","nsp":"/","type":9,"data":{"packet":["hi"]}}"#;
    redis.command(&["SPUBLISH", "socket.io#/#room#", message]);
    assert!(tail.line().contains("\"hi\""));
}

#[test]
fn what_is_emitted_is_seen() {
    let redis = RedisServer::start().unwrap();
    let mut tail = Tail::start(&redis.url(), &["--event", "news"]);
    tail.note("following");
    let args = ["--nsp", "/chat", "--to", "room1", "event", "news", r#"{"n": 1}"#];
    assert!(PAGE.contains(r#"$ sio-streams emit --nsp /chat --to room1 event news '{"n": 1}'"#));
    let mut command = Command::new(env!("CARGO_BIN_EXE_sio-streams"));
    let output = command.args(["emit", "--redis", &redis.url()]).args(args).output().unwrap();
    let (printed, shown) = (lines(&output), PAGE.lines().find(|line| line.starts_with("emitted as ")));
    let words = |line: &str| line.rsplit_once(' ').unwrap().0.to_owned();
    assert_eq!(words(&printed[0]), words(shown.unwrap()));
    let line = tail.line();
    assert!(line.ends_with("/chat   broadcast  to room1  news  [{\"n\":1}]"), "{line}");
}

#[test]
fn a_refusal_ends_it_with_the_reason() {
    let redis = RedisServer::builder().user("ann", "secret", "~* &* -@all +client +ping").start().unwrap();
    let mut tail = Tail::start(&redis.url_as("ann", "secret"), &[]);
    let (code, complaint) = tail.end();
    assert_eq!(code, Some(1), "{complaint}");
    assert!(complaint.contains("NOPERM") && !complaint.contains("secret"), "{complaint}");
}

#[test]
fn the_past_of_channels_can_not_be_asked_for() {
    let args = ["tail", "--dialect", "classic", "--from", "10m"];
    let output = Command::new(env!("CARGO_BIN_EXE_sio-streams")).args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
