//! `sio-streams lag`: how fast the streams grow, and how far they reach back.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use sio_streams_driver::sio_streams_core::{ByteString, Command, Config, Observer, Reply, StreamInfo};
use sio_streams_driver::wire::Value;

use crate::adapter::AdapterArgs;
use crate::ask::seconds;
use crate::ask::table::Table;
use crate::doctor::server::bytes;
use crate::look::{Error, Server, Servers};
use crate::server::ServerArgs;

pub(crate) const EXAMPLES: &str = "\
Examples:
  sio-streams lag                                       how fast, and how far back
  sio-streams lag --interval 10 --json                  measured for ten seconds
  sio-streams lag --max-disconnection-duration 600000   is it enough for ten minutes?

Exit codes: 0 every stream reaches back far enough, 1 one does not, or there is none, or Redis
can't be reached, 2 wrong usage.";

#[derive(Debug, Args)]
pub(crate) struct LagArgs {
    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// maxLen: about how many entries a stream keeps
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_len: u64,

    /// The longest time for which a server or a client may be away and miss nothing, in
    /// milliseconds: maxDisconnectionDuration
    #[arg(long, value_name = "MS", default_value_t = 120_000)]
    max_disconnection_duration: u64,

    /// The time for which the rate is measured, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,

    /// One JSON object a line, as docs/operating.md describes it
    #[arg(long)]
    json: bool,
}

/// A stream, looked at twice.
#[derive(Debug)]
struct Lag {
    stream: ByteString,
    info: StreamInfo,
    /// The entries that were added in a second, while it was measured. `None` before Redis 7.
    rate: Option<f64>,
    /// The bytes that the key takes, or `None` if the user may not know.
    memory: Option<u64>,
    /// The time of the server, in milliseconds since 1970.
    now: u64,
}

impl Lag {
    /// Returns how many entries a second were added while the entries that are there were written.
    fn average(&self) -> Option<f64> {
        let span = self.info.last_generated_id.ms.checked_sub(self.info.first_entry_id?.ms)?;
        (span > 0).then(|| self.info.length.saturating_sub(1) as f64 * 1e3 / span as f64)
    }

    /// Returns the age of the oldest entry, in milliseconds.
    fn reach(&self) -> Option<u64> {
        Some(self.now.saturating_sub(self.info.first_entry_id?.ms))
    }

    fn is_trimmed(&self, max_len: u64) -> bool {
        match self.info.entries_added {
            Some(added) => added > self.info.length,
            None => self.info.length >= max_len,
        }
    }

    /// Returns `true` if whoever was away for so long has missed nothing. What was never trimmed
    /// reaches back to the beginning.
    fn is_enough(&self, args: &LagArgs) -> bool {
        !self.is_trimmed(args.max_len)
            || self.reach().is_some_and(|reach| reach >= args.max_disconnection_duration)
    }
}

pub(crate) fn run(args: LagArgs) -> ExitCode {
    crate::look::run(measure(args))
}

async fn info(server: &mut Server, stream: &ByteString) -> Result<Option<StreamInfo>, Error> {
    let command = Command::XInfoStream { stream: stream.clone() };
    match server.execute(command).await? {
        Ok(Reply::Stream(info)) => Ok(info),
        Ok(_) => Err(Error::Unexpected { name: server.name.clone(), command: "XINFO STREAM".into() }),
        Err(refusal) => {
            Err(Error::Refused { name: server.name.clone(), command: "XINFO STREAM".into(), refusal })
        }
    }
}

/// Returns the server's time, or that of this machine if the user may not know it.
async fn time(server: &mut Server) -> Result<u64, Error> {
    let seconds = match server.ask(&["TIME"]).await? {
        Ok(value) => value.list().and_then(|parts| parts.into_iter().next()?.number()),
        Err(_) => None,
    };
    Ok(seconds.map_or_else(crate::tail::when::now, |seconds| seconds.saturating_mul(1_000)))
}

async fn measure(args: LagArgs) -> Result<u8, Error> {
    let config = Config { max_len: args.max_len, ..args.adapter.config() };
    let observer = Observer::new(config)?;
    let mut servers = Servers::connect(&args.server).await?;
    let began = Instant::now();
    let mut before = Vec::new();
    for stream in observer.streams() {
        let first = match servers.owner(&stream) {
            Some(server) => info(server, &stream).await?,
            None => None,
        };
        if let Some(first) = first {
            before.push((stream, first));
        }
    }
    if !before.is_empty() {
        tokio::time::sleep(args.interval).await;
    }
    let mut lags = Vec::new();
    for (stream, first) in before {
        let Some(server) = servers.owner(&stream) else { continue };
        let Some(info) = info(server, &stream).await? else { continue };
        let took = began.elapsed().as_secs_f64();
        let added = info.entries_added.zip(first.entries_added);
        let rate = added.map(|(now, before)| now.saturating_sub(before) as f64 / took);
        let memory = server.ask(&["MEMORY", "USAGE", &stream]).await?;
        let memory = memory.ok().and_then(Value::number);
        let now = time(server).await?;
        lags.push(Lag { stream, info, rate, memory, now });
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        lines(&lags, &args, &mut out)?
    } else {
        table(&lags, &args, &mut out)?
    }
    out.flush()?;
    drop(out);
    if lags.is_empty() {
        let _ = writeln!(io::stderr(), "there is no stream");
    }
    Ok(u8::from(lags.is_empty() || !lags.iter().all(|lag| lag.is_enough(&args))))
}

fn table(lags: &[Lag], args: &LagArgs, out: &mut dyn io::Write) -> io::Result<()> {
    if lags.is_empty() {
        return Ok(());
    }
    let headings = ["STREAM", ">ENTRIES", ">ADDED/S", ">AVERAGE/S", ">REACHES BACK", ">NEEDED", ">MEMORY"];
    let mut table = Table::new(headings);
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
    for lag in lags {
        let reach = lag.reach().map_or_else(|| "-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1e3));
        let mark = if lag.is_enough(args) { "" } else { "!" };
        table.row([
            lag.stream.to_string(),
            lag.info.length.to_string(),
            rate(lag.rate),
            rate(lag.average()),
            format!("{reach}{mark}"),
            format!("{:.1} s", args.max_disconnection_duration as f64 / 1e3),
            lag.memory.map_or_else(|| "-".to_owned(), bytes),
        ]);
    }
    table.write(out)
}

fn lines(lags: &[Lag], args: &LagArgs, out: &mut dyn io::Write) -> io::Result<()> {
    for lag in lags {
        let line = json!({
            "kind": "stream",
            "stream": &*lag.stream,
            "length": lag.info.length,
            "lastId": lag.info.last_generated_id.to_string(),
            "entriesAdded": lag.info.entries_added,
            "perSecond": lag.rate,
            "averagePerSecond": lag.average(),
            "reachesMs": lag.reach(),
            "neededMs": args.max_disconnection_duration,
            "trimmed": lag.is_trimmed(args.max_len),
            "enough": lag.is_enough(args),
            "memory": lag.memory,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}
