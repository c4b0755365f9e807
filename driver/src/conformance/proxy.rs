//! A link that can be broken.

use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Faults;

/// A connection whose other side takes nothing for so long is closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause after a connection could not be accepted, for want of file descriptors, say.
const PAUSE: Duration = Duration::from_millis(50);

/// A TCP proxy in front of a server, for [`Suite::faults`](super::Suite::faults). It is ended when it
/// is dropped.
///
/// Each of its faults is in force when the call returns: not a byte comes through any more.
///
/// ```no_run
/// # use sio_streams_driver::conformance::{Proxy, Suite};
/// # use sio_streams_driver::memory::{MemoryBackend, MemoryRedis};
/// # fn my_backend(_: String) -> MemoryBackend { MemoryRedis::new().backend() }
/// # async fn run() -> std::io::Result<()> {
/// let server = "127.0.0.1:6379";
/// let proxy = Proxy::start(server)?;
/// let fragile = proxy.address().to_string();
/// let suite = Suite::new(move || my_backend(server.to_owned()));
/// suite.faults(move || my_backend(fragile.clone()), proxy).run().await.assert_passed();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    link: Arc<Link>,
}

#[derive(Debug)]
struct Link {
    server: SocketAddr,
    state: Mutex<State>,
    /// Notified when replies are let through again, or a connection is closed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    cut: bool,
    held: bool,
    ended: bool,
    /// The number of the last connection.
    last: u64,
    /// Both sides of each connection.
    pairs: BTreeMap<u64, [TcpStream; 2]>,
}

impl State {
    /// Closes connections. What a thread has read of them is not passed on.
    fn close(&mut self, which: impl Fn(u64) -> bool) {
        self.pairs.retain(|number, sides| {
            let closes = which(*number);
            if closes {
                // They may be closed already.
                sides.iter().for_each(|side| drop(side.shutdown(Shutdown::Both)));
            }
            !closes
        });
    }
}

impl Proxy {
    /// Starts a proxy on a free port of this machine, in front of the server at this address.
    ///
    /// # Errors
    ///
    /// If the address can't be resolved, or no port is free.
    pub fn start(server: impl ToSocketAddrs) -> io::Result<Self> {
        let server = server.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let link = Arc::new(Link { server, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&link);
        thread::Builder::new().name("proxy".to_owned()).spawn(move || accepting.accept(&listener))?;
        Ok(Proxy { address, link })
    }

    /// Returns the address of the proxy.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Faults for Proxy {
    fn cut(&self) {
        let mut state = self.link.lock();
        state.cut = true;
        state.close(|_| true);
        self.link.changed.notify_all();
    }

    fn restore(&self) {
        let mut state = self.link.lock();
        (state.cut, state.held) = (false, false);
        self.link.changed.notify_all();
    }

    fn hold_replies(&self) {
        self.link.lock().held = true;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.link.lock().ended = true;
        self.cut();
        // The thread that accepts connections waits for one.
        let _ = TcpStream::connect(self.address);
    }
}

impl Link {
    /// Locks the state. It is whole even if a thread has panicked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.lock().ended {
                return;
            }
            if client.and_then(|client| self.carry(client)).is_err() {
                thread::sleep(PAUSE);
            }
        }
    }

    /// Connects to the server for a client. While the link is cut, the client's connection is closed.
    fn carry(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        // A cut waits until this connection is one of those that are closed.
        let mut state = self.lock();
        if state.cut {
            return Ok(());
        }
        let server = TcpStream::connect_timeout(&self.server, PATIENCE)?;
        for side in [&client, &server] {
            side.set_nodelay(true)?;
            side.set_write_timeout(Some(PATIENCE))?;
        }
        state.last += 1;
        let number = state.last;
        for (from, to, are_replies) in [
            (client.try_clone()?, server.try_clone()?, false),
            (server.try_clone()?, client.try_clone()?, true),
        ] {
            let link = Arc::clone(self);
            thread::Builder::new().spawn(move || link.forward(number, from, to, are_replies))?;
        }
        state.pairs.insert(number, [client, server]);
        Ok(())
    }

    /// Passes on what comes from one side, until either side is closed.
    fn forward(&self, number: u64, mut from: TcpStream, mut to: TcpStream, are_replies: bool) {
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut state = self.lock();
            while are_replies && state.held && state.pairs.contains_key(&number) {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            // Under the lock: nothing is passed on after a fault has begun.
            if !state.pairs.contains_key(&number) || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        self.lock().close(|other| other == number);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a server that echoes, for one connection. Returns what it has read at the end.
    fn echo() -> (SocketAddr, thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, mut all, mut buffer) = (listener.accept().unwrap().0, Vec::new(), [0; 64]);
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                all.extend(&buffer[..count]);
                let _ = stream.write_all(&buffer[..count]);
            }
            all
        });
        (address, server)
    }

    fn read(stream: &mut TcpStream) -> Vec<u8> {
        let mut buffer = vec![0; 64];
        let count = stream.read(&mut buffer).unwrap_or(0);
        buffer.truncate(count);
        buffer
    }

    #[test]
    fn a_cut_is_in_force_when_it_returns() {
        let (address, server) = echo();
        let proxy = Proxy::start(address).unwrap();
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        client.write_all(b"early").unwrap();
        assert_eq!(read(&mut client), b"early");
        proxy.cut();
        // This may be taken by the operating system, and by nobody else.
        let _ = client.write_all(b"late");
        assert_eq!(read(&mut client), b"");
        assert_eq!(server.join().unwrap(), b"early");
        let mut other = TcpStream::connect(proxy.address()).unwrap();
        assert_eq!(read(&mut other), b"");
    }

    #[test]
    fn held_replies_do_not_arrive_and_requests_do() {
        let (address, server) = echo();
        let proxy = Proxy::start(address).unwrap();
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        client.write_all(b"one").unwrap();
        assert_eq!(read(&mut client), b"one");
        proxy.hold_replies();
        client.write_all(b"two").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(read(&mut client), b"", "nothing, so far");
        proxy.restore();
        client.set_read_timeout(None).unwrap();
        assert_eq!(read(&mut client), b"two");
        drop(proxy);
        assert_eq!(server.join().unwrap(), b"onetwo");
    }
}
