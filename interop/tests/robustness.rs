//! What Node's adapters get wrong, row by row (docs/protocol.md, appendix): here it must hold.

use serde_json::json;
use sio_streams_driver::sio_streams_core::{Config, Dialect};
use sio_streams_interop::{
    Generation, Member, OurServer, Peer, PeerConfig, RedisClient, Result, Select, ServerSideReply, bin,
    eventually, quick,
};
use sio_streams_testkit::{Proxy, RedisServer};

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

/// How often the server has executed a command.
fn calls(redis: &RedisServer, command: &str) -> u64 {
    let info = redis.command(&["INFO", "commandstats"]);
    let line = info.as_str().unwrap_or_default().lines().find_map(|line| {
        line.strip_prefix("cmdstat_")?.strip_prefix(command)?.strip_prefix(":calls=")?.split(',').next()
    });
    line.map_or(0, |calls| calls.parse().expect("a number"))
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

/// Sends everything that a server of ours can send, odd values included, to Node servers; none of it makes them read an entry again.
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
        node.fetch_sockets(&Select::all(NSP)).await?;

        ours.emit(&Select::room(NSP, &sid), "the end", &[]).await?;
        node.wait_client_event(&sid, "the end", 1).await?;
        // A server that chokes reads thousands of times a second; this one reads as often as it should.
        let before = calls(&redis, "xread");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let during = calls(&redis, "xread") - before;
        assert!(during < 200, "{generation:?} {dialect:?}: {during} reads in a second");
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

/// A namespace whose hash is negative: Node writes it to a stream that no Node server reads. Both ways, with ours, nothing is lost.
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

/// A server is dead, or hangs, when sockets are fetched: the others' answers come, with the names of those that are missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_during_fetch_sockets() -> Result<()> {
    for (generation, dialect) in
        [(Generation::V02, Dialect::Streams02), (Generation::V03, Dialect::Streams03)]
    {
        let redis = RedisServer::start()?;
        let config = || PeerConfig::new(generation, redis.url()).quick().namespaces(&NAMESPACES);
        let (alive, doomed) = (Peer::start(config()).await?, Peer::start(config()).await?);
        let ours = OurServer::start(quick(dialect), &redis.url(), &NAMESPACES).await?;
        let member = Member::from(ours);
        member.wait_server_count(NSP, 3).await?;
        let Member::Ours(ours) = member else { unreachable!() };
        let sid = alive.connect(NSP).await?.sid;
        let name = doomed.uid(NSP).to_owned();
        // It has been heard, so its name is known.
        doomed.emit(&Select::all(NSP), "hello", &[]).await?;
        alive.wait_client_event(&sid, "hello", 1).await?;

        // It hangs: its connections are there, but nobody answers.
        doomed.pause().await?;
        let to = Select::all(NSP).timeout(1_200);
        let found = ours.fetch_sockets_outcome(&to).await?;
        assert_eq!(found.sockets.iter().map(|socket| &*socket.id).collect::<Vec<_>>(), [&*sid]);
        assert!(found.outcome.timed_out, "{:?}", found.outcome);
        let missing: Vec<&str> = found.outcome.missing.iter().map(|node| node.as_str()).collect();
        assert_eq!(missing, [&*name], "{generation:?}");

        // It dies while the answers are awaited: they come long before the time is up.
        doomed.resume().await?;
        let member = Member::Ours(ours);
        member.wait_server_count(NSP, 3).await?;
        doomed.pause().await?;
        let Member::Ours(ours) = member else { unreachable!() };
        let to = Select::all(NSP).timeout(600_000);
        let asked = calls(&redis, "publish");
        let dies = async {
            // The question must be out, with the dead one counted.
            let out = || async { generation == Generation::V02 || calls(&redis, "publish") > asked };
            eventually("the question", out).await?;
            doomed.kill().await;
            Ok(())
        };
        let (found, ()) = tokio::try_join!(ours.fetch_sockets_outcome(&to), dies)?;
        assert_eq!(found.sockets.len(), 1);
        assert!(!found.outcome.timed_out);
        assert_eq!(found.outcome.missing.iter().map(|node| node.as_str()).collect::<Vec<_>>(), [&*name]);
        assert!(!found.outcome.is_complete());
    }
    Ok(())
}
