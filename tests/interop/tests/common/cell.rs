//! Tests of what one server does and another hears, for every combination of implementations.

use serde_json::{Value, json};
use sio_streams_interop::{
    Acks, Member, Received, Result, Select, ServerSideReply, all_responses, bin, eventually, partial_acks,
};
use sio_streams_testkit::RedisServer;

use super::{Outcome, Shared};
use libtest_mimic::Trial;

/// One cell: the acting server, the other server, the namespace, and the payload.
pub(crate) struct Cell<'a> {
    pub(crate) asks: &'a Member,
    pub(crate) answers: &'a Member,
    pub(crate) nsp: &'static str,
    pub(crate) binary: bool,
    /// A word that no other cell uses.
    pub(crate) word: String,
    pub(crate) channels: Option<RoomChannels<'a>>,
}

/// The configuration of a cluster where rooms have channels of their own.
#[derive(Clone, Copy)]
pub(crate) struct RoomChannels<'a> {
    /// The servers one of which knows whether they are subscribed to.
    pub(crate) redis: &'a [RedisServer],
    pub(crate) prefix: &'a str,
    /// `true` if the rooms of single sockets have them too.
    pub(crate) private: bool,
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

    /// Waits until the room's channel is heard, if it has one: a sharded node subscribes to it some
    /// time after a socket has joined.
    pub(crate) async fn wait_heard(&self, room: &str) -> Result<()> {
        let Some(RoomChannels { redis, prefix, .. }) = self.channels else { return Ok(()) };
        let channel = format!("{prefix}#{}#{room}#", self.nsp);
        eventually(&format!("a subscriber of {channel}"), || async {
            redis.iter().any(|server| {
                let count = server.command(&["PUBSUB", "SHARDNUMSUB", &channel]);
                count.items().get(1).and_then(|count| count.as_int()).unwrap_or_default() > 0
            })
        })
        .await
    }

    /// 3
    pub(crate) async fn broadcast(&self) -> Result<()> {
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
        let (mut far, to_room) = (got(&far), args[..1].to_vec());
        if self.channels.is_some_and(|channels| channels.redis.len() > 1) {
            // The room's channel lies on a server of its own: what goes through it has no place
            // among the others.
            let at = far.iter().position(|args| *args == to_room).unwrap_or(1);
            let found = far.remove(at);
            far.insert(1, found);
        }
        assert_eq!(far, [args.to_vec(), to_room, vec![json!("last")]]);
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
        if self.channels.is_some_and(|channels| channels.private) {
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
        let mut found = self.asks.fetch_sockets(&self.room().to(&near).timeout(20_000)).await?;
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
        // Once without a time, which makes it another message.
        let nobody = Select::room(self.nsp, "nobody");
        let found = match self.asks {
            // It waits for five seconds, in which not everyone may get round to an answer.
            Member::Node(peer) => {
                eventually("all answers", || async { peer.fetch_sockets(&nobody).await.ok() }).await?
            }
            Member::Ours(ours) => ours.fetch_sockets(&nobody).await?,
        };
        assert_eq!(found, []);
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
        let value = [self.value()];
        let ask = async || self.asks.server_side_emit_with_ack(self.nsp, &self.word, &value).await;
        assert_eq!(all_responses(ask).await?, value);
        let received = self.answers.wait_server_side(self.nsp, &self.word, 2).await?;
        let Some(last) = received.last() else { unreachable!() };
        assert_eq!((last.args.as_slice(), last.ack), (value.as_slice(), true));
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
        let answering = [json!({ "by": 1, "value": self.value() })];
        partial_acks(&answering, &[500, 2_500, 12_500, 30_000], async |timeout| {
            self.asks.emit_with_ack(&self.room().timeout(timeout), &self.word, &[]).await
        })
        .await
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

/// A Node server and one of ours.
pub(crate) trait Pair: Send + Sync + 'static {
    fn node(&self) -> &Member;
    fn ours(&self) -> &Member;

    /// The channels of rooms, if rooms have channels.
    fn channels(&self) -> Option<RoomChannels<'_>> {
        None
    }
}

/// Every message, asked by either, as JSON and, but for those of `text_only`, with binary data, in
/// each of the namespaces.
pub(crate) fn cells<C: Pair>(
    name: &str,
    namespaces: &[&'static str],
    text_only: &[&str],
    shared: &Shared<C>,
) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (operation, carries_values) in OPERATIONS {
        for node_asks in [true, false] {
            for binary in [false, true] {
                for &nsp in namespaces {
                    if binary && (!carries_values || text_only.contains(&operation)) {
                        continue;
                    }
                    let who = if node_asks { "node asks, ours answers" } else { "ours asks, node answers" };
                    let what = if binary { "binary" } else { "json" };
                    trials.push(shared.trial(
                        format!("{name} {operation}: {who}, {what}, {nsp}"),
                        Box::new(move |pair: &C, word| -> Outcome<'_> {
                            let (asks, answers) = match node_asks {
                                true => (pair.node(), pair.ours()),
                                false => (pair.ours(), pair.node()),
                            };
                            Box::pin(async move {
                                let channels = pair.channels();
                                act(&Cell { asks, answers, nsp, binary, word, channels }, operation).await
                            })
                        }),
                    ));
                }
            }
        }
    }
    trials
}
