//! The script of the demo: its steps, and the checks of their results.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_bytes::Bytes;
use serde_json::{Value, json};
use sio_streams_driver::sio_streams_core::{
    BroadcastOptions, Config, EntryId, Outcome, Packet, Payload, RemoteSocket,
};

use super::cluster::{CLIENTS, Client, Cluster, LIMA, OSLO, PUNE, SERVERS};
use super::server::{SILENT, event, show};
use super::{Dialect, Error};
use crate::timeline::Timeline;

/// The time for which a client that never acknowledges is waited for, unless those that do take
/// longer.
const ACK_TIMEOUT: Duration = Duration::from_millis(600);

const PICTURE: [&str; 6] = [
    "",
    "      ann   ben       cleo   dan       eva   finn      clients",
    "        oslo             lima             pune         servers, in Rust or Node",
    "          └────────────────┼────────────────┘",
    "                         Redis                         a stream: every server reads every entry",
    "",
];

/// The play.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) cluster: Cluster,
    pub(super) timeline: Arc<Timeline>,
    pub(super) dialect: Dialect,
}

/// Returns `true` if servers know each other by heartbeats.
pub(super) fn heartbeats(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::Streams02 | Dialect::Bridge)
}

impl Script {
    pub(super) fn new(cluster: Cluster, timeline: Arc<Timeline>, dialect: Dialect) -> Self {
        Script { cluster, timeline, dialect }
    }

    pub(super) async fn play(mut self, config: &Config, place: &str) -> Result<(), Error> {
        // This comes before any output, so that an unreachable Redis is reported alone.
        self.cluster.join(OSLO).await?;
        let (dialect, gist) = match self.dialect {
            Dialect::Streams02 => {
                ("streams-0.2", "all goes over one stream; servers know each other by heartbeats")
            }
            Dialect::Streams03 => {
                ("streams-0.3", "broadcasts go over a stream, questions and answers over Pub/Sub")
            }
            Dialect::Bridge => ("bridge", "speaks 0.2 and 0.3 at once, as during a rolling upgrade"),
        };
        let mut lines: Vec<String> = PICTURE.iter().map(|line| (*line).to_owned()).collect();
        lines.extend([
            format!("  redis     {place}"),
            format!("  stream    {}", config.stream_name),
            format!("  dialect   {dialect}: {gist}"),
            "  columns   milliseconds, server, what happens    ▸ the server acts    ← a message arrives"
                .to_owned(),
        ]);
        self.timeline.title("sio-streams demo: one Socket.IO cluster of three servers", &lines);
        self.arrivals().await?;
        self.broadcast_to_all().await?;
        self.broadcast_to_a_room().await?;
        self.binary().await?;
        self.remote_rooms().await?;
        self.fetch_sockets().await?;
        self.server_side_emit().await?;
        self.acknowledgements(config).await?;
        self.disconnect().await?;
        self.cut().await?;
        self.death(config).await?;
        self.farewell().await
    }

    async fn arrivals(&mut self) -> Result<(), Error> {
        self.timeline.section(
            "Three servers join",
            &["Each has clients of its own and sees only those. Redis is all that the servers share."],
        );
        for place in [OSLO, LIMA, PUNE] {
            self.act(
                place,
                &format!("joins the cluster as {}, with {}", self.cluster.uid(place), clients_of(place)),
            );
            if place != OSLO {
                self.cluster.join(place).await?;
            }
        }
        if heartbeats(self.dialect) {
            // A server that has not been heard is not asked.
            self.cluster.until(|seen| seen.heard.iter().all(|heard| heard.len() == SERVERS.len() - 1)).await;
        }
        self.check_count(3, "every server counts three servers").await
    }

    async fn broadcast_to_all(&mut self) -> Result<(), Error> {
        self.timeline.section(
            "A broadcast to everyone",
            &["The server adds one entry to the stream. Every server reads it and hands it to its own clients."],
        );
        let entry =
            self.broadcast(OSLO, "news", &json!("hello"), BroadcastOptions::all(), "everyone").await?;
        if let Some(entry) = entry {
            self.timeline.note(SERVERS[OSLO], &format!("it is entry {entry} of the stream"));
        }
        self.check_inboxes("each of the six clients got it, once", |_| vec!["news \"hello\"".into()]).await
    }

    async fn broadcast_to_a_room(&mut self) -> Result<(), Error> {
        self.timeline.section(
            "To a room, and to all but a room",
            &["Nobody keeps a list of rooms for the whole cluster. Each server picks among its own clients."],
        );
        let (to, text) = (BroadcastOptions::to("chess"), "room chess");
        self.broadcast(LIMA, "move", &json!("e2-e4"), to, text).await?;
        let expected = |client: &Client| match client.rooms.contains(&"chess") {
            true => vec!["move \"e2-e4\"".to_owned()],
            false => Vec::new(),
        };
        self.check_inboxes("it went to the room, on all servers, and to nobody else", expected).await?;

        let to = BroadcastOptions::to("chess").except("music");
        self.broadcast(LIMA, "move", &json!("e7-e5"), to, "room chess, except room music").await?;
        let expected = |client: &Client| match client.rooms == ["chess"] {
            true => vec!["move \"e7-e5\"".to_owned()],
            false => Vec::new(),
        };
        self.check_inboxes("cleo, who is in both rooms, was left out", expected).await
    }

    async fn binary(&mut self) -> Result<(), Error> {
        self.timeline.section(
            "Binary data",
            &["An entry is JSON text. If there are bytes inside it is MessagePack, in base64, as with Node."],
        );
        let packet = Packet::event("photo", &(Bytes::new(b"\x89PNG\x00\xff"),))?;
        let expected = show(packet.data());
        self.act(PUNE, &format!("broadcast {expected} to everyone"));
        self.cluster.at(PUNE)?.broadcast(packet, BroadcastOptions::all()).await?;
        self.check_inboxes("the bytes arrived as they were sent", |_| vec![expected.clone()]).await
    }

    async fn remote_rooms(&mut self) -> Result<(), Error> {
        self.timeline.section(
            "Moving other servers' clients between rooms",
            &["socketsJoin and socketsLeave reach every matching client, wherever it is connected."],
        );
        self.act(OSLO, "sockets_join: room music joins room party");
        self.cluster.at(OSLO)?.sockets_join(BroadcastOptions::to("music"), vec!["party".into()]).await?;
        // Pune hands its own broadcasts to its own clients at once, perhaps before it has read that
        // they have moved.
        self.cluster.settle().await?;
        self.broadcast(PUNE, "song", &json!(1), BroadcastOptions::to("party"), "room party").await?;
        let expected = |client: &Client| match client.rooms.contains(&"music") {
            true => vec!["song 1".to_owned()],
            false => Vec::new(),
        };
        self.check_inboxes("ben, cleo and finn are at the party", expected).await?;

        self.act(LIMA, "sockets_leave: finn leaves room party (a client's id is a room too)");
        self.cluster.at(LIMA)?.sockets_leave(BroadcastOptions::to("finn"), vec!["party".into()]).await?;
        // One server's messages take effect in their order: there is nothing to wait for.
        self.broadcast(LIMA, "song", &json!(2), BroadcastOptions::to("party"), "room party").await?;
        let expected = |client: &Client| match client.rooms.contains(&"music") && client.id != "finn" {
            true => vec!["song 2".to_owned()],
            false => Vec::new(),
        };
        self.check_inboxes("finn has left it", expected).await
    }

    async fn fetch_sockets(&mut self) -> Result<(), Error> {
        self.timeline.section(
            "Who is there?",
            &[
                "fetchSockets asks all servers and collects what they answer: their clients, the rooms of each,",
                "and what the application attached to it.",
            ],
        );
        self.act(OSLO, "fetch_sockets of everyone");
        let mut found = self.cluster.at(OSLO)?.fetch_sockets(BroadcastOptions::all()).await?;
        found.sockets.sort_by(|a, b| a.id.cmp(&b.id));
        for socket in &found.sockets {
            let RemoteSocket { id, rooms, data, .. } = socket;
            let others: Vec<&str> = sorted(rooms.iter().map(|room| &**room).filter(|room| *room != &**id));
            let rooms = if others.is_empty() { "-".to_owned() } else { others.join(", ") };
            let data: Value = data.decode()?;
            self.timeline.note(SERVERS[OSLO], &format!("{id:<5} rooms {rooms:<21} data {data}"));
        }
        let mut wrong = Vec::new();
        for client in self.cluster.clients() {
            let mut expected: BTreeSet<&str> = client.rooms.iter().copied().chain([client.id]).collect();
            if ["ben", "cleo"].contains(&client.id) {
                expected.insert("party");
            }
            match found.sockets.iter().find(|socket| socket.id == client.id) {
                None => wrong.push(format!("{}: not found", client.id)),
                Some(socket) => {
                    let rooms: BTreeSet<&str> = socket.rooms.iter().map(|room| &**room).collect();
                    let data: Value = socket.data.decode()?;
                    if rooms != expected || data != json!({ "age": client.age }) {
                        wrong.push(format!(
                            "{}: expected rooms {expected:?}; saw {rooms:?}, data {data}",
                            client.id
                        ));
                    }
                }
            }
        }
        if found.sockets.len() != CLIENTS.len() || !found.outcome.is_complete() {
            wrong.push(format!("saw {} sockets; {}", found.sockets.len(), self.tell(&found.outcome)));
        }
        self.check("all six are found, with their rooms and data", wrong);
        Ok(())
    }

    async fn server_side_emit(&mut self) -> Result<(), Error> {
        self.timeline.section(
            "Servers among themselves",
            &["serverSideEmit reaches the other servers, not their clients. They may answer."],
        );
        self.act(PUNE, "server_side_emit reload \"config\"");
        self.cluster.at(PUNE)?.server_side_emit(event("reload", &json!("config"))?).await?;
        let expected = BTreeSet::from([OSLO, LIMA]);
        let heard =
            |between: &[(usize, String)]| between.iter().map(|(place, _)| *place).collect::<BTreeSet<_>>();
        self.cluster.until(|seen| heard(&seen.between) == expected).await;
        let seen = self.cluster.seen().between.clone();
        let right = seen.len() == 2
            && heard(&seen) == expected
            && seen.iter().all(|(_, text)| text == "reload \"config\"");
        let wrong = if right {
            Vec::new()
        } else {
            vec![format!("expected it in oslo and lima, once; saw {seen:?}")]
        };
        self.check("the two others got it", wrong);

        self.act(PUNE, "server_side_emit clients? and collect the answers");
        let asked =
            self.cluster.at(PUNE)?.server_side_emit_with_ack(Payload::event("clients?", &())?).await?;
        let mut answers = Vec::new();
        for (node, value) in &asked.responses {
            let value: Value = value.decode()?;
            let name = self.cluster.name_of(node.as_ref());
            self.timeline.note(SERVERS[PUNE], &format!("{name} answers {value}"));
            answers.push((name, value));
        }
        answers.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = ["lima", "oslo"].map(|name| (name.to_owned(), json!({ "clients": 2 })));
        let mut wrong = Vec::new();
        if answers != expected || !asked.outcome.is_complete() {
            wrong.push(format!("saw {answers:?}; {}", self.tell(&asked.outcome)));
        }
        self.check("both answered", wrong);
        Ok(())
    }

    async fn acknowledgements(&mut self, config: &Config) -> Result<(), Error> {
        self.timeline.section(
            "Broadcasts that clients acknowledge",
            &["The server learns how many clients were asked, and gets each answer as it comes."],
        );
        let asked = BroadcastOptions::to("chess").timeout(config.request_timeout);
        let (values, outcome) = self.ask(LIMA, "ready?", asked, "room chess").await?;
        let mut wrong = Vec::new();
        if values != ["ann: yes", "cleo: yes", "eva: yes"] || !outcome.is_complete() {
            wrong.push(format!("saw {values:?}; {}", self.tell(&outcome)));
        }
        self.check("everyone in the room said yes", wrong);

        let expected: Vec<String> = CLIENTS
            .iter()
            .filter(|client| client.id != SILENT)
            .map(|client| format!("{}: yes", client.id))
            .collect();
        let (mut time, mut before) = (ACK_TIMEOUT, Some("ready?"));
        let (values, outcome) = loop {
            let asked = BroadcastOptions::all().timeout(time);
            let text = format!("everyone, for {} ms", time.as_millis());
            let (values, outcome) = self.ask(LIMA, "awake?", asked, &text).await?;
            // A late answer is no fault. The answers that did come must be right.
            let late = outcome.timed_out
                && values.len() < expected.len()
                && values.iter().all(|value| expected.contains(value));
            time *= 2;
            if !late || time > self.cluster.patience() {
                break (values, outcome);
            }
            self.timeline.note(SERVERS[LIMA], "somebody is late: once more, with more time");
            // A question whose time is up before it is sent is not sent: so it is unknown which
            // servers were asked.
            self.cluster.settle().await?;
            drop(self.cluster.take_inboxes());
            before = None;
        };
        let mut wrong = Vec::new();
        if values != expected || !outcome.timed_out || (outcome.clients, outcome.acks) != (6, 5) {
            wrong.push(format!("saw {values:?}; {}", self.tell(&outcome)));
        }
        self.check(&format!("{SILENT} keeps silent; the five other answers are there all the same"), wrong);
        let expected = |client: &Client| {
            let before = before.filter(|_| client.rooms.contains(&"chess"));
            before.into_iter().chain(["awake?"]).map(str::to_owned).collect()
        };
        self.check_inboxes("each client was asked once", expected).await
    }

    async fn disconnect(&mut self) -> Result<(), Error> {
        self.timeline.section(
            "Disconnecting other servers' clients",
            &["disconnectSockets reaches every matching client, too."],
        );
        self.act(OSLO, "disconnect_sockets: dan");
        self.cluster.at(OSLO)?.disconnect_sockets(BroadcastOptions::to("dan"), false).await?;
        self.cluster.until(|seen| seen.disconnected.contains("dan")).await;
        self.broadcast(OSLO, "news", &json!("dan has left"), BroadcastOptions::all(), "everyone").await?;
        let what = "dan is gone; the others are not";
        self.check_inboxes(what, |_| vec!["news \"dan has left\"".into()]).await
    }

    pub(super) fn act(&self, place: usize, what: &str) {
        self.timeline.act(SERVERS[place], what);
    }

    pub(super) async fn broadcast(
        &self,
        place: usize,
        name: &str,
        argument: &Value,
        to: BroadcastOptions,
        whom: &str,
    ) -> Result<Option<EntryId>, Error> {
        self.act(place, &format!("broadcast {name} {argument} to {whom}"));
        let packet = Packet::new(event(name, argument)?)?;
        Ok(self.cluster.at(place)?.broadcast(packet, to).await?)
    }

    /// A broadcast with acknowledgements: their values, sorted, and how it ended.
    async fn ask(
        &self,
        place: usize,
        name: &str,
        to: BroadcastOptions,
        whom: &str,
    ) -> Result<(Vec<String>, Outcome), Error> {
        self.act(place, &format!("broadcast {name} with acknowledgements to {whom}"));
        let mut acks = self.cluster.at(place)?.broadcast_with_ack(Packet::event(name, &())?, to).await?;
        let mut values = Vec::new();
        while let Some(value) = acks.next().await {
            let value: String = value.decode()?;
            self.timeline.note(SERVERS[place], &format!("← {value}"));
            values.push(value);
        }
        let outcome = acks.outcome().await?;
        self.timeline.note(SERVERS[place], &self.tell(&outcome));
        values.sort();
        Ok((values, outcome))
    }

    /// Describes how a request ended.
    pub(super) fn tell(&self, outcome: &Outcome) -> String {
        let mut words = Vec::new();
        if outcome.clients > 0 {
            words.push(format!("{} of {} clients acknowledged", outcome.acks, outcome.clients));
        }
        let mut missing: Vec<String> =
            outcome.missing.iter().map(|node| self.cluster.name_of(Some(node))).collect();
        if outcome.missing_unnamed > 0 {
            missing.push(format!("{} without a name", outcome.missing_unnamed));
        }
        match (missing.is_empty(), outcome.clients > 0) {
            (true, _) => words.push("every server answered".to_owned()),
            (false, true) => words.push(format!("not all from {}", missing.join(", "))),
            (false, false) => words.push(format!("no answer from {}", missing.join(", "))),
        }
        if outcome.timed_out {
            words.push("the time is up".to_owned());
        }
        words.join(", ")
    }

    pub(super) fn check(&self, what: &str, wrong: Vec<String>) {
        match wrong.is_empty() {
            true => self.timeline.passed(what),
            false => self.timeline.failed(what, &wrong),
        }
    }

    pub(super) async fn check_count(&self, expected: u64, what: &str) -> Result<(), Error> {
        let counts = self.cluster.counts(expected).await?;
        let wrong = counts.iter().filter(|(_, count)| *count != expected);
        let tell = |(place, count): &(usize, u64)| {
            format!("{} counts {count} servers, not {expected}", SERVERS[*place].name)
        };
        self.check(what, wrong.map(tell).collect());
        Ok(())
    }

    /// Compares what each client received since the last check, once all servers have read
    /// everything.
    pub(super) async fn check_inboxes(
        &mut self,
        what: &str,
        expected: impl Fn(&Client) -> Vec<String>,
    ) -> Result<(), Error> {
        let mut wrong = Vec::new();
        if !self.cluster.settle().await? {
            wrong.push("not every server is reading the stream".into());
        }
        let mut inboxes = self.cluster.take_inboxes();
        for client in self.cluster.clients() {
            let inbox = inboxes.remove(client.id).unwrap_or_default();
            wrong.extend(difference(client.id, &expected(client), &inbox));
        }
        for (client, inbox) in inboxes {
            wrong.extend(difference(&client, &[], &inbox));
        }
        self.check(what, wrong);
        Ok(())
    }
}

/// Describes the difference between an inbox and the expected one, if there is one.
pub(super) fn difference(client: &str, expected: &[String], seen: &[String]) -> Option<String> {
    if expected == seen {
        return None;
    }
    let list = |inbox: &[String]| if inbox.is_empty() { "nothing".to_owned() } else { inbox.join(", ") };
    if expected.len().max(seen.len()) <= 4 {
        return Some(format!("{client}: expected {}; saw {}", list(expected), list(seen)));
    }
    let same = expected.iter().zip(seen).take_while(|(expected, seen)| expected == seen).count();
    let next = |inbox: &[String]| inbox.get(same).map_or("nothing", |text| text).to_owned();
    Some(format!(
        "{client}: expected {}, saw {} in number; first difference, at {}: expected {}; saw {}",
        expected.len(),
        seen.len(),
        same + 1,
        next(expected),
        next(seen),
    ))
}

fn clients_of(place: usize) -> String {
    let here = CLIENTS.iter().filter(|client| client.server == place);
    let clients: Vec<String> = here
        .map(|client| match client.rooms {
            [] => client.id.to_owned(),
            rooms => format!("{} ({})", client.id, rooms.join(", ")),
        })
        .collect();
    clients.join(" and ")
}

pub(super) fn sorted<'a>(items: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut items: Vec<&str> = items.collect();
    items.sort_unstable();
    items
}
