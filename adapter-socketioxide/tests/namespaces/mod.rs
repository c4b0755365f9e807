//! Namespaces that are opened, deleted and made again.

use std::sync::Arc;
use std::time::Duration;

use sio_streams_driver::memory::MemoryRedis;
use sio_streams_driver::sio_streams_core as wire;
use sio_streams_driver::sio_streams_core::Dialect;
use sio_streams_driver::{Error as NodeError, Options};
use sio_streams_socketioxide::{Cluster, Error, sio_streams_driver};
use socketioxide_core::adapter::CoreAdapter;
use socketioxide_parser_common::CommonParser;

use crate::pair;
use crate::support::{LIMIT, Server, config, everybody};

/// Two clients that are the first in a dynamic namespace at once make two adapters for it.
#[tokio::test]
async fn two_adapters_of_one_namespace_both_get_what_comes() {
    let redis = MemoryRedis::new();
    let (server, other) =
        (Server::new(&redis, config(Dialect::Streams03)), Server::new(&redis, config(Dialect::Streams03)));
    let (one, two) = (server.nsp("/dyn", 1, CommonParser), server.nsp("/dyn", 1, CommonParser));
    let (first, second) =
        tokio::join!(Arc::clone(&one.adapter).init(|| {}), Arc::clone(&two.adapter).init(|| {}));
    first.unwrap();
    second.unwrap();
    let there = other.open("/dyn", 1, CommonParser).await;
    there.say("to both", everybody()).await;
    one.gets(one.sids[0], &["to both"]).await;
    two.gets(two.sids[0], &["to both"]).await;
    let found = other.cluster.fetch_sockets("/dyn", wire::BroadcastOptions::all()).await.unwrap();
    assert_eq!((found.sockets.len(), found.outcome.is_complete()), (3, true));
    // The namespace is open as long as one of them lives, and is not deleted.
    drop(one);
    there.say("to one", everybody()).await;
    two.gets(two.sids[0], &["to both", "to one"]).await;
    let three = server.open("/dyn", 1, CommonParser).await;
    assert_eq!(there.adapter.server_count().await.unwrap(), 2);
    two.adapter.close().await.unwrap();
    assert_eq!(there.adapter.server_count().await.unwrap(), 1);
    // The other one may go later. The namespace that is there by then is none of its business.
    let four = server.open("/dyn", 1, CommonParser).await;
    drop(three);
    there.say("to the new one", everybody()).await;
    four.gets(four.sids[0], &["to the new one"]).await;
    drop(four);
    let (count, limit) =
        (async || there.adapter.server_count().await.unwrap(), tokio::time::Instant::now() + LIMIT);
    while count().await != 1 {
        assert!(tokio::time::Instant::now() < limit, "the namespace is still open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_namespace_is_deleted_while_it_is_in_use_and_made_again() {
    let (a, b, _here, _there) = pair(config(Dialect::Streams03), 1).await;
    for round in 0..20 {
        let nsp = a.open("/gone", 1, CommonParser).await;
        let busy = nsp.adapter.broadcast(nsp.event("say", &"busy"), everybody());
        // socketioxide polls it once.
        assert!(futures_util::FutureExt::now_or_never(nsp.adapter.close()).is_none());
        let closed = busy.await.unwrap_err();
        assert!(closed.to_string().contains("not open"), "{round}: {closed}");
    }
    let again = a.open("/gone", 1, CommonParser).await;
    let other = b.open("/gone", 1, CommonParser).await;
    other.say("hello", everybody()).await;
    again.gets(again.sids[0], &["hello"]).await;
}

#[tokio::test]
async fn without_redis_the_start_ends_in_time_with_a_reason() {
    let redis = MemoryRedis::new();
    let within = Duration::from_millis(200);
    let options = Options { open_within: within, ..Options::from(config(Dialect::Streams03)) };
    let server = Server::with(&redis, options, |cluster| cluster);
    server.backend.cut();
    let nsp = server.nsp("/", 1, CommonParser);
    let started = Arc::clone(&nsp.adapter).init(|| panic!("it is not there"));
    let error = tokio::time::timeout(LIMIT, started).await.unwrap().unwrap_err();
    let Error::Node(NodeError::NotOpened { why, .. }) = &error else { panic!("{error}") };
    assert!(!why.is_empty(), "{error}");
    let error = nsp.adapter.broadcast(nsp.event("say", &"x"), everybody()).await.unwrap_err();
    assert!(error.to_string().contains("not open"), "{error}");
    // It can be tried again.
    server.backend.restore();
    let again = async { while Arc::clone(&nsp.adapter).init(|| {}).await.is_err() {} };
    tokio::time::timeout(LIMIT, again).await.unwrap();
    nsp.say("hello", everybody()).await;
}

#[tokio::test]
async fn a_server_that_joins_later_serves_its_clients_meanwhile() {
    let redis = MemoryRedis::new();
    let within = Duration::from_millis(500);
    let options = Options { open_within: within, ..Options::from(config(Dialect::Streams03)) };
    let server = Server::with(&redis, options, Cluster::join_later);
    let other = Server::new(&redis, config(Dialect::Streams03));
    server.backend.cut();
    let there = other.open("/", 1, CommonParser).await;
    let nsp = server.open("/", 1, CommonParser).await;
    // It waits for Redis, and this server's clients don't.
    let adapter = Arc::clone(&nsp.adapter);
    let packet = nsp.event("say", &"early");
    tokio::spawn(async move { adapter.broadcast(packet, everybody()).await });
    nsp.gets(nsp.sids[0], &["early"]).await;
    server.backend.restore();
    // An attempt may have been given up just now, and the next one comes.
    let heard = async {
        while !nsp.words(nsp.sids[0]).contains(&"hello".to_owned()) {
            there.say("hello", everybody()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, heard).await.unwrap();
    assert_eq!(there.adapter.server_count().await.unwrap(), 2);
    // A namespace that is deleted before it could be opened is not opened any more.
    server.backend.cut();
    let gone = server.open("/gone", 1, CommonParser).await;
    gone.adapter.close().await.unwrap();
    server.backend.restore();
    assert!(matches!(gone.adapter.server_count().await, Err(Error::Node(NodeError::Call(_)))));
}
