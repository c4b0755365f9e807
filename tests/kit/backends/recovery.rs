//! Clients that were away, in a Redis Cluster: their sessions are spread over all servers, the
//! stream is on one.

use core::time::Duration;
use std::collections::BTreeMap;

use super::common::*;
use super::member::Member;
use crate::Backend;
use sio_streams_core::{
    BroadcastOptions, Config, EntryId, LocalDelivery, NotRecovered, Packet, Payload, Recovery, Session,
};
use sio_streams_driver::Error;
use sio_streams_driver::cluster::{Cluster, slot_of};
use sio_streams_testkit::RedisCluster;
use tokio::task::{JoinSet, block_in_place};

const SLOTS: usize = 16_384;

fn start() -> RedisCluster {
    block_in_place(|| RedisCluster::start_without_replicas(3)).unwrap()
}

fn backend(cluster: &RedisCluster) -> Cluster<Backend> {
    Cluster::new(steady(&cluster.url()))
}

fn config(recovery: Recovery) -> Config {
    Config { recovery: Some(recovery), local_delivery: LocalDelivery::StreamOrder, ..Config::default() }
}

/// Nobody is given up, or forgotten, because the machine is slow.
fn patient() -> Recovery {
    let max_disconnection_duration = Duration::from_secs(3600);
    Recovery { timeout: 5 * BOUND, max_disconnection_duration, ..Recovery::default() }
}

fn session(pid: &str) -> Session {
    let rooms = vec![format!("sid of {pid}").into(), "room".into()];
    Session { sid: format!("sid of {pid}").into(), pid: pid.into(), rooms, data: Payload::null() }
}

fn key(pid: &str) -> String {
    format!("{}{pid}", Recovery::default().session_key_prefix)
}

async fn say(member: &Member, number: u64) -> EntryId {
    let packet = Packet::event("n", &(number,)).unwrap();
    let said = within(member.namespace.broadcast(packet, BroadcastOptions::to("room"))).await;
    said.unwrap().expect("it is in the stream")
}

/// Waits until a node has read an entry. A replay ends with the last entry that the node has read;
/// later ones come as events.
async fn has_read(member: &Member, id: EntryId) {
    within(async {
        while member.node.lags().await.unwrap().iter().any(|(_, lag)| lag.position < Some(id)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// The packets that the client has missed.
async fn restore(member: &Member, pid: &str, offset: EntryId) -> Result<Vec<EntryId>, Error> {
    let missed = |restored: sio_streams_core::Restored| {
        restored.missed.iter().map(sio_streams_core::Missed::offset).collect()
    };
    within(member.namespace.restore_session(pid, &offset.to_string(), missed)).await
}

/// A private id for each slot.
fn pids() -> impl Iterator<Item = String> {
    let mut by_slot = BTreeMap::new();
    let mut number = 0_u64;
    while by_slot.len() < SLOTS {
        let pid = format!("pid{number}");
        by_slot.entry(slot_of(&key(&pid))).or_insert(pid);
        number += 1;
    }
    by_slot.into_values()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_all_slots_are_stored_and_restored() {
    let cluster = start();
    let one = Member::start(config(patient()), backend(&cluster)).await;
    let two = Member::start(config(patient()), backend(&cluster)).await;
    two.sees(2).await;
    let offset = say(&one, 0).await;
    let mut saving = JoinSet::new();
    for pid in pids() {
        let namespace = one.namespace.clone();
        saving.spawn(async move { namespace.persist_session(session(&pid)).await.map(|()| pid) });
    }
    let saved: Vec<String> = saving.join_all().await.into_iter().map(Result::unwrap).collect();
    assert_eq!(saved.len(), SLOTS);
    let stored = |node: usize| cluster.nodes()[node].command(&["DBSIZE"]).as_int().unwrap();
    for node in 0..3 {
        assert!(stored(node) > 5_000, "server {node} has {}", stored(node));
    }
    let missed = [say(&one, 1).await, say(&two, 2).await];
    has_read(&two, missed[1]).await;
    let mut restoring = JoinSet::new();
    for pid in saved {
        let (namespace, offset) = (two.namespace.clone(), offset.to_string());
        restoring.spawn(async move {
            let restored = namespace.restore_session(&pid, &offset, |restored| restored).await.unwrap();
            let stored = session(&pid);
            assert_eq!((restored.session.sid, restored.session.rooms), (stored.sid, stored.rooms));
            restored.missed.iter().map(sio_streams_core::Missed::offset).collect::<Vec<_>>()
        });
    }
    for got in restoring.join_all().await {
        assert_eq!(got, missed);
    }
    // Each was taken; what is left is the stream.
    assert_eq!((0..3).map(stored).sum::<i64>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_slot_moves_is_restored() {
    let cluster = start();
    let one = Member::start(config(patient()), backend(&cluster)).await;
    let two = Member::start(config(patient()), backend(&cluster)).await;
    two.sees(2).await;
    let offset = say(&one, 0).await;
    let key = key("pid");
    let first = cluster.owner(&key);
    for (step, to) in [(first + 1) % 3, (first + 2) % 3, first].into_iter().enumerate() {
        let save = async || within(one.namespace.persist_session(session("pid"))).await.unwrap();
        if step == 0 {
            save().await;
        }
        let moving = block_in_place(|| cluster.begin_move(&key, to)).unwrap();
        if step == 1 {
            // Sent on to the new server by ASK.
            save().await;
        }
        block_in_place(|| moving.keys()).unwrap();
        if step == 2 {
            save().await;
        }
        let missed = restore(&two, "pid", offset).await.unwrap();
        assert_eq!(missed, [], "moved to {to}");
        save().await;
        block_in_place(|| moving.end()).unwrap();
        // And now by MOVED.
        restore(&two, "pid", offset).await.unwrap();
        let again = restore(&two, "pid", offset).await;
        assert!(matches!(again, Err(Error::NotRecovered(NotRecovered::NoSession))), "{again:?}");
    }
}

/// The server that has the session is gone, and none takes its place. The one that has the stream
/// is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_on_a_server_that_is_gone_is_not_recovered_and_nobody_hangs() {
    let cluster = start();
    let recovery = Recovery { timeout: Duration::from_millis(500), ..Recovery::default() };
    let one = Member::start(config(patient()), backend(&cluster)).await;
    let two = Member::start(config(recovery), backend(&cluster)).await;
    two.sees(2).await;
    let offset = say(&one, 0).await;
    let gone = (cluster.owner(STREAM) + 1) % 3;
    let pid = (0..).map(|number| format!("pid{number}")).find(|pid| cluster.owner(&key(pid)) == gone);
    let pid = pid.unwrap();
    within(one.namespace.persist_session(session(&pid))).await.unwrap();
    cluster.nodes()[gone].kill();
    let restored = restore(&two, &pid, offset).await;
    assert!(matches!(restored, Err(Error::NotRecovered(_))), "{restored:?}");
    block_in_place(|| {
        cluster.nodes()[gone].restart().unwrap();
        cluster.settle().unwrap();
    });
    // A session that has died with the server is nowhere; one that is stored now is found. It is
    // stored for each attempt, because one that takes too long may have taken it.
    within(async {
        loop {
            one.namespace.persist_session(session(&pid)).await.unwrap();
            match restore(&two, &pid, offset).await {
                Ok(_) => break,
                Err(error) => assert!(matches!(error, Error::NotRecovered(_)), "{error}"),
            }
        }
    })
    .await;
}
