//! Who is compared, as processes.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::json;

use super::Result;
use super::job::{Job, Line};
use super::worker::MAX_LEN;

/// A kind of server.
#[derive(Clone, Copy, Debug)]
pub struct Contender {
    /// What people know it by.
    pub name: &'static str,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Node { generation: &'static str, client: &'static str },
    Ours { kind: &'static str },
}

const fn node(name: &'static str, generation: &'static str, client: &'static str) -> Contender {
    Contender { name, what: What::Node { generation, client } }
}

const fn ours(name: &'static str, kind: &'static str) -> Contender {
    Contender { name, what: What::Ours { kind } }
}

/// All of them. The first is the one that the others are compared with.
pub const CONTENDERS: [Contender; 7] = [
    node("streams 0.3.1, redis 4", "0.3", "redis4"),
    node("streams 0.3.1, ioredis", "0.3", "ioredis"),
    node("streams 0.2.3, redis 4", "0.2", "redis4"),
    node("classic 8.3.0, redis 4", "classic", "redis4"),
    ours("sio-streams, redis", "redis-rs"),
    ours("sio-streams, fred", "fred"),
    ours("bare redis crate", "raw"),
];

/// A process of one.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    jobs: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts a process, and waits until it takes part in the cluster.
    ///
    /// # Errors
    ///
    /// If it doesn't.
    pub fn start(contender: Contender, url: &str) -> Result<Self> {
        let mut command = match contender.what {
            What::Ours { kind } => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--worker", kind, url]);
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
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(jobs), Some(lines)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a process without pipes".into());
        };
        let mut worker = Worker { child, jobs, lines: BufReader::new(lines) };
        match worker.line()?.ready {
            true => Ok(worker),
            false => Err(format!("{} is not ready", contender.name).into()),
        }
    }

    /// Gives it a job.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn give(&mut self, job: &Job) -> Result<()> {
        serde_json::to_writer(&mut self.jobs, job)?;
        Ok(self.jobs.write_all(b"\n")?)
    }

    /// Waits for what it says next.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn line(&mut self) -> Result<Line> {
        let mut line = String::new();
        match self.lines.read_line(&mut line)? {
            0 => Err("a worker has ended: see above".into()),
            _ => Ok(serde_json::from_str(&line)?),
        }
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
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../interop/peers/bench.mjs")
}
