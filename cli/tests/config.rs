//! The configuration file, the environment, and what is made from the options.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::path::PathBuf;
use std::process::{Command, Output};

use sio_streams_testkit::{RedisSentinel, RedisServer};

/// A directory that is removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sio-streams-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn write(&self, text: &str) -> String {
        let path = self.0.join("sio-streams.conf");
        std::fs::write(&path, text).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sio-streams"));
    command.env_remove("HOME").env_remove("XDG_CONFIG_HOME");
    command.args(args).envs(environment.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_file_has_the_defaults_and_the_password() {
    let directory = Directory::new("defaults");
    let redis = RedisServer::builder().requirepass("right").start().unwrap();
    redis.command(&["XADD", "mine", "*", "uid", "n", "nsp", "/", "type", "2"]);
    let address = format!("redis://127.0.0.1:{}", redis.port());
    let text_of = |more: &str| format!("# ours\nredis = {address}\nstream = mine\npassword = right\n{more}");
    let path = directory.write(&text_of("interval = 0.01\njson = true\n"));
    let environment = [("SIO_STREAMS_CONFIG", &*path)];
    let output = run(&["lag"], &environment);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(r#""stream":"mine""#), "{}", text(&output.stdout));
    // The command line and the environment come first.
    let output = run(&["lag", "--stream", "other"], &environment);
    assert_eq!(text(&output.stderr), "there is no stream\n");
    let output = run(&["lag"], &[environment[0], ("SIO_STREAMS_STREAM", "other")]);
    assert_eq!(text(&output.stderr), "there is no stream\n");
    let output = run(&["lag"], &[environment[0], ("REDISCLI_AUTH", "wrong")]);
    assert!(text(&output.stderr).contains("WRONGPASS"), "{}", text(&output.stderr));
    // The password is for no other server: this one would refuse it.
    let other = RedisServer::start().unwrap();
    let output = run(&["lag", "--redis", &other.url()], &environment);
    assert_eq!(text(&output.stderr), "there is no stream\n");
    // It has a place of its own.
    let home = directory.0.to_str().unwrap();
    assert!(run(&["lag"], &[("XDG_CONFIG_HOME", home)]).status.success());
    // The demo goes nowhere that it is not told to by hand.
    let output = run(&["demo", "--help"], &environment);
    assert!(output.status.success() && !text(&output.stdout).contains(&address));

    // A password that others may read is a reason for a word.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let output = run(&["lag"], &environment);
        assert!(output.status.success());
        assert_eq!(text(&output.stderr), format!("warning: {path} has a password, and others may read it\n"));
    }
    for (wrong, complaint) in [
        ("colour = red", "no command has the option"),
        ("redis", "option = value"),
        ("password = x", "whose it is"),
    ] {
        let path = directory.write(wrong);
        let output = run(&["lag"], &[("SIO_STREAMS_CONFIG", &path)]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(complaint), "{}", text(&output.stderr));
    }
    let output = run(&["lag"], &[("SIO_STREAMS_CONFIG", "/nowhere/at/all")]);
    assert_eq!(output.status.code(), Some(2));
    // Without the variable, there need be none.
    let output = run(&["lag", "--redis", "redis://127.0.0.1:1"], &[("HOME", "/nowhere")]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_environment_names_the_cluster() {
    let redis = RedisSentinel::start().unwrap();
    let url = redis.sentinels()[0].url();
    let environment = [("SIO_STREAMS_REDIS", &*url), ("SIO_STREAMS_SENTINEL", redis.master_name())];
    let output =
        run(&["doctor", "--json"], &[&environment[..], &[("SIO_STREAMS_DIALECT", "classic")]].concat());
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains(r#""streams":0"#));
}

#[cfg(feature = "manual")]
#[test]
fn completions_and_pages_are_made() {
    let output = run(&["completions", "bash"], &[]);
    assert!(output.status.success() && text(&output.stdout).contains("doctor"));
    let directory = Directory::new("pages");
    assert!(run(&["man", directory.0.to_str().unwrap()], &[]).status.success());
    let page = std::fs::read_to_string(directory.0.join("sio-streams-doctor.1")).unwrap();
    assert!(page.contains("what is wrong with a cluster"), "{page}");
}
