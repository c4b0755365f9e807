//! `sio-streams ping`: the time that each server takes to answer.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use sio_streams_driver::sio_streams_core::{BroadcastOptions, ByteString, NodeId};

use super::round::{Asker, Round, ms, node_name};
use super::table::Table;
use super::{ClusterArgs, Error, Inquiry, seconds};
use crate::tail::text::clean;

#[derive(Debug, Args)]
pub(crate) struct PingArgs {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The number of questions
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,

    /// The time from one question to the next, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
}

/// The times that a server took.
type Times = BTreeMap<Option<NodeId>, Vec<Duration>>;

impl Inquiry for PingArgs {
    fn cluster(&self) -> &ClusterArgs {
        &self.cluster
    }

    /// Asks for the sockets in a room that has none, so that the answers are small.
    async fn run(&self, asker: &mut Asker, out: &mut dyn Write) -> Result<bool, Error> {
        let mut times = Times::new();
        let (mut silent, mut silent_unnamed) = (BTreeMap::<NodeId, u64>::new(), 0);
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for number in 1..=self.count {
            let round = tokio::select! {
                round = async {
                    ticks.tick().await;
                    asker.ask(BroadcastOptions::to(empty_room())).await
                } => round?,
                // What was measured until then is shown all the same.
                _ = tokio::signal::ctrl_c() => break,
            };
            show(number, &round, self.cluster.json, out)?;
            out.flush()?;
            for answer in round.answers.iter() {
                times.entry(answer.node.clone()).or_default().push(answer.after);
            }
            for node in round.silent() {
                *silent.entry(node.clone()).or_default() += 1;
            }
            silent_unnamed += round.silent_unnamed();
        }
        let complete = !times.is_empty() && silent.is_empty() && silent_unnamed == 0;
        summary(times, &silent, silent_unnamed, self.cluster.json, out)?;
        Ok(complete)
    }
}

/// Returns the name of a room in which nobody is.
fn empty_room() -> ByteString {
    ByteString::from_static("sio-streams ping: a room without sockets")
}

fn show(number: u64, round: &Round, as_json: bool, out: &mut dyn Write) -> io::Result<()> {
    for answer in &round.answers {
        let node = answer.node.as_ref();
        match as_json {
            true => {
                let node = node.map(NodeId::as_str);
                let line =
                    json!({ "kind": "answer", "number": number, "node": node, "ms": ms(answer.after) });
                writeln!(out, "{line}")?;
            }
            false => writeln!(out, "{number:>5}  {}  {:.2} ms", clean(node_name(node)), ms(answer.after))?,
        }
    }
    for node in round.silent() {
        match as_json {
            true => {
                writeln!(out, "{}", json!({ "kind": "silence", "number": number, "node": node.as_str() }))?
            }
            false => writeln!(out, "{number:>5}  {}  no answer", clean(node.as_str()))?,
        }
    }
    let unnamed = round.silent_unnamed();
    if unnamed > 0 {
        match as_json {
            true => writeln!(out, "{}", json!({ "kind": "silence", "number": number, "servers": unnamed }))?,
            false => writeln!(out, "{number:>5}  {unnamed} without a known name: no answer")?,
        }
    }
    Ok(())
}

/// Returns the time below which this part of the sorted times lies.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn summary(
    times: Times,
    silent: &BTreeMap<NodeId, u64>,
    silent_unnamed: u64,
    as_json: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut table = Table::new(["SERVER", ">ANSWERS", ">MISSING", ">MIN", ">P50", ">P90", ">P99", ">MAX"]);
    let mut all = times;
    // A server that never answered has a line, too.
    for node in silent.keys() {
        all.entry(Some(node.clone())).or_default();
    }
    if silent_unnamed > 0 {
        all.entry(None).or_default();
    }
    for (node, mut times) in all {
        times.sort_unstable();
        let missing = match &node {
            Some(node) => silent.get(node).copied().unwrap_or_default(),
            None => silent_unnamed,
        };
        let parts = [0, 50, 90, 99, 100].map(|percent| percentile(&times, percent));
        if as_json {
            let mut line = json!({
                "kind": "times",
                "node": node.as_ref().map(NodeId::as_str),
                "answers": times.len(),
                "missing": missing,
            });
            if !times.is_empty() {
                for (name, time) in ["min", "p50", "p90", "p99", "max"].into_iter().zip(parts) {
                    line[name] = ms(time).into();
                }
            }
            writeln!(out, "{line}")?;
            continue;
        }
        let [min, p50, p90, p99, max] = parts.map(|time| match times.is_empty() {
            true => "-".to_owned(),
            false => format!("{:.2} ms", ms(time)),
        });
        let name = node_name(node.as_ref()).to_owned();
        table.row([name, times.len().to_string(), missing.to_string(), min, p50, p90, p99, max]);
    }
    match as_json {
        true => Ok(()),
        false => {
            writeln!(out)?;
            table.write(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        let at = |percent| percentile(&times, percent).as_millis();
        assert_eq!([at(0), at(50), at(90), at(99), at(100)], [1, 100, 180, 198, 200]);
        assert_eq!(percentile(&times[..1], 99).as_millis(), 1);
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
