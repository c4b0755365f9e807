//! A backend of one's own: RESP over a TCP connection, by hand. `docs/writing-a-backend.md` walks
//! through it.
//!
//! `cargo run -p sio-streams-driver --example own_backend -- 127.0.0.1:6379` runs the conformance
//! suite with it.

use std::io;

use sio_streams_core::{CommandError, Lane};
use sio_streams_driver::backend::{Backend, ConnectError, PushSender};
use sio_streams_driver::sio_streams_resp::{Came, Pipeline, ReadLimits};
use sio_streams_driver::wire::{
    Address, AddressError, Args, Dialer, Heartbeat, Login, Protocol, Subscription, TaskWire, Value, Wire,
    WireConnection, client_name,
};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Opens connections.
#[derive(Clone, Debug)]
pub struct OwnBackend(Address);

impl OwnBackend {
    /// `address` is `host:port`.
    pub fn new(address: &str) -> Result<Self, AddressError> {
        Address::parse(address).map(OwnBackend)
    }
}

// 3. A standalone server: every lane gets a connection to the same address.
impl Backend for OwnBackend {
    type Connection = WireConnection<TaskWire>;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<Self::Connection, ConnectError> {
        self.dial(&self.0, lane, pushes).await
    }
}

// 2. Any address: with this, `Cluster::new(backend)` and `Sentinel::new(…)` work.
impl Dialer for OwnBackend {
    type Wire = TaskWire;

    fn home(&self) -> Address {
        self.0.clone()
    }

    async fn dial(
        &self,
        address: &Address,
        lane: &Lane,
        pushes: PushSender,
    ) -> Result<WireConnection<TaskWire>, ConnectError> {
        let refused = |error: io::Error| ConnectError(error.to_string());
        let socket = TcpStream::connect(address.to_string()).await.map_err(refused)?;
        socket.set_nodelay(true).map_err(refused)?;
        let subscriber = *lane == Lane::Subscriber;
        let pushes = if subscriber { pushes } else { PushSender::to(|_, _| {}) };
        let pipeline = Pipeline::new(ReadLimits::default(), subscriber);
        let mut wire = OwnWire { socket, pipeline, pushes: pushes.clone(), gone: None };
        let mut handshake = Login { name: client_name(lane), ..Login::default() }.begin(Protocol::Best);
        while let Some(command) = handshake.next_command() {
            let answered = wire.send(vec![command]).await.remove(0).and_then(|it| handshake.answered(it));
            answered.map_err(|error| ConnectError(error.to_string()))?;
        }
        // Messages are read even while nobody asks for anything: the wire gets a task of its own.
        Ok(WireConnection::new(TaskWire::spawn(wire, pushes), Heartbeat::default()))
    }
}

/// One connection.
struct OwnWire {
    socket: TcpStream,
    pipeline: Pipeline,
    pushes: PushSender,
    gone: Option<String>,
}

impl OwnWire {
    /// Waits for the next answer. It may be dropped, and called again.
    async fn next(&mut self) -> Result<Came, String> {
        match &self.gone {
            Some(why) => Err(why.clone()),
            None => self.answer().await.map_err(|error| self.gone.insert(error.to_string()).clone()),
        }
    }

    async fn answer(&mut self) -> io::Result<Came> {
        loop {
            // Messages that nobody takes stay in the socket.
            self.pushes.room().await;
            match self.pipeline.poll().map_err(io::Error::other)? {
                Some(Came::Message { channel, payload }) => {
                    self.pushes.send(channel, payload);
                    continue;
                }
                Some(came) => return Ok(came),
                None => {}
            }
            let writes = !self.pipeline.output().is_empty();
            let interest = if writes { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            let ready = self.socket.ready(interest).await?;
            if writes && ready.is_writable() {
                let written = self.socket.try_write(self.pipeline.output());
                self.pipeline.written(unless_blocked(written)?.unwrap_or(0));
            }
            if ready.is_readable() {
                let read = self.socket.try_read_buf(&mut self.pipeline.space());
                if unless_blocked(read)? == Some(0) {
                    return Err(io::Error::other("the connection was closed"));
                }
            }
        }
    }

    /// Waits for this many answers, behind those that nobody waits for any more.
    async fn answers(&mut self, count: usize) -> Vec<Result<Came, CommandError>> {
        let mut answers = Vec::with_capacity(count);
        for left in (0..self.pipeline.under_way()).rev() {
            // If the connection is lost, the command may have been executed: only the server knows.
            let answer = self.next().await.map_err(CommandError::Lost);
            if left < count {
                answers.push(answer);
            }
        }
        answers
    }
}

fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}

// 1. The connection.
impl Wire for OwnWire {
    async fn send(&mut self, commands: Vec<Args>) -> Vec<Result<Value, CommandError>> {
        if let Some(why) = &self.gone {
            return vec![Err(CommandError::NotSent(why.clone())); commands.len()];
        }
        commands.iter().for_each(|command| self.pipeline.ask(command));
        let reply = |came| match came {
            Came::Reply(value) => Ok(value),
            other => Err(CommandError::Lost(format!("{other:?} is no reply"))),
        };
        self.answers(commands.len()).await.into_iter().map(|came| came.and_then(reply)).collect()
    }

    async fn subscribe(&mut self, change: Subscription) -> Result<(), CommandError> {
        if let Some(why) = &self.gone {
            return Err(CommandError::NotSent(why.clone()));
        }
        self.pipeline.change(&change);
        match self.answers(1).await.remove(0)? {
            Came::Changed(result) => result,
            other => Err(CommandError::Lost(format!("{other:?} confirms nothing"))),
        }
    }

    async fn lost(&mut self) -> String {
        loop {
            if let Err(why) = self.next().await {
                return why;
            }
        }
    }
}

#[tokio::main]
#[allow(dead_code, reason = "tests include this file as a module")]
#[allow(clippy::print_stdout, reason = "that is what it is for")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("the address of a Redis server is expected, host:port")?;
    let backend = OwnBackend::new(&address)?;
    let report = sio_streams_driver::conformance::Suite::new(move || backend.clone()).run().await;
    println!("{report}");
    Ok(())
}
