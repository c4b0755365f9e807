//! The faults that a world can suffer.

use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use sio_streams_core::{CommandError, Fields, Lane};

/// A selection of a host's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lanes {
    /// All connections.
    All,
    /// The connection that publishes and sends requests.
    Writer,
    /// The connections that read streams.
    Readers,
    /// The connection with the subscriptions.
    Subscriber,
    /// The connection for recovery.
    Recovery,
}

impl Lanes {
    /// Returns `true` if the lane is selected.
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

/// The data that a restarted server still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Everything.
    Kept,
    /// All but the last entries of each stream.
    TailLost(u64),
    /// Nothing.
    Lost,
}

/// The error with which a server refuses commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `OOM`: it refuses commands that take memory.
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
    /// Returns `true` if commands that read are refused too.
    pub fn is_total(self) -> bool {
        matches!(self, Refusal::Loading | Refusal::Busy | Refusal::NoPermission)
    }

    /// The server's answer.
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
    /// The highest possible number.
    Highest,
    /// Below all that its supposed author has used.
    Behind,
    /// The highest that an honest node could have given by then.
    Plausible,
    /// None.
    None,
}

/// The author of a false answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impostor {
    /// Somebody without a name.
    Nobody,
    /// An unknown name.
    Stranger,
    /// The node that answered last, with the same answer.
    Parrot,
}

/// A fault, and its duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Connections are lost, and new ones refused.
    Cut {
        /// The affected host.
        host: usize,
        /// The affected connections.
        lanes: Lanes,
        /// The number of commands on their way that still reach the server and are executed. Their
        /// replies are lost.
        executed: usize,
        /// The extra delay of those commands: they may run behind what the host sends on its next
        /// connection.
        late: Duration,
        /// The time for which new connections are refused.
        lasts: Duration,
    },
    /// Nothing comes through in either direction, and neither side is told. The data comes through
    /// afterwards, unless a side has given up.
    Stall {
        /// The affected host.
        host: usize,
        /// The affected connections.
        lanes: Lanes,
        /// The duration.
        lasts: Duration,
    },
    /// The host's process stands still. Its connections live on.
    Pause {
        /// The affected host.
        host: usize,
        /// The duration.
        lasts: Duration,
    },
    /// The application takes no events.
    SlowApp {
        /// The affected host.
        host: usize,
        /// The duration.
        lasts: Duration,
    },
    /// The host's clock jumps forward.
    ClockJump {
        /// The affected host.
        host: usize,
        /// The extent of the jump.
        by: Duration,
    },
    /// The host dies.
    Crash {
        /// The affected host.
        host: usize,
        /// The time until it comes back, empty and under a new name. It stays away if there is
        /// none.
        back_after: Option<Duration>,
    },
    /// The server is stopped and comes back.
    Restart {
        /// The data that it still has then.
        data: Data,
        /// The time for which it is away.
        away: Duration,
        /// The time for which it then answers `LOADING`.
        loading: Duration,
    },
    /// A replica takes over that has not received the last entries of each stream. Until then the
    /// old server refuses to write, and blocked reads end with `UNBLOCKED`.
    Failover {
        /// The number of entries that each stream loses.
        lost: u64,
        /// The time for which the old server is already a replica, before connections to it are
        /// closed.
        demoted: Duration,
        /// The time for which no server can be reached then.
        away: Duration,
    },
    /// Two masters live at once. A replica is promoted that has not received the last entries of
    /// each stream. A foreign program writes to it, while everybody else goes on at the old master.
    /// Then the old master is gone with what was written to it meanwhile.
    TwoMasters {
        /// The number of entries that each stream loses besides.
        lost: u64,
        /// The entries that the new master takes: the time since its promotion, the stream, and the
        /// entry.
        entries: Vec<(Duration, ByteString, Fields)>,
        /// The time for which there are two masters.
        lasts: Duration,
        /// The time for which no server can be reached then.
        away: Duration,
    },
    /// The server refuses commands.
    Refuse {
        /// The error.
        refusal: Refusal,
        /// The duration.
        lasts: Duration,
    },
    /// Nobody may subscribe to some channels and patterns. Subscriptions that are in force stay so.
    Withhold {
        /// The channels and patterns.
        channels: Vec<ByteString>,
        /// The duration.
        lasts: Duration,
    },
    /// The server refuses the next few commands that any writers send, and none
    /// behind them: part of a burst may go through.
    Falter {
        /// The error.
        refusal: Refusal,
        /// The number of commands.
        commands: usize,
        /// The longest duration, if there are fewer commands.
        lasts: Duration,
    },
    /// The server executes nothing, and answers afterwards.
    Freeze {
        /// The duration.
        lasts: Duration,
    },
    /// The server closes all connections (`CLIENT KILL`).
    KillClients,
    /// The server's clock jumps.
    ServerClockJump {
        /// The extent of the jump in milliseconds; backwards if negative.
        millis: i64,
    },
    /// Somebody trims a stream by hand, to an exact length.
    Trim {
        /// The stream.
        stream: ByteString,
        /// The number of entries that stay.
        length: u64,
    },
    /// A foreign program publishes something by Pub/Sub.
    Noise {
        /// The channel.
        channel: ByteString,
        /// The message.
        payload: Bytes,
        /// `true` for sharded Pub/Sub.
        sharded: bool,
    },
    /// The replies to the next messages that a host publishes come in a form that it does not
    /// understand. They are executed.
    Garble {
        /// The affected host.
        host: usize,
        /// The number of replies.
        replies: usize,
    },
    /// A foreign program writes an entry in the name of a host.
    Forged {
        /// The host in whose name it is written.
        host: usize,
        /// The stream.
        stream: ByteString,
        /// The namespace.
        nsp: ByteString,
        /// The number that the entry bears.
        number: Forgery,
    },
    /// A foreign program answers the last question that was asked, or repeats the last answer.
    FalseAnswer {
        /// The host in whose name it is written.
        who: Impostor,
    },
    /// A foreign program writes an entry.
    Foreign {
        /// The stream.
        stream: ByteString,
        /// The entry.
        fields: Box<Fields>,
    },
}

impl Fault {
    /// The affected host; `None` if it is the server.
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

    /// The time until the fault is over. Its consequences may take longer.
    pub fn lasts(&self) -> Duration {
        match self {
            Fault::Cut { lasts, late, .. } => (*lasts).max(*late),
            Fault::Stall { lasts, .. }
            | Fault::Pause { lasts, .. }
            | Fault::SlowApp { lasts, .. }
            | Fault::Refuse { lasts, .. }
            | Fault::Withhold { lasts, .. }
            | Fault::Falter { lasts, .. }
            | Fault::Freeze { lasts } => *lasts,
            Fault::Crash { back_after, .. } => back_after.unwrap_or_default(),
            Fault::Restart { away, loading, .. } => *away + *loading,
            Fault::Failover { demoted, away, .. } => *demoted + *away,
            Fault::TwoMasters { lasts, away, .. } => *lasts + *away,
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
            Fault::TwoMasters { lost, entries, lasts, away } => write!(
                f,
                "another master for {}, which takes {} foreign entries; then away for {}, and what was \
                 written to the old one lost, and {lost} entries before",
                Millis(*lasts),
                entries.len(),
                Millis(*away)
            ),
            Fault::Refuse { refusal, lasts } => {
                let what = if refusal.is_total() { "everything" } else { "writes" };
                write!(f, "server refuses {what} for {} ({refusal:?})", Millis(*lasts))
            }
            Fault::Withhold { channels, lasts } => {
                let channels = channels.join(", ");
                write!(f, "nobody may subscribe to {channels} for {}", Millis(*lasts))
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
