//! The `sio-streams` command.

mod adapter;
mod ask;
mod config;
mod demo;
mod doctor;
mod emit;
mod lag;
mod link;
mod look;
#[cfg(feature = "manual")]
mod manual;
mod server;
mod sessions;
mod tail;
mod timeline;

use std::process::ExitCode;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// Socket.IO servers in Rust that share a cluster with Node, over Redis Streams.
///
/// sio-streams speaks the protocol of Node's @socket.io/redis-streams-adapter: servers forward
/// broadcasts, room changes and requests to each other through Redis. This command shows it at
/// work.
#[derive(Debug, Parser)]
#[command(name = "sio-streams", version, arg_required_else_help = true, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 all is well, 1 a check failed or Redis can't be reached, 2 wrong usage.";

const EXAMPLES: &str = "\
Examples:
  sio-streams demo                                  no Redis needed
  sio-streams demo --dialect bridge                 both generations of the protocol at once
  sio-streams demo --redis redis://127.0.0.1:6379   on a real server
  NO_COLOR=1 sio-streams demo | less                without colours

Exit codes: 0 all checks passed, 1 a check failed or Redis can't be reached, 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Play through what the protocol can do, on three servers with two clients each
    ///
    /// Starts three Socket.IO servers with two clients each and shows, as a timeline, what they do
    /// for each other: broadcasts, rooms, questions and answers, a lost connection, a dead server.
    /// Each section checks what every client has received. Takes a few seconds.
    #[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
    Demo(DemoArgs),
    /// Say what is wrong with a cluster, and what to do
    ///
    /// Looks at the Redis servers, the streams, the channels and the rights. It changes nothing,
    /// publishes nothing, and no server notices it.
    #[command(after_help = doctor::EXAMPLES, after_long_help = doctor::EXAMPLES)]
    Doctor(doctor::DoctorArgs),
    /// Measure how fast the streams grow, and how far they reach back
    #[command(after_help = lag::EXAMPLES, after_long_help = lag::EXAMPLES)]
    Lag(lag::LagArgs),
    /// Look at the stored sessions of clients that are away
    ///
    /// Says how many there are, how old and how large they are, and which of them would not be
    /// restored.
    #[command(after_help = sessions::EXAMPLES, after_long_help = sessions::EXAMPLES)]
    Sessions(sessions::SessionsArgs),
    /// Speak into a cluster from outside
    ///
    /// Sends an event to clients or servers, or moves sockets, as a server of the cluster would,
    /// without being one. The options must be those of the cluster's adapter.
    #[command(after_help = emit::EXAMPLES, after_long_help = emit::EXAMPLES)]
    Emit(emit::EmitArgs),
    /// Show the messages of a cluster as they come
    ///
    /// Follows the cluster's streams and, with --dialect, its Pub/Sub channels too. It only reads,
    /// and is not a server of the cluster.
    #[command(after_help = tail::EXAMPLES, after_long_help = tail::EXAMPLES)]
    Tail(tail::TailArgs),
    /// List the servers of a cluster, and whether they answer
    ///
    /// Counts the servers and asks each of them. The command is not a server of the cluster, and no
    /// server takes it for one; but servers do answer its question.
    #[command(after_help = ask::EXAMPLES, after_long_help = ask::EXAMPLES)]
    Nodes(ask::NodesArgs),
    /// List the clients of a cluster, and the servers that have them
    #[command(after_help = ask::EXAMPLES, after_long_help = ask::EXAMPLES)]
    Sockets(ask::SocketsArgs),
    /// List the rooms of a cluster, and the number of clients in each
    #[command(after_help = ask::EXAMPLES, after_long_help = ask::EXAMPLES)]
    Rooms(ask::RoomsArgs),
    /// Measure how long the servers of a cluster take to answer
    #[command(after_help = ask::EXAMPLES, after_long_help = ask::EXAMPLES)]
    Ping(ask::PingArgs),
    /// Print the completions for a shell
    #[cfg(feature = "manual")]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the man pages of all commands into a directory
    #[cfg(feature = "manual")]
    Man {
        /// The directory; it is made if it is not there
        directory: std::path::PathBuf,
    },
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Use this Redis or Valkey server instead of one that is simulated in memory
    ///
    /// redis://, rediss:// (TLS) or unix://. The password may stand in the environment variable
    /// REDISCLI_AUTH instead. The demo then takes a stream and channels of its own, with a random
    /// name, and deletes the stream in the end.
    #[arg(long, value_name = "URL")]
    redis: Option<String>,

    /// Generation of the protocol that the servers speak
    #[arg(long, value_enum, default_value_t, value_name = "DIALECT")]
    dialect: demo::Dialect,

    /// Use this stream, and channels of this prefix
    ///
    /// The stream is not deleted in the end. Take one that nobody else is using: the demo counts
    /// the servers, and broadcasts to everyone.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stream: Option<String>,

    /// Factor by which anything may take longer than usual, on a slow or busy machine
    #[arg(long, value_name = "N", hide = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    patience: u32,
}

fn main() -> ExitCode {
    let configured = config::File::load().and_then(|file| {
        let command = file.apply(Cli::command())?;
        server::configure(file);
        Ok(command)
    });
    let parsed = match configured {
        Ok(command) => Cli::from_arg_matches(&command.get_matches()),
        Err(error) => return complain(&error.to_string(), 2),
    };
    match parsed.unwrap_or_else(|error| error.exit()).command {
        Command::Demo(args) => {
            let DemoArgs { redis, dialect, stream, patience } = args;
            demo::run(demo::Plan { dialect, redis, stream, patience })
        }
        Command::Doctor(args) => doctor::run(args),
        Command::Lag(args) => lag::run(args),
        Command::Sessions(args) => sessions::run(args),
        Command::Emit(args) => emit::run(args),
        Command::Tail(args) => tail::run(args),
        Command::Nodes(args) => ask::nodes(&args),
        Command::Sockets(args) => ask::sockets(&args),
        Command::Rooms(args) => ask::rooms(&args),
        Command::Ping(args) => ask::ping(&args),
        #[cfg(feature = "manual")]
        Command::Completions { shell } => manual::completions(shell),
        #[cfg(feature = "manual")]
        Command::Man { directory } => manual::pages(&directory),
    }
}

/// Prints the error, and returns the exit code.
fn complain(what: &str, code: u8) -> ExitCode {
    use std::io::Write;
    // One line, with nothing in it that a terminal obeys, whatever the words are that came from
    // elsewhere.
    let what = sio_streams_driver::wire::for_log(what);
    // There is no other place to say that this one can't be written to.
    let _ = writeln!(std::io::stderr(), "error: {what}");
    ExitCode::from(code)
}
