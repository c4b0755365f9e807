//! A proxy that understands the protocol, and changes requests as proxies of managed services do.

mod requests;

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use crate::ports;
use requests::Requests;

/// A habit: the way in which the proxy changes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Habit {
    /// Answers this command itself, with this refusal, such as `ERR unsupported command`.
    Refuse(&'static str, String),
    /// Closes the connection when this command comes.
    CloseAt(&'static str),
    /// Leaves `BLOCK` and its number out of requests.
    StripBlock,
    /// Closes the connection when a request has more bytes.
    LargestRequest(usize),
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
    target: SocketAddr,
    habits: Mutex<Vec<Habit>>,
    open: Mutex<Vec<TcpStream>>,
    accepted: AtomicUsize,
    closed: AtomicBool,
}

impl Chaos {
    /// Listens on a free loopback port. Connections have the habits that are in force when a
    /// request comes.
    pub fn start(target: SocketAddr, habits: Vec<Habit>) -> io::Result<Self> {
        let listener = ports::listen()?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            habits: Mutex::new(habits),
            open: Mutex::default(),
            accepted: AtomicUsize::new(0),
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

    /// The number of connections that it has taken so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        // It sleeps in accept: knock.
        let _ = TcpStream::connect(self.addr);
        for socket in lock(&self.shared.open).drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
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
            self.accepted.fetch_add(1, Ordering::Relaxed);
            // An unreachable target: the client sees its connection close.
            if let Ok(client) = client {
                let _ = self.open(client);
            }
        }
    }

    fn open(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.target)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        lock(&self.open).extend([client.try_clone()?, server.try_clone()?]);
        let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let _ = shared.forward(&client, &server);
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        });
        Ok(())
    }

    /// Runs until either side closes, or a habit ends it.
    fn forward(&self, mut client: &TcpStream, mut server: &TcpStream) -> io::Result<()> {
        let mut requests = Requests::new(client.try_clone()?);
        while let Some(mut request) = requests.next()? {
            let mut answer = None;
            for habit in lock(&self.habits).iter() {
                match habit {
                    Habit::Refuse(command, words) if request.is(command) => {
                        answer = Some(format!("-{words}\r\n"))
                    }
                    Habit::CloseAt(command) if request.is(command) => return Ok(()),
                    Habit::LargestRequest(bytes) if request.size() > *bytes => return Ok(()),
                    Habit::StripBlock => request.strip("BLOCK"),
                    _ => {}
                }
            }
            match answer {
                Some(answer) => client.write_all(answer.as_bytes())?,
                None => server.write_all(&request.encoded())?,
            }
        }
        Ok(())
    }
}
