//! `sio-streams doctor`: says what is wrong with a cluster, and what to do.

mod finding;
mod members;
mod report;
mod rights;
pub(crate) mod server;
mod stream;

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use sio_streams_driver::sio_streams_core::{
    ByteString, Command, Config, ConfigError, Dialect, Observer, Reply,
};

use self::finding::{Code, Findings, Severity};
use self::report::Scope;
use self::stream::Stream;
use crate::adapter::AdapterArgs;
use crate::look::{Error, Servers};
use crate::server::ServerArgs;
use crate::tail::when::now;

pub(crate) const EXAMPLES: &str = "\
Examples:
  sio-streams doctor                                  what is wrong, and what to do
  sio-streams doctor --dialect classic --nsp /chat    with the options of the servers
  sio-streams doctor --user app                       the rights of the servers' user, too
  sio-streams doctor --json | jq .code                for a health check

Exit codes: 0 nothing but notes was found, 1 Redis can't be reached, 2 wrong usage, 3 there are
warnings, 4 there are errors.";

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// useShardedPubSub of streams-0.3
    #[arg(long)]
    use_sharded_pub_sub: bool,

    /// The namespaces, for the rights of channels; may be given several times
    #[arg(long, value_name = "NAMESPACE", default_value = "/")]
    nsp: Vec<String>,

    /// maxLen: about how many entries a stream keeps
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_len: u64,

    /// readCount: the number of entries that a server reads at once
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    read_count: u32,

    /// heartbeatTimeout of streams-0.2, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    heartbeat_timeout: u64,

    /// The longest time for which a server or a client may be away and miss nothing, in
    /// milliseconds: maxDisconnectionDuration
    #[arg(long, value_name = "MS", default_value_t = 120_000)]
    max_disconnection_duration: u64,

    /// The servers use connection state recovery
    #[arg(long)]
    recovery: bool,

    /// sessionKeyPrefix
    #[arg(long, value_name = "NAME", default_value = "sio:session:")]
    session_key_prefix: String,

    /// Check the rights of this user of Redis, instead of those that the command itself has
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// The largest number of entries of each stream that are looked at, the newest ones
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    entries: u64,

    /// One JSON object a line, as docs/operating.md describes it
    #[arg(long)]
    json: bool,
}

/// The options that the checks go by.
#[derive(Debug)]
struct Plan {
    config: Config,
    streams: Vec<ByteString>,
    namespaces: Vec<String>,
    read_count: usize,
    /// The longest time that is to be survived.
    outage: Duration,
    recovery: bool,
    session_prefix: String,
    user: Option<String>,
    entries: u64,
    /// The URL says which version of the protocol to speak.
    insists_on_a_protocol: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            config: Config::default(),
            streams: Vec::new(),
            namespaces: vec!["/".into()],
            read_count: 100,
            outage: Duration::from_secs(120),
            recovery: false,
            session_prefix: String::new(),
            user: None,
            entries: 20_000,
            insists_on_a_protocol: false,
        }
    }
}

impl Plan {
    fn is_sharded(&self) -> bool {
        match self.config.dialect {
            Dialect::Sharded => true,
            Dialect::Classic => false,
            _ => self.config.use_sharded_pub_sub,
        }
    }

    fn has_streams(&self) -> bool {
        !matches!(self.config.dialect, Dialect::Classic | Dialect::Sharded)
    }
}

impl DoctorArgs {
    fn plan(self) -> Result<(ServerArgs, Observer, Plan), ConfigError> {
        let config = Config {
            use_sharded_pub_sub: self.use_sharded_pub_sub,
            max_len: self.max_len,
            read_count: self.read_count,
            heartbeat_timeout: Duration::from_millis(self.heartbeat_timeout),
            // Only the timeout is compared with anything.
            heartbeat_interval: Duration::from_millis((self.heartbeat_timeout / 2).max(1)),
            ..self.adapter.config()
        };
        let observer = Observer::new(config.clone())?;
        let plan = Plan {
            config,
            streams: observer.streams(),
            namespaces: self.nsp,
            read_count: self.read_count as usize,
            outage: Duration::from_millis(self.max_disconnection_duration),
            recovery: self.recovery,
            session_prefix: self.session_key_prefix,
            user: self.user,
            entries: self.entries,
            insists_on_a_protocol: self.server.redis.contains("protocol="),
        };
        Ok((self.server, observer, plan))
    }
}

pub(crate) fn run(args: DoctorArgs) -> ExitCode {
    crate::look::run(diagnose(args))
}

async fn diagnose(args: DoctorArgs) -> Result<u8, Error> {
    let as_json = args.json;
    let (server, observer, plan) = args.plan()?;
    let mut servers = Servers::connect(&server).await?;
    let mut found = Findings::default();
    let scope = examine(&mut servers, &observer, &plan, &mut found).await?;
    let findings = found.sorted();
    let mut out = io::BufWriter::new(io::stdout().lock());
    match as_json {
        true => report::json(&findings, &scope, &mut out)?,
        false => report::human(&findings, &scope, &mut out)?,
    }
    out.flush()?;
    Ok(match findings.iter().map(|finding| finding.severity).max() {
        Some(Severity::Error) => 4,
        Some(Severity::Warning) => 3,
        Some(Severity::Note) | None => 0,
    })
}

async fn examine(
    servers: &mut Servers,
    observer: &Observer,
    plan: &Plan,
    found: &mut Findings,
) -> Result<Scope, Error> {
    for (name, reason) in &servers.missing {
        let todo = "Start the server, or open the way to it.";
        found.add(Severity::Error, Code::Unreachable, name, format!("{reason}."), todo);
    }
    let mut facts = HashMap::new();
    for server in &mut servers.list {
        let name = server.name.clone();
        facts.insert(name, server::look(server, plan, found).await?);
    }
    let mut streams: Vec<Stream> = Vec::new();
    let lost = (1..plan.config.stream_count).map(|number| -i64::from(number));
    let lost =
        lost.filter(|_| plan.has_streams()).map(|number| format!("{}-{number}", plan.config.stream_name));
    let names: Vec<ByteString> = plan.streams.iter().cloned().chain(lost.map(ByteString::from)).collect();
    for name in &names {
        let Some(server) = servers.owner(name) else {
            let todo = "Start the master that has the stream, or have its replica take over.";
            found.add(Severity::Error, Code::Unreachable, &**name, "Its master can't be reached.", todo);
            continue;
        };
        let of_server = facts.get(&server.name);
        let limits = of_server.and_then(|facts| facts.buffers);
        let Some(stream) = stream::read(server, name, limits, plan, found).await? else { continue };
        let time = of_server.and_then(|facts| facts.time).unwrap_or_else(now);
        stream.judge(plan, found);
        stream.judge_horizon(plan, time, found);
        stream.judge_clock(time, found);
        if let Some(limits) = limits {
            stream.judge_buffers(limits, plan, found);
        }
        streams.push(stream);
    }
    other_counts(servers, plan, found).await?;
    let channels = members::look(servers, plan, &streams, found).await?;
    let times = facts.values().filter_map(|facts| facts.time);
    channels.judge(plan, observer, &streams, times.max().unwrap_or_else(now), found);
    let scope = Scope {
        servers: servers.list.len(),
        streams: streams.len(),
        entries: streams.iter().map(|stream| stream.looked_at).sum(),
        channels: channels.len(),
    };
    for server in servers.masters() {
        rights::check(server, plan, found).await?;
    }
    Ok(scope)
}

/// A stream that was written to within this time is in use.
const IN_USE: Duration = Duration::from_secs(600);

/// Finds streams of servers with another streamCount.
async fn other_counts(servers: &mut Servers, plan: &Plan, found: &mut Findings) -> Result<(), Error> {
    if !plan.has_streams() {
        return Ok(());
    }
    let (name, count) = (&plan.config.stream_name, plan.config.stream_count);
    let others: BTreeSet<String> = match count {
        1 => [format!("{name}-0")].into(),
        count => [name.to_string(), format!("{name}-{count}")].into(),
    };
    for other in others {
        let Some(server) = servers.owner(&other) else { continue };
        match server.execute(Command::XInfoStream { stream: other.as_str().into() }).await? {
            Ok(Reply::Stream(Some(info))) => {
                let age = now().saturating_sub(info.last_generated_id.ms);
                if u128::from(age) <= IN_USE.as_millis() {
                    let seen = format!(
                        "The stream {other} is in use, too, which servers with streamCount {count} don't read."
                    );
                    let todo =
                        "Give all servers the same streamCount, or streamNames that can't be mixed up.";
                    found.add(Severity::Warning, Code::OptionsDiffer, &**name, seen, todo);
                }
            }
            Err(refusal) if refusal.is_about_rights() => {
                let what = format!(
                    "XINFO STREAM is refused ({refusal}): it is not known whether streamCount differs."
                );
                found.unchecked(&other, &refusal, &what, &format!("give the user ~{name}-*"));
            }
            _ => {}
        }
    }
    Ok(())
}
