//! A link that can be broken: a TCP proxy in front of a server.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::fault::{Direction, Fault, Faults, Trouble};
use crate::ports;

/// The interval after which a thread that waits forever looks around.
const LONG: Duration = Duration::from_secs(60);

/// Forwards connections to a target, and breaks them on demand. Dropping it closes them all.
///
/// [`cut`](Self::cut) is a server that is gone: connections close, new ones are refused.
/// [`stall`](Self::stall) is a network that is silent: connections stay open and nothing comes
/// through. To lose a reply whose command has been carried out:
/// [`stall_replies`](Self::stall_replies), send, then `cut`. To break the link in the middle of a
/// command or a reply: [`inject`](Self::inject).
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
    /// One of its directions waits for its release.
    held: bool,
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

    /// The number of connections that are open through the proxy.
    pub fn connections(&self) -> usize {
        self.link.lock().connections.len()
    }

    /// Closes all connections and refuses new ones, until [`restore`](Self::restore).
    pub fn cut(&self) {
        self.link.lock().cut = true;
        self.link.changed.notify_all();
        self.stop_accepting();
        self.link.close_connections();
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
        self.link.close_connections();
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

    /// The number of faults that have not struck yet.
    pub fn faults(&self) -> usize {
        self.link.lock().faults.len()
    }

    /// Lets through what a [`Hold`](Trouble::Hold) has held back.
    pub fn release(&self) {
        self.link.lock().connections.iter_mut().for_each(|connection| connection.held = false);
        self.link.changed.notify_all();
    }

    /// Nothing more happens by itself: forgets the faults that have not struck, and the delays.
    /// Connections that are broken stay so.
    pub fn calm(&self) {
        let mut state = self.link.lock();
        state.faults.clear();
        (state.request_delay, state.reply_delay) = (Duration::ZERO, Duration::ZERO);
        drop(state);
        self.link.changed.notify_all();
    }

    /// Connects clients to another server from now on. Connections that are open stay where they
    /// are.
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

    fn connection(&mut self, id: u64) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.id == id)
    }

    /// The number of these bytes that come through before something happens, and the trouble. A
    /// fault that somebody else may end begins here: he may be quicker.
    fn pass(&mut self, id: u64, direction: Direction, length: usize) -> (usize, Option<Trouble>) {
        let (through, trouble) = self.faults.pass(direction, length);
        match (trouble, self.connection(id)) {
            (Some(Trouble::Sever), _) => self.cut = true,
            (Some(Trouble::Hold), Some(connection)) => connection.held = true,
            _ => {}
        }
        (through, trouble)
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
            if state.cut {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let id = state.next_id;
            state.next_id += 1;
            state.connections.push(Connection {
                id,
                client: client.try_clone()?,
                server: server.try_clone()?,
                held: false,
            });
            id
        };
        self.pump(id, Direction::Requests, client.try_clone()?, server.try_clone()?);
        self.pump(id, Direction::Replies, server, client);
        Ok(())
    }

    fn close_connections(&self) {
        for connection in self.lock().connections.drain(..) {
            let _ = connection.client.shutdown(Shutdown::Both);
            let _ = connection.server.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }

    /// Copies one direction of a connection, in a thread of its own, until either side closes.
    fn pump(self: &Arc<Self>, id: u64, direction: Direction, mut from: TcpStream, mut to: TcpStream) {
        let link = Arc::clone(self);
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match from.read(&mut buffer) {
                    // A client that has gone, whichever way: what it sent still arrives, and the
                    // server closes when it has read it.
                    Ok(0) | Err(_) if direction == Direction::Requests => {
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

    /// Sends a piece on, with all that is to happen to it on the way. False when the connection is
    /// at its end.
    fn forward(&self, id: u64, direction: Direction, mut piece: &[u8], to: &mut TcpStream) -> bool {
        while !piece.is_empty() {
            let delay = *self.lock().delay(direction);
            if !self.hold(id, delay) || !self.wait_open(id, direction) {
                return false;
            }
            let (through, trouble) = self.lock().pass(id, direction, piece.len());
            let (now, later) = piece.split_at(through);
            if to.write_all(now).is_err() {
                // Replies that nobody wants don't end what is still on its way to the server.
                return direction == Direction::Replies;
            }
            piece = later;
            match trouble {
                None => {}
                Some(Trouble::Cut) => return false,
                Some(Trouble::Sever) => {
                    self.close_connections();
                    return false;
                }
                Some(Trouble::Truncate) => return self.hold(id, Duration::MAX),
                Some(Trouble::Stall(time)) if self.hold(id, time) => {}
                Some(Trouble::Stall(_)) => return false,
                Some(Trouble::Hold) if self.await_release(id) => {}
                Some(Trouble::Hold) => return false,
                Some(Trouble::Delay(time)) => *self.lock().delay(direction) = time,
            }
        }
        true
    }

    /// Lets this much time pass. Returns `false` if the connection has been closed meanwhile.
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

    /// Waits for the connection's release. False when it has been closed meanwhile.
    fn await_release(&self, id: u64) -> bool {
        let mut state = self.lock();
        while state.connection(id).is_some_and(|connection| connection.held) {
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        state.is_open(id)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A link to a server that is nothing but a socket, a client of it, and the server's end of
    /// that.
    fn pair() -> (TcpListener, Proxy, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).unwrap();
        let client = TcpStream::connect(proxy.addr()).unwrap();
        let (server, _) = listener.accept().unwrap();
        (listener, proxy, client, server)
    }

    fn requests(after: u64, what: Trouble) -> Fault {
        Fault { direction: Direction::Requests, after, what }
    }

    #[test]
    fn what_is_held_waits_for_its_release_though_its_sender_has_gone() {
        let (_listener, proxy, mut client, mut server) = pair();
        proxy.inject(requests(2, Trouble::Hold));
        client.write_all(b"held").unwrap();
        let mut now = [0; 2];
        server.read_exact(&mut now).unwrap();
        // A client that leaves replies unread is reset, and whatever else the server says can't be
        // delivered.
        server.write_all(b"one").unwrap();
        client.peek(&mut [0]).unwrap();
        drop(client);
        for _ in 0..100 {
            server.write_all(b"more").unwrap();
        }
        server.set_nonblocking(true).unwrap();
        assert_eq!(server.read(&mut now).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(proxy.connections(), 1);
        server.set_nonblocking(false).unwrap();
        while !proxy.link.lock().connections[0].held {
            thread::yield_now();
        }
        proxy.release();
        let mut late = Vec::new();
        server.read_to_end(&mut late).unwrap();
        assert_eq!((&now, &*late), (b"he", &b"ld"[..]));
    }

    #[test]
    fn a_severed_link_stays_so_until_it_is_restored() {
        let (listener, proxy, mut client, mut server) = pair();
        proxy.inject(requests(2, Trouble::Sever));
        client.write_all(b"lost").unwrap();
        let mut came = Vec::new();
        server.read_to_end(&mut came).unwrap();
        assert_eq!(came, b"lo");
        // A reset is an end as well.
        let ended = |mut client: TcpStream| !matches!(client.read(&mut [0]), Ok(1..));
        assert!(ended(client));
        for _ in 0..3 {
            assert!(TcpStream::connect(proxy.addr()).is_err() || proxy.connections() == 0);
        }
        proxy.restore().unwrap();
        let mut client = TcpStream::connect(proxy.addr()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"there").unwrap();
        let mut came = [0; 5];
        server.read_exact(&mut came).unwrap();
        assert_eq!(&came, b"there");
    }
}
