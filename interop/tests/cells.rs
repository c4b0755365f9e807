//! Every cell of the table: {generation × Redis client} × {message} × {who asks} × {JSON, binary} × {namespace}, each a test with a name.
//!
//! One Node server and one of ours share a cluster for each generation and client; the cells in it use sockets, rooms and event names of
//! their own.

mod common;

use std::sync::Arc;

use common::{Kind, NAMESPACES, Shared, Variant, run};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use sio_streams_interop::{
    Acks, Generation, Member, OurServer, Peer, Received, RedisClient, Responses, Result, Select,
    ServerSideReply, bin, eventually,
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
    redis: RedisServer,
    node: Member,
    ours: Member,
}

impl Cluster {
    async fn start(kind: Kind) -> Result<Self> {
        let redis = RedisServer::start()?;
        let node = Member::from(Peer::start(kind.peer(&redis.url())).await?);
        let ours = Member::from(OurServer::start(kind.ours(), &redis.url(), &NAMESPACES).await?);
        for nsp in NAMESPACES {
            node.wait_server_count(nsp, 2).await?;
            ours.wait_server_count(nsp, 2).await?;
        }
        Ok(Cluster { redis, node, ours })
    }
}

/// One cell: who does something, who is at the other end, where, and with what.
struct Cell<'a> {
    asks: &'a Member,
    answers: &'a Member,
    nsp: &'static str,
    binary: bool,
    /// A word that no other cell uses.
    word: String,
    /// Where rooms have channels of their own: the server that knows whether they are subscribed to.
    channels: Option<&'a RedisServer>,
    /// Also those of single sockets.
    private: bool,
}

impl Cell<'_> {
    fn value(&self) -> Value {
        match self.binary {
            true => json!({ "bytes": bin([0, 1, 254, 255]), "text": "ü" }),
            false => json!({ "list": [1, -2, 2.5, true, null, "ü\u{1F600}"], "text": "\"quoted\"" }),
        }
    }

    fn room(&self) -> Select {
        Select::room(self.nsp, &self.word)
    }

    async fn member(&self) -> Result<String> {
        let sid = self.answers.connect(self.nsp).await?;
        self.answers.server_join(self.nsp, &sid, &[&self.word]).await?;
        self.wait_heard(&self.word).await?;
        Ok(sid)
    }

    /// Waits until the room's channel is heard, if it has one: a sharded node subscribes to it some time after a socket has joined.
    async fn wait_heard(&self, room: &str) -> Result<()> {
        let Some(redis) = self.channels else { return Ok(()) };
        let channel = format!("socket.io#{}#{room}#", self.nsp);
        eventually(&format!("a subscriber of {channel}"), || async {
            let count = redis.command(&["PUBSUB", "SHARDNUMSUB", &channel]);
            count.items().get(1).and_then(|count| count.as_int()).unwrap_or_default() > 0
        })
        .await
    }

    /// 3
    async fn broadcast(&self) -> Result<()> {
        let far = self.member().await?;
        let near = self.asks.connect(self.nsp).await?;
        let args = [self.value(), json!(7)];
        self.asks.emit(&Select::all(self.nsp), &self.word, &args).await?;
        self.asks.emit(&self.room(), &self.word, &args[..1]).await?;
        self.asks.emit(&Select::all(self.nsp).except(&self.word), &self.word, &[]).await?;
        self.asks.emit(&Select::room(self.nsp, &near).to(&far), &self.word, &[json!("last")]).await?;

        let far = self.answers.wait_client_event(&far, &self.word, 3).await?;
        let near = self.asks.wait_client_event(&near, &self.word, 3).await?;
        let got = |received: &[Received]| -> Vec<Vec<Value>> {
            received.iter().map(|received| received.args.clone()).collect()
        };
        assert_eq!(got(&far), [args.to_vec(), args[..1].to_vec(), vec![json!("last")]]);
        assert_eq!(got(&near), [args.to_vec(), vec![], vec![json!("last")]]);
        Ok(())
    }

    /// 4
    async fn sockets_join(&self) -> Result<()> {
        let (inside, outside) = (self.member().await?, self.answers.connect(self.nsp).await?);
        let other = format!("{} other", self.word);
        self.asks.sockets_join(&self.room(), &[&other, "ü"]).await?;
        self.answers.wait_room(self.nsp, &inside, &other, true).await?;
        self.answers.wait_room(self.nsp, &inside, "ü", true).await?;
        assert_eq!(self.answers.rooms(self.nsp, &outside).await?, [outside]);
        Ok(())
    }

    /// 5
    async fn sockets_leave(&self) -> Result<()> {
        let (inside, spared) = (self.member().await?, self.member().await?);
        self.asks.sockets_leave(&self.room().except(&spared), &[&self.word]).await?;
        self.answers.wait_room(self.nsp, &inside, &self.word, false).await?;
        self.answers.wait_room(self.nsp, &spared, &self.word, true).await
    }

    /// 6
    async fn disconnect_sockets(&self) -> Result<()> {
        let (inside, outside) = (self.member().await?, self.answers.connect(self.nsp).await?);
        self.asks.disconnect_sockets(&self.room(), true).await?;
        self.answers.wait_disconnected(&inside).await?;
        if self.private {
            self.wait_heard(&outside).await?;
        }
        self.asks.emit(&Select::room(self.nsp, &outside), &self.word, &[]).await?;
        self.answers.wait_client_event(&outside, &self.word, 1).await?;
        Ok(())
    }

    /// 7, 8
    async fn fetch_sockets(&self) -> Result<()> {
        let far = self.member().await?;
        self.answers.set_data(&far, self.value()).await?;
        let near = self.asks.connect(self.nsp).await?;
        let mut found = self.asks.fetch_sockets(&self.room().to(&near)).await?;
        found.sort_by_key(|socket| socket.id == far);
        assert_eq!(found.iter().map(|socket| &socket.id).collect::<Vec<_>>(), [&near, &far]);
        let mut rooms = found[1].rooms.clone();
        rooms.sort();
        assert_eq!(rooms, self.answers.rooms(self.nsp, &far).await?);
        assert_eq!(found[1].data, self.value());
        assert_eq!(found[1].handshake["address"], "127.0.0.1");
        for key in ["headers", "time", "xdomain", "secure", "issued", "url", "query", "auth"] {
            assert!(!found[1].handshake[key].is_null(), "{key} in {}", found[1].handshake);
        }
        assert_eq!(self.asks.fetch_sockets(&Select::room(self.nsp, "nobody")).await?, []);
        Ok(())
    }

    /// 9, 10
    async fn server_side_emit(&self) -> Result<()> {
        // A Node server notes only what somebody listens to.
        self.answers.on_server_side(self.nsp, &self.word, ServerSideReply::Silent).await?;
        self.asks.server_side_emit(self.nsp, &self.word, &[self.value()]).await?;
        let received = self.answers.wait_server_side(self.nsp, &self.word, 1).await?;
        assert_eq!((received[0].args.as_slice(), received[0].ack), ([self.value()].as_slice(), false));

        self.answers.on_server_side(self.nsp, &self.word, ServerSideReply::Answer(self.value())).await?;
        let responses = self.asks.server_side_emit_with_ack(self.nsp, &self.word, &[self.value()]).await?;
        assert_eq!(responses, Responses::Complete { responses: vec![self.value()] });
        let received = self.answers.wait_server_side(self.nsp, &self.word, 2).await?;
        assert_eq!((received[1].args.as_slice(), received[1].ack), ([self.value()].as_slice(), true));
        Ok(())
    }

    /// 3, 11, 12
    async fn broadcast_with_ack(&self) -> Result<()> {
        let clients = [self.member().await?, self.member().await?];
        for (index, sid) in clients.iter().enumerate() {
            let reply = json!({ "by": index, "value": self.value() });
            self.answers.client_ack(sid, &self.word, Some(reply)).await?;
        }
        let asked =
            self.asks.emit_with_ack(&self.room().timeout(20_000), &self.word, &[self.value()]).await?;
        let Acks::Complete { mut acks } = asked else { panic!("{asked:?}") };
        acks.sort_by_key(|ack| ack["by"].as_u64());
        let expected: Vec<Value> = (0..2).map(|by| json!({ "by": by, "value": self.value() })).collect();
        assert_eq!(acks, expected);
        let received = self.answers.wait_client_event(&clients[0], &self.word, 1).await?;
        assert_eq!(received[0].args, [self.value()]);

        let nobody = Select::room(self.nsp, "nobody").timeout(20_000);
        assert_eq!(self.asks.emit_with_ack(&nobody, &self.word, &[]).await?, Acks::Complete { acks: vec![] });
        self.answers.client_ack(&clients[0], &self.word, None).await?;
        let asked = self.asks.emit_with_ack(&self.room().timeout(500), &self.word, &[]).await?;
        let Acks::Failed { partial, .. } = asked else { panic!("{asked:?}") };
        assert_eq!(partial, [json!({ "by": 1, "value": self.value() })]);
        Ok(())
    }
}

/// The messages, by the name of the operation, and whether they carry values of the application's.
const OPERATIONS: [(&str, bool); 7] = [
    ("broadcast", true),
    ("sockets_join", false),
    ("sockets_leave", false),
    ("disconnect_sockets", false),
    ("fetch_sockets", true),
    ("server_side_emit", true),
    ("broadcast_with_ack", true),
];

async fn act(cell: &Cell<'_>, operation: &str) -> Result<()> {
    match operation {
        "broadcast" => cell.broadcast().await,
        "sockets_join" => cell.sockets_join().await,
        "sockets_leave" => cell.sockets_leave().await,
        "disconnect_sockets" => cell.disconnect_sockets().await,
        "fetch_sockets" => cell.fetch_sockets().await,
        "server_side_emit" => cell.server_side_emit().await,
        _ => cell.broadcast_with_ack().await,
    }
}

/// A server of ours hears it when a Node server goes orderly, and when it dies; and the other way round.
async fn membership(kind: Kind, cluster: &Cluster, node_goes: bool, orderly: bool) -> Result<()> {
    let url = cluster.redis.url();
    let (leaver, stays) = match node_goes {
        true => (Member::from(Peer::start(kind.peer(&url)).await?), &cluster.ours),
        false => (Member::from(OurServer::start(kind.ours(), &url, &NAMESPACES).await?), &cluster.node),
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
            ours.log().iter().any(|line| line.starts_with("NodeDown") && line.contains(reason))
        })
        .await?;
    }
    Ok(())
}

/// While nobody says anything, heartbeats keep everyone counted; and without them nobody would be.
async fn heartbeat(cluster: &Cluster) -> Result<()> {
    let beats = || {
        let entries = cluster.redis.command(&["XRANGE", "socket.io", "-", "+"]);
        let mut by_uid = std::collections::BTreeMap::<String, usize>::new();
        for entry in entries.items() {
            let field = |name| {
                entry.items()[1].field(name).and_then(|reply| reply.as_str()).unwrap_or_default().to_owned()
            };
            if field("type") == "2" && field("nsp") == "/chat" && field("uid") != "emitter" {
                *by_uid.entry(field("uid")).or_default() += 1;
            }
        }
        by_uid
    };
    eventually("ten heartbeats of both", || async {
        beats().values().filter(|&&count| count >= 10).count() >= 2
    })
    .await?;
    cluster.node.wait_server_count("/chat", 2).await?;
    cluster.ours.wait_server_count("/chat", 2).await
}

fn trials(runtime: &Arc<Runtime>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in KINDS {
        let shared = Shared::new(runtime, move || Cluster::start(kind));
        for (operation, carries_values) in OPERATIONS {
            for node_asks in [true, false] {
                for binary in [false, true] {
                    for nsp in NAMESPACES {
                        // The classic adapter puts these into JSON, and Buffers with them.
                        let as_json = matches!(operation, "fetch_sockets" | "server_side_emit")
                            && kind.generation == Generation::Classic;
                        if binary && (!carries_values || as_json) {
                            continue;
                        }
                        let who =
                            if node_asks { "node asks, ours answers" } else { "ours asks, node answers" };
                        let what = if binary { "binary" } else { "json" };
                        trials.push(shared.trial(
                            format!("{} {operation}: {who}, {what}, {nsp}", kind.name),
                            Box::new(move |Cluster { node, ours, redis }, word| {
                                let (asks, answers) = if node_asks { (node, ours) } else { (ours, node) };
                                let dynamic =
                                    kind.generation == Generation::Sharded && kind.variant != Variant::Static;
                                let channels = dynamic.then_some(redis);
                                let private = kind.variant == Variant::DynamicPrivate;
                                Box::pin(async move {
                                    let cell = Cell { asks, answers, nsp, binary, word, channels, private };
                                    act(&cell, operation).await
                                })
                            }),
                        ));
                    }
                }
            }
        }
        if kind.generation == Generation::V02 {
            let name = format!("{} heartbeat", kind.name);
            trials.push(shared.trial(name, Box::new(|cluster, _| Box::pin(heartbeat(cluster)))));
        }
        // These change who is in the cluster: each has one of its own.
        for (node_goes, orderly, what) in [
            (true, true, "close: node leaves, ours sees it"),
            (false, true, "close: ours leaves, node sees it"),
            (true, false, "expiry: node dies, ours sees it"),
            (false, false, "expiry: ours dies, node sees it"),
        ] {
            let own = Shared::new(runtime, move || Cluster::start(kind));
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
