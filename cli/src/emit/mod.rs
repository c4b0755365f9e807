//! `sio-streams emit`: sends into a cluster from outside.

mod ack;
mod lines;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;
use sio_streams_driver::sio_streams_core::{
    BroadcastOptions, ByteString, CallError, CommandError, Config, ConfigError, EntryId, Packet, Payload,
    PayloadError, SubscriptionMode,
};
use sio_streams_driver::{Emitter, Error as DriverError};

use crate::adapter::AdapterArgs;
use crate::ask::seconds;
use crate::server::ServerArgs;

pub(crate) const EXAMPLES: &str = "\
Examples:
  sio-streams emit event news hello '{\"n\": 1}'         to all clients
  sio-streams emit --to room1 --except room2 event news @photo.png
  sio-streams emit --nsp /chat --to socket1 join room1
  sio-streams emit --dialect classic server-side reload
  sio-streams emit event --ack version                   shows the clients' answers
  sio-streams emit lines --rate 500 events.ndjson        one event a line

Exit codes: 0 Redis has the messages, and with --ack all clients have answered; 1 it hasn't, or it
is not known, or an answer is missing; 2 wrong usage.";

#[derive(Debug, Args)]
pub(crate) struct EmitArgs {
    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// maxLen: about how many entries a stream keeps
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_len: u64,

    /// subscriptionMode of the sharded adapter
    #[arg(long, value_enum, default_value_t, value_name = "MODE")]
    subscription_mode: Mode,

    /// The namespace
    #[arg(long, value_name = "NAMESPACE", default_value = "/")]
    nsp: String,

    /// Only the sockets in this room, or the socket of this id; may be given several times
    #[arg(long, value_name = "ROOM")]
    to: Vec<String>,

    /// Not the sockets in this room; may be given several times
    #[arg(long, value_name = "ROOM")]
    except: Vec<String>,

    /// Clients that are not ready to receive may be passed over
    #[arg(long)]
    volatile: bool,

    /// Whether connections may compress the event; true by default, as in Socket.IO
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    compress: Option<bool>,

    /// onlyPlaintext: refuse events with binary arguments
    #[arg(long)]
    only_plaintext: bool,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Send an event to clients
    Event {
        #[command(flatten)]
        event: EventArgs,

        /// Ask the clients for an answer, and show the answers, one a line, as JSON
        #[arg(long)]
        ack: bool,

        /// How long answers are waited for, in seconds
        #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds, requires = "ack")]
        timeout: Duration,

        /// useShardedPubSub of streams-0.3, which the answers go by
        #[arg(long, requires = "ack")]
        use_sharded_pub_sub: bool,
    },
    /// Send the events that a file has, one a line
    ///
    /// Each line is a JSON object: `{"event": "news", "args": [1], "nsp": "/chat", "to": ["room1"],
    /// "except": [], "volatile": true, "compress": false}`. Only "event" must be there; for what is
    /// not, the options count. Many lines are sent at once, in their order.
    Lines {
        /// The file; - is standard input
        #[arg(default_value = "-")]
        file: String,

        /// The largest number of events a second
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
    },
    /// Make sockets join rooms
    Join {
        /// The rooms
        #[arg(required = true)]
        rooms: Vec<String>,
    },
    /// Make sockets leave rooms
    Leave {
        /// The rooms
        #[arg(required = true)]
        rooms: Vec<String>,
    },
    /// Disconnect sockets
    Disconnect {
        /// Close the underlying connections too
        #[arg(long)]
        close: bool,
    },
    /// Send an event to the servers
    ServerSide(EventArgs),
}

#[derive(Debug, Args)]
struct EventArgs {
    /// The event's name
    name: String,
    /// The arguments: JSON, or else plain text; @FILE is the content of a file, as binary data
    args: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Mode {
    Static,
    #[default]
    Dynamic,
    DynamicPrivate,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Redis(#[from] sio_streams_redis_rs::ConfigError),
    #[error("can't read {0}: {1}")]
    File(String, std::io::Error),
    #[error("{0}")]
    Payload(#[from] PayloadError),
    #[error("{0}")]
    Call(#[from] CallError),
    #[error("{0}")]
    Emit(#[from] DriverError),
    #[error("{0}")]
    Ask(#[from] crate::ask::Error),
    #[error("--ack asks servers of one generation: use --dialect streams-0.2 or streams-0.3")]
    AckOfTwo,
    #[error("line {number}: {reason}; {sent} events were sent before it")]
    Line { number: u64, reason: String, sent: u64 },
    #[error("line {number}: {error}; {sent} events were sent before it")]
    Sending { number: u64, error: CommandError, sent: u64 },
    #[error("{0}")]
    Connect(#[from] sio_streams_driver::backend::ConnectError),
    #[error("Redis did not answer within {} s", .0.as_secs_f64())]
    Silent(Duration),
    #[error("can't start: {0}")]
    Runtime(std::io::Error),
    #[error("can't write: {0}")]
    Output(#[from] std::io::Error),
}

impl Error {
    fn exit_code(&self) -> u8 {
        match self {
            Error::Emit(DriverError::Command(_))
            | Error::Runtime(_)
            | Error::Sending { .. }
            | Error::Connect(_)
            | Error::Silent(_)
            | Error::Output(_) => 1,
            Error::Ask(error) => error.exit_code(),
            _ => 2,
        }
    }
}

pub(crate) fn run(args: EmitArgs) -> ExitCode {
    match try_run(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The reader of the output does not want more of it.
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => crate::complain(&error.to_string(), error.exit_code()),
    }
}

fn names(names: Vec<String>) -> Vec<ByteString> {
    names.into_iter().map(ByteString::from).collect()
}

/// Runs the command. Returns `false` if an answer is missing.
fn try_run(args: EmitArgs) -> Result<bool, Error> {
    let config = Config {
        max_len: args.max_len,
        only_plaintext: args.only_plaintext,
        subscription_mode: match args.subscription_mode {
            Mode::Static => SubscriptionMode::Static,
            Mode::Dynamic => SubscriptionMode::Dynamic,
            Mode::DynamicPrivate => SubscriptionMode::DynamicPrivate,
        },
        ..args.adapter.config()
    };
    let mut opts =
        BroadcastOptions { rooms: names(args.to), except: names(args.except), ..BroadcastOptions::default() };
    opts.flags.volatile = args.volatile.then_some(true);
    opts.flags.compress = args.compress;
    let backend = args.server.backend()?;
    let nsp = args.nsp.as_str();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    runtime.block_on(async {
        let action = match args.action {
            Action::Event { event, ack: true, timeout, use_sharded_pub_sub } => {
                let config = Config { use_sharded_pub_sub, ..config };
                let packet = Packet::new(payload(event)?)?;
                return ack::send(backend, nsp, config, packet, opts, timeout).await;
            }
            Action::Lines { file, rate } => {
                lines::send(backend, nsp, config, opts, &file, rate).await?;
                return Ok(true);
            }
            action => action,
        };
        let emitter = Emitter::new(config, backend)?;
        let entry: Option<EntryId> = match action {
            Action::Event { event, .. } => {
                emitter.broadcast(nsp, Packet::new(payload(event)?)?, opts).await?
            }
            Action::Join { rooms } => emitter.sockets_join(nsp, opts, names(rooms)).await?,
            Action::Leave { rooms } => emitter.sockets_leave(nsp, opts, names(rooms)).await?,
            Action::Disconnect { close } => emitter.disconnect_sockets(nsp, opts, close).await?,
            Action::ServerSide(event) => emitter.server_side_emit(nsp, payload(event)?).await?,
            Action::Lines { .. } => None,
        };
        let place = entry.map(|entry| format!(" as {entry}")).unwrap_or_default();
        writeln!(std::io::stdout(), "emitted{place}")?;
        Ok(true)
    })
}

/// An argument of an event.
#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
enum Argument {
    Value(Value),
    Bytes(serde_bytes::ByteBuf),
}

/// `[event, …args]`.
fn payload(event: EventArgs) -> Result<Payload, Error> {
    let argument = |text: String| match text.strip_prefix('@') {
        Some(file) => match std::fs::read(file) {
            Ok(bytes) => Ok(Argument::Bytes(serde_bytes::ByteBuf::from(bytes))),
            Err(error) => Err(Error::File(file.to_owned(), error)),
        },
        None => Ok(Argument::Value(serde_json::from_str(&text).unwrap_or(Value::String(text)))),
    };
    let args = event.args.into_iter().map(argument).collect::<Result<Vec<_>, _>>()?;
    Ok(Payload::event(&event.name, &args)?)
}
