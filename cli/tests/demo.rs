//! Runs the program as people do.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::process::{Command, Output};
use std::thread;

use sio_streams_testkit::RedisServer;

const DIALECTS: [&str; 3] = ["streams-0.2", "streams-0.3", "bridge"];

/// Times longer than usual anything may take. On a busy machine a server may get no turn for
/// seconds; it must not count as dead for it. A dead one is waited for as much longer.
const PATIENCE: &str = "4";

fn sio_streams(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sio-streams")).args(args).output().unwrap()
}

fn play(args: &[&str]) -> Output {
    sio_streams(&[&["demo", "--patience", PATIENCE], args].concat())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs the demo, which must be content with itself, and returns what it printed.
fn demo(args: &[&str]) -> String {
    let output = play(args);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}\n{printed}\n{}", output.status, text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    for line in [
        "✓ every server counts three servers",
        "✓ each of the six clients got it, once",
        "✓ the bytes arrived as they were sent",
        "✓ all six are found, with their rooms and data",
        "lima  5 of 6 clients acknowledged, not all from pune, the time is up",
        "lima    cleo has 0 of 1000",
        "lima    cleo has 1000 of 1000",
        "✓ nothing is lost: every client got all 1000, once, in order",
        "✓ the question is answered without the dead server",
        "✓ oslo is alone, and knows it",
    ] {
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let printed_so =
            |printed: &str| printed.split_whitespace().collect::<Vec<_>>().join(" ").contains(&words);
        assert!(printed.lines().any(printed_so), "no line says {line:?}:\n{printed}");
    }
    let last = printed.trim_end().lines().last().unwrap_or_default();
    assert!(last.starts_with("demo: ") && last.contains(" checks passed in "), "{last}");
    assert!(!printed.contains('✗') && !printed.contains('\x1b'), "{printed}");
    printed.to_owned()
}

/// All at once: most of the time they wait.
fn in_every_dialect(play: impl Fn(&str) + Sync) {
    thread::scope(|scope| {
        for dialect in DIALECTS {
            scope.spawn(|| play(dialect));
        }
    });
}

#[test]
fn the_demo_passes_in_memory_in_every_dialect() {
    in_every_dialect(|dialect| {
        let printed = demo(&["--dialect", dialect]);
        assert!(printed.contains(&format!("dialect   {dialect}")), "{printed}");
        let heartbeats = dialect != "streams-0.3";
        assert_eq!(printed.contains("pune has been silent for too long"), heartbeats, "{printed}");
        assert_eq!(printed.contains("lima has said goodbye"), heartbeats, "{printed}");
    });
}

#[test]
fn the_demo_passes_on_a_real_server_in_every_dialect_and_leaves_nothing_behind() {
    let redis = RedisServer::builder().requirepass("secret").start().unwrap();
    in_every_dialect(|dialect| {
        let printed = demo(&["--redis", &redis.url(), "--dialect", dialect]);
        assert!(printed.contains(&redis.port().to_string()), "{printed}");
        assert!(!printed.contains("secret"), "{printed}");
    });
    assert_eq!(redis.command(&["DBSIZE"]).as_int(), Some(0));
}

#[test]
fn a_stream_with_a_given_name_is_kept() {
    let redis = RedisServer::start().unwrap();
    demo(&["--redis", &redis.url(), "--stream", "chosen"]);
    assert!(redis.command(&["XLEN", "chosen"]).as_int() > Some(1000));
}

#[test]
fn a_server_that_is_not_there_is_named_at_once_and_without_its_password() {
    let output = play(&["--redis", "redis://ann:secret@127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let complaint = text(&output.stderr);
    assert!(
        complaint.starts_with("error: redis://ann:…@127.0.0.1:1: can't connect to Redis: "),
        "{complaint}"
    );
    assert!(complaint.contains("refused") && !complaint.contains("secret"), "{complaint}");
}

#[test]
fn a_wrong_password_is_what_the_complaint_is_about() {
    let redis = RedisServer::builder().requirepass("right").start().unwrap();
    let output = play(&["--redis", &redis.url().replace("right", "wrong")]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("WRONGPASS") && !complaint.contains("wrong@"), "{complaint}");
}

#[test]
fn a_user_without_rights_is_told_so() {
    let redis = RedisServer::builder().user("ann", "secret", "~* &* -@all +client +ping").start().unwrap();
    let output = play(&["--redis", &redis.url_as("ann", "secret")]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("it refuses: ") && complaint.contains("NOPERM"), "{complaint}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for args in [&["demo", "--dialect", "streams-0.4"][..], &["demo", "--stream", ""], &["dmeo"], &[]] {
        let output = sio_streams(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains("--help"), "{args:?}: {}", text(&output.stderr));
    }
    let output = sio_streams(&["demo", "--dialect", "streams-0.4"]);
    assert!(text(&output.stderr).contains("streams-0.3"), "{}", text(&output.stderr));
    let output = sio_streams(&["demo", "--redis", "http://:secret@127.0.0.1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!text(&output.stderr).contains("secret"), "{}", text(&output.stderr));
}

#[test]
fn help_and_version_are_there() {
    let help = sio_streams(&["demo", "--help"]);
    assert!(help.status.success());
    assert!(
        text(&help.stdout).contains("sio-streams demo --redis redis://127.0.0.1:6379"),
        "{}",
        text(&help.stdout)
    );
    let version = sio_streams(&["--version"]);
    assert_eq!(text(&version.stdout).trim(), concat!("sio-streams ", env!("CARGO_PKG_VERSION")));
}
