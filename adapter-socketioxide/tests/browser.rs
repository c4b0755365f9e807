//! The example `chat` in headless Chromium. `browser/chat.mjs` has what people do at its pages.
//!
//! It needs Chromium, Node.js, redis-server and the npm packages of the other tests.
//! `cargo xtask test --no-browser` leaves it out.

// Tests may panic: a panic is a failure.
#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{env, thread};

/// Names the browser; `cargo xtask` sets it if there is no `chromium` on the PATH.
const CHROMIUM: &str = "SIO_STREAMS_CHROMIUM";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/chat.mjs");

/// The time limit for the example to start, and to end. It is generous: a busy machine is no
/// failure.
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn browsers_talk_while_a_link_breaks_and_servers_die() {
    let chromium = chromium();
    let mut chat = Chat::start(&build());
    let [rust, node] = chat.urls();
    let Output { status, stdout, stderr } =
        Command::new("node").arg(SCRIPT).arg(&chromium).args([&rust, &node]).output().unwrap();
    let said = [stdout, stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(status.success(), "the last of these steps failed:\n{said}");
    let status = chat.interrupt().expect("Ctrl-C ends the example");
    assert!(status.success(), "Ctrl-C ends the example in order");
    for url in [rust, node] {
        let address = url.strip_prefix("http://").unwrap();
        assert!(TcpStream::connect(address).is_err(), "nothing is left behind at {address}");
    }
}

/// Returns the browser's program. Fails with the name of what is missing.
fn chromium() -> PathBuf {
    let name = env::var_os(CHROMIUM).unwrap_or_else(|| OsString::from("chromium"));
    // A path is not looked up: joined to a directory, an absolute one stays what it is.
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|directory| directory.join(&name)).find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "{} was not found: install Chromium (Debian: apt-get install chromium), or name a binary of Chromium or \
             Chrome in {CHROMIUM}; `cargo xtask test --no-browser` does without",
            name.display(),
        )
    })
}

/// Builds the example as this test was built, and returns the program. Cargo has not built it if
/// only this test was asked for.
fn build() -> PathBuf {
    let exe = env::current_exe().unwrap();
    let profile = exe.ancestors().nth(2).unwrap();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    cargo.args(["build", "--locked", "--example", "chat", "--manifest-path"]).arg(manifest);
    cargo.arg("--target-dir").arg(profile.parent().unwrap());
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    // Some build scripts look at these, and would run again.
    let own = |name: &OsString| {
        ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix))
    };
    for name in env::vars_os().map(|(name, _)| name).filter(own) {
        cargo.env_remove(name);
    }
    let built = cargo.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    profile.join("examples/chat")
}

/// The running example.
struct Chat {
    process: Child,
    lines: Receiver<String>,
}

impl Chat {
    fn start(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.args(["--port", "0"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let output = process.stdout.take().unwrap();
        let (said, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        Chat { process, lines }
    }

    /// Waits for the URLs of the servers, in the order in which they are printed.
    fn urls(&self) -> [String; 2] {
        [(); 2].map(|()| {
            let line = self.lines.recv_timeout(LIMIT).expect("the example prints two URLs");
            line[line.find("http://").expect(&line)..].to_owned()
        })
    }

    /// Does as Ctrl-C does, and waits for the end.
    fn interrupt(&mut self) -> Option<ExitStatus> {
        Command::new("kill").args(["-INT", &self.process.id().to_string()]).status().ok()?;
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Chat {
    /// Ends the example, and with it the servers, after a failure.
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) && self.interrupt().is_none() {
            let _ = self.process.kill();
        }
    }
}
