//! `sio-streams doctor`: each finding is produced on a real server, and none is there in a healthy
//! cluster.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

mod doctoring;
mod schema;

use doctoring::{Diagnosis, changed, doctor};
use serde_json::json;
use sio_streams_driver::sio_streams_core::Dialect;
use sio_streams_interop::{Generation, OurServer, Peer, PeerConfig, Result, Select, eventually, quick};
use sio_streams_testkit::{RedisCluster, RedisSentinel, RedisServer};

const PAGE: &str = include_str!("../../docs/operating.md");
const RIGHTS: &str = include_str!("../../docs/redis.md");

const STREAMS: [&str; 2] = ["--dialect", "streams-0.3"];

/// The rights that a page gives to this user.
fn rights_of(page: &'static str, user: &str) -> &'static str {
    let prefix = format!("ACL SETUSER {user} on >password ");
    page.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap()
}

/// A server that keeps its data: nothing is wrong with it.
fn healthy() -> RedisServer {
    RedisServer::builder().persistent().start().unwrap()
}

fn examine(redis: &RedisServer) -> Diagnosis {
    doctor(&redis.url(), &[])
}

/// Writes a thousand entries, of which about the last hundred are left.
fn trimmed(redis: &RedisServer) {
    let add = "redis.call('XADD', KEYS[1], 'MAXLEN', '~', '100', '*', 'uid', 'n', 'nsp', '/', 'type', '2')";
    redis.command(&["EVAL", &format!("for i = 1, 1000 do {add} end"), "1", "socket.io"]);
}

/// Runs the doctor without holding up the servers of the test.
async fn aside(url: &str, args: &[&str]) -> Diagnosis {
    let (url, args) = (url.to_owned(), args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>());
    let run = move || doctor(&url, &args.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// In a cluster of a Node server and one of ours nothing is found, with no more rights than the
/// page gives the doctor.
async fn is_healthy(generation: Generation, dialect: Dialect, name: &str, user: &str) -> Result<()> {
    let redis = RedisServer::builder()
        .persistent()
        .user("doctor", "password", rights_of(PAGE, "doctor"))
        .user(user, "password", rights_of(RIGHTS, user))
        .start()?;
    let peer = Peer::start(PeerConfig::new(generation, redis.url()).quick()).await?;
    let ours = OurServer::start(quick(dialect), &redis.url(), &["/"]).await?;
    eventually("the servers know each other", async || {
        peer.server_count("/").await.is_ok_and(|count| count == 2)
    })
    .await?;
    let client = ours.connect("/").await?;
    peer.emit(&Select::all("/"), "news", &[json!(1)]).await?;
    eventually("the event arrives", async || ours.client_received(&client).len() == 1).await?;
    let diagnosis = aside(&redis.url_as("doctor", "password"), &["--dialect", name, "--user", user]).await;
    assert_eq!(diagnosis.codes(), [""; 0], "{diagnosis:#?}");
    assert_eq!((diagnosis.code, diagnosis.summary["servers"].as_u64()), (Some(0), Some(1)));
    let has_streams = !matches!(dialect, Dialect::Classic | Dialect::Sharded);
    assert_eq!(diagnosis.summary["entries"].as_u64() > Some(0), has_streams, "{diagnosis:#?}");
    assert_eq!(diagnosis.summary["channels"].as_u64() > Some(0), dialect != Dialect::Streams02);
    // Nor with all rights, and with the rights of the command itself.
    let diagnosis = aside(&redis.url(), &["--dialect", name]).await;
    assert_eq!(diagnosis.codes(), [""; 0], "{diagnosis:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_cluster_of_streams_0_2() -> Result<()> {
    is_healthy(Generation::V02, Dialect::Streams02, "streams-0.2", "streams02").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_cluster_of_streams_0_3() -> Result<()> {
    is_healthy(Generation::V03, Dialect::Streams03, "streams-0.3", "streams03").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_cluster_of_the_classic_adapter() -> Result<()> {
    is_healthy(Generation::Classic, Dialect::Classic, "classic", "classic").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_cluster_of_the_sharded_adapter() -> Result<()> {
    is_healthy(Generation::Sharded, Dialect::Sharded, "sharded", "sharded").await
}

#[test]
fn it_changes_nothing() {
    let redis = healthy();
    redis.command(&["XADD", "socket.io", "*", "uid", "n", "nsp", "/", "type", "2"]);
    let before = (redis.calls("xadd"), redis.command(&["XINFO", "STREAM", "socket.io"]));
    for dialect in ["streams-0.2", "streams-0.3", "bridge", "classic", "sharded"] {
        doctor(&redis.url(), &["--dialect", dialect, "--recovery"]);
    }
    let after = (redis.calls("xadd"), redis.command(&["XINFO", "STREAM", "socket.io"]));
    assert_eq!(before, after);
    for command in ["publish", "spublish", "subscribe", "ssubscribe", "psubscribe", "set", "getdel"] {
        assert_eq!(redis.calls(command), 0, "{command}");
    }
    assert_eq!(redis.command(&["DBSIZE"]).as_int(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_generations() -> Result<()> {
    let redis = healthy();
    let old = Peer::start(PeerConfig::new(Generation::V02, redis.url()).quick()).await?;
    let new = Peer::start(PeerConfig::new(Generation::V03, redis.url()).quick()).await?;
    for dialect in ["streams-0.2", "streams-0.3", "bridge"] {
        let diagnosis = aside(&redis.url(), &["--dialect", dialect]).await;
        assert_eq!(diagnosis.codes(), ["mixed-generations"], "{diagnosis:#?}");
        diagnosis.has("mixed-generations", "error", old.uid("/"));
        diagnosis.has("mixed-generations", "error", new.uid("/"));
    }
    // A bridge belongs to both.
    new.close().await?;
    let _bridge = OurServer::start(quick(Dialect::Bridge), &redis.url(), &["/"]).await?;
    let diagnosis = aside(&redis.url(), &["--dialect", "bridge"]).await;
    assert_eq!(diagnosis.codes(), [""; 0], "{diagnosis:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_adapter_on_the_same_channels() -> Result<()> {
    let redis = healthy();
    let _classic = Peer::start(PeerConfig::new(Generation::Classic, redis.url())).await?;
    let diagnosis = aside(&redis.url(), &STREAMS).await;
    diagnosis.has("other-adapter", "error", "1 subscriber of the classic adapter");
    let _sharded = Peer::start(PeerConfig::new(Generation::Sharded, redis.url())).await?;
    let diagnosis = aside(&redis.url(), &["--dialect", "classic"]).await;
    diagnosis.has("other-adapter", "error", "1 subscriber of another adapter");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_on_the_same_stream() -> Result<()> {
    let redis = healthy();
    let peer = PeerConfig::new(Generation::V03, redis.url()).adapter("channelPrefix", "staging");
    let peer = Peer::start(peer).await?;
    peer.emit(&Select::all("/"), "news", &[]).await?;
    eventually("the event is written", async || redis.command(&["XLEN", "socket.io"]).as_int() > Some(1))
        .await?;
    let diagnosis = aside(&redis.url(), &STREAMS).await;
    diagnosis.has("foreign-servers", "error", &format!("staging#/#{}#", peer.uid("/")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_that_are_no_servers() -> Result<()> {
    for (generation, name, subscribe, channel) in [
        (Generation::V03, "streams-0.3", "SUBSCRIBE", "socket.io#/#"),
        (Generation::Classic, "classic", "SUBSCRIBE", "socket.io-request#/#"),
        (Generation::Sharded, "sharded", "SSUBSCRIBE", "socket.io#/#"),
    ] {
        let redis = healthy();
        let _peer = Peer::start(PeerConfig::new(generation, redis.url())).await?;
        let mut stranger = redis.connect()?;
        stranger.command(&[subscribe, channel])?;
        let diagnosis = aside(&redis.url(), &["--dialect", name]).await;
        diagnosis.has("stranger-subscribers", "warning", &format!("2 subscribers of the channel {channel}"));
    }
    Ok(())
}

#[test]
fn entries_of_others_and_entries_that_can_not_be_read() {
    let redis = healthy();
    redis.command(&["XADD", "socket.io", "*", "order", "17"]);
    for _ in 0..5 {
        redis.command(&[
            "XADD",
            "socket.io",
            "*",
            "uid",
            "n",
            "nsp",
            "/",
            "type",
            "3",
            "data",
            "{\"packet\":",
        ]);
    }
    let diagnosis = examine(&redis);
    assert_eq!(diagnosis.codes(), ["foreign-entries", "poison-entries"]);
    diagnosis.has("foreign-entries", "warning", "1 of 6 entries: ");
    diagnosis.has("poison-entries", "error", "5 of 6 entries: ");
    diagnosis.has("poison-entries", "error", " and 2 more.");
    redis.command(&["DEL", "socket.io"]);
    redis.command(&["SET", "socket.io", "x"]);
    examine(&redis).has("foreign-entries", "error", "no stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_whose_stream_nobody_reads() -> Result<()> {
    let redis = healthy();
    let peer = PeerConfig::new(Generation::V03, redis.url()).adapter("streamCount", 4).without_probe();
    let _peer = Peer::start(peer.namespaces(&["/notifications"])).await?;
    let diagnosis = aside(&redis.url(), &["--stream-count", "4"]).await;
    assert_eq!(diagnosis.codes(), ["negative-hash"], "{diagnosis:#?}");
    diagnosis.has("negative-hash", "error", "/notifications");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_differ() -> Result<()> {
    // heartbeatInterval.
    let redis = healthy();
    let peer = |interval: u64| {
        let config = PeerConfig::new(Generation::V02, redis.url());
        Peer::start(config.adapter("heartbeatInterval", interval).adapter("heartbeatTimeout", 60_000))
    };
    let (_quick, _slow) = (peer(100).await?, peer(1_000).await?);
    eventually("the heartbeats of both have been seen", async || {
        let diagnosis = aside(&redis.url(), &["--dialect", "streams-0.2"]).await;
        !diagnosis.of("options-differ").is_empty()
    })
    .await?;
    let diagnosis = aside(&redis.url(), &["--dialect", "streams-0.2"]).await;
    diagnosis.has("options-differ", "warning", "sends heartbeats every");

    // useShardedPubSub.
    let redis = healthy();
    let _plain = Peer::start(PeerConfig::new(Generation::V03, redis.url())).await?;
    let sharded = PeerConfig::new(Generation::V03, redis.url()).adapter("useShardedPubSub", true);
    let _sharded = Peer::start(sharded).await?;
    let diagnosis = aside(&redis.url(), &STREAMS).await;
    diagnosis.has("options-differ", "error", "1 subscribers use sharded Pub/Sub, 1 do not");
    let diagnosis = aside(&redis.url(), &[&STREAMS[..], &["--use-sharded-pub-sub"]].concat()).await;
    diagnosis.has("options-differ", "error", "1 subscribers do not use sharded Pub/Sub, 1 do");

    // maxLen.
    let redis = healthy();
    trimmed(&redis);
    let diagnosis = aside(&redis.url(), &[]).await;
    diagnosis.has("options-differ", "warning", "though maxLen is said to be 10000");
    assert_eq!(aside(&redis.url(), &["--max-len", "100"]).await.of("options-differ").len(), 0);

    // streamCount.
    redis.command(&["DEL", "socket.io"]);
    redis.command(&["XADD", "socket.io-0", "*", "uid", "n", "nsp", "/", "type", "2"]);
    let diagnosis = aside(&redis.url(), &[]).await;
    diagnosis.has("options-differ", "warning", "The stream socket.io-0 is in use");
    Ok(())
}

#[test]
fn a_stream_that_does_not_reach_back_far_enough() {
    let redis = healthy();
    trimmed(&redis);
    let needed = |ms: &str| doctor(&redis.url(), &["--max-len", "100", "--max-disconnection-duration", ms]);
    needed("3600000").has("retention-short", "error", "3600.0 s are needed");
    assert_eq!(needed("1").of("retention-short").len(), 0);
}

#[test]
fn data_that_may_go_away() {
    let redis = RedisServer::start().unwrap();
    let diagnosis = examine(&redis);
    assert_eq!(diagnosis.codes(), ["no-persistence"]);
    diagnosis.has("no-persistence", "warning", "appendonly is no");
    for (policy, severity) in [("allkeys-lru", "error"), ("volatile-ttl", "warning")] {
        let options = ["maxmemory 100mb".to_owned(), format!("maxmemory-policy {policy}")];
        let builder = RedisServer::builder().persistent();
        let redis = options.into_iter().fold(builder, |builder, line| builder.config(line)).start().unwrap();
        let diagnosis = examine(&redis);
        assert_eq!(diagnosis.codes(), ["eviction"]);
        diagnosis.has("eviction", severity, policy);
        // Nothing of these is stored.
        assert_eq!(doctor(&redis.url(), &["--dialect", "classic"]).codes(), [""; 0]);
    }
    // Nothing is deleted without a limit.
    let redis = RedisServer::builder().persistent().config("maxmemory-policy allkeys-lru").start().unwrap();
    assert_eq!(examine(&redis).codes(), [""; 0]);
}

#[test]
fn each_right_that_is_missing_is_named() {
    let redis = healthy();
    for (user, args) in [
        ("streams02", &["--dialect", "streams-0.2"][..]),
        ("streams03", &["--dialect", "streams-0.3"]),
        ("streams03-sharded", &["--dialect", "streams-0.3", "--use-sharded-pub-sub"]),
        ("bridge", &["--dialect", "bridge"]),
        ("sharded", &["--dialect", "sharded"]),
        ("classic", &["--dialect", "classic"]),
        ("recovery", &["--dialect", "streams-0.2", "--recovery"]),
    ] {
        let rights: Vec<&str> = rights_of(RIGHTS, user).split(' ').collect();
        let diagnosis = |rights: &[&str]| {
            redis.command(&["ACL", "DELUSER", user]);
            redis.command(&[&["ACL", "SETUSER", user, "on", ">password"], rights].concat());
            doctor(&redis.url(), &[args, &["--user", user]].concat())
        };
        assert_eq!(diagnosis(&rights).codes(), [""; 0], "{user}");
        let mut checked = 0;
        for right in rights.iter().filter(|right| right.starts_with(['+', '~'])) {
            let others: Vec<_> = rights.iter().copied().filter(|other| other != right).collect();
            let found = diagnosis(&others);
            // Rights that only servers of this project use are not asked for.
            if ["+ping", "+xinfo|stream", "+getrange", "+xrevrange"].contains(right)
                || right.starts_with("+unsubscribe")
                || right.starts_with("+sunsubscribe")
                || right.starts_with("+punsubscribe")
                || right.ends_with("channels")
                || (*right == "+xrange" && user != "recovery")
            {
                assert_eq!(found.codes(), [""; 0], "{user} without {right}");
                continue;
            }
            found.has("missing-rights", "error", &format!("The user {user} lacks for"));
            let seen = found.of("missing-rights")[0]["seen"].as_str().unwrap();
            assert!(seen.ends_with(&format!(": {right}")), "{user} without {right}: {seen}");
            checked += 1;
        }
        assert!(checked >= 2, "{user}: {checked}");
        let no_channels: Vec<_> = rights.iter().copied().filter(|right| !right.starts_with('&')).collect();
        if no_channels.len() < rights.len() {
            diagnosis(&no_channels).has("missing-rights", "error", "&socket.io");
        }
    }
}

#[test]
fn the_rights_of_the_command_itself_are_checked() {
    let rules = "~socket.io* &socket.io* +@all -xadd -publish";
    let redis = RedisServer::builder().persistent().user("ann", "secret", rules).start().unwrap();
    let diagnosis = doctor(&redis.url_as("ann", "secret"), &STREAMS);
    assert_eq!(diagnosis.codes(), ["missing-rights"]);
    diagnosis.has("missing-rights", "error", "The user ann lacks for streams-0.3: +publish +xadd");
}

#[test]
fn what_can_not_be_looked_at_is_named_with_the_right() {
    let redis = RedisServer::builder().persistent().user("ann", "secret", "-@all").start().unwrap();
    redis.command(&["XADD", "socket.io", "*", "uid", "n", "nsp", "/", "type", "2"]);
    let diagnosis = doctor(&redis.url_as("ann", "secret"), &STREAMS);
    assert_eq!(diagnosis.codes(), ["unchecked"]);
    let todo: Vec<_> = diagnosis.findings.iter().map(|finding| finding["todo"].as_str().unwrap()).collect();
    for right in ["+info", "+time", "+config|get", "~socket.io +xinfo|stream", "+pubsub|numsub", "+multi"] {
        assert!(todo.iter().any(|todo| todo.contains(right)), "{right}: {todo:#?}");
    }
}

#[test]
fn pub_sub_that_is_not_there() {
    let redis = RedisServer::builder().persistent().config("rename-command SUBSCRIBE \"\"").start().unwrap();
    let diagnosis = doctor(&redis.url(), &STREAMS);
    assert_eq!(diagnosis.codes(), ["pubsub-unavailable"]);
    diagnosis.has("pubsub-unavailable", "error", "does not know SUBSCRIBE");
    assert_eq!(doctor(&redis.url(), &["--dialect", "streams-0.2"]).codes(), [""; 0]);
    let diagnosis = doctor(&redis.url(), &[&STREAMS[..], &["--user", "default"]].concat());
    diagnosis.has("pubsub-unavailable", "error", "does not know SUBSCRIBE");
}

#[test]
fn clocks_that_differ() {
    let redis = healthy();
    // The seconds in the reply to TIME are ten digits, as long as this test matters.
    let later = |bytes: Vec<u8>| match bytes.strip_prefix(b"*2\r\n$10\r\n1") {
        Some(rest) => [b"*2\r\n$10\r\n2", rest].concat(),
        None => bytes,
    };
    let diagnosis = doctor(&changed(redis.addr(), later), &[]);
    assert_eq!(diagnosis.codes(), ["clocks-apart"]);
    diagnosis.has("clocks-apart", "warning", "ahead of this machine's");
    redis.command(&["XADD", "socket.io", "9999999999999-0", "uid", "n", "nsp", "/", "type", "2"]);
    let diagnosis = examine(&redis);
    diagnosis.has("clocks-apart", "warning", "The newest id of the stream is");
    diagnosis.has("clocks-apart", "warning", "until 2286-11-20T17:46:39.999Z");
}

#[test]
fn buffers_that_are_too_small() {
    let builder = RedisServer::builder().persistent().config("client-output-buffer-limit normal 256kb 0 0");
    let redis = builder.config("client-query-buffer-limit 1mb").start().unwrap();
    let add = |size: usize| {
        let data = format!(
            r#"{{"packet":{{"type":2,"data":["e","{}"]}},"opts":{{"rooms":[],"except":[]}}}}"#,
            "x".repeat(size)
        );
        redis.command(&["XADD", "socket.io", "*", "uid", "n", "nsp", "/", "type", "3", "data", &data]);
    };
    for _ in 0..200 {
        add(4 << 10);
    }
    let diagnosis = examine(&redis);
    assert_eq!(diagnosis.codes(), ["buffers-small"]);
    diagnosis.has("buffers-small", "error", "100 entries in a row take 4");
    assert_eq!(doctor(&redis.url(), &["--read-count", "50"]).codes(), [""; 0]);
    redis.command(&["CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0"]);
    assert_eq!(examine(&redis).codes(), [""; 0]);
    add(600 << 10);
    examine(&redis).has("buffers-small", "warning", "client-query-buffer-limit");
}

#[test]
fn a_server_that_refuses_resp3() {
    let redis = RedisServer::builder().persistent().config("rename-command HELLO \"\"").start().unwrap();
    let diagnosis = examine(&redis);
    assert_eq!((diagnosis.codes(), diagnosis.code), (vec!["resp3-refused"], Some(0)));
    diagnosis.has("resp3-refused", "note", "HELLO is refused");
    // A user who asks for RESP2 knows it.
    assert_eq!(doctor(&format!("{}?protocol=resp2", redis.url()), &[]).codes(), [""; 0]);
}

/// Makes the server's version another one of the same length.
fn with_version(bytes: Vec<u8>, version: &[u8; 3]) -> Vec<u8> {
    let mut bytes = bytes;
    const FIELD: &[u8] = b"redis_version:";
    if let Some(at) = bytes.windows(FIELD.len()).position(|window| window == FIELD) {
        bytes[at + FIELD.len()..][..3].copy_from_slice(version);
    }
    bytes
}

#[test]
fn servers_of_old_versions() {
    let redis = healthy();
    let old = changed(redis.addr(), |bytes| with_version(bytes, b"6.2"));
    let diagnosis = doctor(&old, &[]);
    assert_eq!(diagnosis.codes(), ["old-version"]);
    diagnosis.has("old-version", "note", "Before 7.0");
    doctor(&old, &["--dialect", "sharded"]).has("old-version", "error", "Sharded Pub/Sub");
    let older = changed(redis.addr(), |bytes| with_version(bytes, b"5.0"));
    doctor(&older, &[]).has("old-version", "error", "GETDEL");
}

#[test]
fn a_replica() {
    let master = healthy();
    let follow = format!("replicaof 127.0.0.1 {}", master.port());
    let replica = RedisServer::builder().persistent().config(follow).start().unwrap();
    let diagnosis = examine(&replica);
    assert_eq!(diagnosis.codes(), ["read-only"]);
    diagnosis.has("read-only", "error", &format!("Its master is 127.0.0.1:{}", master.port()));
}

#[test]
fn a_redis_cluster() {
    let redis = RedisCluster::start_without_replicas(3).unwrap();
    for name in ["streams-0.3", "sharded"] {
        let diagnosis = doctor(&redis.url(), &["--cluster", "--dialect", name]);
        let expected: &[&str] = if name == "sharded" { &[] } else { &["no-persistence"] };
        assert_eq!(diagnosis.codes(), expected, "{diagnosis:#?}");
        assert_eq!(diagnosis.summary["servers"], 3);
    }
    let gone = (redis.owner("socket.io") + 1) % 3;
    let home = redis.owner("socket.io");
    redis.nodes()[gone].kill();
    let diagnosis = doctor(&redis.nodes()[home].url(), &["--cluster"]);
    let [finding] = diagnosis.of("unreachable")[..] else { panic!("{diagnosis:#?}") };
    assert!(finding["about"].as_str().unwrap().ends_with(&redis.nodes()[gone].port().to_string()));
    assert_eq!(finding["severity"], "error");
}

#[test]
fn behind_sentinels() {
    let redis = RedisSentinel::start().unwrap();
    let diagnosis = doctor(&redis.sentinels()[0].url(), &["--sentinel", redis.master_name()]);
    assert!(diagnosis.codes().iter().all(|code| *code == "no-persistence"), "{diagnosis:#?}");
}

#[test]
fn people_are_told_the_same() {
    let redis = RedisServer::start().unwrap();
    redis.command(&["XADD", "socket.io", "*", "\x1b[2J", "17"]);
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sio-streams"));
        command.args(["doctor", "--redis", &redis.url()]).args(args).output().unwrap()
    };
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("warning  foreign-entries  socket.io\n"), "{text}");
    assert!(text.contains("  > Set appendonly to yes"), "{text}");
    let last = "\n0 errors, 2 warnings, 0 notes\nin 1 Redis server, 1 stream with 1 entry, 0 channels\n";
    assert!(text.ends_with(last), "{text}");
    assert!(text.bytes().all(|byte| byte == b'\n' || !byte.is_ascii_control()), "{text:?}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(run(&["--stream-count", "0"]).status.code(), Some(2));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sio-streams"));
    let output = command.args(["doctor", "--redis", "redis://:secret@127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("refused") && !complaint.contains("secret"), "{complaint}");
}

#[test]
fn the_page_shows_what_is_printed() {
    let redis = RedisServer::start().unwrap();
    redis.command(&["XADD", "socket.io", "1764410400000-0", "order", "17"]);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sio-streams"));
    let output = command.args(["doctor", "--redis", &redis.url()]).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap().replace(&redis.port().to_string(), "6379");
    let (_, rest) = PAGE.split_once("<!-- output: doctor -->\n```text\n").unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    assert_eq!(printed, shown);
}
