//! Asks the servers of a cluster, without being one of them.

mod nodes;
mod outcome;
mod ping;
mod road;
mod rooms;
mod round;
mod sockets;
pub(crate) mod table;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use sio_streams_driver::sio_streams_core::{BroadcastOptions, ByteString, Config};

use self::round::{Asker, Round};
use crate::adapter::AdapterArgs;
use crate::server::ServerArgs;

pub(crate) use nodes::NodesArgs;
pub(crate) use ping::PingArgs;
pub(crate) use road::Road;
pub(crate) use rooms::RoomsArgs;
pub(crate) use sockets::SocketsArgs;

pub(crate) const EXAMPLES: &str = "\
Examples:
  sio-streams nodes                              the servers, and whether they answer
  sio-streams sockets --nsp /chat --to room1     the clients in a room, and where they are
  sio-streams rooms --dialect classic            the rooms, and how many clients are in each
  sio-streams ping --count 100 --interval 0.1    how long the servers take to answer

Exit codes: 0 every server has answered, 1 one has not, or there is none, or Redis can't be
reached, 2 wrong usage.";

/// The cluster, and how to ask it.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// useShardedPubSub of streams-0.3
    #[arg(long)]
    use_sharded_pub_sub: bool,

    /// heartbeatTimeout of streams-0.2, in milliseconds: servers that were heard since are expected
    /// to answer
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    heartbeat_timeout: u64,

    /// The namespace
    #[arg(long, value_name = "NAMESPACE", default_value = "/")]
    nsp: String,

    /// How long answers are waited for, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    timeout: Duration,

    /// One JSON object a line, as docs/operating.md describes it
    #[arg(long)]
    json: bool,
}

impl ClusterArgs {
    fn config(&self) -> Config {
        Config {
            use_sharded_pub_sub: self.use_sharded_pub_sub,
            heartbeat_timeout: Duration::from_millis(self.heartbeat_timeout),
            ..self.adapter.config()
        }
    }
}

/// The clients that a question is about.
#[derive(Debug, Args)]
struct Selection {
    /// Only the sockets in this room, or the socket of this id; may be given several times
    #[arg(long, value_name = "ROOM")]
    to: Vec<String>,

    /// Not the sockets in this room; may be given several times
    #[arg(long, value_name = "ROOM")]
    except: Vec<String>,
}

impl Selection {
    fn options(&self) -> BroadcastOptions {
        let names = |names: &[String]| names.iter().map(|name| ByteString::from(name.as_str())).collect();
        BroadcastOptions {
            rooms: names(&self.to),
            except: names(&self.except),
            ..BroadcastOptions::default()
        }
    }
}

/// Reads a positive number of seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() && time <= Duration::from_secs(86_400) => Ok(time),
        _ => Err("between 0.001 and 86400 seconds are possible".to_owned()),
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Config(#[from] sio_streams_driver::sio_streams_core::ConfigError),
    #[error("{0}")]
    Redis(#[from] sio_streams_redis_rs::ConfigError),
    #[error("{0}")]
    Call(#[from] sio_streams_driver::CallError),
    #[error("{0}")]
    Connect(#[from] sio_streams_driver::backend::ConnectError),
    #[error("Redis: {0}")]
    Command(#[from] sio_streams_driver::CommandError),
    #[error("Redis did not answer within {} s", .0.as_secs_f64())]
    Silent(Duration),
    #[error("the link to Redis is lost")]
    Lost,
    #[error("Redis replied with something else than was asked for")]
    Unexpected,
    #[error("can't draw an id: {0}")]
    Random(getrandom::Error),
    #[error("can't start: {0}")]
    Runtime(io::Error),
    #[error("can't write: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) | Error::Redis(_) | Error::Call(_) => 2,
            _ => 1,
        }
    }
}

/// A command that asks, and shows what it is told. It returns `true` if there are servers, and every
/// one has answered.
trait Inquiry {
    fn cluster(&self) -> &ClusterArgs;

    async fn run(&self, asker: &mut Asker, out: &mut dyn Write) -> Result<bool, Error>;
}

/// Runs such a command.
fn run(inquiry: &impl Inquiry) -> ExitCode {
    match try_run(inquiry) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The reader of the output does not want more of it.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => crate::complain(&error.to_string(), error.exit_code()),
    }
}

fn try_run(inquiry: &impl Inquiry) -> Result<bool, Error> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    runtime.block_on(async {
        let mut asker = Asker::connect(inquiry.cluster()).await?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        let complete = inquiry.run(&mut asker, &mut out).await?;
        out.flush()?;
        Ok(complete)
    })
}

pub(crate) fn nodes(args: &NodesArgs) -> ExitCode {
    run(args)
}

pub(crate) fn ping(args: &PingArgs) -> ExitCode {
    run(args)
}

pub(crate) fn rooms(args: &RoomsArgs) -> ExitCode {
    run(args)
}

pub(crate) fn sockets(args: &SocketsArgs) -> ExitCode {
    run(args)
}

/// Asks once, shows what `show` makes of it, and says what is missing. Returns `true` if there are
/// servers, and all have answered.
async fn ask_once(
    args: &ClusterArgs,
    asker: &mut Asker,
    opts: BroadcastOptions,
    out: &mut dyn Write,
    show: impl FnOnce(&Round, &mut dyn Write) -> io::Result<()>,
) -> Result<bool, Error> {
    let round = asker.ask(opts).await?;
    show(&round, out)?;
    outcome::show(&round, args.json, out)?;
    Ok(round.is_complete() && !round.answers.is_empty())
}
