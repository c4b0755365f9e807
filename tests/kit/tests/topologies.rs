//! Clusters and sentinels, and their changes.

use sio_streams_testkit::{RedisCluster, RedisSentinel, Reply};

#[test]
fn a_cluster_moves_slots_and_fails_over() {
    let cluster = RedisCluster::start(3).unwrap();
    let from = cluster.owner("stream");
    cluster.command("stream", &["XADD", "stream", "*", "a", "b"]);

    let to = (from + 1) % 3;
    let moving = cluster.begin_move("stream", to).unwrap();
    moving.keys().unwrap();
    let asked = cluster.nodes()[from].command(&["XLEN", "stream"]);
    assert!(matches!(&asked, Reply::Error(e) if e.starts_with("ASK ")), "{asked:?}");
    moving.end().unwrap();
    assert_eq!(cluster.owner("stream"), to);
    let moved = cluster.nodes()[from].command(&["XLEN", "stream"]);
    assert!(matches!(&moved, Reply::Error(e) if e.starts_with("MOVED ")), "{moved:?}");
    assert_eq!(cluster.command("stream", &["XLEN", "stream"]).as_int(), Some(1));

    cluster.nodes()[to].replicated("stream").unwrap();
    cluster.hand_over(to).unwrap();
    assert_eq!(cluster.owner("stream"), cluster.partner(to));
    cluster.nodes()[cluster.partner(to)].replicated("stream").unwrap();
    cluster.fail_over(cluster.partner(to)).unwrap();
    assert_eq!(cluster.owner("stream"), to);
    assert_eq!(cluster.command("stream", &["XLEN", "stream"]).as_int(), Some(1));
}

#[test]
fn sentinels_fail_over() {
    let redis = RedisSentinel::start().unwrap();
    let master = redis.master();
    redis.fail_over().unwrap();
    assert_eq!(redis.master(), 1 - master);
    let added = redis.servers()[1 - master].command(&["XADD", "stream", "*", "a", "b"]);
    assert!(added.as_str().is_some(), "{added:?}");
}

/// While the replica stands still, nothing is replicated, however many replicas there are.
#[test]
fn what_is_replicated_is_at_the_replica() {
    let redis = RedisSentinel::start().unwrap();
    let [master, replica] = redis.servers();
    master.replicated("stream").unwrap();
    replica.pause().unwrap();
    master.command(&["XADD", "stream", "*", "a", "b"]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| master.replicated("stream"));
        let blocked = || {
            let clients = master.command(&["CLIENT", "LIST"]);
            clients.as_str().is_some_and(|list| list.lines().any(|line| line.contains("cmd=wait")))
        };
        while !blocked() && !waiting.is_finished() {
            std::thread::yield_now();
        }
        assert!(!waiting.is_finished());
        replica.resume().unwrap();
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(replica.command(&["XLEN", "stream"]).as_int(), Some(1));
}
