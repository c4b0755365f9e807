//! Every cell of the table: {generation × Redis client} × {message} × {who asks} × {JSON, binary} ×
//! {namespace}, each a test with a name.
//!
//! One Node server and one of ours share a cluster for each generation and client; the cells in it
//! use sockets, rooms and event names of their own.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::cell::{Cell, Pair, RoomChannels, cells};
use common::{Kind, NAMESPACES, Shared, Variant, entries, run};
use libtest_mimic::Trial;
use sio_streams_interop::{
    Generation, Member, OurServer, Peer, RedisClient, Result, Select, eventually, impatient,
};
use sio_streams_testkit::RedisServer;
use tokio::runtime::Runtime;

const KINDS: [Kind; 12] = [
    kind("0.2.3/redis@4", Generation::V02, RedisClient::Redis4, Variant::Default),
    kind("0.2.3/ioredis@5", Generation::V02, RedisClient::IoRedis, Variant::Default),
    kind("0.3.1/redis@5", Generation::V03, RedisClient::Redis5, Variant::Default),
    kind("0.3.1/ioredis@5", Generation::V03, RedisClient::IoRedis, Variant::Default),
    kind("0.3.1/redis@5/sharded", Generation::V03, RedisClient::Redis5, Variant::ShardedPubSub),
    kind("0.3.1/ioredis@5/sharded", Generation::V03, RedisClient::IoRedis, Variant::ShardedPubSub),
    kind("classic/redis@4", Generation::Classic, RedisClient::Redis4, Variant::Default),
    kind("classic/ioredis@5", Generation::Classic, RedisClient::IoRedis, Variant::Default),
    kind("classic/redis@4/specific", Generation::Classic, RedisClient::Redis4, Variant::SpecificResponses),
    kind("sharded/redis@5/dynamic", Generation::Sharded, RedisClient::Redis5, Variant::Default),
    kind("sharded/redis@4/static", Generation::Sharded, RedisClient::Redis4, Variant::Static),
    kind("sharded/redis@5/private", Generation::Sharded, RedisClient::Redis5, Variant::DynamicPrivate),
];

const fn kind(name: &'static str, generation: Generation, client: RedisClient, variant: Variant) -> Kind {
    Kind { name, generation, client, variant }
}

/// A Node server and one of ours.
struct Cluster {
    kind: Kind,
    redis: RedisServer,
    node: Member,
    ours: Member,
}

impl Pair for Cluster {
    fn node(&self) -> &Member {
        &self.node
    }

    fn ours(&self) -> &Member {
        &self.ours
    }

    fn channels(&self) -> Option<RoomChannels<'_>> {
        self.kind.room_channels(core::slice::from_ref(&self.redis), "socket.io")
    }
}

impl Cluster {
    /// `hasty`: these servers declare others dead after two or three seconds of silence.
    async fn start(kind: Kind, hasty: bool) -> Result<Self> {
        let redis = RedisServer::start()?;
        let (node, ours) = match (kind.peer(&redis.url()), kind.ours()) {
            (node, ours) if hasty => (node.impatient(), impatient(ours)),
            patient => patient,
        };
        let node = Member::from(Peer::start(node).await?);
        let ours = Member::from(OurServer::start(ours, &redis.url(), &NAMESPACES).await?);
        for nsp in NAMESPACES {
            node.wait_server_count(nsp, 2).await?;
            ours.wait_server_count(nsp, 2).await?;
        }
        Ok(Cluster { kind, redis, node, ours })
    }
}

/// A server of ours hears it when a Node server goes orderly, and when it dies; and the other way
/// round.
async fn membership(kind: Kind, cluster: &Cluster, node_goes: bool, orderly: bool) -> Result<()> {
    let url = cluster.redis.url();
    let (leaver, stays) = match node_goes {
        true => (Member::from(Peer::start(kind.peer(&url)).await?), &cluster.ours),
        false => (Member::from(OurServer::start(kind.ours(), &url, &NAMESPACES).await?), &cluster.node),
    };
    let name = match &leaver {
        Member::Node(peer) => peer.uid("/chat").to_owned(),
        Member::Ours(ours) => ours.uid().to_owned(),
    };
    stays.wait_server_count("/chat", 3).await?;
    match orderly {
        true => leaver.close().await?,
        false => leaver.kill().await,
    }
    stays.wait_server_count("/chat", 2).await?;
    if let (Generation::V02, Member::Ours(ours)) = (kind.generation, stays) {
        let reason = if orderly { "Closed" } else { "Silent" };
        eventually("the event", || async {
            // The others may seem dead to a hasty server for a moment.
            let says = |line: &String| [&*name, reason].iter().all(|word| line.contains(word));
            ours.log().iter().any(|line| line.starts_with("NodeDown") && says(line))
        })
        .await?;
    }
    Ok(())
}

/// While nobody says anything, heartbeats keep everyone counted; and without them nobody would be:
/// they are heard for longer than anyone hasty waits.
async fn heartbeat(cluster: &Cluster) -> Result<()> {
    let beats = || {
        let mut by_uid = std::collections::BTreeMap::<String, usize>::new();
        for entry in entries(&cluster.redis, "socket.io") {
            if entry["type"] == "2" && entry["nsp"] == "/chat" && entry["uid"] != "emitter" {
                *by_uid.entry(entry["uid"].clone()).or_default() += 1;
            }
        }
        by_uid
    };
    eventually("twenty heartbeats of both", || async {
        beats().values().filter(|&&count| count >= 20).count() >= 2
    })
    .await?;
    cluster.node.wait_server_count("/chat", 2).await?;
    cluster.ours.wait_server_count("/chat", 2).await
}

/// In JavaScript `5` and `"5"` are two rooms. What a server of ours selects by `"5"` is in either;
/// what it lets join is in the text.
async fn numbers(cluster: &Cluster, word: String) -> Result<()> {
    let (nsp, ours) = ("/chat", &cluster.ours);
    let cell =
        Cell { asks: ours, answers: &cluster.node, nsp, binary: false, word, channels: cluster.channels() };
    let Member::Node(node) = &cluster.node else { unreachable!("it is a Node server") };
    let (to, others, last) =
        (format!("{} to", cell.word), format!("{} others", cell.word), format!("{} last", cell.word));
    for room in ["5", "-1.5"] {
        let [number, text, none] = [
            cell.answers.connect(nsp).await?,
            cell.answers.connect(nsp).await?,
            cell.answers.connect(nsp).await?,
        ];
        let value: f64 = room.parse().expect("a number");
        node.server_join_number(&number, value).await?;
        cell.answers.server_join(nsp, &text, &[room]).await?;
        cell.wait_heard(room).await?;
        let near = ours.connect(nsp).await?;
        ours.server_join(nsp, &near, &[room]).await?;

        ours.emit(&Select::room(nsp, room), &to, &[]).await?;
        ours.emit(&Select::room(nsp, "nobody").to(room), &to, &[]).await?;
        for sid in [&number, &text] {
            cell.answers.wait_client_event(sid, &to, 2).await?;
        }
        ours.wait_client_event(&near, &to, 2).await?;
        ours.emit(&Select::all(nsp).except(room), &others, &[]).await?;
        ours.emit(&Select::all(nsp), &last, &[]).await?;
        for (member, sid, got) in [
            (cell.answers, &number, vec![&to, &to, &last]),
            (cell.answers, &text, vec![&to, &to, &last]),
            (cell.answers, &none, vec![&others, &last]),
            (ours, &near, vec![&to, &to, &last]),
        ] {
            member.wait_client_event(sid, &last, 1).await?;
            let received = member.client_received(sid).await?;
            let events: Vec<_> =
                received.iter().map(|one| &one.event).filter(|event| event.starts_with(&cell.word)).collect();
            assert_eq!(events, got, "{room}");
        }
        let found = async || -> Result<BTreeSet<String>> {
            let sockets = ours.fetch_sockets(&Select::room(nsp, room)).await?;
            Ok(sockets.into_iter().map(|socket| socket.id).collect())
        };
        assert_eq!(found().await?, BTreeSet::from([number.clone(), text.clone(), near.clone()]), "{room}");
        ours.sockets_leave(&Select::all(nsp), &[room]).await?;
        eventually("nobody is in the room", || async { found().await.is_ok_and(|found| found.is_empty()) })
            .await?;
        // Joining makes one room, not two.
        ours.sockets_join(&Select::room(nsp, &none), &[room]).await?;
        cell.answers.wait_room(nsp, &none, room, true).await?;
        let sockets = ours.fetch_sockets(&Select::room(nsp, &none)).await?;
        assert_eq!(sockets[0].rooms.iter().filter(|one| *one == room).count(), 1);
        let selected = cell.answers.fetch_sockets(&Select::room(nsp, room)).await?;
        assert_eq!(selected.len(), 1, "the room is a text");
        ours.sockets_leave(&Select::all(nsp), &[room]).await?;
    }
    Ok(())
}

fn trials(runtime: &Arc<Runtime>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in KINDS {
        let shared = Shared::new(runtime, move || Cluster::start(kind, false));
        // The classic adapter puts these into JSON, and Buffers with them.
        let text_only: &[&str] = match kind.generation {
            Generation::Classic => &["fetch_sockets", "server_side_emit"],
            _ => &[],
        };
        trials.append(&mut cells(kind.name, &NAMESPACES, text_only, &shared));
        trials.push(shared.trial(
            format!("{} rooms that are numbers", kind.name),
            Box::new(|cluster, word| Box::pin(numbers(cluster, word))),
        ));
        if kind.generation == Generation::V02 {
            let own = Shared::new(runtime, move || Cluster::start(kind, true));
            let name = format!("{} heartbeat", kind.name);
            trials.push(own.trial(name, Box::new(|cluster, _| Box::pin(heartbeat(cluster)))));
        }
        // These change the members of the cluster, so each has a cluster of its own.
        for (node_goes, orderly, what) in [
            (true, true, "close: node leaves, ours sees it"),
            (false, true, "close: ours leaves, node sees it"),
            (true, false, "expiry: node dies, ours sees it"),
            (false, false, "expiry: ours dies, node sees it"),
        ] {
            // A death shows by silence: a server that is to see it soon must be hasty. A good-bye
            // must not be taken for one.
            let own = Shared::new(runtime, move || Cluster::start(kind, !orderly));
            let name = format!("{} {what}", kind.name);
            trials.push(own.trial(
                name,
                Box::new(move |cluster, _| Box::pin(membership(kind, cluster, node_goes, orderly))),
            ));
        }
    }
    trials
}

fn main() -> std::process::ExitCode {
    run(trials)
}
