//! The control channel: one JSON line for each request and each reply, over the process's standard
//! streams.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::{Error, Result};

/// The time limit for a peer to get ready. Its own bound is shorter and says more.
const START_BOUND: Duration = Duration::from_secs(180);

/// The time limit for anything else that a peer does. Its own waits have shorter bounds.
const BOUND: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(crate) struct Control {
    stdin: tokio::sync::Mutex<ChildStdin>,
    process: Mutex<Child>,
    shared: Arc<Shared>,
    gone: watch::Receiver<bool>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    pending: HashMap<u64, oneshot::Sender<Reply>>,
    events: Vec<Value>,
    stderr: String,
    gone: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Reply(Reply),
    Event(Value),
}

#[derive(Debug, Deserialize)]
struct Reply {
    id: u64,
    ok: bool,
    result: Option<Value>,
    error: Option<String>,
}

impl Control {
    /// Starts the process and waits for its `ready` event, which is returned.
    pub(crate) async fn start(dir: &Path, config: &str) -> Result<(Self, Value)> {
        let packages = dir.join("node_modules");
        if !packages.join("socket.io").exists() {
            return Err(Error::NoPackages(packages));
        }
        let mut process = Command::new("node")
            .arg("peer.mjs")
            .arg(config)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound => Error::NoNode,
                _ => Error::Io(e),
            })?;
        let missing = || Error::Gone("no pipe to the process".to_owned());
        let stdin = process.stdin.take().ok_or_else(missing)?;
        let stdout = process.stdout.take().ok_or_else(missing)?;
        let stderr = process.stderr.take().ok_or_else(missing)?;

        let shared = Arc::new(Shared::default());
        let (ready_sender, ready) = oneshot::channel();
        let (gone_sender, gone) = watch::channel(false);
        let errors = tokio::spawn(keep_stderr(stderr, Arc::clone(&shared)));
        tokio::spawn(read_lines(stdout, Arc::clone(&shared), ready_sender, errors, gone_sender));
        let control =
            Self { stdin: tokio::sync::Mutex::new(stdin), process: Mutex::new(process), shared, gone };
        match timeout(START_BOUND, ready).await {
            Ok(Ok(event)) => Ok((control, event)),
            Ok(Err(_)) => Err(control.gone()),
            Err(_) => Err(Error::TimedOut("the peer's start".to_owned())),
        }
    }

    /// Sends a request and waits for its reply, for at most two minutes.
    pub(crate) async fn request(&self, op: &str, params: Map<String, Value>) -> Result<Value> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut state = self.shared.lock();
            if state.gone {
                drop(state);
                return Err(self.gone());
            }
            state.next_id += 1;
            let id = state.next_id;
            state.pending.insert(id, sender);
            id
        };
        let mut request = params;
        request.insert("id".to_owned(), id.into());
        request.insert("op".to_owned(), op.into());
        let mut line = serde_json::to_vec(&request)?;
        line.push(b'\n');
        let answered = async {
            // A peer that dies just now is noticed by its reader, which knows more than a broken
            // pipe.
            let _ = self.stdin.lock().await.write_all(&line).await;
            receiver.await
        };
        match timeout(BOUND, answered).await {
            Ok(Ok(Reply { ok: true, result, .. })) => Ok(result.unwrap_or_default()),
            Ok(Ok(Reply { error, .. })) => {
                Err(Error::Operation { op: op.to_owned(), message: error.unwrap_or_default() })
            }
            Ok(Err(_)) => Err(self.gone()),
            Err(_) => Err(Error::TimedOut(format!("the peer's answer to {op}"))),
        }
    }

    /// The events that the peer reported without being asked.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.shared.lock().events.clone()
    }

    /// The process id, while it runs.
    pub(crate) fn process_id(&self) -> Option<u32> {
        self.process.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).id()
    }

    /// Kills the process and waits until its streams have ended.
    pub(crate) async fn kill(&self) {
        let _ = self.process.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).start_kill();
        let _ = self.ended().await;
    }

    /// Waits until the process has closed its streams, for at most two minutes.
    pub(crate) async fn ended(&self) -> Result<()> {
        match timeout(BOUND, self.gone.clone().wait_for(|gone| *gone)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::TimedOut("the peer's end".to_owned())),
        }
    }

    fn gone(&self) -> Error {
        let state = self.shared.lock();
        let uncaught = state.events.iter().find(|event| event["event"] == "uncaught");
        let words = uncaught.map(|event| format!("uncaught {}: {}\n", event["kind"], event["error"]));
        Error::Gone(words.unwrap_or_default() + state.stderr.trim_end())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

async fn read_lines(
    stdout: impl AsyncRead + Unpin,
    shared: Arc<Shared>,
    ready: oneshot::Sender<Value>,
    errors: tokio::task::JoinHandle<()>,
    gone: watch::Sender<bool>,
) {
    let mut ready = Some(ready);
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Line::Reply(reply)) => {
                let waiting = shared.lock().pending.remove(&reply.id);
                // Nobody waits when the test has dropped the future.
                let _ = waiting.map(|sender| sender.send(reply));
            }
            Ok(Line::Event(event)) if event["event"] == "ready" => {
                let _ = ready.take().map(|sender| sender.send(event));
            }
            Ok(Line::Event(event)) => shared.lock().events.push(event),
            Err(_) => shared.lock().stderr.push_str(&format!("not a line of the control protocol: {line}\n")),
        }
    }
    let _ = errors.await;
    let mut state = shared.lock();
    state.gone = true;
    state.pending.clear();
    drop(state);
    drop(ready);
    let _ = gone.send(true);
}

async fn keep_stderr(stderr: impl AsyncRead + Unpin, shared: Arc<Shared>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut state = shared.lock();
        // Enough to understand, not enough to drown.
        if state.stderr.len() < 64 * 1024 {
            state.stderr.push_str(&line);
            state.stderr.push('\n');
        }
    }
}
