//! `sio-streams emit`: sends into a cluster from outside.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;
use sio_streams_driver::sio_streams_core::{
    BroadcastOptions, ByteString, Config, ConfigError, EntryId, Packet, Payload, PayloadError,
    SubscriptionMode,
};
use sio_streams_driver::{Emitter, Error as DriverError};

use crate::adapter::AdapterArgs;
use crate::server::ServerArgs;

pub(crate) const EXAMPLES: &str = "\
Examples:
  sio-streams emit event news hello '{\"n\": 1}'         to all clients
  sio-streams emit --to room1 --except room2 event news @photo.png
  sio-streams emit --nsp /chat --to socket1 join room1
  sio-streams emit --dialect classic server-side reload

Exit codes: 0 Redis has the message, 1 it hasn't, or it is not known, 2 wrong usage.";

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

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Send an event to clients
    Event(EventArgs),
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
    Emit(#[from] DriverError),
    #[error("can't start: {0}")]
    Runtime(std::io::Error),
}

impl Error {
    fn exit_code(&self) -> u8 {
        match self {
            Error::Emit(DriverError::Command(_)) | Error::Runtime(_) => 1,
            _ => 2,
        }
    }
}

pub(crate) fn run(args: EmitArgs) -> ExitCode {
    match try_run(args) {
        Ok(entry) => {
            let place = entry.map(|entry| format!(" as {entry}")).unwrap_or_default();
            // A reader that closes the pipe is not interested in the rest.
            let _ = writeln!(std::io::stdout(), "emitted{place}");
            ExitCode::SUCCESS
        }
        Err(error) => crate::complain(&error.to_string(), error.exit_code()),
    }
}

fn try_run(args: EmitArgs) -> Result<Option<EntryId>, Error> {
    let config = Config {
        max_len: args.max_len,
        subscription_mode: match args.subscription_mode {
            Mode::Static => SubscriptionMode::Static,
            Mode::Dynamic => SubscriptionMode::Dynamic,
            Mode::DynamicPrivate => SubscriptionMode::DynamicPrivate,
        },
        ..args.adapter.config()
    };
    let names = |names: Vec<String>| -> Vec<ByteString> { names.into_iter().map(ByteString::from).collect() };
    let mut opts =
        BroadcastOptions { rooms: names(args.to), except: names(args.except), ..BroadcastOptions::default() };
    opts.flags.volatile = args.volatile.then_some(true);
    let emitter = Emitter::new(config, args.server.backend()?)?;
    let nsp = args.nsp.as_str();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    runtime.block_on(async {
        Ok(match args.action {
            Action::Event(event) => emitter.broadcast(nsp, Packet::new(payload(event)?)?, opts).await?,
            Action::Join { rooms } => emitter.sockets_join(nsp, opts, names(rooms)).await?,
            Action::Leave { rooms } => emitter.sockets_leave(nsp, opts, names(rooms)).await?,
            Action::Disconnect { close } => emitter.disconnect_sockets(nsp, opts, close).await?,
            Action::ServerSide(event) => emitter.server_side_emit(nsp, payload(event)?).await?,
        })
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
