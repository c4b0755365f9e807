//! A link that can be broken: a TCP proxy in front of a server.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::fault::{Direction, Fault, Faults, Trouble};
use crate::ports;

/// How often a thread that waits for ever looks around.
const LONG: Duration = Duration::from_secs(60);

/// Forwards connections to a target, and breaks them on demand. Dropping it closes them all.
///
/// [`cut`](Self::cut) is a server that is gone: connections close, new ones are refused.
/// [`stall`](Self::stall) is a network that is silent: connections stay open and nothing comes through.
/// To lose a reply whose command has been carried out: [`stall_replies`](Self::stall_replies), send, then `cut`.
/// To break the link in the middle of a command or a reply: [`inject`](Self::inject).
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    link: Arc<Link>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Link {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    cut: bool,
    faults: Faults,
    request_delay: Duration,
    reply_delay: Duration,
    requests_stalled: bool,
    replies_stalled: bool,
    next_id: u64,
    connections: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    id: u64,
    client: TcpStream,
    server: TcpStream,
}

impl Proxy {
    /// Listens on a free loopback port and forwards to `target`.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = ports::listen()?;
        let addr = listener.local_addr()?;
        let link = Arc::new(Link { state: Mutex::new(State::new(target)), changed: Condvar::new() });
        let acceptor = accept_on(listener, Arc::clone(&link));
        Ok(Self { addr, link, acceptor: Mutex::new(Some(acceptor)) })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The address to connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// How many connections are open through the proxy.
    pub fn connections(&self) -> usize {
        self.link.lock().connections.len()
    }

    /// Closes all connections and refuses new ones, until [`restore`](Self::restore).
    pub fn cut(&self) {
        self.link.lock().cut = true;
        self.link.changed.notify_all();
        self.stop_accepting();
        self.close_connections();
    }

    /// Accepts connections again, on the same port.
    pub fn restore(&self) -> io::Result<()> {
        self.stop_accepting();
        let deadline = Instant::now() + Duration::from_secs(60);
        let listener = loop {
            match TcpListener::bind(self.addr) {
                Ok(listener) => break listener,
                // An outgoing connection of somebody else may sit on the port for a moment.
                Err(e) if e.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(e) => return Err(e),
            }
        };
        self.link.lock().cut = false;
        *self.acceptor() = Some(accept_on(listener, Arc::clone(&self.link)));
        Ok(())
    }

    /// Closes the connections that are open now; new ones are accepted.
    pub fn drop_connections(&self) {
        self.close_connections();
    }

    /// Holds back everything, in both directions, until [`unstall`](Self::unstall).
    pub fn stall(&self) {
        self.set_stalled(true, true);
    }

    /// Holds back what the server answers; requests still reach it.
    pub fn stall_replies(&self) {
        self.set_stalled(false, true);
    }

    /// Holds back what clients send; answers still reach them.
    pub fn stall_requests(&self) {
        self.set_stalled(true, false);
    }

    /// Lets everything through again, what was held back first.
    pub fn unstall(&self) {
        self.set_stalled(false, false);
    }

    /// Has something happen to the link at a byte that is still to come.
    pub fn inject(&self, fault: Fault) {
        self.link.lock().faults.add(fault);
    }

    /// How many faults have not struck yet.
    pub fn faults(&self) -> usize {
        self.link.lock().faults.len()
    }

    /// Nothing more happens by itself: forgets the faults that have not struck, and the delays. Connections that are broken stay so.
    pub fn calm(&self) {
        let mut state = self.link.lock();
        state.faults.clear();
        (state.request_delay, state.reply_delay) = (Duration::ZERO, Duration::ZERO);
        drop(state);
        self.link.changed.notify_all();
    }

    /// Connects clients to another server from now on. Connections that are open stay where they are.
    pub fn retarget(&self, target: SocketAddr) {
        self.link.lock().target = target;
    }

    fn set_stalled(&self, requests: bool, replies: bool) {
        let mut state = self.link.lock();
        state.requests_stalled = requests;
        state.replies_stalled = replies;
        drop(state);
        self.link.changed.notify_all();
    }

    fn close_connections(&self) {
        for connection in self.link.lock().connections.drain(..) {
            let _ = connection.client.shutdown(Shutdown::Both);
            let _ = connection.server.shutdown(Shutdown::Both);
        }
        self.link.changed.notify_all();
    }

    /// Ends the accepting thread, which closes the listener.
    fn stop_accepting(&self) {
        let Some(thread) = self.acceptor().take() else { return };
        self.link.lock().cut = true;
        // It sleeps in accept: knock.
        let _ = TcpStream::connect(self.addr);
        let _ = thread.join();
    }

    fn acceptor(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.acceptor.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

impl State {
    fn new(target: SocketAddr) -> Self {
        State {
            target,
            cut: false,
            faults: Faults::default(),
            request_delay: Duration::ZERO,
            reply_delay: Duration::ZERO,
            requests_stalled: false,
            replies_stalled: false,
            next_id: 0,
            connections: Vec::new(),
        }
    }

    fn is_open(&self, id: u64) -> bool {
        self.connections.iter().any(|connection| connection.id == id)
    }

    fn delay(&mut self, direction: Direction) -> &mut Duration {
        match direction {
            Direction::Requests => &mut self.request_delay,
            Direction::Replies => &mut self.reply_delay,
        }
    }
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Connects a client through to the target.
    fn open(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let target = self.lock().target;
        let server = TcpStream::connect(target)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let id = {
            let mut state = self.lock();
            let id = state.next_id;
            state.next_id += 1;
            state.connections.push(Connection {
                id,
                client: client.try_clone()?,
                server: server.try_clone()?,
            });
            id
        };
        self.pump(id, Direction::Requests, client.try_clone()?, server.try_clone()?);
        self.pump(id, Direction::Replies, server, client);
        Ok(())
    }

    /// Copies one direction of a connection, in a thread of its own, until either side closes.
    fn pump(self: &Arc<Self>, id: u64, direction: Direction, mut from: TcpStream, mut to: TcpStream) {
        let link = Arc::clone(self);
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match from.read(&mut buffer) {
                    // A client that has gone: what it sent still arrives, and the server closes when it has read it.
                    Ok(0) if direction == Direction::Requests => {
                        let _ = to.shutdown(Shutdown::Write);
                        return;
                    }
                    Ok(length) if length > 0 && link.forward(id, direction, &buffer[..length], &mut to) => {}
                    _ => break,
                }
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            link.lock().connections.retain(|connection| connection.id != id);
            link.changed.notify_all();
        });
    }

    /// Sends a piece on, with all that is to happen to it on the way. False when the connection is at its end.
    fn forward(&self, id: u64, direction: Direction, mut piece: &[u8], to: &mut TcpStream) -> bool {
        while !piece.is_empty() {
            let delay = *self.lock().delay(direction);
            if !self.hold(id, delay) || !self.wait_open(id, direction) {
                return false;
            }
            let (through, trouble) = self.lock().faults.pass(direction, piece.len());
            let (now, later) = piece.split_at(through);
            if to.write_all(now).is_err() {
                return false;
            }
            piece = later;
            match trouble {
                None => {}
                Some(Trouble::Cut) => return false,
                Some(Trouble::Truncate) => return self.hold(id, Duration::MAX),
                Some(Trouble::Stall(time)) if self.hold(id, time) => {}
                Some(Trouble::Stall(_)) => return false,
                Some(Trouble::Delay(time)) => *self.lock().delay(direction) = time,
            }
        }
        true
    }

    /// Lets so much time pass. False when the connection has been closed meanwhile.
    fn hold(&self, id: u64, time: Duration) -> bool {
        let until = Instant::now().checked_add(time);
        let mut state = self.lock();
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if !state.is_open(id) {
                return false;
            }
            if left.is_some_and(|left| left.is_zero()) {
                return true;
            }
            let waited = self.changed.wait_timeout(state, left.unwrap_or(LONG));
            state = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    /// Waits while this direction is stalled. False when the connection has been closed meanwhile.
    fn wait_open(&self, id: u64, direction: Direction) -> bool {
        let mut state = self.lock();
        loop {
            if !state.is_open(id) {
                return false;
            }
            let stalled = match direction {
                Direction::Requests => state.requests_stalled,
                Direction::Replies => state.replies_stalled,
            };
            if !stalled {
                return true;
            }
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }
}

fn accept_on(listener: TcpListener, link: Arc<Link>) -> JoinHandle<()> {
    thread::spawn(move || {
        for client in listener.incoming() {
            if link.lock().cut {
                break;
            }
            // An unreachable target: the client sees its connection close.
            if let Ok(client) = client {
                let _ = link.open(client);
            }
        }
    })
}
