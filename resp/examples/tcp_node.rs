//! A node of a cluster, driven by hand over blocking sockets: the standard library, the engine, and
//! this crate. It joins the cluster, broadcasts, receives, and answers requests. Lost connections
//! are opened again, and nothing is lost with them that Redis has kept.
//!
//! `cargo run -p sio-streams-resp --example tcp_node -- 127.0.0.1:6379` runs a server with one
//! client. Start several.
//!
//! Each connection has a thread that opens it and reads. All else is done by the one thread that
//! owns the [`Node`].

#![allow(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::collections::BTreeMap;
use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::mem::take;
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use sio_streams_resp::sio_streams_core::{
    BroadcastOptions, CallError, Command, CommandId, Config, Engine, Event, Handshake, Lane, LinkState,
    LocalSocket, Packet, Payload, Reply, Time,
};
use sio_streams_resp::{Connection, Incoming, Login, Protocol, ReadLimits, client_name};

/// An idle connection is tested after this time. One that owes an answer for this long is given up;
/// a read may block in addition.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause before a lost connection is opened again.
const PAUSE: Duration = Duration::from_millis(200);

/// A report of the thread of a connection. The number tells the connection from earlier ones.
type Report = (Lane, u64, Input);

enum Input {
    Opened(Socket),
    Bytes(Vec<u8>),
    Closed(String),
}

/// A socket that is closed when it is dropped, so that the thread that reads from it ends.
struct Socket(TcpStream);

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// The connection of a lane, or the attempt to open it.
struct Link {
    number: u64,
    connection: Connection,
    /// `None` until the connection is open.
    socket: Option<Socket>,
    /// The time of the last sign of life.
    heard: Instant,
    /// The engine knows that the connection was lost.
    down: bool,
}

/// A server of the cluster.
pub(crate) struct Node {
    /// The engine, for calls and queries.
    pub(crate) engine: Engine,
    address: String,
    begin: Instant,
    links: BTreeMap<Lane, Link>,
    opened: u64,
    sender: SyncSender<Report>,
    reports: Receiver<Report>,
}

impl Node {
    /// Joins the cluster on the Redis server at this address, `host:port`.
    pub(crate) fn join(address: &str, config: Config) -> Result<Self, Box<dyn Error>> {
        // The seed must be drawn at random. The keys of the standard library's tables are.
        let seed = RandomState::new().build_hasher().finish();
        let engine = Engine::new(config, seed, Time::ZERO)?;
        // Threads that read wait while much has been read already.
        let (sender, reports) = sync_channel(16);
        let (address, begin, links) = (address.to_owned(), Instant::now(), BTreeMap::new());
        Ok(Node { engine, address, begin, links, opened: 0, sender, reports })
    }

    /// Returns the time for the engine's calls.
    pub(crate) fn now(&self) -> Time {
        Time::from_micros(self.begin.elapsed().as_micros() as u64)
    }

    /// Moves on, and returns an event if there is one. If there is nothing to do, this waits for
    /// something, at most for the time limit.
    pub(crate) fn turn(&mut self, limit: Duration) -> Option<Event> {
        for report in self.reports.try_iter().take(64).collect::<Vec<_>>() {
            self.receive(report);
        }
        self.engine.handle_timeout(self.now());
        let event = self.engine.poll_event();
        while let Some((id, command)) = self.engine.poll_command() {
            self.execute(id, command);
        }
        let mut news = event.is_some();
        for lane in self.links.keys().cloned().collect::<Vec<_>>() {
            if let Err(why) = self.tend(&lane, &mut news) {
                self.lose(&lane, &why.to_string());
            }
        }
        let due = self.engine.poll_timeout().map_or(limit, |due| due.since(self.now()));
        let wait = if news { Duration::ZERO } else { due.min(limit) };
        if let Ok(report) = self.reports.recv_timeout(wait) {
            self.receive(report);
        }
        event
    }

    fn execute(&mut self, id: CommandId, command: Command) {
        let lane = command.lane();
        if let Command::Release { .. } = command {
            self.links.remove(&lane);
            return self.engine.handle_reply(self.now(), id, Ok(Reply::Done));
        }
        let there = self.links.remove(&lane);
        let mut link = there.unwrap_or_else(|| self.open(&lane, Duration::ZERO, false));
        link.connection.send(id, command);
        self.links.insert(lane, link);
    }

    /// Has a connection opened by a thread of its own.
    fn open(&mut self, lane: &Lane, pause: Duration, down: bool) -> Link {
        self.opened += 1;
        let (number, sender, address, of) =
            (self.opened, self.sender.clone(), self.address.clone(), lane.clone());
        thread::spawn(move || {
            thread::sleep(pause);
            // When the node has ended, nobody listens.
            let send = |input| sender.send((of.clone(), number, input)).map_err(io::Error::other);
            let why = read_all(&address, send).map_or_else(|error| error.to_string(), str::to_owned);
            let _ = send(Input::Closed(why));
        });
        let login = Login { name: client_name(lane), ..Login::default() };
        let connection = Connection::new(&login, Protocol::Best, ReadLimits::default());
        Link { number, connection, socket: None, heard: Instant::now(), down }
    }

    /// Takes what the thread of a connection reports, unless nobody needs the connection any more.
    fn receive(&mut self, (lane, number, input): Report) {
        let Some(link) = self.links.get_mut(&lane).filter(|link| link.number == number) else { return };
        link.heard = Instant::now();
        match input {
            Input::Opened(socket) => link.socket = Some(socket),
            Input::Bytes(bytes) => link.connection.feed(&bytes),
            Input::Closed(why) => self.lose(&lane, &why),
        }
    }

    /// Gives the engine what a connection has received, which is news then. Writes what the
    /// connection has to say.
    fn tend(&mut self, lane: &Lane, news: &mut bool) -> Result<(), Box<dyn Error>> {
        let now = self.now();
        let Some(link) = self.links.get_mut(lane) else { return Ok(()) };
        while let Some(incoming) = link.connection.poll()? {
            *news = true;
            match incoming {
                Incoming::Ready if take(&mut link.down) => self.engine.handle_link(now, lane, LinkState::Up),
                Incoming::Reply(id, result) => self.engine.handle_reply(now, id, result),
                Incoming::Message { channel, payload } => self.engine.handle_push(now, &channel, &payload),
                _ => {}
            }
        }
        let Some(Socket(socket)) = &mut link.socket else { return Ok(()) };
        let silent = link.heard.elapsed();
        if silent > PATIENCE && !link.connection.is_waiting() {
            link.connection.ping();
        } else if silent > 2 * PATIENCE + self.engine.config().block_time {
            return Err("the server does not answer".into());
        }
        while !link.connection.output().is_empty() {
            match socket.write(link.connection.output())? {
                0 => return Err("the connection was closed".into()),
                count => link.connection.written(count),
            }
        }
        Ok(())
    }

    /// Tells the engine that a connection is lost, and what has become of its commands. Opens
    /// another one.
    fn lose(&mut self, lane: &Lane, why: &str) {
        let now = self.now();
        let Some(link) = self.links.remove(lane) else { return };
        if !link.down {
            self.engine.handle_link(now, lane, LinkState::down(why.to_owned()));
        }
        for (id, result) in link.connection.end(why) {
            self.engine.handle_reply(now, id, result);
        }
        let next = self.open(lane, PAUSE, true);
        self.links.insert(lane.clone(), next);
    }

    /// Does what the cluster asks for, for clients that only print.
    pub(crate) fn serve(&mut self, event: Event) -> Result<(), CallError> {
        let now = self.now();
        match event {
            Event::Broadcast(it) => {
                let sockets = self.engine.rooms(&it.nsp).map(|rooms| rooms.matching(&it.opts));
                println!("to {sockets:?}: {:?}", it.packet.data());
            }
            Event::FetchSockets { sockets, responder, .. } => {
                let tell = |id| LocalSocket::new(id, &Handshake::default(), Payload::from_json("{}")?);
                let sockets = sockets.into_iter().map(tell).collect::<Result<_, _>>()?;
                self.engine.respond_sockets(now, responder, sockets)?;
            }
            Event::ServerSideEmit { responder: Some(responder), .. } => {
                self.engine.respond_emit(now, responder, Payload::from_json(r#""here""#)?)?;
            }
            other => println!("{other:?}"),
        }
        Ok(())
    }
}

/// Opens a connection, and reads until it ends.
fn read_all(address: &str, send: impl Fn(Input) -> io::Result<()>) -> io::Result<&'static str> {
    let address = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    send(Input::Opened(Socket(stream.try_clone()?)))?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok("the connection was closed"),
            count => send(Input::Bytes(buffer[..count].to_vec()))?,
        }
    }
}

#[allow(dead_code, reason = "a test includes this file as a module")]
fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("the address of a Redis server is expected, host:port")?;
    let mut node = Node::join(&address, Config::default())?;
    node.engine.open_namespace(node.now(), "/")?;
    node.engine.add_socket("/", node.engine.uid().as_str().to_owned())?;
    loop {
        let Some(event) = node.turn(Duration::from_secs(1)) else { continue };
        if let Event::Ready { nsp } = &event {
            let hello = Packet::event("hello", &[node.engine.uid().as_str()])?;
            node.engine.broadcast(node.now(), nsp, hello, BroadcastOptions::all())?;
        }
        node.serve(event)?;
    }
}
