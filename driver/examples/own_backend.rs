//! A backend of one's own: RESP3 over a TCP connection, by hand. `docs/writing-a-backend.md` walks
//! through it.
//!
//! `cargo run -p sio-streams-driver --example own_backend -- 127.0.0.1:6379` runs the conformance
//! suite with it.

use std::io;

use sio_streams_core::{ByteString, Bytes, CommandError, Lane};
use sio_streams_driver::backend::{Backend, ConnectError, PushSender};
use sio_streams_driver::wire::{
    Address, AddressError, Args, Dialer, Gone, Heartbeat, Subscription, SubscriptionKind, Value, Wire,
    WireConnection, client_name,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

/// Opens connections.
#[derive(Clone, Debug)]
pub struct OwnBackend {
    address: Address,
}

impl OwnBackend {
    /// `address` is `host:port`.
    pub fn new(address: &str) -> Result<Self, AddressError> {
        Ok(OwnBackend { address: Address::parse(address)? })
    }
}

// 3. A standalone server: every lane gets a connection to the same address.
impl Backend for OwnBackend {
    type Connection = WireConnection<OwnWire>;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<Self::Connection, ConnectError> {
        self.dial(&self.address, lane, pushes).await
    }
}

// 2. Any address: with this, `Cluster::new(backend)` and `Sentinel::new(…)` work.
impl Dialer for OwnBackend {
    type Wire = OwnWire;

    fn home(&self) -> Address {
        self.address.clone()
    }

    async fn dial(
        &self,
        address: &Address,
        lane: &Lane,
        pushes: PushSender,
    ) -> Result<WireConnection<OwnWire>, ConnectError> {
        let stream = TcpStream::connect(address.to_string()).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        let (read, write) = stream.into_split();
        let (answer, answers) = mpsc::unbounded_channel();
        let gone = Gone::new();
        let reading = tokio::spawn(read_all(read, answer, pushes, gone.clone())).abort_handle();
        let mut wire = OwnWire { write, answers, owed: 0, gone, reading };
        let hello = ["HELLO", "3", "SETNAME", &client_name(lane)].map(|word| Bytes::from(word.to_owned()));
        match wire.send(vec![hello.into()]).await.pop() {
            Some(Ok(Value::Map(_))) => Ok(WireConnection::new(wire, Heartbeat::default())),
            other => Err(ConnectError(format!("HELLO is answered by {other:?}"))),
        }
    }
}

fn refused(error: io::Error) -> ConnectError {
    ConnectError(error.to_string())
}

/// One connection.
#[derive(Debug)]
pub struct OwnWire {
    write: OwnedWriteHalf,
    answers: mpsc::UnboundedReceiver<Value>,
    /// Answers that are still to come.
    owed: usize,
    gone: Gone,
    reading: tokio::task::AbortHandle,
}

impl Drop for OwnWire {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

// 1. The connection.
impl Wire for OwnWire {
    async fn send(&mut self, commands: Vec<Args>) -> Vec<Result<Value, CommandError>> {
        if let Some(why) = self.gone.get() {
            return vec![Err(CommandError::NotSent(why)); commands.len()];
        }
        // Those that come first belong to commands that nobody waits for any more.
        let left_over = self.owed;
        self.owed += commands.len();
        if let Err(error) = self.write.write_all(&encoded(&commands)).await {
            self.gone.set(error.to_string());
        }
        let mut results = Vec::with_capacity(commands.len());
        for number in 0..left_over + commands.len() {
            let answer = match self.answers.recv().await {
                Some(value) => Ok(value),
                // It may have been executed: only the server knows.
                None => Err(CommandError::Lost(self.gone.wait().await)),
            };
            self.owed -= 1;
            if number >= left_over {
                results.push(answer);
            }
        }
        results
    }

    async fn subscribe(&mut self, change: Subscription) -> Result<(), CommandError> {
        let name = match (change.kind, change.on) {
            (SubscriptionKind::Channels, true) => "SUBSCRIBE",
            (SubscriptionKind::Channels, false) => "UNSUBSCRIBE",
            (SubscriptionKind::Sharded, true) => "SSUBSCRIBE",
            (SubscriptionKind::Sharded, false) => "SUNSUBSCRIBE",
            (SubscriptionKind::Patterns, true) => "PSUBSCRIBE",
            (SubscriptionKind::Patterns, false) => "PUNSUBSCRIBE",
        };
        // One for each channel: each is answered by one confirmation, or one refusal.
        let command = |channel: ByteString| [Bytes::from(name), channel.into_bytes()].into();
        for result in self.send(change.channels.into_iter().map(command).collect()).await {
            if let Value::Error { code, message } = result? {
                return Err(CommandError::Server { code, message });
            }
        }
        Ok(())
    }

    async fn lost(&mut self) -> String {
        self.gone.wait().await
    }
}

fn encoded(commands: &[Args]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for args in commands {
        bytes.extend_from_slice(format!("*{}\r\n", args.count()).as_bytes());
        args.each(|arg| {
            bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            bytes.extend_from_slice(arg);
            bytes.extend_from_slice(b"\r\n");
        });
    }
    bytes
}

/// Reads until the connection ends: messages go to `pushes`, everything else answers a command.
async fn read_all(
    read: OwnedReadHalf,
    answers: mpsc::UnboundedSender<Value>,
    pushes: PushSender,
    gone: Gone,
) {
    let mut read = BufReader::new(read);
    let why = loop {
        match read_value(&mut read).await {
            Ok((is_push, value)) => match message(is_push, &value) {
                Some((channel, payload)) => pushes.send(channel, payload),
                None => drop(answers.send(value)),
            },
            Err(error) => break error.to_string(),
        }
    };
    gone.set(why);
}

/// The channel and the payload of a message, which stand at its end.
fn message(is_push: bool, value: &Value) -> Option<(ByteString, Bytes)> {
    let Value::List(items) = value else { return None };
    match items.as_slice() {
        [Value::Bytes(kind), .., channel, Value::Bytes(payload)] if is_push && kind.ends_with(b"message") => {
            Some((channel.clone().text()?, payload.clone()))
        }
        _ => None,
    }
}

/// One value, and whether it came unasked.
async fn read_value(read: &mut BufReader<OwnedReadHalf>) -> io::Result<(bool, Value)> {
    let mut line = String::new();
    if read.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end();
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("this is not RESP3: {line:?}"));
    let (kind, rest) = line.split_at_checked(1).ok_or_else(wrong)?;
    let count = || rest.parse::<i64>().map_err(|_| wrong());
    let value = match kind {
        "+" | "," | "(" => Value::Bytes(rest.to_owned().into()),
        "-" => Value::error(rest),
        ":" => Value::Int(count()?),
        "#" => Value::Int((rest == "t").into()),
        "_" => Value::Nil,
        "$" | "=" | "!" => {
            let mut bytes = vec![0; usize::try_from(count()?).map_err(|_| wrong())? + 2];
            read.read_exact(&mut bytes).await?;
            bytes.truncate(bytes.len() - 2);
            Value::Bytes(bytes.into())
        }
        "*" | "~" | ">" => {
            let mut items = Vec::new();
            for _ in 0..count()? {
                items.push(Box::pin(read_value(read)).await?.1);
            }
            Value::List(items)
        }
        "%" => {
            let mut pairs = Vec::new();
            for _ in 0..count()? {
                let name = Box::pin(read_value(read)).await?.1;
                pairs.push((name, Box::pin(read_value(read)).await?.1));
            }
            Value::Map(pairs)
        }
        _ => return Err(wrong()),
    };
    Ok((kind == ">", value))
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
