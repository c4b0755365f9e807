//! A node without tokio: the engine and RESP are driven by tasks of smol. Lost connections are opened
//! again.
//!
//! `cargo run -p sio-streams-examples --example smol_node -- 127.0.0.1:6379` runs a server with one
//! client. Start several.

#![allow(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::time::{Duration, Instant};

use sio_streams_resp::sio_streams_core::{
    BroadcastOptions, Command, CommandError, CommandId, Config, Engine, Event, Lane, LinkState, Packet,
    Reply, Time,
};
use sio_streams_resp::{Connection, Incoming, Login, Protocol, ReadLimits, client_name};
use smol::channel::{Receiver, Sender, bounded, unbounded};
use smol::future::or;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;
use smol::{Task, Timer};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// The pause before a lost connection is opened again.
const PAUSE: Duration = Duration::from_millis(200);

/// A report of a connection's task.
enum Report {
    Link(Lane, LinkState),
    Replies(Vec<(CommandId, Result<Reply, CommandError>)>),
    Message(Incoming<CommandId>),
}

/// A command for the task of a connection.
type Order = (CommandId, Command);

/// A server of the cluster.
pub(crate) struct Node {
    pub(crate) engine: Engine,
    address: String,
    begin: Instant,
    /// Dropping a task closes its connection.
    lanes: BTreeMap<Lane, (Sender<Order>, Task<()>)>,
    sender: Sender<Report>,
    reports: Receiver<Report>,
}

impl Node {
    /// Joins the cluster on the Redis server at this address, `host:port`.
    pub(crate) fn join(address: &str, config: Config) -> Result<Self, Failure> {
        let engine = Engine::new(config, getrandom::u64()?, Time::ZERO)?;
        // Connections that read wait while much has been read already.
        let (sender, reports) = bounded(64);
        let (address, begin, lanes) = (address.to_owned(), Instant::now(), BTreeMap::new());
        Ok(Node { engine, address, begin, lanes, sender, reports })
    }

    /// Returns the time for the engine's calls.
    pub(crate) fn now(&self) -> Time {
        Time::from_micros(self.begin.elapsed().as_micros() as u64)
    }

    /// Waits for the next event. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            let event = self.engine.poll_event();
            while let Some((id, command)) = self.engine.poll_command() {
                self.execute(id, command);
            }
            if let Some(event) = event {
                return event;
            }
            let due = self.engine.poll_timeout().map(|due| due.since(self.now()));
            let alarm = async {
                match due {
                    Some(due) => drop(Timer::after(due).await),
                    None => std::future::pending().await,
                }
                None
            };
            match or(async { self.reports.recv().await.ok() }, alarm).await {
                Some(report) => self.receive(report),
                None => self.engine.handle_timeout(self.now()),
            }
        }
    }

    fn execute(&mut self, id: CommandId, command: Command) {
        let lane = command.lane();
        if let Command::Release { .. } = command {
            self.lanes.remove(&lane);
            return self.engine.handle_reply(self.now(), id, Ok(Reply::Done));
        }
        let (commands, _) = self.lanes.entry(lane.clone()).or_insert_with(|| {
            let (commands, taken) = unbounded();
            let patience = Duration::from_secs(5) + self.engine.config().block_time;
            (commands, smol::spawn(run(self.address.clone(), lane, patience, taken, self.sender.clone())))
        });
        // The task takes commands for as long as it is there.
        let _ = commands.try_send((id, command));
    }

    fn receive(&mut self, report: Report) {
        let now = self.now();
        match report {
            Report::Link(lane, link) => self.engine.handle_link(now, &lane, link),
            Report::Replies(replies) => {
                replies.into_iter().for_each(|(id, reply)| self.engine.handle_reply(now, id, reply));
            }
            Report::Message(Incoming::Message { channel, payload }) => {
                self.engine.handle_push(now, &channel, &payload);
            }
            Report::Message(_) => {}
        }
    }
}

/// Keeps the connection of a lane open.
async fn run(
    address: String,
    lane: Lane,
    patience: Duration,
    commands: Receiver<Order>,
    reports: Sender<Report>,
) {
    let (mut down, mut connected) = (false, true);
    while connected {
        let login = Login { name: client_name(&lane), ..Login::default() };
        let mut connection = Connection::new(&login, Protocol::Best, ReadLimits::default());
        let Err(why) = talk(&address, &lane, patience, &mut connection, &commands, &reports, &mut down).await;
        if !down {
            let _ = reports.send(Report::Link(lane.clone(), LinkState::down(why.to_string()))).await;
        }
        down = true;
        let ended = connection.end(&why.to_string()).into_iter().collect();
        connected = reports.send(Report::Replies(ended)).await.is_ok();
        Timer::after(PAUSE).await;
    }
}

/// Opens a connection, and executes commands until it is lost.
async fn talk(
    address: &str,
    lane: &Lane,
    patience: Duration,
    connection: &mut Connection<CommandId>,
    commands: &Receiver<Order>,
    reports: &Sender<Report>,
    down: &mut bool,
) -> Result<Infallible, Failure> {
    enum Next {
        Command(Order),
        Bytes(usize),
        Silence,
    }
    let mut socket = or(TcpStream::connect(address), late(patience)).await?;
    socket.set_nodelay(true)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        while let Some(incoming) = connection.poll()? {
            match incoming {
                Incoming::Ready if std::mem::take(down) => {
                    reports.send(Report::Link(lane.clone(), LinkState::Up)).await?;
                }
                Incoming::Reply(id, reply) => reports.send(Report::Replies(vec![(id, reply)])).await?,
                other => reports.send(Report::Message(other)).await?,
            }
        }
        while !connection.output().is_empty() {
            let count = or(socket.write(connection.output()), late(patience)).await?;
            connection.written(count);
        }
        let command = async { Ok::<_, Failure>(Next::Command(commands.recv().await?)) };
        let bytes = async { Ok(Next::Bytes(socket.read(&mut buffer).await?)) };
        let silence = async {
            Timer::after(patience).await;
            Ok(Next::Silence)
        };
        match or(command, or(bytes, silence)).await? {
            Next::Command((id, command)) => connection.send(id, command),
            Next::Bytes(0) => return Err("the connection was closed".into()),
            Next::Bytes(count) => connection.feed(&buffer[..count]),
            Next::Silence if connection.is_waiting() => return Err("the server does not answer".into()),
            Next::Silence => connection.ping(),
        }
    }
}

/// Fails after a time.
async fn late<T>(patience: Duration) -> std::io::Result<T> {
    Timer::after(patience).await;
    Err(std::io::ErrorKind::TimedOut.into())
}

#[allow(dead_code, reason = "a test includes this file as a module")]
fn main() -> Result<(), Failure> {
    let address = std::env::args().nth(1).ok_or("the address of a Redis server is expected, host:port")?;
    smol::block_on(async {
        let mut node = Node::join(&address, Config::default())?;
        node.engine.open_namespace(node.now(), "/")?;
        node.engine.add_socket("/", node.engine.uid().as_str().to_owned())?;
        loop {
            match node.next().await {
                Event::Ready { nsp } => {
                    let hello = Packet::event("hello", &[node.engine.uid().as_str()])?;
                    node.engine.broadcast(node.now(), &nsp, hello, BroadcastOptions::all())?;
                }
                Event::Broadcast(it) => println!("to the client: {}", it.frames().text),
                other => println!("{other:?}"),
            }
        }
    })
}
