//! `sio-streams nodes`: the servers, and whether they answer.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;
use sio_streams_driver::sio_streams_core::{BroadcastOptions, NodeId};

use super::round::{Answer, Asker, Heard, Round, ms, node_name};
use super::table::Table;
use super::{ClusterArgs, Error, Inquiry, ask_once};

#[derive(Debug, Args)]
pub(crate) struct NodesArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl Inquiry for NodesArgs {
    fn cluster(&self) -> &ClusterArgs {
        &self.cluster
    }

    async fn run(&self, asker: &mut Asker, out: &mut dyn Write) -> Result<bool, Error> {
        let as_json = self.cluster.json;
        let show = |round: &Round, out: &mut dyn Write| show(round, as_json, out);
        ask_once(&self.cluster, asker, BroadcastOptions::all(), out, show).await
    }
}

/// A server: its name, its answer, and what is heard of it.
struct Row<'a> {
    node: Option<&'a NodeId>,
    answer: Option<&'a Answer>,
    heard: Option<&'a Heard>,
}

fn rows(round: &Round) -> impl Iterator<Item = Row<'_>> {
    let answered = round.answers.iter().map(|answer| {
        let node = answer.node.as_ref();
        Row { node, answer: Some(answer), heard: node.and_then(|node| round.heard.get(node)) }
    });
    let heard_only = round
        .heard
        .iter()
        .filter(|(node, _)| !round.answers.iter().any(|answer| answer.node.as_ref() == Some(node)));
    answered.chain(heard_only.map(|(node, heard)| Row { node: Some(node), answer: None, heard: Some(heard) }))
}

fn show(round: &Round, as_json: bool, out: &mut dyn Write) -> io::Result<()> {
    if as_json {
        for Row { node, answer, heard } in rows(round) {
            let mut line = json!({
                "kind": "node",
                "node": node.map(NodeId::as_str),
                "answeredMs": answer.map(|answer| ms(answer.after)),
                "sockets": answer.map(|answer| answer.sockets.len()),
                "heardMsAgo": heard.map(|heard| heard.ago.as_millis() as u64),
                "bridge": heard.map(|heard| heard.is_bridge),
            });
            if let Some(generations) = &round.generations {
                let generation = node.and_then(|node| generations.get(node)).map(|found| found.name());
                line["generation"] = generation.into();
            }
            writeln!(out, "{line}")?;
        }
        return Ok(());
    }
    let mut table = Table::new(["SERVER", ">ANSWERED", ">SOCKETS", ">HEARD", generation_heading(round)]);
    let dash = || "-".to_owned();
    for Row { node, answer, heard } in rows(round) {
        table.row([
            node_name(node).to_owned(),
            answer.map_or_else(|| "no".to_owned(), |answer| format!("{:.1} ms", ms(answer.after))),
            answer.map_or_else(dash, |answer| answer.sockets.len().to_string()),
            heard.map_or_else(dash, |heard| format!("{:.1} s ago", heard.ago.as_secs_f64())),
            match &round.generations {
                Some(generations) => {
                    let generation = node.and_then(|node| generations.get(node));
                    generation.map_or_else(dash, |generation| generation.name().to_owned())
                }
                None => String::new(),
            },
        ]);
    }
    table.write(out)
}

/// The heading of the column that is there only if several generations were asked.
fn generation_heading(round: &Round) -> &'static str {
    if round.generations.is_some() { "SPEAKS" } else { "" }
}
