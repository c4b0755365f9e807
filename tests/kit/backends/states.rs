//! Servers in temporary states: a node is told of them, and recovers by itself.

use super::common::*;
use super::member::Member;
use sio_streams_core::{Config, Lane, LinkState};
use sio_streams_testkit::{Client, RedisServer};

fn config() -> Config {
    Config { block_time: core::time::Duration::from_millis(200), ..Config::default() }
}

/// No connection is left for the node, and then there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_full_is_reported_and_waited_for() {
    let redis = RedisServer::start().unwrap();
    let one = Member::start(config(), steady(&redis.url())).await;
    // All three connections are open then.
    one.sees(1).await;
    redis.command(&["CONFIG", "SET", "maxclients", "10"]);
    let mut others: Vec<Client> = Vec::new();
    loop {
        let mut other = redis.connect().unwrap();
        match other.command(&["PING"]) {
            Ok(sio_streams_testkit::Reply::Simple(_)) => others.push(other),
            _ => break,
        }
    }
    // The node's connections are closed; what others there are, take their places.
    let own: Vec<String> = {
        let list = others[0].command(&["CLIENT", "LIST"]).unwrap();
        let lines = list.as_str().unwrap().lines().filter(|line| line.contains("name=sio-streams:"));
        let id = |line: &str| Some(line.split_whitespace().next()?.strip_prefix("id=")?.to_owned());
        lines.filter_map(id).collect()
    };
    redis_config(&mut others[0], "maxclients", "1");
    for id in &own {
        others[0].command(&["CLIENT", "KILL", "ID", id]).unwrap();
    }
    for lane in [Lane::Writer, reader(), Lane::Subscriber] {
        until(|| !one.is_up(&lane)).await;
    }
    let late = {
        let backend = steady(&redis.url());
        let (node, mut events) = sio_streams_driver::start(options(config()), backend).unwrap();
        let opening = tokio::spawn(async move { node.open("/").await.map(|namespace| (node, namespace)) });
        let why = within(async {
            loop {
                if let Some(sio_streams_driver::Event::Link {
                    link: LinkState::Down { reason, .. }, ..
                }) = events.next().await
                {
                    break reason;
                }
            }
        })
        .await;
        // The server says it and closes, which may overtake its words.
        let known = ["max number of clients", "reset", "closed", "roken pipe"];
        assert!(known.iter().any(|words| why.contains(words)), "{why}");
        assert!(!opening.is_finished());
        redis_config(&mut others[0], "maxclients", "100");
        within(opening).await.unwrap().unwrap()
    };
    for lane in [Lane::Writer, reader(), Lane::Subscriber] {
        until(|| one.is_up(&lane)).await;
    }
    one.sees(2).await;
    drop(late);
}

fn redis_config(client: &mut Client, name: &str, value: &str) {
    client.command(&["CONFIG", "SET", name, value]).unwrap();
}

/// A primary behind a stable address becomes a replica, and then there is a primary again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_read_only_is_left_and_tried_again() {
    let redis = RedisServer::start().unwrap();
    let mut one = Member::start(config(), steady(&redis.url())).await;
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let sending = one.namespace.broadcast(
        sio_streams_core::Packet::event("n", &(1,)).unwrap(),
        sio_streams_core::BroadcastOptions::all(),
    );
    let mending = async {
        until(|| one.losses(&Lane::Writer).iter().any(|why| why.starts_with("READONLY"))).await;
        redis.command(&["REPLICAOF", "NO", "ONE"]);
    };
    let (sent, ()) = tokio::join!(sending, mending);
    sent.unwrap();
    one.hears([1]).await;
    assert!(one.is_up(&Lane::Writer));
}

/// The server has just started, and reads its data.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_loading_is_waited_for() {
    let redis = RedisServer::builder().persistent().config("enable-debug-command yes").start().unwrap();
    let mut one = Member::start(config(), steady(&redis.url())).await;
    // Many keys, slowly: it must still be at it when the message is sent, also on a busy machine.
    let mut client = redis.connect().unwrap();
    for thousand in 0..100 {
        let script = "for i = 1, 1000 do redis.call('SET', ARGV[1] .. i, 'value') end";
        client.command(&["EVAL", script, "0", &format!("key {thousand} ")]).unwrap();
    }
    redis.command(&["CONFIG", "SET", "key-load-delay", "100"]);
    let loading = std::thread::spawn(move || client.command(&["DEBUG", "LOADAOF"]));
    let is_loading = || {
        let info = redis.command(&["INFO", "persistence"]);
        info.as_str().is_some_and(|text| text.contains("\nloading:1\r"))
    };
    until(is_loading).await;
    let sending = one.sends(1..2);
    let is_refused = |event: &String| event.contains("LOADING") && event.contains("Writer");
    until(|| one.told().iter().any(is_refused)).await;
    // While it loads, a server looks at its clients after every thousand keys.
    redis.command(&["CONFIG", "SET", "key-load-delay", "0"]);
    within(sending).await.unwrap();
    loading.join().unwrap().unwrap();
    one.hears([1]).await;
    assert_eq!(redis.command(&["XLEN", STREAM]).as_int(), Some(1));
}
