//! Clients that were away, over the driver.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sio_streams_core::{
    BroadcastOptions, Config, Entry, EntryId, Lane, LocalDelivery, NotRecovered, Packet, Payload, Recovery,
    Restored, Session,
};
use sio_streams_driver::memory::{MemoryBackend, MemoryRedis};
use sio_streams_driver::{Error, Event, Events, Namespace};
use tokio::sync::watch;

fn config(recovery: Recovery) -> Config {
    Config { recovery: Some(recovery), local_delivery: LocalDelivery::StreamOrder, ..Config::default() }
}

/// Nobody is given up because the machine is slow.
fn patient() -> Recovery {
    Recovery { timeout: Duration::from_secs(60), ..Recovery::default() }
}

async fn start(backend: MemoryBackend, recovery: Recovery) -> (Namespace, Events) {
    let (node, events) = sio_streams_driver::start(config(recovery), backend).unwrap();
    (node.open("/").await.unwrap(), events)
}

fn session() -> Session {
    let rooms = vec!["sid".into(), "room".into()];
    Session { sid: "sid".into(), pid: "pid".into(), rooms, data: Payload::null() }
}

fn packet(number: usize) -> Packet {
    Packet::event("event", &(number,)).unwrap()
}

fn number(packet: &Packet) -> usize {
    packet.data().decode::<(String, usize)>().unwrap().1
}

/// The connection of a client, and what came to it.
#[derive(Default)]
struct Client {
    connected: bool,
    got: Vec<(usize, EntryId)>,
}

/// The replay and what comes afterwards, while others never stop to publish: each packet once, in
/// order.
#[tokio::test(flavor = "multi_thread")]
async fn the_replay_and_what_comes_behind_it_are_one() {
    const LAST: usize = 2_000;
    /// After so many packets the client has been away once more: if it got no turn, they wait for
    /// it.
    const SHARE: usize = 400;
    let redis = MemoryRedis::new();
    let window = Recovery { window_entries: 50, ..patient() };
    let (one, mut heard) = start(redis.backend(), window).await;
    let (two, _events) = start(redis.backend(), patient()).await;
    let client = Arc::new(Mutex::new(Client { connected: true, ..Client::default() }));
    let listener = client.clone();
    let listening = tokio::spawn(async move {
        while let Some(event) = heard.next().await {
            let Event::Broadcast(broadcast) = event else { continue };
            let mut client = listener.lock().unwrap();
            if client.connected && broadcast.sockets.iter().any(|sid| sid == "sid") {
                client.got.push((number(&broadcast.packet), broadcast.offset.unwrap()));
            }
        }
    });
    one.add_socket("sid").await.unwrap();
    let recoveries = watch::Sender::new(0);
    let publishers = [one.clone(), two].map(|nsp| {
        let mut recoveries = recoveries.subscribe();
        tokio::spawn(async move {
            for number in 0..LAST {
                recoveries.wait_for(|recovered| *recovered >= number / SHARE).await.unwrap();
                nsp.broadcast(packet(number), BroadcastOptions::to("sid")).await.unwrap();
            }
        })
    });
    while publishers.iter().any(|publisher| !publisher.is_finished()) {
        let leave = || {
            let mut client = client.lock().unwrap();
            let (_, offset) = client.got.last().copied()?;
            client.connected = false;
            Some(offset)
        };
        let Some(offset) = leave() else {
            tokio::task::yield_now().await;
            continue;
        };
        one.remove_socket("sid").await.unwrap();
        one.persist_session(session()).await.unwrap();
        let accepting = client.clone();
        let accept = move |restored: Restored| {
            let mut client = accepting.lock().unwrap();
            let missed = restored.missed.iter().map(|missed| (number(missed.packet()), missed.offset()));
            client.got.extend(missed);
            client.connected = true;
        };
        one.restore_session("pid", &offset.to_string(), accept).await.unwrap();
        recoveries.send_modify(|recovered| *recovered += 1);
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let last = redis.with(|store, _| store.entries("socket.io").rfind(is_broadcast).unwrap().id);
    tokio::time::timeout(Duration::from_secs(60), async {
        while client.lock().unwrap().got.last().unwrap().1 < last {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    listening.abort();
    let got: Vec<EntryId> = client.lock().unwrap().got.iter().map(|(_, offset)| *offset).collect();
    let all: Vec<EntryId> = redis.with(|store, _| {
        let broadcasts = store.entries("socket.io").filter(is_broadcast).map(|entry| entry.id);
        broadcasts.filter(|id| *id >= got[0]).collect()
    });
    assert_eq!(got, all, "each once, and in order");
    let recovered = *recoveries.borrow();
    assert!(recovered > 3, "{recovered}");
}

fn is_broadcast(entry: &&Entry) -> bool {
    entry.fields.get("type").unwrap() == "3"
}

#[tokio::test]
async fn why_a_client_begins_anew_is_told() {
    let redis = MemoryRedis::new();
    let backend = redis.backend();
    let (nsp, _events) = start(redis.backend(), patient()).await;
    let restored = nsp.restore_session("pid", "not an offset", drop).await;
    assert!(matches!(restored, Err(Error::NotRecovered(NotRecovered::InvalidOffset))), "{restored:?}");
    let restored = nsp.restore_session("pid", "1-1", drop).await;
    assert!(matches!(restored, Err(Error::NotRecovered(NotRecovered::NoSession))), "{restored:?}");
    let short = Recovery { timeout: Duration::from_millis(200), ..Recovery::default() };
    let (nsp, _events) = start(backend.clone(), short).await;
    backend.cut_lane(&Lane::Recovery);
    let restored = nsp.restore_session("pid", "1-1", drop).await;
    assert!(matches!(restored, Err(Error::NotRecovered(_))), "{restored:?}");
    assert!(matches!(nsp.persist_session(session()).await, Err(Error::Command(_))));
}
