//! The last part of the demo: faults.

use core::future::poll_fn;
use core::task::Poll;
use std::time::Instant;

use serde_json::json;
use sio_streams_driver::sio_streams_core::{BroadcastOptions, Config, Packet};
use tokio::task::unconstrained;

use super::cluster::{LIMA, OSLO, PUNE, SERVERS};
use super::script::{Script, difference, heartbeats, sorted};
use super::server::TICK;
use super::{Dialect, Error};

/// The number of messages that are sent while a server is cut off.
const TICKS: u32 = 1_000;

impl Script {
    pub(super) async fn cut(&mut self) -> Result<(), Error> {
        self.timeline.section(
            "A server is cut off from Redis, and comes back",
            &[
                "The stream keeps what was published meanwhile; the server reads on from where it was.",
                "What it publishes itself in the meantime waits until the connection is back.",
            ],
        );
        self.act(LIMA, "loses all its connections to Redis");
        self.cluster.link(LIMA).cut();
        let lanes = if self.dialect == Dialect::Streams02 { 2 } else { 3 };
        self.cluster.until(|seen| seen.missing[LIMA].len() == lanes).await;

        let cut_off = self.cluster.at(LIMA)?.clone();
        let packet = Packet::event("news", &("from the dark",))?;
        self.act(LIMA, "broadcast news \"from the dark\" to everyone");
        let waiting = tokio::spawn(async move { cut_off.broadcast(packet, BroadcastOptions::all()).await });

        self.act(OSLO, &format!("broadcast {TICK} 1 to {TICK} {TICKS} to everyone"));
        let mut on_their_way = Vec::new();
        for tick in 1..=TICKS {
            let packet = Packet::event(TICK, &(tick,))?;
            // The first poll puts a call in line, so one poll of each sends them all, in order,
            // before the first is done.
            let mut sending =
                Box::pin(unconstrained(self.cluster.at(OSLO)?.broadcast(packet, BroadcastOptions::all())));
            match poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await {
                Poll::Ready(published) => drop(published?),
                Poll::Pending => on_their_way.push(sending),
            }
        }
        for sending in on_their_way {
            sending.await?;
        }
        let count = |inbox: Option<&Vec<String>>| {
            inbox.map_or(0, |inbox| inbox.iter().filter(|text| text.starts_with(TICK)).count())
        };
        self.cluster.until(|seen| count(seen.inboxes.get("eva")) == TICKS as usize).await;
        self.report_ticks(count);

        self.act(LIMA, "gets its connections back");
        self.cluster.link(LIMA).restore();
        self.cluster.until(|seen| count(seen.inboxes.get("cleo")) == TICKS as usize).await;
        self.report_ticks(count);
        let published = waiting.await.map_err(|error| std::io::Error::other(error.to_string()))?;
        let ticks: Vec<String> = (1..=TICKS).map(|tick| format!("{TICK} {tick}")).collect();
        let dark = "news \"from the dark\"".to_owned();
        let mut wrong: Vec<String> =
            published.err().map(|error| format!("lima could not publish: {error}")).into_iter().collect();
        if !self.cluster.settle().await? {
            wrong.push("not every server is reading the stream".into());
        }
        let mut inboxes = self.cluster.take_inboxes();
        let mut unheard = Vec::new();
        for client in self.cluster.clients() {
            let inbox = inboxes.remove(client.id).unwrap_or_default();
            let (from_dark, others): (Vec<_>, Vec<_>) = inbox.into_iter().partition(|text| *text == dark);
            wrong.extend(difference(client.id, &ticks, &others));
            unheard.extend(difference(client.id, core::slice::from_ref(&dark), &from_dark));
        }
        self.check(&format!("nothing is lost: every client got all {TICKS}, once, in order"), wrong);
        self.check("what lima had said in the dark reached everyone, once", unheard);
        let back = self.cluster.until(|seen| seen.missing[LIMA].is_empty()).await;
        if !back {
            self.check(
                "all connections are back",
                vec![format!("missing: {:?}", self.cluster.seen().missing[LIMA])],
            );
        }
        self.check_count(3, "the servers are three again").await
    }

    fn report_ticks(&self, count: impl Fn(Option<&Vec<String>>) -> usize) {
        let seen = self.cluster.seen();
        for (client, place) in [("eva", PUNE), ("cleo", LIMA)] {
            let count = count(seen.inboxes.get(client));
            self.timeline.note(SERVERS[place], &format!("{client} has {count} of {TICKS}"));
        }
    }

    pub(super) async fn death(&mut self, config: &Config) -> Result<(), Error> {
        let timeout = config.heartbeat_timeout.as_secs_f64();
        let silence =
            format!("The others notice its silence, {timeout} s after its last word (10 s by default).");
        let lines: &[&str] = match self.dialect {
            Dialect::Streams02 => &[&silence],
            Dialect::Streams03 => &[
                "Servers are counted by their Pub/Sub subscriptions. Redis drops those of a dead one with its",
                "connection, so nobody waits for it.",
            ],
            Dialect::Bridge => &[
                &silence,
                "A 0.3 server would have only its subscription, which Redis drops with the connection.",
            ],
        };
        self.timeline.section("A server dies without a word", lines);
        self.act(PUNE, "is killed");
        self.cluster.kill(PUNE).await;
        self.act(OSLO, "fetch_sockets of everyone, at once");
        let asked = Instant::now();
        let found = self.cluster.at(OSLO)?.fetch_sockets(BroadcastOptions::all()).await?;
        let ids: Vec<&str> = sorted(found.sockets.iter().map(|socket| &*socket.id));
        let millis = asked.elapsed().as_secs_f64() * 1_000.0;
        self.timeline.note(
            SERVERS[OSLO],
            &format!("answered after {millis:.1} ms: {}; {}", ids.join(", "), self.tell(&found.outcome)),
        );
        let mut wrong = Vec::new();
        let expected: Vec<&str> = self.cluster.clients().iter().map(|client| client.id).collect();
        let strangers = found.outcome.missing.iter().filter(|node| *node != self.cluster.uid(PUNE)).count();
        if ids != expected || strangers > 0 || found.outcome.timed_out {
            wrong.push(format!("expected {expected:?}; saw {ids:?}; {}", self.tell(&found.outcome)));
        }
        self.check("the question is answered without the dead server", wrong);
        if heartbeats(self.dialect) {
            let pune = self.cluster.uid(PUNE).clone();
            let noticed = |place: usize| {
                let pune = &pune;
                move |(by, node): &(usize, _)| *by == place && node == pune
            };
            let both = self
                .cluster
                .until(|seen| [OSLO, LIMA].into_iter().all(|place| seen.gone.iter().any(noticed(place))))
                .await;
            let wrong = if both { Vec::new() } else { vec![format!("saw {:?}", self.cluster.seen().gone)] };
            self.check("both others have noticed", wrong);
        }
        self.check_count(2, "the servers are two").await?;
        self.broadcast(LIMA, "news", &json!("life goes on"), BroadcastOptions::all(), "everyone").await?;
        let what = "the others' clients lack nothing";
        self.check_inboxes(what, |_| vec!["news \"life goes on\"".into()]).await
    }

    pub(super) async fn farewell(&mut self) -> Result<(), Error> {
        self.timeline.section(
            "A server leaves",
            &[match heartbeats(self.dialect) {
                true => "It tells the others, so that nobody waits for it.",
                false => "It ends its subscription, so that nobody waits for it.",
            }],
        );
        self.act(LIMA, "leaves");
        self.cluster.leave(LIMA).await;
        if heartbeats(self.dialect) {
            let farewell = (OSLO, self.cluster.uid(LIMA).clone());
            self.cluster.until(|seen| seen.gone.contains(&farewell)).await;
        }
        self.check_count(1, "oslo is alone, and knows it").await?;
        self.cluster.leave(OSLO).await;
        Ok(())
    }
}
