//! The server refuses commands, in every way in which it can. Each refusal is reported as a state
//! that ends with its cause.

use std::cell::Cell;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use sio_streams_driver::sio_streams_core::{CommandError, Dialect, Lane, LinkState};
use sio_streams_faults::cluster::{PATIENCE, until};
use sio_streams_faults::server::quick;
use sio_streams_faults::{Client, Cluster, Fate, Report, Server};
use sio_streams_testkit::{Client as Connection, RedisServer, RedisServerBuilder};
use tokio::task::{block_in_place, spawn_blocking};

scenarios!(
    out_of_memory,
    too_few_replicas,
    a_disk_that_fails,
    a_script_that_runs,
    loading,
    demoted,
    rights_that_are_taken_away,
    a_password_that_is_asked_for,
    asleep,
);

/// Returns `true` if the first word of the server's error is the wanted one.
fn says(report: &Report, wanted: &str) -> bool {
    match report {
        Report::Refused { error: CommandError::Server { code, .. }, .. } => code == wanted,
        Report::Link { link: LinkState::Down { reason, .. }, .. } => reason.contains(wanted),
        _ => false,
    }
}

/// Replies are waited for: a message whose reply is late is in doubt, and what becomes of it is no
/// refusal.
async fn start<C: Client>(options: RedisServerBuilder) -> (RedisServer, Cluster<C>) {
    let redis = options.start().unwrap();
    let mut options = quick(Dialect::Bridge);
    options.timing.response = Duration::from_secs(30);
    let cluster = Cluster::<C>::start(&redis, &options, 2, None).await;
    (redis, cluster)
}

/// While the server refuses, one server talks. The refusal must be seen as what it is, and nothing
/// may be lost when it is over.
async fn refused<C: Client>(cluster: &Cluster<C>, code: &str, begin: impl FnOnce(), end: impl AsyncFnOnce()) {
    let a = &cluster.servers[0];
    a.say(20).await;
    begin();
    let over = async {
        until("the refusal is reported", async || a.reports().iter().any(|report| says(report, code))).await;
        end().await;
    };
    tokio::join!(a.say(200), over);
    cluster.alive().await;
    cluster.settle().await;
    cluster.judge(|_, _| false).await.unwrap();
    // If it ends in the middle of a batch, what was refused before something that came through
    // can't follow any more.
    for fate in a.fates() {
        let refused =
            |error: &CommandError| matches!(error, CommandError::Server { code: other, .. } if other == code);
        assert!(
            matches!(&fate, Fate::Published(_)) || matches!(&fate, Fate::Failed(error) if refused(error)),
            "{fate:?}"
        );
    }
}

fn set(redis: &RedisServer, name: &str, value: &str) {
    assert_eq!(redis.command(&["CONFIG", "SET", name, value]).as_str(), Some("OK"), "{name} {value}");
}

async fn out_of_memory<C: Client>() {
    let (redis, cluster) = start::<C>(RedisServer::builder()).await;
    refused(&cluster, "OOM", || set(&redis, "maxmemory", "1"), async || set(&redis, "maxmemory", "0")).await;
}

async fn too_few_replicas<C: Client>() {
    let (redis, cluster) = start::<C>(RedisServer::builder()).await;
    let replicas = |count: &str| set(&redis, "min-replicas-to-write", count);
    refused(&cluster, "NOREPLICAS", || replicas("1"), async || replicas("0")).await;
}

async fn a_disk_that_fails<C: Client>() {
    let (redis, cluster) = start::<C>(RedisServer::builder()).await;
    let file = redis.dir().join("dump.rdb");
    let saved = |status: &str| {
        redis.command(&["BGSAVE"]);
        let status = format!("rdb_last_bgsave_status:{status}\r\n");
        let deadline = std::time::Instant::now() + PATIENCE;
        while !redis.command(&["INFO", "persistence"]).as_str().unwrap().contains(&status) {
            assert!(std::time::Instant::now() < deadline, "timed out: {status}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let fail = || {
        set(&redis, "save", "100000 1");
        // Saved data can't take this place.
        fs::create_dir(&file).unwrap();
        block_in_place(|| saved("err"));
    };
    let mend = async || {
        fs::remove_dir(&file).unwrap();
        block_in_place(|| saved("ok"));
    };
    refused(&cluster, "MISCONF", fail, mend).await;
}

async fn a_script_that_runs<C: Client>() {
    let (redis, cluster) = start::<C>(RedisServer::builder().config("busy-reply-threshold 50")).await;
    let addr = redis.addr();
    let script = || {
        std::thread::spawn(move || {
            let mut client = Connection::connect(addr).unwrap();
            let _ = client.command(&["EVAL", "while true do end", "0"]);
        });
    };
    let kill = async || {
        until("the script is killed", async || redis.command(&["SCRIPT", "KILL"]).as_str() == Some("OK"))
            .await;
    };
    refused(&cluster, "BUSY", script, kill).await;
}

async fn loading<C: Client>() {
    let options = RedisServer::builder().persistent().config("aof-use-rdb-preamble no");
    let (redis, cluster) = start::<C>(options).await;
    // Enough for 20 seconds and more, unless the delay is taken away.
    let script = "for i = 1, 200000 do redis.call('SET', 'k' .. i, i) end";
    redis.command(&["EVAL", script, "0"]);
    let slow = "key-load-delay 100";
    let config = redis.dir().join("redis.conf");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}\n{slow}\n")).unwrap();
    let redis = Arc::new(redis);
    let restarting = Cell::new(None);
    let restart = || {
        redis.kill();
        let redis = Arc::clone(&redis);
        // Returns when all is loaded.
        restarting.set(Some(spawn_blocking(move || redis.restart())));
    };
    let load = async || {
        set(&redis, "key-load-delay", "0");
        restarting.take().unwrap().await.unwrap().unwrap();
    };
    refused(&cluster, "LOADING", restart, load).await;
}

async fn demoted<C: Client>() {
    let (redis, cluster) = start::<C>(RedisServer::builder()).await;
    let b = &cluster.servers[1];
    // A master that is not there: what the server has, it keeps.
    let demote = || drop(redis.command(&["REPLICAOF", "127.0.0.1", "1"]));
    let promote = async || {
        let unblocked = |report: &Report| says(report, "UNBLOCKED") || says(report, "READONLY");
        until("the reader is told", async || b.reports().iter().any(unblocked)).await;
        redis.command(&["REPLICAOF", "NO", "ONE"]);
    };
    refused(&cluster, "READONLY", demote, promote).await;
}

async fn rights_that_are_taken_away<C: Client>() {
    let (redis, cluster) = start::<C>(RedisServer::builder()).await;
    let [a, b] = &cluster.servers[..] else { unreachable!() };
    let rights =
        |which: &str| assert_eq!(redis.command(&["ACL", "SETUSER", "default", which]).as_str(), Some("OK"));
    let refused = |server: &Server, reader: bool| {
        server.reports().iter().any(|report| {
            says(report, "NOPERM")
                && matches!(report, Report::Refused { lane, .. } if matches!(lane, Lane::Reader(_)) == reader)
        })
    };
    rights("-xread");
    until("the readers are refused", async || refused(a, true) && refused(b, true)).await;
    a.say(50).await;
    rights("+xread");
    cluster.settle().await;
    // A message that may not be written will not be written later: its failure is reported at once.
    rights("-xadd");
    a.say(50).await;
    rights("+xadd");
    cluster.alive().await;
    cluster.settle().await;
    let books = cluster.judge(|_, _| false).await.unwrap();
    assert_eq!(books.failed, 50, "{books:?}");
    let no_right =
        |fate: &Fate| matches!(fate, Fate::Failed(CommandError::Server { code, .. }) if code == "NOPERM");
    assert_eq!(a.fates().iter().filter(|fate| no_right(fate)).count(), 50);
}

async fn a_password_that_is_asked_for<C: Client>() {
    let (redis, cluster) = start::<C>(RedisServer::builder()).await;
    let a = &cluster.servers[0];
    let mut admin = redis.connect().unwrap();
    let mut command = |args: &[&str]| drop(admin.command(args).unwrap());
    command(&["CONFIG", "SET", "requirepass", "secret"]);
    command(&["CLIENT", "KILL", "TYPE", "normal"]);
    command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until("it is reported", async || a.reports().iter().any(|report| says(report, "NOAUTH"))).await;
    let given_back = async { command(&["CONFIG", "SET", "requirepass", ""]) };
    tokio::join!(a.say(100), given_back);
    cluster.alive().await;
    cluster.settle().await;
    cluster.nothing_is_lost().await;
}

async fn asleep<C: Client>() {
    let redis = RedisServer::builder().config("enable-debug-command local").start().unwrap();
    // Longer than the node waits for a reply.
    let cluster = Cluster::<C>::start(&redis, &quick(Dialect::Bridge), 2, None).await;
    let [a, b] = &cluster.servers[..] else { unreachable!() };
    let sleep = async { drop(block_in_place(|| redis.command(&["DEBUG", "SLEEP", "2.5"]))) };
    tokio::join!(sleep, a.say(300), b.say(300));
    cluster.alive().await;
    cluster.settle().await;
    cluster.nothing_is_lost().await;
}
