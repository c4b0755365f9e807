//! `sio-streams sockets`: the clients, and where they are.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;
use sio_streams_driver::sio_streams_core::{NodeId, Payload, RemoteSocket};

use super::round::{Asker, Round};
use super::table::Table;
use super::{ClusterArgs, Error, Inquiry, Selection, ask_once};
use crate::tail::text::{clean, name};

#[derive(Debug, Args)]
pub(crate) struct SocketsArgs {
    #[command(flatten)]
    cluster: ClusterArgs,

    #[command(flatten)]
    selection: Selection,

    /// Show what the servers tell of each socket: its data and its handshake, too
    #[arg(long)]
    full: bool,
}

impl Inquiry for SocketsArgs {
    fn cluster(&self) -> &ClusterArgs {
        &self.cluster
    }

    async fn run(&self, asker: &mut Asker, out: &mut dyn Write) -> Result<bool, Error> {
        let show = |round: &Round, out: &mut dyn Write| match (self.cluster.json, self.full) {
            (false, false) => table(round, out),
            (false, true) => details(round, out),
            (true, full) => lines(round, full, out),
        };
        ask_once(&self.cluster, asker, self.selection.options(), out, show).await
    }
}

/// Returns all sockets with their servers, in the order of their ids.
pub(super) fn all(round: &Round) -> Vec<(Option<&NodeId>, &RemoteSocket)> {
    let answers = round.answers.iter().map(|answer| (answer.node.as_ref(), &answer.sockets));
    let sockets = answers.flat_map(|(node, sockets)| sockets.iter().map(move |socket| (node, socket)));
    let mut sockets: Vec<_> = sockets.collect();
    sockets.sort_by(|(_, one), (_, other)| one.id.cmp(&other.id));
    sockets
}

/// Returns the rooms of a socket without the one that every socket has.
pub(super) fn rooms(socket: &RemoteSocket) -> Vec<&str> {
    socket.rooms.iter().filter(|room| **room != socket.id).map(|room| &**room).collect()
}

fn table(round: &Round, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(["SOCKET", "SERVER", "ROOMS"]);
    for (node, socket) in all(round) {
        let rooms: Vec<_> = rooms(socket).into_iter().map(name).collect();
        let node = node.map_or("-", NodeId::as_str);
        table.row([socket.id.to_string(), node.to_owned(), rooms.join(", ")]);
    }
    table.write(out)
}

fn details(round: &Round, out: &mut dyn Write) -> io::Result<()> {
    for (node, socket) in all(round) {
        let rooms: Vec<_> = rooms(socket).into_iter().map(name).collect();
        writeln!(out, "{}", clean(&socket.id))?;
        writeln!(out, "  server     {}", clean(node.map_or("-", NodeId::as_str)))?;
        writeln!(out, "  rooms      {}", clean(&rooms.join(", ")))?;
        writeln!(out, "  data       {}", clean(&socket.data.to_json()))?;
        writeln!(out, "  handshake  {}", clean(&socket.handshake.to_json()))?;
    }
    Ok(())
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    kind: &'static str,
    socket: &'a str,
    node: Option<&'a str>,
    rooms: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake: Option<Box<RawValue>>,
}

fn lines(round: &Round, full: bool, out: &mut dyn Write) -> io::Result<()> {
    let raw = |payload: &Payload| RawValue::from_string(payload.to_json().into_owned());
    for (node, socket) in all(round) {
        let line = Line {
            kind: "socket",
            socket: &socket.id,
            node: node.map(NodeId::as_str),
            rooms: rooms(socket),
            data: full.then(|| raw(&socket.data)).transpose()?,
            handshake: full.then(|| raw(&socket.handshake)).transpose()?,
        };
        serde_json::to_writer(&mut *out, &line)?;
        writeln!(out)?;
    }
    Ok(())
}
