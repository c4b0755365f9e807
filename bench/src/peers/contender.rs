//! The contenders, as processes.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::Result;
use super::job::{Job, Line};
use super::worker::MAX_LEN;

/// Names the program that drives socketioxide's adapters. It needs a newer compiler than this
/// workspace, and is not one of its members.
pub const OXIDE: &str = "SIO_STREAMS_BENCH_SOCKETIOXIDE";

/// The longest time for which a worker may say nothing. A job takes a second or two.
const SILENCE: Duration = Duration::from_secs(30);

/// A kind of server.
#[derive(Clone, Copy, Debug)]
pub struct Contender {
    /// The key.
    pub key: &'static str,
    /// The name for people.
    pub name: &'static str,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Node { generation: &'static str, client: &'static str },
    Rust,
    Oxide { adapter: &'static str },
}

const fn node(
    key: &'static str,
    name: &'static str,
    generation: &'static str,
    client: &'static str,
) -> Contender {
    Contender { key, name, what: What::Node { generation, client } }
}

/// The key is the worker's kind.
const fn rust(key: &'static str, name: &'static str) -> Contender {
    Contender { key, name, what: What::Rust }
}

/// The adapter is a word of `bench/socketioxide`.
const fn oxide(key: &'static str, name: &'static str, adapter: &'static str) -> Contender {
    Contender { key, name, what: What::Oxide { adapter } }
}

/// All of them. The first is the one that the others are compared with.
pub const CONTENDERS: [Contender; 12] = [
    node("streams-0.3.1", "streams 0.3.1, redis 4", "0.3", "redis4"),
    node("streams-0.3.1-ioredis", "streams 0.3.1, ioredis", "0.3", "ioredis"),
    node("streams-0.2.3", "streams 0.2.3, redis 4", "0.2", "redis4"),
    node("classic", "classic 8.3.0, redis 4", "classic", "redis4"),
    oxide("socketioxide", "socketioxide-redis 0.4.4", "redis"),
    oxide("socketioxide-sio-streams", "sio-streams, socketioxide", "sio-streams"),
    rust("redis", "sio-streams, redis"),
    rust("fred", "sio-streams, fred"),
    rust("bare-redis", "bare redis crate"),
    rust("bare-fred", "bare fred crate"),
    rust("socket", "bytes on a socket"),
    rust("socket-adds-only", "bytes on a socket, adds only"),
];

impl Contender {
    /// Returns `true` if its program is there.
    pub fn is_there(&self) -> bool {
        !matches!(self.what, What::Oxide { .. }) || env::var_os(OXIDE).is_some()
    }

    fn command(&self, url: &str) -> Result<Command> {
        Ok(match self.what {
            What::Rust => {
                let mut command = Command::new(env::current_exe()?);
                command.args(["--worker", self.key, url]);
                command
            }
            What::Oxide { adapter } => {
                let program = env::var_os(OXIDE).ok_or("socketioxide's program is not there")?;
                let mut command = Command::new(program);
                command.args([adapter, url]);
                command
            }
            What::Node { generation, client } => {
                let adapter = match generation {
                    "classic" => json!({}),
                    _ => json!({ "maxLen": MAX_LEN }),
                };
                let config =
                    json!({ "generation": generation, "client": client, "url": url, "adapter": adapter });
                let mut command = Command::new("node");
                command.arg(script()).arg(config.to_string());
                command
            }
        })
    }
}

/// A process of one.
#[derive(Debug)]
pub struct Worker {
    name: &'static str,
    child: Child,
    jobs: ChildStdin,
    lines: Receiver<std::io::Result<String>>,
}

impl Worker {
    /// Starts a process.
    ///
    /// # Errors
    ///
    /// If it can't be started.
    pub fn start(contender: Contender, url: &str) -> Result<Self> {
        let mut child = contender.command(url)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(jobs), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a process without pipes".into());
        };
        let (said, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                if said.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Worker { name: contender.name, child, jobs, lines })
    }

    /// Waits until it takes part in the cluster.
    ///
    /// # Errors
    ///
    /// If it doesn't.
    pub fn ready(&mut self) -> Result<()> {
        match self.line()?.ready {
            true => Ok(()),
            false => Err(format!("{} is not ready", self.name).into()),
        }
    }

    /// Sends a job.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn give(&mut self, job: &Job) -> Result<()> {
        serde_json::to_writer(&mut self.jobs, job)?;
        Ok(self.jobs.write_all(b"\n")?)
    }

    /// Waits for its next line.
    ///
    /// # Errors
    ///
    /// If it is gone, or says nothing for long: it waits for a message that was lost.
    pub fn line(&mut self) -> Result<Line> {
        let line = self.lines.recv_timeout(SILENCE);
        let line = line.map_err(|_| format!("{} has ended, or waits for what doesn't come", self.name))?;
        Ok(serde_json::from_str(&line?)?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/interop/peers/bench.mjs")
}
