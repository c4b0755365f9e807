//! What can go wrong.

use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use sio_streams_core::{CommandError, Fields, Lane};

/// Which of a host's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lanes {
    /// All of them.
    All,
    /// The one that publishes and asks.
    Writer,
    /// Those that read streams.
    Readers,
    /// The one that subscribes.
    Subscriber,
    /// The one for clients that come back.
    Recovery,
}

impl Lanes {
    /// Whether this is one of them.
    pub fn contains(self, lane: &Lane) -> bool {
        matches!(
            (self, lane),
            (Lanes::All, _)
                | (Lanes::Writer, Lane::Writer)
                | (Lanes::Readers, Lane::Reader(_))
                | (Lanes::Subscriber, Lane::Subscriber)
                | (Lanes::Recovery, Lane::Recovery)
        )
    }
}

/// What a restarted server still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Everything.
    Kept,
    /// All but the last entries of each stream.
    TailLost(u64),
    /// Nothing.
    Lost,
}

/// With what a server refuses commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `OOM`: nothing that takes memory.
    OutOfMemory,
    /// `READONLY`: it is a replica.
    ReadOnly,
    /// `MISCONF`: it can't write to its disk, and so takes no data.
    Misconfigured,
    /// `LOADING`: it has just been started.
    Loading,
    /// `BUSY`: a script runs.
    Busy,
    /// `NOPERM`: somebody changed the rights.
    NoPermission,
}

impl Refusal {
    /// Whether commands that read are refused too.
    pub fn is_total(self) -> bool {
        matches!(self, Refusal::Loading | Refusal::Busy | Refusal::NoPermission)
    }

    /// What the server answers.
    pub fn error(self) -> CommandError {
        let (code, message) = match self {
            Refusal::OutOfMemory => ("OOM", "command not allowed when used memory > 'maxmemory'."),
            Refusal::ReadOnly => ("READONLY", "You can't write against a read only replica."),
            Refusal::Misconfigured => ("MISCONF", "Redis is configured to save RDB snapshots, but can't."),
            Refusal::Loading => ("LOADING", "Redis is loading the dataset in memory"),
            Refusal::Busy => ("BUSY", "Redis is busy running a script."),
            Refusal::NoPermission => ("NOPERM", "this user has no permissions to run the command"),
        };
        CommandError::Server { code: code.to_owned(), message: message.to_owned() }
    }
}

/// The number of an entry that is forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// The highest that there is.
    Highest,
    /// Below all that its supposed author has used.
    Behind,
    /// The highest that an honest node could have given by then.
    Plausible,
    /// None.
    None,
}

/// Who answers a question that is no concern of his.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impostor {
    /// Somebody without a name.
    Nobody,
    /// Somebody whom nobody knows.
    Stranger,
    /// Whoever answered last, with the same words.
    Parrot,
}

/// Something that goes wrong, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Connections are lost, and new ones refused.
    Cut {
        /// Whose.
        host: usize,
        /// Which.
        lanes: Lanes,
        /// Of the commands that are on their way, so many still reach the server and are executed; their replies are lost.
        executed: usize,
        /// How much later than usual those arrive: perhaps behind what the host sends on its next connection.
        late: Duration,
        /// How long new connections are refused.
        lasts: Duration,
    },
    /// Nothing comes through in either direction, and nobody is told; what was sent comes through afterwards, unless somebody gave up.
    Stall {
        /// Whose connections.
        host: usize,
        /// Which.
        lanes: Lanes,
        /// How long.
        lasts: Duration,
    },
    /// The host's process stands still. Its connections live on.
    Pause {
        /// Which host.
        host: usize,
        /// How long.
        lasts: Duration,
    },
    /// The application takes no events.
    SlowApp {
        /// Which host's.
        host: usize,
        /// How long.
        lasts: Duration,
    },
    /// The host's clock jumps forward.
    ClockJump {
        /// Which host's.
        host: usize,
        /// How far.
        by: Duration,
    },
    /// The host dies.
    Crash {
        /// Which host.
        host: usize,
        /// When it comes back, empty and under a new name; never, if there is nothing.
        back_after: Option<Duration>,
    },
    /// The server is stopped and comes back.
    Restart {
        /// What it still has then.
        data: Data,
        /// How long it is away.
        away: Duration,
        /// How long it then answers `LOADING`.
        loading: Duration,
    },
    /// A replica takes over that has not received the last entries of each stream. Until then the old server refuses to write, and
    /// blocked reads end with `UNBLOCKED`.
    Failover {
        /// How many entries of each stream are lost.
        lost: u64,
        /// How long the old server is a replica already, before connections to it are closed.
        demoted: Duration,
        /// How long nobody can be reached then.
        away: Duration,
    },
    /// The server refuses commands.
    Refuse {
        /// With what.
        refusal: Refusal,
        /// How long.
        lasts: Duration,
    },
    /// The server refuses the next few commands that writers send, whoever's they are, and none behind them: part of a burst may go through.
    Falter {
        /// With what.
        refusal: Refusal,
        /// How many commands.
        commands: usize,
        /// For how long, if there are not so many.
        lasts: Duration,
    },
    /// The server executes nothing, and answers afterwards.
    Freeze {
        /// How long.
        lasts: Duration,
    },
    /// The server closes all connections (`CLIENT KILL`).
    KillClients,
    /// The server's clock jumps.
    ServerClockJump {
        /// How many milliseconds; backwards if negative.
        millis: i64,
    },
    /// Somebody trims a stream by hand, to an exact length.
    Trim {
        /// The stream.
        stream: ByteString,
        /// How many entries stay.
        length: u64,
    },
    /// A foreign program publishes something by Pub/Sub.
    Noise {
        /// The channel.
        channel: ByteString,
        /// What it says.
        payload: Bytes,
        /// Whether by sharded Pub/Sub.
        sharded: bool,
    },
    /// The replies to the next messages that a host publishes come in a form that it does not understand. They are executed.
    Garble {
        /// Which host's.
        host: usize,
        /// How many.
        replies: usize,
    },
    /// A foreign program writes an entry in the name of a host.
    Forged {
        /// In whose name.
        host: usize,
        /// The stream.
        stream: ByteString,
        /// The namespace.
        nsp: ByteString,
        /// Which number the entry bears.
        number: Forgery,
    },
    /// A foreign program answers the last question that was asked, or repeats the last answer.
    FalseAnswer {
        /// In whose name.
        who: Impostor,
    },
    /// A foreign program writes an entry.
    Foreign {
        /// The stream.
        stream: ByteString,
        /// What it writes.
        fields: Box<Fields>,
    },
}

impl Fault {
    /// The host that it befalls; nothing if it is the server.
    pub fn host(&self) -> Option<usize> {
        match self {
            Fault::Cut { host, .. }
            | Fault::Stall { host, .. }
            | Fault::Pause { host, .. }
            | Fault::SlowApp { host, .. }
            | Fault::ClockJump { host, .. }
            | Fault::Crash { host, .. }
            | Fault::Garble { host, .. }
            | Fault::Forged { host, .. } => Some(*host),
            _ => None,
        }
    }

    /// How long until it is over; what follows from it may take longer.
    pub fn lasts(&self) -> Duration {
        match self {
            Fault::Cut { lasts, late, .. } => (*lasts).max(*late),
            Fault::Stall { lasts, .. }
            | Fault::Pause { lasts, .. }
            | Fault::SlowApp { lasts, .. }
            | Fault::Refuse { lasts, .. }
            | Fault::Falter { lasts, .. }
            | Fault::Freeze { lasts } => *lasts,
            Fault::Crash { back_after, .. } => back_after.unwrap_or_default(),
            Fault::Restart { away, loading, .. } => *away + *loading,
            Fault::Failover { demoted, away, .. } => *demoted + *away,
            Fault::ClockJump { .. }
            | Fault::KillClients
            | Fault::ServerClockJump { .. }
            | Fault::Trim { .. }
            | Fault::Noise { .. }
            | Fault::Garble { .. }
            | Fault::Forged { .. }
            | Fault::FalseAnswer { .. }
            | Fault::Foreign { .. } => Duration::ZERO,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Cut { lanes, executed, late, lasts, .. } => {
                write!(f, "{} cut for {}", Connections(*lanes), Millis(*lasts))?;
                if *executed > 0 {
                    write!(f, "; of what is on its way {executed} commands are executed")?;
                }
                if !late.is_zero() {
                    write!(f, ", {} late", Millis(*late))?;
                }
                Ok(())
            }
            Fault::Stall { lanes, lasts, .. } => {
                write!(f, "{} silent for {}", Connections(*lanes), Millis(*lasts))
            }
            Fault::Garble { replies, .. } => write!(f, "the next {replies} replies can't be understood"),
            Fault::Forged { stream, nsp, number, .. } => {
                write!(f, "somebody writes to {stream} in its name, for {nsp}, number {number:?}")
            }
            Fault::FalseAnswer { who } => write!(f, "a false answer: {who:?}"),
            Fault::Pause { lasts, .. } => write!(f, "process stopped for {}", Millis(*lasts)),
            Fault::SlowApp { lasts, .. } => write!(f, "application takes no events for {}", Millis(*lasts)),
            Fault::ClockJump { by, .. } => write!(f, "clock jumps by {}", Millis(*by)),
            Fault::Crash { back_after: None, .. } => f.write_str("dies"),
            Fault::Crash { back_after: Some(after), .. } => write!(f, "dies, back in {}", Millis(*after)),
            Fault::Restart { data, away, loading } => {
                let data = match data {
                    Data::Kept => "its data kept".to_owned(),
                    Data::TailLost(entries) => format!("the last {entries} entries of each stream lost"),
                    Data::Lost => "all data lost".to_owned(),
                };
                write!(f, "server away for {}, {data}, then loading for {}", Millis(*away), Millis(*loading))
            }
            Fault::Failover { lost, demoted, away } => write!(
                f,
                "failover: read-only for {}, away for {}, the last {lost} entries of each stream lost",
                Millis(*demoted),
                Millis(*away)
            ),
            Fault::Refuse { refusal, lasts } => {
                let what = if refusal.is_total() { "everything" } else { "writes" };
                write!(f, "server refuses {what} for {} ({refusal:?})", Millis(*lasts))
            }
            Fault::Falter { refusal, commands, .. } => {
                write!(f, "server refuses the next {commands} commands of writers ({refusal:?})")
            }
            Fault::Freeze { lasts } => write!(f, "server executes nothing for {}", Millis(*lasts)),
            Fault::KillClients => f.write_str("server closes all connections"),
            Fault::ServerClockJump { millis } => write!(f, "server's clock jumps by {millis} ms"),
            Fault::Trim { stream, length } => write!(f, "{stream} trimmed to {length} entries by hand"),
            Fault::Noise { channel, payload, .. } => write!(f, "foreign message on {channel}: {payload:?}"),
            Fault::Foreign { stream, fields } => write!(f, "foreign entry on {stream}: {fields:?}"),
        }
    }
}

struct Connections(Lanes);

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Lanes::All => "all connections",
            Lanes::Writer => "writer",
            Lanes::Readers => "readers",
            Lanes::Subscriber => "subscriber",
            Lanes::Recovery => "recovery",
        })
    }
}

struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0.as_millis())
    }
}
