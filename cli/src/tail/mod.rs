//! `sio-streams tail`: shows the messages of a cluster as they come.

mod channels;
mod filter;
mod human;
mod json;
mod place;
mod print;
mod record;
mod retry;
mod stream;
pub(crate) mod text;
pub(crate) mod when;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use sio_streams_driver::backend::Push;
use sio_streams_driver::sio_streams_core::Entry;
use tokio::sync::mpsc;

use self::filter::Filter;
use self::place::Gap;
use self::print::{End, Format, Printer};
use self::record::{Kind, Language, Listener};
use self::when::When;
use crate::adapter::Adapter;
use crate::server::ServerArgs;

pub(crate) const EXAMPLES: &str = "\
Examples:
  sio-streams tail                                      the stream, from now on
  sio-streams tail --dialect streams-0.3                requests and answers, too
  sio-streams tail --from 10m --nsp /chat --event news  of the last ten minutes, and on
  sio-streams tail --from 0 --until now --json          what the stream holds, as JSON
  sio-streams tail --type unreadable --from 0           what makes servers stumble

Exit codes: 0 it was ended, 1 Redis can't be reached or refuses to be read, 2 wrong usage.";

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Adapter of the cluster's servers; without it, only the streams are followed
    ///
    /// The channels of Pub/Sub are followed, too, if the adapter has any: with streams-0.3 the
    /// requests and answers, with classic and sharded all messages.
    #[arg(long, value_enum, value_name = "DIALECT", env = "SIO_STREAMS_DIALECT")]
    dialect: Option<Adapter>,

    /// streamName: the stream's key, or the first part of it
    #[arg(long, value_name = "NAME", default_value = "socket.io", env = "SIO_STREAMS_STREAM", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stream: String,

    /// streamCount: how many streams there are
    #[arg(long, value_name = "N", default_value_t = 1, env = "SIO_STREAMS_STREAM_COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    stream_count: u32,

    /// channelPrefix, or key: the first part of the channels' names
    #[arg(long, value_name = "NAME", default_value = "socket.io", env = "SIO_STREAMS_PREFIX")]
    prefix: String,

    /// useShardedPubSub of streams-0.3
    #[arg(long)]
    use_sharded_pub_sub: bool,

    /// With sharded Pub/Sub, follow the channels of whole namespaces, and be counted as a server
    ///
    /// Servers count the subscribers of these channels, and wait for an answer from each. This
    /// command never answers: while it runs, their requests end by the time limit. Without this
    /// option, only the channels of rooms and of single servers are followed.
    #[arg(long)]
    counted: bool,

    /// Begin with this entry, at this time, or this long ago: 1764410400000-0,
    /// 2025-11-29T10:00:00Z, 10m; 0 is the beginning of the stream
    #[arg(long, visible_alias = "since", value_name = "WHEN", value_parser = When::parse)]
    from: Option<When>,

    /// End with this entry, at this time, or this long ago; now is the end of the stream
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    until: Option<When>,

    /// End after this many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Only this namespace; may be given several times, as may the other filters
    #[arg(long, value_name = "NAMESPACE")]
    nsp: Vec<String>,

    /// Only what addresses this room or socket, or makes sockets join or leave it
    #[arg(long, value_name = "ROOM")]
    room: Vec<String>,

    /// Only events of this name
    #[arg(long, value_name = "EVENT")]
    event: Vec<String>,

    /// Only messages of this type, by its name or its number on the wire
    #[arg(long = "type", value_enum, value_name = "TYPE", hide_possible_values = true, long_help = TYPES)]
    kind: Vec<Kind>,

    /// Only messages of the node whose name begins so
    #[arg(long, value_name = "UID")]
    node: Vec<String>,

    /// The part of payloads that is shown; short by default, full with --json
    #[arg(long, value_enum, value_name = "DEPTH")]
    payload: Option<Depth>,

    /// One JSON object a line, as docs/operating.md describes it
    #[arg(long)]
    json: bool,
}

const TYPES: &str = "\
Only messages of this type, by its name or its number on the wire

initial-heartbeat (1), heartbeat (2), broadcast (3), join (4), leave (5), disconnect (6),
fetch-sockets (7), sockets (8), server-side-emit (9), server-side-answer (10), client-count (11),
ack (12), close (13); of the classic adapter also fetch-ids, ids, fetch-rooms, rooms, remote-join,
remote-leave, remote-disconnect, done, answer; and unreadable, which no server can read.";

/// The part of a payload that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Depth {
    Short,
    Full,
    Hidden,
}

/// Something that a follower has to say.
#[derive(Debug)]
enum Item {
    /// It follows now what is named here.
    Ready(String),
    Entries {
        stream: Arc<str>,
        entries: Vec<Entry>,
    },
    Gap {
        stream: Arc<str>,
        gap: Gap,
    },
    /// Messages that came over channels, and the time of that.
    Pushes(Vec<Push>, u64),
    /// Something that is to be known, but is no message.
    Notice(String),
    /// It can't go on.
    Failed(String),
    /// A signal asks for the end, or nobody reads the output any more.
    Interrupted,
}

/// The number of batches between those who read and the one that prints.
const BATCHES: usize = 4;

/// The time that is given to the output after a signal. A pipe that nobody reads blocks for ever.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Redis(#[from] sio_streams_redis_rs::ConfigError),
    #[error("--from is about streams, and this adapter has none")]
    NoPast,
    #[error("can't start: {0}")]
    Runtime(io::Error),
    #[error("{0}")]
    Failed(String),
    #[error("can't write: {0}")]
    Output(io::Error),
}

pub(crate) fn run(args: TailArgs) -> ExitCode {
    match try_run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = if matches!(error, Error::Redis(_) | Error::NoPast) { 2 } else { 1 };
            crate::complain(&error.to_string(), code)
        }
    }
}

fn try_run(args: TailArgs) -> Result<(), Error> {
    let has_streams = !matches!(args.dialect, Some(Adapter::Classic | Adapter::Sharded));
    if args.from.is_some() && !has_streams {
        return Err(Error::NoPast);
    }
    let language = match args.dialect {
        None | Some(Adapter::Streams02) => None,
        Some(Adapter::Streams03 | Adapter::Bridge) => Some(Language::Streams),
        Some(Adapter::Classic) => Some(Language::Classic),
        Some(Adapter::Sharded) => Some(Language::Sharded),
    };
    let backend = Arc::new(args.server.backend()?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let (sender, items) = mpsc::channel(BATCHES);
    let names = if has_streams { stream_names(&args.stream, args.stream_count) } else { Vec::new() };
    let mut followers = names.len();
    for name in names {
        let follower =
            stream::Follower::new(Arc::clone(&backend), &name, args.from, args.until, sender.clone());
        runtime.spawn(follower.run());
    }
    if let Some(language) = language {
        followers += 1;
        let follower = channels::Follower {
            backend,
            language,
            prefix: args.prefix.clone(),
            sharded: language == Language::Sharded || args.use_sharded_pub_sub,
            counted: args.counted,
            until: args.until,
            items: sender.clone(),
        };
        runtime.spawn(follower.run());
    }
    // Its sender must not keep the channel open.
    let signals = sender.downgrade();
    drop(sender);
    runtime.spawn(async move {
        let asked = tokio::select! {
            signal = signal() => signal.is_ok(),
            () = output_closed() => true,
        };
        if asked {
            if let Some(sender) = signals.upgrade() {
                let _ = tokio::time::timeout(FAREWELL, sender.send(Item::Interrupted)).await;
            }
            tokio::time::sleep(FAREWELL).await;
            std::process::exit(0);
        }
    });
    let depth = args.payload.unwrap_or(if args.json { Depth::Full } else { Depth::Short });
    let printer = Printer {
        filter: Filter {
            namespaces: args.nsp,
            rooms: args.room,
            events: args.event,
            kinds: args.kind,
            nodes: args.node,
        },
        format: if args.json { Format::Json } else { Format::Human },
        depth,
        left: args.count,
        listener: Listener::new(language.unwrap_or(Language::Streams), &args.prefix),
        starting: followers,
        following: Vec::new(),
    };
    let end = printer.run(items, io::stdout().lock(), io::stderr());
    runtime.shutdown_background();
    match end {
        End::Over => Ok(()),
        End::Failed(reason) => Err(Error::Failed(reason)),
        // The reader of the output does not want more of it.
        End::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        End::Output(error) => Err(Error::Output(error)),
    }
}

/// The streams of a cluster. With several, Node servers write a namespace whose hash is negative to
/// a stream with a negative number, which none of them reads.
fn stream_names(name: &str, count: u32) -> Vec<String> {
    match count {
        1 => vec![name.to_owned()],
        count => (1 - i64::from(count)..i64::from(count)).map(|number| format!("{name}-{number}")).collect(),
    }
}

/// Waits for a signal to end.
async fn signal() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// Completes when the pipe behind the output is closed, so that a quiet cluster does not keep the
/// command alive. Where the system does not tell, the next line finds out.
#[cfg(unix)]
async fn output_closed() {
    use std::os::fd::AsFd as _;

    use tokio::io::Interest;
    use tokio::net::unix::pipe::Sender;
    // The descriptor is only watched: nothing is written to it that would have to be non-blocking.
    let output = io::stdout().as_fd().try_clone_to_owned();
    if let Ok(output) = output.and_then(|output| Sender::from_file_unchecked(output.into()))
        && output.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    core::future::pending().await
}

#[cfg(not(unix))]
async fn output_closed() {
    core::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_streams_have_numbers_of_either_sign() {
        assert_eq!(stream_names("s", 1), ["s"]);
        assert_eq!(stream_names("s", 3), ["s--2", "s--1", "s-0", "s-1", "s-2"]);
    }

    #[test]
    fn the_help_names_every_type() {
        for kind in Kind::value_variants() {
            let value = kind.to_possible_value().unwrap();
            assert_eq!(value.get_name(), kind.name());
            let number = value.get_name_and_aliases().nth(1);
            let expected = match number {
                Some(number) => format!("{} ({number})", kind.name()),
                None => kind.name().to_owned(),
            };
            assert!(TYPES.contains(&expected), "{expected}");
        }
    }
}
