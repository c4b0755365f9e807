//! A Redis server of its own for a check, on a free port.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::setup;

/// A server that has not come up by then never does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody else may take a port between the moment when it is free and that when it is used.
const ATTEMPTS: usize = 5;

#[derive(Debug)]
pub(crate) struct RedisServer {
    process: Child,
    port: u16,
}

impl RedisServer {
    pub(crate) fn start() -> Result<Self> {
        let redis = setup::redis()?;
        for _ in 0..ATTEMPTS {
            let port = free_port()?;
            let mut command = Command::new(redis.binary());
            command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let process = command
                .spawn()
                .map_err(|source| Error::NotRun { command: crate::process::line(&command), source })?;
            let mut server = Self { process, port };
            if server.is_up() {
                return Ok(server);
            }
        }
        Err(Error::missing(
            format!("no Redis server came up in {ATTEMPTS} attempts"),
            "start one by hand, and see",
        ))
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Waits until it accepts connections, or has ended.
    fn is_up(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < PATIENCE && matches!(self.process.try_wait(), Ok(None)) {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|e| {
        Error::missing(format!("no port is free on 127.0.0.1: {e}"), "end programs that listen there")
    })
}
