//! `sio-streams rooms`: the rooms, and how many clients are in each.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use clap::Args;
use serde_json::json;

use super::round::{Asker, Round};
use super::table::Table;
use super::{ClusterArgs, Error, Inquiry, Selection, ask_once, sockets};
use crate::tail::text::name;

#[derive(Debug, Args)]
pub(crate) struct RoomsArgs {
    #[command(flatten)]
    cluster: ClusterArgs,

    #[command(flatten)]
    selection: Selection,
}

impl Inquiry for RoomsArgs {
    fn cluster(&self) -> &ClusterArgs {
        &self.cluster
    }

    async fn run(&self, asker: &mut Asker, out: &mut dyn Write) -> Result<bool, Error> {
        let as_json = self.cluster.json;
        let show = |round: &Round, out: &mut dyn Write| show(round, as_json, out);
        ask_once(&self.cluster, asker, self.selection.options(), out, show).await
    }
}

/// The sockets of a room, and the answers that have some of them.
#[derive(Debug, Default)]
struct Room {
    sockets: u64,
    servers: BTreeSet<usize>,
}

/// Returns the rooms, the largest first, without those that every socket has for itself.
fn rooms(round: &Round) -> Vec<(&str, Room)> {
    let mut rooms: BTreeMap<&str, Room> = BTreeMap::new();
    for (server, answer) in round.answers.iter().enumerate() {
        for socket in &answer.sockets {
            for room in sockets::rooms(socket) {
                let room = rooms.entry(room).or_default();
                room.sockets += 1;
                room.servers.insert(server);
            }
        }
    }
    let mut rooms: Vec<_> = rooms.into_iter().collect();
    rooms.sort_by_key(|(_, room)| core::cmp::Reverse(room.sockets));
    rooms
}

fn show(round: &Round, as_json: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(["ROOM", ">SOCKETS", ">SERVERS"]);
    for (room, Room { sockets, servers }) in rooms(round) {
        match as_json {
            true => {
                let servers = servers.len();
                let line = json!({ "kind": "room", "room": room, "sockets": sockets, "servers": servers });
                writeln!(out, "{line}")?;
            }
            false => table.row([name(room).into(), sockets.to_string(), servers.len().to_string()]),
        }
    }
    match as_json {
        true => Ok(()),
        false => table.write(out),
    }
}
