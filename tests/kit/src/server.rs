//! A real Redis server of its own for every test.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use crate::builder::RedisServerBuilder;
use crate::ports;
use crate::resp::{Client, Reply};
use crate::temp::TempDir;
use crate::tls::TlsFiles;

/// Names the server binary to use instead of the `redis-server` found on `PATH`.
const BINARY: &str = "SIO_STREAMS_REDIS_SERVER";

/// The time limit for a server's answer to its first PING. It is generous: a loaded machine is no
/// failure.
const START_BOUND: Duration = Duration::from_secs(60);

/// The number of milliseconds until a replica must have what was written.
const REPLICATION_BOUND: &str = "60000";

/// The number of ports that are tried when somebody else was quicker.
const PORT_TRIES: usize = 10;

/// A running `redis-server` with a private directory. Dropping it kills the process and removes the
/// directory.
#[derive(Debug)]
pub struct RedisServer {
    process: Mutex<Option<Child>>,
    /// `true` while the process is frozen.
    paused: AtomicBool,
    port: u16,
    tls: Option<(u16, TlsFiles)>,
    credentials: Option<Credentials>,
    sentinel: bool,
    config: PathBuf,
    // Last: the directory must outlive the process.
    dir: TempDir,
}

#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) password: String,
}

/// Why a process did not come up.
enum StartError {
    PortTaken(String),
    Other(io::Error),
}

impl RedisServer {
    /// Starts a server with the default options.
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// Options first, then [`start`](RedisServerBuilder::start).
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder::default()
    }

    pub(crate) fn launch(options: &RedisServerBuilder) -> io::Result<Self> {
        let dir = TempDir::new()?;
        let config = dir.path().join("redis.conf");
        let files = match options.wants_tls() {
            true => Some(TlsFiles::generate(dir.path())?),
            false => None,
        };
        let mut server = Self {
            process: Mutex::new(None),
            paused: AtomicBool::new(false),
            port: 0,
            tls: None,
            credentials: options.credentials(),
            sentinel: options.is_sentinel(),
            config,
            dir,
        };
        let mut taken = String::new();
        for _ in 0..PORT_TRIES {
            server.port = ports::free()?;
            server.tls = match &files {
                Some(files) => Some((ports::free()?, files.clone())),
                None => None,
            };
            let tls = server.tls.as_ref().map(|(port, files)| (*port, files));
            options.write(&server.config, server.dir.path(), server.port, tls)?;
            match server.spawn() {
                Ok(()) => return Ok(server),
                Err(StartError::PortTaken(log)) => taken = log,
                Err(StartError::Other(e)) => return Err(e),
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, format!("no free port in {PORT_TRIES} tries:\n{taken}")))
    }

    /// The plain port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The plain address.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// `redis://127.0.0.1:<port>`, with the password if one was asked for.
    pub fn url(&self) -> String {
        self.url_on("redis", self.port)
    }

    /// The same URL as [`url`](Self::url), but through another port, such as a
    /// [`Proxy`](crate::Proxy)'s.
    pub fn url_via(&self, port: u16) -> String {
        self.url_on("redis", port)
    }

    /// `redis://<user>:<password>@127.0.0.1:<port>` for an ACL user.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@127.0.0.1:{}", self.port)
    }

    /// `rediss://localhost:<port>` of the TLS port, if [`tls`](RedisServerBuilder::tls) was asked
    /// for.
    pub fn tls_url(&self) -> Option<String> {
        self.tls.as_ref().map(|(port, _)| self.url_on("rediss", *port).replace("127.0.0.1", "localhost"))
    }

    /// The certificates of the TLS port.
    pub fn tls_files(&self) -> Option<&TlsFiles> {
        self.tls.as_ref().map(|(_, files)| files)
    }

    /// The server's private directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A connection of its own, logged in.
    pub fn connect(&self) -> io::Result<Client> {
        let mut client = Client::connect(self.addr())?;
        if let Some(Credentials { password }) = &self.credentials {
            match client.command(&["AUTH", password])? {
                Reply::Error(e) => return Err(io::Error::other(e)),
                _ => return Ok(client),
            }
        }
        Ok(client)
    }

    /// Runs one command on a fresh connection.
    ///
    /// # Panics
    /// If the server can't be reached. Use [`try_command`](Self::try_command) where that is part of
    /// the test.
    pub fn command<A: AsRef<[u8]>>(&self, args: &[A]) -> Reply {
        match self.try_command(args) {
            Ok(reply) => reply,
            Err(e) => panic!("redis-server on port {} did not answer: {e}", self.port),
        }
    }

    /// Runs one command on a fresh connection.
    ///
    /// If this process was stopped meanwhile and continues, the system ends a read that has a time
    /// limit. Then the command is run again.
    pub fn try_command<A: AsRef<[u8]>>(&self, args: &[A]) -> io::Result<Reply> {
        loop {
            match self.connect()?.command(args) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Runs one command on a fresh connection, which must not be refused.
    pub(crate) fn order(&self, args: &[&str]) -> io::Result<()> {
        match self.try_command(args)? {
            Reply::Error(e) => Err(io::Error::other(format!("{}: {e}", args.join(" ")))),
            _ => Ok(()),
        }
    }

    /// Returns `true` if it can be asked, and says that this is its role.
    pub(crate) fn is(&self, role: &str) -> bool {
        let found = self.try_command(&["ROLE"]);
        found.is_ok_and(|found| found.items().first().and_then(Reply::as_str) == Some(role))
    }

    /// The number of times that it has executed a command.
    ///
    /// # Panics
    /// If it can't be asked, or its answer is no number.
    pub fn calls(&self, command: &str) -> u64 {
        let info = self.command(&["INFO", "commandstats"]);
        let line = info.as_str().unwrap_or_default().lines().find_map(|line| {
            line.strip_prefix("cmdstat_")?.strip_prefix(command)?.strip_prefix(":calls=")?.split(',').next()
        });
        match line.map(str::parse) {
            None => 0,
            Some(Ok(calls)) => calls,
            Some(Err(e)) => panic!("calls of {command}: {e}"),
        }
    }

    /// Waits until a replica has all that was written so far. In a cluster, `key` is one of this
    /// server's.
    pub fn replicated(&self, key: &str) -> io::Result<()> {
        let mut client = self.connect()?;
        // WAIT is about the writes of its own connection: without one it says at once how many
        // replicas there are.
        client.command(&["SET", &format!("{{{key}}}:replicated"), "yes"])?;
        match client.command(&["WAIT", "1", REPLICATION_BOUND])?.as_int() {
            Some(1..) => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::TimedOut, "no replica has what was written")),
        }
    }

    /// Kills the server with SIGKILL and waits until it is gone. Does nothing when it is dead
    /// already.
    pub fn kill(&self) {
        if let Some(mut process) = self.lock().take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        self.paused.store(false, Ordering::Relaxed);
    }

    /// Returns `true` if it runs and is not frozen.
    pub fn is_awake(&self) -> bool {
        self.is_running() && !self.paused.load(Ordering::Relaxed)
    }

    /// Returns `true` if it has been started and not been killed.
    pub fn is_running(&self) -> bool {
        self.lock().is_some()
    }

    /// Kills the server if it still runs, and starts it again on the same port, in the same
    /// directory.
    pub fn restart(&self) -> io::Result<()> {
        self.kill();
        let deadline = Instant::now() + START_BOUND;
        loop {
            match self.spawn() {
                Ok(()) => return Ok(()),
                // An outgoing connection of somebody else may sit on the port for a moment.
                Err(StartError::PortTaken(_)) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(50))
                }
                Err(StartError::PortTaken(log)) => return Err(io::Error::new(io::ErrorKind::AddrInUse, log)),
                Err(StartError::Other(e)) => return Err(e),
            }
        }
    }

    /// Freezes the process (SIGSTOP): connections stay open, nothing is answered.
    pub fn pause(&self) -> io::Result<()> {
        self.signal("-STOP")?;
        self.paused.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn resume(&self) -> io::Result<()> {
        self.signal("-CONT")?;
        self.paused.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn signal(&self, signal: &str) -> io::Result<()> {
        let process = self.lock();
        let id = process.as_ref().ok_or_else(|| io::Error::other("the server does not run"))?.id();
        let status = Command::new("kill").args([signal, &id.to_string()]).status()?;
        match status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("kill {signal} {id}: {status}"))),
        }
    }

    /// Starts the process and waits until it answers PING.
    fn spawn(&self) -> Result<(), StartError> {
        let log = self.dir.path().join("redis.log");
        let _ = fs::remove_file(&log);
        let binary = env::var_os(BINARY).unwrap_or_else(|| OsString::from("redis-server"));
        let spawned = Command::new(&binary)
            .arg(&self.config)
            .args(self.sentinel.then_some("--sentinel"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut process = spawned.map_err(|e| StartError::Other(explain(&binary, e)))?;
        let deadline = Instant::now() + START_BOUND;
        loop {
            if let Ok(Some(status)) = process.try_wait() {
                let log = fs::read_to_string(&log).unwrap_or_default();
                return Err(
                    match log.contains("bind: Address already in use") || log.contains("Failed listening") {
                        true => StartError::PortTaken(log),
                        false => StartError::Other(io::Error::other(format!(
                            "redis-server ended with {status}:\n{log}"
                        ))),
                    },
                );
            }
            // Not any server that answers on this port: this one. Its process id tells.
            let ours = format!("process_id:{}\r\n", process.id());
            let info = self.try_command(&["INFO", "server"]);
            if info.is_ok_and(|info| info.as_str().is_some_and(|text| text.contains(&ours))) && self.answers()
            {
                *self.lock() = Some(process);
                return Ok(());
            }
            if Instant::now() > deadline {
                let _ = process.kill();
                let _ = process.wait();
                return Err(StartError::Other(io::ErrorKind::TimedOut.into()));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn answers(&self) -> bool {
        self.try_command(&["PING"]).is_ok_and(|reply| reply.as_str() == Some("PONG"))
    }

    fn url_on(&self, scheme: &str, port: u16) -> String {
        match &self.credentials {
            Some(Credentials { password }) => format!("{scheme}://:{password}@127.0.0.1:{port}"),
            None => format!("{scheme}://127.0.0.1:{port}"),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn explain(binary: &OsString, e: io::Error) -> io::Error {
    if e.kind() != io::ErrorKind::NotFound {
        return e;
    }
    let text = format!(
        "{} was not found: install Redis 6.2 or later (Debian, Ubuntu: apt-get install redis-server; macOS: brew \
         install redis), or name a Redis or Valkey server binary in {BINARY}",
        binary.to_string_lossy()
    );
    io::Error::new(io::ErrorKind::NotFound, text)
}
