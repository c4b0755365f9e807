//! The launcher starts Redis, the links to it, and the servers. It breaks and ends them when a page
//! asks for it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use sio_streams_testkit::{Proxy, RedisServer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use url::Url;

use crate::{Error, PEERS};

/// The length of an outage.
const OUTAGE: Duration = Duration::from_secs(2);

/// The time that Redis and the servers have to answer, and the servers to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The Node.js server.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/chat/server.mjs");

/// A line that a server writes: that it listens, or what a person at its page wants.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Ready(u16),
    Cut(String),
    Kill(String),
    Start(String),
}

#[derive(Debug)]
enum Happening {
    Said(Line),
    Ended,
    OutageOver,
}

/// One of the two servers.
struct Server {
    key: &'static str,
    title: &'static str,
    link: Proxy,
    url: String,
    is_cut: bool,
    /// The port, as soon as it is known. It stays the same when the server is started again.
    port: u16,
    is_ready: bool,
    process: Option<(Child, ChildStdin)>,
}

/// Runs the example until Ctrl-C.
pub(crate) async fn run(redis: Option<String>, port: u16) -> Result<(), Error> {
    look_for_node().await?;
    // It ends when it is dropped.
    let (_own, url) = match redis {
        Some(url) => (None, Url::parse(&url).map_err(|error| format!("--redis {url}: {error}"))?),
        None => {
            let redis = RedisServer::start()?;
            let url = Url::parse(&redis.url())?;
            (Some(redis), url)
        }
    };
    let address = address(&url).await?;
    let node_port = if port == 0 { 0 } else { port.checked_add(1).ok_or("there is no next port")? };
    let mut servers = [
        Server::new("rust", "Rust · socketioxide", &url, address, port)?,
        Server::new("node", "Node.js · socket.io", &url, address, node_port)?,
    ];
    let (happens, mut happenings) = mpsc::unbounded_channel();
    for (number, server) in servers.iter_mut().enumerate() {
        server.start(number, &happens)?;
    }

    let mut announced = false;
    let stop = stop();
    tokio::pin!(stop);
    loop {
        let (number, happening) = tokio::select! {
            () = &mut stop => break,
            Some(happening) = happenings.recv() => happening,
        };
        let find = |key: &str| servers.iter().position(|server| server.key == key);
        match happening {
            Happening::Said(Line::Ready(port)) => {
                (servers[number].port, servers[number].is_ready) = (port, true);
            }
            Happening::Said(Line::Cut(key)) => {
                if let Some(number) = find(&key) {
                    servers[number].cut(number, &happens);
                }
            }
            Happening::Said(Line::Kill(key)) => {
                if let Some((process, _)) = find(&key).and_then(|number| servers[number].process.as_mut()) {
                    process.start_kill()?;
                }
            }
            Happening::Said(Line::Start(key)) => {
                if let Some(number) = find(&key) {
                    servers[number].start(number, &happens)?;
                }
            }
            Happening::Ended => {
                (servers[number].process, servers[number].is_ready) = (None, false);
                if !announced {
                    return Err(format!("the server {} has ended", servers[number].title).into());
                }
            }
            Happening::OutageOver => {
                servers[number].link.restore()?;
                servers[number].is_cut = false;
            }
        }
        if !announced && servers.iter().all(|server| server.is_ready) {
            announced = true;
            for server in &servers {
                println!("{:<20} http://127.0.0.1:{}", server.title, server.port);
            }
            println!("Open both in a browser. Ctrl-C ends the servers.");
        }
        tell(&mut servers).await;
    }
    println!("ending");
    for server in &mut servers {
        server.end().await;
    }
    Ok(())
}

/// Tells the servers about each other.
async fn tell(servers: &mut [Server]) {
    let state = servers.iter().map(|server| {
        json!({
            "key": server.key,
            "title": server.title,
            "url": format!("http://127.0.0.1:{}", server.port),
            "running": server.is_ready,
            "cut": server.is_cut,
        })
    });
    let line = format!("{}\n", Value::Array(state.collect()));
    for server in servers {
        if let Some((_, input)) = &mut server.process {
            // A process that has just ended takes nothing.
            let _ = input.write_all(line.as_bytes()).await;
        }
    }
}

impl Server {
    fn new(
        key: &'static str,
        title: &'static str,
        redis: &Url,
        address: SocketAddr,
        port: u16,
    ) -> Result<Self, Error> {
        let link = Proxy::start(address)?;
        let mut url = redis.clone();
        url.set_host(Some("127.0.0.1"))?;
        url.set_port(Some(link.port())).map_err(|()| format!("{redis} has no place for a port"))?;
        let url = url.into();
        Ok(Server { key, title, link, url, is_cut: false, port, is_ready: false, process: None })
    }

    /// Starts the process, unless it runs.
    fn start(
        &mut self,
        number: usize,
        happens: &mpsc::UnboundedSender<(usize, Happening)>,
    ) -> Result<(), Error> {
        if self.process.is_some() {
            return Ok(());
        }
        let port = self.port.to_string();
        let mut command = match self.key {
            "node" => Command::new("node"),
            _ => Command::new(std::env::current_exe()?),
        };
        match self.key {
            "node" => command.args([SCRIPT, &self.url, &port]),
            _ => command.args(["--serve", "--redis", &self.url, "--port", &port]),
        };
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("a process without pipes".into());
        };
        self.process = Some((process, input));
        let happens = happens.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                match serde_json::from_str(&line) {
                    Ok(line) => drop(happens.send((number, Happening::Said(line)))),
                    Err(_) => eprintln!("{line}"),
                }
            }
            let _ = happens.send((number, Happening::Ended));
        });
        Ok(())
    }

    /// Cuts the link for a while, unless it is cut.
    fn cut(&mut self, number: usize, happens: &mpsc::UnboundedSender<(usize, Happening)>) {
        if self.is_cut {
            return;
        }
        self.is_cut = true;
        self.link.cut();
        let happens = happens.clone();
        tokio::spawn(async move {
            tokio::time::sleep(OUTAGE).await;
            let _ = happens.send((number, Happening::OutageOver));
        });
    }

    /// Lets the process end by itself, or kills it if that takes too long.
    async fn end(&mut self) {
        let Some((mut process, input)) = self.process.take() else { return };
        drop(input);
        if timeout(PATIENCE, process.wait()).await.is_err() {
            let _ = process.kill().await;
        }
    }
}

async fn look_for_node() -> Result<(), Error> {
    if Command::new("node").arg("--version").output().await.is_err() {
        return Err("node was not found: install Node.js 20 or later (https://nodejs.org/download)".into());
    }
    match Path::new(PEERS).join("socket.io").exists() {
        true => Ok(()),
        false => {
            Err("the npm packages of the Node.js server are not installed: run `cargo xtask setup --no-browser`, or \
                      `npm ci` in tests/interop/peers"
                .into())
        }
    }
}

/// Returns the address of a Redis server, after a look whether somebody is there.
async fn address(url: &Url) -> Result<SocketAddr, Error> {
    if url.scheme() != "redis" {
        return Err(format!("{url}: a link that can be cut needs a URL with `redis://`").into());
    }
    let host = url.host_str().ok_or_else(|| format!("{url} names no host"))?;
    let host = host.trim_matches(['[', ']']);
    let place = (host, url.port().unwrap_or(6379));
    let address = place.to_socket_addrs()?.next().ok_or_else(|| format!("{host} has no address"))?;
    match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(address),
        Ok(Err(error)) => Err(format!("no Redis server at {address}: {error}").into()),
        Err(_) => Err(format!("no Redis server at {address}: it doesn't answer").into()),
    }
}

/// Waits until somebody wants the example to end.
async fn stop() {
    #[cfg(unix)]
    if let Ok(mut terminated) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}
