//! The faults of Node's adapters, row by row (docs/protocol.md, appendix): ours must not have them.

mod common;

use std::time::Duration;

use common::entries;
use serde_json::json;
use sio_streams_driver::sio_streams_core::{Config, Dialect};
use sio_streams_interop::{
    Generation, Member, OurServer, Peer, PeerConfig, RedisClient, Result, Select, ServerSideReply, bin,
    eventually, impatient, quick,
};
use sio_streams_testkit::{Client, Proxy, RedisServer, Reply};

const NSP: &str = "/chat";
const NAMESPACES: [&str; 2] = ["/", NSP];

/// Entries that are no messages, of nine kinds and some variants.
const MALFORMED: [&[&str]; 14] = [
    // a broadcast without data, or whose data lacks what is needed
    &["uid", "x", "nsp", NSP, "type", "3"],
    &["uid", "x", "nsp", NSP, "type", "3", "data", r#"{"opts":{"rooms":[],"except":[],"flags":{}}}"#],
    &["uid", "x", "nsp", NSP, "type", "3", "data", r#"{"packet":{"type":2,"data":["e"]}}"#],
    // a question without its options
    &["uid", "x", "nsp", NSP, "type", "7", "data", r#"{"requestId":"r"}"#],
    // an answer without data
    &["uid", "x", "nsp", NSP, "type", "8"],
    // JSON that breaks off; text that is neither JSON nor base64
    &["uid", "x", "nsp", NSP, "type", "3", "data", r#"{"packet":{"type":2,"#],
    &["uid", "x", "nsp", NSP, "type", "3", "data", "%%% no base64 %%%"],
    // base64 of what is no MessagePack, and of MessagePack that is no map
    &["uid", "x", "nsp", NSP, "type", "3", "data", "wcHBwQ=="],
    &["uid", "x", "nsp", NSP, "type", "3", "data", "kwECAw=="],
    // options of the wrong kind
    &["uid", "x", "nsp", NSP, "type", "4", "data", r#"{"opts":{"rooms":7},"rooms":["a"]}"#],
    // types that don't exist
    &["uid", "x", "nsp", NSP, "type", "99", "data", "{}"],
    &["uid", "x", "nsp", NSP, "type", "three"],
    // no type; no namespace
    &["uid", "x", "nsp", NSP],
    &["uid", "x", "type", "2"],
];

fn add(redis: &RedisServer, fields: &[&str]) {
    let command: Vec<&str> = ["XADD", "socket.io", "*"].into_iter().chain(fields.iter().copied()).collect();
    redis.command(&command);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_entries_harm_nothing_behind_them() -> Result<()> {
    for dialect in [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge] {
        let redis = RedisServer::start()?;
        let one = OurServer::start(quick(dialect), &redis.url(), &NAMESPACES).await?;
        let two = Member::from(OurServer::start(quick(dialect), &redis.url(), &NAMESPACES).await?);
        let sid = two.connect(NSP).await?;
        for (round, fields) in MALFORMED.iter().enumerate() {
            add(&redis, fields);
            one.emit(&Select::all(NSP), "behind", &[json!(round)]).await?;
        }
        let received = two.wait_client_event(&sid, "behind", MALFORMED.len()).await?;
        let numbers: Vec<_> = received.into_iter().map(|received| received.args[0].clone()).collect();
        assert_eq!(numbers, (0..MALFORMED.len()).map(|round| json!(round)).collect::<Vec<_>>());
        let Member::Ours(two) = two else { unreachable!() };
        let skipped = two.log().iter().filter(|line| line.starts_with("Skipped")).count();
        assert_eq!(skipped, MALFORMED.len(), "each is reported: {:#?}", two.log());
    }
    Ok(())
}

/// Sends everything that a server of ours can send, odd values included, to Node servers; none of
/// it makes them read an entry again.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_ours_poisons_a_node_server() -> Result<()> {
    for (generation, dialect) in [
        (Generation::V02, Dialect::Streams02),
        (Generation::V03, Dialect::Streams03),
        (Generation::V02, Dialect::Bridge),
        (Generation::V03, Dialect::Bridge),
    ] {
        let redis = RedisServer::start()?;
        let config = PeerConfig::new(generation, redis.url()).quick().namespaces(&NAMESPACES).recovery();
        let node = Peer::start(config).await?;
        let ours = OurServer::start(quick(dialect), &redis.url(), &NAMESPACES).await?;
        let sid = node.connect(NSP).await?.sid;
        let odd = [
            json!(null),
            json!(1e300),
            json!("\u{0}\u{1F600}\u{2028}"),
            json!({ "__proto__x": {}, "": [], "constructor": { "prototype": 1 } }),
            json!([[[[[[[[[[[[]]]]]]]]]]]]),
            bin(vec![0; 100_000]),
            bin([]),
            json!({ "$": bin([1]), "deep": { "er": [bin([2])] } }),
        ];
        let selections = [
            Select::all(NSP),
            Select::room(NSP, &sid).to("nobody").except("nobody else"),
            Select::room(NSP, "").to("__proto__").to("ü"),
            Select::all(NSP).volatile().compress(false).timeout(1_000),
        ];
        for to in &selections {
            for value in &odd {
                ours.emit(to, "odd", std::slice::from_ref(value)).await?;
            }
            ours.sockets_join(to, &["", "__proto__", "a"]).await?;
            ours.sockets_leave(to, &["a", "never joined"]).await?;
            ours.emit_with_ack(&to.clone().timeout(50), "ask", &odd[..1]).await?;
            ours.fetch_sockets_outcome(to).await?;
        }
        ours.disconnect_sockets(&Select::room(NSP, "nobody"), true).await?;
        node.on_server_side(NSP, "heard", ServerSideReply::Answer(json!(1))).await?;
        for value in &odd {
            ours.server_side_emit(NSP, "heard", std::slice::from_ref(value)).await?;
            ours.server_side_emit(NSP, "nobody listens", &[]).await?;
        }
        ours.server_side_emit_with_ack(NSP, "heard", &odd).await?;
        // A Node server that asks gets answers of ours that it can digest.
        ours.connect(NSP).await?;
        node.fetch_sockets(&Select::all(NSP).timeout(20_000)).await?;

        ours.emit(&Select::room(NSP, &sid), "the end", &[]).await?;
        node.wait_client_event(&sid, "the end", 1).await?;
        // A server that chokes reads thousands of times a second, whether there is anything new or
        // not; this one only reads what comes.
        let reads_and_entries = || {
            let entries = redis.command(&["XLEN", "socket.io"]).as_int();
            (redis.calls("xread"), entries.and_then(|entries| u64::try_from(entries).ok()).expect("a number"))
        };
        let before = reads_and_entries();
        for number in 0..100 {
            ours.emit(&Select::room(NSP, &sid), "more", &[json!(number)]).await?;
            node.wait_client_event(&sid, "more", number + 1).await?;
        }
        let after = reads_and_entries();
        let (reads, entries) = (after.0 - before.0, after.1 - before.1);
        assert!(reads <= 4 * entries + 50, "{generation:?} {dialect:?}: {reads} reads of {entries} entries");
        assert_eq!(node.events(), Vec::<serde_json::Value>::new(), "no uncaught exception");
    }
    Ok(())
}

/// The link is cut before the reader has read anything, and Node sends a hundred meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_before_the_first_entry_was_read() -> Result<()> {
    for (generation, dialect) in
        [(Generation::V02, Dialect::Streams02), (Generation::V03, Dialect::Streams03)]
    {
        let redis = RedisServer::start()?;
        let proxy = Proxy::start(redis.addr())?;
        let node = Peer::start(PeerConfig::new(generation, redis.url()).namespaces(&NAMESPACES)).await?;
        let url = redis.url_via(proxy.port());
        let ours = Member::from(OurServer::start(quick(dialect), &url, &NAMESPACES).await?);
        let sid = ours.connect(NSP).await?;
        proxy.cut();
        for number in 0..100 {
            node.emit(&Select::all(NSP), "meanwhile", &[json!(number)]).await?;
        }
        eventually("all of them in the stream", || async {
            redis.command(&["XLEN", "socket.io"]).as_int().is_some_and(|length| length >= 100)
        })
        .await?;
        proxy.restore()?;
        let received = ours.wait_client_event(&sid, "meanwhile", 100).await?;
        let numbers: Vec<_> = received.into_iter().map(|received| received.args[0].clone()).collect();
        assert_eq!(numbers, (0..100).map(|number| json!(number)).collect::<Vec<_>>(), "{generation:?}");
    }
    Ok(())
}

/// A namespace whose hash is negative: Node writes it to a stream that no Node server reads. Both
/// ways, with ours, nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_with_a_negative_hash() -> Result<()> {
    for client in [RedisClient::Redis5, RedisClient::IoRedis] {
        let redis = RedisServer::start()?;
        let namespaces = ["/notifications", "/dashboard", "/orders"];
        let config = PeerConfig::new(Generation::V03, redis.url()).client(client).namespaces(&namespaces);
        let node = Peer::start(config.adapter("streamCount", 4)).await?;
        assert_eq!(node.stream("/notifications"), "socket.io--3");
        let config = Config { stream_count: 4, ..quick(Dialect::Streams03) };
        let ours = OurServer::start(config, &redis.url(), &namespaces).await?;
        let ours = Member::from(ours);
        for nsp in namespaces {
            let (far, near) = (node.connect(nsp).await?.sid, ours.connect(nsp).await?);
            for number in 0..10 {
                node.emit(&Select::all(nsp), "from node", &[json!(number)]).await?;
                ours.emit(&Select::all(nsp), "from ours", &[json!(number)]).await?;
            }
            node.wait_client_event(&far, "from ours", 10).await?;
            assert_eq!(ours.wait_client_event(&near, "from node", 10).await?.len(), 10, "{nsp}");
        }
    }
    Ok(())
}

/// A server hangs, or dies, when sockets are fetched: the others' answers come, with the names of
/// those that are missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_during_fetch_sockets() -> Result<()> {
    for (generation, dialect) in
        [(Generation::V02, Dialect::Streams02), (Generation::V03, Dialect::Streams03)]
    {
        let redis = RedisServer::start()?;
        let config = || PeerConfig::new(generation, redis.url()).quick().namespaces(&NAMESPACES);
        let (alive, doomed) = (Peer::start(config()).await?, Peer::start(config()).await?);
        let three = Three { redis, generation, sid: alive.connect(NSP).await?.sid, alive, doomed };

        // However slow all this is, who hangs is not taken for dead.
        let patient = Config { heartbeat_timeout: Duration::from_secs(120), ..quick(dialect) };
        three.one_hangs(patient).await?;
        three.one_dies(impatient(quick(dialect))).await?;
    }
    Ok(())
}

/// Two Node servers, and one of ours.
struct Three {
    redis: RedisServer,
    generation: Generation,
    /// A client of the one that answers.
    sid: String,
    alive: Peer,
    doomed: Peer,
}

impl Three {
    async fn start(&self, config: Config) -> Result<OurServer> {
        let ours = Member::from(OurServer::start(config, &self.redis.url(), &NAMESPACES).await?);
        ours.wait_server_count(NSP, 3).await?;
        let Member::Ours(ours) = ours else { unreachable!() };
        Ok(*ours)
    }

    /// Ours has just heard from a Node server, so it knows its name, that it is there, and what it
    /// has said before.
    async fn heard(&self, ours: &OurServer, node: &Peer) -> Result<()> {
        let sid = ours.connect(NSP).await?;
        node.emit(&Select::room(NSP, &sid), "hello", &[]).await?;
        eventually("a server's word", || async { !ours.client_received(&sid).is_empty() }).await
    }

    /// The connections of who hangs are there, but nobody answers.
    async fn one_hangs(&self, config: Config) -> Result<()> {
        let ours = self.start(config).await?;
        self.heard(&ours, &self.doomed).await?;
        self.doomed.pause().await?;
        let (mut sockets, mut missing) = (Vec::<String>::new(), Vec::<String>::new());
        // In a short time, the other one may not have answered, and names may not have been found
        // out.
        for timeout in [1_200, 5_000, 20_000, 60_000] {
            let to = Select::room(NSP, &self.sid).timeout(timeout);
            let found = ours.fetch_sockets_outcome(&to).await?;
            assert!(found.outcome.timed_out, "{:?}", found.outcome);
            sockets = found.sockets.iter().map(|socket| socket.id.to_string()).collect();
            missing = found.outcome.missing.iter().map(|node| node.as_str().to_owned()).collect();
            if (sockets.len(), missing.len()) == (1, 1) {
                break;
            }
        }
        assert_eq!(sockets, [&*self.sid]);
        assert_eq!(missing, [self.doomed.uid(NSP)], "{:?}", self.generation);
        self.doomed.resume().await?;
        ours.close().await;
        Ok(())
    }

    /// It dies while the answers are awaited: they come long before the time is up.
    async fn one_dies(self, config: Config) -> Result<()> {
        let ours = self.start(config).await?;
        let to = Select::room(NSP, &self.sid).timeout(600_000);
        let mut attempt = 0;
        let asking = loop {
            attempt += 1;
            assert!(attempt <= 10, "the question is never out in time");
            self.heard(&ours, &self.doomed).await?;
            let mut listener = self.redis.connect()?;
            listener.command(&["PSUBSCRIBE", &format!("socket.io#{NSP}#*")])?;
            self.doomed.pause().await?;
            let mut asking = Box::pin(ours.fetch_sockets_outcome(&to));
            let expected = async {
                self.is_asked(&ours, attempt, listener).await?;
                ours.server_count(NSP).await
            };
            // If silence means death, both may have been silent for too long by now, if all this
            // was slow.
            let expected = tokio::select! {
                biased;
                found = &mut asking => found.map(|_| 0)?,
                expected = expected => expected?,
            };
            if expected == 3 {
                break asking;
            }
            self.doomed.resume().await?;
        };
        let name = self.doomed.uid(NSP).to_owned();
        self.doomed.kill().await;
        let found = asking.await?;
        assert_eq!(found.sockets.len(), 1);
        assert!(!found.outcome.timed_out);
        assert_eq!(found.outcome.missing.iter().map(|node| node.as_str()).collect::<Vec<_>>(), [&*name]);
        assert!(!found.outcome.is_complete());
        Ok(())
    }

    /// Waits until the question is out, the `count`-th one of ours; and, where silence is death,
    /// until ours has read what the one that is alive answers.
    async fn is_asked(&self, ours: &OurServer, count: usize, listener: Client) -> Result<()> {
        if self.generation == Generation::V03 {
            let uid = ours.uid().to_owned();
            let heard = tokio::task::spawn_blocking(move || question_of(&uid, listener));
            return Ok(heard.await.map_err(std::io::Error::from)??);
        }
        let alive = self.alive.uid(NSP);
        eventually("the answer", || async {
            let entries = entries(&self.redis, "socket.io");
            let requests = |uid: &str, kind: &str| -> Vec<serde_json::Value> {
                let of_this_kind =
                    entries.iter().filter(|entry| entry["uid"] == uid && entry["type"] == kind);
                let data = of_this_kind.filter_map(|entry| serde_json::from_str(&entry["data"]).ok());
                data.map(|data: serde_json::Value| data["requestId"].clone()).collect()
            };
            let (questions, answers) = (requests(ours.uid(), "7"), requests(alive, "8"));
            questions.get(count - 1).is_some_and(|question| answers.contains(question))
        })
        .await?;
        self.heard(ours, &self.alive).await
    }
}

/// Reads what is published in the namespace up to a question of this node. With a pattern: that is
/// no subscriber who is counted.
fn question_of(uid: &str, mut listener: Client) -> std::io::Result<()> {
    let channel = format!("socket.io#{NSP}#");
    loop {
        let message = listener.read_reply()?;
        if let [_, _, Reply::Bulk(to), Reply::Bulk(payload)] = message.items()
            && *to == channel.as_bytes()
            && payload.windows(uid.len()).any(|word| word == uid.as_bytes())
        {
            return Ok(());
        }
    }
}
