//! A proxy that understands the protocol, and changes requests as proxies of managed services do.

mod replies;
mod requests;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::fault::Direction;
use crate::ports;
use replies::Replies;
use requests::Requests;

/// The time between two checks whether an idle connection is to be closed.
const LOOK: Duration = Duration::from_millis(10);

/// A habit: the way in which the proxy changes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Habit {
    /// Answers this command itself, with this refusal, such as `ERR unsupported command`.
    Refuse(&'static str, String),
    /// Answers this command itself, with these lines of RESP, each without its line end. The first
    /// word of the command is enough. More words may follow, as in `CLUSTER SLOTS`.
    Answer(&'static str, Vec<String>),
    /// Closes the connection when this command comes.
    CloseAt(&'static str),
    /// Closes the connection when this command comes on it for the second time.
    CloseAtSecond(&'static str),
    /// Leaves `BLOCK` and its number out of requests.
    StripBlock,
    /// Closes the connection when a request has more bytes.
    LargestRequest(usize),
    /// Closes the connection when a reply or a push has more bytes. No part of it comes through.
    LargestReply(usize),
    /// Closes a connection on which nothing has been asked for this long.
    CloseIdle(Duration),
}

/// Forwards connections to a server, request by request.
///
/// ```no_run
/// use sio_streams_testkit::{Chaos, Habit, RedisServer};
///
/// let redis = RedisServer::start()?;
/// let proxy = Chaos::start(redis.addr(), vec![Habit::CloseAt("HELLO")])?;
/// // ... connect the code under test to proxy.url() ...
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Chaos {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    habits: Mutex<Vec<Habit>>,
    silent: Mutex<Silent>,
    changed: Condvar,
    /// Both ends of each connection that is open, by its number.
    open: Mutex<BTreeMap<usize, [TcpStream; 2]>>,
    /// The times at which connections were taken.
    accepted: Mutex<Vec<Instant>>,
    closed: AtomicBool,
}

/// The directions in which nothing comes through.
#[derive(Debug, Default)]
struct Silent {
    requests: bool,
    replies: bool,
}

impl Chaos {
    /// Listens on a free loopback port. Connections have the habits that are in force when a
    /// request comes.
    pub fn start(target: SocketAddr, habits: Vec<Habit>) -> io::Result<Self> {
        let listener = ports::listen()?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            habits: Mutex::new(habits),
            silent: Mutex::default(),
            changed: Condvar::new(),
            open: Mutex::default(),
            accepted: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Ok(Chaos { addr, shared })
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// The address to connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Other habits from now on, also of connections that are open.
    pub fn habits(&self, habits: Vec<Habit>) {
        *lock(&self.shared.habits) = habits;
    }

    /// Lets nothing through in this direction any more, on any connection, until
    /// [`speak`](Self::speak). No connection is closed.
    pub fn silence(&self, direction: Direction) {
        let mut silent = lock(&self.shared.silent);
        match direction {
            Direction::Requests => silent.requests = true,
            Direction::Replies => silent.replies = true,
        }
    }

    /// Lets everything through again, beginning with what was held back.
    pub fn speak(&self) {
        *lock(&self.shared.silent) = Silent::default();
        self.shared.changed.notify_all();
    }

    /// Connects clients to another server from now on. Connections that are open stay where they
    /// are.
    pub fn retarget(&self, target: SocketAddr) {
        *lock(&self.shared.target) = target;
    }

    /// The number of connections that are open through it.
    pub fn connections(&self) -> usize {
        lock(&self.shared.open).len()
    }

    /// Closes the connections that are open now. New ones are accepted.
    pub fn drop_connections(&self) {
        self.shared.close_connections();
    }

    /// The number of connections that it has taken so far.
    pub fn accepted(&self) -> usize {
        lock(&self.shared.accepted).len()
    }

    /// The times at which it has taken them. Each is between the time at which the client began to
    /// connect and the time at which its first request was passed on.
    pub fn accepted_at(&self) -> Vec<Instant> {
        lock(&self.shared.accepted).clone()
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.speak();
        // It sleeps in accept: knock.
        let _ = TcpStream::connect(self.addr);
        self.shared.close_connections();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.closed.load(Ordering::Relaxed) {
                return;
            }
            let number = {
                let mut accepted = lock(&self.accepted);
                accepted.push(Instant::now());
                accepted.len()
            };
            // An unreachable target: the client sees its connection close.
            if let Ok(client) = client {
                let _ = self.open(number, client);
            }
        }
    }

    fn close_connections(&self) {
        for socket in lock(&self.open).values().flatten() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn open(self: &Arc<Self>, number: usize, client: TcpStream) -> io::Result<()> {
        let target = *lock(&self.target);
        let server = TcpStream::connect(target)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        lock(&self.open).insert(number, [client.try_clone()?, server.try_clone()?]);
        let (from, to) = (server.try_clone()?, client.try_clone()?);
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let _ = shared.answer(&from, &to);
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
            lock(&shared.open).remove(&number);
        });
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let _ = shared.forward(&client, &server);
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        });
        Ok(())
    }

    /// Forwards requests until either side closes the connection, or a habit ends it.
    fn forward(&self, mut client: &TcpStream, mut server: &TcpStream) -> io::Result<()> {
        let mut requests = Requests::new(client.try_clone()?);
        let mut seen: Vec<&str> = Vec::new();
        while self.has_more(client, &requests)? {
            let Some(mut request) = requests.next()? else { break };
            let mut answer = None;
            for habit in lock(&self.habits).iter() {
                match habit {
                    Habit::Refuse(command, words) if request.is(command) => {
                        answer = Some(format!("-{words}\r\n"))
                    }
                    Habit::Answer(command, lines) if request.is(command) => {
                        answer = Some(lines.iter().map(|line| format!("{line}\r\n")).collect())
                    }
                    Habit::CloseAt(command) if request.is(command) => return Ok(()),
                    Habit::CloseAtSecond(command) if request.is(command) => {
                        if seen.contains(command) {
                            return Ok(());
                        }
                        seen.push(command);
                    }
                    Habit::LargestRequest(bytes) if request.size() > *bytes => return Ok(()),
                    Habit::StripBlock => request.strip("BLOCK"),
                    _ => {}
                }
            }
            self.hear(|silent| silent.requests);
            match answer {
                Some(answer) => client.write_all(answer.as_bytes())?,
                None => server.write_all(&request.encoded())?,
            }
        }
        Ok(())
    }

    /// Waits for a request to begin. Returns `false` if the client closes the connection, or has
    /// been idle for too long.
    fn has_more(&self, client: &TcpStream, requests: &Requests) -> io::Result<bool> {
        let since = Instant::now();
        client.set_read_timeout(Some(LOOK))?;
        let more = loop {
            if requests.has_begun() {
                break true;
            }
            match client.peek(&mut [0]) {
                Ok(count) => break count > 0,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) => return Err(error),
            }
            let is_over = |habit: &Habit| matches!(habit, Habit::CloseIdle(time) if since.elapsed() >= *time);
            if lock(&self.habits).iter().any(is_over) {
                break false;
            }
        };
        client.set_read_timeout(None)?;
        Ok(more)
    }

    /// Forwards replies until either side closes the connection, or a habit ends it.
    fn answer(&self, server: &TcpStream, mut client: &TcpStream) -> io::Result<()> {
        let mut replies = Replies::new(server.try_clone()?);
        let most = || {
            let limit = |habit: &Habit| match habit {
                Habit::LargestReply(bytes) => Some(*bytes),
                _ => None,
            };
            lock(&self.habits).iter().filter_map(limit).min().unwrap_or(usize::MAX >> 1)
        };
        while let Some(reply) = replies.next(most())? {
            // The habit may have come into force while the reply was awaited.
            if reply.len() > most() {
                break;
            }
            self.hear(|silent| silent.replies);
            client.write_all(reply)?;
        }
        Ok(())
    }

    /// Waits while the direction is silent.
    fn hear(&self, is_silent: impl Fn(&Silent) -> bool) {
        let mut silent = lock(&self.silent);
        while is_silent(&silent) && !self.closed.load(Ordering::Relaxed) {
            silent = self.changed.wait(silent).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }
}
